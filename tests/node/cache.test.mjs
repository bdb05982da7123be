/* The cache of model files: download, resume, hash, rename, locks, damage. Over Node's file system; the logic is the one of
   browsers. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, readdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { FsStorage, defaultFolder } from '../../web/cache/fs.js'
import { ModelCache } from '../../web/cache/store.js'
import { NookError } from '../../web/errors.js'
import { fileServer, folder, nodeHasher, pattern, sha256 } from './support.mjs'

const BYTES = pattern(2_500_003)
const HASH = sha256(BYTES)

/** @param {import('node:test').TestContext} t */
function open(t) {
  const path = folder(t)
  const storage = new FsStorage(path)
  return { path, storage, cache: new ModelCache(storage, nodeHasher) }
}

/** @param {string} path */
const names = (path) => readdirSync(path).sort()

test('a file is fetched once, kept under its hash, and found again without a request', async (t) => {
  const { path, cache } = open(t)
  const { url, requests } = await fileServer(t, BYTES)
  /** @type {any[]} */
  const progress = []
  const first = await cache.get({ url, sha256: HASH, onProgress: (event) => progress.push(event) })
  assert.equal(first.warm, false)
  assert.equal(first.entry.sha256, HASH)
  assert.deepEqual(names(path), [`sha-${HASH}.gguf`, `sha-${HASH}.json`])
  assert.deepEqual(readFileSync(join(path, `sha-${HASH}.gguf`)), Buffer.from(BYTES))
  assert.equal(progress.at(-1).loaded, BYTES.length)
  assert.ok(
    progress.every((event, i) => event.total === BYTES.length && (i === 0 || event.loaded >= progress[i - 1].loaded)),
  )
  const again = await cache.get({ url: 'http://127.0.0.1:1/elsewhere.gguf', sha256: HASH.toUpperCase() })
  assert.equal(again.warm, true)
  assert.equal(requests.length, 1)
})

test('without a known hash the address is the key, and the hash is noted', async (t) => {
  const { cache } = open(t)
  const { url, requests } = await fileServer(t, BYTES)
  const { key, entry } = await cache.get({ url })
  assert.match(key, /^url-[0-9a-f]{64}$/)
  assert.equal(entry.sha256, HASH)
  assert.equal((await cache.get({ url })).warm, true)
  assert.equal((await cache.get({ url: `${url}?other` })).warm, false)
  assert.equal(requests.length, 2)
})

test('a wrong file is deleted and named', async (t) => {
  const { path, cache } = open(t)
  const { url } = await fileServer(t, BYTES)
  await assert.rejects(cache.get({ url, sha256: 'a'.repeat(64) }), (error) => {
    assert.ok(error instanceof NookError)
    assert.equal(error.code, 'hash')
    assert.match(error.message, new RegExp(HASH))
    return true
  })
  assert.deepEqual(names(path), [])
})

test('a connection that breaks is taken up within one call, and the hash covers both parts', async (t) => {
  const { cache } = open(t)
  const { url, requests } = await fileServer(t, BYTES, { breakAt: [1_000_000, 2_000_000] })
  assert.equal((await cache.get({ url, sha256: HASH })).entry.sha256, HASH)
  assert.deepEqual(requests.map((request) => request.range), ['bytes=0-', 'bytes=1000000-', 'bytes=2000000-'])
})

test('a download that was given up goes on from its last byte in the next call', async (t) => {
  const { path, cache } = open(t)
  const { url, requests } = await fileServer(t, BYTES, { breakAt: [1_000_000, 1_000_000, 1_000_000, 1_000_000, 1_000_000] })
  await assert.rejects(cache.get({ url, sha256: HASH }), { code: 'download', message: /byte 1000000 of 2500003/ })
  assert.deepEqual(names(path), [`sha-${HASH}.part`, `sha-${HASH}.part.json`], 'nothing half-valid is left')
  const [entry] = await cache.list()
  assert.equal(entry?.whole, false)
  const before = requests.length
  /** @type {any[]} */
  const progress = []
  let done = false
  for (let attempt = 0; attempt < 3 && !done; attempt++) {
    try {
      await cache.get({ url, sha256: HASH, onProgress: (event) => progress.push(event) })
      done = true
    } catch (error) {
      assert.equal(NookError.from(error).code, 'download')
    }
  }
  assert.ok(done)
  assert.ok(requests.slice(before).every((request) => request.range === 'bytes=1000000-'))
  assert.equal(progress[0].phase, 'resume')
  assert.deepEqual(readFileSync(join(path, `sha-${HASH}.gguf`)), Buffer.from(BYTES))
})

