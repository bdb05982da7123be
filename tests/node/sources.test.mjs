/* File sources: every one gives the same bytes for the same ranges, and says what is wrong when it cannot. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { BlobSource } from '../../web/sources/blob.js'
import { FetchSource, StreamReader } from '../../web/sources/fetch.js'
import { FsSource } from '../../web/sources/fs.js'
import { OpfsSource } from '../../web/sources/opfs.js'
import { baseName, splitNames } from '../../web/sources/source.js'
import { fileServer, folder, pattern } from './support.mjs'

const SIZE = 3_000_001
const BYTES = pattern(SIZE)
/* Ascending, with gaps small and large, as a load asks. */
const RANGES = [[0, 24], [24, 1000], [4096, 300_000], [304_100, 7], [2_500_000, 400_000], [2_999_990, 11]]

/** @param {import('../../web/sources/source.js').FileSource} source @param {number[][]} [ranges] */
async function readAll(source, ranges = RANGES) {
  assert.equal(source.size, SIZE)
  const view = new Uint8Array(500_000)
  for (const [offset, length] of /** @type {[number, number][]} */ (ranges)) {
    view.fill(0xaa)
    await source.readInto(view, offset, length)
    assert.deepEqual(
      Buffer.from(view.subarray(0, length)),
      Buffer.from(BYTES.subarray(offset, offset + length)),
      `${offset}+${length}`,
    )
    assert.ok(view.subarray(length).every((byte) => byte === 0xaa), 'nothing is written behind the range')
  }
}

test('a file on disk', async (t) => {
  const path = join(folder(t), 'm.gguf')
  writeFileSync(path, BYTES)
  const source = new FsSource(path)
  t.after(() => source.close())
  await readAll(source)
  assert.equal(source.readInto(new Uint8Array(4), 0, 4), undefined, 'the disk answers at once')
  assert.throws(() => source.readInto(new Uint8Array(10), SIZE - 5, 10), {
    code: 'format',
    message: /ends at byte 3000001/,
  })
})

test('a file on disk is read into shared memory too', (t) => {
  const path = join(folder(t), 'm.gguf')
  writeFileSync(path, BYTES)
  const source = new FsSource(path)
  t.after(() => source.close())
  const shared = new Uint8Array(new SharedArrayBuffer(64))
  source.readInto(shared, 100, 64)
  assert.deepEqual(Array.from(shared), Array.from(BYTES.subarray(100, 164)))
})

test('a missing file, a folder: a sentence that names it', (t) => {
  const path = folder(t)
  assert.throws(() => new FsSource(join(path, 'no.gguf')), { code: 'data', message: /no\.gguf/ })
  assert.throws(() => new FsSource(path), { code: 'data', message: /is a folder/ })
})

test('a Blob, also backwards', async () => {
  const source = new BlobSource(new Blob([/** @type {any} */ (BYTES)]), 'dropped.gguf')
  await readAll(source, [...RANGES, [10, 20], [0, 5]])
  await assert.rejects(source.readInto(new Uint8Array(10), SIZE, 1), { code: 'format', message: /dropped\.gguf/ })
})

test('a handle of the browser\'s file system, also one that gives few bytes a time or refuses shared memory', async () => {
  /** @param {{most: number, refuseShared?: boolean}} how */
  const handle = (how) => ({
    read(/** @type {Uint8Array} */ view, /** @type {{at: number}} */ { at }) {
      if (how.refuseShared === true && view.buffer instanceof SharedArrayBuffer) throw new TypeError('shared')
      const length = Math.min(how.most, view.length, SIZE - at)
      view.set(BYTES.subarray(at, at + length))
      return length
    },
    getSize: () => SIZE, close() {},
  })
  await readAll(new OpfsSource(handle({ most: 1000 }), 'o'))
  const shared = new Uint8Array(new SharedArrayBuffer(1_500_000))
  new OpfsSource(handle({ most: 1e9, refuseShared: true }), 'o').readInto(shared, 5, shared.length)
  assert.deepEqual(Buffer.from(shared), Buffer.from(BYTES.subarray(5, 5 + shared.length)))
})

test('HTTP with ranges: one stream for what is in order, a new request for a large gap', async (t) => {
  const { url, requests } = await fileServer(t, BYTES)
  const source = await FetchSource.open(url)
  t.after(() => source.close())
  await readAll(source)
  assert.deepEqual(requests.map((request) => request.range), ['bytes=0-', 'bytes=2500000-'])
})

