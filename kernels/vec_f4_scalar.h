/* vec_f4_scalar.h: the four-lane operations of vec_body.h as plain C. The specification of vec_f4_simd.h. */
#ifndef NOOK_KERNELS_VEC_F4_SCALAR_H
#define NOOK_KERNELS_VEC_F4_SCALAR_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef float nk_real;
typedef struct f4 { float lane[4]; } f4;
typedef struct d4 { double lane[4]; } d4; /* four float64 lanes */

#define F4_EACH(expression)                                 \
  do {                                                      \
    f4 r_;                                                  \
    for (int i_ = 0; i_ < 4; i_++) r_.lane[i_] = expression; \
    return r_;                                              \
  } while (0)

static inline f4 f4_load(const float *p) { F4_EACH(p[i_]); }
static inline void f4_store(float *p, f4 a) { memcpy(p, a.lane, sizeof a.lane); }
static inline f4 f4_splat(float x) { F4_EACH(x); }
static inline f4 f4_add(f4 a, f4 b) { F4_EACH(a.lane[i_] + b.lane[i_]); }
static inline f4 f4_sub(f4 a, f4 b) { F4_EACH(a.lane[i_] - b.lane[i_]); }
static inline f4 f4_mul(f4 a, f4 b) { F4_EACH(a.lane[i_] * b.lane[i_]); }
static inline f4 f4_div(f4 a, f4 b) { F4_EACH(a.lane[i_] / b.lane[i_]); }
static inline f4 f4_madd(f4 a, f4 b, f4 c) { F4_EACH(a.lane[i_] * b.lane[i_] + c.lane[i_]); }
/* b where a < b, else a: a NaN in a stays. */
static inline f4 f4_floor_at(f4 a, f4 b) { F4_EACH(a.lane[i_] < b.lane[i_] ? b.lane[i_] : a.lane[i_]); }
static inline f4 f4_ceil_at(f4 a, f4 b) { F4_EACH(b.lane[i_] < a.lane[i_] ? b.lane[i_] : a.lane[i_]); }
static inline f4 f4_nearest(f4 a) { F4_EACH(rintf(a.lane[i_])); }
/* a · 2^n for integral n in [-126, 127]. */
static inline f4 f4_scale2(f4 a, f4 n) {
  f4 r;
  for (int i = 0; i < 4; i++) {
    int32_t bits = isnan(n.lane[i]) ? 0 : (int32_t)n.lane[i]; /* as WebAssembly truncates */
    uint32_t power = ((uint32_t)bits + 127u) << 23;
    float factor;
    memcpy(&factor, &power, sizeof factor);
    r.lane[i] = a.lane[i] * factor;
  }
  return r;
}
/* a where x >= limit, else 0 (also for NaN x: a, so that NaN survives). */
static inline f4 f4_zero_below(f4 a, f4 x, f4 limit) { F4_EACH(x.lane[i_] < limit.lane[i_] ? 0.0f : a.lane[i_]); }
/* 0 where x <= limit, else a (also for NaN x). */
static inline f4 f4_zero_up_to(f4 a, f4 x, f4 limit) { F4_EACH(x.lane[i_] <= limit.lane[i_] ? 0.0f : a.lane[i_]); }
static inline float f4_max_lane(f4 a) {
  float m = a.lane[0];
  for (int i = 1; i < 4; i++) m = m < a.lane[i] ? a.lane[i] : m;
  return m;
}

static inline d4 d4_zero(void) { return (d4){{0, 0, 0, 0}}; }
static inline d4 d4_add_f4(d4 s, f4 a) {
  for (int i = 0; i < 4; i++) s.lane[i] += (double)a.lane[i];
  return s;
}
/* s + (a - m)², everything in float64 */
static inline d4 d4_add_square(d4 s, f4 a, double m) {
  for (int i = 0; i < 4; i++) {
    double x = (double)a.lane[i] - m;
    s.lane[i] += x * x;
  }
  return s;
}
/* s + a (b - m), everything in float64 */
static inline d4 d4_add_product(d4 s, f4 a, f4 b, double m) {
  for (int i = 0; i < 4; i++) s.lane[i] += (double)a.lane[i] * ((double)b.lane[i] - m);
  return s;
}
static inline double d4_sum(d4 s) { return (s.lane[0] + s.lane[1]) + (s.lane[2] + s.lane[3]); }

/* Σ lanes of each: (l0 + l1) + (l2 + l3) */
static inline f4 f4_sums(f4 a, f4 b, f4 c, f4 d) {
  const f4 all[4] = {a, b, c, d};
  F4_EACH((all[i_].lane[0] + all[i_].lane[1]) + (all[i_].lane[2] + all[i_].lane[3]));
}

/* Rows to columns: v[i].lane[j] and v[j].lane[i] change places. */
static inline void f4_transpose(f4 *v) {
  for (int i = 0; i < 4; i++) {
    for (int j = 0; j < i; j++) {
      float x = v[i].lane[j];
      v[i].lane[j] = v[j].lane[i];
      v[j].lane[i] = x;
    }
  }
}

/* Four halves (bits) to floats: exponent and mantissa moved into place, then rescaled by 2^112; exact, subnormals too. */
static inline f4 f4_from_f16(const uint16_t *p) {
  f4 r;
  for (int i = 0; i < 4; i++) {
    uint32_t bits = ((uint32_t)(int32_t)(int16_t)p[i] << 13) & 0x8fffe000u;
    float x;
    memcpy(&x, &bits, sizeof x);
    r.lane[i] = x * 0x1p112f;
  }
  return r;
}
static inline f4 f4_from_i8(const int8_t *p) { F4_EACH((float)p[i_]); }

#endif
