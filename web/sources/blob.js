/*
 * blob.js: a Blob or File as a source. What a person picked or dropped; in Node also fs.openAsBlob.
 *
 * Limits   Reading is asynchronous. Small reads are gathered: one slice of CHUNK_BYTES is kept and answers the reads inside
 *          it.
 */
import { NookError } from '../errors.js'
import { tooShort } from './source.js'

const CHUNK_BYTES = 1048576

/** @typedef {import('./source.js').FileSource} FileSource */

/** @implements {FileSource} */
export class BlobSource {
  /** @type {Blob} */ #blob
  /** @type {Uint8Array} */ #chunk = new Uint8Array(0)
  #chunkAt = 0

  /** @param {Blob} blob @param {string} [name] */
  constructor(blob, name) {
    this.#blob = blob
    this.name = name ?? /** @type {{name?: string}} */ (blob).name ?? 'the dropped file'
    this.size = blob.size
  }

  /** @param {Uint8Array} view @param {number} offset @param {number} length @returns {Promise<void>} */
  async readInto(view, offset, length) {
    if (offset + length > this.size) throw tooShort(this.name, offset, length, this.size)
    let done = 0
    while (done < length) {
      const at = offset + done
      let inside = at - this.#chunkAt
      if (inside < 0 || inside >= this.#chunk.length) {
        this.#chunk = await this.#slice(at, Math.min(this.size, at + CHUNK_BYTES))
        this.#chunkAt = at
        inside = 0
      }
      const here = Math.min(length - done, this.#chunk.length - inside)
      view.set(this.#chunk.subarray(inside, inside + here), done)
      done += here
    }
  }

  /** @param {number} start @param {number} end @returns {Promise<Uint8Array>} */
  async #slice(start, end) {
    let bytes
    try {
      bytes = new Uint8Array(await this.#blob.slice(start, end).arrayBuffer())
    } catch (error) {
      throw new NookError('data', `${this.name} can no longer be read: ${/** @type {Error} */ (error).message}.`,
        { cause: error, hint: 'Pick the file again; it was moved, changed or its medium removed.' })
    }
    if (bytes.length !== end - start) throw tooShort(this.name, start, end - start, start + bytes.length)
    return bytes
  }

  close() {
    this.#chunk = new Uint8Array(0)
  }
}
