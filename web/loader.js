/*
 * loader.js: the first ring. Feature probe, choice of the build, WebAssembly.Memory, instantiation, helper threads.
 *
 * Purpose  Everything that depends on how the engine was compiled is here; above this file there are only exports and a
 *          memory.
 * Builds   web/wasm/nook-{base,relaxed,base-threads,relaxed-threads}.wasm: bare modules that import their memory. `base`
 *          needs SIMD128 and runs everywhere, `relaxed` also relaxed SIMD; `-threads` also shared memory, which a browser
 *          gives only to a cross-origin isolated page (COOP and COEP headers).
 * Limits   wasm32: at most 4 GiB of memory. No eval, no Function, no blob workers, no remote code.
 */
import { NookError } from './errors.js'

export const PAGE_BYTES = 65536
/* One page below 4 GiB, so that a size in bytes fits 32 bits. */
const MAX_PAGES = 65535
/* Stack of a helper thread, bytes. */
const HELPER_STACK_BYTES = 262144

/* One tiny module per feature. Each is (module (func (result v128) …)) written out; what is probed is the last opcode. */
const PROBE_SIMD = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11,
]) /* i8x16.splat */
const PROBE_RELAXED = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253,
  128, 2, 11,
]) /* i8x16.relaxed_swizzle */
const PROBE_ATOMICS = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 5, 4, 1, 3, 1, 1, 10, 11, 1, 9, 0, 65, 0, 254, 16, 2, 0, 26,
  11,
]) /* i32.atomic.load on a shared memory */

/**
 * @typedef {{ok: boolean, reason: string}} Feature one probed feature and, in words, why
 * @typedef {{simd: Feature, relaxed: Feature, threads: Feature}} Features
 * @typedef {'base' | 'relaxed'} Build
 * @typedef {{build: Build, threaded: boolean, threads: number, name: string, reasons: string[], features: Features}} Choice
 */

/**
 * What a host (browser worker, Node) must bring; web/platform/*.js implement it.
 * @typedef {object} LoaderHost
 * @property {'browser' | 'node'} name
 * @property {() => void} prepare called once before anything compiles
 * @property {() => number} parallelism logical processors
 * @property {(url: URL | string) => Promise<ArrayBuffer | Uint8Array<ArrayBuffer>>} readBytes reads a wasm file
 * @property {(url: URL | string) => ThreadPort} spawnThread starts web/thread.js
 */
/**
 * @typedef {object} ThreadPort
 * @property {(message: unknown) => void} post
 * @property {(listener: (message: any) => void, failed: (error: unknown) => void) => void} listen
 * @property {() => void} terminate
 */

/**
 * Probes what this engine of WebAssembly can do.
 * @returns {Features}
 */
export function probe() {
  const simd = WebAssembly.validate(PROBE_SIMD)
  const relaxed = WebAssembly.validate(PROBE_RELAXED)
  const scope = /** @type {{crossOriginIsolated?: boolean}} */ (globalThis)
  let threads = { ok: true, reason: 'shared memory and atomics are there' }
  if (typeof SharedArrayBuffer === 'undefined' || scope.crossOriginIsolated === false) {
    threads = { ok: false, reason: 'the page is not cross-origin isolated (its server sends no COOP and COEP headers)' }
  } else if (!WebAssembly.validate(PROBE_ATOMICS)) {
    threads = { ok: false, reason: 'this browser has no WebAssembly atomics' }
  }
  return {
    simd: { ok: simd, reason: simd ? 'SIMD is there' : 'this browser has no WebAssembly SIMD' },
    relaxed: { ok: relaxed, reason: relaxed ? 'relaxed SIMD is there' : 'this browser has no relaxed SIMD' },
    threads,
  }
}

/**
 * Picks the build for the wishes of a caller and says why.
 * @param {{build?: 'auto' | Build, threads?: 'auto' | number}} wishes
 * @param {Pick<LoaderHost, 'parallelism'>} host
 * @param {Features} [features]
 * @returns {Choice}
 */
