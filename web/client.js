/*
 * client.js: the sixth ring. Promises and AsyncIterables over the worker, in the shapes that users of language models know.
 *
 * Purpose  `load` gives a Model: chat.completions and completions as OpenAI's API has them, tokens, measures, dispose. One worker
 *          per model; the same code in browsers and Node, over a small platform object (index.js, node.js).
 * Order    Calls of one model are queued in the worker and run one at a time, in the order they were made; nothing is refused as
 *          busy. tokenize and detokenize are answered between the steps of a running call.
 * Limits   Text only; n = 1. An unknown option key is an error that names it.
 */
import { NookError, aborted, checkKeys } from './errors.js'

/**
 * @typedef {{post: (message: unknown, transfer?: ArrayBuffer[]) => void,
 *            listen: (listener: (message: any) => void, failed: (error: unknown) => void) => void,
 *            hold: (busy: boolean) => void, terminate: () => void | Promise<unknown>}} WorkerPort hold: whether the process must stay
 * @typedef {{spawn: (workerUrl?: any) => WorkerPort,
 *            resolve: (model: any, sha256: string | string[] | undefined) => Promise<import('./worker-core.js').ModelFiles>}} Platform
 * @typedef {import('./types.d.ts').Progress} Progress
 * @typedef {import('./types.d.ts').Span} Span
 */

const LOAD_KEYS = /** @type {const} */ ([
  'model', 'sha256', 'contextSize', 'threads', 'build', 'kv', 'activations', 'cache', 'cacheFolder', 'chatTemplate', 'wasmUrl',
  'workerUrl', 'threadUrl', 'signal', 'abortSignal', 'onProgress',
])
/* What goes to nook_generate_begin as it is. */
const SAMPLING_KEYS = /** @type {const} */ ([
  'max_tokens', 'temperature', 'top_k', 'top_p', 'min_p', 'typical_p', 'repetition_penalty', 'frequency_penalty', 'presence_penalty',
  'penalty_window', 'logit_bias', 'seed', 'ignore_end', 'context_full', 'keep', 'reuse', 'chunk',
])
const COMMON_KEYS = /** @type {const} */ ([...SAMPLING_KEYS, 'stop', 'stream', 'stream_options', 'logprobs', 'choices', 'n', 'model', 'user', 'signal', 'abortSignal', 'onProgress'])
const CHAT_KEYS = /** @type {const} */ ([
  ...COMMON_KEYS, 'messages', 'max_completion_tokens', 'top_logprobs', 'response_format', 'chatTemplate', 'template_variables', 'add_generation_prompt',
])
const COMPLETION_KEYS = /** @type {const} */ ([...COMMON_KEYS, 'prompt', 'special', 'addSpecial', 'echo'])

