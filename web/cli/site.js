/*
 * site.js: the static server of the page.
 *
 * Serves   / → /app/ (the page) · everything of web/ that a browser needs · /models/NAME: model cards, and files of
 *          models/cache · /models/: {files: [{name, bytes}]} of models/cache, so that the page knows what it can have here
 *          (the header Nook-Models of the page's cards tells it where to ask).
 * Headers  COOP, COEP and CORP (cross-origin isolation: shared memory for threads), a Content-Security-Policy without eval,
 *          inline code or foreign scripts, nosniff, no referrer. Static files: ETag and no-cache, so that a reload is
 *          answered by 304. Model files: Range requests and ETag, so that a broken download goes on.
 * Limits   GET and HEAD. A path that leaves the served folders, by dots, encoding or links, is 404 (links of models/cache
 *          are set-up's own); names that begin with a dot too.
 */
import { createReadStream, readdirSync, realpathSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname, join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { NookError } from '../errors.js'

const TYPES = /** @type {Record<string, string>} */ ({
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.wasm': 'application/wasm',
  '.webmanifest': 'application/manifest+json',
  '.txt': 'text/plain; charset=utf-8',
  '.ts': 'text/plain; charset=utf-8',
  '.gguf': 'application/octet-stream',
  '.map': 'application/json; charset=utf-8',
})

/* connect-src: models come from wherever a person points; everything else is this origin. */
export const CONTENT_SECURITY_POLICY = [
  "default-src 'none'", "script-src 'self' 'wasm-unsafe-eval'", "worker-src 'self'", "style-src 'self'",
  "img-src 'self' blob: data:", "connect-src 'self' https:", "manifest-src 'self'", "base-uri 'none'", "form-action 'none'",
  "frame-ancestors 'none'", "require-trusted-types-for 'script'", 'trusted-types dompurify nook',
].join('; ')

/**
 * The server, not listening yet.
 * @param {{web?: string, models?: string}} [folders] default: those of this package
 * @returns {import('node:http').Server}
 */
export function createSite(folders = {}) {
  const web = folders.web ?? fileURLToPath(new URL('../', import.meta.url))
  const models = folders.models ?? fileURLToPath(new URL('../../models/', import.meta.url))
  return createServer((request, response) => {
    const headers = /** @type {Record<string, string>} */ ({
      'Cross-Origin-Opener-Policy': 'same-origin',
      'Cross-Origin-Embedder-Policy': 'require-corp',
      'Cross-Origin-Resource-Policy': 'same-origin',
      'Content-Security-Policy': CONTENT_SECURITY_POLICY,
      'X-Content-Type-Options': 'nosniff',
      'Referrer-Policy': 'no-referrer',
    })
    const refuse = (
      /** @type {number} */ status,
      /** @type {string} */ text,
      /** @type {Record<string, string>} */ more = {},
    ) => {
      response.writeHead(status, {
        ...headers,
        'Content-Type': 'text/plain; charset=utf-8',
        'Cache-Control': 'no-store',
        ...more,
      })
      response.end(request.method === 'HEAD' ? undefined : `${text}\n`)
    }
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return refuse(405, 'GET and HEAD only.', { Allow: 'GET, HEAD' })
    const path = decodePath(request.url ?? '/')
    if (path === null) return refuse(400, 'This is not a path.')
    if (path === '/' || path === '/app') {
      response.writeHead(302, { ...headers, Location: '/app/', 'Cache-Control': 'no-store' })
      return response.end()
    }
    if (path === '/models/') {
      response.writeHead(200, { ...headers, 'Content-Type': TYPES['.json'], 'Cache-Control': 'no-store' })
      return response.end(request.method === 'HEAD' ? undefined : JSON.stringify({ files: listModels(models) }))
    }
    if (path === '/app/cards.json') headers['Nook-Models'] = '/models/'
    const file = find(path, web, models)
    if (file === null) return refuse(404, `There is nothing at ${path}.`)
    send(request, response, file, headers, refuse)
    return undefined
  })
}

/** The path of a request, decoded once; null when it is none. @param {string} url @returns {string | null} */
function decodePath(url) {
  try {
    const path = decodeURIComponent(url.replace(/[?#].*$/s, ''))
    return path.startsWith('/') && !path.includes('\0') && !path.includes('\\') ? path : null
  } catch {
    return null
  }
}

/** The model files that are served. @param {string} models @returns {{name: string, bytes: number}[]} */
function listModels(models) {
  const folder = join(models, 'cache')
  try {
    return readdirSync(folder)
      .filter((name) => /^[^.].*\.gguf$/i.test(name))
      .map((name) => ({ name, facts: statSync(join(folder, name), { throwIfNoEntry: false }) }))
      .flatMap(({ name, facts }) => (facts?.isFile() ? [{ name, bytes: facts.size }] : []))
  } catch {
    return [] /* nothing was fetched yet */
  }
}

/**
 * The file that a path names, inside the served folders, or null.
 * @param {string} path @param {string} web @param {string} models
 * @returns {{name: string, size: number, mtime: number} | null}
 */
function find(path, web, models) {
  const parts = path.split('/').slice(1)
  if (parts[parts.length - 1] === '') parts[parts.length - 1] = 'index.html'
  if (parts.some((part) => part === '' || part.startsWith('.'))) return null
  /* Set-up links the files of models/cache to a cache that all clones share: a link there is one of ours; the path is one
     name. */
  /** @type {[string, string[], boolean][]} */
  const places =
    parts[0] === 'models'
      ? parts.length === 2
        ? [
            [join(models, 'cache'), parts.slice(1), true],
            [models, parts.slice(1).filter((part) => part.endsWith('.json')), false],
          ]
        : []
      : [[web, parts, false]]
  for (const [root, below, links] of places) {
    if (below.length === 0) continue
    try {
      const base = realpathSync(root)
      const name = realpathSync(join(base, ...below))
      if (!links && !name.startsWith(base + sep)) continue
      const facts = statSync(name)
      if (facts.isFile()) return { name, size: facts.size, mtime: facts.mtimeMs }
    } catch { /* not here */ }
  }
  return null
}

/**
 * @param {import('node:http').IncomingMessage} request @param {import('node:http').ServerResponse} response
 * @param {{name: string, size: number, mtime: number}} file @param {Record<string, string>} headers
 * @param {(status: number, text: string, more?: Record<string, string>) => void} refuse
 */
function send(request, response, file, headers, refuse) {
  const etag = `"${file.size.toString(16)}-${Math.floor(file.mtime).toString(16)}"`
  const common = {
    ...headers,
    ETag: etag,
    'Last-Modified': new Date(file.mtime).toUTCString(),
    'Cache-Control': 'no-cache',
    'Accept-Ranges': 'bytes',
    'Content-Type': TYPES[extname(file.name).toLowerCase()] ?? 'application/octet-stream',
  }
  const known = request.headers['if-none-match']
  if (known !== undefined && known.split(',').some((one) => one.trim().replace(/^W\//, '') === etag)) {
    response.writeHead(304, common)
    response.end()
    return
  }
  let start = 0
  let end = file.size - 1
  let status = 200
  const condition = request.headers['if-range']
  const range = condition === undefined || condition === etag ? request.headers.range : undefined
  if (range !== undefined) {
    const match = /^bytes=(\d*)-(\d*)$/.exec(range.trim()) /* one range; a list is answered whole, as RFC 9110 allows */
    if (match !== null && (match[1] !== '' || match[2] !== '')) {
      if (match[1] === '') start = Math.max(0, file.size - Number(match[2]))
      else {
        start = Number(match[1])
        if (match[2] !== '') end = Math.min(end, Number(match[2]))
      }
      if (start > end || start >= file.size)
        return refuse(416, 'There are no such bytes.', { 'Content-Range': `bytes */${file.size}` })
      status = 206
    }
  }
  const length = file.size === 0 ? 0 : end - start + 1
  response.writeHead(status, {
    ...common,
    'Content-Length': String(length),
    ...(status === 206 ? { 'Content-Range': `bytes ${start}-${end}/${file.size}` } : {}),
  })
  if (request.method === 'HEAD' || length === 0) {
    response.end()
    return
  }
  const stream = createReadStream(file.name, { start, end })
  stream.on('error', () => response.destroy())
  response.on('close', () => stream.destroy())
  stream.pipe(response)
}

/**
 * Listens, on another port when the wished one is in use.
 * @param {import('node:http').Server} server @param {number} port @param {string} host
 * @returns {Promise<string>} the address
 */
export async function listen(server, port, host) {
  for (let attempt = 0; ; attempt++) {
    const wished = port === 0 || attempt >= 20 ? 0 : port + attempt
    try {
      await new Promise((resolve, reject) => {
        server.once('error', reject)
        server.listen(wished, host, () => {
          server.off('error', reject)
          resolve(undefined)
        })
      })
      break
    } catch (error) {
      const { code, message } = /** @type {NodeJS.ErrnoException} */ (error)
      if (code === 'EADDRINUSE' && wished !== 0) continue
      throw new NookError('data', `Nothing can be served at ${host}:${wished}: ${message}.`, {
        cause: error, hint: code === 'EACCES' ? 'Take a port above 1023.' : 'Check --host and --port.',
      })
    }
  }
  const bound = /** @type {import('node:net').AddressInfo} */ (server.address())
  return `http://${host.includes(':') ? `[${host}]` : host === '127.0.0.1' ? 'localhost' : host}:${bound.port}/`
}
