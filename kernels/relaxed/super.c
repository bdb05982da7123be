/*
 * super.c: the formats of 256 elements a block × int8 activations in relaxed SIMD. i16x8.relaxed_dot_i8x16_i7x16_s takes
 * levels without sign (at most 6 bits) as its 7-bit operand; offsets are taken off through the sums of activations. Sums of
 * int16 meet their sub-scale in i32x4.dot_i16x8_s, which also adds the two lanes of a row; they hold
 *     32 elements of up to 4 bits: 8 × 2 × 15 × 127 = 30,480;  16 of 5 bits: 4 × 2 × 31 × 127 = 31,496;
 *     8 of 6 bits: 2 × 2 × 63 × 127 = 32,004.
 * Levels of 8 bits (IQ4_XS, whose table has no short cut) are two of 4, the upper with 16 times the sub-scale.
 */
#include "kernels/relaxed/relaxed.h"
#include "kernels/simd128/super.h"

#if NK_HAVE_RELAXED

static inline v128_t dot(v128_t a, v128_t w) { return wasm_i16x8_relaxed_dot_i8x16_i7x16(a, w); }
static inline v128_t plus(v128_t a, v128_t b) { return wasm_i16x8_add_sat(a, b); } /* simd.h: why saturating */

/* -offset times the sums of activations, by sub-scale. */
NK_INLINE v128_t offset_sum(v128_t halves, v128_t pair, const nk_super *shape) {
  return wasm_i32x4_dot_i16x8(halves, wasm_i16x8_mul(pair, wasm_i16x8_splat((int16_t)-shape->offset)));
}

NK_INLINE void gemv(float *y, const uint8_t *packed, const uint8_t *act, uint32_t n_blocks, const nk_super *shape,
                    uint32_t level_bits, nk_steps *steps, nk_subs *scales, nk_subs *minima) {
  v128_t bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale);
  v128_t acc[2] = {wasm_f32x4_splat(0.0f), wasm_f32x4_splat(0.0f)};
  nk_masks masks = nk_load_masks();
  for (uint32_t n = 0; n < n_blocks; n += NK_SUPER_BLOCKS, packed += nk_super_bytes(shape)) {
    const uint8_t *sub_scales = packed + shape->packed_scales, *levels = packed + shape->packed_levels;
    v128_t d[2], minus_dmin[2] = {acc[0], acc[1]};
    nk_load_d(d, minus_dmin, packed, shape, bits, factor);
    NK_NO_UNROLL
    for (uint32_t b = 0; b < NK_SUPER_BLOCKS; b++, levels += shape->block_bytes, act += nk_act_block_bytes(1, 1)) {
      v128_t isum[2], minimum[2] = {d[0], d[1]}, subs[2];
      for (uint32_t sixteen = 0; sixteen < 2; sixteen++) {
        const uint8_t *a = act + 16 * sixteen;
        v128_t a0 = wasm_v128_load32_splat(a), a1 = wasm_v128_load32_splat(a + 4);
        v128_t a2 = wasm_v128_load32_splat(a + 8), a3 = wasm_v128_load32_splat(a + 12), s[2];
        subs[sixteen] = sixteen == 0 || shape->halves ? scales(sub_scales, shape->halves ? 2 * b + sixteen : b) : subs[0];
        nk_twice(s, subs[sixteen]);
        for (uint32_t half = 0; half < 2; half++) {
          v128_t w[4], sum;
          steps(w, levels, half, sixteen, &masks);
          if (level_bits == 8) {
            v128_t upper[4];
            for (uint32_t i = 0; i < 4; i++) {
              upper[i] = wasm_v128_and(wasm_u16x8_shr(w[i], 4), masks.nibble);
              w[i] = wasm_v128_and(w[i], masks.nibble);
            }
            v128_t low = plus(plus(dot(a0, w[0]), dot(a1, w[1])), plus(dot(a2, w[2]), dot(a3, w[3])));
            v128_t high = plus(plus(dot(a0, upper[0]), dot(a1, upper[1])), plus(dot(a2, upper[2]), dot(a3, upper[3])));
            sum = wasm_i32x4_add(wasm_i32x4_dot_i16x8(low, s[half]),
                                 wasm_i32x4_dot_i16x8(high, wasm_i16x8_shl(s[half], 4)));
            isum[half] = sixteen == 0 ? sum : wasm_i32x4_add(isum[half], sum);
            continue;
          }
          v128_t front = plus(dot(a0, w[0]), dot(a1, w[1])), back = plus(dot(a2, w[2]), dot(a3, w[3]));
          if (level_bits <= 5) {
            sum = wasm_i32x4_dot_i16x8(plus(front, back), s[half]);
          } else {
            sum = wasm_i32x4_add(wasm_i32x4_dot_i16x8(front, s[half]), wasm_i32x4_dot_i16x8(back, s[half]));
          }
          isum[half] = sixteen == 0 ? sum : wasm_i32x4_add(isum[half], sum);
        }
      }
      if (shape->offset != 0) {
        v128_t pair[2], halves = wasm_v128_load32_splat(act + 40);
        nk_beside(pair, subs[0], subs[1]);
        for (uint32_t half = 0; half < 2; half++)
          isum[half] = wasm_i32x4_add(isum[half], offset_sum(halves, pair[half], shape));
      }
      if (shape->n_d == 2) nk_load_minima(minimum, minus_dmin, sub_scales, b, shape, minima);
      for (uint32_t half = 0; half < 2; half++)
        acc[half] = nk_super_finish(acc[half], isum[half], d[half], minimum[half], minus_dmin[half], act + 32, 1, shape);
    }
  }
  wasm_v128_store(y, acc[0]);
  wasm_v128_store(y + 4, acc[1]);
}

