/*
 * behaviour.js: how a caller meets the engine: aborts, order, a full context, stop texts, streams, bad uses. The same in
 * Node and in a page; models are the small ones of tests/fixtures, and the default model where its text matters.
 *
 * Abort     Counted in the engine's steps, never in time: `coreHere` runs the worker's code in this thread.
 * Bad uses  Each ends with one sentence that says what and where, and a hint that says what to do.
 */
import { REAL_MODEL, TINY_MODEL, check, coreHere, fails, filesOf, openBundle, same } from './kit.js'

/** @typedef {import('./kit.js').Env} Env */

const CONTEXT = 256

/** @param {Env} env @returns {Promise<import('./kit.js').Cases>} */
export async function cases(env) {
  void env
  return {
    'an abort in the middle of reading a prompt acts within one step, and the engine goes on': (inside) =>
      abortIn(inside, 'prefill', 10),
    'an abort in the middle of writing acts within one step, and the engine goes on': (inside) =>
      abortIn(inside, 'token', 5),
    'an abort in the middle of a load acts within one step, and another load follows': abortLoad,
    'an abort through the worker: a stream ends, what waits in the queue is answered, the next answer is the same':
      abortStream,
    'calls that are made at once are answered in the order they were made': inOrder,
    'a full context ends the answer, or the middle is dropped and told': fullContext,
    'a stop text is held back, not shown, and named': stopText,
    'streamed chunks are whole code points, and together the whole text': wholeCodePoints,
    'finish_reason and usage: length, stop, and what was kept of the prompt': usage,
    'a model without a template says so, and takes one that is given': withoutTemplate,
    'bad use: a missing file': missingFile,
    'bad use: not a GGUF': notGguf,
    'bad use: an unsupported architecture is named': wrongArchitecture,
    'bad use: an unsupported type is named': wrongType,
    'bad use: not enough memory, with the bytes that are needed': tooLarge,
    'bad use: offline without a kept model': offline,
    'bad use: a prompt that does not fit the context': promptTooLong,
  }
}

/** @param {Env} env @param {(llm: any) => Promise<any>} work @param {object} [options] */
async function withTiny(env, work, options = {}) {
  const llm = await env.load({ model: env.model(TINY_MODEL), contextSize: CONTEXT, threads: 1, ...options })
  try {
    return await work(llm)
  } finally {
    await llm.dispose()
  }
}

/** @param {Env} env @param {(llm: any) => Promise<any>} work */
async function withReal(env, work) {
  const llm = await env.load({ model: env.model(REAL_MODEL), contextSize: 256, threads: 1 })
  try {
    return await work(llm)
  } finally {
    await llm.dispose()
  }
}

/** 80 ids of the tiny vocabulary. @param {Env} env @returns {Promise<Int32Array>} */
const promptOf = async (env) => (await openBundle(env, 'tests/fixtures/tiny/llama')).get('len80/ids')

/**
 * A changed copy of a model, as a file.
 * @param {Env} env @param {string} path @param {(bytes: Uint8Array) => Uint8Array | void} change
 */
async function changed(env, path, change) {
  const bytes = (await env.read(path)).slice()
  const other = /** @type {Uint8Array<ArrayBuffer>} */ (change(bytes) ?? bytes)
  return new File([other], 'changed.gguf')
}

/** The byte behind a text's first occurrence. @param {Uint8Array} bytes @param {string} text @returns {number} */
function behind(bytes, text) {
  const wanted = new TextEncoder().encode(text)
  for (let at = 0; at + wanted.length <= bytes.length; at++) {
    if (wanted.every((byte, i) => bytes[at + i] === byte)) return at + wanted.length
  }
  throw new Error(`the file does not hold "${text}"`)
}

/* ---- Aborts -------------------------------------------------------------------------------------------------------- */

const OPTIONS = { threads: 1, contextSize: CONTEXT, cache: 'memory' }

/** @param {Env} env @param {'prefill' | 'token'} kind @param {number} n */
async function abortIn(env, kind, n) {
  const core = coreHere(env)
  try {
    await core.send('load', { model: filesOf(env, TINY_MODEL), options: OPTIONS })
    const ids = await promptOf(env)
    const request = {
      input: { ids },
      options: { max_tokens: 40, temperature: 0, ignore_end: true, chunk: 4, reuse: false },
    }
    const before = core.steps()
    const expected = await core.send('generate', request)
    const whole = core.steps() - before
    let seen = 0
    let at = -1
    /** @type {Promise<any> | undefined} */
    let known
    core.side.onEvent = ({ id, event }) => {
      if (id !== 'target' || event.type !== kind || ++seen !== n) return
      at = core.steps()
      known = core.send('abort', { target: 'target' })
    }
    const error = await core.send('generate', request, 'target').then(
      () => null,
      (/** @type {any} */ one) => one,
    )
    const after = core.steps() - at
    same(error?.code, 'abort', 'the aborted call')
    same(await known, true, 'the abort found the call')
    check(after <= 1, `${after} steps were done after the abort`)
    check(whole > n + 20, `the whole call takes ${whole} steps only, so nothing was cut`)
    core.side.onEvent = () => {}
    same((await core.send('generate', request)).ids, expected.ids, 'the answer afterwards')
    return { steps_of_the_whole_call: whole, steps_after_the_abort: after }
  } finally {
    core.end()
  }
}

