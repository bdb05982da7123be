/*
 * The colours of tokens.css against the table of the design: every pair's contrast is computed again by the WCAG formula,
 * as the lowest over the three backgrounds where the table says so.
 */
import test from 'node:test'
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'

const css = await readFile(new URL('../../web/app/css/tokens.css', import.meta.url), 'utf8')

/**
 * The custom properties of the rule that begins with this selector.
 * @param {string} selector
 * @returns {Record<string, string>}
 */
function tokens(selector) {
  const start = css.indexOf(selector)
  assert.ok(start >= 0, `tokens.css has no rule ${selector}`)
  const body = css.slice(css.indexOf('{', start) + 1, css.indexOf('}', start))
  return Object.fromEntries([...body.matchAll(/--([\w-]+):\s*(#[0-9a-f]{6})/gi)].map(([, name, value]) => [name, value]))
}

const light = tokens(":root,\n:root[data-theme='light']")
const dark = tokens(":root[data-theme='dark']")
const darkBySystem = tokens(":root:not([data-theme='light'])")

/** @param {string} hex */
function luminance(hex) {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const c = parseInt(hex.slice(at, at + 2), 16) / 255
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * /** @type {number} */ (r) + 0.7152 * /** @type {number} */ (g) + 0.0722 * /** @type {number} */ (b)
}

/** @param {string} a @param {string} b */
function ratio(a, b) {
  const [high = 0, low = 0] = [luminance(a), luminance(b)].sort((x, y) => y - x)
  return /** @type {number} */ (high + 0.05) / /** @type {number} */ (low + 0.05)
}

const PAPER = ['bg', 'surface', 'sunken']
/** Colour, what it stands on, least ratio (4.5 text, 3 borders and series), and the design's figures for light and dark. */
const PAIRS = /** @type {[string, string[], number, number, number][]} */ ([
  ['ink', PAPER, 4.5, 14.6, 14.0],
  ['ink-2', PAPER, 4.5, 6.2, 7.1],
  ['accent', PAPER, 4.5, 6.4, 8.4],
  ['on-accent', ['accent'], 4.5, 7.3, 8.7],
  ['ink', ['accent-soft'], 4.5, 14.2, 11.5],
  ['accent', ['accent-soft'], 4.5, 6.2, 6.9],
  ['danger', PAPER, 4.5, 6.5, 8.1],
  ['danger', ['danger-soft'], 4.5, 6.4, 7.6],
  ['warn', PAPER, 4.5, 6.4, 9.6],
  ['warn', ['warn-soft'], 4.5, 6.6, 8.4],
  ['ok', PAPER, 4.5, 6.4, 8.9],
  ['ok', ['ok-soft'], 4.5, 6.4, 7.9],
  ['ink', ['mark'], 4.5, 14.0, 10.3],
  ['ink-2', ['mark'], 4.5, 6.0, 5.3],
  ['focus', PAPER, 3, 5.6, 7.9],
  ['edge', PAPER, 3, 3.2, 3.9],
  ['series-1', PAPER, 3, 4.8, 6.6],
  ['series-2', PAPER, 3, 6.5, 5.9],
  ['series-3', PAPER, 3, 7.2, 5.1],
  // Text on the soft colours, as problem.js and notices set it.
  ['ink', ['danger-soft'], 4.5, 0, 0],
  ['ink', ['warn-soft'], 4.5, 0, 0],
  ['ink-2', ['accent-soft'], 4.5, 0, 0],
])

for (const [theme, colours, column] of /** @type {const} */ ([
  ['light', light, 3],
  ['dark', dark, 4],
])) {
  test(`every pair of colours of the ${theme} theme has the contrast of the design`, () => {
    for (const pair of PAIRS) {
      const [front, backs, least] = pair
      const lowest = Math.min(
        ...backs.map((back) => ratio(/** @type {string} */ (colours[front]), /** @type {string} */ (colours[back])))
      )
      assert.ok(lowest >= least, `${front} on ${backs.join(', ')}: ${lowest.toFixed(2)} < ${least}`)
      const told = pair[column]
      if (told)
        assert.ok(
          Math.abs(lowest - told) < 0.1,
          `${front} on ${backs.join(', ')}: ${lowest.toFixed(2)}, the design says ${told}`
        )
    }
  })
}

test('the dark theme is the same whether it was chosen or is the system’s', () => {
  assert.ok(Object.keys(dark).length >= 21)
  assert.deepEqual(darkBySystem, dark)
  assert.deepEqual(Object.keys(light).sort(), Object.keys(dark).sort())
})

test('no style sheet names a colour of its own', async () => {
  for (const name of ['base', 'shell', 'chat', 'settings']) {
    const text = await readFile(new URL(`../../web/app/css/${name}.css`, import.meta.url), 'utf8')
    const own = [...text.matchAll(/#[0-9a-f]{3,8}\b|\brgba?\([^)]*\)|\bhsla?\([^)]*\)/gi)]
      .map(([found]) => found)
      .filter((c) => !/^rgb\(0 0 0 \/ 0\.\d+\)$/.test(c))
    assert.deepEqual(own, [], `${name}.css`)
  }
})
