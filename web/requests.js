/*
 * requests.js: the shapes of OpenAI's API on both sides of a call: which keys a request has, what of it goes to the worker,
 * and what an answer looks like.
 */
import { randomId } from './connection.js'
import { NookError } from './errors.js'

/** @typedef {import('./types.d.ts').Progress} Progress */

/* What goes to nook_generate_begin as it is. */
const SAMPLING_KEYS = /** @type {const} */ ([
  'max_tokens', 'temperature', 'top_k', 'top_p', 'min_p', 'typical_p', 'repetition_penalty', 'frequency_penalty',
  'presence_penalty', 'penalty_window', 'logit_bias', 'seed', 'ignore_end', 'context_full', 'keep', 'reuse', 'chunk',
])
const COMMON_KEYS = /** @type {const} */ ([
  ...SAMPLING_KEYS, 'stop', 'stream', 'stream_options', 'logprobs', 'choices', 'n', 'model', 'user', 'signal',
  'abortSignal', 'onProgress', 'adapters',
])
export const CHAT_KEYS = /** @type {const} */ ([
  ...COMMON_KEYS, 'messages', 'max_completion_tokens', 'top_logprobs', 'response_format', 'chatTemplate',
  'template_variables', 'add_generation_prompt',
])
export const COMPLETION_KEYS = /** @type {const} */ ([...COMMON_KEYS, 'prompt', 'special', 'addSpecial', 'echo'])

/** @param {ArrayLike<number>} ids @returns {Int32Array} */
export function idsOf(ids) {
  if (ids instanceof Int32Array) return ids
  if (ids === null || typeof ids !== 'object' || typeof ids.length !== 'number')
    throw new NookError('data', 'ids is not a list of token ids.')
  return Int32Array.from(ids, (id, i) => {
    if (!Number.isInteger(id) || id < 0 || id > 0x7fffffff)
      throw new NookError('data', `ids[${i}] is ${JSON.stringify(id)}, not a token id.`)
    return id
  })
}

/** @param {any} options */
export function chatInput(options) {
  if (options.chatTemplate !== undefined && typeof options.chatTemplate !== 'string')
    throw new NookError('data', 'chatTemplate is not a text (Jinja, or "plain").')
  return {
    messages: options.messages,
    ...(options.chatTemplate === undefined ? {} : { chatTemplate: options.chatTemplate }),
    ...(options.add_generation_prompt === undefined ? {} : { addGenerationPrompt: options.add_generation_prompt }),
    ...(options.template_variables === undefined ? {} : { variables: options.template_variables }),
  }
}

/** @param {any} options */
export function promptInput(options) {
  const { prompt } = options
  if (prompt instanceof Int32Array || (Array.isArray(prompt) && typeof prompt[0] === 'number'))
    return { ids: idsOf(prompt) }
  const spans = Array.isArray(prompt) && prompt.every((span) => typeof span?.text === 'string')
  if (typeof prompt !== 'string' && !(prompt instanceof Uint8Array) && !spans) {
    throw new NookError(
      'data',
      'completions.create: prompt is not a text, a list of {text, parse_special}, or a list of ids.',
    )
  }
  return {
    prompt, ...(options.special === undefined ? {} : { special: options.special === true }),
    ...(options.addSpecial === undefined ? {} : { addSpecial: options.addSpecial === true }),
  }
}

/**
 * The options of C out of those of a request.
 * @param {any} options @param {'chat' | 'text'} kind @param {string} where
 * @returns {{sampling: Record<string, unknown>, logprobs: boolean}}
 */
