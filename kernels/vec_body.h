/*
 * vec_body.h: the functions of vec.h, once, over the four-lane operations. Included by kernels/<isa>/vec.c, which first
 * includes the operations and defines NK_VEC_NAME (the table's name) and NK_VEC_ISA. Tails of fewer than four elements are
 * padded with zeros into a full lane, so that no element takes another path.
 */

#include "kernels/formats.h"
#include "kernels/vec_tables.h"

/* ---- Helpers ------------------------------------------------------------------------------------------------------ */

static inline f4 load_part(const float *p, uint32_t n) {
  float padded[4] = {0, 0, 0, 0};
  memcpy(padded, p, n * sizeof *p);
  return f4_load(padded);
}

static inline void store_part(float *p, f4 a, uint32_t n) {
  float padded[4];
  f4_store(padded, a);
  memcpy(p, padded, n * sizeof *p);
}

/*
 * e^x = 2^n e^r, n = nearest(x / ln 2), |r| <= ln2 / 2, e^r by Taylor's polynomial of degree 7 (rest below 6e-9 relative).
 * ln 2 in two parts: 0.693359375 has 9 significant bits, so n times it is exact.
 */
static inline f4 f4_exp(f4 x) {
  const f4 lowest = f4_splat(-87.3f), highest = f4_splat(88.3f);
  f4 bounded = f4_ceil_at(f4_floor_at(x, lowest), highest);
  f4 n = f4_nearest(f4_mul(bounded, f4_splat(1.44269504088896341f)));
  f4 r = f4_sub(bounded, f4_mul(n, f4_splat(0.693359375f)));
  r = f4_sub(r, f4_mul(n, f4_splat(-2.12194440054690583e-4f)));
  f4 p = f4_splat(1.0f / 5040.0f);
  p = f4_add(f4_mul(p, r), f4_splat(1.0f / 720.0f));
  p = f4_add(f4_mul(p, r), f4_splat(1.0f / 120.0f));
  p = f4_add(f4_mul(p, r), f4_splat(1.0f / 24.0f));
  p = f4_add(f4_mul(p, r), f4_splat(1.0f / 6.0f));
  p = f4_add(f4_mul(p, r), f4_splat(0.5f));
  p = f4_add(f4_mul(f4_mul(p, r), r), r);
  p = f4_add(p, f4_splat(1.0f));
  return f4_zero_below(f4_scale2(p, n), x, lowest);
}

/* g / (1 + e^-z): the logistic gate of g at z */
static inline f4 f4_gate(f4 g, f4 z) { return f4_div(g, f4_add(f4_splat(1.0f), f4_exp(f4_sub(f4_splat(0.0f), z)))); }

static inline f4 f4_silu(f4 g) { return f4_gate(g, g); }

static inline f4 f4_gelu_tanh(f4 g) {
  /* 0.5 g (1 + tanh v) = g / (1 + e^-2v): no cancellation for negative g. 1.5957691216 = 2 sqrt(2/π). */
  f4 cube = f4_mul(f4_mul(g, g), g);
  f4 z = f4_mul(f4_splat(1.5957691216057308f), f4_add(g, f4_mul(f4_splat(0.044715f), cube)));
  return f4_gate(g, z);
}

/*
 * The exact gelu: g Φ(g), Φ(g) = 1 - erfc(g / √2) / 2 (Hendrycks, Gimpel 2016). With z = |g| / √2 and t = 1 / (1 + z / 2),
 * erfc(z) = t e^(P(t) - z²); P is the polynomial of degree 9 through the exact values at Chebyshev's nodes of [0.1, 1], off
 * by less than 1e-7. Both signs in one: max(g, 0) - |g| erfc(z) / 2, without cancellation for negative g.
 */
static inline f4 f4_gelu_erf(f4 g) {
  f4 size = f4_floor_at(g, f4_sub(f4_splat(0.0f), g));
  f4 z = f4_mul(size, f4_splat(0.70710678118654752f));
  f4 t = f4_div(f4_splat(1.0f), f4_add(f4_splat(1.0f), f4_mul(f4_splat(0.5f), z)));
  f4 p = f4_splat(0.1804211602f);
  p = f4_add(f4_mul(p, t), f4_splat(-0.8679362918f));
  p = f4_add(f4_mul(p, t), f4_splat(1.58111057f));
  p = f4_add(f4_mul(p, t), f4_splat(-1.237846376f));
  p = f4_add(f4_mul(p, t), f4_splat(0.3466895215f));
  p = f4_add(f4_mul(p, t), f4_splat(-0.2134825886f));
  p = f4_add(f4_mul(p, t), f4_splat(0.1032236888f));
  p = f4_add(f4_mul(p, t), f4_splat(0.3732609934f));
  p = f4_add(f4_mul(p, t), f4_splat(1.000072417f));
  p = f4_add(f4_mul(p, t), f4_splat(-1.265513003f));
  f4 tail = f4_mul(f4_mul(f4_splat(0.5f), t), f4_exp(f4_sub(p, f4_mul(z, z))));
  return f4_sub(f4_floor_at(g, f4_splat(0.0f)), f4_mul(size, tail));
}

static inline f4 f4_relu(f4 g) { return f4_floor_at(g, f4_splat(0.0f)); }

#define NK_VEC_ACTIVATION(name, formula)                                           \
  static void name(float *y, const float *g, const float *u, uint32_t n) {         \
    uint32_t i = 0;                                                                \
    for (; i + 4 <= n; i += 4) {                                                   \
      f4 a = formula(f4_load(g + i));                                              \
      f4_store(y + i, u != NULL ? f4_mul(a, f4_load(u + i)) : a);                  \
    }                                                                              \
    if (i < n) {                                                                   \
      f4 a = formula(load_part(g + i, n - i));                                     \
      store_part(y + i, u != NULL ? f4_mul(a, load_part(u + i, n - i)) : a, n - i); \
    }                                                                              \
  }

