/**
 * settings.js: the person's choices, in localStorage, because the theme must be known before the first paint (theme.js
 * reads the same key). Unknown or damaged values fall back to the default one by one.
 */
import { createStore } from './store.js'

const KEY = 'nook.settings'

/**
 * @typedef {object} Settings
 * @property {'system' | 'light' | 'dark'} theme
 * @property {number} textSize percent, 90 to 130
 * @property {boolean} singleKeys
 * @property {boolean} details always shown under an answer
 * @property {number} room context size in tokens
 * @property {'low' | 'middle' | 'high'} variety
 * @property {'whole' | 'sentence'} spoken
 */

/** Tokens that the conversation room may have. */
export const rooms = [512, 1024, 2048, 4096, 8192]

/** Temperatures of the three words. */
export const temperatures = { low: 0.2, middle: 0.6, high: 1 }

/** @type {{[K in keyof Settings]: (value: unknown) => boolean}} */
const valid = {
  theme: (v) => v === 'system' || v === 'light' || v === 'dark',
  textSize: (v) => typeof v === 'number' && v >= 90 && v <= 130,
  singleKeys: (v) => typeof v === 'boolean',
  details: (v) => typeof v === 'boolean',
  room: (v) => rooms.includes(/** @type {number} */ (v)),
  variety: (v) => typeof v === 'string' && Object.hasOwn(temperatures, v),
  spoken: (v) => v === 'whole' || v === 'sentence',
}

/** @returns {Settings} */
function read() {
  /** @type {any} */
  let stored = {}
  try {
    stored = JSON.parse(localStorage.getItem(KEY) ?? '{}') ?? {}
  } catch {
    // Damaged or forbidden: the defaults below.
  }
  /** @type {Settings} */
  const settings = {
    theme: 'system',
    textSize: 100,
    singleKeys: true,
    details: false,
    room: 2048,
    variety: 'middle',
    spoken: 'whole',
  }
  for (const key of /** @type {(keyof Settings)[]} */ (Object.keys(settings))) {
    if (valid[key](stored[key])) Object.assign(settings, { [key]: stored[key] })
  }
  return settings
}

export const settings = createStore(read())

/** @param {Partial<Settings>} patch */
export function change(patch) {
  settings.set(patch)
  save(KEY, { ...settings.get() })
  show(settings.get())
}

/** @param {Settings} state */
function show({ theme, textSize }) {
  const root = document.documentElement
  if (theme === 'system') delete root.dataset.theme
  else root.dataset.theme = theme
  root.style.setProperty('--text-scale', String(textSize / 100))
}

/** Another tab of this page changed the settings. */
addEventListener('storage', (event) => {
  if (event.key !== KEY) return
  settings.set(read())
  show(settings.get())
})

/**
 * localStorage that may be forbidden or full: then the choice lasts as long as the page.
 * @param {string} key
 * @param {unknown} value
 */
export function save(key, value) {
  try {
    if (value === null) localStorage.removeItem(key)
    else localStorage.setItem(key, JSON.stringify(value))
  } catch {
    // Forbidden or full.
  }
}

/** @param {string} key @returns {any} */
export function recall(key) {
  try {
    return JSON.parse(localStorage.getItem(key) ?? 'null')
  } catch {
    return null
  }
}
