/*
 * header.mjs: writes the header of a GGUF file (v3) from a model's shape, and takes the entries of a real one apart.
 *
 * Purpose  The engine plans from the header alone; so a model whose weights are not here can be planned by the engine
 *          itself. The texts of the vocabulary are blanks of the right total length.
 * Format   "GGUF", u32 3, u64 tensors, u64 entries; entries: key, u32 type, value; tensors: name, u32 dimensions, u64 each
 *          (columns first), u32 type, u64 offset; padded to 32 bytes. Little endian; texts are u64 length and UTF-8.
 */
import { positionOffset, tensorsOf } from './shape.mjs'
import { VOCABULARIES } from './vocabularies.mjs'

/** GGUF type, weights of a block, bytes of a block. */
export const TYPES = /** @type {Record<string, [number, number, number]>} */ ({
  F32: [0, 1, 4], F16: [1, 1, 2], Q4_0: [2, 32, 18], Q4_1: [3, 32, 20], Q5_0: [6, 32, 22], Q5_1: [7, 32, 24],
  Q8_0: [8, 32, 34], Q4_K: [12, 256, 144], Q5_K: [13, 256, 176], Q6_K: [14, 256, 210],
})
const ALIGNMENT = 32

/** @typedef {{key: string, bytes: Buffer}} Entry bytes: type and value */

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
/** @param {number} value */
const f32 = (value) => {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatLE(value)
  return bytes
}
/** @param {string} value */
const text = (value) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)])

const entry = {
  u32: (/** @type {string} */ key, /** @type {number} */ value) => ({ key, bytes: Buffer.concat([u32(4), u32(value)]) }),
  f32: (/** @type {string} */ key, /** @type {number} */ value) => ({ key, bytes: Buffer.concat([u32(6), f32(value)]) }),
  bool: (/** @type {string} */ key, /** @type {boolean} */ value) => ({
    key, bytes: Buffer.concat([u32(7), Buffer.from([value ? 1 : 0])]),
  }),
  text: (/** @type {string} */ key, /** @type {string} */ value) => ({ key, bytes: Buffer.concat([u32(8), text(value)]) }),
  numbers: (/** @type {string} */ key, /** @type {Int32Array | Float32Array} */ values) => ({
    key,
    bytes: Buffer.concat([
      u32(9), u32(values instanceof Float32Array ? 6 : 5), u64(values.length),
      Buffer.from(values.buffer, values.byteOffset, values.byteLength),
    ]),
  }),
  /** `count` texts of `total` bytes together, as even as can be. */
  blanks(/** @type {string} */ key, /** @type {number} */ count, /** @type {number} */ total) {
    const bytes = Buffer.alloc(16 + 8 * count + total, 'x')
    bytes.writeUInt32LE(9, 0)
    bytes.writeUInt32LE(8, 4)
    bytes.writeBigUInt64LE(BigInt(count), 8)
    for (let i = 0, at = 16; i < count; i++) {
      const length = Math.floor((total * (i + 1)) / count) - Math.floor((total * i) / count)
      bytes.writeBigUInt64LE(BigInt(length), at)
      at += 8 + length
    }
    return { key, bytes }
  },
}

/**
 * Keys of the tokenizer.
 * @param {string} name of vocabularies.mjs @param {number} rows of the embeddings @returns {Entry[]}
 */
function tokenizerEntries(name, rows) {
  const vocabulary = VOCABULARIES[name]
  if (vocabulary === undefined) throw new Error(`tools/cards/vocabularies.mjs does not have ${name}.`)
  const types = new Int32Array(rows).fill(1)
  types.fill(3, 0, vocabulary.control)
  types.fill(4, vocabulary.control, vocabulary.control + (vocabulary.user ?? 0))
  const key = 'tokenizer.ggml'
  return [
    entry.text(`${key}.model`, vocabulary.model),
    ...(vocabulary.pre === undefined ? [] : [entry.text(`${key}.pre`, vocabulary.pre)]),
    entry.blanks(`${key}.tokens`, rows, Math.round((vocabulary.bytes / vocabulary.tokens) * rows)),
    entry.numbers(`${key}.token_type`, types),
    ...(vocabulary.scores ? [entry.numbers(`${key}.scores`, new Float32Array(rows))] : []),
    ...(vocabulary.merges ? [entry.blanks(`${key}.merges`, vocabulary.merges, vocabulary.merge_bytes ?? 0)] : []),
  ]
}

