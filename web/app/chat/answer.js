/**
 * answer.js: one answer at a time, from the messages of a conversation. It waits for the model, reads (prefill), writes,
 * can be stopped in each of these, and is kept while it grows: at most a second of text is lost when the tab dies.
 */
import * as conversations from '../conversations.js'
import { createStore } from '../store.js'
import { model, engine, beforeLeaving } from '../engine.js'
import { settings, temperatures } from '../settings.js'
import { clock, say } from '../status.js'
import { t } from '../strings.js'

/**
 * @typedef {object} Answering
 * @property {string | null} id of the message that is being written
 * @property {string | null} conversation
 * @property {'waiting' | 'reading' | 'writing'} phase
 * @property {number} share of reading
 * @property {number | null} left seconds of reading
 * @property {number} since when this phase began (performance.now())
 * @property {number} used tokens of the room after the last answer
 * @property {string | null} usedIn conversation that `used` is of
 */

/** @type {import('../store.js').Store<Answering>} */
export const answering = createStore(
  /** @type {Answering} */ ({
    id: null,
    conversation: null,
    phase: 'waiting',
    share: 0,
    left: null,
    since: 0,
    used: 0,
    usedIn: null,
  })
)

/** New text of the message that is being written. @type {Set<(id: string, more: string) => void>} */
const listeners = new Set()
/** @param {(id: string, more: string) => void} fn @returns {() => void} */
export const onText = (fn) => {
  listeners.add(fn)
  return () => listeners.delete(fn)
}

const SAVE_EVERY = 800
const LONGEST = 1024
/** @type {AbortController | null} */
let running = null
/** @type {Promise<void>} */
let done = Promise.resolve()

beforeLeaving(async (forGood) => {
  // What waits for a model waits on when another one follows.
  if (!forGood && answering.get().phase === 'waiting') return
  running?.abort()
  await done
})

/** Stops the answer that is being written, or waits to be. */
export function stop() {
  running?.abort()
}

/**
 * A message of hers, and the answer to it.
 * @param {import('../conversations.js').Conversation | null} conversation
 * @param {string} text
 * @param {string | null} parent
 */
export async function send(conversation, text, parent) {
  const target = conversation ?? (await conversations.createConversation(text))
  const message = await conversations.add(target, { role: 'user', text, parent, state: 'done' })
  void answer(message)
  return target
}

/**
 * Answers a message of hers (again: then the new answer is one more version).
 * @param {import('../conversations.js').Message} question
 */
export async function answer(question) {
  const conversation = conversations.conversationOf(question.conversation)
  if (!conversation || answering.get().id) return
  const controller = new AbortController()
  running = controller
  const message = await conversations.add(conversation, {
    role: 'assistant',
    text: '',
    parent: question.id,
    state: 'waiting',
    model: model.get().name,
  })
  answering.set({
    id: message.id,
    conversation: conversation.id,
    phase: 'waiting',
    share: 0,
    left: null,
    since: performance.now(),
  })
  done = (async () => {
    try {
      if (!(await modelReady(controller.signal))) throw new DOMException('', 'AbortError')
      await write(conversation, question, message, controller.signal)
    } catch (error) {
      await settle(message, /** @type {any} */ (error), controller.signal.aborted)
    } finally {
      answering.set({ id: null, conversation: null })
      if (running === controller) running = null
    }
  })()
  await done
}

/** @param {AbortSignal} signal @returns {Promise<boolean>} */
function modelReady(signal) {
  if (engine()) return Promise.resolve(true)
  return new Promise((resolve) => {
    /** @type {(() => void) | undefined} */
    let end
    const finish = (/** @type {boolean} */ yes) => {
      queueMicrotask(() => end?.())
      resolve(yes)
    }
    signal.addEventListener('abort', () => finish(false), { once: true })
    end = model.subscribe(({ status }) => {
      if (status === 'ready' && engine()) finish(true)
    })
  })
}

/**
 * @param {import('../conversations.js').Conversation} conversation
 * @param {import('../conversations.js').Message} question
 * @param {import('../conversations.js').Message} message
 * @param {AbortSignal} signal
 */
