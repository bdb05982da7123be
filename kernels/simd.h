/*
 * simd.h: WebAssembly's 128-bit SIMD intrinsics, in WebAssembly and (through SIMDe) natively, so that the sanitizers and
 * the tests run the very kernels that ship. Relaxed SIMD: the same names natively, with the fixed meaning of relaxed_native.h.
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

#endif