/** @param {number} [bytes] @returns {string} random hexadecimal digits */
function randomId(bytes = 8) {
  return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** @param {{signal?: AbortSignal | undefined, abortSignal?: AbortSignal | undefined}} options @returns {AbortSignal | undefined} */
function signalOf(options) {
  const signal = options.signal ?? options.abortSignal
  if (signal !== undefined && typeof signal?.addEventListener !== 'function') {
    throw new NookError('data', 'signal is not an AbortSignal.', { hint: 'Pass controller.signal.' })
  }
  return signal
}

/** Messages to one worker and its answers. */
export class Connection {
  /** @type {WorkerPort} */ #port
  /** @type {Map<string, {resolve: (result: any) => void, reject: (error: NookError) => void, onEvent: (event: any) => void}>} */ #waiting = new Map()
  #prefix = randomId()
  #count = 0
  /** @type {NookError | null} */ #dead = null
  /** Events of the worker itself. @type {(event: any) => void} */
  onEvent = () => {}

  /** @param {WorkerPort} port */
  constructor(port) {
    this.#port = port
    port.hold(false)
    port.listen((message) => this.#receive(message), (error) => {
      this.#fail(new NookError('internal', `The worker stopped: ${error instanceof Error ? error.message : String(error)}.`,
        { cause: error, hint: 'Load the model again. If it never starts, check workerUrl and the page\'s Content-Security-Policy.' }))
    })
  }

  /**
   * @param {string} type of the message
   * @param {object} args
   * @param {{signal?: AbortSignal | undefined, onEvent?: (event: any) => void, what?: string, transfer?: ArrayBuffer[]}} [options]
   * @returns {Promise<any>}
   */
  call(type, args, options = {}) {
    const { signal } = options
    if (this.#dead !== null) return Promise.reject(this.#dead)
    if (signal?.aborted === true) return Promise.reject(aborted(options.what ?? 'The call', signal.reason))
    const id = `${this.#prefix}-${++this.#count}`
    return new Promise((resolve, reject) => {
      const abort = () => this.#port.post({ type: 'abort', id: `${id}-abort`, args: { target: id } })
      const done = () => {
        signal?.removeEventListener('abort', abort)
        this.#waiting.delete(id)
        this.#port.hold(this.#waiting.size > 0)
      }
      this.#waiting.set(id, {
        resolve: (result) => { done(); resolve(result) },
        reject: (error) => {
          done()
          reject(error.code === 'abort' && signal?.aborted === true ? aborted(options.what ?? 'The call', signal.reason) : error)
        },
        onEvent: options.onEvent ?? (() => {}),
      })
      this.#port.hold(true)
      signal?.addEventListener('abort', abort, { once: true })
      try {
        this.#port.post({ type, id, args }, options.transfer)
      } catch (error) {
        this.#waiting.get(id)?.reject(new NookError('data', `The arguments of ${type} cannot be passed to the worker: ${/** @type {Error} */ (error).message}.`,
          { cause: error, hint: 'In Node, give the path of a file rather than a Blob of it.' }))
      }
    })
  }

  /** Ends the worker; calls that wait are rejected. @param {NookError} why */
  async close(why) {
    this.#fail(why)
    await this.#port.terminate()
  }

  /** @param {any} message */
  #receive(message) {
    if (message?.type === 'event' && message.id === null) {
      this.onEvent(message.event)
      return
    }
    const waiting = this.#waiting.get(message?.id)
    if (waiting === undefined) return
    if (message.type === 'event') {
      try {
        waiting.onEvent(message.event)
      } catch (error) {
        /* A callback of the caller threw: it ends his call, and the work in the worker too. */
        this.#port.post({ type: 'abort', id: `${message.id}-abort`, args: { target: message.id } })
        waiting.reject(error instanceof NookError ? error : new NookError('data', `onProgress threw: ${/** @type {Error} */ (error).message}.`, { cause: error }))
      }
    } else if (message.type === 'error') waiting.reject(NookError.fromObject(message.error ?? {}))
    else waiting.resolve(message.result)
  }

  /** @param {NookError} error */
  #fail(error) {
    if (this.#dead !== null) return
    this.#dead = error
    for (const waiting of [...this.#waiting.values()]) waiting.reject(error)
  }
}

/** A queue that is filled by events and read by `for await`. Leaving the loop aborts what fills it. @template T */
class Stream {
  /** @type {T[]} */ #items = []
  /** @type {{resolve: (result: IteratorResult<T>) => void, reject: (error: unknown) => void}[]} */ #readers = []
  /** @type {{error: unknown} | null} */ #end = null
  /** @type {() => void} */ #cancel

  /** @param {() => void} cancel */
  constructor(cancel) {
    this.#cancel = cancel
  }

  /** @param {T} item */
  push(item) {
    const reader = this.#readers.shift()
    if (reader !== undefined) reader.resolve({ done: false, value: item })
    else this.#items.push(item)
  }

  /** @param {unknown} [error] */
  end(error) {
    if (this.#end !== null) return
    this.#end = { error }
    for (const reader of this.#readers.splice(0)) this.#finish(reader)
  }

  /** @param {{resolve: (result: IteratorResult<T>) => void, reject: (error: unknown) => void}} reader */
  #finish(reader) {
    const error = this.#end?.error
    if (error === undefined) reader.resolve({ done: true, value: undefined })
    else {
      this.#end = { error: undefined } /* thrown once */
      reader.reject(error)
    }
  }

  /** @returns {Promise<IteratorResult<T>>} */
  next() {
    const item = this.#items.shift()
    if (item !== undefined) return Promise.resolve({ done: false, value: item })
    return new Promise((resolve, reject) => {
      if (this.#end !== null) this.#finish({ resolve, reject })
      else this.#readers.push({ resolve, reject })
    })
  }

  /** @returns {Promise<IteratorResult<T>>} */
  async return() {
    this.#items = []
    this.#cancel()
    this.end()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator]() {
    return this
  }
}

/* `await using` looks for this symbol; browsers without it have no `await using` either. */
const asyncDispose = /** @type {typeof Symbol.asyncDispose} */ (Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose'))

/** A loaded model. Made by load(). */
export class Model {
  /** @type {Connection} */ #connection
  /** @type {Promise<void> | null} */ #disposing = null

  /** @param {Connection} connection @param {any} facts @param {string} name */
  constructor(connection, facts, name) {
    this.#connection = connection
    /** Facts: architecture, sizes, tokenizer, build and why, memory, warnings. @type {any} */
    this.info = { ...facts.info, name: facts.info.name ?? name, file: name, warnings: facts.warnings }
    connection.onEvent = (event) => {
      if (event.type === 'warning') this.info.warnings.push(event.message)
    }
    this.chat = { completions: { create: (/** @type {any} */ options) => this.#create(options, 'chat') } }
    this.completions = { create: (/** @type {any} */ options) => this.#create(options, 'text') }
  }

  /* ---- Tokens -------------------------------------------------------------------------------------------------- */

  /**
   * @param {string | Span[] | Uint8Array} input
   * @param {{special?: boolean, addSpecial?: boolean}} [options] special: control tokens in a plain text are parsed; addSpecial: BOS and the like
   * @returns {Promise<Int32Array>}
   */
  async tokenize(input, options = {}) {
    checkKeys(options, ['special', 'addSpecial'], 'tokenize')
    if (typeof input !== 'string' && !(input instanceof Uint8Array)) {
      if (!Array.isArray(input)) throw new NookError('data', 'tokenize takes a text, bytes, or a list of {text, parse_special}.')
      input.forEach((span, i) => {
        checkKeys(span, ['text', 'parse_special'], `spans[${i}]`)
        if (typeof span.text !== 'string') throw new NookError('data', `spans[${i}].text is not a text.`)
      })
    }
    return this.#connection.call('tokenize', { input, ...options })
  }

  /**
   * @param {ArrayLike<number>} ids
   * @param {{special?: boolean}} [options] special: control tokens by their text instead of nothing
   * @returns {Promise<string>} bytes that are no UTF-8 become U+FFFD
   */
  async detokenize(ids, options = {}) {
    return new TextDecoder().decode(await this.detokenizeBytes(ids, options))
  }

  /** @param {ArrayLike<number>} ids @param {{special?: boolean}} [options] @returns {Promise<Uint8Array<ArrayBuffer>>} the bytes themselves */
  async detokenizeBytes(ids, options = {}) {
    checkKeys(options, ['special'], 'detokenize')
    return this.#connection.call('detokenize', { ids: idsOf(ids), ...options })
  }

  /**
   * The text that a chat becomes, and which bytes of it may hold control tokens.
   * @param {{messages: any[], chatTemplate?: string, add_generation_prompt?: boolean, template_variables?: Record<string, unknown>}} options
   * @returns {Promise<{text: string, spans: {start: number, length: number, parse_special: boolean}[]}>}
   */
  async renderChat(options) {
    checkKeys(options, ['messages', 'chatTemplate', 'add_generation_prompt', 'template_variables'], 'renderChat')
    return this.#connection.call('render', chatInput(options))
  }

  /* ---- Measures ------------------------------------------------------------------------------------------------ */

  /**
   * -log p of each token given those before it: [ids.length - 1], natural logarithm.
   * @param {ArrayLike<number>} ids
   * @param {{chunk?: number, signal?: AbortSignal, abortSignal?: AbortSignal, onProgress?: (progress: Progress) => void}} [options]
   * @returns {Promise<Float64Array>}
   */
  async nll(ids, options = {}) {
    checkKeys(options, ['chunk', 'signal', 'abortSignal', 'onProgress'], 'nll')
    const { nll } = await this.#connection.call('evaluate', { ids: idsOf(ids), nll: true, ...(options.chunk === undefined ? {} : { chunk: options.chunk }) },
      { signal: signalOf(options), what: 'The evaluation', onEvent: (event) => progress(options, event) })
    return nll
  }

  /**
   * Logits of every position from `from` on, in pieces of rows.
   * @param {ArrayLike<number>} ids
   * @param {{chunk?: number, from?: number, signal?: AbortSignal, abortSignal?: AbortSignal, onProgress?: (progress: Progress) => void}} [options]
   * @returns {AsyncIterable<{first: number, rows: number, vocabulary: number, data: Float32Array}>} data: [rows, vocabulary]
   */
  logits(ids, options = {}) {
    checkKeys(options, ['chunk', 'from', 'signal', 'abortSignal', 'onProgress'], 'logits')
    const controller = linked(signalOf(options))
    /** @type {Stream<{first: number, rows: number, vocabulary: number, data: Float32Array}>} */
    const stream = new Stream(() => controller.abort())
    this.#connection.call('evaluate', { ids: idsOf(ids), ...(options.chunk === undefined ? {} : { chunk: options.chunk }), ...(options.from === undefined ? {} : { from: options.from }) }, {
      signal: controller.signal, what: 'The evaluation',
      onEvent: (event) => {
        if (event.type === 'rows') stream.push({ first: event.first, rows: event.rows, vocabulary: event.vocabulary, data: event.data })
        else progress(options, event)
      },
    }).then(() => stream.end(), (error) => stream.end(error))
    return /** @type {any} */ (stream)
  }

  /**
   * Perplexity of a text: special tokens are not parsed; the first token of each context is not scored.
   * @param {string | Uint8Array} text
   * @param {{window?: number, bos?: boolean, chunk?: number, signal?: AbortSignal, abortSignal?: AbortSignal, onProgress?: (progress: Progress) => void}} [options]
   *        window: contexts of that many tokens (default: one for the whole text); bos: put BOS before each
   * @returns {Promise<{tokens: number, mean_nll: number, perplexity: number}>} tokens: the scored ones
   */
  async perplexity(text, options = {}) {
    checkKeys(options, ['window', 'bos', 'chunk', 'signal', 'abortSignal', 'onProgress'], 'perplexity')
    const { window, bos, ...rest } = options
    const ids = await this.tokenize(text)
    if (window !== undefined && !(Number.isInteger(window) && window >= 2)) {
      throw new NookError('data', `window is ${JSON.stringify(window)}.`, { hint: 'It is a whole number of tokens, at least 2.' })
    }
    const start = bos === true ? [Number(this.info.bos)] : []
    if (bos === true && !(Number(this.info.bos) >= 0)) throw new NookError('data', 'This model has no BOS token.', { hint: 'Leave bos out.' })
    const step = window === undefined ? ids.length : window - start.length
    if (step + start.length > this.info.context) {
      throw new NookError('context_full', `The text has ${step + start.length} tokens and the context ${this.info.context}.`,
        { hint: `Load with contextSize ${step + start.length}, or pass window (--window ${this.info.context}).` })
    }
    let tokens = 0
    let sum = 0
    for (let at = 0; at < ids.length; at += step) {
      const piece = Int32Array.of(...start, ...ids.subarray(at, at + step))
      if (piece.length < 2) continue
      const nll = await this.nll(piece, {
        ...rest, ...(rest.onProgress === undefined ? {} : { onProgress: (event) => rest.onProgress?.({ ...event, loaded: at + event.loaded, total: ids.length }) }),
      })
      for (const value of nll) sum += value
      tokens += nll.length
    }
    if (tokens === 0) throw new NookError('data', 'The text has fewer than two tokens, so nothing can be scored.', { hint: 'Give a longer text.' })
    return { tokens, mean_nll: sum / tokens, perplexity: Math.exp(sum / tokens) }
  }

  /** Forgets the KV cache: the next call reads its whole prompt. */
  async clear() {
    await this.#connection.call('clear', {})
  }

  /* ---- Completions --------------------------------------------------------------------------------------------- */

  /** @param {any} options @param {'chat' | 'text'} kind @returns {Promise<any>} */
  async #create(options, kind) {
    const where = kind === 'chat' ? 'chat.completions.create' : 'completions.create'
    checkKeys(options, kind === 'chat' ? CHAT_KEYS : COMPLETION_KEYS, where)
    const input = kind === 'chat' ? chatInput(options) : promptInput(options)
    const signal = signalOf(options)
    if (options.n !== undefined && options.n !== 1) throw new NookError('unsupported', `${where}: n is ${JSON.stringify(options.n)}.`, { hint: 'Ask again with another seed for more answers.' })
    if (options.response_format !== undefined && options.response_format?.type !== 'text') {
      throw new NookError('unsupported', `${where}: response_format ${JSON.stringify(options.response_format?.type)} is not supported.`, { hint: 'Leave it out, or use choices for a closed set of answers.' })
    }
    if (options.stream !== undefined && typeof options.stream !== 'boolean') throw new NookError('data', `${where}: stream is true or false.`)
    if (options.choices !== undefined) return this.#choose(options, input, kind, signal, where)

    const { sampling, logprobs } = samplingOf(options, kind, where)
    const shape = this.#shape(kind)
    const args = { input, options: sampling, pieces: logprobs }
    if (options.stream === true) {
      const controller = linked(signal)
      /** @type {Stream<any>} */
      const stream = new Stream(() => controller.abort())
      if (kind === 'chat') stream.push(shape.chunk({ role: 'assistant', content: '' }, null))
      let offset = 0
      this.#connection.call('generate', args, {
        signal: controller.signal, what: 'The generation',
        onEvent: (event) => {
          if (event.type === 'token') {
            if (event.text !== '' || logprobs) {
              stream.push(shape.chunk({ content: event.text }, null, logprobs ? shape.logprobs([tokenLogprob(event)], offset) : undefined))
            }
            offset += event.text.length
          } else if (event.type === 'shift') {
            const chunk = shape.chunk({ content: '' }, null)
            stream.push({ ...chunk, dropped_tokens: event.dropped })
            options.onProgress?.({ phase: 'shift', file: '', loaded: event.dropped, total: event.dropped })
          } else progress(options, event)
        },
      }).then((result) => {
        if (result.tail) stream.push(shape.chunk({ content: result.tail }, null))
        stream.push({ ...shape.chunk({}, result.finish_reason), ...facts(result) })
        stream.end()
      }, (error) => stream.end(error))
      return stream
    }

    let text = ''
    /** @type {any[]} */
    const tokens = []
    const result = await this.#connection.call('generate', args, {
      signal, what: 'The generation',
      onEvent: (event) => {
        if (event.type === 'token') {
          text += event.text
          if (logprobs) tokens.push(tokenLogprob(event))
        } else if (event.type === 'shift') options.onProgress?.({ phase: 'shift', file: '', loaded: event.dropped, total: event.dropped })
        else progress(options, event)
      },
    })
    text += result.tail ?? ''
    if (options.echo === true && typeof options.prompt === 'string') text = options.prompt + text
    return { ...shape.whole(text, result.finish_reason, logprobs ? shape.logprobs(withTop(tokens, result.logprobs), 0) : null), ...facts(result) }
  }

  /** @param {any} options @param {object} input @param {'chat' | 'text'} kind @param {AbortSignal | undefined} signal @param {string} where */
  async #choose(options, input, kind, signal, where) {
    const { choices } = options
    if (!Array.isArray(choices) || choices.length === 0 || !choices.every((choice) => typeof choice === 'string' && choice !== '')) {
      throw new NookError('data', `${where}: choices is not a list of texts that are not empty.`)
    }
    if (options.stream === true) throw new NookError('data', `${where}: choices are scored, not streamed.`, { hint: 'Leave stream out.' })
    const result = await this.#connection.call('choices', { input, choices }, { signal, what: 'The scoring', onEvent: (event) => progress(options, event) })
    const scored = result.choices
    const top = Math.max(...scored.map((/** @type {any} */ one) => one.logprob))
    const weights = scored.map((/** @type {any} */ one) => Math.exp(one.logprob - top))
    const total = weights.reduce((/** @type {number} */ sum, /** @type {number} */ weight) => sum + weight, 0)
    const order = choices.map((_, i) => i).sort((a, b) => scored[b].logprob - scored[a].logprob)
    const shape = this.#shape(kind)
    return {
      ...shape.head(false),
      choices: order.map((i) => ({
        index: i, ...(kind === 'chat' ? { message: { role: 'assistant', content: choices[i] } } : { text: choices[i] }),
        logprob: scored[i].logprob, tokens: scored[i].tokens, probability: weights[i] / total, logprobs: null, finish_reason: 'stop',
      })),
      ...facts(result),
    }
  }

  /** The shapes of OpenAI's objects for one answer. @param {'chat' | 'text'} kind */
  #shape(kind) {
    const id = `${kind === 'chat' ? 'chatcmpl' : 'cmpl'}-${randomId(12)}`
    const created = Math.floor(Date.now() / 1000)
    const model = this.info.file
    const head = (/** @type {boolean} */ chunk) => ({ id, object: kind === 'chat' ? `chat.completion${chunk ? '.chunk' : ''}` : 'text_completion', created, model })
    return {
      head,
      chunk: (/** @type {any} */ delta, /** @type {string | null} */ finish, /** @type {any} */ logprobs = null) => ({
        ...head(true),
        choices: [kind === 'chat' ? { index: 0, delta, logprobs, finish_reason: finish } : { index: 0, text: delta.content ?? '', logprobs, finish_reason: finish }],
      }),
      whole: (/** @type {string} */ text, /** @type {string} */ finish, /** @type {any} */ logprobs) => ({
        ...head(false),
        choices: [kind === 'chat'
          ? { index: 0, message: { role: 'assistant', content: text }, logprobs, finish_reason: finish }
          : { index: 0, text, logprobs, finish_reason: finish }],
      }),
      logprobs: (/** @type {any[]} */ tokens, /** @type {number} */ offset) => {
        if (kind === 'chat') return { content: tokens, refusal: null }
        let at = offset
        return {
          tokens: tokens.map((one) => one.token), token_logprobs: tokens.map((one) => one.logprob),
          top_logprobs: tokens.map((one) => Object.fromEntries(one.top_logprobs.map((/** @type {any} */ top) => [top.token, top.logprob]))),
          text_offset: tokens.map((one) => { at += one.token.length; return at - one.token.length }),
        }
      },
    }
  }

  /* ---- End ----------------------------------------------------------------------------------------------------- */

  /** Frees the model and ends its worker. Calls under way are rejected with code `abort`. Idempotent. @returns {Promise<void>} */
  dispose() {
    this.#disposing ??= this.#connection.close(new NookError('abort', 'The model was disposed.', { hint: 'Load it again to go on.' }))
    return this.#disposing
  }

  /** @returns {Promise<void>} */
  [asyncDispose]() {
    return this.dispose()
  }
}

