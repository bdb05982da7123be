/*
 * logits.js: every model of tests/fixtures against its reference, at every position, in every build and way.
 *
 * Per model  Builds base, base-threads, relaxed, relaxed-threads; float path (activations "f32") and default path; whole,
 *            in chunks of 5, token by token.
 * Bars       Float path: max abs 2e-4 (3e-4 where the fixture's README says so; 1e-2 for quantized models with gelu,
 *            whose references llama.cpp computed with a table of halves). Default path: rel L2 0.08. One build gives the
 *            same bits in every way and on any number of threads; the base builds give the bits of
 *            tests/fixtures/determinism.json, which the native scalar kernels wrote.
 */
import { atMost, check, hashOf, logitsOf, maxAbs, openBundle, relativeL2, same, sameBits } from './kit.js'

/** @typedef {import('./kit.js').Env} Env */
/** @typedef {{file: string, bundle: string, ids: string, hashes: {float: string, default: string}}} Row */

const PATHS = /** @type {const} */ (['float', 'default'])
const BUILDS = /** @type {const} */ ([
  ['base', 1],
  ['base', 3],
  ['relaxed', 1],
  ['relaxed', 2],
])
const LENGTHS = [1, 3, 7, 33, 80, 200]
const GELU = /gemma|gpt2|gptneox|phi2/

/** @param {Env} env @returns {Promise<Row[]>} */
export async function table(env) {
  return JSON.parse(new TextDecoder().decode(await env.read('tests/fixtures/determinism.json'))).models
}

/** @param {Env} env @returns {Promise<import('./kit.js').Cases>} */
export async function cases(env) {
  /** @type {import('./kit.js').Cases} */
  const all = {}
  for (const row of await table(env)) {
    const name = row.file.replace(/^.*\//, '').replace(/\.gguf$/, '')
    if (!row.file.startsWith('tests/'))
      all[`${name}: the base build has the bits of the native scalar kernels`] = (inside) => checkBits(inside, row)
    else
      all[`${name}: the reference's logits, the same bits in every way, those of native in the base build`] = (inside) =>
        checkModel(inside, row)
  }
  return all
}

/**
 * @param {Env} env @param {Row} row
 * @returns {Promise<{float: number, default: number}>} the largest max abs of the float path and rel L2 of the default path
 */
export async function checkModel(env, row) {
  const bundle = await openBundle(env, row.bundle)
  const quantized = row.file.includes('/quants/')
  const tolerance = quantized && GELU.test(row.file) ? 1e-2 : quantized || row.file.includes('llama256') ? 3e-4 : 2e-4
  const worst = { float: 0, default: 0 }
  for (const path of PATHS) {
    /** The bits of the first thread count of each build. @type {Map<string, string>} */
    const bits = new Map()
    for (const [build, threads] of BUILDS) {
      const what = `${row.file}, ${path} path, ${build} on ${threads} thread(s)`
      const llm = await env.load({
        model: env.model(row.file),
        build,
        threads,
        ...(path === 'float' ? { activations: 'f32' } : {}),
      })
      try {
        same(
          [llm.info.build, llm.info.threads, llm.info.isa],
          [build, threads, build === 'base' ? 'simd128' : 'relaxed'],
          what,
        )
        let lengths = 0
        for (const length of LENGTHS) {
          const ids = bundle.find(`len${length}/ids`)
          if (ids === undefined) continue
          lengths++
          const reference = bundle.get(`len${length}/${llm.info.encoder ? 'hidden' : 'logits'}${quantized ? '_f32' : ''}`)
          const whole = await logitsOf(llm, ids)
          if (path === 'float') {
            worst.float = Math.max(worst.float, maxAbs(whole, reference))
            atMost(maxAbs(whole, reference), tolerance, `${what}, ${length} tokens: max abs`)
          } else {
            worst.default = Math.max(worst.default, relativeL2(whole, reference))
            atMost(relativeL2(whole, reference), 0.08, `${what}, ${length} tokens: rel L2`)
          }
          if (row.ids !== `len${length}/ids`) continue
          sameBits(await logitsOf(llm, ids, 5), whole, `${what}, in chunks of 5`)
          sameBits(await logitsOf(llm, ids, 1), whole, `${what}, token by token`)
          const hash = await hashOf(whole)
          if (build === 'base') same(hash, row.hashes[path], `${what}: bits against the native scalar kernels`)
          same(hash, bits.get(build) ?? hash, `${what}: bits against one thread`)
          bits.set(build, hash)
        }
        check(lengths >= 2, `${row.bundle} has ${lengths} sequences`)
      } finally {
        await llm.dispose()
      }
    }
    check(bits.size === 2, `${row.bundle} lacks ${row.ids}`)
  }
  return worst
}

/** A model whose logits are compared elsewhere: only the bits of the base build. @param {Env} env @param {Row} row */
async function checkBits(env, row) {
  const ids = (await openBundle(env, row.bundle)).get(row.ids)
  for (const [path, threads] of /** @type {const} */ ([
    ['float', 1],
    ['default', 2],
  ])) {
    const what = `${row.file}, ${path} path, base on ${threads} thread(s)`
    const llm = await env.load({
      model: env.model(row.file),
      build: 'base',
      threads,
      contextSize: 256,
      ...(path === 'float' ? { activations: 'f32' } : {}),
    })
    try {
      same(await hashOf(await logitsOf(llm, ids)), row.hashes[path], what)
      same(await hashOf(await logitsOf(llm, ids, 2)), row.hashes[path], `${what}, in chunks of 2`)
    } finally {
      await llm.dispose()
    }
  }
}
