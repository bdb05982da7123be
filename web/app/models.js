/**
 * models.js: which models are offered. The cards come from models/*.json of the project; tools/precache.mjs puts them into
 * cards.json beside this file, so that a page on any static host has them.
 */
import { recall, save } from './settings.js'

/**
 * @typedef {object} Card
 * @property {string} id
 * @property {string} name
 * @property {string} title name and format
 * @property {'chat' | 'text'} kind
 * @property {string} file
 * @property {number} bytes
 * @property {boolean} exact false: about so many bytes
 * @property {string} [sha256]
 * @property {string} licence
 * @property {string} publisher and the model's name there
 * @property {number} context trained
 * @property {import('./fit.js').Memory | null} memory
 * @property {string[]} urls
 * @property {boolean} byHand its file is made from a checkpoint
 * @property {boolean} [default]
 * @property {{temperature?: number, top_p?: number, top_k?: number, min_p?: number, repetition_penalty?: number}}
 * [sampling]
 *
 * @typedef {{kind: 'card', id: string, name: string, bytes: number, whole: boolean}
 *   | {kind: 'files', name: string, bytes: number, whole: boolean}} Remembered
 */

/** @type {Promise<{list: Card[], listing: string}> | undefined} */
let reading
/** @type {Promise<Map<string, number> | null> | undefined} */
let listing

/** The cards, and where their host lists the files that it has, if it says so (`nook serve` does). */
function read() {
  reading ??= fetch(new URL('./cards.json', import.meta.url))
    .then(async (response) => ({
      list: response.ok ? await response.json() : [],
      listing: response.headers.get('Nook-Models') ?? '',
    }))
    .then(({ list, ...more }) => ({ list: Array.isArray(list) ? list : [], ...more }))
    .catch(() => ({ list: [], listing: '' }))
  return reading
}

/** @returns {Promise<Card[]>} the default first; empty where none is offered */
export const cards = async () => (await read()).list

/** Names and bytes of the model files that this host has; null where it does not tell. Asked once, at the start. */
export function served() {
  listing ??= read().then(async ({ listing: path }) => {
    if (path === '' || !navigator.onLine) return null
    const response = await fetch(new URL(path, location.href)).catch(() => null)
    const files = response?.ok ? (await response.json().catch(() => ({}))).files : null
    if (!Array.isArray(files)) return null
    return new Map(files.map(({ name, bytes }) => [String(name), Number(bytes)]))
  })
  return listing
}

/** @param {Card} card @param {Map<string, number> | null} files */
const serves = (card, files) => files !== null && (card.exact ? files.get(card.file) === card.bytes : files.has(card.file))

/**
 * Where a model is: kept in this browser, on the host of this page, on the internet, or with the person alone.
 * @param {Card} card @param {{sha256?: string, whole: boolean}[]} kept @param {Map<string, number> | null} files
 * @returns {'here' | 'server' | 'web' | 'own'}
 */
export function placeOf(card, kept, files) {
  if (card.sha256 && kept.some((one) => one.whole && one.sha256 === card.sha256)) return 'here'
  if (serves(card, files)) return 'server'
  return card.urls.length > 0 ? 'web' : 'own'
}

/** Where `nook serve` has the file. @param {Card} card */
export const localUrl = (card) => new URL(`../models/${encodeURIComponent(card.file)}`, import.meta.url).href

/**
 * Where the file is to be had: beside the page if the host has it there, else at the addresses of its card.
 * @param {Card} card @returns {Promise<{url: string, local: boolean} | null>}
 */
export async function sourceOf(card) {
  const url = localUrl(card)
  const first = card.urls[0]
  const files = await served()
  if (files !== null) return serves(card, files) ? { url, local: true } : first ? { url: first, local: false } : null
  if (first && !onThisMachine()) return { url: first, local: false }
  try {
    const response = await fetch(url, { method: 'HEAD' })
    if (response.ok && Number(response.headers.get('content-length')) === card.bytes) return { url, local: true }
  } catch {
    // Not there, or offline: the card's address.
  }
  return first ? { url: first, local: false } : null
}

/** Whether this page is served by the machine it is shown on. */
export const onThisMachine = () => /^(localhost|127\.|\[::1\])/.test(location.hostname)

/** Bytes a second of this connection, as far as the browser tells; null: unknown. */
export function connectionSpeed() {
  const downlink = /** @type {any} */ (navigator).connection?.downlink
  return typeof downlink === 'number' && downlink > 0 ? (downlink * 1e6) / 8 : null
}

/** @returns {Remembered | null} */
export function remembered() {
  const value = recall('nook.model')
  if (!value || typeof value.name !== 'string' || !Number.isFinite(value.bytes)) return null
  if (value.kind === 'card' && typeof value.id === 'string') return value
  return value.kind === 'files' ? value : null
}

/** @param {Remembered | null} value */
export const remember = (value) => save('nook.model', value)
