/*
 * store.js: the cache of model files, over any storage that can hold files (opfs.js in browsers, fs.js in Node).
 *
 * Purpose  A file is downloaded once: to a temporary name, hashed while it arrives, renamed when it is whole and right. A
 *          broken download goes on from its last byte. A second tab or process waits for the first instead of writing too.
 * Format   Per file, KEY = "sha-" + its hash where that is known beforehand, else "url-" + the hash of its address:
 *            KEY.part  KEY.part.json {url, etag, bytes}                        a download under way or broken
 *            KEY.gguf  KEY.json {url, name, bytes, sha256, etag, saved, verified, used?, headerSha256?}   a whole file
 *          KEY.json is written last: a KEY.gguf without it is not valid and is removed. A kill at any moment leaves one of
 *          these.
 * Limits   A file without a known hash is not looked up again on its server once it is kept: delete it to have it anew.
 */
import { NookError, aborted } from '../errors.js'
import { openUrl, StreamReader } from '../sources/fetch.js'
import { baseName } from '../sources/source.js'

/** Bytes between two flushes of a download: what a power cut can cost. */
const FLUSH_BYTES = 16 * 1048576
const CHUNK_BYTES = 1048576
const RETRIES = 3

/**
 * A file opened for writing. Calls are synchronous where the storage is.
 * @typedef {object} WriteFile
 * @property {number} size bytes at opening
 * @property {(view: Uint8Array, at: number) => number} read bytes read
 * @property {(view: Uint8Array, at: number) => void} write whole or throws
 * @property {(size: number) => void} truncate
 * @property {() => void} flush
 * @property {() => void} close
 */
/**
 * @typedef {object} Storage
 * @property {string} where for sentences, e.g. "this browser"
 * @property {<T>(name: string, use: () => Promise<T>, signal?: AbortSignal) => Promise<T>} lock one holder among all tabs
 * or processes
 * @property {(name: string) => Promise<WriteFile>} openWrite creates it when missing
 * @property {(name: string) => Promise<import('../sources/source.js').FileSource>} openSource
 * @property {(name: string) => Promise<number>} sizeOf -1 when missing
 * @property {(name: string) => Promise<any>} readJson null when missing or broken
 * @property {(name: string, value: object) => Promise<void>} writeJson all or nothing
 * @property {(from: string, to: string) => Promise<void>} rename
 * @property {(name: string) => Promise<void>} remove missing is fine
 * @property {() => Promise<string[]>} list
 * @property {() => Promise<{used: number, granted: number | null}>} space granted: null when the host does not tell
 */
/** @typedef {{update: (view: Uint8Array) => void, digest: () => string, reset: () => void, free: () => void}} Hasher */
/** @typedef {{phase: string, file: string, loaded: number, total: number}} Progress */
/**
 * @typedef {{url: string, name: string, bytes: number, sha256: string, etag: string, saved: number, verified: number,
 *            used?: number, headerSha256?: string}} Entry times in ms since 1970
 * @typedef {{url: string, sha256?: string | undefined, signal?: AbortSignal | undefined,
 *            onProgress?: ((progress: Progress) => void) | undefined}} Request
 */

export class ModelCache {
  /** @type {Storage} */ #storage
  /** @type {() => Hasher} */ #hasher

  /** @param {Storage} storage @param {() => Hasher} hasher makes an incremental SHA-256 */
  constructor(storage, hasher) {
    this.#storage = storage
    this.#hasher = hasher
  }

  /** The key of a file. @param {{url: string, sha256?: string | undefined}} request @returns {string} */
  key(request) {
    if (request.sha256 !== undefined) return `sha-${request.sha256.toLowerCase()}`
    const hash = this.#hasher()
    hash.update(new TextEncoder().encode(request.url))
    const key = `url-${hash.digest()}`
    hash.free()
    return key
  }

