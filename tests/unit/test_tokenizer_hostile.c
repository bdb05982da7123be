/* Vocabularies that lie. Each must give an error with a sentence or a tokenizer that works; the sanitizers watch. */
#include "tokenizer_fixture.h"

/* A byte-level vocabulary of n tokens, or what a test makes of it. */
static header begin_bpe(const char *const *tokens, size_t n) {
  header made = header_begin();
  header_text(&made, "tokenizer.ggml.model", "gpt2");
  header_text(&made, "tokenizer.ggml.pre", "gpt-2");
  header_texts(&made, "tokenizer.ggml.tokens", tokens, n);
  return made;
}

static void no_merges(header *made) { header_texts(made, "tokenizer.ggml.merges", NULL, 0); }

static void assert_refused(header made, nk_status wanted, const char *word) {
  nk_tokenizer *tokenizer = NULL;
  nk_error error = {0};
  nk_status status = create_from(&made, &tokenizer, &error);
  if (status != wanted) fail_msg("status %d, not %d, for '%s': %s", status, wanted, word, error.text);
  assert_null(tokenizer);
  if (strstr(error.text, word) == NULL) fail_msg("'%s' does not name '%s'", error.text, word);
  free(made.bytes);
}

/* Creates, encodes some texts and detokenizes every id. */
static void assert_works(header made, const char *text, const int32_t *wanted, size_t n) {
  nk_tokenizer *tokenizer = NULL;
  nk_error error = {0};
  nk_status status = create_from(&made, &tokenizer, &error);
  if (status != NK_STATUS_OK) fail_msg("%s", error.text);
  id_list list = encode_text(tokenizer, text, strlen(text), false);
  assert_ids(list, wanted, n, text);
  free(list.ids);
  list = encode_text(tokenizer, text, strlen(text), true);
  free(list.ids);
  for (uint32_t id = 0; id < nk_tokenizer_vocab(tokenizer); id++) {
    char out[4];
    nk_tokenizer_piece(tokenizer, (int32_t)id, true, out, sizeof out);
    nk_tokenizer_raw(tokenizer, (int32_t)id);
  }
  nk_tokenizer_free(tokenizer);
  free(made.bytes);
}

static const char *const abc[] = {"a", "b", "c"};

static void a_file_without_a_tokenizer_or_with_an_unknown_one_is_refused_by_name(void **state) {
  (void)state;
  header made = header_begin();
  header_text(&made, "general.architecture", "llama");
  assert_refused(made, NK_STATUS_FORMAT, "tokenizer.ggml.model");
  made = header_begin();
  header_text(&made, "tokenizer.ggml.model", "rwkv");
  assert_refused(made, NK_STATUS_UNSUPPORTED, "rwkv");
  made = header_begin();
  header_text(&made, "tokenizer.ggml.model", "gpt2");
  header_text(&made, "tokenizer.ggml.pre", "gpt-2");
  assert_refused(made, NK_STATUS_FORMAT, "tokenizer.ggml.tokens");
  made = begin_bpe(abc, 3);
  assert_refused(made, NK_STATUS_FORMAT, "tokenizer.ggml.merges");
  made = begin_bpe(NULL, 0);
  no_merges(&made);
  assert_refused(made, NK_STATUS_FORMAT, "tokenizer.ggml.tokens");
  made = header_begin();
  header_text(&made, "tokenizer.ggml.model", "gpt2");
  header_text(&made, "tokenizer.ggml.pre", "no-such-split");
  header_texts(&made, "tokenizer.ggml.tokens", abc, 3);
  no_merges(&made);
  assert_refused(made, NK_STATUS_UNSUPPORTED, "no-such-split");
}

static void a_name_of_a_megabyte_gives_a_sentence_all_the_same(void **state) {
  (void)state;
  char *name = malloc((1 << 20) + 1);
  assert_non_null(name);
  memset(name, 'n', 1 << 20);
  name[1 << 20] = 0;
  header made = header_begin();
  header_text(&made, "tokenizer.ggml.model", name);
  assert_refused(made, NK_STATUS_UNSUPPORTED, "nnnn");
  free(name);
}

