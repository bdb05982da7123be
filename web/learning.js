/*
 * learning.js: the sixth ring, its second half. Adapters and trainings of a loaded model, for its user.
 *
 * Purpose  `llm.adapters` adds, lists, removes and exports; `llm.train` gives a run: an AsyncIterable of its steps and
 *          measurements, with `result`, a promise of the adapter. Leaving the loop aborts the training.
 * Limits   An unknown option key is an error that names it; what the options mean is src/train/options.h.
 */
import { Stream, linked, signalOf } from './connection.js'
import { NookError, checkKeys } from './errors.js'

/** @typedef {import('./connection.js').Connection} Connection */

/* What goes to nook_train_begin, under the name that it has there. */
const NAMES = /** @type {const} */ ({
  method: 'method', rank: 'rank', alpha: 'alpha', dropout: 'dropout', rslora: 'rslora', targets: 'targets',
  layers: 'layers', tokens: 'tokens', initIds: 'init_ids', epochs: 'epochs', steps: 'steps', minutes: 'minutes',
  batchSize: 'batch_size', accumulate: 'accumulate', lr: 'lr', weightDecay: 'weight_decay', clip: 'clip',
  schedule: 'schedule', warmupSteps: 'warmup_steps', seed: 'seed', shuffle: 'shuffle', heldOut: 'held_out',
  heldOutFrom: 'held_out_from', evalEvery: 'eval_every', patience: 'patience', memoryLimit: 'memory_limit',
})
export const TRAIN_KEYS = /** @type {const} */ ([
  ...Object.keys(NAMES), 'data', 'eval', 'raw', 'chatTemplate', 'init', 'resume', 'checkpointEvery', 'onCheckpoint',
  'signal', 'abortSignal', 'onProgress',
])

/** An adapter that a model holds. */
export class Adapter {
  /** @type {Connection} */ #connection

  /** @param {Connection} connection @param {any} facts */
  constructor(connection, facts) {
    this.#connection = connection
    /** @type {number} */
    this.id = facts.id
    /** @type {string} */
    this.method = facts.method
    /** @type {number} */
    this.parameters = facts.parameters
    /** All that the engine tells of it. @type {any} */
    this.info = facts
  }

  /**
   * Its files by their names.
   * @param {'peft' | 'gguf'} [format] gguf: LoRA only
   * @returns {Promise<Record<string, Uint8Array<ArrayBuffer>>>}
   */
  export(format = 'peft') {
    if (format !== 'peft' && format !== 'gguf')
      return Promise.reject(new NookError('data', `export: the format is ${JSON.stringify(format)}.`,
        { hint: 'It is "peft" or "gguf".' }))
    return this.#connection.call('adapterExport', { id: this.id, format })
  }
}

/** @param {any} one an adapter or its number @param {string} where @returns {number} */
function numberOf(one, where) {
  const id = typeof one === 'object' && one !== null ? one.id : one
  if (!Number.isInteger(id) || id < 1)
    throw new NookError('data', `${where} is no adapter.`, { hint: 'Pass what adapters.add or a training gave.' })
  return id
}

/**
 * The adapters of a request.
 * @param {any} list @param {string} where
 * @returns {{adapters?: {id: number, scale: number}[]}}
 */
export function adaptersOf(list, where) {
  if (list === undefined || list === null) return {}
  if (!Array.isArray(list)) throw new NookError('data', `${where}: adapters is not a list of {id, scale}.`)
  return {
    adapters: list.map((one, i) => {
      const scale = one?.scale ?? 1
      if (typeof scale !== 'number' || !Number.isFinite(scale))
        throw new NookError('data', `${where}: adapters[${i}].scale is not a number.`)
      return { id: numberOf(one, `${where}: adapters[${i}]`), scale }
    }),
  }
}