/* ---- Arguments --------------------------------------------------------------------------------------------------- */

/** @param {ArrayLike<number>} ids @returns {Int32Array} */
function idsOf(ids) {
  if (ids instanceof Int32Array) return ids
  if (ids === null || typeof ids !== 'object' || typeof ids.length !== 'number') throw new NookError('data', 'ids is not a list of token ids.')
  return Int32Array.from(ids, (id, i) => {
    if (!Number.isInteger(id) || id < 0 || id > 0x7fffffff) throw new NookError('data', `ids[${i}] is ${JSON.stringify(id)}, not a token id.`)
    return id
  })
}

/** @param {any} options */
function chatInput(options) {
  if (options.chatTemplate !== undefined && typeof options.chatTemplate !== 'string') throw new NookError('data', 'chatTemplate is not a text (Jinja, or "plain").')
  return {
    messages: options.messages,
    ...(options.chatTemplate === undefined ? {} : { chatTemplate: options.chatTemplate }),
    ...(options.add_generation_prompt === undefined ? {} : { addGenerationPrompt: options.add_generation_prompt }),
    ...(options.template_variables === undefined ? {} : { variables: options.template_variables }),
  }
}

/** @param {any} options */
function promptInput(options) {
  const { prompt } = options
  if (prompt instanceof Int32Array || (Array.isArray(prompt) && typeof prompt[0] === 'number')) return { ids: idsOf(prompt) }
  const spans = Array.isArray(prompt) && prompt.every((span) => typeof span?.text === 'string')
  if (typeof prompt !== 'string' && !(prompt instanceof Uint8Array) && !spans) {
    throw new NookError('data', 'completions.create: prompt is not a text, a list of {text, parse_special}, or a list of ids.')
  }
  return {
    prompt, ...(options.special === undefined ? {} : { special: options.special === true }),
    ...(options.addSpecial === undefined ? {} : { addSpecial: options.addSpecial === true }),
  }
}

