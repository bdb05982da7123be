/**
 * conversations.js: what a person wrote and what was answered, as data. No element is made here.
 *
 * A conversation is a tree of messages: answering again or editing makes a sibling, and each parent remembers which child
 * is shown. The path from the root along the chosen children is what the person sees and what the model gets.
 * Deleted things keep a time and are removed for good a day later.
 */
import * as db from './db.js'
import { createStore } from './store.js'
import { t } from './strings.js'

/**
 * @typedef {object} Conversation
 * @property {string} id
 * @property {string} title
 * @property {number} created
 * @property {number} updated
 * @property {string | null} chosen the root message that is shown
 * @property {number} [deleted] time
 *
 * @typedef {object} Message
 * @property {string} id
 * @property {string} conversation
 * @property {string | null} parent
 * @property {string | null} chosen the child that is shown
 * @property {'user' | 'assistant'} role
 * @property {string} text
 * @property {number} created
 * @property {'done' | 'waiting' | 'streaming' | 'stopped' | 'error'} state
 * @property {string} [model]
 * @property {string} [finish] stop, length, context_full, abort, interrupted
 * @property {{code: string, message: string, hint?: string}} [error]
 * @property {any} [usage]
 * @property {any} [timings]
 * @property {number} [seed]
 * @property {number} [temperature]
 * @property {string | null} [from] first message that the model saw, when the beginning no longer fitted
 * @property {number} [deleted] time
 */

const DAY = 86_400_000
const LIMIT = { file: 200e6, text: 2_000_000, messages: 100_000, conversations: 20_000 }
const channel = 'BroadcastChannel' in globalThis ? new BroadcastChannel('nook.conversations') : null

/** @type {import('./store.js').Store<{ready: boolean, list: Conversation[], version: number}>} */
export const conversations = createStore({
  ready: /** @type {boolean} */ (false),
  list: /** @type {Conversation[]} */ ([]),
  version: 0,
})

/** All messages, by id; a few thousand short texts, so that search needs no second index. @type {Map<string, Message>} */
const messages = new Map()
/** @type {Map<string, Map<string | null, Message[]>>} conversation → parent → children in order of creation */
const trees = new Map()

const newId = () => crypto.randomUUID()

/** Reads everything, once, and settles what a crash left half done. */
export async function open() {
  await read()
  const now = Date.now()
  for (const conversation of conversations.get().list) {
    if (conversation.deleted && now - conversation.deleted > DAY) await db.removeConversation(conversation.id)
  }
  await read()
  conversations.set({ ready: true })
  if (channel) channel.onmessage = () => void read()
}

async function read() {
  const [rows, texts] = await Promise.all([db.all('conversations'), db.all('messages')])
  messages.clear()
  trees.clear()
  for (const message of texts) keep(message)
  for (const tree of trees.values()) for (const list of tree.values()) list.sort((a, b) => a.created - b.created)
  conversations.set({ list: rows.sort((a, b) => b.updated - a.updated), version: conversations.get().version + 1 })
}

/**
 * A message that says `streaming` or `waiting` though nobody writes it: the tab was closed or crashed. Called by the owner
 * of
 * the model only, since another tab may be writing.
 */
export async function settleInterrupted() {
  const broken = [...messages.values()].filter((m) => m.state === 'streaming' || m.state === 'waiting')
  for (const message of broken) Object.assign(message, { state: 'stopped', finish: 'interrupted' })
  await db.put({ messages: broken })
  if (broken.length) changed()
}

/** @param {Message} message */
function keep(message) {
  messages.set(message.id, message)
  let tree = trees.get(message.conversation)
  if (!tree) trees.set(message.conversation, (tree = new Map()))
  const siblings = tree.get(message.parent)
  if (siblings) siblings.push(message)
  else tree.set(message.parent, [message])
}

function changed() {
  const list = [...conversations.get().list].sort((a, b) => b.updated - a.updated)
  conversations.set({ list, version: conversations.get().version + 1 })
}

/**
 * Writes, tells the other tabs, and this one.
 * @param {Parameters<typeof db.put>[0]} rows
 * @param {{strict?: boolean}} [options]
 */
async function write(rows, options) {
  changed()
  await db.put(rows, options)
  channel?.postMessage(1)
}

/** @param {string} id */
export const conversationOf = (id) => conversations.get().list.find((c) => c.id === id && !c.deleted)
/** @param {string} id */
export const messageOf = (id) => messages.get(id)
export const visible = () => conversations.get().list.filter((c) => !c.deleted)
export const recentlyDeleted = () => conversations.get().list.filter((c) => c.deleted)

/** @param {string} conversation @param {string | null} parent */
const children = (conversation, parent) =>
  (trees.get(conversation)?.get(parent) ?? []).filter((message) => !message.deleted)

/** Versions of a message: those with the same parent. @param {Message} message */
export const versions = (message) => children(message.conversation, message.parent)

