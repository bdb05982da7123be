/*
 * real.js: the default model (SmolLM2-135M-Instruct Q4_1) against two independent references, with the figures.
 *
 * Fixtures  tests/fixtures/real_smollm2: `f32/` (weights dequantized, float32 arithmetic), `llamacpp/` (llama.cpp, 8-bit
 *           activations). top50_ids [T, 50], top50_logits [T, 50], logsumexp [T], next_logprob [T - 1], last_logits [V],
 *           greedy_ids [48], greedy_gap [48] (first minus second logit).
 * Bars      Float path against f32/: max abs 2e-3 of logits and logsumexp, 1e-3 of next_logprob; greedy ids equal up to the
 *           first step with a gap below 0.01. Default path against f32/: mean KL (top 50 and the remainder as one class) at
 *           most 0.015 a prompt, top-1 at least 0.95 pooled and 0.90 a prompt, mean abs of the difference in next_logprob
 *           at most 0.2; greedy ids agree with one of the references up to the first step whose gap there is below 0.5.
 *           Perplexity: 0.05 % of f32/ on the float path, 1 % on the default path.
 */
import { REAL_MODEL, atMost, check, filesOf, maxAbs, openBundle, same, workerOf } from './kit.js'

/** @typedef {import('./kit.js').Env} Env */
/** @typedef {'float' | 'default'} Path */

const FOLDER = 'tests/fixtures/real_smollm2'
export const PROMPTS = ['capital', 'chat_gravity', 'code', 'story', 'chat_title']
const TOP = 50

/** In Chromium two prompts are enough: the arithmetic is the same code, and the bits are checked in logits.js. */
const PROMPTS_IN_PAGE = ['capital', 'chat_title']

/** @param {Env} env @returns {Promise<import('./kit.js').Cases>} */
export async function cases(env) {
  /** @type {import('./kit.js').Cases} */
  const all = {}
  for (const path of /** @type {const} */ (['float', 'default'])) {
    all[`SmolLM2, ${path} path, relaxed build: logits, log-probabilities and greedy tokens against the references`] = (
      inside,
    ) => checkPrompts(inside, path, 'relaxed', inside.name === 'node' ? PROMPTS : PROMPTS_IN_PAGE)
  }
  if (env.name === 'node') {
    for (const path of /** @type {const} */ (['float', 'default'])) {
      all[`SmolLM2, ${path} path, base build: the same for one prompt`] = (inside) =>
        checkPrompts(inside, path, 'base', ['capital'])
    }
    for (const path of /** @type {const} */ (['float', 'default'])) {
      all[`SmolLM2, ${path} path: perplexity of a text of 2,016 tokens, whole and in windows of 512`] = (inside) =>
        checkPerplexity(inside, path)
    }
  }
  all['SmolLM2: every chat of the reference, text byte for byte and ids equal; control tokens in messages stay text'] =
    checkChats
  all["SmolLM2: every string of the tokenizer's reference has its ids"] = checkStrings
  return all
}

/* ---- Logits -------------------------------------------------------------------------------------------------------- */

/** @param {Float32Array} row @returns {number} log of the sum of exp, in float64 */
function logSumExp(row) {
  let top = -Infinity
  for (const value of row) if (value > top) top = value
  let sum = 0
  for (const value of row) sum += Math.exp(value - top)
  return top + Math.log(sum)
}

/** @param {Float32Array} row @returns {number} */
function argmax(row) {
  let best = 0
  for (let i = 1; i < row.length; i++) if (/** @type {number} */ (row[i]) > /** @type {number} */ (row[best])) best = i
  return best
}

/**
 * KL(reference || ours) over the reference's top classes and everything else as one.
 * @param {Float32Array} logits of ours [V] @param {number} lse of ours
 * @param {Int32Array} ids @param {Float32Array} reference logits of those ids @param {number} referenceLse
 */
function divergence(logits, lse, ids, reference, referenceLse) {
  let sum = 0
  let left = 1
  let leftOurs = 1
  for (let i = 0; i < ids.length; i++) {
    const logP = Number(reference[i]) - referenceLse
    const p = Math.exp(logP)
    const log = Number(logits[Number(ids[i])]) - lse
    sum += p * (logP - log)
    left -= p
    leftOurs -= Math.exp(log)
  }
  return left > 1e-12 ? sum + left * Math.log(left / Math.max(leftOurs, 1e-12)) : sum
}

/**
 * How many greedy steps must agree, and how many do.
 * @param {any} bundle @param {string} reference @param {ArrayLike<number>} ids @param {number} gap
 */
function greedyAgreement(bundle, reference, ids, gap) {
  const wanted = bundle.get(`${reference}/greedy_ids`)
  const gaps = bundle.get(`${reference}/greedy_gap`)
  let binding = gaps.findIndex((/** @type {number} */ one) => one < gap)
  if (binding < 0) binding = wanted.length
  let agreeing = 0
  while (agreeing < wanted.length && ids[agreeing] === wanted[agreeing]) agreeing++
  return { binding, agreeing, ok: agreeing >= binding }
}

