/* convert.js: `nook convert`: a Hugging Face folder to one GGUF file. */
import { closeSync, openSync, readdirSync, renameSync, rmSync, statSync, writeSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { convert } from '../convert.js'
import { NookError } from '../errors.js'
import { nodeHost } from '../platform/node.js'
import { FsSource } from '../sources/fs.js'
import { clearLine, oneOf, printJson, progressLine, size } from './common.js'

/** The folders below that hold something that is read. */
const BELOW = ['1_Pooling']

/** @type {import('./common.js').Verb} */
export const verb = {
  summary: 'a Hugging Face checkpoint (safetensors) to a GGUF file',
  usage: `nook convert DIR OUT.gguf [flags]

DIR holds model.safetensors (or its parts with model.safetensors.index.json), config.json, tokenizer.json and, where there
are such, tokenizer_config.json, generation_config.json, chat_template.jinja. docs/convert.md says which models are known.
The new file is written under a temporary name and renamed when it is whole.

  --outtype f32|f16|q8_0  type of the matrices (default f16); vectors stay in float32
  --name NAME             the model's name in the file (default: the name of DIR)
  --progress              progress on stderr also where it is no terminal
  --json                  one JSON object on stdout

JSON: {"architecture", "tensors", "bytes", "notes", "memory" (bytes that the engine took), "out"}`,
  options: {
    outtype: { type: 'string' },
    name: { type: 'string' },
    progress: { type: 'boolean' },
    json: { type: 'boolean' },
  },
  positionals: [2, 2],
  arguments: 'DIR and OUT.gguf',
  async run(call) {
    const { values, signal } = call
    const [folder, out] = /** @type {[string, string]} */ (call.positionals)
    const outtype = oneOf(values, 'outtype', ['f32', 'f16', 'q8_0'])
    const files = filesOf(folder)
    const part = `${out}.${process.pid}.part`
    const target = openOut(part, out)
    let open = true
    const onProgress = progressLine(values)
    try {
      const facts = await convert({
        files,
        name: values['name'] === undefined ? basename(resolve(folder)) : String(values['name']),
        signal,
        ...(outtype === undefined ? {} : { outtype }),
        ...(onProgress === undefined ? {} : { onProgress }),
        write(piece) {
          try {
            for (let done = 0; done < piece.length;) done += writeSync(target, piece, done)
          } catch (error) {
            throw unwritable(out, error)
          }
        },
      }, nodeHost)
      closeSync(target)
      open = false
      renameSync(part, out)
      clearLine(values)
      for (const note of facts.notes) process.stderr.write(`${note}\n`)
      if (values['json'] === true) printJson({ ...facts, out })
      else
        process.stderr.write(`${out}: ${facts.architecture}, ${facts.tensors} tensors, ${size(facts.bytes)}\n`)
    } catch (error) {
      clearLine(values)
      if (open) closeSync(target)
      rmSync(part, { force: true })
      throw error
    } finally {
      for (const { source } of files) source.close()
    }
  },
}

/** @param {string} part @param {string} out @returns {number} */
function openOut(part, out) {
  try {
    return openSync(part, 'w')
  } catch (error) {
    throw unwritable(out, error)
  }
}

/** @param {string} out @param {unknown} error @returns {NookError} */
function unwritable(out, error) {
  return new NookError('data', `${out} cannot be written: ${/** @type {Error} */ (error).message}.`, {
    cause: error,
    hint: 'Check the folder and the space on the disk.',
  })
}

/**
 * The files of a checkpoint: those of the folder, and of the few folders below that say something.
 * @param {string} folder
 * @returns {{name: string, source: FsSource}[]}
 */
function filesOf(folder) {
  /** @type {{name: string, source: FsSource}[]} */
  const files = []
  for (const below of ['', ...BELOW]) {
    let names
    try {
      names = readdirSync(join(folder, below))
    } catch (error) {
      if (below !== '') continue
      const { code, message } = /** @type {NodeJS.ErrnoException} */ (error)
      const what = code === 'ENOENT' ? `There is no folder ${folder}.`
        : code === 'ENOTDIR' ? `${folder} is a file.` : `${folder} cannot be read: ${message}.`
      throw new NookError('data', what, { cause: error, hint: 'Give the folder of a Hugging Face checkpoint.' })
    }
    for (const name of names.sort()) {
      const path = join(folder, below, name)
      if (/\.(json|safetensors|jinja)$/.test(name) && statSync(path).isFile())
        files.push({ name: below === '' ? name : `${below}/${name}`, source: new FsSource(path) })
    }
  }
  if (files.length === 0)
    throw new NookError('data', `${folder} holds no checkpoint.`, { hint: 'Give the folder of a Hugging Face checkpoint.' })
  return files
}
