/*
 * test_session.c: the sequence behind the public interface over long random histories: prefixes are shared, cut and
 * continued, operations of every kind end anywhere, and still each evaluation gives the bits of a fresh one. And what calls
 * out of turn do: nothing hangs, nothing is read that is not there.
 */
#include "engine_fixture.h"

#define VOCAB 320
#define MOST 120u /* tokens of a sequence */

static uint32_t next_random(uint32_t *seed) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 17;
  *seed ^= *seed << 5;
  return *seed;
}

static uint32_t below(uint32_t *seed, uint32_t n) { return next_random(seed) % n; }

/* A sequence that shares a beginning with the one that was there. */
static uint32_t change(uint32_t *seed, int32_t *ids, uint32_t n) {
  uint32_t kept = below(seed, n + 1), count = 1 + below(seed, MOST);
  for (uint32_t i = kept; i < count; i++) ids[i] = (int32_t)below(seed, VOCAB);
  return count;
}

/* Evaluates from a random position on, with what is cached, and compares with `expected` [n, VOCAB]; may end early. */
static void evaluate(host *h, uint32_t *seed, const int32_t *ids, uint32_t n, const float *expected, bool whole) {
  char options[96];
  uint32_t from = below(seed, n), next = from, steps = 0, limit = whole ? UINT32_MAX : below(seed, 30);
  (void)snprintf(options, sizeof options, "{\"from\":%u,\"chunk\":%u}", from, 1 + below(seed, 40));
  assert_int_equal(nook_eval_begin(h->context, ids, n, options), NK_STATUS_OK);
  for (nook_rows rows = {0}; !rows.finished && steps < limit; steps++) {
    assert_int_equal(nook_eval_step(h->context, &rows), NK_STATUS_OK);
    if (rows.n_rows == 0) continue;
    assert_int_equal(rows.first, next);
    assert_memory_equal(rows.values, expected + (size_t)next * VOCAB, rows.n_rows * VOCAB * sizeof(float));
    next += rows.n_rows;
    assert_int_equal(rows.finished, next == n);
  }
  nook_eval_end(h->context);
}

static void generate_some(host *h, uint32_t *seed, const int32_t *ids, uint32_t n) {
  char options[128];
  (void)snprintf(options, sizeof options, "{\"temperature\":1,\"seed\":%u,\"ignore_end\":true,\"chunk\":%u}",
                 below(seed, 1000), below(seed, 20));
  assert_int_equal(nook_generate_begin(h->context, ids, n, options), NK_STATUS_OK);
  nook_event event = {0};
  for (uint32_t steps = below(seed, 60); steps > 0 && event.type != NOOK_EVENT_DONE; steps--) {
    assert_int_equal(nook_generate_step(h->context, &event), NK_STATUS_OK);
  }
  nook_generate_end(h->context);
}

static void choose_some(host *h, uint32_t *seed, const int32_t *ids, uint32_t n) {
  int32_t choices[60];
  const uint32_t start[] = {0, 1, 21, 60};
  for (uint32_t i = 0; i < 60; i++) choices[i] = (int32_t)below(seed, VOCAB);
  assert_int_equal(nook_choices_begin(h->context, ids, n, choices, start, 3), NK_STATUS_OK);
  nook_rows rows = {0};
  for (uint32_t steps = below(seed, 40); steps > 0 && !rows.finished; steps--) {
    assert_int_equal(nook_choices_step(h->context, &rows), NK_STATUS_OK);
  }
  nook_choices_end(h->context);
}

static void random_history(const char *model, uint32_t threads, const char *options, uint32_t seed, uint32_t operations) {
  host h = host_open(model, "auto", threads, options), fresh = host_open(model, "auto", 1, options);
  int32_t ids[MOST] = {0};
  uint32_t n = 1;
  for (uint32_t i = 0; i < operations; i++) {
    n = change(&seed, ids, n);
    switch (below(&seed, 4)) {
      case 0: generate_some(&h, &seed, ids, n); break;
      case 1: choose_some(&h, &seed, ids, n); break;
      default: break;
    }
    float *expected = host_logits(&fresh, ids, n, 0, VOCAB);
    evaluate(&h, &seed, ids, n, expected, below(&seed, 3) > 0);
    free(expected);
    if (below(&seed, 20) == 0) nook_session_clear(h.context);
  }
  host_close(&h), host_close(&fresh);
}

