/*
 * q5.c: Q5_1 and Q5_0 × int8 activations in relaxed SIMD. i16x8.relaxed_dot_i8x16_i7x16_s takes the levels (0..31) as its
 * 7-bit operand and four splatted activations; the sum of half a block fits int16: |4 × 2 × 31 × 127| = 31,496.
 */
#include "kernels/relaxed/relaxed.h"

#include "kernels/simd128/fives.h"

#if NK_HAVE_RELAXED

static inline v128_t dot(v128_t sum, v128_t a, v128_t w) {
  return wasm_i16x8_add_sat(sum, wasm_i16x8_relaxed_dot_i8x16_i7x16(a, w));
}

static inline v128_t finish(v128_t acc, v128_t isum, v128_t scale, v128_t minimum, const uint8_t *d, const uint8_t *sum) {
  acc = NK_MADD(wasm_f32x4_convert_i32x4(isum), wasm_f32x4_mul(scale, wasm_v128_load32_splat(d)), acc);
  return NK_MADD(minimum, wasm_v128_load32_splat(sum), acc);
}

/* One token's activations 4q .. 4q+3 (q a constant) with the 8 rows. */
NK_INLINE void step(v128_t *sum /* [2] */, const uint8_t *packed, const uint8_t *act, uint32_t q,
                    const nk_fives_masks *masks) {
  v128_t a = wasm_v128_load32_splat(act + 4 * q);
  sum[0] = dot(sum[0], a, nk_fives_level(packed, q, masks));
  sum[1] = dot(sum[1], a, nk_fives_level(packed + NK_FIVES_HALF, q, masks));
}

NK_INLINE void gemv(float *y, const uint8_t *packed, const uint8_t *act, uint32_t n_blocks, uint32_t packed_bytes,
                    bool has_minimum) {
  nk_fives_masks masks = nk_fives_load_masks();
  v128_t bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale), minus16 = NK_CONSTANT(minus16);
  v128_t acc[2] = {wasm_f32x4_splat(0.0f), wasm_f32x4_splat(0.0f)};
  for (uint32_t b = 0; b < n_blocks; b++, packed += packed_bytes, act += nk_act_block_bytes(1, 1)) {
    v128_t scale[2], minimum[2], isum[2], sum[2] = {wasm_i16x8_splat(0), wasm_i16x8_splat(0)};
    for (uint32_t q = 0; q < 4; q++) step(sum, packed, act, q, &masks);
    for (uint32_t half = 0; half < 2; half++) {
      isum[half] = wasm_i32x4_extadd_pairwise_i16x8(sum[half]);
      sum[half] = wasm_i16x8_splat(0);
    }
    for (uint32_t q = 4; q < 8; q++) step(sum, packed, act, q, &masks);
    for (uint32_t half = 0; half < 2; half++)
      isum[half] = wasm_i32x4_add(isum[half], wasm_i32x4_extadd_pairwise_i16x8(sum[half]));
    nk_fives_scales(scale, minimum, packed, bits, factor, minus16, has_minimum);
    for (uint32_t half = 0; half < 2; half++)
      acc[half] = finish(acc[half], isum[half], scale[half], minimum[half], act + 32, act + 36);
  }
  wasm_v128_store(y, acc[0]);
  wasm_v128_store(y + 4, acc[1]);
}

/* 4 tokens × 8 rows: eight sums of 16 bits in registers; the float sums stay in y between blocks. */
NK_INLINE void gemm(float *y, size_t ldy, const uint8_t *packed, const uint8_t *act, uint32_t n_blocks,
                    uint32_t packed_bytes, bool has_minimum) {
  nk_fives_masks masks = nk_fives_load_masks();
  v128_t bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale), minus16 = NK_CONSTANT(minus16);
  for (uint32_t t = 0; t < 4; t++) {
    wasm_v128_store(y + t * ldy, wasm_f32x4_splat(0.0f));
    wasm_v128_store(y + t * ldy + 4, wasm_f32x4_splat(0.0f));
  }
  for (uint32_t b = 0; b < n_blocks; b++, packed += packed_bytes, act += nk_act_block_bytes(1, NK_QUAD)) {
    v128_t scale[2], minimum[2], sum[4][2], isum[4][2];
    for (uint32_t t = 0; t < 4; t++) sum[t][0] = sum[t][1] = wasm_i16x8_splat(0);
    const uint8_t *w = packed, *a = act;
    NK_NO_UNROLL
    for (uint32_t q = 0; q < 4; q++, w += 16, a += 4) {
      v128_t w0 = nk_fives_level(w, 0, &masks), w1 = nk_fives_level(w + NK_FIVES_HALF, 0, &masks);
      for (uint32_t t = 0; t < 4; t++) {
        v128_t four = wasm_v128_load32_splat(a + 32 * t);
        sum[t][0] = dot(sum[t][0], four, w0);
        sum[t][1] = dot(sum[t][1], four, w1);
      }
    }
    for (uint32_t t = 0; t < 4; t++) {
      for (uint32_t half = 0; half < 2; half++) {
        isum[t][half] = wasm_i32x4_extadd_pairwise_i16x8(sum[t][half]);
        sum[t][half] = wasm_i16x8_splat(0);
      }
    }
    for (uint32_t q = 4; q < 8; q++) {
      v128_t w0 = nk_fives_level(packed, q, &masks), w1 = nk_fives_level(packed + NK_FIVES_HALF, q, &masks);
      for (uint32_t t = 0; t < 4; t++) {
        v128_t four = wasm_v128_load32_splat(act + 32 * t + 4 * q);
        sum[t][0] = dot(sum[t][0], four, w0);
        sum[t][1] = dot(sum[t][1], four, w1);
      }
    }
    nk_fives_scales(scale, minimum, packed, bits, factor, minus16, has_minimum);
    for (uint32_t t = 0; t < 4; t++) {
      float *to = y + t * ldy;
      for (uint32_t half = 0; half < 2; half++) {
        v128_t total = wasm_i32x4_add(isum[t][half], wasm_i32x4_extadd_pairwise_i16x8(sum[t][half]));
        wasm_v128_store(to + 4 * half, finish(wasm_v128_load(to + 4 * half), total, scale[half], minimum[half],
                                              act + 128 + 4 * t, act + 144 + 4 * t));
      }
    }
  }
}

NK_BLOCK_KERNELS(relaxed, q5_0, 176, false)
NK_BLOCK_KERNELS(relaxed, q5_1, 192, true)

#endif