/** @param {Env} env */
async function abortLoad(env) {
  const core = coreHere(env)
  try {
    const args = { model: filesOf(env, TINY_MODEL), options: OPTIONS }
    let seen = 0
    let late = 0
    core.side.onEvent = ({ id, event }) => {
      if (id !== 'target' || event.type !== 'progress' || event.phase !== 'load') return
      if (++seen === 3) void core.send('abort', { target: 'target' })
      else if (seen > 3) late++
    }
    const error = await core.send('load', args, 'target').then(
      () => null,
      (/** @type {any} */ one) => one,
    )
    same(error?.code, 'abort', 'the aborted load')
    check(seen >= 3 && late <= 1, `${late} pieces were loaded after the abort at the third`)
    core.side.onEvent = () => {}
    await core.send('load', args)
    const ids = await promptOf(env)
    const { usage: used } = await core.send('generate', { input: { ids }, options: { max_tokens: 3, ignore_end: true } })
    same(used.completion_tokens, 3, 'tokens of the model that was loaded afterwards')
  } finally {
    core.end()
  }
}

/** @param {Env} env */
const abortStream = (env) =>
  withReal(env, async (llm) => {
    const request = {
      prompt: 'A small house stood by the river, and in the evening',
      temperature: 0,
      ignore_end: true,
      reuse: false,
    }
    const expected = (await llm.completions.create({ ...request, max_tokens: 4 })).choices[0].text
    const controller = new AbortController()
    let before = 0
    let after = 0
    /** @type {any} */
    let waiting
    await fails(
      async () => {
        for await (const chunk of await llm.completions.create({
          ...request,
          max_tokens: 200,
          stream: true,
          signal: controller.signal,
        })) {
          void chunk
          if (controller.signal.aborted) after++
          else if (++before === 3) {
            waiting = llm.completions.create({ ...request, max_tokens: 4 })
            controller.abort()
          }
        }
      },
      'abort',
      /abort/,
      'the stream',
    )
    /* Chunks that were on their way when the signal came; a step of this model takes longer than a message. */
    check(before === 3 && after <= 3, `${after} chunks came after the abort`)
    same((await waiting).choices[0].text, expected, 'the call that waited')

    let pieces = 0
    const reading = new AbortController()
    await fails(
      () =>
        llm.completions.create({
          ...request,
          prompt: 'A small house stood by the river. '.repeat(25),
          chunk: 8,
          max_tokens: 4,
          signal: reading.signal,
          onProgress: () => {
            if (++pieces === 2) reading.abort()
          },
        }),
      'abort',
      /abort/,
      'the reading of a prompt',
    )
    check(pieces >= 2 && pieces <= 5, `${pieces} pieces of the prompt were told, the abort came at the second`)
    same((await llm.completions.create({ ...request, max_tokens: 4 })).choices[0].text, expected, 'the answer afterwards')
    return { chunks_after_the_abort: after, pieces_after_the_abort: pieces - 2 }
  })

/* ---- Answers ------------------------------------------------------------------------------------------------------- */

/** @param {Env} env */
const inOrder = (env) =>
  withTiny(env, async (llm) => {
    const prompt = await promptOf(env)
    /** @type {string[]} */
    const ends = []
    const calls = [30, 1, 10, 2].map(async (tokens, i) => {
      const { usage: used } = await llm.completions.create({
        prompt: prompt.slice(0, 40 + i),
        max_tokens: tokens,
        ignore_end: true,
      })
      ends.push(`${i}:${used.completion_tokens}`)
    })
    const scored = llm.nll(prompt).then(() => ends.push('scored'))
    await Promise.all([...calls, scored])
    same(ends, ['0:30', '1:1', '2:10', '3:2', 'scored'], 'the order of the answers')
  })

