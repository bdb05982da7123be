/*
 * The default model through the shim and the command line: what only real weights and a real vocabulary show. Set-up
 * fetches the model; where it is missing these tests fail and say so.
 */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { load } from '../../web/node.js'
import { nook } from './cli-run.mjs'
import { FIXTURES, TINY, folder, needModel } from './support.mjs'

const oracle = JSON.parse(readFileSync(join(FIXTURES, 'real_smollm2', 'chat_template.json'), 'utf8'))
const strings = JSON.parse(readFileSync(join(FIXTURES, 'real_smollm2', 'logits_capital.json'), 'utf8'))

describe('chat', () => {
  /** @type {any} */
  let llm
  before(async () => { llm = await load({ model: needModel(), contextSize: 512, threads: 1 }) })
  after(() => llm?.dispose())

  test('every case of the reference: text byte for byte, and the ids of untrusted messages', async () => {
    for (const one of oracle.cases) {
      const { text, spans } = await llm.renderChat({
        messages: one.messages,
        add_generation_prompt: one.add_generation_prompt,
      })
      assert.equal(text, one.rendered)
      const bytes = Buffer.from(text)
      const pieces = spans.map((/** @type {any} */ span) => ({
        text: bytes.subarray(span.start, span.start + span.length).toString(),
        parse_special: span.parse_special,
      }))
      assert.deepEqual(Array.from(await llm.tokenize(pieces)), one.ids_untrusted)
    }
  })

  test('what a chat feeds to the model are those ids', async () => {
    for (const one of oracle.cases.filter((/** @type {any} */ each) => each.add_generation_prompt)) {
      const answer = await llm.chat.completions.create({ messages: one.messages, max_tokens: 1 })
      assert.equal(answer.usage.prompt_tokens, one.ids_untrusted.length)
    }
  })

  test('an answer ends with the model\'s end token, and tells it', async () => {
    const answer = await llm.chat.completions.create({
      messages: [{ role: 'user', content: 'What is gravity? Answer in one sentence.' }],
      temperature: 0,
      max_tokens: 120,
    })
    assert.equal(answer.choices[0].finish_reason, 'stop')
    assert.match(answer.choices[0].message.content, /^Gravity is/)
    assert.doesNotMatch(answer.choices[0].message.content, /<\|im_end\|>/)
  })

  test('a stop text is not shown and is named', async () => {
    const answer = await llm.completions.create({
      prompt: strings.meta.prompt,
      temperature: 0,
      max_tokens: 10,
      stop: ['\n\n'],
    })
    assert.equal(answer.choices[0].text, ' Paris.')
    assert.equal(answer.choices[0].finish_reason, 'stop')
    assert.equal(answer.stop_text, '\n\n')
  })

  test('an abort in the reading of a long prompt is told to the caller and the model goes on', async () => {
    const controller = new AbortController()
    let events = 0
    await assert.rejects(llm.completions.create({
      prompt: 'A small house stood by the river. '.repeat(50), max_tokens: 5, reuse: false, signal: controller.signal,
      onProgress: () => { if (++events === 2) controller.abort() },
    }), { code: 'abort' })
    assert.equal(
      (await llm.completions.create({ prompt: strings.meta.prompt, temperature: 0, max_tokens: 1 })).choices[0].text,
      ' Paris',
    )
  })
})

test('the same prompt, temperature 0: one thread and two, the same log-probabilities to the bit', async () => {
  /** @type {Float64Array[]} */
  const results = []
  for (const threads of [1, 2]) {
    const llm = await load({ model: needModel(), contextSize: 128, build: 'base', threads })
    assert.equal(llm.info.threads, threads)
    results.push(
      await llm.nll(await llm.tokenize('The river ran slowly past the old mill, and nobody in the village could say why.')),
    )
    await llm.dispose()
  }
  assert.deepEqual(results[0], results[1])
})

