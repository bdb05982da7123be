/*
 * tiles.h: the float tiles and the quantization of activations for both SIMD ISAs. An ops.c includes it after it has
 * defined NK_MADD, and puts the functions into its table. Order of summation: scalar/ops.c.
 */
#ifndef NOOK_KERNELS_SIMD128_TILES_H
#define NOOK_KERNELS_SIMD128_TILES_H

#include "kernels/simd128/common.h"

/* ---- y = x panel ------------------------------------------------------------------------------------------------ */

/* 4 tokens × 8 rows: 8 sums in registers; wider tiles spill (16 vector registers on x86). */
static void tile(float *y, size_t ldy, const float *panel, const float *x, size_t ldx, uint32_t n_k, bool first) {
  const float *x0 = x, *x1 = x + ldx, *x2 = x1 + ldx, *x3 = x2 + ldx;
  v128_t zero = wasm_f32x4_splat(0.0f);
  v128_t s00 = zero, s01 = zero, s10 = zero, s11 = zero, s20 = zero, s21 = zero, s30 = zero, s31 = zero;
  float *y1 = y + ldy, *y2 = y1 + ldy, *y3 = y2 + ldy;
  if (!first) {
    s00 = wasm_v128_load(y), s01 = wasm_v128_load(y + 4);
    s10 = wasm_v128_load(y1), s11 = wasm_v128_load(y1 + 4);
    s20 = wasm_v128_load(y2), s21 = wasm_v128_load(y2 + 4);
    s30 = wasm_v128_load(y3), s31 = wasm_v128_load(y3 + 4);
  }
  for (uint32_t k = 0; k < n_k; k++, panel += NK_GROUP_ROWS) {
    v128_t w0 = wasm_v128_load(panel), w1 = wasm_v128_load(panel + 4), a;
    a = wasm_v128_load32_splat(x0 + k);
    s00 = NK_MADD(a, w0, s00), s01 = NK_MADD(a, w1, s01);
    a = wasm_v128_load32_splat(x1 + k);
    s10 = NK_MADD(a, w0, s10), s11 = NK_MADD(a, w1, s11);
    a = wasm_v128_load32_splat(x2 + k);
    s20 = NK_MADD(a, w0, s20), s21 = NK_MADD(a, w1, s21);
    a = wasm_v128_load32_splat(x3 + k);
    s30 = NK_MADD(a, w0, s30), s31 = NK_MADD(a, w1, s31);
  }
  wasm_v128_store(y, s00), wasm_v128_store(y + 4, s01);
  wasm_v128_store(y1, s10), wasm_v128_store(y1 + 4, s11);
  wasm_v128_store(y2, s20), wasm_v128_store(y2 + 4, s21);
  wasm_v128_store(y3, s30), wasm_v128_store(y3 + 4, s31);
}

/* 1 token × 4 row groups: eight independent sums hide the latency of the multiply-add. */
static void tile_band(float *y, const float *panel, size_t panel_stride, const float *x, uint32_t n_k, bool first) {
  const float *p0 = panel, *p1 = p0 + panel_stride, *p2 = p1 + panel_stride, *p3 = p2 + panel_stride;
  v128_t s[2 * NK_BAND];
  for (uint32_t i = 0; i < 2 * NK_BAND; i++) s[i] = first ? wasm_f32x4_splat(0.0f) : wasm_v128_load(y + 4 * i);
  for (uint32_t k = 0; k < n_k; k++) {
    v128_t a = wasm_v128_load32_splat(x + k);
    size_t at = (size_t)k * NK_GROUP_ROWS;
    s[0] = NK_MADD(a, wasm_v128_load(p0 + at), s[0]);
    s[1] = NK_MADD(a, wasm_v128_load(p0 + at + 4), s[1]);
    s[2] = NK_MADD(a, wasm_v128_load(p1 + at), s[2]);
    s[3] = NK_MADD(a, wasm_v128_load(p1 + at + 4), s[3]);
    s[4] = NK_MADD(a, wasm_v128_load(p2 + at), s[4]);
    s[5] = NK_MADD(a, wasm_v128_load(p2 + at + 4), s[5]);
    s[6] = NK_MADD(a, wasm_v128_load(p3 + at), s[6]);
    s[7] = NK_MADD(a, wasm_v128_load(p3 + at + 4), s[7]);
  }
  for (uint32_t i = 0; i < 2 * NK_BAND; i++) wasm_v128_store(y + 4 * i, s[i]);
}

