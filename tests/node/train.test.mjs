/*
 * Training and adapters through the shim and the command line, against PyTorch and PEFT.
 *
 * Fixtures  tests/fixtures/train_real: SmolLM2-135M-Instruct Q4_1 learns subject lines of commits (losses.json: float32 of
 *           dequantized weights); tests/fixtures/train/llama: a random model, logits with the trained adapters.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { readAdapter } from '../../web/cli/adapters.js'
import { Engine } from '../../web/engine.js'
import { Examples } from '../../web/examples.js'
import { load } from '../../web/node.js'
import { nodeHost } from '../../web/platform/node.js'
import { Prompts } from '../../web/prompts.js'
import { nook } from './cli-run.mjs'
import { CLI, FIXTURES, TINY, folder, needModel } from './support.mjs'

const REAL = join(FIXTURES, 'train_real')
const LLAMA = join(FIXTURES, 'train', 'llama')
const losses = JSON.parse(readFileSync(join(REAL, 'losses.json'), 'utf8'))
/** @param {string} name @returns {any[]} */
const lines = (name) => readFileSync(join(REAL, name), 'utf8').trim().split('\n').map((line) => JSON.parse(line))
const METHODS = ['lora', 'ia3', 'prompt', 'prefix']

/** Tensors of a bundle. @param {string} stem @param {string} name @returns {any} */
function tensor(stem, name) {
  const { tensors } = JSON.parse(readFileSync(`${stem}.json`, 'utf8'))
  const bytes = new Uint8Array(readFileSync(`${stem}.bin`))
  const { dtype, offset, nbytes } = tensors[name]
  const kind = /** @type {any} */ ({ f32: Float32Array, f64: Float64Array, i32: Int32Array })[dtype]
  return new kind(bytes.buffer, offset, nbytes / kind.BYTES_PER_ELEMENT)
}

describe('examples', () => {
  /** @type {Engine} */
  let engine
  before(async () => {
    engine = await Engine.create({ build: 'base', threads: 1 }, nodeHost)
    for await (const step of engine.load([nodeHost.openPath(needModel())], { contextSize: 512 })) void step
  })
  after(() => engine?.dispose())
  const examples = (/** @type {any} */ options = {}) => new Examples(engine, new Prompts(engine, undefined), options)
  /** The texts that are learned. @param {{ids: Int32Array, labels: Int32Array}} example */
  const learned = ({ ids, labels }) => {
    assert.ok(labels.every((label, i) => label === -100 || label === ids[i]))
    return new TextDecoder().decode(engine.detokenize(labels.filter((label) => label !== -100), { special: true }))
  }

  for (const set of ['train', 'heldout']) {
    test(`${set}: ids and labels of every chat are the reference's`, async () => {
      const wanted = lines(`${set}.jsonl`)
      for (const [i, item] of lines(`${set}.messages.jsonl`).entries()) {
        const { ids, labels } = await examples().of(item, `line ${i}`)
        assert.deepEqual(Array.from(ids), wanted[i].input_ids)
        assert.deepEqual(Array.from(labels), wanted[i].labels)
      }
    })
  }

  test('each answer of a long chat is learned with its end of turn, and nothing of the user', async () => {
    const messages = [
      { role: 'user', content: 'One' }, { role: 'assistant', content: 'First answer.' },
      { role: 'user', content: 'First answer.' }, { role: 'assistant', content: 'Second\n\nanswer' },
    ]
    assert.equal(learned(await examples().of({ messages }, 'x')), 'First answer.<|im_end|>Second\n\nanswer<|im_end|>')
  })

  test('a control token in a message stays text and ends no answer', async () => {
    const content = 'a <|im_end|> b'
    const example = await examples().of({ prompt: '<|im_start|>system', completion: content }, 'x')
    assert.equal(learned(example), `${content}<|im_end|>`)
    const [start, end] = [1, 2] /* <|im_start|> and <|im_end|> of this vocabulary */
    assert.equal(example.ids.filter((id) => id === start).length, 3)
    assert.equal(example.ids.filter((id) => id === end).length, 3)
  })

  test('raw: prompt and completion as they are, with the end token behind them', async () => {
    const example = await examples({ raw: true }).of({ prompt: 'The sky is', completion: ' blue' }, 'x')
    const end = new TextDecoder().decode(engine.detokenize([engine.info.eos], { special: true }))
    assert.equal(learned(example), ` blue${end}`)
    assert.deepEqual(example.ids.slice(0, -1), engine.tokenize('The sky is blue', { addSpecial: true }))
  })

  for (const [what, item, words] of /** @type {[string, any, RegExp][]} */ ([
    ['a number', 3, /line 1 is no example/],
    ['an unknown key', { messages: [], more: 1 }, /no option "more"/],
    ['no messages', { messages: [] }, /line 1: messages/],
    ['ids and labels of different lengths', { input_ids: [1, 2], labels: [1] }, /2 input_ids and 1 labels/],
    ['labels that are no numbers', { input_ids: [1], labels: ['a'] }, /labels is not a list/],
    ['a completion that is no text', { prompt: 'a', completion: 4 }, /is no example/],
  ])) {
    test(`refused with its place: ${what}`, async () => {
      await assert.rejects(examples().of(item, 'line 1'), words)
    })
  }
})

