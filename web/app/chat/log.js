/**
 * log.js: the messages of one conversation. Elements are kept by id and made again only when what they show has changed, so
 * that focus, selection and scroll position survive while an answer grows.
 *
 * Following the end: the first intent upwards (wheel, finger, key, scrollbar) detaches; coming within 50 px of the end
 * attaches
 * again; a shift of the layout does neither.
 */
import { h, fill, icon, button } from '../h.js'
import { t, number } from '../strings.js'
import * as conversations from '../conversations.js'
import { render, streamer } from '../markdown.js'
import { answering, answer, onText, send } from './answer.js'
import { model } from '../engine.js'
import { settings } from '../settings.js'
import { offerUndo, say } from '../status.js'
import { popup, toClipboard } from '../dialogs.js'
import { composing, isTouch } from '../keys.js'
import { problem } from './problem.js'

/** @typedef {import('../conversations.js').Message} Message */

export function log() {
  const list = h('div', { role: 'log', class: 'messages', 'aria-live': 'off', 'aria-label': t.chat.log })
  const sentinel = h('div', { class: 'sentinel', 'aria-hidden': 'true' })
  const latest = button({ icon: 'down', label: t.chat.toLatest, kind: 'quiet', class: 'to-latest', hidden: true })
  const scroll = h('div', { class: 'scroll', tabindex: -1 }, h('div', { class: 'column' }, list, sentinel))
  /** @type {Map<string, {element: HTMLElement, signature: string, push?: (more: string) => void}>} */
  const entries = new Map()
  /** @type {Set<string>} messages shown as plain text */
  const plain = new Set()
  let id = ''
  let editing = ''

  /* ---- Following the end ---- */
  let attached = true
  let queued = false
  let lastTop = 0
  let lastHeight = 0
  const scroller = () => (scroll.scrollHeight > scroll.clientHeight + 1 ? scroll : (document.scrollingElement ?? scroll))
  const follow = () => {
    if (!attached || queued) return
    queued = true
    requestAnimationFrame(() => {
      queued = false
      if (!attached) return
      const target = scroller()
      target.scrollTop = target.scrollHeight
    })
  }
  const detach = () => {
    const target = scroller()
    if (target.scrollHeight <= target.clientHeight + 1) return
    attached = false
    look()
  }
  const attach = () => {
    attached = true
    look()
    follow()
  }
  const look = () => {
    latest.hidden = attached || atEnd
  }
  let atEnd = true
  new IntersectionObserver(
    ([entry]) => {
      atEnd = entry?.isIntersecting ?? true
      if (atEnd) attached = true
      look()
    },
    { rootMargin: '0px 0px 50px 0px' }
  ).observe(sentinel)
  scroll.addEventListener('wheel', (event) => event.deltaY < 0 && detach(), { passive: true })
  let touchY = 0
  scroll.addEventListener('touchstart', (event) => (touchY = event.touches[0]?.clientY ?? 0), { passive: true })
  scroll.addEventListener('touchmove', (event) => (event.touches[0]?.clientY ?? 0) > touchY + 4 && detach(), {
    passive: true,
  })
  scroll.addEventListener('keydown', (event) => {
    if (['PageUp', 'Home', 'ArrowUp'].includes(event.key) && !(event.target instanceof HTMLTextAreaElement)) detach()
  })
  scroll.addEventListener(
    'scroll',
    () => {
      // The scrollbar: upwards without the content having become shorter.
      if (scroll.scrollTop < lastTop - 2 && scroll.scrollHeight >= lastHeight) detach()
      lastTop = scroll.scrollTop
      lastHeight = scroll.scrollHeight
    },
    { passive: true }
  )
  latest.addEventListener('click', () => {
    attach()
    list.querySelector('.message:last-child')?.scrollIntoView({ block: 'end' })
  })
  new ResizeObserver(follow).observe(list)

  /* ---- Drawing ---- */
  const draw = () => {
    const shown = id ? conversations.path(id) : []
    const { details } = settings.get()
    const live = answering.get()
    /** @type {Element[]} */
    const elements = []
    const cutAt = shown.at(-1)?.from ?? shown.at(-2)?.from ?? null
    for (const [i, message] of shown.entries()) {
      if (message.id === cutAt) elements.push(cutLine)
      const versions = conversations.versions(message)
      const at = versions.findIndex((m) => m.id === message.id)
      const writing = live.id === message.id
      const signature = [
        message.state,
        writing ? '' : message.text.length,
        at,
        versions.length,
        message.finish,
        i,
        shown.length,
        details,
        plain.has(message.id),
        editing === message.id,
        live.id === null,
        message.model,
      ].join('|')
      let entry = entries.get(message.id)
      if (entry?.signature !== signature && !(entry?.push && writing)) {
        const had = entry?.element.contains(document.activeElement) ?? false
        const made = build(message, { at, versions, i, of: shown.length, writing, details })
        entry?.element.replaceWith(made.element)
        if (had && !made.element.contains(document.activeElement)) made.element.focus()
        entry = { ...made, signature }
        entries.set(message.id, entry)
      }
      elements.push(entry.element)
    }
    const ids = new Set(shown.map((m) => m.id))
    for (const key of entries.keys()) if (!ids.has(key)) entries.delete(key)
    arrange(elements)
    list.setAttribute('aria-busy', String(live.conversation === id && live.id !== null))
    follow()
  }

  /** Only what is out of place moves: replacing all would lose focus and selection. @param {Element[]} elements */
  const arrange = (elements) => {
    for (const child of [...list.children]) if (!elements.includes(child)) child.remove()
    for (const [i, element] of elements.entries())
      if (list.children[i] !== element) list.insertBefore(element, list.children[i] ?? null)
  }

  const cutLine = h('p', { class: 'cut', role: 'separator', 'aria-label': t.chat.cut }, h('span', null, t.chat.cut))

  /**
   * @param {Message} message
   * @param {{at: number, versions: Message[], i: number, of: number, writing: boolean, details: boolean}} about
   * @returns {{element: HTMLElement, push?: (more: string) => void}}
   */
  const build = (message, { at, versions, i, of, writing, details }) => {
    const mine = message.role === 'user'
    const name = t.chat.message(mine ? t.chat.you : t.chat.answer(message.model ?? ''), i + 1, of)
    const element = h('article', {
      class: ['message', message.role],
      id: `m-${message.id}`,
      tabindex: -1,
      'aria-label': name,
      dataset: { id: message.id },
    })
    if (editing === message.id) {
      element.append(editor(message))
      return { element }
    }
    const body = h('div', { class: 'body' })
    element.append(body)
    if (mine) {
      fill(body, h('p', { class: 'own' }, message.text))
    } else if (writing) {
      const writer = streamer(body)
      writer.push(message.text)
      body.hidden = message.text === ''
      const waiting = waitingPart(() => body.hidden)
      element.append(waiting.element)
      return {
        element,
        push(more) {
          body.hidden = false
          waiting.end()
          writer.push(more)
        },
      }
    } else if (plain.has(message.id)) fill(body, h('p', { class: 'own' }, message.text))
    else if (message.text.trim()) fill(body, h('div', { class: 'prose' }, render(message.text)))
    else body.hidden = true
    const ending = mine ? null : endingOf(message)
    if (ending) element.append(ending)
    element.append(under(message, at, versions, of === i + 1))
    if (!mine && message.timings) element.append(detailsOf(message, details))
    return { element }
  }

  /** How an answer ended, where that is worth a word. @param {Message} message @returns {Node | null} */
  const endingOf = (message) => {
    const again = (/** @type {string} */ kind = 'quiet') =>
      button({ icon: 'again', label: t.chat.again, kind, onclick: () => void answerAgain(message) })
    if (message.state === 'error' && message.error) {
      const room = h('a', { class: 'button main', href: '#/settings/details' }, t.error.toRoom)
      const retry = button({
        label: t.tryAgain,
        kind: message.error.code === 'context_full' ? 'quiet' : 'main',
        onclick: () => void answerAgain(message),
      })
      return problem(message.error, message.error.code === 'context_full' ? [room, retry] : [retry])
    }
    const words = {
      interrupted: t.chat.interrupted,
      abort: t.chat.stopped,
      length: t.chat.length,
      context_full: t.chat.full,
    }
    const key = /** @type {keyof typeof words} */ (message.finish ?? '')
    const text = words[key] ?? (message.text.trim() === '' ? t.chat.silent : '')
    if (!text) return null
    return h('p', { class: 'ending note' }, text, message.finish === 'interrupted' ? again() : null)
  }

  /** @param {Message} message @param {number} at @param {Message[]} versions @param {boolean} last */
  const under = (message, at, versions, last) => {
    const free = answering.get().id === null
    const mine = message.role === 'user'
    const copy =
      message.text === ''
        ? null
        : button({ icon: 'copy', label: t.chat.copy, text: !mine, onclick: () => void copyText(message) })
    // An error has its own button for it.
    const again =
      mine || message.state === 'error'
        ? null
        : button({ icon: 'again', label: t.chat.again, disabled: !free, onclick: () => void answerAgain(message) })
    const edit = mine
      ? button({ icon: 'edit', label: t.chat.edit, text: false, disabled: !free, onclick: () => edited(message.id) })
      : null
    const more = button({ icon: 'more', label: t.chat.more, text: false })
    popup(more, () => menuOf(message), { menu: true, label: t.chat.more })
    return h(
      'div',
      { class: ['under', last ? 'last' : ''], role: 'group', 'aria-label': t.chat.actions },
      copy,
      again,
      edit,
      versions.length > 1 ? switcher(versions, at, free) : null,
      more
    )
  }

  /** @param {Message[]} versions @param {number} at @param {boolean} free */
  const switcher = (versions, at, free) => {
    const go = (/** @type {number} */ next) => void showVersion(versions, next)
    return h(
      'span',
      { class: 'versions' },
      button({ icon: 'left', label: t.chat.older, text: false, disabled: at === 0 || !free, onclick: () => go(at - 1) }),
      h(
        'span',
        { class: 'number note' },
        h('span', { class: 'hidden-text' }, t.chat.versionName(at + 1, versions.length)),
        h('span', { 'aria-hidden': 'true' }, t.chat.version(at + 1, versions.length))
      ),
      button({
        icon: 'right',
        label: t.chat.newer,
        text: false,
        disabled: at === versions.length - 1 || !free,
        onclick: () => go(at + 1),
      })
    )
  }

  /** @param {Message[]} versions @param {number} next */
  const showVersion = async (versions, next) => {
    const version = versions[next]
    if (!version || answering.get().id) return
    attached = false
    await conversations.choose(version)
    await Promise.resolve()
    focusMessage(version.id)
    say(t.chat.versionName(next + 1, versions.length))
  }

  /** @param {Message} message @returns {Node[]} */
  const menuOf = (message) => {
    const item = (/** @type {string} */ name, /** @type {string} */ label, /** @type {() => void} */ run) =>
      button({
        icon: name,
        label,
        onclick: (/** @type {Event} */ event) => {
          const pop = /** @type {HTMLElement} */ (event.currentTarget).closest('[popover]')
          if (pop instanceof HTMLElement) pop.hidePopover()
          run()
        },
      })
    const asPlain = plain.has(message.id)
    return [
      item(
        'branch',
        t.chat.branch,
        () => void conversations.branch(message).then(({ id: to }) => (location.hash = `#/chat/${to}`))
      ),
      ...(message.role === 'assistant'
        ? [
            item('text', asPlain ? t.chat.formatted : t.chat.plain, () => {
              if (asPlain) plain.delete(message.id)
              else plain.add(message.id)
              draw()
            }),
          ]
        : []),
      item('trash', t.chat.deleteMessage, () => void deleteFrom(message)),
    ]
  }

  /** @param {Message} message */
  const deleteFrom = async (message) => {
    if (answering.get().conversation === message.conversation && answering.get().id) return
    await conversations.markMessageDeleted(message, true)
    offerUndo(t.chat.messageDeleted, () => void conversations.markMessageDeleted(message, false))
  }

  /** @param {Message} message */
  const copyText = async (message) => {
    if (!(await toClipboard(message.text))) return
    say(t.chat.copied)
    const label = entries.get(message.id)?.element.querySelector('.under .button')
    label?.classList.add('did')
    setTimeout(() => label?.classList.remove('did'), 1500)
  }

  /** @param {Message} message */
  const answerAgain = async (message) => {
    const question = message.parent ? conversations.messageOf(message.parent) : null
    if (!question || answering.get().id) return
    attach()
    await answer(question)
  }

  /** @param {Message} message */
  const editor = (message) => {
    const box = h('textarea', { class: 'field edit-box', 'aria-label': t.chat.editName, rows: 3, value: message.text })
    const end = () => {
      editing = ''
      draw()
      document.getElementById('composer')?.focus()
    }
    const saveIt = () => {
      const text = box.value.trim()
      const conversation = conversations.conversationOf(message.conversation)
      editing = ''
      if (!text || !conversation || text === message.text) return end()
      attach()
      void send(conversation, text, message.parent)
      document.getElementById('composer')?.focus()
    }
    box.addEventListener('keydown', (event) => {
      if (composing(event)) return
      if (event.key === 'Escape') end()
      else if (event.key === 'Enter' && (event.ctrlKey || event.metaKey || (!event.shiftKey && !isTouch()))) saveIt()
      else return
      event.preventDefault()
      event.stopPropagation()
    })
    setTimeout(() => {
      box.focus()
      box.setSelectionRange(box.value.length, box.value.length)
    })
    return h(
      'div',
      { class: 'editor' },
      box,
      h(
        'div',
        { class: 'actions-row' },
        button({ label: t.chat.editSave, kind: 'main', onclick: saveIt }),
        button({ label: t.cancel, onclick: end })
      )
    )
  }

  /** @param {string} messageId @returns {boolean} */
  const edited = (messageId) => {
    if (answering.get().id) return false
    editing = messageId
    draw()
    return true
  }

  /** @param {string} messageId */
  const focusMessage = (messageId) => {
    const element = entries.get(messageId)?.element
    element?.focus({ preventScroll: true })
    element?.scrollIntoView({ block: 'nearest' })
  }

  onText((messageId, more) => {
    entries.get(messageId)?.push?.(more)
    follow()
  })
  conversations.conversations.subscribe(draw)
  settings.subscribe(draw)
  answering.subscribe(({ id: live }) => {
    // The end of an answer: what was a growing text becomes a message with its actions.
    for (const [key, entry] of entries) if (entry.push && key !== live) entry.signature = ''
    for (const entry of entries.values()) if (entry.signature === '') delete entry.push
    draw()
  })

  return {
    element: scroll,
    latest,
    attach,
    /** @param {string} conversation '' for none @param {string} [at] a message to open at */
    show(conversation, at) {
      if (conversation !== id) {
        id = conversation
        editing = ''
        entries.clear()
        list.replaceChildren()
        attached = true
      }
      draw()
      if (!at) return
      attached = false
      focusMessage(at)
      entries.get(at)?.element.classList.add('found')
      setTimeout(() => entries.get(at)?.element.classList.remove('found'), 4000)
    },
    editLast() {
      const last = id ? conversations.path(id).findLast((m) => m.role === 'user') : null
      return last ? edited(last.id) : false
    },
    /** Moves the focus by one message. @param {1 | -1} step */
    move(step) {
      const all = /** @type {HTMLElement[]} */ ([...list.querySelectorAll('.message')])
      if (!all.length) return false
      const at = all.findIndex((element) => element.contains(document.activeElement))
      const next = at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.max(0, Math.min(all.length - 1, at + step))
      if (step < 0) detach()
      all[next]?.focus({ preventScroll: true })
      all[next]?.scrollIntoView({ block: 'nearest' })
      return true
    },
    /** The message with the focus. @param {Event} event */
    focused(event) {
      const found = event.target instanceof Element ? event.target.closest('.message')?.getAttribute('data-id') : null
      return found ? (conversations.messageOf(found) ?? null) : null
    },
    copyText,
    answerAgain,
    showVersion,
  }
}

