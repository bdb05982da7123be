/* vec.c: the choice among the ISAs of this build; see vec.h. */
#include "kernels/vec_tables.h"

const nk_vec *nk_vec_get(nk_isa isa) {
  switch (isa) {
    case NK_ISA_SCALAR: return &nk_vec_scalar;
    case NK_ISA_SIMD128: return &nk_vec_simd128;
    case NK_ISA_RELAXED:
#if NK_HAVE_RELAXED
      return &nk_vec_relaxed;
#else
      return NULL;
#endif
  }
  return NULL;
}
