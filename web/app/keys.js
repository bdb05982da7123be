/**
 * keys.js: every key of the page in one table, the one that `?` shows. Rooms bind functions to the ids. Keys of the browser
 * itself (Ctrl or Cmd with R L T W N P F S D 1–9, F5, F6, Alt with arrows) are never in it.
 */
import { settings } from './settings.js'

/** Whether the person composes with an input method: then Enter and all else belong to it. @param {KeyboardEvent} event */
export const composing = (event) => event.isComposing || event.keyCode === 229

export const isMac = /Mac|iP(hone|ad|od)/.test(navigator.userAgent)

/** Touch screens: Enter is a new line there. Some phones report a fine pointer, so their names count too. */
export const isTouch = () => matchMedia('(pointer: coarse)').matches || /iP(hone|ad|od)|Android/.test(navigator.userAgent)

/**
 * `show`: names in strings.js or letters, one list per alternative. `match`: absent where a field handles the key itself.
 * `single`: can be switched off. `field`: also while a field has the focus. `on`: only while the focus is in such an
 * element.
 * @typedef {{id: string, group: 'write' | 'go' | 'answer', show: string[][], code?: string, mod?: boolean, shift?: boolean,
 *   single?: boolean, field?: boolean, on?: string, after?: string}} Key
 */

/** @type {Key[]} */
export const keys = [
  { id: 'send', group: 'write', show: [['enter']] },
  { id: 'newline', group: 'write', show: [['shift', 'enter']] },
  { id: 'newlineTouch', group: 'write', show: [['enter']] },
  { id: 'sendAlways', group: 'write', show: [['mod', 'enter']] },
  { id: 'editLast', group: 'write', show: [['up']] },
  { id: 'stop', group: 'write', show: [['esc']], code: 'Escape', field: true },
  { id: 'compose', group: 'go', show: [['/']], code: '/', single: true },
  { id: 'find', group: 'go', show: [['mod', 'K']], code: 'k', mod: true, field: true },
  { id: 'new', group: 'go', show: [['mod', 'shift', 'O']], code: 'o', mod: true, shift: true, field: true },
  { id: 'help', group: 'go', show: [['?']], code: '?', single: true },
  { id: 'help', group: 'go', show: [['mod', '/']], code: '/', mod: true, field: true },
  { id: 'chat', group: 'go', show: [['G', 'then', 'C']], code: 'c', after: 'g', single: true },
  { id: 'settings', group: 'go', show: [['G', 'then', 'S']], code: 's', after: 'g', single: true },
  { id: 'delete', group: 'go', show: [['delete']], code: 'Delete', on: '.conversation' },
  { id: 'next', group: 'answer', show: [['J']], code: 'j', single: true },
  { id: 'previous', group: 'answer', show: [['K']], code: 'k', single: true },
  { id: 'copy', group: 'answer', show: [['C']], code: 'c', single: true, on: '.message' },
  { id: 'again', group: 'answer', show: [['R']], code: 'r', single: true, on: '.message' },
  { id: 'versions', group: 'answer', show: [['left'], ['right']], code: 'ArrowLeft', on: '.message' },
  { id: 'versions', group: 'answer', show: [], code: 'ArrowRight', on: '.message' },
]

/** @type {Map<string, (event: KeyboardEvent) => boolean | void>} */
const bound = new Map()

/**
 * Binds a function to an id; it returns false when it has nothing to do.
 * @param {Record<string, (event: KeyboardEvent) => boolean | void>} functions
 */
export function bind(functions) {
  for (const [id, fn] of Object.entries(functions)) bound.set(id, fn)
  return () => {
    for (const [id, fn] of Object.entries(functions)) if (bound.get(id) === fn) bound.delete(id)
  }
}

/** The first key of a pair ("g" then "c"), for a second and a half. */
let prefix = ''
let prefixTime = 0

export function listen() {
  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || composing(event)) return
    const target = event.target instanceof Element ? event.target : document.body
    const inField = target.closest('input, textarea, select, [contenteditable]') !== null
    // A dialog that is open owns the keys; Escape closes it by itself.
    if (document.querySelector('dialog[open]') && !(event.key === 'k' && (event.metaKey || event.ctrlKey))) return
    const single = settings.get().singleKeys
    const before = performance.now() - prefixTime < 1500 ? prefix : ''
    prefix = ''
    for (const key of keys) {
      if (!key.code || (key.single && !single) || (inField && !key.field)) continue
      if ((key.after ?? '') !== before && (key.after || before)) continue
      if (!matches(event, key) || (key.on && !target.closest(key.on))) continue
      const fn = bound.get(key.id)
      if (!fn || fn(event) === false) continue
      event.preventDefault()
      return
    }
    if (single && !inField && event.key === 'g' && !event.ctrlKey && !event.metaKey && !event.altKey) {
      prefix = 'g'
      prefixTime = performance.now()
    }
  })
}

/** @param {KeyboardEvent} event @param {Key} key */
function matches(event, key) {
  const mod = event.ctrlKey || event.metaKey
  if (event.altKey || mod !== (key.mod ?? false)) return false
  // Shift is part of "?" on most keyboards, so it counts only where a modifier is held or the key is a letter.
  if (/^[a-z]$/.test(key.code ?? '') && event.shiftKey !== (key.shift ?? false)) return false
  return (event.key.length === 1 ? event.key.toLowerCase() : event.key) === key.code
}
