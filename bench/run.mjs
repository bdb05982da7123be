/*
 * run.mjs: `npm run bench`. Every claim about speed or memory is a ratio measured here, side by side, in one run.
 *
 *   npm run bench                          Nook in Chromium and in Node
 *   npm run bench -- --against wllama      the same, and wllama 2.3.1 on the same file in the same browser, taken in turn
 *   npm run bench -- kernels               the matrix kernels alone (bench/kernels.mjs)
 *   npm run bench -- memory                peak memory over an empty page and over a bare Node (bench/memory.mjs)
 *   npm run bench -- perplexity             perplexity beside native llama.cpp's (bench/perplexity.mjs, its flags there)
 *   flags: --model FILE (bench/random_model.mjs writes one of any shape), --threads N, --rounds N, --repeats N (inside a
 *          round), --prefill 16,128,512, --decode 64, --save (writes bench/results/inference.json, and for another model
 *          than the default one inference-<its name>.json; of memory likewise memory.json)
 *
 * Method   A round opens a fresh browser for each contender, one after the other, so that a machine that slows down slows
 *          all of them; a contender's figure is the median over rounds of the medians inside a round. Memory is the
 *          renderer's peak (VmHWM) minus that of an empty page; "memory allowed" is Nook's own bound for the file,
 *          file × 1.1 + key/value cache + 20 MiB.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, homedir, tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { measurePage, serve } from './chromium.mjs'
import { memoryBound } from './memory.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const MODEL = 'models/cache/SmolLM2-135M-Instruct.Q4_1.gguf'
const WLLAMA = {
  version: '2.3.1',
  integrity: 'sha512-4PxA9YwynAc/GfYV2NoHZexT0pOdmQiPqRxTjf5rIE/JZly0vWE3uLofRLw5Ehuz5E/RwruQm5z7/wBykFObUQ==',
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    against: { type: 'string', multiple: true, default: [] },
    model: { type: 'string', default: MODEL },
    threads: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '3' },
    repeats: { type: 'string', default: '3' },
    prefill: { type: 'string', default: '16,128,512' },
    decode: { type: 'string', default: '64' },
    save: { type: 'boolean', default: false },
    node: { type: 'boolean', default: false } /* memory's own */,
    chromium: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    text: { type: 'string' },
    tokens: { type: 'string' },
  },
})

/** The unpacked package, from the registry that npm is set up for, checked by its integrity. */
function bringWllama() {
  const home = join(process.env.NOOK_CACHE ?? join(homedir(), '.cache', 'nook'), `wllama-${WLLAMA.version}`)
  if (existsSync(home)) return home
  const work = mkdtempSync(join(tmpdir(), 'nook-wllama-'))
  console.error(`fetching @wllama/wllama@${WLLAMA.version}`)
  const name = execFileSync('npm', ['pack', `@wllama/wllama@${WLLAMA.version}`, '--silent'], {
    cwd: work,
    encoding: 'utf8',
  }).trim()
  const hash = `sha512-${createHash('sha512').update(readFileSync(join(work, name))).digest('base64')}`
  if (hash !== WLLAMA.integrity) throw new Error(`wllama ${WLLAMA.version} is not the published package: ${hash}`)
  execFileSync('tar', ['xzf', name], { cwd: work })
  mkdirSync(join(home, '..'), { recursive: true })
  cpSync(join(work, 'package'), home, { recursive: true })
  rmSync(work, { recursive: true })
  return home
}

