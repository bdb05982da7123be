/* What dispose() gives back in Node: the process ends by itself, threads and memory are gone. Linux tells both in /proc. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { REAL_MODEL } from '../shared/kit.js'
import { nodeEnv } from './engine-env.js'

const MIB = 1048576
const program = `
import { readdirSync, readFileSync } from 'node:fs'
import { load } from ${JSON.stringify(pathToFileURL(nodeEnv.model('web/node.js')).href)}
const linux = process.platform === 'linux'
const look = () => {
  globalThis.gc()
  return {
    rss: linux
      ? Number(/VmRSS:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024
      : process.memoryUsage.rss(),
    threads: linux ? readdirSync('/proc/self/task').length : 0,
  }
}
const options = { model: ${JSON.stringify(nodeEnv.model(REAL_MODEL))}, contextSize: 512, threads: 3 }
const first = await load({ ...options, model: ${JSON.stringify(nodeEnv.model('tests/fixtures/tiny/llama.gguf'))} })
await first.dispose()
const before = look()
const llm = await load(options)
const answer = await llm.completions.create({ prompt: 'The capital of France is', max_tokens: 4, temperature: 0 })
const loaded = look()
await llm.dispose()
/* A worker's thread and pages leave just after its end is told. */
let after = look()
for (let i = 0; i < 100 && (after.threads > before.threads || after.rss > before.rss + 40 * ${MIB}); i++) {
  await new Promise((resolve) => { setTimeout(resolve, 50) })
  after = look()
}
console.log(JSON.stringify({ text: answer.choices[0].text, before, loaded, after }))
`

test('after dispose() the memory is back, the threads are gone and the process ends by itself', async (t) => {
  const child = spawn(process.execPath, ['--expose-gc', '--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  let err = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    out += text
  })
  child.stderr.setEncoding('utf8').on('data', (text) => {
    err += text
  })
  const late = setTimeout(() => child.kill('SIGKILL'), 120000)
  const status = await new Promise((resolve) => {
    child.on('close', resolve)
  })
  clearTimeout(late)
  assert.deepEqual([status, err], [0, ''], 'it ended by itself')
  t.diagnostic(out.trim())
  const { text, before, loaded, after } = JSON.parse(out)
  assert.match(text, /^ Paris/)
  assert.ok(loaded.rss - before.rss > 90 * MIB, 'the model was in memory')
  assert.ok(after.rss - before.rss < 40 * MIB, `${(after.rss - before.rss) / MIB} MiB stayed`)
  assert.ok(after.threads <= before.threads, `${after.threads - before.threads} threads stayed`)
})
