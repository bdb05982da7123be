/*
 * The page without a model: landmarks, keys, focus, widths, the policy, and what it does offline.
 */
import test from 'node:test'
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { HEADERS, open, photograph, serve, violations, watch } from './helper.js'

const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js')

/**
 * A page of its own for each test.
 * @param {import('node:test').TestContext} t
 * @param {Record<string, any>} [options]
 * @param {Parameters<typeof serve>[0]} [server]
 */
async function start(t, options, server) {
  const site = await serve(server)
  const browser = await open(options)
  t.after(async () => {
    await browser.close()
    await site.close()
  })
  await browser.page.goto(site.url)
  await browser.page.locator('h1:visible').first().waitFor()
  return { ...browser, site }
}

/** Into the empty chat without a model. @param {import('playwright-core').Page} page */
async function lookAround(page) {
  await page.locator('.look').click()
  await page.locator('#composer').waitFor()
}

/** Rules of axe that fail, in words. @param {import('playwright-core').Page} page @returns {Promise<string[]>} */
async function faultsOfAxe(page) {
  const source = await readFile(axe, 'utf8')
  // Through the debugger: the page's own policy forbids foreign scripts.
  const session = await page.context().newCDPSession(page)
  await session.send('Runtime.evaluate', { expression: source })
  const { result } = await session.send('Runtime.evaluate', {
    expression: `axe.run(document, { runOnly: ${JSON.stringify(RULES)} }).then((r) => JSON.stringify(
      r.violations.flatMap((v) => v.nodes.map((n) => v.id + ': ' + n.html.slice(0, 160)))))`,
    awaitPromise: true,
    returnByValue: true,
  })
  await session.detach()
  return JSON.parse(result.value)
}

test('the first visit says what it is, the size, and how long it takes, before anything is fetched', async (t) => {
  const { page, site, faults } = await start(t)
  assert.equal(await page.locator('h1:visible').count(), 1)
  assert.match(await page.locator('h1:visible').innerText(), /lives in this tab/)
  await page.getByRole('button', { name: /Get the model \(\d+ MB\)/ }).waitFor()
  await page.getByRole('button', { name: 'I have a model file' }).waitFor()
  assert.match(await page.locator('.first .offer').innerText(), /from this computer: a few seconds/)
  assert.deepEqual(
    site.requests.filter(({ url }) => /^\/models\/./.test(url)) /* the list of what the server has is none */,
    [],
    'no model is fetched unasked'
  )
  assert.deepEqual(faults, [])
  assert.deepEqual(await violations(page), [])
})

test('where the network is slow the time is told before the download', async (t) => {
  const { page } = await start(
    t,
    {},
    {
      overlay: {
        '/app/models.js': (await readFile(new URL('../../web/app/models.js', import.meta.url), 'utf8'))
          .replace(/export const onThisMachine.*/, 'export const onThisMachine = () => false')
          .replace('if (first && !onThisMachine())', 'if (false)'),
      },
    }
  )
  await page.evaluate(() =>
    Object.defineProperty(Object.getPrototypeOf(/** @type {any} */ (navigator).connection), 'downlink', { get: () => 2 })
  )
  await page.reload()
  await page.locator('.first .offer .note').first().waitFor()
  assert.match(
    await page.locator('.first .offer').innerText(),
    /98 MB,.*(about \d+ (s|min) on this connection|kept in this browser)/s
  )
})

test('landmarks, one heading, names for every control, nothing that axe finds: each room, theme and width', async (t) => {
  const { page, faults } = await start(t)
  for (const scheme of /** @type {const} */ (['light', 'dark'])) {
    await page.emulateMedia({ colorScheme: scheme })
    for (const width of [1280, 768, 360]) {
      await page.setViewportSize({ width, height: 800 })
      await page.waitForTimeout(250) /* colours on their way have no contrast yet */
      assert.deepEqual(await faultsOfAxe(page), [], `first visit, ${scheme}, ${width}`)
      await photograph(page, `first-${scheme}-${width}`)
    }
  }
  await lookAround(page)
  for (const scheme of /** @type {const} */ (['light', 'dark'])) {
    await page.emulateMedia({ colorScheme: scheme })
    for (const width of [1280, 768, 360]) {
      await page.setViewportSize({ width, height: 800 })
      for (const room of ['chat', 'settings']) {
        await page.evaluate((to) => (location.hash = `#/${to}`), room)
        await page.locator(`.room.${room}`).waitFor()
        await page.waitForTimeout(250)
        assert.deepEqual(await faultsOfAxe(page), [], `${room}, ${scheme}, ${width}`)
        await photograph(page, `${room}-empty-${scheme}-${width}`)
        assert.equal(await page.locator('h1:visible').count(), 1, `${room} has one heading`)
      }
    }
  }
  for (const role of /** @type {const} */ (['banner', 'navigation', 'main', 'status'])) {
    assert.ok((await page.getByRole(role).count()) > 0, `there is a ${role}`)
  }
  assert.deepEqual(faults, [])
  assert.deepEqual(await violations(page), [])
})

