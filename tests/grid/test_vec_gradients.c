/*
 * test_vec_gradients.c: every gradient of vec.h against the difference quotient of its forward function. The functions
 * are the very ones that ship (kernels/vec_*.h), compiled with double as the real type.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/grid/vec_f4_double.h"

#include "kernels/vec_lanes.h"

#include "kernels/vec_activations.h"
#include "kernels/vec_dense.h"
#include "kernels/vec_elementwise.h"
#include "kernels/vec_norms.h"

#define MOST 600u
#define EPS 1e-5f

static const uint32_t SIZES[] = {1, 2, 3, 4, 5, 8, 13, 32, 97};
#define N_SIZES (sizeof SIZES / sizeof SIZES[0])

/* L(in) = Σ dy · f(in); f and its shapes belong to the test. */
typedef struct problem {
  double in[3][MOST], dy[MOST];
  uint32_t n, m, k; /* n: elements of each, or m, n, k of a product */
  bool optional[2]; /* weights and the like are there */
} problem;

typedef double loss_fn(const problem *p);

static void fill(double *x, uint32_t n, uint32_t seed, double limit) {
  uint32_t s = seed * 2654435761u + 1u;
  for (uint32_t i = 0; i < n; i++) {
    s ^= s << 13, s ^= s >> 17, s ^= s << 5;
    x[i] = ((double)s / 2147483648.0 - 1.0) * limit;
  }
}

static problem make(uint32_t seed, double limit) {
  problem p = {.n = 0};
  for (uint32_t i = 0; i < 3; i++) fill(p.in[i], MOST, 3 * seed + i, limit);
  fill(p.dy, MOST, seed + 1000, 1.0);
  return p;
}

