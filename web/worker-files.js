/*
 * worker-files.js: the fifth ring. From what a model is named by to files that can be read: addresses through the cache,
 * paths, blobs.
 *
 * Limits   What the browser grants no room for is streamed and not kept, with a warning.
 */
import { NookError } from './errors.js'
import { BlobSource } from './sources/blob.js'
import { FetchSource } from './sources/fetch.js'
import { baseName } from './sources/source.js'

/** @typedef {import('./sources/source.js').FileSource} FileSource */
/** @typedef {import('./cache/store.js').ModelCache} ModelCache */
/** @typedef {import('./worker-core.js').ModelFiles} ModelFiles */
/**
 * What of the worker it takes.
 * @typedef {{host: import('./platform/browser.js').Host, signal: AbortSignal, event: (event: object) => void,
 *            openCache: (kind: string | undefined, folder: string | undefined, wasmUrl: string | undefined) =>
 *            Promise<ModelCache | null>}} Tools
 */

/**
 * Opens the files of a model.
 * @param {{model: ModelFiles, options: any}} args @param {string[]} warnings is added to
 * @param {boolean} planOnly nothing is fetched into the cache
 * @param {Tools} tools
 * @returns {Promise<{sources: FileSource[], kept: {key: string, entry: any, warm: boolean}[], cache: ModelCache | null,
 *   hashes: (string | undefined)[]}>}
 */
export async function openFiles(args, warnings, planOnly, tools) {
  const { model, options } = args
  const { signal } = tools
  /** @type {FileSource[]} */
  const sources = []
  /** @type {{key: string, entry: any, warm: boolean}[]} */
  const kept = []
  /** @type {(string | undefined)[]} */
  const hashes = []
  /** @type {ModelCache | null} */
  let cache = null
  const warn = (/** @type {string} */ message, /** @type {string} */ file) => {
    warnings.push(message)
    tools.event({ type: 'progress', phase: 'warning', file, loaded: 0, total: 0, message })
  }
  try {
    if (model.files.some((file) => 'url' in file) && options.cache !== 'memory') {
      try {
        cache = await tools.openCache(options.cache, options.cacheFolder, options.wasmUrl)
      } catch (error) {
        const known = NookError.from(error)
        if (known.code !== 'quota') throw known
        warn(`${known.message} The model is loaded into memory and not kept.`, '')
      }
    }
    for (const [i, file] of model.files.entries()) {
      const sha256 = model.sha256?.[i]
      if ('path' in file) sources.push(tools.host.openPath(file.path))
      else if ('blob' in file) sources.push(new BlobSource(file.blob, file.name))
      else {
        if (cache !== null) {
          try {
            const onProgress = (/** @type {object} */ progress) => tools.event({ type: 'progress', ...progress })
            const held = planOnly
              ? await cache.peek({ url: file.url, sha256 })
              : await cache.get({ url: file.url, sha256, signal, onProgress })
            if (held !== null) {
              kept.push(held)
              sources.push(await cache.open(held.key))
              hashes.push(undefined) /* checked while it arrived */
              continue
            }
          } catch (error) {
            const known = NookError.from(error)
            if (known.code !== 'quota') throw known
            warn(`${known.message} The model is loaded into memory and not kept.`, baseName(file.url))
          }
        }
        sources.push(await FetchSource.open(file.url, { signal }))
      }
      hashes.push(sha256)
    }
    return { sources, kept, cache, hashes }
  } catch (error) {
    await Promise.allSettled(sources.map((source) => source.close()))
    throw error
  }
}
