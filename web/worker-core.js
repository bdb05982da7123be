/*
 * worker-core.js: the fifth ring. The engine behind typed messages, for any pair of ports (worker.js, worker.node.js,
 * tests). docs/worker-protocol.md lists the messages, their arguments, results and events.
 *
 * Request   {type, id, args}: type names one of `#handlers` below; id is unique, made by the client
 * Reply     {type, id, result}, or {type: 'error', id, error: {name, code, message, hint}}: once, after the call's events
 * Event     {type: 'event', id, event: {type, …}}: any number before the reply; id null: of the worker itself
 * Order     load, estimate, generate, choices, evaluate, embed, clear and those of adapters run one at a time, in the order
 *           they came. tokenize, detokenize and render are answered between the steps of a running call, but never before
 *           a load that came earlier; train goes on between the steps of all others. abort, dispose and the cache methods
 *           are handled at once. A second load or training is `busy`.
 * Turns     After every step of C (some 50 ms) the loop lets messages in (turns.js): an abort acts within one step of a
 *           load, of the reading of a prompt and of the writing of an answer.
 */
import { embedTexts } from './embeddings.js'
import { NookError, aborted } from './errors.js'
import { Engine, createHasher } from './engine.js'
import { Learning } from './engine-learn.js'
import { planTraining, trainOn } from './worker-learn.js'
import { Prompts } from './prompts.js'
import { Turns } from './turns.js'
import { openFiles } from './worker-files.js'

/** @typedef {import('./cache/store.js').ModelCache} ModelCache */
/** @typedef {import('./prompts.js').Input} Input */
/**
 * @typedef {{post: (message: unknown, transfer?: ArrayBuffer[]) => void, listen: (listener: (message: any) => void) =>
 *   void}} Port
 * @typedef {{files: ({url: string} | {path: string} | {blob: Blob, name?: string})[], sha256?: (string | undefined)[]}}
 *   ModelFiles
 * @typedef {{id: string, controller: AbortController}} Call
 * @typedef {import('./engine-learn.js').AdapterUse[]} Uses
 */

/** A kept file is hashed again when idle if that was not done for this long. */
const VERIFY_AFTER_MS = 24 * 3600 * 1000

/**
 * Serves one engine on a port.
 * @param {Port} port
 * @param {import('./platform/browser.js').Host} host
 * @param {{threadUrl?: URL | string, verifyAfterMs?: number}} [options]
 * @returns {WorkerCore}
 */
export function serve(port, host, options = {}) {
  return new WorkerCore(port, host, options)
}

class WorkerCore {
  /** @type {Port} */ #port
  /** @type {import('./platform/browser.js').Host} */ #host
  /** @type {{threadUrl?: URL | string, verifyAfterMs?: number}} */ #options
  /** @type {Engine | null} */ #engine = null
  /** @type {'empty' | 'loading' | 'loaded' | 'disposed'} */ #state = 'empty'
  /** @type {Promise<unknown>} */ #tail = Promise.resolve()
  /** @type {Map<string, Call>} */ #calls = new Map()
  #turns = new Turns()
  /** @type {Prompts | null} */ #prompts = null
  /** @type {Learning | null} */ #learning = null
  /** What runs beside the queue. @type {Promise<unknown>} */ #beside = Promise.resolve()
  /** @type {(() => import('./cache/store.js').Hasher) | null} */ #hasher = null

  /**
   * @param {Port} port
   * @param {import('./platform/browser.js').Host} host
   * @param {{threadUrl?: URL | string, verifyAfterMs?: number}} options
   */
  constructor(port, host, options) {
    this.#port = port
    this.#host = host
    this.#options = options
    port.listen((message) => {
      void this.#receive(message)
    })
  }

  /** The engine, for tests that count its steps. */
  get engine() {
    return this.#engine
  }

