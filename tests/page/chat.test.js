/*
 * The Chat room with the real engine and the default model (models/cache, brought by npm run setup).
 */
import test from 'node:test'
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { album, open, photograph, root, sendFile, serve, violations, watch } from './helper.js'

const card = JSON.parse(readFileSync(`${root}/models/smollm2-135m-instruct-q4_1.json`, 'utf8'))
const file = `${root}/models/cache/${card.file}`
const READY = '.model-chip:not(.unready)'
// The answer is whole, and the next may begin (until it is kept, its actions are there but off).
const DONE = '[role=log][aria-busy=false] .message.assistant .under.last'

/** @typedef {Awaited<ReturnType<typeof start>>} Started */

/**
 * @param {import('node:test').TestContext} t
 * @param {Parameters<typeof serve>[0]} [server]
 * @param {Record<string, any>} [options]
 */
async function start(t, server, options) {
  assert.ok(existsSync(file), `${card.file} is not in models/cache: run npm run setup`)
  const site = await serve(server)
  const browser = await open(options)
  t.after(async () => {
    await browser.close()
    await site.close()
  })
  await browser.page.goto(site.url)
  return { ...browser, site }
}

/** @param {import('playwright-core').Page} page */
async function getModel(page) {
  await page
    .getByRole('button', { name: /Get the model/ })
    .first()
    .click()
  await page.locator(`${READY}, .problem`).first().waitFor({ timeout: 120_000 })
  const problem = page.locator('.problem')
  assert.equal(await problem.count(), 0, (await problem.count()) ? await problem.first().innerText() : '')
}

/** @param {import('playwright-core').Page} page @param {string} text */
async function ask(page, text) {
  await page.fill('#composer', text)
  await page.keyboard.press('Enter')
  // An answer that is just being ended keeps the message in its box; a person would press again.
  for (let tries = 0; (await page.inputValue('#composer')) !== '' && tries < 100; tries++) {
    await page.waitForTimeout(100)
    await page.keyboard.press('Enter')
  }
}

/** What the pill says. @param {import('playwright-core').Page} page */
const counted = async (page) => Number(/(\d+) request/.exec((await page.locator('.pill .long').textContent()) ?? '')?.[1])

/**
 * The model file, slowly, or not at all beyond a byte.
 * @param {{bytesPerSecond?: number, breakAt?: () => number}} how
 * @returns {import('./helper.js').Overlay}
 */
function slowly({ bytesPerSecond = Infinity, breakAt = () => Infinity }) {
  return async (request, response) => {
    if (request.method === 'HEAD') return false
    const { size } = await stat(file)
    const range = /^bytes=(\d+)-/.exec(request.headers.range ?? '')
    const from = range ? Number(range[1]) : 0
    if (bytesPerSecond === Infinity && breakAt() === Infinity) {
      sendFile(request, response, file, size)
      return true
    }
    const bytes = readFileSync(file)
    response.writeHead(range ? 206 : 200, {
      'Accept-Ranges': 'bytes',
      'Content-Length': size - from,
      'Content-Type': 'application/octet-stream',
      ...(range ? { 'Content-Range': `bytes ${from}-${size - 1}/${size}` } : {}),
    })
    const piece = 1 << 18
    for (let at = from; at < size && !response.destroyed; at += piece) {
      if (at >= breakAt()) {
        response.destroy()
        return true
      }
      response.write(bytes.subarray(at, Math.min(size, at + piece)))
      if (bytesPerSecond !== Infinity) await new Promise((resolve) => setTimeout(resolve, (piece / bytesPerSecond) * 1000))
    }
    response.end()
    return true
  }
}

