/*
 * engine-browser.js: runs the cases of tests/shared in a page of a real Chromium. The repository is served by the server of
 * `nook serve`: its policy (no eval, trusted types), COOP and COEP, so that threads and shared memory are the page's.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { join } from 'node:path'
import { createSite, listen } from '../../web/cli/site.js'
import { keepFigures, nodeEnv } from '../node/engine-env.js'
import { open, root, violations } from './helper.js'

/** Serves the repository. @returns {Promise<{origin: string, close: () => Promise<unknown>}>} */
export async function serveRepository() {
  const site = createSite({ web: root, models: join(root, 'models') })
  const origin = await listen(site, 0, '127.0.0.1')
  return {
    origin,
    close: () =>
      new Promise((resolve) => {
        site.closeAllConnections()
        site.close(resolve)
      }),
  }
}

/**
 * One test for each case of a module, in one page; what a case returns is told and kept. The console must stay empty and
 * the policy unbroken.
 * @param {string} module of tests/shared
 * @param {{only?: (name: string) => boolean, figures?: string}} [options] figures: a file of tests/out
 * @returns {Promise<{page: () => import('playwright-core').Page}>} the page, for further tests of the same file
 */
export async function runInChromium(module, options = {}) {
  /** @type {Awaited<ReturnType<typeof open>>} */
  let browser
  /** @type {Awaited<ReturnType<typeof serveRepository>>} */
  let site
  before(async () => {
    site = await serveRepository()
    browser = await open()
    await browser.page.goto(`${site.origin}tests/page/engine.html`)
    await browser.page.waitForFunction(() => typeof (/** @type {any} */ (globalThis).runCase) === 'function')
    assert.equal(await browser.page.evaluate(() => globalThis.crossOriginIsolated), true, 'threads need isolation')
  })
  after(async () => {
    await browser?.close()
    await site?.close()
  })
  const { cases } = await import(`../shared/${module}.js`)
  const names = Object.keys(await cases(nodeEnv)).filter(options.only ?? (() => true))
  assert.ok(names.length > 0, `${module}.js has no case for Chromium`)
  for (const name of names) {
    test(name, async (t) => {
      const { page, faults } = browser
      faults.length = 0
      const figures = await page.evaluate(
        ([file, one]) => /** @type {any} */ (globalThis).runCase(file, one),
        [module, name],
      )
      /* A request that is meant to fail shows in the console, whatever the page does. */
      const expected = / (missing|offline)\b/.test(name) ? /Failed to load resource/ : /^$/
      assert.deepEqual(
        faults.filter((fault) => !expected.test(fault)),
        [],
        'the console stays empty',
      )
      assert.deepEqual(await violations(page), [], 'the policy is kept')
      if (figures === null) return
      t.diagnostic(JSON.stringify(figures))
      if (options.figures !== undefined) keepFigures(options.figures, 'chromium', name, figures)
    })
  }
  return { page: () => browser.page }
}
