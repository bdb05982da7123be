/* The server of the page: headers, types, ranges, and paths that want out. */
import assert from 'node:assert/strict'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { createSite, listen } from '../../web/cli/site.js'
import { folder, pattern } from './support.mjs'

/** @param {import('node:test').TestContext} t */
async function site(t) {
  const root = folder(t)
  const web = join(root, 'web')
  const models = join(root, 'models')
  for (const path of [join(web, 'app'), join(web, 'wasm'), join(models, 'cache')]) mkdirSync(path, { recursive: true })
  writeFileSync(join(root, 'secret.txt'), 'secret')
  writeFileSync(join(web, 'app', 'index.html'), '<!doctype html>')
  writeFileSync(join(web, 'index.js'), 'export {}')
  writeFileSync(join(web, 'wasm', 'nook-base.wasm'), 'x')
  writeFileSync(join(web, '.hidden'), 'hidden')
  writeFileSync(join(models, 'cache', 'm.gguf'), pattern(1000))
  writeFileSync(join(models, 'card.json'), '{}')
  symlinkSync(join(root, 'secret.txt'), join(web, 'link.txt'))
  symlinkSync(join(root, 'secret.txt'), join(models, 'link.json'))
  writeFileSync(join(root, 'shared.gguf'), 'shared')
  symlinkSync(join(root, 'shared.gguf'), join(models, 'cache', 'linked.gguf'))
  const server = createSite({ web, models })
  const address = await listen(server, 0, '127.0.0.1')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { address, port: Number(new URL(address).port) }
}

test('the page has the headers that threads need, and a policy without eval', async (t) => {
  const { address } = await site(t)
  const first = await fetch(address, { redirect: 'manual' })
  assert.equal(first.status, 302)
  assert.equal(first.headers.get('location'), '/app/')
  for (const path of ['/app/', '/index.js', '/models/m.gguf', '/nothing']) {
    const response = await fetch(new URL(path, address))
    await response.arrayBuffer()
    assert.equal(response.headers.get('cross-origin-opener-policy'), 'same-origin')
    assert.equal(response.headers.get('cross-origin-embedder-policy'), 'require-corp')
    assert.equal(response.headers.get('x-content-type-options'), 'nosniff')
    const policy = response.headers.get('content-security-policy') ?? ''
    assert.match(policy, /default-src 'none'/)
    assert.match(policy, /script-src 'self' 'wasm-unsafe-eval'(;|$)/)
    assert.doesNotMatch(policy, /'unsafe-eval'|'unsafe-inline'|worker-src[^;]*blob:/)
  }
})

test('types are those that browsers insist on', async (t) => {
  const { address } = await site(t)
  for (const [path, type] of [
    ['/app/', 'text/html; charset=utf-8'],
    ['/index.js', 'text/javascript; charset=utf-8'],
    ['/wasm/nook-base.wasm', 'application/wasm'],
    ['/models/card.json', 'application/json; charset=utf-8'],
    ['/models/m.gguf', 'application/octet-stream'],
  ]) {
    const response = await fetch(new URL(/** @type {string} */ (path), address))
    await response.arrayBuffer()
    assert.equal(response.status, 200, path)
    assert.equal(response.headers.get('content-type'), type)
  }
})

test('ranges: a part, the rest, the end, beyond the end, a stale condition', async (t) => {
  const { address } = await site(t)
  const url = new URL('/models/m.gguf', address)
  const bytes = pattern(1000)
  const get = async (/** @type {Record<string, string>} */ headers) => {
    const response = await fetch(url, { headers })
    return {
      status: response.status,
      range: response.headers.get('content-range'),
      body: new Uint8Array(await response.arrayBuffer()),
      etag: response.headers.get('etag'),
    }
  }
  const part = await get({ range: 'bytes=10-19' })
  assert.deepEqual(
    [part.status, part.range, Array.from(part.body)],
    [206, 'bytes 10-19/1000', Array.from(bytes.subarray(10, 20))],
  )
  assert.deepEqual(Array.from((await get({ range: 'bytes=990-' })).body), Array.from(bytes.subarray(990)))
  assert.deepEqual(Array.from((await get({ range: 'bytes=-5' })).body), Array.from(bytes.subarray(995)))
  assert.equal((await get({ range: 'bytes=990-5000' })).range, 'bytes 990-999/1000')
  const beyond = await get({ range: 'bytes=1000-' })
  assert.deepEqual([beyond.status, beyond.range], [416, 'bytes */1000'])
  assert.equal((await get({ range: 'bytes=10-19', 'if-range': '"other"' })).status, 200)
  assert.equal((await get({ range: 'bytes=10-19', 'if-range': /** @type {string} */ (part.etag) })).status, 206)
  assert.equal((await get({ 'if-none-match': /** @type {string} */ (part.etag) })).status, 304)
  const head = await fetch(url, { method: 'HEAD' })
  assert.equal(head.headers.get('content-length'), '1000')
  assert.equal((await fetch(url, { method: 'POST' })).status, 405)
})

/** A request whose path no client cleans up. @param {number} port @param {string} path @returns {Promise<string>} */
function raw(port, path) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () =>
      socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`),
    )
    let text = ''
    socket.setEncoding('latin1').on('data', (more) => { text += more }).on('close', () => resolve(text)).on('error', reject)
  })
}

test('the model files that are there are listed, and the page is told where to ask', async (t) => {
  const { address } = await site(t)
  const { files } = await (await fetch(new URL('/models/', address))).json()
  const names = files.map((/** @type {{name: string}} */ file) => file.name).sort()
  assert.deepEqual(names, ['linked.gguf', 'm.gguf'])
  assert.equal(files.find((/** @type {{name: string}} */ file) => file.name === 'm.gguf').bytes, 1000)
  assert.equal((await fetch(new URL('/app/cards.json', address))).headers.get('nook-models'), '/models/')
  assert.equal((await fetch(new URL('/models/m.gguf', address))).headers.get('nook-models'), null)
})

test('a model that set-up linked into models/cache is served', async (t) => {
  const { address } = await site(t)
  assert.equal(await (await fetch(new URL('/models/linked.gguf', address))).text(), 'shared')
})

test('no path leads out of the served folders', async (t) => {
  const { port } = await site(t)
  for (const path of [
    '/../secret.txt',
    '/%2e%2e/secret.txt',
    '/app/../../secret.txt',
    '/app/%2e%2e%2f%2e%2e%2fsecret.txt',
    '/..%5csecret.txt',
    '/models/../secret.txt',
    '/models/%2e%2e/%2e%2e/secret.txt',
    '/models/..%2f..%2fsecret.txt',
    '/link.txt',
    '/.hidden',
    '//secret.txt',
    '/%00',
    '/%',
    '/app/.%2e/index.js',
    '/models/cache/m.gguf',
    '/models/link.json',
  ]) {
    const text = await raw(port, path)
    assert.match(text, /^HTTP\/1\.1 (400|404) /, path)
    assert.doesNotMatch(text, /secret$|hidden$/m, path)
  }
})