static void any_history_of_operations_leaves_the_bits_of_a_fresh_evaluation(void **state) {
  (void)state;
  random_history("tests/fixtures/tiny/llama.gguf", 1, ",\"context\":160", 1, 30);
  random_history("tests/fixtures/tiny/llama.gguf", 3, ",\"context\":161,\"kv\":\"f32\",\"batch\":13", 2, 20);
  random_history("tests/fixtures/tiny/mistral.gguf", 1, ",\"context\":162,\"kv\":\"q8\"", 3, 30);
  random_history("tests/fixtures/tiny/mistral.gguf", 2, ",\"context\":163,\"batch\":7", 4, 20);
  random_history("tests/fixtures/tiny/lfm2.gguf", 1, ",\"context\":164", 5, 20);
}

/* ---- Out of turn ------------------------------------------------------------------------------------------------- */

#define MODEL "tests/fixtures/tiny/llama.gguf"

static const int32_t PROMPT[] = {5, 80, 17, 200, 33};
#define PROMPT_N 5

/* A context so small that what is kept and what is dropped are one token each. */
static void the_smallest_contexts_drop_their_middle_and_go_on(void **state) {
  (void)state;
  for (uint32_t context = 2; context <= 5; context++) {
    for (uint32_t keep = 0; keep <= context; keep++) {
      char options[128];
      (void)snprintf(options, sizeof options, ",\"context\":%u", context);
      host h = host_open(MODEL, "auto", 1, options);
      (void)snprintf(options, sizeof options,
                     "{\"context_full\":\"shift\",\"ignore_end\":true,\"max_tokens\":12,\"keep\":%u}", keep);
      assert_int_equal(nook_generate_begin(h.context, PROMPT, PROMPT_N, options), NK_STATUS_OK);
      uint32_t steps = 0, tokens = 0;
      for (nook_event event = {0}; event.type != NOOK_EVENT_DONE; steps++) {
        if (steps == 200) fail_msg("context %u, keep %u: %u tokens after %u steps", context, keep, tokens, steps);
        assert_int_equal(nook_generate_step(h.context, &event), NK_STATUS_OK);
        tokens += event.type == NOOK_EVENT_TOKEN;
      }
      assert_int_equal(tokens, 12);
      host_close(&h);
    }
  }
}

static void steps_after_the_last_say_finished_again_and_bring_nothing(void **state) {
  (void)state;
  host h = host_open(MODEL, "auto", 1, "");
  nook_rows rows = {0};
  assert_int_equal(nook_eval_begin(h.context, PROMPT, PROMPT_N, "{\"from\":2}"), NK_STATUS_OK);
  while (!rows.finished) assert_int_equal(nook_eval_step(h.context, &rows), NK_STATUS_OK);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(nook_eval_step(h.context, &rows), NK_STATUS_OK);
    assert_int_equal(rows.n_rows, 0);
    assert_true(rows.finished);
  }
  nook_eval_end(h.context);
  static const int32_t choices[] = {1, 2, 3};
  static const uint32_t start[] = {0, 2, 3};
  assert_int_equal(nook_choices_begin(h.context, PROMPT, PROMPT_N, choices, start, 2), NK_STATUS_OK);
  for (rows.finished = 0; !rows.finished;) assert_int_equal(nook_choices_step(h.context, &rows), NK_STATUS_OK);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(nook_choices_step(h.context, &rows), NK_STATUS_OK);
    assert_true(rows.finished);
  }
  nook_choices_end(h.context);
  host_close(&h);
}

