/*
 * node.js: the entry of Node. The same engine in a worker thread; models are paths, URLs or ids of cards.
 *
 *   import { load } from 'nooklm'
 *   const llm = await load({ model: 'model.gguf' })
 *   const answer = await llm.chat.completions.create({ messages: [{ role: 'user', content: 'Hello!' }] })
 *   console.log(answer.choices[0].message.content)
 *   await llm.dispose()
 *
 * The process ends by itself when nothing is under way, also where dispose() was forgotten.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve as resolvePath } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { NookError } from './errors.js'
import { createClient, cardFiles, hashList } from './client.js'
import { probe as probeFeatures } from './loader.js'
import { nodeHost } from './platform/node.js'
import { splitNames, baseName } from './sources/source.js'

/** @typedef {import('./worker-core.js').ModelFiles} ModelFiles */

/** The folder of model cards and of the files that set-up fetched. */
const MODELS = fileURLToPath(new URL('../models/', import.meta.url))

/** A model lies in WebAssembly memory; the worker's JavaScript makes little, for short: it need not pile up. */
const WORKER_LIMITS = { maxYoungGenerationSizeMb: 3 }

/** @type {import('./client.js').Platform} */
const platform = {
  spawn(workerUrl) {
    const address = workerUrl === undefined ? new URL('./worker.node.js', import.meta.url) : workerUrl
    const worker = new Worker(address, { name: 'nook', execArgv: [], resourceLimits: WORKER_LIMITS })
    return {
      post: (message, transfer) => worker.postMessage(message, transfer ?? []),
      listen(listener, failed) {
        worker.on('message', listener)
        worker.on('error', failed)
        worker.on('exit', (code) => failed(new Error(`it ended with code ${code}`)))
      },
      hold: (busy) => { if (busy) worker.ref(); else worker.unref() },
      terminate: () => worker.terminate(),
    }
  },

  async resolve(model, sha256) {
    const list = Array.isArray(model) ? model : [model]
    if (list.length === 0) throw new NookError('data', 'model is an empty list.')
    if (list.every((one) => one instanceof Blob)) {
      return {
        files: list.map((blob) => ({ blob, ...('name' in blob ? { name: String(blob.name) } : {}) })),
        sha256: hashList(sha256, list.length),
      }
    }
    if (!list.every((one) => typeof one === 'string' || one instanceof URL)) {
      throw new NookError('data', 'model is neither a path, a URL, the id of a card, nor a Blob or list of them.')
    }
    const first = String(list[0])
    if (list.length === 1 && !existsSync(first) && /^[A-Za-z0-9][\w.-]*$/.test(first) && !/\.gguf$/i.test(first)) {
      const found = findCard(first, sha256)
      if (found !== null) return found
    }
    const names = list.length === 1 ? splitNames(first) : list.map(String)
    return { files: names.map(fileOf), sha256: hashList(sha256, names.length) }
  },
}

/** @param {string} name @returns {ModelFiles['files'][number]} */
function fileOf(name) {
  if (/^https?:\/\//i.test(name)) return { url: name }
  if (/^file:\/\//i.test(name)) return { path: fileURLToPath(name) }
  return { path: resolvePath(name) }
}

/**
 * @param {string} id
 * @param {string | string[] | undefined} sha256
 * @returns {ModelFiles | null} null when there is no such card
 */
function findCard(id, sha256) {
  const path = join(MODELS, `${id}.json`)
  if (!existsSync(path)) return null
  let card
  try {
    card = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new NookError('format', `The model card ${path} is not JSON.`, { cause: error })
  }
  /* What set-up fetched lies in models/cache and was checked there. */
  const local = typeof card.file === 'string' ? join(MODELS, 'cache', baseName(card.file)) : ''
  if (local !== '' && existsSync(local)) return { files: [{ path: local }] }
  const { urls, sha256: hashes } = cardFiles(card, id)
  return { files: urls.map((url) => ({ url })), sha256: sha256 === undefined ? hashes : hashList(sha256, urls.length) }
}

const client = createClient(platform)

/** What this machine's WebAssembly can do, with reasons. */
export function probe() {
  nodeHost.prepare()
  return probeFeatures()
}

export const { load, estimate, cache } = client
export { NookError }
export default { load, estimate, cache, probe, NookError }
