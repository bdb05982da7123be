/*
 * test_generate.c: generation through the public interface on the tiny llama: what is drawn equals what single evaluations
 * say, prefix reuse and dropping the middle change no bit, endings and options are told, and one operation excludes
 * another.
 */
#include <math.h>

#include "engine_fixture.h"

#define MODEL "tests/fixtures/tiny/llama.gguf"
#define VOCAB 320

static const int32_t PROMPT[] = {5, 80, 17, 200, 33, 150, 91, 260, 77, 12, 301, 45};
#define PROMPT_N 12

typedef struct run {
  int32_t ids[512];
  uint32_t n, shifts, prefills, dropped;
  char text[8192];
  cJSON *result;
} run;

static run generate(host *h, const int32_t *ids, uint32_t n, const char *options) {
  run r = {0};
  if (nook_generate_begin(h->context, ids, n, options) != NK_STATUS_OK) fail_msg("%s", nook_error(h->context));
  for (nook_event e = {0}; e.type != NOOK_EVENT_DONE;) {
    if (nook_generate_step(h->context, &e) != NK_STATUS_OK) fail_msg("%s", nook_error(h->context));
    if (e.type == NOOK_EVENT_TOKEN) r.ids[r.n++] = e.token;
    if (e.type == NOOK_EVENT_PREFILL) r.prefills++;
    if (e.type == NOOK_EVENT_SHIFT) r.shifts++, r.dropped = e.dropped;
    assert_int_equal(strlen(e.text), e.text_bytes);
    strncat(r.text, e.text, sizeof r.text - strlen(r.text) - 1);
  }
  nook_generate_end(h->context);
  r.result = cJSON_Parse(nook_result(h->context));
  assert_non_null(r.result);
  return r;
}

static const char *result_text(const run *r, const char *key) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(r->result, key);
  return cJSON_IsString(item) ? item->valuestring : "";
}

static double usage(const run *r, const char *key) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(r->result, "usage"), key);
  assert_true(cJSON_IsNumber(item));
  return item->valuedouble;
}

static uint32_t argmax(const float *row) {
  uint32_t best = 0;
  for (uint32_t i = 1; i < VOCAB; i++) {
    if (row[i] > row[best]) best = i;
  }
  return best;
}

/* Greedy by whole evaluations: the slow way that needs no cache. */
static void greedy_by_evaluation(host *h, const int32_t *prompt, uint32_t n, int32_t *out, uint32_t count) {
  int32_t ids[512];
  memcpy(ids, prompt, n * sizeof *ids);
  for (uint32_t i = 0; i < count; i++) {
    float *logits = host_logits(h, ids, n + i, 0, VOCAB);
    out[i] = ids[n + i] = (int32_t)argmax(logits + (size_t)(n + i - 1) * VOCAB);
    free(logits);
  }
}

#define GREEDY "\"temperature\":0,\"ignore_end\":true"

static void greedy_generation_equals_whole_evaluations(void **state) {
  (void)state;
  host h = host_open(MODEL, "auto", 1, "");
  int32_t expected[24];
  greedy_by_evaluation(&h, PROMPT, PROMPT_N, expected, 24);
  run r = generate(&h, PROMPT, PROMPT_N, "{" GREEDY ",\"max_tokens\":24}");
  assert_int_equal(r.n, 24);
  assert_memory_equal(r.ids, expected, sizeof expected);
  assert_string_equal(result_text(&r, "finish_reason"), "length");
  assert_true(usage(&r, "prompt_tokens") == PROMPT_N && usage(&r, "completion_tokens") == 24);
  cJSON_Delete(r.result);
  host_close(&h);
}

