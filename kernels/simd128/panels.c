/*
 * panels.c: dequantization of row groups to float32 panels, [k][8 rows] for y = W x and by NK_PANEL_T_AT for Wᵀ g; equal to
 * the formats' gather to the bit. Used by both SIMD ISAs.
 */
#include "kernels/formats/nibbles.h"
#include "kernels/simd128/common.h"

/* ---- 4-bit: w = d q + m, or d (q - 8) ---------------------------------------------------------------------------- */

typedef struct nibble_scales {
  float scale[8], minimum[8]; /* of the 8 rows */
} nibble_scales;

static inline nibble_scales load_scales(const uint8_t *packed, bool has_minimum) {
  nibble_scales s;
  v128_t bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale), low, high;
  nk_load_halves(&low, &high, packed + NK_NIBBLES_BYTES, bits, factor);
  wasm_v128_store(s.scale, low);
  wasm_v128_store(s.scale + 4, high);
  if (has_minimum) nk_load_halves(&low, &high, packed + NK_NIBBLES_BYTES + 16, bits, factor);
  wasm_v128_store(s.minimum, low);
  wasm_v128_store(s.minimum + 4, high);
  return s;
}

/* levels: 4 of them as int32. */
static inline v128_t weights(v128_t levels, v128_t scale, v128_t minimum, v128_t eight, bool has_minimum) {
  if (!has_minimum) return wasm_f32x4_mul(scale, wasm_f32x4_convert_i32x4(wasm_i32x4_sub(levels, eight)));
  return wasm_f32x4_add(wasm_f32x4_mul(scale, wasm_f32x4_convert_i32x4(levels)), minimum);
}

static inline void nibble_panel(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k, uint32_t packed_bytes,
                                bool has_minimum) {
  const uint8_t *packed = group + (size_t)(k0 / 32) * packed_bytes;
  v128_t mask = NK_CONSTANT(nibble32), eight = wasm_i32x4_splat(8);
  for (uint32_t k = 0; k < n_k; k += 32, packed += packed_bytes) {
    nibble_scales s = load_scales(packed, has_minimum);
    for (uint32_t half = 0; half < 2; half++) {
      v128_t scale = wasm_v128_load(s.scale + 4 * half), minimum = wasm_v128_load(s.minimum + 4 * half);
      for (uint32_t j = 0; j < 4; j++) { /* 32-bit lanes are rows; a lane's nibbles are k = 0 4 1 5 2 6 3 7 */
        v128_t v = wasm_v128_load(packed + 64 * half + 16 * j);
        float *to = panel + (size_t)(k + 8 * j) * NK_GROUP_ROWS + 4 * half;
        for (uint32_t i = 0; i < 4; i++) {
          v128_t low = wasm_v128_and(wasm_u32x4_shr(v, 8 * i), mask),
                 high = wasm_v128_and(wasm_u32x4_shr(v, 8 * i + 4), mask);
          wasm_v128_store(to + i * NK_GROUP_ROWS, weights(low, scale, minimum, eight, has_minimum));
          wasm_v128_store(to + (i + 4) * NK_GROUP_ROWS, weights(high, scale, minimum, eight, has_minimum));
        }
      }
    }
  }
}

static inline void nibble_panel_t(float *panel, const uint8_t *group, uint32_t k0, uint32_t packed_bytes,
                                  bool has_minimum) {
  const uint8_t *packed = group + (size_t)(k0 / 32) * packed_bytes;
  nibble_scales s = load_scales(packed, has_minimum);
  v128_t mask = NK_CONSTANT(nibble8), eight = wasm_i32x4_splat(8);
  for (uint32_t half = 0; half < 2; half++) {
    for (uint32_t j = 0; j < 4; j++) {
      v128_t v = wasm_v128_load(packed + 64 * half + 16 * j), nibbles[2];
      nibbles[0] = wasm_v128_and(v, mask);
      nibbles[1] = wasm_v128_and(wasm_u16x8_shr(v, 4), mask);
      for (uint32_t i = 0; i < 2; i++) { /* four bytes a row, four rows */
        v128_t front = wasm_u16x8_extend_low_u8x16(nibbles[i]), back = wasm_u16x8_extend_high_u8x16(nibbles[i]), row[4];
        row[0] = wasm_u32x4_extend_low_u16x8(front), row[1] = wasm_u32x4_extend_high_u16x8(front);
        row[2] = wasm_u32x4_extend_low_u16x8(back), row[3] = wasm_u32x4_extend_high_u16x8(back);
        for (uint32_t r = 0; r < 4; r++) {
          v128_t scale = wasm_v128_load32_splat(s.scale + 4 * half + r),
                 minimum = wasm_v128_load32_splat(s.minimum + 4 * half + r);
          wasm_v128_store(NK_PANEL_T_AT(panel, 4 * half + r, 8 * j + 4 * i),
                          weights(row[r], scale, minimum, eight, has_minimum));
        }
      }
    }
  }
}