/* log p of a choice of many tokens, in steps of few rows: the same bits as the losses of an evaluation. */
static void a_long_choice_is_read_in_bounded_steps_and_sums_its_tokens_losses(void **state) {
  (void)state;
  host h = host_open(MODEL, "auto", 1, ",\"batch\":13");
  int32_t ids[PROMPT_N + 40];
  const uint32_t n = PROMPT_N + 40, start[] = {0, 40};
  uint32_t seed = 77, steps = 0;
  memcpy(ids, PROMPT, sizeof PROMPT);
  for (uint32_t i = PROMPT_N; i < n; i++) ids[i] = (int32_t)below(&seed, VOCAB);
  assert_int_equal(nook_choices_begin(h.context, ids, PROMPT_N, ids + PROMPT_N, start, 1), NK_STATUS_OK);
  for (nook_rows rows = {0}; !rows.finished; steps++) {
    assert_int_equal(nook_choices_step(h.context, &rows), NK_STATUS_OK);
  }
  nook_choices_end(h.context);
  assert_int_equal(steps, 1 + 3 * 2); /* the prompt; 39 tokens are three batches of 13, each of at most 8 rows a step */
  cJSON *result = cJSON_Parse(nook_result(h.context));
  const cJSON *one = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(result, "choices"), 0);
  double expected = 0;
  assert_int_equal(nook_eval_begin(h.context, ids, n, "{\"output\":\"nll\",\"from\":4}"), NK_STATUS_OK);
  for (nook_rows rows = {0}; !rows.finished;) {
    assert_int_equal(nook_eval_step(h.context, &rows), NK_STATUS_OK);
    for (uint32_t i = 0; i < rows.n_rows; i++) expected -= rows.nll[i];
  }
  nook_eval_end(h.context);
  double got = cJSON_GetObjectItemCaseSensitive(one, "logprob")->valuedouble;
  assert_memory_equal(&got, &expected, sizeof got);
  cJSON_Delete(result);
  host_close(&h);
}

/* A step's length must not grow with the sequence: late batches are smaller, and their bits are the same. */
static void batches_become_smaller_far_on_in_a_long_sequence(void **state) {
  (void)state;
  enum { N = 4200 };
  host h = host_open(MODEL, "auto", 1, ",\"context\":4200,\"batch\":512");
  int32_t *ids = malloc(N * sizeof *ids);
  float last[VOCAB];
  uint32_t seed = 5, before = 0, late = 0;
  assert_non_null(ids);
  for (uint32_t i = 0; i < N; i++) ids[i] = (int32_t)below(&seed, VOCAB);
  assert_int_equal(nook_eval_begin(h.context, ids, N, "{\"from\":4199}"), NK_STATUS_OK);
  for (nook_rows rows = {0}; !rows.finished; before = rows.done) {
    assert_int_equal(nook_eval_step(h.context, &rows), NK_STATUS_OK);
    if (before == 0) assert_int_equal(rows.done, 512);
    if (rows.done > before && rows.done < N) late = rows.done - before;
    if (rows.finished) memcpy(last, rows.values, sizeof last);
  }
  nook_eval_end(h.context);
  assert_in_range(late, 4, 508);
  assert_int_equal(late % 4, 0);
  assert_int_equal(nook_eval_begin(h.context, ids, N, "{\"from\":4000,\"chunk\":1}"), NK_STATUS_OK);
  for (nook_rows rows = {0}; !rows.finished;) {
    assert_int_equal(nook_eval_step(h.context, &rows), NK_STATUS_OK);
    if (rows.finished) assert_memory_equal(last, rows.values, sizeof last);
  }
  nook_eval_end(h.context);
  free(ids);
  host_close(&h);
}

