/*
 * relaxed_native.h: relaxed SIMD under its WebAssembly names in native builds, where SIMDe lacks it. Its meaning is fixed
 * here: the multiply-add rounds twice, the dot product wraps, the swizzle gives 0 for an index beyond 15. Included by
 * simd.h only.
 */
#ifndef NOOK_KERNELS_RELAXED_NATIVE_H
#define NOOK_KERNELS_RELAXED_NATIVE_H

#define wasm_f32x4_relaxed_madd nk_native_relaxed_madd
#define wasm_i16x8_relaxed_dot_i8x16_i7x16 nk_native_relaxed_dot
#define wasm_i8x16_relaxed_swizzle wasm_i8x16_swizzle

static inline v128_t nk_native_relaxed_madd(v128_t a, v128_t b, v128_t c) {
  return wasm_f32x4_add(wasm_f32x4_mul(a, b), c);
}

static inline v128_t nk_native_relaxed_dot(v128_t a, v128_t w) {
  v128_t a_even = wasm_i16x8_shr(wasm_i16x8_shl(a, 8), 8), w_even = wasm_i16x8_shr(wasm_i16x8_shl(w, 8), 8);
  v128_t a_odd = wasm_i16x8_shr(a, 8), w_odd = wasm_i16x8_shr(w, 8);
  return wasm_i16x8_add(wasm_i16x8_mul(a_even, w_even), wasm_i16x8_mul(a_odd, w_odd));
}

#endif
