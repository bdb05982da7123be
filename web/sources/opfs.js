/*
 * opfs.js: a file of the browser's own file system (OPFS) as a source, read at once into the engine's memory.
 *
 * Limits   Only in a dedicated worker. A handle locks the file against other tabs unless the browser knows read-only
 *          handles; where the lock is taken, web/cache/opfs.js opens the file as a Blob instead. Firefox refuses shared
 *          memory as a target: then bytes go through one buffer that is kept.
 */
import { NookError } from '../errors.js'
import { tooShort } from './source.js'

/**
 * @typedef {{read: (view: Uint8Array, options: {at: number}) => number, getSize: () => number, close: () => void}}
 *   SyncHandle
 */

/** @typedef {import('./source.js').FileSource} FileSource */

/** @implements {FileSource} */
export class OpfsSource {
  /** @type {SyncHandle} */ #handle
  /** @type {Uint8Array} */ #buffer = new Uint8Array(0)
  #direct = true

  /** @param {SyncHandle} handle @param {string} name */
  constructor(handle, name) {
    this.#handle = handle
    this.name = name
    this.size = handle.getSize()
  }

  /** @param {Uint8Array} view @param {number} offset @param {number} length @returns {void} */
  readInto(view, offset, length) {
    if (offset + length > this.size) throw tooShort(this.name, offset, length, this.size)
    let done = 0
    while (done < length) {
      const got = this.#read(view.subarray(done, length), offset + done)
      if (got <= 0) throw tooShort(this.name, offset, length, offset + done)
      done += got
    }
  }

  /** @param {Uint8Array} view @param {number} at @returns {number} */
  #read(view, at) {
    if (this.#direct) {
      try {
        return this.#handle.read(view, { at })
      } catch (error) {
        if (!(error instanceof TypeError)) {
          throw new NookError('data', `${this.name} cannot be read from the browser's storage.`,
            { cause: error, hint: 'Delete it from the cache and load it again.' })
        }
        this.#direct = false
      }
    }
    const length = Math.min(view.length, 1048576)
    if (this.#buffer.length < length) this.#buffer = new Uint8Array(length)
    const window = this.#buffer.subarray(0, length)
    const got = this.#handle.read(window, { at })
    view.set(window.subarray(0, got))
    return got
  }

  close() {
    this.#handle.close()
  }
}
