/* relaxed/vec.c: vec.h with relaxed SIMD: multiply and add fused in the attention kernels. */
#include <math.h>
#include <string.h>

#define NK_VEC_RELAXED 1
#include "kernels/vec_f4_simd.h"

#define NK_VEC_NAME nk_vec_relaxed
#define NK_VEC_ISA NK_ISA_RELAXED
#include "kernels/vec_body.h"
