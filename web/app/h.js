/**
 * h.js: elements without a framework. Text goes through textContent, never through HTML; there is no way to write an
 * inline style or a handler as text, so that the strict content security policy holds by construction.
 */

/** @typedef {Node | string | number | null | undefined | false} Child */
/** @typedef {Record<string, any>} Props */

/**
 * Makes an element. Props: `class`, `dataset` (object), `on<event>` (function), `ref` (called with the element), DOM
 * properties named in PROPERTIES; anything else is an attribute (true = present, false, null or undefined = absent).
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Props | null} [props]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(props ?? {})) apply(element, name, value)
  element.append(...nodes(children))
  return element
}

/** Properties that attributes do not set, or set only at first. */
const PROPERTIES = new Set(['value', 'checked', 'disabled', 'hidden', 'open', 'indeterminate', 'readOnly', 'inert'])

/**
 * @param {HTMLElement} element
 * @param {string} name
 * @param {any} value
 */
function apply(element, name, value) {
  if (name === 'style' || name.startsWith('xlink')) throw new TypeError(`h() sets no ${name}`)
  if (name === 'class') element.className = Array.isArray(value) ? value.filter(Boolean).join(' ') : (value ?? '')
  else if (name === 'dataset') Object.assign(element.dataset, value)
  else if (name === 'ref') value(element)
  else if (name.startsWith('on')) {
    if (typeof value === 'function') element.addEventListener(name.slice(2), value)
  } else if (PROPERTIES.has(name)) Object.assign(element, { [name]: value ?? '' })
  else if (value === true) element.setAttribute(name, name.startsWith('aria-') ? 'true' : '')
  else if (value === false && name.startsWith('aria-')) element.setAttribute(name, 'false')
  else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value))
}

/** @param {(Child | Child[])[]} children @returns {(Node | string)[]} */
function nodes(children) {
  /** @type {(Node | string)[]} */
  const out = []
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false || child === '') continue
    out.push(child instanceof Node ? child : String(child))
  }
  return out
}

/**
 * Replaces everything in an element.
 * @template {Element} T
 * @param {T} element
 * @param {...(Child | Child[])} children
 */
export function fill(element, ...children) {
  element.replaceChildren(...nodes(children))
  return element
}

/** An icon of index.html's symbols; decoration, so hidden from the accessibility tree. @param {string} name */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg')
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use')
  svg.setAttribute('class', 'icon')
  svg.setAttribute('aria-hidden', 'true')
  use.setAttribute('href', `#i-${name}`)
  svg.append(use)
  return svg
}

/**
 * A button with an icon, a name, or both. `label` is always its accessible name; `text: false` hides it from sight.
 * @param {{icon?: string, label: string, text?: boolean, class?: string, kind?: string, key?: string} & Props} options
 */
export function button({ icon: name, label, text = true, class: cls, kind = 'plain', key, ...props }) {
  const keys = key ? { 'aria-keyshortcuts': key } : {}
  const names = text ? {} : { 'aria-label': label, title: label }
  return h(
    'button',
    { type: 'button', class: ['button', kind, text ? '' : 'square', cls], ...names, ...keys, ...props },
    name ? icon(name) : null,
    text ? h('span', null, label) : null
  )
}
