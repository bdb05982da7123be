#!/usr/bin/env node
/*
 * random_model.mjs: writes a Llama with random weights as a GGUF file, to measure shapes that no small model has.
 *
 *   node bench/random_model.mjs [OUT.gguf] [--types q4_k_m] [--layers 16] [--width 2048] [--heads 32] [--kv-heads 8]
 *                               [--ff 8192] [--vocabulary 128256] [--context 8192] [--tokenizer FILE.gguf] [--seed 1]
 *
 * Output      OUT.gguf, by default models/cache/random-<parameters>.<types>.gguf. The same flags write the same bytes.
 *             Blocks are drawn as blocks, not quantized, and written as they are drawn: a few MB are in memory.
 * --types     a block format for all matrices (Q4_0 …), or a mixture by llama.cpp's rules: q4_k_m is Q4_K, with Q6_K for
 *             the token embedding (which is the output matrix too) and for attn_v and ffn_down of half of the layers.
 * --tokenizer a GGUF whose tokenizer.* keys are taken over; a vocabulary that is larger is filled up with unused tokens.
 * Scales      Every matrix has mean 0 and the deviation 1 / √inputs, which keeps the deviation of what comes in; those that
 *             add to the stream have a factor 1 / √(2 layers) besides; the embedding 3 / √width, so that logits have about
 *             the deviation 3. Norms are 1. Scales of blocks vary by a quarter and have random signs, so that the mean of a
 *             format's levels, which is not 0, cancels.
 * Limits      rows of whole blocks: width and ff multiples of 256 for K formats, of 32 for the others.
 */
import { closeSync, mkdirSync, openSync, readSync, writeSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

const root = fileURLToPath(new URL('..', import.meta.url))
const ALIGNMENT = 32
const CHUNK = 4 << 20

/* ---- Random blocks ------------------------------------------------------------------------------------------------ */

/** The nearest f16 of a number whose size is below 65,504, as 16 bits; subnormals too. @param {number} x */
export function half(x) {
  const size = Math.abs(x)
  const sign = x < 0 ? 0x8000 : 0
  if (size < 2 ** -14) return sign | Math.round(size * 2 ** 24)
  const exponent = Math.floor(Math.log2(size))
  return sign | ((exponent + 15) << 10) + Math.round((size / 2 ** exponent - 1) * 1024)
}

/**
 * A format: GGUF's number, a block's elements and bytes; deviation: of a weight whose scale is 1; scaled(view, at, scale):
 * writes the scales of the block at `at`, whose other bytes are random.
 * @typedef {{type: number, elements: number, bytes: number, deviation: number,
 *   scaled: (view: DataView, at: number, scale: number) => void}} Format
 */

/** Deviation of the whole numbers 0 … n - 1, all alike. @param {number} n */
const uniform = (n) => Math.sqrt((n * n - 1) / 12)

/** The eight pairs of 6-bit factors of Q4_K and Q5_K, scale and minimum alike. @param {DataView} view @param {number} at */
function sixBits(view, at) {
  const factor = Array.from({ length: 8 }, (_, i) => 32 | (view.getUint8(at + i) & 31))
  for (let i = 0; i < 4; i++) {
    const [low, high] = [factor[i] ?? 0, factor[i + 4] ?? 0]
    view.setUint8(at + i, low | (high >> 4 << 6))
    view.setUint8(at + 4 + i, low | (high >> 4 << 6))
    view.setUint8(at + 8 + i, (high & 15) | ((high & 15) << 4))
  }
}

const FACTOR = Math.sqrt(47.5 ** 2 + uniform(32) ** 2) // root of the mean square of 32 … 63
const FACTOR8 = Math.sqrt(95.5 ** 2 + uniform(64) ** 2) // of 64 … 127

/** @param {number} minimum @returns {Format['scaled']} scale, and minimum × scale behind it */
const two = (minimum) => (view, at, scale) => {
  view.setUint16(at, half(scale), true)
  view.setUint16(at + 2, half(scale * minimum), true)
}
/** @type {Format['scaled']} */
const one = (view, at, scale) => view.setUint16(at, half(scale), true)
/** w = d sc q - dmin m, where m = sc. @param {number} middle @returns {Format['scaled']} */
const superblock = (middle) => (view, at, scale) => {
  two(middle)(view, at, scale)
  sixBits(view, at + 4)
}

/** @type {Record<string, Format>} */
export const FORMATS = {
  Q4_0: { type: 2, elements: 32, bytes: 18, deviation: uniform(16), scaled: one },
  Q4_1: { type: 3, elements: 32, bytes: 20, deviation: uniform(16), scaled: two(-7.5) },
  Q5_0: { type: 6, elements: 32, bytes: 22, deviation: uniform(32), scaled: one },
  Q5_1: { type: 7, elements: 32, bytes: 24, deviation: uniform(32), scaled: two(-15.5) },
  Q8_0: { type: 8, elements: 32, bytes: 34, deviation: uniform(256), scaled: one },
  Q4_K: { type: 12, elements: 256, bytes: 144, deviation: FACTOR * uniform(16), scaled: superblock(7.5) },
  Q5_K: { type: 13, elements: 256, bytes: 176, deviation: FACTOR * uniform(32), scaled: superblock(15.5) },
  Q6_K: {
    type: 14,
    elements: 256,
    bytes: 210,
    deviation: FACTOR8 * uniform(64),
    scaled: (view, at, scale) => {
      for (let i = 192; i < 208; i++) { // a sign and 64 … 127
        const bits = view.getUint8(at + i)
        view.setInt8(at + i, (bits & 128 ? -1 : 1) * (64 | (bits & 63)))
      }
      view.setUint16(at + 208, half(scale), true)
    },
  },
  IQ4_NL: { type: 20, elements: 32, bytes: 18, deviation: 67.44, scaled: one },
}

/**
 * sfc32: a small fast generator of good quality.
 * @param {number} seed @returns {() => number} 32 random bits, as an int32
 */
function generator(seed) {
  let [a, b, c, d] = [seed | 0, 0x9e3779b9 | 0, 0x243f6a88 | 0, 1]
  const next = () => {
    const t = (a + b + d) | 0
    d = (d + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + t | 0
    return t
  }
  for (let i = 0; i < 16; i++) next()
  return next
}

/**
 * `blocks` random blocks with weights of that deviation.
 * @param {Format} format @param {number} blocks @param {number} deviation @param {() => number} random
 * @returns {Uint8Array}
 */
export function randomBlocks(format, blocks, deviation, random) {
  const words = new Int32Array(Math.ceil((blocks * format.bytes) / 4))
  for (let i = 0; i < words.length; i++) words[i] = random()
  const view = new DataView(words.buffer)
  const scale = deviation / format.deviation
  for (let i = 0; i < blocks; i++) {
    const bits = random()
    format.scaled(view, i * format.bytes, (bits & 1 ? scale : -scale) * (0.75 + (bits >>> 8) / 2 ** 25))
  }
  return new Uint8Array(words.buffer, 0, blocks * format.bytes)
}

/* ---- GGUF ---------------------------------------------------------------------------------------------------------- */

const U32 = 4, F32 = 6, STRING = 8, ARRAY = 9
const WIDTH = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8] // bytes of a value by its type

/** @param {number} value */
const u32 = (value) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
/** @param {number} value */
const u64 = (value) => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}
/** @param {string} text */
const string = (text) => Buffer.concat([u64(Buffer.byteLength(text)), Buffer.from(text)])
/** @param {number} value */
const f32 = (value) => {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatLE(value)
  return bytes
}
/** @param {string} key @param {number} type @param {Buffer} value */
const entry = (key, type, value) => Buffer.concat([string(key), u32(type), value])