/* 4 tokens × 8 rows. The steps of a block go through memory, so that each splat of activations meets all eight rows; sums
   of int32 and of floats stay in memory too. */
NK_INLINE void gemm(float *y, size_t ldy, const uint8_t *packed, const uint8_t *act, uint32_t n_blocks,
                    const nk_super *shape, uint32_t level_bits, nk_steps *steps, nk_subs *scales, nk_subs *minima) {
  v128_t bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale);
  nk_masks masks = nk_load_masks();
  uint8_t block[2 * NK_STEPS * 32]; /* [8 steps][8 rows][4]; of 8 bits: [lower, upper nibble][8][8][4] */
  int32_t sums[NK_QUAD * 8];      /* [4 tokens][8 rows] */
  for (uint32_t t = 0; t < 4; t++) {
    wasm_v128_store(y + t * ldy, wasm_f32x4_splat(0.0f));
    wasm_v128_store(y + t * ldy + 4, wasm_f32x4_splat(0.0f));
  }
  for (uint32_t n = 0; n < n_blocks; n += NK_SUPER_BLOCKS, packed += nk_super_bytes(shape)) {
    const uint8_t *sub_scales = packed + shape->packed_scales, *levels = packed + shape->packed_levels;
    v128_t d[2], minus_dmin[2] = {bits, bits};
    nk_load_d(d, minus_dmin, packed, shape, bits, factor);
    NK_NO_UNROLL
    for (uint32_t b = 0; b < NK_SUPER_BLOCKS; b++, levels += shape->block_bytes, act += nk_act_block_bytes(1, NK_QUAD)) {
      v128_t minimum[2] = {d[0], d[1]}, pair[2], s[2][2];
      for (uint32_t half = 0; half < 2; half++) {
        for (uint32_t sixteen = 0; sixteen < 2; sixteen++) {
          v128_t w[4];
          steps(w, levels, half, sixteen, &masks);
          for (uint32_t i = 0; i < 4; i++) {
            uint8_t *to = block + 32 * (4 * sixteen + i) + 16 * half;
            if (level_bits == 8) {
              wasm_v128_store(to + 32 * NK_STEPS, wasm_v128_and(wasm_u16x8_shr(w[i], 4), masks.nibble));
              w[i] = wasm_v128_and(w[i], masks.nibble);
            }
            wasm_v128_store(to, w[i]);
          }
        }
      }
      if (shape->halves) {
        v128_t first = scales(sub_scales, 2 * b), last = scales(sub_scales, 2 * b + 1);
        nk_twice(s[0], first), nk_twice(s[1], last), nk_beside(pair, first, last);
      } else {
        nk_twice(s[0], scales(sub_scales, b));
        for (uint32_t half = 0; half < 2; half++) {
          pair[half] = s[0][half];
          s[1][half] = level_bits == 8 ? wasm_i16x8_shl(s[0][half], 4) : s[0][half];
        }
      }
      if (shape->n_d == 2) nk_load_minima(minimum, minus_dmin, sub_scales, b, shape, minima);

      /* Runs of as many steps as an int16 sum holds. */
      const uint32_t run = level_bits == 8 || (level_bits == 4 && !shape->halves) ? 8 : level_bits <= 5 ? 4 : 2;
      const uint32_t all = level_bits == 8 ? 2 * NK_STEPS : NK_STEPS;
      const uint8_t *w = block, *a = act;
      for (uint32_t i = 0; i < all; i += run) {
        v128_t sum[4][2];
        if (i == NK_STEPS) a = act;
        for (uint32_t t = 0; t < 4; t++) sum[t][0] = sum[t][1] = wasm_i16x8_splat(0);
        NK_NO_UNROLL
        for (uint32_t j = 0; j < run; j++, w += 32, a += 4) {
          v128_t w0 = wasm_v128_load(w), w1 = wasm_v128_load(w + 16);
          for (uint32_t t = 0; t < 4; t++) {
            v128_t four = wasm_v128_load32_splat(a + 32 * t);
            sum[t][0] = plus(sum[t][0], dot(four, w0));
            sum[t][1] = plus(sum[t][1], dot(four, w1));
          }
        }
        for (uint32_t t = 0; t < 4; t++) {
          for (uint32_t half = 0; half < 2; half++) {
            float *to = y + t * ldy + 4 * half;
            int32_t *kept = sums + 8 * t + 4 * half;
            v128_t isum = wasm_i32x4_dot_i16x8(sum[t][half], s[i * 2 / all][half]);
            if (i != 0) isum = wasm_i32x4_add(isum, wasm_v128_load(kept));
            if (i + run < all) {
              wasm_v128_store(kept, isum);
              continue;
            }
            if (shape->offset != 0) {
              v128_t halves = wasm_v128_load32_splat(act + 160 + 4 * t);
              isum = wasm_i32x4_add(isum, offset_sum(halves, pair[half], shape));
            }
            wasm_v128_store(to, nk_super_finish(wasm_v128_load(to), isum, d[half], minimum[half], minus_dmin[half],
                                                act + 128 + 4 * t, NK_QUAD, shape));
          }
        }
      }
    }
  }
}

#define SUPER_KERNELS(symbol, shape_of, level_bits, steps, scales, minima)                                       \
  static const nk_super symbol##_shape = shape_of;                                                               \
  static void symbol##_gemv(float *y, const uint8_t *group, const uint8_t *act, uint32_t n_blocks) {             \
    gemv(y, group, act, n_blocks, &symbol##_shape, level_bits, steps, scales, minima);                           \
  }                                                                                                              \
  static void symbol##_gemm(float *y, size_t ldy, const uint8_t *group, const uint8_t *act, uint32_t n_blocks) { \
    gemm(y, ldy, group, act, n_blocks, &symbol##_shape, level_bits, steps, scales, minima);                      \
  }                                                                                                              \
  const nk_kernels nk_relaxed_##symbol = {.gemv = symbol##_gemv,                                                 \
                                          .gemm = symbol##_gemm,                                                 \
                                          .panel = nk_simd128_##symbol##_panel,                                  \
                                          .panel_t = nk_simd128_##symbol##_panel_t};
NK_SUPER_FORMATS(SUPER_KERNELS)

#endif
