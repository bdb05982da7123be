/*
 * run.mjs: the whole test suite, in order, printing what it runs. `npm test` takes seeded samples of the long ones;
 * `npm run test:deep` (NOOK_DEEP=1) the full counts. Arguments choose suites by name: `npm test -- native node`.
 *
 * A suite is a row: a name, what it is, the commands, and how its output is counted. A command that exits non-zero without
 * having counted a failure counts as one; a suite in which nothing ran is a failure too. The last line is
 * "N passed, N failed".
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const deep = process.argv.includes('--deep') || process.env.NOOK_DEEP === '1'
const jobs = String(Math.max(1, Math.min(4, Number(process.env.NOOK_JOBS ?? 2))))

/** Sum of a pattern's first group over an output. @param {string} text @param {RegExp} pattern */
const sum = (text, pattern) => [...text.matchAll(pattern)].reduce((total, match) => total + Number(match[1]), 0)

/** cmocka under `ctest -V`: every program prints its own totals. @param {string} text */
const countCmocka = (text) => ({
  passed: sum(text, /\[ {2}PASSED {2}\] (\d+) test/g),
  failed: sum(text, /\[ {2}FAILED {2}\] (\d+) test/g),
})

/** node:test's spec and tap reporters. @param {string} text */
const countNode = (text) => ({
  passed: sum(text, /^(?:#|ℹ) pass (\d+)/gm),
  failed: sum(text, /^(?:#|ℹ) (?:fail|cancelled) (\d+)/gm),
})

/** A command that passes or doesn't. @param {string} _ @param {number} status */
const countOne = (_, status) => ({ passed: status === 0 ? 1 : 0, failed: status === 0 ? 0 : 1 })

/** @param {string} folder */
const testFiles = (folder) =>
  existsSync(`${root}/${folder}`)
    ? readdirSync(`${root}/${folder}`, { recursive: true })
        .map(String)
        .filter((name) => /\.test\.m?js$/.test(name))
        .sort()
        .map((name) => `${folder}/${name}`)
    : []

const nodeTest = (/** @type {string} */ folder) => [
  'node',
  '--test',
  '--test-concurrency=1',
  '--test-reporter=spec',
  ...testFiles(folder),
]

/**
 * large: only in a deep run, or when it is named.
 * @type {{name: string, what: string, commands: string[][], large?: boolean,
 *         count: (text: string, status: number) => {passed: number, failed: number}}[]}
 */
const suites = [
  {
    name: 'lint',
    what: 'the rules of the repository, its documents and its header against the code',
    commands: [nodeTest('tests/lint')],
    count: countNode,
  },
  {
    name: 'types',
    what: 'the JavaScript against its JSDoc types',
    commands: [['npx', 'tsc', '-p', 'tsconfig.json']],
    count: countOne,
  },
  {
    name: 'native',
    what: 'C units, kernel grid, models, hostile files; ASan + UBSan',
    count: countCmocka,
    commands: [
      ['cmake', '--preset', 'sanitize'],
      ['cmake', '--build', '--preset', 'sanitize', '-j', jobs],
      ['ctest', '--test-dir', 'build/sanitize', '-V', '-j', jobs],
    ],
  },
  {
    name: 'fuzz',
    what: 'mutated files against the sanitized parsers',
    commands: [nodeTest('tests/mutation')],
    count: countNode,
  },
  {
    name: 'node',
    what: 'the engine as WebAssembly in Node, the shim, the command line',
    commands: [nodeTest('tests/node')],
    count: countNode,
  },
  {
    name: 'page',
    what: 'the engine and the page in a real headless Chromium',
    commands: [nodeTest('tests/page')],
    count: countNode,
  },
  {
    name: 'package',
    what: 'the tarball, installed into an empty project',
    commands: [nodeTest('tests/package')],
    count: countNode,
  },
  {
    name: 'models',
    what: 'further models, fetched by their cards and run',
    commands: [nodeTest('tests/models')],
    count: countNode,
    large: true,
  },
]

/** @param {string[]} command @returns {Promise<{status: number, text: string}>} */
function run(command) {
  return new Promise((resolve) => {
    console.log(`\n$ ${command.join(' ')}`)
    /** @type {NodeJS.ProcessEnv} */
    const env = { ...process.env, NOOK_DEEP: deep ? '1' : '0', FORCE_COLOR: '0' }
    delete env.NODE_TEST_CONTEXT /* a runner inside a runner would run nothing */
    const child = spawn(command[0] ?? '', command.slice(1), { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], env })
    let text = ''
    const take = (/** @type {Buffer} */ chunk) => {
      text += chunk
      process.stdout.write(chunk)
    }
    child.stdout.on('data', take)
    child.stderr.on('data', take)
    child.on('error', (error) => resolve({ status: 127, text: `${text}\n${error.message}` }))
    child.on('close', (status) => resolve({ status: status ?? 1, text }))
  })
}

const wanted = process.argv.slice(2).filter((argument) => !argument.startsWith('--'))
const unknown = wanted.filter((name) => !suites.some((suite) => suite.name === name))
if (unknown.length > 0) {
  console.error(`no suite is named ${unknown.join(', ')}; there are ${suites.map((suite) => suite.name).join(', ')}`)
  process.exit(2)
}

/** @type {{name: string, passed: number, failed: number, seconds: number}[]} */
const results = []
for (const suite of suites) {
  if (wanted.length > 0 ? !wanted.includes(suite.name) : suite.large === true && !deep) continue
  console.log(`\n━━ ${suite.name}: ${suite.what}${deep ? ' (deep)' : ''}`)
  const started = Date.now()
  let passed = 0
  let failed = 0
  for (const command of suite.commands) {
    const { status, text } = await run(command)
    const counted = suite.count(text, status)
    passed += counted.passed
    failed += counted.failed
    if (status !== 0 && counted.failed === 0) failed += 1
    if (status !== 0) break
  }
  if (passed + failed === 0) {
    console.log(`✗ ${suite.name}: nothing ran`)
    failed = 1
  }
  results.push({ name: suite.name, passed, failed, seconds: Math.round((Date.now() - started) / 1000) })
}

mkdirSync(`${root}/tests/out`, { recursive: true })
writeFileSync(`${root}/tests/out/summary.json`, JSON.stringify({ deep, results }, null, 2))
console.log('\n━━ summary')
for (const { name, passed, failed, seconds } of results)
  console.log(`${failed > 0 ? '✗' : '✓'} ${name.padEnd(8)} ${passed} passed, ${failed} failed, ${seconds} s`)
const passed = results.reduce((total, result) => total + result.passed, 0)
const failed = results.reduce((total, result) => total + result.failed, 0)
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed > 0 ? 1 : 0)
