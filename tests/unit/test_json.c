/* test_json.c: options are checked whole before anything is written, and facts leave as valid UTF-8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/utf8.h"

typedef struct everything {
  bool yes;
  uint32_t u, kv;
  int32_t i;
  double d, any;
  const cJSON *value;
} everything;

/* Reads into `out`, whose values before stand in the tests. */
static nk_status read_options(const char *text, everything *out, cJSON **root, nk_error *error) {
  const nk_json_option table[] = {
      {"yes", NK_JSON_BOOL, &out->yes, 0, 0, NULL},
      {"u", NK_JSON_U32, &out->u, 1, 100, NULL},
      {"i", NK_JSON_I32, &out->i, 0, 0, NULL},
      {"d", NK_JSON_F64, &out->d, 0, 2, NULL},
      {"any", NK_JSON_F64, &out->any, 0, 0, NULL},
      {"kv", NK_JSON_CHOICE, &out->kv, 0, 0, "f16|f32|q8"},
      {"value", NK_JSON_VALUE, (void *)&out->value, 0, 0, NULL},
  };
  return nk_json_options(text, table, sizeof table / sizeof table[0], root, error);
}

static const everything before = {.yes = false, .u = 7, .kv = 9, .i = -7, .d = 0.5, .any = 1.5, .value = NULL};

static void assert_untouched(const everything *out) {
  assert_int_equal(out->yes, before.yes);
  assert_int_equal(out->u, before.u);
  assert_int_equal(out->kv, before.kv);
  assert_int_equal(out->i, before.i);
  assert_true(out->d == before.d && out->any == before.any);
  assert_null(out->value);
}

static void assert_refused(const char *text, const char *says) {
  everything out = before;
  nk_error error = {0};
  cJSON *root = (cJSON *)&out;
  nk_status status = read_options(text, &out, &root, &error);
  if (status != NK_STATUS_DATA) fail_msg("%s: status %d", text, (int)status);
  if (strstr(error.text, says) == NULL) fail_msg("%s: \"%s\" lacks \"%s\"", text, error.text, says);
  assert_null(root);
  assert_untouched(&out);
}

static void nothing_given_leaves_every_target_as_it_is(void **state) {
  (void)state;
  static const char *const texts[] = {NULL, "", "{}", " { } ", "{\"u\":null,\"yes\":null,\"value\":null,\"kv\":null}"};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    everything out = before;
    nk_error error = {0};
    cJSON *root;
    assert_int_equal(read_options(texts[i], &out, &root, &error), NK_STATUS_OK);
    assert_untouched(&out);
    cJSON_Delete(root);
  }
}

static void every_kind_is_read_into_its_target(void **state) {
  (void)state;
  everything out = before;
  nk_error error = {0};
  cJSON *root;
  const char *text =
      "{\"yes\": true, \"u\": 100, \"i\": -2147483648, \"d\": 1.25, \"any\": -1e300, \"kv\": \"q8\","
      " \"value\": {\"a\": [1, \"\\u00e4\\n\"]}}";
  assert_int_equal(read_options(text, &out, &root, &error), NK_STATUS_OK);
  assert_true(out.yes);
  assert_int_equal(out.u, 100);
  assert_true(out.i == INT32_MIN);
  assert_true(out.d == 1.25 && out.any == -1e300);
  assert_int_equal(out.kv, 2);
  assert_non_null(out.value);
  const cJSON *list = cJSON_GetObjectItemCaseSensitive(out.value, "a");
  assert_int_equal(cJSON_GetArraySize(list), 2);
  assert_string_equal(cJSON_GetArrayItem(list, 1)->valuestring, "\xc3\xa4\n");
  cJSON_Delete(root);
  static const char *const choices[] = {"{\"kv\":\"f16\"}", "{\"kv\":\"f32\"}", "{\"kv\":\"q8\"}"};
  for (uint32_t i = 0; i < 3; i++) {
    assert_int_equal(read_options(choices[i], &out, &root, &error), NK_STATUS_OK);
    assert_int_equal(out.kv, i);
    cJSON_Delete(root);
  }
  out.yes = true;
  assert_int_equal(read_options("{\"yes\":false,\"u\":1,\"i\":2147483647}", &out, &root, &error), NK_STATUS_OK);
  assert_false(out.yes);
  assert_int_equal(out.u, 1);
  assert_int_equal(out.i, INT32_MAX);
  cJSON_Delete(root);
}

