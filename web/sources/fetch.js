/*
 * fetch.js: a file behind a URL as a source, streamed.
 *
 * Purpose  One request is opened from byte 0 and read in order, which is what loading a model does. Where the wanted offset
 *          is not where the stream stands, the gap is read over when it is small, else a new Range request is made. After a
 *          broken connection the stream goes on from the same byte, three times, as long as the file stays the same (ETag
 *          or size).
 * Memory   The file is never whole in memory: a byte reader with one reused buffer where the browser has it, else the chunk
 *          at hand.
 * Limits   Going back needs a server with Range support; without it, only forward. A server that does not tell the length
 *          cannot be read this way (the cache can: it stores first).
 */
import { NookError, aborted } from '../errors.js'
import { baseName, tooShort } from './source.js'

const BUFFER_BYTES = 262144
const SKIP_BYTES = 1048576
const RETRIES = 3

/**
 * @typedef {{body: ReadableStream<Uint8Array>, size: number, ranges: boolean, etag: string, offset: number}} Opened
 */

/**
 * Opens a URL at a byte.
 * @param {string} url
 * @param {number} offset
 * @param {{signal?: AbortSignal, etag?: string}} [options] etag: of the beginning; another file is then an error
 * @returns {Promise<Opened>} size is -1 when the server does not tell; offset is where the body starts (0 without Range
 *   support)
 */
export async function openUrl(url, offset, options = {}) {
  const { signal } = options
  /** @type {Record<string, string>} */
  const headers = { Range: `bytes=${offset}-` }
  if (offset > 0 && options.etag !== undefined && options.etag !== '' && !options.etag.startsWith('W/')) {
    headers['If-Range'] = options.etag
  }
  let response
  try {
    response = await fetch(url, { headers, ...(signal === undefined ? {} : { signal }) })
  } catch (error) {
    if (signal?.aborted === true) throw aborted('The download', signal.reason)
    throw unreachable(url, error)
  }
  const etag = response.headers.get('etag') ?? ''
  if (response.status === 416) {
    await response.body?.cancel()
    throw new NookError('download', `${baseName(url)}: the server has no byte ${offset} (it answered 416).`,
      { hint: 'The file changed on the server: delete the part in the cache and load again.' })
  }
  if (!response.ok || response.body === null) {
    await response.body?.cancel()
    throw new NookError(
      'download',
      `${url} was answered with ${response.status} ${response.statusText}.`.replace(' .', '.'),
      {
        hint:
          response.status === 404
            ? 'Check the address.'
            : response.status === 401 || response.status === 403
              ? 'The server does not let this page have the file.'
              : 'Try again later.',
      },
    )
  }
  if (response.status === 206) {
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get('content-range') ?? '')
    if (range !== null && Number(range[1]) === offset) {
      const size = range[2] === '*' ? -1 : Number(range[2])
      return { body: response.body, size, ranges: true, etag, offset }
    }
    /* The header is hidden from pages of another origin unless exposed: the length of the rest still tells. */
    const length = response.headers.get('content-length')
    return { body: response.body, size: length === null ? -1 : offset + Number(length), ranges: true, etag, offset }
  }
  const length = response.headers.get('content-encoding') === null ? response.headers.get('content-length') : null
  return { body: response.body, size: length === null ? -1 : Number(length), ranges: false, etag, offset: 0 }
}

/** @param {string} url @param {unknown} error @returns {NookError} */
function unreachable(url, error) {
  const navigator = /** @type {{navigator?: {onLine?: boolean}}} */ (globalThis).navigator
  const offline = navigator?.onLine === false
  const why = /** @type {{cause?: {code?: string, message?: string}}} */ (error).cause
  const detail = why?.code ?? why?.message
  return new NookError('download', offline
    ? `You are offline, and ${baseName(url)} is not kept on this machine yet.`
    : `${url} cannot be reached${detail === undefined ? '' : ` (${detail})`}.`,
  {
    cause: error,
    hint: offline ? 'Connect once, or give a .gguf file.'
      : 'Check the connection and the address; the server must allow this page to read the file (CORS).',
  })
}

/** Reads a stream into views of the caller, through one reused buffer where the stream has a byte reader. */
export class StreamReader {
  /** @type {ReadableStreamBYOBReader | null} */ #byob = null
  /** @type {ReadableStreamDefaultReader<Uint8Array> | null} */ #plain = null
  /** @type {Uint8Array} */ #chunk = new Uint8Array(0)
  /** @type {ArrayBuffer} */ #buffer = new ArrayBuffer(0)

  /** @param {ReadableStream<Uint8Array>} stream */
  constructor(stream) {
    try {
      this.#byob = stream.getReader({ mode: 'byob' })
      this.#buffer = new ArrayBuffer(BUFFER_BYTES)
    } catch {
      this.#plain = stream.getReader()
    }
  }

