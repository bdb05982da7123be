/* Embeddings through the shim and the command line, on a tiny BERT and on a decoder; MiniLM itself: minilm.test.mjs. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { load } from '../../web/node.js'
import { nook } from './cli-run.mjs'
import { ROOT, folder } from './support.mjs'

const BERT = join(ROOT, 'tests/fixtures/tiny/bert.gguf')
const bundle = JSON.parse(readFileSync(BERT.replace(/gguf$/, 'json'), 'utf8'))
const data = readFileSync(BERT.replace(/gguf$/, 'bin'))

/** @param {string} name @returns {number[]} */
function tensor(name) {
  const { dtype, offset, nbytes } = bundle.tensors[name]
  const bytes = data.buffer.slice(data.byteOffset + offset, data.byteOffset + offset + nbytes)
  return Array.from(dtype === 'i32' ? new Int32Array(bytes) : new Float32Array(bytes))
}

/** @param {number[]} a @param {number[]} b @param {number} tolerance */
function assertNear(a, b, tolerance) {
  assert.equal(a.length, b.length)
  a.forEach((x, i) => assert.ok(Math.abs(x - /** @type {number} */ (b[i])) <= tolerance, `element ${i}: ${x}, ${b[i]}`))
}

/** @param {any} llm @param {any} input @param {object} [more] @returns {Promise<any[]>} */
const embed = async (llm, input, more = {}) => (await llm.embeddings.create({ input, ...more })).data

describe('a tiny BERT', () => {
  /** @type {Awaited<ReturnType<typeof load>>} */
  let llm
  before(async () => { llm = await load({ model: BERT, build: 'base', threads: 1 }) })
  after(() => llm.dispose())

  test('its facts say what it is', () => {
    assert.deepEqual([llm.info.encoder, llm.info.pooling, llm.info.architecture], [true, 'mean', 'bert'])
  })

  test('vectors are the reference\'s, in the order of the inputs, the same alone and among others', async () => {
    const inputs = [33, 7, 80].map((n) => tensor(`len${n}/ids`))
    const all = await llm.embeddings.create({ input: inputs })
    assert.equal(all.object, 'list')
    assert.equal(all.usage.prompt_tokens, 120)
    for (const [i, n] of [33, 7, 80].entries()) {
      const one = /** @type {any} */ (all.data[i])
      assert.deepEqual([one.object, one.index, one.tokens, one.truncated], ['embedding', i, n, false])
      assertNear(one.embedding, tensor(`len${n}/mean_normalized`), 2e-5)
      assert.deepEqual((await embed(llm, inputs[i]))[0].embedding, one.embedding)
    }
    assertNear((await embed(llm, inputs[0], { normalize: false }))[0].embedding, tensor('len33/mean'), 2e-4)
  })

  test('a text gets the model\'s special tokens, and a cut text keeps its last', async () => {
    const text = 'w12 w13 abc '.repeat(30)
    const ids = Array.from(await llm.tokenize(text, { addSpecial: true }))
    assert.ok(ids.length > 40)
    const part = text.slice(0, 40)
    const partIds = Array.from(await llm.tokenize(part, { addSpecial: true }))
    const [whole, same] = await embed(llm, [part, partIds])
    assert.deepEqual(whole.embedding, same.embedding)
    const [cut] = await embed(llm, text, { maxTokens: 20 })
    assert.deepEqual([cut.tokens, cut.truncated], [20, true])
    const [expected] = await embed(llm, [[...ids.slice(0, 19), ids.at(-1)]])
    assert.deepEqual(cut.embedding, expected.embedding)
    const [room] = await embed(llm, 'w12 '.repeat(1000))
    assert.deepEqual([room.tokens, room.truncated], [llm.info.context, true])
    const [empty] = await embed(llm, '') /* [CLS] [SEP] */
    assert.equal(empty.tokens, 2)
  })

  test('pooling, and fewer dimensions of length 1', async () => {
    const ids = tensor('len33/ids')
    const hidden = tensor('len33/hidden')
    assertNear((await embed(llm, ids, { pooling: 'cls', normalize: false }))[0].embedding, hidden.slice(0, 64), 2e-4)
    assertNear((await embed(llm, ids, { pooling: 'last', normalize: false }))[0].embedding, hidden.slice(-64), 2e-4)
    const [short] = await embed(llm, ids, { dimensions: 16 })
    assert.equal(short.embedding.length, 16)
    const length = Math.sqrt(short.embedding.reduce((/** @type {number} */ sum, /** @type {number} */ x) => sum + x * x, 0))
    assert.ok(Math.abs(length - 1) < 1e-6)
  })

  test('progress counts tokens up to all of them, and an abort ends it', async () => {
    /** @type {number[]} */
    const seen = []
    const input = [tensor('len80/ids'), tensor('len33/ids')]
    await embed(llm, input, {
      onProgress: (/** @type {any} */ { loaded, total }) => {
        seen.push(loaded)
        assert.equal(total, 113)
      },
    })
    assert.equal(seen.at(-1), 113)
    assert.deepEqual(seen, [...seen].sort((a, b) => a - b))
    const controller = new AbortController()
    const many = Array.from({ length: 200 }, () => tensor('len80/ids'))
    const stopping = embed(llm, many, { signal: controller.signal, onProgress: () => controller.abort() })
    await assert.rejects(stopping, { code: 'abort' })
    assert.equal((await embed(llm, input)).length, 2)
  })

  test('bad use is told', async () => {
    for (const input of [undefined, [], {}, [3.5], [['a']], 7])
      await assert.rejects(embed(llm, input), { code: 'data', message: /input/ })
    await assert.rejects(embed(llm, 'a', { pooling: 'max' }), { code: 'data', message: /pooling/ })
    await assert.rejects(embed(llm, 'a', { maxTokens: 2 }), { code: 'data', message: /maxTokens/ })
    await assert.rejects(embed(llm, 'a', { dimensions: 65 }), { code: 'data', message: /65.*64/ })
    await assert.rejects(embed(llm, 'a', { encoding_format: 'base64' }), { code: 'data', message: /base64/ })
    await assert.rejects(embed(llm, 'a', { dimension: 3 }), { code: 'data', message: /"dimension"/ })
    await assert.rejects(embed(llm, [[100000]]), { code: 'data', message: /outside the vocabulary/ })
    await assert.rejects(llm.nll([5, 6]), { code: 'unsupported', message: /no logits/ })
    await assert.rejects(llm.completions.create({ prompt: 'w12' }), { code: 'unsupported' })
  })
})

