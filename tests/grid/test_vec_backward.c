/*
 * test_vec_backward.c: what training adds to vec.h, on every ISA. SCALAR against float64 formulae by a stated bound;
 * SIMD128 against SCALAR bit for bit; RELAXED by the same bounds. That the formulae are derivatives:
 * test_vec_gradients.c. Sizes step over every tail; buffers are odd in address and length, and their ends are watched.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "kernels/vec.h"

static const uint32_t SIZES[] = {1, 2, 3, 4, 5, 7, 8, 13, 16, 31, 64, 97, 576};
#define N_SIZES (sizeof SIZES / sizeof SIZES[0])
#define MOST 580u /* with room for a guard */
#define GUARD 123.0f

static const nk_isa ISAS[] = {NK_ISA_SCALAR, NK_ISA_SIMD128, NK_ISA_RELAXED};

static void fill(float *x, size_t n, uint32_t seed, float limit) {
  uint32_t s = seed * 2654435761u + 1u;
  for (size_t i = 0; i < n; i++) {
    s ^= s << 13, s ^= s >> 17, s ^= s << 5;
    x[i] = ((float)(s >> 8) / 8388608.0f - 1.0f) * limit;
  }
}

static void expect_close(const float *got, const double *want, uint32_t n, double relative, double absolute,
                         const char *what) {
  for (uint32_t i = 0; i < n; i++) {
    double error = fabs((double)got[i] - want[i]);
    if (!(error <= absolute + relative * fabs(want[i])))
      fail_msg("%s of %u: element %u is %.9g, should be %.9g", what, n, i, (double)got[i], want[i]);
  }
  if (got[n] != GUARD) fail_msg("%s of %u writes beyond its end", what, n);
}

static void expect_bits(const float *got, const float *want, uint32_t n, const char *what) {
  if (memcmp(got, want, n * sizeof *got) != 0) fail_msg("%s of %u: the bits differ", what, n);
}

/* ---- Norms ------------------------------------------------------------------------------------------------------- */

static void gradients_of_norms_are_added_on_every_isa(void **state) {
  (void)state;
  static float x[MOST], w[MOST], dy[MOST], start[MOST], d[3][3][MOST];
  static double want[3][MOST];
  for (size_t s = 0; s < N_SIZES * 8; s++) {
    uint32_t n = SIZES[s / 8];
    bool centred = s % 2 == 1, weighted = s / 2 % 2 == 0, all = s / 4 % 2 == 0;
    fill(x, n, n, 3.0f), fill(w, n, n + 1, 1.5f), fill(dy, n, n + 2, 1.0f), fill(start, n, n + 3, 0.5f);
    double mean = 0, variance = 0, lean = 0, along = 0;
    for (uint32_t i = 0; i < n && centred; i++) mean += (double)x[i] / n;
    for (uint32_t i = 0; i < n; i++) variance += ((double)x[i] - mean) * ((double)x[i] - mean) / n;
    double r = 1.0 / sqrt(variance + (double)1e-5f);
    for (uint32_t i = 0; i < n; i++) {
      double g = (double)dy[i] * (weighted ? (double)w[i] : 1.0);
      if (centred) lean += g / n;
      along += g * ((double)x[i] - mean) * r / n;
    }
    for (uint32_t i = 0; i < n; i++) {
      double g = (double)dy[i] * (weighted ? (double)w[i] : 1.0), normal = ((double)x[i] - mean) * r;
      want[0][i] = (double)start[i] + r * (g - lean - normal * along);
      want[1][i] = (double)start[i] + (double)dy[i] * normal;
      want[2][i] = (double)start[i] + (double)dy[i];
    }
    for (int isa = 0; isa < 3; isa++) {
      const nk_vec *vec = nk_vec_get(ISAS[isa]);
      for (int i = 0; i < 3; i++) memcpy(d[isa][i], start, n * sizeof *start), d[isa][i][n] = GUARD;
      float *dw = all ? d[isa][1] : NULL, *db = all ? d[isa][2] : NULL;
      if (centred) {
        vec->layernorm_backward(d[isa][0], dw, db, dy, x, weighted ? w : NULL, n, 1e-5f);
      } else {
        vec->rmsnorm_backward(d[isa][0], dw, dy, x, weighted ? w : NULL, n, 1e-5f);
      }
      double size = n <= 2 ? r : 1; /* then the terms cancel: r (g - g) */
      expect_close(d[isa][0], want[0], n, 2e-6, 2e-6 * size, "the gradient of a norm by x");
      if (all) expect_close(d[isa][1], want[1], n, 1e-6, 1e-6, "the gradient of a norm by w");
      if (all && centred) expect_close(d[isa][2], want[2], n, 1e-6, 0, "the gradient of a norm by b");
      if (!all) expect_bits(d[isa][1], start, n, "an unwanted gradient");
    }
    for (int i = 0; i < 3; i++) expect_bits(d[1][i], d[0][i], n, "the gradient of a norm");
  }
}

