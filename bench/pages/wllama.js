/* wllama.js: wllama 2.3.1 on the same file, by the same measure: load, prefill of n tokens, decoding of n tokens. */
import { Wllama } from '/wllama/esm/index.js'

/** @param {{model: string, threads: number, prefill: number[], decode: number, repeats: number, context: number}} what */
globalThis.bench = async (what) => {
  const started = performance.now()
  const wllama = new Wllama(
    {
      'single-thread/wllama.wasm': '/wllama/esm/single-thread/wllama.wasm',
      'multi-thread/wllama.wasm': '/wllama/esm/multi-thread/wllama.wasm',
    },
    { suppressNativeLog: true },
  )
  const file = await (await fetch(what.model)).blob()
  await wllama.loadModel([file], { n_ctx: what.context, n_threads: what.threads, n_batch: 512 })
  const rows = [{ what: 'load', n: 1, seconds: [(performance.now() - started) / 1000] }]
  const ids = Array.from({ length: 1024 }, (_, i) => 1000 + ((i * 7919) % 40000))
  for (const n of what.prefill) {
    const seconds = []
    for (let i = 0; i < what.repeats; i++) {
      await wllama.kvClear()
      const begun = performance.now()
      await wllama.decode(ids.slice(0, n), {})
      seconds.push((performance.now() - begun) / 1000)
    }
    rows.push({ what: 'prefill', n, seconds })
  }
  await wllama.samplingInit({ temp: 0 })
  const seconds = []
  for (let i = 0; i < what.repeats; i++) {
    await wllama.kvClear()
    await wllama.decode(ids.slice(0, 16), {})
    const begun = performance.now()
    for (let t = 0; t < what.decode; t++) {
      const { token } = await wllama.samplingSample()
      await wllama.samplingAccept([token])
      await wllama.decode([token], {})
    }
    seconds.push((performance.now() - begun) / 1000)
  }
  rows.push({ what: 'decode', n: what.decode, seconds })
  return rows
}
globalThis.ready = true
