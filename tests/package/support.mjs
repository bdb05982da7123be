/*
 * support.mjs: what the tests of the package share: the tarball, installed into an empty project, and what README.md says.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../..', import.meta.url))
export const MODEL = 'models/cache/SmolLM2-135M-Instruct.Q4_1.gguf'

/**
 * npm beside this Node, without what a surrounding npm run put into the environment.
 * @param {string[]} args
 * @param {string} cwd
 */
export function npm(args, cwd) {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name)))
  const beside = join(dirname(process.execPath), 'npm')
  return execFileSync(existsSync(beside) ? beside : 'npm', args, {
    cwd,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

/**
 * The tarball of this working tree. What it is built of must be there (npm run setup); npm pack itself would build first.
 * @param {string} folder where it is put
 * @returns {{path: string, size: number, unpackedSize: number, files: {path: string, size: number}[]}}
 */
export function pack(folder) {
  assert.ok(existsSync(join(root, 'web/wasm/nook-base.wasm')), 'web/wasm is not built: run npm run setup')
  const [made] = JSON.parse(npm(['pack', '--ignore-scripts', '--json', '--pack-destination', folder], root))
  return { ...made, path: join(folder, made.filename) }
}

/**
 * A folder for a test, removed at its end.
 * @param {import('node:test').SuiteContext | import('node:test').TestContext | null} t
 */
export function folder(t = null) {
  const path = mkdtempSync(join(tmpdir(), 'nook-package-'))
  if (t !== null && 'after' in t) t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/**
 * An empty project with the tarball installed as a person would, from npm's cache where that has the one dependency; the
 * model lies where README.md names it.
 * @param {string} project @param {string} tarball
 */
export function install(project, tarball) {
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'empty', private: true, type: 'module' }))
  const args = ['install', '--no-audit', '--no-fund', '--ignore-scripts=false', tarball]
  try {
    npm([...args, '--offline'], project)
  } catch {
    npm([...args, '--prefer-offline'], project)
  }
  assert.ok(existsSync(join(root, MODEL)), `${MODEL} is not there: run npm run setup`)
  mkdirSync(join(project, dirname(MODEL)), { recursive: true })
  symlinkSync(join(root, MODEL), join(project, MODEL))
}

/** The five lines of README.md. @returns {string} */
export function fiveLines() {
  const readme = readFileSync(join(root, 'README.md'), 'utf8')
  const found = /<!-- five lines[^>]*-->\n```js\n([\s\S]*?)```/.exec(readme)
  assert.ok(found?.[1] !== undefined, 'README.md has the marked block of five lines')
  assert.equal(found[1].trim().split('\n').length, 5, 'it has five lines')
  return found[1]
}
