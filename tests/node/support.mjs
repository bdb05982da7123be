/*
 * support.mjs: what the tests of the shim share: where things lie, a server that misbehaves on purpose, a worker core in
 * this thread.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { nodeHost } from '../../web/platform/node.js'
import { serve } from '../../web/worker-core.js'

export const ROOT = fileURLToPath(new URL('../../', import.meta.url))
export const FIXTURES = join(ROOT, 'tests', 'fixtures')
export const CLI = join(ROOT, 'web', 'cli', 'nook.js')
/** A random-weight model of 64 dimensions, vocabulary 320. */
export const TINY = join(FIXTURES, 'tiny', 'llama.gguf')
/** The default model: set-up fetches it; these tests need it and say so when it is missing. */
export const SMOLLM2 = process.env['NOOK_TEST_MODEL'] ?? join(ROOT, 'models', 'cache', 'SmolLM2-135M-Instruct.Q4_1.gguf')

export function needModel() {
  if (!existsSync(SMOLLM2)) throw new Error(`The default model is missing at ${SMOLLM2}: run npm run setup.`)
  return SMOLLM2
}

/** A folder for one test, removed afterwards. @param {import('node:test').TestContext} t @returns {string} */
export function folder(t) {
  const path = mkdtempSync(join(tmpdir(), 'nook-test-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** @param {Uint8Array} bytes @returns {string} */
export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex')

/**
 * A hasher of the cache's interface over Node's own SHA-256, for tests of the cache's logic (the engine's is tested against
 * it).
 */
export function nodeHasher() {
  let hash = createHash('sha256')
  return {
    update: (/** @type {Uint8Array} */ view) => { hash.update(view) },
    digest: () => hash.copy().digest('hex'),
    reset: () => { hash = createHash('sha256') },
    free: () => {},
  }
}

/** Bytes that differ everywhere, the same each time. @param {number} length @returns {Uint8Array} */
export function pattern(length) {
  const bytes = new Uint8Array(length)
  let state = 0x9e3779b9
  for (let i = 0; i < length; i++) {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + i | 0
    bytes[i] = state >>> 24
  }
  return bytes
}

/**
 * A server of one file that can break off, refuse ranges, hide the length, change.
 * @param {import('node:test').TestContext} t
 * @param {Uint8Array} bytes
 * @param {{ranges?: boolean, length?: boolean, breakAt?: number[], status?: number, etag?: () => string, file?: () =>
 *   Uint8Array}} [how]
 *        breakAt: one byte offset a request at which the connection is cut, in order; afterwards it holds
 */
export async function fileServer(t, bytes, how = {}) {
  /** @type {{range: string | undefined, sent: number}[]} */
  const requests = []
  const breaks = [...(how.breakAt ?? [])]
  const server = createServer((request, response) => {
    const file = how.file?.() ?? bytes
    const log = { range: request.headers.range, sent: 0 }
    requests.push(log)
    if (how.status !== undefined) {
      response.writeHead(how.status)
      response.end()
      return
    }
    const etag = how.etag?.() ?? '"one"'
    const match = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')
    const same = request.headers['if-range'] === undefined || request.headers['if-range'] === etag
    const start = how.ranges !== false && match !== null && same ? Number(match[1]) : 0
    if (start >= file.length && file.length > 0) {
      response.writeHead(416, { 'Content-Range': `bytes */${file.length}` })
      response.end()
      return
    }
    const partial = how.ranges !== false && match !== null && same
    /** @type {Record<string, string>} */
    const headers = { ETag: etag }
    if (partial) headers['Content-Range'] = `bytes ${start}-${file.length - 1}/${file.length}`
    if (how.length !== false) headers['Content-Length'] = String(file.length - start)
    response.writeHead(partial ? 206 : 200, headers)
    const cut = breaks.shift()
    const end = cut === undefined ? file.length : Math.max(start, Math.min(cut, file.length))
    log.sent = end - start
    response.write(file.subarray(start, end), () => {
      if (cut === undefined) response.end()
      else setTimeout(() => response.destroy(), 20)
    })
  })
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', () => resolve(undefined)) })
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  return { url: `http://127.0.0.1:${port}/model.gguf`, requests }
}

/**
 * A worker core in this thread: send(type, args) posts and gives the reply; events come to onEvent in the order they were
 * posted.
 * @param {import('node:test').TestContext} t
 * @param {{verifyAfterMs?: number, host?: import('../../web/platform/browser.js').Host}} [options]
 */
export function coreInThread(t, options = {}) {
  const channel = new MessageChannel()
  const inner = /** @type {import('node:worker_threads').MessagePort} */ (/** @type {unknown} */ (channel.port1))
  const outer = /** @type {import('node:worker_threads').MessagePort} */ (/** @type {unknown} */ (channel.port2))
  const core = serve(
    {
      post: (message, transfer) => inner.postMessage(message, /** @type {any} */ (transfer ?? [])),
      listen: (listener) => {
        inner.on('message', listener)
      },
    },
    options.host ?? nodeHost,
    {
      threadUrl: new URL('../../web/thread.node.js', import.meta.url),
      ...(options.verifyAfterMs === undefined ? {} : { verifyAfterMs: options.verifyAfterMs }),
    },
  )
  /** @type {Map<string, {resolve: (value: any) => void, reject: (error: any) => void}>} */
  const waiting = new Map()
  /** @type {any[]} */
  const log = []
  let count = 0
  const side = { onEvent: (/** @type {any} */ message) => { void message } }
  outer.on('message', (message) => {
    log.push(message)
    if (message.type === 'event') {
      side.onEvent(message)
      return
    }
    const call = waiting.get(message.id)
    waiting.delete(message.id)
    if (message.type === 'error') call?.reject(message.error)
    else call?.resolve(message.result)
  })
  t.after(() => {
    core.engine?.dispose()
    inner.close()
    outer.close()
  })
  return {
    core, log, side,
    /** @param {string} type @param {object} [args] @param {string} [id] @returns {Promise<any>} */
    send(type, args = {}, id = `t${++count}`) {
      return new Promise((resolve, reject) => {
        waiting.set(id, { resolve, reject })
        outer.postMessage({ type, id, args })
      })
    },
    /** Posts without waiting for an answer. @param {any} message */
    raw(message) { outer.postMessage(message) },
  }
}
