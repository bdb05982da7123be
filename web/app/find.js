/** find.js: one box that finds conversations by their text, and commands by their name (Ctrl or Cmd with K). */
import { h, fill, icon } from './h.js'
import { t } from './strings.js'
import { dialog } from './dialogs.js'
import { search, fold, visible } from './conversations.js'
import { change } from './settings.js'
import { excerpt } from './excerpt.js'

/** @typedef {{label: string, icon: string, run: () => void}} Command */

/** @returns {Command[]} */
const commands = () => [
  { label: t.find.command.new, icon: 'plus', run: () => (location.hash = '#/chat/new') },
  { label: t.find.command.file, icon: 'file', run: () => void import('./shell.js').then((shell) => shell.openModelFile()) },
  { label: t.find.command.models, icon: 'model', run: () => void import('./chat/picker.js').then((p) => p.openPicker()) },
  { label: t.find.command.settings, icon: 'settings', run: () => (location.hash = '#/settings') },
  { label: t.find.command.export, icon: 'get', run: () => (location.hash = '#/settings/data') },
  { label: t.find.command.keys, icon: 'keys', run: () => void import('./shell.js').then((shell) => shell.openKeys()) },
  { label: t.find.command.light, icon: 'settings', run: () => change({ theme: 'light' }) },
  { label: t.find.command.dark, icon: 'settings', run: () => change({ theme: 'dark' }) },
  { label: t.find.command.system, icon: 'settings', run: () => change({ theme: 'system' }) },
]

let isOpen = false

export async function openFind() {
  if (isOpen) return
  isOpen = true
  const input = h('input', {
    class: 'field',
    type: 'text',
    role: 'combobox',
    'aria-expanded': 'true',
    'aria-controls': 'find-list',
    'aria-autocomplete': 'list',
    'aria-label': t.find.label,
    placeholder: t.find.placeholder,
    autocomplete: 'off',
    spellcheck: 'false',
  })
  const list = h('div', { id: 'find-list', role: 'listbox', 'aria-label': t.find.title, class: 'find-list' })
  const { closed, close } = dialog({ title: t.find.title, wide: true }, input, list)
  /** @type {{element: HTMLElement, run: () => void}[]} */
  let options = []
  let at = 0
  const select = (/** @type {number} */ next) => {
    at = options.length ? (next + options.length) % options.length : 0
    for (const [i, { element }] of options.entries()) element.setAttribute('aria-selected', String(i === at))
    const chosen = options[at]?.element
    input.setAttribute('aria-activedescendant', chosen?.id ?? '')
    chosen?.scrollIntoView({ block: 'nearest' })
  }
  const choose = (/** @type {() => void} */ run) => {
    close()
    // After the dialog gave the focus back, so that the target may take it.
    setTimeout(run)
  }
  const draw = () => {
    options = []
    const option = (/** @type {() => void} */ run, /** @type {Node[]} */ ...content) => {
      const element = h(
        'div',
        { role: 'option', id: `find-${options.length}`, class: 'find-option', onclick: () => choose(run) },
        ...content
      )
      options.push({ element, run })
      return element
    }
    const query = input.value.trim()
    const found = query
      ? search(query).slice(0, 12)
      : visible()
          .slice(0, 6)
          .map((conversation) => ({ conversation, message: null, excerpt: '', at: null }))
    const conversations = found.map(({ conversation, message, ...hit }) =>
      option(
        () => (location.hash = `#/chat/${conversation.id}${message ? `/${message.id}` : ''}`),
        icon('chat'),
        h('span', null, h('span', { class: 'line' }, conversation.title), hit.excerpt ? excerpt(hit) : null)
      )
    )
    const words = fold(query).split(/\s+/)
    const matching = commands().filter(({ label }) => words.every((word) => fold(label).includes(word)))
    const rows = matching.map((command) => option(command.run, icon(command.icon), h('span', null, command.label)))
    fill(
      list,
      conversations.length
        ? h(
            'div',
            { role: 'group', 'aria-label': t.find.conversations },
            h('p', { class: 'note group', 'aria-hidden': 'true' }, t.find.conversations),
            ...conversations
          )
        : null,
      rows.length
        ? h(
            'div',
            { role: 'group', 'aria-label': t.find.commands },
            h('p', { class: 'note group', 'aria-hidden': 'true' }, t.find.commands),
            ...rows
          )
        : null,
      options.length ? null : h('p', { class: 'note' }, t.find.nothing)
    )
    select(0)
  }
  input.addEventListener('input', draw)
  input.addEventListener('keydown', (event) => {
    if (event.isComposing || event.keyCode === 229) return
    if (event.key === 'ArrowDown') select(at + 1)
    else if (event.key === 'ArrowUp') select(at - 1)
    else if (event.key === 'Enter') {
      const chosen = options[at]
      if (chosen) choose(chosen.run)
    } else return
    event.preventDefault()
  })
  draw()
  input.focus()
  await closed
  isOpen = false
}
