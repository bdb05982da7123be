/* tokenize.js: `nook tokenize`: text to ids and back. */
import { NookError } from '../errors.js'
import { MODEL_FLAGS, MODEL_USAGE, UsageError, printJson, readInput, withModel } from './common.js'

/** Ids out of "[1, 2]", "1,2" or "1 2". @param {string} text @returns {number[]} */
export function parseIds(text) {
  const parts = text.trim().replace(/^\[|\]$/g, '').split(/[\s,]+/).filter((part) => part !== '')
  return parts.map((part) => {
    const id = Number(part)
    if (!Number.isInteger(id) || id < 0)
      throw new UsageError(`"${part}" is not a token id.`, 'Ids are whole numbers from 0, e.g. --detokenize "[1, 2, 3]".')
    return id
  })
}

/** One line of --jsonl. @param {string} line @param {number} number @param {string} file @returns {string | Uint8Array} */
function lineText(line, number, file) {
  let object
  try {
    object = JSON.parse(line)
  } catch (error) {
    throw new NookError('data', `${file}, line ${number} is not JSON.`, {
      cause: error,
      hint: 'Each line is {"text": …} or {"hex": …}.',
    })
  }
  if (typeof object?.text === 'string') return object.text
  if (typeof object?.hex === 'string' && /^([0-9a-fA-F]{2})*$/.test(object.hex))
    return Uint8Array.from(Buffer.from(object.hex, 'hex'))
  throw new NookError('data', `${file}, line ${number} has neither "text" nor "hex".`, {
    hint: 'Each line is {"text": …} or {"hex": …}.',
  })
}

/** @type {import('./common.js').Verb} */
export const verb = {
  summary: 'text to token ids, and back',
  usage: `nook tokenize MODEL TEXT | --file F | --jsonl F | --detokenize IDS [flags]

Prints one JSON array of ids; with --jsonl one array a line, in the order of the lines ({"text": …} or {"hex": raw bytes}).

  --special             control tokens in the text are parsed
  --add-special         adds BOS and the like, as the file says
  --detokenize IDS      prints the text of ids ("[1, 2]"); with --special control tokens too
${MODEL_USAGE}

JSON: {"ids": [...]}, or {"text": "..."} with --detokenize`,
  options: {
    ...MODEL_FLAGS,
    file: { type: 'string' },
    jsonl: { type: 'string' },
    special: { type: 'boolean' },
    'add-special': { type: 'boolean' },
    detokenize: { type: 'string' },
  },
  positionals: [1, 2],
  arguments: 'one MODEL and one of TEXT, --file, --jsonl, --detokenize',
  async run(call) {
    const { values, positionals } = call
    const text = positionals[1]
    const given = [text, values['file'], values['jsonl'], values['detokenize']].filter((one) => one !== undefined)
    if (given.length !== 1)
      throw new UsageError(
        `nook tokenize needs ${verb.arguments}; ${given.length} were given.`,
        'See nook tokenize --help.',
      )
    const special = values['special'] === true
    const addSpecial = values['add-special'] === true
    const ids = values['detokenize'] === undefined ? null : parseIds(String(values['detokenize']))
    const bytes = values['file'] === undefined ? null : readInput(String(values['file']))
    const lines =
      values['jsonl'] === undefined
        ? null
        : readInput(String(values['jsonl']))
            .toString('utf8')
            .split('\n')
            .map((line, i) => ({ line: line.replace(/\r$/, ''), number: i + 1 }))
            .filter(({ line }) => line.trim() !== '')
            .map(({ line, number }) => lineText(line, number, String(values['jsonl'])))
    /* The smallest context: only the tokenizer is used. */
    await withModel(
      /** @type {string} */ (positionals[0]),
      call,
      async (llm) => {
        if (ids !== null) {
          const out = await llm.detokenizeBytes(ids, { special })
          if (values['json'] === true) printJson({ text: new TextDecoder().decode(out) })
          else process.stdout.write(out)
        } else if (lines !== null) {
          const arrays = []
          for (const line of lines) arrays.push(Array.from(await llm.tokenize(line, { special, addSpecial })))
          if (values['json'] === true) printJson({ ids: arrays })
          else for (const array of arrays) process.stdout.write(`${JSON.stringify(array)}\n`)
        } else {
          const array = Array.from(
            await llm.tokenize(bytes === null ? /** @type {string} */ (text) : new Uint8Array(bytes), {
              special,
              addSpecial,
            }),
          )
          if (values['json'] === true) printJson({ ids: array })
          else process.stdout.write(`${JSON.stringify(array)}\n`)
        }
      },
      values['context'] === undefined ? { contextSize: 16, threads: 1 } : {},
    )
  },
}