test('an abort keeps the part, and the next call goes on from it', async (t) => {
  const { path, cache } = open(t)
  const { url, requests } = await fileServer(t, BYTES, { breakAt: [1_200_000] })
  const controller = new AbortController()
  await assert.rejects(
    cache.get({
      url,
      sha256: HASH,
      signal: controller.signal,
      onProgress: (event) => {
        if (event.loaded >= 300_000) controller.abort()
      },
    }),
    { code: 'abort' },
  )
  assert.ok(existsSync(join(path, `sha-${HASH}.part`)))
  assert.ok(!existsSync(join(path, `sha-${HASH}.gguf`)))
  await cache.get({ url, sha256: HASH })
  assert.match(requests.at(-1)?.range ?? '', /^bytes=[1-9]\d+-$/)
})

test('a server without ranges starts the file anew, and it is right', async (t) => {
  const { cache } = open(t)
  const { url } = await fileServer(t, BYTES, { ranges: false, breakAt: [1_000_000] })
  const { entry } = await cache.get({ url, sha256: HASH })
  assert.equal(entry.bytes, BYTES.length)
})

test('a server that does not tell the length is fine here', async (t) => {
  const { cache } = open(t)
  const { url } = await fileServer(t, BYTES, { length: false, ranges: false })
  assert.equal((await cache.get({ url, sha256: HASH })).entry.bytes, BYTES.length)
})

test('a file that changed on the server is not glued to the old part', async (t) => {
  const { cache } = open(t)
  const other = pattern(2_400_000).map((byte) => byte ^ 255)
  let changed = false
  const { url } = await fileServer(t, BYTES, {
    breakAt: [1_000_000, 1_000_000, 1_000_000, 1_000_000],
    etag: () => (changed ? '"two"' : '"one"'),
    file: () => (changed ? other : BYTES),
  })
  await assert.rejects(cache.get({ url }), { code: 'download' })
  changed = true
  assert.equal((await cache.get({ url })).entry.sha256, sha256(other))
})

test('the traces of a kill at each moment are not taken for a file', async (t) => {
  const { path, cache } = open(t)
  const { url, requests } = await fileServer(t, BYTES)
  const { key } = await cache.get({ url, sha256: HASH })
  /* Killed between the rename and the note: a file without its facts. */
  writeFileSync(join(path, `${key}.json`), '{"url": "cut o')
  assert.equal((await cache.get({ url, sha256: HASH })).warm, false)
  /* A file that is shorter than its facts. */
  truncateSync(join(path, `${key}.gguf`), 1000)
  assert.equal((await cache.get({ url, sha256: HASH })).warm, false)
  /* A part with bytes that are not the file's: the hash finds it, the next call is clean. */
  await cache.remove(key)
  writeFileSync(join(path, `${key}.part`), pattern(500_000).map((byte) => byte ^ 1))
  writeFileSync(join(path, `${key}.part.json`), JSON.stringify({ url, etag: '"one"', bytes: BYTES.length }))
  await assert.rejects(cache.get({ url, sha256: HASH }), { code: 'hash' })
  assert.equal((await cache.get({ url, sha256: HASH })).entry.sha256, HASH)
  assert.ok(requests.length >= 5)
})

test('two callers for one file: one downloads, the other waits and finds it', async (t) => {
  const { path, cache } = open(t)
  const second = new ModelCache(new FsStorage(path), nodeHasher)
  const { url, requests } = await fileServer(t, BYTES)
  const both = await Promise.all([cache.get({ url, sha256: HASH }), second.get({ url, sha256: HASH })])
  assert.deepEqual(both.map((one) => one.warm).sort(), [false, true])
  assert.equal(requests.length, 1)
})

