/* test_train_order.c: permutations of an epoch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "train/order.h"

static void every_epoch_is_another_permutation_that_seed_and_number_fix(void **state) {
  (void)state;
  enum { N = 100, EPOCHS = 20 };
  static uint32_t orders[2][EPOCHS][N];
  for (uint32_t seed = 0; seed < 2; seed++) {
    for (uint32_t epoch = 0; epoch < EPOCHS; epoch++) {
      uint32_t *order = orders[seed][epoch], again[N];
      nk_order(order, NULL, N, seed, epoch, true);
      uint8_t seen[N] = {0};
      for (int i = 0; i < N; i++) {
        assert_true(order[i] < N && !seen[order[i]]);
        seen[order[i]] = 1;
      }
      nk_order(again, NULL, N, seed, epoch, true); /* stateless: alone, in any order */
      assert_memory_equal(order, again, sizeof again);
    }
  }
  for (uint32_t a = 0; a < 2 * EPOCHS; a++) {
    for (uint32_t b = 0; b < a; b++)
      assert_memory_not_equal(orders[a / EPOCHS][a % EPOCHS], orders[b / EPOCHS][b % EPOCHS], N * sizeof(uint32_t));
  }
}

static void an_order_stays_the_same_in_every_later_version(void **state) {
  (void)state;
  static const uint32_t wanted[8] = {3, 0, 2, 7, 5, 6, 1, 4};
  uint32_t order[8];
  nk_order(order, NULL, 8, 2024, 3, true);
  assert_memory_equal(order, wanted, sizeof wanted); /* a saved training goes on in it */
}

static void each_of_24_permutations_is_as_likely(void **state) {
  (void)state;
  uint32_t counts[256] = {0}, order[4];
  for (uint64_t epoch = 0; epoch < 24000; epoch++) {
    nk_order(order, NULL, 4, 5, epoch, true);
    counts[order[0] | order[1] << 2 | order[2] << 4 | order[3] << 6]++;
  }
  double chi = 0;
  int kinds = 0;
  for (int i = 0; i < 256; i++) {
    if (counts[i] == 0) continue;
    kinds++;
    chi += (counts[i] - 1000.0) * (counts[i] - 1000.0) / 1000.0;
  }
  assert_int_equal(kinds, 24);
  assert_true(fabs(chi - 23) < 5 * sqrt(46)); /* five deviations of χ² with 23 degrees of freedom */
}

static void without_shuffling_the_order_is_as_given(void **state) {
  (void)state;
  const uint32_t items[5] = {9, 4, 7, 1, 0};
  uint32_t order[5] = {0};
  nk_order(order, items, 5, 1, 2, false);
  assert_memory_equal(order, items, sizeof order);
  nk_order(order, NULL, 5, 1, 2, false);
  for (uint32_t i = 0; i < 5; i++) assert_int_equal(order[i], i);
  nk_order(order, items, 5, 1, 2, true);
  uint32_t sum = 0;
  for (int i = 0; i < 5; i++) sum += 1u << order[i];
  assert_int_equal(sum, 1u << 9 | 1u << 4 | 1u << 7 | 1u << 1 | 1u);
  nk_order(order, NULL, 0, 1, 2, true);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_epoch_is_another_permutation_that_seed_and_number_fix),
      cmocka_unit_test(an_order_stays_the_same_in_every_later_version),
      cmocka_unit_test(each_of_24_permutations_is_as_likely),
      cmocka_unit_test(without_shuffling_the_order_is_as_given),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