/** @param {Env} env */
const fullContext = (env) =>
  withTiny(env, async (llm) => {
    const half = await promptOf(env)
    const prompt = Int32Array.of(...half, ...half, ...half.slice(0, 60))
    const request = { prompt, max_tokens: 120, temperature: 0, ignore_end: true }
    const stopped = await llm.completions.create(request)
    same(stopped.choices[0].finish_reason, 'context_full', 'the reason, by default')
    same(stopped.dropped_tokens, undefined, 'nothing is dropped by default')
    const room = CONTEXT - prompt.length
    check(
      Math.abs(stopped.usage.completion_tokens - room) <= 1,
      `${stopped.usage.completion_tokens} tokens were written into room for ${room}`,
    )
    let told = 0
    const shifted = await llm.completions.create({
      ...request,
      context_full: 'shift',
      keep: 4,
      onProgress: (/** @type {any} */ event) => {
        if (event.phase === 'shift') told += event.loaded
      },
    })
    same([shifted.choices[0].finish_reason, shifted.usage.completion_tokens], ['length', 120], 'with the middle dropped')
    check(
      shifted.dropped_tokens > 0 && told === shifted.dropped_tokens,
      `${told} dropped tokens were told, ${shifted.dropped_tokens} counted`,
    )
    check(
      shifted.choices[0].text.startsWith(stopped.choices[0].text.slice(0, 10)),
      'up to the full context both write the same',
    )
  })

/** @param {Env} env */
const stopText = (env) =>
  withReal(env, async (llm) => {
    const request = { prompt: 'The capital of France is', temperature: 0, max_tokens: 16 }
    const free = (await llm.completions.create(request)).choices[0].text
    check(free.startsWith(' Paris.\n\nThe answer'), `the model writes ${JSON.stringify(free)}`)
    /* "\n\nThe answer" is several tokens: its beginning must be held back; "\n\nTh!" never completes and is let go. */
    const stop = ['\n\nThe answer', '\n\nTh!']
    let streamed = ''
    let last
    for await (const chunk of await llm.completions.create({ ...request, stop, stream: true })) {
      streamed += chunk.choices[0].text
      last = chunk
    }
    same(
      [streamed, last.choices[0].finish_reason, last.stop_text],
      [' Paris.', 'stop', '\n\nThe answer'],
      'streamed, with a stop text',
    )
    const whole = await llm.completions.create({ ...request, stop })
    same(
      [whole.choices[0].text, whole.choices[0].finish_reason, whole.stop_text],
      [' Paris.', 'stop', '\n\nThe answer'],
      'whole, with a stop text',
    )
    same(
      (await llm.completions.create({ ...request, stop: ['\n\nTh!'] })).choices[0].text,
      free,
      'a stop text that never comes changes nothing',
    )
  })

/** @param {Env} env */
const wholeCodePoints = (env) =>
  withReal(env, async (llm) => {
    const request = {
      prompt: '😀 🎉 🚀 😀 🎉 🚀 😀 🎉 🚀 😀',
      temperature: 0,
      max_tokens: 48,
      ignore_end: true,
      logprobs: 0,
    }
    /** @type {string[]} */
    const chunks = []
    let tokens = 0
    for await (const chunk of await llm.completions.create({ ...request, stream: true })) {
      const [choice] = chunk.choices
      if (choice.text !== '') chunks.push(choice.text)
      tokens += choice.logprobs?.tokens.length ?? 0
    }
    same(tokens, 48, 'log-probabilities in the stream')
    const text = chunks.join('')
    check(/[🎉🚀😀]/u.test(text), `the model was to write emoji: ${JSON.stringify(text)}`)
    for (const chunk of chunks) {
      check(
        !/\p{Surrogate}/u.test(chunk) && !chunk.includes('\ufffd'),
        `a chunk holds a part of a character: ${JSON.stringify(chunk)}`,
      )
    }
    check(chunks.length < tokens, 'an emoji is several tokens here, so there are fewer texts than tokens')
    same((await llm.completions.create(request)).choices[0].text, text, 'the whole text')
    return { tokens, chunks: chunks.length, text }
  })

/** @param {Env} env */
const usage = (env) =>
  withReal(env, async (llm) => {
    const messages = [{ role: 'user', content: 'What is gravity? Answer in one sentence.' }]
    const short = await llm.chat.completions.create({ messages, temperature: 0, max_tokens: 5 })
    same([short.choices[0].finish_reason, short.usage.completion_tokens], ['length', 5], 'cut by max_tokens')
    same(short.usage.total_tokens, short.usage.prompt_tokens + 5, 'the sum')
    same(short.usage.prompt_tokens_details.cached_tokens, 0, 'nothing was kept before')
    const whole = await llm.chat.completions.create({ messages, temperature: 0, max_tokens: 120 })
    same(whole.choices[0].finish_reason, 'stop', 'the model ended by itself')
    check(!whole.choices[0].message.content.includes('<|im_end|>'), 'the end token is not shown')
    check(
      whole.choices[0].message.content.startsWith(short.choices[0].message.content),
      'the short answer begins the long one',
    )
    const { prompt_tokens: read, prompt_tokens_details: details } = whole.usage
    check(
      details.cached_tokens >= read - 1 && details.cached_tokens < read,
      `${details.cached_tokens} of ${read} tokens of the prompt were kept`,
    )
  })

