/*
 * iq4_nl.c: IQ4_NL in base SIMD: × int8 activations, and panels. A swizzle turns a vector of indices (formats/nibbles.h)
 * into one of levels (0..240, formats/iq4_nl.h); the rest is as in q5.c: even and odd bytes meet splatted pairs of int16
 * activations in i32x4.dot_i16x8_s.
 */
#include "kernels/formats/iq4_nl.h"
#include "kernels/formats/nibbles.h"
#include "kernels/simd128/common.h"

enum { PACKED = 144 };

static inline v128_t dot(v128_t sum, v128_t a, v128_t w) { return wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(a, w)); }

/* acc + isum * (scale * d_a) - (127 scale) * sum_a, in the order of scalar.h. */
static inline v128_t finish(v128_t acc, v128_t isum, v128_t scale, v128_t minus127, const uint8_t *d, const uint8_t *sum) {
  v128_t s = wasm_f32x4_mul(scale, wasm_v128_load32_splat(d));
  acc = NK_MADD(wasm_f32x4_convert_i32x4(isum), s, acc);
  return NK_MADD(wasm_f32x4_mul(scale, minus127), wasm_v128_load32_splat(sum), acc);
}

static void gemv(float *y, const uint8_t *packed, const uint8_t *act, uint32_t n_blocks) {
  v128_t table = wasm_v128_load(nk_iq4_nl_levels), mask = NK_CONSTANT(nibble8), even = NK_CONSTANT(even_byte);
  v128_t bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale), minus127 = NK_CONSTANT(minus127);
  v128_t acc[2] = {wasm_f32x4_splat(0.0f), wasm_f32x4_splat(0.0f)};
  for (uint32_t b = 0; b < n_blocks; b++, packed += PACKED, act += nk_act_block_bytes(2, 1)) {
    v128_t scale[2], sum[2] = {wasm_i32x4_splat(0), wasm_i32x4_splat(0)};
    const uint8_t *w = packed, *a = act;
    NK_NO_UNROLL
    for (uint32_t j = 0; j < 4; j++, w += 16, a += 16) { /* low nibbles meet pairs 0 and 2 of these eight, high 1 and 3 */
      v128_t a0 = wasm_v128_load32_splat(a), a1 = wasm_v128_load32_splat(a + 4);
      v128_t a2 = wasm_v128_load32_splat(a + 8), a3 = wasm_v128_load32_splat(a + 12);
      for (uint32_t half = 0; half < 2; half++) {
        v128_t v = wasm_v128_load(w + 64 * half);
        v128_t low = wasm_i8x16_swizzle(table, wasm_v128_and(v, mask));
        v128_t high = wasm_i8x16_swizzle(table, wasm_v128_and(wasm_u16x8_shr(v, 4), mask));
        sum[half] = dot(dot(sum[half], a0, wasm_v128_and(low, even)), a2, wasm_u16x8_shr(low, 8));
        sum[half] = dot(dot(sum[half], a1, wasm_v128_and(high, even)), a3, wasm_u16x8_shr(high, 8));
      }
    }
    nk_load_halves(&scale[0], &scale[1], packed + NK_NIBBLES_BYTES, bits, factor);
    for (uint32_t half = 0; half < 2; half++)
      acc[half] = finish(acc[half], sum[half], scale[half], minus127, act + 64, act + 68);
  }
  wasm_v128_store(y, acc[0]);
  wasm_v128_store(y + 4, acc[1]);
}

/* 4 tokens × 8 rows: eight integer sums in registers; the float sums stay in y between blocks. */
static void gemm(float *y, size_t ldy, const uint8_t *packed, const uint8_t *act, uint32_t n_blocks) {
  v128_t table = wasm_v128_load(nk_iq4_nl_levels), mask = NK_CONSTANT(nibble8), even = NK_CONSTANT(even_byte);
  v128_t bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale), minus127 = NK_CONSTANT(minus127);
  for (uint32_t t = 0; t < 4; t++) {
    wasm_v128_store(y + t * ldy, wasm_f32x4_splat(0.0f));
    wasm_v128_store(y + t * ldy + 4, wasm_f32x4_splat(0.0f));
  }
  for (uint32_t b = 0; b < n_blocks; b++, packed += PACKED, act += nk_act_block_bytes(2, NK_QUAD)) {
    v128_t scale[2], sum[4][2];
    for (uint32_t t = 0; t < 4; t++) sum[t][0] = sum[t][1] = wasm_i32x4_splat(0);
    const uint8_t *w = packed, *a = act;
    NK_NO_UNROLL
    for (uint32_t j = 0; j < 4; j++, w += 16, a += 8) {
      v128_t v0 = wasm_v128_load(w), v1 = wasm_v128_load(w + 64);
      NK_NO_UNROLL
      for (uint32_t nibble = 0; nibble < 2; nibble++, a += 4) {
        v128_t w0 = wasm_i8x16_swizzle(table, wasm_v128_and(v0, mask));
        v128_t w1 = wasm_i8x16_swizzle(table, wasm_v128_and(v1, mask));
        v128_t w2 = wasm_u16x8_shr(w0, 8), w3 = wasm_u16x8_shr(w1, 8);
        w0 = wasm_v128_and(w0, even), w1 = wasm_v128_and(w1, even);
        v0 = wasm_u16x8_shr(v0, 4), v1 = wasm_u16x8_shr(v1, 4);
        for (uint32_t t = 0; t < 4; t++) {
          v128_t a0 = wasm_v128_load32_splat(a + 64 * t), a1 = wasm_v128_load32_splat(a + 64 * t + 8);
          sum[t][0] = dot(dot(sum[t][0], a0, w0), a1, w2);
          sum[t][1] = dot(dot(sum[t][1], a0, w1), a1, w3);
        }
      }
    }
    nk_load_halves(&scale[0], &scale[1], packed + NK_NIBBLES_BYTES, bits, factor);
    for (uint32_t t = 0; t < 4; t++) {
      float *to = y + t * ldy;
      for (uint32_t half = 0; half < 2; half++)
        wasm_v128_store(to + 4 * half, finish(wasm_v128_load(to + 4 * half), sum[t][half], scale[half], minus127,
                                              act + 256 + 4 * t, act + 272 + 4 * t));
    }
  }
}