/**
 * @param {Env} env @param {Path} path @param {'base' | 'relaxed'} build @param {string[]} prompts
 * @returns {Promise<Record<string, any>>} figures of each prompt, and pooled
 */
async function checkPrompts(env, path, build, prompts) {
  const worker = workerOf(env)
  /** @type {Record<string, any>} */
  const figures = {}
  let hits = 0
  let positions = 0
  try {
    const { info } = await worker.send('load', {
      model: filesOf(env, REAL_MODEL),
      options: {
        build,
        threads: 2,
        contextSize: 512,
        cache: 'memory',
        ...(path === 'float' ? { activations: 'f32' } : {}),
      },
    })
    same([info.build, info.activations], [build, path === 'float' ? 'f32' : 'auto'], 'the build and path that run')
    for (const prompt of prompts) {
      const bundle = await openBundle(env, `${FOLDER}/logits_${prompt}`)
      const ids = bundle.get('ids')
      const measured = await checkLogits(worker, bundle, ids, path, `${prompt}, ${path} path, ${build}`)
      hits += measured.hits
      positions += ids.length

      const { ids: greedy } = await worker.send('generate', {
        input: { ids },
        options: { max_tokens: bundle.get('f32/greedy_ids').length, temperature: 0, ignore_end: true },
      })
      const agreement = greedyAgreement(bundle, 'f32', greedy, path === 'float' ? 0.01 : 0.5)
      const other = greedyAgreement(bundle, 'llamacpp', greedy, 0.5)
      check(
        agreement.ok || (path === 'default' && other.ok),
        `${prompt}, ${path} path, ${build}: greedy tokens agree for ${agreement.agreeing} steps of ${agreement.binding} ` +
          `that bind (llama.cpp: ${other.agreeing} of ${other.binding})`,
      )
      figures[prompt] = {
        ...measured,
        top1: measured.hits / ids.length,
        greedy_agree_f32: agreement.agreeing,
        greedy_binding_f32: agreement.binding,
        greedy_agree_llamacpp: other.agreeing,
        greedy_binding_llamacpp: other.binding,
      }
    }
    if (path === 'default' && prompts.length === PROMPTS.length)
      check(hits / positions >= 0.95, `top-1 pooled is ${hits / positions}, at least 0.95`)
    return { ...figures, pooled_top1: hits / positions, positions }
  } finally {
    await worker.end()
  }
}

/**
 * Logits of every position, as they come, against f32/.
 * @param {ReturnType<typeof workerOf>} worker @param {any} bundle @param {Int32Array} ids @param {Path} path
 * @param {string} what
 */
async function checkLogits(worker, bundle, ids, path, what) {
  const topIds = bundle.get('f32/top50_ids')
  const topLogits = bundle.get('f32/top50_logits')
  const sums = bundle.get('f32/logsumexp')
  const next = bundle.get('f32/next_logprob')
  const measured = {
    max_abs_top50: 0,
    max_abs_logsumexp: 0,
    max_abs_next: 0,
    mean_abs_next: 0,
    max_abs_last: NaN,
    mean_kl: 0,
    hits: 0,
  }
  let position = 0
  worker.side.onEvent = ({ event }) => {
    if (event.type !== 'rows') return
    for (let r = 0; r < event.rows; r++, position++) {
      const row = event.data.subarray(r * event.columns, (r + 1) * event.columns)
      const [from, to] = [position * TOP, (position + 1) * TOP]
      const reference = topLogits.subarray(from, to)
      const wanted = topIds.subarray(from, to)
      const lse = logSumExp(row)
      measured.max_abs_top50 = Math.max(
        measured.max_abs_top50,
        maxAbs(
          Float32Array.from(wanted, (id) => row[id]),
          reference,
        ),
      )
      measured.max_abs_logsumexp = Math.max(measured.max_abs_logsumexp, Math.abs(lse - sums[position]))
      measured.mean_kl += divergence(row, lse, wanted, reference, sums[position]) / ids.length
      if (argmax(row) === wanted[argmax(reference)]) measured.hits++
      if (position < next.length) {
        const difference = Math.abs(row[/** @type {number} */ (ids[position + 1])] - lse - next[position])
        measured.max_abs_next = Math.max(measured.max_abs_next, difference)
        measured.mean_abs_next += difference / next.length
      } else measured.max_abs_last = maxAbs(row, bundle.get('f32/last_logits'))
    }
  }
  await worker.send('evaluate', { ids, reuse: false })
  worker.side.onEvent = () => {}
  same(position, ids.length, `${what}: rows of logits`)
  if (path === 'float') {
    for (const key of /** @type {const} */ (['max_abs_top50', 'max_abs_logsumexp', 'max_abs_last']))
      atMost(measured[key], 2e-3, `${what}: ${key}`)
    atMost(measured.max_abs_next, 1e-3, `${what}: next_logprob, max abs`)
  } else {
    atMost(measured.mean_kl, 0.015, `${what}: mean KL`)
    atMost(measured.mean_abs_next, 0.2, `${what}: next_logprob, mean abs`)
    check(measured.hits / ids.length >= 0.9, `${what}: top-1 is ${measured.hits / ids.length}, at least 0.9`)
  }
  return measured
}

