/** settings.js: what is kept, what leaves, keys, appearance, details, and all data out, in, and gone. */
import { h, fill, button, icon } from '../h.js'
import { t, size, when } from '../strings.js'
import * as conversations from '../conversations.js'
import { settings, change, rooms, temperatures } from '../settings.js'
import { network, counted } from '../network.js'
import { model, leave, resume } from '../engine.js'
import { facts } from '../shell.js'
import { keyList } from '../keylist.js'
import { dialog, pickFiles, saveFile } from '../dialogs.js'
import * as storage from '../storage.js'
import { remember, remembered } from '../models.js'
import { say } from '../status.js'

const SECTIONS = /** @type {const} */ (['storage', 'privacy', 'appearance', 'details', 'keys', 'data'])

/** @param {HTMLElement} place @param {import('../rooms.js').Context} context @returns {import('../rooms.js').Room} */
export function mount(place, context) {
  const heading = h('h1', { tabindex: -1 }, t.settings.title)
  const bodies = {
    storage: storageSection(),
    privacy: privacySection(),
    appearance: appearanceSection(),
    details: detailsSection(),
    keys: keysSection(),
    data: dataSection(),
  }
  const links = SECTIONS.map((id) => h('a', { href: `#/settings/${id}` }, t.settings.sections[id]))
  const sections = SECTIONS.map((id) =>
    h(
      'section',
      { id: `settings-${id}`, tabindex: -1, 'aria-labelledby': `settings-${id}-title` },
      h('h2', { id: `settings-${id}-title` }, t.settings.sections[id]),
      bodies[id].element
    )
  )
  fill(
    place,
    h(
      'div',
      { class: 'scroll' },
      h(
        'div',
        { class: 'settings-page' },
        heading,
        h('nav', { class: 'contents', 'aria-label': t.settings.title }, ...links),
        ...sections
      )
    )
  )
  context.title(t.settings.title)
  return {
    route([section = '']) {
      bodies.storage.refresh()
      const target = section ? document.getElementById(`settings-${section}`) : null
      if (target) {
        target.scrollIntoView({ block: 'start' })
        target.focus({ preventScroll: true })
      }
    },
    focus: () => location.hash.split('/').length < 3 && heading.focus({ preventScroll: true }),
  }
}

/* ---- Storage -------------------------------------------------------------------------------------------------------- */

