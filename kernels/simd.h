/*
 * simd.h: WebAssembly's 128-bit SIMD intrinsics, in WebAssembly and (through SIMDe) natively, so that the sanitizers and
 * the tests run the very kernels that ship. Relaxed SIMD: the same names natively, with the fixed meaning of
 * relaxed_native.h.
 */
#ifndef NOOK_KERNELS_SIMD_H
#define NOOK_KERNELS_SIMD_H

#include "kernels/isa.h"

#ifdef __wasm_simd128__
#include <wasm_simd128.h>
#else
#define SIMDE_ENABLE_NATIVE_ALIASES
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wundef"
#endif
#include <simde/wasm/simd128.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
/* SIMDe's asks for a vectorization without SSSE3 that clang then reports to have failed. */
#undef wasm_i8x16_swizzle
#define wasm_i8x16_swizzle nk_native_swizzle
static inline v128_t nk_native_swizzle(v128_t table, v128_t index) {
  uint8_t from[16], at[16], to[16];
  wasm_v128_store(from, table);
  wasm_v128_store(at, index);
  for (int i = 0; i < 16; i++) to[i] = at[i] < 16 ? from[at[i]] : 0;
  return wasm_v128_load(to);
}
#include "kernels/relaxed_native.h"
#endif

#endif
