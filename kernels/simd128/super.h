/*
 * super.h: the formats of 256 elements a block for SIMD: levels of four rows as bytes, sub-scales as int16. Private to
 * kernels/simd128 and kernels/relaxed. Packed layouts: formats/super.h and the formats' files.
 *
 * A format is a shape (formats/shapes.h) and up to three functions, all constants where the kernels are instantiated, so
 * that the compiler inlines them.
 */
#ifndef NOOK_KERNELS_SIMD128_SUPER_H
#define NOOK_KERNELS_SIMD128_SUPER_H

#include "kernels/formats/iq4_nl.h"
#include "kernels/formats/super.h"
#include "kernels/simd128/common.h"

/* Masks, loaded once before a loop (common.h). */
typedef struct nk_masks {
  v128_t nibble, six, top, three, two, fifth, table;
} nk_masks;

NK_INLINE nk_masks nk_load_masks(void) {
  return (nk_masks){.nibble = NK_CONSTANT(nibble8), .six = NK_CONSTANT(six8), .top = NK_CONSTANT(top8),
                    .three = NK_CONSTANT(three8), .two = NK_CONSTANT(two8), .fifth = NK_CONSTANT(fifth8),
                    .table = wasm_v128_load(nk_iq4_nl_levels)};
}

/* Steps w [4] of 16 elements (0: the first of the block of 32, 1: the last) of rows 0..3 (half 0) or 4..7 (half 1), as
   levels without sign in bytes [4 rows][4]. */
typedef void nk_steps(v128_t *w, const uint8_t *packed, uint32_t half, uint32_t sixteen, const nk_masks *masks);
/* Sub-scales or minima number `sub` of 8 rows as int16. */
typedef v128_t nk_subs(const uint8_t *scales, uint32_t sub);

/* ---- Levels -------------------------------------------------------------------------------------------------------- */

NK_INLINE void nk_nibble_steps(v128_t *w, const uint8_t *packed, uint32_t half, uint32_t sixteen, const nk_masks *masks) {
  v128_t a = wasm_v128_load(packed + 64 * half + 32 * sixteen), b = wasm_v128_load(packed + 64 * half + 32 * sixteen + 16);
  w[0] = wasm_v128_and(a, masks->nibble);
  w[1] = wasm_v128_and(wasm_u16x8_shr(a, 4), masks->nibble);
  w[2] = wasm_v128_and(b, masks->nibble);
  w[3] = wasm_v128_and(wasm_u16x8_shr(b, 4), masks->nibble);
}

NK_INLINE void nk_q5_k_steps(v128_t *w, const uint8_t *packed, uint32_t half, uint32_t sixteen, const nk_masks *masks) {
  v128_t fifths = wasm_v128_load(packed + 128 + 16 * half);
  nk_nibble_steps(w, packed, half, sixteen, masks);
  for (uint32_t i = 0; i < 4; i++) { /* bit 4 sixteen + i of a byte to its bit 4 */
    v128_t bit = sixteen == 0 ? wasm_i16x8_shl(fifths, 4 - i) : wasm_u16x8_shr(fifths, i);
    w[i] = wasm_v128_or(w[i], wasm_v128_and(bit, masks->fifth));
  }
}

/* The fourth of nk_put_sixes' steps, from its three vectors. */
NK_INLINE v128_t nk_fourth_six(v128_t a, v128_t b, v128_t c, const nk_masks *masks) {
  v128_t top = wasm_v128_or(wasm_v128_and(a, masks->top), wasm_u16x8_shr(wasm_v128_and(b, masks->top), 2));
  return wasm_u16x8_shr(wasm_v128_or(top, wasm_u16x8_shr(wasm_v128_and(c, masks->top), 4)), 2);
}

NK_INLINE void nk_q6_k_steps(v128_t *w, const uint8_t *packed, uint32_t half, uint32_t sixteen, const nk_masks *masks) {
  const uint8_t *from = packed + 96 * sixteen + 48 * half;
  v128_t a = wasm_v128_load(from), b = wasm_v128_load(from + 16), c = wasm_v128_load(from + 32);
  w[0] = wasm_v128_and(a, masks->six);
  w[1] = wasm_v128_and(b, masks->six);
  w[2] = wasm_v128_and(c, masks->six);
  w[3] = nk_fourth_six(a, b, c, masks);
}

