/*
 * browser.js: what a browser brings to the engine. Used inside the worker.
 */
import { NookError } from '../errors.js'
import { ModelCache } from '../cache/store.js'
import { OpfsStorage } from '../cache/opfs.js'
import { workerAddress } from '../trusted.js'

/**
 * @typedef {import('../loader.js').LoaderHost & {cache: (kind: string | undefined, folder: string | undefined, hasher: ()
 *   => import('../cache/store.js').Hasher) => Promise<ModelCache | null>, openPath: (path: string) =>
 *   import('../sources/source.js').FileSource}} Host
 */

/** @type {Host} */
export const browserHost = {
  name: 'browser',
  prepare() { /* nothing to switch on */ },
  parallelism: () => globalThis.navigator?.hardwareConcurrency ?? 1,
  async readBytes(url) {
    let response
    try {
      response = await fetch(url)
    } catch (error) {
      throw new NookError('download', `The engine cannot be reached at ${String(url)}.`, {
        cause: error,
        hint: 'Check wasmUrl and the connection.',
      })
    }
    if (!response.ok) {
      throw new NookError('download', `The engine at ${String(url)} was answered with ${response.status}.`, {
        hint: 'Check wasmUrl, or run the build.',
      })
    }
    return response.arrayBuffer()
  },
  spawnThread(url) {
    const worker = new Worker(workerAddress(url), { type: 'module', name: 'nook-thread' })
    return {
      post: (message) => worker.postMessage(message),
      listen(listener, failed) {
        worker.onmessage = (event) => listener(event.data)
        worker.onerror = (event) => failed(event.message ?? 'it did not start')
      },
      terminate: () => worker.terminate(),
    }
  },
  async cache(kind, _folder, hasher) {
    if (kind === 'memory') return null
    if (kind === 'fs')
      throw new NookError('data', 'cache: "fs" is for Node.', { hint: 'Use "opfs" or "memory" in a browser.' })
    return new ModelCache(await OpfsStorage.open(), hasher)
  },
  openPath(path) {
    throw new NookError('data', `A browser cannot open the path ${path}.`, { hint: 'Give a URL or a File.' })
  },
}