for (const [build, steps] of /** @type {const} */ ([['relaxed', 3], ['base', 1]])) {
  describe(`SmolLM2 learns as in PyTorch, ${build} build`, () => {
    for (const method of METHODS) {
      test(`${method}: losses of ${steps} steps and norms of their gradients, within 2e-3`, async (t) => {
        const dir = folder(t)
        const { optimizer, loss, grad_norm } = losses[method]
        const { status, out, err } = await nook([
          'train', needModel(), '--float', '--build', build, '--context', '512',
          '--data', join(REAL, 'train.messages.jsonl'), '--out', join(dir, 'a'),
          '--init', join(REAL, method), '--steps', String(steps), '--lr', String(optimizer.lr),
          '--weight-decay', String(optimizer.weight_decay), '--schedule', 'constant', '--warmup-steps', '4', '--no-shuffle',
          '--log', join(dir, 'log.jsonl'), '--json',
        ])
        assert.equal(status, 0, err)
        const log = readFileSync(join(dir, 'log.jsonl'), 'utf8').trim().split('\n').map((line) => JSON.parse(line))
        assert.equal(log.length, steps)
        t.diagnostic(log.map((one, i) => (one.loss - loss[i]).toExponential(1)).join(' '))
        for (const [i, one] of log.entries()) {
          assert.equal(one.step, i + 1)
          assert.ok(Math.abs(one.loss - loss[i]) <= 2e-3, `step ${i}: ${one.loss}, wanted ${loss[i]}`)
          assert.ok(Math.abs(one.grad_norm / grad_norm[i] - 1) <= 2e-3, `step ${i}: norm ${one.grad_norm}`)
          assert.ok(Math.abs(one.lr - (optimizer.lr * (i + 1)) / 4) < 1e-12)
          assert.ok(one.tokens_per_second > 0)
        }
        const told = JSON.parse(out)
        assert.equal(told.method, method)
        assert.equal(told.end, 'budget')
        assert.ok(existsSync(join(dir, 'a', 'adapter_config.json')))
        assert.ok(existsSync(join(dir, 'a', 'adapter_model.safetensors')))
        assert.ok(!existsSync(join(dir, 'a.checkpoint')))
      })
    }
  })
}