/**
 * The keys `tokenizer.*` of a GGUF, each with its type and the bytes of its value.
 * @param {string} path @returns {Map<string, {type: number, value: Buffer}>}
 */
function tokenizerOf(path) {
  const file = openSync(path, 'r')
  let bytes = Buffer.alloc(0)
  /** Makes bytes [0, end) be there. @param {number} end */
  const need = (end) => {
    if (end > 1 << 28) throw new Error(`the header of ${path} is longer than 256 MiB`)
    while (bytes.length < end) {
      const more = Buffer.alloc(1 << 20)
      const n = readSync(file, more, 0, more.length, bytes.length)
      if (n === 0) throw new Error(`${path} ends inside its header`)
      bytes = Buffer.concat([bytes, more.subarray(0, n)])
    }
  }
  let at = 24
  const skip = (/** @type {number} */ n) => {
    need(at + n)
    at += n
    return at - n
  }
  const number = () => Number(bytes.readBigUInt64LE(skip(8)))
  const skipValue = (/** @type {number} */ type) => {
    if (type === STRING) skip(number())
    else if (type === ARRAY) {
      const of = bytes.readUInt32LE(skip(4))
      const n = number()
      if (WIDTH[of]) skip(n * WIDTH[of])
      else for (let i = 0; i < n; i++) skipValue(of)
    } else if (WIDTH[type]) skip(WIDTH[type])
    else throw new Error(`${path} has a value of the unknown type ${type}`)
  }
  try {
    need(24)
    if (bytes.toString('latin1', 0, 4) !== 'GGUF') throw new Error(`${path} is no GGUF file`)
    const found = new Map()
    for (let left = Number(bytes.readBigUInt64LE(16)); left > 0; left--) {
      const n = number()
      const from = skip(n)
      const key = bytes.toString('utf8', from, from + n)
      const type = bytes.readUInt32LE(skip(4))
      const start = at
      skipValue(type)
      if (key.startsWith('tokenizer.')) found.set(key, { type, value: Buffer.from(bytes.subarray(start, at)) })
    }
    return found
  } finally {
    closeSync(file)
  }
}

