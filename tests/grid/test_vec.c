/*
 * test_vec.c: the arithmetic between the matrices. SCALAR against float64 formulae by a stated bound; SIMD128 against
 * SCALAR bit for bit; RELAXED against SCALAR by the same bounds. Sizes step over every tail, and by primes.
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
#define MOST 576u

static const nk_isa ISAS[] = {NK_ISA_SCALAR, NK_ISA_SIMD128, NK_ISA_RELAXED};

/* A fixed sequence: xorshift32, to [-limit, limit]. */
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
    if (!(error <= absolute + relative * fabs(want[i]))) {
      fail_msg("%s of %u: element %u is %.9g, should be %.9g", what, n, i, (double)got[i], want[i]);
    }
  }
}

static void expect_bits(const float *got, const float *want, uint32_t n, const char *what) {
  if (memcmp(got, want, n * sizeof *got) != 0) fail_msg("%s of %u: SIMD128 differs from SCALAR", what, n);
}

/* ---- Norms ------------------------------------------------------------------------------------------------------- */

static void norms_follow_their_formulae_on_every_isa(void **state) {
  (void)state;
  float x[MOST], w[MOST], b[MOST], y[3][MOST];
  double want[MOST];
  for (size_t s = 0; s < N_SIZES; s++) {
    uint32_t n = SIZES[s];
    fill(x, n, n, 3.0f), fill(w, n, n + 1, 1.5f), fill(b, n, n + 2, 0.5f);
    double mean = 0, square = 0, variance = 0;
    for (uint32_t i = 0; i < n; i++) mean += (double)x[i] / n, square += (double)x[i] * (double)x[i] / n;
    for (uint32_t i = 0; i < n; i++) variance += ((double)x[i] - mean) * ((double)x[i] - mean) / n;
    for (int kind = 0; kind < 4; kind++) {
      for (uint32_t i = 0; i < n; i++) {
        want[i] = kind < 2 ? (double)x[i] / sqrt(square + 1e-5) : ((double)x[i] - mean) / sqrt(variance + 1e-5);
        if (kind % 2 == 0) want[i] *= (double)w[i];
        if (kind == 2) want[i] += (double)b[i];
      }
      for (int isa = 0; isa < 3; isa++) {
        const nk_vec *vec = nk_vec_get(ISAS[isa]);
        if (kind < 2) {
          vec->rmsnorm_forward(y[isa], x, kind == 0 ? w : NULL, n, 1e-5f);
        } else {
          vec->layernorm_forward(y[isa], x, kind == 2 ? w : NULL, kind == 2 ? b : NULL, n, 1e-5f);
        }
        expect_close(y[isa], want, n, 1e-6, 1e-6, kind < 2 ? "rmsnorm" : "layernorm");
      }
      expect_bits(y[1], y[0], n, "a norm");
    }
  }
}

/* ---- Activations ------------------------------------------------------------------------------------------------- */

static void activations_follow_their_formulae_on_every_isa(void **state) {
  (void)state;
  float g[MOST], u[MOST], y[3][MOST];
  double want[MOST];
  for (size_t s = 0; s < N_SIZES; s++) {
    uint32_t n = SIZES[s];
    fill(g, n, n, 12.0f), fill(u, n, n + 1, 2.0f);
    for (int kind = 0; kind < 8; kind++) {
      bool gated = kind % 2 == 0;
      for (uint32_t i = 0; i < n; i++) {
        double x = (double)g[i];
        double v = sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x);
        want[i] = kind < 2   ? x / (1.0 + exp(-x))
                  : kind < 4 ? x / (1.0 + exp(-2.0 * v))
                  : kind < 6 ? 0.5 * x * erfc(-x / sqrt(2.0))
                  : x > 0    ? x
                             : 0.0;
        if (gated) want[i] *= (double)u[i];
      }
      for (int isa = 0; isa < 3; isa++) {
        const nk_vec *vec = nk_vec_get(ISAS[isa]);
        (kind < 2   ? vec->silu_forward
         : kind < 4 ? vec->gelu_tanh_forward
         : kind < 6 ? vec->gelu_erf_forward
                    : vec->relu_forward)(y[isa], g, gated ? u : NULL, n);
        expect_close(y[isa], want, n, 3e-6, 1e-7, "an activation");
      }
      expect_bits(y[1], y[0], n, "an activation");
    }
  }
}

static void exp_is_close_over_its_whole_range_and_defined_beyond_it(void **state) {
  (void)state;
  for (double x = -87.2; x <= 88.2; x += 0.00317) {
    double want = exp((double)(float)x);
    assert_true(fabs((double)nk_exp_f32((float)x) - want) <= 3e-7 * want);
  }
  assert_true(nk_exp_f32(-INFINITY) == 0.0f);
  assert_true(nk_exp_f32(-100.0f) == 0.0f);
  assert_true(nk_exp_f32(0.0f) == 1.0f);
  assert_true(isfinite(nk_exp_f32(INFINITY)) && nk_exp_f32(INFINITY) > 1e38f);
  assert_true(isnan(nk_exp_f32(NAN)));
}

