/*
 * vec.h: the arithmetic between the matrices: norms, activations, attention over one tile of the KV cache, conversions;
 * and for training their gradients and dense products.
 *
 * One body (vec_body.h) is compiled for each ISA over four-lane operations (vec_f4_*.h), so that SCALAR, the specification,
 * and SIMD128 give equal bits; RELAXED fuses multiply and add in the attention tiles and the dense products and differs in
 * last bits.
 * Reductions run in four lanes (element i belongs to lane i mod 4) that are added as (l0 + l1) + (l2 + l3), in float64
 * where the sum is of squares or of probabilities. No host libm: exp is ours.
 */
#ifndef NOOK_KERNELS_VEC_H
#define NOOK_KERNELS_VEC_H

#include "kernels/kernels.h"

#define NK_KV_TILE 8u /* positions of the KV cache that are kept together */

typedef struct nk_vec {
  nk_isa isa;

  /* y = x / sqrt(mean(x²) + eps) · w; x, y, w [n]; w NULL = ones. (Zhang, Sennrich 2019, eq. 4.) y may be x. */
  void (*rmsnorm_forward)(float *y, const float *x, const float *w, uint32_t n, float eps);
  /* dx += r (g - x' Σ g x' / n), dw += dy x' at x for the gradient dy of y; x' = x r, r = 1 / sqrt(mean(x²) + eps), g =
     dy w. All [n]; w NULL = ones; dw NULL: not wanted. Outputs overlap no input. */
  void (*rmsnorm_backward)(float *dx, float *dw, const float *dy, const float *x, const float *w, uint32_t n, float eps);
  /* y = (x - mean) / sqrt(var + eps) · w + b; b NULL = zeros. (Ba, Kiros, Hinton 2016.) y may be x. */
  void (*layernorm_forward)(float *y, const float *x, const float *w, const float *b, uint32_t n, float eps);
  /* dx += r (g - mean(g) - x' Σ g x' / n), dw += dy x', db += dy; x' = (x - mean) r, r = 1 / sqrt(var + eps), g = dy w.
     All [n]; w NULL = ones; dw, db NULL: not wanted. Outputs overlap no input. */
  void (*layernorm_backward)(float *dx, float *dw, float *db, const float *dy, const float *x, const float *w, uint32_t n,
                             float eps);

  /* y = silu(g) · u, silu(g) = g / (1 + e^-g); u NULL = ones. All [n]; y may be g or u. */
  void (*silu_forward)(float *y, const float *g, const float *u, uint32_t n);
  /* Of every activation y = act(g) · u: dg = dy · u · act'(g), du = dy · act(g), written, not added; u NULL = ones; du
     NULL: not wanted. All [n]; dg or du may be dy. silu' = σ + g σ (1 - σ), σ = 1 / (1 + e^-g). */
  void (*silu_backward)(float *dg, float *du, const float *dy, const float *g, const float *u, uint32_t n);
  /* The tanh form of gelu: g / (1 + e^-2v), v = sqrt(2/π) (g + 0.044715 g³). (Hendrycks, Gimpel 2016.) */
  void (*gelu_tanh_forward)(float *y, const float *g, const float *u, uint32_t n);
  /* σ + g σ (1 - σ) 2v', σ = 1 / (1 + e^-2v), v' = sqrt(2/π) (1 + 3 · 0.044715 g²) */
  void (*gelu_tanh_backward)(float *dg, float *du, const float *dy, const float *g, const float *u, uint32_t n);
  /* The exact gelu, g Φ(g). */
  void (*gelu_erf_forward)(float *y, const float *g, const float *u, uint32_t n);
  /* Φ + g e^(-g²/2) / sqrt(2π) */
  void (*gelu_erf_backward)(float *dg, float *du, const float *dy, const float *g, const float *u, uint32_t n);
  void (*relu_forward)(float *y, const float *g, const float *u, uint32_t n);
  /* 1 where g > 0, 0 elsewhere: at 0 too */
  void (*relu_backward)(float *dg, float *du, const float *dy, const float *g, const float *u, uint32_t n);

  void (*add)(float *y, const float *x, uint32_t n);                            /* y += x */
  void (*add_scaled)(float *y, const float *x, float factor, uint32_t n);       /* y += factor · x */
  void (*add_product)(float *y, const float *a, const float *b, uint32_t n);    /* y += a · b, by element */
  void (*scale)(float *y, float factor, uint32_t n);                            /* y *= factor */
  void (*multiply)(float *y, const float *x, uint32_t n);                       /* y *= x, by element */
  /* y = cap · tanh(y / cap) (Gemma 2, logit soft-capping) */
  void (*softcap)(float *y, float cap, uint32_t n);
  /* dy *= 1 - (y / cap)² with y the capped values: tanh' = 1 - tanh² */
  void (*softcap_backward)(float *dy, const float *y, float cap, uint32_t n);

  /* out[r, j] = Σ_d q[r, d] k[d, j], d ascending: rows × 8 scores against one tile k [dims, 8]. */
  void (*attention_scores)(float *out, size_t ld_out, const float *q, size_t ld_q, uint32_t rows, const float *k,
                           uint32_t dims);
  /* s[j] = e^(s[j] - max s) in place; returns Σ. n is a multiple of 8; at least one s is finite, -INFINITY gives 0. */
  double (*softmax_forward)(float *s, uint32_t n);
  /* ds = p · (dp - Σ p dp) in the place of dp, for the probabilities p = softmax(s), which sum to 1. Both [n], any n; the
     sum in float64. */
  void (*softmax_backward)(float *dp, const float *p, uint32_t n);
  /* out[r, d] += Σ_j p[r, j] v[j, d], j ascending in [0, n_keys): one tile v [8, dims]. */
  void (*attention_values)(float *out, size_t ld_out, const float *p, size_t ld_p, uint32_t rows, const float *v,
                           uint32_t dims, uint32_t n_keys);

  /*
   * Products of row-major matrices; a stride counts floats and is at least the columns of a row. `add`: onto y, else over
   * it. y overlaps neither a nor b. An element's bits depend on its own row and column only: not on how many there are
   * beside it, nor on how a caller cuts them.
   */
  /* y[i, j] (+)= Σ_k a[i, k] b[j, k]: a [m, k], b [n, k], y [m, n]. The sum in four lanes, k mod 4, then (l0 + l1) + (l2
     + l3); y is added last. */
  void (*dense_nt)(float *y, size_t ldy, const float *a, size_t lda, const float *b, size_t ldb, uint32_t m, uint32_t n,
                   uint32_t k, bool add);
  /* y[i, k] (+)= Σ_j a[i, j] b[j, k]: a [m, n], b [n, k], y [m, k]; j ascending, the sum starts with y when `add`. */
  void (*dense_nn)(float *y, size_t ldy, const float *a, size_t lda, const float *b, size_t ldb, uint32_t m, uint32_t n,
                   uint32_t k, bool add);
  /* y[j, k] (+)= Σ_i a[i, j] b[i, k]: a [m, n], b [m, k], y [n, k]; i ascending, the sum starts with y when `add`. */
  void (*dense_tn)(float *y, size_t ldy, const float *a, size_t lda, const float *b, size_t ldb, uint32_t m, uint32_t n,
                   uint32_t k, bool add);

  /* IEEE half to float, exact; and float to half, to nearest even, finite values beyond the range clamped to ±65504. */
  void (*f16_to_f32)(float *y, const uint16_t *x, uint32_t n);
  void (*f32_to_f16)(uint16_t *y, const float *x, uint32_t n);
  /* y[i] = x[i] · scale[i mod 8] (a tile of q8 keys [dims, 8]); n is a multiple of 8. */
  void (*q8_tile_to_f32)(float *y, const int8_t *x, const float *scale, uint32_t n);
} nk_vec;

/* NULL where this build lacks the ISA. */
const nk_vec *nk_vec_get(nk_isa isa);
/* Compares every function of `vec` with SCALAR on small vectors; INTERNAL with the function's name when one differs. */
nk_status nk_vec_check(const nk_vec *vec, nk_error *error);

/* One element, the scalar specification: e^x to about 1 ulp; 0 below -87.3, saturates above 88.3. */
float nk_exp_f32(float x);

#endif