/**
 * The tokenizer's keys with as many tokens as asked for.
 * @param {string} path @param {number} size @returns {Buffer[]}
 */
function vocabulary(path, size) {
  const keys = tokenizerOf(path)
  const tokens = keys.get('tokenizer.ggml.tokens')
  if (tokens === undefined) throw new Error(`${path} has no tokenizer`)
  const n = Number(tokens.value.readBigUInt64LE(4))
  if (n > size) throw new Error(`the tokenizer of ${path} has ${n} tokens, more than the vocabulary of ${size}`)
  const missing = Array.from({ length: size - n }, (_, i) => i)
  /** What an array of the tokenizer gets for each missing token. @type {Record<string, (i: number) => Buffer>} */
  const filler = {
    'tokenizer.ggml.tokens': (i) => string(`<|unused_${i}|>`),
    'tokenizer.ggml.token_type': () => u32(5), // unused
    'tokenizer.ggml.scores': () => f32(0),
  }
  return [...keys].map(([key, { type, value }]) => {
    const fill = filler[key]
    if (fill === undefined) return entry(key, type, value)
    return entry(key, type, Buffer.concat([value.subarray(0, 4), u64(size), value.subarray(12), ...missing.map(fill)]))
  })
}

/* ---- The model ----------------------------------------------------------------------------------------------------- */

/** llama.cpp gives these layers more bits. @param {number} i @param {number} layers */
const moreBits = (i, layers) => {
  const eighth = Math.floor(layers / 8)
  return i < eighth || i >= Math.floor((7 * layers) / 8) || (i - eighth) % 3 === 2
}

/**
 * @typedef {{layers: number, width: number, heads: number, kvHeads: number, ff: number, vocabulary: number,
 *   context: number}} Shape
 * @typedef {{name: string, rows: number, cols: number, format: string | null, deviation: number}} Tensor format null: F32,
 *   all 1
 */

/** @param {Shape} shape @param {string} types @returns {Tensor[]} */
function tensorsOf(shape, types) {
  const { layers, width, ff } = shape
  const kv = (width / shape.heads) * shape.kvHeads
  const mixed = types.toLowerCase() === 'q4_k_m'
  const format = mixed ? 'Q4_K' : types
  /** @type {Tensor[]} */
  const tensors = []
  const norm = (/** @type {string} */ name) => tensors.push({ name, rows: 1, cols: width, format: null, deviation: 0 })
  const add = (
    /** @type {string} */ name,
    /** @type {number} */ rows,
    /** @type {number} */ cols,
    /** @type {boolean} */ more,
    /** @type {number} */ factor,
  ) =>
    tensors.push({ name, rows, cols, format: mixed && more ? 'Q6_K' : format, deviation: factor / Math.sqrt(cols) })
  const stream = 1 / Math.sqrt(2 * layers)
  add('token_embd.weight', shape.vocabulary, width, true, 3)
  for (let i = 0; i < layers; i++) {
    const more = moreBits(i, layers)
    norm(`blk.${i}.attn_norm.weight`)
    add(`blk.${i}.attn_q.weight`, width, width, false, 1)
    add(`blk.${i}.attn_k.weight`, kv, width, false, 1)
    add(`blk.${i}.attn_v.weight`, kv, width, more, 1)
    add(`blk.${i}.attn_output.weight`, width, width, false, stream)
    norm(`blk.${i}.ffn_norm.weight`)
    add(`blk.${i}.ffn_gate.weight`, ff, width, false, 1)
    add(`blk.${i}.ffn_up.weight`, ff, width, false, 1)
    add(`blk.${i}.ffn_down.weight`, width, ff, more, stream)
  }
  norm('output_norm.weight')
  return tensors
}

/** @param {Tensor} t @returns {number} */
function bytesOf(t) {
  if (t.format === null) return t.rows * t.cols * 4
  const format = FORMATS[t.format]
  if (format === undefined) throw new Error(`${t.format} is none of q4_k_m, ${Object.keys(FORMATS).join(', ')}`)
  if (t.cols % format.elements !== 0)
    throw new Error(`${t.name} has rows of ${t.cols}, which are no whole blocks of ${t.format}`)
  return (t.rows * t.cols) / format.elements * format.bytes
}

const aligned = (/** @type {number} */ n) => Math.ceil(n / ALIGNMENT) * ALIGNMENT