/** The messages that are shown, from the first to the last. @param {string} id @returns {Message[]} */
export function path(id) {
  const conversation = conversationOf(id)
  /** @type {Message[]} */
  const out = []
  let chosen = conversation?.chosen ?? null
  let parent = /** @type {string | null} */ (null)
  while (conversation) {
    const options = children(id, parent)
    const message = options.find((m) => m.id === chosen) ?? options.at(-1)
    if (!message || out.includes(message)) return out
    out.push(message)
    parent = message.id
    chosen = message.chosen
  }
  return out
}

/** A new conversation is a row only when something is in it. @param {string} firstText @returns {Promise<Conversation>} */
export async function createConversation(firstText) {
  const now = Date.now()
  const conversation = { id: newId(), title: titleOf(firstText), created: now, updated: now, chosen: null }
  conversations.set({ list: [conversation, ...conversations.get().list] })
  await write({ conversations: [conversation] })
  return conversation
}

/** The first line, cut at a word near 60 characters. @param {string} text */
export function titleOf(text) {
  const line = text.trim().split('\n', 1)[0]?.replace(/\s+/g, ' ').trim() ?? ''
  if (line.length <= 60) return line || t.list.untitled
  const cut = line.slice(0, 60)
  return `${cut.slice(0, Math.max(cut.lastIndexOf(' '), 30))}…`
}

/**
 * Adds a message below a parent and chooses it.
 * @param {Conversation} conversation
 * @param {Pick<Message, 'role' | 'text' | 'parent' | 'state'> & Partial<Message>} fields
 */
export async function add(conversation, fields) {
  const message = /** @type {Message} */ ({
    id: newId(),
    conversation: conversation.id,
    created: Date.now(),
    chosen: null,
    ...fields,
  })
  keep(message)
  const parent = message.parent ? messages.get(message.parent) : null
  if (parent) parent.chosen = message.id
  else conversation.chosen = message.id
  conversation.updated = Date.now()
  await write({ conversations: [conversation], messages: parent ? [parent, message] : [message] })
  return message
}

/**
 * Changes a message and writes it. While text streams in, the caller does this at least once a second.
 * @param {Message} message @param {Partial<Message>} patch @param {{strict?: boolean, quiet?: boolean}} [options]
 */
export async function update(message, patch, { strict = false, quiet = false } = {}) {
  Object.assign(message, patch)
  if (quiet) await db.put({ messages: [message] }, { strict })
  else await write({ messages: [message] }, { strict })
}

/** Shows another version. @param {Message} message */
export async function choose(message) {
  const parent = message.parent ? messages.get(message.parent) : null
  const conversation = conversationOf(message.conversation)
  if (parent) {
    parent.chosen = message.id
    await write({ messages: [parent] })
  } else if (conversation) {
    conversation.chosen = message.id
    await write({ conversations: [conversation] })
  }
}

/** @param {Conversation} conversation @param {boolean} yes */
export async function markDeleted(conversation, yes) {
  if (yes) conversation.deleted = Date.now()
  else delete conversation.deleted
  await write({ conversations: [conversation] })
}

/** @param {Message} message @param {boolean} yes */
export async function markMessageDeleted(message, yes) {
  if (yes) message.deleted = Date.now()
  else delete message.deleted
  await write({ messages: [message] })
}

/** @param {string} id */
export async function forget(id) {
  await db.removeConversation(id)
  await read()
  channel?.postMessage(1)
}

/** A new conversation with the messages up to this one. @param {Message} last */
export async function branch(last) {
  const source = path(last.conversation)
  const taken = source.slice(0, source.findIndex((m) => m.id === last.id) + 1)
  const conversation = await createConversation(taken[0]?.text ?? '')
  conversation.title = t.chat.branchOf(conversationOf(last.conversation)?.title ?? conversation.title)
  let parent = /** @type {string | null} */ (null)
  for (const message of taken) {
    const { id: _id, chosen: _chosen, conversation: _conversation, ...rest } = message
    parent = (await add(conversation, { ...rest, parent })).id
  }
  return conversation
}

/**
 * Full text search, words in any order, letter case and accents ignored.
 * @param {string} query
 * @returns {{conversation: Conversation, message: Message | null, excerpt: string, at: [number, number] | null}[]}
 */
export function search(query) {
  const words = fold(query).split(/\s+/).filter(Boolean)
  if (words.length === 0) return []
  const out = []
  for (const conversation of visible()) {
    const shown = path(conversation.id)
    const hit = shown.find((m) => words.every((word) => fold(m.text).includes(word)))
    if (hit) out.push({ conversation, message: hit, ...excerptOf(hit.text, words[0] ?? '') })
    else if (words.every((word) => fold(conversation.title).includes(word)))
      out.push({ conversation, message: null, excerpt: '', at: null })
  }
  return out
}

