/** list.js: the conversations, newest first, with search in what was written and delete with undo. */
import { h, fill, icon, button } from '../h.js'
import { t } from '../strings.js'
import * as conversations from '../conversations.js'
import { offerUndo } from '../status.js'
import { excerpt } from '../excerpt.js'
import { bind } from '../keys.js'

const PAGE = 100

/** @param {{close: () => void}} options */
export function conversationList({ close }) {
  const input = h('input', {
    class: 'field',
    type: 'search',
    'aria-label': t.list.search,
    placeholder: t.list.placeholder,
    autocomplete: 'off',
    spellcheck: 'false',
  })
  const rows = h('div', { class: 'rows' })
  const found = h('p', { class: 'note found', role: 'status' })
  const newLink = h(
    'a',
    { class: 'button quiet', href: '#/chat/new', 'aria-label': t.list.newName },
    icon('plus'),
    h('span', null, t.list.new)
  )
  const element = h(
    'nav',
    { class: 'list', 'aria-label': t.list.label },
    h(
      'div',
      { class: 'list-head' },
      h('div', { class: 'sheet-head' }, button({ icon: 'left', label: t.back, onclick: close })),
      h('div', { class: 'list-tools' }, h('div', { class: 'search' }, input), newLink)
    ),
    found,
    rows
  )
  let currentId = ''
  let limit = PAGE

  const row = (
    /** @type {import('../conversations.js').Conversation} */ conversation,
    /** @type {Node | null} */ more,
    /** @type {string} */ at
  ) => {
    const link = h(
      'a',
      { href: `#/chat/${conversation.id}${at ? `/${at}` : ''}`, class: 'conversation', dataset: { id: conversation.id } },
      h('span', { class: 'line' }, conversation.title),
      more
    )
    if (conversation.id === currentId) link.setAttribute('aria-current', 'page')
    const remove = button({ icon: 'trash', label: t.list.delete(conversation.title), text: false, class: 'row-action' })
    remove.addEventListener('click', () => void deleteWithUndo(conversation))
    return h('li', null, link, remove)
  }

  const draw = () => {
    const query = input.value.trim()
    const list = conversations.visible()
    if (query) {
      const hits = conversations.search(query)
      found.textContent = hits.length ? t.list.hits(hits.length) : t.list.noHit(query)
      fill(
        rows,
        h(
          'ul',
          null,
          ...hits
            .slice(0, PAGE)
            .map((hit) => row(hit.conversation, hit.excerpt ? excerpt(hit) : null, hit.message?.id ?? ''))
        )
      )
      return
    }
    found.textContent = conversations.conversations.get().ready && list.length === 0 ? t.list.none : ''
    const today = new Date().setHours(0, 0, 0, 0)
    const week = today - 6 * 86_400_000
    const groups = /** @type {[string, import('../conversations.js').Conversation[]][]} */ ([
      [t.list.today, []],
      [t.list.week, []],
      [t.list.older, []],
    ])
    for (const conversation of list.slice(0, limit)) {
      groups[conversation.updated >= today ? 0 : conversation.updated >= week ? 1 : 2]?.[1].push(conversation)
    }
    fill(
      rows,
      groups
        .filter(([, members]) => members.length)
        .map(([name, members]) =>
          h('section', null, h('h2', { class: 'note group' }, name), h('ul', null, ...members.map((c) => row(c, null, ''))))
        ),
      list.length > limit
        ? button({
            label: t.list.more(Math.min(PAGE, list.length - limit)),
            onclick: () => {
              limit += PAGE
              draw()
            },
          })
        : null
    )
  }

  input.addEventListener('input', draw)
  element.addEventListener('click', (event) => {
    if (event.target instanceof Element && event.target.closest('a')) close()
  })
  element.addEventListener('keydown', (event) => {
    if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return
    const links = [input, .../** @type {NodeListOf<HTMLElement>} */ (element.querySelectorAll('a.conversation'))]
    const at = links.indexOf(/** @type {HTMLInputElement} */ (document.activeElement))
    if (at < 0) return
    links[Math.max(0, Math.min(links.length - 1, at + (event.key === 'ArrowDown' ? 1 : -1)))]?.focus()
    event.preventDefault()
  })
  bind({
    delete(event) {
      const id = event.target instanceof HTMLElement ? event.target.closest('.conversation')?.getAttribute('data-id') : null
      const conversation = id ? conversations.conversationOf(id) : null
      if (!conversation) return false
      void deleteWithUndo(conversation)
      input.focus()
    },
  })
  conversations.conversations.subscribe(draw)
  return {
    element,
    /** @param {string} id */
    select(id) {
      currentId = id
      draw()
    },
    focus: () => input.focus(),
  }
}

/** @param {import('../conversations.js').Conversation} conversation */
async function deleteWithUndo(conversation) {
  const here = location.hash.startsWith(`#/chat/${conversation.id}`)
  const before = location.hash
  await conversations.markDeleted(conversation, true)
  if (here) location.hash = '#/chat/new'
  offerUndo(t.list.deleted, () => {
    void conversations.markDeleted(conversation, false)
    if (here) location.hash = before
  })
}
