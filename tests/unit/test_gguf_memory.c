/*
 * test_gguf_memory.c: the GGUF reader when memory runs out at each of its allocations.
 *
 * The reader's source is compiled here a second time, under other names and with an allocator that fails on demand; so no
 * build of the engine carries a hook for tests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t allowed; /* allocations that succeed before one fails */
static size_t asked, held;

static void *count(void *memory) {
  held++;
  return memory;
}

static void *failing_malloc(size_t bytes) { return asked++ == allowed ? NULL : count(malloc(bytes)); }
static void *failing_calloc(size_t n, size_t bytes) { return asked++ == allowed ? NULL : count(calloc(n, bytes)); }
static void counting_free(void *memory) {
  held -= memory != NULL;
  free(memory);
}

#define nk_gguf_parse parse_with_failing_memory
#define nk_gguf_free free_with_failing_memory
#define malloc failing_malloc
#define calloc failing_calloc
#define free counting_free
#include "gguf/parse.c"
#undef malloc
#undef calloc
#undef free

static void every_failed_allocation_is_an_error_and_leaves_nothing_behind(void **state) {
  (void)state;
  FILE *file = fopen("tests/fixtures/tiny/llama.gguf", "rb");
  assert_non_null(file);
  enum { ROOM = 1 << 20 };
  uint8_t *bytes = malloc(ROOM);
  assert_non_null(bytes);
  size_t length = fread(bytes, 1, ROOM, file);
  fclose(file);
  for (allowed = 0; allowed < 1000; allowed++) {
    nk_gguf gguf;
    nk_error error = {0};
    uint64_t more;
    asked = 0;
    nk_status status = nk_gguf_parse(&gguf, bytes, length, length, &more, &error);
    assert_int_equal(more, 0);
    if (status == NK_STATUS_OK) {
      assert_int_equal(gguf.n_tensors, 20);
      assert_int_equal(held, asked);
      nk_gguf_free(&gguf);
      assert_int_equal(held, 0);
      break;
    }
    assert_int_equal(status, NK_STATUS_MEMORY);
    assert_non_null(strstr(error.text, "no memory for the"));
    static const nk_gguf empty;
    assert_memory_equal(&gguf, &empty, sizeof empty);
    assert_int_equal(held, 0);
  }
  assert_true(allowed >= 6 && allowed < 20); /* two tables, two indexes, and the arrays of strings */
  free(bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_failed_allocation_is_an_error_and_leaves_nothing_behind)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
