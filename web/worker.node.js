/*
 * worker.node.js: the engine in a worker thread of Node. The protocol is in worker-core.js and docs/worker-protocol.md.
 */
import { parentPort } from 'node:worker_threads'
import { serve } from './worker-core.js'
import { nodeHost } from './platform/node.js'

const port = /** @type {import('node:worker_threads').MessagePort} */ (parentPort)

serve({
  post: (message, transfer) => port.postMessage(message, /** @type {any} */ (transfer ?? [])),
  listen: (listener) => { port.on('message', listener) },
}, nodeHost, { threadUrl: new URL('./thread.node.js', import.meta.url) })