/* ---- Activations ------------------------------------------------------------------------------------------------- */

typedef void forward_fn(float *y, const float *g, const float *u, uint32_t n);
typedef void backward_fn(float *dg, float *du, const float *dy, const float *g, const float *u, uint32_t n);

static backward_fn *backward_of(const nk_vec *vec, int kind) {
  return kind == 0   ? vec->silu_backward
         : kind == 1 ? vec->gelu_tanh_backward
         : kind == 2 ? vec->gelu_erf_backward
                     : vec->relu_backward;
}

static forward_fn *forward_of(const nk_vec *vec, int kind) {
  return kind == 0   ? vec->silu_forward
         : kind == 1 ? vec->gelu_tanh_forward
         : kind == 2 ? vec->gelu_erf_forward
                     : vec->relu_forward;
}

static double slope_of(int kind, double g) {
  const double pi = acos(-1.0), c = 2 * sqrt(2 / pi);
  double z = kind == 0 ? g : c * (g + 0.044715 * g * g * g), dz = kind == 0 ? 1 : c * (1 + 3 * 0.044715 * g * g);
  double sigma = 1 / (1 + exp(-z)), rest = 1 / (1 + exp(z));
  if (kind < 2) return sigma + g * sigma * rest * dz;
  if (kind == 2) return 0.5 * erfc(-g / sqrt(2.0)) + g * exp(-0.5 * g * g) / sqrt(2 * pi);
  return g > 0 ? 1 : 0;
}

static void gradients_of_activations_follow_their_formulae_on_every_isa(void **state) {
  (void)state;
  static float g[MOST], u[MOST], dy[MOST], dg[3][MOST], du[3][MOST], y[MOST];
  static double want[2][MOST];
  for (size_t s = 0; s < N_SIZES * 8; s++) {
    uint32_t n = SIZES[s / 8];
    int kind = (int)(s % 4);
    bool has_gate = s / 4 % 2 == 0;
    fill(g, n, n, 12.0f), fill(u, n, n + 1, 2.0f), fill(dy, n, n + 2, 1.0f);
    if (n > 2) g[1] = 0.0f, g[2] = -0.0f;
    for (int isa = 0; isa < 3; isa++) {
      const nk_vec *vec = nk_vec_get(ISAS[isa]);
      dg[isa][n] = du[isa][n] = y[n] = GUARD;
      forward_of(vec, kind)(y, g, NULL, n); /* act(g), which has tests of its own */
      for (uint32_t i = 0; i < n; i++) {
        want[0][i] = (double)dy[i] * (has_gate ? (double)u[i] : 1.0) * slope_of(kind, (double)g[i]);
        want[1][i] = (double)dy[i] * (double)y[i];
      }
      backward_of(vec, kind)(dg[isa], du[isa], dy, g, has_gate ? u : NULL, n);
      expect_close(dg[isa], want[0], n, 2e-6, 1.2e-6, "the gradient of an activation");
      expect_close(du[isa], want[1], n, 1e-6, 1e-37, "the gradient of a gate"); /* subnormal ones are rounded twice */
      /* dg in the place of dy; without du; du in the place of dy */
      memcpy(y, dy, n * sizeof *dy);
      backward_of(vec, kind)(y, NULL, y, g, has_gate ? u : NULL, n);
      expect_bits(y, dg[isa], n, "a gradient in the place of dy");
      memcpy(y, dy, n * sizeof *dy);
      float other[MOST];
      backward_of(vec, kind)(other, y, y, g, has_gate ? u : NULL, n);
      expect_bits(y, du[isa], n, "a gate's gradient in the place of dy");
      expect_bits(other, dg[isa], n, "a gradient beside it");
    }
    expect_bits(dg[1], dg[0], n, "the gradient of an activation");
    expect_bits(du[1], du[0], n, "the gradient of a gate");
  }
}

