/*
 * Words stand in strings.js and nowhere else: the page is run with a strings.js whose every text is marked, and each text
 * and each
 * name that a person may meet must carry the mark.
 */
import test from 'node:test'
import assert from 'node:assert/strict'
import { readFile, readdir } from 'node:fs/promises'
import { open, root, serve } from './helper.js'

const app = `${root}/web/app`

/** strings.js again, with ⟦ ⟧ around what its functions and fields give. */
const MARKED = `
import * as original from './strings.original.js'
const mark = (value) => {
  if (typeof value === 'string') return '⟦' + value + '⟧'
  if (typeof value === 'function') return (...args) => mark(value(...args))
  if (Array.isArray(value)) return value.map(mark)
  const rows = value && typeof value === 'object' ? Object.entries(value).map(([key, inner]) => [key, mark(inner)]) : null
  if (rows) return Object.fromEntries(rows)
  return value
}
export const t = mark(original.t)
export const locale = original.locale
export const number = mark(original.number)
export const size = mark(original.size)
export const percent = mark(original.percent)
export const duration = mark(original.duration)
export const when = mark(original.when)
`

/** Texts and names in the document that have letters and no mark. In the browser. */
const unmarked = () => {
  const out = []
  /** @param {string | null} text */
  const bad = (text) => text && /\p{L}{2}/u.test(text.replace(/⟦.*⟧/gs, ''))
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement
    // What a person, a model or the engine wrote; an address; the fallback without scripts.
    if (
      !parent ||
      parent.closest('noscript, .own, .prose, .tail, .foreign, .line, .excerpt, .requests code, textarea, kbd')
    )
      continue
    if (bad(walker.currentNode.textContent)) out.push(`text: ${walker.currentNode.textContent}`)
  }
  for (const element of document.querySelectorAll('[aria-label], [title], [placeholder], [alt]')) {
    for (const name of ['aria-label', 'title', 'placeholder', 'alt']) {
      if (bad(element.getAttribute(name))) out.push(`${name}: ${element.getAttribute(name)}`)
    }
  }
  return [...new Set(out)]
}

test('no text stands in a view: all of it comes from strings.js', async (t) => {
  const server = await serve({
    overlay: { '/app/strings.js': MARKED, '/app/strings.original.js': await readFile(`${app}/strings.js`, 'utf8') },
  })
  const { page, close } = await open()
  t.after(async () => {
    await close()
    await server.close()
  })
  await page.goto(server.url)
  await page.locator('h1:visible').waitFor()
  assert.ok((await page.locator('h1:visible').textContent())?.includes('⟦'), 'the marked strings are in use')
  assert.deepEqual(await page.evaluate(unmarked), [], 'first visit')

  await page.locator('.look').click()
  assert.deepEqual(await page.evaluate(unmarked), [], 'empty chat')
  await page.fill('#composer', 'Hello there')
  await page.keyboard.press('Enter')
  await page.locator('.waiting').waitFor()
  assert.deepEqual(await page.evaluate(unmarked), [], 'a message that waits')

  await page.locator('.pill').click()
  await page.locator('.requests summary').click()
  assert.deepEqual(await page.evaluate(unmarked), [], 'the pill')
  await page.keyboard.press('Escape')
  await page.locator('.model-chip').click()
  assert.deepEqual(await page.evaluate(unmarked), [], 'the model')
  await page.locator('.pop button').first().click()
  await page.locator('dialog .picker li').first().waitFor()
  assert.deepEqual(await page.evaluate(unmarked), [], 'all models')
  await page.keyboard.press('Escape')
  await page.keyboard.press('Escape')
  await page.keyboard.press('Control+k')
  await page.locator('.find-option').first().waitFor()
  assert.deepEqual(await page.evaluate(unmarked), [], 'find')
  await page.keyboard.press('Escape')
  await page.keyboard.press('Control+/')
  await page.locator('dialog .key-list').waitFor()
  assert.deepEqual(await page.evaluate(unmarked), [], 'keys')
  await page.keyboard.press('Escape')
  await page.locator('.rail a[href="#/settings"]').click()
  await page.locator('.settings-page table').waitFor()
  await page.waitForTimeout(300)
  assert.deepEqual(await page.evaluate(unmarked), [], 'settings')
})

test('every string is used', async () => {
  const files = (await readdir(app, { recursive: true }))
    .map(String)
    .filter((name) => name.endsWith('.js') && name !== 'strings.js')
  const code = (await Promise.all(files.map((name) => readFile(`${app}/${name}`, 'utf8')))).join('\n')
  const { t } = await import(`${app}/strings.js`)
  /** Groups that are looked up by a name that comes from elsewhere: codes, reasons, keys, rooms, sections. */
  const byName = new Set([
    't.errors',
    't.detail.reasons',
    't.keys.does',
    't.keys.names',
    't.keys.groups',
    't.rooms',
    't.settings.sections',
    't.chat.starter',
    't.picker.places',
  ])
  /** @type {string[]} */
  const unused = []
  const walk = (/** @type {any} */ value, /** @type {string} */ path) => {
    if (byName.has(path)) return
    if (typeof value === 'object' && !Array.isArray(value))
      for (const [key, inner] of Object.entries(value)) walk(inner, `${path}.${key}`)
    else if (!new RegExp(`${path.replaceAll('.', '\\.')}\\b`).test(code) && !/\.(low|middle|high)$/.test(path))
      unused.push(path)
  }
  walk(t, 't')
  assert.deepEqual(unused, [])
})

test('errors of every code have words', async () => {
  const { t } = await import(`${app}/strings.js`)
  const { ERROR_CODES } = await import(`${root}/web/errors.js`)
  for (const code of ERROR_CODES) assert.ok(t.errors[code]?.title && t.errors[code]?.means, code)
})
