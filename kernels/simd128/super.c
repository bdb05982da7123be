/*
 * super.c: the formats of 256 elements a block in base SIMD: products with int8 activations, and panels (for both ISAs).
 *
 * A step (super.h) as 16-bit lanes: even bytes are k = (4i, 4i + 2) of each row, odd bytes (4i + 1, 4i + 3): the pairs of
 * int16 activations in the stream, for i32x4.dot_i16x8_s.
 */
#include "kernels/simd128/super.h"

static inline v128_t dot(v128_t sum, v128_t a, v128_t w) { return wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(a, w)); }

/* Sums of levels without sign for each 16, times the sub-scale; the offset is taken off through the sums of activations. */
NK_INLINE void gemv(float *y, const uint8_t *packed, const uint8_t *act, uint32_t n_blocks, const nk_super *shape,
                    nk_steps *steps, nk_subs *scales, nk_subs *minima) {
  v128_t bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale), byte = NK_CONSTANT(even_byte);
  v128_t acc[2] = {wasm_f32x4_splat(0.0f), wasm_f32x4_splat(0.0f)};
  nk_masks masks = nk_load_masks();
  for (uint32_t n = 0; n < n_blocks; n += NK_SUPER_BLOCKS, packed += nk_super_bytes(shape)) {
    const uint8_t *sub_scales = packed + shape->packed_scales, *levels = packed + shape->packed_levels;
    v128_t d[2], minus_dmin[2] = {acc[0], acc[1]};
    nk_load_d(d, minus_dmin, packed, shape, bits, factor);
    NK_NO_UNROLL
    for (uint32_t b = 0; b < NK_SUPER_BLOCKS; b++, levels += shape->block_bytes, act += nk_act_block_bytes(2, 1)) {
      v128_t isum[2], minimum[2] = {d[0], d[1]}, subs[2];
      for (uint32_t sixteen = 0; sixteen < 2; sixteen++) {
        const uint8_t *a = act + 32 * sixteen;
        v128_t s[2];
        subs[sixteen] = sixteen == 0 || shape->halves ? scales(sub_scales, shape->halves ? 2 * b + sixteen : b) : subs[0];
        s[0] = wasm_i32x4_extend_low_i16x8(subs[sixteen]), s[1] = wasm_i32x4_extend_high_i16x8(subs[sixteen]);
        for (uint32_t half = 0; half < 2; half++) {
          v128_t w[4], sum = wasm_i32x4_splat(0);
          steps(w, levels, half, sixteen, &masks);
          for (uint32_t i = 0; i < 4; i++) {
            v128_t even = wasm_v128_load32_splat(a + 16 * (i / 2) + 4 * (i % 2));
            v128_t odd = wasm_v128_load32_splat(a + 16 * (i / 2) + 4 * (i % 2) + 8);
            sum = dot(dot(sum, even, wasm_v128_and(w[i], byte)), odd, wasm_u16x8_shr(w[i], 8));
          }
          sum = wasm_i32x4_mul(sum, s[half]);
          isum[half] = sixteen == 0 ? sum : wasm_i32x4_add(isum[half], sum);
        }
      }
      if (shape->offset != 0) {
        v128_t pair[2], halves = wasm_v128_load32_splat(act + 72);
        nk_beside(pair, subs[0], subs[1]);
        for (uint32_t half = 0; half < 2; half++)
          isum[half] = dot(isum[half], halves, wasm_i16x8_mul(pair[half], wasm_i16x8_splat((int16_t)-shape->offset)));
      }
      if (shape->n_d == 2) nk_load_minima(minimum, minus_dmin, sub_scales, b, shape, minima);
      for (uint32_t half = 0; half < 2; half++)
        acc[half] = nk_super_finish(acc[half], isum[half], d[half], minimum[half], minus_dmin[half], act + 64, 1, shape);
    }
  }
  wasm_v128_store(y, acc[0]);
  wasm_v128_store(y + 4, acc[1]);
}

/* 4 tokens × 8 rows. The levels of a block become int16 less the offset and times the sub-scale (at most 2^13 in size) in
   memory, once for the four tokens. */
