/**
 * shell.js: what stands around every room: rail, header with the pill and the model, notices, job strip, toasts, the status
 * region, the routes, the drop target, and the two dialogs that are everywhere (find, keys).
 */
import { h, fill, icon, button } from './h.js'
import { t, percent, size } from './strings.js'
import { rooms } from './rooms.js'
import { status, endToast, dismiss } from './status.js'
import { network, counted } from './network.js'
import { model, chooseFiles, leave } from './engine.js'
import { dialog, popup, pickFiles } from './dialogs.js'
import { bind } from './keys.js'
import { keyList } from './keylist.js'
import { openFind } from './find.js'
import { openPicker } from './chat/picker.js'

/** @typedef {{row: import('./rooms.js').Row, place: HTMLElement, room: import('./rooms.js').Room}} Mounted */

/** @type {Map<string, Mounted>} */
const mounted = new Map()
/** @type {Mounted | null} */
let current = null
let baseTitle = ''
const jobStrip = strip()

/** @param {HTMLElement} app @returns {Promise<void>} when the first room stands */
export function drawShell(app) {
  const work = h('main', { class: 'work', id: 'work', 'aria-label': t.shell.work })
  const spoken = h('div', { role: 'status', class: 'hidden-text' })
  const skip = h(
    'a',
    {
      class: 'skip',
      href: '#work',
      onclick: (/** @type {Event} */ e) => {
        e.preventDefault()
        focusComposer()
      },
    },
    t.shell.skip
  )
  fill(
    app,
    skip,
    rail(),
    header(),
    noticesArea(),
    work,
    h('div', { class: 'strip-home' }, jobStrip),
    toastArea(),
    spoken,
    dropTarget()
  )
  status.subscribe(({ spoken: text }) => {
    if (spoken.textContent !== text) spoken.textContent = text
  })
  titles()
  bind({
    help: () => void openKeys(),
    find: () => void openFind(),
    chat: () => void go('chat'),
    settings: () => void go('settings'),
    compose: () => focusComposer(),
  })
  addEventListener('hashchange', () => void route(work))
  fitKeyboard()
  return route(work)
}

/** @param {string} where */
export function go(where) {
  location.hash = `#/${where}`
}

function focusComposer() {
  if (current?.row.id !== 'chat') go('chat')
  const box = document.getElementById('composer')
  if (box) box.focus()
  else current?.room.focus()
}

/** #/room/rest?query → the room's element, made at the first visit and kept. @param {HTMLElement} work */
async function route(work) {
  const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?', 2)
  const [name, ...rest] = path.split('/').map(decodeURIComponent)
  const row = rooms.find((r) => r.id === name) ?? /** @type {import('./rooms.js').Row} */ (rooms[0])
  let next = mounted.get(row.id)
  if (!next) {
    const place = h('div', { class: `room ${row.id}` })
    try {
      const { mount } = await row.open()
      const context = { title: (/** @type {string} */ text) => setTitle(row.id, text), list: openList }
      next = { row, place, room: mount(place, context) }
      mounted.set(row.id, next)
    } catch (error) {
      console.error(error)
      fill(work, h('p', { class: 'room-failed', role: 'alert' }, t.shell.roomFailed))
      return
    }
  }
  const changed = current !== next
  const before = current
  if (changed) {
    before?.room.leave?.()
    current = next
    fill(work, next.place)
    document.body.dataset.room = row.id
    openList(false)
    // Above the composer where the room has one, else at the bottom.
    ;(next.place.querySelector('.strip-slot') ?? document.querySelector('.strip-home'))?.append(jobStrip)
    for (const link of document.querySelectorAll('.rail a')) {
      if (link.getAttribute('href') === `#/${row.id}`) link.setAttribute('aria-current', 'page')
      else link.removeAttribute('aria-current')
    }
  }
  next.room.route(rest, new URLSearchParams(query))
  if (changed && before) next.room.focus()
}

/** @type {Map<string, string>} */
const roomTitles = new Map()

/** @param {string} room @param {string} text */
function setTitle(room, text) {
  roomTitles.set(room, text)
  if (current?.row.id === room || !current) {
    baseTitle = text
    showTitle()
  }
}

