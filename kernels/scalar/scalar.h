/*
 * scalar.h: the specification of the products, as functions that a format file instantiates with its own arithmetic.
 * Private to kernels/. The compiler inlines `levels` and `gather`, so a format brings one loop body, not four kernels.
 */
#ifndef NOOK_KERNELS_SCALAR_H
#define NOOK_KERNELS_SCALAR_H

#include "kernels/act.h"
#include "kernels/ops.h"

/* One row of one block of 32: integer levels q with W[lane, k] = scale * q[k] + minimum; |Σ q a| < 2^24 for any |a| <= 127,
   so that the sum becomes a float exactly. */
typedef void nk_levels_fn(int32_t *q /* [32] */, float *scale, float *minimum, const uint8_t *group, uint32_t lane,
                          uint32_t block);

/*
 * y[t, r] for `slots` tokens (1 or 4) of a stream and the 8 rows of a group. The float expression, block by block in the
 * order of k, is the contract that all ISAs keep:
 *     isum = Σ q a  (exact)        s = d_w * d_a
 *     acc = acc + (float)isum * s
 *     acc = acc + minimum * sum_a  (only formats with a minimum; sum_a = d_a * (float)Σa comes with the activations)
 */
static inline void nk_scalar_product(float *y, size_t ldy, const uint8_t *group, const uint8_t *act, uint32_t n_blocks,
                                     uint32_t slots, nk_levels_fn *levels, bool has_minimum) {
  for (uint32_t t = 0; t < slots; t++)
    for (uint32_t r = 0; r < NK_GROUP_ROWS; r++) y[t * ldy + r] = 0.0f;
  for (uint32_t b = 0; b < n_blocks; b++) {
    const uint8_t *block = act + (size_t)b * nk_act_block_bytes(1, slots), *scales = block + slots * NK_ACT_BLOCK;
    for (uint32_t r = 0; r < NK_GROUP_ROWS; r++) {
      int32_t q[NK_ACT_BLOCK];
      float scale, minimum;
      levels(q, &scale, &minimum, group, r, b);
      for (uint32_t t = 0; t < slots; t++) {
        const int8_t *a = (const int8_t *)block + t * NK_ACT_BLOCK;
        int32_t isum = 0;
        for (uint32_t i = 0; i < NK_ACT_BLOCK; i++) isum += q[i] * a[i];
        float s = scale * nk_get_f32(scales + 4 * t);
        float product = (float)isum * s;
        y[t * ldy + r] = y[t * ldy + r] + product;
        if (has_minimum) {
          product = minimum * nk_get_f32(scales + 4 * (slots + t));
          y[t * ldy + r] = y[t * ldy + r] + product;
        }
      }
    }
  }
}

/* The gather of a format that has levels: W = scale * q + minimum, product and sum rounded one after the other. */
static inline void nk_scalar_gather(float *out, const uint8_t *group, uint32_t lane, uint32_t k0, uint32_t n_k,
                                    nk_levels_fn *levels, bool has_minimum) {
  for (uint32_t done = 0; done < n_k; done += NK_ACT_BLOCK) {
    int32_t q[NK_ACT_BLOCK];
    float scale, minimum;
    levels(q, &scale, &minimum, group, lane, (k0 + done) / NK_ACT_BLOCK);
    for (uint32_t i = 0; i < NK_ACT_BLOCK && done + i < n_k; i++) {
      float product = scale * (float)q[i];
      out[done + i] = has_minimum ? product + minimum : product;
    }
  }
}

typedef void nk_gather_fn(float *out, const uint8_t *group, uint32_t lane, uint32_t k0, uint32_t n_k);

static inline void nk_scalar_panel(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k, nk_gather_fn *gather) {
  float row[NK_PANEL_K];
  for (uint32_t r = 0; r < NK_GROUP_ROWS; r++) {
    for (uint32_t k = 0; k < n_k; k += NK_PANEL_K) {
      uint32_t width = n_k - k < NK_PANEL_K ? n_k - k : NK_PANEL_K;
      gather(row, group, r, k0 + k, width);
      NK_PLAIN
      for (uint32_t i = 0; i < width; i++) panel[(size_t)(k + i) * NK_GROUP_ROWS + r] = row[i];
    }
  }
}

static inline void nk_scalar_panel_t(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k, nk_gather_fn *gather) {
  float row[NK_PANEL_T_K];
  for (uint32_t r = 0; r < NK_GROUP_ROWS; r++) {
    gather(row, group, r, k0, n_k);
    NK_PLAIN
    for (uint32_t k = 0; k < n_k; k++) *NK_PANEL_T_AT(panel, r, k) = row[k];
  }
}

/* What a format file instantiates: gather from levels, products from levels, panels from nk_<symbol>_gather. */
#define NK_SCALAR_PANELS(symbol)                                                              \
  static void panel(float *out, const uint8_t *group, uint32_t k0, uint32_t n_k) {            \
    nk_scalar_panel(out, group, k0, n_k, nk_##symbol##_gather);                               \
  }                                                                                           \
  static void panel_t(float *out, const uint8_t *group, uint32_t k0, uint32_t n_k) {          \
    nk_scalar_panel_t(out, group, k0, n_k, nk_##symbol##_gather);                             \
  }

#define NK_SCALAR_FLOAT(symbol) \
  NK_SCALAR_PANELS(symbol)      \
  const nk_kernels nk_scalar_##symbol = {.gemv = NULL, .gemm = NULL, .panel = panel, .panel_t = panel_t};

#define NK_SCALAR_GATHER(symbol, levels, has_minimum)                                                     \
  void nk_##symbol##_gather(float *out, const uint8_t *group, uint32_t lane, uint32_t k0, uint32_t n_k) { \
    nk_scalar_gather(out, group, lane, k0, n_k, levels, has_minimum);                                     \
  }

#define NK_SCALAR_PRODUCT(symbol, levels, has_minimum)                                                  \
  static void gemv(float *y, const uint8_t *group, const uint8_t *act, uint32_t n_blocks) {             \
    nk_scalar_product(y, NK_GROUP_ROWS, group, act, n_blocks, 1, levels, has_minimum);                  \
  }                                                                                                     \
  static void gemm(float *y, size_t ldy, const uint8_t *group, const uint8_t *act, uint32_t n_blocks) { \
    nk_scalar_product(y, ldy, group, act, n_blocks, NK_QUAD, levels, has_minimum);                      \
  }                                                                                                     \
  NK_SCALAR_PANELS(symbol)                                                                              \
  const nk_kernels nk_scalar_##symbol = {.gemv = gemv, .gemm = gemm, .panel = panel, .panel_t = panel_t};

/* Gather and product from the same levels. */
#define NK_SCALAR_LEVELS(symbol, levels, has_minimum) \
  NK_SCALAR_GATHER(symbol, levels, has_minimum)       \
  NK_SCALAR_PRODUCT(symbol, levels, has_minimum)

#endif
