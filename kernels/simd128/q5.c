/*
 * q5.c: Q5_1 and Q5_0 in base SIMD: × int8 activations, and panels. Of a vector of levels (simd128/fives.h), even and odd
 * bytes are two vectors of 16-bit lanes, of which two neighbours belong to a row; i32x4.dot_i16x8_s with a splatted pair of
 * int16 activations adds two products to the 32-bit lane of the row.
 */
#include "kernels/simd128/fives.h"

static inline v128_t dot(v128_t sum, v128_t a, v128_t w) { return wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(a, w)); }

/* acc + isum * (scale * d_a) + minimum * sum_a, in the order of scalar.h. */
static inline v128_t finish(v128_t acc, v128_t isum, v128_t scale, v128_t minimum, const uint8_t *d, const uint8_t *sum) {
  v128_t s = wasm_f32x4_mul(scale, wasm_v128_load32_splat(d));
  acc = NK_MADD(wasm_f32x4_convert_i32x4(isum), s, acc);
  return NK_MADD(minimum, wasm_v128_load32_splat(sum), acc);
}

/* The pair of int16 activations that the even bytes of Lq meet; that of the odd bytes lies 8 bytes on (act.h). */
#define PAIR(q) (16 * ((q) / 2) + 4 * ((q) % 2))

/* Odd bytes stay where they are in the lane, times 256, with a sum of their own: no shifts. */
NK_INLINE void gemv(float *y, const uint8_t *packed, const uint8_t *act, uint32_t n_blocks, uint32_t packed_bytes,
                    bool has_minimum) {
  nk_fives_masks masks = nk_fives_load_masks();
  v128_t even = NK_CONSTANT(even_byte), odd = NK_CONSTANT(odd_byte);
  v128_t bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale), minus16 = NK_CONSTANT(minus16);
  v128_t acc[2] = {wasm_f32x4_splat(0.0f), wasm_f32x4_splat(0.0f)};
  uint8_t levels[256];
  for (uint32_t b = 0; b < n_blocks; b++, packed += packed_bytes, act += nk_act_block_bytes(2, 1)) {
    v128_t scale[2], minimum[2], sum1[2], sum256[2];
    for (uint32_t half = 0; half < 2; half++) sum1[half] = sum256[half] = wasm_i32x4_splat(0);
    for (uint32_t q = 0; q < 8; q++)
      for (uint32_t half = 0; half < 2; half++)
        wasm_v128_store(levels + 32 * q + 16 * half, nk_fives_level(packed + NK_FIVES_HALF * half, q, &masks));
    const uint8_t *w = levels, *a = act;
    NK_NO_UNROLL
    for (uint32_t j = 0; j < 4; j++, w += 64, a += 16) {
      for (uint32_t i = 0; i < 2; i++) {
        v128_t a0 = wasm_v128_load32_splat(a + 4 * i), a1 = wasm_v128_load32_splat(a + 4 * i + 8);
        for (uint32_t half = 0; half < 2; half++) {
          v128_t v = wasm_v128_load(w + 32 * i + 16 * half);
          sum1[half] = dot(sum1[half], a0, wasm_v128_and(v, even));
          sum256[half] = dot(sum256[half], a1, wasm_v128_and(v, odd));
        }
      }
    }
    nk_fives_scales(scale, minimum, packed, bits, factor, minus16, has_minimum);
    for (uint32_t half = 0; half < 2; half++) {
      v128_t isum = wasm_i32x4_add(sum1[half], wasm_i32x4_shr(sum256[half], 8));
      acc[half] = finish(acc[half], isum, scale[half], minimum[half], act + 64, act + 68);
    }
  }
  wasm_v128_store(y, acc[0]);
  wasm_v128_store(y + 4, acc[1]);
}

/* 4 tokens × 8 rows: eight integer sums in registers; the float sums stay in y between blocks. */
NK_INLINE void gemm(float *y, size_t ldy, const uint8_t *packed, const uint8_t *act, uint32_t n_blocks,
                    uint32_t packed_bytes, bool has_minimum) {
  nk_fives_masks masks = nk_fives_load_masks();
  v128_t even = NK_CONSTANT(even_byte);
  v128_t bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale), minus16 = NK_CONSTANT(minus16);
  for (uint32_t t = 0; t < 4; t++) {
    wasm_v128_store(y + t * ldy, wasm_f32x4_splat(0.0f));
    wasm_v128_store(y + t * ldy + 4, wasm_f32x4_splat(0.0f));
  }
  for (uint32_t b = 0; b < n_blocks; b++, packed += packed_bytes, act += nk_act_block_bytes(2, NK_QUAD)) {
    v128_t scale[2], minimum[2], sum[4][2];
    for (uint32_t t = 0; t < 4; t++) sum[t][0] = sum[t][1] = wasm_i32x4_splat(0);
    for (uint32_t q = 0; q < 8; q++) {
      v128_t w0 = nk_fives_level(packed, q, &masks), w1 = nk_fives_level(packed + NK_FIVES_HALF, q, &masks);
      v128_t w2 = wasm_u16x8_shr(w0, 8), w3 = wasm_u16x8_shr(w1, 8);
      w0 = wasm_v128_and(w0, even), w1 = wasm_v128_and(w1, even);
      for (uint32_t t = 0; t < 4; t++) {
        v128_t a0 = wasm_v128_load32_splat(act + 64 * t + PAIR(q)), a1 = wasm_v128_load32_splat(act + 64 * t + PAIR(q) + 8);
        sum[t][0] = dot(dot(sum[t][0], a0, w0), a1, w2);
        sum[t][1] = dot(dot(sum[t][1], a0, w1), a1, w3);
      }
    }
    nk_fives_scales(scale, minimum, packed, bits, factor, minus16, has_minimum);
    for (uint32_t t = 0; t < 4; t++) {
      float *to = y + t * ldy;
      for (uint32_t half = 0; half < 2; half++)
        wasm_v128_store(to + 4 * half, finish(wasm_v128_load(to + 4 * half), sum[t][half], scale[half], minimum[half],
                                              act + 256 + 4 * t, act + 272 + 4 * t));
    }
  }
}

