/*
 * What dispose() gives back in a real Chromium: workers and memory of the renderer, which only the system tells (/proc; the
 * browser names its processes by the DevTools protocol). And a model that was kept loads without a network.
 */
import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { chromium } from 'playwright-core'
import { browserPath } from '../../bench/chromium.mjs'
import { REAL_MODEL, TINY_MODEL } from '../shared/kit.js'
import { serveRepository } from './engine-browser.js'
import { open, watch } from './helper.js'

const MIB = 1048576
/** @type {Awaited<ReturnType<typeof serveRepository>>} */
let site
before(async () => {
  site = await serveRepository()
})
after(() => site?.close())

/** @param {import('playwright-core').Page} page */
async function ready(page) {
  await page.goto(`${site.origin}tests/page/engine.html`)
  await page.waitForFunction(() => typeof (/** @type {any} */ (globalThis).runCase) === 'function')
}

test('after dispose() the workers are gone and the renderer has its memory back', async (t) => {
  const browser = await chromium.launch({
    executablePath: browserPath(),
    headless: true,
    args: ['--no-sandbox', '--disable-gpu'],
  })
  t.after(() => browser.close())
  const page = await browser.newPage()
  const faults = watch(page)
  await ready(page)
  const system = await browser.newBrowserCDPSession()
  const own = await page.context().newCDPSession(page)
  /** Resident bytes and worker threads of all renderers. */
  const look = async () => {
    await own.send('HeapProfiler.collectGarbage')
    const { processInfo } = await system.send('SystemInfo.getProcessInfo')
    let rss = 0
    let threads = 0
    for (const { id } of processInfo.filter((one) => one.type === 'renderer')) {
      rss += Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, 'utf8'))?.[1] ?? 0) * 1024
      for (const task of readdirSync(`/proc/${id}/task`)) {
        if (readFileSync(`/proc/${id}/task/${task}/comm`, 'utf8').startsWith('DedicatedWorker')) threads++
      }
    }
    return { rss, threads, workers: page.workers().length }
  }
  const answer = (/** @type {string} */ path, /** @type {boolean} */ keep) =>
    page.evaluate(async ([model, stay]) => {
      const { nookEnv } = /** @type {any} */ (globalThis)
      const llm = await nookEnv.load({ model: nookEnv.model(model), contextSize: 128, threads: 2 })
      const { choices } = await llm.completions.create({
        prompt: 'The capital of France is',
        max_tokens: 4,
        temperature: 0,
      })
      if (stay === true) /** @type {any} */ (globalThis).kept = llm
      else await llm.dispose()
      return choices[0].text
    }, /** @type {[string, boolean]} */ ([path, keep]))

  await answer(TINY_MODEL, false) /* what a first worker costs for good: code, caches */
  /**
   * Looks until that holds, 10 s at most.
   * @param {(seen: {rss: number, threads: number, workers: number}) => boolean} holds
   */
  const settle = async (holds) => {
    let seen = await look()
    for (let i = 0; i < 100 && !holds(seen); i++) {
      await page.waitForTimeout(100)
      seen = await look()
    }
    return seen
  }
  const empty = await settle(({ threads, workers }) => threads + workers === 0)
  assert.match(await answer(REAL_MODEL, true), /^ Paris/)
  const loaded = await look()
  assert.equal(loaded.workers >= 1, true, 'the engine is a worker of the page')
  assert.ok(loaded.threads >= 2, `the engine and its helper are threads: ${loaded.threads}`)
  assert.ok(loaded.rss - empty.rss > 90 * MIB, `the model is in the renderer: ${(loaded.rss - empty.rss) / MIB} MiB more`)
  await page.evaluate(() => /** @type {any} */ (globalThis).kept.dispose())
  const left = await settle(({ rss, threads, workers }) => threads + workers === 0 && rss < empty.rss + 50 * MIB)
  t.diagnostic(JSON.stringify({ empty, loaded, left }))
  assert.deepEqual([left.workers, left.threads], [0, 0], 'workers of the page, worker threads of the renderer')
  assert.ok(left.rss - empty.rss < 50 * MIB, `${(left.rss - empty.rss) / MIB} MiB stayed`)
  assert.deepEqual(faults, [])
})

test('offline: a model that was kept loads and answers, one that was not is a download error', async (t) => {
  const { context, page, close } = await open()
  t.after(close)
  await ready(page)
  const answer = (/** @type {string} */ path) =>
    page.evaluate(async (model) => {
      const { nookEnv } = /** @type {any} */ (globalThis)
      try {
        const llm = await nookEnv.load({ model: nookEnv.model(model), contextSize: 64, threads: 1, cache: 'opfs' })
        const { usage } = await llm.completions.create({ prompt: 'abc', max_tokens: 3, ignore_end: true })
        await llm.dispose()
        return String(usage.completion_tokens)
      } catch (error) {
        const { code, message, hint } = /** @type {any} */ (error)
        return `${code}: ${message} ${hint}`
      }
    }, path)
  assert.equal(await answer(TINY_MODEL), '3')
  let asked = 0
  await context.route(/\.gguf$/, (route) => {
    asked++
    return route.abort('internetdisconnected')
  })
  assert.equal(await answer(TINY_MODEL), '3', 'the kept one')
  assert.equal(asked, 0, 'nobody was asked for it')
  assert.match(
    await answer('tests/fixtures/tiny/mistral.gguf'),
    /^download: \S*mistral\.gguf cannot be reached\. Check the connection/,
  )
})
