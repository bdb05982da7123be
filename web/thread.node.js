/* thread.node.js: a helper thread of the engine in Node: a worker thread of the engine's worker thread. See
   thread-core.js. */
import v8 from 'node:v8'
import { parentPort } from 'node:worker_threads'
import { live } from './thread-core.js'

const port = /** @type {import('node:worker_threads').MessagePort} */ (parentPort)

if (Number(process.versions.node.split('.')[0]) < 22) v8.setFlagsFromString('--experimental-wasm-relaxed-simd')
port.once('message', (start) => { void live(start, (message) => port.postMessage(message)) })
