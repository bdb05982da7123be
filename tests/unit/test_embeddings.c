/*
 * test_embeddings.c: one vector of a text: pooling, normalization, long texts in parts, and what an encoder refuses.
 * References: transformers' mean of the hidden states, in tests/fixtures/tiny/{bert,nomic_bert}.
 */
#include <math.h>

#include "engine_fixture.h"

#define MAX_WIDTH 128

static const char *const ENCODERS[] = {"tests/fixtures/tiny/bert", "tests/fixtures/tiny/nomic_bert"};

static host open_model(const char *stem, const char *options) {
  char path[256];
  (void)snprintf(path, sizeof path, "%s.gguf", stem);
  return host_open(path, "simd128", 1, options);
}

/* The vector of ids, with further options; returns its width. */
static uint32_t embed(host *h, const int32_t *ids, uint32_t n, const char *more, float vector[MAX_WIDTH]) {
  char options[128];
  (void)snprintf(options, sizeof options, "{\"output\":\"vector\"%s}", more);
  if (nook_eval_begin(h->context, ids, n, options) != NK_STATUS_OK) fail_msg("%s", nook_error(h->context));
  uint32_t width = 0;
  for (nook_rows rows = {0}; !rows.finished;) {
    if (nook_eval_step(h->context, &rows) != NK_STATUS_OK) fail_msg("%s", nook_error(h->context));
    assert_int_equal(rows.n_rows, rows.finished ? 1 : 0);
    if (!rows.finished) continue;
    width = rows.columns;
    assert_true(width <= MAX_WIDTH);
    memcpy(vector, rows.values, width * sizeof *vector);
  }
  nook_eval_end(h->context);
  return width;
}

static void assert_near(const float *a, const float *b, uint32_t n, double tolerance, const char *what) {
  for (uint32_t i = 0; i < n; i++) {
    if (!(fabs((double)a[i] - (double)b[i]) <= tolerance))
      fail_msg("%s: element %u is %.8g, the reference %.8g", what, i, (double)a[i], (double)b[i]);
  }
}

static void the_mean_of_hidden_states_is_the_reference_s(void **state) {
  (void)state;
  for (size_t m = 0; m < 2; m++) {
    bundle b = bundle_open(ENCODERS[m]);
    host h = open_model(ENCODERS[m], ",\"activations\":\"f32\"");
    static const int lengths[] = {7, 33, 80};
    for (size_t i = 0; i < 3; i++) {
      char name[32];
      size_t n, width;
      float vector[MAX_WIDTH];
      (void)snprintf(name, sizeof name, "len%d/ids", lengths[i]);
      const int32_t *ids = bundle_get(&b, name, sizeof *ids, &n);
      (void)snprintf(name, sizeof name, "len%d/mean", lengths[i]);
      const float *mean = bundle_get(&b, name, sizeof *mean, &width);
      assert_int_equal(embed(&h, ids, (uint32_t)n, ",\"normalize\":false", vector), width);
      assert_near(vector, mean, (uint32_t)width, 2e-4, ENCODERS[m]);
      (void)snprintf(name, sizeof name, "len%d/mean_normalized", lengths[i]);
      const float *normalized = bundle_get(&b, name, sizeof *normalized, &width);
      (void)embed(&h, ids, (uint32_t)n, "", vector);
      assert_near(vector, normalized, (uint32_t)width, 2e-5, ENCODERS[m]);
      /* In parts of five tokens: the same bits, whatever was embedded before. */
      float parts[MAX_WIDTH];
      (void)embed(&h, ids, (uint32_t)n, ",\"chunk\":5", parts);
      assert_memory_equal(parts, vector, width * sizeof *parts);
    }
    host_close(&h);
    bundle_close(&b);
  }
}

static void cls_and_last_are_rows_of_the_hidden_states(void **state) {
  (void)state;
  static const char *const stems[] = {"tests/fixtures/tiny/bert", "tests/fixtures/tiny/llama"};
  for (size_t m = 0; m < 2; m++) { /* a decoder has a vector too */
    bundle b = bundle_open(stems[m]);
    host h = open_model(stems[m], ",\"activations\":\"f32\"");
    size_t n;
    const int32_t *ids = bundle_get(&b, "len33/ids", sizeof *ids, &n);
    float cls[MAX_WIDTH], last[MAX_WIDTH], mean[MAX_WIDTH];
    uint32_t width = embed(&h, ids, (uint32_t)n, ",\"pooling\":\"cls\",\"normalize\":false", cls);
    (void)embed(&h, ids, (uint32_t)n, ",\"pooling\":\"last\",\"normalize\":false", last);
    (void)embed(&h, ids, (uint32_t)n, ",\"pooling\":\"mean\",\"normalize\":false", mean);
    assert_int_equal(nook_eval_begin(h.context, ids, (uint32_t)n, "{\"output\":\"hidden\",\"reuse\":false}"), NK_STATUS_OK);
    double sums[MAX_WIDTH] = {0};
    for (nook_rows rows = {0}; !rows.finished;) {
      assert_int_equal(nook_eval_step(h.context, &rows), NK_STATUS_OK);
      for (uint32_t r = 0; r < rows.n_rows; r++) {
        const float *row = rows.values + (size_t)r * width;
        if (rows.first + r == 0) assert_memory_equal(row, cls, width * sizeof *row);
        if (rows.first + r == n - 1) assert_memory_equal(row, last, width * sizeof *row);
        for (uint32_t j = 0; j < width; j++) sums[j] += (double)row[j];
      }
    }
    nook_eval_end(h.context);
    for (uint32_t j = 0; j < width; j++) assert_true(fabs(sums[j] / (double)n - (double)mean[j]) < 1e-6);
    host_close(&h);
    bundle_close(&b);
  }
}