static void missing_arrays_are_errors_with_a_sentence(void **state) {
  (void)state;
  host h = host_open(MODEL, "auto", 1, "");
  static const uint32_t start[] = {0, 1};
  const int32_t *ids;
  const char *text;
  uint32_t count;
  nook_span span = {0, 0, 0};
  assert_int_equal(nook_generate_begin(h.context, NULL, 3, NULL), NK_STATUS_DATA);
  assert_int_equal(nook_eval_begin(h.context, NULL, 3, NULL), NK_STATUS_DATA);
  assert_int_equal(nook_choices_begin(h.context, NULL, 3, PROMPT, start, 1), NK_STATUS_DATA);
  assert_int_equal(nook_choices_begin(h.context, PROMPT, 3, NULL, start, 1), NK_STATUS_DATA);
  assert_int_equal(nook_choices_begin(h.context, PROMPT, 3, PROMPT, NULL, 1), NK_STATUS_DATA);
  assert_int_equal(nook_detokenize(h.context, NULL, 3, 0, &text, &count), NK_STATUS_DATA);
  assert_int_equal(nook_tokenize(h.context, "abc", 3, NULL, 1, 0, &ids, &count), NK_STATUS_DATA);
  assert_non_null(strstr(nook_error(h.context), "missing"));
  assert_int_equal(nook_tokenize(h.context, NULL, 0, &span, 1, 0, &ids, &count), NK_STATUS_OK);
  assert_int_equal(count, 0);
  host_close(&h);
}

static void a_helper_that_was_not_announced_leaves_at_once(void **state) {
  (void)state;
  nk_status status;
  nook_context *context = nook_create("{\"threads\":2}", &status);
  assert_int_equal(status, NK_STATUS_OK);
  nook_thread_main(context, 0); /* would wait until nook_threads_stop */
  nook_thread_main(context, 2);
  nook_destroy(context);
  context = nook_create("{\"threads\":0}", &status);
  assert_int_equal(status, NK_STATUS_DATA);
  nook_thread_main(context, 1);
  nook_destroy(context);
}

static void unloading_ends_a_load_and_a_new_load_does_not_show_an_earlier_plan(void **state) {
  (void)state;
  nk_status status;
  size_t length;
  char plan[96], load[96];
  nook_want want;
  uint8_t *file = read_whole(MODEL, &length);
  nook_context *context = nook_create(NULL, &status);
  (void)snprintf(plan, sizeof plan, "{\"files\":[{\"bytes\":%zu}],\"plan\":true}", length);
  (void)snprintf(load, sizeof load, "{\"files\":[{\"bytes\":%zu}]}", length);
  assert_int_equal(nook_load_begin(context, plan), NK_STATUS_OK);
  assert_int_equal(host_feed(context, file, length), NK_STATUS_OK);
  assert_non_null(strstr(nook_info(context), "\"memory\""));
  assert_int_equal(nook_load_begin(context, load), NK_STATUS_OK);
  assert_string_equal(nook_info(context), "{}");
  assert_int_equal(nook_load_step(context, &want), NK_STATUS_OK);
  nook_unload(context);
  assert_int_equal(nook_load_step(context, &want), NK_STATUS_DATA);
  assert_int_equal(nook_load_begin(context, load), NK_STATUS_OK);
  assert_int_equal(host_feed(context, file, length), NK_STATUS_OK);
  assert_non_null(strstr(nook_info(context), "\"memory\""));
  nook_destroy(context);
  free(file);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(any_history_of_operations_leaves_the_bits_of_a_fresh_evaluation),
      cmocka_unit_test(the_smallest_contexts_drop_their_middle_and_go_on),
      cmocka_unit_test(steps_after_the_last_say_finished_again_and_bring_nothing),
      cmocka_unit_test(a_long_choice_is_read_in_bounded_steps_and_sums_its_tokens_losses),
      cmocka_unit_test(batches_become_smaller_far_on_in_a_long_sequence),
      cmocka_unit_test(missing_arrays_are_errors_with_a_sentence),
      cmocka_unit_test(a_helper_that_was_not_announced_leaves_at_once),
      cmocka_unit_test(unloading_ends_a_load_and_a_new_load_does_not_show_an_earlier_plan),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
