/*
 * engine.js: the fourth ring. One model and its session, the same in a worker and in Node.
 *
 * Purpose  Capi made pleasant: bytes are fed from FileSources, long work is a generator that does one step of C (some 50
 *          ms) a turn. Nothing here waits except for bytes of a file; whoever drives the generator may stop between any two
 *          steps, and leaving it (return, throw, break) ends the work in C.
 * Limits   One long operation at a time on one engine. Windows into the engine's memory (logits) live until the next step.
 */
import { NookError } from './errors.js'
import { Capi, TOKENIZE_ADD_SPECIAL } from './capi.js'
import { compile, instantiate, reserve, startThreads, stopThreads, choose, probe } from './loader.js'

/** @typedef {import('./sources/source.js').FileSource} FileSource */
/** @typedef {import('./loader.js').Choice} Choice */
/**
 * @typedef {{contextSize?: number | undefined, kv?: 'f16' | 'f32' | 'q8' | undefined, activations?: 'auto' | 'f32' |
 *   undefined,
 *            sha256?: (string | undefined)[], onPlan?: (plan: any) => void}} LoadOptions onPlan may throw to stop the load
 * @typedef {{text: string, parse_special?: boolean}} Span a piece of text; parse_special: its control tokens are control
 *   tokens
 * @typedef {{start: number, length: number, parse_special: boolean}} ByteSpan
 * @typedef {{done: number, total: number}} Step
 */

/** What the memory must hold besides the plan: arguments, tokens of a long text, fragmentation. */
const SLACK_BYTES = 4 * 1048576
/** The most that reading a header may take: hostile files meet this wall. */
const PLAN_MAXIMUM_BYTES = 768 * 1048576
/** Address space beyond the files that a shared memory reserves. */
const SHARED_EXTRA_BYTES = 1024 * 1048576

const encoder = new TextEncoder()

/**
 * output: "logits" (default), "hidden" (states after the last norm), "nll", or "vector" (the text's embedding, which
 * pooling and normalize are for). Encoders have hidden states and vectors only.
 * @typedef {{chunk?: number | undefined, from?: number | undefined, reuse?: boolean | undefined,
 *            output?: 'logits' | 'hidden' | 'nll' | 'vector' | undefined,
 *            pooling?: 'auto' | 'mean' | 'cls' | 'last' | undefined, normalize?: boolean | undefined}} EvalOptions
 */

export class Engine {
  /** @type {Capi} */ #capi
  /** @type {number} */ #context
  #loaded = false
  #disposed = false
  /** @type {any} */ #info = null
  /** Steps of C done so far, of all kinds: what tests count. */
  steps = 0

  /**
   * Makes an engine: picks the build, compiles, instantiates, starts helper threads.
   * @param {{build?: 'auto' | 'base' | 'relaxed' | undefined, threads?: 'auto' | number | undefined, wasmUrl?: string | URL
   *   | undefined,
   *          threadUrl?: string | URL | undefined, fileBytes?: number, planOnly?: boolean}} options fileBytes: of all files
   *          of
   *        the model, so that a shared memory reserves no more address space than it can need
   * @param {import('./loader.js').LoaderHost} host
   * @returns {Promise<Engine>}
   */
  static async create(options, host) {
    host.prepare()
    const choice = choose({
      ...(options.build === undefined ? {} : { build: options.build }),
      ...(options.planOnly === true ? { threads: 1 } : options.threads === undefined ? {} : { threads: options.threads }),
    }, host, probe())
    try {
      return await Engine.#open(choice, options, host)
    } catch (error) {
      const known = NookError.from(error)
      if (choice.build !== 'relaxed' || options.build === 'relaxed' || known.code === 'memory') throw known
      /* The self-check of the relaxed kernels, or their compilation, failed here: the base build runs everywhere. */
      const name = choice.threaded ? 'base-threads' : 'base'
      const fallback = {
        ...choice,
        build: /** @type {const} */ ('base'),
        name,
        reasons: [...choice.reasons, `base instead: ${known.message}`],
      }
      return Engine.#open(fallback, options, host)
    }
  }