NK_INLINE void nk_q3_k_steps(v128_t *w, const uint8_t *packed, uint32_t half, uint32_t sixteen, const nk_masks *masks) {
  const uint8_t *from = packed + 48 * half;
  v128_t a = wasm_v128_load(from), b = wasm_v128_load(from + 16), c = wasm_v128_load(from + 32), first = a, last = b;
  if (sixteen == 1) first = c, last = nk_fourth_six(a, b, c, masks);
  w[0] = wasm_v128_and(first, masks->three);
  w[1] = wasm_v128_and(wasm_u16x8_shr(first, 3), masks->three);
  w[2] = wasm_v128_and(last, masks->three);
  w[3] = wasm_v128_and(wasm_u16x8_shr(last, 3), masks->three);
}

NK_INLINE void nk_q2_k_steps(v128_t *w, const uint8_t *packed, uint32_t half, uint32_t sixteen, const nk_masks *masks) {
  v128_t v = wasm_v128_load(packed + 32 * half + 16 * sixteen);
  for (uint32_t i = 0; i < 4; i++) w[i] = wasm_v128_and(wasm_u16x8_shr(v, 2 * i), masks->two);
}

/* The table's values plus 127. */
NK_INLINE void nk_iq4_steps(v128_t *w, const uint8_t *packed, uint32_t half, uint32_t sixteen, const nk_masks *masks) {
  nk_nibble_steps(w, packed, half, sixteen, masks);
  for (uint32_t i = 0; i < 4; i++) w[i] = wasm_i8x16_swizzle(masks->table, w[i]);
}

/* ---- Sub-scales ---------------------------------------------------------------------------------------------------- */

NK_INLINE v128_t nk_k_scales(const uint8_t *scales, uint32_t sub) {
  if (sub < 4) return wasm_v128_and(wasm_u16x8_load8x8(scales + 8 * sub), wasm_i16x8_splat(63));
  v128_t low = wasm_v128_and(wasm_u16x8_load8x8(scales + 8 * (sub + 4)), wasm_i16x8_splat(15));
  v128_t high = wasm_u16x8_shr(wasm_u16x8_load8x8(scales + 8 * (sub - 4)), 2);
  return wasm_v128_or(low, wasm_v128_and(high, wasm_i16x8_splat(0x30)));
}

NK_INLINE v128_t nk_k_minima(const uint8_t *scales, uint32_t sub) {
  if (sub < 4) return wasm_v128_and(wasm_u16x8_load8x8(scales + 8 * (sub + 4)), wasm_i16x8_splat(63));
  v128_t low = wasm_u16x8_shr(wasm_u16x8_load8x8(scales + 8 * (sub + 4)), 4);
  v128_t high = wasm_u16x8_shr(wasm_u16x8_load8x8(scales + 8 * sub), 2);
  return wasm_v128_or(low, wasm_v128_and(high, wasm_i16x8_splat(0x30)));
}

NK_INLINE v128_t nk_q6_k_scales(const uint8_t *scales, uint32_t sub) { return wasm_i16x8_load8x8(scales + 8 * sub); }

NK_INLINE v128_t nk_q3_k_scales(const uint8_t *scales, uint32_t sub) {
  v128_t low = wasm_u16x8_shr(wasm_u16x8_load8x8(scales + 8 * (sub % 8)), 4 * (sub / 8));
  v128_t high = wasm_u16x8_shr(wasm_u16x8_load8x8(scales + 64 + 8 * (sub % 4)), 2 * (sub / 4));
  low = wasm_v128_and(low, wasm_i16x8_splat(15)), high = wasm_v128_and(high, wasm_i16x8_splat(3));
  return wasm_i16x8_sub(wasm_v128_or(low, wasm_i16x8_shl(high, 4)), wasm_i16x8_splat(32));
}

NK_INLINE v128_t nk_q2_k_scales(const uint8_t *scales, uint32_t sub) {
  return wasm_v128_and(wasm_u16x8_load8x8(scales + 8 * sub), wasm_i16x8_splat(15));
}

NK_INLINE v128_t nk_q2_k_minima(const uint8_t *scales, uint32_t sub) {
  return wasm_u16x8_shr(wasm_u16x8_load8x8(scales + 8 * sub), 4);
}

NK_INLINE v128_t nk_iq4_xs_scales(const uint8_t *scales, uint32_t sub) {
  v128_t low = wasm_u16x8_shr(wasm_u16x8_load8x8(scales + 16 + 8 * (sub / 2)), 4 * (sub % 2));
  v128_t high = wasm_u16x8_shr(wasm_u16x8_load8x8(scales + 8 * (sub / 4)), 2 * (sub % 4));
  low = wasm_v128_and(low, wasm_i16x8_splat(15)), high = wasm_v128_and(high, wasm_i16x8_splat(3));
  return wasm_i16x8_sub(wasm_v128_or(low, wasm_i16x8_shl(high, 4)), wasm_i16x8_splat(32));
}