static void tables_of_other_lengths_than_the_vocabulary_are_refused(void **state) {
  (void)state;
  static const int32_t types[] = {1, 1, 1, 1};
  for (size_t n = 0; n < 5; n++) {
    if (n == 3) continue;
    header made = begin_bpe(abc, 3);
    header_i32s(&made, "tokenizer.ggml.token_type", types, n);
    no_merges(&made);
    assert_refused(made, NK_STATUS_FORMAT, "token_type");
  }
}

static void tables_of_other_types_than_theirs_are_refused(void **state) {
  (void)state;
  header made = begin_bpe(abc, 3);
  header_array(&made, "tokenizer.ggml.token_type", NK_GGUF_F32, 3); /* read as integers, floats would be types */
  put(&made, (const float[]){1, 1, 1}, 12);
  no_merges(&made);
  assert_refused(made, NK_STATUS_FORMAT, "tokenizer.ggml.token_type");
  made = begin_bpe(abc, 3);
  header_i32s(&made, "tokenizer.ggml.merges", (const int32_t[]){1, 2}, 2);
  assert_refused(made, NK_STATUS_FORMAT, "tokenizer.ggml.merges");
  made = header_begin();
  header_text(&made, "tokenizer.ggml.model", "gpt2");
  header_text(&made, "tokenizer.ggml.pre", "gpt-2");
  header_i32s(&made, "tokenizer.ggml.tokens", (const int32_t[]){1, 2}, 2);
  no_merges(&made);
  assert_refused(made, NK_STATUS_FORMAT, "tokenizer.ggml.tokens");
  made = begin_bpe(abc, 3);
  no_merges(&made);
  header_text(&made, "tokenizer.ggml.eos_token_id", "2");
  assert_refused(made, NK_STATUS_FORMAT, "eos_token_id");
  made = begin_bpe(abc, 3);
  no_merges(&made);
  header_text(&made, "tokenizer.ggml.add_bos_token", "yes");
  assert_refused(made, NK_STATUS_FORMAT, "add_bos_token");
}

static void ids_outside_of_the_vocabulary_are_none(void **state) {
  (void)state;
  static const int64_t values[] = {3, -1, INT64_MAX, INT64_MIN, 0x100000000};
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    header made = begin_bpe(abc, 3);
    no_merges(&made);
    static const char *const keys[] = {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
                                       "tokenizer.ggml.eot_token_id"};
    for (size_t k = 0; k < 3; k++) {
      header_key(&made, keys[k], NK_GGUF_I64);
      put(&made, &values[i], 8);
    }
    header_bool(&made, "tokenizer.ggml.add_bos_token", true);
    header_bool(&made, "tokenizer.ggml.add_eos_token", true);
    nk_tokenizer *tokenizer;
    nk_error error = {0};
    assert_int_equal(create_from(&made, &tokenizer, &error), NK_STATUS_OK);
    assert_int_equal(nk_tokenizer_bos(tokenizer), -1);
    assert_int_equal(nk_tokenizer_eos(tokenizer), -1);
    assert_false(nk_tokenizer_adds_bos(tokenizer));
    for (int32_t id = 0; id < 3; id++) assert_false(nk_tokenizer_is_end(tokenizer, id));
    nk_span span = {"ab", 2, true};
    id_list list = encode_spans(tokenizer, &span, 1, true);
    assert_ids(list, (const int32_t[]){0, 1}, 2, "ab");
    free(list.ids);
    nk_tokenizer_free(tokenizer);
    free(made.bytes);
  }
}

static void empty_and_repeated_tokens_and_unknown_types_are_borne(void **state) {
  (void)state;
  static const char *const tokens[] = {"", "a", "a", "", "b", "ab", "ab", "", ""};
  static const int32_t types[] = {3, 1, 1, 4, 0, INT32_MAX, INT32_MIN, 1, -3};
  header made = begin_bpe(tokens, 9);
  header_i32s(&made, "tokenizer.ggml.token_type", types, 9);
  header_texts(&made, "tokenizer.ggml.merges", (const char *const[]){"a b", "a b"}, 2);
  assert_works(made, "abba", (const int32_t[]){5, 4, 1}, 3);
}

