/*
 * all-MiniLM-L6-v2 (F16) against sentence-transformers: ids exact, cosine at least 0.9999 for every sentence. The file is
 * made by `npm run model -- all-minilm-l6-v2-f16` from the published checkpoint, through nook convert.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { load } from '../../web/node.js'
import { root } from '../page/helper.js'

const STEM = `${root}/tests/fixtures/minilm/embeddings`
const { meta, tensors } = JSON.parse(readFileSync(`${STEM}.json`, 'utf8'))
const bytes = readFileSync(`${STEM}.bin`)
const LIMIT = meta.max_seq_length

/** Row i of the reference. @param {number} i */
function reference(i) {
  const { offset, shape } = tensors.embeddings
  const at = bytes.byteOffset + offset + i * shape[1] * 4
  return new Float32Array(bytes.buffer.slice(at, at + shape[1] * 4))
}

describe('all-MiniLM-L6-v2', () => {
  /** @type {Awaited<ReturnType<typeof load>>} */
  let llm
  before(async () => {
    const command = ['tools/model.mjs', 'all-minilm-l6-v2-f16']
    const model = execFileSync(process.execPath, command, { cwd: root, encoding: 'utf8' }).trim()
    llm = await load({ model })
  })
  after(() => llm?.dispose())

  test('ids of every sentence', async () => {
    for (const { text, ids } of meta.sentences) {
      const got = Array.from(await llm.tokenize(text, { addSpecial: true }))
      const cut = got.length > LIMIT ? [...got.slice(0, LIMIT - 1), got.at(-1)] : got
      assert.deepEqual(cut, ids, text.slice(0, 60))
    }
  })

  test('vectors of every sentence', async (t) => {
    const input = meta.sentences.map((/** @type {{text: string}} */ one) => one.text)
    /** @type {import('../../web/types.d.ts').EmbeddingList} */
    const { data } = await llm.embeddings.create({ input, maxTokens: LIMIT })
    let worst = 1
    let difference = 0
    for (const [i, { embedding, truncated, tokens }] of data.entries()) {
      const wanted = reference(i)
      let dot = 0
      let square = 0
      let own = 0
      for (const [j, x] of embedding.entries()) {
        const y = /** @type {number} */ (wanted[j])
        dot += x * y
        square += x * x
        own += y * y
        difference = Math.max(difference, Math.abs(x - y))
      }
      worst = Math.min(worst, dot / Math.sqrt(square * own))
      assert.equal(truncated, meta.sentences[i].n_tokens_untruncated > LIMIT)
      assert.equal(tokens, meta.sentences[i].ids.length)
    }
    t.diagnostic(`smallest cosine ${worst.toFixed(8)}, largest difference ${difference.toExponential(2)}`)
    assert.ok(worst >= 0.9999, `a cosine of ${worst}`)
    assert.ok(difference <= 2e-3, `a difference of ${difference}`)
  })
})
