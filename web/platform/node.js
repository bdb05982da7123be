/*
 * node.js: what Node brings to the engine. Used inside the worker thread.
 *
 * Relaxed SIMD is behind a flag of V8 in Node 20: it is switched on here before anything compiles. The flag belongs to the
 * process; set in a worker thread it takes effect there as well (tried with Node 20.20). Where it does not, the probe
 * says no and the base build runs.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import v8 from 'node:v8'
import { Worker } from 'node:worker_threads'
import { NookError } from '../errors.js'
import { ModelCache } from '../cache/store.js'
import { FsStorage } from '../cache/fs.js'
import { FsSource } from '../sources/fs.js'

let prepared = false

/**
 * A file's bytes, in the buffer of a WebAssembly.Memory: that comes from the system and goes back to it. A Buffer of some
 * hundred KiB comes from malloc, and glibc takes its release as a sign that every thread should keep as much for later:
 * 1 to 2 MB, for good.
 * @param {string} path
 * @returns {Uint8Array<ArrayBuffer>}
 */
function readWhole(path) {
  const file = openSync(path, 'r')
  try {
    const { size } = fstatSync(file)
    const { buffer } = new WebAssembly.Memory({ initial: Math.ceil(size / 65536) })
    const bytes = new Uint8Array(buffer, 0, size)
    for (let done = 0; done < size;) {
      const got = readSync(file, bytes, done, size - done, done)
      if (got === 0) throw new Error('it became shorter while it was read')
      done += got
    }
    return bytes
  } finally {
    closeSync(file)
  }
}

/** @type {import('./browser.js').Host} */
export const nodeHost = {
  name: 'node',
  prepare() {
    if (prepared) return
    prepared = true
    const major = Number(process.versions.node.split('.')[0])
    if (major < 22) v8.setFlagsFromString('--experimental-wasm-relaxed-simd')
  },
  parallelism: () => availableParallelism(),
  async readBytes(url) {
    const address = String(url)
    if (/^https?:/.test(address)) {
      const response = await fetch(address).catch((error) => {
        throw new NookError('download', `The engine cannot be reached at ${address}.`, {
          cause: error,
          hint: 'Check wasmUrl.',
        })
      })
      if (!response.ok)
        throw new NookError('download', `The engine at ${address} was answered with ${response.status}.`, {
          hint: 'Check wasmUrl.',
        })
      return response.arrayBuffer()
    }
    const path = address.startsWith('file:') ? fileURLToPath(address) : address
    try {
      return readWhole(path)
    } catch (error) {
      throw new NookError('internal', `The engine is missing: ${path}.`, {
        cause: error,
        hint: 'Run `npm run setup`, which builds it.',
      })
    }
  },
  spawnThread(url) {
    const worker = new Worker(url instanceof URL ? url : new URL(String(url)), { name: 'nook-thread', execArgv: [] })
    return {
      post: (message) => worker.postMessage(message),
      listen(listener, failed) {
        worker.on('message', listener)
        worker.on('error', failed)
      },
      terminate: () => void worker.terminate(),
    }
  },
  async cache(kind, folder, hasher) {
    if (kind === 'memory') return null
    if (kind === 'opfs')
      throw new NookError('data', 'cache: "opfs" is for browsers.', { hint: 'Use "fs" or "memory" in Node.' })
    return new ModelCache(new FsStorage(folder), hasher)
  },
  openPath: (path) => new FsSource(path),
}