function storageSection() {
  const total = h('p', { class: 'number' })
  const bar = h('meter', { min: 0, max: 1, 'aria-label': t.settings.sections.storage })
  const rows = h('tbody', null)
  const keep = h('div', { class: 'keep' })
  const recent = h('div', { class: 'recent' })
  const element = h(
    'div',
    { class: 'stack' },
    h('p', { class: 'note' }, t.settings.storage.about),
    total,
    bar,
    h(
      'table',
      null,
      h(
        'thead',
        null,
        h(
          'tr',
          null,
          h('th', { scope: 'col' }, t.settings.storage.row),
          h('th', { scope: 'col', class: 'right' }, t.settings.storage.bytes),
          h('th', { scope: 'col' }, t.settings.storage.used),
          h('td', null)
        )
      ),
      rows
    ),
    keep,
    recent
  )

  const refresh = async () => {
    const [room, page, list] = await Promise.all([
      storage.estimate(),
      storage.pageFiles(),
      storage.models().catch(() => []),
    ])
    total.textContent = room ? t.settings.storage.total(room.usage, room.quota) : t.settings.storage.totalUnknown
    bar.hidden = !room
    if (room) bar.value = room.usage / room.quota
    const written = conversations.visible()
    const bytes = new Blob([JSON.stringify(conversations.exportAll())]).size
    const newest = written[0]?.updated
    fill(
      rows,
      list.length ? list.map(modelRow) : h('tr', null, h('td', { colspan: 4, class: 'note' }, t.settings.storage.noModels)),
      h(
        'tr',
        null,
        h('th', { scope: 'row' }, t.settings.storage.conversationsValue(written.length)),
        h('td', { class: 'right number' }, size(bytes)),
        h('td', { class: 'note' }, newest ? when(newest) : ''),
        h('td', null)
      ),
      page.files
        ? h(
            'tr',
            null,
            h(
              'th',
              { scope: 'row' },
              t.settings.storage.page,
              h('span', { class: 'note block' }, t.settings.storage.pageFiles(page.files))
            ),
            h('td', { class: 'right number' }, size(page.bytes)),
            h('td', null),
            h('td', null)
          )
        : null
    )
  }

  /** @param {Awaited<ReturnType<typeof storage.models>>[number]} kept */
  const modelRow = (kept) => {
    const used = model.get().status === 'ready' && model.get().name === kept.name
    const remove = button({ icon: 'trash', label: t.settings.storage.deleteModel(kept.name), text: false })
    remove.addEventListener('click', () => void ask(kept, used))
    return h(
      'tr',
      null,
      h(
        'th',
        { scope: 'row' },
        kept.name,
        used ? h('span', { class: 'tag' }, t.settings.storage.inUse) : null,
        kept.whole ? null : h('span', { class: 'tag' }, t.settings.storage.part)
      ),
      h('td', { class: 'right number' }, size(kept.bytes)),
      h('td', { class: 'note' }, kept.used ? when(kept.used) : t.settings.storage.never),
      h('td', { class: 'right' }, remove)
    )
  }

  /** @param {Awaited<ReturnType<typeof storage.models>>[number]} kept @param {boolean} used */
  const ask = async (kept, used) => {
    const choices = [
      { label: t.cancel, value: '' },
      { label: t.settings.storage.deleteYes, kind: 'danger', value: 'yes' },
    ]
    const { closed } = dialog(
      { title: t.settings.storage.deleteModel(kept.name), choices },
      h('p', null, t.settings.storage.deleteAsk(kept.name, kept.bytes)),
      used ? h('p', { class: 'note' }, t.settings.storage.deleteInUse) : null
    )
    if ((await closed) !== 'yes') return
    if (used) await leave()
    await storage.deleteModel(kept.id)
    const last = remembered()
    if (last && last.name === kept.name) remember({ ...last, whole: false })
    await refresh()
  }

  storage.keeping.subscribe(({ persisted, refused }) => {
    const askButton = button({
      label: t.settings.storage.ask,
      kind: 'quiet',
      onclick: () => void storage.keepStorage(true),
    })
    if (persisted === null) fill(keep)
    else if (persisted) fill(keep, icon('check'), h('p', null, t.settings.storage.keptFor))
    else
      fill(
        keep,
        icon('alert'),
        h('p', null, t.settings.storage.mayDelete, refused ? ` ${t.settings.storage.refused}` : ''),
        refused ? null : askButton
      )
  })
  conversations.conversations.subscribe(() => {
    const gone = conversations.recentlyDeleted()
    fill(
      recent,
      h('h3', null, t.settings.storage.recent),
      h('p', { class: 'note' }, gone.length ? t.settings.storage.recentAbout : t.settings.storage.recentNone),
      h(
        'ul',
        { class: 'plain-list' },
        ...gone.map((conversation) =>
          h(
            'li',
            null,
            h('span', { class: 'line' }, conversation.title),
            button({
              label: t.settings.storage.restore,
              kind: 'quiet',
              'aria-label': t.settings.storage.restoreName(conversation.title),
              onclick: () => void conversations.markDeleted(conversation, false),
            }),
            button({
              label: t.settings.storage.forget,
              'aria-label': t.settings.storage.forgetName(conversation.title),
              onclick: () => void conversations.forget(conversation.id),
            })
          )
        )
      )
    )
  })
  model.subscribe(() => element.isConnected && void refresh())
  return { element, refresh: () => void refresh() }
}

/* ---- Privacy -------------------------------------------------------------------------------------------------------- */

function privacySection() {
  const sentence = h('p', null)
  network.subscribe(({ requests, mark }) => {
    sentence.textContent = mark === null ? t.pill.before(requests.length) : t.pill.after(counted())
  })
  const list = (/** @type {string} */ title, /** @type {string[]} */ items) =>
    h('div', null, h('h3', null, title), h('ul', { class: 'bullets' }, ...items.map((item) => h('li', null, item))))
  const element = h(
    'div',
    { class: 'stack' },
    sentence,
    h('p', null, t.pill.check),
    h(
      'div',
      { class: 'two' },
      list(t.settings.privacy.needs, t.settings.privacy.needsList),
      list(t.settings.privacy.neverNeeds, t.settings.privacy.neverList)
    ),
    h('p', null, t.settings.privacy.neverSent),
    h('p', { class: 'note' }, t.pill.kept(location.origin))
  )
  return { element }
}