static void a_reused_prefix_changes_nothing_but_the_count_of_cached_tokens(void **state) {
  (void)state;
  host h = host_open(MODEL, "auto", 1, "");
  run first = generate(&h, PROMPT, PROMPT_N, "{" GREEDY ",\"max_tokens\":10}");
  run again = generate(&h, PROMPT, PROMPT_N, "{" GREEDY ",\"max_tokens\":10}");
  assert_memory_equal(first.ids, again.ids, 10 * sizeof *first.ids);
  assert_true(usage(&first, "cached_tokens") == 0 && usage(&again, "cached_tokens") == PROMPT_N - 1);
  /* The conversation goes on: the answer is in the cache too, all but its last token, which was never read. */
  int32_t longer[PROMPT_N + 12];
  memcpy(longer, PROMPT, sizeof PROMPT);
  memcpy(longer + PROMPT_N, first.ids, 10 * sizeof *longer);
  longer[PROMPT_N + 10] = 7, longer[PROMPT_N + 11] = 8;
  run warm = generate(&h, longer, PROMPT_N + 12, "{" GREEDY ",\"max_tokens\":10}");
  run cold = generate(&h, longer, PROMPT_N + 12, "{" GREEDY ",\"max_tokens\":10,\"reuse\":false}");
  assert_true(usage(&warm, "cached_tokens") == PROMPT_N + 9 && usage(&cold, "cached_tokens") == 0);
  assert_memory_equal(warm.ids, cold.ids, 10 * sizeof *warm.ids);
  cJSON_Delete(first.result), cJSON_Delete(again.result), cJSON_Delete(warm.result), cJSON_Delete(cold.result);
  host_close(&h);
}

static void a_full_context_ends_when_the_caller_chose_to_stop(void **state) {
  (void)state;
  host h = host_open(MODEL, "auto", 1, ",\"context\":20");
  run r = generate(&h, PROMPT, PROMPT_N, "{" GREEDY ",\"context_full\":\"stop\"}");
  assert_int_equal(r.n, 8);
  assert_string_equal(result_text(&r, "finish_reason"), "context_full");
  cJSON_Delete(r.result);
  int32_t too_long[20] = {0};
  assert_int_equal(nook_generate_begin(h.context, too_long, 20, "{}"), NK_STATUS_CONTEXT_FULL);
  assert_non_null(strstr(nook_error(h.context), "context_full"));
  host_close(&h);
}

static void dropping_the_middle_continues_as_a_fresh_prompt_of_what_is_kept_would(void **state) {
  (void)state;
  host h = host_open(MODEL, "auto", 1, ",\"context\":20");
  run r = generate(&h, PROMPT, PROMPT_N, "{" GREEDY ",\"max_tokens\":14,\"context_full\":\"shift\",\"keep\":4}");
  assert_int_equal(r.n, 14);
  assert_int_equal(r.shifts, 1);
  assert_int_equal(r.dropped, 8);
  /* At 20 tokens: the first 4 stay, 8 of the other 16 go, and the rest is read anew. */
  int32_t all[26], fresh[12], expected[6];
  memcpy(all, PROMPT, sizeof PROMPT), memcpy(all + PROMPT_N, r.ids, 14 * sizeof *all);
  memcpy(fresh, all, 4 * sizeof *fresh), memcpy(fresh + 4, all + 12, 8 * sizeof *fresh);
  greedy_by_evaluation(&h, fresh, 12, expected, 6);
  assert_memory_equal(r.ids + 8, expected, sizeof expected);
  assert_true(cJSON_GetObjectItemCaseSensitive(r.result, "dropped")->valuedouble == 8);
  cJSON_Delete(r.result);
  /* A prompt that is too long by itself: its middle goes before anything is read. */
  int32_t too_long[40];
  for (int i = 0; i < 40; i++) too_long[i] = 10 + i;
  r = generate(&h, too_long, 40, "{" GREEDY ",\"max_tokens\":1,\"context_full\":\"shift\",\"keep\":4}");
  assert_int_equal(r.dropped, 21);
  assert_true(usage(&r, "prompt_tokens") == 40);
  memcpy(fresh, too_long, 4 * sizeof *fresh);
  int32_t kept[19];
  memcpy(kept, too_long, 4 * sizeof *kept), memcpy(kept + 4, too_long + 25, 15 * sizeof *kept);
  greedy_by_evaluation(&h, kept, 19, expected, 1);
  assert_int_equal(r.ids[0], expected[0]);
  cJSON_Delete(r.result);
  host_close(&h);
}

