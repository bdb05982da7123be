/* vec_tables.h: the tables that vec_body.h defines, one an ISA. Callers use nk_vec_get. */
#ifndef NOOK_KERNELS_VEC_TABLES_H
#define NOOK_KERNELS_VEC_TABLES_H

#include "kernels/vec.h"

extern const nk_vec nk_vec_scalar, nk_vec_simd128;
#if NK_HAVE_RELAXED
extern const nk_vec nk_vec_relaxed;
#endif

#endif