void nk_simd128_q4_1_panel(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k) {
  nibble_panel(panel, group, k0, n_k, 160, true);
}
void nk_simd128_q4_1_panel_t(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k) {
  (void)n_k; /* a whole block */
  nibble_panel_t(panel, group, k0, 160, true);
}
void nk_simd128_q4_0_panel(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k) {
  nibble_panel(panel, group, k0, n_k, 144, false);
}
void nk_simd128_q4_0_panel_t(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k) {
  (void)n_k;
  nibble_panel_t(panel, group, k0, 144, false);
}

/* ---- Q8_0: w = d q (order of the levels: formats/q8_0.c) ---------------------------------------------------------- */

void nk_simd128_q8_0_panel(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k) {
  const uint8_t *packed = group + (size_t)(k0 / 32) * 272;
  v128_t bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale);
  for (uint32_t k = 0; k < n_k; k += 32, packed += 272) {
    v128_t scale[2];
    nk_load_halves(&scale[0], &scale[1], packed + 256, bits, factor);
    for (uint32_t pair = 0; pair < 16; pair++) {
      float *to = panel + (size_t)(k + pair / 2 * 4 + pair % 2) * NK_GROUP_ROWS;
      for (uint32_t half = 0; half < 2; half++) {
        v128_t v = wasm_i16x8_load8x8(packed + 16 * pair + 8 * half); /* [4 rows][2] */
        v128_t first = wasm_i32x4_shr(wasm_i32x4_shl(v, 16), 16), second = wasm_i32x4_shr(v, 16);
        wasm_v128_store(to + 4 * half, wasm_f32x4_mul(scale[half], wasm_f32x4_convert_i32x4(first)));
        wasm_v128_store(to + 2 * NK_GROUP_ROWS + 4 * half, wasm_f32x4_mul(scale[half], wasm_f32x4_convert_i32x4(second)));
      }
    }
  }
}

