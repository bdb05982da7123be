/*
 * opfs.js: the browser's own file system (OPFS) as a storage of the cache. Dedicated workers only.
 *
 * Format   Folder "nook-cache" at the root of this origin's OPFS; names as in store.js.
 * Limits   Pages of the same origin share it. The browser may clear it when space runs low, unless storage was persisted.
 *          Locks are Web Locks ("nook-cache:KEY"), so two tabs never write one file. Where a file is open in another tab
 *          and the browser knows no read-only handles, it is read as a Blob.
 */
import { NookError } from '../errors.js'
import { BlobSource } from '../sources/blob.js'
import { OpfsSource } from '../sources/opfs.js'

const FOLDER = 'nook-cache'

/** Why OPFS cannot be used here, or null. @returns {string | null} */
export function opfsMissing() {
  const scope = /** @type {any} */ (globalThis)
  if (scope.navigator?.storage?.getDirectory === undefined) {
    return scope.isSecureContext === false
      ? 'the page has no secure address (https or localhost)'
      : 'this browser has no private file system'
  }
  if (typeof scope.FileSystemFileHandle?.prototype?.createSyncAccessHandle !== 'function') {
    return 'this browser has no synchronous file handles'
  }
  return null
}

/** @typedef {import('./store.js').Storage} Storage */

/** @implements {Storage} */
export class OpfsStorage {
  /** @type {any} a FileSystemDirectoryHandle */ #folder
  where = 'this browser'

  /** @returns {Promise<OpfsStorage>} */
  static async open() {
    const missing = opfsMissing()
    if (missing !== null)
      throw new NookError('quota', `Nothing can be kept: ${missing}.`, { hint: 'Load with cache: "memory".' })
    try {
      const root = await navigator.storage.getDirectory()
      return new OpfsStorage(await root.getDirectoryHandle(FOLDER, { create: true }))
    } catch (error) {
      /* Private windows of some browsers have the API and refuse its use. */
      throw new NookError('quota', `Nothing can be kept: ${/** @type {Error} */ (error).message}.`, {
        cause: error,
        hint: 'Load with cache: "memory".',
      })
    }
  }

  /** @param {any} folder */
  constructor(folder) {
    this.#folder = folder
  }

  /** @template T @param {string} name @param {() => Promise<T>} use @param {AbortSignal} [signal] @returns {Promise<T>} */
  async lock(name, use, signal) {
    if (navigator.locks === undefined) return use()
    return navigator.locks.request(`${FOLDER}:${name}`, signal === undefined ? {} : { signal }, use)
  }

  /** @param {string} name @returns {Promise<import('./store.js').WriteFile>} */
  async openWrite(name) {
    const handle = await this.#folder.getFileHandle(name, { create: true })
    let file
    try {
      file = await handle.createSyncAccessHandle()
    } catch (error) {
      throw new NookError('busy', `${name} is being written by another tab.`, {
        cause: error,
        hint: 'Wait for the other tab, or close it.',
      })
    }
    return {
      size: file.getSize(),
      read: (view, at) => file.read(view, { at }),
      write: (view, at) => {
        let done = 0
        while (done < view.length) {
          const put = file.write(done === 0 ? view : view.subarray(done), { at: at + done })
          if (put <= 0)
            throw new NookError('quota', 'The browser grants no more storage to this page.', {
              hint: 'Delete a kept model.',
            })
          done += put
        }
      },
      truncate: (size) => file.truncate(size),
      flush: () => file.flush(),
      close: () => file.close(),
    }
  }

  /** @param {string} name */
  async openSource(name) {
    const handle = await this.#folder.getFileHandle(name)
    try {
      return new OpfsSource(await handle.createSyncAccessHandle({ mode: 'read-only' }), name)
    } catch {
      return new BlobSource(await handle.getFile(), name)
    }
  }

  /** @param {string} name */
  async sizeOf(name) {
    try {
      return (await (await this.#folder.getFileHandle(name)).getFile()).size
    } catch (error) {
      if (/** @type {Error} */ (error).name === 'NotFoundError') return -1
      throw error
    }
  }

  /** @param {string} name */
  async readJson(name) {
    try {
      return JSON.parse(await (await (await this.#folder.getFileHandle(name)).getFile()).text())
    } catch {
      return null
    }
  }

  /** @param {string} name @param {object} value */
  async writeJson(name, value) {
    const file = await this.openWrite(name)
    try {
      /* A cut-off write is no JSON, and counts as missing. */
      const bytes = new TextEncoder().encode(JSON.stringify(value))
      file.truncate(0)
      file.write(bytes, 0)
      file.flush()
    } finally {
      file.close()
    }
  }

  /** @param {string} from @param {string} to */
  async rename(from, to) {
    const handle = await this.#folder.getFileHandle(from)
    if (typeof handle.move === 'function') {
      await handle.move(to)
      return
    }
    /* No move in this browser: copy through one buffer. */
    const source = await this.openSource(from)
    const target = await this.openWrite(to)
    try {
      target.truncate(0)
      const buffer = new Uint8Array(1048576)
      for (let at = 0; at < source.size; at += buffer.length) {
        const length = Math.min(buffer.length, source.size - at)
        await source.readInto(buffer, at, length)
        target.write(buffer.subarray(0, length), at)
      }
      target.flush()
    } finally {
      target.close()
      await source.close()
    }
    await this.remove(from)
  }

  /** @param {string} name */
  async remove(name) {
    try {
      await this.#folder.removeEntry(name)
    } catch (error) {
      const kind = /** @type {Error} */ (error).name
      if (kind === 'NotFoundError') return
      if (kind === 'NoModificationAllowedError') {
        throw new NookError('busy', `${name} is open in another tab.`, { cause: error, hint: 'Close the other tab first.' })
      }
      throw error
    }
  }

  async list() {
    const names = []
    for await (const name of this.#folder.keys()) names.push(String(name))
    return names.sort()
  }

  async space() {
    const estimate = await navigator.storage.estimate()
    return { used: estimate.usage ?? 0, granted: estimate.quota ?? null }
  }
}