static void wrong_types_and_values_are_refused_with_what_is_allowed(void **state) {
  (void)state;
  assert_refused("{\"yes\": 1}", "the option \"yes\" is a number; allowed is true or false");
  assert_refused("{\"yes\": \"true\"}", "is a string; allowed is true or false");
  assert_refused("{\"u\": 0}", "the option \"u\" is 0; allowed is an integer from 1 to 100");
  assert_refused("{\"u\": 101}", "the option \"u\" is 101; allowed is an integer from 1 to 100");
  assert_refused("{\"u\": -1}", "the option \"u\" is -1;");
  assert_refused("{\"u\": 1.5}", "the option \"u\" is 1.5;");
  assert_refused("{\"u\": 4294967297}", "the option \"u\" is 4294967297;");
  assert_refused("{\"u\": true}", "the option \"u\" is a bool; allowed is an integer");
  assert_refused("{\"u\": [1]}", "the option \"u\" is an array;");
  assert_refused("{\"u\": {}}", "the option \"u\" is an object;");
  assert_refused("{\"i\": 2147483648}", "allowed is an integer from -2147483648 to 2147483647");
  assert_refused("{\"i\": -2147483649}", "the option \"i\" is -2147483649;");
  assert_refused("{\"d\": 2.0000001}", "allowed is a number from 0 to 2");
  assert_refused("{\"d\": -0.1}", "the option \"d\" is -0.1;");
  assert_refused("{\"any\": 1e999}", "the option \"any\" holds a number beyond 1.8e308");
  assert_refused("{\"any\": -1e999}", "the option \"any\" holds a number beyond 1.8e308");
  assert_refused("{\"value\": [0, -1e309]}", "holds a number beyond 1.8e308");
  assert_refused("{\"kv\": \"f64\"}", "the option \"kv\" is \"f64\"; allowed is one of f16|f32|q8");
  assert_refused("{\"kv\": \"f1\"}", "allowed is one of f16|f32|q8");
  assert_refused("{\"kv\": \"\"}", "allowed is one of f16|f32|q8");
  assert_refused("{\"kv\": \"f16|f32\"}", "allowed is one of f16|f32|q8");
  assert_refused("{\"kv\": 0}", "the option \"kv\" is a number; allowed is one of f16|f32|q8");
}

static void numbers_without_bounds_take_what_their_type_holds(void **state) {
  (void)state;
  uint32_t u = 7;
  const nk_json_option table[] = {{"u", NK_JSON_U32, &u, 0, 0, NULL}};
  nk_error error = {0};
  assert_int_equal(nk_json_options("{\"u\": 0}", table, 1, NULL, &error), NK_STATUS_OK);
  assert_int_equal(u, 0);
  assert_int_equal(nk_json_options("{\"u\": 4294967295}", table, 1, NULL, &error), NK_STATUS_OK);
  assert_int_equal(u, UINT32_MAX);
  assert_int_equal(nk_json_options("{\"u\": 4294967296}", table, 1, NULL, &error), NK_STATUS_DATA);
  assert_string_equal(error.text, "the option \"u\" is 4294967296; allowed is an integer from 0 to 4294967295");
  assert_int_equal(nk_json_options("{\"u\": -1}", table, 1, NULL, &error), NK_STATUS_DATA);
  assert_int_equal(u, UINT32_MAX);
}

static void an_unknown_key_is_named_and_so_are_the_known_ones(void **state) {
  (void)state;
  assert_refused("{\"U\": 5}", "there is no option \"U\"; known are: yes, u, i, d, any, kv, value");
  assert_refused("{\"\": 5}", "there is no option \"\";");
  assert_refused("{\"\\u001b[31m\\u00e4\": null}", "there is no option \"?[31m??\";");
  everything out = before;
  nk_error error = {0};
  assert_int_equal(nk_json_options("{\"x\": 1}", NULL, 0, NULL, &error), NK_STATUS_DATA);
  assert_string_equal(error.text, "there is no option \"x\"; known are: none");
  /* Right ones before the wrong one are not written either. */
  cJSON *root;
  assert_int_equal(read_options("{\"u\": 5, \"yes\": true, \"nope\": 1}", &out, &root, &error), NK_STATUS_DATA);
  assert_untouched(&out);
}