function showTitle() {
  const text = roomTitles.get(current?.row.id ?? '') ?? baseTitle
  const job = status.get().jobs.find((j) => j.share !== null)
  document.title = job ? t.tabProgress(job.share ?? 0) : t.tabTitle(text)
  const place = document.getElementById('place')
  if (place) place.textContent = text
}

function titles() {
  status.subscribe(showTitle)
  addEventListener('hashchange', () => setTimeout(showTitle))
}

/** The list of the room as a drawer, where it has no column of its own. @param {boolean} open */
export function openList(open) {
  document.body.classList.toggle('list-open', open)
  const opener = document.getElementById('list-opener')
  opener?.setAttribute('aria-expanded', String(open))
  const list = document.querySelector('.list')
  if (open) list?.querySelector('input')?.focus()
  else if (list?.contains(document.activeElement) && getComputedStyle(list).position === 'fixed') opener?.focus()
}

/* ---- Rail and header ------------------------------------------------------------------------------------------------ */

function rail() {
  const link = (/** @type {import('./rooms.js').Row} */ row) =>
    h('a', { href: `#/${row.id}`, class: row.foot ? 'foot' : '' }, icon(row.icon), h('span', null, t.rooms[row.id]))
  return h('nav', { class: 'rail', 'aria-label': t.shell.rooms }, ...rooms.map(link))
}

function header() {
  const opener = button({ icon: 'list', label: t.list.open, text: false, id: 'list-opener', class: 'list-opener' })
  opener.addEventListener('click', () => openList(!document.body.classList.contains('list-open')))
  return h(
    'header',
    { class: 'header', 'aria-label': t.shell.header },
    opener,
    h('a', { class: 'brand', href: '#/chat', 'aria-label': t.name }, icon('nook'), h('span', null, t.name)),
    h('span', { class: 'place foreign', id: 'place' }),
    pill(),
    modelChip()
  )
}

function pill() {
  const text = h('span', { class: 'long number' })
  const short = h('span', { class: 'short number', 'aria-hidden': 'true' })
  const element = h('button', { type: 'button', class: 'chip pill' }, icon('shield'), text, short)
  const pop = popup(element, pillContent, { label: t.pill.title })
  network.subscribe(() => {
    const n = counted()
    text.textContent = t.pill.text(n)
    short.textContent = t.pill.short(n)
    element.setAttribute('aria-label', t.pill.name(n))
    element.classList.toggle('busy', n > 0)
    pop.refresh()
  })
  return element
}

function pillContent() {
  const { requests, mark, markTime, watched } = network.get()
  /** @type {Node[]} */
  const rows = requests.slice(-200).map(({ url, time }) => {
    const { host, pathname } = new URL(url)
    return h('li', null, h('span', { class: 'number' }, t.pill.row(time)), h('code', null, host + pathname))
  })
  if (mark !== null && rows.length) {
    rows.splice(
      Math.min(mark, rows.length),
      0,
      h('li', { class: 'mark-line' }, h('span', { class: 'number' }, t.pill.row(markTime)), t.pill.arrived)
    )
  }
  return [
    h('h2', { class: 'pop-title' }, t.pill.title),
    h('p', null, mark === null ? t.pill.before(requests.length) : t.pill.after(counted())),
    h('p', null, t.pill.check),
    h('p', { class: 'note' }, t.pill.kept(location.origin)),
    h(
      'details',
      { class: 'requests' },
      h('summary', null, requests.length ? t.pill.list(requests.length) : t.pill.none),
      h('ol', null, ...rows),
      h('p', { class: 'note' }, watched ? t.pill.byWorker : t.pill.notWatched)
    ),
  ]
}

function modelChip() {
  const text = h('span', { class: 'long number' })
  const element = h('button', { type: 'button', class: 'chip model-chip' }, icon('model'), text)
  const pop = popup(element, modelContent, { label: t.model.heading })
  model.subscribe((state) => {
    const what = chipText(state)
    text.textContent = what
    element.setAttribute('aria-label', t.model.chipName(what))
    element.classList.toggle('unready', state.status !== 'ready')
    if (state.status !== 'loading') pop.refresh()
  })
  return element
}

/** @param {import('./engine.js').Model} state */
function chipText({ status: now, name, info, loaded, total }) {
  if (now === 'ready') return t.model.chip(name, info?.memory?.total ?? 0)
  if (now === 'loading') return total > 0 ? `${name} · ${percent(loaded / total)}` : name
  if (now === 'elsewhere' || now === 'moved') return t.model.elsewhere
  if (now === 'paused') return t.model.paused(name)
  return t.model.none
}

