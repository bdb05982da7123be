/* The client over the real worker thread: shapes, errors by name, streams, aborts, the end of the process. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { after, before, describe, test } from 'node:test'
import nook, { NookError, cache, estimate, load, probe } from '../../web/node.js'
import { ROOT, TINY, fileServer, folder, sha256 } from './support.mjs'

const OPTIONS = /** @type {const} */ ({ model: TINY, build: 'base', threads: 1, contextSize: 256 })
const PROMPT = Array.from({ length: 120 }, (_, i) => 5 + i)
const TEMPLATE =
  '{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}'

describe('before a load', () => {
  test('unknown keys are named, in every call that takes options', async () => {
    await assert.rejects(load(/** @type {any} */ ({ ...OPTIONS, contxtSize: 3 })), {
      code: 'data',
      message: /"contxtSize"/,
      name: 'NookError',
    })
    await assert.rejects(estimate(/** @type {any} */ ({ ...OPTIONS, foo: 3 })), { code: 'data', message: /"foo"/ })
    await assert.rejects(cache.list(/** @type {any} */ ({ bar: 1 })), { code: 'data', message: /"bar"/ })
  })

  for (const [key, value] of /** @type {[string, unknown][]} */ ([
    ['model', undefined],
    ['model', 7],
    ['model', []],
    ['build', 'fast'],
    ['kv', 'f8'],
    ['activations', 'int4'],
    ['cache', 'disk'],
    ['threads', 0],
    ['threads', 1.5],
    ['threads', 65],
    ['contextSize', 0],
    ['contextSize', '1k'],
    ['sha256', 'abc'],
    ['sha256', ['a'.repeat(64), 'b'.repeat(64)]],
    ['signal', {}],
    ['onProgress', 3],
    ['chatTemplate', 3],
  ])) {
    test(`load refuses ${key}: ${JSON.stringify(value)}`, async () => {
      await assert.rejects(load(/** @type {any} */ ({ ...OPTIONS, [key]: value })), (error) => {
        assert.ok(error instanceof NookError)
        assert.equal(error.code, 'data')
        assert.match(error.message, new RegExp(key === 'sha256' ? 'sha256' : key))
        return true
      })
    })
  }

  test('a signal that is aborted already ends the load at once, a later one in the middle', async () => {
    await assert.rejects(load({ ...OPTIONS, signal: AbortSignal.abort() }), { code: 'abort' })
    await assert.rejects(load({ ...OPTIONS, abortSignal: AbortSignal.abort('mine') }), (error) => {
      assert.equal(/** @type {any} */ (error).cause, 'mine')
      return true
    })
    const controller = new AbortController()
    await assert.rejects(load({ ...OPTIONS, signal: controller.signal, onProgress: () => controller.abort() }), {
      code: 'abort',
    })
  })

  test('the features that the probe finds are the ones of this Node, with reasons', () => {
    const features = probe()
    for (const one of Object.values(features)) assert.ok(one.reason.length > 5)
    assert.equal(features.simd.ok, true)
    assert.equal(features.relaxed.ok, true, 'the flag was set')
    assert.equal(nook.load, load)
  })

  test('estimate reads the header only, of a path and of an address', async (t) => {
    const plan = await estimate(OPTIONS)
    assert.equal(plan.architecture, 'llama')
    assert.ok(plan.memory.total > plan.memory.weights)
    const { url, requests } = await fileServer(t, readFileSync(TINY))
    assert.deepEqual((await estimate({ ...OPTIONS, model: url, cacheFolder: folder(t) })).memory, plan.memory)
    assert.equal(requests.length, 1)
  })
})

