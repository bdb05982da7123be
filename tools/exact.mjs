/*
 * exact.mjs: how far the engine's logits are from the references in tests/fixtures: measured by running it, in this
 * process, the base build on one thread. Its bits are the same on every host (tests/fixtures/determinism.json), so the
 * numbers are.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { maxAbs, openBundle, relativeL2 } from '../tests/shared/kit.js'
import { Engine } from '../web/engine.js'
import { nodeHost } from '../web/platform/node.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const CONTEXT = 256 /* tokens; the sequences have up to 200 */

const env = /** @type {any} */ ({
  /** @param {string} path */
  async read(path) {
    const bytes = readFileSync(`${root}${path}`)
    const copy = new Uint8Array(bytes.length) /* a buffer of its own: views of it are aligned */
    copy.set(bytes)
    return copy
  },
})

/**
 * Runs a model of the fixtures over every sequence of its bundle.
 * @param {string} stem path without suffix: STEM.gguf, STEM.json, STEM.bin
 * @returns {Promise<{architecture: string, reference: string, sequences: number, float: number, product: number}>}
 *   float: the largest |difference| of a logit (of an encoder: of a hidden state) with activations in float32; product:
 *   the largest relative L2 norm of the difference, of a whole sequence, on the default path. Throws when the engine does
 *   not run it; sequences 0: the bundle has no logits.
 */
export async function measure(stem) {
  const bytes = await env.read(`${stem}.gguf`)
  const bundle = await openBundle(env, stem)
  const source = /** @type {any} */ ({
    size: bytes.length,
    name: stem,
    readInto: (/** @type {Uint8Array} */ window, /** @type {number} */ offset, /** @type {number} */ length) => {
      window.set(bytes.subarray(offset, offset + length))
    },
  })
  const found = { architecture: '', reference: String(bundle.meta.reference ?? ''), sequences: 0, float: 0, product: 0 }
  for (const activations of /** @type {const} */ (['f32', 'auto'])) {
    const engine = await Engine.create({ build: 'base', threads: 1 }, nodeHost)
    try {
      for await (const step of engine.load([source], { activations })) void step
      found.architecture = engine.info.architecture
      for (let length = 1; length < CONTEXT; length++) {
        const ids = bundle.find(`len${length}/ids`)
        const output = engine.info.encoder ? 'hidden' : 'logits'
        const reference = bundle.find(`len${length}/${output}`) ?? bundle.find(`len${length}/${output}_f32`)
        if (ids === undefined || reference === undefined) continue
        const all = new Float32Array(reference.length)
        const width = reference.length / ids.length
        for (const { first, values } of engine.eval(ids, { reuse: false, output })) all.set(values ?? [], first * width)
        if (activations === 'f32') {
          found.sequences++
          found.float = Math.max(found.float, maxAbs(all, reference))
        } else found.product = Math.max(found.product, relativeL2(all, reference))
      }
    } finally {
      engine.dispose()
    }
  }
  return found
}

/** A bound in one digit, rounded up. @param {number} value */
export function bound(value) {
  if (value === 0) return '0'
  if (!Number.isFinite(value)) throw new Error('a difference is not finite')
  const power = Math.floor(Math.log10(value))
  const digit = Math.ceil(value / 10 ** power - 1e-9)
  return digit === 10 ? `1e${power + 1}` : `${digit}e${power}`
}