/** @returns {Node[]} */
function modelContent() {
  const { status: now, name, bytes, info, choice } = model.get()
  const actions = h('div', { class: 'pop-actions' })
  const open = button({ icon: 'file', label: t.model.other, kind: 'quiet' })
  open.addEventListener('click', () => void openModelFile())
  actions.append(button({ icon: 'model', label: t.picker.open, kind: 'quiet', onclick: () => void openPicker() }), open)
  if (now === 'ready') actions.append(button({ label: t.model.leave, onclick: () => void leave() }))
  const title = h('h2', { class: 'pop-title' }, now === 'none' || !name ? t.model.none : name)
  if (now !== 'ready')
    return [title, h('p', { class: 'note' }, bytes ? `${t.model.file}: ${size(bytes)}` : t.first.file), actions]
  const card = choice?.kind === 'card' ? choice.card : null
  return [title, facts(info, bytes, card?.licence), actions]
}

/** Facts of a loaded model as a list of terms. @param {any} info @param {number} bytes @param {string} [licence] */
export function facts(info, bytes, licence) {
  const memory = info?.memory ?? {}
  const parts = /** @type {[string, number][]} */ ([
    [t.model.weights, memory.weights],
    [t.model.kv, memory.kv],
    [t.model.work, memory.work],
  ]).filter(([, n]) => Number(n) > 0)
  const total = parts.reduce((sum, [, n]) => sum + n, 0)
  const types = Object.entries(info?.types ?? {})
    .map(([type]) => type)
    .join(', ')
  /** @type {[string, string | Node | null][]} */
  const rows = [
    [t.model.memory, total ? h('span', { class: 'number' }, size(memory.total ?? total)) : null],
    [
      '',
      parts.length
        ? h('span', { class: 'note number' }, parts.map(([what, n]) => t.model.memoryValue(what, n)).join(' · '))
        : null,
    ],
    [t.model.file, bytes ? size(bytes) : null],
    [t.model.parameters, info?.parameters ? t.model.parametersValue(Number(info.parameters)) : null],
    [t.model.architecture, info?.architecture ? h('span', { class: 'foreign' }, info.architecture) : null],
    [t.model.types, types ? h('span', { class: 'foreign' }, types) : null],
    [t.model.room, info?.context ? t.model.roomValue(Number(info.context), Number(info.trained_context ?? 0)) : null],
    [t.model.build, info?.build ? t.model.buildValue(String(info.build), Number(info.threads ?? 1)) : null],
    [
      t.model.why,
      Array.isArray(info?.reasons) && info.reasons.length ? h('span', { class: 'foreign' }, info.reasons.join('; ')) : null,
    ],
    [t.model.licence, licence ?? null],
  ]
  return h(
    'dl',
    { class: 'facts' },
    ...rows.filter(([, value]) => value).flatMap(([term, value]) => [h('dt', null, term), h('dd', null, value)])
  )
}

/** Asks for a model file and loads it. */
export async function openModelFile() {
  const files = await pickFiles({ accept: '.gguf', multiple: true })
  if (!files.length) return
  go('chat')
  await chooseFiles(files)
}

/* ---- Notices, strip, toasts ----------------------------------------------------------------------------------------- */

function noticesArea() {
  const area = h('div', { class: 'notices', role: 'region', 'aria-label': t.shell.notices })
  status.subscribe(({ notices }) => {
    area.hidden = notices.length === 0
    fill(
      area,
      notices.map(({ id, text, kind = 'note', actions = [], closable }) =>
        h(
          'div',
          { class: `notice ${kind}` },
          icon(kind === 'warn' ? 'alert' : 'info'),
          h('p', null, text),
          ...actions.map(({ label, run }) => button({ label, kind: 'quiet', onclick: run })),
          closable ? button({ icon: 'close', label: t.close, text: false, onclick: () => dismiss(id) }) : null
        )
      )
    )
  })
  return area
}