test('nothing scrolls sideways at 320 px and at 400 % zoom, and everything can be reached', async (t) => {
  const { page } = await start(t, { viewport: { width: 320, height: 640 } })
  const wide = () =>
    page.evaluate(() =>
      [...document.querySelectorAll('body *')]
        .filter(
          (e) =>
            e.checkVisibility() &&
            !e.closest('.hidden-text, .skip, .symbols, pre, .scroll-x, .toasts, .list:not(.list-open .list)')
        )
        .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && e.getBoundingClientRect().width > 0)
        .map((e) => `${e.tagName}.${e.className} ${Math.round(e.getBoundingClientRect().right)}`)
    )
  assert.deepEqual(await wide(), [], 'first visit')
  await lookAround(page)
  assert.deepEqual(await wide(), [], 'chat')
  await page.evaluate(() => (location.hash = '#/settings'))
  await page.locator('.settings-page').waitFor()
  assert.deepEqual(await wide(), [], 'settings')
  // 1280 × 1024 at 400 %.
  await page.setViewportSize({ width: 320, height: 256 })
  await page.evaluate(() => (location.hash = '#/chat'))
  await page.locator('#composer').scrollIntoViewIfNeeded()
  assert.deepEqual(await wide(), [], 'chat at 400 %')
  await page.locator('#composer').fill('reachable')
  await page.locator('.rail a').last().scrollIntoViewIfNeeded()
  assert.ok(await page.locator('.rail a').last().isVisible())
  await photograph(page, 'zoom-400')
})

test('targets are at least 32 px, and 44 px under a finger', async (t) => {
  const { page } = await start(t)
  await lookAround(page)
  const small = (/** @type {number} */ least) =>
    page.evaluate(
      (min) =>
        [
          ...document.querySelectorAll(
            'button, a.conversation, .rail a, input:not([type=radio]):not([type=checkbox]), select, textarea'
          ),
        ]
          .filter((e) => e.checkVisibility({ visibilityProperty: true }) && !e.matches('.button.link'))
          .map((e) => ({ name: e.className || e.id, box: e.getBoundingClientRect() }))
          .filter(({ box }) => box.width > 0 && (box.height < min - 0.5 || box.width < min - 0.5))
          .map(({ name, box }) => `${name} ${Math.round(box.width)}×${Math.round(box.height)}`),
      least
    )
  assert.deepEqual(await small(32), [])
  const session = await page.context().newCDPSession(page)
  await session.send('Emulation.setEmulatedMedia', {
    features: [
      { name: 'pointer', value: 'coarse' },
      { name: 'hover', value: 'none' },
    ],
  })
  const isCoarse = await page.evaluate(() => matchMedia('(pointer: coarse)').matches)
  if (!isCoarse) await session.send('Emulation.setTouchEmulationEnabled', { enabled: true, maxTouchPoints: 5 })
  assert.equal(await page.evaluate(() => matchMedia('(pointer: coarse)').matches), true, 'the finger is emulated')
  await page.waitForTimeout(200)
  assert.deepEqual(await small(44), [])
})

