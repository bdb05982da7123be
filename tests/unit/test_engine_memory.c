/*
 * test_engine_memory.c: the whole way from a file to an answer when memory runs out at each of its allocations.
 *
 * failing_allocator.h makes them fail: once an allocation alone, once it and all after it.
 */
#include "engine_fixture.h"
#include "failing_allocator.h"

/* ---- The way of one answer ------------------------------------------------------------------------------------------ */

static const char PROMPT[] = "abab<|im_end|>ab";
static const char GENERATE[] =
    "{\"max_tokens\":3,\"seed\":1,\"logprobs\":2,\"stop\":[\"zz\",\"yy\"],\"logit_bias\":{\"2\":0.5},"
    "\"ignore_end\":true,\"repetition_penalty\":1.1}";

static nk_status load(nook_context *context, const uint8_t *file, size_t length) {
  char options[96];
  (void)snprintf(options, sizeof options, "{\"files\":[{\"bytes\":%zu}],\"context\":32}", length);
  nk_status status = nook_load_begin(context, options);
  return status == NK_STATUS_OK ? host_feed(context, file, length) : status;
}

static nk_status answer(nook_context *context) {
  static const nook_span spans[] = {{0, 4, 0}, {4, 10, 1}, {14, 2, 0}};
  const int32_t *ids;
  int32_t prompt[32];
  uint32_t n, bytes;
  const char *text;
  nk_status status = nook_tokenize(context, PROMPT, sizeof PROMPT - 1, spans, 3, NOOK_TOKENIZE_ADD_SPECIAL, &ids, &n);
  if (status != NK_STATUS_OK) return status;
  assert_true(n > 2 && n < 32);
  memcpy(prompt, ids, n * sizeof *prompt);
  if ((status = nook_detokenize(context, prompt, n, 1, &text, &bytes)) != NK_STATUS_OK) return status;
  assert_int_equal(bytes, sizeof PROMPT - 1);

  status = nook_eval_begin(context, prompt, n, "{\"output\":\"nll\"}");
  for (nook_rows rows = {0}; status == NK_STATUS_OK && !rows.finished;) status = nook_eval_step(context, &rows);
  nook_eval_end(context);
  if (status != NK_STATUS_OK) return status;

  static const int32_t choices[] = {0, 1, 2};
  static const uint32_t starts[] = {0, 1, 3};
  status = nook_choices_begin(context, prompt, n, choices, starts, 2);
  for (nook_rows rows = {0}; status == NK_STATUS_OK && !rows.finished;) status = nook_choices_step(context, &rows);
  nook_choices_end(context);
  if (status != NK_STATUS_OK) return status;

  status = nook_generate_begin(context, prompt, n, GENERATE);
  nook_event event = {0};
  while (status == NK_STATUS_OK && event.type != NOOK_EVENT_DONE) status = nook_generate_step(context, &event);
  nook_generate_end(context);
  return status;
}

/* The error of a call that failed is of the code `memory` and has a sentence, even where there is no memory for one. */
static void assert_out_of_memory(nook_context *context, nk_status status) {
  if (status != NK_STATUS_MEMORY) fail_msg("allocation %zu: %s", allowed, nook_error(context));
  const char *text = nook_error(context);
  assert_non_null(strstr(text, "\"code\":\"memory\""));
  assert_non_null(strstr(text, "memory"));
  assert_true(strlen(text) > 40);
}

/* True: nothing failed. */
static bool run(const uint8_t *file, size_t length) {
  asked = failed = 0;
  held = 0;
  armed = true;
  nk_status status;
  nook_context *context = nook_create("{\"isa\":\"scalar\"}", &status);
  if (context == NULL) {
    assert_int_equal(status, NK_STATUS_MEMORY);
  } else if (status != NK_STATUS_OK) {
    assert_out_of_memory(context, status);
  } else {
    status = load(context, file, length);
    if (status != NK_STATUS_OK) {
      assert_out_of_memory(context, status);
      if (!for_good) assert_int_equal(load(context, file, length), NK_STATUS_OK); /* as before begin: it loads now */
    }
    if (status == NK_STATUS_OK || !for_good) {
      status = answer(context);
      if (status != NK_STATUS_OK) {
        assert_out_of_memory(context, status);
        if (!for_good) assert_int_equal(answer(context), NK_STATUS_OK);
      }
    }
  }
  nook_destroy(context);
  armed = false;
  if (held != 0) fail_msg("allocation %zu: %td blocks were left behind", allowed, held);
  return failed == 0;
}

static void every_allocation(bool forever) {
  size_t length;
  uint8_t *file = read_whole("tests/hostile/sound-model.gguf", &length);
  for_good = forever;
  for (allowed = 0; !run(file, length); allowed++) assert_true(allowed < 5000);
  print_message("%zu allocations, each failed once\n", allowed);
  assert_true(allowed > 80); /* else the linker's --wrap is missing and nothing failed */
  free(file);
}

static void each_allocation_failing_alone_is_an_error_of_memory_and_leaves_nothing_behind(void **state) {
  (void)state;
  every_allocation(false);
}

static void each_allocation_failing_with_all_after_it_is_an_error_of_memory_and_leaves_nothing_behind(void **state) {
  (void)state;
  every_allocation(true);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_allocation_failing_alone_is_an_error_of_memory_and_leaves_nothing_behind),
      cmocka_unit_test(each_allocation_failing_with_all_after_it_is_an_error_of_memory_and_leaves_nothing_behind)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
