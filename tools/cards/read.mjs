/* read.mjs: the cards of models/, in the order of their names. */
import { readFileSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const folder = fileURLToPath(new URL('../../models/', import.meta.url))

/**
 * @typedef {{package: string, version: string, member: string, bytes: number, sha256: string}} Part
 * @typedef {{kind: 'url', url: string, note?: string} | {kind: 'wheels', parts: Part[], convert?: boolean, note?: string}
 *           | {kind: 'checkpoint', page: string, note?: string}} Source
 * @typedef {{file?: number, weights: number, rooms: Record<string, {kv: number, work: number, total: number}>}} Memory
 * @typedef {object} Card models/schema.json says what is in it
 * @property {string} id
 * @property {string} title
 * @property {string} name
 * @property {string} family
 * @property {'chat' | 'text' | 'embedding'} kind
 * @property {boolean} [default]
 * @property {string} home
 * @property {{spdx: string} | {name: string, url: string}} licence
 * @property {string} file
 * @property {string} format
 * @property {number | null} bytes
 * @property {string | null} sha256
 * @property {string} [unknown]
 * @property {'here' | 'published'} [checked]
 * @property {Source[]} sources
 * @property {string} architecture
 * @property {number} parameters
 * @property {string} vocabulary
 * @property {import('./shape.mjs').Shape} shape
 * @property {null | Memory} memory
 * @property {{what: string, how: string}[]} passed
 * @property {'plain'} [chat_template]
 * @property {Record<string, number>} [sampling]
 */

/** Names of the cards' files. */
export const cardNames = () =>
  readdirSync(folder).filter((name) => name.endsWith('.json') && name !== 'schema.json').sort()

/** @returns {Card[]} */
export const readCards = () => cardNames().map((name) => JSON.parse(readFileSync(`${folder}${name}`, 'utf8')))

/** @param {string} [id] without: the default @returns {Card} */
export function readCard(id) {
  const cards = readCards()
  const card = cards.find((one) => (id === undefined ? one.default === true : one.id === id))
  if (card) return card
  const which = id === undefined ? 'marked as the default' : `"${id}"`
  throw new Error(`models/ has no card ${which}; it has ${cards.map((one) => one.id).join(', ') || 'none'}.`)
}

/** Name of the terms. @param {Card} card */
export const licenceOf = ({ licence }) => ('spdx' in licence ? licence.spdx : licence.name)