static void of_a_merge_that_stands_twice_the_first_counts(void **state) {
  (void)state;
  header made = begin_bpe((const char *const[]){"a", "b", "c", "ab", "bc"}, 5);
  header_texts(&made, "tokenizer.ggml.merges", (const char *const[]){"a b", "b c", "a b"}, 3);
  assert_works(made, "abc", (const int32_t[]){3, 2}, 2);
}

static void merges_of_tokens_that_do_not_exist_are_passed_over(void **state) {
  (void)state;
  static const char *const merges[] = {"a", "", " ", "  ", "a ", " a", "a  b", "a c b", "x y", "a x", "b c", "a b"};
  header made = begin_bpe((const char *const[]){"a", "b", "c", "bc"}, 4);
  header_texts(&made, "tokenizer.ggml.merges", merges, sizeof merges / sizeof *merges);
  assert_works(made, "abcab", (const int32_t[]){0, 3, 0, 1}, 4);
}

static void a_vocabulary_without_byte_tokens_drops_what_it_cannot_say(void **state) {
  (void)state;
  header made = begin_bpe((const char *const[]){"hello"}, 1);
  no_merges(&made);
  assert_works(made, "hello", NULL, 0);
}

/* llama.cpp, fixed in b5662: the length of a token's text went through an int32_t, the check of the buffer passed, memcpy
   did not. Here a piece has a size_t length and writes no more than its capacity. */
static void cve_2025_49847_a_token_longer_than_64_kib_is_cut_to_the_buffer(void **state) {
  (void)state;
  size_t length = (1 << 20) + 7;
  char *text = malloc(length + 1);
  assert_non_null(text);
  memset(text, 'a', length);
  text[length] = 0;
  for (int32_t type = 1; type <= 6; type++) {
    header made = begin_bpe((const char *const[]){text, "a"}, 2);
    header_i32s(&made, "tokenizer.ggml.token_type", (const int32_t[]){type, 1}, 2);
    no_merges(&made);
    nk_tokenizer *tokenizer;
    nk_error error = {0};
    assert_int_equal(create_from(&made, &tokenizer, &error), NK_STATUS_OK);
    char out[9] = "~~~~~~~~";
    assert_int_equal(nk_tokenizer_piece(tokenizer, 0, true, out, 4), length);
    assert_string_equal(out, "aaaa~~~~");
    assert_int_equal(nk_tokenizer_piece(tokenizer, 0, true, NULL, SIZE_MAX), length);
    id_list list = encode_text(tokenizer, text, length, true);
    assert_int_equal(list.n, length); /* the special ones are too long to be searched for */
    free(list.ids);
    nk_tokenizer_free(tokenizer);
    free(made.bytes);
  }
  free(text);
}

/* llama.cpp, fixed in b5721: a comparison of signed with unsigned let the tokens of a prompt be written past their buffer.
   */
static void cve_2025_52566_more_tokens_than_fit_are_never_written(void **state) {
  (void)state;
  header made = begin_bpe(abc, 3);
  no_merges(&made);
  nk_tokenizer *tokenizer;
  nk_error error = {0};
  assert_int_equal(create_from(&made, &tokenizer, &error), NK_STATUS_OK);
  char text[512];
  memset(text, 'a', sizeof text);
  for (size_t capacity = 0; capacity <= sizeof text; capacity++) {
    int32_t *ids = malloc(capacity * sizeof *ids); /* exactly so much: AddressSanitizer sees a write past it */
    size_t count;
    nk_span span = {text, sizeof text, false};
    nk_status status =
        nk_tokenizer_encode(tokenizer, &span, 1, false, capacity == 0 ? NULL : ids, capacity, &count, &error);
    assert_int_equal(status, capacity < sizeof text ? NK_STATUS_DATA : NK_STATUS_OK);
    assert_int_equal(count, sizeof text);
    free(ids);
  }
  nk_tokenizer_free(tokenizer);
  free(made.bytes);
}

