/* adapters.js: --adapter of the verbs: adapters from PEFT folders and GGUF files, and back into them. */
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { NookError } from '../errors.js'
import { UsageError } from './common.js'

export const ADAPTER_FLAGS = /** @type {const} */ ({ adapter: { type: 'string', multiple: true } })

export const ADAPTER_USAGE = '  --adapter A[=SCALE]   a PEFT folder or a LoRA .gguf; may be repeated'

const PEFT = ['adapter_config.json', 'adapter_model.safetensors']

/** The files of an adapter. @param {string} path a PEFT folder or a .gguf @returns {Record<string, Uint8Array>} */
export function readAdapter(path) {
  if (!existsSync(path)) throw new NookError('data', `There is no adapter ${path}.`, { hint: 'Check the path.' })
  const paths = statSync(path).isDirectory() ? PEFT.map((name) => join(path, name)) : [path]
  for (const file of paths) {
    if (!existsSync(file))
      throw new NookError('data', `${path} has no ${basename(file)}.`, { hint: 'It is a PEFT folder or a .gguf file.' })
  }
  return Object.fromEntries(paths.map((file) => [basename(file), new Uint8Array(readFileSync(file))]))
}

/**
 * The adapters that --adapter names, added to a model, as a request takes them.
 * @param {import('../client.js').Model} llm @param {import('./common.js').Values} values
 * @returns {Promise<{adapters?: {id: number, scale: number}[]}>}
 */
export async function withAdapters(llm, values) {
  const given = /** @type {string[] | undefined} */ (values['adapter'])
  if (given === undefined) return {}
  const adapters = []
  for (const one of given) {
    const cut = existsSync(one) ? -1 : one.lastIndexOf('=')
    const scale = cut < 0 ? 1 : Number(one.slice(cut + 1))
    if (cut >= 0 && (one.slice(cut + 1).trim() === '' || !Number.isFinite(scale)))
      throw new UsageError(`--adapter is "${one}".`, 'It takes a PEFT folder or a .gguf, and perhaps =SCALE, a number.')
    const added = await llm.adapters.add(readAdapter(cut < 0 ? one : one.slice(0, cut)))
    adapters.push({ id: added.id, scale })
  }
  return { adapters }
}

/** Writes a file whole or not at all. @param {string} path @param {Uint8Array | string} bytes */
export function writeWhole(path, bytes) {
  const part = `${path}.${process.pid}.part`
  try {
    writeFileSync(part, bytes)
    renameSync(part, path)
  } catch (error) {
    throw new NookError('data', `${path} cannot be written: ${/** @type {Error} */ (error).message}.`, {
      cause: error, hint: 'Check the folder.',
    })
  }
}

/**
 * Writes an adapter to a folder (PEFT) or a file that ends in .gguf.
 * @param {import('../learning.js').Adapter} adapter @param {string} out
 */
export async function writeAdapter(adapter, out) {
  const gguf = /\.gguf$/i.test(out)
  const files = await adapter.export(gguf ? 'gguf' : 'peft')
  mkdirSync(gguf ? dirname(out) : out, { recursive: true })
  for (const [name, bytes] of Object.entries(files)) writeWhole(gguf ? out : join(out, name), bytes)
}
