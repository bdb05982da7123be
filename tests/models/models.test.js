/*
 * The models of two cards beside the default one, fetched by the command and run: Gemma 3 270M (Q4_K_M, a base model) and
 * all-MiniLM-L6-v2 (F16, converted from its checkpoint). Some 340 MB, once; so this suite runs in `npm run test:deep` and
 * when it is named: `npm test -- models`.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { statSync } from 'node:fs'
import test from 'node:test'
import { readCard } from '../../tools/cards/read.mjs'
import { estimate, load } from '../../web/node.js'
import { open, photograph, root, serve, violations } from '../page/helper.js'

const GEMMA = 'gemma-3-270m-q4_k_m'
const MINILM = 'all-minilm-l6-v2-f16'

/** The command that people use. @param {string} id @returns {string} path of the file */
const fetched = (id) =>
  execFileSync(process.execPath, ['tools/model.mjs', id], {
    cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'],
  }).trim()

for (const id of [GEMMA, MINILM]) {
  test(`${id} is fetched by the command, whole and checked; a second call only looks`, () => {
    const path = fetched(id)
    const { size, ino } = statSync(path)
    assert.equal(size, readCard(id).bytes)
    const began = Date.now()
    assert.equal(fetched(id), path)
    assert.ok(Date.now() - began < 5000)
    assert.equal(statSync(path).ino, ino)
  })

  test(`${id}: the engine runs all of it, within the memory that its card says`, async () => {
    const card = readCard(id)
    const facts = await estimate({ model: fetched(id), threads: 1, build: 'base' })
    assert.deepEqual(facts.unsupported, [])
    assert.equal(facts.parameters, card.parameters)
    assert.equal(facts.architecture, card.architecture)
    const { total, kv } = facts.memory
    assert.ok(total <= 1.1 * facts.bytes + kv + 20 * 1024 ** 2, `${total} bytes for a file of ${facts.bytes}`)
  })
}

test('Gemma answers a question in Node', async (t) => {
  const llm = await load({ model: fetched(GEMMA), contextSize: 512 })
  t.after(() => llm.dispose())
  const { choices } = await llm.chat.completions.create({
    messages: [{ role: 'user', content: 'What is the capital of France?' }],
    chatTemplate: 'plain', temperature: 0, max_tokens: 24, stop: ['\nUser:'],
  })
  assert.match(choices[0].message.content, /\bParis\b/)
  assert.equal(choices[0].finish_reason, 'stop')
})

test('Gemma is chosen in the picker and answers on the page', { timeout: 300_000 }, async (t) => {
  fetched(GEMMA)
  const site = await serve()
  const { page, faults, close } = await open()
  t.after(async () => {
    await close()
    await site.close()
  })
  await page.goto(site.url)
  await page.locator('.others summary').click()
  const row = page.locator(`.picker li[data-id="${GEMMA}"]`)
  assert.match(await row.innerText(), /Fits: it needs 3\d\d MB of memory\..*goes on with a text/s)
  await row.getByRole('button', { name: 'Get it (253 MB): Gemma 3 270M' }).click()
  await page.locator('.model-chip:not(.unready)').waitFor({ timeout: 180_000 })
  await page.fill('#composer', 'What is the capital of France?')
  await page.keyboard.press('Enter')
  await page.locator('[role=log][aria-busy=false] .message.assistant .under.last').waitFor({ timeout: 120_000 })
  const answer = await page.locator('.message.assistant .prose').innerText()
  assert.match(answer, /\p{L}{3}/u)
  assert.doesNotMatch(answer, /User:/, 'its own script of a conversation is not shown')
  await photograph(page, 'gemma-light-1280')
  assert.deepEqual(faults, [])
  assert.deepEqual(await violations(page), [])
})
