/**
 * dialogs.js: modal dialogs and pop-ups. A dialog gives the focus back to where it came from (the browser does that for
 * <dialog>); a pop-up is placed by script under its button, since anchor positioning is not everywhere yet.
 */
import { h, button } from './h.js'
import { t } from './strings.js'

/**
 * Opens a dialog with a title and removes it when it closes.
 * @param {{title: string, wide?: boolean, choices?: {label: string, kind?: string, value: string, disabled?: boolean}[]}}
 * options
 * @param {...(Node | string | null)} content
 * @returns {{element: HTMLDialogElement, closed: Promise<string>, close: (value?: string) => void}}
 */
export function dialog({ title, wide = false, choices = [] }, ...content) {
  const id = `dialog-${crypto.randomUUID()}`
  const close = (/** @type {string} */ value = '') => element.close(value)
  const element = h(
    'dialog',
    { class: wide ? 'wide' : '', 'aria-labelledby': id },
    h(
      'header',
      null,
      h('h2', { id }, title),
      button({ icon: 'close', label: t.close, text: false, onclick: () => close() })
    ),
    ...content,
    choices.length
      ? h(
          'div',
          { class: 'choices' },
          ...choices.map(({ label, kind = 'quiet', value, disabled = false }) =>
            button({ label, kind, value, disabled, onclick: () => close(value) })
          )
        )
      : null
  )
  // A click on the backdrop is a click on the dialog itself, outside of its box.
  element.addEventListener('pointerdown', (event) => {
    if (event.target !== element) return
    const box = element.getBoundingClientRect()
    const inside =
      event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom
    if (!inside) close()
  })
  /** @type {Promise<string>} */
  const closed = new Promise((resolve) =>
    element.addEventListener('close', () => {
      resolve(element.returnValue)
      element.remove()
    })
  )
  document.body.append(element)
  element.showModal()
  return { element, closed, close }
}

/**
 * A pop-up below (or above) a button. Its content is made anew each time it opens.
 * @param {HTMLElement} anchor
 * @param {() => (Node | null)[]} content
 * @param {{menu?: boolean, label: string}} options
 */
export function popup(anchor, content, { menu = false, label }) {
  const element = h('div', {
    popover: 'auto',
    class: menu ? 'menu' : 'pop',
    role: menu ? 'menu' : 'dialog',
    'aria-label': label,
  })
  anchor.setAttribute('aria-haspopup', menu ? 'menu' : 'dialog')
  anchor.setAttribute('aria-expanded', 'false')
  const place = () => {
    const a = anchor.getBoundingClientRect()
    const box = element.getBoundingClientRect()
    const left = Math.max(8, Math.min(a.left, innerWidth - box.width - 8))
    const below = a.bottom + 4
    const top = below + box.height <= innerHeight - 8 ? below : Math.max(8, a.top - box.height - 4)
    element.style.setProperty('--left', `${left}px`)
    element.style.setProperty('--top', `${top}px`)
  }
  /** Drawn again while it is open. */
  const refresh = () => {
    if (!element.matches(':popover-open')) return
    element.replaceChildren(...content().filter((node) => node !== null))
    place()
  }
  const open = () => {
    document.body.append(element)
    element.replaceChildren(...content().filter((node) => node !== null))
    if (menu) for (const item of element.querySelectorAll('button')) item.setAttribute('role', 'menuitem')
    element.showPopover()
    place()
    const first = element.querySelector(menu ? 'button' : 'button, a, [tabindex]')
    if (first instanceof HTMLElement) first.focus()
    else {
      element.tabIndex = -1
      element.focus()
    }
  }
  anchor.addEventListener('click', () => {
    if (element.matches(':popover-open')) element.hidePopover()
    else if (performance.now() - closedAt > 200) open()
  })
  let closedAt = 0
  element.addEventListener('toggle', (event) => {
    const isOpen = /** @type {ToggleEvent} */ (event).newState === 'open'
    anchor.setAttribute('aria-expanded', String(isOpen))
    if (isOpen) return
    closedAt = performance.now()
    if (element.contains(document.activeElement) || document.activeElement === document.body) anchor.focus()
    element.remove()
  })
  element.addEventListener('keydown', (event) => {
    if (event.key === 'Tab' && menu) element.hidePopover()
    if (!menu || (event.key !== 'ArrowDown' && event.key !== 'ArrowUp')) return
    const items = [...element.querySelectorAll('button')]
    const at = items.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement))
    items[(at + (event.key === 'ArrowDown' ? 1 : -1) + items.length) % items.length]?.focus()
    event.preventDefault()
  })
  return { element, refresh, close: () => element.matches(':popover-open') && element.hidePopover() }
}

/** Asks for files. @param {{accept: string, multiple?: boolean}} options @returns {Promise<File[]>} none when cancelled */
export function pickFiles({ accept, multiple = false }) {
  return new Promise((resolve) => {
    const input = h('input', { type: 'file', accept, multiple, hidden: true })
    input.addEventListener('change', () => resolve([...(input.files ?? [])]))
    input.addEventListener('cancel', () => resolve([]))
    input.click()
  })
}

/** Hands a text to the browser as a file to save. @param {string} name @param {string} text @param {string} type */
export function saveFile(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }))
  h('a', { href: url, download: name }).click()
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}

/** Copies a text; false where the browser does not let a page do that. @param {string} text @returns {Promise<boolean>} */
export async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    return false
  }
}
