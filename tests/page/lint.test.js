/*
 * Rules of the page's source that no type checker knows.
 */
import test from 'node:test'
import assert from 'node:assert/strict'
import { readFile, readdir } from 'node:fs/promises'
import { root } from './helper.js'
import { generate } from '../../tools/precache.mjs'

const app = `${root}/web/app`
const files = (await readdir(app, { recursive: true })).map(String)
const read = (/** @type {string} */ name) => readFile(`${app}/${name}`, 'utf8')

test('no inline style, no inline handler, no HTML from strings', async () => {
  const html = await read('index.html')
  assert.doesNotMatch(html, /\sstyle=|\son\w+=|<style|<script(?![^>]*\bsrc=)[^>]*>/i)
  for (const name of files.filter((file) => file.endsWith('.js'))) {
    const code = (await read(name)).replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
    assert.doesNotMatch(
      code,
      /setAttribute\(\s*['"]style|insertAdjacentHTML|document\.write|outerHTML\s*=|\beval\(|new Function/,
      name
    )
    if (name !== 'markdown.js') assert.doesNotMatch(code, /\.innerHTML\s*=/, name)
    assert.doesNotMatch(code, /\.style\.(?!setProperty\(\s*['"]--)/, `${name} sets custom properties only`)
  }
})

test('the policy is strict: own scripts, Trusted Types, nothing from elsewhere but what is asked for', async () => {
  const html = await read('index.html')
  const policy = /http-equiv="Content-Security-Policy"\s+content="([^"]+)"/.exec(html)?.[1] ?? ''
  const rules = Object.fromEntries(
    policy
      .split(';')
      .map((rule) => rule.trim().split(/\s+(.*)/s))
      .map(([name, value]) => [name, value])
  )
  assert.equal(rules['default-src'], "'none'")
  assert.equal(rules['script-src'], "'self' 'wasm-unsafe-eval'")
  assert.equal(rules['style-src'], "'self'")
  assert.equal(rules['require-trusted-types-for'], "'script'")
  assert.equal(rules['trusted-types'], 'dompurify nook')
  assert.doesNotMatch(policy, /unsafe-inline|unsafe-eval'?\s*(?!;)'unsafe|\*|data:|blob:/)
})

test('the page names no host', async () => {
  for (const name of files.filter((file) => /\.(js|css|html|webmanifest|svg)$/.test(file))) {
    const hosts = [...(await read(name)).matchAll(/https?:\/\/([\w.-]+)/g)]
      .map(([, host]) => host)
      .filter((host) => host !== 'www.w3.org')
    assert.deepEqual(hosts, [], name)
  }
})

test('the list of files for offline use is up to date and whole', async () => {
  const made = await generate()
  for (const [path, text] of Object.entries(made)) {
    assert.equal(
      await readFile(`${root}/web/${path}`, 'utf8').catch(() => ''),
      text,
      `web/${path}: run node tools/precache.mjs`
    )
  }
  for (const path of [
    'app/index.html',
    'app/main.js',
    'app/css/tokens.css',
    'app/cards.json',
    'vendor/marked.js',
    'vendor/purify.js',
    'index.js',
    'worker.js',
    'wasm/nook-base.wasm',
  ]) {
    assert.ok(made['precache.js']?.includes(`"${path}"`), `${path} is on the list`)
  }
})

test('every icon that is used is drawn, and every one that is drawn is used', async () => {
  const drawn = [...(await read('index.html')).matchAll(/<symbol id="i-(\w+)"/g)].map(([, name]) => name).sort()
  const code = (await Promise.all(files.filter((file) => file.endsWith('.js')).map(read))).join('\n')
  assert.deepEqual(
    drawn.filter((name) => !new RegExp(`(icon\\(|icon: |item\\()\\s*'${name}'|[?:] '${name}'`).test(code)),
    [],
    'drawn and never used'
  )
  for (const [, name] of code.matchAll(/(?:icon\(|icon: )'(\w+)'/g)) assert.ok(drawn.includes(name), `${name} is drawn`)
})