export function samplingOf(options, kind, where) {
  /** @type {Record<string, unknown>} */
  const sampling = {}
  for (const key of SAMPLING_KEYS) if (options[key] !== undefined && options[key] !== null) sampling[key] = options[key]
  if (options.max_completion_tokens !== undefined && options.max_completion_tokens !== null)
    sampling['max_tokens'] ??= options.max_completion_tokens
  if (options.stop !== undefined && options.stop !== null)
    sampling['stop'] = typeof options.stop === 'string' ? [options.stop] : options.stop
  let logprobs = false
  if (kind === 'chat') {
    if (options.logprobs !== undefined && options.logprobs !== null && typeof options.logprobs !== 'boolean') {
      throw new NookError('data', `${where}: logprobs is true or false; top_logprobs is the number of alternatives.`)
    }
    if (options.top_logprobs !== undefined && options.logprobs !== true)
      throw new NookError('data', `${where}: top_logprobs needs logprobs: true.`)
    logprobs = options.logprobs === true
    if (logprobs) sampling['logprobs'] = options.top_logprobs ?? 0
  } else if (options.logprobs !== undefined && options.logprobs !== null) {
    logprobs = true
    sampling['logprobs'] = options.logprobs
  }
  return { sampling, logprobs }
}

/**
 * Tells the caller how far the prompt is read.
 * @param {{onProgress?: (progress: Progress) => void}} options
 * @param {any} event
 */
export function progress(options, event) {
  if (event.type === 'prefill')
    options.onProgress?.({ phase: 'prefill', file: '', loaded: event.loaded, total: event.total })
}

/**
 * The alternatives of nook_result beside the tokens that were streamed.
 * @param {any[]} tokens @param {any[] | undefined} detailed
 */
export function withTop(tokens, detailed) {
  return tokens.map((token, i) => ({
    ...token,
    top_logprobs: (detailed?.[i]?.top ?? []).map((/** @type {any} */ top) => {
      const { top_logprobs: none, ...shown } = tokenLogprob(top)
      void none
      return shown
    }),
  }))
}

/** @param {any} event a token's @returns {any} in OpenAI's form */
export function tokenLogprob(event) {
  const bytes = event.piece ?? new Uint8Array(0)
  return {
    token: new TextDecoder().decode(bytes),
    logprob: event.logprob,
    bytes: Array.from(bytes),
    top_logprobs: [],
    id: event.token,
  }
}

/** Usage and times in the shapes of OpenAI and llama-server. @param {any} result */
export function facts(result) {
  const { cached_tokens: cached = 0, ...usage } = result.usage ?? {}
  return {
    usage: { ...usage, prompt_tokens_details: { cached_tokens: cached } }, timings: result.timings,
    ...(result.dropped > 0 ? { dropped_tokens: result.dropped } : {}),
    ...(result.stop === undefined ? {} : { stop_text: result.stop }),
  }
}

/**
 * The shapes of OpenAI's objects for one answer.
 * @param {'chat' | 'text'} kind
 * @param {string} model its name
 */
export function answerShape(kind, model) {
  const id = `${kind === 'chat' ? 'chatcmpl' : 'cmpl'}-${randomId(12)}`
  const created = Math.floor(Date.now() / 1000)
  const head = (/** @type {boolean} */ chunk) => ({
    id,
    object: kind === 'chat' ? `chat.completion${chunk ? '.chunk' : ''}` : 'text_completion',
    created,
    model,
  })
  return {
    head,
    chunk: (/** @type {any} */ delta, /** @type {string | null} */ finish, /** @type {any} */ logprobs = null) => ({
      ...head(true),
      choices: [
        kind === 'chat'
          ? { index: 0, delta, logprobs, finish_reason: finish }
          : { index: 0, text: delta.content ?? '', logprobs, finish_reason: finish },
      ],
    }),
    whole: (/** @type {string} */ text, /** @type {string} */ finish, /** @type {any} */ logprobs) => ({
      ...head(false),
      choices: [
        kind === 'chat'
          ? { index: 0, message: { role: 'assistant', content: text }, logprobs, finish_reason: finish }
          : { index: 0, text, logprobs, finish_reason: finish },
      ],
    }),
    logprobs: (/** @type {any[]} */ tokens, /** @type {number} */ offset) => {
      if (kind === 'chat') return { content: tokens, refusal: null }
      let at = offset
      return {
        tokens: tokens.map((one) => one.token),
        token_logprobs: tokens.map((one) => one.logprob),
        top_logprobs: tokens.map((one) =>
          Object.fromEntries(one.top_logprobs.map((/** @type {any} */ top) => [top.token, top.logprob])),
        ),
        text_offset: tokens.map((one) => {
          at += one.token.length
          return at - one.token.length
        }),
      }
    },
  }
}