  /** @param {{type: string, id: string, args?: any}} message */
  async #receive(message) {
    const { type, id, args = {} } = message ?? {}
    if (typeof id !== 'string' || typeof type !== 'string') return
    /** @type {Call} */
    const call = { id, controller: new AbortController() }
    try {
      const handler = Object.hasOwn(this.#handlers, type) ? this.#handlers[type] : undefined
      if (handler === undefined) throw new NookError('data', `The worker knows no message "${type}".`)
      if (this.#state === 'disposed') throw new NookError('data', 'This model was disposed.', { hint: 'Load it again.' })
      if (this.#calls.has(id)) throw new NookError('data', `The id ${id} is in use.`)
      this.#calls.set(id, call)
      const run = () => {
        if (call.controller.signal.aborted) throw aborted('The call')
        return handler.run(args, call)
      }
      let result
      if (handler.order === 'now' || (handler.order === 'between' && this.#state === 'loaded')) result = await run()
      else if (handler.order === 'beside') {
        const turn = this.#state === 'loaded' ? run() : this.#tail.then(run)
        const both = [this.#beside, turn]
        this.#beside = Promise.allSettled(both)
        result = await turn
      } else {
        if (type === 'load') {
          if (this.#state !== 'empty')
            throw new NookError('busy', 'This worker has a model already.', { hint: 'Start another one by load().' })
          this.#state = 'loading'
        }
        const turn = this.#tail.then(run)
        this.#tail = turn.catch(() => {})
        result = await turn
      }
      /** @type {ArrayBuffer[]} */
      const transfer = []
      const plain = result instanceof Int32Array || result instanceof Uint8Array
      const one = plain ? result : (result?.nll ?? result?.vector)
      const arrays = Array.isArray(result) ? result.map((part) => part?.vector) : [one]
      for (const array of arrays) if (array?.buffer instanceof ArrayBuffer) transfer.push(array.buffer)
      this.#port.post({ type, id, result }, transfer)
    } catch (error) {
      const known = NookError.from(error)
      this.#port.post({ type: 'error', id, error: known.toObject() })
    } finally {
      if (this.#calls.get(id) === call) this.#calls.delete(id)
    }
  }

  /** @param {Call} call @param {object} event @param {ArrayBuffer[]} [transfer] */
  #event(call, event, transfer) {
    this.#port.post({ type: 'event', id: call.id, event }, transfer)
  }

  /**
   * Between two steps: lets messages in, then ends an aborted call.
   * @param {Call} call @param {string} what
   */
  async #between(call, what) {
    await this.#turns.next()
    if (call.controller.signal.aborted) throw aborted(what)
  }

  /**
   * Message types and how they are ordered.
   * @type {Record<string, {order: 'queue' | 'between' | 'beside' | 'now', run: (args: any, call: Call) => any}>}
   */
  #handlers = {
    load: { order: 'queue', run: (args, call) => this.#load(args, call) },
    estimate: { order: 'queue', run: (args, call) => this.#estimate(args, call) },
    tokenize: { order: 'between', run: (args) => this.#ready().tokenize(args.input, args) },
    detokenize: { order: 'between', run: (args) => this.#ready().detokenize(args.ids, args) },
    render: {
      order: 'between',
      run: async (args) => {
        const { text, spans } = await this.#text().render(args)
        return { text, spans }
      },
    },
    generate: { order: 'queue', run: (args, call) => this.#generate(args, call) },
    choices: { order: 'queue', run: (args, call) => this.#choices(args, call) },
    evaluate: { order: 'queue', run: (args, call) => this.#evaluate(args, call) },
    embed: { order: 'queue', run: (args, call) => this.#embed(args, call) },
    clear: {
      order: 'queue',
      run: () => {
        this.#ready().clear()
        return null
      },
    },
    adapterAdd: { order: 'queue', run: (args) => this.#learn().add(args.files) },
    adapterList: { order: 'queue', run: () => this.#learn().list() },
    adapterRemove: { order: 'queue', run: (args) => this.#learn().remove(args.id) ?? null },
    adapterExport: { order: 'queue', run: (args) => this.#learn().export(args.id, args.format) },
    train: { order: 'beside', run: (args, call) => trainOn(this.#tools(call), args) },
    trainPlan: { order: 'beside', run: (args, call) => planTraining(this.#tools(call), args) },
    cacheList: {
      order: 'now',
      run: async (args) => (await this.#openCache(args.cache, args.folder, args.wasmUrl))?.list() ?? [],
    },
    cacheDelete: {
      order: 'now',
      run: async (args) => (await this.#openCache(args.cache, args.folder, args.wasmUrl))?.remove(args.key) ?? false,
    },
    cacheUsage: {
      order: 'now',
      run: async (args) => (await this.#openCache(args.cache, args.folder, args.wasmUrl))?.usage() ?? null,
    },
    abort: {
      order: 'now',
      run: (args) => {
        const target = this.#calls.get(args.target)
        target?.controller.abort()
        return target !== undefined
      },
    },
    dispose: { order: 'now', run: () => this.#dispose() },
  }

  /** @returns {Engine} */
  #ready() {
    if (this.#engine === null || this.#state !== 'loaded')
      throw new NookError('data', 'No model is loaded.', { hint: 'Call load first.' })
    return this.#engine
  }

  /** @returns {Prompts} */
  #text() {
    this.#ready()
    return /** @type {Prompts} */ (this.#prompts)
  }

  /** @returns {Learning} */
  #learn() {
    this.#ready()
    return /** @type {Learning} */ (this.#learning)
  }

  /** @param {Call} call @returns {import('./worker-learn.js').Tools} what a training takes of the worker */
  #tools(call) {
    return {
      engine: this.#ready(), prompts: this.#text(), learning: this.#learn(),
      event: (event, transfer) => this.#event(call, event, transfer),
      between: () => this.#between(call, 'The training'),
    }
  }

  async #dispose() {
    for (const call of this.#calls.values()) call.controller.abort()
    await Promise.all([this.#tail, this.#beside]) /* each ends within one step */
    this.#state = 'disposed'
    this.#engine?.dispose()
    this.#engine = null
    this.#prompts = this.#learning = null
    this.#turns.close()
    return null
  }

  /* ---- Loading ------------------------------------------------------------------------------------------------- */

  /** @param {string | undefined} kind @param {string | undefined} folder @param {string | undefined} wasmUrl */
  async #openCache(kind, folder, wasmUrl) {
    if (kind === 'memory') return null
    this.#hasher ??= await createHasher({ wasmUrl: wasmUrl?.endsWith('/') === false ? undefined : wasmUrl }, this.#host)
    const small = this.#hasher
    return this.#host.cache(kind, folder, small)
  }

  /** @param {{model: ModelFiles, options: any}} args @param {Call} call @param {string[]} warnings @param {boolean} plan */
  #open(args, call, warnings, plan) {
    return openFiles(args, warnings, plan, {
      host: this.#host, signal: call.controller.signal, event: (event) => this.#event(call, event),
      openCache: (kind, folder, wasmUrl) => this.#openCache(kind, folder, wasmUrl),
    })
  }

  /** @param {{model: ModelFiles, options: any}} args @param {Call} call */
  async #load(args, call) {
    /** @type {string[]} */
    const warnings = []
    try {
      /* A kept file that turns out damaged is deleted and fetched again, once. */
      for (let attempt = 0; ; attempt++) {
        const damaged = await this.#loadOnce(args, call, warnings)
        if (damaged === null) break
        warnings.push(damaged)
        if (attempt > 0) throw new NookError('hash', damaged, { hint: 'Load again, or with cache: "memory".' })
      }
    } catch (error) {
      this.#state = 'empty'
      throw error
    }
    this.#state = 'loaded'
    this.#prompts = new Prompts(/** @type {Engine} */ (this.#engine), args.options.chatTemplate)
    this.#learning = new Learning(/** @type {Engine} */ (this.#engine))
    return { info: this.#facts(), warnings }
  }

  /**
   * @param {{model: ModelFiles, options: any}} args
   * @param {Call} call
   * @param {string[]} warnings
   * @returns {Promise<string | null>} what is damaged
   */
  async #loadOnce(args, call, warnings) {
    const { options } = args
    const { sources, kept, cache, hashes } = await this.#open(args, call, warnings, false)
    /** @type {Engine | null} */
    let engine = null
    let damaged = null
    try {
      engine = await Engine.create(
        {
          build: options.build,
          threads: options.threads,
          wasmUrl: options.wasmUrl,
          threadUrl: options.threadUrl ?? this.#options.threadUrl,
          fileBytes: sources.reduce((sum, source) => sum + source.size, 0),
        },
        this.#host,
      )
      const first = kept[0]
      const steps = engine.load(sources, {
        contextSize: options.contextSize,
        kv: options.kv,
        activations: options.activations,
        sha256: hashes,
        onPlan: (plan) => {
          if (
            first?.warm === true
            && first.entry.headerSha256 !== undefined
            && plan.header_sha256 !== first.entry.headerSha256
          ) {
            damaged = `The kept copy of ${first.entry.name} was damaged; it was deleted and is fetched again.`
            throw new NookError('hash', damaged)
          }
        },
      })
      const file = sources[0]?.name ?? ''
      for (;;) {
        const step = await steps.next()
        if (step.done === true) break
        this.#event(call, { type: 'progress', phase: 'load', file, loaded: step.value.done, total: step.value.total })
        try {
          await this.#between(call, 'The load')
        } catch (error) {
          await steps.return(undefined)
          throw error
        }
      }
    } catch (error) {
      engine?.dispose()
      if (damaged !== null && cache !== null) {
        await Promise.allSettled(sources.map((source) => source.close()))
        for (const held of kept) await cache.remove(held.key)
        return damaged
      }
      throw error
    } finally {
      await Promise.allSettled(sources.map((source) => source.close()))
    }
    this.#engine = engine
    if (cache !== null) {
      const first = kept[0]
      if (first !== undefined && first.entry.headerSha256 === undefined)
        await cache.note(first.key, { headerSha256: engine.info.header_sha256 })
      const due = Date.now() - (this.#options.verifyAfterMs ?? VERIFY_AFTER_MS)
      for (const held of kept)
        if (held.warm && held.entry.verified <= due) void this.#verify(cache, held.key, held.entry.name)
    }
    return null
  }

  /**
   * Hashes a kept file again, a piece whenever nothing else runs.
   * @param {ModelCache} cache
   * @param {string} key
   * @param {string} name
   */
  async #verify(cache, key, name) {
    try {
      const pieces = cache.verify(key)
      for (;;) {
        await this.#tail
        const piece = await pieces.next()
        if (piece.done === true) {
          if (!piece.value) {
            this.#port.post({
              type: 'event',
              id: null,
              event: {
                type: 'warning',
                code: 'hash',
                message: `The kept copy of ${name} was damaged; it was deleted. Load the model again.`,
              },
            })
          }
          return
        }
        await this.#turns.next()
        if (this.#state === 'disposed') {
          await pieces.return(false)
          return
        }
      }
    } catch {
      /* another tab holds or removed the file: it is checked at another time */
    }
  }

  /** @param {{model: ModelFiles, options: any}} args @param {Call} call */
  async #estimate(args, call) {
    const { sources } = await this.#open(args, call, [], true)
    /** @type {Engine | null} */
    let engine = null
    try {
      engine = await Engine.create({ build: args.options.build, wasmUrl: args.options.wasmUrl, planOnly: true }, this.#host)
      const steps = engine.plan(sources, {
        contextSize: args.options.contextSize,
        kv: args.options.kv,
        activations: args.options.activations,
      })
      for (;;) {
        const step = await steps.next()
        if (step.done === true) return { ...step.value, fileBytes: sources.map((source) => source.size) }
        try {
          await this.#between(call, 'The estimate')
        } catch (error) {
          await steps.return(undefined)
          throw error
        }
      }
    } finally {
      engine?.dispose()
      await Promise.allSettled(sources.map((source) => source.close()))
    }
  }

  /** nook_info and what only this side knows. */
  #facts() {
    const engine = this.#ready()
    const { choice } = engine
    return {
      ...engine.info,
      build: choice.build,
      threads: choice.threads,
      reasons: choice.reasons,
      wasm_memory: engine.memoryBytes,
    }
  }

  /** The engine with these adapters, and no others. @param {Uses} [uses] */
  #adapted(uses = []) {
    this.#learn().apply(uses)
    return this.#ready()
  }

  /* ---- Long calls ---------------------------------------------------------------------------------------------- */

  /** @param {{input: Input, options: any, pieces?: boolean, adapters?: Uses}} args @param {Call} call */
  async #generate(args, call) {
    const engine = this.#adapted(args.adapters)
    const begun = performance.now()
    const text = await this.#text().textOf(args.input)
    const ids = 'ids' in text ? text.ids : engine.tokenizeBytes(text.bytes, text.spans, text.addSpecial)
    const steps = engine.generate(ids, args.options)
    let first = 0
    try {
      for (;;) {
        const step = steps.next()
        if (step.done === true) {
          const ended = performance.now()
          const result = step.value
          const usage = result.usage ?? {}
          return {
            ...result,
            ...(result.logprobs === undefined ? {} : { logprobs: this.#text().withPieces(result.logprobs) }),
            timings: {
              prompt_n: (usage.prompt_tokens ?? ids.length) - (usage.cached_tokens ?? 0),
              prompt_ms: (first || ended) - begun,
              predicted_n: usage.completion_tokens ?? 0,
              predicted_ms: first === 0 ? 0 : ended - first,
              cached_n: usage.cached_tokens ?? 0,
            },
          }
        }
        const event = step.value
        if (event.type === 'token') {
          if (first === 0) first = performance.now()
          this.#event(
            call,
            args.pieces === true ? { ...event, piece: engine.detokenize([event.token], { special: true }) } : event,
          )
        } else if (event.type === 'prefill') this.#event(call, { type: 'prefill', loaded: event.done, total: event.total })
        else if (event.type === 'shift') this.#event(call, event)
        await this.#between(call, 'The generation')
      }
    } finally {
      steps.return(undefined)
    }
  }

  /** @param {{input: Input, choices: string[], adapters?: Uses}} args @param {Call} call */
  async #choices(args, call) {
    const engine = this.#adapted(args.adapters)
    const begun = performance.now()
    const text = await this.#text().textOf(args.input)
    if ('ids' in text)
      throw new NookError('data', 'Choices need a prompt of text.', { hint: 'Pass prompt or messages, not ids.' })
    const { prompt, choices } = engine.tokenizeChoices(text.bytes, text.spans, args.choices, text.addSpecial)
    const steps = engine.choices(prompt, choices)
    try {
      for (;;) {
        const step = steps.next()
        if (step.done === true) {
          const read = choices.reduce((sum, choice) => sum + choice.length, prompt.length)
          return {
            choices: step.value,
            usage: { prompt_tokens: read, completion_tokens: 0, total_tokens: read },
            timings: { prompt_n: read, prompt_ms: performance.now() - begun, predicted_n: 0, predicted_ms: 0 },
          }
        }
        this.#event(call, { type: 'prefill', loaded: step.value.done, total: step.value.total })
        await this.#between(call, 'The scoring')
      }
    } finally {
      steps.return(/** @type {any} */ (undefined))
    }
  }

  /** @param {import('./embeddings.js').EmbedArgs} args @param {Call} call */
  async #embed(args, call) {
    const steps = embedTexts(this.#adapted(), args)
    try {
      for (;;) {
        const step = steps.next()
        if (step.done === true) return step.value
        this.#event(call, { type: 'prefill', ...step.value })
        await this.#between(call, 'The embedding')
      }
    } finally {
      steps.return([])
    }
  }

  /**
   * @param {{ids: Int32Array | number[], adapters?: Uses} & import('./engine.js').EvalOptions} args
   * @param {Call} call
   */
  async #evaluate({ ids, adapters, ...options }, call) {
    const engine = this.#adapted(adapters)
    const from = options.from ?? 0
    /** @type {{nll?: Float64Array, vector?: Float32Array}} */
    const result = {}
    if (options.output === 'nll') result.nll = new Float64Array(Math.max(0, ids.length - 1 - from))
    const steps = engine.eval(ids, options)
    try {
      for (const step of steps) {
        if (step.values !== null && step.rows > 0) {
          const data = new Float32Array(step.values.length) /* unshared, so that it can be handed over */
          data.set(step.values)
          if (options.output === 'vector') result.vector = data
          else {
            const { first, rows, columns } = step
            this.#event(call, { type: 'rows', first, rows, columns, data }, [data.buffer])
          }
        }
        if (result.nll !== undefined && step.nll !== null) {
          const at = step.first - from
          result.nll.set(step.nll.subarray(0, Math.max(0, Math.min(step.rows, result.nll.length - at))), at)
        }
        this.#event(call, { type: 'prefill', loaded: step.done, total: step.total })
        await this.#between(call, 'The evaluation')
      }
      return result
    } finally {
      steps.return(undefined)
    }
  }
}
