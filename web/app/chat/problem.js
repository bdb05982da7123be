/** problem.js: an error in words: what happened, what it means for her data, actions; code and details folded. */
import { h, icon } from '../h.js'
import { t } from '../strings.js'

/**
 * @param {{code: string, message: string, hint?: string}} error
 * @param {(Node | null)[]} actions
 */
export function problem({ code, message, hint }, actions) {
  const known = t.errors[code] ?? t.errors.internal
  return h(
    'div',
    { class: 'problem', role: 'alert' },
    icon('alert'),
    h(
      'div',
      null,
      h('p', { class: 'problem-title' }, known?.title ?? ''),
      h('p', null, known?.means ?? ''),
      h('div', { class: 'actions-row' }, ...actions),
      h(
        'details',
        null,
        h('summary', { class: 'note' }, t.details),
        h('p', { class: 'note foreign' }, message),
        hint ? h('p', { class: 'note foreign' }, hint) : null,
        h('p', { class: 'note' }, t.error.code(code))
      )
    )
  )
}