void nk_simd128_q8_0_panel_t(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k) {
  const uint8_t *packed = group + (size_t)(k0 / 32) * 272;
  float scale[8];
  v128_t low, high;
  (void)n_k;
  nk_load_halves(&low, &high, packed + 256, NK_CONSTANT(half_bits), NK_CONSTANT(half_scale));
  wasm_v128_store(scale, low);
  wasm_v128_store(scale + 4, high);
  for (uint32_t c = 0; c < 8; c++) {
    v128_t even = wasm_v128_load(packed + 32 * c), odd = wasm_v128_load(packed + 32 * c + 16), rows[2];
    rows[0] = wasm_i8x16_shuffle(even, odd, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    rows[1] = wasm_i8x16_shuffle(even, odd, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    for (uint32_t half = 0; half < 2; half++) { /* four bytes a row, four rows */
      v128_t front = wasm_i16x8_extend_low_i8x16(rows[half]), back = wasm_i16x8_extend_high_i8x16(rows[half]), row[4];
      row[0] = wasm_i32x4_extend_low_i16x8(front), row[1] = wasm_i32x4_extend_high_i16x8(front);
      row[2] = wasm_i32x4_extend_low_i16x8(back), row[3] = wasm_i32x4_extend_high_i16x8(back);
      for (uint32_t r = 0; r < 4; r++) {
        wasm_v128_store(NK_PANEL_T_AT(panel, 4 * half + r, 4 * c),
                        wasm_f32x4_mul(wasm_v128_load32_splat(scale + 4 * half + r), wasm_f32x4_convert_i32x4(row[r])));
      }
    }
  }
}

/* ---- Float formats: packed [cols][8 rows] ------------------------------------------------------------------------ */

/* Column k of a row group: rows 0..3 and 4..7. */
typedef void load_column(v128_t *low, v128_t *high, const uint8_t *group, size_t k);

static inline void f32_column(v128_t *low, v128_t *high, const uint8_t *group, size_t k) {
  *low = wasm_v128_load(group + k * 32);
  *high = wasm_v128_load(group + k * 32 + 16);
}
static inline void f16_column(v128_t *low, v128_t *high, const uint8_t *group, size_t k) {
  nk_load_halves(low, high, group + k * 16, NK_CONSTANT(half_bits), NK_CONSTANT(half_scale));
}
static inline void bf16_column(v128_t *low, v128_t *high, const uint8_t *group, size_t k) {
  v128_t h = wasm_v128_load(group + k * 16);
  *low = wasm_i32x4_shl(wasm_u32x4_extend_low_u16x8(h), 16);
  *high = wasm_i32x4_shl(wasm_u32x4_extend_high_u16x8(h), 16);
}

static inline void float_panel(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k, load_column *column) {
  for (uint32_t k = 0; k < n_k; k++, panel += NK_GROUP_ROWS) {
    v128_t low, high;
    column(&low, &high, group, (size_t)k0 + k);
    wasm_v128_store(panel, low);
    wasm_v128_store(panel + 4, high);
  }
}

/* Rows [4] × columns [4] of `v` (v[i] = column i) to four rows, NK_PANEL_T_COLS apart. */
static inline void store_transposed(float *panel, const v128_t *v) {
  v128_t a = wasm_i32x4_shuffle(v[0], v[1], 0, 4, 1, 5), b = wasm_i32x4_shuffle(v[0], v[1], 2, 6, 3, 7);
  v128_t c = wasm_i32x4_shuffle(v[2], v[3], 0, 4, 1, 5), d = wasm_i32x4_shuffle(v[2], v[3], 2, 6, 3, 7);
  wasm_v128_store(panel, wasm_i64x2_shuffle(a, c, 0, 2));
  wasm_v128_store(panel + NK_PANEL_T_COLS, wasm_i64x2_shuffle(a, c, 1, 3));
  wasm_v128_store(panel + 2 * NK_PANEL_T_COLS, wasm_i64x2_shuffle(b, d, 0, 2));
  wasm_v128_store(panel + 3 * NK_PANEL_T_COLS, wasm_i64x2_shuffle(b, d, 1, 3));
}

static inline void float_panel_t(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k, load_column *column) {
  uint32_t k = 0;
  for (; k + 4 <= n_k; k += 4) {
    v128_t low[4], high[4];
    for (uint32_t i = 0; i < 4; i++) column(&low[i], &high[i], group, (size_t)k0 + k + i);
    store_transposed(NK_PANEL_T_AT(panel, 0, k), low);
    store_transposed(NK_PANEL_T_AT(panel, 4, k), high);
  }
  for (; k < n_k; k++) {
    v128_t low, high;
    float rows[8];
    column(&low, &high, group, (size_t)k0 + k);
    wasm_v128_store(rows, low);
    wasm_v128_store(rows + 4, high);
    for (uint32_t r = 0; r < 8; r++) *NK_PANEL_T_AT(panel, r, k) = rows[r];
  }
}

#define FLOAT_PANELS(symbol)                                                                          \
  void nk_simd128_##symbol##_panel(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k) {   \
    float_panel(panel, group, k0, n_k, symbol##_column);                                              \
  }                                                                                                   \
  void nk_simd128_##symbol##_panel_t(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k) { \
    float_panel_t(panel, group, k0, n_k, symbol##_column);                                            \
  }
FLOAT_PANELS(f32)
FLOAT_PANELS(f16)
FLOAT_PANELS(bf16)

/* F32 is packed as its own panel: gemm_f32 reads it directly. */
const nk_kernels nk_simd128_f32 = {.panel = NULL, .panel_t = nk_simd128_f32_panel_t};
const nk_kernels nk_simd128_f16 = {.panel = nk_simd128_f16_panel, .panel_t = nk_simd128_f16_panel_t};
const nk_kernels nk_simd128_bf16 = {.panel = nk_simd128_bf16_panel, .panel_t = nk_simd128_bf16_panel_t};
