/*
 * ops.h: the tables through which kernels.h reaches the kernels of an ISA. Private to kernels/.
 *
 * V8 never replaces a running WebAssembly frame by its optimized code, so each of these functions is short-lived: one call
 * a row group, panel or tile. All shapes are row-major; a stride counts floats.
 *
 * Activation streams (act.h): tokens go in quads; token 4i … 4i+3 share a stream in which each block of 32 has the four
 * tokens' values, scales and sums side by side; the m % 4 last tokens have a stream of their own each.
 */
#ifndef NOOK_KERNELS_OPS_H
#define NOOK_KERNELS_OPS_H

#include "kernels/formats.h"
#include "kernels/isa.h"

/* The kernels of one format. */
typedef struct nk_kernels {
  /* y[r] = Σ over n_blocks blocks of 32, r in 0..7: one token, one row group. NULL for float formats. */
  void (*gemv)(float *y /* [8] */, const uint8_t *group, const uint8_t *act, uint32_t n_blocks);
  /* The same for the four tokens of a quad: y [4, 8], row stride ldy. */
  void (*gemm)(float *y, size_t ldy, const uint8_t *group, const uint8_t *act, uint32_t n_blocks);
  /* Dequantizes to panel [n_k][8 rows]. NULL: the packed group is that already (F32). */
  void (*panel)(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k);
  /* Dequantizes to panel [8 rows][NK_PANEL_T_K], of which n_k <= NK_PANEL_T_K columns are written. */
  void (*panel_t)(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k);
} nk_kernels;

struct nk_ops {
  nk_isa isa;
  uint32_t act_value_bytes; /* of a quantized activation in the stream: 1 or 2 */
  /* Token `slot` of `slots` (1 or 4) in the stream at act: quantizes x [32 n_blocks]; and back. */
  void (*quantize)(uint8_t *act, uint32_t slot, uint32_t slots, const float *x, uint32_t n_blocks);
  void (*dequantize)(float *x, const uint8_t *act, uint32_t slot, uint32_t slots, uint32_t n_blocks);
  /* y[t, r] (+)= Σ_k x[t, k] panel[k][r] for 4 tokens, k ascending; starts from 0 when `first`, else from y. */
  void (*tile)(float *y, size_t ldy, const float *panel, const float *x, size_t ldx, uint32_t n_k, bool first);
  /* One token, `NK_BAND` row groups whose panels are `panel_stride` floats apart: y [8 NK_BAND]. */
  void (*tile_band)(float *y, const float *panel, size_t panel_stride, const float *x, uint32_t n_k, bool first);
  /* One token, one row group: y [8]. */
  void (*tile_one)(float *y, const float *panel, const float *x, uint32_t n_k, bool first);
  /* dx[t, k] += Σ_r dy[t, r] panel[r][k]: r < n_r ascending, k < NK_PANEL_T_K, for 4 tokens and for 1. */
  void (*tile_t)(float *dx, size_t lddx, const float *panel, const float *dy, size_t lddy, uint32_t n_r);
  void (*tile_t_one)(float *dx, const float *panel, const float *dy, uint32_t n_r);
  const nk_kernels *kernels[NK_FORMAT_COUNT];
};

#define NK_QUAD 4u        /* tokens of a tile */
#define NK_BAND 4u        /* row groups that one token passes at once on the float path */
#define NK_PANEL_K 64u    /* columns of a panel of the float path: NK_BAND panels are 8 KiB */
#define NK_PANEL_T_K 32u  /* columns … */
#define NK_PANEL_T_R 64u  /* … and rows of a panel of the transposed product: 8 KiB */

#define NK_FORMAT(name, symbol, type, block, bytes, kind, scale_type, scale_at, scales) \
  extern const nk_kernels nk_scalar_##symbol, nk_simd128_##symbol, nk_relaxed_##symbol;
#include "kernels/formats.def"
#undef NK_FORMAT

extern const nk_ops nk_scalar_ops, nk_simd128_ops;
#if NK_HAVE_RELAXED
extern const nk_ops nk_relaxed_ops;
#endif

#endif
