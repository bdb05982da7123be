/*
 * iq4_nl.c: IQ4_NL × int8 activations in relaxed SIMD. Its levels (0..240) don't fit the 7-bit operand of the relaxed dot
 * product, but their two hexadecimal digits do, and the sum of each over a block fits int16: |8 × 2 × 15 × 127| = 30,480.
 * One token takes two swizzles and two products, whose sums meet at the end of the block as 16 × upper + lower.
 */
#include "kernels/formats/iq4_nl.h"
#include "kernels/formats/nibbles.h"
#include "kernels/relaxed/relaxed.h"

#if NK_HAVE_RELAXED

enum { PACKED = 144 };

static inline v128_t dot(v128_t sum, v128_t a, v128_t w) {
  return wasm_i16x8_add_sat(sum, wasm_i16x8_relaxed_dot_i8x16_i7x16(a, w));
}

static inline v128_t finish(v128_t acc, v128_t isum, v128_t scale, v128_t minus127, const uint8_t *d, const uint8_t *sum) {
  acc = NK_MADD(wasm_f32x4_convert_i32x4(isum), wasm_f32x4_mul(scale, wasm_v128_load32_splat(d)), acc);
  return NK_MADD(wasm_f32x4_mul(scale, minus127), wasm_v128_load32_splat(sum), acc);
}

static void gemv(float *y, const uint8_t *packed, const uint8_t *act, uint32_t n_blocks) {
  v128_t table = wasm_v128_load(nk_iq4_nl_levels), mask = NK_CONSTANT(nibble8);
  v128_t lower = wasm_v128_and(table, mask), upper = wasm_v128_and(wasm_u16x8_shr(table, 4), mask);
  v128_t bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale), minus127 = NK_CONSTANT(minus127);
  v128_t acc[2] = {wasm_f32x4_splat(0.0f), wasm_f32x4_splat(0.0f)};
  for (uint32_t b = 0; b < n_blocks; b++, packed += PACKED, act += nk_act_block_bytes(1, 1)) {
    v128_t scale[2], sum_lower[2], sum_upper[2];
    for (uint32_t half = 0; half < 2; half++) sum_lower[half] = sum_upper[half] = wasm_i16x8_splat(0);
    for (uint32_t j = 0; j < 4; j++) {
      v128_t a0 = wasm_v128_load32_splat(act + 8 * j), a1 = wasm_v128_load32_splat(act + 8 * j + 4);
      for (uint32_t half = 0; half < 2; half++) {
        v128_t v = wasm_v128_load(packed + 64 * half + 16 * j);
        v128_t first = wasm_v128_and(v, mask), second = wasm_v128_and(wasm_u16x8_shr(v, 4), mask);
        sum_lower[half] = dot(sum_lower[half], a0, wasm_i8x16_relaxed_swizzle(lower, first));
        sum_upper[half] = dot(sum_upper[half], a0, wasm_i8x16_relaxed_swizzle(upper, first));
        sum_lower[half] = dot(sum_lower[half], a1, wasm_i8x16_relaxed_swizzle(lower, second));
        sum_upper[half] = dot(sum_upper[half], a1, wasm_i8x16_relaxed_swizzle(upper, second));
      }
    }
    nk_load_halves(&scale[0], &scale[1], packed + NK_NIBBLES_BYTES, bits, factor);
    for (uint32_t half = 0; half < 2; half++) {
      v128_t isum = wasm_i32x4_add(wasm_i32x4_extadd_pairwise_i16x8(sum_lower[half]),
                                   wasm_i32x4_shl(wasm_i32x4_extadd_pairwise_i16x8(sum_upper[half]), 4));
      acc[half] = finish(acc[half], isum, scale[half], minus127, act + 32, act + 36);
    }
  }
  wasm_v128_store(y, acc[0]);
  wasm_v128_store(y + 4, acc[1]);
}

static inline v128_t dot16(v128_t sum, v128_t a, v128_t w) { return wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(a, w)); }

/* 4 tokens × 8 rows: eight integer sums in registers; the float sums stay in y between blocks. Two sums for each would not
   fit, and a product of 16 bits does as well once its preparation is shared by four tokens (see q8_0.c). */
static void gemm(float *y, size_t ldy, const uint8_t *packed, const uint8_t *act, uint32_t n_blocks) {
  v128_t table = wasm_v128_load(nk_iq4_nl_levels), mask = NK_CONSTANT(nibble8), even_byte = NK_CONSTANT(even_byte);
  v128_t bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale), minus127 = NK_CONSTANT(minus127);
  for (uint32_t t = 0; t < 4; t++) {
    wasm_v128_store(y + t * ldy, wasm_f32x4_splat(0.0f));
    wasm_v128_store(y + t * ldy + 4, wasm_f32x4_splat(0.0f));
  }
  for (uint32_t b = 0; b < n_blocks; b++, packed += PACKED, act += nk_act_block_bytes(1, NK_QUAD)) {
    v128_t scale[2], sum[4][2];
    for (uint32_t t = 0; t < 4; t++) sum[t][0] = sum[t][1] = wasm_i32x4_splat(0);
    const uint8_t *w = packed, *a = act;
    NK_NO_UNROLL
    for (uint32_t j = 0; j < 4; j++, w += 16) {
      v128_t v0 = wasm_v128_load(w), v1 = wasm_v128_load(w + 64);
      NK_NO_UNROLL
      for (uint32_t nibble = 0; nibble < 2; nibble++, a += 4) {
        v128_t w0 = wasm_i8x16_relaxed_swizzle(table, wasm_v128_and(v0, mask));
        v128_t w1 = wasm_i8x16_relaxed_swizzle(table, wasm_v128_and(v1, mask));
        v128_t w2 = wasm_u16x8_shr(w0, 8), w3 = wasm_u16x8_shr(w1, 8);
        w0 = wasm_v128_and(w0, even_byte), w1 = wasm_v128_and(w1, even_byte);
        v0 = wasm_u16x8_shr(v0, 4), v1 = wasm_u16x8_shr(v1, 4);
        for (uint32_t t = 0; t < 4; t++) {
          /* Even bytes times 256; loaded one byte further, the odd ones. (The byte beyond the last activation belongs to
             the block's scales.) */
          v128_t even = wasm_i16x8_shl(wasm_v128_load32_splat(a + 32 * t), 8);
          v128_t odd = wasm_i16x8_shl(wasm_v128_load32_splat(a + 32 * t + 1), 8);
          sum[t][0] = dot16(dot16(sum[t][0], even, w0), odd, w2);
          sum[t][1] = dot16(dot16(sum[t][1], even, w1), odd, w3);
        }
      }
    }
    nk_load_halves(&scale[0], &scale[1], packed + NK_NIBBLES_BYTES, bits, factor);
    for (uint32_t t = 0; t < 4; t++) {
      float *to = y + t * ldy;
      for (uint32_t half = 0; half < 2; half++) {
        v128_t isum = wasm_i32x4_shr(sum[t][half], 8); /* exact; |sum| < 2^28 */
        wasm_v128_store(to + 4 * half, finish(wasm_v128_load(to + 4 * half), isum, scale[half], minus127, act + 128 + 4 * t,
                                              act + 144 + 4 * t));
      }
    }
  }
}

const nk_kernels nk_relaxed_iq4_nl = {
    .gemv = gemv, .gemm = gemm, .panel = nk_simd128_iq4_nl_panel, .panel_t = nk_simd128_iq4_nl_panel_t};

#endif
