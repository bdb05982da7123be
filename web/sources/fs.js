/*
 * fs.js: a file on disk as a source, in Node. Reads go at once into the engine's memory.
 */
import { openSync, readSync, closeSync, fstatSync } from 'node:fs'
import { NookError } from '../errors.js'
import { tooShort } from './source.js'

/** @typedef {import('./source.js').FileSource} FileSource */

/** @implements {FileSource} */
export class FsSource {
  /** @type {number} */ #file = -1

  /** @param {string} path */
  constructor(path) {
    this.name = path
    try {
      this.#file = openSync(path, 'r')
      const facts = fstatSync(this.#file)
      if (!facts.isFile())
        throw Object.assign(new Error('it is not a file'), { code: facts.isDirectory() ? 'EISDIR' : 'ENOTFILE' })
      this.size = facts.size
    } catch (error) {
      this.close()
      throw openError(path, /** @type {NodeJS.ErrnoException} */ (error))
    }
  }

  /** @param {Uint8Array} view @param {number} offset @param {number} length @returns {void} */
  readInto(view, offset, length) {
    if (offset + length > this.size) throw tooShort(this.name, offset, length, this.size)
    let done = 0
    while (done < length) {
      let got
      try {
        got = readSync(this.#file, view, done, length - done, offset + done)
      } catch (error) {
        throw new NookError('data', `${this.name} cannot be read: ${/** @type {Error} */ (error).message}.`, {
          cause: error,
        })
      }
      if (got === 0) throw tooShort(this.name, offset, length, offset + done)
      done += got
    }
  }

  close() {
    if (this.#file >= 0) closeSync(this.#file)
    this.#file = -1
  }
}

/** @param {string} path @param {NodeJS.ErrnoException} error @returns {NookError} */
export function openError(path, error) {
  const cause = { cause: error }
  switch (error.code) {
    case 'ENOENT':
      return new NookError('data', `There is no file ${path}.`, {
        ...cause,
        hint: 'Check the path; the default model comes by `npm run setup`.',
      })
    case 'EISDIR':
      return new NookError('data', `${path} is a folder, not a GGUF file.`, {
        ...cause,
        hint: 'Name the .gguf file inside it.',
      })
    case 'EACCES': case 'EPERM':
      return new NookError('data', `${path} may not be read by this user.`, { ...cause, hint: 'Change its permissions.' })
    default:
      return new NookError('data', `${path} cannot be opened: ${error.message}.`, cause)
  }
}
