/**
 * modelcard.js: where the model is on its way, and what can be done about it. The same card stands in the middle of an
 * empty
 * chat and above the composer of a conversation.
 */
import { h, fill, button } from '../h.js'
import { t } from '../strings.js'
import { model, resume, pause, stop, take, choose } from '../engine.js'
import { cards, connectionSpeed, onThisMachine } from '../models.js'
import { settings, change, rooms } from '../settings.js'
import { openModelFile } from '../shell.js'
import { picker } from './picker.js'
import { problem } from './problem.js'

const pickButton = (/** @type {string} */ label = t.first.have) =>
  button({ icon: 'file', label, kind: 'quiet', class: 'large', onclick: () => void openModelFile() })

/**
 * @param {{slim: boolean, here: () => boolean}} options slim: above the composer, without what the strip shows; here:
 * whether
 *   this card is the one that is shown now
 * @returns {{element: HTMLElement, refresh: () => void}}
 */
export function modelCard({ slim, here }) {
  const element = h('section', { class: ['model-card', slim ? 'slim' : ''], 'aria-label': t.model.heading })
  const progress = loadingPart()
  let stayed = false
  let shape = ''
  const refresh = () => {
    const state = model.get()
    const { status, why, error } = state
    const hidden =
      !here() ||
      status === 'ready' ||
      status === 'starting' ||
      (slim && status === 'loading') ||
      (status === 'elsewhere' && stayed && !slim)
    element.hidden = hidden
    if (hidden) {
      shape = ''
      fill(element)
      return
    }
    if (status === 'loading') progress.update(state)
    const now = `${status} ${why} ${error?.code ?? ''} ${stayed} ${state.name} ${state.phase}`
    if (now === shape) return
    shape = now
    if (status === 'loading') fill(element, progress.element)
    else fill(element, ...content(state))
  }
  /** @param {import('../engine.js').Model} state @returns {(Node | null)[]} */
  const content = (state) => {
    const { status, why, name, loaded, error, choice } = state
    const main = (/** @type {string} */ label, /** @type {() => void} */ run) =>
      button({ label, kind: 'main', class: 'large', onclick: run })
    const row = (/** @type {(Node | null)[]} */ ...buttons) => h('div', { class: 'actions-row' }, ...buttons)
    if (status === 'elsewhere' || status === 'moved') {
      const stay = button({
        label: t.tabs.stay,
        kind: 'quiet',
        class: 'large',
        onclick: () => {
          stayed = true
          refresh()
        },
      })
      const text = status === 'moved' ? t.tabs.moved : stayed ? t.tabs.reading : t.tabs.elsewhere
      return [
        h('p', null, text),
        row(
          main(status === 'moved' ? t.tabs.bring : t.tabs.here, () => void take()),
          status === 'moved' || stayed ? null : stay
        ),
      ]
    }
    if (status === 'paused') {
      const text = why === 'broken' ? t.load.broken(loaded) : loaded ? t.load.paused(loaded) : t.load.notLoaded(name)
      return [
        h('p', { class: 'number' }, text),
        row(
          main(t.shell.resume, () => void resume()),
          pickButton()
        ),
      ]
    }
    if (status === 'idle' && why === 'files') return [h('p', null, t.load.chooseAgain(name)), row(pickButton(t.load.pick))]
    if (status === 'idle') {
      const text = why === 'crashed' ? t.load.crashed(name) : t.load.notLoaded(name)
      const again = choice ? main(why === 'crashed' ? t.tryAgain : t.load.loadIt, () => void resume()) : null
      const smaller = why === 'crashed' && choice ? smallerRoom(() => void resume()) : null
      return [h('p', null, text), row(again, smaller, pickButton())]
    }
    if (status === 'failed' && error) return [problem(error, failedActions(state))]
    return [offer()]
  }
  model.subscribe(refresh)
  return { element, refresh }
}

/** @param {() => void} then */
function smallerRoom(then) {
  const smaller = rooms.filter((n) => n < settings.get().room).at(-1)
  if (!smaller) return null
  const run = () => {
    change({ room: smaller })
    then()
  }
  return button({ label: t.error.shorterRoom(smaller), kind: 'quiet', class: 'large', onclick: run })
}

