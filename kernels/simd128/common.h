/*
 * common.h: what the SIMD kernels of both ISAs share, as inline functions. Private to kernels/simd128 and kernels/relaxed.
 *
 * NK_MADD(a, b, c) = a b + c is the only thing that differs between the two in float code: a multiplication and an addition
 * in the base, one relaxed operation (fused where the machine fuses) in relaxed. A file defines it before including this
 * one.
 *
 * Constants come from memory (nk_simd_constants), loaded once before a loop: wasm-opt copies a v128.const to each of its
 * uses, and engines then rebuild it there, inside the loop. They are defined in a file of their own, so that the compiler
 * can't fold the loads back to constants.
 */
#ifndef NOOK_KERNELS_SIMD128_COMMON_H
#define NOOK_KERNELS_SIMD128_COMMON_H

#include "kernels/act.h"
#include "kernels/ops.h"
#include "kernels/simd.h"

#ifndef NK_MADD
#define NK_MADD(a, b, c) wasm_f32x4_add(c, wasm_f32x4_mul(a, b))
#endif

typedef struct nk_simd_constants_t {
  uint8_t nibble8[16];   /* 0x0F: the low nibble of each byte */
  uint16_t nibble16[8];  /* 0x000F */
  uint16_t second16[8];  /* 0x00F0 */
  uint16_t third16[8];   /* 0x0F00 */
  uint16_t odd_byte[8];  /* 0xFF00 */
  uint16_t even_byte[8]; /* 0x00FF */
  uint32_t half_bits[4]; /* 0x8FFFE000: sign, exponent and fraction of an f16 in their places of an f32 */
  float half_scale[4];   /* 2^112: the difference of the exponents' biases */
  float minus8[4];       /* -8 */
  uint32_t nibble32[4];  /* 0x0000000F */
  float minus16[4];      /* -16 */
  float minus127[4];     /* -127 */
  uint32_t five8[4], five_low3[4], five_high2[4], five_fourth[4], five_fifth[4]; /* simd128/fives.h */
  uint32_t byte32[4];    /* 0x000000FF */
  uint8_t six8[16];      /* 0x3F: the low six bits of each byte */
  uint8_t top8[16];      /* 0xC0: the top two */
  uint8_t three8[16];    /* 0x07 */
  uint8_t two8[16];      /* 0x03 */
  uint8_t fifth8[16];    /* 0x10 */
} nk_simd_constants_t;

extern const nk_simd_constants_t nk_simd_constants;

#define NK_CONSTANT(name) wasm_v128_load(nk_simd_constants.name)

/* Eight f16 at p to two vectors of f32, exactly (kernels/formats.h: nk_half_to_f32). */
static inline void nk_load_halves(v128_t *low, v128_t *high, const uint8_t *p, v128_t bits, v128_t scale) {
  v128_t h = wasm_v128_load(p);
  *low = wasm_f32x4_mul(wasm_v128_and(wasm_i32x4_shl(wasm_i32x4_extend_low_i16x8(h), 13), bits), scale);
  *high = wasm_f32x4_mul(wasm_v128_and(wasm_i32x4_shl(wasm_i32x4_extend_high_i16x8(h), 13), bits), scale);
}

/* ---- Panels (simd128/panels.c); relaxed SIMD has nothing to add to them ------------------------------------------ */

#define NK_FORMAT(name, symbol, type, block, bytes, kind, scale_type, scale_at, scales)                     \
  void nk_simd128_##symbol##_panel(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k);          \
  void nk_simd128_##symbol##_panel_t(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k);
#include "kernels/formats.def"
#undef NK_FORMAT

/* The table of a format of 32 elements with or without a minimum, from gemv and gemm of the file, which take the packed
   bytes of a block and whether there is a minimum as constants. */
#define NK_BLOCK_KERNELS(isa, symbol, packed_bytes, has_minimum)                                                 \
  static void symbol##_gemv(float *y, const uint8_t *group, const uint8_t *act, uint32_t n_blocks) {             \
    gemv(y, group, act, n_blocks, packed_bytes, has_minimum);                                                    \
  }                                                                                                              \
  static void symbol##_gemm(float *y, size_t ldy, const uint8_t *group, const uint8_t *act, uint32_t n_blocks) { \
    gemm(y, ldy, group, act, n_blocks, packed_bytes, has_minimum);                                               \
  }                                                                                                              \
  const nk_kernels nk_##isa##_##symbol = {.gemv = symbol##_gemv,                                                 \
                                          .gemm = symbol##_gemm,                                                 \
                                          .panel = nk_simd128_##symbol##_panel,                                  \
                                          .panel_t = nk_simd128_##symbol##_panel_t};

#endif
