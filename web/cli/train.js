/*
 * train.js: `nook train`: learns an adapter from examples.
 *
 * Files    The adapter at --out; beside it, while the training runs, OUT.checkpoint, which --resume goes on from. Both are
 *          written whole and then renamed, so that a kill at any time leaves the one before.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { NookError } from '../errors.js'
import { readAdapter, writeAdapter, writeWhole } from './adapters.js'
import {
  MODEL_FLAGS, MODEL_USAGE, UsageError, clearLine, number, oneOf, printJson, progressLine, readInput, size, withModel,
} from './common.js'

/** @type {import('./common.js').Verb} */
export const verb = {
  summary: 'learns an adapter from examples',
  usage: `nook train MODEL --data D.jsonl --out A [flags]

Each line of D is {"messages": [{role, content}, …]} (the assistant's answers are learned), {"prompt", "completion"}, or
{"input_ids", "labels"} (-100: not scored). A is a PEFT folder, or LoRA's .gguf where it ends so.

  --data D              the examples ("-": stdin)  ·  --eval E: further ones, only measured
  --out A               where the adapter goes; A.checkpoint is kept beside it until the end
  --method lora|prompt|prefix|ia3   default lora
  --epochs N | --steps N | --minutes M   the budget (default 3 epochs)
  --batch-size N        examples a batch (4)  ·  --accumulate N: batches a step (1)
  --lr X  --weight-decay X   the method's by default  ·  --clip X: largest norm of the gradient (1; 0: any)
  --schedule cosine|linear|constant  ·  --warmup-steps N
  --rank N  --alpha X  --dropout P   of lora  ·  --targets q,v: of lora and ia3 (names, or all)
  --tokens N            virtual tokens of prompt and prefix
  --held-out X          of the data, a share or a number is only measured  ·  --eval-every N: steps
  --patience N          ends after N measurements without a better one, and keeps the best
  --raw                 prompt and completion as they are, without the chat template
  --seed N  --no-shuffle   the order of the examples
  --init A0             begins with this adapter
  --resume              goes on from A.checkpoint  ·  --checkpoint N: steps between checkpoints (50)
  --log L.jsonl         a line each step: {step, loss, grad_norm, lr, tokens_per_second}, and {step, eval_loss}
${MODEL_USAGE}

JSON: {"out", "method", "parameters", "steps", "loss", "eval_loss", "end", "tokens", "seconds", "examples", …}`,
  options: {
    ...MODEL_FLAGS,
    data: { type: 'string' }, eval: { type: 'string' }, out: { type: 'string' }, method: { type: 'string' },
    epochs: { type: 'string' }, steps: { type: 'string' }, minutes: { type: 'string' },
    'batch-size': { type: 'string' }, accumulate: { type: 'string' }, lr: { type: 'string' },
    'weight-decay': { type: 'string' }, clip: { type: 'string' }, schedule: { type: 'string' },
    'warmup-steps': { type: 'string' }, rank: { type: 'string' }, alpha: { type: 'string' },
    dropout: { type: 'string' }, targets: { type: 'string' }, tokens: { type: 'string' },
    'held-out': { type: 'string' }, 'eval-every': { type: 'string' }, patience: { type: 'string' },
    raw: { type: 'boolean' }, seed: { type: 'string' }, 'no-shuffle': { type: 'boolean' }, init: { type: 'string' },
    resume: { type: 'boolean' }, checkpoint: { type: 'string' }, log: { type: 'string' },
  },
  positionals: [1, 1],
  arguments: 'one MODEL',
  async run(call) {
    const { values } = call
    for (const flag of ['data', 'out'])
      if (values[flag] === undefined) throw new UsageError(`nook train needs --${flag}.`, 'See nook train --help.')
    const options = trainOptions(values)
    const out = String(values['out'])
    if (/\.gguf$/i.test(out) && (options['method'] ?? 'lora') !== 'lora')
      throw new UsageError('A .gguf holds LoRA only.', 'Give a folder as --out.')
    const kept = `${out}.checkpoint`
    if (values['resume'] === true && !existsSync(kept))
      throw new NookError('data', `There is no ${kept} to go on from.`, { hint: 'Leave --resume out to begin anew.' })
    const data = readExamples(String(values['data']))
    const held = values['eval'] === undefined ? undefined : readExamples(String(values['eval']))
    const init = values['init'] === undefined ? undefined : readAdapter(String(values['init']))
    const log = openLog(values['log'] === undefined ? undefined : String(values['log']), values['resume'] === true)
    mkdirSync(dirname(out), { recursive: true })
    await withModel(/** @type {string} */ (call.positionals[0]), call, async (llm) => {
      const run = llm.train({
        ...options, data, ...(held === undefined ? {} : { eval: held }),
        ...(init === undefined ? {} : { init: await llm.adapters.add(init) }),
        ...(values['resume'] === true ? { resume: new Uint8Array(readFileSync(kept)) } : {}),
        onCheckpoint: (/** @type {Uint8Array} */ bytes) => writeWhole(kept, bytes),
        ...trainProgress(values, Number(options['minutes'] ?? 0)),
        signal: call.signal,
      })
      for await (const event of run) {
        if (event.type === 'start') tellStart(values, event)
        else log(event)
      }
      const { adapter, plan, ...made } = await run.result
      await writeAdapter(adapter, out)
      rmSync(kept, { force: true })
      clearLine(values)
      if (values['json'] === true) {
        printJson({
          out, method: adapter.method, parameters: adapter.parameters, ...made, examples: plan.examples,
          held_out: plan.held_out,
        })
      } else tellEnd(out, adapter, made)
    })
  },
}

