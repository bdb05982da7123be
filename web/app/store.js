/**
 * store.js: one observable object per room. Subscribers run once per turn of the event loop, however many fields changed.
 */

/**
 * @template {object} T
 * @typedef {{get: () => T, set: (patch: Partial<T>) => void, subscribe: (fn: (state: T) => void) => () => void}} Store
 */

/**
 * @template {object} T
 * @param {T} initial
 * @returns {Store<T>}
 */
export function createStore(initial) {
  let state = { ...initial }
  let queued = false
  /** @type {Set<(state: T) => void>} */
  const subscribers = new Set()
  return {
    get: () => state,
    set(patch) {
      if (Object.entries(patch).every(([key, value]) => Object.is(/** @type {any} */ (state)[key], value))) return
      state = { ...state, ...patch }
      if (queued) return
      queued = true
      queueMicrotask(() => {
        queued = false
        for (const fn of [...subscribers]) fn(state)
      })
    },
    subscribe(fn) {
      subscribers.add(fn)
      fn(state)
      return () => subscribers.delete(fn)
    },
  }
}
