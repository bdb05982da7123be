/** keylist.js: the table of keys as elements, for the dialog and for Settings. */
import { h } from './h.js'
import { keys, isMac } from './keys.js'
import { t } from './strings.js'

/** @returns {HTMLElement} */
export function keyList() {
  const names = /** @type {Record<string, string>} */ ({
    ...t.keys.names,
    mod: isMac ? t.keys.names.modMac : t.keys.names.mod,
  })
  const does = /** @type {Record<string, string>} */ (t.keys.does)
  const stroke = (/** @type {string[]} */ parts) =>
    h(
      'span',
      { class: 'stroke' },
      ...parts.map((part) =>
        part === 'then' ? h('span', { class: 'note' }, t.keys.names.then) : h('kbd', null, names[part] ?? part)
      )
    )
  const groups = /** @type {const} */ (['write', 'go', 'answer'])
  return h(
    'div',
    { class: 'key-list' },
    ...groups.map((group) => {
      const ids = [...new Set(keys.filter((key) => key.group === group).map((key) => key.id))]
      return h(
        'section',
        null,
        h('h3', null, t.keys.groups[group]),
        h(
          'dl',
          null,
          ...ids.flatMap((id) => [
            h(
              'dt',
              null,
              ...keys
                .filter((key) => key.id === id)
                .flatMap((key) => key.show)
                .map(stroke)
            ),
            h('dd', null, does[id] ?? ''),
          ])
        )
      )
    })
  )
}