async function write(conversation, question, message, signal) {
  const llm = engine()
  const shown = conversations.path(conversation.id)
  const before = shown.slice(0, shown.findIndex((m) => m.id === question.id) + 1)
  const room = Number(llm.info.context)
  const { history, from } = await fitting(llm, before, room)
  const { variety } = settings.get()
  const choice = model.get().choice
  const sampling = choice?.kind === 'card' ? (choice.card.sampling ?? {}) : {}
  const temperature = variety === 'middle' ? (sampling.temperature ?? temperatures.middle) : temperatures[variety]
  const seed = crypto.getRandomValues(new Uint32Array(1))[0] ?? 1
  await conversations.update(message, { state: 'streaming', model: model.get().name, seed, temperature, from })
  answering.set({ phase: 'reading', share: 0, left: null, since: performance.now() })
  say(t.chat.answering)
  const time = clock()
  const stream = await llm.chat.completions.create({
    messages: asMessages(history),
    ...formOf(llm),
    ...(llm.info.template ? {} : { stop: PLAIN_STOP }),
    stream: true,
    max_tokens: LONGEST,
    seed,
    ...sampling,
    temperature,
    signal,
    onProgress: (/** @type {{loaded: number, total: number}} */ { loaded, total }) => {
      if (answering.get().phase === 'reading' && total > 0)
        answering.set({ share: loaded / total, left: time.left(loaded, total) })
    },
  })
  let saved = performance.now()
  let spoken = 0
  /** @type {any} */
  let last = null
  for await (const chunk of stream) {
    last = chunk
    const more = chunk.choices[0]?.delta?.content ?? ''
    if (!more) continue
    if (answering.get().phase === 'reading') answering.set({ phase: 'writing', since: performance.now() })
    message.text += more
    for (const fn of listeners) fn(message.id, more)
    if (settings.get().spoken === 'sentence') spoken = saySentences(message.text, spoken)
    if (performance.now() - saved > SAVE_EVERY) {
      saved = performance.now()
      await conversations.update(message, {}, { quiet: true })
    }
  }
  const finish = last?.choices[0]?.finish_reason ?? 'stop'
  await conversations.update(
    message,
    { state: 'done', finish, usage: last?.usage, timings: last?.timings },
    { strict: true }
  )
  remember(message)
  say(settings.get().spoken === 'sentence' ? message.text.slice(spoken) : message.text)
}

/** @param {import('../conversations.js').Message} message */
function remember(message) {
  answering.set({ used: Number(message.usage?.total_tokens ?? 0), usedIn: message.conversation })
}

/** @param {string} text @param {number} from @returns {number} how far it was spoken */
function saySentences(text, from) {
  const end = Math.max(...['. ', '! ', '? ', '.\n', '!\n', '?\n', ':\n'].map((mark) => text.lastIndexOf(mark)))
  if (end < from) return from
  say(text.slice(from, end + 1))
  return end + 2
}

/**
 * The messages that fit, with room left for an answer: from the beginning, questions with their answers are left out until
 * the rest fits. What the model would read is rendered and counted by the engine itself.
 * @param {any} llm @param {import('../conversations.js').Message[]} messages @param {number} room
 */
async function fitting(llm, messages, room) {
  const most = room - Math.min(512, Math.floor(room / 4))
  const told = messages.filter((m) => m.role === 'user' || m.text !== '')
  const starts = told.flatMap((m, i) => (m.role === 'user' ? [i] : []))
  if ((await count(llm, told)) <= most) return { history: told, from: null }
  // The fewest that must go, by halving: a render and a count each.
  let low = Math.min(1, starts.length - 1)
  let high = starts.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if ((await count(llm, told.slice(starts[middle]))) <= most) high = middle
    else low = middle + 1
  }
  const history = told.slice(starts[low])
  return { history, from: low > 0 ? (history[0]?.id ?? null) : null }
}

/** A model whose file has no form for conversations goes on with a plain script of one. @param {any} llm */
const formOf = (llm) => (llm.info.template ? {} : { chatTemplate: 'plain' })
/** Where such a model begins to write her part too. */
const PLAIN_STOP = ['\nUser:', '\n\nAssistant:']

/** @param {import('../conversations.js').Message[]} messages */
const asMessages = (messages) => messages.map(({ role, text }) => ({ role, content: text }))

/**
 * Tokens that these messages are to the model.
 * @param {any} llm
 * @param {import('../conversations.js').Message[]} messages
 * @returns {Promise<number>}
 */
async function count(llm, messages) {
  const { text } = await llm.renderChat({ messages: asMessages(messages), ...formOf(llm) })
  return (await llm.tokenize(text, { special: true })).length
}

/** @param {import('../conversations.js').Message} message @param {any} error @param {boolean} stopped */
async function settle(message, error, stopped) {
  if (stopped || error?.code === 'abort') {
    if (message.text === '' && message.state === 'waiting') {
      // Nothing was said: the question stays, the empty answer goes.
      await conversations.markMessageDeleted(message, true)
      return
    }
    await conversations.update(message, { state: 'stopped', finish: 'abort' }, { strict: true })
    return
  }
  if (!error?.code) console.error(error)
  const facts = {
    code: String(error?.code ?? 'internal'),
    message: String(error?.message ?? error),
    hint: String(error?.hint ?? ''),
  }
  await conversations.update(message, { state: 'error', error: facts }, { strict: true })
}