/** @param {import('../engine.js').Model} state @returns {(Node | null)[]} */
function failedActions({ error, choice }) {
  const again = choice ? button({ label: t.tryAgain, kind: 'main', onclick: () => void resume() }) : null
  const other = button({ label: t.error.pickOther, kind: 'quiet', onclick: () => void openModelFile() })
  const storage = h('a', { class: 'button quiet', href: '#/settings/storage' }, t.error.toStorage)
  if (error?.code === 'memory') return [smallerRoom(() => void resume()), again]
  if (error?.code === 'quota') return [storage, again]
  if (error?.code === 'format' || error?.code === 'unsupported') return [other]
  return [again, other]
}

function loadingPart() {
  const label = h('p', { class: 'card-title' })
  const numbers = h('p', { class: 'number' })
  const bar = h('progress', { max: 1 })
  const note = h('p', { class: 'note' })
  const pauseButton = button({ icon: 'pause', label: t.shell.pause, kind: 'quiet', onclick: pause })
  const stopButton = button({ icon: 'stop', label: t.shell.stop, kind: 'plain', onclick: stop })
  const element = h(
    'div',
    { class: 'loading-part' },
    h(
      'div',
      { class: 'loading-head' },
      h('div', null, label, numbers),
      h('div', { class: 'actions-row' }, pauseButton, stopButton)
    ),
    bar,
    note
  )
  return {
    element,
    /** @param {import('../engine.js').Model} state */
    update({ name, phase, loaded, total, left, rate, kept, choice }) {
      const download = phase === 'download'
      label.textContent = download ? t.load.downloading(name) : name
      const line = download
        ? t.load.downloadWith(loaded, total, left) + (rate ? ` · ${t.load.rate(rate)}` : '')
        : kept || choice?.kind === 'card'
          ? t.load.loadingKept(left)
          : t.load.loadingFile(left)
      numbers.textContent = line
      bar.setAttribute('aria-label', download ? t.model.downloading(name) : t.model.loading(name))
      if (total > 0) bar.value = loaded / total
      else bar.removeAttribute('value')
      note.textContent = document.hidden ? t.load.slower : t.load.already
      pauseButton.hidden = !download
    },
  }
}

/** The models on offer: the default one large, others behind a fold. */
export function offer() {
  const place = h('div', { class: 'offer' })
  void cards().then((list) => {
    const [first, ...others] = list
    if (!first) {
      fill(
        place,
        h('p', null, navigator.onLine ? t.first.noCards : t.first.offlineNone),
        h('div', { class: 'actions-row' }, pickButton(t.load.pick))
      )
      return
    }
    const shelf = h('div')
    // Looking takes a moment; who does not look waits for nothing.
    const lookOnce = () => shelf.hasChildNodes() || shelf.append(picker().element)
    fill(
      place,
      h('div', { class: 'actions-row' }, getButton(first, 'main'), pickButton()),
      h('p', { class: 'note number' }, modelLine(first), ' ', beforeText(first)),
      others.length
        ? h(
            'details',
            { class: 'others', ontoggle: lookOnce },
            h('summary', null, t.first.others),
            shelf
          )
        : null
    )
  })
  return place
}

/** @param {import('../models.js').Card} card @param {string} kind */
function getButton(card, kind) {
  return button({
    icon: 'get',
    label: t.first.get(card.bytes),
    kind,
    class: 'large',
    onclick: () => void choose({ kind: 'card', card }),
  })
}

/** Size and time, before anything is fetched. @param {import('../models.js').Card} card */
function beforeText(card) {
  if (onThisMachine()) return t.first.beforeHere(card.bytes)
  const speed = connectionSpeed()
  return speed ? t.first.before(card.bytes, card.bytes / speed) : t.first.beforeUnknown(card.bytes)
}

/** @param {import('../models.js').Card} card */
function modelLine(card) {
  const line = t.first.modelLine(card.name, card.licence)
  const url = card.urls[0]
  return onThisMachine() || !url ? line : `${line} ${t.first.beforeHost(new URL(url).host)}`
}
