/* logits.js: `nook logits`: the logits (of an encoder: hidden states) of every position of given ids, to a file. */
import { closeSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { NookError } from '../errors.js'
import { ADAPTER_FLAGS, ADAPTER_USAGE, withAdapters } from './adapters.js'
import { MODEL_FLAGS, MODEL_USAGE, UsageError, number, printJson, progressLine, readInput, withModel } from './common.js'

/** @type {import('./common.js').Verb} */
export const verb = {
  summary: 'logits (of an encoder: hidden states) of every position of given token ids, to a file',
  usage: `nook logits MODEL --tokens IDS.json --out F.f32 [flags]

Writes raw little-endian float32 [n, vocabulary] (of an encoder: hidden states [n, width]), row by row.
IDS.json is a JSON array of ids.

  --tokens F            the ids ("-": stdin)
  --out F               the file to write
  --chunk N             feeds N tokens a call (the result is the same to the bit)
${ADAPTER_USAGE}
${MODEL_USAGE}

JSON: {"rows", "columns", "out"}`,
  options: {
    ...MODEL_FLAGS, ...ADAPTER_FLAGS, tokens: { type: 'string' }, out: { type: 'string' }, chunk: { type: 'string' },
  },
  positionals: [1, 1],
  arguments: 'one MODEL',
  async run(call) {
    const { values } = call
    for (const flag of ['tokens', 'out'])
      if (values[flag] === undefined) throw new UsageError(`nook logits needs --${flag}.`, 'See nook logits --help.')
    const chunk = number(values, 'chunk', { whole: true, least: 1 })
    const file = String(values['tokens'])
    let ids
    try {
      ids = JSON.parse(readInput(file).toString('utf8'))
    } catch (error) {
      if (error instanceof NookError) throw error
      throw new NookError('data', `${file} is not JSON.`, { cause: error, hint: 'It holds one array of token ids.' })
    }
    if (!Array.isArray(ids)) ids = ids?.ids
    if (!Array.isArray(ids) || ids.length === 0 || !ids.every((id) => Number.isInteger(id) && id >= 0)) {
      throw new NookError('data', `${file} does not hold an array of token ids.`, { hint: 'E.g. [1, 9690, 198].' })
    }
    const out = String(values['out'])
    await withModel(/** @type {string} */ (call.positionals[0]), call, async (llm) => {
      const adapted = await withAdapters(llm, values)
      const part = `${out}.${process.pid}.part`
      let target
      try {
        target = openSync(part, 'w')
      } catch (error) {
        throw new NookError('data', `${out} cannot be written: ${/** @type {Error} */ (error).message}.`, {
          cause: error,
          hint: 'Check the folder.',
        })
      }
      let rows = 0
      let columns = 0
      try {
        for await (const piece of llm[llm.info.encoder ? 'hidden' : 'logits'](ids, {
          ...(chunk === undefined ? {} : { chunk }),
          ...adapted,
          signal: call.signal,
          ...withProgress(values),
        })) {
          const bytes = new Uint8Array(piece.data.buffer, piece.data.byteOffset, piece.data.byteLength)
          for (let done = 0; done < bytes.length;) done += writeSync(target, bytes, done)
          rows += piece.rows
          columns = piece.columns
        }
        closeSync(target)
        renameSync(part, out)
      } catch (error) {
        rmSync(part, { force: true })
        throw error
      }
      if (values['json'] === true) printJson({ rows, columns, out })
      else process.stderr.write(`${rows} rows of ${columns} numbers in ${out}\n`)
    }, values['context'] === undefined && ids.length > 4096 ? { contextSize: ids.length } : {})
  },
}

/** @param {import('./common.js').Values} values */
export function withProgress(values) {
  const onProgress = progressLine(values)
  return onProgress === undefined ? {} : { onProgress }
}