/* ---- Both ---------------------------------------------------------------------------------------------------------- */

/* Each row's int16 twice: for rows 0..3 and rows 4..7, as i32x4.dot_i16x8_s takes them. */
NK_INLINE void nk_twice(v128_t *pair, v128_t rows) {
  pair[0] = wasm_i16x8_shuffle(rows, rows, 0, 0, 1, 1, 2, 2, 3, 3);
  pair[1] = wasm_i16x8_shuffle(rows, rows, 4, 4, 5, 5, 6, 6, 7, 7);
}

/* Each row's int16 of `a` and of `b` side by side. */
NK_INLINE void nk_beside(v128_t *pair, v128_t a, v128_t b) {
  pair[0] = wasm_i16x8_shuffle(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  pair[1] = wasm_i16x8_shuffle(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}

/* int16 of 8 rows as float: rows 0..3, rows 4..7. */
NK_INLINE void nk_floats(v128_t *out, v128_t rows) {
  out[0] = wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(rows));
  out[1] = wasm_f32x4_convert_i32x4(wasm_i32x4_extend_high_i16x8(rows));
}

/* d, and -dmin, of the 8 rows of a packed super-block. */
NK_INLINE void nk_load_d(v128_t *d, v128_t *minus_dmin, const uint8_t *packed, const nk_super *shape, v128_t bits,
                         v128_t factor) {
  nk_load_halves(&d[0], &d[1], packed, bits, factor);
  if (shape->n_d == 1) return;
  nk_load_halves(&minus_dmin[0], &minus_dmin[1], packed + 16, bits, factor);
  for (uint32_t half = 0; half < 2; half++) minus_dmin[half] = wasm_f32x4_neg(minus_dmin[half]);
}

/* What add_minimum needs of block b: -dmin m as float, or the minima of both its halves side by side. */
NK_INLINE void nk_load_minima(v128_t *minimum, const v128_t *minus_dmin, const uint8_t *scales, uint32_t b,
                              const nk_super *shape, nk_subs *minima) {
  if (shape->halves) {
    nk_beside(minimum, minima(scales, 2 * b), minima(scales, 2 * b + 1));
    return;
  }
  nk_floats(minimum, minima(scales, b));
  for (uint32_t half = 0; half < 2; half++) minimum[half] = wasm_f32x4_mul(minus_dmin[half], minimum[half]);
}

/* The float part of a block for four rows and one token, in the order of scalar.h (q2_k.c for minima of halves). The
   token's scale, sum and half sums in the stream are `slots` words apart. */
NK_INLINE v128_t nk_super_finish(v128_t acc, v128_t isum, v128_t d, v128_t minimum, v128_t minus_dmin,
                                 const uint8_t *scale_a, uint32_t slots, const nk_super *shape) {
  v128_t d_a = wasm_v128_load32_splat(scale_a);
  acc = NK_MADD(wasm_f32x4_convert_i32x4(isum), wasm_f32x4_mul(d, d_a), acc);
  if (shape->n_d == 1) return acc;
  if (!shape->halves) return NK_MADD(minimum, wasm_v128_load32_splat(scale_a + 4 * slots), acc);
  v128_t msum = wasm_i32x4_dot_i16x8(minimum, wasm_v128_load32_splat(scale_a + 8 * slots));
  return NK_MADD(wasm_f32x4_convert_i32x4(msum), wasm_f32x4_mul(minus_dmin, d_a), acc);
}

/* The formats, for the files that instantiate their kernels: F(symbol, shape, bits of a level, steps, scales, minima). */
#define NK_SUPER_FORMATS(F)                                                 \
  F(q4_k, NK_SHAPE_Q4_K, 4, nk_nibble_steps, nk_k_scales, nk_k_minima)      \
  F(q6_k, NK_SHAPE_Q6_K, 6, nk_q6_k_steps, nk_q6_k_scales, NULL)            \
  F(q5_k, NK_SHAPE_Q5_K, 5, nk_q5_k_steps, nk_k_scales, nk_k_minima)        \
  F(q3_k, NK_SHAPE_Q3_K, 3, nk_q3_k_steps, nk_q3_k_scales, NULL)            \
  F(q2_k, NK_SHAPE_Q2_K, 2, nk_q2_k_steps, nk_q2_k_scales, nk_q2_k_minima)  \
  F(iq4_xs, NK_SHAPE_IQ4_XS, 8, nk_iq4_steps, nk_iq4_xs_scales, NULL)

#endif