/**
 * The options of C out of those of a request.
 * @param {any} options @param {'chat' | 'text'} kind @param {string} where
 * @returns {{sampling: Record<string, unknown>, logprobs: boolean}}
 */
function samplingOf(options, kind, where) {
  /** @type {Record<string, unknown>} */
  const sampling = {}
  for (const key of SAMPLING_KEYS) if (options[key] !== undefined && options[key] !== null) sampling[key] = options[key]
  if (options.max_completion_tokens !== undefined && options.max_completion_tokens !== null) sampling['max_tokens'] ??= options.max_completion_tokens
  if (options.stop !== undefined && options.stop !== null) sampling['stop'] = typeof options.stop === 'string' ? [options.stop] : options.stop
  let logprobs = false
  if (kind === 'chat') {
    if (options.logprobs !== undefined && options.logprobs !== null && typeof options.logprobs !== 'boolean') {
      throw new NookError('data', `${where}: logprobs is true or false; top_logprobs is the number of alternatives.`)
    }
    if (options.top_logprobs !== undefined && options.logprobs !== true) throw new NookError('data', `${where}: top_logprobs needs logprobs: true.`)
    logprobs = options.logprobs === true
    if (logprobs) sampling['logprobs'] = options.top_logprobs ?? 0
  } else if (options.logprobs !== undefined && options.logprobs !== null) {
    logprobs = true
    sampling['logprobs'] = options.logprobs
  }
  return { sampling, logprobs }
}

