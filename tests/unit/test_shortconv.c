/*
 * test_shortconv.c: a model with short convolutions goes back and on as one without: the same bits from whatever was kept.
 */
#include "engine_fixture.h"

#include "run/session.h"

#define MODEL "tests/fixtures/tiny/lfm2.gguf"
#define VOCAB 320
#define CONTEXT 256

static uint32_t next_random(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return *state >> 8;
}

static void assert_same_logits(host *h, const float *expected, const int32_t *ids, uint32_t n, uint32_t from) {
  char options[48];
  (void)snprintf(options, sizeof options, "{\"from\":%u}", from);
  if (nook_eval_begin(h->context, ids, n, options) != NK_STATUS_OK) fail_msg("%s", nook_error(h->context));
  uint32_t next = from;
  for (nook_rows rows = {0}; !rows.finished;) {
    assert_int_equal(nook_eval_step(h->context, &rows), NK_STATUS_OK);
    if (rows.n_rows == 0) continue;
    assert_int_equal(rows.first, next);
    assert_memory_equal(rows.values, expected + (size_t)next * VOCAB, (size_t)rows.n_rows * VOCAB * sizeof(float));
    next += rows.n_rows;
  }
  assert_int_equal(next, n);
  nook_eval_end(h->context);
}

/* Sequences that share beginnings of every length with the one before: whatever of the cache is reused, the logits are
   those of a session that has seen nothing. */
static void going_back_anywhere_gives_the_bits_of_a_fresh_session(void **state) {
  (void)state;
  host h = host_open(MODEL, "simd128", 1, ""), fresh = host_open(MODEL, "simd128", 1, "");
  uint32_t random = 7;
  int32_t ids[CONTEXT];
  for (uint32_t i = 0; i < CONTEXT; i++) ids[i] = (int32_t)(4 + next_random(&random) % (VOCAB - 4));
  for (uint32_t trial = 0; trial < 60; trial++) {
    uint32_t n = 1 + next_random(&random) % CONTEXT, same = next_random(&random) % CONTEXT;
    if (trial % 3 == 0) same = same / 64 * 64 + trial % 2; /* at a kept state, and just after one */
    for (uint32_t i = same; i < CONTEXT; i++) ids[i] = (int32_t)(4 + next_random(&random) % (VOCAB - 4));
    float *expected = host_logits(&fresh, ids, n, 0, VOCAB);
    uint32_t from = same < n ? same : n - 1;
    assert_same_logits(&h, expected, ids, n, from);
    free(expected);
  }
  host_close(&h);
  host_close(&fresh);
}

/* Log-probabilities of choices, each read after the same prompt, are those of whole sequences. */
static void every_choice_begins_at_the_prompt_s_end(void **state) {
  (void)state;
  host h = host_open(MODEL, "simd128", 1, ""), fresh = host_open(MODEL, "simd128", 1, "");
  enum { PROMPT = 100, CHOICE = 5, CHOICES = 4 };
  uint32_t random = 11;
  int32_t ids[PROMPT + CHOICE], choices[CHOICES * CHOICE];
  uint32_t start[CHOICES + 1];
  for (uint32_t i = 0; i < PROMPT; i++) ids[i] = (int32_t)(4 + next_random(&random) % (VOCAB - 4));
  for (uint32_t i = 0; i < CHOICES * CHOICE; i++) choices[i] = (int32_t)(4 + next_random(&random) % (VOCAB - 4));
  for (uint32_t i = 0; i <= CHOICES; i++) start[i] = i * CHOICE;
  assert_int_equal(nook_choices_begin(h.context, ids, PROMPT, choices, start, CHOICES), NK_STATUS_OK);
  for (nook_rows rows = {0}; !rows.finished;) assert_int_equal(nook_choices_step(h.context, &rows), NK_STATUS_OK);
  cJSON *result = cJSON_Parse(nook_result(h.context));
  nook_choices_end(h.context);
  const cJSON *list = cJSON_GetObjectItemCaseSensitive(result, "choices");
  assert_int_equal(cJSON_GetArraySize(list), CHOICES);
  for (int c = 0; c < CHOICES; c++) {
    memcpy(ids + PROMPT, choices + c * CHOICE, CHOICE * sizeof *ids);
    static const char options[] = "{\"output\":\"nll\",\"reuse\":false,\"from\":99}";
    assert_int_equal(nook_eval_begin(fresh.context, ids, PROMPT + CHOICE, options), NK_STATUS_OK);
    double expected = 0.0;
    for (nook_rows rows = {0}; !rows.finished;) {
      assert_int_equal(nook_eval_step(fresh.context, &rows), NK_STATUS_OK);
      for (uint32_t i = 0; i < rows.n_rows; i++) expected -= rows.nll[i];
    }
    nook_eval_end(fresh.context);
    const cJSON *logprob = cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(list, c), "logprob");
    double difference = logprob->valuedouble - expected;
    if (!(difference < 1e-9 && difference > -1e-9)) {
      fail_msg("choice %d: %.12g, whole %.12g", c, logprob->valuedouble, expected);
    }
  }
  cJSON_Delete(result);
  host_close(&h);
  host_close(&fresh);
}

