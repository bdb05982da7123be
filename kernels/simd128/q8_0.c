/*
 * q8_0.c: Q8_0 × int8 activations in base SIMD. A packed column (formats/q8_0.c) is [8 rows][2 k]: eight bytes widen to
 * four rows' pairs of int16, which meet a splatted pair of int16 activations in i32x4.dot_i16x8_s; the 32-bit lane is the
 * row.
 */
#include "kernels/simd128/common.h"

static inline v128_t dot(v128_t sum, v128_t a, v128_t w) { return wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(a, w)); }

static inline v128_t finish(v128_t acc, v128_t isum, v128_t scale, const uint8_t *d) {
  return NK_MADD(wasm_f32x4_convert_i32x4(isum), wasm_f32x4_mul(scale, wasm_v128_load32_splat(d)), acc);
}

static void gemv(float *y, const uint8_t *packed, const uint8_t *act, uint32_t n_blocks) {
  v128_t bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale);
  v128_t acc[2] = {wasm_f32x4_splat(0.0f), wasm_f32x4_splat(0.0f)};
  for (uint32_t b = 0; b < n_blocks; b++, packed += 272, act += nk_act_block_bytes(2, 1)) {
    v128_t scale[2], sum[2] = {wasm_i32x4_splat(0), wasm_i32x4_splat(0)};
    const uint8_t *w = packed, *a = act;
    NK_NO_UNROLL
    for (uint32_t o = 0; o < 4; o++, w += 64, a += 16) { /* eight k: pairs (0, 2) (1, 3) (4, 6) (5, 7) */
      for (uint32_t i = 0; i < 4; i++) {
        v128_t pair = wasm_v128_load32_splat(a + 8 * (i % 2) + 4 * (i / 2));
        sum[0] = dot(sum[0], pair, wasm_i16x8_load8x8(w + 16 * i));
        sum[1] = dot(sum[1], pair, wasm_i16x8_load8x8(w + 16 * i + 8));
      }
    }
    nk_load_halves(&scale[0], &scale[1], packed + 256, bits, factor);
    for (uint32_t half = 0; half < 2; half++) acc[half] = finish(acc[half], sum[half], scale[half], act + 64);
  }
  wasm_v128_store(y, acc[0]);
  wasm_v128_store(y + 4, acc[1]);
}

static void gemm(float *y, size_t ldy, const uint8_t *packed, const uint8_t *act, uint32_t n_blocks) {
  v128_t bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale);
  for (uint32_t t = 0; t < 4; t++) {
    wasm_v128_store(y + t * ldy, wasm_f32x4_splat(0.0f));
    wasm_v128_store(y + t * ldy + 4, wasm_f32x4_splat(0.0f));
  }
  for (uint32_t b = 0; b < n_blocks; b++, packed += 272, act += nk_act_block_bytes(2, NK_QUAD)) {
    v128_t scale[2], sum[4][2];
    for (uint32_t t = 0; t < 4; t++) sum[t][0] = sum[t][1] = wasm_i32x4_splat(0);
    const uint8_t *w = packed, *a = act;
    NK_NO_UNROLL
    for (uint32_t c = 0; c < 8; c++, w += 32) { /* four k: pairs (0, 2) and (1, 3) */
      v128_t w0 = wasm_i16x8_load8x8(w), w1 = wasm_i16x8_load8x8(w + 8);
      v128_t w2 = wasm_i16x8_load8x8(w + 16), w3 = wasm_i16x8_load8x8(w + 24);
      for (uint32_t t = 0; t < 4; t++) {
        v128_t even = wasm_v128_load32_splat(a + 64 * t), odd = wasm_v128_load32_splat(a + 64 * t + 8);
        sum[t][0] = dot(dot(sum[t][0], even, w0), odd, w2);
        sum[t][1] = dot(dot(sum[t][1], even, w1), odd, w3);
      }
      a += c % 2 == 0 ? 4 : 12;
    }
    nk_load_halves(&scale[0], &scale[1], packed + 256, bits, factor);
    for (uint32_t t = 0; t < 4; t++) {
      float *to = y + t * ldy;
      for (uint32_t half = 0; half < 2; half++)
        wasm_v128_store(to + 4 * half, finish(wasm_v128_load(to + 4 * half), sum[t][half], scale[half], act + 256 + 4 * t));
    }
  }
}

const nk_kernels nk_simd128_q8_0 = {
    .gemv = gemv, .gemm = gemm, .panel = nk_simd128_q8_0_panel, .panel_t = nk_simd128_q8_0_panel_t};
