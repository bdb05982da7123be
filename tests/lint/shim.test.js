/*
 * Rules of the shim: what its types say, what a page has to load.
 */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'node:test'
import { gzipSync } from 'node:zlib'
import { read, root, tracked } from './files.mjs'

const types = read('web/types.d.ts')
/** The body of an interface. @param {string} name */
const bodyOf = (name) => new RegExp(`export interface ${name}\\b[^{]*\\{([\\s\\S]*?)\\n\\}`).exec(types)?.[1] ?? ''

test('the types have exactly the names that the two entries export', async () => {
  const values = [...types.matchAll(/^export (?:declare )?(?:function|class|const) (\w+)/gm)].map(([, name]) => name)
  const names = [...new Set(values), 'default'].sort()
  assert.deepEqual(Object.keys(await import('../../web/index.js')).sort(), names)
  const node = await import('../../web/node.js')
  assert.deepEqual(Object.keys(node).sort(), names)
  const held = /declare const nook: \{([^}]*)\}/.exec(types)?.[1] ?? ''
  for (const name of Object.keys(node.default)) assert.match(held, new RegExp(`\\b${name}:`), `default.${name}`)
})

test('the types have every method of a model and every option of a request', async () => {
  const { Model } = await import('../../web/client.js')
  const methods = Object.getOwnPropertyNames(Model.prototype).filter((name) => name !== 'constructor')
  for (const name of methods) assert.match(bodyOf('Model'), new RegExp(`^  ${name}\\(`, 'm'), `Model.${name}`)
  const declared = [...bodyOf('Model').matchAll(/^  (\w+)\(/gm)].map(([, name]) => name)
  assert.deepEqual([...new Set(declared)].sort(), methods.sort())
  const { CHAT_KEYS, COMPLETION_KEYS } = await import('../../web/requests.js')
  for (const [keys, name] of /** @type {const} */ ([[CHAT_KEYS, 'ChatOptions'], [COMPLETION_KEYS, 'CompletionOptions']])) {
    const body = bodyOf('SamplingOptions') + bodyOf(name) + bodyOf('Model')
    for (const key of keys) assert.match(body, new RegExp(`\\b${key}\\??:`), `${name}.${key}`)
  }
  const keys = /const LOAD_KEYS = [^[]*\[([^\]]*)\]/.exec(read('web/client.js'))?.[1]?.match(/\w+/g) ?? []
  assert.ok(keys.length > 10)
  for (const key of keys)
    assert.match(bodyOf('EngineOptions') + bodyOf('LoadOptions'), new RegExp(`^  ${key}\\??:`, 'm'), `load: ${key}`)
})

test('the types list every code of an error, and no other', async () => {
  const listed =
    /export type ErrorCode =([\s\S]*?)\n\n/
      .exec(types)?.[1]
      ?.match(/'(\w+)'/g)
      ?.map((one) => one.slice(1, -1)) ?? []
  const { ERROR_CODES } = /** @type {any} */ (await import('../../web/errors.js'))
  assert.deepEqual(listed.sort(), [...ERROR_CODES].sort())
})

/** The modules that a page loads from `entries` on, with workers and what is imported late. @param {string[]} entries */
function reachable(entries) {
  const found = new Set()
  const waiting = [...entries]
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (found.has(path)) continue
    found.add(path)
    if (path.startsWith('web/vendor/')) continue
    const code = read(path).replace(/\/\*[\s\S]*?\*\//g, '')
    for (const [, target] of code.matchAll(/(?:from |import\(|import |new URL\()'(\.{1,2}\/[\w./-]+\.js)'/g)) {
      const next = join(dirname(path), target ?? '')
      if (existsSync(join(root, next))) waiting.push(next)
    }
  }
  return [...found].sort()
}

test('what a page loads of the shim and one build is at most 400 kB gzipped', (t) => {
  const modules = reachable(['web/index.js', 'web/worker.js'])
  for (const path of [
    'web/client.js',
    'web/engine.js',
    'web/template.js',
    'web/vendor/jinja.js',
    'web/thread.js',
    'web/cache/opfs.js',
    'web/requests.js',
  ]) {
    assert.ok(modules.includes(path), `${path} is reached`)
  }
  assert.ok(!modules.some((path) => /\.node\.|\/(node|cli|app)\b/.test(path)), modules.join(' '))
  const size = (/** @type {string} */ path) => gzipSync(readFileSync(join(root, path)), { level: 9 }).length
  const shim = modules.reduce((sum, path) => sum + size(path), 0)
  const builds = readdirSync(join(root, 'web/wasm'))
    .filter((name) => name.endsWith('.wasm'))
    .map((name) => size(`web/wasm/${name}`))
  assert.equal(builds.length, 4)
  const wasm = Math.max(...builds)
  t.diagnostic(`${modules.length} modules ${shim} bytes, largest build ${wasm}, together ${shim + wasm} of 400000`)
  assert.ok(shim + wasm <= 400_000, `${shim} + ${wasm} bytes`)
})

test('the shim makes no code from text and starts no worker from a blob', () => {
  for (const path of tracked.filter((one) => /^web\/.*\.js$/.test(one))) {
    const code = read(path).replace(/\/\*[\s\S]*?\*\//g, '')
    assert.doesNotMatch(
      code,
      /(?<![.*\w])eval\(|new Function\b|createObjectURL\([^)]*\)[^\n]*Worker|setTimeout\(\s*['"`]/,
      path,
    )
  }
})

test('nothing that Emscripten names is seen above the first ring', () => {
  const above = tracked.filter((one) => /^web\/.*\.(js|ts)$/.test(one) && !/^web\/(loader|thread-core)\.js$/.test(one))
  for (const path of above) {
    assert.doesNotMatch(read(path), /[Ee]mscripten|HEAP(U8|32|F32)|\bModule\.|_malloc|__wasm_/, path)
  }
})
