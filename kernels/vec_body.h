/*
 * vec_body.h: the functions of vec.h, once, over the four-lane operations. Included by kernels/<isa>/vec.c, which first
 * includes the operations and defines NK_VEC_NAME (the table's name) and NK_VEC_ISA. By subject: vec_lanes.h (tails),
 * vec_special.h (e^x), vec_activations.h, vec_norms.h, vec_elementwise.h, vec_dense.h; here attention's tiles and
 * conversions.
 */

#include "kernels/formats.h"
#include "kernels/vec_tables.h"

#include "kernels/vec_lanes.h"
#include "kernels/vec_special.h"

#include "kernels/vec_activations.h"
#include "kernels/vec_dense.h"
#include "kernels/vec_elementwise.h"
#include "kernels/vec_norms.h"

/* ---- Attention over one tile ------------------------------------------------------------------------------------- */

static void scores_4_rows(float *out, size_t ld_out, const float *q, size_t ld_q, const float *k, uint32_t dims) {
  const float *q0 = q, *q1 = q + ld_q, *q2 = q + 2 * ld_q, *q3 = q + 3 * ld_q;
  f4 a0 = f4_splat(0), b0 = a0, a1 = a0, b1 = a0, a2 = a0, b2 = a0, a3 = a0, b3 = a0;
  for (uint32_t d = 0; d < dims; d++) {
    f4 left = f4_load(k + (size_t)d * NK_KV_TILE), right = f4_load(k + (size_t)d * NK_KV_TILE + 4);
    f4 x0 = f4_splat(q0[d]), x1 = f4_splat(q1[d]), x2 = f4_splat(q2[d]), x3 = f4_splat(q3[d]);
    a0 = f4_madd(x0, left, a0), b0 = f4_madd(x0, right, b0);
    a1 = f4_madd(x1, left, a1), b1 = f4_madd(x1, right, b1);
    a2 = f4_madd(x2, left, a2), b2 = f4_madd(x2, right, b2);
    a3 = f4_madd(x3, left, a3), b3 = f4_madd(x3, right, b3);
  }
  f4_store(out, a0), f4_store(out + 4, b0);
  f4_store(out + ld_out, a1), f4_store(out + ld_out + 4, b1);
  f4_store(out + 2 * ld_out, a2), f4_store(out + 2 * ld_out + 4, b2);
  f4_store(out + 3 * ld_out, a3), f4_store(out + 3 * ld_out + 4, b3);
}

static void scores_1_row(float *out, const float *q, const float *k, uint32_t dims) {
  f4 a = f4_splat(0), b = a;
  for (uint32_t d = 0; d < dims; d++) {
    f4 x = f4_splat(q[d]);
    a = f4_madd(x, f4_load(k + (size_t)d * NK_KV_TILE), a);
    b = f4_madd(x, f4_load(k + (size_t)d * NK_KV_TILE + 4), b);
  }
  f4_store(out, a), f4_store(out + 4, b);
}

static void attention_scores(float *out, size_t ld_out, const float *q, size_t ld_q, uint32_t rows, const float *k,
                             uint32_t dims) {
  uint32_t r = 0;
  for (; r + 4 <= rows; r += 4) scores_4_rows(out + r * ld_out, ld_out, q + r * ld_q, ld_q, k, dims);
  for (; r < rows; r++) scores_1_row(out + r * ld_out, q + r * ld_q, k, dims);
}

static void values_1_row(float *out, const float *p, const float *v, uint32_t dims, uint32_t n_keys) {
  uint32_t d = 0;
  for (; d + 16 <= dims; d += 16) {
    f4 a = f4_load(out + d), b = f4_load(out + d + 4), c = f4_load(out + d + 8), e = f4_load(out + d + 12);
    const float *row = v + d;
    for (uint32_t j = 0; j < n_keys; j++, row += dims) {
      f4 x = f4_splat(p[j]);
      a = f4_madd(x, f4_load(row), a), b = f4_madd(x, f4_load(row + 4), b);
      c = f4_madd(x, f4_load(row + 8), c), e = f4_madd(x, f4_load(row + 12), e);
    }
    f4_store(out + d, a), f4_store(out + d + 4, b), f4_store(out + d + 8, c), f4_store(out + d + 12, e);
  }
  for (; d < dims; d += 4) {
    uint32_t part = dims - d < 4 ? dims - d : 4;
    f4 a = load_part(out + d, part);
    for (uint32_t j = 0; j < n_keys; j++) a = f4_madd(f4_splat(p[j]), load_part(v + (size_t)j * dims + d, part), a);
    store_part(out + d, a, part);
  }
}

static void attention_values(float *out, size_t ld_out, const float *p, size_t ld_p, uint32_t rows, const float *v,
                             uint32_t dims, uint32_t n_keys) {
  for (uint32_t r = 0; r < rows; r++) values_1_row(out + r * ld_out, p + r * ld_p, v, dims, n_keys);
}

/* ---- Conversions ------------------------------------------------------------------------------------------------- */

static void f16_to_f32(float *y, const uint16_t *x, uint32_t n) {
  uint32_t i = 0;
  for (; i + 4 <= n; i += 4) f4_store(y + i, f4_from_f16(x + i));
  if (i < n) {
    uint16_t padded[4] = {0, 0, 0, 0};
    memcpy(padded, x + i, (n - i) * sizeof *x);
    store_part(y + i, f4_from_f16(padded), n - i);
  }
}

static void f32_to_f16(uint16_t *y, const float *x, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) y[i] = nk_half_from_f32(x[i]);
}

static void q8_tile_to_f32(float *y, const int8_t *x, const float *factors, uint32_t n) {
  const f4 left = f4_load(factors), right = f4_load(factors + 4);
  for (uint32_t i = 0; i < n; i += NK_KV_TILE) {
    f4_store(y + i, f4_mul(f4_from_i8(x + i), left));
    f4_store(y + i + 4, f4_mul(f4_from_i8(x + i + 4), right));
  }
}

const nk_vec NK_VEC_NAME = {
    .isa = NK_VEC_ISA,
    .rmsnorm_forward = rmsnorm_forward,
    .rmsnorm_backward = rmsnorm_backward,
    .layernorm_forward = layernorm_forward,
    .layernorm_backward = layernorm_backward,
    .silu_forward = silu_forward,
    .silu_backward = silu_backward,
    .gelu_tanh_forward = gelu_tanh_forward,
    .gelu_tanh_backward = gelu_tanh_backward,
    .gelu_erf_forward = gelu_erf_forward,
    .gelu_erf_backward = gelu_erf_backward,
    .relu_forward = relu_forward,
    .relu_backward = relu_backward,
    .add = add,
    .scale = scale,
    .add_scaled = add_scaled,
    .multiply = multiply,
    .add_product = add_product,
    .softcap = softcap,
    .softcap_backward = softcap_backward,
    .attention_scores = attention_scores,
    .softmax_forward = softmax_forward,
    .softmax_backward = softmax_backward,
    .attention_values = attention_values,
    .dense_nt = dense_nt,
    .dense_nn = dense_nn,
    .dense_tn = dense_tn,
    .f16_to_f32 = f16_to_f32,
    .f32_to_f16 = f32_to_f16,
    .q8_tile_to_f32 = q8_tile_to_f32,
};
