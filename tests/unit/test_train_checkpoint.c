/* test_train_checkpoint.c: saved trainings, back to the bit; damaged, foreign and hostile ones. */
#include "engine_fixture.h"

#include <math.h>

#include "core/sha256.h"
#include "train/checkpoint.h"

/* What tests/reference/make_train_checkpoints.py wrote. */
static const float values[3] = {0.5f, -1.25f, 3.0f}, m[3] = {0.125f, 0.0f, -2.0f}, v[3] = {0.25f, 0.0f, 1e-20f};
static const float best[3] = {0.0f, -1.0f, 2.5f};
static const nk_loss_record losses[3] = {{0, 3.5, 2.0, 0.25}, {1, 3.25, 1.0, 0.5}, {2, 3.0, 0.5, 0.5}};
static const nk_loss_record evals[3] = {{0, 2.0, 0, 0}, {2, 1.5, 0, 0}, {3, 1.75, 0, 0}};

static nk_checkpoint usual(void) {
  nk_checkpoint c = {
      .variant = "scalar",
      .options = "{\"method\":\"lora\",\"rank\":4,\"steps\":20}",
      .progress = {.step = 3, .epoch = 1, .position = 2, .examples = 12, .tokens = 345, .worse = 1, .best_step = 2,
                   .best_loss = 1.5, .seconds = 2.25},
      .n_values = 3,
      .n_losses = 3,
      .n_evals = 3,
      .values = values,
      .m = m,
      .v = v,
      .best = best,
      .losses = losses,
      .evals = evals,
  };
  for (uint8_t i = 0; i < 32; i++) c.model[i] = i, c.data[i] = (uint8_t)(i + 32), c.held_out[i] = (uint8_t)(i + 64);
  return c;
}