/** `llm.adapters`. @param {Connection} connection */
export function adaptersClient(connection) {
  return {
    /**
     * @param {any} files bytes by their names (as export gives them), or a list of File
     * @returns {Promise<Adapter>}
     */
    async add(files) {
      /** @type {Record<string, Uint8Array>} */
      const named = {}
      if (Array.isArray(files)) {
        for (const file of files) {
          if (!(file instanceof Blob)) throw new NookError('data', 'adapters.add takes files, or bytes by their names.')
          named['name' in file ? String(file.name) : 'adapter.gguf'] = new Uint8Array(await file.arrayBuffer())
        }
      } else {
        for (const [name, bytes] of Object.entries(files ?? {})) {
          if (!(bytes instanceof Uint8Array)) throw new NookError('data', `adapters.add: ${name} is not a Uint8Array.`)
          named[name] = bytes
        }
      }
      return new Adapter(connection, await connection.call('adapterAdd', { files: named }))
    },
    /** @returns {Promise<Adapter[]>} */
    async list() {
      const list = /** @type {any[]} */ (await connection.call('adapterList', {}))
      return list.map((facts) => new Adapter(connection, facts))
    },
    /** @param {any} adapter or its id @returns {Promise<void>} */
    async remove(adapter) {
      await connection.call('adapterRemove', { id: numberOf(adapter, 'adapters.remove: this') })
    },
  }
}

/**
 * The arguments of `train` and `trainPlan`.
 * @param {any} options @param {string} where
 */
function trainArgs(options, where) {
  checkKeys(options, TRAIN_KEYS, where)
  for (const key of ['data', 'eval']) {
    if (options[key] === undefined && key === 'eval') continue
    if (!Array.isArray(options[key]))
      throw new NookError('data', `${where}: ${key} is not a list of examples.`, {
        hint: 'They are {messages}, {prompt, completion} or {input_ids, labels}.',
      })
  }
  if (options.checkpointEvery !== undefined && !(Number.isInteger(options.checkpointEvery) && options.checkpointEvery > 0))
    throw new NookError('data', `${where}: checkpointEvery is not a whole number of steps.`)
  if (options.resume !== undefined && !(options.resume instanceof Uint8Array))
    throw new NookError('data', `${where}: resume is not the Uint8Array of a checkpoint.`)
  for (const key of ['onProgress', 'onCheckpoint']) {
    if (options[key] !== undefined && typeof options[key] !== 'function')
      throw new NookError('data', `${where}: ${key} is not a function.`)
  }
  const every = options.checkpointEvery ?? (options.onCheckpoint === undefined ? undefined : 50)
  const given = Object.entries(NAMES).filter(([key]) => options[key] !== undefined)
  return {
    data: options.data,
    ...(options.eval === undefined ? {} : { eval: options.eval }),
    options: Object.fromEntries(given.map(([key, name]) => [name, options[key]])),
    ...(options.raw === undefined ? {} : { raw: options.raw === true }),
    ...(options.chatTemplate === undefined ? {} : { chatTemplate: options.chatTemplate }),
    ...(options.init === undefined ? {} : { from: numberOf(options.init, `${where}: init`) }),
    ...(options.resume === undefined ? {} : { resume: options.resume }),
    ...(every === undefined ? {} : { checkpointEvery: every }),
  }
}

/** `llm.estimate({train})`. @param {Connection} connection @param {any} options @returns {Promise<any>} */
export async function planTraining(connection, options) {
  return connection.call('trainPlan', trainArgs(options, 'estimate: train'), {
    signal: signalOf(options), what: 'The estimate',
  })
}

/**
 * `llm.train`.
 * @param {Connection} connection @param {any} options
 * @returns {any} a Stream of events, with `result`
 */
export function startTraining(connection, options) {
  const args = trainArgs(options, 'train')
  const controller = linked(signalOf(options))
  /** @type {Stream<any>} */
  const stream = new Stream(() => controller.abort())
  const told = (/** @type {number} */ loaded, /** @type {number} */ total) =>
    options.onProgress?.({ phase: 'train', file: '', loaded, total })
  const result = connection.call('train', args, {
    signal: controller.signal, what: 'The training',
    onEvent: (event) => {
      if (event.type === 'checkpoint') options.onCheckpoint?.(event.bytes, event.step)
      else if (event.type === 'examples') options.onProgress?.({ phase: 'examples', file: '', ...event })
      else if (event.type === 'work') told(event.step + event.share, event.total)
      else {
        if (event.type === 'step') told(event.step, event.total)
        stream.push(event)
      }
    },
  }).then((made) => ({ ...made, adapter: new Adapter(connection, made.adapter) }))
  result.then(() => stream.end(), (error) => stream.end(error))
  return Object.assign(stream, { result })
}