/* ---- Panels: w = d (level - 127); equal to gather to the bit --------------------------------------------------------- */

/* levels: 4 of them as int32. */
static inline v128_t weights(v128_t levels, v128_t scale) {
  return wasm_f32x4_mul(scale, wasm_f32x4_convert_i32x4(wasm_i32x4_sub(levels, wasm_i32x4_splat(127))));
}

void nk_simd128_iq4_nl_panel(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k) {
  const uint8_t *packed = group + (size_t)(k0 / 32) * PACKED;
  v128_t table = wasm_v128_load(nk_iq4_nl_levels), mask = NK_CONSTANT(nibble8);
  v128_t bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale);
  for (uint32_t k = 0; k < n_k; k += 32, packed += PACKED) {
    v128_t scale[2];
    nk_load_halves(&scale[0], &scale[1], packed + NK_NIBBLES_BYTES, bits, factor);
    for (uint32_t half = 0; half < 2; half++) {
      for (uint32_t j = 0; j < 4; j++) { /* 32-bit lanes are rows, their bytes four k */
        v128_t v = wasm_v128_load(packed + 64 * half + 16 * j);
        v128_t low = wasm_i8x16_swizzle(table, wasm_v128_and(v, mask));
        v128_t high = wasm_i8x16_swizzle(table, wasm_v128_and(wasm_u16x8_shr(v, 4), mask));
        float *to = panel + (size_t)(k + 8 * j) * NK_GROUP_ROWS + 4 * half;
        for (uint32_t i = 0; i < 4; i++) {
          v128_t first = wasm_u32x4_shr(wasm_i32x4_shl(low, 24 - 8 * i), 24);
          v128_t second = wasm_u32x4_shr(wasm_i32x4_shl(high, 24 - 8 * i), 24);
          wasm_v128_store(to + i * NK_GROUP_ROWS, weights(first, scale[half]));
          wasm_v128_store(to + (i + 4) * NK_GROUP_ROWS, weights(second, scale[half]));
        }
      }
    }
  }
}

void nk_simd128_iq4_nl_panel_t(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k) {
  const uint8_t *packed = group + (size_t)(k0 / 32) * PACKED;
  v128_t table = wasm_v128_load(nk_iq4_nl_levels), mask = NK_CONSTANT(nibble8), scale[2];
  float scales[8];
  (void)n_k; /* a whole block */
  nk_load_halves(&scale[0], &scale[1], packed + NK_NIBBLES_BYTES, NK_CONSTANT(half_bits), NK_CONSTANT(half_scale));
  wasm_v128_store(scales, scale[0]);
  wasm_v128_store(scales + 4, scale[1]);
  for (uint32_t half = 0; half < 2; half++) {
    for (uint32_t j = 0; j < 4; j++) {
      v128_t v = wasm_v128_load(packed + 64 * half + 16 * j), levels[2];
      levels[0] = wasm_i8x16_swizzle(table, wasm_v128_and(v, mask));
      levels[1] = wasm_i8x16_swizzle(table, wasm_v128_and(wasm_u16x8_shr(v, 4), mask));
      for (uint32_t i = 0; i < 2; i++) { /* four bytes a row, four rows */
        v128_t front = wasm_u16x8_extend_low_u8x16(levels[i]), back = wasm_u16x8_extend_high_u8x16(levels[i]), row[4];
        row[0] = wasm_u32x4_extend_low_u16x8(front), row[1] = wasm_u32x4_extend_high_u16x8(front);
        row[2] = wasm_u32x4_extend_low_u16x8(back), row[3] = wasm_u32x4_extend_high_u16x8(back);
        for (uint32_t r = 0; r < 4; r++) {
          wasm_v128_store(NK_PANEL_T_AT(panel, 4 * half + r, 8 * j + 4 * i),
                          weights(row[r], wasm_v128_load32_splat(scales + 4 * half + r)));
        }
      }
    }
  }
}

const nk_kernels nk_simd128_iq4_nl = {
    .gemv = gemv, .gemm = gemm, .panel = nk_simd128_iq4_nl_panel, .panel_t = nk_simd128_iq4_nl_panel_t};
