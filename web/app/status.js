/**
 * status.js: what screen readers hear, what the strip above the composer shows while something long runs, toasts for undo,
 * and
 * notices. Stores and functions only; shell.js shows them.
 */
import { createStore } from './store.js'
import { t } from './strings.js'

/**
 * @typedef {object} Job
 * @property {string} id
 * @property {string} room where a click leads
 * @property {string} label
 * @property {number | null} share 0 to 1, null when unknown
 * @property {number | null} left seconds
 * @property {string} [text] instead of share and time
 * @property {(() => void) | null} [pause]
 * @property {(() => void) | null} [resume]
 * @property {(() => void) | null} [stop]
 *
 * @typedef {{label: string, run: () => void, main?: boolean}} Action
 * @typedef {{id: string, text: string, kind?: 'note' | 'warn', actions?: Action[], closable?: boolean}} Notice
 * @typedef {{id: number, text: string, action: Action}} Toast
 */

/** @type {import('./store.js').Store<{jobs: Job[], notices: Notice[], toasts: Toast[], spoken: string}>} */
export const status = createStore({
  jobs: /** @type {Job[]} */ ([]),
  notices: /** @type {Notice[]} */ ([]),
  toasts: /** @type {Toast[]} */ ([]),
  spoken: '',
})

/** Says something once, politely. @param {string} text */
export function say(text) {
  // An equal text is no change, and no change is not read: a trailing space makes it one.
  status.set({ spoken: text === status.get().spoken ? `${text} ` : text })
}

/** Quarters of each job that were spoken. @type {Map<string, number>} */
const quarters = new Map()

/** @param {Job} job */
export function showJob(job) {
  const jobs = status.get().jobs.filter((other) => other.id !== job.id)
  status.set({ jobs: [...jobs, job].sort((a, b) => (a.id < b.id ? -1 : 1)) })
  const quarter = Math.floor((job.share ?? 0) * 4)
  const before = quarters.get(job.id)
  quarters.set(job.id, quarter)
  if (before !== undefined && quarter > before && quarter < 4) say(t.shell.jobSpoken(job.label, quarter / 4))
}

/** @param {string} id */
export function endJob(id) {
  quarters.delete(id)
  if (status.get().jobs.some((job) => job.id === id)) status.set({ jobs: status.get().jobs.filter((job) => job.id !== id) })
}

/** @param {Notice} notice */
export function notify(notice) {
  status.set({ notices: [...status.get().notices.filter((n) => n.id !== notice.id), notice] })
}

/** @param {string} id */
export const dismiss = (id) => status.set({ notices: status.get().notices.filter((n) => n.id !== id) })

let toastId = 0

/**
 * Ten seconds to undo; longer while the pointer or the focus is on it (shell.js).
 * @param {string} text
 * @param {() => void} undo
 */
export function offerUndo(text, undo) {
  const id = ++toastId
  const end = () => status.set({ toasts: status.get().toasts.filter((toast) => toast.id !== id) })
  const action = {
    label: t.undo,
    run: () => {
      end()
      undo()
    },
  }
  status.set({ toasts: [...status.get().toasts.slice(-2), { id, text, action }] })
  say(`${text} ${t.undo}`)
}

/** @param {number} id */
export const endToast = (id) => status.set({ toasts: status.get().toasts.filter((toast) => toast.id !== id) })

/**
 * The remaining time of something that moves: none before 2 % or 2 s, smoothed over the last seconds, and it does not rise
 * by
 * itself unless the pace really changed.
 */
export function clock() {
  /** @type {{time: number, done: number}[]} */
  let seen = []
  let start = 0
  /** @type {number | null} */
  let shown = null
  let shownAt = 0
  return {
    /** Units per second over the last seconds, or null. */
    rate: /** @type {number | null} */ (null),
    /** @param {number} done @param {number} total @returns {number | null} seconds left */
    left(done, total) {
      const now = performance.now()
      const last = seen.at(-1)
      if (last && done < last.done) seen = []
      if (seen.length === 0) start = now
      seen.push({ time: now, done })
      while (seen.length > 2 && now - /** @type {any} */ (seen[0]).time > 5000) seen.shift()
      const first = /** @type {{time: number, done: number}} */ (seen[0])
      const span = (now - first.time) / 1000
      this.rate = span > 0.3 ? (done - first.done) / span : this.rate
      if (total <= 0 || !this.rate || (done / total < 0.02 && now - start < 2000) || span < 0.3) return null
      const left = (total - done) / this.rate
      const expected = shown === null ? left : Math.max(0, shown - (now - shownAt) / 1000)
      // Small rises are noise; a large one (a third and five seconds) is news.
      shown = left > expected && left < expected * 1.33 + 5 ? expected : left
      shownAt = now
      return shown
    },
  }
}
