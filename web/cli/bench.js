/*
 * bench.js: `nook bench`: how fast a model is here, and what memory it takes.
 *
 * Method   Each number is the median of `--repeats` runs, warm-up left out. Prompts are the same ids each time, nothing is
 *          reused from the cache. Memory is the peak of a process that loads and answers, less that of an empty Node
 *          process (median), with a context of 1,024 unless --context says otherwise.
 */
import { spawnSync } from 'node:child_process'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { NookError } from '../errors.js'
import { load } from '../node.js'
import { MODEL_FLAGS, MODEL_USAGE, clearLine, loadOptions, number, printJson } from './common.js'

/** @typedef {{what: string, n: number, median: number, min: number, max: number, unit: string}} Row */

/** A text of this project, repeated for long prompts: what is read does not matter, only how much. */
const TEXT = 'A small house stood by the river, and in the evening its windows shone over the water. '

/** @param {number[]} values @returns {number} */
function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const at = (/** @type {number} */ i) => /** @type {number} */ (sorted[i])
  return sorted.length % 2 === 1 ? at(middle) : (at(middle - 1) + at(middle)) / 2
}

/** @param {string} what @param {number[]} values @param {string} unit @returns {Row} */
function row(what, values, unit) {
  return { what, n: values.length, median: median(values), min: Math.min(...values), max: Math.max(...values), unit }
}

/** @type {import('./common.js').Verb} */
export const verb = {
  summary: 'speed and memory of a model here',
  usage: `nook bench MODEL [flags]

Load, reading of 16, 128 and 512 tokens, writing of 64, time from abort to stop, and peak memory over an empty Node.

  --repeats N           runs of each (default 3)
${MODEL_USAGE}

JSON: {device, build, threads, rows: [{what, n, median, min, max, unit}]}`,
  options: { ...MODEL_FLAGS, repeats: { type: 'string' } },
  positionals: [1, 1],
  arguments: 'one MODEL',
  async run(call) {
    const { values, signal } = call
    const repeats = number(values, 'repeats', { whole: true, least: 1, most: 1000 }) ?? 3
    const options = { contextSize: 1024, ...loadOptions(/** @type {string} */ (call.positionals[0]), call) }
    const told = (/** @type {string} */ what) => {
      if (process.stderr.isTTY === true || values['progress'] === true) process.stderr.write(`measuring · ${what}\n`)
    }
    /** @type {Row[]} */
    const rows = []

    told('load')
    /** @type {number[]} */
    const loads = []
    let llm = await load(options)
    for (let i = 0; i < repeats; i++) {
      await llm.dispose()
      const begun = performance.now()
      llm = await load(options)
      loads.push((performance.now() - begun) / 1000)
    }
    rows.push(row('load', loads, 's'))
    const { build, threads, isa } = llm.info
    try {
      const ids = await llm.tokenize(TEXT.repeat(60))
      const room = Number(llm.info.context)
      const generate = (/** @type {number} */ length, /** @type {number} */ tokens, /** @type {object} */ more = {}) =>
        llm.completions.create({
          prompt: ids.slice(0, length),
          max_tokens: tokens,
          temperature: 0,
          ignore_end: true,
          reuse: false,
          signal,
          ...more,
        })
      for (const length of [16, 128, 512]) {
        if (length >= room || length > ids.length) continue
        told(`reading ${length}`)
        await generate(length, 1)
        const speeds = []
        for (let i = 0; i < repeats; i++) {
          const { timings } = await generate(length, 1)
          speeds.push(timings.prompt_n / (timings.prompt_ms / 1000))
        }
        rows.push(row(`prefill ${length}`, speeds, 'tokens/s'))
      }
      if (80 < room) {
        told('writing 64')
        const speeds = []
        for (let i = 0; i < repeats; i++) {
          const { timings } = await generate(16, 64)
          if (timings.predicted_n > 1)
            speeds.push((timings.predicted_n - 1) / (timings.predicted_ms / 1000)) /* the first is part of the reading */
        }
        if (speeds.length > 0) rows.push(row('decode 64', speeds, 'tokens/s'))
      }
      told('abort')
      for (const [what, phase] of /** @type {const} */ ([
        ['abort while reading', 'prefill'],
        ['abort while writing', 'token'],
      ])) {
        const times = []
        for (let i = 0; i < Math.max(repeats, 5); i++) {
          const time = await abortTime(llm, ids.slice(0, Math.min(512, room - 64)), phase)
          if (time !== null) times.push(time)
        }
        if (times.length > 0) rows.push(row(what, times, 'ms'))
      }
    } finally {
      await llm.dispose()
    }

    told('memory')
    const { signal: unused, onProgress, ...plain } = options
    void unused
    void onProgress
    const peaks = []
    for (let i = 0; i < repeats; i++) peaks.push((peak(plain) - peak(null)) / 1e6)
    rows.push(row('peak memory over an empty Node', peaks, 'MB'))

    clearLine(values)
    const processor = cpus()[0]?.model.trim() ?? 'unknown processor'
    const device = `${processor}, ${cpus().length} logical processors, Node ${process.versions.node}`
    const out = { device, build, isa, threads, context: options.contextSize, rows }
    if (values['json'] === true) return printJson(out)
    process.stdout.write(
      `${device}\n${build} build, ${threads} thread${threads === 1 ? '' : 's'}, context ${options.contextSize}\n\n`,
    )
    const show = (/** @type {number} */ value) => value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2).padStart(9)
    process.stdout.write(`${''.padEnd(32)}${'median'.padStart(9)}${'min'.padStart(9)}${'max'.padStart(9)}\n`)
    for (const one of rows)
      process.stdout.write(`${one.what.padEnd(32)}${show(one.median)}${show(one.min)}${show(one.max)} ${one.unit}\n`)
  },
}

/**
 * Milliseconds from abort() to the rejection, in the middle of a call.
 * @param {import('../client.js').Model} llm @param {Int32Array} prompt @param {'prefill' | 'token'} phase
 * @returns {Promise<number | null>} null when the call was over before
 */
async function abortTime(llm, prompt, phase) {
  const controller = new AbortController()
  let begun = 0
  const abort = () => {
    if (begun !== 0) return
    begun = performance.now()
    controller.abort()
  }
  try {
    const stream = await llm.completions.create({
      prompt: phase === 'prefill' ? prompt : prompt.slice(0, 16),
      max_tokens: 48,
      temperature: 0,
      ignore_end: true,
      reuse: false,
      stream: true,
      signal: controller.signal,
      onProgress: (/** @type {{loaded: number, total: number}} */ event) => {
        if (phase === 'prefill' && event.loaded < event.total) abort()
      },
    })
    let count = 0
    for await (const chunk of stream) {
      void chunk
      if (phase === 'token' && ++count === 4) abort()
    }
    return null
  } catch (error) {
    if (NookError.from(error).code !== 'abort' || begun === 0) throw error
    return performance.now() - begun
  }
}

/** Peak memory of a process, bytes. @param {object | null} options of load, or null for an empty Node @returns {number} */
function peak(options) {
  const child = spawnSync(
    process.execPath,
    [fileURLToPath(new URL('./bench-memory.js', import.meta.url)), JSON.stringify(options)],
    { encoding: 'utf8', maxBuffer: 1 << 20 },
  )
  const bytes = Number(child.stdout)
  if (child.status !== 0 || !(bytes > 0))
    throw new NookError(
      'internal',
      `The process that measures memory failed: ${child.stderr.trim().split('\n').pop() ?? ''}.`,
    )
  return bytes
}