test('a keyboard alone goes from the skip link to every room, the dialogs, and back', async (t) => {
  const { page } = await start(t)
  const focused = () =>
    page.evaluate(
      () => document.activeElement?.id || document.activeElement?.className || document.activeElement?.tagName || ''
    )
  await page.keyboard.press('Tab')
  assert.equal(await focused(), 'skip')
  // From the first visit: Tab to "Look around first", by name.
  for (let i = 0; i < 20 && !(await focused()).includes('look'); i++) await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await page.waitForTimeout(100)
  assert.equal(await focused(), 'composer', 'looking around begins in the message box')
  await page.keyboard.press('Escape')
  await page.evaluate(() => /** @type {HTMLElement} */ (document.activeElement).blur())
  await page.keyboard.press('g')
  await page.keyboard.press('s')
  await page.locator('.settings-page').waitFor()
  await page.waitForTimeout(100)
  assert.equal(
    await page.evaluate(() => document.activeElement?.tagName),
    'H1',
    'the heading has the focus after a change of room'
  )
  await page.keyboard.press('g')
  await page.keyboard.press('c')
  await page.locator('#composer').waitFor()
  await page.waitForTimeout(100)
  assert.equal(await page.evaluate(() => document.activeElement?.tagName), 'H1')
  await page.keyboard.press('/')
  assert.equal(await focused(), 'composer')
  await page.keyboard.type('/?gj')
  assert.equal(await page.inputValue('#composer'), '/?gj', 'single keys are letters in a field')
  await page.fill('#composer', '')
  await page.keyboard.press('Control+/')
  await page.locator('dialog[open] .key-list').waitFor()
  await page.keyboard.press('Escape')
  await page.locator('dialog[open]').waitFor({ state: 'detached' })
  assert.equal(await focused(), 'composer', 'the dialog gives the focus back')
  await page.keyboard.press('Control+k')
  await page.keyboard.type('dark')
  await page.keyboard.press('Enter')
  await page.waitForFunction(() => document.documentElement.dataset.theme === 'dark')
})

test('single keys can be switched off', async (t) => {
  const { page } = await start(t)
  await lookAround(page)
  await page.evaluate(() => (location.hash = '#/settings/keys'))
  await page.getByLabel(/Single keys act/).uncheck()
  await page.evaluate(() => /** @type {HTMLElement} */ (document.activeElement).blur())
  await page.keyboard.press('?')
  await page.keyboard.press('g')
  await page.keyboard.press('c')
  await page.waitForTimeout(200)
  assert.equal(await page.locator('dialog[open]').count(), 0)
  assert.match(page.url(), /settings/)
  await page.keyboard.press('Control+/')
  await page.locator('dialog[open]').waitFor()
})

test('keys of the browser are never bound', async () => {
  const text = await readFile(new URL('../../web/app/keys.js', import.meta.url), 'utf8')
  const bound = [...text.matchAll(/\{ id: .*?\}/g)].map(([row]) => row)
  assert.ok(bound.length > 15)
  for (const row of bound) {
    if (/mod: true/.test(row) && !/shift: true/.test(row)) assert.doesNotMatch(row, /code: '[rltwpnfsd1-9]'/i, row)
    assert.doesNotMatch(row, /code: 'F[56]'/, row)
  }
})

test('the message box: Enter sends, but not while an input method composes', async (t) => {
  const { page } = await start(t)
  await lookAround(page)
  await page.fill('#composer', 'にほんご')
  const press = (/** @type {object} */ init) =>
    page.evaluate((how) => {
      const box = /** @type {HTMLElement} */ (document.getElementById('composer'))
      box.focus()
      box.dispatchEvent(
        new KeyboardEvent('keydown', { key: 'Enter', code: 'Enter', bubbles: true, cancelable: true, ...how })
      )
    }, init)
  await press({ isComposing: true })
  await press({ keyCode: 229 })
  await page.waitForTimeout(150)
  assert.equal(await page.locator('.message').count(), 0, 'nothing was sent')
  assert.equal(await page.inputValue('#composer'), 'にほんご')
  await press({ shiftKey: true })
  assert.equal(await page.locator('.message').count(), 0, 'Shift and Enter is a new line')
  await press({})
  await page.locator('.message.user').waitFor()
  assert.equal(await page.inputValue('#composer'), '')
})