test(
  'the whole first visit: get the model while writing, an answer streams, again, versions, reload, offline',
  { timeout: 300_000 },
  async (t) => {
    const { page, faults, site, context } = await start(t, {
      overlay: { [`/models/${card.file}`]: slowly({ bytesPerSecond: 12e6 }) },
    })
    await page.waitForFunction(() => navigator.serviceWorker.controller !== null)
    await page.getByRole('button', { name: /Get the model/ }).click()

    // The download is told in bytes that move, with time left; the box can be used.
    const line = page.locator('.loading-part .number')
    await page.waitForFunction(() =>
      /\d+ of 98 MB · \d+ s left/.test(document.querySelector('.loading-part .number')?.textContent ?? '')
    )
    const first = await line.innerText()
    await page.waitForFunction((text) => document.querySelector('.loading-part .number')?.textContent !== text, first, {
      timeout: 2000,
    })
    assert.match(await page.title(), /^\(\d+ %\) Nook$/)
    await album(page, 'downloading')
    await ask(page, 'Write one short sentence about the sea.')
    await page
      .locator('.waiting')
      .getByText(/Waiting for the model/)
      .waitFor()
    assert.match(await page.locator('.strip').innerText(), /Getting .* \d/)
    await photograph(page, 'waiting-light-1280')

    await page.locator(READY).waitFor({ timeout: 120_000 })
    await page.locator(DONE).waitFor({ timeout: 120_000 })
    const answer = await page.locator('.message.assistant .prose').innerText()
    assert.match(answer, /\p{L}{3}/u, 'words came')
    assert.equal(await page.getByRole('log').getAttribute('aria-live'), 'off')
    assert.equal(await page.getByRole('log').getAttribute('aria-busy'), 'false')
    const spoken = (await page.locator('[role=status].hidden-text').textContent()) ?? ''
    assert.ok(
      spoken.replace(/[^\p{L}]/gu, '').includes(answer.replace(/[^\p{L}]/gu, '').slice(0, 40)),
      'the answer is spoken once, whole'
    )
    await album(page, 'answered')

    // Details: what the engine measured.
    await page.locator('.details summary').click()
    const details = await page.locator('.details').innerText()
    assert.match(details, /Reading\s+\d+ tokens? in .*tokens\/s/)
    assert.match(details, /Writing\s+\d+ tokens? in .*tokens\/s/)
    assert.match(await page.locator('.meter').innerText(), /\d+ of 2,048 tokens/)
    await album(page, 'details')

    // The model's facts in the header.
    assert.match(await page.locator('.model-chip').innerText(), /\d+ MB/)
    await page.locator('.model-chip').click()
    assert.match(await page.locator('.pop .facts').innerText(), /weights.*conversation/s)
    await photograph(page, 'model-light-1280')
    await page.keyboard.press('Escape')

    // Again makes a version; the arrow keys go between them.
    await page.locator('.message.assistant').focus()
    await page.keyboard.press('r')
    await page.locator('.versions').getByText('2/2').waitFor({ timeout: 120_000 })
    await page.locator(DONE).waitFor({ timeout: 120_000 })
    await page.locator('.message.assistant').focus()
    await page.keyboard.press('ArrowLeft')
    await page.locator('.versions').getByText('1/2').waitFor()
    assert.equal(await page.locator('.message.assistant .prose').innerText(), answer, 'the first version is as it was')

    // Since the model arrived: nothing. The server says the same.
    assert.equal(await counted(page), 0)
    const before = site.requests.length
    await page.evaluate(() => (location.hash = '#/settings'))
    await page.locator('.settings-page table').waitFor()
    await page.evaluate(() => (location.hash = '#/chat'))
    await page.waitForTimeout(500)
    assert.deepEqual(site.requests.slice(before), [], 'the server saw no request')
    assert.equal(await counted(page), 0)
    assert.equal(await page.locator('.under.last').count(), 0, 'a new conversation is open')

    // Without any network, from the start: the page, the conversation, the model, an answer.
    await context.setOffline(true)
    await site.close()
    await page.reload()
    await page.locator('.conversation').first().click()
    assert.equal(await page.locator('.message.assistant .prose').innerText(), answer)
    await page.locator(READY).waitFor({ timeout: 120_000 })
    await ask(page, 'And one about the wind.')
    await page.waitForFunction(() => document.querySelectorAll('.message.assistant').length === 2)
    await page.locator(DONE).waitFor({ timeout: 120_000 })
    assert.match(await page.locator('.message.assistant').nth(1).locator('.prose').innerText(), /\p{L}{3}/u)
    assert.deepEqual(
      faults.filter((fault) => !/ERR_(INTERNET_DISCONNECTED|CONNECTION_REFUSED|FAILED)/.test(fault)),
      []
    )
    assert.deepEqual(await violations(page), [])
  }
)