NK_INLINE void gemm(float *y, size_t ldy, const uint8_t *packed, const uint8_t *act, uint32_t n_blocks,
                    const nk_super *shape, nk_steps *steps, nk_subs *scales, nk_subs *minima) {
  v128_t bits = NK_CONSTANT(half_bits), factor = NK_CONSTANT(half_scale), byte = NK_CONSTANT(even_byte);
  nk_masks masks = nk_load_masks();
  int16_t weights[NK_STEPS * 4 * 8]; /* [8 steps][even, odd][8 rows][2] */
  for (uint32_t t = 0; t < 4; t++) {
    wasm_v128_store(y + t * ldy, wasm_f32x4_splat(0.0f));
    wasm_v128_store(y + t * ldy + 4, wasm_f32x4_splat(0.0f));
  }
  for (uint32_t n = 0; n < n_blocks; n += NK_SUPER_BLOCKS, packed += nk_super_bytes(shape)) {
    const uint8_t *sub_scales = packed + shape->packed_scales, *levels = packed + shape->packed_levels;
    v128_t d[2], minus_dmin[2] = {bits, bits};
    nk_load_d(d, minus_dmin, packed, shape, bits, factor);
    NK_NO_UNROLL
    for (uint32_t b = 0; b < NK_SUPER_BLOCKS; b++, levels += shape->block_bytes, act += nk_act_block_bytes(2, NK_QUAD)) {
      v128_t minimum[2] = {d[0], d[1]}, sum[4][2];
      NK_NO_UNROLL
      for (uint32_t sixteen = 0; sixteen < 2; sixteen++) {
        v128_t s[2], offset = wasm_i16x8_splat((int16_t)shape->offset);
        nk_twice(s, scales(sub_scales, shape->halves ? 2 * b + sixteen : b));
        for (uint32_t half = 0; half < 2; half++) {
          v128_t w[4];
          steps(w, levels, half, sixteen, &masks);
          for (uint32_t i = 0; i < 4; i++) {
            int16_t *to = weights + 32 * (4 * sixteen + i) + 8 * half;
            v128_t even = wasm_v128_and(w[i], byte), odd = wasm_u16x8_shr(w[i], 8);
            if (shape->offset != 0) even = wasm_i16x8_sub(even, offset), odd = wasm_i16x8_sub(odd, offset);
            wasm_v128_store(to, wasm_i16x8_mul(even, s[half]));
            wasm_v128_store(to + 16, wasm_i16x8_mul(odd, s[half]));
          }
        }
      }
      for (uint32_t t = 0; t < 4; t++) sum[t][0] = sum[t][1] = wasm_i32x4_splat(0);
      const int16_t *w = weights;
      const uint8_t *a = act;
      NK_NO_UNROLL
      for (uint32_t i = 0; i < NK_STEPS; i++, w += 32) {
        v128_t w0 = wasm_v128_load(w), w1 = wasm_v128_load(w + 8), w2 = wasm_v128_load(w + 16), w3 = wasm_v128_load(w + 24);
        for (uint32_t t = 0; t < 4; t++) {
          v128_t even = wasm_v128_load32_splat(a + 64 * t), odd = wasm_v128_load32_splat(a + 64 * t + 8);
          sum[t][0] = dot(dot(sum[t][0], even, w0), odd, w2);
          sum[t][1] = dot(dot(sum[t][1], even, w1), odd, w3);
        }
        a += i % 2 == 0 ? 4 : 12;
      }
      if (shape->n_d == 2) nk_load_minima(minimum, minus_dmin, sub_scales, b, shape, minima);
      for (uint32_t t = 0; t < 4; t++) {
        for (uint32_t half = 0; half < 2; half++) {
          float *to = y + t * ldy + 4 * half;
          wasm_v128_store(to, nk_super_finish(wasm_v128_load(to), sum[t][half], d[half], minimum[half], minus_dmin[half],
                                              act + 256 + 4 * t, NK_QUAD, shape));
        }
      }
    }
  }
}

/* ---- Panels -------------------------------------------------------------------------------------------------------- */

/* What turns levels of 16 elements into weights, by row. */
typedef struct weights_of {
  v128_t scale[2], minimum[2]; /* d s, -dmin m */
} weights_of;

NK_INLINE weights_of load_weights_of(const uint8_t *packed, uint32_t b, uint32_t sixteen, const nk_super *shape,
                                     nk_subs *scales, nk_subs *minima) {
  const uint8_t *sub_scales = packed + shape->packed_scales;
  uint32_t sub = shape->halves ? 2 * b + sixteen : b;
  v128_t d[2], minus_dmin[2];
  weights_of of;
  nk_load_d(d, minus_dmin, packed, shape, NK_CONSTANT(half_bits), NK_CONSTANT(half_scale));
  nk_floats(of.scale, scales(sub_scales, sub));
  if (shape->n_d == 2) nk_floats(of.minimum, minima(sub_scales, sub));
  for (uint32_t half = 0; half < 2; half++) {
    of.scale[half] = wasm_f32x4_mul(d[half], of.scale[half]);
    of.minimum[half] = shape->n_d == 2 ? wasm_f32x4_mul(minus_dmin[half], of.minimum[half]) : of.scale[half];
  }
  return of;
}

/* levels: 4 of them as int32. */
NK_INLINE v128_t weights(v128_t levels, v128_t scale, v128_t minimum, const nk_super *shape) {
  if (shape->offset != 0) levels = wasm_i32x4_sub(levels, wasm_i32x4_splat(shape->offset));
  v128_t product = wasm_f32x4_mul(scale, wasm_f32x4_convert_i32x4(levels));
  return shape->n_d == 2 ? wasm_f32x4_add(product, minimum) : product;
}

