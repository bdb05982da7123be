/* generate.js: `nook generate`: goes on from a prompt, without a chat template. */
import { ADAPTER_FLAGS, ADAPTER_USAGE, withAdapters } from './adapters.js'
import {
  MODEL_FLAGS, MODEL_USAGE, SAMPLING_FLAGS, SAMPLING_USAGE, UsageError, clearLine, printJson, readInput, samplingOptions,
  withModel,
} from './common.js'
import { withProgress } from './logits.js'

/** @type {import('./common.js').Verb} */
export const verb = {
  summary: 'goes on from a prompt',
  usage: `nook generate MODEL --prompt TEXT | --prompt-file F [flags]

  --prompt TEXT         the beginning  ·  --prompt-file F: from a file ("-": stdin)
  --special             control tokens in the prompt are parsed (only for prompts of your own)
${SAMPLING_USAGE}
${ADAPTER_USAGE}
${MODEL_USAGE}

JSON: OpenAI's text_completion object with usage and timings`,
  options: {
    ...MODEL_FLAGS,
    ...SAMPLING_FLAGS,
    ...ADAPTER_FLAGS,
    prompt: { type: 'string' },
    'prompt-file': { type: 'string' },
    special: { type: 'boolean' },
  },
  positionals: [1, 1],
  arguments: 'one MODEL',
  async run(call) {
    const { values } = call
    if ((values['prompt'] === undefined) === (values['prompt-file'] === undefined))
      throw new UsageError('nook generate needs --prompt or --prompt-file.', 'See nook generate --help.')
    const sampling = samplingOptions(values, 'text')
    const prompt =
      values['prompt'] === undefined ? readInput(String(values['prompt-file'])).toString('utf8') : String(values['prompt'])
    await withModel(/** @type {string} */ (call.positionals[0]), call, async (llm) => {
      const request = {
        prompt,
        ...sampling,
        ...(values['special'] === true ? { special: true } : {}),
        ...(await withAdapters(llm, values)),
        signal: call.signal,
        ...withProgress(values),
      }
      await answer(
        values,
        (stream) => llm.completions.create({ ...request, stream }),
        'choices' in sampling,
        (chunk) => chunk.choices[0]?.text ?? '',
      )
    })
  },
}

/**
 * Writes an answer as it comes, or the whole object with --json.
 * @param {import('./common.js').Values} values
 * @param {(stream: boolean) => Promise<any>} create
 * @param {boolean} choices whether answers are scored rather than written
 * @param {(chunk: any) => string} textOf a chunk
 * @returns {Promise<string>} the text
 */
export async function answer(values, create, choices, textOf) {
  if (choices) {
    const scored = await create(false)
    clearLine(values)
    if (values['json'] === true) printJson(scored)
    else {
      for (const one of scored.choices) {
        const percent = (one.probability * 100).toFixed(1).padStart(5)
        process.stdout.write(`${percent} %  ${one.logprob.toFixed(3).padStart(9)}  ${one.text ?? one.message.content}\n`)
      }
    }
    return ''
  }
  if (values['json'] === true) {
    const whole = await create(false)
    clearLine(values)
    printJson(whole)
    return ''
  }
  let text = ''
  let last
  for await (const chunk of await create(true)) {
    const more = textOf(chunk)
    if (more !== '' && text === '') clearLine(values)
    text += more
    process.stdout.write(more)
    if (chunk.dropped_tokens > 0 && chunk.usage === undefined)
      process.stderr.write(`\n[the context was full: ${chunk.dropped_tokens} tokens of the middle were dropped]\n`)
    last = chunk
  }
  clearLine(values)
  if (!text.endsWith('\n')) process.stdout.write('\n')
  if (last?.choices[0]?.finish_reason === 'context_full')
    process.stderr.write('[the context is full: take a larger --context, or --context-full shift]\n')
  return text
}