static void softcap_and_elementwise_work_on_every_isa(void **state) {
  (void)state;
  float x[MOST], y[3][MOST], z[3][MOST];
  double want[MOST], sum[MOST];
  for (size_t s = 0; s < N_SIZES; s++) {
    uint32_t n = SIZES[s];
    fill(x, n, n, 90.0f);
    for (uint32_t i = 0; i < n; i++) want[i] = 30.0 * tanh((double)x[i] / 30.0), sum[i] = 1.5 * (double)x[i];
    for (int isa = 0; isa < 3; isa++) {
      const nk_vec *vec = nk_vec_get(ISAS[isa]);
      memcpy(y[isa], x, n * sizeof *x), memcpy(z[isa], x, n * sizeof *x);
      vec->softcap(y[isa], 30.0f, n);
      vec->scale(z[isa], 0.5f, n);
      vec->add(z[isa], x, n);
      expect_close(y[isa], want, n, 1e-6, 5e-6, "softcap");
      expect_close(z[isa], sum, n, 1e-7, 0, "scale and add");
    }
    expect_bits(y[1], y[0], n, "softcap");
    expect_bits(z[1], z[0], n, "scale and add");
  }
}

/* ---- Attention --------------------------------------------------------------------------------------------------- */

static void attention_tiles_match_plain_sums_on_every_isa(void **state) {
  (void)state;
  static const uint32_t dims_of[] = {1, 3, 4, 16, 17, 32, 64, 80};
  enum { ROWS = 7, ROOM = 24 };
  static float q[ROWS * 80], k[80 * NK_KV_TILE], v[NK_KV_TILE * 80], p[ROWS * ROOM], scores[3][ROWS * ROOM],
      out[3][ROWS * 80];
  for (size_t s = 0; s < sizeof dims_of / sizeof dims_of[0]; s++) {
    uint32_t n = dims_of[s];
    fill(q, ROWS * (size_t)n, 1, 2.0f), fill(k, (size_t)n * NK_KV_TILE, 2, 2.0f), fill(v, NK_KV_TILE * (size_t)n, 3, 2.0f);
    fill(p, ROWS * ROOM, 4, 1.0f);
    for (uint32_t keys = 1; keys <= NK_KV_TILE; keys++) {
      for (int isa = 0; isa < 3; isa++) {
        const nk_vec *vec = nk_vec_get(ISAS[isa]);
        memset(scores[isa], 0, sizeof scores[isa]);
        fill(out[isa], ROWS * (size_t)n, 5, 1.0f);
        vec->attention_scores(scores[isa] + NK_KV_TILE, ROOM, q, n, ROWS, k, n);
        vec->attention_values(out[isa], n, p, ROOM, ROWS, v, n, keys);
        float before[ROWS * 80];
        fill(before, ROWS * (size_t)n, 5, 1.0f);
        for (uint32_t r = 0; r < ROWS; r++) {
          for (uint32_t j = 0; j < NK_KV_TILE; j++) {
            double want = 0;
            for (uint32_t d = 0; d < n; d++) want += (double)q[r * n + d] * (double)k[d * NK_KV_TILE + j];
            assert_true(fabs((double)scores[isa][r * ROOM + NK_KV_TILE + j] - want) <= 2e-5);
            assert_true(scores[isa][r * ROOM + j] == 0.0f); /* nothing beside the tile is touched */
          }
          for (uint32_t d = 0; d < n; d++) {
            double want = (double)before[r * n + d];
            for (uint32_t j = 0; j < keys; j++) want += (double)p[r * ROOM + j] * (double)v[j * n + d];
            assert_true(fabs((double)out[isa][r * n + d] - want) <= 2e-5);
          }
        }
      }
      expect_bits(scores[1], scores[0], ROWS * ROOM, "scores");
      expect_bits(out[1], out[0], ROWS * n, "values");
    }
  }
}

static void softmax_sums_to_its_parts_and_ignores_what_is_masked(void **state) {
  (void)state;
  float s[3][64];
  for (uint32_t n = 8; n <= 64; n += 8) {
    double sums[3];
    for (int isa = 0; isa < 3; isa++) {
      fill(s[isa], n, n, 20.0f);
      s[isa][0] = -INFINITY;
      s[isa][n - 1] = -INFINITY;
      float original[64];
      memcpy(original, s[isa], sizeof original);
      sums[isa] = nk_vec_get(ISAS[isa])->softmax_forward(s[isa], n);
      float top = original[1];
      double want = 0;
      for (uint32_t j = 1; j + 1 < n; j++) top = original[j] > top ? original[j] : top;
      for (uint32_t j = 1; j + 1 < n; j++) want += exp((double)original[j] - (double)top);
      assert_true(fabs(sums[isa] - want) <= 1e-6 * want);
      assert_true(s[isa][0] == 0.0f && s[isa][n - 1] == 0.0f);
    }
    expect_bits(s[1], s[0], n, "softmax");
    assert_true(sums[0] == sums[1]);
  }
}

