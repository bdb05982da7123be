/*
 * engine-page.js: the page's side of the shared tests: the surroundings of tests/shared/kit.js in a browser, and
 * `runCase(module, name)`, which a test calls from outside.
 */
import { estimate, load } from '../../web/index.js'
import { browserHost } from '../../web/platform/browser.js'
import { workerAddress } from '../../web/trusted.js'

const address = (/** @type {string} */ path) => new URL(`/${path}`, location.href).href

/** @type {import('../shared/kit.js').Env} */
const browserEnv = {
  name: 'chromium',
  load: (options) => load({ cache: 'memory', ...options }),
  estimate: (options) => estimate({ cache: 'memory', ...options }),
  async read(path) {
    const response = await fetch(address(path))
    if (!response.ok) throw new Error(`${path} was answered with ${response.status}`)
    return new Uint8Array(await response.arrayBuffer())
  },
  model: (path) => address(path.replace(/^models\/cache\//, 'models/')),
  spawn() {
    const worker = new Worker(workerAddress(new URL('/web/worker.js', location.href)), { type: 'module' })
    return {
      post: (message) => worker.postMessage(message),
      listen(listener) {
        worker.onmessage = (event) => listener(event.data)
        worker.onerror = (event) =>
          listener({ type: 'error', id: null, error: { name: 'Error', message: event.message } })
      },
      end: () => worker.terminate(),
    }
  },
  host: browserHost,
}

const scope = /** @type {any} */ (globalThis)
scope.nookEnv = browserEnv
/** @param {string} module of tests/shared @param {string} name of the case @returns {Promise<any>} its figures */
scope.runCase = async (module, name) => {
  const { cases } = await import(`../shared/${module}.js`)
  const run = (await cases(browserEnv))[name]
  if (run === undefined) throw new Error(`${module}.js has no case "${name}" in this browser`)
  return (await run(browserEnv)) ?? null
}
