/*
 * Rules of the engine in C that no compiler knows.
 */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { committed, constants, formats, tinyModels } from '../../tools/support.mjs'
import { bareC, lines, read, root, written } from './files.mjs'

const engine = written(/^(src|kernels)\/.*\.(c|h|def)$/)

test('the engine never ends the program, asserts, jumps or prints', () => {
  const names = [
    'exit', '_exit', '_Exit', 'quick_exit', 'abort', 'assert', 'longjmp', 'setjmp', 'signal', 'printf', 'fprintf', 'puts',
    'fputs', 'perror', 'fopen', 'getenv', 'time', 'rand', 'srand',
  ]
  const forbidden = new RegExp(`\\b(${names.join('|')})\\s*\\(`)
  for (const path of engine) {
    assert.doesNotMatch(bareC(read(path)), forbidden, path)
    assert.doesNotMatch(read(path), /#include <(assert|setjmp|signal|time|locale|unistd)\.h>/, path)
  }
})

test('the engine calls no function of the host\'s libm whose bits differ from host to host', () => {
  const forbidden = /\b(exp|exp2|expm1|log|log2|log10|log1p|pow|sin|cos|tan|tanh|sinh|cosh|erf|cbrt|tgamma|lgamma)f?\s*\(/
  for (const path of engine) assert.doesNotMatch(bareC(read(path)), forbidden, path)
})

test('the engine has no mutable globals: no symbol of it lies in a writable section', (t) => {
  const database = join(root, 'build/sanitize/compile_commands.json')
  assert.ok(existsSync(database), 'build/sanitize is not configured: run npm run setup -- --test')
  const out = mkdtempSync(join(tmpdir(), 'nook-lint-'))
  t.after(() => rmSync(out, { recursive: true, force: true }))
  /** @type {{file: string, command: string}[]} */
  const all = JSON.parse(readFileSync(database, 'utf8'))
  /* The flags of one file of the engine are those of all. */
  const sample = all.find(({ file, command }) => file.endsWith('/src/core/arena.c') && / -o \S*\/nook\.dir\//.test(command))
  assert.ok(sample !== undefined, 'the build compiles src/core/arena.c')
  const object = join(out, 'one.o')
  const words = sample.command.split(' ').filter((one) => !/^-f(no-)?(sanitize|omit)|^-O|^-g$/.test(one))
  words.splice(words.indexOf('-o') + 1, 1, object)
  /* Not position-independent, so that constant tables of pointers are read-only here too. */
  const flags = [...words.slice(1, words.indexOf('-c')), '-O0', '-fno-pic', '-fno-pie', '-w', '-c']
  const sources = engine.filter((path) => path.endsWith('.c'))
  assert.ok(sources.length > 40)
  const found = sources.flatMap((path) => {
    const built = spawnSync(words[0] ?? '', [...flags, join(root, path)], { cwd: root, encoding: 'utf8' })
    assert.equal(built.status, 0, `${path}: ${built.stderr}`)
    const symbols = execFileSync('nm', [object], { encoding: 'utf8' }).split('\n')
    assert.ok(symbols.length > 1, `${path} has symbols`)
    return symbols.filter((line) => / [BbCDdGgSs] /.test(line)).map((line) => `${path}: ${line.trim()}`)
  })
  assert.deepEqual(found, [])
})

test('the builds export exactly the functions of nook.h and nook_learn.h', () => {
  const headers = read('src/nook.h') + read('src/nook_learn.h')
  const declared = [...bareC(headers).matchAll(/NOOK_API[^;(]*?(\w+)\s*\(/g)]
    .map(([, name]) => name)
    .filter((name) => name !== '__attribute__')
  const exported = lines('src/exports.txt').filter((line) => line !== '' && !line.startsWith('#'))
  assert.deepEqual(exported, [...declared, '_initialize'].sort())
  setFlagsFromString('--experimental-wasm-relaxed-simd') /* Node 20 compiles relaxed SIMD only so */
  for (const variant of ['base', 'relaxed', 'base-threads', 'relaxed-threads']) {
    const module = new WebAssembly.Module(readFileSync(join(root, `web/wasm/nook-${variant}.wasm`)))
    const functions = WebAssembly.Module.exports(module).filter(
      ({ kind, name }) => kind === 'function' && !name.startsWith('__'),
    )
    assert.deepEqual(functions.map(({ name }) => name).sort(), exported, variant)
  }
})

test('each public header fits on a few screens', () => {
  for (const header of ['nook.h', 'nook_learn.h']) assert.ok(lines(`src/${header}`).length <= 250, header)
})

test('each format has its file, blocks of its own, and a place in the grid', () => {
  const grid = read('tests/grid/test_kernels.c')
  assert.match(grid, /formats\.def|NK_FORMAT_COUNT|nk_format_at/, 'the grid runs over the table')
  const quants = committed('tests/fixtures/quants', '')
  for (const { name, symbol } of formats()) {
    assert.ok(existsSync(join(root, `kernels/formats/${symbol}.c`)), `kernels/formats/${symbol}.c`)
    if (name === 'F32') continue /* dequantization is the identity; every tiny model holds it */
    assert.ok(quants.includes(`tests/fixtures/quants/${name}.bin`), `blocks of ${name} with their values`)
    assert.ok(quants.some((path) => path.endsWith(`.${name}.gguf`)), `a model in ${name}`)
  }
})

test('each architecture of the table has a model in tests/fixtures/tiny, and the build knows no other', async () => {
  const rows = [...bareC(read('src/model/arch.c')).matchAll(/^\s*\{"",\s*NK_ROPE/gm)].length
  const { architectures, formats: built } = await constants()
  assert.equal(architectures.length, rows)
  const models = tinyModels()
  for (const name of architectures) assert.ok((models[name] ?? []).length > 0, name)
  assert.deepEqual(Object.keys(models).filter((name) => !architectures.includes(name)), [])
  assert.deepEqual(built, formats().map(({ name }) => name))
})

test('each kernel of the tables is called by a test of the grid', () => {
  const grid = ['kernels', 'formats', 'vec', 'vec_backward'].map((name) => read(`tests/grid/test_${name}.c`)).join('')
  const body = (/** @type {string} */ path, /** @type {RegExp} */ start) => start.exec(bareC(read(path)))?.[1] ?? ''
  const vector = [...body('kernels/vec.h', /struct nk_vec \{([\s\S]*?)\n\}/).matchAll(/\(\*(\w+)\)/g)].map(
    ([, name]) => name,
  )
  assert.ok(vector.length >= 10, 'the table of vector kernels was found')
  for (const name of vector) assert.match(grid, new RegExp(`\\b${name}\\b`), name)
  for (const name of [
    'nk_matrix_pack',
    'nk_matrix_unpack',
    'nk_matrix_gather',
    'nk_act_quantize',
    'nk_act_dequantize',
    'nk_gemm_q8',
    'nk_gemm_f32',
    'nk_gemm_t_f32',
  ]) {
    assert.match(read('kernels/kernels.h'), new RegExp(`\\b${name}\\(`))
    assert.match(grid, new RegExp(`\\b${name}\\(`), name)
  }
})

test('each gradient of the vector kernels is differentiated numerically by a test', () => {
  const table = /struct nk_vec \{([\s\S]*?)\n\}/.exec(bareC(read('kernels/vec.h')))?.[1] ?? ''
  const gradients = [...table.matchAll(/\(\*(\w+_backward|dense_\w+)\)/g)].map(([, name]) => name)
  assert.ok(gradients.length >= 11, 'the gradients were found')
  const checked = [...read('tests/grid/test_vec_gradients.c').matchAll(/^ {4}\{"(\w+)", \w+\},$/gm)].map(([, name]) => name)
  assert.deepEqual(checked.sort(), gradients.sort())
})
