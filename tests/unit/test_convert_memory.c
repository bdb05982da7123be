/*
 * test_convert_memory.c: conversions when memory runs out: at each of the first allocations, then at every 13th, alone and
 * with all that follow.
 */
#include "checkpoint_fixture.h"
#include "failing_allocator.h"

#define EACH 300u /* allocations that fail one by one; what follows are the thousands of a tokenizer's tree */

/* Converts without keeping the output. */
static nk_status convert(nook_context *context, const char *options, const folder *f) {
  nk_status status = nook_convert_begin(context, options);
  nook_conversion step = {0};
  while (status == NK_STATUS_OK && !step.finished) {
    status = nook_convert_step(context, &step);
    if (status == NK_STATUS_OK && step.length > 0) memcpy(step.destination, f->bytes[step.file] + step.offset, step.length);
  }
  nook_convert_end(context);
  return status;
}

/* True: nothing failed. */
static bool run(nook_context *context, const char *options, const folder *f) {
  asked = failed = 0;
  held = 0;
  armed = true;
  nk_status status = convert(context, options, f);
  armed = false;
  if (status == NK_STATUS_OK && failed > 0) fail_msg("allocation %zu failed and nobody noticed", allowed);
  if (status != NK_STATUS_OK) {
    if (status != NK_STATUS_MEMORY) fail_msg("allocation %zu: %s", allowed, nook_error(context));
    assert_non_null(strstr(nook_error(context), "\"code\":\"memory\""));
    if (held != 0) fail_msg("allocation %zu: %td blocks were left behind", allowed, held);
  }
  return failed == 0;
}

static void every_allocation(const char *checkpoint, bool forever) {
  folder f = folder_open(checkpoint);
  char options[4096];
  int n = snprintf(options, sizeof options, "{\"outtype\":\"q8_0\",\"name\":\"x\",\"files\":[");
  for (uint32_t i = 0; i < f.n; i++) {
    n += snprintf(options + n, sizeof options - (size_t)n, "%s{\"name\":\"%s\",\"bytes\":%zu}", i == 0 ? "" : ",",
                  f.name[i], f.length[i]);
  }
  (void)snprintf(options + n, sizeof options - (size_t)n, "]}");
  nook_context *context = context_new();
  for_good = forever;
  for (allowed = 0; !run(context, options, &f); allowed += allowed < EACH ? 1 : 13) assert_true(allowed < 100000);
  print_message("%s: %zu allocations\n", checkpoint, allowed);
  assert_true(allowed > EACH); /* else the linker's --wrap is missing and nothing failed */
  nook_destroy(context);
  folder_close(&f);
}

static void an_allocation_that_fails_alone_is_an_error_of_memory_and_leaves_nothing_behind(void **state) {
  (void)state;
  every_allocation("llama3", false); /* in parts, with made tensors */
  every_allocation("llama_unigram", false);
}

static void allocations_that_fail_for_good_are_an_error_of_memory_and_leave_nothing_behind(void **state) {
  (void)state;
  every_allocation("llama3", true);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_allocation_that_fails_alone_is_an_error_of_memory_and_leaves_nothing_behind),
      cmocka_unit_test(allocations_that_fail_for_good_are_an_error_of_memory_and_leave_nothing_behind)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
