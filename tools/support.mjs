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

/** docs/support.md as it should be. */
export async function generate() {
  const { isa, architectures, formats: built } = await constants()
  const models = tinyModels()
  const quants = committed('tests/fixtures/quants', '.gguf').map((path) => basename(path, '.gguf'))
  const lines = [
    '# What runs',
    '',
    'Written by `node tools/support.mjs` from what the engine says (`nook_constants`) and from the committed fixtures.',
    '',
    '## Architectures',
    '',
    'Every other one is refused by name. The fixtures are small models with logits of the reference implementation.',
    '',
    '| `general.architecture` | fixtures in `tests/fixtures/tiny` |',
    '|---|---|',
  ]
  for (const name of architectures) {
    const fixtures = models[name]
    if (fixtures === undefined) throw new Error(`The architecture ${name} has no model in tests/fixtures/tiny.`)
    lines.push(`| ${name} | ${fixtures.join(', ')} |`)
  }
  lines.push(
    '',
    '## Formats of weights',
    '',
    'A format with an 8-bit product multiplies quantized weights by activations of 8 bits;',
    '`--float` (`activations: "f32"`) keeps activations in float32. The others always do.',
    '',
    '| format | bits a weight | 8-bit product | models in `tests/fixtures/quants` |',
    '|---|---:|---|---|',
  )
  for (const { name, bits, kind } of formats()) {
    if (!built.includes(name)) throw new Error(`kernels/formats.def has ${name}, the build does not: build again.`)
    const fixtures = quants.filter((one) => one.endsWith(`.${name}`))
    lines.push(`| ${name} | ${bits} | ${kind === 'INTEGER' ? 'yes' : 'no'} | ${fixtures.join(', ') || 'those in `tiny`'} |`)
  }
  lines.push(
    '',
    '## Tokenizers',
    '',
    'By `tokenizer.ggml.model` and, for byte-level BPE, `tokenizer.ggml.pre`. Each row has strings and a reference\'s ids.',
    '',
    '| model | pre-tokenizer | vocabularies in `tests/fixtures/tokenizers` |',
    '|---|---|---|',
  )
  /** @type {Map<string, string[]>} */
  const tokenizers = new Map()
  for (const path of committed('tests/fixtures/tokenizers', '.gguf')) {
    const found = metadata(`${root}${path}`)
    const bpe = found['tokenizer.ggml.model'] === 'gpt2'
    const key = `${found['tokenizer.ggml.model']} | ${bpe ? (found['tokenizer.ggml.pre'] ?? 'none given') : '–'}`
    tokenizers.set(key, [...(tokenizers.get(key) ?? []), basename(path, '.gguf')])
  }
  for (const [key, names] of [...tokenizers].sort()) lines.push(`| ${key} | ${names.join(', ')} |`)
  lines.push(
    '',
    '## Instruction sets',
    '',
    `The base build has ${isa.join(' and ')}; the relaxed build adds relaxed SIMD, used after a probe and a comparison`,
    'with the scalar kernels on the machine at hand.',
    '',
  )
  return lines.join('\n')
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
