/*
 * fives.h: the packed 5-bit levels (formats/fives.h) as vectors, for the kernels of both SIMD ISAs and the panels. Private
 * to kernels/simd128 and kernels/relaxed.
 */
#ifndef NOOK_KERNELS_SIMD128_FIVES_H
#define NOOK_KERNELS_SIMD128_FIVES_H

#include "kernels/formats/fives.h"
#include "kernels/simd128/common.h"

typedef struct nk_fives_masks {
  v128_t whole, low3, high2, fourth, fifth; /* 31, 7, 24, 8, 16 in each byte */
} nk_fives_masks;

static inline nk_fives_masks nk_fives_load_masks(void) {
  return (nk_fives_masks){NK_CONSTANT(five8), NK_CONSTANT(five_low3), NK_CONSTANT(five_high2), NK_CONSTANT(five_fourth),
                          NK_CONSTANT(five_fifth)};
}

/* Lq of the four rows at p (q a constant): levels 4q .. 4q+3, one a byte. */
NK_INLINE v128_t nk_fives_level(const uint8_t *p, uint32_t q, const nk_fives_masks *m) {
  if (q < 5) return wasm_v128_and(wasm_v128_load(p + 16 * q), m->whole);
  v128_t low = wasm_v128_and(wasm_u16x8_shr(wasm_v128_load(p + 16 * (q - 5)), 5), m->low3);
  if (q == 6) {
    v128_t fourth = wasm_v128_and(wasm_u16x8_shr(wasm_v128_load(p + 48), 4), m->fourth);
    return wasm_v128_or(wasm_v128_or(low, fourth), wasm_v128_and(wasm_u16x8_shr(wasm_v128_load(p + 64), 3), m->fifth));
  }
  return wasm_v128_or(low, wasm_v128_and(wasm_u16x8_shr(wasm_v128_load(p + (q == 5 ? 48 : 64)), 2), m->high2));
}

/* Scales and minima of a block's 8 rows; minima of a format without them are -16 d. */
static inline void nk_fives_scales(v128_t *scale, v128_t *minimum, const uint8_t *packed, v128_t bits, v128_t factor,
                                   v128_t minus16, bool has_minimum) {
  nk_load_halves(&scale[0], &scale[1], packed + NK_FIVES_BYTES, bits, factor);
  if (has_minimum) {
    nk_load_halves(&minimum[0], &minimum[1], packed + NK_FIVES_BYTES + 16, bits, factor);
  } else {
    minimum[0] = wasm_f32x4_mul(scale[0], minus16);
    minimum[1] = wasm_f32x4_mul(scale[1], minus16);
  }
}

#endif
