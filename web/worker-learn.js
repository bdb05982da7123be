/*
 * worker-learn.js: the fifth ring, its second half: a training between the messages of a worker.
 *
 * Purpose  Makes ids and labels of what the caller gave, drives the training step by step, tells its events. An abort ends
 *          it within one step; where checkpoints were asked for, the last whole update is handed over before that.
 */
import { Examples } from './examples.js'

/**
 * @typedef {{engine: import('./engine.js').Engine, prompts: import('./prompts.js').Prompts,
 *            learning: import('./engine-learn.js').Learning,
 *            event: (event: object, transfer?: ArrayBuffer[]) => void, between: () => Promise<void>}} Tools
 * @typedef {import('./engine-learn.js').TrainArgs & {data: any[], eval?: any[] | undefined, raw?: boolean | undefined,
 *            chatTemplate?: string | undefined}} Args
 */

/** Examples that are read between two looks for messages. */
const EXAMPLES_A_TURN = 8

/** @param {Tools} tools @param {Args} args */
function examplesOf(tools, args) {
  const examples = new Examples(tools.engine, tools.prompts, { raw: args.raw, chatTemplate: args.chatTemplate })
  /** @param {any[]} list @param {string} name */
  return async function* (list, name) {
    for (const [i, item] of list.entries()) yield examples.of(item, `${name}[${i}]`)
  }
}

/** @param {Tools} tools @param {Args} args @returns {Promise<any>} */
export async function planTraining(tools, args) {
  const read = examplesOf(tools, args)
  const steps = tools.learning.plan(args, read(args.data, 'data'), read(args.eval ?? [], 'eval'))
  try {
    for (;;) {
      const step = await steps.next()
      if (step.done === true) return step.value
      if (step.value % EXAMPLES_A_TURN === 0) await tools.between()
    }
  } finally {
    await steps.return(undefined)
  }
}

/** @param {Tools} tools @param {Args} args @returns {Promise<any>} */
export async function trainOn(tools, args) {
  const read = examplesOf(tools, args)
  const keep = (/** @type {import('./capi-learn.js').Bytes} */ bytes, /** @type {number} */ step) =>
    tools.event({ type: 'checkpoint', step, bytes }, [bytes.buffer])
  const steps = tools.learning.train(args, read(args.data, 'data'), read(args.eval ?? [], 'eval'),
    args.checkpointEvery === undefined ? undefined : keep)
  const total = args.data.length + (args.eval?.length ?? 0)
  let learned = -1
  let since = 0
  try {
    for (;;) {
      const one = await steps.next()
      if (one.done === true) return one.value
      const step = one.value
      if (typeof step === 'number') {
        if (step % EXAMPLES_A_TURN !== 0) continue
        tools.event({ type: 'examples', loaded: step, total })
      } else if (step.type === 'start') {
        learned = args.resume === undefined ? 0 : -1
        since = performance.now()
        tools.event(step)
      } else if (step.type === 'checkpoint') keep(step.bytes, step.step)
      else {
        const { event } = step
        const { step: done, total: all, epoch, tokens } = event
        const place = { step: done, total: all, epoch, tokens }
        const now = performance.now()
        if (step.type === 'eval' || (learned < 0 && step.type === 'work')) {
          learned = tokens
          since = now
        }
        if (step.type === 'work') tools.event({ type: 'work', ...place, share: event.share })
        else if (step.type === 'eval') tools.event({ type: 'eval', ...place, loss: event.loss })
        else {
          const speed = learned >= 0 && now > since ? (1000 * (tokens - learned)) / (now - since) : 0
          tools.event({
            type: 'step', ...place, loss: event.loss, grad_norm: event.norm, lr: event.rate, tokens_per_second: speed,
          })
          learned = tokens
          since = now
        }
      }
      await tools.between()
    }
  } finally {
    await steps.return(undefined)
  }
}
