/**
 * network.js: counts the requests that leave this page, for the pill "On this machine". Two witnesses, each for what the
 * other cannot see: the browser's resource timing (requests of this page that no service worker handled) and the service
 * worker (requests of this page and of its workers that it could not answer from its store).
 */
import { createStore } from './store.js'

/** @typedef {{url: string, time: number}} Request */

/**
 * `requests`: since the page was opened. `mark`: how many of them there were when the model arrived.
 * @type {import('./store.js').Store<{requests: Request[], mark: number | null, markTime: number, watched: boolean}>}
 */
export const network = createStore({
  requests: /** @type {Request[]} */ ([]),
  mark: /** @type {number | null} */ (null),
  markTime: 0,
  watched: /** @type {boolean} */ (false),
})

const LIMIT = 1000
/** When the page had been read in (performance.now()): what came before is the page itself. */
let opened = Infinity

/** The page is here, all rooms included; what is requested from now on counts. */
export function pageOpened() {
  opened = performance.now()
}

export function watchNetwork() {
  new PerformanceObserver((list) => {
    for (const entry of /** @type {PerformanceResourceTiming[]} */ (list.getEntries())) {
      // workerStart > 0: the service worker saw it and counts it, if it went further.
      if (entry.startTime < opened || entry.workerStart > 0 || !/^https?:/.test(entry.name)) continue
      record(entry.name, performance.timeOrigin + entry.startTime)
    }
  }).observe({ type: 'resource', buffered: true })

  if ('BroadcastChannel' in globalThis) {
    new BroadcastChannel('nook.network').onmessage = ({ data }) => {
      if (typeof data?.url === 'string' && data.time > performance.timeOrigin + opened) record(data.url, data.time)
    }
  }
  const workers = navigator.serviceWorker
  const look = () => network.set({ watched: !!workers?.controller })
  workers?.addEventListener('controllerchange', look)
  look()
}

/** @param {string} url @param {number} time */
function record(url, time) {
  const { requests } = network.get()
  if (requests.length < LIMIT) network.set({ requests: [...requests, { url, time }] })
}

/** From here on the pill counts anew: the model is here. */
export function modelArrived() {
  // Entries of the loading itself are delivered with the next task or two.
  setTimeout(() => network.set({ mark: network.get().requests.length, markTime: Date.now() }), 250)
}

/** What the pill shows. */
export function counted() {
  const { requests, mark } = network.get()
  return requests.length - (mark ?? 0)
}
