/*
 * The worker protocol over the real engine (base build, one thread) and a random-weight model: envelope, order, turns,
 * aborts. The core runs in this thread, so that steps can be counted: an abort acts within one step, whatever the clock
 * says.
 */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { FsStorage } from '../../web/cache/fs.js'
import { ModelCache } from '../../web/cache/store.js'
import { NookError } from '../../web/errors.js'
import { nodeHost } from '../../web/platform/node.js'
import { TINY, coreInThread, fileServer, folder, sha256 } from './support.mjs'

const MODEL = { model: { files: [{ path: TINY }] }, options: { build: 'base', threads: 1, contextSize: 256 } }
const PROMPT = Array.from({ length: 150 }, (_, i) => 5 + i)
const LONG = {
  input: { ids: PROMPT },
  options: { max_tokens: 40, temperature: 0, ignore_end: true, chunk: 4, reuse: false },
}

test('a load tells its progress, then replies once with facts', async (t) => {
  const { send, log } = coreInThread(t)
  const { info, warnings } = await send('load', MODEL, 'load-1')
  assert.equal(info.architecture, 'llama')
  assert.equal(info.build, 'base')
  assert.equal(info.vocabulary, 320)
  assert.deepEqual(warnings, [])
  const mine = log.filter((message) => message.id === 'load-1')
  assert.equal(mine.at(-1).type, 'load')
  const events = mine.slice(0, -1)
  assert.ok(events.length >= 3)
  assert.ok(
    events.every(
      (message) => message.type === 'event' && message.event.type === 'progress' && message.event.phase === 'load',
    ),
  )
  assert.ok(events.every((message, i) => i === 0 || message.event.loaded >= events[i - 1].event.loaded))
})

test('what is no call gets an error or nothing, and the worker goes on', async (t) => {
  const { send, raw, log } = coreInThread(t)
  for (const message of [null, 7, 'x', {}, { type: 'load' }, { id: 'a' }, { type: 3, id: 'a' }]) raw(message)
  await assert.rejects(send('fly'), { code: 'data', message: /"fly"/ })
  await assert.rejects(send('constructor'), { code: 'data' })
  await assert.rejects(send('generate', LONG), { code: 'data', message: /No model/ })
  await assert.rejects(send('tokenize', { input: 'x' }), { code: 'data', message: /No model/ })
  assert.ok(log.every((message) => typeof message.id === 'string'))
  assert.equal((await send('load', MODEL)).info.architecture, 'llama')
})

test('a second load is busy, while the first runs and after it', async (t) => {
  const { send } = coreInThread(t)
  const first = send('load', MODEL)
  await assert.rejects(send('load', MODEL), { code: 'busy' })
  await first
  await assert.rejects(send('load', MODEL), { code: 'busy' })
})

test('a failed load leaves the worker ready for another', async (t) => {
  const path = join(folder(t), 'bad.gguf')
  writeFileSync(path, readFileSync(TINY).subarray(0, 5000))
  const { send } = coreInThread(t)
  await assert.rejects(send('load', { ...MODEL, model: { files: [{ path }] } }), (/** @type {any} */ error) => {
    assert.ok(['format', 'data'].includes(error.code), error.code)
    assert.ok(error.message.length > 10)
    return true
  })
  await assert.rejects(send('load', { ...MODEL, model: { files: [{ path: TINY }], sha256: ['0'.repeat(64)] } }), {
    code: 'hash',
  })
  await send('load', { ...MODEL, model: { files: [{ path: TINY }], sha256: [sha256(readFileSync(TINY))] } })
})

test('an id that is under way is refused', async (t) => {
  const { send, raw, log } = coreInThread(t)
  await send('load', MODEL)
  const first = send('generate', LONG, 'same')
  raw({ type: 'generate', id: 'same', args: LONG })
  await first.catch(() => {})
  await send('clear')
  assert.equal(
    log.filter((message) => message.id === 'same' && message.type === 'error' && /in use/.test(message.error.message))
      .length,
    1,
  )
})

test('long calls run one at a time in the order they came; tokenize is answered in between', async (t) => {
  const { send, log } = coreInThread(t)
  await send('load', MODEL)
  await Promise.all([
    send('generate', LONG, 'g1'), send('evaluate', { ids: PROMPT, output: 'nll' }, 'e2'), send('generate', LONG, 'g3'),
    send('tokenize', { input: 'a b' }, 'k'), send('detokenize', { ids: [5, 6] }, 'd'),
  ])
  const order = log.filter((message) => ['g1', 'e2', 'g3', 'k', 'd'].includes(message.id))
  const at = (/** @type {string} */ id, /** @type {boolean} */ reply) =>
    order.findIndex((message) => message.id === id && (message.type !== 'event') === reply)
  assert.ok(at('k', true) < at('g1', true), 'tokenize does not wait for the generation')
  assert.ok(at('d', true) < at('g1', true))
  assert.ok(at('g1', true) < at('e2', false), 'nothing of the second call before the end of the first')
  assert.ok(at('e2', true) < at('g3', false))
  for (const id of ['g1', 'e2', 'g3'])
    assert.ok(!order.slice(at(id, true) + 1).some((message) => message.id === id), 'nothing after the reply')
})

