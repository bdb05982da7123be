/* test_random.c: the generator's published numbers, its streams, and the shapes of what is drawn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "core/random.h"

static void the_generator_gives_its_authors_numbers(void **state) {
  (void)state;
  static const uint32_t wanted[] = {0xa15c02b7, 0x7b47f409, 0xba1d3330, 0x83d2f293, 0xbfa4784b, 0xcbed606e};
  nk_random random = nk_random_seed(42);
  for (int i = 0; i < 6; i++) assert_int_equal(nk_random_u32(&random), wanted[i]);
  nk_random a = nk_random_seed(7), b = nk_random_seed(7), c = nk_random_seed(7 + (1ull << 40));
  double sum = 0;
  int same = 0;
  for (int i = 0; i < 10000; i++) {
    double x = nk_random_f64(&a);
    assert_true(x == nk_random_f64(&b));
    same += x == nk_random_f64(&c);
    assert_true(x >= 0 && x < 1);
    sum += x;
  }
  assert_int_equal(same, 0); /* all 64 bits of the seed count */
  assert_true(fabs(sum / 10000 - 0.5) < 0.01);
}

static void streams_of_near_seeds_and_numbers_have_nothing_in_common(void **state) {
  (void)state;
  enum { SEEDS = 40, STREAMS = 40 };
  static uint64_t starts[SEEDS * STREAMS];
  uint64_t ones = 0, compared = 0;
  for (uint64_t seed = 0; seed < SEEDS; seed++) {
    for (uint64_t stream = 0; stream < STREAMS; stream++) {
      nk_random random = nk_random_stream(seed, stream), next = nk_random_stream(seed, stream + 1);
      starts[seed * STREAMS + stream] = random.state;
      for (int i = 0; i < 8; i++, compared += 32)
        ones += (uint64_t)__builtin_popcount(nk_random_u32(&random) ^ nk_random_u32(&next));
    }
  }
  for (size_t i = 0; i < SEEDS * STREAMS; i++) {
    for (size_t j = 0; j < i; j++) assert_true(starts[i] != starts[j]);
  }
  assert_true(fabs((double)ones / (double)compared - 0.5) < 0.005); /* 409,600 bits: five deviations are 0.004 */
  nk_random high = nk_random_stream(1, 1ull << 63), low = nk_random_stream(1, 0);
  assert_true(high.state != low.state);
}

/* χ² over every value; the bounds are the mean of the distribution and five of its deviations, √(2 df). */
static void a_number_below_n_is_each_as_often(void **state) {
  (void)state;
  static const uint32_t ns[] = {1, 2, 3, 7, 10, 64, 1000};
  nk_random random = nk_random_seed(11);
  for (size_t k = 0; k < sizeof ns / sizeof ns[0]; k++) {
    uint32_t counts[1000] = {0}, n = ns[k], draws = 200 * n + 20000;
    for (uint32_t i = 0; i < draws; i++) {
      uint32_t x = nk_random_below(&random, n);
      assert_true(x < n);
      counts[x]++;
    }
    double expected = (double)draws / n, chi = 0;
    for (uint32_t i = 0; i < n; i++) chi += (counts[i] - expected) * (counts[i] - expected) / expected;
    assert_true(fabs(chi - (n - 1.0)) <= 5 * sqrt(2 * (n - 1.0)));
  }
  /* Just above 2^31 a plain remainder, or a product without drawing again, favours some values by a factor of two. */
  uint32_t n = 0xc0000000u, thirds[3] = {0};
  for (int i = 0; i < 30000; i++) thirds[nk_random_below(&random, n) % 3]++;
  for (int i = 0; i < 3; i++) assert_true(fabs(thirds[i] - 10000.0) < 5 * sqrt(30000 * 2 / 9.0));
}

static void normal_numbers_have_the_moments_of_the_distribution(void **state) {
  (void)state;
  const int N = 200000;
  nk_random random = nk_random_seed(12);
  double sum = 0, squares = 0, cubes = 0, fourths = 0;
  int beyond = 0;
  for (int i = 0; i < N; i++) {
    double x = nk_random_normal(&random);
    assert_true(isfinite(x) && fabs(x) < 9);
    sum += x, squares += x * x, cubes += x * x * x, fourths += x * x * x * x;
    beyond += fabs(x) > 1.959963985;
  }
  double unit = 5 / sqrt((double)N); /* five deviations of a mean of numbers of variance 1 */
  assert_true(fabs(sum / N) < unit);
  assert_true(fabs(squares / N - 1) < unit * sqrt(2));
  assert_true(fabs(cubes / N) < unit * sqrt(15));
  assert_true(fabs(fourths / N - 3) < unit * sqrt(96));
  assert_true(fabs((double)beyond / N - 0.05) < unit * sqrt(0.05 * 0.95));
}

/* One number over many draws: what a seed gave once, it gives in every later version and on every host. */
static void a_seed_fixes_the_numbers_for_good(void **state) {
  (void)state;
  uint64_t sum = 0;
  for (uint64_t stream = 0; stream < 100; stream++) {
    nk_random random = nk_random_stream(2024, stream);
    for (uint32_t i = 0; i < 100; i++) {
      double normal = nk_random_normal(&random);
      uint64_t bits;
      memcpy(&bits, &normal, sizeof bits);
      sum = (sum ^ bits) * 0x100000001b3u;
      sum = (sum ^ nk_random_below(&random, 3 * i + 1)) * 0x100000001b3u;
    }
  }
  assert_true(sum == 0xa1c76677a70fe5ceu);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_generator_gives_its_authors_numbers),
      cmocka_unit_test(streams_of_near_seeds_and_numbers_have_nothing_in_common),
      cmocka_unit_test(a_number_below_n_is_each_as_often),
      cmocka_unit_test(normal_numbers_have_the_moments_of_the_distribution),
      cmocka_unit_test(a_seed_fixes_the_numbers_for_good),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
