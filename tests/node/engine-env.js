/* engine-env.js: the surroundings of the shared tests (tests/shared/kit.js) in Node, and their runner. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { estimate, load } from '../../web/node.js'
import { nodeHost } from '../../web/platform/node.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** @type {import('../shared/kit.js').Env} */
export const nodeEnv = {
  name: 'node',
  load,
  estimate,
  async read(path) {
    const bytes = await readFile(join(root, path))
    const copy = new Uint8Array(bytes.length) /* a buffer of its own: views of it are aligned */
    copy.set(bytes)
    return copy
  },
  model: (path) => join(root, path),
  spawn() {
    const worker = new Worker(new URL('../../web/worker.node.js', import.meta.url), { execArgv: [] })
    return {
      post: (message) => worker.postMessage(message),
      listen(listener) {
        worker.on('message', listener)
        worker.on('error', (error) =>
          listener({ type: 'error', id: null, error: { name: error.name, message: error.message } }),
        )
      },
      end: () => worker.terminate(),
    }
  },
  host: nodeHost,
}

/**
 * One test for each case; what a case returns is told and kept by `report`.
 * @param {{cases: (env: import('../shared/kit.js').Env) => Promise<import('../shared/kit.js').Cases>}} module
 * @param {(name: string, figures: any) => void} [report]
 */
export async function runCases(module, report = () => {}) {
  for (const [name, run] of Object.entries(await module.cases(nodeEnv))) {
    test(name, async (t) => {
      const figures = await run(nodeEnv)
      if (figures === undefined) return
      t.diagnostic(JSON.stringify(figures))
      report(name, figures)
    })
  }
}

/**
 * Keeps figures in tests/out/NAME.json under the name of the surroundings.
 * @param {string} file @param {string} where @param {string} name @param {any} figures
 */
export function keepFigures(file, where, name, figures) {
  const path = join(root, 'tests', 'out', file)
  mkdirSync(dirname(path), { recursive: true })
  /** @type {Record<string, Record<string, any>>} */
  let all = {}
  try {
    all = JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    /* the first figures */
  }
  all[where] = { ...all[where], [name]: figures }
  writeFileSync(path, `${JSON.stringify(all, null, 2)}\n`)
}
