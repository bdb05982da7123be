/*
 * kit.js: what the shared tests stand on. The modules of this folder run in Node and in a page, from one source: they are
 * plain ES modules, get everything of their surroundings from an Env, and throw to fail.
 *
 * Form     A module exports `cases(env)`: {name of the test: function}, where a function takes the Env and may return
 *          figures for the report. Runners: tests/node/engine*.test.js (node:test) and tests/page/engine*.test.js, which
 *          runs each case inside a page of a real Chromium, under the policy of `nook serve`.
 */
import { serve } from '../../web/worker-core.js'

/**
 * @typedef {object} Env
 * @property {'node' | 'chromium'} name
 * @property {(options: any) => Promise<any>} load the public load(), with what this surrounding needs (cache)
 * @property {(options: any) => Promise<any>} estimate
 * @property {(path: string) => Promise<Uint8Array<ArrayBuffer>>} read a file of the repository
 * @property {(path: string) => string} model what load takes for a file of the repository
 * @property {() => Port} spawn a worker of the engine, spoken to by its protocol
 * @property {import('../../web/platform/browser.js').Host} host for an engine in this very thread
 */
/** @typedef {Record<string, (env: Env) => Promise<any>>} Cases */
/**
 * @typedef {object} Port one end of a conversation with a worker
 * @property {(message: unknown) => void} post
 * @property {(listener: (message: any) => void) => void} listen errors of the worker: {type: 'error', id: null}
 * @property {() => unknown} end
 */

export const REAL_MODEL = 'models/cache/SmolLM2-135M-Instruct.Q4_1.gguf'
export const TINY_MODEL = 'tests/fixtures/tiny/llama.gguf'

/* ---- Checks -------------------------------------------------------------------------------------------------------- */

/** @param {unknown} condition @param {string} sentence @returns {asserts condition} */
export function check(condition, sentence) {
  if (!condition) throw new Error(sentence)
}

/** Equality of plain data. @param {unknown} got @param {unknown} wanted @param {string} what */
export function same(got, wanted, what) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)]
  if (a !== b) throw new Error(`${what}: ${a?.slice(0, 400)} rather than ${b?.slice(0, 400)}`)
}

/** @param {number} value @param {number} most @param {string} what */
export function atMost(value, most, what) {
  if (!(value <= most)) throw new Error(`${what}: ${value}, allowed ${most}`)
}

/**
 * The error that something ends with: of the one class, one sentence that says what and where, and what to do.
 * @param {() => Promise<unknown>} action @param {string} code @param {RegExp} words of the message or the hint
 * @param {string} what
 * @returns {Promise<{code: string, message: string, hint: string}>}
 */
export async function fails(action, code, words, what) {
  let error
  try {
    await action()
  } catch (thrown) {
    error = /** @type {any} */ (thrown)
  }
  check(error !== undefined, `${what}: no error came`)
  const told = `${error.name} ${error.code}: ${error.message} | ${error.hint}`
  check(error.name === 'NookError' && error.code === code, `${what}: wanted the code ${code}, got ${told}`)
  check(words.test(`${error.message} ${error.hint}`), `${what}: ${words} is not in ${told}`)
  check(/^\S[^\n]*\.$/.test(error.message) && !/\bat \S+:\d+:\d+/.test(error.message), `${what}: no sentence: ${told}`)
  if (code !== 'abort') check(/^\S[^\n]*\.$/.test(error.hint), `${what}: it does not say what to do: ${told}`)
  return { code: error.code, message: error.message, hint: error.hint }
}

/* ---- Numbers ------------------------------------------------------------------------------------------------------- */

/** @param {ArrayLike<number>} a @param {ArrayLike<number>} b @returns {number} NaN counts as infinite */
export function maxAbs(a, b) {
  if (a.length !== b.length) return Infinity
  let top = 0
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(Number(a[i]) - Number(b[i]))
    if (!(difference <= top)) top = Number.isNaN(difference) ? Infinity : difference
  }
  return top
}

/** @param {ArrayLike<number>} a @param {ArrayLike<number>} reference */
export function relativeL2(a, reference) {
  if (a.length !== reference.length) return Infinity
  let error = 0
  let size = 0
  for (let i = 0; i < a.length; i++) {
    error += (Number(a[i]) - Number(reference[i])) ** 2
    size += Number(reference[i]) ** 2
  }
  return Math.sqrt(error / size)
}

/** @param {Float32Array} a @param {Float32Array} b @param {string} what */
export function sameBits(a, b, what) {
  check(a.length === b.length, `${what}: ${a.length} numbers rather than ${b.length}`)
  const x = new Uint32Array(a.buffer, a.byteOffset, a.length)
  const y = new Uint32Array(b.buffer, b.byteOffset, b.length)
  for (let i = 0; i < x.length; i++)
    if (x[i] !== y[i]) throw new Error(`${what}: element ${i} is ${a[i]} in one way and ${b[i]} in the other`)
}

