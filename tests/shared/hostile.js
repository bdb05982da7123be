/*
 * hostile.js: every file of tests/hostile through the public load(), as a person would give it; the manifest says how each
 * must end. The native counterpart, under sanitizers, is tests/unit/test_hostile_load.c.
 */
import { check } from './kit.js'

/** @typedef {import('./kit.js').Env} Env */
/** @typedef {{file: string, layer: string, cve: string, status: string, says: string}} Entry */

const FOLDER = 'tests/hostile/'

/** @param {Env} env @returns {Promise<import('./kit.js').Cases>} */
export async function cases(env) {
  void env
  return {
    'each hostile header is refused with its sentence': (inside) => refuseAll(inside, 'reader'),
    'each hostile model is refused with its sentence, or loads and answers': (inside) => refuseAll(inside, 'load'),
  }
}

/** @param {Env} env @param {string} layer */
async function refuseAll(env, layer) {
  /** @type {Entry[]} */
  const manifest = JSON.parse(new TextDecoder().decode(await env.read(`${FOLDER}manifest.json`)))
  const entries = manifest.filter((entry) => entry.layer === layer)
  check(entries.length >= 50, `the manifest has only ${entries.length} entries of the layer ${layer}`)
  /** @type {string[]} */
  const wrong = []
  for (const entry of entries) {
    const problem = await problemOf(env, entry)
    if (problem !== '') wrong.push(`${entry.file}: ${problem}`)
  }
  check(wrong.length === 0, wrong.join('\n'))
  return { files: entries.length }
}

/** @param {Env} env @param {Entry} entry @returns {Promise<string>} '' when it ended as it must */
async function problemOf(env, entry) {
  const file = new File([await env.read(FOLDER + entry.file)], entry.file)
  try {
    const llm = await env.load({ model: file, contextSize: 32, threads: 1 })
    try {
      if (entry.status !== 'ok') return `it was loaded; wanted ${entry.status} "${entry.says}"`
      /* By ids: some of these vocabularies have no token for any text. */
      await llm.tokenize('ab', { addSpecial: true })
      const answer = await llm.completions.create({ prompt: [0, 1], max_tokens: 2, temperature: 0 })
      return typeof answer.choices[0].text === 'string' ? '' : 'it gives no text'
    } finally {
      await llm.dispose()
    }
  } catch (thrown) {
    const error = /** @type {any} */ (thrown)
    const told = `${error.name} ${error.code}: ${error.message} | ${error.hint}`
    if (
      error.name !== 'NookError'
      || error.code !== entry.status
      || !error.message.toLowerCase().includes(entry.says.toLowerCase())
    )
      return `wanted ${entry.status} "${entry.says}", got ${told}`
    if (!/^\S[^\n]*\.$/.test(error.message)) return `no sentence: ${told}`
    return /^\S[^\n]*\.$/.test(error.hint) ? '' : `nothing says what to do: ${told}`
  }
}
