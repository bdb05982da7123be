#!/usr/bin/env node
/*
 * nook.js: the command line. Finds the verb, parses its flags, turns errors into one sentence and an exit status.
 *
 * Status   0 success · 2 bad usage · 1 anything else (also Ctrl-C). Results go to stdout, progress and sentences to stderr.
 * Limits   One file per verb beside this one; `nook VERB --help` prints what it takes.
 */
import { parseArgs } from 'node:util'
import { readFileSync } from 'node:fs'
import { NookError } from '../errors.js'
import { UsageError, sentence } from './common.js'

/** Verb to its file; loaded when called. @type {Record<string, () => Promise<{verb: import('./common.js').Verb}>>} */
const VERBS = {
  info: () => import('./info.js'),
  convert: () => import('./convert.js'),
  tokenize: () => import('./tokenize.js'),
  logits: () => import('./logits.js'),
  perplexity: () => import('./perplexity.js'),
  embed: () => import('./embed.js'),
  generate: () => import('./generate.js'),
  chat: () => import('./chat.js'),
  train: () => import('./train.js'),
  bench: () => import('./bench.js'),
  serve: () => import('./serve.js'),
}

/** @returns {Promise<string>} */
async function overview() {
  const lines = []
  for (const [name, load] of Object.entries(VERBS)) lines.push(`  nook ${name.padEnd(11)}${(await load()).verb.summary}`)
  return `nook: a small language model on this machine.\n\n${lines.join('\n')}

\`nook VERB --help\` documents each. MODEL is a path, a URL, or the id of a card.\n`
}

/** @param {string[]} argv @returns {Promise<number>} the exit status */
async function main(argv) {
  const [name, ...rest] = argv
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(await overview())
    return name === undefined ? 2 : 0
  }
  if (name === '--version' || name === '-v') {
    process.stdout.write(`${JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version}\n`)
    return 0
  }
  if (!Object.hasOwn(VERBS, name))
    throw new UsageError(`There is no verb "${name}".`, `Verbs: ${Object.keys(VERBS).join(', ')}.`)
  const { verb } = await /** @type {() => Promise<{verb: import('./common.js').Verb}>} */ (VERBS[name])()
  let parsed
  try {
    parsed = parseArgs({
      args: rest,
      options: { ...verb.options, help: { type: 'boolean', short: 'h' } },
      allowPositionals: true,
      strict: true,
    })
  } catch (error) {
    const said = /** @type {Error} */ (error).message.split('. ')[0] ?? ''
    throw new UsageError(`nook ${name}: ${said.replace(/\.$/, '')}.`, `See nook ${name} --help.`)
  }
  if (parsed.values['help'] === true) {
    process.stdout.write(`${verb.usage.trim()}\n`)
    return 0
  }
  const [least, most] = verb.positionals
  if (parsed.positionals.length < least || parsed.positionals.length > most) {
    const what = parsed.positionals.length < least ? 'needs' : 'takes'
    throw new UsageError(`nook ${name} ${what} ${verb.arguments}.`, `See nook ${name} --help.`)
  }
  const controller = new AbortController()
  const interrupt = () => {
    if (controller.signal.aborted) process.exit(1) /* the second Ctrl-C does not wait */
    controller.abort(new NookError('abort', 'Interrupted.'))
  }
  process.on('SIGINT', interrupt)
  try {
    await verb.run({ values: parsed.values, positionals: parsed.positionals, signal: controller.signal, name })
    return 0
  } finally {
    process.off('SIGINT', interrupt)
  }
}

/* A reader of the pipe that goes away (`nook … | head`) is not an error of ours. */
process.stdout.on('error', (error) => {
  if (/** @type {NodeJS.ErrnoException} */ (error).code === 'EPIPE') process.exit(0)
  throw error
})

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  process.stderr.write(`${sentence(error)}\n`)
  process.exitCode = error instanceof UsageError ? 2 : 1
}
