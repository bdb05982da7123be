/* embed.js: `nook embed`: texts to vectors. */
import { NookError } from '../errors.js'
import { MODEL_FLAGS, MODEL_USAGE, UsageError, number, printJson, progressLine, readInput, withModel } from './common.js'

/** One line of --file. @param {string} line @param {number} at @param {string} file @returns {string | number[]} */
function textOf(line, at, file) {
  let object
  try {
    object = JSON.parse(line)
  } catch (error) {
    throw new NookError('data', `${file}, line ${at} is not JSON.`, { cause: error, hint: 'Each line is {"text": …}.' })
  }
  if (typeof object?.text === 'string') return object.text
  if (Array.isArray(object?.ids)) return object.ids
  throw new NookError('data', `${file}, line ${at} has no "text".`, { hint: 'Each line is {"text": …} or {"ids": […]}.' })
}

/** @type {import('./common.js').Verb} */
export const verb = {
  summary: 'texts to vectors (embeddings)',
  usage: `nook embed MODEL TEXT | --file F.jsonl [flags]

Prints one JSON array of numbers a text. F has one object a line: {"text"} or {"ids"} ("-": stdin). A text that is
longer than the model's room is cut, and that is told.

  --file F              the texts
  --max-tokens N        cuts texts after N tokens, special ones counted
  --pooling P           mean, cls or last, instead of what the model's file says
  --no-normalize        leaves the vectors their length
${MODEL_USAGE}

JSON: {"object": "list", "data": [{"index", "embedding": [...], "tokens", "truncated"}], "usage"}`,
  options: {
    ...MODEL_FLAGS,
    file: { type: 'string' },
    'max-tokens': { type: 'string' },
    pooling: { type: 'string' },
    'no-normalize': { type: 'boolean' },
  },
  positionals: [1, 2],
  arguments: 'one MODEL and one of TEXT, --file',
  async run(call) {
    const { values, positionals } = call
    const text = positionals[1]
    if ((text === undefined) === (values['file'] === undefined))
      throw new UsageError(`nook embed needs ${verb.arguments}.`, 'See nook embed --help.')
    const file = String(values['file'])
    const input = text !== undefined
      ? [text]
      : readInput(file).toString('utf8').split('\n').map((line, i) => ({ line, at: i + 1 }))
        .filter(({ line }) => line.trim() !== '').map(({ line, at }) => textOf(line, at, file))
    if (input.length === 0) throw new NookError('data', `${file} has no texts.`, { hint: 'Each line is {"text": …}.' })
    const maxTokens = number(values, 'max-tokens', { whole: true, least: 3 })
    const onProgress = progressLine(values)
    await withModel(/** @type {string} */ (positionals[0]), call, async (llm) => {
      const made = await llm.embeddings.create({
        input,
        ...(maxTokens === undefined ? {} : { maxTokens }),
        ...(values['pooling'] === undefined ? {} : { pooling: /** @type {any} */ (values['pooling']) }),
        ...(values['no-normalize'] === true ? { normalize: false } : {}),
        ...(onProgress === undefined ? {} : { onProgress }),
        signal: call.signal,
      })
      const cut = made.data.filter((/** @type {{truncated: boolean}} */ one) => one.truncated).length
      if (cut > 0) process.stderr.write(`${cut} of ${made.data.length} texts were too long and were cut.\n`)
      if (values['json'] === true) printJson(made)
      else for (const { embedding } of made.data) process.stdout.write(`${JSON.stringify(embedding)}\n`)
    })
  },
}
