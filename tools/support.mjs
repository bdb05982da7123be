#!/usr/bin/env node
/*
 * support.mjs: writes docs/support.md: what the engine says that it runs (nook_constants of the base build), and the
 * committed fixtures that prove it. A row without a fixture is an error. tests/lint compares.
 *
 *   node tools/support.mjs [--check]      --check: writes nothing, fails when docs/support.md is not up to date
 */
import { execFileSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bound, measure } from './exact.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))

/** @typedef {{isa: string[], formats: string[], architectures: string[]}} Constants */

/** The facts of the build web/wasm/nook-base.wasm. @returns {Promise<Constants>} */
export async function constants() {
  const module = new WebAssembly.Module(readFileSync(`${root}web/wasm/nook-base.wasm`))
  const memory = new WebAssembly.Memory({ initial: 64 })
  const { exports } = await WebAssembly.instantiate(module, { env: { memory } })
  const call = /** @type {Record<string, (...args: number[]) => number>} */ (/** @type {unknown} */ (exports))
  call['_initialize']?.()
  const at = call['nook_constants']?.() ?? 0
  const bytes = new Uint8Array(memory.buffer)
  return JSON.parse(new TextDecoder().decode(bytes.subarray(at, bytes.indexOf(0, at))))
}

/**
 * The texts among the metadata of a GGUF header (v2, v3); arrays and numbers are passed over.
 * @param {string} path @returns {Record<string, string>}
 */
export function metadata(path) {
  const file = openSync(path, 'r')
  const bytes = Buffer.alloc(16 << 20)
  const length = readSync(file, bytes, 0, bytes.length, 0)
  closeSync(file)
  let at = 24
  const sizes = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8]
  const u64 = () => Number(bytes.readBigUInt64LE((at += 8) - 8))
  const text = () => {
    const n = u64()
    at += n
    return bytes.toString('utf8', at - n, at)
  }
  /** @param {number} type @returns {string | null} */
  const value = (type) => {
    if (type === 8) return text()
    if (type === 9) {
      const of = bytes.readUInt32LE(at)
      at += 4
      for (let n = u64(); n > 0; n--) value(of)
    } else at += sizes[type] ?? NaN
    return null
  }
  if (bytes.toString('latin1', 0, 4) !== 'GGUF') throw new Error(`${path} is not a GGUF file.`)
  /** @type {Record<string, string>} */
  const found = {}
  for (let n = Number(bytes.readBigUInt64LE(16)); n > 0; n--) {
    const key = text()
    const type = bytes.readUInt32LE(at)
    at += 4
    const got = value(type)
    if (!(at <= length)) throw new Error(`${path}: its header is longer than what was read, or broken.`)
    if (got !== null) found[key] = got
  }
  return found
}

/** Committed files below a folder. @param {string} folder @param {string} end */
export const committed = (folder, end) =>
  execFileSync('git', ['ls-files', '-z', folder], { cwd: root, encoding: 'utf8' }).split('\0')
    .filter((path) => path.endsWith(end) && existsSync(`${root}${path}`)).sort()

/** The rows of kernels/formats.def. */
export function formats() {
  const lines = readFileSync(`${root}kernels/formats.def`, 'utf8').matchAll(/^NK_FORMAT\(([^)]*)\)/gm)
  return [...lines].map(([, row = '']) => {
    const [name = '', symbol = '', type = '', block = '', bytes = '', kind = ''] = row.split(',').map((part) => part.trim())
    return { name, symbol, type, bits: (Number(bytes) * 8) / Number(block), kind }
  })
}

/** Tiny models by general.architecture. @returns {Record<string, string[]>} names without folder and extension */
export function tinyModels() {
  /** @type {Record<string, string[]>} */
  const found = {}
  for (const path of committed('tests/fixtures/tiny', '.gguf')) {
    const name = metadata(`${root}${path}`)['general.architecture'] ?? ''
    ;(found[name] ??= []).push(basename(path, '.gguf'))
  }
  return found
}

/** Tiny models whose gradients have references: tests/fixtures/train/NAME…. @returns {string[]} */
function trainedModels() {
  const names = committed('tests/fixtures/train', '.json').map((path) => path.split('/')[3] ?? '')
  const engine = new WebAssembly.Module(readFileSync(`${root}web/wasm/nook-base.wasm`))
  const trains = WebAssembly.Module.exports(engine).some(({ name }) => name === 'nook_train_begin')
  if (names.length > 0 && !trains) throw new Error('tests/fixtures/train is there, but the engine has no nook_train_begin.')
  return names.map((name) => name.replace(/\..*$/, ''))
}

/** Rows of architectures: what each runs, trains, and how near it is to its references. @param {string[]} architectures */
async function architectureRows(architectures) {
  const models = tinyModels()
  const trained = trainedModels()
  const rows = []
  for (const name of architectures) {
    const fixtures = models[name]
    if (fixtures === undefined) throw new Error(`The architecture ${name} has no model in tests/fixtures/tiny.`)
    const found = []
    for (const fixture of fixtures) found.push(await measure(`tests/fixtures/tiny/${fixture}`))
    const other = found.find((one) => one.architecture !== name)
    if (other !== undefined) throw new Error(`A fixture of ${name} ran as ${other.architecture}.`)
    const measured = found.filter((one) => one.sequences > 0)
    const exact = measured.length > 0 ? bound(Math.max(...measured.map((one) => one.float))) : 'vectors, by their tests'
    const trains = fixtures.some((fixture) => trained.includes(fixture)) ? 'yes' : 'no'
    rows.push(`| ${name} | yes | ${trains} | ${exact} | ${fixtures.join(', ')} |`)
  }
  return rows
}

