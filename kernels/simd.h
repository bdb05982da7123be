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
#include "kernels/relaxed_native.h"
#endif

/*
 * NK_NO_UNROLL, before a loop. Sums of integers commute, so clang reassociates an unrolled sum and evaluates its products
 * in an order of its own; and V8's older compiler moves all loads of a block to its front. Either way more values are alive
 * than there are registers, and are spilled. A loop that stays a loop keeps the order that is written. (The saturating
 * additions of int16 sums that can't saturate serve the same end: clang doesn't reorder them.)
 * NK_INLINE: a kernel's body, compiled once for each set of constant arguments.
 */
#ifdef __clang__
#define NK_NO_UNROLL _Pragma("clang loop unroll(disable)")
#else
#define NK_NO_UNROLL _Pragma("GCC unroll 1")
#endif
#define NK_INLINE static inline __attribute__((always_inline))

#endif
