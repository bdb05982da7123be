/*
 * isa.h: NK_HAVE_RELAXED: does this build hold the relaxed SIMD kernels? Natively always (with stand-ins), in WebAssembly
 * with -mrelaxed-simd. The build may also define it.
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

#endif