  /**
   * The next bytes, at least one; null at the end. Valid until the next call.
   * @param {number} [most]
   * @returns {Promise<Uint8Array | null>}
   */
  async next(most = Infinity) {
    if (this.#chunk.length === 0) {
      if (this.#byob !== null) {
        const { done, value } = await this.#byob.read(new Uint8Array(this.#buffer, 0, this.#buffer.byteLength))
        if (value !== undefined) this.#buffer = value.buffer
        if (done || value === undefined) return null
        this.#chunk = value
      } else {
        do {
          const { done, value } = await /** @type {ReadableStreamDefaultReader<Uint8Array>} */ (this.#plain).read()
          if (done) return null
          this.#chunk = value
        } while (this.#chunk.length === 0)
      }
    }
    const piece = this.#chunk.subarray(0, Math.min(most, this.#chunk.length))
    this.#chunk = this.#chunk.subarray(piece.length)
    return piece
  }

  /** Lets the connection go. */
  async cancel() {
    this.#chunk = new Uint8Array(0)
    try {
      await (this.#byob ?? this.#plain)?.cancel()
    } catch { /* a broken stream cannot be cancelled, and need not be */ }
  }
}

/** @typedef {import('./source.js').FileSource} FileSource */

/** @implements {FileSource} */
export class FetchSource {
  /** @type {Opened} */ #opened
  /** @type {StreamReader} */ #reader
  /** @type {AbortSignal | undefined} */ #signal
  #position

  /**
   * @param {string} url
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<FetchSource>}
   */
  static async open(url, options = {}) {
    const opened = await openUrl(url, 0, options)
    if (opened.size < 0) {
      await opened.body.cancel()
      throw new NookError('download', `${url}: the server does not tell the length of the file.`,
        { hint: 'Load with the cache on (it stores the file first), or download the file and give it as a file.' })
    }
    return new FetchSource(url, opened, options.signal)
  }

  /** @param {string} url @param {Opened} opened @param {AbortSignal} [signal] */
  constructor(url, opened, signal) {
    this.url = url
    this.name = baseName(url)
    this.size = opened.size
    this.#opened = opened
    this.#signal = signal
    this.#reader = new StreamReader(opened.body)
    this.#position = opened.offset
  }

  /** @param {Uint8Array} view @param {number} offset @param {number} length @returns {Promise<void>} */
  async readInto(view, offset, length) {
    if (offset + length > this.size) throw tooShort(this.name, offset, length, this.size)
    let failures = 0
    let done = 0
    while (done < length) {
      try {
        await this.#seek(offset + done)
        const piece = await this.#reader.next(length - done)
        if (piece === null) throw new TypeError('the connection ended early')
        view.set(piece, done)
        done += piece.length
        this.#position += piece.length
      } catch (error) {
        if (this.#signal?.aborted === true) throw aborted('The download', this.#signal.reason)
        if (error instanceof NookError && failures === 0) throw error
        if (++failures > RETRIES || !this.#opened.ranges) {
          throw new NookError('download', `The connection broke at byte ${offset + done} of ${this.name}.`,
            { cause: error, hint: 'Load again; with the cache on, it goes on from there.' })
        }
        this.#position = -1
      }
    }
  }

  /** @param {number} offset */
  async #seek(offset) {
    const gap = offset - this.#position
    const reachable = this.#position >= 0 && gap >= 0 && (gap <= SKIP_BYTES || !this.#opened.ranges)
    if (!reachable) {
      if (!this.#opened.ranges && offset !== 0 && this.#position >= 0) {
        throw new NookError('download', `${this.name}: the server cannot give a part of the file.`,
          { hint: 'Load with the cache on, or download the file and give it as a file.' })
      }
      await this.#reader.cancel()
      const opened = await openUrl(this.url, offset, {
        etag: this.#opened.etag, ...(this.#signal === undefined ? {} : { signal: this.#signal }),
      })
      if ((opened.size >= 0 && opened.size !== this.size) || opened.etag !== this.#opened.etag) {
        await opened.body.cancel()
        throw new NookError('download', `${this.name} changed on the server while it was read.`, { hint: 'Load again.' })
      }
      this.#opened = { ...opened, ranges: opened.ranges || this.#opened.ranges }
      this.#reader = new StreamReader(opened.body)
      this.#position = opened.offset
    }
    while (this.#position < offset) {
      const piece = await this.#reader.next(offset - this.#position)
      if (piece === null) throw new TypeError('the connection ended early')
      this.#position += piece.length
    }
  }

  async close() {
    await this.#reader.cancel()
  }
}