static void slopes_are_finite_wherever_the_input_is(void **state) {
  (void)state;
  const float far[] = {1e2f, 1e4f, 1e10f, 1e20f, 1e25f, 0.0f, 1e-30f, 87.5f, 9.3f};
  const float one = 1.0f;
  for (int isa = 0; isa < 3; isa++) {
    for (int kind = 0; kind < 4; kind++) {
      for (size_t i = 0; i < 2 * sizeof far / sizeof far[0]; i++) {
        float g = i % 2 == 0 ? far[i / 2] : -far[i / 2], dg, du;
        backward_of(nk_vec_get(ISAS[isa]), kind)(&dg, &du, &one, &g, NULL, 1);
        double want = fabs((double)g) >= 80 ? (g > 0 ? 1 : 0) : slope_of(kind, (double)g);
        if (!(fabs((double)dg - want) <= 2e-6)) fail_msg("slope %d at %g is %g", kind, (double)g, (double)dg);
      }
      float g = NAN, dg, du;
      backward_of(nk_vec_get(ISAS[isa]), kind)(&dg, &du, &one, &g, NULL, 1);
      assert_true(kind == 3 || isnan(dg));
      assert_true(isnan(du));
    }
  }
}

/* ---- Elementwise, soft cap, softmax ------------------------------------------------------------------------------- */

static void elementwise_functions_follow_their_formulae_on_every_isa(void **state) {
  (void)state;
  static float a[MOST], b[MOST], p[MOST], start[MOST], y[5][3][MOST];
  static double want[5][MOST];
  for (size_t s = 0; s < N_SIZES; s++) {
    uint32_t n = SIZES[s];
    fill(a, n, n, 2.0f), fill(b, n, n + 1, 2.0f), fill(p, n, n + 2, 1.0f), fill(start, n, n + 3, 1.0f);
    double total = 0, mean = 0;
    for (uint32_t i = 0; i < n; i++) total += fabs((double)p[i]);
    for (uint32_t i = 0; i < n; i++) p[i] = (float)(fabs((double)p[i]) / total);
    for (uint32_t i = 0; i < n; i++) mean += (double)p[i] * (double)start[i];
    for (uint32_t i = 0; i < n; i++) {
      double from = (double)start[i], x = (double)a[i];
      want[0][i] = from + 0.3 * x;
      want[1][i] = from * x;
      want[2][i] = from + x * (double)b[i];
      want[3][i] = from * (1 - x / 2.5 * (x / 2.5));
      want[4][i] = (double)p[i] * (from - mean);
    }
    for (int isa = 0; isa < 3; isa++) {
      const nk_vec *vec = nk_vec_get(ISAS[isa]);
      for (int i = 0; i < 5; i++) memcpy(y[i][isa], start, n * sizeof *start), y[i][isa][n] = GUARD;
      vec->add_scaled(y[0][isa], a, 0.3f, n);
      vec->multiply(y[1][isa], a, n);
      vec->add_product(y[2][isa], a, b, n);
      vec->softcap_backward(y[3][isa], a, 2.5f, n);
      vec->softmax_backward(y[4][isa], p, n);
      for (int i = 0; i < 5; i++) expect_close(y[i][isa], want[i], n, 1e-6, 3e-7, "an elementwise function");
    }
    for (int i = 0; i < 5; i++) {
      expect_bits(y[i][1], y[i][0], n, "an elementwise function");
      expect_bits(y[i][2], y[i][0], n, "an elementwise function on RELAXED");
    }
  }
}