static uint64_t fnv(const char *text, size_t n) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (size_t i = 0; i < n; i++) hash = (hash ^ (uint8_t)text[i]) * 0x100000001B3u;
  return hash ^ hash >> 32;
}

static void a_vocabulary_built_to_collide_is_refused_rather_than_slow(void **state) {
  (void)state;
  enum { N = 1200 }; /* slots: 2,048 */
  char(*texts)[16] = malloc(N * sizeof *texts);
  const char **tokens = malloc(N * sizeof *tokens);
  assert_true(texts != NULL && tokens != NULL);
  unsigned number = 0;
  for (size_t i = 0; i < N; number++) {
    int length = snprintf(texts[i], sizeof texts[i], "%u", number);
    if ((fnv(texts[i], (size_t)length) & 2047) == 5) {
      tokens[i] = texts[i];
      i++;
    }
  }
  header made = begin_bpe(tokens, N);
  no_merges(&made);
  assert_refused(made, NK_STATUS_FORMAT, "collide");
  made = begin_bpe(tokens, 1000); /* fewer than the probes that are allowed: slow, but bounded */
  no_merges(&made);
  assert_works(made, "", NULL, 0);
  free(tokens);
  free(texts);
}

static void thousands_of_special_tokens_with_one_beginning_do_not_slow_the_search(void **state) {
  (void)state;
  enum { N = 20000, LENGTH = 1 << 18 };
  char(*texts)[128] = malloc(N * sizeof *texts);
  const char **tokens = malloc(N * sizeof *tokens);
  int32_t *types = malloc(N * sizeof *types);
  char *text = malloc(LENGTH);
  assert_true(texts != NULL && tokens != NULL && types != NULL && text != NULL);
  for (size_t i = 0; i < N; i++) {
    snprintf(texts[i], sizeof texts[i], "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa%zu", i);
    tokens[i] = texts[i];
    types[i] = i % 2 == 0 ? 3 : 4;
  }
  tokens[N - 1] = "a";
  types[N - 1] = 1;
  header made = begin_bpe(tokens, N);
  header_i32s(&made, "tokenizer.ggml.token_type", types, N);
  no_merges(&made);
  nk_tokenizer *tokenizer;
  nk_error error = {0};
  assert_int_equal(create_from(&made, &tokenizer, &error), NK_STATUS_OK);
  memset(text, 'a', LENGTH);
  memcpy(text + LENGTH - 5, "19990", 5);
  id_list list = encode_text(tokenizer, text, LENGTH, true);
  assert_int_equal(list.n, LENGTH - 5 - 73 + 1);
  assert_int_equal(list.ids[list.n - 1], 19990);
  free(list.ids);
  nk_tokenizer_free(tokenizer);
  free(made.bytes);
  free(text);
  free(types);
  free(tokens);
  free(texts);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_file_without_a_tokenizer_or_with_an_unknown_one_is_refused_by_name),
      cmocka_unit_test(a_name_of_a_megabyte_gives_a_sentence_all_the_same),
      cmocka_unit_test(tables_of_other_lengths_than_the_vocabulary_are_refused),
      cmocka_unit_test(tables_of_other_types_than_theirs_are_refused),
      cmocka_unit_test(ids_outside_of_the_vocabulary_are_none),
      cmocka_unit_test(empty_and_repeated_tokens_and_unknown_types_are_borne),
      cmocka_unit_test(of_a_merge_that_stands_twice_the_first_counts),
      cmocka_unit_test(merges_of_tokens_that_do_not_exist_are_passed_over),
      cmocka_unit_test(a_vocabulary_without_byte_tokens_drops_what_it_cannot_say),
      cmocka_unit_test(cve_2025_49847_a_token_longer_than_64_kib_is_cut_to_the_buffer),
      cmocka_unit_test(cve_2025_52566_more_tokens_than_fit_are_never_written),
      cmocka_unit_test(a_vocabulary_built_to_collide_is_refused_rather_than_slow),
      cmocka_unit_test(thousands_of_special_tokens_with_one_beginning_do_not_slow_the_search),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
