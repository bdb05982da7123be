#!/usr/bin/env node
/*
 * setup.mjs: everything between a fresh clone and a running Nook; npm start and npm test call it first.
 *
 *   node tools/setup.mjs            packages, toolchain, C sources, WebAssembly builds, page, default model
 *   node tools/setup.mjs --test     also the native build with sanitizers, and a browser
 *   node tools/setup.mjs --deep     (with --test) also the fuzzers' compiler and 32-bit libraries
 *   node tools/setup.mjs --build    only what goes into the package: WebAssembly builds, page
 *
 * Every step looks first whether its result is current (a stamp of the hashes of what it depends on) and is skipped then,
 * without a network and in milliseconds. Downloads and the toolchain lie in the shared cache, ${NOOK_CACHE:-~/.cache/nook}.
 * What needs root is installed where it may be and otherwise named in a sentence. All output goes to stderr.
 */
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  accessSync, constants, copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fetchModel } from './model.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const stamps = join(root, 'build', 'stamps')
const options = new Set(process.argv.slice(2))
const jobs = String(Math.max(1, Math.min(4, Number(process.env.NOOK_JOBS ?? 2))))
export const VARIANTS = ['base', 'relaxed', 'base-threads', 'relaxed-threads']
const isRoot = process.getuid?.() === 0

/** A failure in one sentence for the person. */
class SetupError extends Error {}

const say = (/** @type {string} */ text) => process.stderr.write(`${text}\n`)

/** The path of a program in PATH, or null. @param {string} name */
function which(name) {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(folder, name)
    try {
      accessSync(path, constants.X_OK)
      if (statSync(path).isFile()) return path
    } catch { /* not in this folder */ }
  }
  return null
}

/**
 * Runs a program with its output on stderr; its stdout comes back where `capture` is set.
 * @param {string[]} command
 * @param {{env?: Record<string, string | undefined>, capture?: boolean, cwd?: string}} [settings]
 * @returns {Promise<string>}
 */
function run(command, settings = {}) {
  return new Promise((done, failed) => {
    const child = spawn(command[0] ?? '', command.slice(1), {
      cwd: settings.cwd ?? root,
      env: { ...process.env, ...settings.env },
      stdio: ['ignore', settings.capture ? 'pipe' : 2, 2],
    })
    let text = ''
    child.stdout?.on('data', (chunk) => { text += chunk })
    child.on('error', (error) => failed(new SetupError(`${command[0]} does not start (${error.message}).`)))
    child.on('close', (status) => {
      if (status === 0) done(text)
      else {
        const words = command.join(' ').slice(0, 120)
        failed(new SetupError(`\`${words}\` failed with status ${status}; its own message is above.`))
      }
    })
  })
}

/** Hash of the names and contents of files and of whole folders. @param {string[]} paths relative to the root */
function hashOf(paths) {
  const hash = createHash('sha256')
  const visit = (/** @type {string} */ path) => {
    const full = join(root, path)
    if (!existsSync(full)) return
    if (statSync(full).isDirectory()) {
      for (const name of readdirSync(full).sort()) visit(`${path}/${name}`)
    } else hash.update(`${path}\0`).update(readFileSync(full)).update('\0')
  }
  paths.forEach(visit)
  return hash.digest('hex')
}

/**
 * A step that is skipped while `inputs` hash to the stamp and all `outputs` are there.
 * @param {string} name @param {string} key @param {string[]} outputs @param {() => Promise<void>} work
 */
async function stamped(name, key, outputs, work) {
  const stamp = join(stamps, name)
  const same = existsSync(stamp) && readFileSync(stamp, 'utf8') === key
  if (same && outputs.every((path) => existsSync(join(root, path)))) return
  rmSync(stamp, { force: true })
  await work()
  mkdirSync(stamps, { recursive: true })
  writeFileSync(`${stamp}.${process.pid}`, key)
  renameSync(`${stamp}.${process.pid}`, stamp)
}

/**
 * Two set-ups in one clone would build into the same folders: the second waits. A lock whose process is gone is taken over.
 * @param {() => Promise<void>} work
 */
async function alone(work) {
  const lock = join(root, 'build', 'setup.lock')
  mkdirSync(join(root, 'build'), { recursive: true })
  for (let waiting = false; ; waiting = true) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' })
      break
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error
    }
    const owner = existsSync(lock) ? Number(readFileSync(lock, 'utf8')) : 0
    if (owner > 0 && !alive(owner)) rmSync(lock, { force: true })
    else {
      if (!waiting) say(`Waiting for another set-up of this clone (process ${owner || 'just started'}) …`)
      await new Promise((done) => setTimeout(done, 500))
    }
  }
  try {
    await work()
  } finally {
    rmSync(lock, { force: true })
  }
}

