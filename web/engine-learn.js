/*
 * engine-learn.js: the fourth ring, its second half. The adapters of one engine, and a training beside its other work.
 *
 * Purpose  Adapters come and go as files by their names (PEFT's two, or one GGUF). A training is a generator that does one
 *          step of C (some 50 ms) a turn; leaving it ends the training in C.
 * Limits   One training at a time on one engine; between its steps the engine may do anything else but be unloaded.
 */
import { NookError } from './errors.js'
import { CapiLearn } from './capi-learn.js'

/** @typedef {import('./engine.js').Engine} Engine */
/** @typedef {import('./examples.js').Example} Example */
/** @typedef {import('./capi-learn.js').Bytes} Bytes */
/**
 * @typedef {{id: number, scale?: number | undefined}} AdapterUse
 * @typedef {Record<string, Uint8Array>} AdapterFiles by their names
 * @typedef {{options: Record<string, unknown>, from?: number | undefined, resume?: Uint8Array | undefined,
 *            checkpointEvery?: number | undefined}} TrainArgs options as src/train/options.h has them; from: an adapter to
 *   begin with; checkpointEvery: steps
 * @typedef {import('./capi-learn.js').TrainEvent} TrainEvent
 * @typedef {{type: 'start', plan: any, otherKernels: boolean} | {type: 'work' | 'step' | 'eval', event: TrainEvent} |
 *   {type: 'checkpoint', step: number, bytes: Bytes}} TrainStep
 */

const CONFIG = 'adapter_config.json'
const WEIGHTS = 'adapter_model.safetensors'
const NO_BYTES = new Uint8Array(0)
const ENDS = ['running', 'budget', 'patience', 'diverged']

export class Learning {
  /** @type {Engine} */ #engine
  /** @type {CapiLearn} */ #c
  #applied = '[]'
  #training = false

  /** @param {Engine} engine with a loaded model */
  constructor(engine) {
    this.#engine = engine
    this.#c = new CapiLearn(engine.capi)
  }

  /* ---- Adapters ------------------------------------------------------------------------------------------------ */

  /** @param {AdapterFiles} files PEFT's adapter_config.json and adapter_model.safetensors, or one .gguf @returns {any} */
  add(files) {
    const names = Object.keys(files)
    const gguf = names.find((name) => /\.gguf$/i.test(name))
    const find = (/** @type {string} */ wanted) => names.find((name) => name.replace(/^.*[/\\]/, '') === wanted)
    const [config, weights] = [find(CONFIG), find(WEIGHTS)]
    let id
    if (gguf !== undefined && names.length === 1)
      id = this.#c.adapterRead(this.#engine.context, 'gguf', files[gguf] ?? NO_BYTES, NO_BYTES)
    else if (config !== undefined && weights !== undefined)
      id = this.#c.adapterRead(this.#engine.context, 'peft', files[config] ?? NO_BYTES, files[weights] ?? NO_BYTES)
    else {
      throw new NookError('data', `These files are no adapter: ${names.join(', ').slice(0, 200) || 'none'}.`, {
        hint: `Give ${CONFIG} and ${WEIGHTS}, or one .gguf file.`,
      })
    }
    return this.#find(id)
  }

  /** @returns {any[]} */
  list() {
    return this.#c.adapters(this.#engine.context).adapters
  }

  /** @param {number} id */
  remove(id) {
    this.#c.adapterRemove(this.#engine.context, id)
    this.#applied = '[]'
  }

  /** @param {number} id @param {'peft' | 'gguf'} format @returns {Record<string, Bytes>} */
  export(id, format) {
    const { a, b } = this.#c.adapterWrite(this.#engine.context, id, format)
    return format === 'gguf' ? { 'adapter.gguf': a } : { [CONFIG]: a, [WEIGHTS]: b }
  }

  /** From the next evaluation or generation on. @param {AdapterUse[]} uses none: the model alone */
  apply(uses) {
    const asked = JSON.stringify(uses.map((use) => [use.id, use.scale ?? 1]))
    if (asked === this.#applied) return
    this.#c.adaptersApply(this.#engine.context, uses.map((use) => use.id), uses.map((use) => use.scale ?? 1))
    this.#applied = asked
  }

  /** @param {number} id @returns {any} */
  #find(id) {
    const found = this.list().find((one) => one.id === id)
    if (found === undefined) throw new NookError('data', `There is no adapter of number ${id}.`)
    return found
  }

