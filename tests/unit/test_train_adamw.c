/* test_train_adamw.c: the optimizer and the schedules against PyTorch and transformers, and to the bit against numpy. */
#include "engine_fixture.h"

#include <float.h>
#include <math.h>

#include "train/adamw.h"
#include "train/schedule.h"

enum { N = 43, STEPS = 12 };

static const struct {
  const char *name;
  nk_adamw_options options;
  double clip;
} cases[] = {
    {"usual", {0.9, 0.999, 1e-8, 0.01}, 1.0},
    {"no_decay", {0.9, 0.999, 1e-8, 0.0}, 0.0},
    {"other", {0.8, 0.95, 1e-5, 0.3}, 0.2},
};

static const void *get(const bundle *b, const char *folder, const char *key, size_t bytes, size_t wanted) {
  char name[64];
  size_t n;
  (void)snprintf(name, sizeof name, "%s/%s", folder, key);
  const void *found = bundle_get(b, name, bytes, &n);
  assert_int_equal(n, wanted);
  return found;
}

/* PyTorch's fused products, and its float32 norm in the clipping, move the last bits of twelve steps. */
static void near(const float *ours, const float *wanted) {
  float largest = 0;
  for (int i = 0; i < N; i++) largest = fabsf(wanted[i]) > largest ? fabsf(wanted[i]) : largest;
  for (int i = 0; i < N; i++) assert_true(fabsf(ours[i] - wanted[i]) <= 1e-6f * largest);
}

static void its_steps_are_those_of_pytorch_and_to_the_bit_those_of_the_formulas(void **state) {
  (void)state;
  bundle b = bundle_open("tests/fixtures/training/adamw");
  for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
    const char *name = cases[c].name;
    const float *gradients = get(&b, name, "gradient", 4, (size_t)STEPS * N);
    const double *rates = get(&b, name, "lr", 8, STEPS), *norms = get(&b, name, "norm", 8, STEPS);
    float values[N], gradient[N], m[N] = {0}, v[N] = {0};
    memcpy(values, get(&b, name, "init", 4, N), sizeof values);
    for (int t = 0; t < STEPS; t++) {
      memcpy(gradient, gradients + t * N, sizeof gradient);
      double norm = nk_gradient_norm(gradient, N);
      assert_true(fabs(norm - norms[t]) <= 1e-14 * norms[t]);
      nk_gradient_scale(gradient, N, nk_clip_factor(norms[t], cases[c].clip));
      nk_adamw_factors factors = nk_adamw_factors_at(&cases[c].options, rates[t], (uint64_t)t + 1);
      /* Any split of the arrays gives the same: the last steps are made of three ranges. */
      uint64_t cuts[] = {0, t < 6 ? N : 1, t < 6 ? N : 20, N};
      for (int i = 0; i < 3; i++)
        nk_adamw_step(&factors, values + cuts[i], gradient + cuts[i], m + cuts[i], v + cuts[i], cuts[i + 1] - cuts[i]);
    }
    assert_memory_equal(values, get(&b, name, "exact/values", 4, N), sizeof values);
    assert_memory_equal(m, get(&b, name, "exact/m", 4, N), sizeof m);
    assert_memory_equal(v, get(&b, name, "exact/v", 4, N), sizeof v);
    near(values, get(&b, name, "values", 4, N));
    near(m, get(&b, name, "m", 4, N));
    near(v, get(&b, name, "v", 4, N));
  }
  bundle_close(&b);
}

/* For the first step the corrections undo the moments: each value moves by lr, however large its gradient. */
static void the_first_step_moves_each_value_by_the_learning_rate(void **state) {
  (void)state;
  nk_adamw_options options = nk_adamw_defaults();
  nk_adamw_factors factors = nk_adamw_factors_at(&options, 0.125, 1);
  float values[4] = {0}, m[4] = {0}, v[4] = {0};
  const float gradient[4] = {1e-3f, -1e6f, 0.0f, 1.0f};
  nk_adamw_step(&factors, values, gradient, m, v, 4);
  const double wanted[4] = {-0.125, 0.125, 0, -0.125};
  for (int i = 0; i < 4; i++) assert_true(fabs((double)values[i] - wanted[i]) <= 2e-6);
  assert_true(values[2] == 0.0f); /* no gradient, no move */
}

static void without_a_learning_rate_only_the_moments_move(void **state) {
  (void)state;
  nk_adamw_options options = nk_adamw_defaults();
  options.weight_decay = 0.5;
  nk_adamw_factors factors = nk_adamw_factors_at(&options, 0, 3);
  float value = 1.25f, m = 0, v = 0;
  const float gradient = 2;
  nk_adamw_step(&factors, &value, &gradient, &m, &v, 1);
  assert_true(value == 1.25f && m > 0 && v > 0);
}

static void a_valley_is_walked_down_to_its_bottom(void **state) {
  (void)state;
  nk_adamw_options options = nk_adamw_defaults();
  float x[2] = {3, -2}, m[2] = {0}, v[2] = {0};
  nk_schedule schedule = {NK_SCHEDULE_COSINE, 0.1, 10, 400};
  for (uint64_t t = 0; t < 400; t++) { /* (x - 1)² + 100 (y - 2)² */
    const float gradient[2] = {2 * (x[0] - 1), 200 * (x[1] - 2)};
    nk_adamw_factors factors = nk_adamw_factors_at(&options, nk_schedule_rate(&schedule, t), t + 1);
    nk_adamw_step(&factors, x, gradient, m, v, 2);
  }
  assert_true(fabsf(x[0] - 1) < 1e-2f && fabsf(x[1] - 2) < 1e-2f);
}

