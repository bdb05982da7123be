/*
 * connection.js: what lies between a client and its worker: one connection with its calls under way, and streams of events.
 */
import { NookError, aborted } from './errors.js'

/**
 * @typedef {{post: (message: unknown, transfer?: ArrayBuffer[]) => void,
 *            listen: (listener: (message: any) => void, failed: (error: unknown) => void) => void,
 *            hold: (busy: boolean) => void, terminate: () => void | Promise<unknown>}} WorkerPort hold: whether the process
 *            must stay
 * @typedef {{resolve: (result: any) => void, reject: (error: NookError) => void, onEvent: (event: any) => void}} Waiting
 */

/** @param {number} [bytes] @returns {string} random hexadecimal digits */
export function randomId(bytes = 8) {
  return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/**
 * @param {{signal?: AbortSignal | undefined, abortSignal?: AbortSignal | undefined}} options
 * @returns {AbortSignal | undefined}
 */
export function signalOf(options) {
  const signal = options.signal ?? options.abortSignal
  if (signal !== undefined && typeof signal?.addEventListener !== 'function') {
    throw new NookError('data', 'signal is not an AbortSignal.', { hint: 'Pass controller.signal.' })
  }
  return signal
}

/** @param {AbortSignal | undefined} signal @returns {AbortController} aborted with it */
export function linked(signal) {
  const controller = new AbortController()
  if (signal?.aborted === true) controller.abort(signal.reason)
  else signal?.addEventListener('abort', () => controller.abort(signal.reason), { once: true })
  return controller
}

/** Messages to one worker and its answers. */
export class Connection {
  /** @type {WorkerPort} */ #port
  /** @type {Map<string, Waiting>} */ #waiting = new Map()
  #prefix = randomId()
  #count = 0
  /** @type {NookError | null} */ #dead = null
  /** Events of the worker itself. @type {(event: any) => void} */
  onEvent = () => {}

  /** @param {WorkerPort} port */
  constructor(port) {
    this.#port = port
    port.hold(false)
    port.listen(
      (message) => this.#receive(message),
      (error) => {
        this.#fail(
          new NookError('internal', `The worker stopped: ${error instanceof Error ? error.message : String(error)}.`, {
            cause: error,
            hint: "Load the model again. If it never starts, check workerUrl and the page's Content-Security-Policy.",
          }),
        )
      },
    )
  }

  /**
   * @param {string} type of the message
   * @param {object} args
   * @param {{signal?: AbortSignal | undefined, onEvent?: (event: any) => void, what?: string, transfer?: ArrayBuffer[]}}
   *   [options]
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
        resolve: (result) => {
          done()
          resolve(result)
        },
        reject: (error) => {
          done()
          reject(
            error.code === 'abort' && signal?.aborted === true ? aborted(options.what ?? 'The call', signal.reason) : error,
          )
        },
        onEvent: options.onEvent ?? (() => {}),
      })
      this.#port.hold(true)
      signal?.addEventListener('abort', abort, { once: true })
      try {
        this.#port.post({ type, id, args }, options.transfer)
      } catch (error) {
        this.#waiting
          .get(id)
          ?.reject(
            new NookError(
              'data',
              `The arguments of ${type} cannot be passed to the worker: ${/** @type {Error} */ (error).message}.`,
              { cause: error, hint: 'In Node, give the path of a file rather than a Blob of it.' },
            ),
          )
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
        waiting.reject(
          error instanceof NookError
            ? error
            : new NookError('data', `onProgress threw: ${/** @type {Error} */ (error).message}.`, { cause: error }),
        )
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
export class Stream {
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