/* ---- Choices -------------------------------------------------------------------------------------------------------- */

/**
 * @template {string | number} V
 * @param {{name: string, legend: string, about?: string, options: {value: V, label: string, note?: string}[], get: () => V,
 * set: (value: V) => void}} options
 */
function choice({ name, legend, about, options, get, set }) {
  const inputs = options.map(({ value }) =>
    h('input', { type: 'radio', name, value: String(value), onchange: () => set(value) })
  )
  settings.subscribe(() => {
    for (const [i, { value }] of options.entries()) /** @type {HTMLInputElement} */ (inputs[i]).checked = value === get()
  })
  return h(
    'fieldset',
    { class: 'choice' },
    h('legend', null, legend),
    about ? h('p', { class: 'note' }, about) : null,
    h(
      'div',
      { class: 'options' },
      ...options.map(({ label, note }, i) =>
        h(
          'label',
          null,
          /** @type {Node} */ (inputs[i]),
          h('span', null, label, note ? h('span', { class: 'note block number' }, note) : null)
        )
      )
    )
  )
}

/** @param {{label: string, about?: string, get: () => boolean, set: (yes: boolean) => void}} options */
function toggle({ label, about, get, set }) {
  const input = h('input', { type: 'checkbox', onchange: () => set(input.checked) })
  settings.subscribe(() => (input.checked = get()))
  return h(
    'label',
    { class: 'toggle' },
    input,
    h('span', null, label, about ? h('span', { class: 'note block' }, about) : null)
  )
}

function appearanceSection() {
  const output = h('output', { class: 'number' })
  const range = h('input', { type: 'range', min: 90, max: 130, step: 5, id: 'text-size' })
  range.addEventListener('input', () => change({ textSize: Number(range.value) }))
  settings.subscribe(({ textSize }) => {
    range.value = String(textSize)
    output.textContent = t.settings.appearance.textValue(textSize)
  })
  const element = h(
    'div',
    { class: 'stack' },
    choice({
      name: 'theme',
      legend: t.settings.appearance.theme,
      get: () => settings.get().theme,
      set: (theme) => change({ theme }),
      options: [
        { value: 'system', label: t.settings.appearance.system },
        { value: 'light', label: t.settings.appearance.light },
        { value: 'dark', label: t.settings.appearance.dark },
      ],
    }),
    h(
      'div',
      { class: 'choice' },
      h('label', { for: 'text-size', class: 'legend' }, t.settings.appearance.text),
      h('div', { class: 'range' }, range, output)
    )
  )
  return { element }
}

function detailsSection() {
  const engine = h('div', { class: 'engine' })
  const reload = button({ label: t.settings.details.reloadModel, kind: 'quiet', onclick: () => void resume() })
  const look = () => {
    const { status, info, bytes, choice: chosen, name } = model.get()
    fill(
      engine,
      h('h3', null, status === 'ready' ? name : t.settings.details.engine),
      status === 'ready'
        ? facts(info, bytes, chosen?.kind === 'card' ? chosen.card.licence : '')
        : h('p', { class: 'note' }, t.settings.details.engineNone)
    )
    reload.hidden =
      status !== 'ready' ||
      Number(info?.context) === Math.min(settings.get().room, Number(info?.trained_context ?? Infinity))
  }
  model.subscribe(look)
  settings.subscribe(look)
  const varieties = /** @type {const} */ (['low', 'middle', 'high'])
  const element = h(
    'div',
    { class: 'stack' },
    toggle({
      label: t.settings.details.show,
      about: t.settings.details.showAbout,
      get: () => settings.get().details,
      set: (details) => change({ details }),
    }),
    choice({
      name: 'room',
      legend: t.settings.details.room,
      about: t.settings.details.roomAbout,
      get: () => settings.get().room,
      set: (room) => change({ room }),
      options: rooms.map((n) => ({ value: n, label: t.settings.details.roomOption(n) })),
    }),
    reload,
    choice({
      name: 'variety',
      legend: t.settings.details.variety,
      about: t.settings.details.varietyAbout,
      get: () => settings.get().variety,
      set: (variety) => change({ variety }),
      options: varieties.map((v) => ({
        value: v,
        label: t.settings.details[v],
        note: t.settings.details.temperature(temperatures[v]),
      })),
    }),
    choice({
      name: 'spoken',
      legend: t.settings.details.spoken,
      get: () => settings.get().spoken,
      set: (spoken) => change({ spoken }),
      options: [
        { value: /** @type {const} */ ('whole'), label: t.settings.details.spokenWhole },
        { value: /** @type {const} */ ('sentence'), label: t.settings.details.spokenSentence },
      ],
    }),
    engine
  )
  return { element }
}