test('a message without a model is kept, says so, and is still there after a reload', async (t) => {
  const { page, faults } = await start(t)
  await lookAround(page)
  await page.fill('#composer', 'Keep this sentence.')
  await page.keyboard.press('Enter')
  await page.locator('.waiting').waitFor()
  assert.match(await page.locator('.waiting').innerText(), /No model is loaded\. Your message is kept/)
  await page.reload()
  await page.locator('.message.user').waitFor()
  assert.equal(await page.locator('.message.user .own').innerText(), 'Keep this sentence.')
  await page.fill('#composer', 'a draft')
  await page.reload()
  await page.locator('.message.user').waitFor()
  assert.equal(await page.inputValue('#composer'), 'a draft', 'what was typed and not sent is kept too')
  assert.deepEqual(faults, [])
})

test('delete has an undo, and another one in Settings for a day', async (t) => {
  const { page } = await start(t)
  await lookAround(page)
  await page.fill('#composer', 'To be deleted')
  await page.keyboard.press('Enter')
  await page.locator('.conversation').waitFor()
  await page.keyboard.press('Escape')
  await page.locator('.conversation').focus()
  await page.keyboard.press('Delete')
  await page.locator('.conversation').waitFor({ state: 'detached' })
  await page.locator('.toast').getByRole('button', { name: 'Undo' }).click()
  await page.locator('.conversation').waitFor()
  assert.equal(await page.locator('.message.user .own').innerText(), 'To be deleted')
  await page.locator('.list li').hover()
  await page.getByRole('button', { name: /^Delete “To be deleted”/ }).click()
  await page.locator('.toast').waitFor()
  await page.reload()
  await page.locator('h1:visible').waitFor()
  await page.evaluate(() => (location.hash = '#/settings'))
  await page.getByRole('button', { name: /^Put back/ }).click()
  await page.evaluate(() => (location.hash = '#/chat'))
  await page.locator('.conversation').waitFor()
})

test('search finds what was written, in any letter case, and opens it there', async (t) => {
  const { page } = await start(t)
  await lookAround(page)
  for (const text of ['A letter about Zürich and trains', 'Something else entirely']) {
    await page.getByRole('link', { name: 'New conversation' }).click()
    await page.fill('#composer', text)
    await page.keyboard.press('Enter')
    await page.locator('.message.user').getByText(text).waitFor()
    await page.locator('.waiting').waitFor() /* before, there is nothing to stop */
    await page.keyboard.press('Escape')
    await page.locator('.waiting').waitFor({ state: 'detached' })
  }
  await page.getByLabel('Search conversations').fill('zurich LETTER')
  await page.waitForFunction(() => document.querySelectorAll('.conversation').length === 1)
  assert.equal((await page.locator('.conversation mark').innerText()).toLowerCase(), 'zürich')
  await page.locator('.conversation').click()
  await page.locator('.message.found').waitFor()
  await page.getByLabel('Search conversations').fill('no such word')
  assert.match(await page.locator('.found').first().innerText(), /Nothing found/)
})

test('everything can be exported, imported beside what is there, and erased after typing the word', async (t) => {
  const { page } = await start(t)
  await lookAround(page)
  await page.fill('#composer', 'An exported sentence')
  await page.keyboard.press('Enter')
  await page.locator('.conversation').waitFor()
  await page.evaluate(() => (location.hash = '#/settings/data'))
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'Export conversations' }).click(),
  ])
  const path = await download.path()
  const data = JSON.parse(await readFile(path, 'utf8'))
  assert.equal(data.format, 'nook-conversations')
  assert.equal(data.conversations[0].messages[0].text, 'An exported sentence')

  const put = async (/** @type {string} */ name, /** @type {string} */ text) => {
    const [chooser] = await Promise.all([
      page.waitForEvent('filechooser'),
      page.getByRole('button', { name: 'Import conversations' }).click(),
    ])
    await chooser.setFiles({ name, mimeType: 'application/json', buffer: Buffer.from(text) })
    await page.waitForTimeout(300)
    return page.locator('.result').innerText()
  }
  assert.match(await put('broken.json', '{"format": '), /not an export/)
  assert.match(await put('other.json', '[1,2]'), /not an export/)
  const circle = structuredClone(data)
  circle.conversations[0].messages[0].parent = circle.conversations[0].messages[0].id
  assert.match(await put('circle.json', JSON.stringify(circle)), /1 was not readable/)
  assert.match(await put('good.json', JSON.stringify(data)), /^1 conversation imported/)
  await page.evaluate(() => (location.hash = '#/chat'))
  await page.waitForFunction(() => document.querySelectorAll('.conversation').length === 2)

  await page.evaluate(() => (location.hash = '#/settings/data'))
  await page.getByRole('button', { name: 'Erase everything' }).click()
  const yes = page.locator('dialog').getByRole('button', { name: 'Erase everything' })
  assert.equal(await yes.isDisabled(), true)
  await page.keyboard.type('erase')
  await Promise.all([page.waitForEvent('load'), yes.click()])
  await page.locator('.look').waitFor()
  const left = await page.evaluate(async () => ({
    databases: (await indexedDB.databases()).length,
    keys: Object.keys(localStorage).filter((key) => key.startsWith('nook.') && key !== 'nook.looked'),
  }))
  assert.deepEqual(left.keys, [])
  assert.equal(await page.locator('.conversation').count(), 0)
})

