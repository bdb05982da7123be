#!/usr/bin/env node
/*
 * precache.mjs: writes the two generated files of the page: web/precache.js, the list of everything that the service worker
 * keeps for offline use, with a SHA-256 each, and web/app/cards.json, the models on offer, from models/*.json. Run it after
 * the build of the WebAssembly and after tools/vendor.mjs; neither file is committed.
 *
 *   node tools/precache.mjs [--check]      --check: writes nothing, fails when the files are not up to date
 */
import { createHash } from 'node:crypto'
import { readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { licenceOf, readCards } from './cards/read.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const web = join(root, 'web')
/** Files of web/ that a page never asks for: those of Node, types, and the two that are generated from this. */
const NOT =
  /^cli\/|^(sw|precache|node|(worker|thread)\.node|platform\/node|(sources|cache)\/fs)\.js$|\.d\.ts$|\.md$|\.map$|LICENSE$/
const KINDS = /\.(html|js|mjs|css|json|svg|wasm|webmanifest)$/

/** @param {string} folder @param {string} [below] @returns {Promise<string[]>} paths with slashes, sorted */
async function filesOf(folder, below = '') {
  const out = []
  for (const entry of await readdir(join(folder, below), { withFileTypes: true })) {
    const path = below ? `${below}/${entry.name}` : entry.name
    if (entry.isDirectory()) out.push(...(await filesOf(folder, path)))
    else if (entry.isFile() && KINDS.test(path) && !NOT.test(path)) out.push(path)
  }
  return out.sort()
}

/**
 * The cards as the page needs them: those that it can talk with. Everything else of a card stays where it is.
 * @returns {object[]} the default first, then by the size of their files
 */
export function cards() {
  const list = readCards()
    .filter((card) => card.kind !== 'embedding')
    .map((card) => ({
      id: card.id,
      name: card.name,
      title: card.title,
      kind: card.kind,
      file: card.file,
      bytes: card.bytes ?? card.memory?.file ?? 0,
      exact: card.bytes !== null,
      ...(card.sha256 === null ? {} : { sha256: card.sha256 }),
      licence: licenceOf(card),
      publisher: new URL(card.home).pathname.slice(1),
      context: card.shape.context,
      memory: card.memory,
      ...(card.sampling ? { sampling: card.sampling } : {}),
      /* Without a hash nobody could tell what was fetched. */
      urls: card.sha256 === null ? [] : card.sources.flatMap((source) => (source.kind === 'url' ? [source.url] : [])),
      byHand: card.sources.every((source) => source.kind === 'checkpoint'),
      default: card.default === true,
    }))
  return list.sort((a, b) => Number(b.default) - Number(a.default) || a.bytes - b.bytes)
}

/** @returns {Promise<Record<string, string>>} path → text of the generated files */
export async function generate() {
  const cardsText = `${JSON.stringify(cards(), null, 1)}\n`
  /** @type {Record<string, string>} */
  const files = {}
  for (const path of await filesOf(web)) {
    if (path === 'app/cards.json') continue
    files[path] = createHash('sha256')
      .update(await readFile(join(web, path)))
      .digest('hex')
  }
  files['app/cards.json'] = createHash('sha256').update(cardsText).digest('hex')
  const version = createHash('sha256').update(JSON.stringify(files)).digest('hex').slice(0, 16)
  const value = JSON.stringify({ version, files }, null, 1)
  const list = `/* Made by tools/precache.mjs; not to be edited. */\nself.NOOK_PRECACHE = ${value}\n`
  return { 'app/cards.json': cardsText, 'precache.js': list }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const check = process.argv.includes('--check')
  for (const [path, text] of Object.entries(await generate())) {
    const before = await readFile(join(web, path), 'utf8').catch(() => null)
    if (before === text) continue
    if (check) {
      console.error(`web/${path} is not up to date: run node tools/precache.mjs.`)
      process.exitCode = 1
    } else {
      await writeFile(join(web, path), text)
      console.error(`web/${path}`)
    }
  }
}
