/*
 * test_train_examples.c: the store of examples, its counts, its hash, the held-out split; packing into rows.
 *
 * The store's source is compiled here a second time, with an allocator that fails on demand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/examples.h"
#include "train/order.h"
#include "train/pack.h"

static size_t allowed = SIZE_MAX, asked; /* allocations that succeed before one fails */
static void *failing_realloc(void *memory, size_t bytes) { return asked++ == allowed ? NULL : realloc(memory, bytes); }

#define nk_examples_init failing_init
#define nk_examples_free failing_free
#define nk_examples_add failing_add
#define nk_examples_at failing_at
#define nk_examples_check failing_check
#define nk_examples_hash failing_hash
#define nk_examples_split failing_split
#define realloc failing_realloc
#include "train/examples.c"
#undef nk_examples_init
#undef nk_examples_free
#undef nk_examples_add
#undef nk_examples_at
#undef nk_examples_check
#undef nk_examples_hash
#undef nk_examples_split
#undef realloc

enum { VOCAB = 50, CONTEXT = 12, NONE = NK_LABEL_NONE };

static void add(nk_examples *e, const int32_t *ids, const int32_t *labels, uint32_t n) {
  nk_error error = {0};
  if (nk_examples_add(e, ids, labels, n, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
}

/* `n` examples of 2 to CONTEXT tokens; ids tell the example and the place: id = (7 · example + place) mod VOCAB. */
static void fill(nk_examples *e, uint32_t n, uint64_t seed) {
  nk_random random = nk_random_seed(seed);
  for (uint32_t i = 0; i < n; i++) {
    int32_t ids[CONTEXT], labels[CONTEXT];
    uint32_t length = 2 + nk_random_below(&random, CONTEXT - 1);
    for (uint32_t p = 0; p < length; p++) {
      ids[p] = (int32_t)((7 * i + p) % VOCAB);
      labels[p] = p + 1 == length || nk_random_below(&random, 2) ? ids[p] : NONE;
    }
    add(e, ids, labels, length);
  }
}

static void assert_counts(const nk_example_counts *counts, const nk_example_counts *wanted) {
  assert_int_equal(counts->given, wanted->given);
  assert_int_equal(counts->cut, wanted->cut);
  assert_int_equal(counts->unscored, wanted->unscored);
  assert_int_equal(counts->tokens, wanted->tokens);
  assert_int_equal(counts->scored, wanted->scored);
  assert_int_equal(counts->longest, wanted->longest);
}

static void examples_are_kept_as_they_came_and_counted(void **state) {
  (void)state;
  nk_examples e;
  nk_examples_init(&e, VOCAB, CONTEXT);
  const int32_t a[] = {1, 2, 3, 4}, a_labels[] = {1, NONE, 3, 9}; /* a label need not be its token */
  const int32_t b[] = {5, 6}, b_labels[] = {NONE, 6};
  add(&e, a, a_labels, 4);
  add(&e, b, b_labels, 2);
  assert_int_equal(e.n, 2);
  nk_example one = nk_examples_at(&e, 0), two = nk_examples_at(&e, 1);
  assert_int_equal(one.n, 4);
  assert_memory_equal(one.ids, a, sizeof a);
  assert_memory_equal(one.labels, a_labels, sizeof a_labels);
  assert_int_equal(one.scored, 2);
  assert_int_equal(two.n, 2);
  assert_memory_equal(two.ids, b, sizeof b);
  assert_int_equal(two.scored, 1);
  const nk_example_counts wanted = {.given = 2, .tokens = 6, .scored = 3, .longest = 4};
  assert_counts(&e.counts, &wanted);
  nk_examples_free(&e);
  assert_int_equal(e.n + e.counts.given, 0);
  add(&e, a, a_labels, 4); /* an emptied store may be filled again */
  assert_int_equal(e.n, 1);
  nk_examples_free(&e);
}

static void what_does_not_fit_is_cut_at_its_end_and_what_scores_nothing_is_told(void **state) {
  (void)state;
  nk_examples e;
  nk_examples_init(&e, VOCAB, 3);
  nk_error error = {0};
  assert_int_equal(nk_examples_check(&e, &error), NK_STATUS_DATA);
  assert_string_equal(error.text, "there are no examples");
  const int32_t ids[] = {1, 2, 3, 4, 5};
  add(&e, ids, (const int32_t[]){NONE, NONE, NONE, 4, 5}, 5);    /* its answer is cut off */
  add(&e, ids, (const int32_t[]){1, NONE, NONE}, 3);             /* only a label that nothing stands before */
  add(&e, ids, ids, 1);
  add(&e, ids, ids, 0);
  assert_int_equal(nk_examples_check(&e, &error), NK_STATUS_DATA);
  assert_string_equal(error.text,
                      "none of the 4 examples has anything to score (1 of them were cut to the context of 3 tokens)");
  assert_true(error.hint[0] != '\0');
  add(&e, ids, (const int32_t[]){NONE, NONE, 3, 4, NONE}, 5);
  assert_int_equal(nk_examples_check(&e, &error), NK_STATUS_OK);
  const nk_example_counts wanted = {.given = 5, .cut = 2, .unscored = 4, .tokens = 3, .scored = 1, .longest = 3};
  assert_counts(&e.counts, &wanted);
  assert_memory_equal(nk_examples_at(&e, 0).ids, ids, 3 * sizeof *ids);
  nk_examples_free(&e);
}

static void ids_and_labels_outside_the_vocabulary_are_named_and_change_nothing(void **state) {
  (void)state;
  nk_examples e;
  nk_examples_init(&e, VOCAB, CONTEXT);
  fill(&e, 3, 1);
  uint8_t before[32], after[32];
  nk_examples_hash(&e, before);
  nk_example_counts counts = e.counts;
  static const struct {
    int32_t ids[3], labels[3];
    const char *text;
  } faults[] = {
      {{1, 50, 2}, {NONE, NONE, 2}, "example 4 has the id 50 at position 1; allowed are 0 to 49"},
      {{1, 2, -1}, {NONE, NONE, 2}, "example 4 has the id -1 at position 2; allowed are 0 to 49"},
      {{1, 2, INT32_MIN}, {1, 2, 3}, "example 4 has the id -2147483648 at position 2; allowed are 0 to 49"},
      {{1, 2, 3},
       {50, NONE, 3},
       "example 4 has the label 50 at position 0; allowed are 0 to 49, and -100 where nothing is scored"},
      {{1, 2, 3},
       {NONE, NONE, -99},
       "example 4 has the label -99 at position 2; allowed are 0 to 49, and -100 where nothing is scored"},
  };
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
    nk_error error = {0};
    assert_int_equal(nk_examples_add(&e, faults[i].ids, faults[i].labels, 3, &error), NK_STATUS_DATA);
    assert_string_equal(error.text, faults[i].text);
  }
  /* Also beyond the cut: the file is broken all the same. */
  int32_t ids[CONTEXT + 1] = {0}, labels[CONTEXT + 1] = {0};
  ids[CONTEXT] = VOCAB;
  assert_int_equal(nk_examples_add(&e, ids, labels, CONTEXT + 1, NULL), NK_STATUS_DATA);
  nk_examples_hash(&e, after);
  assert_memory_equal(before, after, 32);
  assert_counts(&e.counts, &counts);
  nk_examples_free(&e);
}

static void the_hash_tells_every_token_label_border_and_order_apart(void **state) {
  (void)state;
  static const struct {
    uint32_t lengths[3];
    int32_t ids[4], labels[4];
  } sets[] = {
      {{4}, {1, 2, 3, 4}, {1, 2, 3, 4}}, {{2, 2}, {1, 2, 3, 4}, {1, 2, 3, 4}},    {{4}, {1, 2, 3, 5}, {1, 2, 3, 4}},
      {{4}, {1, 2, 3, 4}, {1, 2, 3, 5}}, {{4}, {1, 2, 3, 4}, {NONE, 2, 3, 4}},    {{2, 2}, {3, 4, 1, 2}, {3, 4, 1, 2}},
      {{2}, {1, 2}, {1, 2}},             {{4}, {1, 2, 3, 4}, {1, 2, NONE, 4}},    {{3}, {1, 2, 3}, {1, 2, 3}},
      {{4}, {2, 1, 3, 4}, {1, 2, 3, 4}}, {{4}, {1, 2, 3, 4}, {1, NONE, 3, NONE}},
  };
  enum { SETS = sizeof sets / sizeof sets[0] };
  uint8_t digests[SETS][32];
  for (size_t i = 0; i < SETS; i++) {
    nk_examples e;
    nk_examples_init(&e, VOCAB, CONTEXT);
    for (uint32_t at = 0, k = 0; sets[i].lengths[k] > 0; at += sets[i].lengths[k++])
      add(&e, sets[i].ids + at, sets[i].labels + at, sets[i].lengths[k]);
    nk_examples_hash(&e, digests[i]);
    for (size_t j = 0; j < i; j++) assert_memory_not_equal(digests[i], digests[j], 32);
    nk_examples_free(&e);
  }
  /* The definition, so that a hash in a saved file keeps its meaning: 2, then ids 66051 2, then labels -100 2. */
  static const uint8_t bytes[] = {2, 0, 0, 0, 3, 2, 1, 0, 2, 0, 0, 0, 0x9c, 0xff, 0xff, 0xff, 2, 0, 0, 0};
  nk_sha256 hash;
  uint8_t wanted[32], digest[32];
  nk_sha256_init(&hash);
  nk_sha256_update(&hash, bytes, sizeof bytes);
  nk_sha256_final(&hash, wanted);
  nk_examples e;
  nk_examples_init(&e, 70000, CONTEXT);
  add(&e, (const int32_t[]){66051, 2}, (const int32_t[]){NONE, 2}, 2);
  nk_examples_hash(&e, digest);
  assert_memory_equal(digest, wanted, 32);
  nk_examples_free(&e);
  /* More than one piece of the words at a time. */
  int32_t long_ids[200];
  for (int32_t i = 0; i < 200; i++) long_ids[i] = i % VOCAB;
  uint8_t longs[2][32];
  for (int k = 0; k < 2; k++) {
    nk_examples_init(&e, VOCAB, 200);
    long_ids[130] = k;
    add(&e, long_ids, long_ids, 200);
    nk_examples_hash(&e, longs[k]);
    nk_examples_free(&e);
  }
  assert_memory_not_equal(longs[0], longs[1], 32);
}

/* Every way to meet the end of the room that there is. */
static void a_store_grows_with_its_examples(void **state) {
  (void)state;
  for (uint32_t first = 2; first < 8; first++) {
    nk_examples e;
    nk_examples_init(&e, VOCAB, CONTEXT);
    int32_t ids[8] = {0};
    for (uint32_t i = 0; i < 3000; i++) {
      ids[0] = (int32_t)(i % VOCAB);
      add(&e, ids, ids, i == 0 ? first : 2 + i / 1000);
    }
    for (uint32_t i = 0; i < 3000; i++) {
      nk_example one = nk_examples_at(&e, i);
      assert_int_equal(one.n, i == 0 ? first : 2 + i / 1000);
      assert_true(one.ids[0] == (int32_t)(i % VOCAB) && one.scored == one.n - 1);
    }
    nk_examples_free(&e);
  }
}

static void memory_that_runs_out_is_an_error_and_the_store_goes_on(void **state) {
  (void)state;
  static int32_t ids[300], labels[300];
  for (size_t fault = 0; fault < 200; fault++) {
    nk_examples e;
    failing_init(&e, VOCAB, 300);
    allowed = fault;
    asked = 0;
    uint32_t failures = 0;
    for (int32_t i = 0; i < 100; i++) {
      ids[0] = i % VOCAB;
      nk_error error = {0};
      nk_status status = failing_add(&e, ids, labels, 100 + (uint32_t)i, &error);
      if (status == NK_STATUS_OK) continue;
      failures++;
      assert_int_equal(status, NK_STATUS_MEMORY);
      assert_true(error.text[0] != '\0');
      assert_int_equal(failing_add(&e, ids, labels, 100 + (uint32_t)i, NULL), NK_STATUS_OK); /* there is memory again */
    }
    size_t total = asked;
    allowed = SIZE_MAX;
    assert_int_equal(e.n, 100);
    for (uint32_t i = 0; i < 100; i++) {
      nk_example one = failing_at(&e, i);
      assert_int_equal(one.n, 100 + i);
      assert_int_equal(one.ids[0], i % VOCAB);
      assert_int_equal(one.scored, 99 + i);
    }
    failing_free(&e);
    assert_int_equal(failures, fault < total);
    if (failures == 0) {
      assert_true(fault > 10);
      return;
    }
  }
  fail_msg("the store never came to the end of its allocations");
}

static void the_held_out_part_is_drawn_by_the_seed_or_the_last(void **state) {
  (void)state;
  nk_examples e;
  nk_examples_init(&e, VOCAB, CONTEXT);
  fill(&e, 20, 2);
  uint32_t items[20], again[20], drawn[20] = {0};
  nk_error error = {0};
  assert_int_equal(nk_examples_split(&e, 6, false, 1, items, &error), NK_STATUS_OK);
  for (uint32_t i = 0; i < 20; i++) assert_int_equal(items[i], i);
  for (uint64_t seed = 0; seed < 2000; seed++) {
    assert_int_equal(nk_examples_split(&e, 6, true, seed, items, &error), NK_STATUS_OK);
    assert_int_equal(nk_examples_split(&e, 6, true, seed, again, &error), NK_STATUS_OK);
    assert_memory_equal(items, again, sizeof items);
    uint32_t seen = 0;
    for (uint32_t i = 0; i < 20; i++) {
      assert_true(i == 0 || i == 14 || items[i] > items[i - 1]); /* each part ascends */
      seen |= 1u << items[i];
    }
    assert_int_equal(seen, (1u << 20) - 1);
    for (uint32_t i = 14; i < 20; i++) drawn[items[i]]++;
  }
  /* Each is held out in 0.3 of the draws: 600, with a deviation of √(2000 · 0.3 · 0.7) = 20.5. */
  for (uint32_t i = 0; i < 20; i++) assert_true(fabs(drawn[i] - 600.0) < 5 * 20.5);
  static const uint32_t pinned[] = {0, 1, 9, 10, 14, 16}; /* in every later version: a saved training depends on it */
  assert_int_equal(nk_examples_split(&e, 6, true, 2024, items, &error), NK_STATUS_OK);
  assert_memory_equal(items + 14, pinned, sizeof pinned);
  assert_int_equal(nk_examples_split(&e, 0, true, 1, items, &error), NK_STATUS_OK);
  for (uint32_t i = 0; i < 20; i++) assert_int_equal(items[i], i);
  assert_int_equal(nk_examples_split(&e, 20, true, 1, items, &error), NK_STATUS_DATA);
  assert_string_equal(error.text, "20 of 20 examples are to be held out, which leaves none to learn from");
  nk_examples_free(&e);
}

/* ---- Packing ------------------------------------------------------------------------------------------------------- */

/* A pack with memory of its own, in exactly the size that was measured. */
static nk_arena make_pack(nk_pack *pack, uint32_t room, uint32_t n_virtual, uint32_t max_batch) {
  nk_arena measure = nk_arena_measure(), arena;
  nk_pack_carve(pack, &measure, room, n_virtual, max_batch);
  assert_int_equal(nk_arena_allocate(&arena, measure.used, "the pack", NULL), NK_STATUS_OK);
  nk_pack_carve(pack, &arena, room, n_virtual, max_batch);
  assert_true(nk_arena_ok(&arena));
  return arena;
}

static void first_fit_fills_rows_in_order(void **state) {
  (void)state;
  nk_examples e;
  nk_examples_init(&e, VOCAB, CONTEXT);
  const int32_t ids[] = {10, 11, 12, 13, 14, 15}, labels[] = {10, NONE, NONE, 13, 14, 15};
  static const uint32_t lengths[] = {6, 4, 5, 4}; /* of a room of 10: rows {6, 4}, {5, 4} */
  for (int i = 0; i < 4; i++) add(&e, ids, labels, lengths[i]);
  nk_pack pack;
  nk_arena arena = make_pack(&pack, 10, 0, 4);
  const uint32_t batch[] = {0, 1, 2, 3}, other[] = {2, 0, 1};
  assert_int_equal(nk_pack_batch(&pack, &e, batch, 4, NULL), NK_STATUS_OK);
  assert_int_equal(pack.n_rows, 2);
  nk_pack_row row = nk_pack_row_at(&pack, 0);
  assert_int_equal(row.n, 10);
  assert_int_equal(row.scored, 4);
  const int32_t wanted_ids[] = {10, 11, 12, 13, 14, 15, 10, 11, 12, 13};
  const int32_t wanted_labels[] = {NONE, NONE, NONE, 13, 14, 15, NONE, NONE, NONE, 13};
  const uint32_t wanted_starts[] = {0, 0, 0, 0, 0, 0, 6, 6, 6, 6};
  assert_memory_equal(row.ids, wanted_ids, sizeof wanted_ids);
  assert_memory_equal(row.labels, wanted_labels, sizeof wanted_labels);
  assert_memory_equal(row.starts, wanted_starts, sizeof wanted_starts);
  assert_int_equal(nk_pack_row_at(&pack, 1).n, 9);
  assert_int_equal(pack.tokens, 19);
  assert_int_equal(pack.scored, 7);
  assert_true(nk_pack_efficiency(&pack) == 0.95);
  assert_int_equal(nk_pack_batch(&pack, &e, other, 3, NULL), NK_STATUS_OK); /* 5, 6, 4: rows {5, 4}, {6} */
  assert_int_equal(pack.n_rows, 2);
  assert_int_equal(nk_pack_row_at(&pack, 0).n, 9);
  assert_int_equal(nk_pack_row_at(&pack, 1).n, 6);
  assert_int_equal(nk_pack_row_at(&pack, 0).scored, 3);
  assert_int_equal(nk_pack_row_at(&pack, 1).scored, 3);
  assert_int_equal(pack.scored, 6);
  assert_int_equal(nk_pack_batch(&pack, &e, batch, 0, NULL), NK_STATUS_OK);
  assert_true(pack.n_rows == 0 && nk_pack_efficiency(&pack) == 0);
  nk_error error = {0};
  assert_int_equal(nk_pack_batch(&pack, &e, (const uint32_t[]){0, 0, 0, 0, 0}, 5, &error), NK_STATUS_INTERNAL);
  nk_arena_free(&arena);
  arena = make_pack(&pack, 5, 0, 4);
  assert_int_equal(nk_pack_batch(&pack, &e, batch, 1, &error), NK_STATUS_INTERNAL);
  assert_string_equal(error.text, "an example of 6 tokens does not fit a row of 5");
  nk_arena_free(&arena);
  nk_examples_free(&e);
}

/* Whatever the room and the virtual tokens: each example stands whole in one row, once, after its virtual ids. */
static void every_example_of_a_batch_stands_whole_in_one_row(void **state) {
  (void)state;
  enum { N = 60, BATCH = 16 };
  nk_examples e;
  nk_examples_init(&e, VOCAB, CONTEXT);
  fill(&e, N, 3);
  nk_random random = nk_random_seed(4);
  for (uint32_t round = 0; round < 200; round++) {
    uint32_t n_virtual = round % 4 == 0 ? 0 : nk_random_below(&random, 6);
    uint32_t room = n_virtual + CONTEXT + nk_random_below(&random, 40), n = nk_random_below(&random, BATCH + 1);
    uint32_t batch[N];
    nk_order(batch, NULL, N, 7, round, true);
    nk_pack pack;
    nk_arena arena = make_pack(&pack, room, n_virtual, BATCH);
    assert_int_equal(nk_pack_batch(&pack, &e, batch, n, NULL), NK_STATUS_OK);
    bool found[BATCH] = {false};
    uint64_t tokens = 0, scored = 0;
    for (uint32_t r = 0; r < pack.n_rows; r++) {
      nk_pack_row row = nk_pack_row_at(&pack, r);
      assert_true(row.n > 0 && row.n <= room);
      uint32_t in_row = 0;
      for (uint32_t at = 0; at < row.n;) {
        for (uint32_t k = 0; k < n_virtual; k++) {
          assert_int_equal(row.ids[at + k], -1 - (int32_t)k);
          assert_int_equal(row.labels[at + k], NONE);
        }
        uint32_t end = at, which = 0;
        while (end < row.n && row.starts[end] == at) end++;
        nk_example example;
        for (which = 0; which < n; which++) {
          example = nk_examples_at(&e, batch[which]);
          if (!found[which] && example.n == end - at - n_virtual &&
              memcmp(example.ids, row.ids + at + n_virtual, example.n * sizeof(int32_t)) == 0 &&
              memcmp(example.labels + 1, row.labels + at + n_virtual + 1, (example.n - 1) * sizeof(int32_t)) == 0)
            break;
        }
        assert_true(which < n);
        assert_int_equal(row.labels[at + n_virtual], NONE);
        found[which] = true;
        tokens += end - at;
        in_row += example.scored;
        at = end;
      }
      assert_int_equal(in_row, row.scored);
      scored += in_row;
    }
    for (uint32_t i = 0; i < n; i++) assert_true(found[i]);
    assert_int_equal(tokens, pack.tokens);
    assert_int_equal(scored, pack.scored);
    /* No two rows could be one: first fit would have made them so. */
    for (uint32_t a = 0; a < pack.n_rows; a++) {
      for (uint32_t b = 0; b < a; b++) assert_true(nk_pack_row_at(&pack, a).n + nk_pack_row_at(&pack, b).n > room);
    }
    nk_arena_free(&arena);
  }
  nk_examples_free(&e);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(examples_are_kept_as_they_came_and_counted),
      cmocka_unit_test(what_does_not_fit_is_cut_at_its_end_and_what_scores_nothing_is_told),
      cmocka_unit_test(ids_and_labels_outside_the_vocabulary_are_named_and_change_nothing),
      cmocka_unit_test(the_hash_tells_every_token_label_border_and_order_apart),
      cmocka_unit_test(a_store_grows_with_its_examples),
      cmocka_unit_test(memory_that_runs_out_is_an_error_and_the_store_goes_on),
      cmocka_unit_test(the_held_out_part_is_drawn_by_the_seed_or_the_last),
      cmocka_unit_test(first_fit_fills_rows_in_order),
      cmocka_unit_test(every_example_of_a_batch_stands_whole_in_one_row),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
