/*
 * q8_0.c: Q8_0 × int8 activations beside relaxed kernels. Eight-bit levels don't fit the relaxed dot's 7-bit operand, nor
 * do their sums fit int16, so the product is the base's i32x4.dot_i16x8_s. What differs is the stream: four int8
 * activations, splatted, are shifted and masked to two pairs of int16, each times 256; the sums (below 2^27) are shifted
 * back at the end.
 */
#include "kernels/relaxed/relaxed.h"

#if NK_HAVE_RELAXED

static inline v128_t dot(v128_t sum, v128_t a, v128_t w) { return wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(a, w)); }

/* sum256 = 256 isum. */
static inline v128_t finish(v128_t acc, v128_t sum256, v128_t scale, const uint8_t *d) {
  v128_t isum = wasm_f32x4_convert_i32x4(wasm_i32x4_shr(sum256, 8));
  return NK_MADD(isum, wasm_f32x4_mul(scale, wasm_v128_load32_splat(d)), acc);
}

static void gemv(float *y, const uint8_t *packed, const uint8_t *act, uint32_t n_blocks) {
  v128_t odd_byte = NK_CONSTANT(odd_byte), bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale);
  v128_t acc[2] = {wasm_f32x4_splat(0.0f), wasm_f32x4_splat(0.0f)};
  for (uint32_t b = 0; b < n_blocks; b++, packed += 272, act += nk_act_block_bytes(1, 1)) {
    v128_t scale[2], sum[2] = {wasm_i32x4_splat(0), wasm_i32x4_splat(0)};
    const uint8_t *w = packed, *from = act;
    NK_NO_UNROLL
    for (uint32_t c = 0; c < 4; c++, w += 64, from += 8) {
      for (uint32_t i = 0; i < 2; i++) {
        v128_t a = wasm_v128_load32_splat(from + 4 * i);
        v128_t even = wasm_i16x8_shl(a, 8), odd = wasm_v128_and(a, odd_byte);
        sum[0] = dot(dot(sum[0], even, wasm_i16x8_load8x8(w + 32 * i)), odd, wasm_i16x8_load8x8(w + 32 * i + 16));
        sum[1] = dot(dot(sum[1], even, wasm_i16x8_load8x8(w + 32 * i + 8)), odd, wasm_i16x8_load8x8(w + 32 * i + 24));
      }
    }
    nk_load_halves(&scale[0], &scale[1], packed + 256, bits, factor);
    for (uint32_t half = 0; half < 2; half++) acc[half] = finish(acc[half], sum[half], scale[half], act + 32);
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
  for (uint32_t b = 0; b < n_blocks; b++, packed += 272, act += nk_act_block_bytes(1, NK_QUAD)) {
    v128_t scale[2], sum[4][2];
    for (uint32_t t = 0; t < 4; t++) sum[t][0] = sum[t][1] = wasm_i32x4_splat(0);
    const uint8_t *w = packed, *from = act;
    NK_NO_UNROLL
    for (uint32_t c = 0; c < 8; c++, w += 32, from += 4) {
      v128_t w0 = wasm_i16x8_load8x8(w), w1 = wasm_i16x8_load8x8(w + 8);
      v128_t w2 = wasm_i16x8_load8x8(w + 16), w3 = wasm_i16x8_load8x8(w + 24);
      for (uint32_t t = 0; t < 4; t++) {
        /* Even bytes times 256; loaded one byte further, the odd ones. (That needs no mask, for which no register is left;
           the byte beyond the last level belongs to the block's scales.) */
        v128_t even = wasm_i16x8_shl(wasm_v128_load32_splat(from + 32 * t), 8);
        v128_t odd = wasm_i16x8_shl(wasm_v128_load32_splat(from + 32 * t + 1), 8);
        sum[t][0] = dot(dot(sum[t][0], even, w0), odd, w2);
        sum[t][1] = dot(dot(sum[t][1], even, w1), odd, w3);
      }
    }
    nk_load_halves(&scale[0], &scale[1], packed + 256, bits, factor);
    for (uint32_t t = 0; t < 4; t++) {
      float *to = y + t * ldy;
      for (uint32_t half = 0; half < 2; half++)
        wasm_v128_store(to + 4 * half, finish(wasm_v128_load(to + 4 * half), sum[t][half], scale[half], act + 128 + 4 * t));
    }
  }
}

const nk_kernels nk_relaxed_q8_0 = {
    .gemv = gemv, .gemm = gemm, .panel = nk_simd128_q8_0_panel, .panel_t = nk_simd128_q8_0_panel_t};

#endif
