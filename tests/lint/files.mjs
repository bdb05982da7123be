/*
 * files.mjs: the files that git tracks, for the tests of the repository itself.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../..', import.meta.url))

/** Tracked files that are here, relative to the root. */
export const tracked = execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 })
  .split('\0').filter((path) => path !== '' && existsSync(`${root}${path}`) && statSync(`${root}${path}`).isFile())

/** Made by a program that is named in the file itself; people don't read them. */
export const GENERATED = ['src/tokenizer/unicode_tables.c', 'package-lock.json', 'docs/support.md']

/** @param {RegExp} name @returns {string[]} tracked files of that name that people wrote */
export const written = (name) => tracked.filter((path) => name.test(path) && !GENERATED.includes(path))

/** @param {string} path */
export const read = (path) => readFileSync(`${root}${path}`, 'utf8')

/** @param {string} path @returns {string[]} without the last line end */
export const lines = (path) => read(path).replace(/\n$/, '').split('\n')

/** C without comments and the contents of strings. @param {string} text */
export const bareC = (text) =>
  text.replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/g, (found) =>
    found[0] === '/' ? found.replace(/[^\n]/g, ' ') : found[0] === '"' ? '""' : "' '")
