/* simd128/vec.c: vec.h in WebAssembly's base SIMD. */
#include <math.h>
#include <string.h>

#define NK_VEC_RELAXED 0
#include "kernels/vec_f4_simd.h"

#define NK_VEC_NAME nk_vec_simd128
#define NK_VEC_ISA NK_ISA_SIMD128
#include "kernels/vec_body.h"