static void duplicates_are_refused_at_every_level(void **state) {
  (void)state;
  assert_refused("{\"u\": 5, \"yes\": true, \"u\": 5}", "the option \"u\" is given twice");
  assert_refused("{\"value\": {\"a\": 1, \"b\": 2, \"a\": 1}}", "the option \"a\" is given twice");
  assert_refused("{\"value\": [[{\"k\": null, \"k\": null}]]}", "the option \"k\" is given twice");
  /* "\u0061" is "a". */
  assert_refused("{\"value\": {\"a\": 1, \"\\u0061\": 2}}", "the option \"a\" is given twice");
  /* Many different keys are fine, and fast. */
  char *text = malloc(NK_JSON_MAX_BYTES);
  assert_non_null(text);
  size_t at = (size_t)sprintf(text, "{\"value\":{");
  for (int i = 0; i < 60000; i++) at += (size_t)sprintf(text + at, "%s\"k%d\":1", i == 0 ? "" : ",", 60000 - i);
  at += (size_t)sprintf(text + at, "}}");
  everything out = before;
  nk_error error = {0};
  cJSON *root;
  assert_int_equal(read_options(text, &out, &root, &error), NK_STATUS_OK);
  cJSON_Delete(root);
  sprintf(text + at - 2, ",\"k30000\":1}}");
  assert_refused(text, "the option \"k30000\" is given twice");
  free(text);
}

static void text_that_is_no_json_is_refused_with_its_place(void **state) {
  (void)state;
  assert_refused("[]", "the options are an array; allowed is an object");
  assert_refused("null", "the options are null;");
  assert_refused("3", "the options are a number;");
  assert_refused("{", "not valid JSON");
  assert_refused("{\"u\": 5} x", "not valid JSON at byte 9: \"x\"");
  assert_refused("{\"u\": 5,}", "not valid JSON");
  assert_refused("{u: 5}", "not valid JSON at byte");
  assert_refused("{\"u\": }", "not valid JSON");
  assert_refused("{\"u", "not valid JSON");
  assert_refused("{\"u\\", "not valid JSON");
  assert_refused("{\"value\": \"\\ud800\"}", "not valid JSON");
}

static void an_escaped_nul_is_refused_since_it_would_cut_a_string_short(void **state) {
  (void)state;
  assert_refused("{\"value\": \"stop\\u0000here\"}", "the options hold the character U+0000 at byte 15");
  assert_refused("{\"value\": \"stop\\uZZZZhere\"}", "\\u needs four hexadecimal digits");
  assert_refused("{\"value\": \"\\u000\"}", "\\u needs four hexadecimal digits");
  assert_refused("{\"u\\u0000\": 5}", "U+0000");
  everything out = before;
  nk_error error = {0};
  cJSON *root;
  /* An escaped backslash before u0000 is no NUL. */
  assert_int_equal(read_options("{\"value\": \"\\\\u0000\"}", &out, &root, &error), NK_STATUS_OK);
  assert_string_equal(out.value->valuestring, "\\u0000");
  cJSON_Delete(root);
}