/** @param {AbortSignal | undefined} signal @returns {AbortController} aborted with it */
function linked(signal) {
  const controller = new AbortController()
  if (signal?.aborted === true) controller.abort(signal.reason)
  else signal?.addEventListener('abort', () => controller.abort(signal.reason), { once: true })
  return controller
}

/** Tells the caller how far the prompt is read. @param {{onProgress?: (progress: Progress) => void}} options @param {any} event */
function progress(options, event) {
  if (event.type === 'prefill') options.onProgress?.({ phase: 'prefill', file: '', loaded: event.loaded, total: event.total })
}

/**
 * The alternatives of nook_result beside the tokens that were streamed.
 * @param {any[]} tokens @param {any[] | undefined} detailed
 */
function withTop(tokens, detailed) {
  return tokens.map((token, i) => ({
    ...token,
    top_logprobs: (detailed?.[i]?.top ?? []).map((/** @type {any} */ top) => {
      const { top_logprobs: none, ...shown } = tokenLogprob(top)
      void none
      return shown
    }),
  }))
}

/** @param {any} event a token's @returns {any} in OpenAI's form */
function tokenLogprob(event) {
  const bytes = event.piece ?? new Uint8Array(0)
  return { token: new TextDecoder().decode(bytes), logprob: event.logprob, bytes: Array.from(bytes), top_logprobs: [], id: event.token }
}

