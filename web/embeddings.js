/*
 * embeddings.js: texts to vectors. The worker's side (texts to ids that fit, ids to a vector, one text after the other) and
 * the shapes of OpenAI's embeddings on the caller's side.
 *
 * Limits   A text longer than the room is cut, and that is told; the token that ends a text ([SEP]) stays in its place.
 */
import { NookError } from './errors.js'

/**
 * @typedef {string | number[] | Int32Array} EmbeddingInput a text, or its token ids
 * @typedef {{input: EmbeddingInput[], pooling?: 'auto' | 'mean' | 'cls' | 'last', normalize?: boolean, maxTokens?: number}}
 *   EmbedArgs
 * @typedef {{vector: Float32Array, tokens: number, truncated: boolean}} Embedded tokens: those that were read
 * @typedef {import('./engine.js').Engine} Engine
 */

export const EMBEDDING_KEYS = /** @type {const} */ ([
  'input', 'model', 'user', 'dimensions', 'encoding_format', 'pooling', 'normalize', 'maxTokens', 'signal', 'abortSignal',
  'onProgress',
])

/* ---- In the worker ------------------------------------------------------------------------------------------- */

/**
 * The ids of a text with the model's special tokens, at most `room` of them.
 * @param {Engine} engine @param {EmbeddingInput} input @param {number} room
 * @returns {{ids: ArrayLike<number>, truncated: boolean}}
 */
export function idsThatFit(engine, input, room) {
  if (typeof input !== 'string') {
    return { ids: input.length > room ? input.slice(0, room) : input, truncated: input.length > room }
  }
  const whole = engine.tokenize(input, { addSpecial: true })
  if (whole.length <= room) return { ids: whole, truncated: false }
  /* What stands behind the text itself belongs at the end of what is left of it, too. */
  const text = engine.tokenize(input)
  let before = 0
  while (before < whole.length - text.length && !text.every((id, i) => whole[before + i] === id)) before++
  const after = Math.min(whole.length - text.length - before, room)
  const ids = whole.slice(0, room)
  if (after > 0) ids.set(whole.subarray(whole.length - after), room - after)
  return { ids, truncated: true }
}

/**
 * One vector a text. Yields after each step of the engine, so that the caller may stop; progress is in tokens.
 * @param {Engine} engine @param {EmbedArgs} args
 * @returns {Generator<{loaded: number, total: number}, Embedded[]>}
 */
export function* embedTexts(engine, { input, pooling, normalize, maxTokens }) {
  const room = Math.min(Number(engine.info.context), maxTokens ?? Infinity)
  const texts = input.map((one) => idsThatFit(engine, one, room))
  const total = texts.reduce((sum, { ids }) => sum + ids.length, 0)
  let before = 0
  /** @type {Embedded[]} */
  const made = []
  for (const [i, { ids, truncated }] of texts.entries()) {
    if (ids.length === 0) {
      const hint = 'Leave empty texts out: this model adds no tokens.'
      throw new NookError('data', `input[${i}] has no tokens.`, { hint })
    }
    for (const step of engine.eval(ids, { output: 'vector', pooling, normalize })) {
      if (step.values !== null) made.push({ vector: step.values.slice(), tokens: ids.length, truncated })
      yield { loaded: before + step.done, total }
    }
    before += ids.length
  }
  return made
}

/* ---- At the caller's ----------------------------------------------------------------------------------------- */

/** @param {unknown} one @returns {boolean} */
const isIds = (one) =>
  one instanceof Int32Array ||
  (Array.isArray(one) && one.length > 0 && one.every((id) => Number.isInteger(id) && id >= 0 && id <= 0x7fffffff))

/** What goes to the worker. @param {any} options @returns {EmbedArgs} */
export function embedArgs(options) {
  const { input, pooling, normalize, maxTokens, dimensions, encoding_format: format } = options
  const list = typeof input === 'string' || isIds(input) ? [input] : input
  if (!Array.isArray(list) || list.length === 0 || !list.every((one) => typeof one === 'string' || isIds(one))) {
    throw new NookError('data', 'embeddings.create: input is not a text, a list of texts, or a list of token ids.', {
      hint: "E.g. input: ['a text', 'another']",
    })
  }
  if (maxTokens !== undefined && !(Number.isInteger(maxTokens) && maxTokens >= 3))
    throw new NookError('data', `maxTokens is ${JSON.stringify(maxTokens)}.`, { hint: 'A whole number, at least 3.' })
  if (dimensions !== undefined && !(Number.isInteger(dimensions) && dimensions >= 1))
    throw new NookError('data', `dimensions is ${JSON.stringify(dimensions)}.`, { hint: 'A whole number, at least 1.' })
  if (format !== undefined && format !== 'float')
    throw new NookError('data', `encoding_format ${JSON.stringify(format)} is not known.`, { hint: 'It is "float".' })
  return {
    input: list,
    ...(pooling === undefined ? {} : { pooling }),
    ...(normalize === undefined ? {} : { normalize }),
    ...(maxTokens === undefined ? {} : { maxTokens }),
  }
}

/**
 * OpenAI's answer. With `dimensions` the first of a vector's numbers, brought to length 1 again (Matryoshka models).
 * @param {Embedded[]} made @param {any} options @param {string} model
 */
export function embeddingList(made, options, model) {
  const tokens = made.reduce((sum, one) => sum + one.tokens, 0)
  const { dimensions, normalize } = options
  return {
    object: 'list',
    model,
    data: made.map(({ vector, tokens: read, truncated }, index) => {
      if (dimensions !== undefined && dimensions > vector.length) {
        throw new NookError('data', `dimensions is ${dimensions}, and the model's vectors have ${vector.length}.`)
      }
      const part = Array.from(dimensions === undefined ? vector : vector.subarray(0, dimensions))
      const length = Math.sqrt(part.reduce((sum, x) => sum + x * x, 0))
      const scaled = dimensions === undefined || normalize === false || length === 0 ? part : part.map((x) => x / length)
      return { object: 'embedding', index, embedding: scaled, tokens: read, truncated }
    }),
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  }
}
