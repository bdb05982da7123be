/**
 * composer.js: the box, Send which becomes Stop in the same place, and the meter of the conversation room. Enter sends only
 * with a fine pointer and never while an input method composes.
 */
import { h, fill, icon, button } from '../h.js'
import { t } from '../strings.js'
import { composing, isTouch } from '../keys.js'
import { save, recall } from '../settings.js'

const DRAFT = 'nook.draft'

/** @param {{send: (text: string) => boolean, stop: () => void, editLast: () => boolean}} actions */
export function composer({ send, stop, editLast }) {
  const box = h('textarea', {
    id: 'composer',
    class: 'box',
    rows: 1,
    'aria-label': t.chat.box,
    placeholder: t.chat.placeholder,
    'aria-describedby': 'composer-note',
    enterkeyhint: isTouch() ? 'enter' : 'send',
    autocomplete: 'off',
  })
  const action = button({ icon: 'send', label: t.chat.send, text: false, kind: 'main', class: 'send' })
  const note = h('p', { class: 'note', id: 'composer-note' })
  const meter = h('meter', { min: 0, max: 1, 'aria-label': t.chat.meterName })
  const meterText = h('span', { class: 'number' })
  const meterPlace = h('div', { class: 'meter note', hidden: true }, meterText, meter)
  const element = h(
    'form',
    { class: 'composer' },
    h('div', { class: 'frame' }, box, action),
    h('div', { class: 'under-box' }, note, meterPlace)
  )
  let busy = false
  let busySince = 0

  const fit = () => {
    // Without CSS for it (field-sizing), the height follows the text by script.
    if (CSS.supports('field-sizing', 'content')) return
    box.style.setProperty('--box', 'auto')
    box.style.setProperty('--box', `${box.scrollHeight}px`)
  }
  const look = () => {
    action.disabled = !busy && box.value.trim() === ''
    fit()
  }
  const submit = () => {
    const text = box.value.trim()
    if (busy || !text || !send(text)) return
    setText('')
  }
  const setText = (/** @type {string} */ text) => {
    box.value = text
    save(DRAFT, text || null)
    look()
  }
  element.addEventListener('submit', (event) => {
    event.preventDefault()
    submit()
  })
  action.addEventListener('click', (event) => {
    if (!busy) submit()
    // A double click on Send is not a Stop, however long a busy page takes between its clicks.
    else if (event.detail !== 2 && performance.now() - busySince > 400) stop()
    box.focus()
  })
  box.addEventListener('input', () => {
    save(DRAFT, box.value || null)
    look()
  })
  box.addEventListener('keydown', (event) => {
    if (composing(event)) return
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey || (!event.shiftKey && !event.altKey && !isTouch()))) {
      event.preventDefault()
      submit()
    } else if (event.key === 'ArrowUp' && box.value === '' && editLast()) event.preventDefault()
  })
  setText(typeof recall(DRAFT) === 'string' ? recall(DRAFT) : '')

  return {
    element,
    focus: () => box.focus(),
    setText,
    hasText: () => box.value.trim() !== '',
    /** @param {boolean} yes */
    setBusy(yes) {
      if (yes === busy) return
      busy = yes
      busySince = performance.now()
      const label = yes ? t.chat.stop : t.chat.send
      fill(action, icon(yes ? 'stop' : 'send'))
      action.setAttribute('aria-label', label)
      action.title = label
      look()
    },
    /** @param {string} text */
    setNote(text) {
      if (note.textContent !== text) note.textContent = text
    },
    /** @param {number} used @param {number} room 0: hidden */
    setMeter(used, room) {
      meterPlace.hidden = room <= 0
      if (room <= 0) return
      const share = Math.min(1, used / room)
      meter.value = share
      meterPlace.classList.toggle('full', share > 0.9)
      meterText.textContent = t.chat.meter(used, room)
    },
  }
}