/** Usage and times in the shapes of OpenAI and llama-server. @param {any} result */
function facts(result) {
  const { cached_tokens: cached = 0, ...usage } = result.usage ?? {}
  return {
    usage: { ...usage, prompt_tokens_details: { cached_tokens: cached } }, timings: result.timings,
    ...(result.dropped > 0 ? { dropped_tokens: result.dropped } : {}),
    ...(result.stop === undefined ? {} : { stop_text: result.stop }),
  }
}

/* ---- load and estimate --------------------------------------------------------------------------------------------- */

/**
 * The functions of the shim over one platform.
 * @param {Platform} platform
 */
export function createClient(platform) {
  /** @param {any} options @param {string} where */
  const prepare = async (options, where) => {
    checkKeys(options, LOAD_KEYS, where)
    if (options.model === undefined) throw new NookError('data', `${where} needs a model.`, { hint: 'Pass a URL, a path (Node), a File, or the id of a card.' })
    for (const [key, allowed] of /** @type {[string, string[]][]} */ ([
      ['build', ['auto', 'base', 'relaxed']], ['kv', ['f16', 'f32', 'q8']], ['activations', ['auto', 'f32']], ['cache', ['opfs', 'memory', 'fs']],
    ])) {
      if (options[key] !== undefined && !allowed.includes(options[key])) {
        throw new NookError('data', `${where}: ${key} is ${JSON.stringify(options[key])}.`, { hint: `It is one of ${allowed.join(', ')}.` })
      }
    }
    const { threads, contextSize } = options
    if (threads !== undefined && threads !== 'auto' && !(Number.isInteger(threads) && threads >= 1 && threads <= 64)) {
      throw new NookError('data', `${where}: threads is ${JSON.stringify(threads)}.`, { hint: 'It is "auto" or a whole number from 1 to 64.' })
    }
    if (contextSize !== undefined && !(Number.isInteger(contextSize) && contextSize >= 1)) {
      throw new NookError('data', `${where}: contextSize is ${JSON.stringify(contextSize)}.`, { hint: 'It is a whole number of tokens.' })
    }
    if (options.chatTemplate !== undefined && typeof options.chatTemplate !== 'string') throw new NookError('data', `${where}: chatTemplate is not a text (Jinja, or "plain").`)
    if (options.onProgress !== undefined && typeof options.onProgress !== 'function') throw new NookError('data', `${where}: onProgress is not a function.`)
    const signal = signalOf(options)
    const model = await platform.resolve(options.model, options.sha256)
    const pass = ['contextSize', 'threads', 'build', 'kv', 'activations', 'cache', 'cacheFolder', 'chatTemplate']
    /** @type {Record<string, unknown>} */
    const args = Object.fromEntries(pass.filter((key) => options[key] !== undefined).map((key) => [key, options[key]]))
    for (const key of ['wasmUrl', 'threadUrl']) if (options[key] !== undefined) args[key] = String(options[key])
    return { signal, args: { model, options: args } }
  }
  /** @param {any} options */
  const onEvent = (options) => (/** @type {any} */ event) => {
    if (event.type !== 'progress' || options.onProgress === undefined) return
    const { type, ...told } = event
    options.onProgress(told)
  }
  /** One call in a worker of its own. @param {string} type @param {object} args @param {any} [options] @param {any} [more] */
  const once = async (type, args, options = {}, more = {}) => {
    const connection = new Connection(platform.spawn(options.workerUrl))
    try {
      return await connection.call(type, args, more)
    } finally {
      await connection.close(new NookError('abort', 'The worker was ended.'))
    }
  }
  /** @param {any} options @param {string} where */
  const cacheArgs = (options, where) => {
    checkKeys(options, ['cacheFolder', 'wasmUrl', 'workerUrl'], where)
    return { folder: options.cacheFolder, ...(options.wasmUrl === undefined ? {} : { wasmUrl: String(options.wasmUrl) }) }
  }

  return {
    /** @param {any} options @returns {Promise<Model>} */
    async load(options) {
      const { signal, args } = await prepare(options, 'load')
      if (signal?.aborted === true) throw aborted('The load', signal.reason)
      const connection = new Connection(platform.spawn(options.workerUrl))
      try {
        const facts = await connection.call('load', args, { signal, what: 'The load', onEvent: onEvent(options) })
        const file = args.model.files[0]
        const address = file === undefined ? '' : 'url' in file ? file.url : 'path' in file ? file.path : file.name ?? 'model'
        return new Model(connection, facts, address.replace(/[?#].*$/, '').replace(/^.*[/\\]/, '').replace(/\.gguf$/i, ''))
      } catch (error) {
        await connection.close(new NookError('abort', 'The load failed.'))
        throw error
      }
    },
    /** The plan of a model: facts and memory, from its header only. @param {any} options @returns {Promise<any>} */
    async estimate(options) {
      const { signal, args } = await prepare(options, 'estimate')
      return once('estimate', args, options, { signal, what: 'The estimate', onEvent: onEvent(options) })
    },
    /** The files that are kept on this machine. */
    cache: {
      /** @param {any} [options] @returns {Promise<any[]>} */
      list: async (options = {}) => once('cacheList', cacheArgs(options, 'cache.list'), options),
      /** @param {string} id of an entry of list @param {any} [options] @returns {Promise<boolean>} whether there was something */
      delete: async (id, options = {}) => once('cacheDelete', { key: id, ...cacheArgs(options, 'cache.delete') }, options),
      /** @param {any} [options] @returns {Promise<any>} */
      usage: async (options = {}) => once('cacheUsage', cacheArgs(options, 'cache.usage'), options),
    },
  }
}

/**
 * The file of a model named by a card (models/ID.json: {file, bytes, sha256, sources: [{url}]}); shared by both platforms.
 * @param {any} card @param {string} id
 * @param {string} [beside] the folder where a server has files that have no address of their own (`nook serve`: models/)
 * @returns {{urls: string[], sha256: (string | undefined)[]}} urls: one for each file of the model
 */
export function cardFiles(card, id, beside) {
  const sources = Array.isArray(card?.sources) ? card.sources : []
  const url = sources.map((/** @type {any} */ source) => (typeof source === 'string' ? source : source?.url))
    .find((/** @type {unknown} */ one) => typeof one === 'string' && /^(https?:|\.{0,2}\/)/.test(one))
  if (url === undefined && typeof card?.file === 'string' && beside !== undefined) return { urls: [`${beside}${encodeURIComponent(card.file)}`], sha256: [card.sha256] }
  if (url === undefined) {
    throw new NookError('data', `The card "${id}" names no address that can be fetched from.`, { hint: 'Run `npm run setup`, or give a URL or a file instead.' })
  }
  return { urls: [url], sha256: [card.sha256] }
}

/**
 * Checks the sha256 option against the number of files.
 * @param {string | string[] | undefined} sha256 @param {number} count
 * @returns {(string | undefined)[]}
 */
export function hashList(sha256, count) {
  if (sha256 === undefined) return Array.from({ length: count }, () => undefined)
  const list = typeof sha256 === 'string' ? [sha256] : sha256
  if (!Array.isArray(list) || list.length !== count || !list.every((hash) => typeof hash === 'string' && /^[0-9a-fA-F]{64}$/.test(hash))) {
    throw new NookError('data', `sha256 is not ${count === 1 ? 'a hash' : `a list of ${count} hashes`} of 64 hexadecimal digits.`)
  }
  return list
}
