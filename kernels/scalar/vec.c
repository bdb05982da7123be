/* scalar/vec.c: vec.h in plain C, the specification. */
#include <math.h>
#include <string.h>

#include "kernels/vec_f4_scalar.h"

#define NK_VEC_NAME nk_vec_scalar
#define NK_VEC_ISA NK_ISA_SCALAR

#include "kernels/vec_body.h"

float nk_exp_f32(float x) { return f4_exp(f4_splat(x)).lane[0]; }
