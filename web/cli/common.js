/*
 * common.js: what the verbs share: flags, numbers out of flags, a model for the time of a call, progress, output.
 */
import { readFileSync } from 'node:fs'
import { NookError } from '../errors.js'
import { load } from '../node.js'

/**
 * @typedef {Record<string, string | boolean | (string | boolean)[] | undefined>} Values
 * @typedef {{values: Values, positionals: string[], signal: AbortSignal, name: string}} Call
 * @typedef {import('node:util').ParseArgsConfig['options']} Flags
 * @typedef {{summary: string, usage: string, options: NonNullable<Flags>, positionals: [number, number], arguments: string,
 *            run: (call: Call) => Promise<void>}} Verb
 */

/** Bad usage: exit status 2. */
export class UsageError extends Error {
  /** @param {string} message @param {string} [hint] */
  constructor(message, hint = '') {
    super(message)
    this.hint = hint
  }
}

/** One sentence (and what to do) of any error. @param {unknown} error @returns {string} */
export function sentence(error) {
  const known = error instanceof UsageError ? error : NookError.from(error)
  const text = known.message.trim().replace(/\s*\n\s*/g, ' ')
  const first = text.charAt(0).toUpperCase() + text.slice(1)
  return `${/[.!?]$/.test(first) ? first : `${first}.`}${known.hint === '' ? '' : ` ${known.hint}`}`
}

/** Flags wherever a model runs. */
export const MODEL_FLAGS = /** @type {const} */ ({
  build: { type: 'string' },
  threads: { type: 'string' },
  context: { type: 'string' },
  kv: { type: 'string' },
  float: { type: 'boolean' },
  cache: { type: 'string' },
  sha256: { type: 'string' },
  progress: { type: 'boolean' },
  json: { type: 'boolean' },
})

export const MODEL_USAGE = `  --build base|relaxed  the WebAssembly build (default: the best that runs here)
  --threads N           threads (default: as many as help here)
  --context N           tokens of context (default: the model's, at most 4096)
  --kv f16|f32|q8       type of the key/value cache (default f16; f32 with --float)
  --float               float32 activations and key/value cache
  --cache fs|memory     where a MODEL that is a URL is kept (default fs)
  --sha256 HASH         the file must have this hash
  --progress            progress on stderr also where it is no terminal
  --json                one JSON object on stdout`

export const SAMPLING_FLAGS = /** @type {const} */ ({
  'max-tokens': { type: 'string' },
  temperature: { type: 'string' },
  'top-k': { type: 'string' },
  'top-p': { type: 'string' },
  'min-p': { type: 'string' },
  'typical-p': { type: 'string' },
  'repetition-penalty': { type: 'string' },
  'frequency-penalty': { type: 'string' },
  'presence-penalty': { type: 'string' },
  'penalty-window': { type: 'string' },
  'logit-bias': { type: 'string' },
  seed: { type: 'string' },
  stop: { type: 'string', multiple: true },
  logprobs: { type: 'string' },
  'ignore-end': { type: 'boolean' },
  'context-full': { type: 'string' },
  keep: { type: 'string' },
  choices: { type: 'string', multiple: true },
})

export const SAMPLING_USAGE = `  --max-tokens N        at most N tokens
  --temperature T  --top-k N  --top-p P  --min-p P  --typical-p P  --seed N
  --repetition-penalty X  --frequency-penalty X  --presence-penalty X  --penalty-window N
  --logit-bias JSON     {"id": bias}
  --stop TEXT           ends before TEXT; may be repeated
  --logprobs N          log-probabilities with N alternatives (in --json)
  --ignore-end          goes on behind the end token
  --context-full stop|shift  what happens when the context is full (default stop); --keep N: tokens kept by shift
  --choices A --choices B    scores these answers instead of writing one; also a JSON list`

/**
 * A number out of a flag.
 * @param {Values} values @param {string} flag
 * @param {{whole?: boolean, least?: number, most?: number}} [bounds]
 * @returns {number | undefined}
 */
export function number(values, flag, bounds = {}) {
  const text = values[flag]
  if (text === undefined) return undefined
  const value = Number(text)
  const { whole = false, least = -Infinity, most = Infinity } = bounds
  if (
    String(text).trim() === ''
    || !Number.isFinite(value)
    || (whole && !Number.isInteger(value))
    || value < least
    || value > most
  ) {
    const range =
      least !== -Infinity && most !== Infinity
        ? ` from ${least} to ${most}`
        : least !== -Infinity
          ? ` of at least ${least}`
          : ''
    throw new UsageError(`--${flag} is "${String(text)}".`, `It takes a ${whole ? 'whole ' : ''}number${range}.`)
  }
  return value
}

/** @param {Values} values @param {string} flag @param {string[]} allowed @returns {any} */
export function oneOf(values, flag, allowed) {
  const value = values[flag]
  if (value === undefined) return undefined
  if (!allowed.includes(String(value)))
    throw new UsageError(`--${flag} is "${String(value)}".`, `It takes one of ${allowed.join(', ')}.`)
  return value
}

/**
 * The options of load() out of the flags.
 * @param {string} model @param {Call} call
 * @returns {any}
 */
