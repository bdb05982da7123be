/** excerpt.js: a found passage with its word marked. */
import { h } from './h.js'

/** @param {{excerpt: string, at: [number, number] | null}} hit */
export function excerpt({ excerpt: text, at }) {
  if (!at) return h('span', { class: 'excerpt' }, text)
  return h('span', { class: 'excerpt' }, text.slice(0, at[0]), h('mark', null, text.slice(...at)), text.slice(at[1]))
}
