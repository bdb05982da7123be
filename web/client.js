/*
 * client.js: the sixth ring. Promises and AsyncIterables over the worker, in the shapes that users of language models know.
 *
 * Purpose  `load` gives a Model: chat.completions and completions as OpenAI's API has them, tokens, measures, dispose. One
 *          worker per model; the same code in browsers and Node, over a small platform object (index.js, node.js).
 * Order    Calls of one model are queued in the worker and run one at a time, in the order they were made; nothing is
 *          refused as busy. tokenize and detokenize are answered between the steps of a running call.
 * Limits   Text only; n = 1. An unknown option key is an error that names it.
 */
import { Connection, Stream, linked, signalOf } from './connection.js'
import { EMBEDDING_KEYS, embedArgs, embeddingList } from './embeddings.js'
import { NookError, aborted, checkKeys } from './errors.js'
import { adaptersClient, adaptersOf, planTraining, startTraining } from './learning.js'
import {
  CHAT_KEYS, COMPLETION_KEYS, answerShape, chatInput, facts, idsOf, progress, promptInput, samplingOf, tokenLogprob,
  withTop,
} from './requests.js'

/**
 * @typedef {{spawn: (workerUrl?: any) => WorkerPort,
 *            resolve: (model: any, sha256: string | string[] | undefined) =>
 *            Promise<import('./worker-core.js').ModelFiles>}} Platform
 * @typedef {import('./connection.js').WorkerPort} WorkerPort
 * @typedef {import('./types.d.ts').Progress} Progress
 * @typedef {import('./types.d.ts').Span} Span
 * @typedef {import('./types.d.ts').Rows} Rows
 * @typedef {import('./types.d.ts').AdapterUse} Use
 */