test('after the first visit the page opens without any network, and says so', async (t) => {
  const { page, site, context, faults } = await start(t)
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null)
  await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined))
  await context.setOffline(true)
  await site.close()
  await page.reload()
  await page.locator('.look').waitFor()
  assert.match(await page.locator('.notices').innerText(), /You are offline\. Everything you have here works\./)
  await lookAround(page)
  await page.evaluate(() => (location.hash = '#/settings'))
  await page.locator('.settings-page table').waitFor()
  assert.deepEqual(
    faults.filter((fault) => !/ERR_(INTERNET_DISCONNECTED|CONNECTION_REFUSED)/.test(fault)),
    []
  )
})

test('on a host without the headers, the second visit is cross-origin isolated by the service worker', async (t) => {
  const { page } = await start(t, {}, { headers: { 'Cache-Control': 'no-cache' } })
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null)
  assert.equal(await page.evaluate(() => crossOriginIsolated), false)
  await page.reload()
  await page.locator('h1:visible').first().waitFor()
  assert.equal(await page.evaluate(() => crossOriginIsolated), true)
})

test('with the headers of nook serve the first visit is isolated already', async (t) => {
  assert.equal(HEADERS['Cross-Origin-Embedder-Policy'], 'require-corp')
  const { page } = await start(t)
  assert.equal(await page.evaluate(() => crossOriginIsolated), true)
})

test('the policy forbids inline scripts, foreign scripts and untrusted HTML, and the page does without them', async (t) => {
  const { page } = await start(t)
  const refused = await page.evaluate(() => {
    const out = /** @type {string[]} */ ([])
    const attempt = (/** @type {string} */ name, /** @type {() => void} */ fn) => {
      try {
        fn()
      } catch {
        out.push(name)
      }
    }
    attempt('innerHTML', () => (document.createElement('div').innerHTML = '<b>x</b>'))
    attempt('worker', () => new Worker('/worker.js'))
    attempt('policy', () => /** @type {any} */ (globalThis).trustedTypes.createPolicy('other', {}))
    attempt('script', () => (document.createElement('script').text = 'window.injected = 1'))
    return { out, injected: 'injected' in globalThis }
  })
  assert.deepEqual(refused, { out: ['innerHTML', 'worker', 'policy', 'script'], injected: false })
})

test('two tabs: the conversations are the same, whoever writes them', async (t) => {
  const { page, context, site } = await start(t)
  await lookAround(page)
  const second = await context.newPage()
  const faults = watch(second)
  await second.goto(site.url)
  await second.locator('.list').waitFor()
  await page.fill('#composer', 'Seen in both')
  await page.keyboard.press('Enter')
  await second.locator('.conversation').getByText('Seen in both').waitFor()
  assert.deepEqual(faults, [])
})

test('reduced motion and forced colours are honoured', async (t) => {
  const { page } = await start(t)
  await page.emulateMedia({ reducedMotion: 'reduce' })
  assert.equal(
    await page.evaluate(() => getComputedStyle(document.documentElement).getPropertyValue('--slow').trim()),
    '0s'
  )
  await lookAround(page)
  await page.emulateMedia({ reducedMotion: 'reduce', forcedColors: 'active' })
  await page.waitForTimeout(200)
  await photograph(page, 'forced-colours')
  const border = await page.evaluate(
    () => getComputedStyle(/** @type {Element} */ (document.querySelector('.composer .frame'))).borderTopWidth
  )
  assert.equal(border, '1px', 'borders carry the shape')
})