/* ---- Perplexity ---------------------------------------------------------------------------------------------------- */

/** @param {Env} env @param {Path} path */
async function checkPerplexity(env, path) {
  const bundle = await openBundle(env, `${FOLDER}/ppl`)
  const text = await env.read(`${FOLDER}/ppl_text.txt`)
  const { f32 } = bundle.meta.results
  const llm = await env.load({
    model: env.model(REAL_MODEL),
    contextSize: 2048,
    threads: 2,
    ...(path === 'float' ? { activations: 'f32' } : {}),
  })
  try {
    same(Array.from(await llm.tokenize(text)), Array.from(bundle.get('ids')), 'the tokens of the text')
    const whole = await llm.perplexity(text)
    const windows = await llm.perplexity(text, { window: 512 })
    same([whole.tokens, windows.tokens], [f32.n_full, f32.n_chunk512], 'scored tokens')
    const figures = {
      full_context: whole.perplexity,
      full_context_f32: f32.ppl_full_context,
      full_context_off: whole.perplexity / f32.ppl_full_context - 1,
      chunk512: windows.perplexity,
      chunk512_f32: f32.ppl_chunk512_all,
      chunk512_off: windows.perplexity / f32.ppl_chunk512_all - 1,
    }
    const allowed = path === 'float' ? 5e-4 : 1e-2
    atMost(
      Math.abs(figures.full_context_off),
      allowed,
      `perplexity of the whole text ${whole.perplexity} against ${f32.ppl_full_context}`,
    )
    atMost(
      Math.abs(figures.chunk512_off),
      allowed,
      `perplexity in windows ${windows.perplexity} against ${f32.ppl_chunk512_all}`,
    )
    return figures
  } finally {
    await llm.dispose()
  }
}

/* ---- Text ---------------------------------------------------------------------------------------------------------- */

/** @param {Env} env @param {(llm: any) => Promise<any>} work */
async function withModel(env, work) {
  const llm = await env.load({ model: env.model(REAL_MODEL), contextSize: 512, threads: 1 })
  try {
    return await work(llm)
  } finally {
    await llm.dispose()
  }
}

/** @param {Env} env */
const checkChats = (env) =>
  withModel(env, async (llm) => {
    const { cases: chats } = JSON.parse(new TextDecoder().decode(await env.read(`${FOLDER}/chat_template.json`)))
    let smuggled = 0
    for (const [i, one] of chats.entries()) {
      const { text, spans } = await llm.renderChat({
        messages: one.messages,
        add_generation_prompt: one.add_generation_prompt,
      })
      same(text, one.rendered, `chat ${i}: its text`)
      const bytes = new TextEncoder().encode(text)
      const pieces = spans.map((/** @type {any} */ span) => ({
        text: new TextDecoder().decode(bytes.subarray(span.start, span.start + span.length)),
        parse_special: span.parse_special,
      }))
      same(Array.from(await llm.tokenize(pieces)), one.ids_untrusted, `chat ${i}: its ids`)
      if (JSON.stringify(one.ids_untrusted) !== JSON.stringify(one.ids_parse_special)) smuggled++
      if (!one.add_generation_prompt) continue
      const { usage } = await llm.chat.completions.create({ messages: one.messages, max_tokens: 1, reuse: false })
      same(usage.prompt_tokens, one.ids_untrusted.length, `chat ${i}: tokens that the model read`)
    }
    check(smuggled > 0, 'no chat of the reference holds a control token in a message')
    return { chats: chats.length, with_control_tokens_in_messages: smuggled }
  })

/** @param {Env} env */
const checkStrings = (env) =>
  withModel(env, async (llm) => {
    const { cases: strings } = JSON.parse(
      new TextDecoder().decode(await env.read('tests/fixtures/tokenizers/smollm2_strings.json')),
    )
    let plain = 0
    let special = 0
    for (const [i, one] of strings.entries()) {
      const bytes = Uint8Array.from(one.hex.match(/../g) ?? [], (/** @type {string} */ pair) => parseInt(pair, 16))
      const ids = await llm.tokenize(bytes) /* without a reference it must only not fail */
      if (one.ids === undefined) continue
      same(Array.from(ids), one.ids, `string ${i} (${one.hex})`)
      if (typeof one.text === 'string') same(Array.from(await llm.tokenize(one.text)), one.ids, `string ${i} as text`)
      plain++
      if (one.ids_parse_special === undefined) continue
      same(
        Array.from(await llm.tokenize(bytes, { special: true })),
        one.ids_parse_special,
        `string ${i}, control tokens parsed`,
      )
      special++
    }
    check(plain >= 299 && special > 0, `only ${plain} strings with ids, ${special} with control tokens`)
    return { strings: plain, with_control_tokens: special }
  })
