/* perplexity.js: `nook perplexity`: how well a model predicts a text. */
import { NookError } from '../errors.js'
import { ADAPTER_FLAGS, ADAPTER_USAGE, withAdapters } from './adapters.js'
import { MODEL_FLAGS, MODEL_USAGE, clearLine, number, printJson, readInput, withModel } from './common.js'
import { withProgress } from './logits.js'

/** @type {import('./common.js').Verb} */
export const verb = {
  summary: 'how well a model predicts a text',
  usage: `nook perplexity MODEL FILE [flags]

exp of the mean of -log p(token | tokens before it), over the whole text in one context. Control tokens in the text are not
parsed; no BOS unless asked for. The first token of a context is not scored.

  --window N            cuts the text into contexts of N tokens
  --bos                 puts BOS before each context
  --chunk N             feeds N tokens a call
${ADAPTER_USAGE}
${MODEL_USAGE}

JSON: {"tokens": scored ones, "mean_nll", "perplexity"}`,
  options: {
    ...MODEL_FLAGS, ...ADAPTER_FLAGS, window: { type: 'string' }, bos: { type: 'boolean' }, chunk: { type: 'string' },
  },
  positionals: [2, 2],
  arguments: 'one MODEL and one FILE',
  async run(call) {
    const { values } = call
    const [model, file] = /** @type {[string, string]} */ (call.positionals)
    const window = number(values, 'window', { whole: true, least: 2 })
    const chunk = number(values, 'chunk', { whole: true, least: 1 })
    const text = new Uint8Array(readInput(file))
    if (text.length === 0) throw new NookError('data', `${file} is empty.`, { hint: 'Give a text of at least two tokens.' })
    const measured = await withModel(model, call, async (llm) =>
      llm.perplexity(text, {
        ...(window === undefined ? {} : { window }),
        ...(chunk === undefined ? {} : { chunk }),
        ...(values['bos'] === true ? { bos: true } : {}),
        ...(await withAdapters(llm, values)),
        signal: call.signal,
        ...withProgress(values),
      }),
    )
    clearLine(values)
    if (values['json'] === true) printJson(measured)
    else {
      const mean = `mean -log p ${measured.mean_nll.toFixed(5)} over ${measured.tokens} tokens`
      process.stdout.write(`perplexity ${measured.perplexity.toFixed(4)} (${mean})\n`)
    }
  },
}
