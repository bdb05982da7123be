/*
 * prompts.js: from messages, texts and spans to bytes whose control tokens are marked, with the template of one loaded
 * model.
 *
 * Purpose  Everything from outside stays text: only what the template itself wrote, or a span that says so, may become a
 *          control token (template.js).
 * Limits   The last eight templates are kept parsed.
 */
import { NookError } from './errors.js'
import { ChatTemplate, PLAIN_TEMPLATE } from './template.js'

/**
 * @typedef {{messages: unknown, chatTemplate?: string, variables?: Record<string, unknown>, addGenerationPrompt?: boolean}}
 *   MessagesInput
 * @typedef {MessagesInput | {prompt: string | import('./engine.js').Span[] | Uint8Array, special?: boolean, addSpecial?:
 *   boolean} | {ids: Int32Array | number[]}} Input
 */

export class Prompts {
  /** @type {import('./engine.js').Engine} */ #engine
  /** @type {string | undefined} */ #chatTemplate
  /** @type {Map<string, ChatTemplate>} */ #templates = new Map()
  /** @type {string[] | null} */ #controlTokens = null

  /** @param {import('./engine.js').Engine} engine @param {string | undefined} chatTemplate instead of the file's */
  constructor(engine, chatTemplate) {
    this.#engine = engine
    this.#chatTemplate = chatTemplate
  }

  /** @param {MessagesInput} input */
  async render(input) {
    const { template, options } = await this.#prepare(input)
    return template.render(input.messages, options)
  }

  /** Where the contents of the wanted messages stand, in bytes. @param {MessagesInput} input @param {boolean[]} wanted */
  async locate(input, wanted) {
    const { template, options } = await this.#prepare(input)
    return template.locate(input.messages, wanted, options)
  }

  /** @param {MessagesInput} input @returns {Promise<{template: ChatTemplate, options: any}>} */
  async #prepare(input) {
    const engine = this.#engine
    const asked = input.chatTemplate ?? this.#chatTemplate
    const source = asked === 'plain' ? PLAIN_TEMPLATE : (asked ?? engine.info.template)
    if (typeof source !== 'string' || source === '') {
      throw new NookError('template', 'This model has no chat template.', {
        hint: 'Pass one as chatTemplate (Jinja, or "plain"), or use completions with a prompt.',
      })
    }
    let template = this.#templates.get(source)
    if (template === undefined) {
      template = await ChatTemplate.parse(source)
      if (this.#templates.size >= 8) this.#templates.clear()
      this.#templates.set(source, template)
    }
    const options = {
      add_generation_prompt: input.addGenerationPrompt !== false,
      bos_token: this.#tokenText(engine.info.bos),
      eos_token: this.#tokenText(engine.info.eos),
      controlTokens: () => this.#listControlTokens(),
      ...(input.variables === undefined ? {} : { variables: input.variables }),
    }
    return { template, options }
  }

  /** @param {unknown} id @returns {string} */
  #tokenText(id) {
    if (typeof id !== 'number' || id < 0) return ''
    return new TextDecoder().decode(this.#engine.detokenize([id], { special: true }))
  }

  /** The texts of all control tokens: those that show only when asked for. @returns {string[]} */
  #listControlTokens() {
    if (this.#controlTokens !== null) return this.#controlTokens
    const engine = this.#engine
    /** @type {string[]} */
    const found = []
    for (let id = 0; id < engine.info.vocabulary; id++) {
      if (engine.detokenize([id]).length > 0) continue
      const text = new TextDecoder().decode(engine.detokenize([id], { special: true }))
      if (text !== '') found.push(text)
    }
    this.#controlTokens = found
    return found
  }

  /**
   * @param {Input} input
   * @returns {Promise<{bytes: Uint8Array, spans: import('./engine.js').ByteSpan[], addSpecial: boolean} | {ids:
   *   ArrayLike<number>}>}
   */
  async textOf(input) {
    if ('ids' in input) return { ids: input.ids }
    if ('messages' in input) {
      const { bytes, spans } = await this.render(input)
      /* A template writes what the model needs, BOS included; the plain form, which has none, leaves that to the file. */
      return { bytes, spans, addSpecial: (input.chatTemplate ?? this.#chatTemplate) === 'plain' }
    }
    const { prompt } = input
    const addSpecial = input.addSpecial !== false
    if (Array.isArray(prompt)) {
      const encoder = new TextEncoder()
      const pieces = prompt.map((span) => encoder.encode(span.text))
      const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
      let at = 0
      const spans = pieces.map((piece, i) => {
        bytes.set(piece, at)
        at += piece.length
        return { start: at - piece.length, length: piece.length, parse_special: prompt[i]?.parse_special === true }
      })
      return { bytes, spans: spans.filter((span) => span.length > 0), addSpecial }
    }
    const bytes = typeof prompt === 'string' ? new TextEncoder().encode(prompt) : prompt
    return { bytes, spans: [{ start: 0, length: bytes.length, parse_special: input.special === true }], addSpecial }
  }

  /**
   * The alternatives of each token with the bytes of their texts.
   * @param {{top: {token: number, logprob: number}[]}[]} logprobs
   */
  withPieces(logprobs) {
    const engine = this.#engine
    return logprobs.map((one) => ({
      ...one,
      top: one.top.map((top) => ({ ...top, piece: engine.detokenize([top.token], { special: true }) })),
    }))
  }
}