/** @param {number[]} list */
const median = (list) => {
  const sorted = [...list].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** One contender's page, its name and what it takes. @type {Record<string, {page: string, extra: object}>} */
const CONTENDERS = {
  'nook relaxed': { page: 'nook.html', extra: { build: 'relaxed', abort: true } },
  'nook base': { page: 'nook.html', extra: { build: 'base', abort: true } },
  'wllama 2.3.1': { page: 'wllama.html', extra: {} },
}

async function inference() {
  const threads = Number(values.threads)
  const prefill = (values.prefill ?? '').split(',').map(Number)
  const decode = Number(values.decode)
  const model = resolve(root, values.model ?? MODEL)
  const mounts = {
    '/bench/': join(root, 'bench/pages'),
    '/web/': join(root, 'web'),
    '/models/': join(model, '..'),
    '/wllama/': '',
  }
  const names = ['nook relaxed', 'nook base']
  if (values.against.includes('wllama')) {
    mounts['/wllama/'] = bringWllama()
    names.push('wllama 2.3.1')
  }
  const server = await serve(mounts, { isolated: threads > 1 })
  /** @type {Map<string, {unit: string, values: number[], peer: string, what: string, n: number}>} */
  const table = new Map()
  const add = (
    /** @type {string} */ peer,
    /** @type {string} */ what,
    /** @type {number} */ n,
    /** @type {number} */ value,
    /** @type {string} */ unit,
  ) => {
    const key = `${peer}|${what}|${n}`
    if (!table.has(key)) table.set(key, { peer, what, n, unit, values: [] })
    table.get(key)?.values.push(value)
  }
  try {
    for (let round = 0; round < Number(values.rounds); round++) {
      const empty = await measurePage(`${server.origin}/bench/empty.html`, 'bench', {})
      for (const name of names) {
        console.error(`round ${round + 1}: ${name}`)
        const { page, extra } = CONTENDERS[name]
        const what = {
          model: `${server.origin}/models/${model.split('/').pop()}`,
          threads,
          prefill,
          decode,
          repeats: Number(values.repeats),
          context: 1024,
          ...extra,
        }
        const { result, peak } = await measurePage(`${server.origin}/bench/${page}`, 'bench', what)
        const rows = Array.isArray(result) ? result : result.rows
        for (const row of rows) {
          const seconds = median(row.seconds)
          if (row.what === 'load' || row.what.startsWith('abort')) add(name, row.what, row.n, seconds, 's')
          else add(name, row.what, row.n, row.n / seconds, 'tokens/s')
        }
        add(name, 'memory', 1, (peak - empty.peak) / 1e6, 'MB')
        if (result.memory) add(name, 'memory allowed', 1, memoryBound(model, result.memory.kv) / 1e6, 'MB')
      }
    }
  } finally {
    await server.close()
  }
  const rows = [...table.values()].map(({ values: list, ...row }) => ({
    ...row,
    median: median(list),
    min: Math.min(...list),
    max: Math.max(...list),
  }))
  const result = {
    device: `${cpus()[0]?.model ?? 'unknown'}, ${cpus().length} cores`,
    date: new Date().toISOString().slice(0, 10),
    host: 'Chromium, headless',
    threads,
    model: model.split('/').pop(),
    rounds: Number(values.rounds),
    rows,
  }
  const number = (/** @type {number} */ x) => (x < 10 ? x.toFixed(3) : x.toFixed(1))
  for (const row of rows) {
    const what = `${row.what} ${row.n === 1 ? '' : row.n}`.padEnd(22)
    const spread = `(${number(row.min)} – ${number(row.max)})`
    console.log(`${row.peer.padEnd(14)} ${what} ${number(row.median).padStart(9)} ${row.unit}  ${spread}`)
  }
  const of = (/** @type {string} */ peer, /** @type {string} */ what, /** @type {number} */ n) =>
    rows.find((row) => row.peer === peer && row.what === what && row.n === n)?.median ?? NaN
  if (names.includes('wllama 2.3.1')) {
    for (const [what, n] of /** @type {[string, number][]} */ ([
      ...prefill.map((tokens) => ['prefill', tokens]),
      ['decode', decode],
    ])) {
      for (const peer of ['nook relaxed', 'nook base'])
        console.log(`${peer} ÷ wllama: ${what} ${n}: ${(of(peer, what, n) / of('wllama 2.3.1', what, n)).toFixed(2)}`)
    }
  }
  if (values.json) console.log(JSON.stringify(result))
  if (values.save) {
    mkdirSync(join(root, 'bench/results'), { recursive: true })
    const stem = values.model === MODEL ? 'inference' : `inference-${basename(model, '.gguf')}`
    writeFileSync(join(root, `bench/results/${stem}.json`), `${JSON.stringify(result, null, 2)}\n`)
  }
}

const [what = 'inference'] = positionals
if (what === 'inference') await inference()
else if (what === 'memory') await import('./memory.mjs')
else if (what === 'perplexity') await import('./perplexity.mjs')
else if (what === 'kernels') {
  const build = 'source ./emsdk-env.sh && cmake --preset wasm-relaxed && cmake --build build/wasm-relaxed --target kernels'
  execFileSync('bash', ['-c', build], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] })
  const program = [join(root, 'bench/kernels.mjs'), join(root, 'build/wasm-relaxed/kernels.wasm'), ...positionals.slice(1)]
  execFileSync('node', ['--experimental-wasm-relaxed-simd', ...program], { stdio: 'inherit' })
} else {
  console.error(`npm run bench: "${what}" is none of inference, kernels, memory, perplexity`)
  process.exitCode = 2
}
