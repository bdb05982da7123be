/*
 * capi.js: the third ring. The functions of src/nook.h one to one: same names in camel case, same order of arguments.
 *
 * Purpose  Marshals arguments, checks every status, and throws a NookError made of nook_error() where C says no. Nothing
 *          here knows what a chat or a file is.
 * Limits   Calls on one context are made by one thread. Returned windows into the memory live until the next call.
 */
import { NookError, ERROR_CODES } from './errors.js'
import { Memory, Struct } from './memory.js'

/** @typedef {import('./loader.js').Runtime} Runtime */

/**
 * What nook_load_step wants next.
 * @typedef {{offset: number, done: number, total: number, destination: number, length: number, file: number,
 *            finished: boolean}} Want
 * One step of an evaluation; addresses are 0 when there is none.
 * @typedef {{values: number, columns: number, nll: number, first: number, rows: number, done: number, total: number,
 *            finished: boolean}} Rows
 * One step of a generation. type: 0 prefill, 1 token, 2 shift, 3 done, 4 a piece of a token's work.
 * @typedef {{type: number, token: number, text: string, logprob: number, done: number, total: number,
 *            dropped: number}} GenerateEvent
 * @typedef {{start: number, length: number, parse_special: boolean}} ByteSpan
 * One step of a conversion: what is wanted, and what is to be written first.
 * @typedef {Want & {output: number, outputBytes: number}} ConvertStep
 */

export const TOKENIZE_ADD_SPECIAL = 1

/* Every function that this file calls; a build that lacks one is refused at once, by name. */
const NAMES = [
  'nook_create', 'nook_destroy', 'nook_error', 'nook_constants', 'nook_reserve', 'nook_release', 'nook_load_begin',
  'nook_load_step', 'nook_load_cancel', 'nook_unload', 'nook_info', 'nook_tokenize', 'nook_detokenize', 'nook_eval_begin',
  'nook_eval_step', 'nook_eval_end', 'nook_choices_begin', 'nook_choices_step', 'nook_choices_end', 'nook_generate_begin',
  'nook_generate_step', 'nook_generate_end', 'nook_result', 'nook_session_clear', 'nook_sha256_create',
  'nook_sha256_update', 'nook_sha256_digest', 'nook_sha256_destroy', 'nook_threads_stop', 'nook_convert_begin',
  'nook_convert_step', 'nook_convert_end',
]

export class Capi {
  /** @param {Runtime} runtime */
  constructor(runtime) {
    const missing = NAMES.find((name) => typeof runtime.exports[name] !== 'function')
    if (missing !== undefined) {
      throw new NookError('internal', `This build of the engine does not export ${missing}.`, { hint: 'Build it again.' })
    }
    this.runtime = runtime
    /** @type {Record<string, (...args: any[]) => any>} */
    this.c = runtime.exports
    this.memory = new Memory(runtime.memory, { malloc: this.#c('nook_reserve'), free: this.#c('nook_release') })
    /** Facts of the build. @type {any} */
    this.constants = this.#readConstants()
    const structs = this.constants.structs ?? {}
    this.want = new Struct(this.memory, structs.nook_want, 'nook_want')
    this.rows = new Struct(this.memory, structs.nook_rows, 'nook_rows')
    this.event = new Struct(this.memory, structs.nook_event, 'nook_event')
    this.span = new Struct(this.memory, structs.nook_span, 'nook_span')
    this.conversion = new Struct(this.memory, structs.nook_conversion, 'nook_conversion')
    /* Where steps write their answer: had once, so that no step allocates. */
    this.wantAt = this.fixed(this.want.size)
    this.rowsAt = this.fixed(this.rows.size)
    this.eventAt = this.fixed(this.event.size)
    this.conversionAt = this.fixed(this.conversion.size)
    /** Status number to code. @type {Map<number, string>} */
    this.codes = new Map(Object.entries(this.constants.status ?? {}).map(([code, number]) => [Number(number), code]))
  }

  /** @returns {any} */
  #readConstants() {
    const address = this.#c('nook_constants')() >>> 0
    if (address === 0) throw new NookError('memory', 'The engine has no memory to start.')
    try {
      return this.#json(address, 'nook_constants')
    } finally {
      this.#c('nook_release')(address)
    }
  }

  /** @param {number} bytes @returns {number} an address that lives as long as the instance */
  fixed(bytes) {
    const address = this.#c('nook_reserve')(bytes) >>> 0
    if (address === 0) throw new NookError('memory', 'The engine has no memory to start.')
    return address
  }

  /** @param {string} name @returns {(...args: any[]) => any} */
  #c(name) {
    return /** @type {(...args: any[]) => any} */ (this.runtime.exports[name])
  }