describe('the command line', () => {
  test('nook info --json has the promised keys', async () => {
    const { status, out } = await nook(['info', needModel(), '--json', '--context', '1024'])
    assert.equal(status, 0)
    const info = JSON.parse(out)
    for (const key of [
      'architecture',
      'parameters',
      'bytes',
      'types',
      'context',
      'tokenizer',
      'template',
      'memory',
      'unsupported',
    ])
      assert.ok(key in info, key)
    assert.deepEqual([info.architecture, info.bytes, info.context, info.unsupported], ['llama', 98362432, 1024, []])
    for (const key of ['weights', 'kv', 'work']) assert.ok(info.memory[key] > 0, key)
  })

  test('nook tokenize: a text, lines, bytes, and back', async (t) => {
    const [first] = oracle.cases
    const text = await nook(['tokenize', needModel(), first.rendered, '--special'])
    assert.deepEqual(JSON.parse(text.out), first.ids_parse_special)
    const plain = await nook(['tokenize', needModel(), first.rendered])
    assert.deepEqual(JSON.parse(plain.out), first.ids_no_parse_special)
    const file = join(folder(t), 'lines.jsonl')
    const lineOf = (/** @type {{rendered: string}} */ { rendered }, /** @type {number} */ i) =>
      JSON.stringify(i % 2 === 0 ? { text: rendered } : { hex: Buffer.from(rendered).toString('hex') })
    writeFileSync(file, `${oracle.cases.map(lineOf).join('\n')}\n`)
    const lines = await nook(['tokenize', needModel(), '--jsonl', file])
    assert.deepEqual(
      lines.out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
      oracle.cases.map((/** @type {any} */ one) => one.ids_no_parse_special),
    )
    const back = await nook(['tokenize', needModel(), '--detokenize', JSON.stringify(first.ids_parse_special), '--special'])
    assert.equal(back.out, first.rendered)
  })

  test('nook logits writes rows that do not depend on --chunk', async (t) => {
    const path = folder(t)
    writeFileSync(join(path, 'ids.json'), JSON.stringify([1, 9690, 198, 2683, 359]))
    /** @type {Buffer[]} */
    const files = []
    for (const more of [[], ['--chunk', '1'], ['--chunk', '2']]) {
      const out = join(path, `o${files.length}`)
      const { status, out: json } = await nook([
        'logits',
        needModel(),
        '--tokens',
        join(path, 'ids.json'),
        '--out',
        out,
        '--json',
        ...more,
      ])
      assert.equal(status, 0)
      assert.deepEqual(JSON.parse(json), { rows: 5, columns: 49152, out })
      files.push(readFileSync(out))
    }
    assert.equal(files[0]?.length, 5 * 49152 * 4)
    assert.ok(files.every((file) => file.equals(/** @type {Buffer} */ (files[0]))))
  })

  test('nook perplexity counts as it says', async (t) => {
    const file = join(folder(t), 't.txt')
    writeFileSync(file, 'The quick brown fox jumps over the lazy dog. The river ran slowly past the old mill.')
    const ids = JSON.parse((await nook(['tokenize', needModel(), '--file', file])).out)
    const whole = JSON.parse((await nook(['perplexity', needModel(), file, '--json'])).out)
    assert.deepEqual(Object.keys(whole), ['tokens', 'mean_nll', 'perplexity'])
    assert.equal(whole.tokens, ids.length - 1)
    const cut = JSON.parse((await nook(['perplexity', needModel(), file, '--json', '--window', '8'])).out)
    assert.equal(cut.tokens, ids.length - Math.ceil(ids.length / 8))
    assert.ok(cut.perplexity > whole.perplexity)
  })

  test('nook generate and chat: text on stdout, the same in --json', async (t) => {
    const args = ['--temperature', '0', '--max-tokens', '6', '--threads', '1']
    const text = await nook(['generate', needModel(), '--prompt', 'The capital of France is', ...args])
    const json = JSON.parse(
      (await nook(['generate', needModel(), '--prompt', 'The capital of France is', '--json', ...args])).out,
    )
    assert.equal(json.object, 'text_completion')
    assert.equal(text.out.trimEnd(), json.choices[0].text.trimEnd())
    assert.equal(json.usage.completion_tokens, 6)
    const file = join(folder(t), 'm.json')
    writeFileSync(file, JSON.stringify([{ role: 'user', content: 'Hello!' }]))
    const chat = JSON.parse((await nook(['chat', needModel(), '--messages', file, '--json', ...args])).out)
    assert.equal(chat.object, 'chat.completion')
    assert.equal(
      (await nook(['chat', needModel(), ...args], { input: 'Hello!\n' })).out.trimEnd(),
      chat.choices[0].message.content.trimEnd(),
    )
    const scored = JSON.parse(
      (
        await nook([
          'generate',
          needModel(),
          '--prompt',
          'The capital of France is',
          '--choices',
          '[" Paris", " Rome"]',
          '--json',
        ])
      ).out,
    )
    assert.equal(scored.choices[0].text, ' Paris')
  })

  test('Ctrl-C ends a generation with status 1 and one sentence', async () => {
    const { status, err } = await nook(
      ['generate', needModel(), '--prompt', 'Once', '--ignore-end', '--max-tokens', '2000', '--context', '2048'],
      { interruptAt: 5 },
    )
    assert.equal(status, 1)
    assert.match(err, /aborted/)
    assert.equal(err.trim().split('\n').length, 1)
  })

  test('nook bench prints its rows', async () => {
    const { status, out } = await nook(['bench', TINY, '--json', '--context', '256', '--repeats', '1', '--threads', '1'])
    assert.equal(status, 0)
    const { device, build, threads, rows } = JSON.parse(out)
    assert.ok(device.length > 3)
    assert.equal(threads, 1)
    assert.ok(['base', 'relaxed'].includes(build))
    for (const what of [
      'load',
      'prefill 16',
      'prefill 128',
      'decode 64',
      'abort while reading',
      'abort while writing',
      'peak memory over an empty Node',
    ]) {
      const row = rows.find((/** @type {any} */ one) => one.what === what)
      assert.ok(
        row !== undefined
          && row.median > 0
          && row.min <= row.median
          && row.median <= row.max
          && row.n >= 1
          && row.unit !== '',
        what,
      )
    }
  })
})