static void the_same_seed_gives_the_same_tokens_on_any_isa_and_another_seed_others(void **state) {
  (void)state;
  static const char options[] = "{\"temperature\":1.5,\"seed\":42,\"max_tokens\":40,\"ignore_end\":true,\"top_p\":0.95}";
  host scalar = host_open(MODEL, "scalar", 1, ""), simd = host_open(MODEL, "simd128", 3, "");
  run a = generate(&scalar, PROMPT, PROMPT_N, options), b = generate(&simd, PROMPT, PROMPT_N, options);
  run c = generate(&simd, PROMPT, PROMPT_N,
                   "{\"temperature\":1.5,\"seed\":43,\"max_tokens\":40,\"ignore_end\":true,\"top_p\":0.95}");
  assert_memory_equal(a.ids, b.ids, 40 * sizeof *a.ids);
  assert_memory_not_equal(a.ids, c.ids, 40 * sizeof *a.ids);
  cJSON_Delete(a.result), cJSON_Delete(b.result), cJSON_Delete(c.result);
  host_close(&scalar), host_close(&simd);
}

static void an_end_token_ends_and_is_not_shown(void **state) {
  (void)state;
  host h = host_open(MODEL, "auto", 1, "");
  /* Id 2 is the file's end of sequence: a bias makes it certain. */
  run r = generate(&h, PROMPT, PROMPT_N, "{\"temperature\":0,\"logit_bias\":{\"2\":1000}}");
  assert_int_equal(r.n, 1);
  assert_int_equal(r.ids[0], 2);
  assert_string_equal(r.text, "");
  assert_string_equal(result_text(&r, "finish_reason"), "stop");
  cJSON_Delete(r.result);
  r = generate(&h, PROMPT, PROMPT_N,
               "{\"temperature\":0,\"logit_bias\":{\"2\":1000},\"ignore_end\":true,\"max_tokens\":3}");
  assert_int_equal(r.n, 3);
  assert_string_equal(result_text(&r, "finish_reason"), "length");
  cJSON_Delete(r.result);
  host_close(&h);
}

static void a_stop_string_ends_the_text_before_it(void **state) {
  (void)state;
  host h = host_open(MODEL, "auto", 1, "");
  run whole = generate(&h, PROMPT, PROMPT_N, "{" GREEDY ",\"max_tokens\":30}");
  /* A stop made of the middle of what was said, if it is plain ASCII somewhere. */
  char stop[4] = "";
  size_t at = 0;
  for (size_t i = 4; whole.text[i] != '\0' && whole.text[i + 1] != '\0'; i++) {
    unsigned char x = (unsigned char)whole.text[i], y = (unsigned char)whole.text[i + 1];
    if (x >= 'A' && x < 127 && x != '\\' && y >= 'A' && y < 127 && y != '\\') {
      stop[0] = (char)x, stop[1] = (char)y;
      at = (size_t)(strstr(whole.text, stop) - whole.text);
      break;
    }
  }
  assert_true(stop[0] != '\0');
  char options[160];
  (void)snprintf(options, sizeof options, "{" GREEDY ",\"max_tokens\":30,\"stop\":[\"never said\",\"%s\"]}", stop);
  run cut = generate(&h, PROMPT, PROMPT_N, options);
  assert_int_equal(strlen(cut.text), at);
  assert_memory_equal(cut.text, whole.text, at);
  assert_string_equal(result_text(&cut, "finish_reason"), "stop");
  assert_string_equal(result_text(&cut, "stop"), stop);
  cJSON_Delete(whole.result), cJSON_Delete(cut.result);
  host_close(&h);
}

