/*
 * Rules of all files that git tracks.
 */
import assert from 'node:assert/strict'
import test from 'node:test'
import { GENERATED, lines, read, root, tracked, written } from './files.mjs'
import { statSync } from 'node:fs'

const SOURCES = /\.(c|h|js|mjs|css|html)$/

/** Longer than a file should be, and why. */
const LONG = /** @type {Record<string, string>} */ ({
  'tests/unit/test_gguf.c': 'one builder of headers that every test of the reader uses',
})

test('no source file has more than 600 lines, but for those listed with a reason', () => {
  const long = written(SOURCES).filter((path) => lines(path).length > 600)
  assert.deepEqual(long, Object.keys(LONG).sort())
  for (const path of long) assert.ok(lines(path).length < 700, `${path} is to be split`)
})

test('generated files say what made them', () => {
  assert.match(read('src/tokenizer/unicode_tables.c').slice(0, 400), /tools\/unicode\/generate\.py/)
  assert.match(read('docs/support.md').slice(0, 400), /tools\/support\.mjs/)
  for (const path of GENERATED) assert.ok(tracked.includes(path), path)
})

test('every source file begins with a comment that says what it is', () => {
  for (const path of written(/\.(c|h|js|mjs|css|def|ts)$/)) {
    const text = read(path)
      .replace(/^#![^\n]*\n/, '')
      .replace(/^\/\/\/ <reference[^\n]*\n/, '')
      .replace(/^\/\/ @ts-\w+\n/, '')
    const comment = /^(\/\*[\s\S]*?\*\/|(\/\/[^\n]*\n)+)/.exec(text)?.[0] ?? ''
    assert.ok(comment.length > 20, `${path} has no header comment`)
  }
  for (const path of written(/\.(py|sh|cmake)$|(^|\/)CMakeLists\.txt$/)) {
    assert.match(read(path).replace(/^#![^\n]*\n/, ''), /^(#[^\n]{10,}|""")/, `${path} has no header comment`)
  }
})

test('no line of C or JavaScript has more than 124 columns', () => {
  const long = written(/\.(c|h|def|js|mjs|css|ts)$/).flatMap((path) =>
    lines(path).flatMap((line, i) => ([...line].length > 124 ? [`${path}:${i + 1}`] : [])))
  assert.deepEqual(long, [])
})

test('no tab indents C or JavaScript, no line ends with white space, every file ends with one line end', () => {
  const faults = []
  for (const path of written(/\.(c|h|def|js|mjs|css|html|ts|md|json|py|sh|cmake|txt)$/)) {
    if (path.startsWith('tests/fixtures/') || path.startsWith('tests/hostile/')) continue
    const text = read(path)
    if (/[ \t]\n/.test(text)) faults.push(`${path}: white space at the end of a line`)
    if (SOURCES.test(path) && /^\t/m.test(text)) faults.push(`${path}: a tab`)
    if (text !== '' && (!text.endsWith('\n') || text.endsWith('\n\n'))) faults.push(`${path}: its last line`)
  }
  assert.deepEqual(faults, [])
})

/* Patterns are put together from pieces, so that this file does not hold what it looks for. */
const word = (/** @type {string[]} */ ...pieces) => pieces.join('')

/** Tracked files that are text. */
const texts = () => tracked.filter((path) => statSync(`${root}${path}`).size < 4 << 20 && !read(path).includes('\0'))

test('nothing is left to do later', () => {
  const later = new RegExp(`\\b(${word('TO', 'DO')}|${word('FIX', 'ME')}|${word('X', 'XX')}|${word('HA', 'CK')})\\b`)
  assert.deepEqual(
    written(/\.(c|h|def|js|mjs|css|html|ts|md|py|sh|cmake|txt)$/).filter((path) => later.test(read(path))),
    [],
  )
})

test('no file names a host of a package registry', () => {
  const hosts = new RegExp(
    [
      word('registry\\.', 'npmjs'),
      word('registry\\.', 'yarnpkg'),
      word('pypi', '\\.org'),
      word('python', 'hosted\\.org'),
      word('proxy\\.', 'golang'),
      word('crates', '\\.io'),
      word('deb\\.', 'debian'),
      word('artifact', 'ory'),
      word('conda', '\\.anaconda'),
    ].join('|'),
    'i',
  )
  assert.deepEqual(texts().filter((path) => hosts.test(read(path))), [])
})

test('no file holds a path of the machine that it was written on', () => {
  const tops = [word('wo', 'rk'), word('ro', 'ot'), word('ho', 'me'), word('t', 'mp'), word('Us', 'ers')]
  const paths = new RegExp(String.raw`(^|[\s"'\x60(=:])/(${tops.join('|')})/`, 'm')
  assert.deepEqual(texts().filter((path) => paths.test(read(path))), [])
})

test('no file holds a key or a token of a service', () => {
  const kinds = [
    word('BEGIN [A-Z ]*PRIV', 'ATE KEY'), word('gh', 'p_\\w{30}'), word('npm', '_\\w{36}'), word('hf', '_\\w{30}'),
  ]
  const secrets = new RegExp(kinds.join('|'))
  assert.deepEqual(texts().filter((path) => secrets.test(read(path))), [])
})

test('the lock file of packages names no host and has a hash for each package', () => {
  const text = read('package-lock.json')
  assert.doesNotMatch(text, /"resolved"|https?:\/\/(?!(www\.)?(opencollective\.com|github\.com|patreon))/)
  for (const [path, entry] of Object.entries(JSON.parse(text).packages)) {
    if (path !== '') assert.match(/** @type {any} */ (entry).integrity ?? '', /^sha512-/, path)
  }
})

test('nothing large is committed', () => {
  const large = tracked.filter((path) => statSync(`${root}${path}`).size > 8 << 20)
  assert.deepEqual(large, [])
})