  /**
   * @param {Choice} choice
   * @param {Parameters<typeof Engine.create>[0]} options
   * @param {import('./loader.js').LoaderHost} host
   */
  static async #open(choice, options, host) {
    const compiled = await compile(choice.name, host, options.wasmUrl)
    const maximumBytes = options.planOnly === true ? PLAN_MAXIMUM_BYTES
      : compiled.shared && options.fileBytes !== undefined ? options.fileBytes * 1.25 + SHARED_EXTRA_BYTES : undefined
    const runtime = await instantiate(compiled, maximumBytes === undefined ? {} : { maximumBytes })
    const capi = new Capi(runtime)
    /* A relaxed build whose kernels fail their self-check here is refused, so that the caller takes the base build and says
       so. */
    const context = capi.create({ threads: choice.threads, isa: choice.build === 'relaxed' ? 'relaxed' : 'simd128' })
    const engine = new Engine(capi, context, choice)
    try {
      await startThreads(runtime, context, choice.threads, host, options.threadUrl)
    } catch (error) {
      engine.dispose()
      throw error
    }
    return engine
  }

  /** @param {Capi} capi @param {number} context @param {Choice} choice */
  constructor(capi, context, choice) {
    this.#capi = capi
    this.#context = context
    this.choice = choice
  }

  /** The ring below, for tests and tools. */
  get capi() {
    return this.#capi
  }

  /** The context's address, for tests and tools. */
  get context() {
    return this.#context
  }

  /** Facts of the loaded model (nook_info); null before. @returns {any} */
  get info() {
    return this.#info
  }

  /** Bytes of the engine's memory now. */
  get memoryBytes() {
    return this.#capi.memory.size
  }

  /* ---- Loading ------------------------------------------------------------------------------------------------- */

  /**
   * Reads the headers of the files and gives the plan: nook_info, with the memory that a load will take.
   * @param {FileSource[]} sources
   * @param {LoadOptions} [options]
   * @returns {AsyncGenerator<Step, any>}
   */
  async *plan(sources, options = {}) {
    yield* this.#feed(sources, options, true)
    return this.#capi.info(this.#context)
  }

  /**
   * Loads a model. Yields the bytes done and to do; returns nook_info.
   * @param {FileSource[]} sources all files of the model, in order
   * @param {LoadOptions} [options]
   * @returns {AsyncGenerator<Step, any>}
   */
  async *load(sources, options = {}) {
    if (this.#loaded) throw new NookError('busy', 'This engine has a model already.', { hint: 'Unload it first.' })
    yield* this.#feed(sources, options, false)
    this.#loaded = true
    this.#info = this.#capi.info(this.#context)
    return this.#info
  }

  /**
   * @param {FileSource[]} sources @param {LoadOptions} options @param {boolean} plan
   * @returns {AsyncGenerator<Step, void>}
   */
  async *#feed(sources, options, plan) {
    const capi = this.#capi
    capi.loadBegin(this.#context, {
      files: sources.map((source, i) => ({
        bytes: source.size, ...(options.sha256?.[i] === undefined || plan ? {} : { sha256: options.sha256[i] }),
      })),
      ...(plan ? { plan: true } : {}),
      ...(options.contextSize === undefined ? {} : { context: options.contextSize }),
      ...(options.kv === undefined ? {} : { kv: options.kv }),
      ...(options.activations === undefined ? {} : { activations: options.activations }),
    })
    let finished = false
    let planned = plan
    try {
      for (;;) {
        const want = capi.loadStep(this.#context)
        this.steps++
        if (!planned) {
          const facts = capi.info(this.#context)
          if (facts.memory !== undefined) {
            /* The header is understood and the weights have their memory: what comes later is had now, or refused now. */
            planned = true
            options.onPlan?.(facts)
            reserve(capi.runtime, facts.memory.kv + facts.memory.work + SLACK_BYTES, facts.memory.total)
          }
        }
        if (want.length > 0) {
          const source = sources[want.file]
          if (source === undefined)
            throw new NookError('internal', `The engine asked for file ${want.file} of ${sources.length}.`)
          /* Straight into the engine's memory; it cannot grow before the next call into C. */
          const reading = source.readInto(capi.memory.window(want.destination, want.length), want.offset, want.length)
          if (reading !== undefined) await reading
        }
        if (want.finished) {
          finished = true
          return
        }
        yield { done: want.done, total: want.total }
      }
    } catch (error) {
      throw inFile(error, sources)
    } finally {
      if (!finished) capi.loadCancel(this.#context)
    }
  }

  /** Frees the model; the engine can load another. */
  unload() {
    this.#capi.unload(this.#context)
    this.#loaded = false
    this.#info = null
  }

  /* ---- Tokens -------------------------------------------------------------------------------------------------- */

  /**
   * @param {string | Uint8Array | Span[]} input text, raw bytes, or pieces of text
   * @param {{special?: boolean | undefined, addSpecial?: boolean | undefined}} [options] special: parse control tokens in a
   *   plain text or bytes
   *        (default false); addSpecial: BOS and the like, as the file says (default false)
   * @returns {Int32Array}
   */
  tokenize(input, options = {}) {
    this.#check()
    if (Array.isArray(input)) {
      const pieces = input.map((span) => encoder.encode(span.text))
      const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
      /** @type {ByteSpan[]} */
      const spans = []
      let at = 0
      pieces.forEach((piece, i) => {
        bytes.set(piece, at)
        if (piece.length > 0)
          spans.push({ start: at, length: piece.length, parse_special: input[i]?.parse_special === true })
        at += piece.length
      })
      return this.tokenizeBytes(bytes, spans, options.addSpecial === true)
    }
    const bytes = typeof input === 'string' ? encoder.encode(input) : input
    return this.tokenizeBytes(bytes, [{ start: 0, length: bytes.length, parse_special: options.special === true }],
      options.addSpecial === true)
  }

  /**
   * @param {Uint8Array} bytes UTF-8
   * @param {ByteSpan[]} spans over the bytes, ascending
   * @param {boolean} addSpecial
   * @returns {Int32Array}
   */
  tokenizeBytes(bytes, spans, addSpecial) {
    this.#check()
    return this.#capi.tokenize(this.#context, bytes, spans, addSpecial ? TOKENIZE_ADD_SPECIAL : 0)
  }

  /**
   * @param {ArrayLike<number>} ids
   * @param {{special?: boolean | undefined}} [options] special: control tokens by their text instead of nothing
   * @returns {Uint8Array<ArrayBuffer>} bytes, maybe not UTF-8
   */
  detokenize(ids, options = {}) {
    this.#check()
    return this.#capi.detokenize(this.#context, ids, options.special === true)
  }

  /* ---- Evaluation ---------------------------------------------------------------------------------------------- */

  /**
   * Evaluates ids. Each step yields the rows that are new: -log p of the next token (output "nll", float64 [rows]), else
   * logits, hidden states or, with the last step, the text's vector (float32 [rows, columns], a window that lives until
   * the next step).
   * @param {ArrayLike<number>} ids
   * @param {EvalOptions} [options]
   * @returns {Generator<Step & {first: number, rows: number, columns: number, values: Float32Array | null, nll:
   *   Float64Array | null}, void>}
   */
  *eval(ids, options = {}) {
    this.#check()
    const capi = this.#capi
    capi.evalBegin(this.#context, ids, defined(options))
    try {
      for (;;) {
        const step = capi.evalStep(this.#context)
        this.steps++
        yield {
          done: step.done, total: step.total, first: step.first, rows: step.rows, columns: step.columns,
          values: step.values === 0 ? null : capi.memory.floats(step.values, step.rows * step.columns),
          nll: step.nll === 0 ? null : capi.memory.doubles(step.nll, step.rows).slice(),
        }
        if (step.finished) return
      }
    } finally {
      capi.evalEnd(this.#context)
    }
  }

  /**
   * Log-probabilities of continuations; the prompt is evaluated once.
   * @param {ArrayLike<number>} prompt
   * @param {ArrayLike<number>[]} choices
   * @returns {Generator<Step, {logprob: number, tokens: number}[]>}
   */
  *choices(prompt, choices) {
    this.#check()
    const capi = this.#capi
    capi.choicesBegin(this.#context, prompt, choices)
    try {
      for (;;) {
        const step = capi.choicesStep(this.#context)
        this.steps++
        if (step.finished) return capi.result(this.#context).choices
        yield { done: step.done, total: step.total }
      }
    } finally {
      capi.choicesEnd(this.#context)
    }
  }

  /**
   * The prompt and the choices in tokens, so that each whole text is tokenized as it would be alone: where a choice changes
   * the last tokens of the prompt, those belong to every choice.
   * @param {Uint8Array} prompt @param {ByteSpan[]} spans @param {string[]} choices @param {boolean} addSpecial
   * @returns {{prompt: Int32Array, choices: Int32Array[]}}
   */
  tokenizeChoices(prompt, spans, choices, addSpecial) {
    const wholes = choices.map((choice) => {
      const tail = encoder.encode(choice)
      const bytes = new Uint8Array(prompt.length + tail.length)
      bytes.set(prompt)
      bytes.set(tail, prompt.length)
      const last = spans[spans.length - 1]
      /* A choice behind untrusted text belongs to that span, so that the pre-tokenizer sees no difference either way. */
      const all = [...spans, { start: prompt.length, length: tail.length, parse_special: false }]
      return this.tokenizeBytes(
        bytes,
        last === undefined ? [{ start: 0, length: bytes.length, parse_special: false }] : all,
        addSpecial,
      )
    })
    const alone = this.tokenizeBytes(prompt, spans, addSpecial)
    let common = alone.length
    for (const whole of wholes) {
      let same = 0
      while (same < common && same < whole.length && whole[same] === alone[same]) same++
      common = same
    }
    const empty = choices.findIndex((_, i) => /** @type {Int32Array} */ (wholes[i]).length <= common)
    if (empty >= 0)
      throw new NookError('data', `Choice ${empty} ("${choices[empty]}") has no token of its own.`, {
        hint: 'Give texts that are not empty.',
      })
    if (common === 0)
      throw new NookError('data', 'There is no prompt before the choices.', {
        hint: 'Give a prompt of at least one token.',
      })
    return { prompt: alone.slice(0, common), choices: wholes.map((whole) => whole.slice(common)) }
  }

  /* ---- Generation ---------------------------------------------------------------------------------------------- */

  /**
   * Generates. Yields an event a step; returns nook_result when finished.
   * @param {ArrayLike<number>} ids the prompt
   * @param {object} [options] as nook_generate_begin takes them
   * @returns {Generator<{type: 'prefill', done: number, total: number} | {type: 'token', token: number, text: string,
   *   logprob: number} |
   *                     {type: 'shift', dropped: number} | {type: 'step'}, any>} step: a piece of the work for one token
   */
  *generate(ids, options = {}) {
    this.#check()
    const capi = this.#capi
    capi.generateBegin(this.#context, ids, options)
    let ended = false
    try {
      for (;;) {
        const event = capi.generateStep(this.#context)
        this.steps++
        switch (event.type) {
          case 0: yield { type: 'prefill', done: event.done, total: event.total }; break
          case 1: yield { type: 'token', token: event.token, text: event.text, logprob: event.logprob }; break
          case 2: yield { type: 'shift', dropped: event.dropped }; break
          case 4: yield { type: 'step' }; break
          case 3: {
            const result = { ...capi.result(this.#context), tail: event.text }
            ended = true
            capi.generateEnd(this.#context)
            return result
          }
          default: throw new NookError('internal', `The engine gave an event of the unknown type ${event.type}.`)
        }
      }
    } finally {
      if (!ended) capi.generateEnd(this.#context)
    }
  }

  /** Forgets the KV cache. */
  clear() {
    this.#capi.sessionClear(this.#context)
  }

  /* ---- Hashing ------------------------------------------------------------------------------------------------- */

  /** An incremental SHA-256 in this engine's memory. @returns {import('./cache/store.js').Hasher} */
  hasher() {
    return hasherOf(this.#capi)
  }

  /** Stops the helper threads and frees everything. Idempotent. */
  dispose() {
    if (this.#disposed) return
    this.#disposed = true
    this.#loaded = false
    try {
      this.#capi.threadsStop(this.#context)
    } finally {
      stopThreads(this.#capi.runtime)
    }
  }

  #check() {
    if (this.#disposed) throw new NookError('data', 'This engine was disposed.')
    if (!this.#loaded) throw new NookError('data', 'No model is loaded.', { hint: 'Load one first.' })
  }
}

/**
 * What is wrong with the content of a file, with the file's name.
 * @param {unknown} error @param {FileSource[]} sources
 * @returns {unknown}
 */
function inFile(error, sources) {
  const name = sources[0]?.name ?? ''
  if (!(error instanceof NookError) || (error.code !== 'format' && error.code !== 'unsupported')) return error
  if (name === '' || sources.some((source) => error.message.includes(source.name))) return error
  const more = sources.length > 1 ? ` and ${sources.length - 1} more` : ''
  return new NookError(error.code, `${name}${more}: ${error.message}`, { cause: error, hint: error.hint })
}

/** @param {Capi} capi @returns {import('./cache/store.js').Hasher} */
function hasherOf(capi) {
  const room = 65536
  let state = capi.sha256Create()
  const at = capi.c['nook_reserve']?.(room) >>> 0
  if (at === 0) throw new NookError('memory', 'The engine has no memory for a hash.')
  return {
    update(view) {
      for (let done = 0; done < view.length; done += room) {
        const piece = view.subarray(done, Math.min(view.length, done + room))
        capi.memory.window(at, piece.length).set(piece)
        capi.sha256Update(state, at, piece.length)
      }
    },
    digest: () => capi.sha256Digest(state),
    reset() {
      capi.sha256Destroy(state)
      state = capi.sha256Create()
    },
    free() {
      if (state !== 0) {
        capi.sha256Destroy(state)
        capi.c['nook_release']?.(at)
      }
      state = 0
    },
  }
}

/**
 * A hasher factory in a small instance of its own, for files that are hashed before or without a model.
 * @param {{wasmUrl?: string | URL | undefined, name?: string}} options
 * @param {import('./loader.js').LoaderHost} host
 * @returns {Promise<() => import('./cache/store.js').Hasher>}
 */
export async function createHasher(options, host) {
  const compiled = await compile(options.name ?? 'base', host, options.wasmUrl)
  const capi = new Capi(await instantiate(compiled, { maximumBytes: 64 * 1048576 }))
  return () => hasherOf(capi)
}

/** @template {object} T @param {T} options @returns {Partial<T>} without what is undefined */
function defined(options) {
  return /** @type {Partial<T>} */ (Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)))
}
