/**
 * picker.js: all models, by where they are: in this browser, where the page comes from, on the internet, and those that a
 * person brings as a file. Each says what it takes and whether that fits this machine, in numbers.
 */
import { h, fill, button, icon } from '../h.js'
import { t } from '../strings.js'
import { choose, model } from '../engine.js'
import { fitOf, machine } from '../fit.js'
import { cards, onThisMachine, placeOf, served } from '../models.js'
import { settings, change } from '../settings.js'
import * as storage from '../storage.js'
import { dialog } from '../dialogs.js'
import { go, openModelFile } from '../shell.js'

/** @typedef {import('../models.js').Card} Card */
const PLACES = /** @type {const} */ (['here', 'server', 'web', 'own'])

/** @param {() => void} [done] after a choice */
export function picker(done = () => {}) {
  const element = h('div', { class: 'picker' }, h('p', { class: 'note' }, t.picker.looking))
  let drawing = 0
  const draw = async () => {
    const mine = ++drawing
    const [list, files, kept, here] = await Promise.all([
      cards(), served(), storage.models().catch(() => []), machine(),
    ])
    if (mine !== drawing) return
    const { room } = settings.get()
    const placed = list.map((card) => ({ card, place: placeOf(card, kept, files) }))
    const groups = PLACES.map((place) => ({
      place,
      rows: placed.filter((one) => one.place === place).map(({ card }) => row(card, place, room, here, done)),
    }))
    fill(
      element,
      h('p', { class: 'note number' }, machineLine(here, room)),
      ...groups.filter(({ rows }) => rows.length > 0).map(({ place, rows }) => group(place, rows, done))
    )
  }
  void draw()
  return { element, refresh: () => void draw() }
}

/** @param {import('../fit.js').Machine} here @param {number} room */
function machineLine(here, room) {
  const parts = [t.picker.room(room), t.picker.tab(here.tab)]
  if (here.device !== null) parts.push(t.picker.device(here.device, here.least))
  if (here.free !== null) parts.push(t.picker.free(here.free))
  return parts.join(' ')
}

/** @param {typeof PLACES[number]} place @param {HTMLElement[]} rows @param {() => void} done */
function group(place, rows, done) {
  const id = `picker-${place}-${crypto.randomUUID()}`
  const title = place === 'server' && onThisMachine() ? t.picker.places.computer : t.picker.places[place]
  const offline = (place === 'server' || place === 'web') && !navigator.onLine
  const pick = () => {
    done()
    void openModelFile()
  }
  return h(
    'section',
    { 'aria-labelledby': id },
    h('h3', { id }, title),
    offline ? h('p', { class: 'note' }, t.picker.offline) : null,
    place === 'own' ? h('p', { class: 'note' }, t.picker.own) : null,
    place === 'own' ? button({ icon: 'file', label: t.load.pick, kind: 'quiet', onclick: pick }) : null,
    h('ul', null, ...rows)
  )
}

/**
 * @param {Card} card @param {typeof PLACES[number]} place @param {number} room @param {import('../fit.js').Machine} here
 * @param {() => void} done
 */
function row(card, place, room, here, done) {
  const fit = fitOf({ memory: card.memory, bytes: card.bytes, kept: place === 'here' }, room, here)
  const inUse = model.get().status === 'ready' && model.get().name === card.name
  const facts = [
    card.exact ? t.picker.file(card.bytes) : t.picker.about(card.bytes), card.title.split(', ').at(-1), card.licence,
  ]
  const mark = fit.fits === 'yes' ? 'check' : fit.fits === 'unknown' ? 'info' : 'alert'
  return h(
    'li',
    { class: fit.fits, dataset: { id: card.id } },
    h(
      'div',
      null,
      h(
        'p',
        { class: 'picker-name' },
        h('span', { class: 'foreign' }, card.name),
        inUse ? h('span', { class: 'tag' }, t.picker.inUse) : null
      ),
      h('p', { class: 'note foreign number' }, facts.join(' · ')),
      h('p', { class: 'fit number' }, icon(mark), fitText(fit)),
      card.kind === 'text' ? h('p', { class: 'note' }, t.picker.text) : null,
      place === 'own' ? h('p', { class: 'note foreign' }, ownText(card)) : null,
      place === 'web' ? h('p', { class: 'note' }, t.picker.host(new URL(card.urls[0] ?? '').host)) : null
    ),
    inUse ? null : action(card, place, fit, done)
  )
}

/** @param {Card} card */
const ownText = (card) => (card.byHand ? t.picker.convert : t.picker.publisher)(card.publisher, card.file)

/** @param {import('../fit.js').Fit} fit */
function fitText({ fits, why, need, have, smaller }) {
  if (fits === 'unknown') return t.fit.unknown
  if (fits === 'yes') return t.fit.yes(need)
  if (why === 'storage') return t.fit.storage(need, have)
  if (fits === 'tight') return t.fit.tight(need, have)
  const sentence = why === 'tab' ? t.fit.tab(need, have) : t.fit.device(need, have)
  return smaller ? `${sentence} ${t.fit.smaller(smaller.room, smaller.need)}` : sentence
}

/** @param {Card} card @param {typeof PLACES[number]} place @param {import('../fit.js').Fit} fit @param {() => void} done */
function action(card, place, fit, done) {
  if (place === 'own' || fit.fits === 'unknown' || (place !== 'here' && !navigator.onLine)) return null
  const take = (/** @type {number | null} */ room) => () => {
    if (room !== null) change({ room })
    done()
    go('chat')
    void choose({ kind: 'card', card })
  }
  const shown = fit.fits !== 'no' ? (place === 'here' ? t.picker.use : t.picker.get(card.bytes))
    : fit.smaller ? t.picker.shorter(fit.smaller.room) : null
  if (shown === null) return null
  return button({
    icon: place === 'here' ? 'check' : 'get',
    kind: 'quiet',
    label: shown,
    'aria-label': t.picker.named(shown, card.name),
    onclick: take(fit.smaller?.room ?? null),
  })
}

/** All models in a dialog. */
export async function openPicker() {
  const { element, refresh } = picker(() => close())
  const { closed, close } = dialog({ title: t.picker.title, wide: true }, element)
  const ends = [settings.subscribe(refresh), model.subscribe(refresh)]
  for (const name of ['online', 'offline']) addEventListener(name, refresh)
  await closed
  for (const end of ends) end?.()
  for (const name of ['online', 'offline']) removeEventListener(name, refresh)
}