test('tokenize waits for a load that came before it', async (t) => {
  const { send } = coreInThread(t)
  const [, ids] = await Promise.all([send('load', MODEL), send('tokenize', { input: 'a' })])
  assert.ok(ids instanceof Int32Array && ids.length > 0)
})

test('a failing call does not stop the queue', async (t) => {
  const { send } = coreInThread(t)
  await send('load', MODEL)
  const bad = assert.rejects(send('generate', { input: { ids: PROMPT }, options: { temprature: 1 } }), {
    code: 'data',
    message: /temprature/,
  })
  const good = send('generate', LONG)
  await bad
  assert.equal((await good).ids.length, 40)
})

test('a generation: reading, then tokens, then the result with usage and times', async (t) => {
  const { send, log } = coreInThread(t)
  await send('load', MODEL)
  const result = await send('generate', LONG, 'g')
  const events = log.filter((message) => message.id === 'g' && message.type === 'event').map((message) => message.event)
  const firstToken = events.findIndex((event) => event.type === 'token')
  assert.ok(firstToken > 10)
  assert.ok(events.slice(0, firstToken).every((event) => event.type === 'prefill' && event.total === PROMPT.length))
  assert.deepEqual(events.slice(firstToken).map((event) => event.token), result.ids)
  assert.equal(result.finish_reason, 'length')
  assert.deepEqual(result.usage, { prompt_tokens: 150, completion_tokens: 40, total_tokens: 190, cached_tokens: 0 })
  assert.equal(result.timings.prompt_n, 150)
  assert.equal(result.timings.predicted_n, 40)
  assert.ok(result.timings.prompt_ms > 0 && result.timings.predicted_ms > 0)
})

test('evaluate gives rows of logits as they come, and -log p as one array', async (t) => {
  const { send, log } = coreInThread(t)
  await send('load', MODEL)
  const ids = PROMPT.slice(0, 33)
  await send('evaluate', { ids, chunk: 7 }, 'e')
  const rows = log.filter((message) => message.id === 'e' && message.event?.type === 'rows').map((message) => message.event)
  assert.ok(rows.length >= 5)
  assert.equal(rows.reduce((sum, event) => sum + event.rows, 0), 33)
  assert.ok(rows.every((event) => event.data instanceof Float32Array && event.data.length === event.rows * 320))
  const logits = new Float32Array(33 * 320)
  for (const event of rows) logits.set(event.data, event.first * 320)
  const { nll } = await send('evaluate', { ids, output: 'nll' })
  assert.equal(nll.length, 32)
  for (let i = 0; i < 32; i++) {
    const row = logits.subarray(i * 320, (i + 1) * 320)
    const top = Math.max(...row)
    const expected =
      Math.log(row.reduce((sum, value) => sum + Math.exp(value - top), 0))
      + top
      - /** @type {number} */ (row[/** @type {number} */ (ids[i + 1])])
    assert.ok(Math.abs(nll[i] - expected) < 1e-5, `position ${i}`)
  }
})

/**
 * Aborts a call at its n-th event of a kind and counts the engine's steps from then to the error.
 * @param {import('node:test').TestContext} t @param {string} type @param {any} args @param {string} kind @param {number} n
 */
async function abortAt(t, type, args, kind, n) {
  const { core, send, side } = coreInThread(t)
  if (type !== 'load') await send('load', MODEL)
  const steps = () => core.engine?.steps ?? 0
  let seen = 0
  let before = -1
  /** @type {Promise<any> | null} */
  let known = null
  side.onEvent = (message) => {
    if (message.id !== 'target' || message.event.type !== kind || ++seen !== n) return
    before = steps()
    known = send('abort', { target: 'target' })
  }
  await assert.rejects(send(type, args, 'target'), { code: 'abort' })
  assert.equal(await known, true)
  return { send, core, after: steps() - before, seen, before }
}

test('an abort in the middle of reading a prompt acts within one step', async (t) => {
  const { send, after } = await abortAt(t, 'generate', LONG, 'prefill', 10)
  assert.ok(after <= 1, `${after} steps were done after the abort`)
  assert.equal((await send('generate', LONG)).ids.length, 40, 'the model still works')
})

