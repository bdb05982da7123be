/*
 * The tarball in a static page: no bundler, no import map, no isolation headers, in a real headless Chromium; and the same
 * page under a strict Content-Security-Policy and Trusted Types. bench/chromium.mjs has the server and the browser's path.
 */
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import { chromium } from 'playwright-core'
import { browserPath, serve } from '../../bench/chromium.mjs'
import { MODEL, fiveLines, folder, install, pack, root } from './support.mjs'

const work = folder()
const project = join(work, 'project')
/** @type {import('playwright-core').Browser} */
let browser

/** The policy that README.md gives. */
const POLICY = /`(default-src 'none'; script-src [^`]*)`/.exec(readFileSync(join(root, 'README.md'), 'utf8'))?.[1] ?? ''

before(async () => {
  mkdirSync(project)
  install(project, pack(work).path)
  /* The five lines; a page shows instead of printing, and names the module by its path. */
  const five = fiveLines().replace("'nooklm'", "'./node_modules/nooklm/web/index.js'")
  assert.ok(five.includes('./node_modules/'))
  writeFileSync(join(project, 'page.js'), five.replace('console.log(', 'globalThis.told = ('))
  writeFileSync(join(project, 'favicon.ico'), 'none') /* browsers ask for it */
  writeFileSync(
    join(project, 'index.html'),
    '<!doctype html><meta charset="utf-8"><script type="module" src="page.js"></script>',
  )
  browser = await chromium.launch({
    executablePath: browserPath(),
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
  })
})
after(async () => {
  await browser?.close()
  rmSync(work, { recursive: true, force: true })
})

/**
 * Serves the project with a policy on every file (a worker has that of its own file, not the page's), opens the page in a
 * fresh profile and waits for its answer.
 * @param {string} policy
 */
async function answerUnder(policy) {
  const server = await serve({ '/': project }, { policy })
  const context = await browser.newContext()
  try {
    const page = await context.newPage()
    /** @type {string[]} */
    const faults = []
    /** @type {string[]} */
    const asked = []
    page.on('console', (message) => { if (/error|warning/.test(message.type())) faults.push(message.text()) })
    page.on('pageerror', (error) => faults.push(String(error)))
    page.on('request', (request) => asked.push(request.url()))
    await page.goto(`${server.origin}/index.html`)
    await page.waitForFunction(() => 'told' in globalThis, undefined, { timeout: 120_000 }).catch((error) => {
      throw new Error(`${error.message}\n${faults.join('\n')}`)
    })
    const told = await page.evaluate(() => /** @type {any} */ (globalThis).told)
    const isolated = await page.evaluate(() => globalThis.crossOriginIsolated)
    const foreign = asked.filter((url) => !url.startsWith(`${server.origin}/`))
    return { told: String(told), faults, foreign, isolated }
  } finally {
    await context.close()
    await server.close()
  }
}

for (const [what, policy] of /** @type {const} */ ([
  ['a static page without a bundler imports the package and answers', ''],
  ['the same page answers under the policy that the README gives', POLICY],
  ['the same page answers under Trusted Types', `${POLICY}; require-trusted-types-for 'script'; trusted-types nook`],
])) {
  test(what, async () => {
    assert.ok(POLICY.includes("'wasm-unsafe-eval'"), 'README.md gives a policy')
    const { told, faults, foreign, isolated } = await answerUnder(policy)
    assert.match(told, /gravity/i)
    assert.deepEqual(faults, [], 'nothing is said on the console')
    assert.equal(isolated, false, 'no isolation headers were sent')
    assert.deepEqual(foreign, [], 'no other host was asked')
  })
}

test('a policy that forbids WebAssembly is told as such, with what to write', async () => {
  writeFileSync(join(project, 'page.js'), `import { load } from './node_modules/nooklm/web/index.js'
globalThis.told = await load({ model: 'models/cache/none.gguf', cache: 'memory' }).then(() => 'it loaded',
  (error) => error.code + ': ' + error.message + ' ' + error.hint)
`)
  symlinkSync(join(root, MODEL), join(project, 'models/cache/none.gguf'))
  const { told } = await answerUnder(POLICY.replace(" 'wasm-unsafe-eval'", ''))
  assert.match(told, /^unsupported: .*wasm-unsafe-eval/)
})
