/*
 * examples.js: from what a person has (chats, prompts with completions, token ids) to what a training learns from: ids, and
 * for each place the token that is wanted there, or -100.
 *
 * Rule     Of a chat the answers of the assistant are learned, each with the end-of-turn token behind it; all else is only
 *          read. The ids are those of the chat's plain rendering (prompts.js), so no text of a message becomes a control
 *          token.
 * How      The places of the answers are found by rendering once more with private marks around them, and from bytes to
 *          tokens by tokenizing what stands before: where the last token of that reaches into the answer, it is learned.
 * Limits   A template that changes what it is given (cuts contents apart) cannot be marked: error `template`.
 */
import { NookError, checkKeys } from './errors.js'
import { plainMessages } from './template.js'

/** @typedef {import('./engine.js').ByteSpan} ByteSpan */
/** @typedef {{ids: Int32Array, labels: Int32Array}} Example */
/** @typedef {{raw?: boolean | undefined, chatTemplate?: string | undefined}} ExampleOptions */

/** A place that is not scored. */
export const UNSCORED = -100

export class Examples {
  /** @type {import('./engine.js').Engine} */ #engine
  /** @type {import('./prompts.js').Prompts} */ #prompts
  /** @type {ExampleOptions} */ #options

  /**
   * @param {import('./engine.js').Engine} engine @param {import('./prompts.js').Prompts} prompts
   * @param {ExampleOptions} options raw: prompt and completion as they are, with an end token behind them
   */
  constructor(engine, prompts, options) {
    this.#engine = engine
    this.#prompts = prompts
    this.#options = options
  }

  /**
   * @param {any} item {messages}, {prompt, completion} or {input_ids, labels} @param {string} where e.g. "data[3]"
   * @returns {Promise<Example>}
   */
  async of(item, where) {
    const chat = this.#options.chatTemplate === undefined ? {} : { chatTemplate: this.#options.chatTemplate }
    if (item?.input_ids !== undefined) {
      checkKeys(item, ['input_ids', 'labels'], where)
      const ids = numbers(item.input_ids, `${where}.input_ids`)
      const labels = numbers(item.labels, `${where}.labels`)
      if (ids.length !== labels.length)
        throw new NookError('data', `${where} has ${ids.length} input_ids and ${labels.length} labels.`)
      return { ids, labels }
    }
    if (item?.messages !== undefined) {
      checkKeys(item, ['messages'], where)
      return within(where, () => this.#chat({ messages: item.messages, ...chat }))
    }
    if (typeof item?.prompt !== 'string' || typeof item?.completion !== 'string') {
      throw new NookError('data', `${where} is no example.`, {
        hint: 'It is {messages}, {prompt, completion} or {input_ids, labels}.',
      })
    }
    checkKeys(item, ['prompt', 'completion'], where)
    const { prompt, completion } = item
    if (this.#options.raw === true) return this.#raw(prompt, completion)
    const messages = [{ role: 'user', content: prompt }, { role: 'assistant', content: completion }]
    return within(where, () => this.#chat({ messages, ...chat }))
  }

  /** @param {string} prompt @param {string} completion @returns {Example} */
  #raw(prompt, completion) {
    const engine = this.#engine
    const whole = engine.tokenize(prompt + completion, { addSpecial: true })
    const before = prompt === '' ? new Int32Array(0) : engine.tokenize(prompt, { addSpecial: true })
    const eos = Number(engine.info.eos ?? -1)
    const ends = eos >= 0 && whole[whole.length - 1] !== eos
    const ids = ends ? Int32Array.of(...whole, eos) : whole
    const labels = new Int32Array(ids.length).fill(UNSCORED)
    const from = common(whole, before)
    labels.set(ids.subarray(from), from)
    return { ids, labels }
  }

  /** @param {import('./prompts.js').MessagesInput} input @returns {Promise<Example>} */
  async #chat(input) {
    const messages = plainMessages(input.messages)
    const whole = { ...input, addGenerationPrompt: false }
    const text = await this.#prompts.textOf(whole)
    if ('ids' in text) throw new NookError('internal', 'A chat gave no text.')
    const ids = this.#engine.tokenizeBytes(text.bytes, text.spans, text.addSpecial)
    const labels = new Int32Array(ids.length).fill(UNSCORED)
    const found = await this.#prompts.locate(whole, messages.map((message) => message.role === 'assistant'))
    for (const { start, end } of found) {
      const from = this.#tokensOf(text, start, ids).same
      const behind = this.#tokensOf(text, end, ids)
      /* A last token that reaches beyond the answer belongs to it. */
      const to = this.#endOfTurn(ids, behind.same + (behind.count > behind.same ? 1 : 0))
      labels.set(ids.subarray(from, to), from)
    }
    return { ids, labels }
  }

  /**
   * The tokens of the first `bytes` of a text, and how many of them the whole text begins with.
   * @param {{bytes: Uint8Array, spans: ByteSpan[], addSpecial: boolean}} text @param {number} bytes @param {Int32Array} ids
   */
  #tokensOf(text, bytes, ids) {
    const spans = text.spans.filter((span) => span.start < bytes)
      .map((span) => ({ ...span, length: Math.min(span.length, bytes - span.start) }))
    const part = this.#engine.tokenizeBytes(text.bytes.subarray(0, bytes), spans, text.addSpecial)
    return { same: common(ids, part), count: part.length }
  }

  /**
   * Behind the end-of-turn token, where one follows an answer (white space may stand between); else behind the answer.
   * @param {Int32Array} ids @param {number} at the first token behind the answer
   */
  #endOfTurn(ids, at) {
    for (let i = at; i < ids.length; i++) {
      const id = /** @type {number} */ (ids[i])
      const text = new TextDecoder().decode(this.#engine.detokenize([id]))
      if (text === '') return id === this.#engine.info.bos ? at : i + 1
      if (text.trim() !== '') break
    }
    return at
  }
}

/** @param {Int32Array} a @param {Int32Array} b @returns {number} how many tokens both begin with */
function common(a, b) {
  let n = 0
  while (n < a.length && n < b.length && a[n] === b[n]) n++
  return n
}

/** @param {unknown} list @param {string} where @returns {Int32Array} */
function numbers(list, where) {
  if (list instanceof Int32Array) return list
  if (!Array.isArray(list) || !list.every((one) => Number.isInteger(one) && Math.abs(one) < 0x80000000))
    throw new NookError('data', `${where} is not a list of token ids.`)
  return Int32Array.from(list)
}

/** @template T @param {string} where @param {() => Promise<T>} action @returns {Promise<T>} errors name the example */
async function within(where, action) {
  try {
    return await action()
  } catch (error) {
    const known = NookError.from(error)
    throw new NookError(known.code, `${where}: ${known.message}`, { hint: known.hint, cause: error })
  }
}
