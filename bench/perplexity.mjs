/*
 * perplexity.mjs: `npm run bench -- perplexity`: the same tokens under Nook in Node and under native llama.cpp
 * (node-llama-cpp), one after the other, BOS before the text on both sides.
 *
 *   flags: --model FILE, --text FILE (default: the oracle's text), --tokens N (default 400), --save (writes
 *          bench/results/perplexity-<model>.json)
 *
 * Limits   llama.cpp's binding hands out the whole distribution of each position, which takes a second a token for a
 *          large vocabulary; so the default is the text's beginning. Both sides must agree on every id.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { load } from '../web/node.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const PEER = {
  name: 'node-llama-cpp',
  version: '3.22.1',
  integrity: 'sha512-bltIipuWmc123H7tMIgDGKSsSrhmhlQYeVUC48XTjVW7XGJJiJJyCdlTMzQ/LiWoPkGDpcL4FviDpgw7qfTiDw==',
}

/** The peer and its binary for this system, installed beside the toolchain, never into the repository. */
function bringPeer() {
  const home = join(process.env.NOOK_CACHE ?? join(homedir(), '.cache', 'nook'), `${PEER.name}-${PEER.version}`)
  const lock = join(home, 'package-lock.json')
  if (!existsSync(join(home, 'node_modules', PEER.name))) {
    mkdirSync(home, { recursive: true })
    const system = { linux: 'linux', darwin: 'mac', win32: 'win' }[/** @type {string} */ (process.platform)]
    const packages = [`${PEER.name}@${PEER.version}`, `@${PEER.name}/${system}-${process.arch}@${PEER.version}`]
    console.error(`fetching ${packages.join(' and ')}`)
    execFileSync('npm', ['install', '--prefix', home, '--ignore-scripts', '--omit=optional', '--silent', ...packages])
  }
  const found = JSON.parse(readFileSync(lock, 'utf8')).packages[`node_modules/${PEER.name}`].integrity
  if (found !== PEER.integrity) throw new Error(`${PEER.name} ${PEER.version} is not the published package: ${found}`)
  return pathToFileURL(join(home, 'node_modules', PEER.name, 'dist/index.js')).href
}

/** @param {string} model @param {Uint8Array} text @param {number} most @param {'auto' | 'f32'} activations */
async function nook(model, text, most, activations) {
  const llm = await load({ model, contextSize: most + 8, activations })
  try {
    const ids = Int32Array.of(llm.info.bos ?? 0, ...(await llm.tokenize(text))).slice(0, most)
    const nll = await llm.nll(ids)
    return { ids: Array.from(ids), perplexity: Math.exp(nll.reduce((a, b) => a + b, 0) / nll.length) }
  } finally {
    await llm.dispose()
  }
}

/** @param {string} model @param {string} text @param {number} most */
async function peer(model, text, most) {
  const { getLlama, LlamaLogLevel } = await import(bringPeer())
  const llama = await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error })
  const weights = await llama.loadModel({ modelPath: model })
  const ids = [weights.tokens.bos, ...weights.tokenize(text, false, 'trimLeadingSpace')].slice(0, most)
  const context = await weights.createContext({ contextSize: most + 64 })
  const sequence = context.getSequence()
  let sum = 0
  const batch = 32
  for (let at = 0; at < ids.length; at += batch) {
    const part = ids.slice(at, at + batch)
    const wanted = (/** @type {number} */ i) => at + i + 1 < ids.length
    const out = await sequence.controlledEvaluate(
      part.map((id, i) => (wanted(i) ? [id, { generateNext: { probabilities: true } }] : id)),
    )
    for (const [i, one] of out.entries()) if (wanted(i)) sum -= Math.log(one.next.probabilities.get(ids[at + i + 1]))
    process.stderr.write(`\r${PEER.name}: ${Math.min(at + batch, ids.length)} of ${ids.length} tokens`)
  }
  process.stderr.write('\n')
  await llama.dispose()
  return { ids, perplexity: Math.exp(sum / (ids.length - 1)) }
}

const { values } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: 'models/cache/gemma-3-270m-q4_k_m.gguf' },
    text: { type: 'string', default: 'tests/fixtures/real_smollm2/ppl_text.txt' },
    tokens: { type: 'string', default: '400' },
    save: { type: 'boolean', default: false },
  },
})
const model = resolve(root, values.model)
const text = readFileSync(resolve(root, values.text))
const most = Number(values.tokens)
const exact = await nook(model, text, most, 'f32')
const usual = await nook(model, text, most, 'auto')
const other = await peer(model, text.toString('utf8'), most)
const same = other.ids.length === usual.ids.length && other.ids.every((id, i) => id === usual.ids[i])
const result = {
  date: new Date().toISOString().slice(0, 10),
  model: basename(model),
  text: basename(values.text),
  tokens: usual.ids.length - 1,
  ids_equal: same,
  perplexity: {
    'nook --float': exact.perplexity,
    nook: usual.perplexity,
    [`${PEER.name} ${PEER.version}`]: other.perplexity,
  },
  difference: usual.perplexity / other.perplexity - 1,
}
console.log(JSON.stringify(result, null, 2))
if (values.save) {
  const file = join(root, 'bench/results', `perplexity-${basename(model, '.gguf')}.json`)
  writeFileSync(file, `${JSON.stringify(result, null, 2)}\n`)
}
process.exit(same ? 0 : 1)
