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
  /* Dequantizes n_k <= NK_PANEL_T_K columns of 8 rows to where NK_PANEL_T_AT puts them. */
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
  /* to[i][t] = from[t · ld + i] for 4 tokens t and i < n. */
  void (*transpose)(float *to, const float *from, size_t ld, uint32_t n);
  /* dx[t, k] += Σ_r dy[t, r] panel[r][k], r < n_r ascending, from a panel of NK_PANEL_T_AT: for 4 tokens, dy transposed to
     [n_r][4], and k < NK_TILE_T_K; and for 1 token and k < NK_PANEL_T_K. */
  void (*tile_t)(float *dx, size_t lddx, const float *panel, const float *dy, uint32_t n_r);
  void (*tile_t_one)(float *dx, const float *panel, const float *dy, uint32_t n_r);
  const nk_kernels *kernels[NK_FORMAT_COUNT];
};

#define NK_QUAD 4u        /* tokens of a tile */
#define NK_BAND 4u        /* row groups that one token passes at once on the float path */
#define NK_PANEL_K 256u   /* columns of a panel of the float path: NK_BAND panels are 16 KiB */

/*
 * The transposed product. Its panel is [4][256 rows][8 columns]: a tile reads 8 columns front to back. Two of them and the
 * gradients of 4 tokens (20 KiB) stay in the first-level cache while a tile passes over both; the gradients of all tokens
 * of a block are transposed once for all columns, and their 128 KiB stay in the second-level cache.
 */
#define NK_PANEL_T_K 32u
#define NK_PANEL_T_R 256u
#define NK_PANEL_T_COLS 8u
#define NK_TILE_T_K 16u       /* columns of a tile: a cache line of dx */
#define NK_TOKENS_T 128u      /* tokens of a block */
/* Where the weight of a row and a column lies. */
#define NK_PANEL_T_AT(panel, row, column) \
  ((panel) + ((size_t)(column) / NK_PANEL_T_COLS * NK_PANEL_T_R + (row)) * NK_PANEL_T_COLS + (column) % NK_PANEL_T_COLS)
/* Floats of scratch for up to `tokens` <= NK_TOKENS_T tokens. */
#define NK_SCRATCH_T(tokens) (NK_PANEL_T_R * (NK_PANEL_T_K + (tokens)))

#define NK_FORMAT(name, symbol, type, block, bytes, kind, scale_type, scale_at, scales) \
  extern const nk_kernels nk_scalar_##symbol, nk_simd128_##symbol, nk_relaxed_##symbol;
#include "kernels/formats.def"
#undef NK_FORMAT

extern const nk_ops nk_scalar_ops, nk_simd128_ops;
#if NK_HAVE_RELAXED
extern const nk_ops nk_relaxed_ops;
#endif

#endif