/* The caller frees it. */
static uint8_t *written(const nk_checkpoint *c, uint64_t *n) {
  *n = nk_checkpoint_bytes(c);
  assert_true(*n > 0);
  uint8_t *bytes = malloc((size_t)*n);
  assert_non_null(bytes);
  nk_error error = {0};
  if (nk_checkpoint_write(c, bytes, *n, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
  return bytes;
}

static void assert_same(const nk_checkpoint *a, const nk_checkpoint *b) {
  assert_string_equal(a->variant, b->variant);
  assert_string_equal(a->options, b->options);
  assert_memory_equal(a->model, b->model, 32);
  assert_memory_equal(a->data, b->data, 32);
  assert_memory_equal(a->held_out, b->held_out, 32);
  assert_memory_equal(&a->progress, &b->progress, sizeof a->progress);
  assert_true(a->n_values == b->n_values && a->n_losses == b->n_losses && a->n_evals == b->n_evals);
  assert_memory_equal(a->values, b->values, (size_t)a->n_values * 4);
  assert_memory_equal(a->m, b->m, (size_t)a->n_values * 4);
  assert_memory_equal(a->v, b->v, (size_t)a->n_values * 4);
  assert_true((a->best == NULL) == (b->best == NULL));
  if (a->best != NULL) assert_memory_equal(a->best, b->best, (size_t)a->n_values * 4);
  if (a->n_losses > 0) assert_memory_equal(a->losses, b->losses, (size_t)a->n_losses * sizeof(nk_loss_record));
  if (a->n_evals > 0) assert_memory_equal(a->evals, b->evals, (size_t)a->n_evals * sizeof(nk_loss_record));
}

static void another_writers_file_is_read_and_written_back_to_the_bit(void **state) {
  (void)state;
  size_t length;
  uint8_t *file = read_whole("tests/fixtures/training/checkpoint.nookt", &length);
  nk_checkpoint c, wanted = usual();
  nk_error error = {0};
  if (nk_checkpoint_read(&c, file, length, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
  assert_same(&c, &wanted);
  uint64_t n;
  uint8_t *again = written(&wanted, &n);
  assert_int_equal(n, length);
  assert_memory_equal(again, file, length);
  free(again);
  free(file);
}

static void every_part_may_be_of_any_size_that_makes_sense(void **state) {
  (void)state;
  static float many[1001];
  static nk_loss_record records[500];
  for (int i = 0; i < 1001; i++) many[i] = (float)i;
  for (uint64_t i = 0; i < 500; i++) records[i] = (nk_loss_record){i, 1.0 / (double)(i + 1), 1, 0.5};
  const char *const variants[] = {"s", "scalar", "simd128", "relaxed-with-a-name-of-31-chars"};
  const char *const options[] = {"", "{}", "{ }", "{\"a\": 1}"};
  for (uint64_t i = 0; i < 64; i++) {
    nk_checkpoint c = usual(), read;
    c.variant = variants[i % 4];
    c.options = options[i / 4 % 4];
    c.values = c.m = c.v = many;
    c.n_values = i < 32 ? i + 1 : 1001 - i;
    c.best = many;
    c.losses = c.evals = records;
    c.n_losses = i * 7;
    c.n_evals = i % 5;
    if (i % 3 == 0) {
      c.best = NULL;
      c.progress.best_loss = 0;
      c.progress.best_step = 0;
    }
    uint64_t n;
    uint8_t *bytes = written(&c, &n);
    nk_error error = {0};
    if (nk_checkpoint_read(&read, bytes, n, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
    assert_same(&read, &c);
    free(bytes);
  }
}

static void a_file_cut_or_changed_anywhere_is_refused(void **state) {
  (void)state;
  nk_checkpoint c = usual(), read, untouched;
  memset(&read, 0x5a, sizeof read);
  untouched = read;
  uint64_t n;
  uint8_t *bytes = written(&c, &n);
  for (uint64_t length = 0; length < n; length++) {
    uint8_t *cut = malloc((size_t)length + (length == 0)); /* of its very size: reading on is seen */
    assert_non_null(cut);
    memcpy(cut, bytes, (size_t)length);
    nk_error error = {0};
    assert_int_equal(nk_checkpoint_read(&read, cut, length, &error), NK_STATUS_FORMAT);
    assert_true(error.text[0] != '\0');
    free(cut);
  }
  for (uint64_t at = 0; at < n; at++) {
    for (int bit = 0; bit < 8; bit++) {
      bytes[at] ^= (uint8_t)(1u << bit);
      nk_error error = {0};
      nk_status status = nk_checkpoint_read(&read, bytes, n, &error);
      assert_true(status == NK_STATUS_FORMAT || (status == NK_STATUS_UNSUPPORTED && at >= 8 && at < 12));
      assert_true(error.text[0] != '\0');
      bytes[at] ^= (uint8_t)(1u << bit);
    }
  }
  uint8_t *longer = malloc((size_t)n + 1);
  assert_non_null(longer);
  memcpy(longer, bytes, (size_t)n);
  longer[n] = 0;
  assert_int_equal(nk_checkpoint_read(&read, longer, n + 1, NULL), NK_STATUS_FORMAT);
  assert_memory_equal(&read, &untouched, sizeof read);
  assert_int_equal(nk_checkpoint_read(&read, bytes, n, NULL), NK_STATUS_OK);
  free(longer);
  free(bytes);
}

/* ---- Files whose hash is right and whose contents are not ----------------------------------------------------------- */

static void put(uint8_t *at, uint64_t number, int bytes) {
  for (int i = 0; i < bytes; i++) at[i] = (uint8_t)(number >> (8 * i));
}

/* The start of the section's header. */
static uint64_t find(const uint8_t *bytes, uint64_t n, const char *tag) {
  for (uint64_t at = 16; at + 4 < n; at += 8) {
    if (memcmp(bytes + at, tag, 4) == 0) return at;
  }
  fail_msg("no section %s", tag);
  return 0;
}

static void seal(uint8_t *bytes, uint64_t n) {
  nk_sha256 hash;
  nk_sha256_init(&hash);
  nk_sha256_update(&hash, bytes, (size_t)n - 32);
  nk_sha256_final(&hash, bytes + n - 32);
}

/* In the section `tag`, at `offset` of its header (16: its first byte), `bytes` bytes of `number`. */
static const struct hostile {
  const char *tag;
  uint64_t offset, number;
  int bytes;
  const char *text;
} hostiles[] = {
    {"KERN", 0, 'X', 1, "the checkpoint has no section KERN (kernel variant) at byte "},
    {"KERN", 4, 1, 4, "the checkpoint has no section KERN (kernel variant) at byte "},
    {"KERN", 8, UINT64_MAX, 8, "the checkpoint's section KERN (kernel variant) claims 18446744073709551615 bytes, but "},
    {"KERN", 8, 0, 8, "the checkpoint has no section MODL (model hash) at byte "},
    {"KERN", 8, 8, 8, "the checkpoint's section KERN (kernel variant) has 8 bytes, which cannot be"},
    {"KERN", 16, '\n', 1, "the checkpoint's kernel variant has no printable name"},
    {"KERN", 16, 0, 7, "the checkpoint's section KERN (kernel variant) has 7 bytes, which cannot be"},
    {"KERN", 23, 1, 1, "the checkpoint's section KERN (kernel variant) is not followed by zeros"},
    {"MODL", 8, 40, 8, "the checkpoint has no section DATA (examples' hash) at byte "},
    {"HELD", 8, 31, 8, "the checkpoint's section HELD (held-out examples' hash) is not followed by zeros"},
    {"OPTS", 20, 0, 1, "the checkpoint's section OPTS (options) has 38 bytes, which cannot be"},
    {"OPTS", 16 + 37, ' ', 1, "the checkpoint's section OPTS (options) has 38 bytes, which cannot be"},
    {"PROG", 8, 64, 8, "the checkpoint has no section VALS (values) at byte "},
    {"PROG", 16, 13, 8, "the checkpoint's step, epoch or position is beyond its count of examples"},
    {"PROG", 24, 13, 8, "the checkpoint's step, epoch or position is beyond its count of examples"},
    {"PROG", 32, UINT64_MAX, 8, "the checkpoint's step, epoch or position is beyond its count of examples"},
    {"PROG", 64, 4, 8, "the checkpoint tells of a best held-out loss that it cannot have"},
    {"PROG", 72, 0x7ff8000000000000u, 8, "the checkpoint's progress holds a loss or a time that cannot be"},
    {"PROG", 80, 0x7ff0000000000000u, 8, "the checkpoint's progress holds a loss or a time that cannot be"},
    {"PROG", 80, 0xbff0000000000000u, 8, "the checkpoint's progress holds a loss or a time that cannot be"},
    {"VALS", 8, 11, 8, "the checkpoint's section VALS (values) is not followed by zeros"},
    {"VALS", 16, 0x7fc00000, 4, "the checkpoint's values hold NaN at place 0"},
    {"VALS", 24, 0x7f800000, 4, "the checkpoint's values hold infinity at place 2"},
    {"MOM1", 20, 0xff800000, 4, "the checkpoint's first moments hold infinity at place 1"},
    {"MOM2", 20, 0x80000001, 4, "the checkpoint's second moments hold a negative number at place 1"},
    {"BEST", 16, 0xffffffff, 4, "the checkpoint's best values hold NaN at place 0"},
    {"LOSS", 24, 0x7ff0000000000000u, 8, "the checkpoint's step losses hold a number that is not finite at place 0"},
    {"LOSS", 16 + 32 + 16, UINT64_MAX, 8, "the checkpoint's step losses hold a number that is not finite at place 1"},
    {"LOSS", 16 + 64 + 24, UINT64_MAX, 8, "the checkpoint's step losses hold a number that is not finite at place 2"},
    {"EVAL", 16, 3, 8, "the checkpoint's held-out losses go back from step 3 to 2"},
    {"EVAL", 8, 64, 8, "the checkpoint goes on for 32 bytes after its last section"},
    {"EVAL", 8, 88, 8, "the checkpoint goes on for 8 bytes after its last section"},
    {"EVAL", 8, 97, 8, "the checkpoint's section EVAL (held-out losses) claims 97 bytes, but 96 are left"},
};

static void hostile_contents_under_a_right_hash_are_refused_in_one_sentence(void **state) {
  (void)state;
  nk_checkpoint c = usual(), read, untouched;
  memset(&read, 0x5a, sizeof read);
  untouched = read;
  uint64_t n;
  uint8_t *bytes = written(&c, &n);
  for (size_t i = 0; i < sizeof hostiles / sizeof hostiles[0]; i++) {
    uint8_t *bad = malloc((size_t)n);
    assert_non_null(bad);
    memcpy(bad, bytes, (size_t)n);
    put(bad + find(bad, n, hostiles[i].tag) + hostiles[i].offset, hostiles[i].number, hostiles[i].bytes);
    seal(bad, n);
    nk_error error = {0};
    assert_int_equal(nk_checkpoint_read(&read, bad, n, &error), NK_STATUS_FORMAT);
    if (strncmp(error.text, hostiles[i].text, strlen(hostiles[i].text)) != 0)
      fail_msg("%zu: \"%s\" instead of \"%s\"", i, error.text, hostiles[i].text);
    assert_memory_equal(&read, &untouched, sizeof read);
    free(bad);
  }
  bytes[8] = 2;
  nk_error error = {0};
  assert_int_equal(nk_checkpoint_read(&read, bytes, n, &error), NK_STATUS_UNSUPPORTED);
  assert_string_equal(error.text, "the checkpoint has version 2 of its format; this build reads version 1");
  bytes[8] = 1;
  bytes[12] = 9;
  seal(bytes, n);
  assert_int_equal(nk_checkpoint_read(&read, bytes, n, &error), NK_STATUS_FORMAT);
  assert_string_equal(error.text, "the checkpoint's header holds 9 where 0 stands");
  bytes[0] = 'M';
  assert_int_equal(nk_checkpoint_read(&read, bytes, n, &error), NK_STATUS_FORMAT);
  assert_string_equal(error.text, "the file is no checkpoint of a training: it does not begin with NOOKTRNG");
  free(bytes);
}

/* The file with another length of one section, cut or filled with zeros, and all after it moved; the caller frees it. */
static uint8_t *with_length(const uint8_t *bytes, uint64_t n, const char *tag, uint64_t length, uint64_t *n_new) {
  uint64_t at = find(bytes, n, tag) + 16, old = 0;
  for (int i = 0; i < 8; i++) old |= (uint64_t)bytes[at - 8 + (uint64_t)i] << (8 * i);
  uint64_t old_end = at + (old + 7) / 8 * 8, new_end = at + (length + 7) / 8 * 8;
  *n_new = n - old_end + new_end;
  uint8_t *out = calloc(1, (size_t)*n_new);
  assert_non_null(out);
  memcpy(out, bytes, (size_t)(at + (length < old ? length : old)));
  put(out + at - 8, length, 8);
  memcpy(out + new_end, bytes + old_end, (size_t)(n - old_end));
  return out;
}

static void sections_of_a_size_that_cannot_be_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *tag, *what;
    uint64_t lengths[5];
  } sections[] = {
      {"KERN", "kernel variant", {1, 2, 6, 8, 33}}, /* the first: an empty name, whose only byte is no NUL */
      {"MODL", "model hash", {0, 24, 31, 33, 40}},
      {"DATA", "examples' hash", {0, 24, 31, 33, 40}},
      {"HELD", "held-out examples' hash", {0, 24, 31, 33, 40}},
      {"OPTS", "options", {0, 8, 37, 39, 48}},
      {"PROG", "progress", {0, 64, 71, 73, 80}},
      {"MOM1", "first moments", {0, 8, 11, 13, 16}},
      {"MOM2", "second moments", {0, 8, 11, 13, 16}},
      {"BEST", "best values", {8, 11, 13, 16, 24}},
      {"LOSS", "step losses", {1, 95, 97, 88, 104}},
      {"EVAL", "held-out losses", {1, 95, 97, 88, 104}},
  };
  nk_checkpoint c = usual(), read;
  uint64_t n, longer;
  uint8_t *bytes = written(&c, &n);
  for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
    for (int k = 0; k < 5; k++) {
      uint8_t *bad = with_length(bytes, n, sections[i].tag, sections[i].lengths[k], &longer);
      seal(bad, longer);
      nk_error error = {0};
      char text[160];
      (void)snprintf(text, sizeof text, "the checkpoint's section %s (%s) has %llu bytes, which cannot be",
                     sections[i].tag, sections[i].what, (unsigned long long)sections[i].lengths[k]);
      assert_int_equal(nk_checkpoint_read(&read, bad, longer, &error), NK_STATUS_FORMAT);
      assert_string_equal(error.text, text);
      free(bad);
    }
  }
  /* A name and options that end as they should but are too long; three values and a part of one. */
  static const struct {
    const char *tag;
    uint64_t length;
    const char *text;
  } longs[] = {
      {"KERN", 33, "the checkpoint's section KERN (kernel variant) has 33 bytes, which cannot be"},
      {"OPTS", NK_CHECKPOINT_MAX_OPTIONS + 1,
       "the checkpoint's section OPTS (options) has 1048577 bytes, which cannot be"},
      {"VALS", 13, "the checkpoint's section VALS (values) has 13 bytes, which cannot be"},
  };
  for (size_t i = 0; i < sizeof longs / sizeof longs[0]; i++) {
    uint8_t *bad = with_length(bytes, n, longs[i].tag, longs[i].length, &longer);
    uint64_t at = find(bad, longer, longs[i].tag) + 16;
    if (longs[i].tag[0] != 'V') memset(bad + at, 'x', (size_t)longs[i].length - 1);
    static const char *const alike[] = {"MOM1", "MOM2", "BEST"}; /* else they would be what is wrong */
    for (int k = 0; longs[i].tag[0] == 'V' && k < 3; k++) {
      uint8_t *before = bad;
      bad = with_length(before, longer, alike[k], longs[i].length, &longer);
      free(before);
    }
    seal(bad, longer);
    nk_error error = {0};
    assert_int_equal(nk_checkpoint_read(&read, bad, longer, &error), NK_STATUS_FORMAT);
    assert_string_equal(error.text, longs[i].text);
    free(bad);
  }
  free(bytes);
}

static void what_the_reader_would_refuse_is_not_written(void **state) {
  (void)state;
  static const float nan_at_1[3] = {1, NAN, 1}, negative[3] = {1, 2, -1};
  nk_checkpoint faults[10];
  for (int i = 0; i < 10; i++) faults[i] = usual();
  faults[0].values = nan_at_1;
  faults[1].m = nan_at_1;
  faults[2].v = negative;
  faults[3].best = nan_at_1;
  faults[4].variant = "";
  faults[5].variant = "caf\xc3\xa9";
  faults[6].best = NULL;
  faults[7].n_values = 0;
  faults[8].progress.step = 13;
  faults[9].variant = "a\x7f";
  for (int i = 0; i < 10; i++) {
    uint64_t n = nk_checkpoint_bytes(&faults[i]);
    uint8_t *bytes = malloc((size_t)n);
    assert_non_null(bytes);
    nk_error error = {0};
    assert_int_equal(nk_checkpoint_write(&faults[i], bytes, n, &error), NK_STATUS_FORMAT);
    assert_true(error.text[0] != '\0');
    free(bytes);
  }
  nk_checkpoint large = usual();
  uint8_t none[1];
  assert_int_equal(nk_checkpoint_write(&large, none, 1, NULL), NK_STATUS_INTERNAL);
  large.n_values = NK_CHECKPOINT_MAX_VALUES + 1;
  assert_true(nk_checkpoint_bytes(&large) == 0);
  large = usual();
  large.n_losses = UINT64_MAX;
  assert_true(nk_checkpoint_bytes(&large) == 0);
  large = usual();
  large.n_evals = NK_CHECKPOINT_MAX_RECORDS + 1;
  assert_true(nk_checkpoint_bytes(&large) == 0);
  large = usual();
  large.variant = "a name of 32 letters, one too lon";
  assert_true(nk_checkpoint_bytes(&large) == 0);
  assert_int_equal(nk_checkpoint_write(&large, none, 0, NULL), NK_STATUS_INTERNAL);
}

/* ---- Fitting ------------------------------------------------------------------------------------------------------- */

static void another_model_or_other_examples_are_refused_with_both_hashes(void **state) {
  (void)state;
  nk_checkpoint c = usual();
  nk_checkpoint_here here = {.variant = "scalar", .n_values = 3, .n_examples = 2};
  memcpy(here.model, c.model, 32);
  memcpy(here.data, c.data, 32);
  memcpy(here.held_out, c.held_out, 32);
  bool other = true;
  nk_error error = {0};
  assert_int_equal(nk_checkpoint_match(&c, &here, &other, &error), NK_STATUS_OK);
  assert_false(other);
  here.variant = "simd128";
  assert_int_equal(nk_checkpoint_match(&c, &here, &other, &error), NK_STATUS_OK);
  assert_true(other);
  here.n_examples = 1;
  assert_int_equal(nk_checkpoint_match(&c, &here, &other, &error), NK_STATUS_FORMAT);
  assert_string_equal(error.text, "the checkpoint stands after 2 examples of an epoch that has 1");
  here.n_values = 4;
  assert_int_equal(nk_checkpoint_match(&c, &here, &other, &error), NK_STATUS_FORMAT);
  assert_string_equal(error.text, "the checkpoint holds 3 values; its options make an adapter of 4");
  here.held_out[31] = 0;
  assert_int_equal(nk_checkpoint_match(&c, &here, &other, &error), NK_STATUS_DATA);
  assert_string_equal(error.text,
                      "the checkpoint was made with other held-out examples: theirs have the hash "
                      "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f, these "
                      "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e00");
  here.data[0] = 0xff;
  assert_int_equal(nk_checkpoint_match(&c, &here, &other, &error), NK_STATUS_DATA);
  assert_string_equal(error.text,
                      "the checkpoint was made with other examples: theirs have the hash "
                      "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f, these "
                      "ff2122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f");
  here.model[31] = 0x20;
  assert_int_equal(nk_checkpoint_match(&c, &here, &other, &error), NK_STATUS_ADAPTER_MISMATCH);
  assert_string_equal(error.text,
                      "the checkpoint belongs to the model with the hash "
                      "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f; the loaded one has "
                      "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e20");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(another_writers_file_is_read_and_written_back_to_the_bit),
      cmocka_unit_test(every_part_may_be_of_any_size_that_makes_sense),
      cmocka_unit_test(a_file_cut_or_changed_anywhere_is_refused),
      cmocka_unit_test(hostile_contents_under_a_right_hash_are_refused_in_one_sentence),
      cmocka_unit_test(sections_of_a_size_that_cannot_be_are_refused),
      cmocka_unit_test(what_the_reader_would_refuse_is_not_written),
      cmocka_unit_test(another_model_or_other_examples_are_refused_with_both_hashes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
