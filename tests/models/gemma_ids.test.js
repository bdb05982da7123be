/*
 * Gemma 3's tokenizer against Hugging Face's, built of the same vocabulary (tests/reference/make_gemma_ids.py says how):
 * every id of every string, as text from outside and with control tokens parsed, and the text back.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { load } from '../../web/node.js'
import { root } from '../page/helper.js'

/** @typedef {[text: string, ids: number[], parsed?: number[]]} Case */
/** @type {{cases: Case[]}} */
const { cases } = JSON.parse(readFileSync(`${root}/tests/fixtures/gemma/ids.json`, 'utf8'))

describe('Gemma 3 270M, tokenizer', () => {
  /** @type {Awaited<ReturnType<typeof load>>} */
  let llm
  before(async () => {
    const command = ['tools/model.mjs', 'gemma-3-270m-q4_k_m']
    const model = execFileSync(process.execPath, command, { cwd: root, encoding: 'utf8' }).trim()
    llm = await load({ model, contextSize: 64, threads: 1 })
  })
  after(() => llm?.dispose())

  test('ids of every string', async (t) => {
    let special = 0
    for (const [text, ids, parsed] of cases) {
      assert.deepEqual(Array.from(await llm.tokenize(text)), ids, JSON.stringify(text))
      assert.deepEqual(Array.from(await llm.tokenize(text, { special: true })), parsed ?? ids, JSON.stringify(text))
      if (parsed !== undefined) special++
    }
    t.diagnostic(`${cases.length} strings, ${special} with control tokens`)
    assert.ok(cases.length > 1500 && special > 100)
  })

  test('every string comes back of its ids; U+2581 as a space, which it is', async () => {
    for (const [text, ids] of cases) {
      assert.equal(await llm.detokenize(ids), text.replaceAll('\u2581', ' '), JSON.stringify(text))
    }
  })
})