static double dot(const double *a, const double *b, uint32_t n) {
  double sum = 0;
  for (uint32_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

/* got [n]: what the gradient's code says dL / d in[which] is. By the quotient of fourth order over steps of 1e-3. */
static void expect_gradient(problem *p, loss_fn *loss, uint32_t which, const double *got, uint32_t n, const char *what) {
  const double h = 1e-3;
  double largest = 0;
  for (uint32_t i = 0; i < n; i++) largest = fmax(largest, fabs(got[i]));
  for (uint32_t i = 0; i < n; i++) {
    double *x = &p->in[which][i], before = *x, at[4];
    for (int step = 0; step < 4; step++) {
      *x = before + h * (double)(step < 2 ? step - 2 : step - 1);
      at[step] = loss(p);
    }
    *x = before;
    double want = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h);
    if (!(fabs(got[i] - want) <= 1e-6 * (fabs(want) + 0.01 * largest) + 1e-9))
      fail_msg("%s of %u by input %u: element %u is %.12g, should be %.12g", what, p->n, which, i, got[i], want);
  }
}

/* ---- Norms ------------------------------------------------------------------------------------------------------- */

static double loss_of_rmsnorm(const problem *p) {
  double y[MOST];
  rmsnorm_forward(y, p->in[0], p->optional[0] ? p->in[1] : NULL, p->n, EPS);
  return dot(y, p->dy, p->n);
}

static double loss_of_layernorm(const problem *p) {
  double y[MOST];
  layernorm_forward(y, p->in[0], p->optional[0] ? p->in[1] : NULL, p->optional[1] ? p->in[2] : NULL, p->n, EPS);
  return dot(y, p->dy, p->n);
}

static void norm(const char *what, bool centred) {
  for (uint32_t s = 0; s < N_SIZES * 4; s++) {
    problem p = make(s, 2.0);
    p.n = SIZES[s / 4];
    p.optional[0] = s % 2 == 0, p.optional[1] = s % 4 < 2;
    for (uint32_t i = 0; i < p.n; i++) p.in[0][i] += 0.7; /* a mean that is not 0 */
    double d[3][MOST] = {{0}};
    const double *w = p.optional[0] ? p.in[1] : NULL;
    double *dw = p.optional[0] ? d[1] : NULL, *db = p.optional[1] ? d[2] : NULL;
    loss_fn *loss = centred ? loss_of_layernorm : loss_of_rmsnorm;
    if (centred) {
      layernorm_backward(d[0], dw, db, p.dy, p.in[0], w, p.n, EPS);
    } else {
      rmsnorm_backward(d[0], dw, p.dy, p.in[0], w, p.n, EPS);
    }
    if (centred && p.n <= 2) continue; /* then x' is constant but for eps, and the loss too curved */
    expect_gradient(&p, loss, 0, d[0], p.n, what);
    if (dw != NULL) expect_gradient(&p, loss, 1, dw, p.n, what);
    if (centred && db != NULL) expect_gradient(&p, loss, 2, db, p.n, what);
  }
}

static void rmsnorm(const char *what) { norm(what, false); }
static void layernorm(const char *what) { norm(what, true); }

/* ---- Activations ------------------------------------------------------------------------------------------------- */

#define ACTIVATION(name)                                                             \
  static double loss_of_##name(const problem *p) {                                   \
    double y[MOST];                                                                  \
    name##_forward(y, p->in[0], p->optional[0] ? p->in[1] : NULL, p->n);             \
    return dot(y, p->dy, p->n);                                                      \
  }                                                                                  \
  static void name##_slope(const char *what) {                                       \
    for (uint32_t s = 0; s < N_SIZES * 2; s++) {                                     \
      problem p = make(s, s % 3 == 0 ? 6.0 : 2.0);                                   \
      p.n = SIZES[s / 2];                                                            \
      p.optional[0] = s % 2 == 0;                                                    \
      for (uint32_t i = 0; i < p.n; i++) /* relu has a corner */                     \
        p.in[0][i] += p.in[0][i] < 0 ? -0.01 : 0.01;                                 \
      double dg[MOST], du[MOST];                                                     \
      name##_backward(dg, du, p.dy, p.in[0], p.optional[0] ? p.in[1] : NULL, p.n);   \
      expect_gradient(&p, loss_of_##name, 0, dg, p.n, what);                         \
      if (p.optional[0]) expect_gradient(&p, loss_of_##name, 1, du, p.n, what);      \
    }                                                                                \
  }
ACTIVATION(silu)
ACTIVATION(gelu_tanh)
ACTIVATION(gelu_erf)
ACTIVATION(relu)

/* ---- Soft cap, softmax, elementwise ------------------------------------------------------------------------------- */

static double loss_of_softcap(const problem *p) {
  double y[MOST];
  memcpy(y, p->in[0], sizeof y);
  softcap(y, 3.0, p->n);
  return dot(y, p->dy, p->n);
}

static void soft_cap(const char *what) {
  for (uint32_t s = 0; s < N_SIZES; s++) {
    problem p = make(s, 8.0);
    p.n = SIZES[s];
    double y[MOST], dy[MOST];
    memcpy(y, p.in[0], sizeof y), memcpy(dy, p.dy, sizeof dy);
    softcap(y, 3.0, p.n);
    softcap_backward(dy, y, 3.0, p.n);
    expect_gradient(&p, loss_of_softcap, 0, dy, p.n, what);
  }
}

/* The forward function wants whole tiles of 8; what is beyond n is masked, as attention masks it. */
static void probabilities(double *y, const problem *p) {
  uint32_t padded = (p->n + 7) / 8 * 8;
  for (uint32_t i = 0; i < padded; i++) y[i] = i < p->n ? p->in[0][i] : (double)-INFINITY;
  scale(y, 1.0 / softmax_forward(y, padded), padded);
}

static double loss_of_softmax(const problem *p) {
  double y[MOST];
  probabilities(y, p);
  return dot(y, p->dy, p->n);
}

static void softmax(const char *what) {
  for (uint32_t s = 0; s < N_SIZES; s++) {
    problem p = make(s, 4.0);
    p.n = SIZES[s];
    double y[MOST], dy[MOST];
    memcpy(dy, p.dy, sizeof dy);
    probabilities(y, &p);
    softmax_backward(dy, y, p.n);
    expect_gradient(&p, loss_of_softmax, 0, dy, p.n, what);
  }
}

/* y = a (b + c) + c / 2, its gradients by the functions that have no partner of their own */
static double loss_of_elementwise(const problem *p) {
  double sum[MOST], y[MOST] = {0};
  memcpy(sum, p->in[1], sizeof sum);
  add(sum, p->in[2], p->n);
  add_product(y, p->in[0], sum, p->n);
  add_scaled(y, p->in[2], 0.5, p->n);
  return dot(y, p->dy, p->n);
}

static void sums_and_products_by_element_are_each_others_gradients(void **state) {
  (void)state;
  for (uint32_t s = 0; s < N_SIZES; s++) {
    problem p = make(s, 2.0);
    p.n = SIZES[s];
    double da[MOST], db[MOST], dc[MOST] = {0};
    memcpy(da, p.in[1], sizeof da), memcpy(db, p.dy, sizeof db);
    add(da, p.in[2], p.n), multiply(da, p.dy, p.n);
    multiply(db, p.in[0], p.n);
    add_scaled(dc, p.dy, 0.5, p.n), add_product(dc, p.dy, p.in[0], p.n);
    expect_gradient(&p, loss_of_elementwise, 0, da, p.n, "a product");
    expect_gradient(&p, loss_of_elementwise, 1, db, p.n, "a product");
    expect_gradient(&p, loss_of_elementwise, 2, dc, p.n, "a sum");
  }
}

/* ---- Dense products ---------------------------------------------------------------------------------------------- */

/* in[0] a [m, k], in[1] b [n, k]: y = a bᵀ [m, n], in[0] a [m, n], in[1] b [n, k]: y = a b [m, k] */
static double loss_of_nt(const problem *p) {
  double y[MOST];
  dense_nt(y, p->n, p->in[0], p->k, p->in[1], p->k, p->m, p->n, p->k, false);
  return dot(y, p->dy, p->m * p->n);
}

static double loss_of_nn(const problem *p) {
  double y[MOST];
  dense_nn(y, p->k, p->in[0], p->n, p->in[1], p->k, p->m, p->n, p->k, false);
  return dot(y, p->dy, p->m * p->k);
}

static void dense(const char *what, int gradient) {
  static const uint32_t shapes[][3] = {{1, 1, 1}, {4, 8, 8}, {5, 9, 11}, {3, 17, 6}, {12, 4, 13}, {2, 2, 40}, {9, 3, 2}};
  for (uint32_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
    problem p = make(s, 1.5);
    p.m = shapes[s][0], p.n = shapes[s][1], p.k = shapes[s][2];
    double d[MOST];
    if (gradient == 0) { /* of a bᵀ by a: dy b */
      dense_nn(d, p.k, p.dy, p.n, p.in[1], p.k, p.m, p.n, p.k, false);
      expect_gradient(&p, loss_of_nt, 0, d, p.m * p.k, what);
    } else if (gradient == 1) { /* of a bᵀ by b: dyᵀ a */
      dense_tn(d, p.k, p.dy, p.n, p.in[0], p.k, p.m, p.n, p.k, false);
      expect_gradient(&p, loss_of_nt, 1, d, p.n * p.k, what);
    } else { /* of a b by a: dy bᵀ */
      dense_nt(d, p.n, p.dy, p.k, p.in[1], p.k, p.m, p.n, p.k, false);
      expect_gradient(&p, loss_of_nn, 0, d, p.m * p.n, what);
    }
  }
}

static void nn(const char *what) { dense(what, 0); }
static void tn(const char *what) { dense(what, 1); }
static void nt(const char *what) { dense(what, 2); }

/* A lint rule holds this list against the table of vec.h. */
static void every_gradient_is_the_quotient_of_differences(void **state) {
  (void)state;
  static const struct {
    const char *name;
    void (*check)(const char *what);
  } gradients[] = {
    {"rmsnorm_backward", rmsnorm},
    {"layernorm_backward", layernorm},
    {"silu_backward", silu_slope},
    {"gelu_tanh_backward", gelu_tanh_slope},
    {"gelu_erf_backward", gelu_erf_slope},
    {"relu_backward", relu_slope},
    {"softcap_backward", soft_cap},
    {"softmax_backward", softmax},
    {"dense_nt", nt},
    {"dense_nn", nn},
    {"dense_tn", tn},
  };
  for (size_t i = 0; i < sizeof gradients / sizeof gradients[0]; i++) gradients[i].check(gradients[i].name);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_gradient_is_the_quotient_of_differences),
      cmocka_unit_test(sums_and_products_by_element_are_each_others_gradients),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
