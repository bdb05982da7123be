/*
 * memory.mjs: `npm run bench -- memory`. The peak of resident memory that a model takes, over what is there without one.
 *
 * Measured  VmHWM of a process that loads the model (context 1,024, one thread), reads a prompt and writes an answer, minus
 *           VmHWM of the same process without a model: Node against an empty program, the renderer of Chromium against an
 *           empty page. Linux only (/proc). The median of the rounds.
 * Bound     file × 1.1 + F16 key/value cache + 20 MiB.
 * Output    A JSON row each: {what, measured, bound, ok, …}, bytes. A bound that is missed makes the status 1.
 *   node bench/memory.mjs [--model FILE] [--rounds N] [--node] [--chromium]
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

const root = fileURLToPath(new URL('..', import.meta.url))
const CONTEXT = 1024
const PROMPT = 'A small house stood by the river, and in the evening the light of its windows lay upon the water. '.repeat(24)
const TOKENS = 64

/** What a caller of this file may ask for. @typedef {{model?: string, rounds?: number}} Options */
/** @typedef {{what: string, measured: number, bound: number | null, ok: boolean, [more: string]: unknown}} MemoryRow */

/** @param {number[]} list @returns {number} */
const median = (list) => /** @type {number} */ ([...list].sort((a, b) => a - b)[list.length >> 1])

const modelPath = (/** @type {Options} */ options) => resolve(root, options.model ?? 'models/cache/SmolLM2-135M-Instruct.Q4_1.gguf')

/** @param {string} model @param {number} kv bytes @returns {number} */
export const memoryBound = (model, kv) => Math.round(statSync(model).size * 1.1 + kv + 20 * 1048576)

/** Peak of a Node that runs a module's text; what it prints is JSON. @param {string} program @returns {{peak: number, said: any}} */
function measureNode(program) {
  const tail = `
    const { readFileSync } = await import('node:fs')
    console.log(JSON.stringify({ said, peak: Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024 }))`
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', program + tail], { encoding: 'utf8' })
  if (child.status !== 0) throw new Error(`the measured process failed: ${child.stderr}`)
  return JSON.parse(child.stdout)
}

/** @param {Options} [options] @returns {MemoryRow[]} */
export function nodeMemory(options = {}) {
  const model = modelPath(options)
  const program = `
    const { load } = await import(${JSON.stringify(pathToFileURL(join(root, 'web/node.js')).href)})
    const llm = await load({ model: ${JSON.stringify(model)}, contextSize: ${CONTEXT}, threads: 1 })
    const { usage } = await llm.completions.create({ prompt: ${JSON.stringify(PROMPT)}, max_tokens: ${TOKENS}, temperature: 0, ignore_end: true })
    const { memory, wasm_memory } = llm.info
    const said = { usage, memory, wasm_memory }`
  const empty = []
  const full = []
  let said
  for (let round = 0; round < (options.rounds ?? 3); round++) {
    empty.push(measureNode('const said = null').peak)
    const measured = measureNode(program)
    full.push(measured.peak)
    said = measured.said
  }
  const measured = median(full) - median(empty)
  const bound = memoryBound(model, said.memory.kv)
  return [{
    what: 'Node, one thread, over an empty program', measured, bound, ok: measured <= bound,
    empty: median(empty), plan: said.memory, wasm_memory: said.wasm_memory, tokens: said.usage.total_tokens,
  }]
}

/** @param {Options} [options] @returns {Promise<MemoryRow[]>} */
export async function chromiumMemory(options = {}) {
  const { measurePage, serve } = await import('./chromium.mjs')
  const model = modelPath(options)
  const server = await serve({ '/bench/': join(root, 'bench/pages'), '/web/': join(root, 'web'), '/models/': dirname(model) })
  const address = `${server.origin}/models/${encodeURIComponent(basename(model))}`
  const ways = /** @type {const} */ (['memory', 'opfs', 'opfs again'])
  /** @type {Record<string, {peaks: number[], seconds: number[], said: any}>} */
  const found = Object.fromEntries(ways.map((way) => [way, { peaks: [], seconds: [], said: null }]))
  /** @type {number[]} */
  const empty = []
  try {
    for (let round = 0; round < (options.rounds ?? 3); round++) {
      empty.push((await measurePage(`${server.origin}/bench/empty.html`, 'bench', {})).peak)
      const profile = mkdtempSync(join(tmpdir(), 'nook-memory-'))
      for (const way of ways) {
        const what = { model: address, context: CONTEXT, cache: way === 'memory' ? 'memory' : 'opfs', prompt: PROMPT, tokens: TOKENS }
        const { result, peak } = await measurePage(`${server.origin}/bench/memory.html`, 'bench', what, profile)
        const row = /** @type {{peaks: number[], seconds: number[], said: any}} */ (found[way])
        row.said = result
        row.peaks.push(peak)
        row.seconds.push(row.said.seconds)
      }
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
    }
  } finally {
    await server.close()
  }
  const names = { memory: 'not kept', opfs: 'first load, kept in OPFS', 'opfs again': 'second load, from OPFS' }
  return ways.map((way) => {
    const { peaks, seconds, said } = /** @type {{peaks: number[], seconds: number[], said: any}} */ (found[way])
    const measured = median(peaks) - median(empty)
    const bound = memoryBound(model, said.memory.kv)
    return {
      what: `Chromium, one thread, ${names[way]}, over an empty page`, measured, bound, ok: measured <= bound,
      empty: median(empty), plan: said.memory, wasm_memory: said.wasm_memory, tokens: said.usage.total_tokens, load_seconds: median(seconds),
    }
  })
}

/* `node bench/memory.mjs`, or imported by bench/run.mjs for its own command line. */
const asked = process.argv[1] ?? ''
if (/[/\\](memory|run)\.mjs$/.test(asked)) {
  const { values } = parseArgs({
    strict: false,
    options: { model: { type: 'string' }, rounds: { type: 'string' }, node: { type: 'boolean' }, chromium: { type: 'boolean' } },
  })
  const options = {
    ...(typeof values.model === 'string' ? { model: values.model } : {}), ...(typeof values.rounds === 'string' ? { rounds: Number(values.rounds) } : {}),
  }
  const both = values.node !== true && values.chromium !== true
  const rows = [...(both || values.node === true ? nodeMemory(options) : []), ...(both || values.chromium === true ? await chromiumMemory(options) : [])]
  for (const row of rows) console.log(JSON.stringify(row))
  if (rows.some((row) => !row.ok)) process.exitCode = 1
}