static void depth_and_length_are_bounded(void **state) {
  (void)state;
  everything out = before;
  nk_error error = {0};
  cJSON *root;
  char text[512];
  for (int depth = 62; depth <= 65; depth++) {
    size_t at = (size_t)sprintf(text, "{\"value\": ");
    for (int i = 0; i < depth; i++) text[at++] = '[';
    for (int i = 0; i < depth; i++) text[at++] = ']';
    strcpy(text + at, "}");
    if (depth <= 63) {
      assert_int_equal(read_options(text, &out, &root, &error), NK_STATUS_OK);
      cJSON_Delete(root);
      out = before;
    } else {
      assert_refused(text, "nested deeper than 64 levels");
    }
  }
  /* Brackets inside strings, and behind escaped quotes, are not depth. */
  size_t at = (size_t)sprintf(text, "{\"value\": \"\\\"");
  for (int i = 0; i < 100; i++) text[at++] = '[';
  strcpy(text + at, "\"}");
  assert_int_equal(read_options(text, &out, &root, &error), NK_STATUS_OK);
  cJSON_Delete(root);

  char *large = malloc((size_t)NK_JSON_MAX_BYTES + 2);
  assert_non_null(large);
  memset(large, ' ', (size_t)NK_JSON_MAX_BYTES + 1);
  memcpy(large, "{}", 2);
  large[NK_JSON_MAX_BYTES] = '\0';
  out = before;
  assert_int_equal(read_options(large, &out, &root, &error), NK_STATUS_OK);
  cJSON_Delete(root);
  large[NK_JSON_MAX_BYTES] = ' ';
  large[NK_JSON_MAX_BYTES + 1] = '\0';
  assert_refused(large, "longer than the limit of 1048576 bytes");
  memset(large, '[', NK_JSON_MAX_BYTES);
  large[NK_JSON_MAX_BYTES] = '\0';
  assert_refused(large, "nested deeper than 64 levels");
  free(large);
}

static void a_value_without_a_root_is_our_bug_and_says_so(void **state) {
  (void)state;
  everything out = before;
  nk_error error = {0};
  assert_int_equal(read_options("{\"u\": 5}", &out, NULL, &error), NK_STATUS_OK);
  assert_int_equal(out.u, 5);
  assert_int_equal(read_options("{\"value\": 5}", &out, NULL, &error), NK_STATUS_INTERNAL);
  assert_null(out.value);
}

static void assert_text_becomes(const char *bytes, size_t length, const char *wanted) {
  cJSON *object = cJSON_CreateObject();
  assert_non_null(object);
  assert_true(nk_json_text(object, "t", bytes, length));
  const char *text = cJSON_GetObjectItemCaseSensitive(object, "t")->valuestring;
  assert_string_equal(text, wanted);
  cJSON_Delete(object);
}

#define R NK_UTF8_REPLACEMENT

static void text_goes_out_as_valid_utf8(void **state) {
  (void)state;
  assert_text_becomes("", 0, "");
  assert_text_becomes("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z", 11, "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z");
  assert_text_becomes("a\0b", 3, "a" R "b");
  assert_text_becomes("\xff\xfe", 2, R R);
  assert_text_becomes("\xc0\x80", 2, R R);             /* the long form of NUL */
  assert_text_becomes("\xe0\x9f\xbf", 3, R R R);       /* too long a form */
  assert_text_becomes("\xed\xa0\x80", 3, R R R);       /* a surrogate */
  assert_text_becomes("\xf4\x90\x80\x80", 4, R R R R); /* above U+10FFFF */
  assert_text_becomes("\xf5\x80", 2, R R);
  assert_text_becomes("\xf0\x9f\x98", 3, R); /* one maximal start, cut */
  assert_text_becomes("\xf0\x9f\x98x", 4, R "x");
  assert_text_becomes("\xe2\x82\xe2\x82\xac", 5, R "\xe2\x82\xac");
  /* The example of the Unicode Standard, table 3-8. */
  assert_text_becomes("\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64", 13, "a" R R R "b" R "c" R R "d");
  cJSON *array = cJSON_CreateArray();
  assert_true(nk_json_text_item(array, "\x80", 1));
  char *text = nk_json_print(array);
  assert_string_equal(text, "[\"" R "\"]");
  cJSON_free(text);
  cJSON_Delete(array);
  assert_null(nk_json_print(NULL));
}

