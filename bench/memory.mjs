/*
 * memory.mjs: `npm run bench -- memory`. The peak of resident memory that a model takes, over what is there without one.
 *
 * Measured  VmHWM of a process that loads the model (context 1,024, one thread), reads a prompt and writes an answer, minus
 *           VmHWM of the same process without a model: Node against an empty program, the renderer of Chromium against an
 *           empty page. Linux only (/proc). The median of the rounds.
 * Bound     file × 1.1 + F16 key/value cache + 20 MiB.
 * Output    A JSON row each: {what, measured, bound, ok, …}, bytes; ok: whether the bound holds.
 *           --save keeps them in bench/results/memory.json, for another model than the default one in memory-<its
 *           name>.json; rows kept there that were not measured now (--node, --chromium) stay.
 *   node bench/memory.mjs [--model FILE] [--rounds N] [--node] [--chromium] [--save]
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

const root = fileURLToPath(new URL('..', import.meta.url))
const MODEL = 'models/cache/SmolLM2-135M-Instruct.Q4_1.gguf'
const CONTEXT = 1024
const SENTENCE = 'A small house stood by the river, and in the evening the light of its windows lay upon the water. '
/* A question with its answer, and a context that is filled to its end: pages of the cache are taken as it grows. */
const TALKS = /** @type {const} */ ([
  { name: 'half the context used', prompt: SENTENCE.repeat(21), tokens: 64 },
  { name: 'the context full', prompt: SENTENCE.repeat(40), tokens: CONTEXT },
])

/** What a caller of this file may ask for. @typedef {{model?: string, rounds?: number}} Options */
/** @typedef {{what: string, measured: number, bound: number | null, ok: boolean, [more: string]: unknown}} MemoryRow */

/** @param {number[]} list @returns {number} */
const median = (list) => /** @type {number} */ ([...list].sort((a, b) => a - b)[list.length >> 1])

const modelPath = (/** @type {Options} */ options) =>
  resolve(root, options.model ?? MODEL)

/** @param {string} model @param {number} kv bytes @returns {number} */
export const memoryBound = (model, kv) => Math.round(statSync(model).size * 1.1 + kv + 20 * 1048576)

/**
 * Peak of a Node that runs a module's text, which sets `said`.
 * @param {string} program @returns {{peak: number, said: any}}
 */
function measureNode(program) {
  const tail = `
    const { readFileSync } = await import('node:fs')
    const [, kib] = /VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))
    console.log(JSON.stringify({ said, peak: Number(kib) * 1024 }))`
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', program + tail], { encoding: 'utf8' })
  if (child.status !== 0) throw new Error(`the measured process failed: ${child.stderr}`)
  return JSON.parse(child.stdout)
}

/**
 * @param {string} what @param {number[]} full @param {number[]} empty peaks @param {any} said by the program
 * @param {string} model
 * @returns {MemoryRow}
 */
function rowOf(what, full, empty, said, model) {
  const measured = median(full) - median(empty)
  const bound = memoryBound(model, said.memory.kv)
  const { memory: plan, wasm_memory, usage } = said
  return {
    what,
    measured,
    bound,
    ok: measured <= bound,
    least: Math.min(...full) - median(empty),
    most: Math.max(...full) - median(empty),
    empty: median(empty),
    plan,
    wasm_memory,
    tokens: usage.total_tokens,
  }
}

/** @param {Options} [options] @returns {MemoryRow[]} */
export function nodeMemory(options = {}) {
  const model = modelPath(options)
  const rounds = Array.from({ length: options.rounds ?? 3 })
  const empty = rounds.map(() => measureNode('const said = null').peak)
  return TALKS.map(({ name, prompt, tokens }) => {
    const request = JSON.stringify({ prompt, max_tokens: tokens, temperature: 0, ignore_end: true })
    const runs = rounds.map(() =>
      measureNode(`
      const { load } = await import(${JSON.stringify(pathToFileURL(join(root, 'web/node.js')).href)})
      const llm = await load({ model: ${JSON.stringify(model)}, contextSize: ${CONTEXT}, threads: 1 })
      const { usage } = await llm.completions.create(${request})
      const { memory, wasm_memory } = llm.info
      const said = { usage, memory, wasm_memory }`),
    )
    return rowOf(
      `Node, one thread, ${name}, over an empty program`,
      runs.map((run) => run.peak),
      empty,
      runs[0]?.said,
      model,
    )
  })
}