/* ---- Conversions ------------------------------------------------------------------------------------------------- */

/* The value of a finite half by its definition. */
static double half_value(uint16_t half) {
  int exponent = half >> 10 & 31, mantissa = half & 1023;
  double magnitude = exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024 + mantissa, exponent - 25);
  return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

static void every_finite_half_converts_exactly_and_back(void **state) {
  (void)state;
  for (int isa = 0; isa < 3; isa++) {
    const nk_vec *vec = nk_vec_get(ISAS[isa]);
    for (uint32_t bits = 0; bits < 65536; bits++) {
      uint16_t half = (uint16_t)bits, back;
      if ((half & 0x7c00) == 0x7c00) continue;
      float value;
      vec->f16_to_f32(&value, &half, 1);
      assert_true((double)value == half_value(half));
      vec->f32_to_f16(&back, &value, 1);
      assert_int_equal(back, half);
    }
  }
}

static void floats_round_to_the_nearest_half_and_to_even(void **state) {
  (void)state;
  const nk_vec *vec = nk_vec_get(NK_ISA_SIMD128);
  for (uint32_t bits = 0; bits < 0x7bff; bits++) { /* between each half and the next */
    double low = half_value((uint16_t)bits), high = half_value((uint16_t)(bits + 1));
    float middle = (float)((low + high) / 2), below = nextafterf(middle, 0.0f), above = nextafterf(middle, 1e9f);
    uint16_t got[3];
    const float x[3] = {below, middle, above};
    vec->f32_to_f16(got, x, 3);
    assert_int_equal(got[0], bits);
    assert_int_equal(got[1], bits % 2 == 0 ? bits : bits + 1);
    assert_int_equal(got[2], bits + 1);
  }
  const float beyond[4] = {65519.9f, 65520.0f, 1e30f, -INFINITY};
  uint16_t got[4];
  vec->f32_to_f16(got, beyond, 4);
  assert_int_equal(got[0], 0x7bff);
  assert_int_equal(got[1], 0x7bff);
  assert_int_equal(got[2], 0x7bff);
  assert_int_equal(got[3], 0xfbff);
}

static void q8_tiles_are_scaled_by_position(void **state) {
  (void)state;
  int8_t x[40];
  float scales[NK_KV_TILE], y[3][40];
  fill(scales, NK_KV_TILE, 9, 1.0f);
  for (int i = 0; i < 40; i++) x[i] = (int8_t)(i * 37 - 128);
  for (int isa = 0; isa < 3; isa++) {
    nk_vec_get(ISAS[isa])->q8_tile_to_f32(y[isa], x, scales, 40);
    for (int i = 0; i < 40; i++) assert_true(y[isa][i] == (float)x[i] * scales[i % 8]);
  }
}

static void broken_scale(float *y, float factor, uint32_t n) {
  for (uint32_t i = 0; i + 1 < n; i++) y[i] *= factor;
}

static void broken_values(float *out, size_t ld_out, const float *p, size_t ld_p, uint32_t rows, const float *v,
                          uint32_t dims, uint32_t n_keys) {
  nk_vec_get(NK_ISA_SCALAR)->attention_values(out, ld_out, p, ld_p, rows, v, dims, n_keys + 1);
}

static void the_self_check_passes_here_and_notices_a_broken_function(void **state) {
  (void)state;
  nk_error error = {0};
  for (int isa = 0; isa < 3; isa++) assert_int_equal(nk_vec_check(nk_vec_get(ISAS[isa]), &error), NK_STATUS_OK);
  nk_vec broken = *nk_vec_get(NK_ISA_RELAXED);
  broken.scale = broken_scale;
  assert_int_equal(nk_vec_check(&broken, &error), NK_STATUS_INTERNAL);
  assert_non_null(strstr(error.text, "scale"));
  broken = *nk_vec_get(NK_ISA_RELAXED);
  broken.attention_values = broken_values;
  assert_int_equal(nk_vec_check(&broken, &error), NK_STATUS_INTERNAL);
  assert_non_null(strstr(error.text, "attention_values"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(norms_follow_their_formulae_on_every_isa),
      cmocka_unit_test(activations_follow_their_formulae_on_every_isa),
      cmocka_unit_test(exp_is_close_over_its_whole_range_and_defined_beyond_it),
      cmocka_unit_test(softcap_and_elementwise_work_on_every_isa),
      cmocka_unit_test(attention_tiles_match_plain_sums_on_every_isa),
      cmocka_unit_test(softmax_sums_to_its_parts_and_ignores_what_is_masked),
      cmocka_unit_test(every_finite_half_converts_exactly_and_back),
      cmocka_unit_test(floats_round_to_the_nearest_half_and_to_even),
      cmocka_unit_test(q8_tiles_are_scaled_by_position),
      cmocka_unit_test(the_self_check_passes_here_and_notices_a_broken_function),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
