/**
 * engine.js: the model of this tab: which one, where it is on its way, who owns it. The only file of the page that calls
 * the engine's client (web/index.js) to load. Views read the store; they call choose, pause, resume, stop, take and leave.
 *
 * One tab owns the model, by a Web Lock. A mark in localStorage says "loading"; if it is still there at the next start and
 * no tab owns the model, the tab died of it, and the model is not started again by itself.
 */
import { createStore } from './store.js'
import { settings, save, recall } from './settings.js'
import { clock, endJob, notify, say, showJob } from './status.js'
import { cards, localUrl, remember, remembered, sourceOf } from './models.js'
import { modelArrived } from './network.js'
import { settleInterrupted } from './conversations.js'
import { t } from './strings.js'

/**
 * @typedef {{kind: 'card', card: import('./models.js').Card} | {kind: 'files', files: File[]}} Choice
 * @typedef {'starting' | 'none' | 'idle' | 'loading' | 'paused' | 'ready' | 'failed' | 'elsewhere' | 'moved'} Status
 *
 * @typedef {object} Model
 * @property {Status} status
 * @property {Choice | null} choice
 * @property {string} name
 * @property {number} bytes of the file
 * @property {'' | 'download' | 'load'} phase
 * @property {number} loaded bytes
 * @property {number} total bytes
 * @property {number | null} left seconds
 * @property {number | null} rate bytes a second
 * @property {boolean} kept whether it comes from this browser's store
 * @property {'' | 'crashed' | 'files' | 'stopped' | 'left' | 'broken'} why it is idle or paused
 * @property {{code: string, message: string, hint: string} | null} error
 * @property {any} info the engine's facts
 */

/** @type {import('./store.js').Store<Model>} */
export const model = createStore(
  /** @type {Model} */ ({
    status: 'starting',
    choice: null,
    name: '',
    bytes: 0,
    phase: '',
    loaded: 0,
    total: 0,
    left: null,
    rate: null,
    kept: false,
    why: '',
    error: null,
    info: null,
  })
)

const LOCK = 'nook.model'
const MARK = 'nook.loading'
const channel = 'BroadcastChannel' in globalThis ? new BroadcastChannel('nook.owner') : null

/** @type {any} the loaded model of the client, or null */
let llm = null
/** @type {AbortController | null} */
let loading = null
/** @type {(() => void) | null} lets the lock go */
let release = null
/**
 * Functions to run before the model leaves this tab (the running answer is stopped and saved).
 * @type {Set<(forGood: boolean) => Promise<void>>}
 */
const leaving = new Set()

export const engine = () => llm
/** @param {(forGood: boolean) => Promise<void>} fn forGood: no other model follows it in this tab */
export const beforeLeaving = (fn) => leaving.add(fn)

/** The engine's client; its absence is told in words. */
export async function client() {
  try {
    // @ts-ignore: the client is typed where it is written
    return await import('../index.js')
  } catch (cause) {
    throw Object.assign(new Error(t.error.noEngine, { cause }), { code: 'internal', hint: t.error.noEngineMeans })
  }
}

/** Settles the model at the start of the page. */
export async function start() {
  addEventListener('pagehide', () => save(MARK, null))
  if (channel) channel.onmessage = ({ data }) => void heard(data)
  if (!(await own('free'))) {
    showElsewhere('elsewhere')
    return
  }
  await restore()
}

/** The model of last time: loaded again if it is kept whole, else offered. */
async function restore() {
  await settleInterrupted()
  const last = remembered()
  const crashed = recall(MARK)
  save(MARK, null)
  if (!last) {
    model.set({ status: 'none', choice: null })
    return
  }
  const card = last.kind === 'card' ? ((await cards()).find((c) => c.id === last.id) ?? null) : null
  const choice = card ? /** @type {Choice} */ ({ kind: 'card', card }) : null
  model.set({ name: last.name, bytes: last.bytes, choice })
  if (last.kind === 'card' && !card) {
    model.set({ status: 'none' })
  } else if (crashed) model.set({ status: 'idle', why: 'crashed', name: String(crashed.name ?? last.name) })
  else if (!choice) model.set({ status: 'idle', why: 'files' })
  else if (last.whole) await load(choice)
  else model.set({ status: 'paused', why: 'stopped', phase: 'download', loaded: 0, total: last.bytes })
}

