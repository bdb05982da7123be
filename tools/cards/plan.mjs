/*
 * plan.mjs: the memory that the model of a card takes, as the engine itself plans it from a header that is made of the
 * card's shape (header.mjs). One thread, the base build, a key/value cache in F16. Where the file is here, the tests hold
 * this against the plan of the file.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Engine } from '../../web/engine.js'
import { nodeHost } from '../../web/platform/node.js'
import { headerOf } from './header.mjs'

/** Rooms for which plans are kept: those that the page offers. */
export const CONTEXTS = [512, 1024, 2048, 4096, 8192]

/** @typedef {{weights: number, kv: number, work: number, total: number}} Memory bytes */
/** @typedef {{size: number, read: (offset: number, length: number) => Buffer}} Bytes */

/** @param {string} path @returns {Bytes & {close: () => void}} */
export function fileBytes(path) {
  const file = openSync(path, 'r')
  return {
    size: fstatSync(file).size,
    read(offset, length) {
      const bytes = Buffer.alloc(length)
      readSync(file, bytes, 0, length, offset)
      return bytes
    },
    close: () => closeSync(file),
  }
}

/** A header, and nothing behind it. @param {{header: Buffer, bytes: number}} made @returns {Bytes} */
export const headerBytes = ({ header, bytes }) => ({
  size: bytes,
  read(offset, length) {
    const part = Buffer.alloc(length)
    if (offset < header.length) header.copy(part, 0, offset, Math.min(header.length, offset + length))
    return part
  },
})

/**
 * The engine's facts of one model for each wanted context.
 * @param {Bytes} bytes @param {(number | undefined)[]} contexts undefined: the engine's choice
 * @returns {Promise<any[]>} nook_info
 */
export async function factsOf(bytes, contexts) {
  const engine = await Engine.create({ build: 'base', planOnly: true }, nodeHost)
  try {
    const source = /** @type {any} */ ({
      size: bytes.size,
      name: 'model',
      readInto(/** @type {Uint8Array} */ window, /** @type {number} */ offset, /** @type {number} */ length) {
        window.set(bytes.read(offset, length))
      },
    })
    const facts = []
    for (const context of contexts) {
      const work = engine.plan([source], context === undefined ? {} : { contextSize: context })
      for (;;) {
        const { done, value } = await work.next()
        if (!done) continue
        facts.push(value)
        break
      }
    }
    return facts
  } finally {
    engine.dispose()
  }
}

/** Contexts of a card: up to what it was trained with. @param {{shape: {context: number}}} card */
export const contextsOf = (card) => {
  const fitting = CONTEXTS.filter((context) => context <= card.shape.context)
  return fitting.length > 0 ? fitting : [card.shape.context]
}

/**
 * What a card keeps under `memory`; null while the engine does not run such a model.
 * @param {any} card
 * @returns {Promise<import('./read.mjs').Card['memory']>}
 */
export async function memoryOf(card) {
  const contexts = contextsOf(card)
  const made = headerOf(card)
  const facts = await factsOf(headerBytes(made), contexts)
  if (facts[0].unsupported.length > 0) return null
  return {
    ...(card.bytes === null ? { file: made.bytes } : {}),
    weights: facts[0].memory.weights,
    rooms: Object.fromEntries(
      contexts.map((context, i) => {
        const { kv, work, total } = facts[i].memory
        return [String(context), { kv, work, total }]
      }),
    ),
  }
}

/** @param {string} name in the root */
export const inRoot = (name) => fileURLToPath(new URL(`../../${name}`, import.meta.url))