test(
  'stop stops within 250 ms of a step, keeps what was said, and Send is back in the same place',
  { timeout: 180_000 },
  async (t) => {
    const { page, faults } = await start(t)
    await getModel(page)
    const send = page.locator('.send')
    const place = await send.boundingBox()
    await ask(page, 'Tell me a very long story about a lighthouse keeper, with many details.')
    await page.locator('.tail').getByText(/\w{3}/).waitFor({ timeout: 60_000 })
    assert.equal(await send.getAttribute('aria-label'), 'Stop')
    const now = await send.boundingBox()
    assert.deepEqual([now?.x, now?.y], [place?.x, place?.y])
    await photograph(page, 'streaming-light-1280')
    await page.waitForTimeout(500)
    const began = Date.now()
    await page.keyboard.press('Escape')
    await page.locator('.message.assistant .ending').waitFor({ timeout: 5000 })
    assert.ok(Date.now() - began < 1500, `stopped after ${Date.now() - began} ms`)
    assert.match(await page.locator('.ending').innerText(), /Stopped here/)
    assert.match(await page.locator('.message.assistant .prose').innerText(), /\w{3}/)
    assert.equal(await send.getAttribute('aria-label'), 'Send')
    // A double click on Send is not a Stop, even if the page is slow between its clicks.
    await page.fill('#composer', 'Say hello.')
    await send.dblclick({ delay: 900 })
    await page.locator('.message.assistant').nth(1).getByText(/\w{3}/).first().waitFor({ timeout: 60_000 })
    await page.waitForTimeout(300)
    const endings = await page.locator('.ending').allInnerTexts()
    assert.equal(endings.filter((text) => /Stopped here/.test(text)).length, 1, 'only the first answer was stopped')
    assert.deepEqual(faults, [])
  }
)

test('the first wheel upwards detaches, the button goes back to the end', { timeout: 180_000 }, async (t) => {
  const { page } = await start(t, {}, { viewport: { width: 700, height: 420 } })
  await getModel(page)
  await ask(page, 'Write a long list of forty animals, each with one sentence.')
  const room = () =>
    page.evaluate(() => {
      const e = /** @type {Element} */ (document.querySelector('.middle .scroll:not([hidden])'))
      return { top: e.scrollTop, end: e.scrollHeight - e.clientHeight, live: document.querySelector('.caret') !== null }
    })
  await page.waitForFunction(
    () => {
      const e = /** @type {Element} */ (document.querySelector('.middle .scroll:not([hidden])'))
      const end = e.scrollHeight - e.clientHeight
      // It follows the end: a frame or two after a line was added, not at every instant.
      return end > 160 && end - e.scrollTop < 60 && document.querySelector('.caret') !== null
    },
    null,
    { timeout: 90_000 }
  )
  await page.mouse.move(350, 200)
  await page.mouse.wheel(0, -120)
  await page.waitForTimeout(400)
  const after = await room()
  await page.waitForTimeout(1500)
  const later = await room()
  assert.ok(Math.abs(later.top - after.top) < 2, 'it stays where she scrolled to')
  assert.ok(later.end > after.end || !later.live, 'while the answer grows')
  await page.getByRole('button', { name: 'To the latest' }).click()
  await page.waitForTimeout(400)
  const back = await room()
  assert.ok(back.end - back.top < 60, 'the button goes to the end')
  assert.equal(await page.getByRole('button', { name: 'To the latest' }).count(), 0)
})

test('an arrow up in the empty box edits the last message; the old version stays', { timeout: 180_000 }, async (t) => {
  const { page } = await start(t)
  await getModel(page)
  await ask(page, 'Say yes.')
  await page.locator(DONE).waitFor({ timeout: 60_000 })
  await page.locator('#composer').focus()
  await page.keyboard.press('ArrowUp')
  await page.locator('.edit-box').waitFor()
  await page.waitForFunction(() => document.activeElement?.classList.contains('edit-box'))
  await album(page, 'editing')
  await page.locator('.edit-box').fill('Say no.')
  await page.keyboard.press('Enter')
  await page.locator('.message.user').getByText('Say no.').waitFor()
  await page.locator('.message.user .versions').getByText('2/2').waitFor()
  await page.locator(DONE).waitFor({ timeout: 60_000 })
  await page.locator('.message.user').hover()
  await page.locator('.message.user').getByRole('button', { name: 'Version before' }).click()
  await page.locator('.message.user').getByText('Say yes.').waitFor()
})

