/*
 * kernels.c: the public functions of kernels.h: the format table, packing, and the loops over row groups and tokens around
 * the kernels of an ISA. No arithmetic on elements happens here, so one set of loops serves all ISAs.
 */
#include "kernels/act.h"
#include "kernels/ops.h"

static const nk_format formats[NK_FORMAT_COUNT] = {
#define NK_KIND_FLOAT true
#define NK_KIND_INTEGER false
#define NK_FORMAT(symbol_name, symbol, number, elements, bytes, kind, scale_type, scale_offset, scales) \
  {.name = #symbol_name,                                                                              \
   .index = NK_FORMAT_##symbol_name,                                                                  \
   .type = number,                                                                                    \
   .block = elements,                                                                                 \
   .block_bytes = bytes,                                                                              \
   .is_float = NK_KIND_##kind,                                                                        \
   .exponent_mask = NK_EXPONENT_##scale_type,                                                         \
   .scale_at = scale_offset,                                                                          \
   .n_scales = scales,                                                                                \
   .pack = nk_##symbol##_pack,                                                                        \
   .unpack = nk_##symbol##_unpack,                                                                    \
   .gather = nk_##symbol##_gather},
#include "kernels/formats.def"
#undef NK_FORMAT
};

/* ---- Formats -------------------------------------------------------------------------------------------------- */

const nk_format *nk_format_find(uint32_t type) {
  for (uint32_t i = 0; i < NK_FORMAT_COUNT; i++)
    if (formats[i].type == type) return &formats[i];
  return NULL;
}

uint32_t nk_format_count(void) { return NK_FORMAT_COUNT; }
const nk_format *nk_format_at(uint32_t index) { return index < NK_FORMAT_COUNT ? &formats[index] : NULL; }
const char *nk_format_name(const nk_format *format) { return format->name; }
uint32_t nk_format_type(const nk_format *format) { return format->type; }
uint32_t nk_format_block(const nk_format *format) { return format->block; }
uint32_t nk_format_block_bytes(const nk_format *format) { return format->block_bytes; }
bool nk_format_is_float(const nk_format *format) { return format->is_float; }

uint64_t nk_row_bytes(const nk_format *format, uint64_t cols) { return cols / format->block * format->block_bytes; }

uint64_t nk_matrix_bytes(const nk_format *format, uint64_t rows, uint64_t cols) {
  return (rows + NK_GROUP_ROWS - 1) / NK_GROUP_ROWS * NK_GROUP_ROWS * nk_row_bytes(format, cols);
}

/* The packed bytes of row group `group`. The matrix lies in memory, so its offsets fit a size_t. */
static uint8_t *group_at(const nk_matrix *matrix, uint32_t group) {
  return matrix->data + (size_t)group * (size_t)(NK_GROUP_ROWS * nk_row_bytes(matrix->format, matrix->cols));
}

static uint32_t group_rows(const nk_matrix *matrix, uint32_t group) {
  uint32_t left = matrix->rows - group * NK_GROUP_ROWS;
  return left < NK_GROUP_ROWS ? left : NK_GROUP_ROWS;
}

static uint32_t group_count(const nk_matrix *matrix) {
  return matrix->rows / NK_GROUP_ROWS + (matrix->rows % NK_GROUP_ROWS != 0 ? 1u : 0u);
}

/* The end of [group, group + n_groups) ∩ [0, groups of the matrix). */
static uint32_t group_end(const nk_matrix *matrix, uint32_t group, uint32_t n_groups) {
  uint32_t count = group_count(matrix);
  if (group >= count) return group;
  return n_groups < count - group ? group + n_groups : count;
}

/* ---- Packing -------------------------------------------------------------------------------------------------- */

static bool row_is_finite(const nk_format *format, const uint8_t *row, uint32_t cols) {
  bool finite = true;
  for (uint32_t b = 0; b < cols / format->block; b++, row += format->block_bytes)
    for (uint32_t i = 0; i < format->n_scales; i++)
      finite &= (nk_get16(row + format->scale_at + 2 * i) & format->exponent_mask) != format->exponent_mask;
  return finite;
}

nk_status nk_matrix_pack(nk_matrix *matrix, uint32_t row, uint32_t n, const uint8_t *blocks, nk_error *error) {
  const nk_format *format = matrix->format;
  size_t row_bytes = (size_t)nk_row_bytes(format, matrix->cols);
  if (matrix->cols % format->block != 0) {
    return nk_fail(error, NK_STATUS_FORMAT, "a row of %u elements is no whole number of %s blocks of %u", matrix->cols,
                   format->name, format->block);
  }
  if (row % NK_GROUP_ROWS != 0 || row > matrix->rows || n > matrix->rows - row ||
      (n % NK_GROUP_ROWS != 0 && n != matrix->rows - row)) {
    return nk_fail(error, NK_STATUS_INTERNAL, "rows [%u, %u + %u) of a matrix of %u rows are no whole row groups", row, row,
                   n, matrix->rows);
  }
  for (uint32_t i = 0; i < n; i += NK_GROUP_ROWS) {
    uint32_t rows = n - i < NK_GROUP_ROWS ? n - i : NK_GROUP_ROWS;
    const uint8_t *source = blocks + (size_t)i * row_bytes;
    for (uint32_t r = 0; r < rows; r++) {
      if (!row_is_finite(format, source + r * row_bytes, matrix->cols)) {
        return nk_fail(error, NK_STATUS_FORMAT, "row %u holds a %s %s that is infinite or not a number", row + i + r,
                       format->name, format->is_float ? "element" : "scale");
      }
    }
    format->pack(group_at(matrix, (row + i) / NK_GROUP_ROWS), source, row_bytes, rows, matrix->cols);
  }
  return NK_STATUS_OK;
}

void nk_matrix_unpack(const nk_matrix *matrix, uint32_t row, uint32_t n, uint8_t *blocks) {
  size_t row_bytes = (size_t)nk_row_bytes(matrix->format, matrix->cols);
  for (uint32_t i = 0; i < n; i++) {
    matrix->format->unpack(blocks + i * row_bytes, group_at(matrix, (row + i) / NK_GROUP_ROWS), (row + i) % NK_GROUP_ROWS,
                           matrix->cols);
  }
}

void nk_matrix_gather(const nk_matrix *matrix, uint32_t row, float *out) {
  matrix->format->gather(out, group_at(matrix, row / NK_GROUP_ROWS), row % NK_GROUP_ROWS, 0, matrix->cols);
}

/* ---- Activations ---------------------------------------------------------------------------------------------- */

const nk_ops *nk_ops_get(nk_isa isa) {
  switch (isa) {
    case NK_ISA_SCALAR: return &nk_scalar_ops;
    case NK_ISA_SIMD128: return &nk_simd128_ops;
#if NK_HAVE_RELAXED
    case NK_ISA_RELAXED: return &nk_relaxed_ops;
#else
    case NK_ISA_RELAXED: return NULL;
#endif
  }
  return NULL;
}

nk_isa nk_ops_isa(const nk_ops *ops) { return ops->isa; }

uint64_t nk_act_bytes(const nk_ops *ops, uint32_t m, uint32_t k) {
  return (uint64_t)m * (k / NK_ACT_BLOCK) * nk_act_block_bytes(ops->act_value_bytes, 1);
}

/* Bytes of one token's share of the streams; quads are four shares that lie interleaved. */
static size_t token_bytes(const nk_ops *ops, uint32_t n_blocks) {
  return (size_t)n_blocks * nk_act_block_bytes(ops->act_value_bytes, 1);
}

void nk_act_quantize(const nk_ops *ops, void *act, const float *x, size_t ldx, uint32_t m, uint32_t k) {
  uint32_t n_blocks = k / NK_ACT_BLOCK, in_quads = m - m % NK_QUAD;
  for (uint32_t t = 0; t < m; t++) {
    uint32_t slots = t < in_quads ? NK_QUAD : 1, slot = t % slots;
    ops->quantize((uint8_t *)act + (t - slot) * token_bytes(ops, n_blocks), slot, slots, x + t * ldx, n_blocks);
  }
}

void nk_act_dequantize(const nk_ops *ops, float *x, size_t ldx, const void *act, uint32_t m, uint32_t k) {
  uint32_t n_blocks = k / NK_ACT_BLOCK, in_quads = m - m % NK_QUAD;
  for (uint32_t t = 0; t < m; t++) {
    uint32_t slots = t < in_quads ? NK_QUAD : 1, slot = t % slots;
    ops->dequantize(x + t * ldx, (const uint8_t *)act + (t - slot) * token_bytes(ops, n_blocks), slot, slots, n_blocks);
  }
}

/* ---- Products ------------------------------------------------------------------------------------------------- */

void nk_gemm_q8(const nk_ops *ops, float *y, size_t ldy, const nk_matrix *matrix, const void *act, uint32_t m,
                uint32_t group, uint32_t n_groups) {
  const nk_kernels *kernels = ops->kernels[matrix->format->index];
  uint32_t n_blocks = matrix->cols / NK_ACT_BLOCK, end = group_end(matrix, group, n_groups);
  size_t share = token_bytes(ops, n_blocks);
  for (uint32_t g = group; g < end; g++) { /* row groups outermost: one stays in the first-level cache for all tokens */
    const uint8_t *weights = group_at(matrix, g), *stream = act;
    uint32_t rows = group_rows(matrix, g), t = 0;
    float *out = y + (size_t)g * NK_GROUP_ROWS;
    float spill[NK_QUAD * NK_GROUP_ROWS]; /* [4][8]: the last group, when it isn't full */
    for (; t + NK_QUAD <= m; t += NK_QUAD, stream += NK_QUAD * share, out += NK_QUAD * ldy) {
      if (rows == NK_GROUP_ROWS) {
        kernels->gemm(out, ldy, weights, stream, n_blocks);
        continue;
      }
      kernels->gemm(spill, NK_GROUP_ROWS, weights, stream, n_blocks);
      for (uint32_t i = 0; i < NK_QUAD; i++) memcpy(out + i * ldy, spill + i * NK_GROUP_ROWS, rows * sizeof(float));
    }
    for (; t < m; t++, stream += share, out += ldy) {
      if (rows == NK_GROUP_ROWS) {
        kernels->gemv(out, weights, stream, n_blocks);
        continue;
      }
      kernels->gemv(spill, weights, stream, n_blocks);
      memcpy(out, spill, rows * sizeof(float));
    }
  }
}

/* A tile on the `rows` < 8 columns of the last group: through a full one. */
static void tile_part(const nk_ops *ops, float *y, size_t ldy, uint32_t tokens, uint32_t rows, const float *panel,
                      const float *x, size_t ldx, uint32_t n_k, bool first) {
  float full[NK_QUAD * NK_GROUP_ROWS] = {0}; /* [tokens][8] */
  if (!first)
    for (uint32_t i = 0; i < tokens; i++) memcpy(full + i * NK_GROUP_ROWS, y + i * ldy, rows * sizeof(float));
  if (tokens == NK_QUAD) {
    ops->tile(full, NK_GROUP_ROWS, panel, x, ldx, n_k, first);
  } else {
    ops->tile_one(full, panel, x, n_k, first);
  }
  for (uint32_t i = 0; i < tokens; i++) memcpy(y + i * ldy, full + i * NK_GROUP_ROWS, rows * sizeof(float));
}

/* All tokens × the row groups [g, g + n) (n <= NK_BAND) × columns [k0, k0 + n_k), from their panels. */
static void band_product(const nk_ops *ops, float *y, size_t ldy, const nk_matrix *matrix, const float *panel,
                         size_t stride, const float *x, size_t ldx, uint32_t m, uint32_t g, uint32_t n, uint32_t n_k,
                         bool first) {
  uint32_t in_quads = m - m % NK_QUAD, last_rows = group_rows(matrix, g + n - 1);
  uint32_t full = last_rows == NK_GROUP_ROWS ? n : n - 1;
  y += (size_t)g * NK_GROUP_ROWS;
  for (uint32_t t = 0; t < in_quads; t += NK_QUAD) { /* their x stays in the first-level cache beside the panels */
    float *out = y + t * ldy;
    const float *weights = panel;
    for (uint32_t i = 0; i < full; i++, out += NK_GROUP_ROWS, weights += stride)
      ops->tile(out, ldy, weights, x + t * ldx, ldx, n_k, first);
    if (full < n) tile_part(ops, out, ldy, NK_QUAD, last_rows, weights, x + t * ldx, ldx, n_k, first);
  }
  for (uint32_t t = in_quads; t < m; t++) {
    uint32_t i = 0;
    if (full == NK_BAND) {
      ops->tile_band(y + t * ldy, panel, stride, x + t * ldx, n_k, first);
      i = NK_BAND;
    }
    for (; i < full; i++) ops->tile_one(y + t * ldy + i * NK_GROUP_ROWS, panel + i * stride, x + t * ldx, n_k, first);
    if (i < n)
      tile_part(ops, y + t * ldy + i * NK_GROUP_ROWS, ldy, 1, last_rows, panel + i * stride, x + t * ldx, ldx, n_k, first);
  }
}

void nk_gemm_f32(const nk_ops *ops, float *y, size_t ldy, const nk_matrix *matrix, const float *x, size_t ldx, uint32_t m,
                 uint32_t group, uint32_t n_groups) {
  const nk_kernels *kernels = ops->kernels[matrix->format->index];
  uint32_t end = group_end(matrix, group, n_groups), n = 0;
  float panel[NK_BAND * NK_PANEL_K * NK_GROUP_ROWS]; /* [NK_BAND][NK_PANEL_K][8] */
  for (uint32_t g = group; g < end; g += n) {
    n = end - g < NK_BAND ? end - g : NK_BAND;
    for (uint32_t k0 = 0; k0 < matrix->cols; k0 += NK_PANEL_K) {
      uint32_t n_k = matrix->cols - k0 < NK_PANEL_K ? matrix->cols - k0 : NK_PANEL_K;
      const float *weights = panel;
      size_t stride = NK_PANEL_K * NK_GROUP_ROWS;
      if (kernels->panel == NULL) { /* F32: packed [cols][8] */
        weights = (const float *)(const void *)group_at(matrix, g) + (size_t)k0 * NK_GROUP_ROWS;
        stride = (size_t)matrix->cols * NK_GROUP_ROWS;
      } else {
        for (uint32_t i = 0; i < n; i++) kernels->panel(panel + i * stride, group_at(matrix, g + i), k0, n_k);
      }
      band_product(ops, y, ldy, matrix, weights, stride, x + k0, ldx, m, g, n, n_k, k0 == 0);
    }
  }
}

uint64_t nk_gemm_t_scratch_bytes(void) { return sizeof(float) * NK_SCRATCH_T(NK_TOKENS_T); }

/* m tokens × the n_k columns of a panel of n_r rows; dy [m, n_r] and, of its quads, the transposed copy [m / 4][n_r][4]. */
static void panel_t_product(const nk_ops *ops, float *dx, size_t lddx, const float *panel, const float *dy, size_t lddy,
                            const float *transposed, uint32_t m, uint32_t n_r, uint32_t n_k) {
  uint32_t in_quads = m - m % NK_QUAD;
  float part[NK_QUAD * NK_PANEL_T_K] = {0}; /* [4][16] or [1][32]: the last columns, when they are fewer */
  for (uint32_t k = 0; k < n_k; k += NK_TILE_T_K) {
    uint32_t width = n_k - k < NK_TILE_T_K ? n_k - k : NK_TILE_T_K;
    for (uint32_t t = 0; t < in_quads; t += NK_QUAD) {
      float *to = dx + t * lddx + k;
      if (width == NK_TILE_T_K) {
        ops->tile_t(to, lddx, NK_PANEL_T_AT(panel, 0, k), transposed + (size_t)t * n_r, n_r);
        continue;
      }
      for (uint32_t i = 0; i < NK_QUAD; i++) memcpy(part + i * NK_TILE_T_K, to + i * lddx, width * sizeof(float));
      ops->tile_t(part, NK_TILE_T_K, NK_PANEL_T_AT(panel, 0, k), transposed + (size_t)t * n_r, n_r);
      for (uint32_t i = 0; i < NK_QUAD; i++) memcpy(to + i * lddx, part + i * NK_TILE_T_K, width * sizeof(float));
    }
  }
  for (uint32_t t = in_quads; t < m; t++) {
    float *to = dx + t * lddx;
    if (n_k == NK_PANEL_T_K) {
      ops->tile_t_one(to, panel, dy + t * lddy, n_r);
      continue;
    }
    memcpy(part, to, n_k * sizeof(float));
    ops->tile_t_one(part, panel, dy + t * lddy, n_r);
    memcpy(to, part, n_k * sizeof(float));
  }
}

/* Tokens in blocks of NK_TOKENS_T, rows in blocks of NK_PANEL_T_R, columns in panels; each weight is dequantized once a
   block of tokens. Between blocks of rows the sums rest in dx, which rounds nothing. */
void nk_gemm_t_f32(const nk_ops *ops, float *dx, size_t lddx, const nk_matrix *matrix, const float *dy, size_t lddy,
                   uint32_t m, uint32_t k0, uint32_t n_k, void *scratch) {
  const nk_kernels *kernels = ops->kernels[matrix->format->index];
  float *panel = scratch, *transposed = panel + NK_SCRATCH_T(0);
  uint32_t k_end = n_k < matrix->cols - k0 ? k0 + n_k : matrix->cols;
  for (uint32_t t = 0; t < m; t += NK_TOKENS_T) {
    uint32_t tokens = m - t < NK_TOKENS_T ? m - t : NK_TOKENS_T;
    for (uint32_t r = 0; r < matrix->rows; r += NK_PANEL_T_R) {
      uint32_t n_r = matrix->rows - r < NK_PANEL_T_R ? matrix->rows - r : NK_PANEL_T_R;
      const float *from = dy + t * lddy + r;
      for (uint32_t i = 0; i + NK_QUAD <= tokens; i += NK_QUAD)
        ops->transpose(transposed + (size_t)i * n_r, from + i * lddy, lddy, n_r);
      for (uint32_t k = k0; k < k_end; k += NK_PANEL_T_K) {
        uint32_t width = k_end - k < NK_PANEL_T_K ? k_end - k : NK_PANEL_T_K;
        if (width < NK_PANEL_T_K) memset(panel, 0, sizeof(float) * NK_SCRATCH_T(0)); /* tiles read whole panels */
        for (uint32_t i = 0; i < n_r; i += NK_GROUP_ROWS)
          kernels->panel_t(NK_PANEL_T_AT(panel, i, 0), group_at(matrix, (r + i) / NK_GROUP_ROWS), k, width);
        panel_t_product(ops, dx + t * lddx + k, lddx, panel, from, lddy, transposed, tokens, n_r, width);
      }
    }
  }
}
