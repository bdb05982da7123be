/*
 * worker.js: the engine in a browser's dedicated worker. The protocol is in worker-core.js and docs/worker-protocol.md.
 */
import { serve } from './worker-core.js'
import { browserHost } from './platform/browser.js'

const scope = /** @type {any} */ (globalThis)

serve({
  post: (message, transfer) => scope.postMessage(message, transfer ?? []),
  listen: (listener) => { scope.onmessage = (/** @type {MessageEvent} */ event) => listener(event.data) },
}, browserHost, { threadUrl: new URL('./thread.js', import.meta.url) })
