/*
 * q4.c: Q4_1 and Q4_0 × int8 activations in relaxed SIMD. i16x8.relaxed_dot_i8x16_i7x16_s takes the levels (0..15) as its
 * 7-bit operand and four splatted activations; the sum of a whole block fits int16: |8 × 2 × 15 × 127| = 30,480. (The form
 * that adds to int32 costs five instructions on x86 without VNNI, this one costs one.)
 */
#include "kernels/formats/nibbles.h"
#include "kernels/relaxed/relaxed.h"

#if NK_HAVE_RELAXED

static inline v128_t dot(v128_t a, v128_t w) { return wasm_i16x8_relaxed_dot_i8x16_i7x16(a, w); }

static inline v128_t finish(v128_t acc, v128_t sum16, v128_t scale, v128_t minimum, const uint8_t *d, const uint8_t *sum) {
  v128_t isum = wasm_f32x4_convert_i32x4(wasm_i32x4_extadd_pairwise_i16x8(sum16));
  acc = NK_MADD(isum, wasm_f32x4_mul(scale, wasm_v128_load32_splat(d)), acc);
  return NK_MADD(minimum, wasm_v128_load32_splat(sum), acc);
}

static inline void scales(v128_t *scale, v128_t *minimum, const uint8_t *packed, v128_t bits, v128_t factor, v128_t minus8,
                          bool has_minimum) {
  nk_load_halves(&scale[0], &scale[1], packed + NK_NIBBLES_BYTES, bits, factor);
  if (has_minimum) {
    nk_load_halves(&minimum[0], &minimum[1], packed + NK_NIBBLES_BYTES + 16, bits, factor);
  } else {
    minimum[0] = wasm_f32x4_mul(scale[0], minus8);
    minimum[1] = wasm_f32x4_mul(scale[1], minus8);
  }
}

NK_INLINE void gemv(float *y, const uint8_t *packed, const uint8_t *act, uint32_t n_blocks, uint32_t packed_bytes,
                        bool has_minimum) {
  v128_t mask = NK_CONSTANT(nibble8);
  v128_t bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale), minus8 = NK_CONSTANT(minus8);
  v128_t acc[2] = {wasm_f32x4_splat(0.0f), wasm_f32x4_splat(0.0f)};
  for (uint32_t b = 0; b < n_blocks; b++, packed += packed_bytes, act += nk_act_block_bytes(1, 1)) {
    v128_t scale[2], minimum[2], sum[2];
    for (uint32_t j = 0; j < 4; j++) {
      v128_t low = wasm_v128_load32_splat(act + 8 * j), high = wasm_v128_load32_splat(act + 8 * j + 4);
      for (uint32_t half = 0; half < 2; half++) {
        v128_t v = wasm_v128_load(packed + 64 * half + 16 * j);
        v128_t product = dot(low, wasm_v128_and(v, mask));
        sum[half] = j == 0 ? product : wasm_i16x8_add_sat(sum[half], product);
        sum[half] = wasm_i16x8_add_sat(sum[half], dot(high, wasm_v128_and(wasm_u16x8_shr(v, 4), mask)));
      }
    }
    scales(scale, minimum, packed, bits, factor, minus8, has_minimum);
    for (uint32_t half = 0; half < 2; half++)
      acc[half] = finish(acc[half], sum[half], scale[half], minimum[half], act + 32, act + 36);
  }
  wasm_v128_store(y, acc[0]);
  wasm_v128_store(y + 4, acc[1]);
}

/* 4 tokens × 8 rows: eight integer sums in registers; the float sums stay in y between blocks. */
NK_INLINE void gemm(float *y, size_t ldy, const uint8_t *packed, const uint8_t *act, uint32_t n_blocks,
                        uint32_t packed_bytes, bool has_minimum) {
  v128_t mask = NK_CONSTANT(nibble8);
  v128_t bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale), minus8 = NK_CONSTANT(minus8);
  for (uint32_t t = 0; t < 4; t++) {
    wasm_v128_store(y + t * ldy, wasm_f32x4_splat(0.0f));
    wasm_v128_store(y + t * ldy + 4, wasm_f32x4_splat(0.0f));
  }
  for (uint32_t b = 0; b < n_blocks; b++, packed += packed_bytes, act += nk_act_block_bytes(1, NK_QUAD)) {
    v128_t scale[2], minimum[2], sum[4][2];
    for (uint32_t t = 0; t < 4; t++) sum[t][0] = sum[t][1] = wasm_i16x8_splat(0);
    const uint8_t *w = packed, *a = act;
    NK_NO_UNROLL
    for (uint32_t j = 0; j < 4; j++, w += 16) {
      v128_t v0 = wasm_v128_load(w), v1 = wasm_v128_load(w + 64);
      NK_NO_UNROLL
      for (uint32_t nibble = 0; nibble < 2; nibble++, a += 4) {
        v128_t w0 = wasm_v128_and(v0, mask), w1 = wasm_v128_and(v1, mask);
        v0 = wasm_u16x8_shr(v0, 4), v1 = wasm_u16x8_shr(v1, 4);
        for (uint32_t t = 0; t < 4; t++) {
          v128_t four = wasm_v128_load32_splat(a + 32 * t);
          sum[t][0] = wasm_i16x8_add_sat(sum[t][0], dot(four, w0));
          sum[t][1] = wasm_i16x8_add_sat(sum[t][1], dot(four, w1));
        }
      }
    }
    scales(scale, minimum, packed, bits, factor, minus8, has_minimum);
    for (uint32_t t = 0; t < 4; t++) {
      float *to = y + t * ldy;
      for (uint32_t half = 0; half < 2; half++)
        wasm_v128_store(to + 4 * half, finish(wasm_v128_load(to + 4 * half), sum[t][half], scale[half], minimum[half],
                                              act + 128 + 4 * t, act + 144 + 4 * t));
    }
  }
}

NK_BLOCK_KERNELS(relaxed, q4_0, 144, false)
NK_BLOCK_KERNELS(relaxed, q4_1, 160, true)

#endif