static void log_probabilities_are_those_of_the_model(void **state) {
  (void)state;
  host h = host_open(MODEL, "auto", 1, "");
  run r = generate(&h, PROMPT, PROMPT_N, "{" GREEDY ",\"max_tokens\":4,\"logprobs\":3}");
  const cJSON *list = cJSON_GetObjectItemCaseSensitive(r.result, "logprobs");
  assert_int_equal(cJSON_GetArraySize(list), 4);
  int32_t ids[PROMPT_N + 4];
  memcpy(ids, PROMPT, sizeof PROMPT), memcpy(ids + PROMPT_N, r.ids, 4 * sizeof *ids);
  float *logits = host_logits(&h, ids, PROMPT_N + 4, 0, VOCAB);
  for (int i = 0; i < 4; i++) {
    const float *row = logits + (size_t)(PROMPT_N - 1 + i) * VOCAB;
    double sum = 0;
    for (int v = 0; v < VOCAB; v++) sum += exp((double)row[v]);
    const cJSON *one = cJSON_GetArrayItem(list, i);
    double got = cJSON_GetObjectItemCaseSensitive(one, "logprob")->valuedouble;
    assert_true(fabs(got - ((double)row[r.ids[i]] - log(sum))) < 1e-5);
    const cJSON *top = cJSON_GetObjectItemCaseSensitive(one, "top");
    assert_int_equal(cJSON_GetArraySize(top), 3);
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(top, 0), "token")->valueint, r.ids[i]);
  }
  free(logits);
  cJSON_Delete(r.result);
  host_close(&h);
}

static void choices_get_the_log_probability_of_their_tokens_after_the_prompt(void **state) {
  (void)state;
  host h = host_open(MODEL, "auto", 1, "");
  static const int32_t choices[] = {7, 100, 101, 102, 9, 55};
  static const uint32_t start[] = {0, 1, 4, 6};
  assert_int_equal(nook_choices_begin(h.context, PROMPT, PROMPT_N, choices, start, 3), NK_STATUS_OK);
  uint32_t done = 0;
  for (nook_rows rows = {0}; !rows.finished;) {
    assert_int_equal(nook_choices_step(h.context, &rows), NK_STATUS_OK);
    assert_true(rows.done >= done && rows.done <= rows.total);
    done = rows.done;
  }
  nook_choices_end(h.context);
  cJSON *result = cJSON_Parse(nook_result(h.context));
  for (int c = 0; c < 3; c++) {
    int32_t ids[PROMPT_N + 4];
    uint32_t count = start[c + 1] - start[c];
    memcpy(ids, PROMPT, sizeof PROMPT), memcpy(ids + PROMPT_N, choices + start[c], count * sizeof *ids);
    float *logits = host_logits(&h, ids, PROMPT_N + count, 0, VOCAB);
    double expected = 0;
    for (uint32_t i = 0; i < count; i++) {
      const float *row = logits + (size_t)(PROMPT_N - 1 + i) * VOCAB;
      double sum = 0;
      for (int v = 0; v < VOCAB; v++) sum += exp((double)row[v]);
      expected += (double)row[choices[start[c] + i]] - log(sum);
    }
    free(logits);
    const cJSON *one = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(result, "choices"), c);
    assert_true(fabs(cJSON_GetObjectItemCaseSensitive(one, "logprob")->valuedouble - expected) < 1e-5);
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(one, "tokens")->valueint, count);
  }
  cJSON_Delete(result);
  host_close(&h);
}

static void an_operation_under_way_makes_others_busy_and_ends_anywhere(void **state) {
  (void)state;
  host h = host_open(MODEL, "auto", 1, "");
  nook_event event;
  assert_int_equal(nook_generate_begin(h.context, PROMPT, PROMPT_N, "{}"), NK_STATUS_OK);
  assert_int_equal(nook_eval_begin(h.context, PROMPT, PROMPT_N, "{}"), NK_STATUS_BUSY);
  assert_int_equal(nook_generate_begin(h.context, PROMPT, PROMPT_N, "{}"), NK_STATUS_BUSY);
  assert_int_equal(nook_load_begin(h.context, "{\"files\":[{\"bytes\":1}]}"), NK_STATUS_BUSY);
  nook_generate_end(h.context); /* before the first step */
  assert_non_null(strstr(nook_result(h.context), "\"abort\""));
  assert_int_equal(nook_generate_step(h.context, &event), NK_STATUS_DATA);
  assert_int_equal(nook_eval_begin(h.context, PROMPT, PROMPT_N, "{}"), NK_STATUS_OK);
  nook_eval_end(h.context);
  run r = generate(&h, PROMPT, PROMPT_N, "{" GREEDY ",\"max_tokens\":2}");
  assert_int_equal(r.n, 2);
  cJSON_Delete(r.result);
  host_close(&h);
}