static void tile_one(float *y, const float *panel, const float *x, uint32_t n_k, bool first) {
  v128_t s0 = first ? wasm_f32x4_splat(0.0f) : wasm_v128_load(y), s1 = first ? s0 : wasm_v128_load(y + 4);
  for (uint32_t k = 0; k < n_k; k++, panel += NK_GROUP_ROWS) {
    v128_t a = wasm_v128_load32_splat(x + k);
    s0 = NK_MADD(a, wasm_v128_load(panel), s0);
    s1 = NK_MADD(a, wasm_v128_load(panel + 4), s1);
  }
  wasm_v128_store(y, s0);
  wasm_v128_store(y + 4, s1);
}

/* ---- dx += dy panel --------------------------------------------------------------------------------------------- */

/* to[i][t] = from[t][i], four tokens t: so that the loop below steps one pointer for them, not four. */
static void transpose(float *to, const float *from, size_t ld, uint32_t n) {
  const float *f0 = from, *f1 = from + ld, *f2 = f1 + ld, *f3 = f2 + ld;
  uint32_t i = 0;
  for (; i + 4 <= n; i += 4, to += 16) {
    v128_t v0 = wasm_v128_load(f0 + i), v1 = wasm_v128_load(f1 + i), v2 = wasm_v128_load(f2 + i),
           v3 = wasm_v128_load(f3 + i);
    v128_t a = wasm_i32x4_shuffle(v0, v1, 0, 4, 1, 5), b = wasm_i32x4_shuffle(v0, v1, 2, 6, 3, 7);
    v128_t c = wasm_i32x4_shuffle(v2, v3, 0, 4, 1, 5), d = wasm_i32x4_shuffle(v2, v3, 2, 6, 3, 7);
    wasm_v128_store(to, wasm_i64x2_shuffle(a, c, 0, 2));
    wasm_v128_store(to + 4, wasm_i64x2_shuffle(a, c, 1, 3));
    wasm_v128_store(to + 8, wasm_i64x2_shuffle(b, d, 0, 2));
    wasm_v128_store(to + 12, wasm_i64x2_shuffle(b, d, 1, 3));
  }
  for (; i < n; i++, to += 4) to[0] = f0[i], to[1] = f1[i], to[2] = f2[i], to[3] = f3[i];
}

static void tile_t(float *dx, size_t lddx, const float *panel, const float *dy, uint32_t n_r) {
  const float *end = dy + (size_t)n_r * NK_QUAD;
  for (uint32_t k = 0; k < NK_TILE_T_K; k += 8) { /* 4 tokens × 8 columns */
    float *d0 = dx + k, *d1 = d0 + lddx, *d2 = d1 + lddx, *d3 = d2 + lddx;
    v128_t s00 = wasm_v128_load(d0), s01 = wasm_v128_load(d0 + 4), s10 = wasm_v128_load(d1), s11 = wasm_v128_load(d1 + 4);
    v128_t s20 = wasm_v128_load(d2), s21 = wasm_v128_load(d2 + 4), s30 = wasm_v128_load(d3), s31 = wasm_v128_load(d3 + 4);
    const float *row = NK_PANEL_T_AT(panel, 0, k);
    NK_NO_UNROLL
    for (const float *g = dy; g != end; g += NK_QUAD, row += NK_PANEL_T_COLS) {
      v128_t w0 = wasm_v128_load(row), w1 = wasm_v128_load(row + 4), a;
      a = wasm_v128_load32_splat(g);
      s00 = NK_MADD(a, w0, s00), s01 = NK_MADD(a, w1, s01);
      a = wasm_v128_load32_splat(g + 1);
      s10 = NK_MADD(a, w0, s10), s11 = NK_MADD(a, w1, s11);
      a = wasm_v128_load32_splat(g + 2);
      s20 = NK_MADD(a, w0, s20), s21 = NK_MADD(a, w1, s21);
      a = wasm_v128_load32_splat(g + 3);
      s30 = NK_MADD(a, w0, s30), s31 = NK_MADD(a, w1, s31);
    }
    wasm_v128_store(d0, s00), wasm_v128_store(d0 + 4, s01), wasm_v128_store(d1, s10), wasm_v128_store(d1 + 4, s11);
    wasm_v128_store(d2, s20), wasm_v128_store(d2 + 4, s21), wasm_v128_store(d3, s30), wasm_v128_store(d3 + 4, s31);
  }
}

