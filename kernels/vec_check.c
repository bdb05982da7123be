/*
 * vec_check.c: the self-check of vec.h, the companion of check.c: every function of an ISA against SCALAR on small seeded
 * vectors with a tail. All but the attention tiles and the dense products must give SCALAR's bits on every ISA; those may
 * fuse multiply and add on RELAXED and are compared within CLOSE.
 */
#include <math.h>
#include <string.h>

#include "kernels/vec.h"

enum { N = 40, TAIL = 37, ROWS = 5, DIMS = 18 };
#define CLOSE 1e-5f

typedef struct trial {
  const nk_vec *vec, *scalar;
  nk_error *error;
  float a[N * NK_KV_TILE], b[N * NK_KV_TILE]; /* what the two write */
  float x[N * NK_KV_TILE], u[N * NK_KV_TILE]; /* uniform in [-4, 4) */
} trial;

static void fill(float *x, size_t n, uint32_t seed) {
  for (size_t i = 0; i < n; i++) {
    seed ^= seed << 13, seed ^= seed >> 17, seed ^= seed << 5;
    x[i] = (float)(int32_t)seed * 0x1p-29f;
  }
}

static nk_status same(const trial *t, const char *what, uint32_t n, bool may_fuse) {
  for (uint32_t i = 0; i < n; i++) {
    bool fused = may_fuse && t->vec->isa == NK_ISA_RELAXED && fabsf(t->a[i] - t->b[i]) <= CLOSE * (1.0f + fabsf(t->b[i]));
    if (fused || memcmp(&t->a[i], &t->b[i], sizeof t->a[i]) == 0) continue;
    return nk_fail(t->error, NK_STATUS_INTERNAL, "the vector function %s differs from its specification: %g instead of %g",
                   what, (double)t->a[i], (double)t->b[i]);
  }
  return NK_STATUS_OK;
}

#define NK_TRY(expression)                       \
  do {                                           \
    nk_status status_ = (expression);            \
    if (status_ != NK_STATUS_OK) return status_; \
  } while (0)

static nk_status check_elementwise(trial *t) {
  t->vec->rmsnorm_forward(t->a, t->x, t->u, TAIL, 1e-5f), t->scalar->rmsnorm_forward(t->b, t->x, t->u, TAIL, 1e-5f);
  NK_TRY(same(t, "rmsnorm", TAIL, false));
  t->vec->layernorm_forward(t->a, t->x, t->u, t->x, TAIL, 1e-5f);
  t->scalar->layernorm_forward(t->b, t->x, t->u, t->x, TAIL, 1e-5f);
  NK_TRY(same(t, "layernorm", TAIL, false));
  t->vec->silu_forward(t->a, t->x, t->u, TAIL), t->scalar->silu_forward(t->b, t->x, t->u, TAIL);
  NK_TRY(same(t, "silu", TAIL, false));
  t->vec->gelu_tanh_forward(t->a, t->x, t->u, TAIL), t->scalar->gelu_tanh_forward(t->b, t->x, t->u, TAIL);
  NK_TRY(same(t, "gelu", TAIL, false));
  t->vec->gelu_erf_forward(t->a, t->x, t->u, TAIL), t->scalar->gelu_erf_forward(t->b, t->x, t->u, TAIL);
  NK_TRY(same(t, "gelu by erf", TAIL, false));
  t->vec->relu_forward(t->a, t->x, NULL, TAIL), t->scalar->relu_forward(t->b, t->x, NULL, TAIL);
  NK_TRY(same(t, "relu", TAIL, false));
  t->vec->add(t->a, t->u, TAIL), t->scalar->add(t->b, t->u, TAIL);
  t->vec->scale(t->a, 0.3f, TAIL), t->scalar->scale(t->b, 0.3f, TAIL);
  t->vec->softcap(t->a, 3.0f, TAIL), t->scalar->softcap(t->b, 3.0f, TAIL);
  return same(t, "add, scale or softcap", TAIL, false);
}

typedef void backward_fn(float *dg, float *du, const float *dy, const float *g, const float *u, uint32_t n);

static nk_status check_activation(trial *t, const char *what, backward_fn *vec, backward_fn *scalar) {
  vec(t->a, t->a + N, t->u + N, t->x, t->u, TAIL), scalar(t->b, t->b + N, t->u + N, t->x, t->u, TAIL);
  return same(t, what, N + TAIL, false);
}

