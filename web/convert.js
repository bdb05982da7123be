/*
 * convert.js: a Hugging Face checkpoint to a GGUF file, from sources to a sink.
 *
 * Purpose  Drives nook_convert_* in an engine of its own: reads ranges of the files as C asks for them and hands out the
 *          new file in pieces, in order. Nothing is held but a block of rows (src/convert/convert.h).
 * Limits   Folders of the form described in docs/convert.md. One conversion an instance; the instance goes with it.
 */
import { NookError, aborted } from './errors.js'
import { Capi } from './capi.js'
import { compile, instantiate } from './loader.js'

/** Between pauses in which messages and signals act, ms. */
const SLICE_MS = 50

/**
 * @typedef {{architecture: string, tensors: number, bytes: number, notes: string[],
 *   memory: number}} Converted memory: bytes of the engine at the end, which are the most that it had
 * @typedef {object} ConvertOptions
 * @property {{name: string, source: import('./sources/source.js').FileSource}[]} files all files of the folder; a name may
 *   have a folder before it ("1_Pooling/config.json")
 * @property {(piece: Uint8Array) => void | Promise<void>} write takes the next bytes of the new file, which are valid until
 *   it has returned or its promise has settled
 * @property {'f32' | 'f16' | 'q8_0'} [outtype] of the matrices; default f16
 * @property {string} [name] general.name
 * @property {AbortSignal} [signal]
 * @property {(event: {phase: 'convert', loaded: number, total: number}) => void} [onProgress] bytes of the sources
 * @property {string | URL} [wasmUrl] as of load()
 */

/**
 * Converts. Rejects with a NookError before anything is written where the checkpoint is not one that Nook can run; later
 * only for a number that the type cannot hold, a failing medium, or an abort: what was written is then worthless.
 * @param {ConvertOptions} options
 * @param {import('./loader.js').LoaderHost} host
 * @returns {Promise<Converted>}
 */
export async function convert(options, host) {
  const { files, write, signal, onProgress } = options
  const compiled = await compile('base', host, options.wasmUrl)
  const capi = new Capi(await instantiate(compiled))
  const context = capi.create({ threads: 1, isa: 'simd128' })
  let sliceEnd = performance.now() + SLICE_MS
  try {
    capi.convertBegin(context, {
      files: files.map(({ name, source }) => ({ name, bytes: source.size })),
      ...(options.outtype === undefined ? {} : { outtype: options.outtype }),
      ...(options.name === undefined ? {} : { name: options.name }),
    })
    for (;;) {
      if (signal?.aborted === true) throw aborted('The conversion', signal.reason)
      const step = capi.convertStep(context)
      if (step.outputBytes > 0) {
        const writing = write(capi.memory.window(step.output, step.outputBytes))
        if (writing !== undefined) await writing
      }
      if (step.length > 0) {
        const file = files[step.file]
        if (file === undefined)
          throw new NookError('internal', `The engine asked for file ${step.file} of ${files.length}.`)
        const reading = file.source.readInto(capi.memory.window(step.destination, step.length), step.offset, step.length)
        if (reading !== undefined) await reading
      }
      onProgress?.({ phase: 'convert', loaded: step.done, total: step.total })
      if (step.finished) return { ...capi.result(context), memory: capi.memory.size }
      if (performance.now() >= sliceEnd) {
        await new Promise((resolve) => { setTimeout(resolve, 0) })
        sliceEnd = performance.now() + SLICE_MS
      }
    }
  } finally {
    capi.destroy(context)
  }
}
