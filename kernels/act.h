/*
 * act.h: the activation streams, and the quantization rule. Private to kernels/.
 *
 * A stream is a run of blocks. A block of a quad of tokens (slots = 4) is
 *     values [4][32] (int8, or int16 for the base SIMD kernels), scale f32 [4], sum f32 [4], half sums int16 [4][2]
 * that is 176 bytes (304 with int16), so that a GEMM reads one stream; a block of a single token (slots = 1) is the same
 * with [1]: 44 (76) bytes. int16 values are stored in the order 0 2 4 6 1 3 5 7 within each eight: the pairs that the four
 * nibbles of 16-bit lanes hold in packed 4-bit words (formats/nibbles.h), lowest nibble first. The half sums are Σq of the
 * first and of the last 16 values, for formats whose scales or minima change every 16: together one 32-bit word, the
 * operand of i32x4.dot_i16x8_s.
 *
 * Rule for one block x[32], in float32, no fused operations:
 *     v = NaN → 0, else x clamped to +-2^100;  a = max |v|   (so that neither an infinity nor a sum of scales overflows)
 *     a < 2^-100:  scale = 0, all q = 0, sum = 0      (such an activation is nothing, and 1 / scale would not be finite)
 *     else         scale = a / 127;  q = round-half-even(v * (1 / scale));  sum = scale * (float)Σq
 * |q| <= 127 follows, since v * (1 / scale) <= 127 (1 + 2^-22).
 */
#ifndef NOOK_KERNELS_ACT_H
#define NOOK_KERNELS_ACT_H

#include "kernels/kernels.h"

#define NK_ACT_TINY 0x1p-100f
#define NK_ACT_HUGE 0x1p100f
/* Adding and subtracting 1.5 × 2^23 rounds |v| < 2^22 to an integer, half to even, and leaves it in the low bits. */
#define NK_ROUND_MAGIC 12582912.0f
#define NK_ROUND_MAGIC_BITS 0x4B400000

static inline uint32_t nk_act_block_bytes(uint32_t value_bytes, uint32_t slots) {
  return slots * (NK_ACT_BLOCK * value_bytes + 2u * (uint32_t)sizeof(float) + 2u * (uint32_t)sizeof(int16_t));
}

#endif