describe('adapters', () => {
  for (const method of ['lora_all', 'lora_attn', 'ia3', 'prompt', 'prefix']) {
    test(`nook logits --adapter: ${method} of a random model within 3e-4 of PEFT`, async (t) => {
      const dir = folder(t)
      const stem = join(LLAMA, method, 'oracle')
      const ids = tensor(stem, 'ids')
      const wanted = tensor(stem, 'logits_final')
      const width = wanted.length / 2
      const skipped = width - 24 * 320 /* PEFT gives rows of a prompt's virtual tokens too */
      assert.equal(skipped, method === 'prompt' ? 8 * 320 : 0)
      for (const row of [0, 1]) {
        writeFileSync(join(dir, 'ids.json'), JSON.stringify(Array.from(ids.slice(row * 24, row * 24 + 24))))
        const { status, err } = await nook([
          'logits', TINY, '--float', '--build', 'base', '--threads', '1', '--tokens', join(dir, 'ids.json'),
          '--out', join(dir, 'out.f32'), '--adapter', join(LLAMA, method, 'final'),
        ])
        assert.equal(status, 0, err)
        const got = new Float32Array(new Uint8Array(readFileSync(join(dir, 'out.f32'))).buffer)
        assert.equal(got.length, 24 * 320)
        let most = 0
        got.forEach((value, i) => { most = Math.max(most, Math.abs(value - wanted[row * width + skipped + i])) })
        assert.ok(most <= 3e-4, `row ${row}: ${most}`)
      }
    })
  }

  test('added, listed, used with a scale, exported to the same bytes, removed', async (t) => {
    const llm = await load({ model: TINY, build: 'base', threads: 1, activations: 'f32' })
    t.after(() => llm.dispose())
    const files = readAdapter(join(LLAMA, 'lora_all', 'final'))
    const adapter = await llm.adapters.add(files)
    assert.equal(adapter.method, 'lora')
    assert.equal((await llm.adapters.list())[0]?.id, adapter.id)
    const ids = Array.from({ length: 20 }, (_, i) => 7 + i)
    const alone = await llm.nll(ids)
    const used = await llm.nll(ids, { adapters: [adapter] })
    const none = await llm.nll(ids, { adapters: [{ id: adapter.id, scale: 0 }] })
    assert.notDeepEqual(used, alone)
    assert.deepEqual(none, alone)
    assert.deepEqual(await llm.nll(ids), alone, 'a call without adapters is the model alone')
    const weights = (await adapter.export())['adapter_model.safetensors']
    const again = await llm.adapters.add(await adapter.export())
    assert.deepEqual((await again.export())['adapter_model.safetensors'], weights)
    assert.deepEqual(await llm.nll(ids, { adapters: [again] }), used)
    const gguf = await llm.adapters.add(await adapter.export('gguf'))
    const close = await llm.nll(ids, { adapters: [gguf] })
    close.forEach((value, i) => assert.ok(Math.abs(value - Number(used[i])) < 1e-5))
    await llm.adapters.remove(adapter)
    assert.deepEqual((await llm.adapters.list()).map((/** @type {any} */ one) => one.id), [again.id, gguf.id])
    await assert.rejects(llm.nll(ids, { adapters: [adapter] }), /no adapter of number/)
    await assert.rejects(llm.adapters.add({ 'a.txt': new Uint8Array(3) }), /are no adapter: a\.txt/)
    await assert.rejects(llm.adapters.add({ 'a.gguf': new Uint8Array(30) }), { name: 'NookError' })
  })

  test('an adapter of another model is refused', async () => {
    const { status, err } = await nook([
      'generate', TINY, '--prompt', 'x', '--adapter', join(FIXTURES, 'train', 'gemma3', 'lora_all', 'final'),
    ])
    assert.equal(status, 1)
    assert.doesNotMatch(err, /\bat \S+:\d+/)
  })
})

