/**
 * db.js: IndexedDB with promises. Two object stores, `conversations` and `messages` (by conversation). Where the browser
 * keeps nothing (private windows of some browsers), the same calls work on memory and `kept` says so.
 */

const NAME = 'nook'
const VERSION = 1
const STORES = /** @type {const} */ (['conversations', 'messages'])

/** @typedef {typeof STORES[number]} StoreName */
/** @typedef {{id: string} & Record<string, any>} Row */

/** @type {Promise<IDBDatabase | null> | undefined} */
let opening
/** @type {Record<StoreName, Map<string, Row>>} */
const memory = { conversations: new Map(), messages: new Map() }

/** @returns {Promise<IDBDatabase | null>} null: this browser keeps nothing for this page */
function open() {
  opening ??= new Promise((resolve) => {
    /** @type {IDBOpenDBRequest} */
    let request
    try {
      request = indexedDB.open(NAME, VERSION)
    } catch {
      resolve(null)
      return
    }
    request.onupgradeneeded = () => {
      request.result.createObjectStore('conversations', { keyPath: 'id' })
      request.result.createObjectStore('messages', { keyPath: 'id' }).createIndex('conversation', 'conversation')
    }
    request.onerror = () => resolve(null)
    request.onsuccess = () => {
      const db = request.result
      db.onversionchange = () => db.close()
      db.onclose = () => (opening = undefined)
      resolve(db)
    }
  })
  return opening
}

/** Whether what is written outlives the page. */
export const kept = async () => (await open()) !== null

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })

/** @param {StoreName} store @returns {Promise<any[]>} */
export async function all(store) {
  const db = await open()
  if (!db) return [...memory[store].values()].map((row) => structuredClone(row))
  return done(db.transaction(store).objectStore(store).getAll())
}

/** @param {string} conversation @returns {Promise<any[]>} */
export async function messagesOf(conversation) {
  const db = await open()
  if (!db)
    return [...memory.messages.values()]
      .filter((row) => row.conversation === conversation)
      .map((row) => structuredClone(row))
  return done(db.transaction('messages').objectStore('messages').index('conversation').getAll(conversation))
}

/**
 * Writes rows of both stores in one transaction: either all of them are there after a crash, or none.
 * @param {Partial<Record<StoreName, Row[]>>} rows
 * @param {{strict?: boolean}} [options] strict: wait for the disk, not only for the operating system
 */
export async function put(rows, { strict = false } = {}) {
  const db = await open()
  const names = STORES.filter((name) => rows[name]?.length)
  if (names.length === 0) return
  if (!db) {
    for (const name of names) for (const row of rows[name] ?? []) memory[name].set(row.id, structuredClone(row))
    return
  }
  const transaction = db.transaction(names, 'readwrite', { durability: strict ? 'strict' : 'relaxed' })
  for (const name of names) for (const row of rows[name] ?? []) transaction.objectStore(name).put(row)
  await finished(transaction)
}

/** Removes a conversation and its messages. @param {string} id */
export async function removeConversation(id) {
  const messages = await messagesOf(id)
  const db = await open()
  if (!db) {
    memory.conversations.delete(id)
    for (const row of messages) memory.messages.delete(row.id)
    return
  }
  const transaction = db.transaction(STORES, 'readwrite')
  transaction.objectStore('conversations').delete(id)
  for (const row of messages) transaction.objectStore('messages').delete(row.id)
  await finished(transaction)
}

/** @param {IDBTransaction} transaction @returns {Promise<void>} */
const finished = (transaction) =>
  new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve()
    transaction.onabort = transaction.onerror = () => reject(transaction.error)
  })

/** Deletes the database. Other tabs close theirs on `versionchange`. */
export async function erase() {
  const db = await open()
  db?.close()
  opening = undefined
  for (const map of Object.values(memory)) map.clear()
  if (db) await done(indexedDB.deleteDatabase(NAME))
}
