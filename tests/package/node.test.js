/*
 * The tarball, installed into an empty Node project, on a machine without Emscripten, CMake and compilers.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import { MODEL, fiveLines, folder, install, pack, root } from './support.mjs'

const work = folder()
const project = join(work, 'project')
const bin = join(work, 'bin')
/** @type {ReturnType<typeof pack>} */
let tarball

before(() => {
  mkdirSync(project)
  mkdirSync(bin)
  tarball = pack(work)
  install(project, tarball.path)
  /* A PATH of three programs: no compiler, no emcc, no cmake. */
  for (const [name, path] of [['node', process.execPath], ['sh', '/bin/sh'], ['env', '/usr/bin/env']]) {
    symlinkSync(/** @type {string} */ (path), join(bin, /** @type {string} */ (name)))
  }
})
after(() => rmSync(work, { recursive: true, force: true }))

/**
 * Runs a program in the project with the bare PATH.
 * @param {string} command @param {string[]} args
 * @returns {Promise<{status: number | null, out: string, err: string}>}
 */
const run = (command, args) =>
  new Promise((resolve, reject) => {
    const env = { PATH: bin, HOME: join(work, 'home') }
    const child = spawn(command, args, { cwd: project, env, stdio: ['ignore', 'pipe', 'pipe'] })
    let out = ''
    let err = ''
    child.stdout.setEncoding('utf8').on('data', (text) => { out += text })
    child.stderr.setEncoding('utf8').on('data', (text) => { err += text })
    const late = setTimeout(() => child.kill('SIGKILL'), 120_000)
    child.on('error', reject)
    child.on('close', (status) => {
      clearTimeout(late)
      resolve({ status, out, err })
    })
  })

test('the tarball holds the engine in four builds, types, cards and the licence', (t) => {
  const names = tarball.files.map((file) => file.path)
  t.diagnostic(`${tarball.size} bytes packed, ${tarball.unpackedSize} unpacked, ${names.length} files`)
  for (const name of [
    'LICENSE',
    'README.md',
    'package.json',
    'web/index.js',
    'web/node.js',
    'web/worker.js',
    'web/worker.node.js',
    'web/types.d.ts',
    'web/cli/nook.js',
    'web/app/index.html',
    'web/wasm/nook-base.wasm',
    'web/wasm/nook-base-threads.wasm',
    'web/wasm/nook-relaxed.wasm',
    'web/wasm/nook-relaxed-threads.wasm',
    'web/vendor/jinja.js',
    'web/vendor/jinja.js.LICENSE',
    'models/smollm2-135m-instruct-q4_1.json',
  ])
    assert.ok(names.includes(name), `${name} is in it`)
})

test('the tarball holds no tests, C sources, tools, models or second copy of a library', () => {
  const names = tarball.files.map((file) => file.path)
  const allowed = /^(LICENSE|README\.md|package\.json|web\/.*|models\/[^/]*\.(json|md))$/
  assert.deepEqual(names.filter((name) => !allowed.test(name)), [])
  assert.deepEqual(names.filter((name) => /\.(c|h|gguf|map|tgz)$|\.test\.|node_modules/.test(name)), [])
  for (const library of ['jinja', 'marked', 'purify']) {
    assert.equal(names.filter((name) => new RegExp(`${library}[^/]*\\.m?js$`).test(name)).length, 1, `${library} once`)
  }
})

