#!/usr/bin/env node
/*
 * cards.mjs: the cards of models/ against their schema, and the memory plans in them.
 *
 *   node tools/cards.mjs check     what is wrong with the cards, in words; exit status 1 if anything is
 *   node tools/cards.mjs plan      asks the engine (web/wasm) for the plans and writes them into the cards
 *
 * A plan that is within 1 % of what the engine says stays as it is: a buffer that grows by a line makes no new cards.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { cardNames, folder, readCards } from './cards/read.mjs'
import { faultsOf } from './cards/schema.mjs'
import { headerOf } from './cards/header.mjs'
import { memoryOf } from './cards/plan.mjs'
import { parametersOf, tensorsOf } from './cards/shape.mjs'

/** How far a kept plan may be from the engine's, and the bytes of a file from those of its shape. */
export const PLAN_TOLERANCE = 0.01
const FILE_TOLERANCE = 0.001

/** What is wrong with a card beyond its schema. @param {import('./cards/read.mjs').Card} card @param {string} name */
function contradictions(card, name) {
  const faults = []
  const tensors = tensorsOf(card.architecture, card.shape, card.format)
  const unknown = card.bytes === null || card.sha256 === null
  if (`${card.id}.json` !== name) faults.push(`its id is ${card.id}`)
  if (unknown !== (card.unknown !== undefined)) faults.push('unknown says why bytes or sha256 are null, and only then')
  if (unknown !== (card.checked === undefined)) faults.push('checked says where bytes and sha256 come from, and only then')
  if (card.passed.length > 0 && card.checked !== 'here') faults.push('something passed here, but the file was never here')
  if (parametersOf(tensors) !== card.parameters)
    faults.push(`its shape has ${parametersOf(tensors)} parameters, not ${card.parameters}`)
  const made = headerOf(card).bytes
  if (card.bytes !== null && Math.abs(made / card.bytes - 1) > FILE_TOLERANCE)
    faults.push(`its shape makes a file of some ${made} bytes, not ${card.bytes}`)
  for (const source of card.sources) {
    if (source.kind !== 'wheels' || source.convert) continue
    const sum = source.parts.reduce((bytes, part) => bytes + part.bytes, 0)
    if (sum !== card.bytes) faults.push(`its parts have ${sum} bytes together, not ${card.bytes}`)
  }
  return faults
}

/** What is wrong with all cards. @returns {string[]} */
export function faultsOfCards() {
  const schema = JSON.parse(readFileSync(`${folder}schema.json`, 'utf8'))
  const cards = readCards()
  const faults = cardNames().flatMap((name, i) => {
    const card = /** @type {any} */ (cards[i])
    const wrong = faultsOf(schema, card, name)
    return wrong.length > 0 ? wrong : contradictions(card, name).map((fault) => `${name}: ${fault}`)
  })
  const defaults = cards.filter((card) => card.default === true).length
  if (defaults !== 1) faults.push(`${defaults} cards are the default, not one`)
  for (const key of /** @type {const} */ (['file', 'title', 'sha256'])) {
    const values = cards.map((card) => card[key]).filter((value) => value !== null)
    if (new Set(values).size !== values.length) faults.push(`two cards have the same ${key}`)
  }
  return faults
}

/** @param {number} a @param {number} b */
const near = (a, b) => Math.abs(a - b) <= PLAN_TOLERANCE * b

/** Whether a kept plan still tells what the engine says. @param {any} kept @param {any} made @returns {boolean} */
export function stillTrue(kept, made) {
  if (kept === null || made === null || typeof made !== 'object') {
    return typeof made === 'number' && typeof kept === 'number' ? near(kept, made) : kept === made
  }
  const keys = Object.keys(made)
  /* The work space is small beside the rest, and what changes most: its sum counts. */
  return keys.length === Object.keys(kept).length &&
    keys.every((key) => key in kept && (key === 'work' || stillTrue(kept[key], made[key])))
}

async function plan() {
  for (const card of readCards()) {
    const made = await memoryOf(card)
    if (stillTrue(card.memory, made)) continue
    card.memory = made
    writeFileSync(`${folder}${card.id}.json`, `${JSON.stringify(card, null, 2)}\n`)
    console.error(`models/${card.id}.json`)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [verb] = process.argv.slice(2)
  if (verb === 'plan') await plan()
  else if (verb === 'check') {
    const faults = faultsOfCards()
    for (const fault of faults) console.error(fault)
    process.exitCode = faults.length > 0 ? 1 : 0
  } else {
    console.error('node tools/cards.mjs check | plan')
    process.exitCode = 2
  }
}