function strip() {
  const label = h('a', { class: 'strip-label', href: '#/chat' })
  const text = h('span', { class: 'number' })
  const more = h('span', { class: 'number' })
  const bar = h('progress', { max: 1, 'aria-label': t.shell.jobs })
  const pauseButton = button({ icon: 'pause', label: t.shell.pause, text: false })
  const stopButton = button({ icon: 'stop', label: t.shell.stop, text: false })
  const element = h(
    'section',
    { class: 'strip', 'aria-label': t.shell.jobs, hidden: true },
    bar,
    h('div', { class: 'strip-row' }, label, text, more, pauseButton, stopButton)
  )
  /** @type {import('./status.js').Job | undefined} */
  let job
  pauseButton.addEventListener('click', () => job?.pause?.())
  stopButton.addEventListener('click', () => job?.stop?.())
  status.subscribe(({ jobs }) => {
    job = jobs[0]
    element.hidden = !job
    document.body.classList.toggle('has-job', !!job)
    if (!job) return
    label.textContent = job.label
    label.setAttribute('href', `#/${job.room}`)
    text.textContent = [
      job.share === null ? '' : t.shell.jobShare(job.share),
      job.left === null ? '' : t.shell.jobLeft(job.left),
    ]
      .filter(Boolean)
      .join(' · ')
    if (job.share === null) bar.removeAttribute('value')
    else bar.value = job.share
    more.textContent = jobs.length > 1 ? t.shell.jobMore(jobs.length - 1) : ''
    pauseButton.hidden = !job.pause
    stopButton.hidden = !job.stop
  })
  return element
}

function toastArea() {
  const area = h('div', { class: 'toasts', role: 'region', 'aria-label': t.shell.toasts })
  /** @type {Map<number, {element: HTMLElement, timer: ReturnType<typeof setTimeout>}>} */
  const shown = new Map()
  status.subscribe(({ toasts }) => {
    for (const [id, { element, timer }] of shown) {
      if (toasts.some((toast) => toast.id === id)) continue
      clearTimeout(timer)
      element.remove()
      shown.delete(id)
    }
    for (const { id, text, action } of toasts) {
      if (shown.has(id)) continue
      const element = h(
        'div',
        { class: 'toast' },
        h('p', null, text),
        button({ label: action.label, kind: 'link', onclick: action.run })
      )
      const wait = () => setTimeout(() => endToast(id), 10_000)
      const entry = { element, timer: wait() }
      for (const type of ['pointerenter', 'focusin']) element.addEventListener(type, () => clearTimeout(entry.timer))
      for (const type of ['pointerleave', 'focusout']) element.addEventListener(type, () => (entry.timer = wait()))
      shown.set(id, entry)
      area.append(element)
    }
    area.hidden = shown.size === 0
  })
  return area
}

/* ---- Dropped files -------------------------------------------------------------------------------------------------- */

function dropTarget() {
  const target = h(
    'div',
    { class: 'drop', hidden: true },
    h(
      'div',
      null,
      icon('file'),
      h('p', { class: 'drop-title' }, t.shell.dropHere),
      h('p', { class: 'note' }, t.shell.dropHint)
    )
  )
  let depth = 0
  const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes('Files') ?? false
  const show = (/** @type {number} */ n) => {
    depth = Math.max(0, n)
    target.hidden = depth === 0
  }
  addEventListener('dragenter', (event) => {
    if (!hasFiles(event)) return
    event.preventDefault()
    show(depth + 1)
  })
  addEventListener('dragleave', (event) => hasFiles(event) && show(depth - 1))
  addEventListener('dragover', (event) => hasFiles(event) && event.preventDefault())
  addEventListener('drop', (event) => {
    if (!hasFiles(event)) return
    event.preventDefault()
    show(0)
    const files = [...(event.dataTransfer?.files ?? [])]
    if (current?.room.drop) current.room.drop(files)
    else {
      go('chat')
      void chooseFiles(files)
    }
  })
  return target
}

/* ---- Dialogs that are everywhere ------------------------------------------------------------------------------------ */

export function openKeys() {
  return dialog({ title: t.keys.title, wide: true }, h('p', { class: 'note' }, t.keys.about), keyList()).closed
}

/** The on-screen keyboard covers a part of the page; what is fixed to its bottom stays above it. */
function fitKeyboard() {
  const view = window.visualViewport
  if (!view) return
  const fit = () => {
    if (view.scale > 1.01) return
    document.documentElement.style.setProperty('--view', `${Math.round(view.height)}px`)
  }
  view.addEventListener('resize', fit)
  fit()
}
