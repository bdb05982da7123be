// kernels.mjs: speed of the matrix kernels, by format, kernel and ISA; one thread.
//
//   node --experimental-wasm-relaxed-simd bench/kernels.mjs FILE.wasm [--filter TEXT] [--rounds N] [--json]
//
// FILE.wasm is bench/kernels_main.c with kernels/, as a reactor module. The same `measure` runs in a page (it uses nothing
// of Node's). Gop/s = 10^9 multiplications and additions a second; GB/s = packed weights read once a run. Medians.

/** @typedef {{format: string, what: string, isa: string, m: number, rows: number, cols: number, gops: number, gbps: number,
 *   seconds: number}} Row */

const ISAS = ['scalar', 'simd128', 'relaxed']
const WHAT = {
  gemm_q8: 0, gemm_f32: 1, gemm_t: 2, quantize: 3, gather: 4, pack: 5, unpack: 6, read: 7,
  dense_nt: 8, dense_nn: 9, dense_tn: 10,
}

/** [what, tokens, rows, cols, formats]: a layer of SmolLM2 in cache, matrices from memory, and the small kernels. */
const CASES = /** @type {[keyof typeof WHAT, number, number, number, string][]} */ ([
  ['read', 1, 196608, 576, 'Q4_1'],
  ['gemm_q8', 1, 1536, 576, 'Q4_1 Q4_0 Q8_0 Q5_0 Q5_1 IQ4_NL'],
  ['gemm_q8', 1, 1536, 1536, 'Q4_1 Q4_K Q6_K Q5_K Q3_K Q2_K IQ4_XS'],
  ['gemm_q8', 1, 196608, 576, 'Q4_1'],
  ['gemm_q8', 1, 49152, 576, 'Q8_0'],
  ['gemm_q8', 1, 65536, 1024, 'Q6_K'],
  ['gemm_q8', 2, 1536, 576, 'Q4_1'],
  ['gemm_q8', 4, 1536, 576, 'Q4_1'],
  ['gemm_q8', 128, 1536, 576, 'Q4_1 Q4_0 Q8_0 Q5_0 Q5_1 IQ4_NL'],
  ['gemm_q8', 128, 576, 1536, 'Q4_1 Q4_K Q6_K Q5_K Q3_K Q2_K IQ4_XS'],
  ['gemm_f32', 1, 1536, 576, 'Q4_1 Q4_0 Q8_0 Q5_1 IQ4_NL F16 BF16 F32'],
  ['gemm_f32', 128, 1536, 576, 'Q4_1 Q4_0 Q8_0 Q5_1 IQ4_NL F16 BF16 F32'],
  ['gemm_f32', 128, 576, 1536, 'Q4_1 Q4_K Q6_K'],
  ['gemm_t', 4, 1536, 576, 'Q4_1'],
  ['gemm_t', 8, 1536, 576, 'Q4_1'],
  ['gemm_t', 128, 1536, 576, 'Q4_1 Q4_0 Q8_0 Q5_1 IQ4_NL F16 BF16 F32'],
  ['gemm_t', 128, 576, 1536, 'Q4_1 Q4_K Q6_K'],
  ['gemm_t', 256, 1536, 576, 'Q4_1 Q8_0'],
  ['gemm_t', 256, 576, 576, 'Q4_1 Q8_0'],
  ['gemm_t', 256, 192, 576, 'Q4_1 Q8_0'],
  ['dense_nt', 16, 1024, 64, 'F32'], // scores of 16 queries
  ['dense_nn', 16, 1024, 64, 'F32'], // their values
  ['dense_tn', 16, 1024, 64, 'F32'], // gradients of keys and values
  ['dense_nt', 256, 8, 576, 'F32'], // LoRA of rank 8: x Aᵀ
  ['dense_nt', 256, 1536, 8, 'F32'], // (x Aᵀ) Bᵀ
  ['dense_nn', 256, 8, 576, 'F32'], // dh A
  ['dense_nn', 256, 1536, 8, 'F32'], // dy B
  ['dense_tn', 256, 8, 576, 'F32'], // dA
  ['dense_tn', 256, 1536, 8, 'F32'], // dB
  ['quantize', 128, 8, 576, 'Q4_1'],
  ['gather', 1, 1536, 576, 'Q4_1 Q8_0'],
  ['pack', 1, 1536, 576, 'Q4_1 Q8_0 Q5_1 F32'],
  ['pack', 1, 1536, 1536, 'Q4_K Q6_K'],
  ['unpack', 1, 1536, 576, 'Q4_1'],
])