test('an abort in the middle of writing acts within one step', async (t) => {
  const { send, after } = await abortAt(t, 'generate', LONG, 'token', 5)
  assert.ok(after <= 1, `${after} steps were done after the abort`)
  assert.equal((await send('generate', LONG)).ids.length, 40)
})

test('an abort in the middle of an evaluation and of a scoring acts within one step', async (t) => {
  const evaluation = await abortAt(t, 'evaluate', { ids: PROMPT, output: 'nll', chunk: 4 }, 'prefill', 5)
  assert.ok(evaluation.after <= 1)
  const scoring = await abortAt(
    t,
    'choices',
    { input: { prompt: 'a prompt of some words '.repeat(6) }, choices: ['x', 'yz '.repeat(9), 'w'] },
    'prefill',
    1,
  )
  assert.ok(scoring.after <= 1)
})

test('an abort in the middle of a load acts within one step, and another load follows', async (t) => {
  const { send, core, seen } = await abortAt(t, 'load', MODEL, 'progress', 4)
  assert.equal(core.engine, null)
  assert.ok(seen <= 5, `${seen} events: the load went on`)
  await send('load', MODEL)
  assert.equal((await send('generate', LONG)).ids.length, 40)
})

test('a call that is aborted while it waits never begins', async (t) => {
  const { core, send, log } = coreInThread(t)
  await send('load', MODEL)
  const first = send('generate', LONG, 'first')
  const second = send('generate', LONG, 'second')
  assert.equal(await send('abort', { target: 'second' }), true)
  await assert.rejects(second, { code: 'abort' })
  await first
  assert.ok(!log.some((message) => message.id === 'second' && message.type === 'event'))
  assert.equal(await send('abort', { target: 'nobody' }), false)
  assert.ok(core.engine !== null)
})

test('what an aborted generation read stays in the cache, and the next answer is the same', async (t) => {
  const { send } = coreInThread(t)
  await send('load', MODEL)
  const expected = (await send('generate', LONG)).ids
  await send('clear')
  const going = send('generate', LONG, 'cut')
  await send('abort', { target: 'cut' })
  await assert.rejects(going, { code: 'abort' })
  const again = await send('generate', { ...LONG, options: { ...LONG.options, reuse: true } })
  assert.deepEqual(again.ids, expected)
})

test('dispose ends what runs, and nothing is answered afterwards but refusals', async (t) => {
  const { send } = coreInThread(t)
  await send('load', MODEL)
  const going = assert.rejects(send('generate', LONG), { code: 'abort' })
  assert.equal(await send('dispose'), null)
  await going
  await assert.rejects(send('tokenize', { input: 'x' }), { code: 'data', message: /disposed/ })
})

test('estimate gives the plan and loads nothing', async (t) => {
  const { send, core } = coreInThread(t)
  const plan = await send('estimate', MODEL)
  assert.equal(plan.context, 256)
  assert.deepEqual(plan.fileBytes, [435040])
  assert.ok(plan.memory.total >= plan.memory.weights + plan.memory.kv)
  assert.equal(core.engine, null)
  const { info } = await send('load', MODEL)
  assert.deepEqual(info.memory, plan.memory)
})

test('choices: each whole text is tokenized as it would be alone', async (t) => {
  const { core, send } = coreInThread(t)
  await send('load', MODEL)
  const engine = /** @type {import('../../web/engine.js').Engine} */ (core.engine)
  const prompt = 'the th'
  const choices = ['e', 'at', ' x']
  const bytes = new TextEncoder().encode(prompt)
  const cut = engine.tokenizeChoices(bytes, [{ start: 0, length: bytes.length, parse_special: false }], choices, false)
  choices.forEach((choice, i) => {
    assert.deepEqual(
      [...cut.prompt, .../** @type {Int32Array} */ (cut.choices[i])],
      Array.from(engine.tokenize(prompt + choice)),
    )
  })
  const { choices: scored } = await send('choices', { input: { prompt, addSpecial: false }, choices })
  for (const [i, choice] of choices.entries()) {
    const ids = engine.tokenize(prompt + choice)
    const { nll } = await send('evaluate', { ids, output: 'nll' })
    const expected = -nll
      .slice(cut.prompt.length - 1)
      .reduce((/** @type {number} */ sum, /** @type {number} */ value) => sum + value, 0)
    assert.ok(Math.abs(scored[i].logprob - expected) < 1e-4, `${choice}: ${scored[i].logprob} and ${expected}`)
    assert.equal(scored[i].tokens, ids.length - cut.prompt.length)
  }
})

/* ---- Loading by address: cache, quota, damage --------------------------------------------------------------------- */

const BYTES = readFileSync(TINY)

