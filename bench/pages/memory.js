/* memory.js: one load and one answer in a page, for its renderer's peak of memory. */
import { load } from '/web/index.js'

/** @param {{model: string, context: number, cache: 'memory' | 'opfs', prompt: string, tokens: number}} what */
globalThis.bench = async ({ model, context, cache, prompt, tokens }) => {
  const started = performance.now()
  const llm = await load({ model, contextSize: context, threads: 1, cache })
  const seconds = (performance.now() - started) / 1000
  const { usage } = await llm.completions.create({ prompt, max_tokens: tokens, temperature: 0, ignore_end: true })
  const { memory, wasm_memory, build } = llm.info
  return { seconds, usage, memory, wasm_memory, build }
}
