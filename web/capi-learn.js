/*
 * capi-learn.js: the third ring, its second half. The functions of src/nook_learn.h one to one, over capi.js.
 *
 * Purpose  Adapters and training, marshalled and checked as capi.js does it.
 * Limits   As there. Files and checkpoints are copied out of the engine's memory: they outlive the next call.
 */
import { NookError } from './errors.js'
import { Struct } from './memory.js'

/** @typedef {import('./capi.js').Capi} Capi */
/**
 * One step of a training; see nook_train_event. type: a number of `types`.
 * @typedef {{type: number, end: number, loss: number, norm: number, rate: number, share: number, step: number, total:
 *   number, epoch: number, tokens: number, best: number, best_step: number}} TrainEvent
 * @typedef {Uint8Array<ArrayBuffer>} Bytes
 */

const NAMES = [
  'nook_adapter_read', 'nook_adapter_write', 'nook_adapter_card', 'nook_adapter_remove', 'nook_adapters',
  'nook_adapters_apply', 'nook_train_begin', 'nook_train_from', 'nook_train_example', 'nook_train_plan',
  'nook_train_start', 'nook_train_resume', 'nook_train_step', 'nook_train_checkpoint', 'nook_train_adapter',
  'nook_train_end',
]
const FIELDS = /** @type {const} */ ([
  'type', 'end', 'loss', 'norm', 'rate', 'share', 'step', 'total', 'epoch', 'tokens', 'best', 'best_step',
])

export class CapiLearn {
  /** @type {Capi} */ #capi
  /** @type {Struct} */ #event
  #eventAt = 0

  /** @param {Capi} capi */
  constructor(capi) {
    const missing = NAMES.find((name) => typeof capi.c[name] !== 'function')
    if (missing !== undefined) {
      throw new NookError('internal', `This build of the engine does not export ${missing}.`, { hint: 'Build it again.' })
    }
    this.#capi = capi
    /** Numbers of the events by their names. @type {Record<string, number>} */
    this.types = capi.constants.train_event ?? {}
    this.#event = new Struct(capi.memory, capi.constants.structs?.nook_train_event, 'nook_train_event')
  }

  /* ---- Adapters ------------------------------------------------------------------------------------------------ */

