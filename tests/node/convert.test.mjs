/* `nook convert` and web/convert.js: files in, one file out, little memory. Each family: see the C tests. */
import assert from 'node:assert/strict'
import { cpSync, existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { convert } from '../../web/convert.js'
import { nodeHost } from '../../web/platform/node.js'
import { FsSource } from '../../web/sources/fs.js'
import { nook } from './cli-run.mjs'
import { FIXTURES, folder } from './support.mjs'

const CHECKPOINTS = join(FIXTURES, 'checkpoints')

/** @param {string} name */
function sourcesOf(name) {
  const path = join(CHECKPOINTS, name)
  return readdirSync(path)
    .filter((file) => !file.startsWith('reference.') && file.includes('.'))
    .map((file) => ({ name: file, source: new FsSource(join(path, file)) }))
}

/** @param {string} name @param {string} key @returns {Float32Array | Int32Array} */
function reference(name, key) {
  const { tensors } = JSON.parse(readFileSync(join(CHECKPOINTS, name, 'reference.json'), 'utf8'))
  const { offset, nbytes, dtype } = tensors[key]
  const bytes = readFileSync(join(CHECKPOINTS, name, 'reference.bin'))
  const part = new Uint8Array(bytes.subarray(offset, offset + nbytes)).buffer
  return dtype === 'i32' ? new Int32Array(part) : new Float32Array(part)
}

for (const name of ['gpt_neox', 'opt', 'llama3']) {
  test(`nook convert ${name}, then nook logits: the logits of transformers`, async (t) => {
    const path = folder(t)
    const out = join(path, `${name}.gguf`)
    const made = await nook(['convert', join(CHECKPOINTS, name), out, '--outtype', 'f32', '--json', '--progress'])
    assert.equal(made.status, 0, made.err)
    const facts = JSON.parse(made.out)
    assert.equal(facts.bytes, readFileSync(out).length)
    assert.equal(facts.out, out)
    assert.deepEqual(facts.notes, [])
    assert.match(made.err, /converting · 100 %/)
    assert.deepEqual(readdirSync(path), [`${name}.gguf`], 'nothing else is left')
    writeFileSync(join(path, 'ids.json'), JSON.stringify([...reference(name, 'len33/ids')]))
    const run = await nook(['logits', out, '--tokens', join(path, 'ids.json'), '--out', join(path, 'l.f32'), '--float',
      '--build', 'base'])
    assert.equal(run.status, 0, run.err)
    const bytes = readFileSync(join(path, 'l.f32'))
    const got = new Float32Array(new Uint8Array(bytes).buffer)
    const wanted = reference(name, 'len33/logits')
    assert.equal(got.length, wanted.length)
    const worst = got.reduce((most, value, i) => Math.max(most, Math.abs(value - Number(wanted[i]))), 0)
    assert.ok(worst <= 2e-4, `max abs ${worst}`)
    const info = JSON.parse((await nook(['info', out, '--json'])).out)
    assert.equal(info.name, name)
  })
}

test('a conversion that fails leaves no file, and the old one as it was', async (t) => {
  const path = folder(t)
  const broken = join(path, 'broken')
  cpSync(join(CHECKPOINTS, 'opt'), broken, { recursive: true })
  const weights = readFileSync(join(broken, 'model.safetensors'))
  weights.writeUInt16LE(0x7c00, weights.length - 2) /* the last number of the last tensor is infinite */
  writeFileSync(join(broken, 'model.safetensors'), weights)
  const out = join(path, 'out.gguf')
  writeFileSync(out, 'the old one')
  const late = await nook(['convert', broken, out])
  assert.equal(late.status, 1)
  assert.match(late.err, /^The tensor "\S+" holds inf/)
  assert.equal(late.err.trim().split('\n').length, 1, 'one line')
  assert.equal(readFileSync(out, 'utf8'), 'the old one')
  assert.deepEqual(readdirSync(path).sort(), ['broken', 'out.gguf'])
  for (const [dir, words] of /** @type {[string, RegExp][]} */ ([
    [join(path, 'nowhere'), /There is no folder .*nowhere/],
    [out, /out\.gguf is a file/],
    [join(CHECKPOINTS, 'opt', '..'), /holds no checkpoint/],
  ])) {
    const { status, err } = await nook(['convert', dir, join(path, 'new.gguf')])
    assert.equal(status, 1)
    assert.match(err, words)
    assert.equal(existsSync(join(path, 'new.gguf')), false)
  }
  const nowhere = await nook(['convert', join(CHECKPOINTS, 'opt'), join(path, 'no', 'out.gguf')])
  assert.equal(nowhere.status, 1)
  assert.match(nowhere.err, /cannot be written/)
})

test('an abort ends a conversion in the middle', async () => {
  const controller = new AbortController()
  let pieces = 0
  await assert.rejects(
    convert({
      files: sourcesOf('llama3'),
      signal: controller.signal,
      write() {
        if (++pieces === 3) controller.abort(new Error('enough'))
      },
    }, nodeHost),
    { name: 'NookError', code: 'abort' },
  )
  assert.equal(pieces, 3)
})

test('a checkpoint of 100 MB passes through an engine that never has more than a few of them', async () => {
  /* The settings and the tokenizer of a small one, grown: zeros for weights, made as they are asked for. */
  const [layers, width, inner, heads, vocabulary] = [12, 512, 2048, 8, 320]
  const config = JSON.parse(readFileSync(join(CHECKPOINTS, 'llama_tied', 'config.json'), 'utf8'))
  Object.assign(config, {
    hidden_size: width, intermediate_size: inner, num_hidden_layers: layers, num_attention_heads: heads,
    head_dim: width / heads, num_key_value_heads: heads, attention_bias: false,
  })
  /** @type {Record<string, unknown>} */
  const header = {}
  let end = 0
  const add = (/** @type {string} */ name, /** @type {number[]} */ ...shape) => {
    const bytes = 2 * shape.reduce((product, n) => product * n, 1)
    header[`${name}.weight`] = { dtype: 'BF16', shape, data_offsets: [end, end + bytes] }
    end += bytes
  }
  add('model.embed_tokens', vocabulary, width)
  add('model.norm', width)
  for (let i = 0; i < layers; i++) {
    const layer = `model.layers.${i}`
    add(`${layer}.input_layernorm`, width)
    add(`${layer}.post_attention_layernorm`, width)
    for (const one of ['q', 'k', 'v', 'o']) add(`${layer}.self_attn.${one}_proj`, width, width)
    add(`${layer}.mlp.gate_proj`, inner, width)
    add(`${layer}.mlp.up_proj`, inner, width)
    add(`${layer}.mlp.down_proj`, width, inner)
  }
  const text = Buffer.from(JSON.stringify(header))
  const head = Buffer.alloc(8 + text.length)
  head.writeBigUInt64LE(BigInt(text.length))
  text.copy(head, 8)
  /** @param {Uint8Array} bytes @param {number} [size] @returns {import('../../web/sources/source.js').FileSource} */
  const source = (bytes, size = bytes.length) => ({
    name: 'made here',
    size,
    readInto(view, offset) {
      view.fill(0)
      view.set(bytes.subarray(Math.min(offset, bytes.length), Math.min(offset + view.length, bytes.length)))
    },
    close() {},
  })
  let written = 0
  const facts = await convert({
    files: [
      { name: 'config.json', source: source(Buffer.from(JSON.stringify(config))) },
      { name: 'tokenizer.json', source: source(readFileSync(join(CHECKPOINTS, 'llama_tied', 'tokenizer.json'))) },
      { name: 'model.safetensors', source: source(head, head.length + end) },
    ],
    outtype: 'q8_0',
    write(piece) { written += piece.length },
  }, nodeHost)
  assert.ok(end > 95e6, `${end} bytes of weights`)
  assert.equal(written, facts.bytes)
  assert.ok(facts.memory < 24e6, `${facts.memory} bytes of memory`)
})