/** Same length as the text, so that places carry over. @param {string} text */
export const fold = (text) =>
  Array.from(text.normalize('NFC'), (c) => {
    const plain = c.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase()
    return plain.length === c.length ? plain : c
  }).join('')

/** @param {string} text @param {string} word @returns {{excerpt: string, at: [number, number] | null}} */
function excerptOf(text, word) {
  const clean = text.normalize('NFC')
  const at = fold(clean).indexOf(word)
  if (at < 0) return { excerpt: clean.slice(0, 90), at: null }
  const start = at > 30 ? Math.max(0, clean.lastIndexOf(' ', at - 24) + 1) : 0
  const excerpt = (start > 0 ? '…' : '') + clean.slice(start, start + 110).replace(/\s/g, ' ')
  const from = at - start + (start > 0 ? 1 : 0)
  return { excerpt, at: [from, from + word.length] }
}

/** Everything that is not deleted, as one object. */
export function exportAll() {
  return {
    format: 'nook-conversations',
    version: 1,
    exported: new Date().toISOString(),
    conversations: visible().map((conversation) => ({
      ...conversation,
      messages: [...(trees.get(conversation.id)?.values() ?? [])].flat().filter((message) => !message.deleted),
    })),
  }
}

export const importLimit = LIMIT.file

/**
 * Takes an export in, with new ids. The file comes from outside: every field is checked, what is unknown is left out.
 * @param {unknown} data
 * @returns {Promise<{imported: number, bad: number} | null>} null: not an export
 */
export async function importAll(data) {
  const file = /** @type {any} */ (data)
  if (file?.format !== 'nook-conversations' || file.version !== 1 || !Array.isArray(file.conversations)) return null
  let imported = 0
  let bad = 0
  for (const raw of file.conversations.slice(0, LIMIT.conversations)) {
    const rows = checked(raw)
    if (!rows) {
      bad++
      continue
    }
    await db.put({ conversations: [rows.conversation], messages: rows.messages })
    imported++
  }
  await read()
  channel?.postMessage(1)
  return { imported, bad }
}

/** @param {any} raw @returns {{conversation: Conversation, messages: Message[]} | null} */
function checked(raw) {
  if (typeof raw?.title !== 'string' || !Array.isArray(raw.messages) || raw.messages.length > LIMIT.messages) return null
  const id = newId()
  /** @type {Map<unknown, string>} */
  const ids = new Map()
  for (const m of raw.messages) {
    if (typeof m?.id !== 'string' || ids.has(m.id)) return null
    ids.set(m.id, newId())
  }
  /** @type {Map<unknown, any[]>} */
  const below = new Map()
  for (const m of raw.messages) {
    const siblings = below.get(m.parent)
    if (siblings) siblings.push(m)
    else below.set(m.parent, [m])
  }
  /** @type {Message[]} */
  const out = []
  // From the root down: what is not reached hangs on nothing, or in a circle, and the whole is refused.
  const queue = [...(below.get(null) ?? [])]
  for (let m = queue.shift(); m; m = queue.shift()) {
    queue.push(...(below.get(m.id) ?? []))
    const role = m.role === 'user' || m.role === 'assistant' ? m.role : null
    const parent = m.parent === null ? null : ids.get(m.parent)
    if (!role || typeof m.text !== 'string' || m.text.length > LIMIT.text || parent === undefined) return null
    const stopped = m.state === 'stopped' || m.state === 'streaming' || m.state === 'waiting'
    out.push({
      id: /** @type {string} */ (ids.get(m.id)),
      conversation: id,
      parent,
      chosen: ids.get(m.chosen) ?? null,
      role,
      text: m.text,
      created: time(m.created),
      state: stopped ? 'stopped' : 'done',
      ...(typeof m.model === 'string' ? { model: m.model.slice(0, 200) } : {}),
      ...(typeof m.finish === 'string' && stopped ? { finish: m.finish.slice(0, 40) } : {}),
      ...(Number.isFinite(m.seed) ? { seed: m.seed } : {}),
      ...(Number.isFinite(m.temperature) ? { temperature: m.temperature } : {}),
      ...numbersOf('usage', m.usage),
      ...numbersOf('timings', m.timings),
    })
  }
  if (out.length !== raw.messages.length) return null
  const conversation = {
    id,
    title: raw.title.slice(0, 200),
    created: time(raw.created),
    updated: time(raw.updated),
    chosen: ids.get(raw.chosen) ?? null,
  }
  return { conversation, messages: out }
}

/** @param {string} name @param {any} value */
function numbersOf(name, value) {
  if (typeof value !== 'object' || value === null) return {}
  return {
    [name]: Object.fromEntries(
      Object.entries(value)
        .slice(0, 20)
        .filter(([, n]) => Number.isFinite(n))
    ),
  }
}

/** @param {unknown} value */
const time = (value) => (typeof value === 'number' && Number.isFinite(value) ? value : 0)