NK_VEC_ACTIVATION(silu_forward, f4_silu)
NK_VEC_ACTIVATION(gelu_tanh_forward, f4_gelu_tanh)
NK_VEC_ACTIVATION(gelu_erf_forward, f4_gelu_erf)
NK_VEC_ACTIVATION(relu_forward, f4_relu)

/* ---- Norms -------------------------------------------------------------------------------------------------------- */

static double sum_of(const float *x, uint32_t n) {
  d4 s = d4_zero();
  uint32_t i = 0;
  for (; i + 4 <= n; i += 4) s = d4_add_f4(s, f4_load(x + i));
  if (i < n) s = d4_add_f4(s, load_part(x + i, n - i));
  return d4_sum(s);
}

static double square_sum_of(const float *x, uint32_t n, double mean) {
  d4 s = d4_zero();
  uint32_t i = 0;
  for (; i + 4 <= n; i += 4) s = d4_add_square(s, f4_load(x + i), mean);
  double total = d4_sum(s);
  for (; i < n; i++) { /* not padded: (0 - mean)² would count */
    double d = (double)x[i] - mean;
    total += d * d;
  }
  return total;
}

/* y = ((x - shift) · factor) · w + b */
static void normalize(float *y, const float *x, const float *w, const float *b, uint32_t n, float shift, float factor) {
  const f4 shifts = f4_splat(shift), factors = f4_splat(factor);
  for (uint32_t i = 0; i < n; i += 4) {
    uint32_t part = n - i < 4 ? n - i : 4;
    f4 a = part == 4 ? f4_load(x + i) : load_part(x + i, part);
    a = f4_mul(f4_sub(a, shifts), factors);
    if (w != NULL) a = f4_mul(a, part == 4 ? f4_load(w + i) : load_part(w + i, part));
    if (b != NULL) a = f4_add(a, part == 4 ? f4_load(b + i) : load_part(b + i, part));
    if (part == 4) {
      f4_store(y + i, a);
    } else {
      store_part(y + i, a, part);
    }
  }
}

static void rmsnorm_forward(float *y, const float *x, const float *w, uint32_t n, float eps) {
  double mean_square = square_sum_of(x, n, 0.0) / (double)n;
  normalize(y, x, w, NULL, n, 0.0f, (float)(1.0 / sqrt(mean_square + (double)eps)));
}

static void layernorm_forward(float *y, const float *x, const float *w, const float *b, uint32_t n, float eps) {
  double mean = sum_of(x, n) / (double)n;
  double variance = square_sum_of(x, n, mean) / (double)n;
  normalize(y, x, w, b, n, (float)mean, (float)(1.0 / sqrt(variance + (double)eps)));
}

/* ---- Elementwise ---------------------------------------------------------------------------------------------------- */

static void add(float *y, const float *x, uint32_t n) {
  uint32_t i = 0;
  for (; i + 4 <= n; i += 4) f4_store(y + i, f4_add(f4_load(y + i), f4_load(x + i)));
  for (; i < n; i++) y[i] += x[i];
}

static void scale(float *y, float factor, uint32_t n) {
  const f4 factors = f4_splat(factor);
  uint32_t i = 0;
  for (; i + 4 <= n; i += 4) f4_store(y + i, f4_mul(f4_load(y + i), factors));
  for (; i < n; i++) y[i] *= factor;
}

/* tanh v = 1 - 2 / (1 + e^2v); near 0 the cancellation costs an absolute 6e-8, which cap · tanh does not notice. */
static inline f4 f4_cap(f4 y, f4 cap) {
  f4 v = f4_div(y, cap);
  f4 e = f4_exp(f4_add(v, v));
  return f4_mul(cap, f4_sub(f4_splat(1.0f), f4_div(f4_splat(2.0f), f4_add(f4_splat(1.0f), e))));
}

static void softcap(float *y, float cap, uint32_t n) {
  const f4 caps = f4_splat(cap);
  uint32_t i = 0;
  for (; i + 4 <= n; i += 4) f4_store(y + i, f4_cap(f4_load(y + i), caps));
  if (i < n) store_part(y + i, f4_cap(load_part(y + i, n - i), caps), n - i);
}

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

static double softmax_forward(float *s, uint32_t n) {
  f4 m = f4_splat(-INFINITY);
  for (uint32_t j = 0; j < n; j += 4) m = f4_floor_at(m, f4_load(s + j));
  const f4 top = f4_splat(f4_max_lane(m));
  d4 total = d4_zero();
  for (uint32_t j = 0; j < n; j += 4) {
    f4 e = f4_exp(f4_sub(f4_load(s + j), top));
    f4_store(s + j, e);
    total = d4_add_f4(total, e);
  }
  return d4_sum(total);
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
    .layernorm_forward = layernorm_forward,
    .silu_forward = silu_forward,
    .gelu_tanh_forward = gelu_tanh_forward,
    .gelu_erf_forward = gelu_erf_forward,
    .relu_forward = relu_forward,
    .add = add,
    .scale = scale,
    .softcap = softcap,
    .attention_scores = attention_scores,
    .softmax_forward = softmax_forward,
    .attention_values = attention_values,
    .f16_to_f32 = f16_to_f32,
    .f32_to_f16 = f32_to_f16,
    .q8_tile_to_f32 = q8_tile_to_f32,
};
