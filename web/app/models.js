/**
 * models.js: which models are offered. The cards come from models/*.json of the project; tools/precache.mjs puts them into
 * cards.json beside this file, so that a page on any static host has them.
 */
import { recall, save } from './settings.js'

/**
 * @typedef {object} Card
 * @property {string} id
 * @property {string} name
 * @property {string} file
 * @property {number} bytes
 * @property {string} [sha256]
 * @property {string} [licence]
 * @property {string[]} urls
 * @property {boolean} [default]
 * @property {{temperature?: number, top_p?: number, top_k?: number, min_p?: number, repetition_penalty?: number}}
 * [sampling]
 *
 * @typedef {{kind: 'card', id: string, name: string, bytes: number, whole: boolean}
 *   | {kind: 'files', name: string, bytes: number, whole: boolean}} Remembered
 */

/** @type {Promise<Card[]> | undefined} */
let reading

/** @returns {Promise<Card[]>} the default first; empty where none is offered */
export function cards() {
  reading ??= fetch(new URL('./cards.json', import.meta.url))
    .then((response) => (response.ok ? response.json() : []))
    .then((list) => (Array.isArray(list) ? list : []))
    .catch(() => [])
  return reading
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