/** @param {ArrayBufferView<ArrayBuffer>} view @returns {Promise<string>} SHA-256 of its bytes, by the host */
export async function hashOf(view) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', view))
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/* ---- Bundles (oracle-bundle/1) ------------------------------------------------------------------------------------- */

/**
 * @param {Env} env @param {string} stem path without suffix
 * @returns {Promise<{meta: any, find: (name: string) => any, get: (name: string) => any}>} tensors as typed arrays
 */
export async function openBundle(env, stem) {
  const json = JSON.parse(new TextDecoder().decode(await env.read(`${stem}.json`)))
  const { buffer } = await env.read(`${stem}.bin`)
  const kinds = /** @type {Record<string, any>} */ ({
    f32: Float32Array,
    f64: Float64Array,
    i32: Int32Array,
    u8: Uint8Array,
  })
  const find = (/** @type {string} */ name) => {
    const tensor = json.tensors[name]
    if (tensor === undefined) return undefined
    const kind = kinds[tensor.dtype]
    return new kind(buffer, tensor.offset, tensor.nbytes / kind.BYTES_PER_ELEMENT)
  }
  return {
    meta: json.meta,
    find,
    get: (name) => {
      const found = find(name)
      check(found !== undefined, `${stem} lacks ${name}`)
      return found
    },
  }
}

/* ---- Engines ------------------------------------------------------------------------------------------------------- */

/**
 * A client of the documented protocol (docs/worker-protocol.md), as anyone may write it.
 * @param {Port} port
 */
function talk(port) {
  /** @type {Map<string, {resolve: (value: any) => void, reject: (error: any) => void}>} */
  const waiting = new Map()
  const side = { onEvent: (/** @type {any} */ message) => void message }
  let count = 0
  port.listen((message) => {
    if (message.type === 'event') return side.onEvent(message)
    const error = message.type === 'error' ? Object.assign(new Error(message.error.message), message.error) : null
    for (const [id, call] of message.id === null ? [...waiting] : [[message.id, waiting.get(message.id)]]) {
      waiting.delete(id)
      if (error === null) call?.resolve(message.result)
      else call?.reject(error)
    }
  })
  return {
    side,
    /** @param {string} type @param {object} [args] @param {string} [id] @returns {Promise<any>} */
    send: (type, args = {}, id = `t${++count}`) =>
      new Promise((resolve, reject) => {
        waiting.set(id, { resolve, reject })
        port.post({ type, id, args })
      }),
    end: () => port.end(),
  }
}

/** A worker of the engine. @param {Env} env */
export const workerOf = (env) => talk(env.spawn())

/** What `load` takes over the protocol for a file of the repository. @param {Env} env @param {string} path */
export const filesOf = (env, path) => ({
  files: [env.name === 'node' ? { path: env.model(path) } : { url: env.model(path) }],
})

/**
 * The worker's code in this very thread, over a MessageChannel, so that a test can count the engine's steps.
 * @param {Env} env
 */
export function coreHere(env) {
  const { port1, port2 } = new MessageChannel()
  const core = serve(
    {
      post: (message, transfer) => port1.postMessage(message, transfer ?? []),
      listen: (listener) => {
        port1.onmessage = (event) => listener(event.data)
      },
    },
    env.host,
  )
  const client = talk({
    post: (message) => port2.postMessage(message),
    listen: (listener) => {
      port2.onmessage = (event) => listener(event.data)
    },
    end() {
      core.engine?.dispose()
      port1.close()
      port2.close()
    },
  })
  return { ...client, core, steps: () => core.engine?.steps ?? 0 }
}

/**
 * Logits (of an encoder: hidden states) of every position, in an empty context, through the public interface.
 * @param {any} llm @param {Int32Array} ids @param {number} [chunk] tokens a call
 * @returns {Promise<Float32Array<ArrayBuffer>>} [ids.length, columns]
 */
export async function logitsOf(llm, ids, chunk) {
  await llm.clear()
  const { encoder, vocabulary, sizes } = llm.info
  const columns = encoder ? sizes.width : vocabulary
  const all = new Float32Array(ids.length * columns)
  let rows = 0
  for await (const piece of llm[encoder ? 'hidden' : 'logits'](ids, chunk === undefined ? {} : { chunk })) {
    check(
      piece.first === rows && piece.columns === columns,
      `a piece of rows begins at ${piece.first}, not at ${rows}`,
    )
    all.set(piece.data, piece.first * columns)
    rows += piece.rows
  }
  check(rows === ids.length, `${rows} rows for ${ids.length} tokens`)
  return all
}