export function loadOptions(model, call) {
  const { values } = call
  const threads = values['threads'] === 'auto' ? undefined : number(values, 'threads', { whole: true, least: 1, most: 64 })
  const options = {
    model,
    build: oneOf(values, 'build', ['auto', 'base', 'relaxed']),
    threads,
    contextSize: number(values, 'context', { whole: true, least: 1 }),
    kv: oneOf(values, 'kv', ['f16', 'f32', 'q8']),
    activations: values['float'] === true ? 'f32' : undefined,
    cache: oneOf(values, 'cache', ['fs', 'memory']),
    sha256: values['sha256'],
    signal: call.signal,
    onProgress: progressLine(values),
  }
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

/**
 * Sampling options out of the flags.
 * @param {Values} values @param {'chat' | 'text'} kind
 * @returns {Record<string, unknown>}
 */
export function samplingOptions(values, kind) {
  const share = { least: 0, most: 1 }
  const logprobs = number(values, 'logprobs', { whole: true, least: 0, most: 20 })
  let bias
  if (values['logit-bias'] !== undefined) bias = jsonFlag(values, 'logit-bias')
  const options = {
    max_tokens: number(values, 'max-tokens', { whole: true, least: 1 }),
    temperature: number(values, 'temperature', { least: 0 }),
    top_k: number(values, 'top-k', { whole: true, least: 0 }),
    top_p: number(values, 'top-p', share),
    min_p: number(values, 'min-p', share),
    typical_p: number(values, 'typical-p', share),
    repetition_penalty: number(values, 'repetition-penalty'),
    frequency_penalty: number(values, 'frequency-penalty'),
    presence_penalty: number(values, 'presence-penalty'),
    penalty_window: number(values, 'penalty-window', { whole: true, least: 0 }),
    logit_bias: bias,
    seed: number(values, 'seed', { whole: true, least: 0 }),
    stop: values['stop'],
    ignore_end: values['ignore-end'],
    context_full: oneOf(values, 'context-full', ['stop', 'shift']),
    keep: number(values, 'keep', { whole: true, least: 0 }),
    choices: choicesOf(values),
    ...(logprobs === undefined ? {} : kind === 'chat' ? { logprobs: true, top_logprobs: logprobs } : { logprobs }),
  }
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

/** @param {Values} values @param {string} flag @returns {any} */
export function jsonFlag(values, flag) {
  try {
    return JSON.parse(String(values[flag]))
  } catch {
    throw new UsageError(`--${flag} is not JSON: ${String(values[flag]).slice(0, 60)}`, 'Mind the quotes of the shell.')
  }
}

/** @param {Values} values @returns {string[] | undefined} */
function choicesOf(values) {
  const given = /** @type {string[] | undefined} */ (values['choices'])
  if (given === undefined) return undefined
  if (given.length === 1 && given[0]?.trimStart().startsWith('[')) {
    const list = jsonFlag({ choices: given[0] }, 'choices')
    if (!Array.isArray(list) || list.length === 0 || !list.every((one) => typeof one === 'string' && one !== '')) {
      throw new UsageError('--choices is not a list of texts.', 'Pass a JSON list, or --choices once for each.')
    }
    return list
  }
  return given
}

/**
 * A model while `use` runs.
 * @template T
 * @param {string} model @param {Call} call @param {(llm: import('../client.js').Model) => Promise<T>} use @param {object}
 *   [more] options of load
 * @returns {Promise<T>}
 */
export async function withModel(model, call, use, more = {}) {
  const llm = await load({ ...loadOptions(model, call), ...more })
  try {
    clearLine(call.values)
    for (const warning of llm.info.warnings) process.stderr.write(`${warning}\n`)
    return await use(llm)
  } finally {
    clearLine(call.values)
    await llm.dispose()
  }
}

/* ---- Progress ---------------------------------------------------------------------------------------------------- */

const WORDS = /** @type {Record<string, string>} */ ({
  download: 'fetching',
  resume: 'going on',
  load: 'loading',
  prefill: 'reading',
  shift: 'dropping the middle',
  convert: 'converting',
  examples: 'reading the examples',
  train: 'training',
})

/** Whether progress is shown. @param {Values} values */
function shows(values) {
  return values['progress'] === true || process.stderr.isTTY === true
}

/**
 * One line on stderr: "reading · 40 % · 4 s left".
 * @param {Values} values
 * @returns {((event: {phase: string, loaded: number, total: number}) => void) | undefined}
 */
export function progressLine(values) {
  if (!shows(values)) return undefined
  let phase = ''
  let begun = 0
  let shown = 0
  return (event) => {
    const now = performance.now()
    if (event.phase === 'warning') return
    if (event.phase !== phase) {
      phase = event.phase
      begun = now
      shown = 0
    }
    if (now - shown < 100 && event.loaded < event.total) return
    shown = now
    const share = event.total > 0 ? event.loaded / event.total : 0
    const seconds = (now - begun) / 1000
    const left = share > 0.02 && seconds > 0.5 && share < 1 ? ` · ${Math.ceil((seconds / share) * (1 - share))} s left` : ''
    const percent = share < 0.1 ? (share * 100).toFixed(1) : String(Math.floor(share * 100))
    const line = `${WORDS[phase] ?? phase} · ${percent} %${left}`
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}` : `${line}\n`)
  }
}

/** @param {Values} values */
export function clearLine(values) {
  if (shows(values) && process.stderr.isTTY) process.stderr.write('\r\x1b[K')
}

/* ---- Files and output -------------------------------------------------------------------------------------------- */

/** @param {string} path "-" is stdin @returns {Buffer} */
export function readInput(path) {
  try {
    return readFileSync(path === '-' ? 0 : path)
  } catch (error) {
    const { code, message } = /** @type {NodeJS.ErrnoException} */ (error)
    throw new NookError('data', code === 'ENOENT' ? `There is no file ${path}.` : `${path} cannot be read: ${message}.`, {
      cause: error,
      hint: 'Check the path.',
    })
  }
}

/** @param {unknown} value */
export function printJson(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}

/** @param {number} bytes @returns {string} */
export function size(bytes) {
  return bytes >= 1e9
    ? `${(bytes / 1e9).toFixed(2)} GB`
    : bytes >= 1e6
      ? `${(bytes / 1e6).toFixed(1)} MB`
      : `${Math.ceil(bytes / 1e3)} kB`
}
