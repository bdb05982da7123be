/*
 * q4.c: Q4_1 and Q4_0 × int8 activations in base SIMD. The packed nibbles (formats/nibbles.h) are looked at as 16-bit
 * lanes: each lane's four nibbles are levels of four different k, and two neighbouring lanes a row; i32x4.dot_i16x8_s of
 * one nibble position with a splatted pair of int16 activations adds two products to the 32-bit lane of the row.
 */
#include "kernels/formats/nibbles.h"
#include "kernels/simd128/common.h"

static inline v128_t dot(v128_t sum, v128_t a, v128_t w) { return wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(a, w)); }

/* acc + isum * (scale * d_a) + minimum * sum_a, in the order of scalar.h. */
static inline v128_t finish(v128_t acc, v128_t isum, v128_t scale, v128_t minimum, const uint8_t *d, const uint8_t *sum) {
  v128_t s = wasm_f32x4_mul(scale, wasm_v128_load32_splat(d));
  acc = NK_MADD(wasm_f32x4_convert_i32x4(isum), s, acc);
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

/* The levels stay where they are in the lane, times 1, 16 or 256, with a sum for each factor: fewer shifts. */
NK_INLINE void gemv(float *y, const uint8_t *packed, const uint8_t *act, uint32_t n_blocks, uint32_t packed_bytes,
                        bool has_minimum) {
  v128_t first = NK_CONSTANT(nibble16), second = NK_CONSTANT(second16), third = NK_CONSTANT(third16);
  v128_t bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale), minus8 = NK_CONSTANT(minus8);
  v128_t acc[2] = {wasm_f32x4_splat(0.0f), wasm_f32x4_splat(0.0f)};
  for (uint32_t b = 0; b < n_blocks; b++, packed += packed_bytes, act += nk_act_block_bytes(2, 1)) {
    v128_t scale[2], minimum[2], sum1[2], sum16[2], sum256[2];
    for (uint32_t half = 0; half < 2; half++) sum1[half] = sum16[half] = sum256[half] = wasm_i32x4_splat(0);
    const uint8_t *w = packed, *a = act;
    NK_NO_UNROLL
    for (uint32_t j = 0; j < 4; j++, w += 16, a += 16) {
      v128_t a0 = wasm_v128_load32_splat(a), a1 = wasm_v128_load32_splat(a + 4);
      v128_t a2 = wasm_v128_load32_splat(a + 8), a3 = wasm_v128_load32_splat(a + 12);
      for (uint32_t half = 0; half < 2; half++) {
        v128_t v = wasm_v128_load(w + 64 * half);
        sum1[half] = dot(sum1[half], a0, wasm_v128_and(v, first));
        sum16[half] = dot(sum16[half], a1, wasm_v128_and(v, second));
        sum256[half] = dot(sum256[half], a2, wasm_v128_and(v, third));
        sum1[half] = dot(sum1[half], a3, wasm_u16x8_shr(v, 12));
      }
    }
    scales(scale, minimum, packed, bits, factor, minus8, has_minimum);
    for (uint32_t half = 0; half < 2; half++) {
      v128_t isum =
          wasm_i32x4_add(wasm_i32x4_add(sum1[half], wasm_i32x4_shr(sum16[half], 4)), wasm_i32x4_shr(sum256[half], 8));
      acc[half] = finish(acc[half], isum, scale[half], minimum[half], act + 64, act + 68);
    }
  }
  wasm_v128_store(y, acc[0]);
  wasm_v128_store(y + 4, acc[1]);
}

/* 4 tokens × 8 rows: eight integer sums in registers; the float sums stay in y between blocks. */
NK_INLINE void gemm(float *y, size_t ldy, const uint8_t *packed, const uint8_t *act, uint32_t n_blocks,
                        uint32_t packed_bytes, bool has_minimum) {
  v128_t mask = NK_CONSTANT(nibble16);
  v128_t bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale), minus8 = NK_CONSTANT(minus8);
  for (uint32_t t = 0; t < 4; t++) {
    wasm_v128_store(y + t * ldy, wasm_f32x4_splat(0.0f));
    wasm_v128_store(y + t * ldy + 4, wasm_f32x4_splat(0.0f));
  }
  for (uint32_t b = 0; b < n_blocks; b++, packed += packed_bytes, act += nk_act_block_bytes(2, NK_QUAD)) {
    v128_t scale[2], minimum[2], sum[4][2];
    for (uint32_t t = 0; t < 4; t++) sum[t][0] = sum[t][1] = wasm_i32x4_splat(0);
    const uint8_t *w = packed, *a = act;
    NK_NO_UNROLL
    for (uint32_t j = 0; j < 4; j++, w += 16) {
      v128_t v0 = wasm_v128_load(w), v1 = wasm_v128_load(w + 64);
      NK_NO_UNROLL
      for (uint32_t nibble = 0; nibble < 4; nibble++, a += 4) {
        v128_t w0 = wasm_v128_and(v0, mask), w1 = wasm_v128_and(v1, mask);
        v0 = wasm_u16x8_shr(v0, 4), v1 = wasm_u16x8_shr(v1, 4);
        for (uint32_t t = 0; t < 4; t++) {
          v128_t pair = wasm_v128_load32_splat(a + 64 * t);
          sum[t][0] = dot(sum[t][0], pair, w0);
          sum[t][1] = dot(sum[t][1], pair, w1);
        }
      }
    }
    scales(scale, minimum, packed, bits, factor, minus8, has_minimum);
    for (uint32_t t = 0; t < 4; t++) {
      float *to = y + t * ldy;
      for (uint32_t half = 0; half < 2; half++)
        wasm_v128_store(to + 4 * half, finish(wasm_v128_load(to + 4 * half), sum[t][half], scale[half], minimum[half],
                                              act + 256 + 4 * t, act + 272 + 4 * t));
    }
  }
}

NK_BLOCK_KERNELS(simd128, q4_0, 144, false)
NK_BLOCK_KERNELS(simd128, q4_1, 160, true)
