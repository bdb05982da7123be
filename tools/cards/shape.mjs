/*
 * shape.mjs: from the shape of a model, as its card gives it, to the tensors of its GGUF file.
 *
 * Purpose  The memory plan of a model whose file is not here: header.mjs makes a header of these tensors, the engine plans
 *          with it. Each tensor is {name, rows, cols (0 rows: a vector of cols), type}.
 * Formats  F32, F16, Q8_0, Q4_1 and Q4_K_M, with the mixtures that llama.cpp's quantizer writes: a finer format for the
 *          head (or the tied embeddings), with Q4_K_M also for the values and the way down of some layers and for fused
 *          projections; where a row is no multiple of 256 the format of 32 that comes next. Learned positions are F32.
 * Limits   The architectures of models/*.json.
 */

/**
 * @typedef {object} Shape
 * @property {number} layers
 * @property {number} width
 * @property {number} feed_forward
 * @property {number} heads
 * @property {number} kv_heads
 * @property {number} head_dim
 * @property {number} vocabulary rows of the embeddings
 * @property {number} context trained
 * @property {boolean} tied
 * @property {number} [rotated] dimensions of a head that rotary positions turn; default all
 * @property {number} [window]
 * @property {number} [embedding_width] where a projection leads from it to the width
 * @property {boolean} [post_norm] norms after the residual, none at the end
 * @property {boolean} [rope_factors] a tensor of rotary factors
 *
 * @typedef {{name: string, rows: number, cols: number, type: string}} Tensor
 */

/** What each architecture has beside its matrices. bias: of which projections; norms: with a bias or not. */
const TRAITS = /** @type {Record<string, {gate: boolean, normBias: boolean, fused?: boolean, bias?: string,
  headNorms?: boolean, sandwich?: boolean, ownFfnNorm?: boolean, learned?: number}>} */ ({
  llama: { gate: true, normBias: false },
  qwen2: { gate: true, normBias: false, bias: 'qkv' },
  qwen3: { gate: true, normBias: false, headNorms: true },
  gemma3: { gate: true, normBias: false, headNorms: true, sandwich: true },
  stablelm: { gate: true, normBias: true, bias: 'qkv' },
  phi2: { gate: false, normBias: true, fused: true, bias: 'all', ownFfnNorm: false },
  gptneox: { gate: false, normBias: true, fused: true, bias: 'all' },
  opt: { gate: false, normBias: true, bias: 'all', learned: 2 },
})

/** Rows that the learned positions begin at. @param {string} architecture */
export const positionOffset = (architecture) => TRAITS[architecture]?.learned ?? 0

/** Layers in which Q4_K_M is finer: the first and the last eighth, and every third between. */
const finer = (/** @type {number} */ layer, /** @type {number} */ layers) => {
  const eighth = Math.floor(layers / 8)
  return layer < eighth || layer >= Math.floor((7 * layers) / 8) || (layer - eighth) % 3 === 2
}

/** Where a row is no multiple of 256. */
const FALLBACK = /** @type {Record<string, string>} */ ({ Q4_K: 'Q5_0', Q5_K: 'Q5_1', Q6_K: 'Q8_0' })

/**
 * @param {string} format of the file @param {string} role @param {number} layer @param {Shape} shape @param {number} cols
 */
function typeOf(format, role, layer, shape, cols) {
  if (role === 'position_embd') return 'F32'
  const head = role === 'output' || (role === 'token_embd' && shape.tied)
  let type = format
  if (format === 'Q4_K_M') {
    const fine = (role === 'attn_v' || role === 'ffn_down') && finer(layer, shape.layers)
    type = head || fine ? 'Q6_K' : role === 'attn_qkv' ? 'Q5_K' : 'Q4_K'
  } else if (format === 'Q4_1' && head) type = 'Q6_K'
  return cols % 256 === 0 ? type : (FALLBACK[type] ?? type)
}

