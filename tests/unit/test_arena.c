/* The arena: what is measured is what is carved, and memory that it is lent takes pieces as long as they fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/arena.h"

#define PIECES 5
static const uint64_t sizes[PIECES] = {300, 500, 64, 0, 1000};

static void carve(nk_arena *arena, uint8_t **pieces) {
  for (int i = 0; i < PIECES; i++) pieces[i] = nk_arena_take(arena, sizes[i], 1);
}

/* Where each piece went: into [memory, memory + bytes) or not. */
static bool lies_in(const uint8_t *piece, uint64_t size, const uint8_t *memory, uint64_t bytes) {
  return piece >= memory && piece + size <= memory + bytes;
}

static void check_lent(uint64_t bytes, uint64_t past) {
  nk_arena measure = nk_arena_measure(), arena;
  nk_error error = {0};
  uint8_t *pieces[PIECES], *block = malloc((size_t)(bytes + past)), *lent = block + past;
  nk_arena_lend(&measure, NULL, bytes);
  carve(&measure, pieces);
  for (int i = 0; i < PIECES; i++) assert_null(pieces[i]);
  assert_int_equal(nk_arena_allocate(&arena, measure.used, "a test", &error), NK_STATUS_OK);
  memset(block, 0xAA, (size_t)(bytes + past));
  nk_arena_lend(&arena, lent, bytes);
  carve(&arena, pieces);
  assert_true(nk_arena_ok(&arena));
  assert_int_equal(arena.used, measure.used);
  assert_int_equal(arena.lent_used, measure.lent_used);
  for (int i = 0; i < PIECES; i++) {
    assert_non_null(pieces[i]);
    assert_int_equal((uintptr_t)pieces[i] % NK_ARENA_ALIGN, 0);
    assert_true(lies_in(pieces[i], sizes[i], lent, bytes) || lies_in(pieces[i], sizes[i], arena.base, arena.size));
    for (uint64_t at = 0; at < sizes[i]; at++) assert_int_equal(pieces[i][at], 0);
    memset(pieces[i], i + 1, (size_t)sizes[i]);
  }
  for (int i = 0; i < PIECES; i++) /* none lies over another */
    for (uint64_t at = 0; at < sizes[i]; at++) assert_int_equal(pieces[i][at], i + 1);
  nk_arena_free(&arena);
  free(block);
}

static void lent_memory_takes_what_fits_wherever_it_begins(void **state) {
  (void)state;
  const uint64_t lent[] = {0, 1, 63, 64, 128, 400, 512, 700, 1024, 5000};
  for (size_t i = 0; i < sizeof lent / sizeof *lent; i++) {
    check_lent(lent[i], 0);
    check_lent(lent[i], 1);
    check_lent(lent[i], 37);
  }
}

static void lent_memory_is_used_before_the_arenas_own(void **state) {
  (void)state;
  nk_arena measure = nk_arena_measure();
  uint8_t *pieces[PIECES];
  nk_arena_lend(&measure, NULL, 5000);
  carve(&measure, pieces);
  assert_int_equal(measure.used, 0);
  assert_int_equal(measure.lent_used, 320 + 512 + 64 + 1024);
  measure = nk_arena_measure();
  nk_arena_lend(&measure, NULL, 500); /* 300 and 64 fit */
  carve(&measure, pieces);
  assert_int_equal(measure.used, 512 + 1024);
  assert_int_equal(measure.lent_used, 320 + 64);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lent_memory_takes_what_fits_wherever_it_begins),
      cmocka_unit_test(lent_memory_is_used_before_the_arenas_own),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