function keysSection() {
  const single = toggle({
    label: t.keys.single,
    get: () => settings.get().singleKeys,
    set: (singleKeys) => change({ singleKeys }),
  })
  return { element: h('div', { class: 'stack' }, h('p', { class: 'note' }, t.keys.about), single, keyList()) }
}

/* ---- Data out, in, gone --------------------------------------------------------------------------------------------- */

function exportNow() {
  const data = conversations.exportAll()
  saveFile(t.settings.data.exportName(data.exported.slice(0, 10)), JSON.stringify(data, null, 1), 'application/json')
  say(t.settings.data.exported(data.conversations.length))
  return data.conversations.length
}

function dataSection() {
  const result = h('p', { class: 'result', role: 'status' })
  const row = (/** @type {Node} */ action, /** @type {string} */ about) =>
    h('div', { class: 'data-row' }, action, h('p', { class: 'note' }, about))
  const element = h(
    'div',
    { class: 'stack' },
    row(
      button({
        icon: 'get',
        label: t.settings.data.export,
        kind: 'quiet',
        onclick: () => {
          result.textContent = t.settings.data.exported(exportNow())
        },
      }),
      t.settings.data.exportAbout
    ),
    row(
      button({ icon: 'file', label: t.settings.data.import, kind: 'quiet', onclick: () => void importFile() }),
      t.settings.data.importAbout
    ),
    result,
    row(
      button({ icon: 'trash', label: t.settings.data.erase, kind: 'danger', onclick: () => void askErase() }),
      t.settings.data.eraseAbout
    )
  )

  const importFile = async () => {
    const [file] = await pickFiles({ accept: '.json,application/json' })
    if (!file) return
    if (file.size > conversations.importLimit) {
      result.textContent = t.settings.data.importLarge(file.name, conversations.importLimit)
      return
    }
    /** @type {unknown} */
    let data = null
    try {
      data = JSON.parse(await file.text())
    } catch {
      // Not JSON: told below.
    }
    const done = await conversations.importAll(data)
    if (!done) result.textContent = t.settings.data.importBad(file.name)
    else
      result.textContent = done.bad
        ? t.settings.data.importSome(done.imported, done.bad)
        : t.settings.data.imported(done.imported)
  }
  return { element }
}

async function askErase() {
  const [models, room] = await Promise.all([storage.models().catch(() => []), storage.estimate()])
  const bytes = room?.usage ?? models.reduce((sum, m) => sum + m.bytes, 0)
  const word = h('input', {
    class: 'field',
    type: 'text',
    id: 'erase-word',
    autocomplete: 'off',
    autocapitalize: 'off',
    spellcheck: 'false',
  })
  const yes = button({ label: t.settings.data.eraseYes, kind: 'danger', disabled: true })
  const { closed, close } = dialog(
    { title: t.settings.data.eraseTitle },
    h('p', null, t.settings.data.eraseList(conversations.visible().length, models.length, bytes)),
    h('label', { for: 'erase-word', class: 'legend' }, t.settings.data.eraseType),
    word,
    h(
      'div',
      { class: 'choices' },
      button({ label: t.cancel, onclick: () => close() }),
      button({ label: t.settings.data.exportFirst, kind: 'quiet', onclick: () => exportNow() }),
      yes
    )
  )
  word.addEventListener('input', () => (yes.disabled = word.value.trim().toLowerCase() !== t.settings.data.eraseWord))
  word.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && !event.isComposing && !yes.disabled) yes.click()
  })
  yes.addEventListener('click', () => close('erase'))
  word.focus()
  if ((await closed) !== 'erase') return
  await leave()
  await storage.eraseAll()
  location.hash = ''
  location.reload()
}