  /**
   * A whole, right file: the kept one, or downloaded now.
   * @param {Request} request
   * @returns {Promise<{key: string, entry: Entry, warm: boolean}>} warm: it was kept already
   */
  async get(request) {
    const key = this.key(request)
    return this.#storage.lock(key, async () => {
      const kept = await this.#kept(key)
      if (kept !== null) {
        await this.note(key, { used: Date.now() })
        return { key, entry: kept, warm: true }
      }
      return { key, entry: await this.#download(key, request), warm: false }
    }, request.signal)
  }

  /**
   * The kept file, never a download.
   * @param {{url: string, sha256?: string | undefined}} request
   * @returns {Promise<{key: string, entry: Entry, warm: boolean} | null>}
   */
  async peek(request) {
    const key = this.key(request)
    const entry = await this.#storage.readJson(`${key}.json`)
    if (entry === null || entry.bytes !== await this.#storage.sizeOf(`${key}.gguf`)) return null
    return { key, entry, warm: true }
  }

  /** @param {string} key @returns {Promise<import('../sources/source.js').FileSource>} */
  open(key) {
    return this.#storage.openSource(`${key}.gguf`)
  }

  /** Notes facts about a kept file. @param {string} key @param {Partial<Entry>} facts */
  async note(key, facts) {
    const entry = await this.#storage.readJson(`${key}.json`)
    if (entry !== null) await this.#storage.writeJson(`${key}.json`, { ...entry, ...facts })
  }

  /**
   * @returns {Promise<(Entry & {id: string, whole: boolean, used: number})[]>} whole files and broken downloads; used:
   *   when, ms
   */
  async list() {
    const names = await this.#storage.list()
    const entries = []
    for (const name of names) {
      const match = /^((?:sha|url)-[0-9a-f]{64})\.(gguf|part)$/.exec(name)
      if (match === null) continue
      const key = /** @type {string} */ (match[1])
      const complete = match[2] === 'gguf'
      const entry = await this.#storage.readJson(complete ? `${key}.json` : `${key}.part.json`)
      if (entry === null) continue
      entries.push({
        ...entry,
        id: key,
        name: entry.name ?? baseName(entry.url ?? key),
        whole: complete,
        used: entry.used ?? entry.saved ?? 0,
        bytes: await this.#storage.sizeOf(name),
      })
    }
    return entries
  }

  /** @param {string} key @returns {Promise<boolean>} whether there was something */
  async remove(key) {
    if (!/^(sha|url)-[0-9a-f]{64}$/.test(key)) throw new NookError('data', `"${key}" is not a key of the cache.`)
    return this.#storage.lock(key, async () => {
      const there = await this.#storage.sizeOf(`${key}.gguf`) >= 0 || await this.#storage.sizeOf(`${key}.part`) >= 0
      for (const end of ['json', 'gguf', 'part', 'part.json']) await this.#storage.remove(`${key}.${end}`)
      return there
    })
  }

  /** @returns {Promise<{files: number, bytes: number, used: number, granted: number | null}>} */
  async usage() {
    const entries = await this.list()
    const bytes = entries.reduce((sum, entry) => sum + Math.max(0, entry.bytes), 0)
    return { files: entries.length, bytes, ...await this.#storage.space() }
  }

  /**
   * Hashes a kept file again, a piece a turn, for idle time. Yields bytes read; returns whether the file is right. A wrong
   * one is removed.
   * @param {string} key
   * @returns {AsyncGenerator<number, boolean>}
   */
  async *verify(key) {
    const entry = await this.#kept(key)
    if (entry === null) return false
    const source = await this.open(key)
    const hash = this.#hasher()
    let right = false
    try {
      const buffer = new Uint8Array(CHUNK_BYTES)
      for (let at = 0; at < source.size; at += buffer.length) {
        const length = Math.min(buffer.length, source.size - at)
        await source.readInto(buffer, at, length)
        hash.update(buffer.subarray(0, length))
        yield at + length
      }
      right = hash.digest() === entry.sha256
    } finally {
      hash.free()
      await source.close()
    }
    if (right) await this.note(key, { verified: Date.now() })
    else await this.remove(key)
    return right
  }

  /** @param {string} key @returns {Promise<Entry | null>} */
  async #kept(key) {
    const size = await this.#storage.sizeOf(`${key}.gguf`)
    const entry = await this.#storage.readJson(`${key}.json`)
    if (size >= 0 && entry !== null && entry.bytes === size) return entry
    if (size >= 0 || entry !== null) {
      await this.#storage.remove(`${key}.json`)
      await this.#storage.remove(`${key}.gguf`)
    }
    return null
  }

  /** @param {string} key @param {Request} request @returns {Promise<Entry>} */
  async #download(key, request) {
    const partName = `${key}.part`
    const partFacts = await this.#storage.readJson(`${partName}.json`)
    const hash = this.#hasher()
    const file = await this.#storage.openWrite(partName)
    let whole = false
    try {
      const same = partFacts !== null && partFacts.url === request.url
      if (!same && file.size > 0) file.truncate(0)
      const start = same ? this.#rehash(file, hash, request) : 0
      const facts = await this.#stream(key, request, file, hash, { at: start, etag: same ? partFacts.etag : '' },
        same ? partFacts.bytes : -1)
      const sha256 = hash.digest()
      if (request.sha256 !== undefined && sha256 !== request.sha256.toLowerCase()) {
        throw new NookError('hash', `${baseName(request.url)} is not the published file: its SHA-256 is ${sha256}.`,
          { hint: `Expected ${request.sha256}. The download was deleted; check the address, then load again.` })
      }
      file.flush()
      whole = true
      file.close()
      await this.#storage.rename(partName, `${key}.gguf`)
      const now = Date.now()
      /** @type {Entry} */
      const entry = {
        url: request.url,
        name: baseName(request.url),
        bytes: facts.bytes,
        sha256,
        etag: facts.etag,
        saved: now,
        verified: now,
      }
      await this.#storage.writeJson(`${key}.json`, entry)
      await this.#storage.remove(`${partName}.json`)
      return entry
    } catch (error) {
      if (!whole) {
        try { file.flush() } catch { /* the failure that matters is the first */ }
        file.close()
      }
      const code = NookError.from(error).code
      if (code === 'hash' || code === 'quota') {
        await this.#storage.remove(partName)
        await this.#storage.remove(`${partName}.json`)
      }
      throw NookError.from(error)
    } finally {
      hash.free()
    }
  }

  /**
   * Hashes what a broken download left.
   * @param {WriteFile} file
   * @param {Hasher} hash
   * @param {Request} request
   * @returns {number}
   */
  #rehash(file, hash, request) {
    const buffer = new Uint8Array(CHUNK_BYTES)
    let at = 0
    while (at < file.size) {
      const got = file.read(buffer, at)
      if (got <= 0) break
      hash.update(buffer.subarray(0, got))
      at += got
      request.onProgress?.({ phase: 'resume', file: baseName(request.url), loaded: at, total: file.size })
    }
    if (at < file.size) file.truncate(at)
    return at
  }

  /**
   * Streams the rest into the file; several attempts while bytes keep coming.
   * @param {string} key @param {Request} request @param {WriteFile} file @param {Hasher} hash
   * @param {{at: number, etag: string}} from
   * @param {number} knownBytes of the whole file, -1 when not known
   * @returns {Promise<{bytes: number, etag: string}>}
   */
  async #stream(key, request, file, hash, from, knownBytes) {
    let { at, etag } = from
    let bytes = knownBytes
    let failures = 0
    const name = baseName(request.url)
    while (bytes < 0 || at < bytes) {
      const before = at
      /** @type {StreamReader | null} */
      let reader = null
      try {
        const opened = await openUrl(request.url, at, {
          etag,
          ...(request.signal === undefined ? {} : { signal: request.signal }),
        })
        reader = new StreamReader(opened.body)
        const changed = at > 0 && (opened.offset !== at || (bytes >= 0 && opened.size >= 0 && opened.size !== bytes) ||
          (etag !== '' && opened.etag !== '' && opened.etag !== etag))
        if (changed) {
          /* No ranges here, or another file than the part belongs to: from the beginning. */
          await reader.cancel()
          at = 0
          bytes = -1
          etag = ''
          file.truncate(0)
          hash.reset()
          if (opened.offset !== 0) continue
          const again = await openUrl(request.url, 0, request.signal === undefined ? {} : { signal: request.signal })
          reader = new StreamReader(again.body)
          bytes = again.size
          etag = again.etag
        } else {
          bytes = opened.size
          etag = opened.etag
        }
        await this.#room(bytes, at)
        await this.#storage.writeJson(`${key}.part.json`, { url: request.url, name, etag, bytes })
        request.onProgress?.({ phase: 'download', file: name, loaded: at, total: bytes })
        let flushed = at
        for (let piece = await reader.next(); piece !== null; piece = await reader.next()) {
          if (request.signal?.aborted === true) throw aborted('The download', request.signal.reason)
          file.write(piece, at)
          hash.update(piece)
          at += piece.length
          if (at - flushed >= FLUSH_BYTES) {
            file.flush()
            flushed = at
          }
          request.onProgress?.({ phase: 'download', file: name, loaded: at, total: bytes })
        }
        if (bytes < 0) bytes = at
        if (at < bytes) throw new TypeError('the connection ended early')
        if (at > bytes)
          throw new NookError('download', `${name} has more bytes than its server said.`, { hint: 'Load again.' })
      } catch (error) {
        await reader?.cancel()
        if (request.signal?.aborted === true) throw aborted('The download', request.signal.reason)
        const known = NookError.from(error)
        if (known.code === 'quota' || (error instanceof NookError && at === before && failures === 0)) throw known
        failures = at > before ? 1 : failures + 1
        if (failures > RETRIES) {
          throw new NookError(
            'download',
            `The connection broke at byte ${at}${bytes > 0 ? ` of ${bytes}` : ''} of ${name}.`,
            { cause: error, hint: 'What has arrived is kept: load again and it goes on from there.' },
          )
        }
      }
    }
    return { bytes: at, etag }
  }

  /** Fails before the download when the file cannot fit. @param {number} bytes @param {number} have */
  async #room(bytes, have) {
    if (bytes < 0) return
    const { used, granted } = await this.#storage.space()
    if (granted !== null && bytes - have > granted - used) {
      throw new NookError('quota',
        `The file needs ${bytes - have} bytes and ${this.#storage.where} has ${Math.max(0, granted - used)} left for it.`,
        { hint: 'Delete a kept model, or load with cache: "memory".' })
    }
  }
}