/* ---- Ownership ------------------------------------------------------------------------------------------------------ */

/**
 * @param {'free' | 'steal' | 'wait'} how
 * @returns {Promise<boolean>} whether this tab owns the model now
 */
async function own(how) {
  if (release || !navigator.locks) return true
  /** @type {LockOptions} */
  const options = how === 'steal' ? { steal: true } : how === 'free' ? { ifAvailable: true } : { signal: newWait() }
  return new Promise((resolve) => {
    navigator.locks
      .request(LOCK, options, (lock) => {
        // While this request waited, another one of this tab may have been granted.
        if (!lock || release) return resolve(false)
        resolve(true)
        return new Promise((done) => (release = () => done(undefined)))
      })
      .catch(() => (options.signal?.aborted ? resolve(false) : void lost()))
  })
}

/** The request that waits for the owner to close. @type {AbortController | null} */
let waiting = null
const newWait = () => {
  waiting?.abort()
  waiting = new AbortController()
  return waiting.signal
}

/** Another tab owns the model; when it closes, this one goes on by itself. @param {'elsewhere' | 'moved'} status */
function showElsewhere(status) {
  model.set({ status, phase: '' })
  void own('wait').then((mine) => (mine ? restore() : undefined))
}

/** Another tab took the lock without asking, since this one did not answer in time. */
async function lost() {
  release = null
  await unload(true)
  showElsewhere('moved')
}

/** "Go on here" and "Bring it back". */
export async function take() {
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, 3000)
    given = () => {
      clearTimeout(timer)
      resolve(undefined)
    }
    channel?.postMessage('give')
  })
  given = null
  waiting?.abort()
  if (await own('steal')) await restore()
}

/** @type {(() => void) | null} */
let given = null

/** @param {unknown} what */
async function heard(what) {
  if (what === 'given') given?.()
  if (what !== 'give' || !release) return
  await unload(true)
  release()
  release = null
  channel?.postMessage('given')
  // The next request of the lock comes after the other tab's.
  setTimeout(() => showElsewhere('moved'), 500)
}

/* ---- Loading -------------------------------------------------------------------------------------------------------- */

/** Loads this model, in place of the one that is there. @param {Choice} choice */
export async function choose(choice) {
  if (!(await own('free'))) {
    showElsewhere('elsewhere')
    return
  }
  await unload(false)
  await load(choice)
}

export async function resume() {
  const { choice } = model.get()
  if (choice) await choose(choice)
}

export function pause() {
  pausing = true
  loading?.abort()
}
let pausing = false

/** Stops loading for good (what has arrived stays, to go on from). */
export function stop() {
  pausing = false
  loading?.abort()
  if (model.get().status === 'paused') model.set({ status: 'idle', why: 'stopped' })
  endJob('model')
}

/** Closes the model. */
export async function leave() {
  await unload(true)
  model.set({ status: 'idle', why: 'left', info: null, phase: '' })
}

/** @param {boolean} forGood */
async function unload(forGood) {
  loading?.abort()
  for (const fn of leaving) await fn(forGood)
  const old = llm
  llm = null
  await old?.dispose()
}