/** Keys of the architecture. @param {string} architecture @param {import('./shape.mjs').Shape} shape @returns {Entry[]} */
function shapeEntries(architecture, shape) {
  const a = architecture
  const rotated = shape.rotated ?? shape.head_dim
  const learned = a === 'opt' || a === 'bert'
  return [
    entry.u32(`${a}.block_count`, shape.layers),
    entry.u32(`${a}.context_length`, shape.context),
    entry.u32(`${a}.embedding_length`, shape.width),
    entry.u32(`${a}.feed_forward_length`, shape.feed_forward),
    entry.u32(`${a}.attention.head_count`, shape.heads),
    entry.u32(`${a}.attention.head_count_kv`, shape.kv_heads),
    entry.u32(`${a}.attention.key_length`, shape.head_dim),
    entry.u32(`${a}.attention.value_length`, shape.head_dim),
    entry.f32(`${a}.attention.layer_norm_rms_epsilon`, 1e-5),
    entry.f32(`${a}.attention.layer_norm_epsilon`, 1e-5),
    ...(learned ? [] : [entry.u32(`${a}.rope.dimension_count`, rotated)]),
    ...(shape.window === undefined ? [] : [entry.u32(`${a}.attention.sliding_window`, shape.window)]),
    ...(a === 'opt' ? [entry.u32(`${a}.position_offset`, positionOffset(a))] : []),
    ...(shape.embedding_width === undefined ? [] : [entry.u32(`${a}.word_embed_proj_dim`, shape.embedding_width)]),
    ...(shape.post_norm ? [entry.bool(`${a}.do_layer_norm_before`, false)] : []),
    ...(a === 'bert' ? [entry.bool(`${a}.attention.causal`, false), entry.u32(`${a}.pooling_type`, 1)] : []),
  ]
}

/** Bytes of a tensor. @param {import('./shape.mjs').Tensor} tensor */
function bytesOf({ rows, cols, type }) {
  const [, block = 1, bytes = 0] = TYPES[type] ?? []
  return ((Math.max(1, rows) * cols) / block) * bytes
}

const padded = (/** @type {number} */ n) => Math.ceil(n / ALIGNMENT) * ALIGNMENT

/** @param {Entry[]} entries @param {import('./shape.mjs').Tensor[]} tensors @returns {{header: Buffer, bytes: number}} */
export function build(entries, tensors) {
  /** @type {Buffer[]} */
  const parts = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(entries.length)]
  for (const { key, bytes } of entries) parts.push(text(key), bytes)
  let offset = 0
  for (const tensor of tensors) {
    const { name, rows, cols, type } = tensor
    const sizes = rows === 0 ? [cols] : [cols, rows]
    parts.push(text(name), u32(sizes.length), ...sizes.map(u64), u32(TYPES[type]?.[0] ?? 0), u64(offset))
    offset += padded(bytesOf(tensor))
  }
  const header = Buffer.concat(parts)
  const whole = Buffer.alloc(padded(header.length))
  header.copy(whole)
  return { header: whole, bytes: whole.length + offset }
}

/**
 * The header of a card's model. bytes: what the whole file would have.
 * @param {Pick<import('./read.mjs').Card, 'name' | 'architecture' | 'format' | 'vocabulary' | 'shape'>} card
 * @returns {{header: Buffer, bytes: number}}
 */
export function headerOf(card) {
  const { architecture, shape } = card
  const entries = [
    entry.text('general.architecture', architecture),
    entry.text('general.name', card.name),
    ...shapeEntries(architecture, shape),
    ...tokenizerEntries(card.vocabulary, shape.vocabulary),
  ]
  return build(entries, tensorsOf(architecture, shape, card.format))
}

/**
 * The entries of a real header, in order.
 * @param {Buffer} bytes at least the header
 * @returns {Entry[]}
 */
export function entriesOf(bytes) {
  const sizes = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8]
  let at = 24
  const skipText = () => (at += 8 + Number(bytes.readBigUInt64LE(at)))
  const skip = (/** @type {number} */ type) => {
    if (type === 8) skipText()
    else if (type === 9) {
      const of = bytes.readUInt32LE(at)
      const count = Number(bytes.readBigUInt64LE(at + 4))
      at += 12
      for (let i = 0; i < count; i++) skip(of)
    } else at += sizes[type] ?? NaN
  }
  /** @type {Entry[]} */
  const entries = []
  for (let n = Number(bytes.readBigUInt64LE(16)); n > 0; n--) {
    const length = Number(bytes.readBigUInt64LE(at))
    const key = bytes.toString('utf8', at + 8, at + 8 + length)
    at += 8 + length
    const start = at
    at += 4
    skip(bytes.readUInt32LE(start))
    entries.push({ key, bytes: bytes.subarray(start, at) })
  }
  return entries
}

/**
 * A real header with the tensors and the sizes of a card in place of its own: the plan of it must be the real file's.
 * @param {Buffer} real @param {Parameters<typeof headerOf>[0]} card
 */
export function transplant(real, card) {
  const own = new Map(shapeEntries(card.architecture, card.shape).map(({ key, bytes }) => [key, bytes]))
  const entries = entriesOf(real).map(({ key, bytes }) => {
    const mine = own.get(key)
    /* Sizes are the card's; epsilons are no sizes. */
    return { key, bytes: mine !== undefined && mine[0] === 4 && bytes[0] === 4 ? mine : bytes }
  })
  return build(entries, tensorsOf(card.architecture, card.shape, card.format))
}