/**
 * Writes the model.
 * @param {string} path @param {Shape} shape @param {{types: string, tokenizer: string, seed: number}} options
 * @returns {{parameters: number, bytes: number}}
 */
export function writeRandomModel(path, shape, { types, tokenizer, seed }) {
  const tensors = tensorsOf(shape, types)
  const parameters = tensors.reduce((sum, t) => sum + t.rows * t.cols, 0)
  const numbers = {
    block_count: shape.layers,
    context_length: shape.context,
    embedding_length: shape.width,
    feed_forward_length: shape.ff,
    'attention.head_count': shape.heads,
    'attention.head_count_kv': shape.kvHeads,
    'rope.dimension_count': shape.width / shape.heads,
    vocab_size: shape.vocabulary,
  }
  const entries = [
    entry('general.architecture', STRING, string('llama')),
    entry('general.type', STRING, string('model')),
    entry('general.name', STRING, string(`random weights, seed ${seed}`)),
    entry('general.quantization_version', U32, u32(2)),
    ...Object.entries(numbers).map(([key, value]) => entry(`llama.${key}`, U32, u32(value))),
    entry('llama.attention.layer_norm_rms_epsilon', F32, f32(1e-5)),
    entry('llama.rope.freq_base', F32, f32(500000)),
    ...vocabulary(tokenizer, shape.vocabulary),
  ]
  let offset = 0
  const infos = tensors.map((t) => {
    const sizes = t.format === null ? [t.cols] : [t.cols, t.rows]
    const type = t.format === null ? 0 : FORMATS[t.format]?.type ?? 0
    const info = Buffer.concat([string(t.name), u32(sizes.length), ...sizes.map(u64), u32(type), u64(offset)])
    offset += aligned(bytesOf(t))
    return info
  })
  const header = Buffer.concat([
    Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(entries.length), ...entries, ...infos,
  ])
  mkdirSync(dirname(path), { recursive: true })
  const file = openSync(path, 'w')
  let written = 0
  const write = (/** @type {Uint8Array} */ bytes) => {
    for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at)
    written += bytes.length
  }
  const pad = () => write(new Uint8Array(aligned(written) - written))
  try {
    write(header)
    pad()
    const random = generator(seed)
    for (const t of tensors) {
      if (t.format === null) write(new Uint8Array(new Float32Array(t.cols).fill(1).buffer))
      else {
        const format = /** @type {Format} */ (FORMATS[t.format])
        for (let left = (t.rows * t.cols) / format.elements; left > 0;) {
          const blocks = Math.min(left, Math.floor(CHUNK / format.bytes))
          write(randomBlocks(format, blocks, t.deviation, random))
          left -= blocks
        }
      }
      pad()
    }
  } finally {
    closeSync(file)
  }
  return { parameters, bytes: written }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const number = (/** @type {string} */ value) => ({ type: /** @type {const} */ ('string'), default: value })
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      types: { type: 'string', default: 'q4_k_m' },
      tokenizer: { type: 'string', default: join(root, 'models/cache/SmolLM2-135M-Instruct.Q4_1.gguf') },
      layers: number('16'),
      width: number('2048'),
      heads: number('32'),
      'kv-heads': number('8'),
      ff: number('8192'),
      vocabulary: number('128256'),
      context: number('8192'),
      seed: number('1'),
    },
  })
  const shape = {
    layers: Number(values.layers),
    width: Number(values.width),
    heads: Number(values.heads),
    kvHeads: Number(values['kv-heads']),
    ff: Number(values.ff),
    vocabulary: Number(values.vocabulary),
    context: Number(values.context),
  }
  try {
    if (!Object.values(shape).every((n) => Number.isInteger(n) && n > 0)) throw new Error('sizes are whole numbers')
    if (shape.width % shape.heads !== 0 || shape.heads % shape.kvHeads !== 0)
      throw new Error('heads must divide the width, and kv-heads the heads')
    const types = values.types ?? ''
    const parameters = tensorsOf(shape, types).reduce((sum, t) => sum + t.rows * t.cols, 0)
    const size = parameters >= 1e9 ? `${(parameters / 1e9).toFixed(1)}B` : `${Math.round(parameters / 1e6)}M`
    const path = resolve(positionals[0] ?? join(root, `models/cache/random-${size}.${types.toUpperCase()}.gguf`))
    const done = writeRandomModel(path, shape, { types, tokenizer: values.tokenizer ?? '', seed: Number(values.seed) })
    console.log(`${path}: ${parameters} weights, ${done.bytes} bytes`)
  } catch (error) {
    console.error(`random_model: ${/** @type {Error} */ (error).message}`)
    process.exitCode = 2
  }
}
