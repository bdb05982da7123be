/*
 * vec_f4_simd.h: the four-lane operations of vec_body.h in WebAssembly SIMD. Same results, bit for bit, as vec_f4_scalar.h;
 * f4_madd is fused where NK_VEC_RELAXED is set and the machine fuses.
 */
#ifndef NOOK_KERNELS_VEC_F4_SIMD_H
#define NOOK_KERNELS_VEC_F4_SIMD_H

#include "kernels/simd.h"

typedef float nk_real;
typedef v128_t f4;
typedef struct d4 { v128_t low, high; } d4; /* lanes 0, 1 and 2, 3 in float64 */

static inline f4 f4_load(const float *p) { return wasm_v128_load(p); }
static inline void f4_store(float *p, f4 a) { wasm_v128_store(p, a); }
static inline f4 f4_splat(float x) { return wasm_f32x4_splat(x); }
static inline f4 f4_add(f4 a, f4 b) { return wasm_f32x4_add(a, b); }
static inline f4 f4_sub(f4 a, f4 b) { return wasm_f32x4_sub(a, b); }
static inline f4 f4_mul(f4 a, f4 b) { return wasm_f32x4_mul(a, b); }
static inline f4 f4_div(f4 a, f4 b) { return wasm_f32x4_div(a, b); }
#if NK_VEC_RELAXED
static inline f4 f4_madd(f4 a, f4 b, f4 c) { return wasm_f32x4_relaxed_madd(a, b, c); }
#else
static inline f4 f4_madd(f4 a, f4 b, f4 c) { return wasm_f32x4_add(wasm_f32x4_mul(a, b), c); }
#endif
static inline f4 f4_floor_at(f4 a, f4 b) { return wasm_f32x4_pmax(a, b); }
static inline f4 f4_ceil_at(f4 a, f4 b) { return wasm_f32x4_pmin(a, b); }
static inline f4 f4_nearest(f4 a) { return wasm_f32x4_nearest(a); }
static inline f4 f4_scale2(f4 a, f4 n) {
  v128_t exponent = wasm_i32x4_add(wasm_i32x4_trunc_sat_f32x4(n), wasm_i32x4_splat(127));
  return wasm_f32x4_mul(a, wasm_i32x4_shl(exponent, 23));
}
static inline f4 f4_zero_below(f4 a, f4 x, f4 limit) { return wasm_v128_andnot(a, wasm_f32x4_lt(x, limit)); }
static inline f4 f4_zero_up_to(f4 a, f4 x, f4 limit) { return wasm_v128_andnot(a, wasm_f32x4_le(x, limit)); }
static inline float f4_max_lane(f4 a) {
  f4 swapped = wasm_i32x4_shuffle(a, a, 2, 3, 0, 1);
  f4 m = wasm_f32x4_pmax(a, swapped);
  float x = wasm_f32x4_extract_lane(m, 0), y = wasm_f32x4_extract_lane(m, 1);
  return x < y ? y : x;
}

static inline d4 d4_zero(void) { return (d4){wasm_f64x2_splat(0), wasm_f64x2_splat(0)}; }
static inline v128_t d2_low(f4 a) { return wasm_f64x2_promote_low_f32x4(a); }
static inline v128_t d2_high(f4 a) { return wasm_f64x2_promote_low_f32x4(wasm_i32x4_shuffle(a, a, 2, 3, 2, 3)); }
static inline d4 d4_add_f4(d4 s, f4 a) {
  return (d4){wasm_f64x2_add(s.low, d2_low(a)), wasm_f64x2_add(s.high, d2_high(a))};
}
static inline d4 d4_add_square(d4 s, f4 a, double m) {
  v128_t mean = wasm_f64x2_splat(m);
  v128_t low = wasm_f64x2_sub(d2_low(a), mean), high = wasm_f64x2_sub(d2_high(a), mean);
  return (d4){wasm_f64x2_add(s.low, wasm_f64x2_mul(low, low)), wasm_f64x2_add(s.high, wasm_f64x2_mul(high, high))};
}
static inline d4 d4_add_product(d4 s, f4 a, f4 b, double m) {
  v128_t mean = wasm_f64x2_splat(m);
  v128_t low = wasm_f64x2_mul(d2_low(a), wasm_f64x2_sub(d2_low(b), mean));
  v128_t high = wasm_f64x2_mul(d2_high(a), wasm_f64x2_sub(d2_high(b), mean));
  return (d4){wasm_f64x2_add(s.low, low), wasm_f64x2_add(s.high, high)};
}
static inline double d4_sum(d4 s) {
  double low = wasm_f64x2_extract_lane(s.low, 0) + wasm_f64x2_extract_lane(s.low, 1);
  double high = wasm_f64x2_extract_lane(s.high, 0) + wasm_f64x2_extract_lane(s.high, 1);
  return low + high;
}

static inline f4 f4_sums(f4 a, f4 b, f4 c, f4 d) {
  v128_t ab = wasm_f32x4_add(wasm_i32x4_shuffle(a, b, 0, 2, 4, 6), wasm_i32x4_shuffle(a, b, 1, 3, 5, 7));
  v128_t cd = wasm_f32x4_add(wasm_i32x4_shuffle(c, d, 0, 2, 4, 6), wasm_i32x4_shuffle(c, d, 1, 3, 5, 7));
  return wasm_f32x4_add(wasm_i32x4_shuffle(ab, cd, 0, 2, 4, 6), wasm_i32x4_shuffle(ab, cd, 1, 3, 5, 7));
}

static inline void f4_transpose(f4 *v) {
  v128_t a = wasm_i32x4_shuffle(v[0], v[1], 0, 4, 1, 5), b = wasm_i32x4_shuffle(v[0], v[1], 2, 6, 3, 7);
  v128_t c = wasm_i32x4_shuffle(v[2], v[3], 0, 4, 1, 5), d = wasm_i32x4_shuffle(v[2], v[3], 2, 6, 3, 7);
  v[0] = wasm_i64x2_shuffle(a, c, 0, 2), v[1] = wasm_i64x2_shuffle(a, c, 1, 3);
  v[2] = wasm_i64x2_shuffle(b, d, 0, 2), v[3] = wasm_i64x2_shuffle(b, d, 1, 3);
}

static inline f4 f4_from_f16(const uint16_t *p) {
  v128_t wide = wasm_i32x4_load16x4(p);
  v128_t moved = wasm_v128_and(wasm_i32x4_shl(wide, 13), wasm_i32x4_splat((int32_t)0x8fffe000u));
  return wasm_f32x4_mul(moved, wasm_f32x4_splat(0x1p112f));
}
static inline f4 f4_from_i8(const int8_t *p) {
  v128_t wide = wasm_i32x4_extend_low_i16x8(wasm_i16x8_extend_low_i8x16(wasm_v128_load32_zero(p)));
  return wasm_f32x4_convert_i32x4(wide);
}

#endif