describe('a loaded model', () => {
  /** @type {any} */
  let llm
  before(async () => { llm = await load(OPTIONS) })
  after(() => llm?.dispose())

  test('info says what it is and why it runs so', () => {
    assert.equal(llm.info.file, 'llama')
    assert.equal(llm.info.build, 'base')
    assert.equal(llm.info.threads, 1)
    assert.ok(llm.info.reasons.length >= 2)
    assert.ok(llm.info.wasm_memory >= llm.info.memory.total)
  })

  test('a completion has OpenAI\'s shape, usage and timings', async () => {
    const answer = await llm.completions.create({ prompt: PROMPT, max_tokens: 8, temperature: 0, ignore_end: true })
    assert.match(answer.id, /^cmpl-[0-9a-f]{24}$/)
    assert.equal(answer.object, 'text_completion')
    assert.equal(answer.model, 'llama')
    assert.equal(answer.choices[0].finish_reason, 'length')
    assert.equal(typeof answer.choices[0].text, 'string')
    assert.equal(answer.usage.total_tokens, 128)
    assert.deepEqual(Object.keys(answer.timings).sort(), [
      'cached_n',
      'predicted_ms',
      'predicted_n',
      'prompt_ms',
      'prompt_n',
    ])
    const again = await llm.completions.create({ prompt: PROMPT, max_tokens: 8, temperature: 0, ignore_end: true })
    assert.equal(again.choices[0].text, answer.choices[0].text)
    assert.ok(again.usage.prompt_tokens_details.cached_tokens >= 118)
    assert.equal(again.timings.prompt_n, 120 - again.usage.prompt_tokens_details.cached_tokens)
  })

  test('a chat streams chunks: the role first, then text, then reason, usage and timings', async () => {
    const request = {
      messages: [{ role: 'user', content: 'hi' }],
      chatTemplate: TEMPLATE,
      max_tokens: 12,
      temperature: 0,
      ignore_end: true,
    }
    const whole = await llm.chat.completions.create(request)
    /** @type {any[]} */
    const chunks = []
    for await (const chunk of await llm.chat.completions.create({ ...request, stream: true })) chunks.push(chunk)
    assert.equal(chunks[0].choices[0].delta.role, 'assistant')
    assert.ok(chunks.every((chunk) => chunk.object === 'chat.completion.chunk' && chunk.id === chunks[0].id))
    assert.equal(chunks.map((chunk) => chunk.choices[0].delta.content ?? '').join(''), whole.choices[0].message.content)
    assert.ok(chunks.slice(0, -1).every((chunk) => chunk.choices[0].finish_reason === null && chunk.usage === undefined))
    const last = chunks.at(-1)
    assert.equal(last.choices[0].finish_reason, 'length')
    assert.equal(last.usage.completion_tokens, 12)
    assert.equal(last.timings.predicted_n, 12)
  })

  test('log-probabilities in both shapes', async () => {
    const chat = await llm.chat.completions.create({
      messages: [{ role: 'user', content: 'x' }],
      chatTemplate: TEMPLATE,
      max_tokens: 3,
      temperature: 0,
      ignore_end: true,
      logprobs: true,
      top_logprobs: 4,
    })
    const { content } = chat.choices[0].logprobs
    assert.equal(content.length, 3)
    for (const one of content) {
      assert.ok(one.logprob <= 0)
      assert.equal(one.top_logprobs.length, 4)
      assert.equal(one.top_logprobs[0].id, one.id, 'temperature 0 takes the most likely')
      assert.ok(Math.abs(one.top_logprobs[0].logprob - one.logprob) < 1e-5)
      assert.ok(
        one.top_logprobs.every(
          (/** @type {any} */ top, /** @type {number} */ i) => i === 0 || top.logprob <= one.top_logprobs[i - 1].logprob,
        ),
      )
    }
    const text = await llm.completions.create({ prompt: 'x', max_tokens: 3, temperature: 0, ignore_end: true, logprobs: 2 })
    const { logprobs } = text.choices[0]
    assert.equal(logprobs.tokens.length, 3)
    assert.equal(logprobs.top_logprobs.length, 3)
    assert.equal(logprobs.text_offset[0], 0)
  })

  test('a model without a template says so, and how to give one', async (t) => {
    const bytes = readFileSync(TINY)
    bytes.write('tokenizer.chat_templatX', bytes.indexOf('tokenizer.chat_template'))
    const path = join(folder(t), 'bare.gguf')
    writeFileSync(path, bytes)
    const bare = await load({ ...OPTIONS, model: path })
    t.after(() => bare.dispose())
    assert.equal(bare.info.template, null)
    await assert.rejects(bare.chat.completions.create({ messages: [{ role: 'user', content: 'hi' }] }), (error) => {
      assert.ok(error instanceof NookError)
      assert.equal(error.code, 'template')
      assert.match(error.hint, /chatTemplate/)
      return true
    })
    const plain = await bare.renderChat({ messages: [{ role: 'user', content: 'hi' }], chatTemplate: 'plain' })
    assert.equal(plain.text, 'User: hi\n\nAssistant:')
    const given = await load({ ...OPTIONS, model: path, chatTemplate: TEMPLATE })
    t.after(() => given.dispose())
    assert.equal((await given.renderChat({ messages: [{ role: 'user', content: 'hi' }] })).text, '[user]hi[assistant]')
  })

  test('the plain form begins with BOS where the file says so; a template writes its own', async (t) => {
    const bytes = readFileSync(TINY)
    const key = 'tokenizer.ggml.add_bos_token'
    bytes[bytes.indexOf(key) + key.length + 4] = 1
    const path = join(folder(t), 'adds-bos.gguf')
    writeFileSync(path, bytes)
    const adding = await load({ ...OPTIONS, model: path })
    t.after(() => adding.dispose())
    const tokens = async (/** @type {any} */ model, /** @type {object} */ more) =>
      (await model.chat.completions.create({ messages: [{ role: 'user', content: 'hi' }], max_tokens: 1, ...more })).usage
        .prompt_tokens
    const plain = { chatTemplate: 'plain' }
    assert.equal(await tokens(adding, plain), (await tokens(llm, plain)) + 1)
    assert.equal(await tokens(adding, {}), await tokens(llm, {}))
    const { text } = await adding.renderChat({ messages: [{ role: 'user', content: 'hi' }], ...plain })
    assert.equal(await tokens(llm, plain), (await llm.tokenize(text, { special: true, addSpecial: false })).length)
  })

  test('a chat tokenizes its text with the spans of the template: a control token in a message stays text', async () => {
    const bos = await llm.detokenize([llm.info.bos], { special: true })
    assert.ok(bos.length > 1)
    const template = `${bos}{{ messages[0].content }}`
    const ids = (
      await llm.chat.completions.create({
        messages: [{ role: 'user', content: bos }],
        chatTemplate: template,
        max_tokens: 1,
      })
    ).usage.prompt_tokens
    const text = await llm.tokenize([{ text: bos, parse_special: true }, { text: bos }])
    assert.equal(text[0], llm.info.bos)
    assert.ok(text.length > 2)
    assert.ok(!text.slice(1).includes(llm.info.bos))
    assert.equal(ids, text.length)
    assert.equal((await llm.tokenize(bos)).includes(llm.info.bos), false)
    assert.deepEqual(Array.from(await llm.tokenize(bos, { special: true })), [llm.info.bos])
  })

  test('tokens and bytes go there and back', async () => {
    const text = 'naïve ☕ \u{1f600}'
    assert.equal(await llm.detokenize(await llm.tokenize(text)), text)
    const bytes = Uint8Array.of(0xff, 0x41, 0xc3)
    assert.equal(new TextDecoder().decode(await llm.detokenizeBytes(await llm.tokenize(bytes))), '\ufffdA\ufffd')
  })

  for (const [what, call, words] of /** @type {[string, (llm: any) => Promise<any>, RegExp][]} */ ([
    ['an unknown key of a chat', (m) => m.chat.completions.create({ messages: [], temprature: 1 }), /"temprature"/],
    ['an unknown key of a completion', (m) => m.completions.create({ prompt: 'x', messages: [] }), /"messages"/],
    ['no prompt', (m) => m.completions.create({ max_tokens: 3 }), /prompt/],
    ['no messages', (m) => m.chat.completions.create({ chatTemplate: 'x' }), /messages/],
    ['stream as a word', (m) => m.completions.create({ prompt: 'x', stream: 'yes' }), /stream/],
    ['a value that C refuses', (m) => m.completions.create({ prompt: 'x', top_p: 3 }), /top_p/],
    ['a type that C refuses', (m) => m.completions.create({ prompt: 'x', max_tokens: 'many' }), /max_tokens/],
    [
      'logprobs as a number in a chat',
      (m) => m.chat.completions.create({ messages: [{ role: 'user', content: 'x' }], logprobs: 3 }),
      /logprobs/,
    ],
    ['choices that are empty', (m) => m.completions.create({ prompt: 'x', choices: [] }), /choices/],
    ['a span without text', (m) => m.tokenize([{ txt: 'x' }]), /"txt"/],
    ['ids that are none', (m) => m.detokenize([1, 'a']), /ids\[1\]/],
    [
      'an id beyond the vocabulary',
      (m) => m.completions.create({ prompt: [100000], max_tokens: 1 }),
      /100000|vocabulary|token/,
    ],
    ['a window of one', (m) => m.perplexity('some text', { window: 1 }), /window/],
    ['too short a text', (m) => m.perplexity(''), /two tokens/],
  ])) {
    test(`a data error that names it: ${what}`, async () => {
      await assert.rejects(call(llm), (error) => {
        assert.ok(error instanceof NookError)
        assert.equal(error.code, 'data')
        assert.match(error.message, words)
        return true
      })
    })
  }

  test('what is not supported says so', async () => {
    await assert.rejects(llm.completions.create({ prompt: 'x', n: 2 }), { code: 'unsupported' })
    await assert.rejects(
      llm.chat.completions.create({ messages: [{ role: 'user', content: 'x' }], response_format: { type: 'json_object' } }),
      { code: 'unsupported' },
    )
  })

  test('a prompt that does not fit is context_full', async () => {
    const long = Array.from({ length: 300 }, (_, i) => 5 + (i % 200))
    await assert.rejects(llm.completions.create({ prompt: long, max_tokens: 1 }), { code: 'context_full' })
    await assert.rejects(llm.perplexity('word '.repeat(500)), { code: 'context_full' })
  })

  test('a full context ends the answer, or drops the middle and tells', async () => {
    const prompt = PROMPT.concat(PROMPT).slice(0, 230)
    const stopped = await llm.completions.create({ prompt, max_tokens: 60, temperature: 0, ignore_end: true })
    assert.equal(stopped.choices[0].finish_reason, 'context_full')
    /** @type {any[]} */
    const told = []
    const shifted = await llm.completions.create({
      prompt,
      max_tokens: 60,
      temperature: 0,
      ignore_end: true,
      context_full: 'shift',
      keep: 4,
      onProgress: (/** @type {any} */ event) => told.push(event),
    })
    assert.equal(shifted.choices[0].finish_reason, 'length')
    assert.equal(shifted.usage.completion_tokens, 60)
    assert.ok(shifted.dropped_tokens > 0)
    assert.equal(
      told.filter((event) => event.phase === 'shift').reduce((sum, event) => sum + event.loaded, 0),
      shifted.dropped_tokens,
    )
  })

  test('aborts: in a stream, by either name of the signal, and by leaving the loop', async () => {
    const request = { prompt: PROMPT, max_tokens: 100, temperature: 0, ignore_end: true, reuse: false }
    for (const name of ['signal', 'abortSignal']) {
      const controller = new AbortController()
      let seen = 0
      await assert.rejects(async () => {
        for await (const chunk of await llm.completions.create({ ...request, stream: true, [name]: controller.signal })) {
          void chunk
          if (++seen === 3) controller.abort('enough')
        }
      }, (error) => {
        assert.ok(error instanceof NookError)
        assert.equal(error.code, 'abort')
        assert.equal(error.cause, 'enough')
        return true
      })
      assert.ok(seen < 100)
    }
    for await (const chunk of await llm.completions.create({ ...request, stream: true })) {
      void chunk
      break
    }
    const controller = new AbortController()
    await assert.rejects(
      llm.completions.create({ ...request, chunk: 4, signal: controller.signal, onProgress: () => controller.abort() }),
      { code: 'abort' },
    )
    assert.equal(
      (await llm.completions.create({ ...request, max_tokens: 2 })).usage.completion_tokens,
      2,
      'the model still works',
    )
  })

  test('a callback that throws ends its own call only', async () => {
    await assert.rejects(
      llm.completions.create({
        prompt: PROMPT,
        max_tokens: 100,
        ignore_end: true,
        reuse: false,
        chunk: 4,
        onProgress: () => {
          throw new Error('mine')
        },
      }),
      { code: 'data', message: /mine/ },
    )
    assert.equal(
      (await llm.completions.create({ prompt: 'x', max_tokens: 1, ignore_end: true })).usage.completion_tokens,
      1,
    )
  })

  test('concurrent calls are answered in order, none is refused', async () => {
    /** @type {number[]} */
    const order = []
    await Promise.all([20, 1, 5].map(async (tokens, i) => {
      await llm.completions.create({ prompt: PROMPT.slice(0, 10 + i), max_tokens: tokens, ignore_end: true })
      order.push(i)
    }))
    assert.deepEqual(order, [0, 1, 2])
  })

  test('choices come best first, with probabilities that sum to one', async () => {
    const { choices } = await llm.completions.create({ prompt: 'the', choices: [' cat', ' dog', 'x'] })
    assert.equal(choices.length, 3)
    assert.ok(
      Math.abs(choices.reduce((/** @type {number} */ sum, /** @type {any} */ one) => sum + one.probability, 0) - 1) < 1e-9,
    )
    assert.ok(choices[0].logprob >= choices[1].logprob && choices[1].logprob >= choices[2].logprob)
    assert.deepEqual(choices.map((/** @type {any} */ one) => one.text).sort(), [' cat', ' dog', 'x'])
    assert.ok(choices.every((/** @type {any} */ one) => [' cat', ' dog', 'x'][one.index] === one.text))
  })

  test('perplexity: whole, in windows, with BOS', async () => {
    const text = 'a small text of some words that is long enough to be cut'
    const ids = await llm.tokenize(text)
    const nll = await llm.nll(ids)
    const whole = await llm.perplexity(text)
    assert.equal(whole.tokens, ids.length - 1)
    assert.ok(
      Math.abs(whole.mean_nll - nll.reduce((/** @type {number} */ a, /** @type {number} */ b) => a + b, 0) / nll.length)
        < 1e-9,
    )
    assert.ok(Math.abs(whole.perplexity - Math.exp(whole.mean_nll)) < 1e-9)
    const cut = await llm.perplexity(text, { window: 10 })
    assert.equal(cut.tokens, ids.length - Math.ceil(ids.length / 10))
    assert.equal((await llm.perplexity(text, { bos: true })).tokens, ids.length)
  })

  test('logits can be left in the middle', async () => {
    for await (const piece of llm.logits(PROMPT, { chunk: 4 })) {
      assert.equal(piece.data.length, piece.rows * piece.columns)
      break
    }
    let rows = 0
    for await (const piece of llm.logits(PROMPT, { from: 100 })) rows += piece.rows
    assert.equal(rows, 20)
  })
})