/** @param {number} pid */
function alive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM'
  }
}

// ---- Steps --------------------------------------------------------------------------------------------------------------

function checkTools() {
  if (Number(process.versions.node.split('.')[0]) < 20) {
    throw new SetupError(`Nook needs Node 20 or later; this is ${process.version}.`)
  }
  const needed = [['cmake', 'CMake 3.22 or later'], ['python3', 'Python 3.8 or later'], ['git', 'git'], ['npm', 'npm']]
  const missing = needed.filter(([name]) => which(name ?? '') === null).map(([, what]) => what)
  if (which('cc') === null && which('gcc') === null && which('clang') === null) missing.push('a C compiler (gcc or clang)')
  if (which('ninja') === null && which('make') === null) missing.push('make or ninja')
  if (missing.length > 0) {
    throw new SetupError(`Missing in PATH: ${missing.join(', ')}. ` +
      "Install what is missing with your system's package manager and run this again.")
  }
}

async function packages() {
  const outputs = ['node_modules/@huggingface/jinja/package.json', 'node_modules/typescript/package.json']
  await stamped('packages', hashOf(['package.json', 'package-lock.json']), outputs, async () => {
    say('Packages by npm …')
    await run(['npm', 'ci', '--ignore-scripts', '--loglevel=error'])
  })
}

/** The environment in which emcc is found. @returns {Promise<Record<string, string>>} */
async function toolchain() {
  say('Toolchain …')
  const text = await run(['bash', '-c', 'source ./emsdk-env.sh && printf "\\n%s" "$PATH"'], { capture: true })
  return { PATH: text.slice(text.lastIndexOf('\n') + 1) }
}

/** CMake's generator for a build folder that is not configured yet. */
const generator = () => ({ CMAKE_GENERATOR: process.env.CMAKE_GENERATOR ?? (which('ninja') ? 'Ninja' : 'Unix Makefiles') })

/**
 * Configures and builds a preset; a build folder of another toolchain is made anew once.
 * @param {string} preset
 * @param {Record<string, string>} [env]
 */
async function build(preset, env = {}) {
  const settings = { env: { ...generator(), ...env } }
  const configured = { ...settings, capture: true } /* errors come on stderr; the rest interests nobody */
  const folder = join(root, 'build', preset)
  const configure = ['cmake', '--preset', preset, '--log-level=WARNING']
  try {
    await run(configure, configured)
  } catch (error) {
    if (!existsSync(join(folder, 'CMakeCache.txt'))) throw error
    say(`Configuring ${preset} again from nothing …`)
    rmSync(folder, { recursive: true, force: true })
    await run(configure, configured)
  }
  await run(['cmake', '--build', folder, '-j', jobs], settings)
}

/** Whether the C compiler takes a text. @param {string} text @param {string[]} flags */
function compiles(text, ...flags) {
  const command = [...flags, '-x', 'c', '-o', '/dev/null', '-']
  return spawnSync('cc', command, { input: text, stdio: ['pipe', 'ignore', 'ignore'] }).status === 0
}

/** Sources of third parties that neither the system nor the cache has. @param {boolean} native */
async function sources(native) {
  const wanted = ['cjson']
  if (native) {
    if (!compiles('#include <simde/wasm/simd128.h>\n', '-E')) wanted.push('simde')
    const headers = ['stdarg.h', 'stddef.h', 'stdint.h', 'setjmp.h', 'cmocka.h']
    const cmocka = headers.map((name) => `#include <${name}>\n`).join('')
    if (options.has('--deep') || !compiles(cmocka, '-E')) wanted.push('cmocka')
  }
  await run(['python3', 'tools/third_party.py', ...wanted], { capture: true })
}

const ENGINE = ['src', 'kernels', 'cmake', 'CMakeLists.txt', 'CMakePresets.json', 'tools/third_party.json']

async function wasm() {
  const outputs = VARIANTS.map((variant) => `web/wasm/nook-${variant}.wasm`)
  await stamped('wasm', hashOf(ENGINE), outputs, async () => {
    const env = await toolchain()
    await sources(false)
    mkdirSync(join(root, 'web', 'wasm'), { recursive: true })
    for (const [index, variant] of VARIANTS.entries()) {
      say(`WebAssembly ${variant} (${index + 1} of ${VARIANTS.length}) …`)
      await build(`wasm-${variant}`, env)
      const target = join(root, 'web', 'wasm', `nook-${variant}.wasm`)
      copyFileSync(join(root, 'build', `wasm-${variant}`, 'nook.wasm'), `${target}.${process.pid}`)
      renameSync(`${target}.${process.pid}`, target)
    }
  })
}