export function choose(wishes, host, features = probe()) {
  const build = wishes.build ?? 'auto'
  const threads = wishes.threads ?? 'auto'
  if (!['auto', 'base', 'relaxed'].includes(build)) {
    throw new NookError('data', `build is "${String(build)}".`, { hint: 'It is one of auto, base, relaxed.' })
  }
  if (threads !== 'auto' && !(Number.isInteger(threads) && threads >= 1 && threads <= 64)) {
    throw new NookError('data', `threads is ${JSON.stringify(threads)}.`, {
      hint: 'It is "auto" or a whole number from 1 to 64.',
    })
  }
  if (!features.simd.ok) {
    throw new NookError('unsupported', `Nook cannot run here: ${features.simd.reason}.`, {
      hint: 'Use a browser of 2023 or later.',
    })
  }
  /** @type {string[]} */
  const reasons = []
  /** @type {Build} */
  let chosen = 'base'
  if (build === 'base') reasons.push('base: asked for')
  else if (features.relaxed.ok) {
    chosen = 'relaxed'
    reasons.push(`relaxed: ${features.relaxed.reason}`)
  } else if (build === 'relaxed') {
    throw new NookError('unsupported', `The relaxed build cannot run here: ${features.relaxed.reason}.`,
      { hint: 'Leave build at "auto".' })
  } else reasons.push(`base: ${features.relaxed.reason}`)

  let count = 1
  if (threads === 'auto') {
    const logical = Math.max(1, host.parallelism())
    /* Two logical processors of one core share its multipliers: beyond two, half of them is what helps. */
    count = features.threads.ok ? Math.min(8, logical <= 2 ? logical : Math.ceil(logical / 2)) : 1
    if (!features.threads.ok) reasons.push(`one thread: ${features.threads.reason}`)
    else reasons.push(`${count} thread${count === 1 ? '' : 's'}: ${logical} logical processors`)
  } else if (threads > 1 && !features.threads.ok) {
    reasons.push(`one thread instead of ${threads}: ${features.threads.reason}`)
  } else {
    count = threads
    reasons.push(`${count} thread${count === 1 ? '' : 's'}: asked for`)
  }
  const threaded = count > 1
  return { build: chosen, threaded, threads: count, name: `${chosen}${threaded ? '-threads' : ''}`, reasons, features }
}

/**
 * The address of a build.
 * @param {string} name e.g. "relaxed-threads"
 * @param {string | URL | undefined} wasmUrl undefined: beside this file; ends with "/": a folder with the same names;
 *        otherwise the file itself
 * @returns {URL | string}
 */
export function wasmAddress(name, wasmUrl) {
  if (wasmUrl !== undefined) {
    const text = String(wasmUrl)
    return text.endsWith('/') ? `${text}nook-${name}.wasm` : text
  }
  /* Written out so that bundlers see the files. */
  switch (name) {
    case 'base': return new URL('./wasm/nook-base.wasm', import.meta.url)
    case 'relaxed': return new URL('./wasm/nook-relaxed.wasm', import.meta.url)
    case 'base-threads': return new URL('./wasm/nook-base-threads.wasm', import.meta.url)
    case 'relaxed-threads': return new URL('./wasm/nook-relaxed-threads.wasm', import.meta.url)
    default: throw new NookError('internal', `There is no build "${name}".`)
  }
}

/**
 * A compiled build and what its file says about its memory.
 * @typedef {{module: WebAssembly.Module, initial: number, maximum: number | null, shared: boolean, bytes: number}} Compiled
 */

/**
 * Reads and compiles a build.
 * @param {string} name
 * @param {LoaderHost} host
 * @param {string | URL} [wasmUrl]
 * @returns {Promise<Compiled>}
 */
export async function compile(name, host, wasmUrl) {
  host.prepare()
  const address = wasmAddress(name, wasmUrl)
  const bytes = await host.readBytes(address)
  const limits = memoryImport(bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes))
  if (limits === null) {
    throw new NookError('format', `${String(address)} is not a build of Nook: it imports no memory.`,
      { hint: 'Check wasmUrl, or run the build again.' })
  }
  try {
    return { module: await WebAssembly.compile(bytes), bytes: bytes.byteLength, ...limits }
  } catch (error) {
    const { message } = /** @type {Error} */ (error)
    if (/Content Security Policy/i.test(message)) {
      throw new NookError('unsupported', "The Content-Security-Policy of the worker's file forbids WebAssembly.",
        { cause: error, hint: "Allow 'wasm-unsafe-eval' in its script-src." })
    }
    const hint = name === 'base' ? 'Nook needs a browser or Node with WebAssembly SIMD.' : 'Load with build: "base".'
    throw new NookError('unsupported', `${String(address)} does not compile here: ${message}.`, { cause: error, hint })
  }
}

/**
 * The limits of the memory that a module imports; null when it imports none (or is no module).
 * Format: WebAssembly core specification, section 5.5.5 (import section).
 * @param {Uint8Array} bytes
 * @returns {{initial: number, maximum: number | null, shared: boolean} | null}
 */
export function memoryImport(bytes) {
  let at = 8
  const leb = () => {
    let value = 0
    for (let shift = 0; shift < 35 && at < bytes.length; shift += 7) {
      const byte = /** @type {number} */ (bytes[at++])
      value += (byte & 127) * 2 ** shift
      if ((byte & 128) === 0) return value
    }
    return Number.NaN
  }
  while (at < bytes.length) {
    const section = bytes[at++]
    const length = leb()
    if (Number.isNaN(length)) return null
    const end = at + length
    if (section !== 2) {
      at = end
      continue
    }
    for (let left = leb(); left > 0 && at < end; left--) {
      for (let name = 0; name < 2; name++) {
        const bytesOfName = leb() /* first: leb moves `at` */
        at += bytesOfName
      }
      const kind = bytes[at++]
      if (kind === 0) leb()
      else if (kind === 1) {
        at++
        if ((leb() & 1) !== 0) { leb(); leb() } else leb()
      } else if (kind === 2) {
        const flags = leb()
        const initial = leb()
        return { initial, maximum: (flags & 1) !== 0 ? leb() : null, shared: (flags & 2) !== 0 }
      } else if (kind === 3) at += 2
      else return null
    }
    return null
  }
  return null
}