/** @param {Options} [options] @returns {Promise<MemoryRow[]>} */
export async function chromiumMemory(options = {}) {
  const { measurePage, serve } = await import('./chromium.mjs')
  const model = modelPath(options)
  const server = await serve({
    '/bench/': join(root, 'bench/pages'),
    '/web/': join(root, 'web'),
    '/models/': dirname(model),
  })
  const [half, full] = TALKS
  const ways = [
    { name: `not kept, ${half.name}`, cache: 'memory', ...talk(half) },
    { name: `not kept, ${full.name}`, cache: 'memory', ...talk(full) },
    { name: `first load, kept in OPFS, ${half.name}`, cache: 'opfs', ...talk(half) },
    { name: `second load, from OPFS, ${half.name}`, cache: 'opfs', ...talk(half) },
  ].map((way) => ({
    ...way,
    peaks: /** @type {number[]} */ ([]),
    seconds: /** @type {number[]} */ ([]),
    said: /** @type {any} */ (null),
  }))
  /** @type {number[]} */
  const empty = []
  try {
    for (let round = 0; round < (options.rounds ?? 3); round++) {
      empty.push((await measurePage(`${server.origin}/bench/empty.html`, 'bench', {})).peak)
      const profile = mkdtempSync(join(tmpdir(), 'nook-memory-'))
      for (const way of ways) {
        const { cache, prompt, tokens } = way
        const what = {
          model: `${server.origin}/models/${encodeURIComponent(basename(model))}`,
          context: CONTEXT,
          cache,
          prompt,
          tokens,
        }
        const { result, peak } = await measurePage(`${server.origin}/bench/memory.html`, 'bench', what, profile)
        way.said = result
        way.peaks.push(peak)
        way.seconds.push(way.said.seconds)
      }
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
    }
  } finally {
    await server.close()
  }
  return ways.map(({ name, peaks, seconds, said }) => ({
    ...rowOf(`Chromium, one thread, ${name}, over an empty page`, peaks, empty, said, model),
    load_seconds: median(seconds),
  }))
}

/** @param {typeof TALKS[number]} one */
const talk = ({ prompt, tokens }) => ({ prompt, tokens })

/** @param {MemoryRow[]} rows @param {Options} options @returns {string} the file that has them */
function save(rows, options) {
  const model = modelPath(options)
  const name = model === resolve(root, MODEL) ? 'memory' : `memory-${basename(model, '.gguf')}`
  const path = join(root, `bench/results/${name}.json`)
  /** @type {MemoryRow[]} */
  const kept = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).rows : []
  const others = kept.filter((one) => !rows.some((row) => row.what === one.what))
  const about = {
    date: new Date().toISOString().slice(0, 10),
    device: `${cpus()[0]?.model ?? 'unknown'}, ${cpus().length} cores`,
    rounds: options.rounds ?? 3,
  }
  const all = [...rows.map((row) => ({ ...row, ...about })), ...others].sort((a, b) => (a.what < b.what ? -1 : 1))
  const result = { model: basename(model), bytes: statSync(model).size, context: CONTEXT, rows: all }
  mkdirSync(join(root, 'bench/results'), { recursive: true })
  writeFileSync(path, `${JSON.stringify(result, null, 2)}\n`)
  return path
}

/* `node bench/memory.mjs`, or imported by bench/run.mjs for its own command line. */
const asked = process.argv[1] ?? ''
if (/[/\\]memory\.mjs$/.test(asked) || (/[/\\]run\.mjs$/.test(asked) && process.argv.includes('memory'))) {
  const { values } = parseArgs({
    strict: false,
    options: {
      model: { type: 'string' },
      rounds: { type: 'string' },
      node: { type: 'boolean' },
      chromium: { type: 'boolean' },
      save: { type: 'boolean' },
    },
  })
  const options = {
    ...(typeof values.model === 'string' ? { model: values.model } : {}),
    ...(typeof values.rounds === 'string' ? { rounds: Number(values.rounds) } : {}),
  }
  const both = values.node !== true && values.chromium !== true
  const rows = [
    ...(both || values.node === true ? nodeMemory(options) : []),
    ...(both || values.chromium === true ? await chromiumMemory(options) : []),
  ]
  for (const row of rows) console.log(JSON.stringify(row))
  if (values.save === true) console.error(`kept in ${save(rows, options)}`)
}
