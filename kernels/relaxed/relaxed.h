/*
 * relaxed.h: simd128/common.h with the multiply-add set to the relaxed one. Private to kernels/relaxed.
 *
 * What an engine may choose in the relaxed instructions that Nook uses, and what the kernels rely on:
 * wasm_f32x4_relaxed_madd(a, b, c)          a b + c, fused or rounded twice: machines differ in the last bits.
 * wasm_i16x8_relaxed_dot_i8x16_i7x16(a, w)  int16 lane i = a[2i] w[2i] + a[2i+1] w[2i+1]. If the second operand is in
 *                                           0..127 (engines differ in its sign) and the sum within int16 (they differ in
 *                                           saturation), all agree.
 * wasm_i8x16_relaxed_swizzle(table, index)  agrees for indices 0..15.
 */
#ifndef NOOK_KERNELS_RELAXED_H
#define NOOK_KERNELS_RELAXED_H

#include "kernels/simd.h"

#define NK_MADD(a, b, c) wasm_f32x4_relaxed_madd(a, b, c)

#include "kernels/simd128/common.h"

#endif
