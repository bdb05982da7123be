/*
 * The picker of models: where each is, what it needs, whether this machine has that, in words and numbers.
 */
import test from 'node:test'
import assert from 'node:assert/strict'
import { readFile, readdir, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { open, photograph, root, serve, violations } from './helper.js'

const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js')
const DEFAULT = 'smollm2-135m-instruct-q4_1'

/** @param {string} id */
const card = async (id) => JSON.parse(await readFile(`${root}/models/${id}.json`, 'utf8'))

/**
 * A page on its first visit, with a machine of that much memory and storage.
 * @param {import('node:test').TestContext} t
 * @param {{deviceMemory?: number, free?: number, tab?: number, files?: {name: string, bytes: number}[] | null}} [has]
 * @param {Record<string, any>} [options] of the browser
 */
async function start(t, { deviceMemory = 8, free = 50e9, tab = 4, files } = {}, options = {}) {
  const listed = files === undefined ? {} : { '/models/': JSON.stringify({ files }) }
  const site = await serve({ overlay: /** @type {any} */ (listed) })
  const browser = await open(options)
  t.after(async () => {
    await browser.close()
    await site.close()
  })
  await browser.context.addInitScript(
    (machine) => {
      Object.defineProperty(Navigator.prototype, 'deviceMemory', { get: () => machine.deviceMemory })
      StorageManager.prototype.estimate = async () => ({ quota: machine.free + 1000, usage: 1000 })
      // A tab that is given less, as on a 32-bit system.
      const grow = WebAssembly.Memory.prototype.grow
      WebAssembly.Memory.prototype.grow = function (/** @type {number} */ pages) {
        if ((pages + 1) * 65536 > machine.tab * 1024 ** 3) throw new RangeError('no')
        return grow.call(this, pages)
      }
    },
    { deviceMemory, free, tab }
  )
  await browser.page.goto(site.url)
  await browser.page.locator('h1:visible').first().waitFor()
  return { ...browser, site }
}

/** Opens the fold of the first visit. @param {import('playwright-core').Page} page */
async function unfold(page) {
  await page.locator('.others summary').click()
  await page.locator('.picker li').first().waitFor()
}

/** @param {import('playwright-core').Page} page @param {string} id */
const row = (page, id) => page.locator(`.picker li[data-id="${id}"]`)

/** Rules of axe that fail, in words. @param {import('playwright-core').Page} page @returns {Promise<string[]>} */
async function faultsOfAxe(page) {
  const session = await page.context().newCDPSession(page)
  await session.send('Runtime.evaluate', { expression: await readFile(axe, 'utf8') })
  const { result } = await session.send('Runtime.evaluate', {
    expression: `axe.run(document, { runOnly: ${JSON.stringify(RULES)} }).then((r) => JSON.stringify(
      r.violations.flatMap((v) => v.nodes.map((n) => v.id + ': ' + n.html.slice(0, 160)))))`,
    awaitPromise: true,
    returnByValue: true,
  })
  await session.detach()
  return JSON.parse(result.value)
}

test('models are grouped by where they are, and each says what it needs', { timeout: 120_000 }, async (t) => {
  const { page, faults, site } = await start(t)
  await unfold(page)
  const groups = await page.locator('.picker h3').allInnerTexts()
  assert.deepEqual(groups, ['On this computer', 'On the internet', 'As a file that you bring'])

  // What the server has is what its folder has.
  const names = await readdir(`${root}/models/cache`)
  const sizes = new Map(await Promise.all(names.map(async (name) => /** @type {const} */ ([
    name, (await stat(`${root}/models/cache/${name}`)).size,
  ]))))
  const cards = JSON.parse(await readFile(`${root}/web/app/cards.json`, 'utf8'))
  const there = cards.filter((/** @type {any} */ one) => sizes.get(one.file) === one.bytes)
  const shown = await page.locator('.picker section', { hasText: 'On this computer' }).locator('li').count()
  assert.equal(shown, there.length)
  assert.ok(there.some((/** @type {any} */ one) => one.id === DEFAULT))
  assert.equal(await page.locator('.picker li').count(), cards.length)

  // The number of the sentence is the engine's plan for the room that is set.
  const { memory, bytes, licence } = await card(DEFAULT)
  const need = Math.round((memory.rooms['2048'].total + 8 * 1024 ** 2) / 1e6)
  const text = await row(page, DEFAULT).innerText()
  assert.match(text, new RegExp(`Fits: it needs ${need} MB of memory`))
  assert.match(text, new RegExp(`${Math.round(bytes / 1e6)} MB · Q4_1 · ${licence.spdx}`))
  const machine = await page.locator('.picker > .note').innerText()
  assert.match(machine, /room of 2,048 tokens.*up to 4\.3 GB.*at least 8 GB.*50\.0 GB/s)

  // A model on the internet names its host; one that a person brings is without a link, and says what to do.
  assert.match(await row(page, 'qwen3-0.6b-q8_0').innerText(), /From \S+\.\S+, and only when you ask/)
  assert.match(await row(page, 'pythia-70m-f16').innerText(), /EleutherAI\/pythia-70m.*nook convert/)
  assert.equal(await page.locator('.picker a').count(), 0)
  assert.equal(await row(page, 'pythia-70m-f16').locator('button').count(), 0)
  assert.ok((await row(page, 'pythia-70m-f16').innerText()).includes('goes on with a text'))
  assert.deepEqual(site.requests.filter(({ url }) => /\.gguf$/.test(url)), [], 'looking fetches no model')
  assert.deepEqual(faults, [])
  assert.deepEqual(await violations(page), [])
})

test('what does not fit is told with the reason, and offered with a shorter room where that fits', async (t) => {
  const { page } = await start(t, { deviceMemory: 2, tab: 2 })
  await page.evaluate(() => localStorage.setItem('nook.settings', JSON.stringify({ room: 8192 })))
  await page.reload()
  await unfold(page)
  const stablelm = await row(page, 'stablelm-2-1.6b-q8_0').innerText()
  assert.match(stablelm, /Too large: it needs 2\.\d GB of memory, and a tab gets up to 2\.1 GB here\./)
  const qwen = row(page, 'qwen3-0.6b-q8_0')
  assert.match(await qwen.innerText(), /Tight|Too large/)
  const opt = await row(page, 'opt-125m-f16').innerText()
  assert.match(opt, /Fits: it needs 3\d\d MB/, 'its plan stops at what it was trained with')
  assert.match(await row(page, DEFAULT).innerText(), /Fits: it needs 3\d\d MB/)
})

test('a shorter conversation room is offered by its number, and taken with the model', { timeout: 120_000 }, async (t) => {
  const { page } = await start(t, { deviceMemory: 0.25 })
  await page.evaluate(() => localStorage.setItem('nook.settings', JSON.stringify({ room: 8192 })))
  await page.reload()
  await unfold(page)
  const text = await row(page, DEFAULT).innerText()
  assert.match(text, /Too large: it needs 3\d\d MB of memory, and this machine has about 0\.3 GB/)
  assert.match(text, /With a conversation room of 4,096 tokens it needs 2\d\d MB/)
  await row(page, DEFAULT).getByRole('button', { name: 'With 4,096 tokens: SmolLM2 135M Instruct' }).click()
  await page.waitForFunction(() => JSON.parse(localStorage.getItem('nook.settings') ?? '{}').room === 4096)
  await page.locator('.model-chip:not(.unready)').waitFor({ timeout: 90_000 })
  await page.locator('.model-chip').click()
  assert.match(await page.locator('.pop .facts').innerText(), /4,096 tokens/)
})

test('no room to keep a file is a warning with both numbers, not a refusal', async (t) => {
  const { page } = await start(t, { free: 50e6 })
  await unfold(page)
  const text = await row(page, DEFAULT).innerText()
  assert.match(text, /Fits \(1\d\d MB of memory\), but the browser grants only 50 MB more: it would be fetched each time\./)
  assert.equal(await row(page, DEFAULT).getByRole('button', { name: /^Get it .*SmolLM2/ }).count(), 1)
})

test('a host that lists no files offers what is on the internet, and the rest as files', async (t) => {
  const { page } = await start(t, { files: [{ name: 'pythia-70m.F16.gguf', bytes: 1 }] })
  await unfold(page)
  const own = page.locator('.picker section', { hasText: 'As a file that you bring' })
  assert.equal(await own.locator(`li[data-id="${DEFAULT}"]`).count(), 1, 'it has no address and is not on the host')
  // Its bytes are not known, so any file of that name is it.
  const computer = page.locator('.picker section', { hasText: 'On this computer' })
  assert.equal(await computer.locator('li[data-id="pythia-70m-f16"]').count(), 1)
  const [chooser] = await Promise.all([
    page.waitForEvent('filechooser'),
    own.getByRole('button', { name: 'Pick the file' }).click(),
  ])
  assert.ok(chooser.isMultiple())
})

test('the dialog of all models opens from the header and by Ctrl+K; axe finds nothing; offline is told', async (t) => {
  const { page, context, faults } = await start(t)
  await page.locator('.look').click()
  await page.locator('#composer').waitFor()
  await page.keyboard.press('Control+k')
  await page.keyboard.type('all models')
  await page.keyboard.press('Enter')
  await page.locator('dialog .picker li').first().waitFor()
  for (const scheme of /** @type {const} */ (['light', 'dark'])) {
    await page.emulateMedia({ colorScheme: scheme })
    for (const width of [1280, 768, 360]) {
      await page.setViewportSize({ width, height: width === 360 ? 740 : 800 })
      await page.waitForTimeout(150)
      assert.deepEqual(await faultsOfAxe(page), [], `${scheme}, ${width}`)
      await photograph(page, `models-${scheme}-${width}`)
      const wide = await page.evaluate(() => {
        const box = /** @type {Element} */ (document.querySelector('dialog'))
        return box.scrollWidth - box.clientWidth
      })
      assert.ok(wide <= 0, `nothing scrolls sideways at ${width}`)
    }
  }
  await page.setViewportSize({ width: 1280, height: 800 })
  await context.setOffline(true)
  await page.locator('.picker').getByText('You are offline: these wait').first().waitFor()
  assert.equal(await page.locator('.picker').getByRole('button', { name: /^Get it / }).count(), 0)
  await context.setOffline(false)
  await page.locator('.picker').getByRole('button', { name: /^Get it / }).first().waitFor()
  await page.keyboard.press('Escape')
  assert.equal(await page.locator('dialog').count(), 0)
  await page.locator('.model-chip').click()
  await page.locator('.pop').getByRole('button', { name: 'All models' }).click()
  await page.locator('dialog .picker li').first().waitFor()
  assert.deepEqual(faults, [])
})

test('a model that is chosen is loaded, then kept here and in use; the picker says so', { timeout: 180_000 }, async (t) => {
  const { page, faults } = await start(t)
  await unfold(page)
  await row(page, DEFAULT).getByRole('button', { name: 'Get it (98 MB): SmolLM2 135M Instruct' }).click()
  await page.locator('.model-chip:not(.unready)').waitFor({ timeout: 120_000 })
  await page.locator('.model-chip').click()
  await page.locator('.pop').getByRole('button', { name: 'All models' }).click()
  const kept = page.locator('dialog .picker section', { hasText: 'Kept in this browser' })
  await kept.locator(`li[data-id="${DEFAULT}"]`).waitFor()
  assert.match(await kept.innerText(), /in use/)
  assert.equal(await row(page, DEFAULT).locator('button').count(), 0)
  await photograph(page, 'models-in-use')
  await page.keyboard.press('Escape')
  await page.locator('.model-chip').click()
  await page.getByRole('button', { name: 'Close this model' }).click()
  await page.locator('.model-chip').click()
  await page.locator('.pop').getByRole('button', { name: 'All models' }).click()
  await page.getByRole('button', { name: 'Use it: SmolLM2 135M Instruct' }).click()
  await page.locator('.model-chip:not(.unready)').waitFor({ timeout: 60_000 })
  assert.deepEqual(faults, [])
})
