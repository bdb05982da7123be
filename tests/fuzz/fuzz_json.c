/*
 * fuzz_json.c: options as a page could send them. The bytes up to the first NUL are the text. Asserted: an error has a
 * sentence and leaves targets alone, values are within their ranges, what was accepted prints and reads again, and any
 * bytes leave as valid UTF-8.
 */
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/utf8.h"

#define CHECK(condition)                \
  do {                                  \
    if (!(condition)) __builtin_trap(); \
  } while (0)

typedef struct targets {
  bool flag;
  uint32_t count, choice;
  int32_t shift;
  double rate;
  const cJSON *value;
} targets;

static nk_status read_text(const char *text, targets *t, cJSON **root, nk_error *error) {
  const nk_json_option table[] = {
      {"flag", NK_JSON_BOOL, &t->flag, 0, 0, NULL},          {"count", NK_JSON_U32, &t->count, 1, 100, NULL},
      {"shift", NK_JSON_I32, &t->shift, -5, 5, NULL},        {"rate", NK_JSON_F64, &t->rate, 0, 2, NULL},
      {"choice", NK_JSON_CHOICE, &t->choice, 0, 0, "a|b|c"}, {"value", NK_JSON_VALUE, (void *)&t->value, 0, 0, NULL},
  };
  return nk_json_options(text, table, sizeof table / sizeof table[0], root, error);
}

static void check_valid(const char *text) {
  size_t n = strlen(text);
  for (size_t at = 0; at < n;) {
    uint32_t step;
    CHECK(nk_utf8_scan(text + at, n - at, &step) == NK_UTF8_WHOLE);
    at += step;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = malloc(size + 1);
  CHECK(text != NULL);
  memcpy(text, data, size);
  text[size] = '\0';
  const targets before = {true, 50, 77, 3, 1.5, NULL};
  targets t = before;
  nk_error error = {0};
  cJSON *root;
  nk_status status = read_text(text, &t, &root, &error);
  if (status == NK_STATUS_OK) {
    CHECK(t.count >= 1 && t.count <= 100 && t.shift >= -5 && t.shift <= 5 && t.rate >= 0 && t.rate <= 2);
    CHECK(t.choice == 77 || t.choice < 3);
    if (root != NULL) {
      char *printed = nk_json_print(root);
      CHECK(printed != NULL);
      targets again = before;
      cJSON *second;
      /* Printing may lengthen (escapes), never change. */
      if (strlen(printed) <= NK_JSON_MAX_BYTES) {
        CHECK(read_text(printed, &again, &second, &error) == NK_STATUS_OK);
        CHECK(again.count == t.count && again.flag == t.flag && again.choice == t.choice && again.shift == t.shift);
        CHECK(!(again.rate < t.rate) && !(again.rate > t.rate) && (again.value == NULL) == (t.value == NULL));
        cJSON_Delete(second);
      }
      cJSON_free(printed);
    }
    cJSON_Delete(root);
  } else {
    CHECK(status == NK_STATUS_DATA && root == NULL && error.text[0] != '\0');
    CHECK(t.flag == before.flag && t.count == before.count && t.choice == before.choice && t.value == NULL);
  }
  cJSON *object = cJSON_CreateObject();
  CHECK(object != NULL && nk_json_text(object, "t", (const char *)data, size));
  check_valid(cJSON_GetObjectItemCaseSensitive(object, "t")->valuestring);
  cJSON_Delete(object);
  free(text);
  return 0;
}