describe('other ways in and out', () => {
  test('a Blob, a file: URL, an http URL and a list of parts are the same model', async (t) => {
    const bytes = readFileSync(TINY)
    const { url } = await fileServer(t, bytes)
    const texts = []
    for (const model of [TINY, pathToFileURL(TINY), [new Blob([bytes])], url, [TINY]]) {
      const llm = await load({
        ...OPTIONS,
        model: /** @type {any} */ (model),
        cacheFolder: folder(t),
        sha256: sha256(bytes),
      })
      texts.push(
        (await llm.completions.create({ prompt: PROMPT, max_tokens: 5, temperature: 0, ignore_end: true })).choices[0].text,
      )
      await llm.dispose()
    }
    assert.equal(new Set(texts).size, 1)
  })

  test('every build and number of threads loads, and threads change no bit', async () => {
    for (const build of /** @type {const} */ (['base', 'relaxed'])) {
      const results = []
      for (const threads of [1, 2, 3]) {
        const llm = await load({ ...OPTIONS, build, threads })
        assert.deepEqual(
          [llm.info.build, llm.info.threads, llm.info.isa],
          [build, threads, build === 'base' ? 'simd128' : 'relaxed'],
        )
        results.push(await llm.nll(PROMPT))
        await llm.dispose()
      }
      assert.deepEqual(results[1], results[0])
      assert.deepEqual(results[2], results[0])
    }
  })

  test('dispose rejects what runs, is idempotent, and later calls say why', async () => {
    const llm = await load(OPTIONS)
    const going = assert.rejects(llm.completions.create({ prompt: PROMPT, max_tokens: 100, ignore_end: true }), {
      code: 'abort',
    })
    await llm.dispose()
    await Promise.all([going, llm.dispose(), /** @type {any} */ (llm)[Symbol.asyncDispose]()])
    await assert.rejects(llm.tokenize('x'), { code: 'abort', message: /disposed/ })
  })

  /**
   * Runs a program with the shim; the process must end by itself.
   * @param {string} body
   * @returns {Promise<{status: number | null, out: string, err: string}>}
   */
  const run = (body) => new Promise((resolve, reject) => {
    const entry = JSON.stringify(pathToFileURL(join(ROOT, 'web', 'node.js')).href)
    const program = `import { load } from ${entry}; const options = ${JSON.stringify(OPTIONS)}; ${body}`
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'pipe'] })
    const late = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error('the process did not end by itself within 60 s'))
    }, 60000)
    let out = ''
    let err = ''
    child.stdout.setEncoding('utf8').on('data', (text) => { out += text })
    child.stderr.setEncoding('utf8').on('data', (text) => { err += text })
    child.on('close', (status) => { clearTimeout(late); resolve({ status, out, err }) })
  })

  test('after dispose the process ends by itself', async () => {
    const { status, out, err } = await run(
      'const llm = await load(options);'
        + 'const a = await llm.completions.create({ prompt: "a", max_tokens: 2, ignore_end: true });'
        + 'console.log(a.usage.completion_tokens); await llm.dispose()',
    )
    assert.deepEqual([status, out.trim(), err], [0, '2', ''])
  })

  test('it ends also where dispose was forgotten, in the middle of nothing', async () => {
    const { status, out } = await run('const llm = await load(options); console.log((await llm.tokenize("a")).length)')
    assert.deepEqual([status, out.trim()], [0, '1'])
  })

  test('it ends after a load that failed', async () => {
    const { status, out } = await run(
      'try { await load({ ...options, sha256: "0".repeat(64) }) } catch (error) { console.log(error.code) }',
    )
    assert.deepEqual([status, out.trim()], [0, 'hash'])
  })
})