/**
 * A running instance. `threads` are its helpers; there are none until startThreads.
 * @typedef {object} Runtime
 * @property {Record<string, any>} exports
 * @property {WebAssembly.Memory} memory
 * @property {WebAssembly.Module} module
 * @property {boolean} shared
 * @property {ThreadPort[]} threads
 */

/**
 * Creates the memory and the instance.
 * @param {Compiled} compiled
 * @param {{maximumBytes?: number, log?: (line: string) => void}} [options] maximumBytes: the most that the memory may grow
 *   to;
 *        a shared memory reserves address space for it at once, so it is sized from the files; default 4 GiB
 * @returns {Promise<Runtime>}
 */
export async function instantiate(compiled, options = {}) {
  const ceiling = compiled.maximum ?? MAX_PAGES
  const wanted = options.maximumBytes === undefined ? ceiling : Math.ceil(options.maximumBytes / PAGE_BYTES)
  const maximum = Math.max(compiled.initial, Math.min(ceiling, wanted, MAX_PAGES))
  let memory
  try {
    memory = new WebAssembly.Memory({ initial: compiled.initial, maximum, shared: compiled.shared })
  } catch (error) {
    throw new NookError('memory', `The host gives no WebAssembly memory of up to ${mebibytes(maximum * PAGE_BYTES)}.`,
      { cause: error, hint: 'Close other pages, or load with threads: 1.' })
  }
  let instance
  try {
    instance = await WebAssembly.instantiate(compiled.module, { env: { memory } })
  } catch (error) {
    throw new NookError('internal', `The engine does not start: ${/** @type {Error} */ (error).message}.`, {
      cause: error,
      hint: 'Run the build again.',
    })
  }
  const exports = /** @type {Record<string, any>} */ (instance.exports)
  if (typeof exports._initialize === 'function') exports._initialize()
  return { exports, memory, module: compiled.module, shared: compiled.shared, threads: [] }
}

/**
 * Grows the memory so that `bytes` more can be had, now, rather than failing in the middle of a load.
 * @param {Runtime} runtime
 * @param {number} bytes
 * @param {number} whole of the plan, for the sentence
 */
export function reserve(runtime, bytes, whole) {
  const missing = Math.ceil(bytes / PAGE_BYTES)
  if (missing <= 0) return
  try {
    runtime.memory.grow(missing)
  } catch (error) {
    throw new NookError('memory', `The model needs ${mebibytes(whole)} of memory and this host does not give it.`,
      { cause: error, hint: 'Take a smaller model or a smaller contextSize, or close other pages.' })
  }
}

/** @param {number} bytes */
export function mebibytes(bytes) {
  return `${(bytes / 1048576).toFixed(bytes < 104857600 ? 1 : 0)} MiB`
}

/* ---- Helper threads (docs/wasm-threads.md) ------------------------------------------------------------------------- */

/**
 * Starts threads 1 … count − 1 over a runtime with shared memory, and waits until each stands in nook_thread_main.
 * @param {Runtime} runtime
 * @param {number} context nook_context
 * @param {number} count threads in all
 * @param {LoaderHost} host
 * @param {URL | string} [threadUrl] default: web/thread.js beside this file
 */
export async function startThreads(runtime, context, count, host, threadUrl) {
  if (count <= 1) return
  const { exports } = runtime
  const alignedTls = Math.ceil(exports['__tls_size'].value / 64) * 64
  const started = []
  for (let index = 1; index < count; index++) {
    const block = exports['nook_reserve'](alignedTls + HELPER_STACK_BYTES) >>> 0
    if (block === 0)
      throw new NookError('memory', `The engine has no memory for thread ${index}.`, { hint: 'Load with fewer threads.' })
    const tls = Math.ceil(block / 64) * 64
    const top = Math.floor((block + alignedTls + HELPER_STACK_BYTES) / 16) * 16
    const port = host.spawnThread(threadUrl ?? new URL('./thread.js', import.meta.url))
    runtime.threads.push(port)
    started.push(new Promise((resolve, reject) => {
      port.listen(
        (message) => {
          if (message?.type === 'ready') resolve(undefined)
        },
        (error) =>
          reject(
            new NookError(
              'internal',
              `Thread ${index} did not start: ${error instanceof Error ? error.message : String(error)}.`,
              { cause: error, hint: "Load with threads: 1, or check threadUrl and the page's Content-Security-Policy." },
            ),
          ),
      )
    }))
    port.post({ module: runtime.module, memory: runtime.memory, context, index, tls, top })
  }
  await Promise.all(started)
}

/** Ends the helpers; nook_threads_stop was called before. @param {Runtime} runtime */
export function stopThreads(runtime) {
  for (const thread of runtime.threads.splice(0)) thread.terminate()
}
