/* nook.js: Nook through its public interface, in a page: load, reading of n tokens, writing of n tokens, time to stop. */
import { load } from '/web/index.js'

/**
 * @param {{model: string, threads: number, build: string, prefill: number[], decode: number, repeats: number, context:
 *   number,
 *          abort: boolean}} what
 */
globalThis.bench = async (what) => {
  const started = performance.now()
  const llm = await load({
    model: new URL(what.model, location.href).href,
    contextSize: what.context,
    threads: what.threads,
    build: what.build,
    cache: 'memory',
  })
  const rows = [{ what: 'load', n: 1, seconds: [(performance.now() - started) / 1000] }]
  const ids = Array.from({ length: 1024 }, (_, i) => 1000 + ((i * 7919) % 40000))
  const generate = (length, tokens, more = {}) =>
    llm.completions.create({
      prompt: ids.slice(0, length),
      max_tokens: tokens,
      temperature: 0,
      ignore_end: true,
      reuse: false,
      ...more,
    })
  await generate(32, 8)
  for (const n of what.prefill) {
    const seconds = []
    for (let i = 0; i < what.repeats; i++) seconds.push((await generate(n, 1)).timings.prompt_ms / 1000)
    rows.push({ what: 'prefill', n, seconds })
  }
  const seconds = []
  for (let i = 0; i < what.repeats; i++) seconds.push((await generate(16, what.decode)).timings.predicted_ms / 1000)
  rows.push({ what: 'decode', n: what.decode, seconds })
  if (what.abort) {
    for (const [name, length, wait] of [['abort while reading', 900, 400], ['abort while writing', 16, 600]]) {
      const times = []
      for (let i = 0; i < what.repeats; i++) {
        const controller = new AbortController()
        let at = 0
        setTimeout(() => { at = performance.now(); controller.abort() }, wait)
        try { await generate(length, 500, { signal: controller.signal }) } catch { /* that is what was asked for */ }
        times.push((performance.now() - at) / 1000)
      }
      rows.push({ what: name, n: 1, seconds: times })
    }
  }
  const { build, threads, isa, memory } = llm.info
  await llm.dispose()
  return { rows, build, threads, isa, memory }
}
