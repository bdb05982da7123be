/*
 * vec_f4_double.h: the four-lane operations and the special functions of kernels/vec_*.h in float64, so that a test can
 * differentiate the very code of the gradients numerically: in float32 a difference quotient has three digits.
 */
#ifndef NOOK_TESTS_VEC_F4_DOUBLE_H
#define NOOK_TESTS_VEC_F4_DOUBLE_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef double nk_real;
typedef struct f4 { double lane[4]; } f4;
typedef f4 d4;

#define F4_EACH(expression)                                  \
  do {                                                       \
    f4 r_;                                                   \
    for (int i_ = 0; i_ < 4; i_++) r_.lane[i_] = expression; \
    return r_;                                               \
  } while (0)

static inline f4 f4_load(const double *p) { F4_EACH(p[i_]); }
static inline void f4_store(double *p, f4 a) { memcpy(p, a.lane, sizeof a.lane); }
static inline f4 f4_splat(double x) { F4_EACH(x); }
static inline f4 f4_add(f4 a, f4 b) { F4_EACH(a.lane[i_] + b.lane[i_]); }
static inline f4 f4_sub(f4 a, f4 b) { F4_EACH(a.lane[i_] - b.lane[i_]); }
static inline f4 f4_mul(f4 a, f4 b) { F4_EACH(a.lane[i_] * b.lane[i_]); }
static inline f4 f4_div(f4 a, f4 b) { F4_EACH(a.lane[i_] / b.lane[i_]); }
static inline f4 f4_madd(f4 a, f4 b, f4 c) { F4_EACH(a.lane[i_] * b.lane[i_] + c.lane[i_]); }
static inline f4 f4_floor_at(f4 a, f4 b) { F4_EACH(a.lane[i_] < b.lane[i_] ? b.lane[i_] : a.lane[i_]); }
static inline f4 f4_ceil_at(f4 a, f4 b) { F4_EACH(b.lane[i_] < a.lane[i_] ? b.lane[i_] : a.lane[i_]); }
static inline f4 f4_zero_below(f4 a, f4 x, f4 limit) { F4_EACH(x.lane[i_] < limit.lane[i_] ? 0.0 : a.lane[i_]); }
static inline f4 f4_zero_up_to(f4 a, f4 x, f4 limit) { F4_EACH(x.lane[i_] <= limit.lane[i_] ? 0.0 : a.lane[i_]); }
static inline double f4_max_lane(f4 a) { return fmax(fmax(a.lane[0], a.lane[1]), fmax(a.lane[2], a.lane[3])); }
static inline f4 f4_sums(f4 a, f4 b, f4 c, f4 d) {
  const f4 all[4] = {a, b, c, d};
  F4_EACH((all[i_].lane[0] + all[i_].lane[1]) + (all[i_].lane[2] + all[i_].lane[3]));
}

static inline void f4_transpose(f4 *v) {
  for (int i = 0; i < 4; i++) {
    for (int j = 0; j < i; j++) {
      double x = v[i].lane[j];
      v[i].lane[j] = v[j].lane[i];
      v[j].lane[i] = x;
    }
  }
}

static inline d4 d4_zero(void) { return f4_splat(0); }
static inline d4 d4_add_f4(d4 s, f4 a) { return f4_add(s, a); }
static inline d4 d4_add_square(d4 s, f4 a, double m) { F4_EACH(s.lane[i_] + (a.lane[i_] - m) * (a.lane[i_] - m)); }
static inline d4 d4_add_product(d4 s, f4 a, f4 b, double m) { F4_EACH(s.lane[i_] + a.lane[i_] * (b.lane[i_] - m)); }
static inline double d4_sum(d4 s) { return (s.lane[0] + s.lane[1]) + (s.lane[2] + s.lane[3]); }

static inline f4 f4_exp(f4 x) { F4_EACH(exp(x.lane[i_])); }
static inline f4 f4_half_erfc(f4 z) { F4_EACH(0.5 * erfc(z.lane[i_])); }

#endif