test(
  'what is written survives the death of the tab in the middle of an answer, and is told',
  { timeout: 180_000 },
  async (t) => {
    const { page, context, site } = await start(t)
    await getModel(page)
    await ask(page, 'Tell me a long story about a ship.')
    await page
      .locator('.tail')
      .getByText(/\w{3}.*\s\w+.*\s\w+/s)
      .waitFor({ timeout: 60_000 })
    await page.waitForTimeout(2500)
    const said = await page.locator('.message.assistant .body').innerText()
    const session = await context.newCDPSession(page)
    await Promise.race([
      session.send('Page.crash').catch(() => undefined),
      new Promise((resolve) => setTimeout(resolve, 2000)),
    ])
    const next = await context.newPage()
    await next.goto(site.url)
    await next.locator('.conversation').click()
    await next.locator('.message.assistant .prose').waitFor()
    const kept = await next.locator('.message.assistant .prose').innerText()
    const letters = (/** @type {string} */ text) => text.replace(/[^\p{L}]/gu, '')
    assert.ok(
      letters(kept).length > 10 && letters(said).startsWith(letters(kept).slice(0, letters(said).length)),
      'what was on the screen is there'
    )
    assert.ok(
      letters(kept).length >= letters(said).length * 0.5,
      `${letters(kept).length} of ${letters(said).length} letters`
    )
    await next.locator('.ending').getByText('The tab closed while this was written.').waitFor({ timeout: 20_000 })
    await next.locator('.ending').getByRole('button', { name: 'Again' }).waitFor()
  }
)

test('a tab that died while loading does not load again by itself', { timeout: 180_000 }, async (t) => {
  const { page, context, site } = await start(t, { overlay: { [`/models/${card.file}`]: slowly({ bytesPerSecond: 8e6 }) } })
  await page.getByRole('button', { name: /Get the model/ }).click()
  await page.locator('.loading-part').waitFor()
  await page.waitForTimeout(800)
  const session = await context.newCDPSession(page)
  await Promise.race([
    session.send('Page.crash').catch(() => undefined),
    new Promise((resolve) => setTimeout(resolve, 2000)),
  ])
  const next = await context.newPage()
  await next.goto(site.url)
  await next
    .locator('.model-card')
    .getByText(/The tab closed while loading .*It was not started again by itself/)
    .waitFor()
  await album(next, 'crashed')
  assert.equal(await next.locator('.loading-part').count(), 0)
  await next.locator('.model-card').getByRole('button', { name: 'Try again' }).waitFor()
})

test(
  'a download pauses, goes on from where it was, also after it broke and after a reload',
  { timeout: 240_000 },
  async (t) => {
    let limit = Infinity
    const overlay = { [`/models/${card.file}`]: slowly({ bytesPerSecond: 20e6, breakAt: () => limit }) }
    const { page } = await start(t, { overlay })
    await page.getByRole('button', { name: /Get the model/ }).click()
    const bytes = async () =>
      Number(
        /(\d+)/.exec((await page.locator('.model-card').first().innerText()).replace(/^[^0-9]*(135M[^0-9]*)?/, ''))?.[1]
      )
    await page.waitForFunction(
      () => Number(/(\d+) of/.exec(document.querySelector('.loading-part .number')?.textContent ?? '')?.[1]) >= 20
    )
    await page.getByRole('button', { name: 'Pause' }).first().click()
    await page
      .locator('.model-card')
      .getByText(/^Paused at \d+ MB\./)
      .waitFor()
    const paused = await bytes()
    await album(page, 'paused')
    await page.getByRole('button', { name: 'Go on' }).click()
    await page.locator('.loading-part').waitFor()
    await page.waitForFunction(
      (at) => Number(/(\d+) of/.exec(document.querySelector('.loading-part .number')?.textContent ?? '')?.[1]) >= at,
      paused - 1,
      { timeout: 4000 }
    )
    limit = 60e6
    await page
      .locator('.model-card')
      .getByText(/The connection broke at \d+ MB\. It goes on from there\./)
      .waitFor({ timeout: 60_000 })
    await album(page, 'broken')
    limit = Infinity
    await page.reload()
    await page.getByRole('button', { name: 'Go on' }).click()
    await page.waitForFunction(
      () => Number(/(\d+) of/.exec(document.querySelector('.loading-part .number')?.textContent ?? '')?.[1]) >= 40,
      null,
      { timeout: 2500 }
    )
    await page.locator(READY).waitFor({ timeout: 120_000 })
  }
)