const LOAD_KEYS = /** @type {const} */ ([
  'model', 'sha256', 'contextSize', 'threads', 'build', 'kv', 'activations', 'cache', 'cacheFolder', 'chatTemplate',
  'wasmUrl', 'workerUrl', 'threadUrl', 'signal', 'abortSignal', 'onProgress',
])

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
    this.adapters = adaptersClient(connection)
    this.embeddings = { create: (/** @type {any} */ options) => this.#embed(options) }
  }

  /* ---- Tokens -------------------------------------------------------------------------------------------------- */

  /**
   * @param {string | Span[] | Uint8Array} input
   * @param {{special?: boolean, addSpecial?: boolean}} [options] special: control tokens in a plain text are parsed;
   *   addSpecial: BOS and the like
   * @returns {Promise<Int32Array>}
   */
  async tokenize(input, options = {}) {
    checkKeys(options, ['special', 'addSpecial'], 'tokenize')
    if (typeof input !== 'string' && !(input instanceof Uint8Array)) {
      if (!Array.isArray(input))
        throw new NookError('data', 'tokenize takes a text, bytes, or a list of {text, parse_special}.')
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
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(await this.detokenizeBytes(ids, options))
  }

  /**
   * @param {ArrayLike<number>} ids
   * @param {{special?: boolean}} [options]
   * @returns {Promise<Uint8Array<ArrayBuffer>>} the bytes themselves
   */
  async detokenizeBytes(ids, options = {}) {
    checkKeys(options, ['special'], 'detokenize')
    return this.#connection.call('detokenize', { ids: idsOf(ids), ...options })
  }

  /**
   * The text that a chat becomes, and which bytes of it may hold control tokens.
   * @param {{messages: any[], chatTemplate?: string, add_generation_prompt?: boolean, template_variables?: Record<string,
   *   unknown>}} options
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
   * @param {{chunk?: number, adapters?: Use[], signal?: AbortSignal, abortSignal?: AbortSignal, onProgress?: (progress:
   *   Progress) => void}}
   *   [options]
   * @returns {Promise<Float64Array>}
   */
  async nll(ids, options = {}) {
    checkKeys(options, ['chunk', 'adapters', 'signal', 'abortSignal', 'onProgress'], 'nll')
    const { nll } = await this.#connection.call(
      'evaluate',
      {
        ids: idsOf(ids),
        output: 'nll',
        ...(options.chunk === undefined ? {} : { chunk: options.chunk }),
        ...adaptersOf(options.adapters, 'nll'),
      },
      { signal: signalOf(options), what: 'The evaluation', onEvent: (event) => progress(options, event) },
    )
    return nll
  }

  /**
   * Logits of every position from `from` on, in pieces of rows.
   * @param {ArrayLike<number>} ids
   * @param {{chunk?: number, from?: number, adapters?: Use[], signal?: AbortSignal, abortSignal?: AbortSignal,
   *   onProgress?: (progress: Progress) => void}} [options]
   * @returns {AsyncIterable<Rows>} columns: the vocabulary
   */
  logits(ids, options = {}) {
    return this.#rows(ids, options, 'logits')
  }

  /**
   * Hidden states after the last norm, likewise: what an encoder gives instead of logits.
   * @param {ArrayLike<number>} ids
   * @param {{chunk?: number, from?: number, adapters?: Use[], signal?: AbortSignal, abortSignal?: AbortSignal,
   *   onProgress?: (progress: Progress) => void}} [options]
   * @returns {AsyncIterable<Rows>} columns: the model's width
   */
  hidden(ids, options = {}) {
    return this.#rows(ids, options, 'hidden')
  }

  /** @param {ArrayLike<number>} ids @param {any} options @param {'logits' | 'hidden'} output @returns {any} */
  #rows(ids, options, output) {
    checkKeys(options, ['chunk', 'from', 'adapters', 'signal', 'abortSignal', 'onProgress'], output)
    const controller = linked(signalOf(options))
    /** @type {Stream<Rows>} */
    const stream = new Stream(() => controller.abort())
    this.#connection
      .call(
        'evaluate',
        {
          ids: idsOf(ids),
          output,
          ...(options.chunk === undefined ? {} : { chunk: options.chunk }),
          ...(options.from === undefined ? {} : { from: options.from }),
          ...adaptersOf(options.adapters, output),
        },
        {
          signal: controller.signal,
          what: 'The evaluation',
          onEvent: (event) => {
            if (event.type === 'rows')
              stream.push({ first: event.first, rows: event.rows, columns: event.columns, data: event.data })
            else progress(options, event)
          },
        },
      )
      .then(
        () => stream.end(),
        (error) => stream.end(error),
      )
    return stream
  }

  /**
   * Perplexity of a text: special tokens are not parsed; the first token of each context is not scored.
   * @param {string | Uint8Array} text
   * @param {{window?: number, bos?: boolean, chunk?: number, adapters?: Use[], signal?: AbortSignal, abortSignal?:
   *   AbortSignal, onProgress?: (progress: Progress) => void}} [options]
   *        window: contexts of that many tokens (default: one for the whole text); bos: put BOS before each
   * @returns {Promise<{tokens: number, mean_nll: number, perplexity: number}>} tokens: the scored ones
   */
  async perplexity(text, options = {}) {
    checkKeys(options, ['window', 'bos', 'chunk', 'adapters', 'signal', 'abortSignal', 'onProgress'], 'perplexity')
    const { window, bos, ...rest } = options
    const ids = await this.tokenize(text)
    if (window !== undefined && !(Number.isInteger(window) && window >= 2)) {
      throw new NookError('data', `window is ${JSON.stringify(window)}.`, {
        hint: 'It is a whole number of tokens, at least 2.',
      })
    }
    const start = bos === true ? [Number(this.info.bos)] : []
    if (bos === true && !(Number(this.info.bos) >= 0))
      throw new NookError('data', 'This model has no BOS token.', { hint: 'Leave bos out.' })
    const step = window === undefined ? ids.length : window - start.length
    if (step + start.length > this.info.context) {
      throw new NookError(
        'context_full',
        `The text has ${step + start.length} tokens and the context ${this.info.context}.`,
        { hint: `Load with contextSize ${step + start.length}, or pass window (--window ${this.info.context}).` },
      )
    }
    let tokens = 0
    let sum = 0
    for (let at = 0; at < ids.length; at += step) {
      const piece = Int32Array.of(...start, ...ids.subarray(at, at + step))
      if (piece.length < 2) continue
      const nll = await this.nll(piece, {
        ...rest,
        ...(rest.onProgress === undefined
          ? {}
          : { onProgress: (event) => rest.onProgress?.({ ...event, loaded: at + event.loaded, total: ids.length }) }),
      })
      for (const value of nll) sum += value
      tokens += nll.length
    }
    if (tokens === 0)
      throw new NookError('data', 'The text has fewer than two tokens, so nothing can be scored.', {
        hint: 'Give a longer text.',
      })
    return { tokens, mean_nll: sum / tokens, perplexity: Math.exp(sum / tokens) }
  }

  /** Forgets the KV cache: the next call reads its whole prompt. */
  async clear() {
    await this.#connection.call('clear', {})
  }

  /* ---- Completions --------------------------------------------------------------------------------------------- */

  /** @param {any} options @returns {Promise<any>} */
  async #embed(options) {
    checkKeys(options, EMBEDDING_KEYS, 'embeddings.create')
    const made = await this.#connection.call('embed', embedArgs(options), {
      signal: signalOf(options), what: 'The embedding', onEvent: (event) => progress(options, event),
    })
    return embeddingList(made, options, String(this.info.name ?? this.info.architecture))
  }

  /** @param {any} options @param {'chat' | 'text'} kind @returns {Promise<any>} */
  async #create(options, kind) {
    const where = kind === 'chat' ? 'chat.completions.create' : 'completions.create'
    checkKeys(options, kind === 'chat' ? CHAT_KEYS : COMPLETION_KEYS, where)
    const input = kind === 'chat' ? chatInput(options) : promptInput(options)
    const signal = signalOf(options)
    if (options.n !== undefined && options.n !== 1)
      throw new NookError('unsupported', `${where}: n is ${JSON.stringify(options.n)}.`, {
        hint: 'Ask again with another seed for more answers.',
      })
    if (options.response_format !== undefined && options.response_format?.type !== 'text') {
      throw new NookError(
        'unsupported',
        `${where}: response_format ${JSON.stringify(options.response_format?.type)} is not supported.`,
        { hint: 'Leave it out, or use choices for a closed set of answers.' },
      )
    }
    if (options.stream !== undefined && typeof options.stream !== 'boolean')
      throw new NookError('data', `${where}: stream is true or false.`)
    if (options.choices !== undefined) return this.#choose(options, input, kind, signal, where)

    const { sampling, logprobs } = samplingOf(options, kind, where)
    const shape = answerShape(kind, this.info.file)
    const args = { input, options: sampling, pieces: logprobs, ...adaptersOf(options.adapters, where) }
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
              stream.push(
                shape.chunk(
                  { content: event.text },
                  null,
                  logprobs ? shape.logprobs([tokenLogprob(event)], offset) : undefined,
                ),
              )
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
        } else if (event.type === 'shift')
          options.onProgress?.({ phase: 'shift', file: '', loaded: event.dropped, total: event.dropped })
        else progress(options, event)
      },
    })
    text += result.tail ?? ''
    if (options.echo === true && typeof options.prompt === 'string') text = options.prompt + text
    return {
      ...shape.whole(text, result.finish_reason, logprobs ? shape.logprobs(withTop(tokens, result.logprobs), 0) : null),
      ...facts(result),
    }
  }

  /**
   * @param {any} options
   * @param {object} input
   * @param {'chat' | 'text'} kind
   * @param {AbortSignal | undefined} signal
   * @param {string} where
   */
  async #choose(options, input, kind, signal, where) {
    const { choices } = options
    if (
      !Array.isArray(choices)
      || choices.length === 0
      || !choices.every((choice) => typeof choice === 'string' && choice !== '')
    ) {
      throw new NookError('data', `${where}: choices is not a list of texts that are not empty.`)
    }
    if (options.stream === true)
      throw new NookError('data', `${where}: choices are scored, not streamed.`, { hint: 'Leave stream out.' })
    const result = await this.#connection.call(
      'choices',
      { input, choices, ...adaptersOf(options.adapters, where) },
      { signal, what: 'The scoring', onEvent: (event) => progress(options, event) },
    )
    const scored = result.choices
    const top = Math.max(...scored.map((/** @type {any} */ one) => one.logprob))
    const weights = scored.map((/** @type {any} */ one) => Math.exp(one.logprob - top))
    const total = weights.reduce((/** @type {number} */ sum, /** @type {number} */ weight) => sum + weight, 0)
    const order = choices.map((_, i) => i).sort((a, b) => scored[b].logprob - scored[a].logprob)
    const shape = answerShape(kind, this.info.file)
    return {
      ...shape.head(false),
      choices: order.map((i) => ({
        index: i,
        ...(kind === 'chat' ? { message: { role: 'assistant', content: choices[i] } } : { text: choices[i] }),
        logprob: scored[i].logprob,
        tokens: scored[i].tokens,
        probability: weights[i] / total,
        logprobs: null,
        finish_reason: 'stop',
      })),
      ...facts(result),
    }
  }

  /* ---- Learning ------------------------------------------------------------------------------------------------ */

  /**
   * Trains an adapter, beside what else is asked of the model.
   * @param {any} options see TrainOptions
   * @returns {any} an AsyncIterable of steps and measurements, with `result`
   */
  train(options) {
    return startTraining(this.#connection, options)
  }

  /** What a training will take. @param {{train: any}} options @returns {Promise<any>} */
  async estimate(options) {
    checkKeys(options, ['train'], 'estimate')
    return planTraining(this.#connection, options.train)
  }

  /* ---- End ----------------------------------------------------------------------------------------------------- */

  /**
   * Frees the model and ends its worker. Calls under way are rejected with code `abort`. Idempotent.
   * @returns {Promise<void>}
   */
  dispose() {
    this.#disposing ??= this.#connection.close(
      new NookError('abort', 'The model was disposed.', { hint: 'Load it again to go on.' }),
    )
    return this.#disposing
  }

  /** @returns {Promise<void>} */
  [asyncDispose]() {
    return this.dispose()
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
    if (options.model === undefined)
      throw new NookError('data', `${where} needs a model.`, {
        hint: 'Pass a URL, a path (Node), a File, or the id of a card.',
      })
    for (const [key, allowed] of /** @type {[string, string[]][]} */ ([
      ['build', ['auto', 'base', 'relaxed']],
      ['kv', ['f16', 'f32', 'q8']],
      ['activations', ['auto', 'f32']],
      ['cache', ['opfs', 'memory', 'fs']],
    ])) {
      if (options[key] !== undefined && !allowed.includes(options[key])) {
        throw new NookError('data', `${where}: ${key} is ${JSON.stringify(options[key])}.`, {
          hint: `It is one of ${allowed.join(', ')}.`,
        })
      }
    }
    const { threads, contextSize } = options
    if (threads !== undefined && threads !== 'auto' && !(Number.isInteger(threads) && threads >= 1 && threads <= 64)) {
      throw new NookError('data', `${where}: threads is ${JSON.stringify(threads)}.`, {
        hint: 'It is "auto" or a whole number from 1 to 64.',
      })
    }
    if (contextSize !== undefined && !(Number.isInteger(contextSize) && contextSize >= 1)) {
      throw new NookError('data', `${where}: contextSize is ${JSON.stringify(contextSize)}.`, {
        hint: 'It is a whole number of tokens.',
      })
    }
    if (options.chatTemplate !== undefined && typeof options.chatTemplate !== 'string')
      throw new NookError('data', `${where}: chatTemplate is not a text (Jinja, or "plain").`)
    if (options.onProgress !== undefined && typeof options.onProgress !== 'function')
      throw new NookError('data', `${where}: onProgress is not a function.`)
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
  /**
   * One call in a worker of its own.
   * @param {string} type
   * @param {object} args
   * @param {any} [options]
   * @param {any} [more]
   */
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
        const address =
          file === undefined ? '' : 'url' in file ? file.url : 'path' in file ? file.path : (file.name ?? 'model')
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
      /**
       * @param {string} id of an entry of list
       * @param {any} [options]
       * @returns {Promise<boolean>} whether there was something
       */
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
  if (url === undefined && typeof card?.file === 'string' && beside !== undefined)
    return { urls: [`${beside}${encodeURIComponent(card.file)}`], sha256: [card.sha256 ?? undefined] }
  if (url === undefined) {
    throw new NookError('data', `The card "${id}" names no address that can be fetched from.`, {
      hint: `Run \`npm run model -- ${id}\`, or give a URL or a file instead.`,
    })
  }
  return { urls: [url], sha256: [card.sha256 ?? undefined] }
}

/**
 * Checks the sha256 option against the number of files.
 * @param {string | string[] | undefined} sha256 @param {number} count
 * @returns {(string | undefined)[]}
 */
export function hashList(sha256, count) {
  if (sha256 === undefined) return Array.from({ length: count }, () => undefined)
  const list = typeof sha256 === 'string' ? [sha256] : sha256
  if (
    !Array.isArray(list)
    || list.length !== count
    || !list.every((hash) => typeof hash === 'string' && /^[0-9a-fA-F]{64}$/.test(hash))
  ) {
    throw new NookError(
      'data',
      `sha256 is not ${count === 1 ? 'a hash' : `a list of ${count} hashes`} of 64 hexadecimal digits.`,
    )
  }
  return list
}

export { Connection }