/** What stands in an answer's place before its first letter. @param {() => boolean} pending */
function waitingPart(pending) {
  const text = h('span', { class: 'number' })
  const bar = h('progress', { max: 1, 'aria-label': t.chat.readingName, hidden: true })
  const element = h('div', { class: 'waiting note' }, text, bar)
  const look = () => {
    if (!pending()) return
    const { phase, share, left, since } = answering.get()
    const late = performance.now() - since > 1000
    if (phase === 'waiting') {
      const { status, left: modelLeft } = model.get()
      text.textContent =
        status === 'loading' ? t.chat.waiting(modelLeft) : status === 'ready' ? t.chat.preparing : t.chat.needsModel
      bar.hidden = true
      return
    }
    text.textContent = late && share > 0 ? t.chat.readingNow(share, left) : t.chat.preparing
    bar.hidden = !late
    bar.value = share
  }
  const ends = [answering.subscribe(look), model.subscribe(look)]
  const timer = setInterval(look, 500)
  return {
    element,
    end() {
      clearInterval(timer)
      for (const fn of ends) fn()
      element.remove()
    },
  }
}

/** @param {Message} message @param {boolean} always */
function detailsOf({ usage = {}, timings = {}, seed, temperature, model: name, finish, created }, always) {
  const rows = /** @type {[string, string][]} */ ([])
  const cached = Number(usage.cached_tokens ?? usage.prompt_tokens_details?.cached_tokens ?? 0)
  if (timings.prompt_n >= 0) rows.push([t.detail.reading, t.detail.tokens(timings.prompt_n, timings.prompt_ms)])
  if (cached > 0) rows.push(['', t.detail.known(cached, Number(usage.prompt_tokens ?? cached))])
  if (timings.predicted_n >= 0) rows.push([t.detail.generation, t.detail.tokens(timings.predicted_n, timings.predicted_ms)])
  if (finish && t.detail.reasons[finish]) rows.push([t.detail.ended, t.detail.reasons[finish] ?? ''])
  if (name) rows.push([t.detail.model, name])
  if (seed !== undefined)
    rows.push([
      t.detail.seed,
      `${number(seed)}${temperature === undefined ? '' : ` · ${t.settings.details.temperature(temperature)}`}`,
    ])
  rows.push([t.detail.when, t.detail.whenValue(created)])
  return h(
    'details',
    { class: 'details', open: always },
    h('summary', { class: 'note' }, icon('right'), t.details),
    h('dl', { class: 'facts number' }, ...rows.flatMap(([term, value]) => [h('dt', null, term), h('dd', null, value)]))
  )
}
