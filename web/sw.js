/*
 * sw.js: offline use of the page, and the headers that threads need where a host does not send them.
 *
 * Purpose  Keeps the page, the engine's client and its WebAssembly, by the list in precache.js (tools/precache.mjs writes
 *          it, with a SHA-256 for each file). What is on the list is answered from the store and never from the network;
 *          what is not (model files) goes to the network untouched, and is reported, so that the page can count it.
 * Place    At the root of the site, not beside the page: a service worker serves what lies below it, and the engine's
 *          workers lie beside the page, not in it.
 * Limits   A new version waits until no tab of the old one is open. Models are not kept here; the engine's client does
 *          that.
 */
/** The scope of a service worker, which the type checker's library of pages does not have. @type {any} */
const worker = globalThis
/** Under Trusted Types an address of a script has to be vouched for; this one is fixed. */
const trusted = worker.trustedTypes?.createPolicy('nook', { createScriptURL: (/** @type {string} */ url) => url })
worker.importScripts(trusted ? trusted.createScriptURL('precache.js') : 'precache.js')

/** @type {{version: string, files: Record<string, string>}} path below this script → SHA-256 in hex */
const { version, files } = worker.NOOK_PRECACHE
const root = new URL('./', worker.location.href)
const store = `nook-${root.pathname}-${version}`
const channel = new BroadcastChannel('nook.network')

worker.addEventListener('install', (/** @type {any} */ event) => event.waitUntil(keepAll()))

worker.addEventListener('activate', (/** @type {any} */ event) =>
  event.waitUntil(forgetOld().then(() => worker.clients.claim()))
)

worker.addEventListener('fetch', (/** @type {any} */ event) => {
  const { request } = event
  const url = new URL(request.url)
  const path = request.method === 'GET' && url.origin === root.origin && !request.headers.has('range') ? pathOf(url) : null
  if (path !== null) event.respondWith(answer(path, request))
  else if (/^https?:$/.test(url.protocol)) report(url)
})

/** The path on the list that this address means, or null. @param {URL} url */
function pathOf(url) {
  if (!url.pathname.startsWith(root.pathname)) return null
  const path = decodeURIComponent(url.pathname.slice(root.pathname.length))
  if (path === '' || path === 'app' || path === 'app/') return 'app/index.html'
  return Object.hasOwn(files, path) ? path : null
}

/** @param {string} path @param {Request} request */
async function answer(path, request) {
  const cache = await caches.open(store)
  const kept = await cache.match(new URL(path, root))
  if (kept) return kept
  // The browser threw it away: the network, once, if there is one.
  report(new URL(request.url))
  return withHeaders(await fetch(request))
}

/** All files of the list, each checked by its hash; those that did not change are taken from the store before. */
async function keepAll() {
  const cache = await caches.open(store)
  const all = await Promise.allSettled(
    Object.entries(files).map(async ([path, sha256]) => {
      const url = new URL(path, root)
      const before = await caches.match(url)
      if (before && (await hashOf(before.clone())) === sha256) return cache.put(url, before)
      const response = await fetch(url, { cache: 'no-cache' })
      if (!response.ok) throw new Error(`${path} was answered with ${response.status}`)
      if ((await hashOf(response.clone())) !== sha256) throw new Error(`${path} is not the file of the list`)
      return cache.put(url, await withHeaders(response))
    })
  )
  const failed = all.find((one) => one.status === 'rejected')
  if (!failed) return
  // Half a page is no page: nothing of it stays.
  await caches.delete(store)
  throw failed.reason
}

async function forgetOld() {
  const prefix = `nook-${root.pathname}-`
  for (const name of await caches.keys()) if (name.startsWith(prefix) && name !== store) await caches.delete(name)
}

/** @param {Response} response */
async function hashOf(response) {
  const digest = await crypto.subtle.digest('SHA-256', await response.arrayBuffer())
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** The response with the headers that make the page cross-origin isolated. @param {Response} response */
async function withHeaders(response) {
  const headers = new Headers(response.headers)
  headers.set('Cross-Origin-Opener-Policy', 'same-origin')
  headers.set('Cross-Origin-Embedder-Policy', 'require-corp')
  headers.set('Cross-Origin-Resource-Policy', 'same-origin')
  headers.delete('Content-Encoding')
  headers.delete('Content-Length')
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers })
}

/** @param {URL} url */
function report(url) {
  channel.postMessage({ url: url.href, time: Date.now() })
}