static nk_status check_backward(trial *t) {
  const nk_vec *v = t->vec, *s = t->scalar;
  memcpy(t->a, t->u, sizeof t->a), memcpy(t->b, t->u, sizeof t->b);
  v->rmsnorm_backward(t->a, t->a + N, t->u, t->x, t->x + N, TAIL, 1e-5f);
  s->rmsnorm_backward(t->b, t->b + N, t->u, t->x, t->x + N, TAIL, 1e-5f);
  NK_TRY(same(t, "rmsnorm_backward", 2 * N, false));
  v->layernorm_backward(t->a, t->a + N, t->a + 2 * N, t->u, t->x, t->x + N, TAIL, 1e-5f);
  s->layernorm_backward(t->b, t->b + N, t->b + 2 * N, t->u, t->x, t->x + N, TAIL, 1e-5f);
  NK_TRY(same(t, "layernorm_backward", 3 * N, false));
  NK_TRY(check_activation(t, "silu_backward", v->silu_backward, s->silu_backward));
  NK_TRY(check_activation(t, "gelu_tanh_backward", v->gelu_tanh_backward, s->gelu_tanh_backward));
  NK_TRY(check_activation(t, "gelu_erf_backward", v->gelu_erf_backward, s->gelu_erf_backward));
  NK_TRY(check_activation(t, "relu_backward", v->relu_backward, s->relu_backward));
  v->softcap_backward(t->a, t->x, 5.0f, TAIL), s->softcap_backward(t->b, t->x, 5.0f, TAIL);
  NK_TRY(same(t, "softcap_backward", TAIL, false));
  v->softmax_backward(t->a, t->x, TAIL), s->softmax_backward(t->b, t->x, TAIL);
  NK_TRY(same(t, "softmax_backward", TAIL, false));
  v->add_scaled(t->a, t->x, 0.3f, TAIL), s->add_scaled(t->b, t->x, 0.3f, TAIL);
  NK_TRY(same(t, "add_scaled", TAIL, false));
  v->multiply(t->a, t->x, TAIL), s->multiply(t->b, t->x, TAIL);
  NK_TRY(same(t, "multiply", TAIL, false));
  v->add_product(t->a, t->x, t->u, TAIL), s->add_product(t->b, t->x, t->u, TAIL);
  return same(t, "add_product", TAIL, false);
}

/* A whole tile and parts in both directions: 5 × 10, over sums of 18. */
static nk_status check_dense(trial *t) {
  enum { WIDE = 10 };
  for (int add = 0; add < 2; add++) {
    t->vec->dense_nt(t->a, WIDE, t->x, DIMS, t->u, DIMS, ROWS, WIDE, DIMS, add != 0);
    t->scalar->dense_nt(t->b, WIDE, t->x, DIMS, t->u, DIMS, ROWS, WIDE, DIMS, add != 0);
    NK_TRY(same(t, "dense_nt", ROWS * WIDE, true));
    t->vec->dense_nn(t->a, WIDE, t->x, DIMS, t->u, WIDE, ROWS, DIMS, WIDE, add != 0);
    t->scalar->dense_nn(t->b, WIDE, t->x, DIMS, t->u, WIDE, ROWS, DIMS, WIDE, add != 0);
    NK_TRY(same(t, "dense_nn", ROWS * WIDE, true));
    t->vec->dense_tn(t->a, WIDE, t->x, ROWS, t->u, WIDE, DIMS, ROWS, WIDE, add != 0);
    t->scalar->dense_tn(t->b, WIDE, t->x, ROWS, t->u, WIDE, DIMS, ROWS, WIDE, add != 0);
    NK_TRY(same(t, "dense_tn", ROWS * WIDE, true));
  }
  return NK_STATUS_OK;
}

static nk_status check_attention(trial *t) {
  t->vec->attention_scores(t->a, NK_KV_TILE, t->x, DIMS, ROWS, t->u, DIMS);
  t->scalar->attention_scores(t->b, NK_KV_TILE, t->x, DIMS, ROWS, t->u, DIMS);
  NK_TRY(same(t, "attention_scores", ROWS * NK_KV_TILE, true));
  memcpy(t->a, t->b, sizeof t->a);
  double left = t->vec->softmax_forward(t->a, N), right = t->scalar->softmax_forward(t->b, N);
  NK_TRY(same(t, "softmax", N, false));
  if (memcmp(&left, &right, sizeof left) != 0) {
    return nk_fail(t->error, NK_STATUS_INTERNAL, "the vector function softmax sums to %g instead of %g", left, right);
  }
  t->vec->attention_values(t->a, DIMS, t->x, NK_KV_TILE, ROWS, t->u, DIMS, NK_KV_TILE - 1);
  t->scalar->attention_values(t->b, DIMS, t->x, NK_KV_TILE, ROWS, t->u, DIMS, NK_KV_TILE - 1);
  return same(t, "attention_values", ROWS * DIMS, true);
}

static nk_status check_conversions(trial *t) {
  uint16_t a[N], b[N];
  int8_t small[N];
  t->vec->f32_to_f16(a, t->x, TAIL), t->scalar->f32_to_f16(b, t->x, TAIL);
  t->vec->f16_to_f32(t->a, a, TAIL), t->scalar->f16_to_f32(t->b, b, TAIL);
  NK_TRY(same(t, "f16", TAIL, false));
  for (int i = 0; i < N; i++) small[i] = (int8_t)(i * 13 - 128);
  t->vec->q8_tile_to_f32(t->a, small, t->u, N), t->scalar->q8_tile_to_f32(t->b, small, t->u, N);
  return same(t, "q8_tile", N, false);
}

nk_status nk_vec_check(const nk_vec *vec, nk_error *error) {
  trial t = {.vec = vec, .scalar = nk_vec_get(NK_ISA_SCALAR), .error = error};
  fill(t.x, N * NK_KV_TILE, 1), fill(t.u, N * NK_KV_TILE, 2);
  NK_TRY(check_elementwise(&t));
  NK_TRY(check_backward(&t));
  NK_TRY(check_dense(&t));
  NK_TRY(check_attention(&t));
  return check_conversions(&t);
}