/* Every code point, and by brute force every sequence of up to three bytes, against the definition by value. */
static void scanning_agrees_with_the_definition_of_utf8(void **state) {
  (void)state;
  uint32_t length;
  for (uint32_t code = 0; code < 0x110000; code++) {
    char b[4];
    size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; i-- > 1;) b[i] = (char)(0x80 | (code >> (6 * (n - 1 - i)) & 63));
    b[0] = (char)(lead[n] | code >> (6 * (n - 1)));
    bool surrogate = code >= 0xd800 && code < 0xe000;
    assert_int_equal(nk_utf8_scan(b, n, &length), surrogate ? NK_UTF8_INVALID : NK_UTF8_WHOLE);
    assert_int_equal(length, surrogate ? 1 : n);
    for (size_t cut = 1; cut < n; cut++) {
      bool early = surrogate && cut > 1;
      assert_int_equal(nk_utf8_scan(b, cut, &length), early ? NK_UTF8_INVALID : NK_UTF8_CUT);
      assert_int_equal(length, early ? 1 : cut);
    }
  }
  for (uint32_t bits = 0; bits < 1u << 16; bits++) {
    char b[2] = {(char)(bits >> 8), (char)(bits & 255)};
    uint32_t first = bits >> 8, second = bits & 255;
    bool pair = first >= 0xc2 && first < 0xe0 && (second & 0xc0) == 0x80;
    nk_utf8 kind = nk_utf8_scan(b, 2, &length);
    if (first < 0x80)
      assert_true(kind == NK_UTF8_WHOLE && length == 1);
    else if (pair)
      assert_true(kind == NK_UTF8_WHOLE && length == 2);
    else if (first < 0xe0 || first > 0xf4)
      assert_true(kind == NK_UTF8_INVALID && length == 1);
    else
      assert_true(kind == (length == 2 ? NK_UTF8_CUT : NK_UTF8_INVALID));
  }
}

static void a_text_is_well_formed_or_doubtful_as_cjson_sees_it(void **state) {
  (void)state;
  static const char *const sound[] = {"{}", "[]", " [ ] ", "0", "-1.5e+3", "\"a\\u00e9\\n\"", "[1,[2,{\"a\":[]}],null]",
                                      "{\"a\" : true , \"b\":{\"c\":[false,{}]}}", "[{},[],\"\"]", "\t\r\n1\n"};
  static const char *const doubtful[] = {
      "",           " ",     "{",     "}",     "[",   "]",   "[1",        "[1,]", "[,1]",        "{\"a\"}",     "{\"a\":}",
      "{\"a\":1,}", "{a:1}", "{1:1}", "[1 2]", "1 2", "[1}", "{\"a\":1]", "\"a",  "\"\\x\"",     "\"\\u12g4\"", "\"\n\"",
      "-",          "01",    "1.",    ".5",    "1e",  "+1",  "tru",       "nul",  "\"\\ud800\"", "[[1]"};
  for (size_t i = 0; i < sizeof sound / sizeof *sound; i++) {
    if (!nk_json_well_formed(sound[i])) fail_msg("%s is well-formed", sound[i]);
    cJSON *tree = cJSON_ParseWithOpts(sound[i], NULL, 1);
    assert_non_null(tree);
    cJSON_Delete(tree);
  }
  for (size_t i = 0; i < sizeof doubtful / sizeof *doubtful; i++) {
    if (nk_json_well_formed(doubtful[i])) fail_msg("%s is not well-formed", doubtful[i]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_text_is_well_formed_or_doubtful_as_cjson_sees_it),
      cmocka_unit_test(nothing_given_leaves_every_target_as_it_is),
      cmocka_unit_test(every_kind_is_read_into_its_target),
      cmocka_unit_test(wrong_types_and_values_are_refused_with_what_is_allowed),
      cmocka_unit_test(numbers_without_bounds_take_what_their_type_holds),
      cmocka_unit_test(an_unknown_key_is_named_and_so_are_the_known_ones),
      cmocka_unit_test(duplicates_are_refused_at_every_level),
      cmocka_unit_test(text_that_is_no_json_is_refused_with_its_place),
      cmocka_unit_test(an_escaped_nul_is_refused_since_it_would_cut_a_string_short),
      cmocka_unit_test(depth_and_length_are_bounded),
      cmocka_unit_test(a_value_without_a_root_is_our_bug_and_says_so),
      cmocka_unit_test(text_goes_out_as_valid_utf8),
      cmocka_unit_test(scanning_agrees_with_the_definition_of_utf8),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