static void bad_options_and_tokens_are_named_and_leave_the_context_usable(void **state) {
  (void)state;
  host h = host_open(MODEL, "auto", 1, "");
  static const struct { const char *options, *says; } bad[] = {
      {"{\"temprature\":1}", "temprature"},       {"{\"temperature\":-1}", "temperature"},
      {"{\"max_tokens\":0}", "max_tokens"},       {"{\"stop\":[1]}", "stop"},
      {"{\"stop\":\"\"}", "0 bytes"},               {"{\"logit_bias\":{\"320\":1}}", "320"},
      {"{\"logit_bias\":{\"-1\":1}}", "-1"},      {"{\"seed\":1.5}", "seed"},
      {"{\"context_full\":\"maybe\"}", "shift"},  {"{", "JSON"},
      {"[]", "object"},                           {"{\"logprobs\":21}", "logprobs"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    assert_int_equal(nook_generate_begin(h.context, PROMPT, PROMPT_N, bad[i].options), NK_STATUS_DATA);
    if (strstr(nook_error(h.context), bad[i].says) == NULL) fail_msg("%s gives %s", bad[i].options, nook_error(h.context));
  }
  const int32_t outside[2] = {5, VOCAB};
  assert_int_equal(nook_generate_begin(h.context, outside, 2, "{}"), NK_STATUS_DATA);
  assert_non_null(strstr(nook_error(h.context), "320"));
  assert_int_equal(nook_generate_begin(h.context, PROMPT, 0, "{}"), NK_STATUS_DATA);
  run r = generate(&h, PROMPT, PROMPT_N, "{" GREEDY ",\"max_tokens\":2}");
  cJSON_Delete(r.result);
  host_close(&h);
}

static void two_contexts_in_one_program_do_not_know_of_each_other(void **state) {
  (void)state;
  host a = host_open(MODEL, "auto", 1, ""), b = host_open("tests/fixtures/tiny/mistral.gguf", "auto", 2, "");
  nook_event event;
  assert_int_equal(nook_generate_begin(a.context, PROMPT, PROMPT_N, "{" GREEDY "}"), NK_STATUS_OK);
  run other = generate(&b, PROMPT, PROMPT_N, "{" GREEDY ",\"max_tokens\":5}");
  for (int i = 0; i < 3; i++) assert_int_equal(nook_generate_step(a.context, &event), NK_STATUS_OK);
  nook_generate_end(a.context);
  assert_int_equal(nook_generate_begin(a.context, PROMPT, PROMPT_N, "{\"x\":1}"), NK_STATUS_DATA);
  assert_string_equal(nook_error(b.context), "{\"code\":\"ok\",\"message\":\"\",\"hint\":\"\"}");
  cJSON_Delete(other.result);
  host_close(&a), host_close(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(greedy_generation_equals_whole_evaluations),
      cmocka_unit_test(a_reused_prefix_changes_nothing_but_the_count_of_cached_tokens),
      cmocka_unit_test(a_full_context_ends_when_the_caller_chose_to_stop),
      cmocka_unit_test(dropping_the_middle_continues_as_a_fresh_prompt_of_what_is_kept_would),
      cmocka_unit_test(the_same_seed_gives_the_same_tokens_on_any_isa_and_another_seed_others),
      cmocka_unit_test(an_end_token_ends_and_is_not_shown),
      cmocka_unit_test(a_stop_string_ends_the_text_before_it),
      cmocka_unit_test(log_probabilities_are_those_of_the_model),
      cmocka_unit_test(choices_get_the_log_probability_of_their_tokens_after_the_prompt),
      cmocka_unit_test(an_operation_under_way_makes_others_busy_and_ends_anywhere),
      cmocka_unit_test(bad_options_and_tokens_are_named_and_leave_the_context_usable),
      cmocka_unit_test(two_contexts_in_one_program_do_not_know_of_each_other),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