static void powers_are_near_those_of_the_host_up_to_long_trainings(void **state) {
  (void)state;
  static const double bases[] = {0.0, 0.5, 0.9, 0.999, 0.9999};
  for (size_t b = 0; b < sizeof bases / sizeof bases[0]; b++) {
    for (uint64_t t = 0; t < 40000; t = t < 100 ? t + 1 : t * 3 / 2) {
      double wanted = pow(bases[b], (double)t);
      assert_true(fabs(nk_power(bases[b], t) - wanted) <= 1e-11 * wanted + DBL_MIN);
    }
  }
  assert_true(nk_power(0.9, UINT64_MAX) == 0 && nk_power(1, UINT64_MAX) == 1);
}

static void the_norm_neither_overflows_nor_forgets_an_element(void **state) {
  (void)state;
  float large[100];
  for (int i = 0; i < 100; i++) large[i] = FLT_MAX;
  assert_true(fabs(nk_gradient_norm(large, 100) / (10.0 * (double)FLT_MAX) - 1) < 1e-15);
  for (uint64_t n = 0; n <= 33; n++) {
    for (uint64_t at = 0; at < n; at++) {
      float one[33] = {0};
      one[at] = -2;
      assert_true(nk_gradient_norm(one, n) == 2);
      one[at] = NAN;
      assert_true(isnan(nk_gradient_norm(one, n)));
      one[at] = INFINITY;
      assert_true(isinf(nk_gradient_norm(one, n)));
    }
  }
  assert_true(nk_gradient_norm(NULL, 0) == 0);
}

static void clipping_only_shortens(void **state) {
  (void)state;
  assert_true(nk_clip_factor(0.5, 1) == 1 && nk_clip_factor(0, 1) == 1 && nk_clip_factor(1e30, 0) == 1);
  assert_true(nk_clip_factor(4, 1) == 1 / (4 + 1e-6));
  assert_true(nk_clip_factor(1, 1) == 1 / (1 + 1e-6)); /* PyTorch's too: at the very limit a hair less than 1 */
  float gradient[3] = {1.1f, -3, 0x1p-149f};
  nk_gradient_scale(gradient, 3, 1);
  assert_true(gradient[0] == 1.1f && gradient[1] == -3 && gradient[2] == 0x1p-149f);
}

/* ---- Schedules ----------------------------------------------------------------------------------------------------- */

static void after_the_warm_up_the_rates_are_those_of_transformers(void **state) {
  (void)state;
  bundle b = bundle_open("tests/fixtures/training/schedule");
  static const char *const kinds[NK_SCHEDULE_COUNT] = {"constant", "linear", "cosine"};
  static const uint64_t spans[][2] = {{0, 1}, {0, 7}, {4, 24}, {10, 100}, {5, 5}, {9, 4}};
  int compared = 0;
  for (int kind = 0; kind < NK_SCHEDULE_COUNT; kind++) {
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
      nk_schedule schedule = {(nk_schedule_kind)kind, 0.5, spans[i][0], spans[i][1]};
      char key[32];
      (void)snprintf(key, sizeof key, "%d/%d", (int)spans[i][0], (int)spans[i][1]);
      const double *factors = get(&b, kinds[kind], key, 8, (size_t)spans[i][1] + 2);
      for (uint64_t t = spans[i][0]; t < spans[i][1] + 2; t++, compared++) {
        if (t >= spans[i][1] && kind != NK_SCHEDULE_CONSTANT) {
          assert_true(nk_schedule_rate(&schedule, t) == 0); /* transformers' cosine rises again; ours has ended */
        } else {
          assert_true(fabs(nk_schedule_rate(&schedule, t) - 0.5 * factors[t]) <= 1e-15);
        }
      }
    }
  }
  assert_true(compared > 300);
  bundle_close(&b);
}

static void the_warm_up_begins_above_0_and_ends_at_the_whole_rate(void **state) {
  (void)state;
  for (int kind = 0; kind < NK_SCHEDULE_COUNT; kind++) {
    nk_schedule schedule = {(nk_schedule_kind)kind, 0.25, 4, 24};
    for (uint64_t t = 0; t < 4; t++) assert_true(nk_schedule_rate(&schedule, t) == 0.25 * (double)(t + 1) / 4);
    assert_true(nk_schedule_rate(&schedule, 4) == 0.25);
    schedule.warmup = 0;
    assert_true(nk_schedule_rate(&schedule, 0) == 0.25);
    for (uint64_t t = 0; t < 24; t++) assert_true(nk_schedule_rate(&schedule, t) > 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(its_steps_are_those_of_pytorch_and_to_the_bit_those_of_the_formulas),
      cmocka_unit_test(the_first_step_moves_each_value_by_the_learning_rate),
      cmocka_unit_test(without_a_learning_rate_only_the_moments_move),
      cmocka_unit_test(a_valley_is_walked_down_to_its_bottom),
      cmocka_unit_test(powers_are_near_those_of_the_host_up_to_long_trainings),
      cmocka_unit_test(the_norm_neither_overflows_nor_forgets_an_element),
      cmocka_unit_test(clipping_only_shortens),
      cmocka_unit_test(after_the_warm_up_the_rates_are_those_of_transformers),
      cmocka_unit_test(the_warm_up_begins_above_0_and_ends_at_the_whole_rate),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