  /* ---- Training ------------------------------------------------------------------------------------------------ */

  /**
   * What a training will take. Yields how many examples were read.
   * @param {TrainArgs} args @param {AsyncIterable<Example>} data @param {AsyncIterable<Example>} held
   * @returns {AsyncGenerator<number, any>}
   */
  async *plan(args, data, held) {
    this.#begin(args)
    try {
      yield* this.#examples(data, held)
      return this.#c.trainPlan(this.#engine.context)
    } finally {
      this.#end()
    }
  }

  /**
   * Trains. Yields how many examples were read, then its start, then an event a step; returns what became of it, with the
   * adapter held by the engine. Where it is left after its start, a last checkpoint is handed to `left`.
   * @param {TrainArgs} args @param {AsyncIterable<Example>} data @param {AsyncIterable<Example>} held
   * @param {(bytes: Bytes, step: number) => void} [left]
   * @returns {AsyncGenerator<number | TrainStep, any>}
   */
  async *train(args, data, held, left) {
    const c = this.#c
    const { context } = this.#engine
    this.#begin(args)
    let step = 0
    let kept = 0
    let whole = false
    try {
      yield* this.#examples(data, held)
      const plan = c.trainPlan(context)
      c.trainStart(context)
      const otherKernels = args.resume !== undefined && c.trainResume(context, args.resume)
      const begun = performance.now()
      let last = begun
      /** @type {number | null} */
      let loss = null
      /** @type {number | null} */
      let evalLoss = null
      yield { type: 'start', plan, otherKernels }
      for (;;) {
        const now = performance.now()
        const event = c.trainStep(context, (now - last) / 1000)
        last = now
        this.#engine.steps++
        if (event.type === c.types['done']) {
          whole = true
          const adapter = c.trainAdapter(context)
          c.adapterCard(context, adapter, {
            made_by: 'nook', examples: plan.examples.given, tokens: event.tokens, steps: event.step,
            ...(loss === null ? {} : { loss }), ...(evalLoss === null ? {} : { eval_loss: evalLoss }),
          })
          return {
            adapter: this.#find(adapter), end: ENDS[event.end] ?? 'running', steps: event.step, epochs: event.epoch,
            tokens: event.tokens, loss, eval_loss: evalLoss,
            ...(event.best > 0 ? { best_eval_loss: event.best, best_step: event.best_step } : {}),
            seconds: (performance.now() - begun) / 1000, plan,
          }
        }
        const updated = event.type === c.types['step']
        const measured = event.type === c.types['eval']
        if (updated) {
          step = event.step
          loss = event.loss
        } else if (measured) evalLoss = event.loss
        yield { type: updated ? 'step' : measured ? 'eval' : 'work', event }
        if (updated && args.checkpointEvery !== undefined && step % args.checkpointEvery === 0) {
          kept = step
          yield { type: 'checkpoint', step, bytes: c.trainCheckpoint(context) }
        }
      }
    } finally {
      try {
        if (!whole && step > kept) left?.(c.trainCheckpoint(context), step)
      } finally {
        this.#end()
      }
    }
  }

  /** @param {TrainArgs} args */
  #begin(args) {
    if (this.#training) throw new NookError('busy', 'A training is under way.', { hint: 'Wait for it, or abort it.' })
    const { context } = this.#engine
    const options = { ...args.options }
    if (args.from !== undefined) options['method'] ??= this.#find(args.from).method
    this.#c.trainBegin(context, options)
    this.#training = true
    if (args.from === undefined) return
    try {
      this.#c.trainFrom(context, args.from)
    } catch (error) {
      this.#end()
      throw error
    }
  }

  /**
   * @param {AsyncIterable<Example>} data @param {AsyncIterable<Example>} held
   * @returns {AsyncGenerator<number, void>}
   */
  async *#examples(data, held) {
    let count = 0
    for (const [examples, heldOut] of /** @type {const} */ ([[data, false], [held, true]])) {
      for await (const { ids, labels } of examples) {
        this.#c.trainExample(this.#engine.context, ids, labels, heldOut)
        yield ++count
      }
    }
  }

  #end() {
    this.#training = false
    this.#c.trainEnd(this.#engine.context)
  }
}