test('the lock of a process that died is taken over, that of a live one is waited for', async (t) => {
  const { path, storage } = open(t)
  writeFileSync(join(path, 'k.lock'), '999999999')
  assert.equal(await storage.lock('k', async () => 'mine'), 'mine')
  writeFileSync(join(path, 'k.lock'), String(process.pid))
  const controller = new AbortController()
  const waiting = storage.lock('k', async () => 'never', controller.signal)
  controller.abort()
  await assert.rejects(waiting, { code: 'abort' })
})

test('a full disk is a quota error, and leaves nothing behind', async (t) => {
  const { path, storage } = open(t)
  const { url } = await fileServer(t, BYTES)
  const full = Object.assign(Object.create(FsStorage.prototype), storage, {})
  full.openWrite = async (/** @type {string} */ name) => {
    const file = await storage.openWrite(name)
    return { ...file, write: (/** @type {Uint8Array} */ view, /** @type {number} */ at) => {
      if (at + view.length > 1_000_000) throw new NookError('quota', 'The disk is full.')
      file.write(view, at)
    } }
  }
  for (const method of ['sizeOf', 'readJson', 'writeJson', 'rename', 'remove', 'list', 'space', 'lock', 'openSource'])
    full[method] = /** @type {any} */ (storage)[method].bind(storage)
  await assert.rejects(new ModelCache(full, nodeHasher).get({ url, sha256: HASH }), { code: 'quota' })
  assert.deepEqual(names(path), [])
  full.space = async () => ({ used: 10, granted: 1000 })
  await assert.rejects(new ModelCache(full, nodeHasher).get({ url, sha256: HASH }), { code: 'quota', message: /2500003/ })
})

test('a kept file is hashed again piece by piece; a damaged one is deleted', async (t) => {
  const { path, cache } = open(t)
  const { url } = await fileServer(t, BYTES)
  const { key } = await cache.get({ url, sha256: HASH })
  /** @param {AsyncGenerator<number, boolean>} pieces */
  const drain = async (pieces) => {
    let steps = 0
    for (;;) {
      const piece = await pieces.next()
      if (piece.done === true) return { steps, right: piece.value }
      steps++
    }
  }
  assert.deepEqual(await drain(cache.verify(key)), { steps: 3, right: true })
  const file = readFileSync(join(path, `${key}.gguf`))
  file[2_400_000] = (file[2_400_000] ?? 0) ^ 1
  writeFileSync(join(path, `${key}.gguf`), file)
  assert.equal((await drain(cache.verify(key))).right, false)
  assert.deepEqual(names(path), [])
})

test('list, usage and remove', async (t) => {
  const { cache } = open(t)
  const { url } = await fileServer(t, BYTES)
  const { key } = await cache.get({ url, sha256: HASH })
  const [entry] = await cache.list()
  assert.equal(entry?.id, key)
  assert.equal(entry?.whole, true)
  assert.equal(entry?.bytes, BYTES.length)
  assert.equal(entry?.name, 'model.gguf')
  const usage = await cache.usage()
  assert.equal(usage.bytes, BYTES.length)
  assert.ok((usage.granted ?? 0) > 0)
  assert.equal(await cache.remove(key), true)
  assert.equal(await cache.remove(key), false)
  assert.deepEqual(await cache.list(), [])
  await assert.rejects(cache.remove('../../etc/passwd'), { code: 'data' })
})

test('the default folder follows the system and NOOK_CACHE', () => {
  assert.equal(defaultFolder({ NOOK_CACHE: '/x' }, 'linux'), join('/x', 'files'))
  assert.equal(defaultFolder({ XDG_CACHE_HOME: '/y' }, 'linux'), join('/y', 'nook', 'files'))
  assert.match(defaultFolder({}, 'darwin'), /Library/)
  assert.match(defaultFolder({ LOCALAPPDATA: '/z' }, 'win32'), /nook/)
})