/** What the page needs beside its own files: two libraries, the list for offline use, the cards. */
async function page() {
  const tools = ['tools/vendor.mjs', 'tools/precache.mjs', 'tools/cards']
  const inputs = [...webFiles(), ...cardFiles(), 'package-lock.json', ...tools]
  await stamped('page', hashOf(inputs), ['web/vendor', 'web/precache.js', 'web/app/cards.json'], async () => {
    say('Page …')
    await run(['node', 'tools/vendor.mjs'])
    await run(['node', 'tools/precache.mjs'])
  })
}

/** Entries of a folder, without the named ones. @param {string} folder @param {string[]} without */
const entries = (folder, ...without) =>
  readdirSync(join(root, folder)).filter((name) => !without.includes(name)).map((name) => `${folder}/${name}`)

/** What lies in web/ without what is generated into it; the wasm files are in: the page's list holds their hashes. */
const webFiles = () => [...entries('web', 'vendor', 'precache.js', 'app'), ...entries('web/app', 'cards.json')]

const cardFiles = () => entries('models').filter((path) => path.endsWith('.json'))

async function nativeTests() {
  const inputs = [...ENGINE, 'tests/unit', 'tests/grid', 'tests/fuzz']
  await stamped('native', hashOf(inputs), ['build/sanitize/CMakeCache.txt'], async () => {
    await sources(true)
    say('Native build with sanitizers …')
    await build('sanitize')
  })
}

/** Where a Chromium is: $NOOK_CHROMIUM, PATH, the usual places. @returns {string | null} */
export function chromium() {
  const named = process.env.NOOK_CHROMIUM
  if (named) return existsSync(named) ? named : null
  for (const name of ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome']) {
    const path = which(name)
    if (path !== null) return path
  }
  const playwright = join(homedir(), '.cache', 'ms-playwright')
  const installed = existsSync(playwright) ? readdirSync(playwright) : []
  const versions = installed.filter((name) => /^chromium-\d+$/.test(name)).sort()
  const places = [
    ...versions.reverse().map((name) => join(playwright, name, 'chrome-linux', 'chrome')),
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
    '/Applications/Chromium.app/Contents/MacOS/Chromium',
  ]
  return places.find((path) => existsSync(path)) ?? null
}

/** Installs Debian packages where that is allowed. @param {string[]} names @returns {Promise<boolean>} */
async function install(...names) {
  if (!isRoot || which('apt-get') === null) return false
  say(`apt-get install ${names.join(' ')} …`)
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  try {
    await run(['apt-get', 'update', '-q'], { env, capture: true })
    await run(['apt-get', 'install', '-y', '-q', '--no-install-recommends', ...names], { env, capture: true })
    return true
  } catch {
    return false
  }
}

async function browser() {
  if (chromium() !== null) return
  if ((await install('chromium')) && chromium() !== null) return
  say('No Chromium was found: the tests of the page will fail. Install chromium or Google Chrome, or set NOOK_CHROMIUM.')
}

async function deepTools() {
  if (which('clang-19') === null || !existsSync('/usr/lib/llvm-19/lib/clang/19/lib/linux')) {
    if (!(await install('clang-19', 'libclang-rt-19-dev'))) {
      say('The fuzzers need clang 19 with its run-time library: apt-get install clang-19 libclang-rt-19-dev.')
    }
  }
  const can32 = () => compiles('#include <stdio.h>\nint main(void) { return 0; }\n', '-m32', '-fsanitize=address')
  if (!can32()) await install('gcc-multilib')
  if (!can32()) say('cc -m32 does not work (no gcc-multilib): 32-bit sizes are tested in the WebAssembly build only.')
}

async function main() {
  const known = ['--test', '--deep', '--build']
  const odd = [...options].filter((option) => !known.includes(option))
  if (odd.length > 0) throw new SetupError(`${odd.join(' ')}: not an option of the set-up; it has ${known.join(', ')}.`)
  checkTools()
  await alone(bring)
}

async function bring() {
  await packages()
  await wasm()
  await page()
  if (options.has('--build')) return
  await fetchModel()
  if (options.has('--test')) {
    await nativeTests()
    await browser()
    if (options.has('--deep')) await deepTools()
  }
}

if (process.argv[1] !== undefined && fileURLToPath(import.meta.url) === process.argv[1]) {
  try {
    const started = Date.now()
    await main()
    say(`Set-up is complete (${((Date.now() - started) / 1000).toFixed(1)} s).`)
  } catch (error) {
    say(error instanceof SetupError ? error.message : String(/** @type {Error} */ (error).message ?? error))
    process.exitCode = 1
  }
}
