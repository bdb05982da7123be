/*
 * helper.js: what the page's tests share: a server of web/ with the headers of `nook serve`, a real Chromium, and watchers
 * for what must not happen (console errors, violations of the content security policy, requests that nobody asked for).
 *
 * Chromium is NOOK_CHROMIUM, or one of the usual places. A machine without one fails these tests with a sentence; they are
 * not
 * skipped.
 */
import { createServer } from 'node:http'
import { createReadStream, existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { extname, join, normalize, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createSite } from '../../web/cli/site.js'

export const root = fileURLToPath(new URL('../..', import.meta.url))
export const out = join(root, 'tests', 'out')

const TYPES = /** @type {Record<string, string>} */ ({
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
  '.webmanifest': 'application/manifest+json',
})

/** The headers that `nook serve` sends: isolation (threads need it) and nothing guessed. */
export const HEADERS = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'X-Content-Type-Options': 'nosniff',
  'Cache-Control': 'no-cache',
}

/**
 * @typedef {(request: import('node:http').IncomingMessage, response: import('node:http').ServerResponse) => boolean |
 * Promise<boolean>} Overlay
 *   answers a request in place of the file and returns true
 */

/**
 * Serves the page as `nook serve` does (its own server), or, with `headers`, as a plain host with those headers would.
 * @param {{headers?: Record<string, string>, overlay?: Record<string, string | Overlay>}} [options] overlay: path → text or
 * function
 */
export async function serve({ headers, overlay = {} } = {}) {
  const site = createSite()
  /** @type {{method: string, url: string}[]} */
  const requests = []
  const server = createServer((request, response) => void respond(request, response))
  /** @param {import('node:http').IncomingMessage} request @param {import('node:http').ServerResponse} response */
  const respond = async (request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname)
    requests.push({ method: request.method ?? '', url: path })
    for (const [name, value] of Object.entries(headers ?? (path in overlay ? HEADERS : {}))) response.setHeader(name, value)
    const over = overlay[path]
    if (typeof over === 'function' && (await over(request, response))) return
    if (typeof over === 'string') {
      response.setHeader('Content-Type', TYPES[extname(path)] ?? 'application/octet-stream')
      response.end(over)
      return
    }
    if (!headers) {
      for (const name of response.getHeaderNames()) response.removeHeader(name)
      site.emit('request', request, response)
      return
    }
    if (path === '/') {
      response.writeHead(302, { Location: '/app/' }).end()
      return
    }
    const file = fileOf(path)
    const info = file ? await stat(file).catch(() => null) : null
    if (!file || !info?.isFile()) {
      response.writeHead(404).end()
      return
    }
    sendFile(request, response, file, info.size)
  }
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  const close = () =>
    new Promise((resolve) => {
      server.closeAllConnections()
      server.close(() => resolve(undefined))
    })
  return { url: `http://localhost:${port}/app/`, origin: `http://localhost:${port}`, requests, overlay, close }
}

/** @param {string} path @returns {string | null} */
function fileOf(path) {
  const [folder, below] = path.startsWith('/models/')
    ? ['models/cache', path.slice(8)]
    : ['web', path.endsWith('/') ? `${path}index.html` : path]
  const file = normalize(join(root, folder, below))
  return file.startsWith(join(root, folder) + sep) ? file : null
}

/**
 * @param {import('node:http').IncomingMessage} request
 * @param {import('node:http').ServerResponse} response
 * @param {string} file
 * @param {number} size
 */
export function sendFile(request, response, file, size) {
  response.setHeader('Content-Type', TYPES[extname(file)] ?? 'application/octet-stream')
  response.setHeader('Accept-Ranges', 'bytes')
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '')
  const start = range ? Number(range[1]) : 0
  const end = range?.[2] ? Math.min(Number(range[2]), size - 1) : size - 1
  if (start >= size) {
    response.writeHead(416, { 'Content-Range': `bytes */${size}` }).end()
    return
  }
  if (range)
    response.writeHead(206, { 'Content-Range': `bytes ${start}-${end}/${size}`, 'Content-Length': end - start + 1 })
  else response.writeHead(200, { 'Content-Length': size })
  if (request.method === 'HEAD') response.end()
  else
    createReadStream(file, { start, end })
      .on('error', () => response.destroy())
      .pipe(response)
}

function chromiumPath() {
  const places = [
    process.env.NOOK_CHROMIUM,
    '/usr/bin/chromium',
    '/usr/bin/chromium-browser',
    '/usr/bin/google-chrome',
    '/usr/bin/google-chrome-stable',
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  ]
  const found = places.find((path) => path && existsSync(path))
  if (!found)
    throw new Error(
      'No Chromium was found: install one (apt-get install chromium) or name it in NOOK_CHROMIUM. ' +
        'The page is tested in a real browser only.'
    )
  return found
}

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/**
 * A browser with a profile of its own (as a person has one: storage is kept from page to page), and one page in it.
 * @param {Record<string, any>} [options] of the context: viewport, colorScheme, …
 */
export async function open(options = {}) {
  const { chromium } = await import('playwright-core')
  const profile = await mkdtemp(join(tmpdir(), 'nook-page-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: chromiumPath(),
    headless: true,
    args: FLAGS,
    viewport: { width: 1280, height: 800 },
    ...options,
  })
  await context.addInitScript(() => {
    // Violations of the policy, kept where the test can read them.
    const list = /** @type {any} */ (globalThis)
    list.violations = []
    document.addEventListener('securitypolicyviolation', (event) =>
      list.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`)
    )
    // The seeds of answers, which the page draws as one number of 32 bits: the same in every run, so that no answer is
    // short one day and endless the next.
    const draw = crypto.getRandomValues.bind(crypto)
    let seed = 0
    crypto.getRandomValues = (/** @type {any} */ array) =>
      array instanceof Uint32Array && array.length === 1 ? array.fill(++seed) : draw(array)
  })
  const page = context.pages()[0] ?? (await context.newPage())
  const faults = watch(page)
  return {
    context,
    page,
    faults,
    async close() {
      await context.close()
      await rm(profile, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

/**
 * What went wrong on a page, in words: errors of the console, exceptions.
 * @param {import('playwright-core').Page} page @returns {string[]}
 */
export function watch(page) {
  /** @type {string[]} */
  const faults = []
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning')
      faults.push(`${message.type()}: ${message.text()} (${message.location().url})`)
  })
  page.on('pageerror', (error) => faults.push(`exception: ${error.stack ?? error.message}`))
  return faults
}

/** @param {import('playwright-core').Page} page @returns {Promise<string[]>} */
export const violations = (page) => page.evaluate(() => /** @type {any} */ (globalThis).violations)

/**
 * Photographs at three widths in both themes; the page is as before afterwards.
 * @param {import('playwright-core').Page} page
 * @param {string} name
 */
export async function album(page, name) {
  const before = page.viewportSize()
  for (const scheme of /** @type {const} */ (['light', 'dark'])) {
    await page.emulateMedia({ colorScheme: scheme })
    for (const width of [1280, 768, 360]) {
      await page.setViewportSize({ width, height: width === 360 ? 740 : 800 })
      await page.waitForTimeout(120)
      await photograph(page, `${name}-${scheme}-${width}`)
    }
  }
  await page.emulateMedia({ colorScheme: null })
  if (before) await page.setViewportSize(before)
}

/** A photograph for human eyes, in tests/out/. @param {import('playwright-core').Page} page @param {string} name */
export async function photograph(page, name) {
  await mkdir(out, { recursive: true })
  await page.screenshot({ path: join(out, `${name}.png`) })
}
