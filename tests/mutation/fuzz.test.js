/*
 * fuzz.test.js: the libFuzzer targets of tests/fuzz. With NOOK_DEEP=1 each runs for ten minutes (NOOK_FUZZ_SECONDS) from
 * its corpus, two at a time, under ASan + UBSan; else the corpora in tests/fuzz/corpus are replayed by the sanitize build.
 */
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { build, deep, outFolder, program, root, run } from './run.js'

const seconds = Number(process.env['NOOK_FUZZ_SECONDS'] ?? '600')
const targets = readdirSync(join(root, 'tests', 'fuzz')).flatMap((name) => /^fuzz_(\w+)\.c$/.exec(name)?.[1] ?? []).sort()
const ASAN = { ASAN_OPTIONS: 'allocator_may_return_null=1:detect_leaks=1', UBSAN_OPTIONS: 'print_stacktrace=1' }

/** @param {string} target @returns {string[]} paths from the root */
const corpusOf = (target) =>
  readdirSync(join(root, 'tests', 'fuzz', 'corpus', target)).map((name) => `tests/fuzz/corpus/${target}/${name}`)

before(async () => {
  assert.ok(targets.length >= 5, `there are only ${targets.length} fuzzers`)
  assert.equal(await build('sanitize', targets.map((name) => `fuzz_${name}`)), '')
})

for (const target of targets) {
  test(`fuzz_${target}: its corpus replays without a report`, async (t) => {
    const files = corpusOf(target)
    assert.ok(files.length >= 5, `${target} has a corpus of only ${files.length} files`)
    const done = await run(program('sanitize', 'fuzz', `fuzz_${target}`), files, { env: ASAN, quietSeconds: 120 })
    assert.equal(done.status, 0, done.err.slice(-6000))
    assert.match(done.out, new RegExp(`${files.length} files replayed`))
    t.diagnostic(`${files.length} files`)
  })
}

/** @param {string} target @returns {Promise<string>} what came of it, in words; throws where something was found */
async function fuzz(target) {
  const corpus = join(outFolder, `corpus-${target}`)
  const found = join(outFolder, `found-${target}-`)
  mkdirSync(corpus, { recursive: true })
  for (const path of corpusOf(target)) cpSync(join(root, path), join(corpus, path.slice(path.lastIndexOf('/') + 1)))
  const done = await run(program('fuzz', 'fuzz', `fuzz_${target}`),
    [`-max_total_time=${seconds}`, '-max_len=4096', '-timeout=30', '-rss_limit_mb=2560', '-malloc_limit_mb=512',
      '-print_final_stats=1', `-artifact_prefix=${found}`, corpus], { env: ASAN, quietSeconds: 300 })
  rmSync(corpus, { recursive: true })
  if (done.status !== 0) {
    const file = /Test unit written to (\S+)/.exec(done.err)?.[1]
    const bytes = file === undefined ? '' : `\n${file} holds ${readFileSync(file).toString('base64').slice(0, 8000)}`
    throw new Error(`fuzz_${target}: ${done.err.slice(-5000)}${bytes}`)
  }
  const units = /number_of_executed_units:\s*(\d+)/.exec(done.err)?.[1]
  assert.ok(Number(units) > 100, `fuzz_${target} ran only ${units} inputs`)
  return `${units} inputs in ${done.seconds.toFixed(0)} s`
}

if (deep) test(`each fuzzer finds nothing in ${seconds} seconds`, async (t) => {
  assert.equal(await build('fuzz', targets.map((name) => `fuzz_${name}`)), '', 'the fuzz build needs clang-19')
  const waiting = [...targets]
  /** @type {string[]} */
  const problems = []
  await Promise.all([0, 1].map(async () => {
    for (let target = waiting.shift(); target !== undefined; target = waiting.shift()) {
      const name = target
      await fuzz(name).then((told) => t.diagnostic(`fuzz_${name}: ${told}`), (error) => { problems.push(String(error)) })
    }
  }))
  assert.deepEqual(problems, [])
})
