/*
 * chromium.mjs: a real headless Chromium for benches: a static server without isolation headers unless asked for, one fresh
 * profile a measurement, and the renderer's own peak of memory (VmHWM), which no page API gives reliably.
 */
import { createReadStream, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { extname, join, normalize } from 'node:path'
import { chromium } from 'playwright-core'

const TYPES = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
  '.json': 'application/json',
  '.css': 'text/css',
}

/**
 * Serves folders under prefixes.
 * @param {Record<string, string>} mounts prefix → folder
 * @param {{isolated?: boolean, policy?: string}} [options] policy: a Content-Security-Policy, sent with every file
 * @returns {Promise<{origin: string, close: () => Promise<void>}>}
 */
export function serve(mounts, { isolated = false, policy = '' } = {}) {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://x').pathname)
    const prefix = Object.keys(mounts).sort((a, b) => b.length - a.length).find((p) => path.startsWith(p))
    const file =
      prefix === undefined
        ? ''
        : join(mounts[prefix] ?? '', normalize(path.slice(prefix.length)).replace(/^(\.\.[/\\])+/, ''))
    if (file === '' || !existsSync(file) || !statSync(file).isFile()) return void response.writeHead(404).end()
    const size = statSync(file).size
    const headers = {
      'content-type': TYPES[/** @type {keyof TYPES} */ (extname(file))] ?? 'application/octet-stream',
      'accept-ranges': 'bytes',
      'cache-control': 'no-store',
    }
    if (isolated)
      Object.assign(headers, {
        'cross-origin-opener-policy': 'same-origin',
        'cross-origin-embedder-policy': 'require-corp',
      })
    if (policy !== '') Object.assign(headers, { 'content-security-policy': policy })
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '')
    const start = range === null ? 0 : Number(range[1])
    const end = range === null || range[2] === '' ? size - 1 : Math.min(Number(range[2]), size - 1)
    if (range !== null) Object.assign(headers, { 'content-range': `bytes ${start}-${end}/${size}` })
    response.writeHead(range === null ? 200 : 206, { ...headers, 'content-length': end - start + 1 })
    createReadStream(file, { start, end }).pipe(response)
  })
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = /** @type {import('node:net').AddressInfo} */ (server.address())
      resolve({
        origin: `http://127.0.0.1:${address.port}`,
        close: () =>
          new Promise((done) => {
            server.closeAllConnections()
            server.close(() => done())
          }),
      })
    })
  })
}

const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** The browser, or a sentence. */
export function browserPath() {
  const found = [
    process.env.NOOK_CHROMIUM ?? '',
    '/usr/bin/chromium',
    '/usr/bin/chromium-browser',
    '/usr/bin/google-chrome',
  ].find((path) => path !== '' && existsSync(path))
  if (found === undefined)
    throw new Error('no Chromium was found: install the package "chromium", or name one in NOOK_CHROMIUM')
  return found
}

/** Peak resident bytes of a process. @param {number} pid */
const peakBytes = (pid) => Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024

/**
 * Opens `url` in a fresh browser, runs `work` in the page with `argument`, and reports the page's renderer peak beside it.
 * @template T @param {string} url @param {string} work name of a function on window @param {unknown} argument
 * @param {string} [kept] the folder of a profile that stays, for what a second visit finds; default: a fresh one
 * @returns {Promise<{result: T, peak: number}>}
 */
export async function measurePage(url, work, argument, kept) {
  const profile = kept ?? mkdtempSync(join(tmpdir(), 'nook-bench-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: browserPath(),
    headless: true,
    args: ARGUMENTS,
  })
  try {
    const page = await context.newPage()
    page.on('pageerror', (error) => console.error(`page: ${error.message}`))
    await page.goto(url)
    await page.waitForFunction((name) => typeof (/** @type {any} */ (globalThis)[name]) === 'function', work)
    const result = await page.evaluate(([name, given]) => {
      const scope = /** @type {any} */ (globalThis)
      return scope[/** @type {string} */ (name)](given)
    }, [work, argument])
    const peak = Math.max(...rendererPeaks(profile))
    return { result: /** @type {any} */ (result), peak }
  } finally {
    await context.close()
    if (kept === undefined) rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** VmHWM of every renderer of the browser with that profile. @param {string} profile */
function rendererPeaks(profile) {
  const peaks = [0]
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    try {
      const command = readFileSync(`/proc/${entry}/cmdline`, 'utf8')
      if (
        command.includes('--type=renderer')
        && !command.includes('--extension-process')
        && isChildOf(Number(entry), profile)
      )
        peaks.push(peakBytes(Number(entry)))
    } catch { /* the process has ended */ }
  }
  return peaks
}

/** Whether an ancestor was started with this profile. @param {number} pid @param {string} profile */
function isChildOf(pid, profile) {
  for (let at = pid; at > 1;) {
    if (readFileSync(`/proc/${at}/cmdline`, 'utf8').includes(profile)) return true
    at = Number(/PPid:\s+(\d+)/.exec(readFileSync(`/proc/${at}/status`, 'utf8'))?.[1] ?? 0)
  }
  return false
}