test('every file that the package names is in the tarball', () => {
  const { bin: commands, types, exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const names = new Set(tarball.files.map((file) => `./${file.path}`))
  const targets =
    JSON.stringify([Object.values(commands).map((path) => `./${path}`), types, exports]).match(/\.\/[^"*]*\.\w+/g) ?? []
  assert.ok(targets.length >= 6)
  for (const target of targets) assert.ok(names.has(target) || target === './package.json', `${target} is in it`)
})

test('nothing runs when it is installed, and it brings one package', () => {
  const { scripts, dependencies } = JSON.parse(readFileSync(join(project, 'node_modules/nooklm/package.json'), 'utf8'))
  for (const name of ['preinstall', 'install', 'postinstall', 'prepare']) assert.equal(scripts[name], undefined, name)
  assert.deepEqual(Object.keys(dependencies), ['@huggingface/jinja'])
  const installed = readdirSync(join(project, 'node_modules')).filter((name) => !name.startsWith('.')).sort()
  assert.deepEqual(installed, ['@huggingface', 'nooklm'])
  assert.deepEqual(readdirSync(join(project, 'node_modules/@huggingface')), ['jinja'])
})

test('the machine of these tests has no compiler in its path', () => {
  for (const name of ['emcc', 'cmake', 'clang', 'gcc', 'cc', 'make', 'ninja', 'python3', 'git', 'npm']) {
    assert.ok(!existsSync(join(bin, name)), name)
    assert.ok(/** @type {any} */ (spawnSync(name, ['--version'], { env: { PATH: bin } }).error)?.code === 'ENOENT', name)
  }
})

test('the five lines of the README answer', async () => {
  writeFileSync(join(project, 'five.js'), fiveLines())
  const { status, out, err } = await run('node', ['five.js'])
  assert.equal(err, '')
  assert.equal(status, 0, 'and the process ends by itself')
  assert.match(out, /gravity/i)
  assert.ok(out.trim().split(/\s+/).length >= 8, out)
})

test('nook info --json gives the facts of a model', async () => {
  const { status, out, err } = await run(join(project, 'node_modules/.bin/nook'), ['info', MODEL, '--json'])
  assert.equal(status, 0, err)
  const info = JSON.parse(out)
  assert.equal(info.architecture, 'llama')
  assert.equal(info.parameters, 134515008)
  assert.deepEqual(info.unsupported, [])
})

test('nook generate goes on from a prompt', async () => {
  const { status, out, err } = await run(join(project, 'node_modules/.bin/nook'),
    ['generate', MODEL, '--prompt', 'The capital of France is', '--temperature', '0', '--max-tokens', '8'])
  assert.equal(status, 0, err)
  assert.match(out, /Paris/)
})

test('the five lines compile under tsc --strict, in Node\'s and in a bundler\'s way, and a wrong key does not', () => {
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  writeFileSync(join(project, 'five.ts'), `${fiveLines()}export {}\n`)
  writeFileSync(join(project, 'more.ts'), `import nook, { NookError, cache, estimate, load, probe } from 'nooklm'
import type { ChatCompletionChunk, Model, Plan } from 'nooklm'
const plan: Plan & { fileBytes: number[] } = await estimate({ model: 'a.gguf' })
const llm: Model = await load({ model: new Blob([]), threads: 'auto', signal: AbortSignal.timeout(plan.context) })
const chunks: AsyncIterable<ChatCompletionChunk> = await llm.chat.completions.create({ messages: [], stream: true })
for await (const chunk of chunks) console.log(chunk.choices[0]?.delta.content)
const scored = await llm.completions.create({ prompt: 'a', choices: ['b', 'c'] })
console.log(scored.choices[0]?.probability, probe().simd.ok, await cache.list(), nook.load === load)
try { await llm.clear() } catch (error) { if (error instanceof NookError) console.log(error.code, error.hint) }
`)
  writeFileSync(
    join(project, 'wrong.ts'),
    "import { load } from 'nooklm'\nawait load({ model: 'a.gguf', contexSize: 3 })\n",
  )
  const strict = [tsc, '--strict', '--noEmit', '--target', 'es2022']
  const ways = [['--module', 'nodenext'], ['--module', 'esnext', '--moduleResolution', 'bundler']]
  for (const way of ways) {
    const compiled = spawnSync(process.execPath, [...strict, ...way, 'five.ts', 'more.ts'], {
      cwd: project,
      encoding: 'utf8',
    })
    assert.equal(compiled.status, 0, `${way.join(' ')}: ${compiled.stdout}`)
  }
  const refused = spawnSync(process.execPath, [...strict, ...(ways[0] ?? []), 'wrong.ts'], {
    cwd: project,
    encoding: 'utf8',
  })
  assert.match(refused.stdout, /contexSize/)
  assert.equal(refused.stdout.trim().split('\n').filter((line) => /error TS/.test(line)).length, 1, refused.stdout)
})