/**
 * @param {BufferSource | WebAssembly.Module} bytes
 * @param {{filter?: string, rounds?: number, isas?: string[], onRow?: (row: Row) => void}} [options]
 * @returns {Promise<Row[]>}
 */
export async function measure(bytes, { filter = '', rounds = 7, isas = ISAS, onRow } = {}) {
  const module = bytes instanceof WebAssembly.Module ? bytes : await WebAssembly.compile(bytes)
  /** @type {Record<string, Record<string, () => number>>} */
  const imports = {}
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    if (kind === 'function') (imports[from] ??= {})[name] = () => 0 // of the C library's; the kernels call none
  }
  const e = /** @type {any} */ ((await WebAssembly.instantiate(module, imports)).exports)
  e._initialize?.()
  const text = (/** @type {number} */ at) => {
    const memory = new Uint8Array(e.memory.buffer)
    return String.fromCharCode(...memory.subarray(at, memory.indexOf(0, at)))
  }
  const formats = Array.from({ length: e.bench_format_count() }, (_, i) => text(e.bench_format_name(i)))
  const rows = []
  const usable = isas.filter((isa) => e.bench_check(ISAS.indexOf(isa)) === 0)
  for (const [what, m, n, k, names] of CASES) {
    for (const format of names.split(' ')) {
      if (!`${what} ${format} m=${m} ${n}x${k}`.includes(filter)) continue
      if (e.bench_prepare(formats.indexOf(format), n, k, m) !== 0) throw new Error('out of memory')
      for (const isa of usable) {
        if (isa === 'scalar' && /^(gemm|dense)/.test(what) && (m > 8 || n > 4096)) continue
        const run = (/** @type {number} */ repeat) => {
          const start = performance.now()
          e.bench_run(ISAS.indexOf(isa), WHAT[what], repeat)
          return (performance.now() - start) / 1e3
        }
        for (let i = 0; i < 20; i++) run(1) // engines optimize a function after some calls
        let repeat = 1
        while (run(repeat) < 0.03) repeat *= 2
        const seconds = Array.from({ length: rounds }, () => run(repeat) / repeat).sort((a, b) => a - b)[rounds >> 1]
        const row = {
          format,
          what,
          isa,
          m,
          rows: n,
          cols: k,
          gops: (2 * m * n * k) / seconds / 1e9,
          gbps: e.bench_bytes() / seconds / 1e9,
          seconds,
        }
        rows.push(row)
        onRow?.(row)
      }
    }
  }
  return rows
}

/** @param {Row} r */
export function line(r) {
  const size = `${r.rows}x${r.cols}`
  return (
    `${r.what.padEnd(9)}${r.format.padEnd(7)}${r.isa.padEnd(9)}m=${String(r.m).padEnd(4)}${size.padEnd(12)}`
    + `${r.gops.toFixed(2).padStart(8)} Gop/s ${r.gbps.toFixed(2).padStart(7)} GB/s `
    + `${(r.seconds * 1e6).toFixed(1).padStart(9)} us`
  )
}

if (
  typeof process !== 'undefined'
  && process.argv[1]
  && import.meta.url === (await import('node:url')).pathToFileURL(process.argv[1]).href
) {
  const { readFile } = await import('node:fs/promises')
  const { parseArgs } = await import('node:util')
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      filter: { type: 'string' },
      rounds: { type: 'string' },
      isas: { type: 'string' },
      json: { type: 'boolean' },
    },
  })
  if (positionals.length !== 1) {
    console.error(
      'Give the file of the kernels bench: kernels.mjs FILE.wasm [--filter TEXT] [--rounds N] [--isas a,b] [--json]',
    )
    process.exit(2)
  }
  const rows = await measure(await readFile(positionals[0]), {
    filter: values.filter,
    rounds: values.rounds ? Number(values.rounds) : undefined,
    isas: values.isas?.split(','),
    onRow: values.json ? undefined : (r) => console.log(line(r)),
  })
  if (values.json) console.log(JSON.stringify(rows))
}