  /**
   * Calls a function that returns nk_status.
   * @param {number} context
   * @param {string} name
   * @param {...(number | bigint)} args behind the context
   */
  checked(context, name, ...args) {
    let status
    try {
      status = this.#c(name)(context, ...args)
    } catch (error) {
      if (!(error instanceof WebAssembly.RuntimeError)) throw error
      throw new NookError('internal', `The engine stopped in ${name}: ${error.message}.`,
        { cause: error, hint: 'Dispose of this model and load it again; please report what you did.' })
    }
    if (status !== 0) throw this.errorOf(context, status)
  }

  /**
   * The failure that the context remembers.
   * @param {number} context
   * @param {number} status
   * @returns {NookError}
   */
  errorOf(context, status) {
    const code = this.codes.get(status) ?? 'internal'
    /** @type {{message?: string, hint?: string}} */
    let said = {}
    try {
      said = JSON.parse(this.memory.string(this.#c('nook_error')(context) >>> 0) || '{}')
    } catch { /* a sentence that is no JSON is a bug of C; the code still tells */ }
    const known = ERROR_CODES.find((one) => one === code) ?? 'internal'
    return new NookError(known, sentence(said.message ?? `the engine failed (${code})`), { hint: said.hint ?? '' })
  }

  /* ---- Context ------------------------------------------------------------------------------------------------- */

  /** @param {{isa?: string, threads?: number}} options @returns {number} the context */
  create(options) {
    return this.memory.withString(JSON.stringify(options), (text) => this.memory.scratch(4, (statusAt) => {
      const context = this.#c('nook_create')(text, statusAt) >>> 0
      const status = this.memory.view().getUint32(statusAt, true)
      if (context === 0) throw new NookError('memory', 'The engine has no memory for a context.')
      if (status !== 0) {
        const error = this.errorOf(context, status)
        this.#c('nook_destroy')(context)
        throw error
      }
      return context
    }))
  }

  /** @param {number} context */
  destroy(context) {
    this.#c('nook_destroy')(context)
  }

  /** @param {number} context */
  threadsStop(context) {
    this.#c('nook_threads_stop')(context)
  }

  /* ---- Loading ------------------------------------------------------------------------------------------------- */

  /** @param {number} context @param {object} options */
  loadBegin(context, options) {
    this.memory.withString(JSON.stringify(options), (text) => this.checked(context, 'nook_load_begin', text))
  }

  /** @param {number} context @returns {Want} */
  loadStep(context) {
    const w = this.want
    const at = this.wantAt
    this.memory.window(at, w.size).fill(0)
    this.checked(context, 'nook_load_step', at)
    return {
      offset: w.get(at, 'offset'), done: w.get(at, 'done'), total: w.get(at, 'total'),
      destination: w.get(at, 'destination'), length: w.get(at, 'length'), file: w.get(at, 'file'),
      finished: w.get(at, 'finished') !== 0,
    }
  }

  /** @param {number} context */
  loadCancel(context) {
    this.#c('nook_load_cancel')(context)
  }

  /** @param {number} context */
  unload(context) {
    this.#c('nook_unload')(context)
  }

  /** @param {number} context @returns {any} */
  info(context) {
    return this.#json(this.#c('nook_info')(context) >>> 0, 'nook_info')
  }

  /* ---- Tokens -------------------------------------------------------------------------------------------------- */

  /**
   * @param {number} context
   * @param {Uint8Array} text UTF-8
   * @param {ByteSpan[]} spans over the bytes of the text
   * @param {number} flags
   * @returns {Int32Array}
   */
  tokenize(context, text, spans, flags) {
    const s = this.span
    return this.memory.withBytes(text, (textAt, bytes) =>
      this.memory.scratch(s.size * spans.length, (spansAt) => this.memory.scratch(8, (out) => {
        spans.forEach((span, i) => {
          const at = spansAt + i * s.size
          s.set(at, 'start', span.start)
          s.set(at, 'length', span.length)
          s.set(at, 'parse_special', span.parse_special ? 1 : 0)
        })
        this.checked(context, 'nook_tokenize', textAt, bytes, spansAt, spans.length, flags, out, out + 4)
        const view = this.memory.view()
        return this.memory.idsCopy(view.getUint32(out, true), view.getUint32(out + 4, true))
      })))
  }

  /**
   * @param {number} context
   * @param {ArrayLike<number>} ids
   * @param {boolean} special control tokens by their text instead of nothing
   * @returns {Uint8Array<ArrayBuffer>} bytes, maybe not UTF-8
   */
  detokenize(context, ids, special) {
    return this.memory.withNumbers(ids, (idsAt, count) => this.memory.scratch(8, (out) => {
      this.checked(context, 'nook_detokenize', idsAt, count, special ? 1 : 0, out, out + 4)
      const view = this.memory.view()
      return this.memory.bytesCopy(view.getUint32(out, true), view.getUint32(out + 4, true))
    }))
  }

  /* ---- Evaluation ---------------------------------------------------------------------------------------------- */

  /** @param {number} context @param {ArrayLike<number>} ids @param {object} options */
  evalBegin(context, ids, options) {
    this.memory.withString(JSON.stringify(options), (text) =>
      this.memory.withNumbers(ids, (at, count) => this.checked(context, 'nook_eval_begin', at, count, text)))
  }

  /** @param {number} context @returns {Rows} */
  evalStep(context) {
    return this.#rowsStep(context, 'nook_eval_step')
  }

  /** @param {number} context */
  evalEnd(context) {
    this.#c('nook_eval_end')(context)
  }

  /** @param {number} context @param {ArrayLike<number>} ids @param {ArrayLike<number>[]} choices */
  choicesBegin(context, ids, choices) {
    const starts = [0]
    /** @type {number[]} */
    const all = []
    for (const choice of choices) {
      all.push(...Array.from(choice))
      starts.push(all.length)
    }
    this.memory.withNumbers(ids, (idsAt, count) => this.memory.withNumbers(all, (allAt) =>
      this.memory.withNumbers(starts, (startsAt) =>
        this.checked(context, 'nook_choices_begin', idsAt, count, allAt, startsAt, choices.length))))
  }

  /** @param {number} context @returns {Rows} */
  choicesStep(context) {
    return this.#rowsStep(context, 'nook_choices_step')
  }

  /** @param {number} context */
  choicesEnd(context) {
    this.#c('nook_choices_end')(context)
  }

  /** @param {number} context @param {string} name @returns {Rows} */
  #rowsStep(context, name) {
    const r = this.rows
    const at = this.rowsAt
    this.memory.window(at, r.size).fill(0)
    this.checked(context, name, at)
    return {
      values: r.get(at, 'values'), columns: r.get(at, 'columns'), nll: r.get(at, 'nll'), first: r.get(at, 'first'),
      rows: r.get(at, 'n_rows'), done: r.get(at, 'done'), total: r.get(at, 'total'),
      finished: r.get(at, 'finished') !== 0,
    }
  }

  /* ---- Generation ---------------------------------------------------------------------------------------------- */

  /** @param {number} context @param {ArrayLike<number>} ids @param {object} options */
  generateBegin(context, ids, options) {
    this.memory.withString(JSON.stringify(options), (text) =>
      this.memory.withNumbers(ids, (at, count) => this.checked(context, 'nook_generate_begin', at, count, text)))
  }

  /** @param {number} context @returns {GenerateEvent} */
  generateStep(context) {
    const e = this.event
    const at = this.eventAt
    this.memory.window(at, e.size).fill(0)
    this.checked(context, 'nook_generate_step', at)
    return {
      type: e.get(at, 'type'), token: e.get(at, 'token'),
      text: this.memory.text(e.get(at, 'text'), e.get(at, 'text_bytes')), logprob: e.get(at, 'logprob'),
      done: e.get(at, 'done'), total: e.get(at, 'total'), dropped: e.get(at, 'dropped'),
    }
  }

  /** @param {number} context */
  generateEnd(context) {
    this.#c('nook_generate_end')(context)
  }

  /** @param {number} context @returns {any} */
  result(context) {
    return this.#json(this.#c('nook_result')(context) >>> 0, 'nook_result')
  }

  /** @param {number} context */
  sessionClear(context) {
    this.#c('nook_session_clear')(context)
  }

  /* ---- Converting ---------------------------------------------------------------------------------------------- */

  /** @param {number} context @param {object} options */
  convertBegin(context, options) {
    this.memory.withString(JSON.stringify(options), (text) => this.checked(context, 'nook_convert_begin', text))
  }

  /** @param {number} context @returns {ConvertStep} */
  convertStep(context) {
    const s = this.conversion
    const at = this.conversionAt
    this.checked(context, 'nook_convert_step', at)
    return {
      offset: s.get(at, 'offset'), done: s.get(at, 'done'), total: s.get(at, 'total'),
      destination: s.get(at, 'destination'), length: s.get(at, 'length'), file: s.get(at, 'file'),
      finished: s.get(at, 'finished') !== 0, output: s.get(at, 'output'), outputBytes: s.get(at, 'output_bytes'),
    }
  }

  /** @param {number} context */
  convertEnd(context) {
    this.#c('nook_convert_end')(context)
  }

  /* ---- Hashing ------------------------------------------------------------------------------------------------- */

  /** @returns {number} the state */
  sha256Create() {
    const state = this.#c('nook_sha256_create')() >>> 0
    if (state === 0) throw new NookError('memory', 'The engine has no memory for a hash.')
    return state
  }

  /** @param {number} state @param {number} address @param {number} length bytes */
  sha256Update(state, address, length) {
    this.#c('nook_sha256_update')(state, address, length)
  }

  /** @param {number} state @returns {string} 64 hexadecimal digits */
  sha256Digest(state) {
    return this.memory.scratch(32, (at) => {
      this.#c('nook_sha256_digest')(state, at)
      return Array.from(this.memory.window(at, 32), (byte) => byte.toString(16).padStart(2, '0')).join('')
    })
  }

  /** @param {number} state */
  sha256Destroy(state) {
    this.#c('nook_sha256_destroy')(state)
  }

  /** @param {number} address @param {string} what @returns {any} */
  #json(address, what) {
    const text = this.memory.string(address)
    try {
      return JSON.parse(text)
    } catch (error) {
      throw new NookError('internal', `${what} gave no JSON: ${text.slice(0, 80)}.`, { cause: error })
    }
  }
}

/**
 * C says "what is wrong with what", so that it can be put behind a place; alone it becomes a sentence.
 * @param {string} text
 */
function sentence(text) {
  const whole = `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`
  return /[.!?]$/.test(whole) ? whole : `${whole}.`
}
