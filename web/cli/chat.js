/* chat.js: `nook chat`: a conversation, or one turn of it. */
import { createInterface } from 'node:readline/promises'
import { NookError } from '../errors.js'
import {
  MODEL_FLAGS, MODEL_USAGE, SAMPLING_FLAGS, SAMPLING_USAGE, UsageError, readInput, samplingOptions, sentence, withModel,
} from './common.js'
import { ADAPTER_FLAGS, ADAPTER_USAGE, withAdapters } from './adapters.js'
import { answer } from './generate.js'
import { withProgress } from './logits.js'

/** @typedef {{role: string, content: string}} Message */

/** @type {import('./common.js').Verb} */
export const verb = {
  summary: 'a conversation',
  usage: `nook chat MODEL [flags]

Without --prompt or --messages: a conversation in the terminal (or one turn with stdin as the message).
In it: Ctrl-C stops an answer, /new begins anew, /quit or Ctrl-D ends.

  --prompt TEXT         one message, one answer
  --messages F          a JSON list of {role, content}, one answer
  --system TEXT         the system message
  --template F          a chat template in Jinja (a file), or "plain"
${SAMPLING_USAGE}
${ADAPTER_USAGE}
${MODEL_USAGE}

JSON: OpenAI's chat.completion object with usage and timings`,
  options: {
    ...MODEL_FLAGS,
    ...SAMPLING_FLAGS,
    ...ADAPTER_FLAGS,
    prompt: { type: 'string' },
    messages: { type: 'string' },
    system: { type: 'string' },
    template: { type: 'string' },
  },
  positionals: [1, 1],
  arguments: 'one MODEL',
  async run(call) {
    const { values } = call
    if (values['prompt'] !== undefined && values['messages'] !== undefined)
      throw new UsageError('nook chat takes --prompt or --messages, not both.', 'See nook chat --help.')
    const sampling = samplingOptions(values, 'chat')
    /** @type {Message[]} */
    const messages = values['system'] === undefined ? [] : [{ role: 'system', content: String(values['system']) }]
    let single = true
    if (values['messages'] !== undefined) {
      const file = String(values['messages'])
      let list
      try {
        list = JSON.parse(readInput(file).toString('utf8'))
      } catch (error) {
        if (error instanceof NookError) throw error
        throw new NookError('data', `${file} is not JSON.`, { cause: error, hint: 'It holds a list of {role, content}.' })
      }
      if (!Array.isArray(list))
        throw new NookError('data', `${file} does not hold a list.`, { hint: 'It holds a list of {role, content}.' })
      messages.push(...list)
    } else if (values['prompt'] !== undefined) messages.push({ role: 'user', content: String(values['prompt']) })
    else if (process.stdin.isTTY !== true || values['json'] === true)
      messages.push({
        role: 'user',
        content: readInput('-')
          .toString('utf8')
          .replace(/\r?\n$/, ''),
      })
    else single = false

    const template =
      values['template'] === undefined
        ? undefined
        : values['template'] === 'plain'
          ? 'plain'
          : readInput(String(values['template'])).toString('utf8')
    await withModel(
      /** @type {string} */ (call.positionals[0]),
      call,
      async (llm) => {
        const adapted = await withAdapters(llm, values)
        const turn = (/** @type {AbortSignal} */ signal) =>
          answer(
            values,
            (stream) =>
              llm.chat.completions.create({
                messages,
                ...sampling,
                ...adapted,
                stream,
                signal,
                ...withProgress(values),
              }),
            'choices' in sampling,
            (chunk) => chunk.choices[0]?.delta?.content ?? '',
          )
        if (single) await turn(call.signal)
        else await converse(messages, turn)
      },
      template === undefined ? {} : { chatTemplate: template },
    )
  },
}

/**
 * The conversation in a terminal.
 * @param {Message[]} messages what stands before it @param {(signal: AbortSignal) => Promise<string>} turn
 */
async function converse(messages, turn) {
  const kept = messages.length
  const lines = createInterface({ input: process.stdin, output: process.stdout, prompt: '> ' })
  /** @type {AbortController | null} */
  let running = null
  lines.on('SIGINT', () => {
    if (running === null) lines.close()
    else running.abort()
  })
  try {
    lines.prompt()
    for await (const line of lines) {
      const text = line.trim()
      if (text === '/quit') break
      if (text === '/new') messages.length = kept
      else if (text !== '') {
        messages.push({ role: 'user', content: line })
        running = new AbortController()
        try {
          messages.push({ role: 'assistant', content: await turn(running.signal) })
        } catch (error) {
          messages.pop()
          process.stderr.write(`\n${running.signal.aborted ? '[stopped]' : sentence(error)}\n`)
        }
        running = null
      }
      lines.prompt()
    }
  } finally {
    lines.close()
  }
}