test('a damaged download is refused in words, and a file that is no model too', { timeout: 180_000 }, async (t) => {
  const { page } = await start(t, {
    overlay: {
      [`/models/${card.file}`]: async (request, response) => {
        if (request.method === 'HEAD') return false
        const bytes = Buffer.from(readFileSync(file))
        bytes[bytes.length - 5000] = (bytes[bytes.length - 5000] ?? 0) ^ 1
        response.writeHead(200, { 'Content-Length': bytes.length })
        response.end(bytes)
        return true
      },
    },
  })
  await page.getByRole('button', { name: /Get the model/ }).click()
  await page.locator('.problem').getByText('The file that arrived is not the published one.').waitFor({ timeout: 60_000 })
  await album(page, 'damaged')
  const [chooser] = await Promise.all([
    page.waitForEvent('filechooser'),
    page.getByRole('button', { name: 'Pick another file' }).click(),
  ])
  await chooser.setFiles({
    name: 'holiday.gguf',
    mimeType: 'application/octet-stream',
    buffer: Buffer.from('This is a letter, not a model.'),
  })
  await page.locator('.problem').getByText('This file cannot be read as a model.').waitFor()
  await page.locator('.problem summary').click()
  assert.match(await page.locator('.problem').innerText(), /Code: format/)
  await album(page, 'no-model')
})

test('a model file that is dropped on the page is loaded, without a request', { timeout: 120_000 }, async (t) => {
  const { page, site, faults } = await start(t)
  await page.locator('.look').waitFor()
  await page.waitForTimeout(500)
  const before = site.requests.length
  const [chooser] = await Promise.all([
    page.waitForEvent('filechooser'),
    page.getByRole('button', { name: 'I have a model file' }).first().click(),
  ])
  await chooser.setFiles(file)
  await page.locator(READY).waitFor({ timeout: 60_000 })
  assert.deepEqual(
    site.requests.slice(before).filter(({ url }) => url.startsWith('/models/')),
    []
  )
  await ask(page, 'Say hello.')
  await page.locator(DONE).waitFor({ timeout: 60_000 })
  // After a reload the file has to be picked again, and the page says why.
  await page.reload()
  await page
    .locator('.model-card')
    .locator('visible=true')
    .getByText(/Pick .* again to go on/)
    .waitFor()
  // A drop: the overlay appears while something is dragged over the page.
  await page.evaluate(() => {
    const data = new DataTransfer()
    data.items.add(new File(['GGUF'], 'tiny.gguf'))
    for (const type of ['dragenter', 'dragover'])
      dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }))
  })
  assert.ok(await page.locator('.drop').isVisible())
  await photograph(page, 'drop-light-1280')
  await page.evaluate(() => {
    const data = new DataTransfer()
    data.items.add(new File(['GGUF'], 'tiny.gguf'))
    dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }))
  })
  assert.ok(!(await page.locator('.drop').isVisible()))
  await page.locator('.problem').getByText('This file cannot be read as a model.').waitFor()
  assert.deepEqual(faults, [])
})

