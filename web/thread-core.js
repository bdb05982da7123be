/*
 * thread-core.js: the life of a helper thread, in browsers (thread.js) and Node (thread.node.js).
 *
 * Purpose  One instance of the engine's module over the memory of the first instance, standing in nook_thread_main until it
 *          is sent home. Order of the steps: docs/wasm-threads.md.
 */

/**
 * @param {{module: WebAssembly.Module, memory: WebAssembly.Memory, context: number, index: number, tls: number, top:
 *   number}} start
 * @param {(message: {type: 'ready' | 'left'}) => void} post
 */
export async function live(start, post) {
  const instance = await WebAssembly.instantiate(start.module, { env: { memory: start.memory } })
  const exports = /** @type {Record<string, any>} */ (instance.exports)
  exports['__stack_pointer'].value = start.top
  exports['__wasm_init_tls'](start.tls)
  post({ type: 'ready' })
  exports['nook_thread_main'](start.context, start.index)
  post({ type: 'left' })
}
