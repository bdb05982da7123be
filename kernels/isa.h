/*
 * isa.h: what the compiler is told.
 *
 * NK_HAVE_RELAXED: does this build hold the relaxed SIMD kernels? Natively always (with stand-ins), in WebAssembly with
 * -mrelaxed-simd. The build may also define it.
 */
#ifndef NOOK_KERNELS_ISA_H
#define NOOK_KERNELS_ISA_H

#ifndef NK_HAVE_RELAXED
#if !defined(__wasm__) || defined(__wasm_relaxed_simd__)
#define NK_HAVE_RELAXED 1
#else
#define NK_HAVE_RELAXED 0
#endif
#endif

/*
 * NK_NO_UNROLL, before a loop. Sums of integers commute, so clang reassociates an unrolled sum and evaluates its products
 * in an order of its own; and V8's older compiler moves all loads of a block to its front. Either way more values are alive
 * than there are registers, and are spilled. A loop that stays a loop keeps the order that is written. (The saturating
 * additions of int16 sums that can't saturate serve the same end: clang doesn't reorder them.)
 * NK_PLAIN: neither unrolled nor vectorized, where speed doesn't matter but bytes do.
 * NK_INLINE: a kernel's body, compiled once for each set of constant arguments.
 */
#ifdef __clang__
#define NK_NO_UNROLL _Pragma("clang loop unroll(disable)")
#define NK_PLAIN _Pragma("clang loop unroll(disable) vectorize(disable)")
#else
#define NK_NO_UNROLL _Pragma("GCC unroll 1")
#define NK_PLAIN _Pragma("GCC unroll 1")
#endif
#define NK_INLINE static inline __attribute__((always_inline))
/* For code that isn't worth its bytes twice. */
#define NK_NO_INLINE __attribute__((noinline))

#endif