/** @param {Env} env */
async function withoutTemplate(env) {
  const bare = await changed(env, TINY_MODEL, (bytes) => {
    bytes[behind(bytes, 'tokenizer.chat_template') - 1] = 88
  })
  const messages = [{ role: 'user', content: 'hi' }]
  await withTiny(
    env,
    async (llm) => {
      same(llm.info.template, null, 'the template of the facts')
      await fails(() => llm.chat.completions.create({ messages }), 'template', /chat template.*chatTemplate/, 'a chat')
      same((await llm.renderChat({ messages, chatTemplate: 'plain' })).text, 'User: hi\n\nAssistant:', 'the plain form')
      same(
        (await llm.completions.create({ prompt: 'x', max_tokens: 1, ignore_end: true })).usage.completion_tokens,
        1,
        'a completion needs no template',
      )
    },
    { model: bare },
  )
  await withTiny(
    env,
    async (llm) => {
      same((await llm.renderChat({ messages })).text, '[user]hi[assistant]', 'the template that was given')
    },
    {
      model: bare,
      chatTemplate:
        '{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}' +
        '{% if add_generation_prompt %}[assistant]{% endif %}',
    },
  )
}

/* ---- Bad uses ------------------------------------------------------------------------------------------------------ */

/** @param {Env} env */
const missingFile = (env) =>
  fails(
    () => env.load({ model: env.model('models/no-such-file.gguf') }),
    env.name === 'node' ? 'data' : 'download',
    /no-such-file\.gguf/,
    'a missing file',
  )

/** @param {Env} env */
const notGguf = (env) =>
  fails(
    () => env.load({ model: new File(['This is a text and no model at all, whatever its name says.'], 'text.gguf') }),
    'format',
    /text\.gguf.*GGUF/,
    'a text file',
  )

/** @param {Env} env */
async function wrongArchitecture(env) {
  const model = await changed(env, TINY_MODEL, (bytes) => {
    const at = behind(bytes, 'general.architecture') + 4 + 8 /* its type and the length of the text */
    same(new TextDecoder().decode(bytes.subarray(at, at + 5)), 'llama', 'the architecture of the tiny model')
    bytes.set(new TextEncoder().encode('zebra'), at)
  })
  return fails(() => env.load({ model }), 'unsupported', /changed\.gguf.*"zebra"/, 'another architecture')
}

/** @param {Env} env */
async function wrongType(env) {
  const model = await changed(env, 'tests/fixtures/quants/model_llama256.Q4_0.gguf', (bytes) => {
    /* In a tensor's entry, behind the name: u32 number of dimensions, u64 each, u32 type. 16 is IQ2_XXS, of no part. */
    const at = behind(bytes, 'blk.0.attn_q.weight') + 4 + 16
    same(bytes[at], 2, 'the type of the tensor')
    bytes[at] = 16
  })
  return fails(() => env.load({ model }), 'unsupported', /changed\.gguf.*IQ2_XXS.*blk\.0\.attn_q/, 'another type')
}

/** @param {Env} env */
async function tooLarge(env) {
  /* 131,072 tokens × 30 layers × 2 × 192 numbers of 4 bytes and the weights: above what 32 bits address. */
  const told = await fails(
    () => env.load({ model: env.model(REAL_MODEL), contextSize: 131072, kv: 'f32', threads: 1 }),
    'memory',
    /needs 5\d\d\d MiB/,
    'a context that cannot be had',
  )
  const plan = await env.estimate({ model: env.model(REAL_MODEL), contextSize: 131072, kv: 'f32' })
  same(
    /needs (\d+) MiB/.exec(told.message)?.[1],
    String(Math.round(plan.memory.total / 1048576)),
    'the estimate says the same before a load',
  )
  await withReal(env, async (llm) =>
    same(llm.info.context, 256, 'the context of the next load'),
  ) /* nothing is left behind */
  return told
}

/** @param {Env} env */
const offline = (env) =>
  fails(
    () => env.load({ model: 'https://localhost:59321/not-kept.gguf', cache: 'memory' }),
    'download',
    /localhost:59321/,
    'a host that cannot be reached',
  )

/** @param {Env} env */
const promptTooLong = (env) =>
  withTiny(env, async (llm) => {
    const prompt = Int32Array.from({ length: CONTEXT + 44 }, (_, i) => 5 + (i % 200))
    return fails(
      () => llm.completions.create({ prompt, max_tokens: 1 }),
      'context_full',
      new RegExp(`${CONTEXT + 44}[^]*${CONTEXT}`),
      'a prompt longer than the context',
    )
  })