static void a_decoder_s_vector_is_the_same_with_and_without_its_cache(void **state) {
  (void)state;
  bundle b = bundle_open("tests/fixtures/tiny/llama");
  host h = open_model("tests/fixtures/tiny/llama", "");
  size_t n;
  const int32_t *ids = bundle_get(&b, "len80/ids", sizeof *ids, &n);
  float first[MAX_WIDTH], again[MAX_WIDTH];
  uint32_t width = embed(&h, ids, (uint32_t)n, "", first);
  (void)embed(&h, ids, (uint32_t)n, "", again); /* the mean needs every position, cached or not */
  assert_memory_equal(first, again, width * sizeof *first);
  host_close(&h);
  bundle_close(&b);
}

static void assert_refused(host *h, const char *part) {
  if (strstr(nook_error(h->context), part) == NULL) fail_msg("%s lacks \"%s\"", nook_error(h->context), part);
}

static void an_encoder_says_that_it_has_no_logits(void **state) {
  (void)state;
  host h = open_model(ENCODERS[0], "");
  const int32_t ids[] = {5, 6, 7};
  const uint32_t start[] = {0, 1};
  assert_int_equal(nook_eval_begin(h.context, ids, 3, "{}"), NK_STATUS_UNSUPPORTED);
  assert_refused(&h, "it has no logits");
  assert_int_equal(nook_eval_begin(h.context, ids, 3, "{\"output\":\"nll\"}"), NK_STATUS_UNSUPPORTED);
  assert_int_equal(nook_choices_begin(h.context, ids, 3, ids, start, 1), NK_STATUS_UNSUPPORTED);
  assert_int_equal(nook_generate_begin(h.context, ids, 3, "{}"), NK_STATUS_UNSUPPORTED);
  float vector[MAX_WIDTH];
  (void)embed(&h, ids, 3, "", vector); /* and is still of use */
  assert_int_equal(nook_eval_begin(h.context, ids, 3, "{\"output\":\"vector\",\"pooling\":\"max\"}"), NK_STATUS_DATA);
  host_close(&h);
}

/* Rows from a later position on need the whole text all the same: nothing of an encoder's cache stays. */
static void rows_from_a_later_position_are_those_of_the_whole_text(void **state) {
  (void)state;
  bundle b = bundle_open(ENCODERS[1]);
  host h = open_model(ENCODERS[1], "");
  size_t n;
  const int32_t *ids = bundle_get(&b, "len33/ids", sizeof *ids, &n);
  uint32_t width = host_columns(&h);
  float *whole = host_logits(&h, ids, (uint32_t)n, 0, width);
  assert_int_equal(nook_eval_begin(h.context, ids, (uint32_t)n, "{\"output\":\"hidden\",\"from\":20}"), NK_STATUS_OK);
  uint32_t next = 20;
  for (nook_rows rows = {0}; !rows.finished;) {
    assert_int_equal(nook_eval_step(h.context, &rows), NK_STATUS_OK);
    if (rows.n_rows == 0) continue;
    assert_int_equal(rows.first, next);
    assert_memory_equal(rows.values, whole + (size_t)next * width, (size_t)rows.n_rows * width * sizeof *whole);
    next += rows.n_rows;
  }
  assert_int_equal(next, n);
  nook_eval_end(h.context);
  free(whole);
  host_close(&h);
  bundle_close(&b);
}

static void stopping_in_the_middle_of_a_text_leaves_nothing_behind(void **state) {
  (void)state;
  bundle b = bundle_open(ENCODERS[1]);
  host h = open_model(ENCODERS[1], "");
  size_t n;
  const int32_t *ids = bundle_get(&b, "len200/ids", sizeof *ids, &n);
  float whole[MAX_WIDTH], after[MAX_WIDTH];
  uint32_t width = embed(&h, ids, (uint32_t)n, "", whole);
  nook_rows rows;
  assert_int_equal(nook_eval_begin(h.context, ids + 20, (uint32_t)n - 20, "{\"output\":\"vector\"}"), NK_STATUS_OK);
  assert_int_equal(nook_eval_step(h.context, &rows), NK_STATUS_OK);
  nook_eval_end(h.context);
  (void)embed(&h, ids, (uint32_t)n, "", after);
  assert_memory_equal(whole, after, width * sizeof *whole);
  host_close(&h);
  bundle_close(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_mean_of_hidden_states_is_the_reference_s),
      cmocka_unit_test(cls_and_last_are_rows_of_the_hidden_states),
      cmocka_unit_test(a_decoder_s_vector_is_the_same_with_and_without_its_cache),
      cmocka_unit_test(an_encoder_says_that_it_has_no_logits),
      cmocka_unit_test(rows_from_a_later_position_are_those_of_the_whole_text),
      cmocka_unit_test(stopping_in_the_middle_of_a_text_leaves_nothing_behind),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