/** @param {string} architecture @param {Shape} shape @param {string} format @returns {Tensor[]} in the file's order */
export function tensorsOf(architecture, shape, format) {
  if (architecture === 'bert') return encoderTensors(shape, format)
  const traits = TRAITS[architecture]
  if (traits === undefined) throw new Error(`tools/cards/shape.mjs does not know the architecture ${architecture}.`)
  const { width: d, feed_forward: ff, layers } = shape
  const q = shape.heads * shape.head_dim
  const kv = shape.kv_heads * shape.head_dim
  const embed = shape.embedding_width ?? d
  /** @type {Tensor[]} */
  const list = []
  /** @param {string} name @param {number} n */
  const vector = (name, n) => list.push({ name, rows: 0, cols: n, type: 'F32' })
  /** @param {string} stem @param {number} rows @param {number} cols */
  const matrix = (stem, rows, cols, bias = false, layer = 0) => {
    const role = stem.replace(/^blk\.\d+\./, '')
    list.push({ name: `${stem}.weight`, rows, cols, type: typeOf(format, role, layer, shape, cols) })
    if (bias) vector(`${stem}.bias`, rows)
  }
  const norm = (/** @type {string} */ stem, n = d, bias = traits.normBias) => {
    vector(`${stem}.weight`, n)
    if (bias) vector(`${stem}.bias`, n)
  }
  const all = traits.bias === 'all'
  matrix('token_embd', shape.vocabulary, embed)
  if (traits.learned !== undefined) matrix('position_embd', shape.context + traits.learned, d)
  if (embed !== d) {
    matrix('token_embd_proj_in', d, embed)
    matrix('output_proj_out', embed, d)
  }
  if (shape.rope_factors) vector('rope_freqs.weight', (shape.rotated ?? shape.head_dim) / 2)
  for (let i = 0; i < layers; i++) {
    const stem = `blk.${i}`
    norm(`${stem}.attn_norm`)
    if (traits.fused) matrix(`${stem}.attn_qkv`, q + 2 * kv, d, all, i)
    else {
      const bias = traits.bias !== undefined
      matrix(`${stem}.attn_q`, q, d, bias, i)
      matrix(`${stem}.attn_k`, kv, d, bias, i)
      matrix(`${stem}.attn_v`, kv, d, bias, i)
    }
    if (traits.headNorms) {
      norm(`${stem}.attn_q_norm`, shape.head_dim)
      norm(`${stem}.attn_k_norm`, shape.head_dim)
    }
    matrix(`${stem}.attn_output`, d, q, all, i)
    if (traits.sandwich) norm(`${stem}.post_attention_norm`)
    if (traits.ownFfnNorm !== false) norm(`${stem}.ffn_norm`)
    if (traits.gate) matrix(`${stem}.ffn_gate`, ff, d, false, i)
    matrix(`${stem}.ffn_up`, ff, d, all, i)
    matrix(`${stem}.ffn_down`, d, ff, all, i)
    if (traits.sandwich) norm(`${stem}.post_ffw_norm`)
  }
  if (!shape.post_norm) norm('output_norm')
  if (!shape.tied) matrix('output', shape.vocabulary, embed, architecture === 'phi2')
  return list
}

/** BERT: norms after the residual, learned positions, types of segments. @param {Shape} shape @param {string} format */
function encoderTensors(shape, format) {
  const { width: d, feed_forward: ff } = shape
  /** @type {Tensor[]} */
  const list = []
  /** @param {string} name @param {number} n */
  const vector = (name, n) => list.push({ name, rows: 0, cols: n, type: 'F32' })
  const linear = (/** @type {string} */ stem, /** @type {number} */ rows, /** @type {number} */ cols) => {
    list.push({ name: `${stem}.weight`, rows, cols, type: format })
    vector(`${stem}.bias`, rows)
  }
  const norm = (/** @type {string} */ stem) => {
    vector(`${stem}.weight`, d)
    vector(`${stem}.bias`, d)
  }
  list.push({ name: 'token_embd.weight', rows: shape.vocabulary, cols: d, type: format })
  list.push({ name: 'position_embd.weight', rows: shape.context, cols: d, type: 'F32' })
  list.push({ name: 'token_types.weight', rows: 2, cols: d, type: 'F32' })
  norm('token_embd_norm')
  for (let i = 0; i < shape.layers; i++) {
    const stem = `blk.${i}`
    linear(`${stem}.attn_q`, d, d)
    linear(`${stem}.attn_k`, d, d)
    linear(`${stem}.attn_v`, d, d)
    linear(`${stem}.attn_output`, d, d)
    norm(`${stem}.attn_output_norm`)
    linear(`${stem}.ffn_up`, ff, d)
    linear(`${stem}.ffn_down`, d, ff)
    norm(`${stem}.layer_output_norm`)
  }
  return list
}

/** Weights of all tensors. @param {Tensor[]} tensors */
export const parametersOf = (tensors) => tensors.reduce((sum, { rows, cols }) => sum + Math.max(1, rows) * cols, 0)