/* After choices the prompt's end is kept. Another sequence that leaves the prompt before its end must not find it again. */
static void the_kept_end_of_a_prompt_goes_with_the_prompt(void **state) {
  (void)state;
  host h = host_open(MODEL, "simd128", 1, ""), fresh = host_open(MODEL, "simd128", 1, "");
  uint32_t random = 17;
  int32_t ids[CONTEXT], choices[] = {5, 6, 7, 8};
  const uint32_t start[] = {0, 4};
  for (uint32_t i = 0; i < CONTEXT; i++) ids[i] = (int32_t)(4 + next_random(&random) % (VOCAB - 4));
  assert_int_equal(nook_choices_begin(h.context, ids, 100, choices, start, 1), NK_STATUS_OK);
  for (nook_rows rows = {0}; !rows.finished;) assert_int_equal(nook_choices_step(h.context, &rows), NK_STATUS_OK);
  nook_choices_end(h.context);
  for (uint32_t i = 80; i < CONTEXT; i++) ids[i] = (int32_t)(4 + next_random(&random) % (VOCAB - 4));
  for (uint32_t n = 120; n >= 105; n -= 15) { /* leaves the prompt at 80; then goes back to between 100 and 120 */
    float *expected = host_logits(&fresh, ids, n, 0, VOCAB);
    assert_same_logits(&h, expected, ids, n, n - 1);
    free(expected);
  }
  host_close(&h);
  host_close(&fresh);
}

/* Stopped between two steps of a batch, the sequence is as it was. */
static void a_batch_that_was_stopped_leaves_the_state_as_it_was(void **state) {
  (void)state;
  host h = host_open(MODEL, "simd128", 1, ""), fresh = host_open(MODEL, "simd128", 1, "");
  uint32_t random = 13;
  int32_t ids[CONTEXT];
  for (uint32_t i = 0; i < CONTEXT; i++) ids[i] = (int32_t)(4 + next_random(&random) % (VOCAB - 4));
  float *expected = host_logits(&fresh, ids, 200, 0, VOCAB);
  assert_same_logits(&h, expected, ids, 70, 69);
  nook_rows rows;
  int32_t other[CONTEXT];
  memcpy(other, ids, sizeof other);
  for (uint32_t i = 70; i < CONTEXT; i++) other[i] = ids[CONTEXT - 1 - i];
  assert_int_equal(nook_eval_begin(h.context, other, 256, "{\"from\":70,\"chunk\":8}"), NK_STATUS_OK);
  for (int i = 0; i < 3; i++) assert_int_equal(nook_eval_step(h.context, &rows), NK_STATUS_OK);
  nook_eval_end(h.context);
  assert_same_logits(&h, expected, ids, 200, 70);
  free(expected);
  host_close(&h);
  host_close(&fresh);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(going_back_anywhere_gives_the_bits_of_a_fresh_session),
      cmocka_unit_test(every_choice_begins_at_the_prompt_s_end),
      cmocka_unit_test(the_kept_end_of_a_prompt_goes_with_the_prompt),
      cmocka_unit_test(a_batch_that_was_stopped_leaves_the_state_as_it_was),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
