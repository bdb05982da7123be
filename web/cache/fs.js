/*
 * fs.js: a folder on disk as a storage of the cache, in Node.
 *
 * Format   Names as in store.js. Default folder: the folder "files" in $NOOK_CACHE, else in "nook" of the user's cache
 *          folder. A lock is a file KEY.lock that holds the process id; one that a dead process left is taken over.
 */
import * as fs from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { NookError, aborted } from '../errors.js'
import { FsSource } from '../sources/fs.js'

/** The folder used when none is named. @param {NodeJS.ProcessEnv} [env] @param {string} [platform] @returns {string} */
export function defaultFolder(env = process.env, platform = process.platform) {
  if (env['NOOK_CACHE']) return join(env['NOOK_CACHE'], 'files')
  if (platform === 'darwin') return join(homedir(), 'Library', 'Caches', 'nook', 'files')
  if (platform === 'win32') return join(env['LOCALAPPDATA'] ?? join(homedir(), 'AppData', 'Local'), 'nook', 'files')
  return join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'nook', 'files')
}

/** @param {unknown} error @param {string} path @returns {NookError} */
function failure(error, path) {
  const { code, message } = /** @type {NodeJS.ErrnoException} */ (error)
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new NookError('quota', `The disk is full at ${path}.`, {
      cause: error,
      hint: 'Free some space, or load with cache: "memory".',
    })
  }
  return new NookError('data', `${path}: ${message}.`, {
    cause: error,
    hint: 'Check the folder, or name another by NOOK_CACHE.',
  })
}

/** @typedef {import('./store.js').Storage} Storage */

/** @implements {Storage} */
export class FsStorage {
  where = 'this disk'

  /** @param {string} [folder] */
  constructor(folder = defaultFolder()) {
    this.folder = folder
    try {
      fs.mkdirSync(folder, { recursive: true })
    } catch (error) {
      throw failure(error, folder)
    }
  }

  /** @param {string} name */
  #path(name) {
    return join(this.folder, name)
  }

  /** @template T @param {string} name @param {() => Promise<T>} use @param {AbortSignal} [signal] @returns {Promise<T>} */
  async lock(name, use, signal) {
    const path = this.#path(`${name}.lock`)
    for (;;) {
      if (signal?.aborted === true) throw aborted('The wait for another process', signal.reason)
      try {
        fs.writeFileSync(path, String(process.pid), { flag: 'wx' })
        break
      } catch (error) {
        if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw failure(error, path)
        if (this.#deadHolder(path)) fs.rmSync(path, { force: true })
        else await new Promise((resolve) => { setTimeout(resolve, 100) })
      }
    }
    try {
      return await use()
    } finally {
      fs.rmSync(path, { force: true })
    }
  }

  /** @param {string} path @returns {boolean} */
  #deadHolder(path) {
    try {
      const pid = Number(fs.readFileSync(path, 'utf8'))
      if (!Number.isInteger(pid) || pid <= 0) return Date.now() - fs.statSync(path).mtimeMs > 10000
      process.kill(pid, 0)
      return false
    } catch (error) {
      return /** @type {NodeJS.ErrnoException} */ (error).code === 'ESRCH'
    }
  }

  /** @param {string} name @returns {Promise<import('./store.js').WriteFile>} */
  async openWrite(name) {
    const path = this.#path(name)
    const file = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o644)
    let open = true
    return {
      size: fs.fstatSync(file).size,
      read: (view, at) => fs.readSync(file, view, 0, view.length, at),
      write: (view, at) => {
        try {
          for (let done = 0; done < view.length;) done += fs.writeSync(file, view, done, view.length - done, at + done)
        } catch (error) {
          throw failure(error, path)
        }
      },
      truncate: (size) => fs.ftruncateSync(file, size),
      flush: () => fs.fsyncSync(file),
      close: () => {
        if (open) fs.closeSync(file)
        open = false
      },
    }
  }

  /** @param {string} name @returns {Promise<import('../sources/source.js').FileSource>} */
  async openSource(name) {
    return new FsSource(this.#path(name))
  }

  /** @param {string} name */
  async sizeOf(name) {
    return fs.statSync(this.#path(name), { throwIfNoEntry: false })?.size ?? -1
  }

  /** @param {string} name */
  async readJson(name) {
    try {
      return JSON.parse(fs.readFileSync(this.#path(name), 'utf8'))
    } catch {
      return null
    }
  }

  /** @param {string} name @param {object} value */
  async writeJson(name, value) {
    const path = this.#path(name)
    const temporary = `${path}.${process.pid}.new`
    try {
      fs.writeFileSync(temporary, JSON.stringify(value), { flush: true })
      fs.renameSync(temporary, path)
    } catch (error) {
      fs.rmSync(temporary, { force: true })
      throw failure(error, path)
    }
  }

  /** @param {string} from @param {string} to */
  async rename(from, to) {
    fs.renameSync(this.#path(from), this.#path(to))
  }

  /** @param {string} name */
  async remove(name) {
    fs.rmSync(this.#path(name), { force: true })
  }

  async list() {
    return fs.readdirSync(this.folder).sort()
  }

  async space() {
    const facts = fs.statfsSync(this.folder)
    const free = facts.bavail * facts.bsize
    return { used: 0, granted: free }
  }
}