/* The sum of p · dp is taken in float64: in float32 large gradients that cancel leave noise in all others. */
static void the_gradient_of_softmax_survives_cancellation(void **state) {
  (void)state;
  float p[61], dp[61];
  fill(p, 61, 1, 1.0f), fill(dp, 61, 2, 1.0f);
  for (int i = 0; i < 61; i++) p[i] = (p[i] + 1.0f) / 61.0f, dp[i] *= i % 3 == 0 ? 1e7f : 1.0f;
  double mean = 0;
  for (int i = 0; i < 61; i++) mean += (double)p[i] * (double)dp[i];
  dp[60] = (float)((double)dp[60] - mean / (double)p[60]); /* now they cancel */
  mean = 0;
  for (int i = 0; i < 61; i++) mean += (double)p[i] * (double)dp[i];
  assert_true(fabs(mean) < 1.0);
  float before = dp[1], want = (float)((double)p[1] * ((double)before - mean));
  nk_vec_get(NK_ISA_SIMD128)->softmax_backward(dp, p, 61);
  assert_true(fabs((double)(dp[1] - want)) <= 1e-6 * fabs((double)p[1]) * (1.0 + fabs((double)before)));
}

/* ---- Dense products ---------------------------------------------------------------------------------------------- */

enum { NT, NN, TN };

/* Rows and columns of y, and the length of the sums, of a product called with m, n, k */
static void shape_of(int kind, const uint32_t *mnk, uint32_t *rows, uint32_t *cols, uint32_t *depth) {
  *rows = kind == TN ? mnk[1] : mnk[0];
  *cols = kind == NT ? mnk[1] : mnk[2];
  *depth = kind == NT ? mnk[2] : kind == NN ? mnk[1] : mnk[0];
}

static void product(const nk_vec *vec, int kind, float *y, size_t ldy, const float *a, size_t lda, const float *b,
                    size_t ldb, uint32_t m, uint32_t n, uint32_t k, bool add) {
  if (kind == NT) vec->dense_nt(y, ldy, a, lda, b, ldb, m, n, k, add);
  if (kind == NN) vec->dense_nn(y, ldy, a, lda, b, ldb, m, n, k, add);
  if (kind == TN) vec->dense_tn(y, ldy, a, lda, b, ldb, m, n, k, add);
}

static float element(int kind, const float *a, size_t lda, uint32_t row, uint32_t d) {
  return kind == TN ? a[d * lda + row] : a[row * lda + d];
}

/* The contract's own order of the sum of y[row, col], rounded as SCALAR rounds. */
static float in_order(int kind, const float *a, size_t lda, const float *b, size_t ldb, uint32_t row, uint32_t col,
                      uint32_t depth, float start, bool add) {
  float lanes[4] = {0, 0, 0, 0}, sum = add ? start : 0.0f;
  for (uint32_t d = 0; d < depth; d++) {
    volatile float term = element(kind, a, lda, row, d) * (kind == NT ? b[col * ldb + d] : b[d * ldb + col]);
    if (kind == NT) {
      lanes[d % 4] = lanes[d % 4] + term;
    } else {
      sum = sum + term;
    }
  }
  if (kind != NT) return sum;
  sum = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
  return add ? start + sum : sum;
}