/** @param {Choice} choice */
async function load(choice) {
  const controller = new AbortController()
  loading?.abort()
  loading = controller
  pausing = false
  const name = choice.kind === 'card' ? choice.card.name : nameOf(choice.files)
  const bytes = choice.kind === 'card' ? choice.card.bytes : choice.files.reduce((sum, file) => sum + file.size, 0)
  const before = remembered()
  const whole = before?.kind === 'card' && choice.kind === 'card' && before.id === choice.card.id && before.whole
  /** @param {boolean} isWhole */
  const keepInMind = (isWhole) =>
    remember(
      choice.kind === 'card'
        ? { kind: 'card', id: choice.card.id, name, bytes, whole: isWhole }
        : { kind: 'files', name, bytes, whole: isWhole }
    )
  keepInMind(whole)
  save(MARK, { name, time: Date.now() })
  model.set({
    status: 'loading',
    choice,
    name,
    bytes,
    phase: whole || choice.kind === 'files' ? 'load' : 'download',
    loaded: 0,
    total: bytes,
    left: null,
    rate: null,
    kept: whole,
    error: null,
    info: null,
    why: '',
  })
  const progress = reporter(choice)
  try {
    const { load: loadModel } = await client()
    const url = choice.kind === 'files' ? null : await addressOf(choice.card, whole)
    controller.signal.throwIfAborted()
    const loaded = await loadModel({
      model: choice.kind === 'files' ? choice.files : url,
      ...(choice.kind === 'card' && choice.card.sha256 ? { sha256: choice.card.sha256 } : {}),
      contextSize: choice.kind === 'card' ? Math.min(settings.get().room, choice.card.context) : settings.get().room,
      signal: controller.signal,
      onProgress: progress,
    })
    if (controller.signal.aborted) {
      await loaded.dispose()
      throw new DOMException('', 'AbortError')
    }
    llm = loaded
    keepInMind(true)
    const fetched = model.get().phase === 'download' || !model.get().kept
    model.set({ status: 'ready', info: loaded.info, phase: '', kept: choice.kind === 'card' })
    if (fetched && choice.kind === 'card' && choice.card.sha256) say(`${t.load.checked} ${t.load.ready(name)}`)
    else say(t.load.ready(name))
    modelArrived()
  } catch (error) {
    fail(error, controller)
  } finally {
    save(MARK, null)
    endJob('model')
    if (loading === controller) loading = null
  }
}

/**
 * Where the file of a card is fetched from. A file that is kept here is found by its hash, so that nothing is looked for
 * then.
 * @param {import('./models.js').Card} card @param {boolean} whole it is kept here
 */
async function addressOf(card, whole) {
  if (whole) return card.urls[0] ?? localUrl(card)
  const source = await sourceOf(card)
  if (source) return source.url
  throw Object.assign(new Error(t.error.noSource(card.file)), { code: 'download', hint: t.first.file })
}

/** @param {any} error @param {AbortController} controller */
function fail(error, controller) {
  if (loading !== controller) return
  if (controller.signal.aborted) {
    model.set({ status: pausing ? 'paused' : 'idle', why: 'stopped', rate: null, left: null })
    return
  }
  const code = String(error?.code ?? 'internal')
  const broken = code === 'download' && model.get().loaded > 0
  const facts = { code, message: String(error?.message ?? error), hint: String(error?.hint ?? '') }
  model.set({ status: broken ? 'paused' : 'failed', why: broken ? 'broken' : '', error: facts, rate: null, left: null })
}

/** @param {Choice} choice */
function reporter(choice) {
  let time = clock()
  let phase = ''
  let shown = 0
  /** @param {{phase: string, loaded: number, total: number, message?: string}} event */
  return (event) => {
    if (event.phase === 'warning') {
      // A fact that the engine's client tells in its own words: not kept, for want of room.
      notify({ id: 'engine', kind: 'warn', text: String(event.message), closable: true })
      return
    }
    const next = event.phase === 'download' ? 'download' : 'load'
    if (next !== phase) time = clock()
    const now = performance.now()
    const left = time.left(event.loaded, event.total)
    if (next === phase && now - shown < 100 && event.loaded < event.total) return
    phase = next
    shown = now
    model.set({
      phase: next,
      loaded: event.loaded,
      total: event.total,
      left,
      rate: time.rate,
      kept: next === 'load' && choice.kind === 'card',
    })
    const share = event.total > 0 ? event.loaded / event.total : null
    const name = model.get().name
    const label = next === 'download' ? t.model.downloading(name) : t.model.loading(name)
    showJob({ id: 'model', room: 'chat', label, share, left, pause: next === 'download' ? pause : null, stop })
  }
}

/** @param {File[]} files */
function nameOf(files) {
  const name = files[0]?.name ?? ''
  return name.replace(/\.gguf$/i, '').replace(/-0*1-of-\d+$/i, '')
}

/** Files that were picked or dropped: the parts of one model, in order. @param {Iterable<File>} list */
export async function chooseFiles(list) {
  const files = [...list].sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }))
  if (files.length) await choose({ kind: 'files', files })
}
