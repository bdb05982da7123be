/**
 * fit.js: whether a model fits this machine, with the numbers that say so. What a model needs is the engine's own plan,
 * from its card; what there is, is what the browser tells: how large a WebAssembly memory can grow here (tried, never
 * written to), the machine's memory where it is told (rounded by the browser, so "about"), and the room that storage has
 * left.
 */
import { rooms } from './settings.js'

/**
 * @typedef {{kv: number, work: number, total: number}} Plan
 * @typedef {{weights: number, rooms: Record<string, Plan>}} Memory
 * @typedef {object} Machine
 * @property {number} tab bytes that a WebAssembly memory can have here
 * @property {number | null} device bytes of the machine, about; null: not told
 * @property {boolean} least the machine may have more than `device`: browsers tell no more than that
 * @property {number | null} free bytes that storage has left; null: not told
 *
 * @typedef {object} Fit
 * @property {'yes' | 'tight' | 'no' | 'unknown'} fits
 * @property {'' | 'plan' | 'tab' | 'device' | 'storage'} why
 * @property {number} need bytes
 * @property {number} have bytes, of what `why` says
 * @property {number} room tokens that the verdict is for
 * @property {{room: number, need: number} | null} smaller the largest room that fits, where the chosen one does not
 */

const PAGE = 65536
const GIB = 1024 ** 3
/** What the engine takes besides its plan: stack, code's data, arguments. */
const BESIDE = 8 * 1024 ** 2
/** Browsers tell at most this much of a machine's memory. */
const TOLD_AT_MOST = 8 * GIB
/** The share of a machine's memory above which other things get slow, and above which it is too much. */
const LARGE_SHARE = 0.5
const TOO_LARGE_SHARE = 0.85

/** @type {number | undefined} */
let tabBytes

/** The largest WebAssembly memory that this tab can have. It is given back at once. */
function largestMemory() {
  for (const gibibytes of [4, 3, 2, 1, 0.5]) {
    const pages = (gibibytes * GIB) / PAGE
    try {
      new WebAssembly.Memory({ initial: 1, maximum: pages }).grow(pages - 1)
      return gibibytes * GIB
    } catch {
      // Less, then.
    }
  }
  return 0
}

/** What this machine has. @returns {Promise<Machine>} */
export async function machine() {
  tabBytes ??= largestMemory()
  const told = Number(/** @type {any} */ (navigator).deviceMemory) * GIB
  const estimate = await navigator.storage?.estimate?.().catch(() => undefined)
  return {
    tab: tabBytes,
    device: told > 0 ? told : null,
    least: told >= TOLD_AT_MOST,
    free: estimate?.quota ? Math.max(0, estimate.quota - (estimate.usage ?? 0)) : null,
  }
}

/** The plan for a room, or for the largest below it. @param {Memory} memory @param {number} room */
function planFor(memory, room) {
  const known = Object.keys(memory.rooms).map(Number).sort((a, b) => a - b)
  const chosen = known.filter((tokens) => tokens <= room).at(-1) ?? known[0] ?? 0
  return { room: chosen, need: (memory.rooms[chosen]?.total ?? 0) + BESIDE }
}

/**
 * @param {{memory: Memory | null, bytes: number, kept?: boolean}} model kept: its file is in this browser
 * @param {number} room tokens of the conversation
 * @param {Machine} here
 * @returns {Fit}
 */
export function fitOf(model, room, here) {
  if (!model.memory) return { fits: 'unknown', why: 'plan', need: 0, have: 0, room, smaller: null }
  const { memory } = model
  const plan = planFor(memory, room)
  const verdict = judge(plan.need, here)
  if (verdict.fits === 'no') {
    const smaller = rooms
      .filter((tokens) => tokens < plan.room)
      .map((tokens) => planFor(memory, tokens))
      .findLast(({ need }) => judge(need, here).fits !== 'no')
    return { ...verdict, ...plan, smaller: smaller ?? null }
  }
  if (verdict.fits === 'yes' && !model.kept && here.free !== null && here.free < model.bytes)
    return { fits: 'tight', why: 'storage', ...plan, have: here.free, smaller: null }
  return { ...verdict, ...plan, smaller: null }
}

/** @param {number} need @param {Machine} here @returns {Pick<Fit, 'fits' | 'why' | 'have'>} */
function judge(need, here) {
  if (need > here.tab) return { fits: 'no', why: 'tab', have: here.tab }
  if (here.device === null) return { fits: 'yes', why: '', have: here.tab }
  if (!here.least && need > TOO_LARGE_SHARE * here.device) return { fits: 'no', why: 'device', have: here.device }
  if (need > LARGE_SHARE * here.device) return { fits: 'tight', why: 'device', have: here.device }
  return { fits: 'yes', why: '', have: here.device }
}
