/*
 * wasm.mjs: the cases that `mutate --json` wrote down, applied to the WebAssembly build: the engine with 32-bit sizes.
 *
 * usage: node tests/mutation/wasm.mjs CASES.jsonl FILE   (the file that the cases are of)
 * Each case must end as it did natively: the same status and sentence, or the same ids, the same bits of all logits and the
 * same tokens drawn. Only where memory is out on one side the two may differ, since their limits do.
 * Result   One line a hundred cases on stdout (whoever runs this watches for a hang), failures on stderr; the last line is
 *          JSON {cases, loaded, refused, memory, failed}. Exit status 1 when a case failed.
 */
import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { Capi, TOKENIZE_ADD_SPECIAL } from '../../web/capi.js'
import { compile, instantiate } from '../../web/loader.js'
import { NookError } from '../../web/errors.js'
import { nodeHost } from '../../web/platform/node.js'

const MEMORY_BYTES = 384 * 1048576
const MAX_STEPS = 100000
const TEXT = Buffer.concat([
  Buffer.from('<|im_start|>user\nHello, the é 12 worlds!'),
  Buffer.from([0xff]),
  Buffer.from("  <|im_end|>\n 中 it's"),
])

const [casesPath, filePath] = process.argv.slice(2)
if (casesPath === undefined || filePath === undefined) {
  console.error('usage: node tests/mutation/wasm.mjs CASES.jsonl FILE')
  process.exit(2)
}
const base = await readFile(filePath)
const compiled = await compile('base', nodeHost)

/* FNV-1a with 64 bits, in two halves: BigInt takes seconds for a model's logits. */
class Fnv {
  #low = 0x84222325
  #high = 0xcbf29ce4

