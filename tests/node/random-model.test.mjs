/*
 * random-model.test.mjs: the models that bench/random_model.mjs writes are what its header says: each format's weights have
 * the stated deviation and mean 0, logits are moderate, the same seed gives the same bytes, and a bad wish is refused.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { FORMATS, half, writeRandomModel } from '../../bench/random_model.mjs'
import { load } from '../../web/node.js'
import { folder, ROOT, TINY } from './support.mjs'

const SHAPE = { layers: 2, width: 256, heads: 4, kvHeads: 2, ff: 512, vocabulary: 512, context: 128 }

for (const types of [...Object.keys(FORMATS), 'q4_k_m']) {
  test(`${types}: a random model loads, has the tokens asked for, and logits of about the stated deviation`, async (t) => {
    const path = join(folder(t), 'random.gguf')
    const { parameters, bytes } = writeRandomModel(path, SHAPE, { types, tokenizer: TINY, seed: 3 })
    assert.equal(readFileSync(path).length, bytes)
    const llm = await load({ model: path, contextSize: 128, threads: 1 })
    try {
      assert.equal(llm.info.vocabulary, SHAPE.vocabulary)
      assert.equal(llm.info.parameters, parameters)
      const ids = Array.from({ length: 64 }, (_, i) => (i * 37) % 320)
      let [sum, squares, n] = [0, 0, 0]
      for await (const { data } of llm.logits(ids)) {
        for (const x of data) {
          sum += x
          squares += x * x
          n++
        }
      }
      assert.equal(n, ids.length * SHAPE.vocabulary)
      const deviation = Math.sqrt(squares / n)
      assert.ok(deviation > 2.9 && deviation < 3.4, `the deviation is ${deviation}`)
      assert.ok(Math.abs(sum / n) < 0.5, `the mean is ${sum / n}`)
    } finally {
      await llm.dispose()
    }
  })
}

test('the same seed gives the same bytes, another seed others', (t) => {
  const at = folder(t)
  const written = [1, 1, 2].map((seed, i) => {
    writeRandomModel(join(at, `${i}.gguf`), SHAPE, { types: 'Q4_0', tokenizer: TINY, seed })
    return readFileSync(join(at, `${i}.gguf`))
  })
  assert.ok(written[0]?.equals(/** @type {Buffer} */ (written[1])))
  assert.ok(!written[0]?.equals(/** @type {Buffer} */ (written[2])))
})

test('f16 numbers are rounded to the nearest, subnormal ones too', () => {
  for (const [x, bits] of /** @type {[number, number][]} */ ([
    [1, 0x3c00], [-2, 0xc000], [65504, 0x7bff], [2 ** -24, 1], [2 ** -14, 0x0400], [1 + 1 / 2048 + 1e-6, 0x3c01],
    [2 - 1e-6, 0x4000], [2 ** -14 - 1e-9, 0x0400], [0, 0],
  ]))
    assert.equal(half(x), bits, String(x))
})

test('what can not be written is refused in a sentence', (t) => {
  const out = join(folder(t), 'x.gguf')
  for (const [flags, sentence] of /** @type {[string[], RegExp][]} */ ([
    [['--types', 'Q9_9'], /Q9_9 is none of q4_k_m, Q4_0/],
    [['--types', 'Q4_K', '--width', '320', '--heads', '5', '--kv-heads', '1'], /rows of 320, which are no whole blocks/],
    [['--vocabulary', '100'], /has 320 tokens, more than the vocabulary of 100/],
    [['--heads', '3'], /heads must divide the width/],
    [['--layers', '0'], /sizes are whole numbers/],
    [['--tokenizer', join(ROOT, 'package.json')], /is no GGUF file/],
  ])) {
    const tool = join(ROOT, 'bench', 'random_model.mjs')
    const small = ['--layers', '1', '--width', '256', '--heads', '4', '--kv-heads', '2', '--ff', '512', '--tokenizer', TINY]
    const { status, stderr } = spawnSync(process.execPath, [tool, out, ...small, ...flags], { encoding: 'utf8' })
    assert.equal(status, 2)
    assert.match(stderr, sentence)
  }
})