test('a decoder gives vectors too, and goes on generating', async () => {
  const llm = await load({ model: join(ROOT, 'tests/fixtures/tiny/llama.gguf'), build: 'base', threads: 1 })
  try {
    const [a, b] = await embed(llm, ['hello there', 'hello there'])
    assert.deepEqual(a.embedding, b.embedding)
    assert.equal(a.embedding.length, 64)
    const answer = await llm.completions.create({ prompt: 'hello', max_tokens: 3, temperature: 0 })
    assert.equal(answer.usage.prompt_tokens > 0, true)
  } finally {
    await llm.dispose()
  }
})

test('nook embed: one array a text, --json OpenAI\'s list, cut texts told', async (t) => {
  const file = join(folder(t), 'texts.jsonl')
  writeFileSync(file, `${JSON.stringify({ ids: tensor('len33/ids') })}\n\n${JSON.stringify({ text: 'w12 '.repeat(40) })}\n`)
  const json = await nook(['embed', BERT, '--file', file, '--max-tokens', '33', '--json'])
  assert.equal(json.status, 0, json.err)
  const list = JSON.parse(json.out)
  assert.deepEqual(list.data.map((/** @type {any} */ one) => one.truncated), [false, true])
  assert.match(json.err, /1 of 2 texts/)
  assertNear(list.data[0].embedding, tensor('len33/mean_normalized'), 2e-5)
  const lines = await nook(['embed', BERT, '--file', file, '--max-tokens', '33'])
  const arrays = lines.out.trim().split('\n').map((line) => JSON.parse(line))
  assert.deepEqual(arrays, list.data.map((/** @type {any} */ one) => one.embedding))
  assert.equal((await nook(['embed', BERT])).status, 2)
  assert.equal((await nook(['embed', BERT, 'a', '--file', file])).status, 2)
  writeFileSync(file, '{"txt": 1}\n')
  const bad = await nook(['embed', BERT, '--file', file])
  assert.equal(bad.status, 1)
  assert.match(bad.err, /line 1 has no "text"/)
})