test('HTTP without ranges is read once, forwards, over any gap', async (t) => {
  const { url, requests } = await fileServer(t, BYTES, { ranges: false })
  const source = await FetchSource.open(url)
  t.after(() => source.close())
  await readAll(source)
  assert.equal(requests.length, 1)
  await assert.rejects(source.readInto(new Uint8Array(4), 10, 4), { code: 'download', message: /cannot give a part/ })
})

test('HTTP with ranges can go back', async (t) => {
  const { url } = await fileServer(t, BYTES)
  const source = await FetchSource.open(url)
  t.after(() => source.close())
  await readAll(source, [[1000, 100], [0, 100], [2_000_000, 10], [5, 10]])
})

test('a broken connection is taken up at the same byte', async (t) => {
  const { url, requests } = await fileServer(t, BYTES, { breakAt: [700_000, 1_400_000] })
  const source = await FetchSource.open(url)
  t.after(() => source.close())
  await readAll(source, [[0, 400_000], [400_000, 500_000], [900_000, 500_000], [1_400_000, 500_000]])
  assert.ok(requests.length >= 3)
  assert.ok(
    requests.slice(1).every((request) => Number(/\d+/.exec(request.range ?? '')?.[0]) > 0),
    'nothing is read from the beginning again',
  )
})

test('a server that keeps breaking off is given up, with the byte', async (t) => {
  const { url, requests } = await fileServer(t, BYTES, { breakAt: [1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000] })
  const source = await FetchSource.open(url)
  t.after(() => source.close())
  await assert.rejects(source.readInto(new Uint8Array(5000), 0, 5000), { code: 'download', message: /byte 1000/ })
  assert.ok(requests.length <= 6)
})

test('a file that changes on the server meanwhile is not mixed', async (t) => {
  let etag = '"one"'
  const { url } = await fileServer(t, BYTES, { breakAt: [1000], etag: () => etag })
  const source = await FetchSource.open(url)
  t.after(() => source.close())
  etag = '"two"'
  await assert.rejects(source.readInto(new Uint8Array(5000), 0, 5000), { code: 'download' })
})

test('404, an unreachable host, an unknown length: each a sentence', async (t) => {
  const missing = await fileServer(t, BYTES, { status: 404 })
  await assert.rejects(FetchSource.open(missing.url), { code: 'download', message: /404/ })
  await assert.rejects(FetchSource.open('http://127.0.0.1:1/x.gguf'), { code: 'download', message: /127\.0\.0\.1:1/ })
  const endless = await fileServer(t, BYTES, { length: false, ranges: false })
  await assert.rejects(FetchSource.open(endless.url), { code: 'download', message: /length/ })
})

test('an abort ends a read', async (t) => {
  const { url } = await fileServer(t, BYTES, { breakAt: [1000] })
  const controller = new AbortController()
  const source = await FetchSource.open(url, { signal: controller.signal })
  t.after(() => source.close())
  controller.abort()
  await assert.rejects(source.readInto(new Uint8Array(5000), 0, 5000), { code: 'abort' })
})

test('streams without a byte reader are read as well', async () => {
  const stream = new ReadableStream({
    start(controller) {
      controller.enqueue(BYTES.slice(0, 10))
      controller.enqueue(new Uint8Array(0))
      controller.enqueue(BYTES.slice(10, 25))
      controller.close()
    },
  })
  const reader = new StreamReader(stream)
  const got = []
  for (let piece = await reader.next(4); piece !== null; piece = await reader.next(4)) {
    assert.ok(piece.length > 0 && piece.length <= 4)
    got.push(...piece)
  }
  assert.deepEqual(got, Array.from(BYTES.subarray(0, 25)))
})

test('the names of a split model', () => {
  assert.deepEqual(
    splitNames('https://h/x/m-00002-of-00003.gguf?v=1'),
    [1, 2, 3].map((i) => `https://h/x/m-0000${i}-of-00003.gguf?v=1`),
  )
  assert.deepEqual(splitNames('m.gguf'), ['m.gguf'])
  assert.deepEqual(splitNames('m-1-of-3.gguf'), ['m-1-of-3.gguf'])
  assert.equal(baseName('https://h/x/m.gguf?download=true#y'), 'm.gguf')
  assert.equal(baseName('C:\\models\\m.gguf'), 'm.gguf')
})
