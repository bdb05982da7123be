/** chat.js: the Chat room: list, conversation, composer. */
import { h, fill, button } from '../h.js'
import { t } from '../strings.js'
import * as conversations from '../conversations.js'
import { model, chooseFiles } from '../engine.js'
import { answering, send, stop } from '../chat/answer.js'
import { conversationList } from '../chat/list.js'
import { composer } from '../chat/composer.js'
import { log } from '../chat/log.js'
import { modelCard, offer } from '../chat/modelcard.js'
import { bind } from '../keys.js'
import { keepStorage } from '../storage.js'
import { recall, save } from '../settings.js'

/** @param {HTMLElement} place @param {import('../rooms.js').Context} context @returns {import('../rooms.js').Room} */
export function mount(place, context) {
  /** @type {string} '' is a new conversation */
  let id = ''
  /** Whether "Look around first" was chosen in this browser. */
  let looked = recall('nook.looked') === true

  const list = conversationList({ close: () => context.list(false) })
  const messages = log()
  const heading = h('h1', { class: 'hidden-text foreign', tabindex: -1 })
  const empty = h('div', { class: 'scroll empty' })
  let talking = false
  /** What stands in the empty place: '', 'first' or 'empty'. */
  let drawn = ''
  const slim = modelCard({ slim: true, here: () => talking })
  const full = modelCard({ slim: false, here: () => !talking && drawn === 'empty' })
  const box = composer({ send: submit, stop, editLast: messages.editLast })
  const middle = h(
    'div',
    { class: 'middle' },
    heading,
    messages.element,
    empty,
    h('div', { class: 'latest-place' }, messages.latest)
  )
  const foot = h(
    'div',
    { class: 'foot' },

    h('div', { class: 'strip-slot' }),
    slim.element,
    box.element
  )
  fill(
    place,
    list.element,
    h('div', { class: 'shade', onclick: () => context.list(false) }),
    h('div', { class: 'talk' }, middle, foot)
  )

  /** @param {string} text */
  function submit(text) {
    if (answering.get().id) return false
    const conversation = id ? (conversations.conversationOf(id) ?? null) : null
    const last = id ? conversations.path(id).at(-1) : null
    messages.attach()
    void send(conversation, text, last?.id ?? null).then((target) => {
      if (target.id !== id) location.hash = `#/chat/${target.id}`
      // The first thing worth keeping: now the question makes sense.
      void keepStorage()
    })
    return true
  }

  /* ---- What stands where there are no messages yet ---- */
  const drawEmpty = () => {
    if (model.get().status === 'starting' || !conversations.conversations.get().ready) return
    const isFirst = model.get().status === 'none' && !looked && conversations.visible().length === 0
    const now = isFirst ? 'first' : 'empty'
    document.body.classList.toggle('first-visit', isFirst && !id)
    if (drawn === now) return
    drawn = now
    fill(empty, isFirst ? firstVisit() : emptyChat())
  }

  const firstVisit = () => {
    const look = button({ label: t.first.look, class: 'large look' })
    look.addEventListener('click', () => {
      looked = true
      save('nook.looked', true)
      drawEmpty()
      box.focus()
    })
    return h(
      'div',
      { class: 'first column' },
      h('h1', { tabindex: -1 }, t.first.title),
      h('p', { class: 'lead' }, t.first.about),
      offer(),
      h('p', { class: 'note' }, t.first.file),
      look
    )
  }

  const emptyChat = () => {
    const starters = t.chat.starter.map(({ label, text }) =>
      h(
        'li',
        null,
        h(
          'button',
          { type: 'button', class: 'starter', onclick: () => submit(text) },
          h('span', { class: 'starter-label' }, label),
          h('span', { class: 'note' }, text)
        )
      )
    )
    return h(
      'div',
      { class: 'column welcome' },
      h('h1', { tabindex: -1 }, t.chat.empty),
      h('p', { class: 'note' }, t.chat.emptyAbout),
      full.element,
      h('ul', { class: 'starters', 'aria-label': t.chat.starters }, ...starters)
    )
  }

  const draw = () => {
    const conversation = id ? conversations.conversationOf(id) : null
    const hasMessages = conversation ? conversations.path(conversation.id).length > 0 : false
    messages.element.hidden = !hasMessages
    empty.hidden = hasMessages
    heading.hidden = !hasMessages
    heading.textContent = conversation?.title ?? ''
    talking = hasMessages
    drawEmpty()
    slim.refresh()
    full.refresh()
    document.body.classList.toggle('card-shown', !hasMessages && model.get().status === 'loading')
    context.title(conversation?.title ?? '')
    look()
  }

  /** The composer's state: Send or Stop, its note, and the meter. */
  const look = () => {
    const { id: live, conversation, used, usedIn } = answering.get()
    const { status, info } = model.get()
    box.setBusy(live !== null && conversation === id)
    box.setNote(status === 'loading' ? t.chat.waits : '')
    const room = Number(info?.context ?? 0)
    const last = id ? conversations.path(id).findLast((m) => m.usage) : null
    const tokens = usedIn === id ? used : Number(last?.usage?.total_tokens ?? 0)
    box.setMeter(tokens, status === 'ready' && tokens > 0 ? room : 0)
  }

  /** After a crash or a hand-over, a question without an answer can be answered. */
  const drop = (/** @type {File[]} */ files) => {
    const models = files.filter((file) => /\.gguf$/i.test(file.name))
    // Anything else is refused by the engine, in words.
    void chooseFiles(models.length ? models : files)
  }

  conversations.conversations.subscribe(draw)
  model.subscribe(draw)
  answering.subscribe(look)

  bind({
    new: () => {
      location.hash = '#/chat/new'
      box.focus()
    },
    stop: () => {
      const { id: live } = answering.get()
      if (live) return stop()
      if (document.body.classList.contains('list-open')) return context.list(false)
      box.focus()
    },
    next: () => messages.move(1),
    previous: () => messages.move(-1),
    copy: (event) => {
      const message = messages.focused(event)
      if (!message || String(getSelection())) return false
      void messages.copyText(message)
    },
    again: (event) => {
      const message = messages.focused(event)
      if (message?.role !== 'assistant') return false
      void messages.answerAgain(message)
    },
    versions: (event) => {
      const message = messages.focused(event)
      if (!message) return false
      const versions = conversations.versions(message)
      const at = versions.findIndex((m) => m.id === message.id) + (event.key === 'ArrowLeft' ? -1 : 1)
      if (!versions[at]) return false
      void messages.showVersion(versions, at)
    },
  })

  return {
    list: true,
    drop,
    route([name = '', at = '']) {
      const next = name === 'new' ? '' : name
      const known =
        next && conversations.conversations.get().ready ? (conversations.conversationOf(next) ? next : '') : next
      id = known
      list.select(id)
      messages.show(id, at)
      draw()
      if (name === 'new' && matchMedia('(pointer: fine)').matches) box.focus()
    },
    focus() {
      const target = place.querySelector('h1:not([hidden])')
      const shown = [...place.querySelectorAll('h1')].find((h1) => h1.checkVisibility())
      ;(shown ?? /** @type {HTMLElement | null} */ (target))?.focus({ preventScroll: true })
    },
    leave() {
      document.body.classList.remove('first-visit', 'card-shown')
    },
  }
}