static void tile_t_one(float *dx, const float *panel, const float *dy, uint32_t n_r) {
  v128_t s[NK_PANEL_T_K / 4];
  for (uint32_t i = 0; i < NK_PANEL_T_K / 4; i++) s[i] = wasm_v128_load(dx + 4 * i);
  NK_NO_UNROLL
  for (uint32_t r = 0; r < n_r; r++) {
    v128_t a = wasm_v128_load32_splat(dy + r);
    for (uint32_t i = 0; i < NK_PANEL_T_K / 4; i++)
      s[i] = NK_MADD(a, wasm_v128_load(NK_PANEL_T_AT(panel, r, 4 * i)), s[i]);
  }
  for (uint32_t i = 0; i < NK_PANEL_T_K / 4; i++) wasm_v128_store(dx + 4 * i, s[i]);
}

/* ---- Activations (rule: act.h) ---------------------------------------------------------------------------------- */

static inline v128_t tamed(const float *x) {
  v128_t v = wasm_v128_load(x);
  v = wasm_v128_and(v, wasm_f32x4_eq(v, v)); /* NaN → 0 */
  return wasm_f32x4_pmax(wasm_f32x4_pmin(v, wasm_f32x4_splat(NK_ACT_HUGE)), wasm_f32x4_splat(-NK_ACT_HUGE));
}

/* One block: the levels as 8 vectors of int32, in the order of x; scale [slots], sum [slots] and half sums [slots][2] of
   this slot go to `scales`. */
static inline void quantize_block(v128_t *q, uint8_t *scales, uint32_t slot, uint32_t slots, const float *x) {
  v128_t v[8], largest = wasm_f32x4_splat(0.0f), total[2] = {wasm_i32x4_splat(0), wasm_i32x4_splat(0)};
  float scale = 0.0f, inverse = 0.0f;
  for (uint32_t i = 0; i < 8; i++) {
    v[i] = tamed(x + 4 * i);
    largest = wasm_f32x4_pmax(largest, wasm_f32x4_abs(v[i]));
  }
  largest = wasm_f32x4_pmax(largest, wasm_i32x4_shuffle(largest, largest, 2, 3, 0, 1));
  largest = wasm_f32x4_pmax(largest, wasm_i32x4_shuffle(largest, largest, 1, 0, 3, 2));
  float size = wasm_f32x4_extract_lane(largest, 0);
  if (size >= NK_ACT_TINY) {
    scale = size / 127.0f;
    inverse = 1.0f / scale;
  }
  for (uint32_t i = 0; i < 8; i++) {
    v128_t rounded = wasm_f32x4_add(wasm_f32x4_mul(v[i], wasm_f32x4_splat(inverse)), wasm_f32x4_splat(NK_ROUND_MAGIC));
    q[i] = wasm_i32x4_sub(rounded, wasm_i32x4_splat(NK_ROUND_MAGIC_BITS));
    total[i / 4] = wasm_i32x4_add(total[i / 4], q[i]);
  }
  /* Lanes: first, last, first, last half; then their sums. */
  v128_t halves = wasm_i32x4_add(wasm_i32x4_shuffle(total[0], total[1], 0, 4, 1, 5),
                                 wasm_i32x4_shuffle(total[0], total[1], 2, 6, 3, 7));
  halves = wasm_i32x4_add(halves, wasm_i32x4_shuffle(halves, halves, 2, 3, 0, 1));
  nk_put_f32(scales + 4 * slot, scale);
  nk_put_f32(scales + 4 * (slots + slot),
             scale * (float)(wasm_i32x4_extract_lane(halves, 0) + wasm_i32x4_extract_lane(halves, 1)));
  int32_t word = wasm_i32x4_extract_lane(wasm_i16x8_narrow_i32x4(halves, halves), 0);
  memcpy(scales + 4 * (2 * slots + slot), &word, sizeof word);
}

#endif