  /** @param {number} value 32 bits */
  add(value) {
    const low = (this.#low ^ value) >>> 0
    /* times 0x100000001B3 = 2^40 + 435 */
    const a = (low & 0xffff) * 435
    const b = (low >>> 16) * 435 + Math.floor(a / 65536)
    this.#high = (Math.imul(this.#high, 435) + Math.floor(b / 65536) + (low << 8)) >>> 0
    this.#low = (((b & 0xffff) << 16) | (a & 0xffff)) >>> 0
  }

  hex() {
    return this.#high.toString(16).padStart(8, '0') + this.#low.toString(16).padStart(8, '0')
  }
}

async function start() {
  const capi = new Capi(await instantiate(compiled, { maximumBytes: MEMORY_BYTES }))
  return { capi, context: capi.create({ isa: 'simd128' }) }
}

/** @param {any} one @returns {Buffer} */
function apply(one) {
  const parts = []
  let at = 0
  for (const [offset, removed, hex] of one.splices) {
    parts.push(base.subarray(at, offset), Buffer.from(hex, 'hex'))
    at = offset + removed
  }
  parts.push(base.subarray(at))
  return (parts.length === 1 ? base : Buffer.concat(parts)).subarray(0, one.bytes)
}

/** Latin-1 of the bytes, as the native side writes its sentences. @param {string} text */
const bytesOf = (text) => Buffer.from(text, 'utf8').toString('latin1')

/** The same as trial_run in trial.h. @param {{capi: Capi, context: number}} engine @param {any} one @param {Buffer} file */
function trial({ capi, context }, one, file) {
  /** @type {any} */
  const out = { status: 'ok', message: '', tokens: '0'.repeat(16), logits: '0'.repeat(16), generation: '', drawn: [] }
  /** @param {() => void} work @param {(code: string) => void} [ended] */
  const attempt = (work, ended) => {
    try {
      work()
      ended?.('ok')
    } catch (error) {
      if (!(error instanceof NookError) || error.code === 'internal') throw error
      ended?.(error.code)
      /* the engine's own words: the shim makes a sentence of them */
      out.message = bytesOf(
        JSON.parse(capi.memory.string(/** @type {any} */ (capi.c['nook_error'])(context) >>> 0)).message,
      )
    }
  }
  const steps = () => {
    let left = MAX_STEPS
    return () => {
      if (left-- === 0) throw new Error(`a loop did not end within ${MAX_STEPS} steps`)
    }
  }
  attempt(() => {
    capi.loadBegin(context, { files: [{ bytes: file.length }], ...one.options })
    for (const count = steps(); ; count()) {
      const want = capi.loadStep(context)
      if (want.finished) break
      if (want.offset + want.length > file.length) {
        capi.loadCancel(context)
        throw new Error(`${want.length} bytes were wanted from ${want.offset} of a file of ${file.length}`)
      }
      capi.memory.window(want.destination, want.length).set(file.subarray(want.offset, want.offset + want.length))
    }
  }, (code) => { out.status = code })
  if (out.status !== 'ok') return out
  try {
    const info = capi.info(context)
    const vocabulary = Number(info.vocabulary)
    const speaks = typeof info.tokenizer === 'string'
    /** @type {number[]} */
    let ids = []
    if (speaks) {
      const hash = new Fnv()
      const cut = TEXT.length - 13
      /** @type {Int32Array} */
      let tokens = new Int32Array(0)
      attempt(() => {
        tokens = capi.tokenize(
          context,
          TEXT,
          [
            { start: 0, length: cut, parse_special: true },
            { start: cut, length: 13, parse_special: false },
          ],
          TOKENIZE_ADD_SPECIAL,
        )
      })
      for (const token of tokens) for (const shift of [0, 8, 16, 24]) hash.add((token >>> shift) & 255)
      if (tokens.length > 0) {
        attempt(() => { for (const byte of capi.detokenize(context, tokens, true)) hash.add(byte) })
      }
      out.tokens = hash.hex()
      ids = Array.from(tokens.subarray(0, 5))
    }
    ids.push(vocabulary - 1)
    const hash = new Fnv()
    attempt(() => {
      capi.evalBegin(context, ids, { reuse: false, output: info.encoder ? 'hidden' : 'logits' })
      for (const count = steps(); ; count()) {
        const rows = capi.evalStep(context)
        if (rows.rows > 0) {
          const floats = capi.memory.floats(rows.values, rows.rows * rows.columns)
          for (const bits of new Uint32Array(floats.buffer, floats.byteOffset, floats.length)) {
            hash.add((bits & 0x7f800000) === 0x7f800000 && (bits & 0x7fffff) !== 0 ? 0x7fc00000 : bits)
          }
        }
        if (rows.finished) break
      }
    })
    capi.evalEnd(context)
    out.logits = hash.hex()
    if (speaks) {
      attempt(() => {
        capi.generateBegin(context, ids, { max_tokens: 4, temperature: 0, logprobs: 1, ignore_end: true })
        for (const count = steps(); ; count()) {
          const event = capi.generateStep(context)
          if (event.type === 3) break
          if (event.type === 1) out.drawn.push(event.token)
        }
        if (!Array.isArray(capi.result(context).ids)) throw new Error('the result has no ids')
      }, (code) => { out.generation = code })
      capi.generateEnd(context)
    }
  } finally {
    capi.unload(context)
  }
  return out
}

const KEYS = ['status', 'message', 'tokens', 'logits', 'generation', 'drawn']
const counts = { cases: 0, loaded: 0, refused: 0, memory: 0, failed: 0 }
let engine = await start()
for await (const line of createInterface({ input: createReadStream(casesPath, 'utf8') })) {
  const one = JSON.parse(line)
  /** @type {string | undefined} */
  let problem
  try {
    const out = trial(engine, one, apply(one))
    if (out.status === 'memory' || one.status === 'memory') counts.memory++
    else if (out.status === 'ok') counts.loaded++
    else counts.refused++
    const other = KEYS.find((key) => JSON.stringify(out[key]) !== JSON.stringify(one[key]))
    if (
      other !== undefined
      && out.status !== 'memory'
      && one.status !== 'memory'
      && out.generation !== 'memory'
      && one.generation !== 'memory'
    ) {
      problem = `${other} is ${JSON.stringify(out[other])}, natively ${JSON.stringify(one[other])} (${JSON.stringify(out)})`
    }
    if (out.status !== 'ok' && out.message.length < 12) problem = `no sentence: ${JSON.stringify(out)}`
  } catch (error) {
    problem = error instanceof Error ? `${error.stack}` : String(error)
    engine = await start() /* after a trap or a hang nothing of the old one is trusted */
  }
  counts.cases++
  if (problem !== undefined) {
    counts.failed++
    console.error(`FAILED in WebAssembly: ${filePath}, case ${one.case} (${one.what}): ${problem}`)
    if (counts.failed >= 10) break
  }
  if (counts.cases % 100 === 0) console.log(`${counts.cases} cases`)
}
console.log(JSON.stringify(counts))
process.exit(counts.failed > 0 ? 1 : 0)