static void dense_products_sum_in_their_order_on_every_isa(void **state) {
  (void)state;
  static const uint32_t shapes[][3] = { {1,
   1, 1},  {4, 8, 8},   {1, 8, 4},    {5, 9, 11},   {3, 17, 6},   {12, 4, 13},  {2, 2, 40}, {9, 3, 2},    {16, 65, 64},
   {8, 16, 0}, {16, 70, 3}, {4, 300, 16}, {7, 257, 33}, {300, 5, 72}, {19, 6, 515}, {6, 0, 9},  {64, 13, 12}, {37, 64,
   130}, }; for (size_t s = 0; s < sizeof shapes / sizeof shapes[0] * 6; s++) { const uint32_t *mnk = shapes[s / 6]; int
   kind = (int)(s % 3); bool add = s / 3 % 2 == 0; uint32_t rows, cols, depth; shape_of(kind, mnk, &rows, &cols, &depth);
   /* Strides beyond the rows; everything one float off alignment. */
    size_t ldy = cols + 3, lda = (kind == NT ? mnk[2] : mnk[1]) + 1, ldb = mnk[2] + 2;
    size_t a_size = lda * mnk[0] + 1, b_size = ldb * (kind == TN ? mnk[0] : mnk[1]) + 1, y_size = ldy * rows + 1;
    float *a = malloc(a_size * sizeof *a), *b = malloc(b_size * sizeof *b), *y[3], *alone = malloc(y_size * sizeof *alone);
    float *start = malloc(y_size * sizeof *start);
    assert_non_null(a), assert_non_null(b), assert_non_null(alone), assert_non_null(start);
    fill(a, a_size, 1, 1.0f), fill(b, b_size, 2, 1.0f), fill(start, y_size, 3, 1.0f);
    for (int isa = 0; isa < 3; isa++) {
      const nk_vec *vec = nk_vec_get(ISAS[isa]);
      y[isa] = malloc(y_size * sizeof *y[isa]);
      assert_non_null(y[isa]);
      memcpy(y[isa], start, y_size * sizeof *start), memcpy(alone, start, y_size * sizeof *start);
      product(vec, kind, y[isa] + 1, ldy, a + 1, lda, b + 1, ldb, mnk[0], mnk[1], mnk[2], add);
      for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t c = 0; c < ldy; c++) {
          size_t at = 1 + r * ldy + c;
          float want = c < cols ? in_order(kind, a + 1, lda, b + 1, ldb, r, c, depth, start[at], add) : start[at];
          if (isa == 2 ? fabsf(want - y[isa][at]) > 2e-5f : memcmp(&want, &y[isa][at], sizeof want) != 0)
            fail_msg("product %d of %u, %u, %u: [%u, %u] is %.9g, should be %.9g", kind, mnk[0], mnk[1], mnk[2], r, c,
                     (double)y[isa][at], (double)want);
        }
      }
      /* Row by row: the same bits. Rows of y are rows of a, or its columns. */
      for (uint32_t r = 0; r < rows; r++)
        product(vec, kind, alone + 1 + r * ldy, ldy, a + 1 + (kind == TN ? r : r * lda), lda, b + 1, ldb,
                kind == TN ? mnk[0] : 1, kind == TN ? 1 : mnk[1], mnk[2], add);
      expect_bits(alone, y[isa], (uint32_t)y_size, "a product row by row");
      /* And column by column: columns of y are rows of b, or its columns. */
      memcpy(alone, start, y_size * sizeof *start);
      for (uint32_t c = 0; c < cols; c++)
        product(vec, kind, alone + 1 + c, ldy, a + 1, lda, b + 1 + (kind == NT ? c * ldb : c), ldb, mnk[0],
                kind == NT ? 1 : mnk[1], kind == NT ? mnk[2] : 1, add);
      expect_bits(alone, y[isa], (uint32_t)y_size, "a product column by column");
    }
    for (int isa = 0; isa < 3; isa++) free(y[isa]);
    free(a), free(b), free(alone), free(start);
  }
}