/* ---- Panels: w = d q + m, or d (q - 16); equal to gather to the bit ------------------------------------------------- */

/* levels: 4 of them as int32. */
static inline v128_t weights(v128_t levels, v128_t scale, v128_t minimum, bool has_minimum) {
  if (!has_minimum) return wasm_f32x4_mul(scale, wasm_f32x4_convert_i32x4(wasm_i32x4_sub(levels, wasm_i32x4_splat(16))));
  return wasm_f32x4_add(wasm_f32x4_mul(scale, wasm_f32x4_convert_i32x4(levels)), minimum);
}

NK_INLINE void panel(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k, uint32_t packed_bytes,
                     bool has_minimum) {
  const uint8_t *packed = group + (size_t)(k0 / 32) * packed_bytes;
  nk_fives_masks masks = nk_fives_load_masks();
  v128_t bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale), minus16 = NK_CONSTANT(minus16);
  for (uint32_t k = 0; k < n_k; k += 32, packed += packed_bytes) {
    v128_t scale[2], minimum[2];
    nk_fives_scales(scale, minimum, packed, bits, factor, minus16, has_minimum);
    for (uint32_t half = 0; half < 2; half++) {
      for (uint32_t q = 0; q < 8; q++) { /* 32-bit lanes are rows, their bytes four k */
        v128_t w = nk_fives_level(packed + NK_FIVES_HALF * half, q, &masks);
        float *to = panel + (size_t)(k + 4 * q) * NK_GROUP_ROWS + 4 * half;
        for (uint32_t i = 0; i < 4; i++) {
          v128_t levels = wasm_u32x4_shr(wasm_i32x4_shl(w, 24 - 8 * i), 24);
          wasm_v128_store(to + i * NK_GROUP_ROWS, weights(levels, scale[half], minimum[half], has_minimum));
        }
      }
    }
  }
}

NK_INLINE void panel_t(float *panel, const uint8_t *group, uint32_t k0, uint32_t packed_bytes, bool has_minimum) {
  const uint8_t *packed = group + (size_t)(k0 / 32) * packed_bytes;
  nk_fives_masks masks = nk_fives_load_masks();
  v128_t scale[2], minimum[2];
  float scales[8], minima[8];
  nk_fives_scales(scale, minimum, packed, NK_CONSTANT(half_bits), NK_CONSTANT(half_scale), NK_CONSTANT(minus16),
                  has_minimum);
  for (uint32_t half = 0; half < 2; half++) {
    wasm_v128_store(scales + 4 * half, scale[half]);
    wasm_v128_store(minima + 4 * half, minimum[half]);
  }
  for (uint32_t half = 0; half < 2; half++) {
    for (uint32_t q = 0; q < 8; q++) { /* four bytes a row, four rows */
      v128_t w = nk_fives_level(packed + NK_FIVES_HALF * half, q, &masks), row[4];
      v128_t front = wasm_u16x8_extend_low_u8x16(w), back = wasm_u16x8_extend_high_u8x16(w);
      row[0] = wasm_u32x4_extend_low_u16x8(front), row[1] = wasm_u32x4_extend_high_u16x8(front);
      row[2] = wasm_u32x4_extend_low_u16x8(back), row[3] = wasm_u32x4_extend_high_u16x8(back);
      for (uint32_t r = 0; r < 4; r++) {
        v128_t d = wasm_v128_load32_splat(scales + 4 * half + r), m = wasm_v128_load32_splat(minima + 4 * half + r);
        wasm_v128_store(NK_PANEL_T_AT(panel, 4 * half + r, 4 * q), weights(row[r], d, m, has_minimum));
      }
    }
  }
}

#define Q5_PANELS(symbol, packed_bytes, has_minimum)                                                  \
  void nk_simd128_##symbol##_panel(float *out, const uint8_t *group, uint32_t k0, uint32_t n_k) {     \
    panel(out, group, k0, n_k, packed_bytes, has_minimum);                                            \
  }                                                                                                   \
  void nk_simd128_##symbol##_panel_t(float *out, const uint8_t *group, uint32_t k0, uint32_t n_k) {   \
    (void)n_k; /* a whole block */                                                                    \
    panel_t(out, group, k0, packed_bytes, has_minimum);                                               \
  }
Q5_PANELS(q5_0, 176, false)
Q5_PANELS(q5_1, 192, true)
NK_BLOCK_KERNELS(simd128, q5_0, 176, false)
NK_BLOCK_KERNELS(simd128, q5_1, 192, true)
