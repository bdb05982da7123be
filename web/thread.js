/* thread.js: a helper thread of the engine in a browser: a dedicated worker of the engine's worker. See thread-core.js. */
import { live } from './thread-core.js'

const scope = /** @type {any} */ (globalThis)

scope.onmessage = (/** @type {MessageEvent} */ event) => {
  /* An exception reaches the one who started this thread as an error event. */
  void live(event.data, (message) => scope.postMessage(message)).catch((error) => { scope.reportError(error) })
}