test(
  'two tabs: one owns the model, the other says so, and it can be taken over and brought back',
  { timeout: 240_000 },
  async (t) => {
    const { page, context, site } = await start(t)
    await getModel(page)
    await ask(page, 'Say hello.')
    await page.locator(DONE).waitFor({ timeout: 60_000 })
    const second = await context.newPage()
    const faults = watch(second)
    await second.goto(site.url)
    await second.locator('.model-card').first().getByText('Nook is open in another tab and the model is there.').waitFor()
    await album(second, 'elsewhere')
    await second.locator('.conversation').click()
    await second.locator('.message.assistant .prose').waitFor()
    await second.getByRole('button', { name: 'Go on here' }).locator('visible=true').click()
    await second.locator(READY).waitFor({ timeout: 60_000 })
    await page.locator('.model-card').locator('visible=true').getByText('Moved to another tab.').waitFor()
    await ask(second, 'Say goodbye.')
    await second.waitForFunction(() => document.querySelectorAll('.message.assistant').length === 2)
    await second.locator(DONE).waitFor({ timeout: 60_000 })
    await page.bringToFront()
    await page.waitForFunction(() => document.querySelectorAll('.message.assistant').length === 2)
    await page.getByRole('button', { name: 'Bring it back' }).locator('visible=true').click()
    await page.locator(READY).waitFor({ timeout: 60_000 })
    await second.locator('.model-card').locator('visible=true').getByText('Moved to another tab.').waitFor()
    assert.deepEqual(faults, [])
    // The owner closes: the other goes on by itself.
    await page.close()
    await second.bringToFront()
    await second.locator(READY).waitFor({ timeout: 60_000 })
  }
)

test('the line where the beginning no longer fits, and a message that is too long', { timeout: 240_000 }, async (t) => {
  const { page } = await start(t)
  await page.evaluate(() => localStorage.setItem('nook.settings', JSON.stringify({ room: 512 })))
  await page.reload()
  await getModel(page)
  const filler = 'The quick brown fox jumps over the lazy dog near the river bank. '.repeat(12)
  for (const [i, start] of ['One: ', 'Two: ', 'Three: '].entries()) {
    await ask(page, `${start}${filler} Answer with the word yes.`)
    await page.waitForFunction((n) => document.querySelectorAll('.message.assistant .under').length > n, i, {
      timeout: 60_000,
    })
    await page.keyboard.press('Escape')
  }
  await page.locator('.cut').getByText('The beginning no longer fits. The model sees from here on.').waitFor()
  await page.locator('.cut').scrollIntoViewIfNeeded()
  await album(page, 'cut')
  await ask(page, filler.repeat(6))
  await page
    .locator('.problem')
    .getByText('This message is longer than the conversation room.')
    .waitFor({ timeout: 60_000 })
  await album(page, 'context-full')
  await page.getByRole('link', { name: 'Set the room' }).waitFor()
})

test('long messages show how far they are read, and how long it takes', { timeout: 240_000 }, async (t) => {
  const { page } = await start(t)
  await getModel(page)
  await ask(page, `Say yes. ${'The quick brown fox jumps over the lazy dog near the river bank. '.repeat(90)}`)
  await page.waitForFunction(
    () => /Reading your message · \d+(\.\d)? %/.test(document.querySelector('.waiting')?.textContent ?? ''),
    null,
    { timeout: 30_000 }
  )
  await page.locator('.waiting progress').waitFor()
  await photograph(page, 'reading-light-1280')
  await page.keyboard.press('Escape')
  await page.locator('.ending').waitFor({ timeout: 5000 })
})

test('text of a model is text: no HTML, no pictures, links with their address', async (t) => {
  const { page } = await start(t)
  await page.locator('h1:visible').waitFor()
  const html = await page.evaluate(async () => {
    // @ts-ignore: an address of the page
    const { render } = await import('/app/markdown.js')
    const place = document.createElement('div')
    place.append(
      render(
        '<img src=x onerror=alert(1)> **bold** [a](https://example.org/x) [b](javascript:alert(1)) ' +
          '![pic](https://example.org/p.png)\n\n# Head\n\n<script>alert(1)</script>\n\n- [ ] task\n\n' +
          '| a | b |\n|--|--|\n| 1 | 2 |\n\n```js\nlet x = 1 < 2\n```'
      )
    )
    return place.innerHTML
  })
  assert.doesNotMatch(html, /<img|<script|<input|onerror="|javascript:alert\(1\)"/)
  assert.match(html, /<a href="https:\/\/example\.org\/x" target="_blank" rel="noopener noreferrer nofollow">a<\/a>/)
  assert.match(html, /<\/a><span class="address"> \(https:\/\/example\.org\/x\)<\/span>/)
  assert.match(html, /<h3>Head<\/h3>/)
  assert.match(html, /let x = 1 &lt; 2/)
  assert.match(html, /\[picture: pic\] https:\/\/example\.org\/p\.png/)
})
