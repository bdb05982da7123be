/* test_json_memory.c: options and facts when memory runs out at each allocation, cJSON's and ours. As test_gguf_memory.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static size_t budget, asked, held;

static void *failing_malloc(size_t bytes) {
  if (asked++ == budget) return NULL;
  void *memory = malloc(bytes);
  held += memory != NULL;
  return memory;
}

static void counting_free(void *memory) {
  held -= memory != NULL;
  free(memory);
}

#define nk_json_options options_with_failing_memory
#define nk_json_text text_with_failing_memory
#define nk_json_text_item text_item_with_failing_memory
#define nk_json_print print_with_failing_memory
#define malloc failing_malloc
#define free counting_free
#include "core/json.c"
#undef malloc
#undef free

static int set_hooks(void **state) {
  (void)state;
  cJSON_Hooks hooks = {failing_malloc, counting_free};
  cJSON_InitHooks(&hooks);
  return 0;
}

static int drop_hooks(void **state) {
  (void)state;
  cJSON_InitHooks(NULL);
  return 0;
}

static void options_without_memory_are_an_error_and_leave_nothing_behind(void **state) {
  (void)state;
  int refused_for_memory = 0;
  for (budget = 0; budget < 200; budget++) {
    uint32_t count = 7;
    const cJSON *value = NULL;
    const nk_json_option table[] = {{"count", NK_JSON_U32, &count, 0, 0, NULL},
                                    {"value", NK_JSON_VALUE, (void *)&value, 0, 0, NULL}};
    nk_error error = {0};
    cJSON *root;
    asked = 0;
    nk_status status =
        nk_json_options("{\"count\": 3, \"value\": [\"x\", {\"k\": 1, \"l\": {}}]}", table, 2, &root, &error);
    if (status == NK_STATUS_OK) {
      assert_int_equal(count, 3);
      assert_non_null(value);
      cJSON_Delete(root);
      assert_int_equal(held, 0);
      break;
    }
    assert_int_equal(status, NK_STATUS_MEMORY);
    refused_for_memory++;
    assert_true(strlen(error.text) > 10);
    assert_null(root);
    assert_null(value);
    assert_int_equal(count, 7);
    assert_int_equal(held, 0);
  }
  assert_true(budget > 8 && budget < 200);
  assert_int_equal(refused_for_memory, budget);
}

static void facts_without_memory_are_false_or_null_and_leave_nothing_behind(void **state) {
  (void)state;
  for (budget = 0; budget < 200; budget++) {
    asked = 0;
    cJSON *object = cJSON_CreateObject();
    cJSON *array = cJSON_CreateArray();
    bool whole =
        object != NULL && array != NULL && nk_json_text(object, "t", "a\xff", 2) && nk_json_text_item(array, "b", 1);
    char *text = whole ? nk_json_print(object) : NULL;
    bool done = text != NULL;
    if (done) assert_string_equal(text, "{\"t\":\"a\xef\xbf\xbd\"}");
    cJSON_free(text);
    cJSON_Delete(object);
    cJSON_Delete(array);
    assert_int_equal(held, 0);
    if (done) break;
  }
  assert_true(budget > 7 && budget < 200);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(options_without_memory_are_an_error_and_leave_nothing_behind),
      cmocka_unit_test(facts_without_memory_are_false_or_null_and_leave_nothing_behind),
  };
  return cmocka_run_group_tests(tests, set_hooks, drop_hooks);
}
