/*
 * index.js: the entry of browsers.
 *
 *   import { load } from 'nooklm'
 *   const llm = await load({ model: 'https://…/model.gguf', onProgress: console.log })
 *   const answer = await llm.chat.completions.create({ messages: [{ role: 'user', content: 'Hello!' }] })
 *   console.log(answer.choices[0].message.content)
 *   await llm.dispose()
 *
 * Works in any page, without a bundler: everything is found beside this file. Threads need COOP and COEP headers.
 */
import { NookError } from './errors.js'
import { createClient, cardFiles, hashList } from './client.js'
import { probe } from './loader.js'
import { splitNames } from './sources/source.js'
import { workerAddress } from './trusted.js'

/** @typedef {import('./worker-core.js').ModelFiles} ModelFiles */

/** @type {import('./client.js').Platform} */
const platform = {
  spawn(workerUrl) {
    const trusted = /** @type {any} */ (globalThis).trustedTypes
    const worker = workerUrl === undefined && trusted === undefined
      /* Written in this form for bundlers, which look for it. */
      ? new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'nook' })
      : new Worker(workerAddress(workerUrl ?? new URL('./worker.js', import.meta.url)), { type: 'module', name: 'nook' })
    return {
      post: (message, transfer) => worker.postMessage(message, transfer ?? []),
      listen(listener, failed) {
        worker.onmessage = (event) => listener(event.data)
        worker.onerror = (event) => failed(event.message ?? 'worker.js did not start')
      },
      hold() { /* a page stays by itself */ },
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
      throw new NookError('data', 'model is neither a URL, the id of a card, nor a File or list of them.')
    }
    const first = String(list[0])
    if (list.length === 1 && /^[A-Za-z0-9][\w.-]*$/.test(first) && !/\.gguf$/i.test(first)) return fromCard(first, sha256)
    const names = list.length === 1 ? splitNames(first) : list.map(String)
    return {
      files: names.map((name) => ({ url: new URL(name, globalThis.location?.href).href })),
      sha256: hashList(sha256, names.length),
    }
  },
}

/** @param {string} id @param {string | string[] | undefined} sha256 @returns {Promise<ModelFiles>} */
async function fromCard(id, sha256) {
  const address = new URL(`../models/${id}.json`, import.meta.url)
  let card
  try {
    const response = await fetch(address)
    if (!response.ok)
      throw new NookError('data', `There is no model card "${id}".`, { hint: 'Give the URL of a .gguf file, or a File.' })
    card = await response.json()
  } catch (error) {
    if (error instanceof NookError) throw error
    throw new NookError('download', `The model card "${id}" cannot be read.`, {
      cause: error,
      hint: 'Check the connection, or give a File.',
    })
  }
  const { urls, sha256: hashes } = cardFiles(card, id, new URL('./', address).href)
  return {
    files: urls.map((url) => ({ url: new URL(url, address).href })),
    sha256: sha256 === undefined ? hashes : hashList(sha256, urls.length),
  }
}

const client = createClient(platform)

export const { load, estimate, cache } = client
export { NookError, probe }
export default { load, estimate, cache, probe, NookError }