  /**
   * @param {number} context @param {'peft' | 'gguf'} format
   * @param {Uint8Array} a adapter_config.json, or the GGUF @param {Uint8Array} b adapter_model.safetensors, or empty
   * @returns {number} the adapter's number
   */
  adapterRead(context, format, a, b) {
    const { memory } = this.#capi
    return memory.withString(format, (formatAt) => memory.withBytes(a, (aAt, aBytes) =>
      memory.withBytes(b, (bAt, bBytes) => this.#number(context, 'nook_adapter_read', formatAt, aAt, aBytes, bAt, bBytes))))
  }

  /**
   * @param {number} context @param {number} id @param {'peft' | 'gguf'} format
   * @returns {{a: Bytes, b: Bytes}} as adapterRead takes them
   */
  adapterWrite(context, id, format) {
    const { memory } = this.#capi
    return memory.withString(format, (formatAt) => memory.scratch(16, (out) => {
      this.#capi.checked(context, 'nook_adapter_write', id, formatAt, out, out + 4, out + 8, out + 12)
      const view = memory.view()
      const [a, aBytes, b, bBytes] = [0, 4, 8, 12].map((at) => view.getUint32(out + at, true))
      return { a: memory.bytesCopy(a ?? 0, aBytes ?? 0), b: memory.bytesCopy(b ?? 0, bBytes ?? 0) }
    }))
  }

  /** @param {number} context @param {number} id @param {object} card */
  adapterCard(context, id, card) {
    this.#capi.memory.withString(JSON.stringify(card), (text) =>
      this.#capi.checked(context, 'nook_adapter_card', id, text))
  }

  /** @param {number} context @param {number} id */
  adapterRemove(context, id) {
    this.#capi.checked(context, 'nook_adapter_remove', id)
  }

  /** @param {number} context @returns {{adapters: any[], base_sha256: string}} */
  adapters(context) {
    this.#capi.checked(context, 'nook_adapters')
    return this.#capi.result(context)
  }

  /** @param {number} context @param {number[]} ids @param {number[]} scales one for each id */
  adaptersApply(context, ids, scales) {
    const { memory } = this.#capi
    memory.withNumbers(ids, (idsAt, count) =>
      memory.withBytes(new Uint8Array(Float32Array.from(scales).buffer), (scalesAt) =>
        this.#capi.checked(context, 'nook_adapters_apply', idsAt, scalesAt, count)))
  }

  /* ---- Training ------------------------------------------------------------------------------------------------ */

  /** @param {number} context @param {object} options */
  trainBegin(context, options) {
    this.#capi.memory.withString(JSON.stringify(options), (text) =>
      this.#capi.checked(context, 'nook_train_begin', text))
  }

  /** @param {number} context @param {number} adapter */
  trainFrom(context, adapter) {
    this.#capi.checked(context, 'nook_train_from', adapter)
  }

  /**
   * @param {number} context @param {ArrayLike<number>} ids @param {ArrayLike<number>} labels as many as ids
   * @param {boolean} heldOut
   */
  trainExample(context, ids, labels, heldOut) {
    if (ids.length !== labels.length)
      throw new NookError('data', `An example has ${ids.length} ids and ${labels.length} labels.`)
    const { memory } = this.#capi
    memory.withNumbers(ids, (idsAt, count) => memory.withNumbers(labels, (labelsAt) =>
      this.#capi.checked(context, 'nook_train_example', idsAt, labelsAt, count, heldOut ? 1 : 0)))
  }

  /** @param {number} context @returns {any} */
  trainPlan(context) {
    this.#capi.checked(context, 'nook_train_plan')
    return this.#capi.result(context)
  }

  /** @param {number} context */
  trainStart(context) {
    this.#capi.checked(context, 'nook_train_start')
  }

  /** @param {number} context @param {Uint8Array} checkpoint @returns {boolean} whether other kernels made it */
  trainResume(context, checkpoint) {
    return this.#capi.memory.withBytes(checkpoint, (at, bytes) =>
      this.#number(context, 'nook_train_resume', at, bytes)) !== 0
  }

  /** @param {number} context @param {number} seconds since the last step @returns {TrainEvent} */
  trainStep(context, seconds) {
    const e = this.#event
    if (this.#eventAt === 0) this.#eventAt = this.#capi.fixed(e.size)
    const at = this.#eventAt
    this.#capi.checked(context, 'nook_train_step', seconds, at)
    return /** @type {TrainEvent} */ (Object.fromEntries(FIELDS.map((name) => [name, e.get(at, name)])))
  }

  /** @param {number} context @returns {Bytes} */
  trainCheckpoint(context) {
    const { memory } = this.#capi
    return memory.scratch(8, (out) => {
      this.#capi.checked(context, 'nook_train_checkpoint', out, out + 4)
      const view = memory.view()
      return memory.bytesCopy(view.getUint32(out, true), view.getUint32(out + 4, true))
    })
  }

  /** @param {number} context @returns {number} the adapter's number */
  trainAdapter(context) {
    return this.#number(context, 'nook_train_adapter')
  }

  /** @param {number} context */
  trainEnd(context) {
    this.#capi.c['nook_train_end']?.(context)
  }

  /** Calls what writes one u32 behind its last argument. @param {number} context @param {string} name
   *  @param {...number} args @returns {number} */
  #number(context, name, ...args) {
    return this.#capi.memory.scratch(4, (out) => {
      this.#capi.checked(context, name, ...args, out)
      return this.#capi.memory.view().getUint32(out, true)
    })
  }
}