describe('a training of a random model', () => {
  const data = Array.from({ length: 10 }, (_, row) => {
    const input_ids = Array.from({ length: 12 + row }, (__, i) => 5 + ((row * 37 + i * 11) % 300))
    return { input_ids, labels: input_ids.map((id, i) => (i < 4 ? -100 : id)) }
  })
  const OPTIONS = /** @type {const} */ ({ method: 'lora', rank: 2, steps: 8, batchSize: 2, seed: 3 })
  const open = () => load({ model: TINY, build: 'base', threads: 1, contextSize: 128 })

  test('interrupted and resumed it gives the same bytes', async (t) => {
    const llm = await open()
    t.after(() => llm.dispose())
    /** @type {Uint8Array[]} */
    const kept = []
    const keep = (/** @type {Uint8Array} */ bytes) => kept.push(bytes)
    const run = llm.train({ ...OPTIONS, data, checkpointEvery: 3, onCheckpoint: keep })
    /** @type {any[]} */
    const events = []
    for await (const event of run) events.push(event)
    const { adapter, end, steps } = await run.result
    assert.deepEqual([end, steps, kept.length], ['budget', 8, 2])
    assert.deepEqual(events.map((event) => event.type), ['start', ...Array.from({ length: 8 }, () => 'step')])
    const resumed = llm.train({ ...OPTIONS, data, resume: /** @type {Uint8Array} */ (kept[0]) })
    const again = await resumed.result
    assert.deepEqual(await again.adapter.export(), await adapter.export())
    await assert.rejects(llm.train({ ...OPTIONS, seed: 4, data, resume: /** @type {Uint8Array} */ (kept[0]) }).result)
  })

  test('an abort keeps a last checkpoint, from which it goes on', async (t) => {
    const llm = await open()
    t.after(() => llm.dispose())
    const whole = await llm.train({ ...OPTIONS, data }).result
    const controller = new AbortController()
    /** @type {[Uint8Array, number][]} */
    const kept = []
    const run = llm.train({
      ...OPTIONS, data, signal: controller.signal,
      onCheckpoint: (/** @type {Uint8Array} */ bytes, /** @type {number} */ step) => kept.push([bytes, step]),
    })
    await assert.rejects(async () => {
      for await (const event of run) if (event.type === 'step' && event.step === 2) controller.abort()
    }, { code: 'abort' })
    await assert.rejects(run.result, { code: 'abort' })
    assert.equal(kept.length, 1)
    const [bytes, step] = /** @type {[Uint8Array, number]} */ (kept[0])
    assert.ok(step >= 2 && step < 8)
    const again = await llm.train({ ...OPTIONS, data, resume: bytes }).result
    assert.deepEqual(await again.adapter.export(), await whole.adapter.export())
  })

  test('the model answers while it learns, and the training is the same', async (t) => {
    const llm = await open()
    t.after(() => llm.dispose())
    const alone = await llm.train({ ...OPTIONS, data }).result
    const nll = await llm.nll(data[0]?.input_ids ?? [])
    const run = llm.train({ ...OPTIONS, data })
    let during = 0
    for await (const event of run) {
      if (event.type !== 'step' || event.step > 3) continue
      assert.deepEqual(await llm.nll(data[0]?.input_ids ?? []), nll)
      during++
    }
    assert.equal(during, 3)
    await assert.rejects(Promise.all([llm.train({ ...OPTIONS, data }).result, llm.train({ ...OPTIONS, data }).result]),
      { code: 'busy' })
    assert.deepEqual(await (await run.result).adapter.export(), await alone.adapter.export())
  })

  test('held-out examples are measured, patience ends it, the estimate knows its size', async (t) => {
    const llm = await open()
    t.after(() => llm.dispose())
    const options = {
      ...OPTIONS, steps: 400, lr: 0.5, clip: 0, evalEvery: 2, patience: 2, data: data.slice(0, 8), eval: data.slice(8),
    }
    const plan = await llm.estimate({ train: options })
    assert.deepEqual([plan.examples.given, plan.held_out.given, plan.steps], [8, 2, 400])
    assert.ok(plan.bytes > 0 && plan.parameters > 0)
    const run = llm.train(options)
    /** @type {number[]} */
    const measured = []
    for await (const event of run) if (event.type === 'eval') measured.push(event.loss)
    const made = await run.result
    assert.equal(made.end, 'patience')
    assert.equal(made.best_eval_loss, Math.min(...measured))
    assert.ok(made.adapter.parameters === plan.parameters)
  })

  test('options that are unknown or wrong are refused by name', async (t) => {
    const llm = await open()
    t.after(() => llm.dispose())
    assert.throws(() => llm.train(/** @type {any} */ ({ data, learningRate: 1 })), /no option "learningRate"/)
    assert.throws(() => llm.train(/** @type {any} */ ({})), /data is not a list/)
    await assert.rejects(llm.train({ data, method: 'ia3', rank: 2 }).result, /rank.*belongs to lora/)
    await assert.rejects(llm.train({ data: [{ input_ids: [1, 2], labels: [1, 9999] }] }).result, { code: 'data' })
    const fine = await llm.train({ ...OPTIONS, steps: 1, data }).result
    assert.equal(fine.steps, 1, 'a refusal leaves nothing behind')
  })

  test('nook train: --resume goes on with the log, --out x.gguf is read again', async (t) => {
    const dir = folder(t)
    writeFileSync(join(dir, 'd.jsonl'), data.map((one) => `${JSON.stringify(one)}\n`).join(''))
    const args = (/** @type {string} */ out) => [
      'train', TINY, '--build', 'base', '--threads', '1', '--context', '128', '--data', join(dir, 'd.jsonl'), '--out',
      join(dir, out), '--rank', '2', '--steps', '6', '--batch-size', '2', '--seed', '3', '--log', join(dir, `${out}.log`),
    ]
    const whole = await nook([...args('a.gguf'), '--held-out', '2', '--json'])
    assert.equal(whole.status, 0, whole.err)
    const log = readFileSync(join(dir, 'a.gguf.log'), 'utf8').trim().split('\n').map((line) => JSON.parse(line))
    assert.deepEqual(log.filter((one) => 'eval_loss' in one).map((one) => one.step).at(0), 0)
    assert.deepEqual(log.filter((one) => 'loss' in one).map((one) => one.step), [1, 2, 3, 4, 5, 6])
    const text = await nook([
      'generate', TINY, '--prompt', 'x', '--max-tokens', '2', '--adapter', `${join(dir, 'a.gguf')}=0.5`, '--json',
    ])
    assert.equal(text.status, 0, text.err)
    /* A checkpoint as a kill would leave it. */
    const llm = await open()
    t.after(() => llm.dispose())
    const run = llm.train({
      rank: 2, steps: 6, batchSize: 2, seed: 3, data, checkpointEvery: 2,
      onCheckpoint: (/** @type {Uint8Array} */ bytes, /** @type {number} */ step) => {
        if (step === 4) writeFileSync(join(dir, 'b.checkpoint'), bytes)
      },
    })
    const { adapter } = await run.result
    writeFileSync(join(dir, 'b.log'), [3, 4, 5, 6].map((step) => `${JSON.stringify({ step, loss: 0 })}\n`).join(''))
    const resumed = await nook([...args('b'), '--resume'])
    assert.equal(resumed.status, 0, resumed.err)
    const files = await adapter.export()
    assert.deepEqual(readAdapter(join(dir, 'b'))['adapter_model.safetensors'], files['adapter_model.safetensors'])
    const steps = readFileSync(join(dir, 'b.log'), 'utf8').trim().split('\n').map((line) => JSON.parse(line).step)
    assert.deepEqual(steps, [3, 4, 5, 6])
    const missing = await nook([...args('c'), '--resume'])
    assert.match(missing.err, /no .*c\.checkpoint/)
    writeFileSync(join(dir, 'bad.jsonl'), '{"messages": []}\n{')
    const bad = await nook([...args('d'), '--data', join(dir, 'bad.jsonl')])
    assert.match(bad.err, /line 2 is not JSON/)
  })
  test('nook train: Ctrl-C keeps a checkpoint, and --resume ends where nothing had happened', async (t) => {
    const dir = folder(t)
    writeFileSync(join(dir, 'd.jsonl'), data.map((one) => `${JSON.stringify(one)}\n`).join(''))
    const args = (/** @type {string} */ out) => [
      'train', TINY, '--build', 'base', '--threads', '1', '--context', '128', '--data', join(dir, 'd.jsonl'), '--out',
      join(dir, out), '--method', 'ia3', '--steps', '150', '--log', join(dir, `${out}.log`),
    ]
    const child = spawn(process.execPath, [CLI, ...args('a')], { stdio: ['ignore', 'ignore', 'pipe'] })
    let err = ''
    child.stderr.setEncoding('utf8').on('data', (text) => { err += text })
    const ended = new Promise((resolve) => { child.on('close', resolve) })
    while (!existsSync(join(dir, 'a.log')) && child.exitCode === null) await new Promise((next) => { setTimeout(next, 5) })
    child.kill('SIGINT')
    assert.equal(await ended, 1, err)
    assert.match(err, /The training was aborted|Interrupted/)
    assert.ok(existsSync(join(dir, 'a.checkpoint')))
    assert.ok(!existsSync(join(dir, 'a')))
    const resumed = await nook([...args('a'), '--resume'])
    assert.equal(resumed.status, 0, resumed.err)
    assert.equal((await nook(args('b'))).status, 0)
    assert.deepEqual(readAdapter(join(dir, 'a'))['adapter_model.safetensors'],
      readAdapter(join(dir, 'b'))['adapter_model.safetensors'])
    const steps = readFileSync(join(dir, 'a.log'), 'utf8').trim().split('\n').map((line) => JSON.parse(line).step)
    assert.deepEqual(steps, Array.from({ length: 150 }, (_, i) => i + 1))
  })
})