/* ---- The self-check ----------------------------------------------------------------------------------------------- */

static void no_rmsnorm(float *dx, float *dw, const float *dy, const float *x, const float *w, uint32_t n, float eps) {
  (void)dx, (void)dw, (void)dy, (void)x, (void)w, (void)n, (void)eps;
}
static void no_layernorm(float *dx, float *dw, float *db, const float *dy, const float *x, const float *w, uint32_t n,
                         float eps) {
  nk_vec_get(NK_ISA_SCALAR)->layernorm_backward(dx, dw, NULL, dy, x, w, n, eps);
  (void)db;
}
static void no_gate(float *dg, float *du, const float *dy, const float *g, const float *u, uint32_t n) {
  nk_vec_get(NK_ISA_SCALAR)->silu_backward(dg, du, dy, g, u, n - 1);
}
static void no_sum(float *y, const float *x, float factor, uint32_t n) { (void)y, (void)x, (void)factor, (void)n; }
static void no_product(float *y, const float *x, uint32_t n) { (void)y, (void)x, (void)n; }
static void no_add_product(float *y, const float *a, const float *b, uint32_t n) { (void)y, (void)a, (void)b, (void)n; }
static void no_cap(float *dy, const float *y, float cap, uint32_t n) { (void)dy, (void)y, (void)cap, (void)n; }
static void no_dense(float *y, size_t ldy, const float *a, size_t lda, const float *b, size_t ldb, uint32_t m, uint32_t n,
                     uint32_t k, bool add) {
  (void)y, (void)ldy, (void)a, (void)lda, (void)b, (void)ldb, (void)m, (void)n, (void)k, (void)add;
}

static void the_self_check_notices_each_broken_function(void **state) {
  (void)state;
  nk_error error = {0};
  for (int which = 0; which < 14; which++) {
    static const char *const names[] = {"rmsnorm_backward",  "layernorm_backward", "silu_backward", "gelu_tanh_backward",
                                        "gelu_erf_backward", "relu_backward",      "add_scaled",    "multiply",
                                        "add_product",       "softcap_backward",   "softmax_backward", "dense_nt",
                                        "dense_nn",          "dense_tn"};
    nk_vec broken = *nk_vec_get(NK_ISA_SIMD128);
    if (which == 0) broken.rmsnorm_backward = no_rmsnorm;
    if (which == 1) broken.layernorm_backward = no_layernorm;
    if (which == 2) broken.silu_backward = no_gate;
    if (which == 3) broken.gelu_tanh_backward = no_gate;
    if (which == 4) broken.gelu_erf_backward = no_gate;
    if (which == 5) broken.relu_backward = no_gate;
    if (which == 6) broken.add_scaled = no_sum;
    if (which == 7) broken.multiply = no_product;
    if (which == 8) broken.add_product = no_add_product;
    if (which == 9) broken.softcap_backward = no_cap;
    if (which == 10) broken.softmax_backward = no_product;
    if (which == 11) broken.dense_nt = no_dense;
    if (which == 12) broken.dense_nn = no_dense;
    if (which == 13) broken.dense_tn = no_dense;
    assert_int_equal(nk_vec_check(&broken, &error), NK_STATUS_INTERNAL);
    if (strstr(error.text, names[which]) == NULL) fail_msg("%s: %s", names[which], error.text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradients_of_norms_are_added_on_every_isa),
      cmocka_unit_test(gradients_of_activations_follow_their_formulae_on_every_isa),
      cmocka_unit_test(slopes_are_finite_wherever_the_input_is),
      cmocka_unit_test(elementwise_functions_follow_their_formulae_on_every_isa),
      cmocka_unit_test(the_gradient_of_softmax_survives_cancellation),
      cmocka_unit_test(dense_products_sum_in_their_order_on_every_isa),
      cmocka_unit_test(the_self_check_notices_each_broken_function),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
