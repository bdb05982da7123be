#!/usr/bin/env node
/*
 * readme.mjs: writes the measured table of README.md from bench/results/inference.json, between its two marks. No number
 * about speed or memory is typed by hand; tests/lint compares.
 *
 *   npm run bench -- --against wllama --save      measures and writes the results
 *   node tools/readme.mjs [--check]               writes the table; --check: only fails when it is not up to date
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
export const RESULTS = 'bench/results/inference.json'
const BEGIN = '<!-- measured: node tools/readme.mjs writes this -->'
const END = '<!-- /measured -->'

/**
 * @typedef {{peer: string, what: string, n: number, unit: string, median: number, min: number, max: number}} Row
 * @typedef {{device: string, date: string, host: string, threads: number, model: string, rounds: number, rows: Row[]}}
 *   Results
 */

/** What a person calls a row, in the order of the table; rows that are none of these are shown by their own name. */
const WORDS = /** @type {[RegExp, string][]} */ ([
  [/^prefill 16$/, 'reading a prompt of 16 tokens'],
  [/^prefill 128$/, 'reading a prompt of 128 tokens'],
  [/^prefill 512$/, 'reading a prompt of 512 tokens'],
  [/^decode /, 'writing an answer'],
  [/^load/, 'loading the model, by HTTP from this machine'],
  [/^memory/, 'peak memory of the tab over an empty page'],
  [/^abort while reading|^abort.*prefill/, 'abort while reading, until it has stopped'],
  [/^abort/, 'abort while writing, until it has stopped'],
])

/** Three figures. @param {number} value */
const figure = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2))

/** @param {Row} row */
const cell = (row) =>
  row.min === row.max ? figure(row.median) : `${figure(row.median)} (${figure(row.min)}–${figure(row.max)})`

/** The table in Markdown. @param {Results} results */
export function table(results) {
  const peers = [...new Set(results.rows.map((row) => row.peer))]
  const keys = [...new Set(results.rows.map((row) => `${row.what} ${row.n}`))]
  const place = (/** @type {string} */ key) => {
    const at = WORDS.findIndex(([pattern]) => pattern.test(key))
    return at < 0 ? WORDS.length : at
  }
  keys.sort((a, b) => place(a) - place(b))
  const lines = [`| | ${peers.join(' | ')} |`, `|---|${peers.map(() => '---:|').join('')}`]
  for (const key of keys) {
    const rows = peers.map((peer) => results.rows.find((row) => row.peer === peer && `${row.what} ${row.n}` === key))
    const unit = rows.find((row) => row !== undefined)?.unit ?? ''
    const words = WORDS[place(key)]?.[1] ?? key
    lines.push(`| ${words}, ${unit} | ${rows.map((row) => (row === undefined ? '–' : cell(row))).join(' | ')} |`)
  }
  const threads = results.threads === 1 ? 'one thread' : `${results.threads} threads`
  lines.push('', `${results.model}, ${results.host}, ${threads}, ${results.device}, ${results.date}: the median of `
    + `${results.rounds} rounds, each contender in a fresh browser by turns (least–most).`)
  return lines.join('\n')
}

/** README.md as it should be. @param {string} readme @returns {string} */
export function withTable(readme) {
  const begin = readme.indexOf(BEGIN)
  const end = readme.indexOf(END)
  if (begin < 0 || end < begin) throw new Error(`README.md lacks the marks ${BEGIN} and ${END}.`)
  const path = `${root}${RESULTS}`
  const text = existsSync(path) ? table(JSON.parse(readFileSync(path, 'utf8'))) : `No results are kept in ${RESULTS} yet.`
  return `${readme.slice(0, begin)}${BEGIN}\n${text}\n${readme.slice(end)}`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const before = readFileSync(`${root}README.md`, 'utf8')
  const after = withTable(before)
  if (before !== after && process.argv.includes('--check')) {
    console.error('The measured table of README.md is not up to date: run node tools/readme.mjs.')
    process.exitCode = 1
  } else if (before !== after) writeFileSync(`${root}README.md`, after)
}
