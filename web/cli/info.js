/* info.js: `nook info`: facts of a model and its memory plan, from the header only. */
import { estimate } from '../node.js'
import { MODEL_FLAGS, MODEL_USAGE, clearLine, loadOptions, printJson, size } from './common.js'

/** @type {import('./common.js').Verb} */
export const verb = {
  summary: 'facts of a model and the memory it will take',
  usage: `nook info MODEL [flags]

Architecture, sizes, formats, tokenizer, template and memory, and anything in the file that Nook does not support, by name.
Reads the header only; nothing is loaded.

${MODEL_USAGE}

JSON: {architecture, parameters, bytes, types, context, tokenizer, template, memory: {weights, kv, work}, unsupported: []}
and more`,
  options: MODEL_FLAGS,
  positionals: [1, 1],
  arguments: 'one MODEL',
  async run(call) {
    const { threads, ...options } = loadOptions(/** @type {string} */ (call.positionals[0]), call)
    void threads
    const info = await estimate(options)
    clearLine(call.values)
    if (call.values['json'] === true) return printJson(info)
    const types = Object.entries(info.types)
      .map(([type, count]) => `${type} × ${count}`)
      .join(', ')
    const { memory } = info
    const cache = `key/value cache ${size(memory.kv)} (${info.kv_type})`
    const rows = [
      ['architecture', info.architecture],
      ['name', info.name ?? '–'],
      ['parameters', Number(info.parameters).toLocaleString('en')],
      ['file', `${size(info.bytes)}: ${types}`],
      ['context', `${info.context} tokens (trained on ${info.trained_context})`],
      ['vocabulary', info.vocabulary],
      ['tokenizer', info.tokenizer ?? 'none'],
      ['chat template', info.template === null ? 'none' : `${info.template.length} characters`],
      ['memory', `${size(memory.total)}: weights ${size(memory.weights)}, ${cache}, work ${size(memory.work)}`],
      ['unsupported', info.unsupported.length === 0 ? 'nothing' : info.unsupported.join('; ')],
    ]
    for (const [name, value] of rows) process.stdout.write(`${String(name).padEnd(14)} ${String(value)}\n`)
  },
}