/** @param {string} url @param {string} cacheFolder @param {object} [options] */
const byUrl = (url, cacheFolder, options = {}) => ({
  model: { files: [{ url }], sha256: [sha256(BYTES)] },
  options: { ...MODEL.options, cacheFolder, ...options },
})

test('a model by address is kept, and the second load asks nobody', async (t) => {
  const path = folder(t)
  const { url, requests } = await fileServer(t, BYTES)
  const one = coreInThread(t)
  await one.send('load', byUrl(url, path))
  assert.equal(requests.length, 1)
  const [entry] = await one.send('cacheList', { folder: path })
  assert.equal(entry.whole, true)
  assert.equal(entry.headerSha256, (one.core.engine?.info).header_sha256)
  const two = coreInThread(t)
  await two.send('load', byUrl(url, path))
  assert.equal(requests.length, 1)
  assert.equal((await two.send('estimate', byUrl(url, path))).architecture, 'llama')
  assert.equal(requests.length, 1)
  assert.equal(await two.send('cacheDelete', { folder: path, key: entry.id }), true)
  assert.deepEqual(await two.send('cacheList', { folder: path }), [])
})

test('with cache "memory" the stream goes straight into the engine, in one request, and the hash is checked', async (t) => {
  const path = folder(t)
  for (const ranges of [true, false]) {
    const { url, requests } = await fileServer(t, BYTES, { ranges })
    const { send } = coreInThread(t)
    await send('load', byUrl(url, path, { cache: 'memory' }))
    assert.equal(requests.length, 1)
    assert.deepEqual(await send('cacheList', { folder: path }), [])
  }
  const wrong = Buffer.from(BYTES)
  wrong[400_000] = (wrong[400_000] ?? 0) ^ 1
  const { url } = await fileServer(t, wrong)
  const { send } = coreInThread(t)
  await assert.rejects(send('load', byUrl(url, path, { cache: 'memory' })), { code: 'hash' })
})

test('when nothing more can be kept the model is loaded all the same, and that is told', async (t) => {
  const path = folder(t)
  const { url } = await fileServer(t, BYTES)
  const storage = new FsStorage(path)
  storage.space = async () => ({ used: 0, granted: 1000 })
  const host = {
    ...nodeHost,
    cache: async (/** @type {any} */ _kind, /** @type {any} */ _folder, /** @type {any} */ hasher) =>
      new ModelCache(storage, hasher),
  }
  const { send, log } = coreInThread(t, { host })
  const { warnings } = await send('load', byUrl(url, path), 'l')
  assert.match(warnings[0], /435040 bytes.*not kept/s)
  assert.ok(log.some((message) => message.event?.phase === 'warning'))
  const none = coreInThread(t, {
    host: {
      ...nodeHost,
      cache: async () => {
        throw new NookError('quota', 'No storage here.')
      },
    },
  })
  assert.match((await none.send('load', byUrl(url, path))).warnings[0], /No storage here/)
})

test('a kept file whose header changed is found before use and fetched again', async (t) => {
  const path = folder(t)
  const { url, requests } = await fileServer(t, BYTES)
  await coreInThread(t).send('load', byUrl(url, path))
  const file = join(path, `sha-${sha256(BYTES)}.gguf`)
  const damaged = Buffer.from(BYTES)
  const at = damaged.indexOf('synthetic')
  damaged.write('Synthetic', at)
  writeFileSync(file, damaged)
  const { warnings } = await coreInThread(t).send('load', byUrl(url, path))
  assert.match(warnings[0], /damaged/)
  assert.equal(requests.length, 2)
  assert.deepEqual(readFileSync(file), BYTES)
})

test('a kept file whose weights changed is found when the worker is idle, told and deleted', async (t) => {
  const path = folder(t)
  const { url } = await fileServer(t, BYTES)
  await coreInThread(t).send('load', byUrl(url, path))
  const damaged = Buffer.from(BYTES)
  damaged[damaged.length - 5] = (damaged[damaged.length - 5] ?? 0) ^ 1
  writeFileSync(join(path, `sha-${sha256(BYTES)}.gguf`), damaged)
  const { send, side } = coreInThread(t, { verifyAfterMs: 0 })
  const warned = new Promise((resolve) => {
    side.onEvent = (message) => {
      if (message.id === null) resolve(message.event)
    }
  })
  await send('load', byUrl(url, path))
  assert.equal((/** @type {any} */ (await warned)).code, 'hash')
  assert.deepEqual(await send('cacheList', { folder: path }), [])
})

test('offline and not kept: a download error', async (t) => {
  const { send } = coreInThread(t)
  await assert.rejects(send('load', byUrl('http://127.0.0.1:1/m.gguf', folder(t))), { code: 'download' })
})
