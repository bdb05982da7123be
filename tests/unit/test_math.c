/* test_math.c: our exponential and logarithm against the host's, in units of the last place, and their exact bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "core/math.h"

static uint64_t next(uint64_t *seed) { return *seed = *seed * 6364136223846793005u + 1442695040888963407u; }

static double uniform(uint64_t *seed) { return (double)(next(seed) >> 11) * 0x1p-53; }

/* |x - wanted| in units of the last place of `wanted`, which has more bits. */
static double ulps(double x, long double wanted) {
  double w = (double)wanted;
  double unit = nextafter(fabs(w), INFINITY) - fabs(w);
  return (double)(fabsl((long double)x - wanted) / (long double)unit);
}

static void the_exponential_is_within_one_unit_of_the_last_place(void **state) {
  (void)state;
  uint64_t seed = 1;
  double worst = 0;
  for (int i = 0; i < 400000; i++) {
    double range = i % 4 == 0 ? 708 : i % 4 == 1 ? 30 : i % 4 == 2 ? 1 : 1e-6;
    double x = (2 * uniform(&seed) - 1) * range;
    double error = ulps(nk_exp_f64(x), expl((long double)x));
    if (error > worst) worst = error;
  }
  print_message("exp: %.3f ulp\n", worst);
  assert_true(worst < 1.0);
}

static void the_logarithm_is_within_one_unit_of_the_last_place(void **state) {
  (void)state;
  uint64_t seed = 2;
  double worst = 0;
  for (int i = 0; i < 400000; i++) {
    double x = i % 3 == 0 ? exp((2 * uniform(&seed) - 1) * 700) : i % 3 == 1 ? 0.5 + uniform(&seed) : uniform(&seed);
    if (x == 1.0 || x == 0.0) continue;
    double error = ulps(nk_log_f64(x), logl((long double)x));
    if (error > worst) worst = error;
  }
  print_message("log: %.3f ulp\n", worst);
  assert_true(worst < 1.0);
}

static void ends_of_the_ranges_are_exact(void **state) {
  (void)state;
  assert_true(nk_exp_f64(0.0) == 1.0);
  assert_true(nk_exp_f64(-0.0) == 1.0);
  assert_true(nk_exp_f64(1000) == INFINITY && nk_exp_f64(INFINITY) == INFINITY && nk_exp_f64(709.785) == INFINITY);
  assert_true(nk_exp_f64(-1000) == 0 && nk_exp_f64(-INFINITY) == 0);
  assert_true(isnan(nk_exp_f64(NAN)));
  assert_true(isfinite(nk_exp_f64(709.78)) && nk_exp_f64(709.78) > 1e308);
  for (double x = -745; x < -708; x += 0.37) { /* subnormal results: within one unit, which is 2^-1074 */
    assert_true(fabsl((long double)nk_exp_f64(x) - expl((long double)x)) <= 0x1p-1074L);
  }
  assert_true(nk_log_f64(1.0) == 0.0);
  assert_true(nk_log_f64(0.0) == -INFINITY && nk_log_f64(-0.0) == -INFINITY);
  assert_true(nk_log_f64(INFINITY) == INFINITY);
  assert_true(isnan(nk_log_f64(-1.0)) && isnan(nk_log_f64(NAN)) && isnan(nk_log_f64(-INFINITY)));
  assert_true(ulps(nk_log_f64(0x1p-1074), logl(0x1p-1074L)) < 1);
  assert_true(ulps(nk_log_f64(0x1.fffffffffffffp1023), logl(0x1.fffffffffffffp1023L)) < 1);
}

/* One number over many results: a build that rounds otherwise anywhere (contracted, x87, fast-math) has another one. */
static void the_bits_are_the_same_in_every_build(void **state) {
  (void)state;
  uint64_t seed = 3, sum = 0;
  for (int i = 0; i < 100000; i++) {
    double values[2] = {nk_exp_f64((2 * uniform(&seed) - 1) * 40), nk_log_f64(uniform(&seed) * 1000)};
    for (int j = 0; j < 2; j++) {
      uint64_t bits;
      memcpy(&bits, &values[j], sizeof bits);
      sum = (sum ^ bits) * 0x100000001b3u;
    }
  }
  if (sum != 0xa69a5c4e6ce9672bu) fail_msg("the bits have changed: 0x%llx", (unsigned long long)sum);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_exponential_is_within_one_unit_of_the_last_place),
      cmocka_unit_test(the_logarithm_is_within_one_unit_of_the_last_place),
      cmocka_unit_test(ends_of_the_ranges_are_exact),
      cmocka_unit_test(the_bits_are_the_same_in_every_build),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
