/**
 * markdown.js: text of a model as elements. marked makes HTML, DOMPurify makes it harmless (its Trusted Types policy is
 * `dompurify`), and only then it is put in. Raw HTML in the text is shown as text; pictures are not fetched; links show
 * where
 * they lead.
 */
import { Marked } from '../vendor/marked.js'
import DOMPurify from '../vendor/purify.js'
import { h, button, fill } from './h.js'
import { toClipboard } from './dialogs.js'
import { t } from './strings.js'

const ALLOWED = [
  'p',
  'br',
  'hr',
  'strong',
  'em',
  'del',
  'code',
  'pre',
  'blockquote',
  'ul',
  'ol',
  'li',
  'a',
  'h3',
  'h4',
  'h5',
  'h6',
  'table',
  'thead',
  'tbody',
  'tr',
  'th',
  'td',
]
const LIMIT = 200_000

/** @param {string} text */
const escape = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)

const marked = new Marked({
  gfm: true,
  breaks: false,
  renderer: /** @type {import('marked').RendererObject} */ ({
    html: ({ text }) => escape(text),
    image: ({ text, href }) => `${escape(t.chat.imageOf(text))} ${escape(href)}`,
    checkbox: ({ checked }) => (checked ? '☑ ' : '☐ '),
    heading({ tokens, depth }) {
      const level = Math.min(6, depth + 2)
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`
    },
  }),
})

const purify = DOMPurify(window)
purify.addHook('afterSanitizeAttributes', (/** @type {Element} */ node) => {
  if (node.tagName !== 'A') return
  node.setAttribute('target', '_blank')
  node.setAttribute('rel', 'noopener noreferrer nofollow')
})

/** @param {string} text @returns {DocumentFragment} */
export function render(text) {
  const html = marked.parse(text.slice(0, LIMIT), { async: false })
  const clean = purify.sanitize(html, {
    ALLOWED_TAGS: ALLOWED,
    ALLOWED_ATTR: ['href', 'start'],
    ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_TRUSTED_TYPE: true,
  })
  const template = document.createElement('template')
  template.innerHTML = /** @type {any} */ (clean)
  for (const link of template.content.querySelectorAll('a')) spellOut(link)
  for (const pre of template.content.querySelectorAll('pre')) framed(pre)
  for (const table of template.content.querySelectorAll('table')) {
    const frame = h('div', { class: 'scroll-x', tabindex: 0, role: 'group' })
    table.replaceWith(frame)
    frame.append(table)
  }
  return template.content
}

/** The address behind a link, in full, beside its text. @param {HTMLAnchorElement} link */
function spellOut(link) {
  const address = link.getAttribute('href')
  if (!address) {
    link.replaceWith(...link.childNodes)
    return
  }
  if (link.textContent?.trim() !== address) link.after(h('span', { class: 'address' }, ` (${address})`))
}

/** @param {HTMLPreElement} pre */
function framed(pre) {
  const text = pre.textContent ?? ''
  const copy = button({ icon: 'copy', label: t.chat.codeCopy, text: false, class: 'code-copy' })
  copy.addEventListener('click', () => void toClipboard(text))
  pre.tabIndex = 0
  const frame = h('div', { class: 'code' })
  pre.replaceWith(frame)
  frame.append(pre, copy)
}

/**
 * A text that grows: finished blocks are rendered once, the last one is plain text until it is finished too.
 * @param {HTMLElement} container
 */
export function streamer(container) {
  const doneBlocks = h('div', { class: 'prose' })
  const tailText = document.createTextNode('')
  const tail = h('p', { class: 'tail' }, tailText, h('span', { class: 'caret', 'aria-hidden': true }))
  fill(container, doneBlocks, tail)
  let text = ''
  let from = 0
  return {
    /** @param {string} more */
    push(more) {
      text += more
      const cut = boundary(text, from)
      if (cut > from) {
        doneBlocks.append(render(text.slice(from, cut)))
        from = cut
      }
      const rest = text.slice(from)
      tail.classList.toggle('is-code', /^\s*(```|~~~)/.test(rest))
      tailText.data = rest.replace(/^\n+/, '')
    },
    /** The whole again, so that lists and tables that a blank line had parted come together. */
    finish() {
      fill(container, h('div', { class: 'prose' }, render(text)))
    },
  }
}

/**
 * The end of the last finished block: a blank line that is not inside a fence.
 * @param {string} text
 * @param {number} from
 */
function boundary(text, from) {
  let cut = from
  let fence = ''
  let at = from
  for (;;) {
    const end = text.indexOf('\n', at)
    if (end < 0) return cut
    const line = text.slice(at, end)
    const mark = /^\s{0,3}(`{3,}|~{3,})/.exec(line)?.[1] ?? ''
    if (fence) {
      if (mark.startsWith(fence) && line.trim() === mark) fence = ''
    } else if (mark) fence = mark
    else if (line.trim() === '' && end > from) cut = end + 1
    at = end + 1
  }
}
