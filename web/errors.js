/*
 * errors.js: the one error class of the shim.
 *
 * Purpose  Every failure that a caller of Nook sees is a NookError: `code` for programs, `message` (what and where) and
 *          `hint` (what to do) for people. Codes come from the engine (src/core/status.h) and from the shim (abort,
 *          download, quota).
 * Format   toObject() gives the plain {name, code, message, hint} that crosses workers; fromObject() makes the error of it
 *          again.
 */

/** The codes that a NookError can carry. */
export const ERROR_CODES = /** @type {const} */ ([
  'abort', 'busy', 'download', 'hash', 'quota', 'memory', 'format', 'unsupported', 'template', 'grammar', 'context_full',
  'adapter_mismatch', 'data', 'internal',
])

/** @typedef {typeof ERROR_CODES[number]} ErrorCode */

export class NookError extends Error {
  /**
   * @param {ErrorCode} code one of ERROR_CODES
   * @param {string} message one sentence: what and where
   * @param {{hint?: string, cause?: unknown}} [more] hint: what to do
   */
  constructor(code, message, more = {}) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause })
    this.name = 'NookError'
    /** @type {ErrorCode} */
    this.code = code
    /** @type {string} */
    this.hint = more.hint ?? ''
  }

  /** The plain form that a worker posts. @returns {{name: string, code: ErrorCode, message: string, hint: string}} */
  toObject() {
    return { name: this.name, code: this.code, message: this.message, hint: this.hint }
  }

  /**
   * @param {{code?: string, message?: string, hint?: string}} object what toObject() gave
   * @returns {NookError}
   */
  static fromObject(object) {
    const code = ERROR_CODES.find((known) => known === object.code) ?? 'internal'
    return new NookError(code, String(object.message ?? 'no message'), { hint: object.hint ?? '' })
  }

  /**
   * Any thrown value as a NookError; an unknown one is `internal`, a running out of memory is `memory`.
   * @param {unknown} error
   * @returns {NookError}
   */
  static from(error) {
    if (error instanceof NookError) return error
    const e = /** @type {{name?: string, message?: string}} */ (error instanceof Error ? error : { message: String(error) })
    if (e.name === 'AbortError') return new NookError('abort', 'The call was aborted.', { cause: error })
    if (e.name === 'QuotaExceededError') {
      return new NookError('quota', 'The browser grants no more storage to this page.',
        { cause: error, hint: 'Delete a cached model, or load with cache: "memory".' })
    }
    if (error instanceof RangeError && /memory|allocation|array buffer/i.test(e.message ?? '')) {
      return new NookError('memory', `The host has no more memory: ${e.message}.`,
        { cause: error, hint: 'Close other pages or programs, or take a smaller model or context.' })
    }
    return new NookError('internal', e.message ?? String(error), { cause: error })
  }
}

/**
 * The error of an aborted call.
 * @param {string} what e.g. "The generation"
 * @param {unknown} [reason] the signal's reason
 */
export function aborted(what, reason) {
  return new NookError('abort', `${what} was aborted.`, reason === undefined ? {} : { cause: reason })
}

/**
 * Refuses keys that an option object must not have, naming the first of them.
 * @param {object} options
 * @param {readonly string[]} known
 * @param {string} where e.g. "load"
 */
export function checkKeys(options, known, where) {
  if (options === null || typeof options !== 'object' || Array.isArray(options)) {
    throw new NookError('data', `${where} takes one object of options.`)
  }
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      throw new NookError('data', `${where} has no option "${key}".`, { hint: `It takes: ${known.join(', ')}.` })
    }
  }
}