/**
 * The options of llm.train out of the flags.
 * @param {import('./common.js').Values} values @returns {Record<string, any>}
 */
function trainOptions(values) {
  const count = { whole: true, least: 1 }
  const share = { least: 0 }
  const options = {
    method: oneOf(values, 'method', ['lora', 'prompt', 'prefix', 'ia3']),
    epochs: number(values, 'epochs', count),
    steps: number(values, 'steps', count),
    minutes: number(values, 'minutes', { least: 0.01 }),
    batchSize: number(values, 'batch-size', count),
    accumulate: number(values, 'accumulate', count),
    lr: number(values, 'lr', { least: 1e-9, most: 10 }),
    weightDecay: number(values, 'weight-decay', share),
    clip: number(values, 'clip', share),
    schedule: oneOf(values, 'schedule', ['cosine', 'linear', 'constant']),
    warmupSteps: number(values, 'warmup-steps', { whole: true, least: 0 }),
    rank: number(values, 'rank', count),
    alpha: number(values, 'alpha', { least: 1e-6 }),
    dropout: number(values, 'dropout', { least: 0, most: 0.99 }),
    targets: values['targets'] === undefined ? undefined : String(values['targets']).split(',').map((one) => one.trim()),
    tokens: number(values, 'tokens', count),
    heldOut: number(values, 'held-out', share),
    evalEvery: number(values, 'eval-every', count),
    patience: number(values, 'patience', count),
    raw: values['raw'] === true ? true : undefined,
    seed: number(values, 'seed', { whole: true, least: 0 }),
    shuffle: values['no-shuffle'] === true ? false : undefined,
    checkpointEvery: number(values, 'checkpoint', count) ?? 50,
  }
  if ([options.epochs, options.steps, options.minutes].filter((one) => one !== undefined).length > 1)
    throw new UsageError('nook train takes one of --epochs, --steps and --minutes.', 'See nook train --help.')
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

/** A JSON value a line. @param {string} path @returns {any[]} */
function readExamples(path) {
  const examples = []
  for (const [i, line] of readInput(path).toString('utf8').split('\n').entries()) {
    if (line.trim() === '') continue
    try {
      examples.push(JSON.parse(line))
    } catch (error) {
      throw new NookError('data', `${path}, line ${i + 1} is not JSON.`, { cause: error, hint: 'Each line is one object.' })
    }
  }
  if (examples.length === 0) throw new NookError('data', `${path} has no example.`, { hint: 'Each line is one object.' })
  return examples
}

/**
 * Writes events as they come. A resumed training keeps the lines before the step that it goes on from.
 * @param {string | undefined} path @param {boolean} resumed
 * @returns {(event: any) => void}
 */
function openLog(path, resumed) {
  if (path === undefined) return () => {}
  let begun = false
  return (event) => {
    if (!begun) {
      begun = true
      const old = resumed && existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter(Boolean) : []
      const before = old.filter((line) => JSON.parse(line).step < event.step)
      writeFileSync(path, before.map((line) => `${line}\n`).join(''))
    }
    const { step, loss, grad_norm, lr, tokens_per_second } = event
    const line = event.type === 'eval' ? { step, eval_loss: loss } : { step, loss, grad_norm, lr, tokens_per_second }
    appendFileSync(path, `${JSON.stringify(line)}\n`)
  }
}

/** @param {import('./common.js').Values} values @param {number} minutes the budget, 0: another */
function trainProgress(values, minutes) {
  const show = progressLine(values)
  if (show === undefined) return {}
  const begun = performance.now()
  const limit = minutes * 60000
  return {
    onProgress: (/** @type {any} */ event) =>
      show(event.total > 0 ? event : { ...event, loaded: Math.min(performance.now() - begun, limit), total: limit }),
  }
}

/** What is worth knowing before it takes its time. @param {import('./common.js').Values} values @param {any} event */
function tellStart(values, { plan, otherKernels }) {
  clearLine(values)
  const { given, cut, unscored, scored } = plan.examples
  const told = [
    ...(cut > 0 ? [`${cut} of ${given} examples are longer than the context and were cut`] : []),
    ...(unscored > 0 ? [`${unscored} of ${given} examples have nothing to score and were left out`] : []),
    ...(otherKernels ? ['the checkpoint was made by other kernels: the last bits may differ'] : []),
  ]
  for (const one of told) process.stderr.write(`[${one}]\n`)
  if (values['json'] === true) return
  process.stderr.write(`${given - unscored} examples, ${scored} tokens to learn, ${plan.parameters} numbers, `
    + `${plan.steps > 0 ? `${plan.steps} steps, ` : ''}${size(plan.bytes)} of memory\n`)
}

/** @param {string} out @param {import('../learning.js').Adapter} adapter @param {any} made */
function tellEnd(out, adapter, made) {
  const measured = made.best_eval_loss ?? made.eval_loss
  process.stderr.write(`${adapter.method} of ${adapter.parameters} numbers in ${out}: ${made.steps} steps, `
    + `loss ${Number(made.loss).toFixed(4)}${measured === null ? '' : `, held-out loss ${measured.toFixed(4)}`}, `
    + `${made.seconds.toFixed(0)} s\n`)
  if (made.end === 'diverged') process.stderr.write('[the loss was not finite: take a smaller --lr]\n')
  if (made.end === 'patience') process.stderr.write('[it did not become better any more]\n')
}
