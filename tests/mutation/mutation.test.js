/*
 * mutation.test.js: mutated model files against the engine: natively under ASan + UBSan, then the very same cases in the
 * WebAssembly build (32-bit sizes), which must end alike to the bit; with NOOK_DEEP=1 also natively with 32 bits (-m32).
 *
 * Counts   deep: 200 truncations and 2,000 changes of every model in tests/fixtures/tiny and quants, 100 and 100 of the
 *          vocabularies (each grafted into a small model) and of the default model. Else a sample of the same cases.
 * Replay   A failure names seed, file and case; NOOK_SEED gives another seed.
 */
import assert from 'node:assert/strict'
import { createReadStream, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { before, describe, test } from 'node:test'
import { build, deep, has32Bits, nameOf, outFolder, program, root, run, seed, there } from './run.js'

const MODEL = 'models/cache/SmolLM2-135M-Instruct.Q4_1.gguf'
const mutate = program('sanitize', 'mutation', 'mutate')
const mutate32 = program('native32', 'mutation', 'mutate')

/** @param {string} folder @returns {string[]} paths of its GGUF files */
const filesOf = (folder) =>
  readdirSync(join(root, folder)).filter((name) => name.endsWith('.gguf')).sort().map((name) => `${folder}/${name}`)

const models = [...filesOf('tests/fixtures/tiny'), ...filesOf('tests/fixtures/quants')]
const vocabularies = filesOf('tests/fixtures/tokenizers')

let bits32 = false

before(async () => {
  assert.equal(await build('sanitize', ['mutate']), '')
  if (!deep) return
  bits32 = await has32Bits()
  if (bits32) assert.equal(await build('native32', ['mutate'], ['-DNOOK_CMOCKA=OFF']), '')
})

/** The numbers that mutate tells of a file. @param {string} text */
function countsOf(text) {
  const match = /(\d+) cases: (\d+) loaded, (\d+) refused, (\d+) out of memory, (\d+) failed/.exec(text)
  assert.ok(match, `mutate told no counts: ${text.slice(-2000)}`)
  const [cases, loaded, refused, memory, failed] = match.slice(1).map(Number)
  return { cases, loaded, refused, memory, failed }
}

/**
 * @param {string} program @param {string} path @param {{cuts: number, changes: number}} counts @param {string} out
 * @returns {Promise<{cases: number | undefined, loaded: number | undefined, seconds: number}>}
 */
async function natively(program, path, { cuts, changes }, out) {
  const done = await run(program, ['--seed', seed, '--cuts', String(cuts), '--changes', String(changes), '--json', path],
    { stdoutTo: out, quietSeconds: 120 })
  assert.equal(done.hung, false, `${nameOf(path)}: nothing came for two minutes`)
  assert.equal(done.status, 0, done.err.slice(-6000))
  const { cases, loaded } = countsOf(done.err)
  assert.equal(cases, cuts + changes)
  return { cases, loaded, seconds: done.seconds }
}

/** @param {string} path @returns {AsyncGenerator<any>} */
async function* linesOf(path) {
  for await (const line of createInterface({ input: createReadStream(path, 'utf8') })) yield JSON.parse(line)
}

/** The same lines of two sizes of pointers, but where memory is out in one. @param {string} a @param {string} b */
async function sameOutcomes(a, b) {
  const others = linesOf(b)
  for await (const one of linesOf(a)) {
    const { value: other } = await others.next()
    if ([one.status, other?.status, one.generation, other?.generation].includes('memory')) continue
    assert.deepEqual(other, one, `case ${one.case} ends otherwise with 32-bit sizes`)
  }
}

/**
 * @param {import('node:test').TestContext} t @param {string} path @param {{cuts: number, changes: number}} counts
 * @param {{mustLoad?: boolean}} [options] mustLoad: some of the cases must load, else nothing behind the loader was tried
 */
async function tryFile(t, path, counts, { mustLoad = true } = {}) {
  const lines = join(outFolder, `${nameOf(path)}.jsonl`)
  const lines32 = join(outFolder, `${nameOf(path)}.32.jsonl`)
  try {
    const native = await natively(mutate, path, counts, lines)
    if (mustLoad && counts.changes >= 20)
      assert.ok((native.loaded ?? 0) > 0, 'no mutated file loads: the changes are too coarse')
    let told = `seed ${seed}: ${native.cases} cases, ${native.loaded} loaded; 64 bits ${native.seconds.toFixed(1)} s`
    const wasm = await run('node', ['tests/mutation/wasm.mjs', lines, path], { quietSeconds: 120 })
    assert.equal(wasm.hung, false, `WebAssembly: nothing came for two minutes after ${wasm.out.slice(-200)}`)
    assert.equal(wasm.status, 0, wasm.err.slice(-6000))
    assert.equal(JSON.parse(wasm.out.trim().split('\n').at(-1) ?? '').cases, native.cases)
    told += `, WebAssembly (32 bits) ${wasm.seconds.toFixed(1)} s`
    if (bits32) {
      const small = await natively(mutate32, path, counts, lines32)
      await sameOutcomes(lines, lines32)
      told += `, -m32 ${small.seconds.toFixed(1)} s`
    }
    t.diagnostic(told)
  } finally {
    rmSync(lines, { force: true })
    rmSync(lines32, { force: true })
  }
}

test('a mutation that hangs or leaks is told with seed, file and case', async () => {
  const file = /** @type {string} */ (models[0])
  for (const [fault, sentence] of [['--hang', /it hangs/], ['--leak', /77 bytes were left behind/]]) {
    const done = await run(mutate, [String(fault), '--seed', seed, '--cuts', '1', '--changes', '0', file])
    assert.equal(done.status, 1)
    assert.match(done.err, /** @type {RegExp} */ (sentence))
    assert.match(done.err, new RegExp(`replay: mutate --seed ${seed} .* --case 0 ${file}`))
  }
})

/* Two files at a time: a file's cases take one core, one after the other. */
describe('every file', { concurrency: 2 }, () => {
  for (const path of models) {
    test(`${nameOf(path)}: cut and changed, it is refused with a sentence or loads`, (t) =>
      tryFile(t, path, deep ? { cuts: 200, changes: 2000 } : { cuts: 10, changes: 60 }))
  }

  for (const path of vocabularies) {
    const name = nameOf(path)
    test(`${name}: a model with its vocabulary, cut and changed, is refused with a sentence or loads`, async (t) => {
      const grafted = join(outFolder, `grafted-${name}`)
      const done = await run(mutate, ['--graft', grafted, path])
      assert.equal(done.status, 0, done.err)
      /* gpt-neox: its pre-tokenizer is not one of ours, so none of its cases can load. */
      await tryFile(t, grafted, deep ? { cuts: 100, changes: 100 } : { cuts: 2, changes: 6 }, {
        mustLoad: !path.includes('neox'),
      })
      rmSync(grafted)
    })
  }

  test('the default model, cut and changed, is refused with a sentence or loads', async (t) => {
    assert.ok(there(MODEL), `${MODEL} is missing: run npm run setup`)
    await tryFile(t, MODEL, deep ? { cuts: 100, changes: 100 } : { cuts: 2, changes: 3 })
  })
})

test('which builds with 32-bit sizes were tried', (t) => {
  const cannot = "not -m32: this machine's cc makes no 32-bit programs with sanitizers"
  const native = bits32 ? 'natively with -m32' : cannot
  t.diagnostic(`the WebAssembly build; ${deep ? native : '-m32 only with NOOK_DEEP=1'}`)
})