NK_INLINE void super_panel(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k, const nk_super *shape,
                           nk_steps *steps, nk_subs *scales, nk_subs *minima) {
  v128_t byte = NK_CONSTANT(byte32);
  nk_masks masks = nk_load_masks();
  for (uint32_t k = k0; k < k0 + n_k; k += 32) {
    const uint8_t *packed = group + (size_t)(k / NK_SUPER) * nk_super_bytes(shape);
    uint32_t b = k % NK_SUPER / 32;
    NK_NO_UNROLL
    for (uint32_t sixteen = 0; sixteen < 2; sixteen++) {
      weights_of of = load_weights_of(packed, b, sixteen, shape, scales, minima);
      NK_NO_UNROLL
      for (uint32_t half = 0; half < 2; half++) {
        v128_t w[4];
        steps(w, packed + shape->packed_levels + b * shape->block_bytes, half, sixteen, &masks);
        for (uint32_t i = 0; i < 4; i++) { /* 32-bit lanes are rows */
          float *to = panel + (size_t)(k - k0 + 16 * sixteen + 4 * i) * NK_GROUP_ROWS + 4 * half;
          for (uint32_t j = 0; j < 4; j++) {
            v128_t levels = wasm_v128_and(wasm_u32x4_shr(w[i], 8 * j), byte);
            wasm_v128_store(to + j * NK_GROUP_ROWS, weights(levels, of.scale[half], of.minimum[half], shape));
          }
        }
      }
    }
  }
}

NK_INLINE void super_panel_t(float *panel, const uint8_t *group, uint32_t k0, const nk_super *shape, nk_steps *steps,
                             nk_subs *scales, nk_subs *minima) {
  const uint8_t *packed = group + (size_t)(k0 / NK_SUPER) * nk_super_bytes(shape);
  uint32_t b = k0 % NK_SUPER / 32;
  nk_masks masks = nk_load_masks();
  NK_NO_UNROLL
  for (uint32_t sixteen = 0; sixteen < 2; sixteen++) {
    weights_of of = load_weights_of(packed, b, sixteen, shape, scales, minima);
    float by_row[16]; /* scale [8], minimum [8] */
    for (uint32_t half = 0; half < 2; half++) {
      wasm_v128_store(by_row + 4 * half, of.scale[half]);
      wasm_v128_store(by_row + 8 + 4 * half, of.minimum[half]);
    }
    NK_NO_UNROLL
    for (uint32_t half = 0; half < 2; half++) {
      v128_t w[4];
      steps(w, packed + shape->packed_levels + b * shape->block_bytes, half, sixteen, &masks);
      for (uint32_t i = 0; i < 4; i++) { /* four bytes a row, four rows */
        v128_t front = wasm_u16x8_extend_low_u8x16(w[i]), back = wasm_u16x8_extend_high_u8x16(w[i]), row[4];
        row[0] = wasm_u32x4_extend_low_u16x8(front), row[1] = wasm_u32x4_extend_high_u16x8(front);
        row[2] = wasm_u32x4_extend_low_u16x8(back), row[3] = wasm_u32x4_extend_high_u16x8(back);
        for (uint32_t r = 0; r < 4; r++) {
          wasm_v128_store(NK_PANEL_T_AT(panel, 4 * half + r, 16 * sixteen + 4 * i),
                          weights(row[r], wasm_v128_load32_splat(by_row + 4 * half + r),
                                  wasm_v128_load32_splat(by_row + 8 + 4 * half + r), shape));
        }
      }
    }
  }
}

#define SUPER_KERNELS(symbol, shape_of, level_bits, steps, scales, minima)                                       \
  static const nk_super symbol##_shape = shape_of;                                                               \
  static void symbol##_gemv(float *y, const uint8_t *group, const uint8_t *act, uint32_t n_blocks) {             \
    gemv(y, group, act, n_blocks, &symbol##_shape, steps, scales, minima);                                       \
  }                                                                                                              \
  static void symbol##_gemm(float *y, size_t ldy, const uint8_t *group, const uint8_t *act, uint32_t n_blocks) { \
    gemm(y, ldy, group, act, n_blocks, &symbol##_shape, steps, scales, minima);                                  \
  }                                                                                                              \
  void nk_simd128_##symbol##_panel(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k) {              \
    super_panel(panel, group, k0, n_k, &symbol##_shape, steps, scales, minima);                                  \
  }                                                                                                              \
  void nk_simd128_##symbol##_panel_t(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k) {            \
    (void)n_k; /* a whole block of 32 */                                                                         \
    super_panel_t(panel, group, k0, &symbol##_shape, steps, scales, minima);                                     \
  }                                                                                                              \
  const nk_kernels nk_simd128_##symbol = {.gemv = symbol##_gemv,                                                 \
                                          .gemm = symbol##_gemm,                                                 \
                                          .panel = nk_simd128_##symbol##_panel,                                  \
                                          .panel_t = nk_simd128_##symbol##_panel_t};
NK_SUPER_FORMATS(SUPER_KERNELS)