/** Rows of formats, with the models that are stored in them. @param {string[]} built */
async function formatRows(built) {
  const quants = committed('tests/fixtures/quants', '.gguf').map((path) => basename(path, '.gguf'))
  const rows = []
  for (const { name, bits, kind } of formats()) {
    if (!built.includes(name)) throw new Error(`kernels/formats.def has ${name}, the build does not: build again.`)
    const fixtures = quants.filter((one) => one.endsWith(`.${name}`))
    const found = []
    for (const fixture of fixtures) found.push(await measure(`tests/fixtures/quants/${fixture}`))
    const integer = kind === 'INTEGER'
    const float = found.length > 0 ? bound(Math.max(...found.map((one) => one.float))) : '–'
    const product = integer && found.length > 0 ? bound(Math.max(...found.map((one) => one.product))) : '–'
    const names = fixtures.map((one) => one.replace(/^model_|\.[^.]*$/g, '')).join(', ')
    rows.push(`| ${name} | ${bits} | ${integer ? 'yes' : 'no'} | ${float} | ${product} | ${names || 'those in `tiny`'} |`)
  }
  return rows
}

/** Strings with a reference's ids for a vocabulary. @param {string} name of the vocabulary's file @returns {number} */
function stringsOf(name) {
  const short = name.replace(/^(ggml-)?vocab-/, '')
  const places = [`${name}.json`, `vocab_${short}_strings.json`, `${short}_strings.json`]
  return places
    .map((place) => `${root}tests/fixtures/tokenizers/${place}`)
    .filter((place) => existsSync(place))
    .reduce((sum, place) => {
      const { cases } = JSON.parse(readFileSync(place, 'utf8'))
      return sum + (Array.isArray(cases) ? cases.length : 0)
    }, 0)
}

/** Rows of tokenizers: by model, the pre-tokenizers with the number of strings that are compared. */
function tokenizerRows() {
  /** @type {Map<string, Map<string, number>>} */
  const models = new Map()
  for (const path of committed('tests/fixtures/tokenizers', '.gguf')) {
    const found = metadata(`${root}${path}`)
    const model = found['tokenizer.ggml.model'] ?? ''
    const pre = model === 'gpt2' ? (found['tokenizer.ggml.pre'] ?? 'none given') : ''
    const pres = models.get(model) ?? new Map()
    pres.set(pre, (pres.get(pre) ?? 0) + stringsOf(basename(path, '.gguf')))
    models.set(model, pres)
  }
  return [...models].sort().map(([model, pres]) => {
    const list = [...pres].sort().filter(([, strings]) => strings > 0)
    const text = list.map(([pre, strings]) => (pre === '' ? `${strings} strings` : `${pre} ${strings}`)).join(', ')
    return `| ${model} | ${text} |`
  })
}

/** docs/support.md as it should be. */
export async function generate() {
  const { isa, architectures, formats: built } = await constants()
  return [
    '# What runs',
    '',
    'Written by `node tools/support.mjs`, which runs the engine on every committed fixture. A row without a fixture is an',
    'error.',
    '',
    '## Architectures',
    '',
    'Every other one is refused by name. The fixtures are small random models with logits of the reference implementation.',
    'Exact to: the largest difference of any logit at any position with float32 activations, measured in the base build.',
    'Trains: gradients have references in `tests/fixtures/train`.',
    '',
    '| `general.architecture` | runs | trains | exact to | fixtures in `tests/fixtures/tiny` |',
    '|---|---|---|---:|---|',
    ...(await architectureRows(architectures)),
    '',
    '## Formats of weights',
    '',
    'A format with an 8-bit product multiplies quantized weights by activations of 8 bits (the default);',
    '`--float` (`activations: "f32"`) keeps activations in float32. Exact to: as above, against the dequantized weights in',
    'float32 (for models with gelu the reference itself rounds: up to 1e-2); with the 8-bit product: by relative L2 norm.',
    '',
    '| format | bits a weight | 8-bit product | exact to | with 8 bits | models in `tests/fixtures/quants` |',
    '|---|---:|---|---:|---:|---|',
    ...(await formatRows(built)),
    '',
    '## Tokenizers',
    '',
    'By `tokenizer.ggml.model`; for byte-level BPE by `tokenizer.ggml.pre`. The numbers are strings whose ids are compared',
    "with a reference's, every id, in `tests/fixtures/tokenizers`.",
    '',
    '| model | pre-tokenizers, strings |',
    '|---|---|',
    ...tokenizerRows(),
    '',
    '## Instruction sets',
    '',
    `The base build has ${isa.join(' and ')}; the relaxed build adds relaxed SIMD, used after a probe and a comparison`,
    'with the scalar kernels on the machine at hand.',
    '',
  ].join('\n')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const path = `${root}docs/support.md`
  const text = await generate()
  if (!existsSync(path) || readFileSync(path, 'utf8') !== text) {
    if (process.argv.includes('--check')) {
      console.error('docs/support.md is not up to date: run node tools/support.mjs.')
      process.exitCode = 1
    } else writeFileSync(path, text)
  }
}
