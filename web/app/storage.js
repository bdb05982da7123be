/** storage.js: what this browser keeps for the page, and whether it may throw it away. */
import { client } from './engine.js'
import { cards } from './models.js'
import * as db from './db.js'
import { createStore } from './store.js'

/**
 * `persisted`: null while unknown. `refused`: it was asked and said no.
 * @type {import('./store.js').Store<{persisted: boolean | null, refused: boolean}>}
 */
export const keeping = createStore({
  persisted: /** @type {boolean | null} */ (null),
  refused: /** @type {boolean} */ (false),
})

void navigator.storage?.persisted?.().then((persisted) => keeping.set({ persisted }))

let asked = false

/**
 * Asks the browser to keep what is here; once by itself, after the first thing worth keeping, and whenever she asks.
 * @param {boolean} [again]
 */
export async function keepStorage(again = false) {
  if (!navigator.storage?.persist || (asked && !again)) return
  asked = true
  if (await navigator.storage.persisted()) return keeping.set({ persisted: true })
  const persisted = await navigator.storage.persist()
  keeping.set({ persisted, refused: !persisted })
}

/** @returns {Promise<{usage: number, quota: number} | null>} */
export async function estimate() {
  const answer = await navigator.storage?.estimate?.()
  return answer?.quota ? { usage: answer.usage ?? 0, quota: answer.quota } : null
}

/**
 * The models that the engine's client keeps.
 * @typedef {{id: string, name: string, bytes: number, used: number, whole: boolean, sha256?: string}} Kept
 * @returns {Promise<Kept[]>}
 */
export async function models() {
  const [{ cache }, known] = await Promise.all([client(), cards()])
  /** @type {Kept[]} */
  const list = await cache.list()
  // By the name of its card, where there is one.
  return list.map((kept) => ({
    ...kept,
    name: known.find((card) => card.sha256 === kept.sha256 || card.file === kept.name)?.name ?? kept.name,
  }))
}

/** @param {string} id */
export async function deleteModel(id) {
  const { cache } = await client()
  await cache.delete(id)
}

/** Files that the service worker keeps of the page itself. */
export async function pageFiles() {
  let files = 0
  let bytes = 0
  if (!('caches' in globalThis)) return { files, bytes }
  for (const name of await caches.keys()) {
    const cache = await caches.open(name)
    for (const request of await cache.keys()) {
      const response = await cache.match(request)
      files++
      bytes += response ? (await response.blob()).size : 0
    }
  }
  return { files, bytes }
}

/** Removes everything of this page from this browser. */
export async function eraseAll() {
  await db.erase()
  const root = await navigator.storage?.getDirectory?.().catch(() => null)
  if (root) {
    // @ts-ignore: keys() is in the standard, not yet in every library file
    for await (const name of root.keys()) await root.removeEntry(name, { recursive: true }).catch(() => undefined)
  }
  if ('caches' in globalThis) for (const name of await caches.keys()) await caches.delete(name)
  const registrations = (await navigator.serviceWorker?.getRegistrations?.()) ?? []
  for (const registration of registrations) {
    if (new URL(registration.scope).href === new URL('../', import.meta.url).href) await registration.unregister()
  }
  for (const key of Object.keys(localStorage)) if (key.startsWith('nook.')) localStorage.removeItem(key)
}
