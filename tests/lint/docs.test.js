/*
 * Rules of the documents: links resolve, files that are named exist, numbers come from results that are kept.
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'node:test'
import { table, withTable } from '../../tools/readme.mjs'
import { generate } from '../../tools/support.mjs'
import { lines, read, root, tracked, written } from './files.mjs'

const documents = tracked.filter((path) => path.endsWith('.md'))

/** The anchors that a document's headings make. @param {string} path */
const anchors = (path) =>
  [...read(path).matchAll(/^#+ (.*)$/gm)].map(([, text = '']) =>
    text
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  )

test('every link of a document leads to a file of the repository, and to a heading of it', () => {
  let count = 0
  for (const path of documents) {
    for (const [, target = ''] of read(path).replace(/```[\s\S]*?```/g, '').matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue
      const [file = '', anchor] = target.split('#')
      const full = file === '' ? path : join(dirname(path), file)
      assert.ok(
        tracked.includes(full) || tracked.some((one) => one.startsWith(`${full.replace(/\/$/, '')}/`)),
        `${path}: ${target}`,
      )
      if (anchor !== undefined) assert.ok(anchors(full).includes(anchor), `${path}: ${target}`)
      count++
    }
  }
  assert.ok(count >= 8)
})

/** Made by set-up or by a run, so git does not have them. */
const MADE = new RegExp(
  `^(${'build bench/results node_modules web/wasm web/vendor web/precache.js web/app/cards.json models/cache tests/out'
    .split(' ').join('|')})(/|$)`,
)

test('every file that a document or a comment of C names exists', () => {
  const folders = 'src|kernels|web|tests|tools|docs|bench|models|cmake'
  const kinds = 'c|h|def|js|mjs|ts|md|py|css|html|json|cmake|txt'
  const named = new RegExp(String.raw`(?<![\w./-])((?:${folders})/[\w./-]*\.(?:${kinds}))(?![\w/])`, 'g')
  for (const path of [
    ...documents,
    ...written(/\.(c|h|def|js|mjs|py|cmake)$/).filter((one) => !one.startsWith('tests/lint/')),
  ]) {
    for (const [, target = ''] of read(path).matchAll(named)) {
      if (MADE.test(target) || /[A-Z]{2,}/.test(target) || target.includes('..')) continue
      assert.ok(existsSync(join(root, target)), `${path} names ${target}`)
    }
  }
})

test('every npm script and verb of the command line that a document names exists', () => {
  const { scripts } = JSON.parse(read('package.json'))
  const verbs = Object.fromEntries(
    [...read('web/cli/nook.js').matchAll(/^\s+(\w+): \(\) => import/gm)].map(([, name]) => [name, true]),
  )
  assert.ok(Object.keys(verbs).length >= 8)
  for (const path of documents) {
    for (const [, name = ''] of read(path).matchAll(/npm run ([\w:]+)/g))
      assert.ok(name in scripts, `${path}: npm run ${name}`)
    for (const [, name = ''] of read(path).matchAll(/(?:npx |`)nook ([a-z]+)/g))
      assert.ok(name in verbs, `${path}: nook ${name}`)
  }
  for (const name of Object.keys(verbs)) assert.match(read('README.md'), new RegExp(`npx nook ${name}\\b`), name)
})

test('the measured table of the README is what tools/readme.mjs makes of the kept results', () => {
  assert.equal(read('README.md'), withTable(read('README.md')), 'run node tools/readme.mjs')
})

test('the table shows each contender\'s median with the least and the most', () => {
  const row = { what: 'prefill', n: 128, unit: 'tokens/s' }
  const made = table({
    device: 'D',
    date: '2026-01-02',
    host: 'H',
    threads: 1,
    model: 'M',
    rounds: 3,
    rows: [
      { ...row, peer: 'a', median: 123.4, min: 99.94, max: 200 },
      { ...row, peer: 'b', median: 7.123, min: 7.123, max: 7.123 },
      { what: 'odd', n: 1, unit: 'MB', peer: 'b', median: 1, min: 0.5, max: 2 },
    ],
  })
  assert.equal(made, `| | a | b |
|---|---:|---:|
| reading a prompt of 128 tokens, tokens/s | 123 (99.9–200) | 7.12 |
| odd 1, MB | – | 1.00 (0.50–2.00) |

M, H, one thread, D, 2026-01-02: the median of 3 rounds, each contender in a fresh browser by turns (least–most).`)
})

test('no document and no text of the page claims a speed outside of that table', () => {
  const units = String.raw`tokens?\/s|tok\/s|t\/s|tokens? (a|per) second|GB\/s|Gop\/s|FLOPS`
  const speed = new RegExp(String.raw`\d[\d.,]*\s*(${units}|(×|times) (faster|as fast))`, 'i')
  for (const path of [...documents, ...tracked.filter((one) => /^web\/app\/.*\.(js|html)$/.test(one))]) {
    const text = read(path).replace(/<!-- measured[\s\S]*?<!-- \/measured -->/, '')
    assert.doesNotMatch(text, speed, path)
  }
})

test('docs/support.md is what the engine and the fixtures say', async () => {
  assert.equal(read('docs/support.md'), await generate(), 'run node tools/support.mjs')
})

test('each document of docs is linked from the README or from another, and fits on about one screen', () => {
  const linked = documents.flatMap((path) =>
    [...read(path).matchAll(/\]\(([^)#\s]+\.md)/g)].map(([, target = '']) => join(dirname(path), target)),
  )
  for (const path of documents.filter((one) => one.startsWith('docs/'))) {
    assert.ok(linked.includes(path), `${path} is linked`)
    assert.ok(lines(path).length <= 90, `${path} has ${lines(path).length} lines`)
  }
})

test('the worker protocol names exactly the messages that the worker handles', () => {
  const handled = [
    ...(/#handlers = \{([\s\S]*?)\n {2}\}/.exec(read('web/worker-core.js'))?.[1]?.matchAll(/^ {4}(\w+): \{/gm) ?? []),
  ].map(([, name]) => name)
  assert.ok(handled.length >= 12)
  const rows = [...read('docs/worker-protocol.md').matchAll(/^\| ((?:`\w+` ?)+)\|/gm)].flatMap(
    ([, cell = '']) => cell.match(/\w+/g) ?? [],
  )
  assert.deepEqual(rows.sort(), handled.sort())
})
