/* SentencePiece BPE and WordPiece: every reference id, and vocabularies that lie. Fixtures: tests/fixtures/tokenizers. */
#include "tokenizer_fixture.h"

static void check_model(const char *name, const char *tokenizer_name) {
  char path[128], strings[128];
  snprintf(path, sizeof path, FIXTURES "ggml-vocab-%s.gguf", name);
  snprintf(strings, sizeof strings, FIXTURES "vocab_%s_strings.json", name);
  vocabulary opened = open_vocabulary(path);
  assert_string_equal(nk_tokenizer_name(opened.tokenizer), tokenizer_name);
  assert_true(nk_tokenizer_adds_bos(opened.tokenizer));
  assert_int_equal(check_strings(opened.tokenizer, strings, "ids_special", true), 189);
  assert_int_equal(check_cases(opened.tokenizer, path), 46);
  close_vocabulary(&opened);
}

static void every_id_of_llama_2_is_that_of_the_reference(void **state) {
  (void)state;
  check_model("llama-spm", "spm");
}

static void every_id_of_phi_3_is_that_of_the_reference(void **state) {
  (void)state;
  check_model("phi-3", "spm");
}

/* No space in front; runs of spaces and line breaks and a tag are user-defined tokens, written with spaces. */
static void every_id_of_a_model_like_gemma_is_that_of_sentencepiece(void **state) {
  (void)state;
  vocabulary opened = open_vocabulary(FIXTURES "trained-spm.gguf");
  assert_string_equal(nk_tokenizer_name(opened.tokenizer), "spm");
  assert_true(nk_tokenizer_adds_bos(opened.tokenizer));
  assert_int_equal(check_strings(opened.tokenizer, FIXTURES "trained-spm.json", "ids_special", false), 1164);
  close_vocabulary(&opened);
}

static void every_id_of_bge_is_that_of_its_own_tokenizer(void **state) {
  (void)state;
  check_model("bert-bge", "wordpiece");
}

/* ---- SPM ------------------------------------------------------------------------------------------------------ */

static header begin_spm(const char *const *tokens, const int32_t *types, const float *scores, size_t n) {
  header made = header_begin();
  header_text(&made, "tokenizer.ggml.model", "llama");
  header_texts(&made, "tokenizer.ggml.tokens", tokens, n);
  header_i32s(&made, "tokenizer.ggml.token_type", types, n);
  header_array(&made, "tokenizer.ggml.scores", NK_GGUF_F32, n);
  put(&made, scores, n * sizeof *scores);
  return made;
}

static void assert_gives(header *made, const char *text, bool special, const int32_t *wanted, size_t n) {
  nk_tokenizer *tokenizer;
  nk_error error = {0};
  nk_status status = create_from(made, &tokenizer, &error);
  if (status != NK_STATUS_OK) fail_msg("%s", error.text);
  nk_span span = {text, strlen(text), special};
  id_list list = encode_spans(tokenizer, &span, 1, false);
  assert_ids(list, wanted, n, text);
  free(list.ids);
  nk_tokenizer_free(tokenizer);
  free(made->bytes);
}

static const char *const few[] = {"<unk>",  "a",      "b",     "ab", "ba", "\xE2\x96\x81", "\xE2\x96\x81\x61",
                                  "<0x63>", "<0x-1>", "<0xZZ>"};
static const int32_t few_types[] = {2, 1, 1, 1, 1, 1, 1, 6, 6, 6};

static void the_best_score_is_merged_first_and_of_equal_ones_the_leftmost(void **state) {
  (void)state;
  header made = begin_spm(few, few_types, (const float[]){0, 0, 0, -2, -1, 0, -3, 0, 0, 0}, 10);
  header_bool(&made, "tokenizer.ggml.add_space_prefix", false);
  assert_gives(&made, "abab", false, (const int32_t[]){1, 4, 2}, 3);
  made = begin_spm(few, few_types, (const float[]){0, 0, 0, -1, -1, 0, -3, 0, 0, 0}, 10);
  header_bool(&made, "tokenizer.ggml.add_space_prefix", false);
  assert_gives(&made, "abab", false, (const int32_t[]){3, 3}, 2);
  made = begin_spm(few, few_types, (const float[]){0, 0, 0, -1, -1, 0, -3, 0, 0, 0}, 10);
  assert_gives(&made, " a", false, (const int32_t[]){5, 6}, 2);
}

/* llama.cpp #25969: the byte token <0x-1> gave index -1. */
static void issue_25969_a_byte_token_without_two_hex_digits_is_text(void **state) {
  (void)state;
  header made = begin_spm(few, few_types, (const float[]){0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 10);
  header_bool(&made, "tokenizer.ggml.add_space_prefix", false);
  header_u32(&made, "tokenizer.ggml.unknown_token_id", 0);
  nk_tokenizer *tokenizer;
  nk_error error = {0};
  assert_int_equal(create_from(&made, &tokenizer, &error), NK_STATUS_OK);
  id_list list = encode_text(tokenizer,
                             "c\xFF"
                             "d",
                             3, false);
  assert_ids(list, (const int32_t[]){7, 0, 0}, 3, "c, U+FFFD and d");
  free(list.ids);
  char out[8];
  assert_int_equal(nk_tokenizer_piece(tokenizer, 7, false, out, 8), 1);
  assert_int_equal(out[0], 'c');
  assert_int_equal(nk_tokenizer_piece(tokenizer, 8, false, out, 8), 6);
  assert_int_equal(nk_tokenizer_piece(tokenizer, 6, false, out, 8), 2);
  assert_memory_equal(out, " a", 2);
  nk_tokenizer_free(tokenizer);
  free(made.bytes);
}

/* Gemma's user-defined tokens for runs of spaces; in a text U+2581 is a space, too. */
static header begin_runs(void) {
  static const char *const tokens[] = {"<unk>", "\u2581", "a", "  ", "   ", " <c>"};
  header made = begin_spm(tokens, (const int32_t[]){2, 1, 1, 4, 4, 3}, (const float[]){0, -1, -2, -1000, -1000, 0}, 6);
  header_bool(&made, "tokenizer.ggml.add_space_prefix", false);
  return made;
}

static void a_mark_that_stands_for_a_space_takes_part_in_a_run_of_spaces(void **state) {
  (void)state;
  const struct {
    const char *text;
    int32_t ids[4];
    size_t n;
  } cases[] = {
      {"\u2581", {1}, 1},
      {"\u2581\u2581", {3}, 1},
      {" \u2581", {3}, 1},
      {"\u2581 ", {3}, 1},
      {" \u2581 ", {4}, 1},
      {"  \u2581a", {4, 2}, 2},
      {"a\u2581a", {2, 1, 2}, 3},
      {" \u2581\u2581", {1, 3}, 2}, /* together they are a run of their own */
      {"\u2581\u2581 a", {3, 1, 2}, 3},
      {"\u2581\u2581\u2581\u2581", {4, 1}, 2},
      {"\u2581\u2581\u2581\u2581 ", {4, 3}, 2}, /* what is left over of them is one alone */
      {"   \u2581", {4, 1}, 2},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    header made = begin_runs();
    assert_gives(&made, cases[i].text, false, cases[i].ids, cases[i].n);
  }
}

static void a_run_with_a_mark_does_not_take_the_beginning_of_a_control_token(void **state) {
  (void)state;
  header made = begin_runs();
  nk_tokenizer *tokenizer;
  nk_error error = {0};
  assert_int_equal(create_from(&made, &tokenizer, &error), NK_STATUS_OK);
  const nk_span spans[] = {{"\u2581 ", 4, false}, {" <c>", 4, true}};
  id_list list = encode_spans(tokenizer, spans, 2, false);
  assert_ids(list, (const int32_t[]){3, 5}, 2, "a mark, a space, and a control token that begins with one");
  free(list.ids);
  nk_tokenizer_free(tokenizer);
  free(made.bytes);
}

static void scores_that_are_no_numbers_or_missing_do_no_harm(void **state) {
  (void)state;
  union {
    uint32_t bits;
    float value;
  } nan = {0x7FC00000u}, infinite = {0x7F800000u};
  float scores[10];
  for (size_t i = 0; i < 10; i++) scores[i] = i % 2 == 0 ? nan.value : infinite.value;
  header made = begin_spm(few, few_types, scores, 10);
  header_bool(&made, "tokenizer.ggml.add_space_prefix", false);
  assert_gives(&made, "abba", false, (const int32_t[]){3, 4}, 2);
  for (size_t n = 9; n <= 11; n += 2) {
    made = header_begin();
    header_text(&made, "tokenizer.ggml.model", "llama");
    header_texts(&made, "tokenizer.ggml.tokens", few, 10);
    header_array(&made, "tokenizer.ggml.scores", NK_GGUF_F32, n);
    for (size_t i = 0; i < n; i++) put(&made, &(float){0}, 4);
    nk_tokenizer *tokenizer;
    nk_error error = {0};
    assert_int_equal(create_from(&made, &tokenizer, &error), NK_STATUS_FORMAT);
    assert_non_null(strstr(error.text, "scores"));
    free(made.bytes);
  }
}

static void a_megabyte_of_one_letter_is_encoded(void **state) {
  (void)state;
  vocabulary llama = open_vocabulary(FIXTURES "ggml-vocab-llama-spm.gguf");
  size_t length = 1 << 20, back;
  char *text = malloc(length);
  assert_non_null(text);
  for (const char *letter = "a =\n"; *letter != 0; letter++) {
    memset(text, *letter, length);
    id_list list = encode_text(llama.tokenizer, text, length, false);
    char *got = detokenize(llama.tokenizer, list, false, &back);
    assert_int_equal(back, length + 1);
    assert_int_equal(got[0], ' ');
    assert_memory_equal(got + 1, text, length);
    free(got);
    free(list.ids);
  }
  free(text);
  close_vocabulary(&llama);
}

static void phi_3_s_special_tokens_take_the_white_space_after_them_along(void **state) {
  (void)state;
  vocabulary phi3 = open_vocabulary(FIXTURES "ggml-vocab-phi-3.gguf");
  static const char text[] = "<|user|>\n Hi<|end|>\n<|endoftext|> ";
  id_list list = encode_text(phi3.tokenizer, text, sizeof text - 1, true);
  assert_ids(list, (const int32_t[]){1, 32010, 6324, 32007, 32000, 259}, 6, text);
  free(list.ids);
  assert_true(nk_tokenizer_is_end(phi3.tokenizer, 32007));
  assert_true(nk_tokenizer_is_end(phi3.tokenizer, 32000));
  close_vocabulary(&phi3);
}

/* ---- WordPiece ------------------------------------------------------------------------------------------------- */

static void a_word_that_cannot_be_put_together_is_one_unknown_token(void **state) {
  (void)state;
  static const char *const tokens[] = {"[UNK]",        "[CLS]", "[SEP]", "\xE2\x96\x81un",
                                       "\xE2\x96\x81", "able",  "a",     "\xE2\x96\x81,"};
  static const int32_t types[] = {3, 3, 3, 1, 1, 1, 1, 1};
  header made = header_begin();
  header_text(&made, "tokenizer.ggml.model", "bert");
  header_texts(&made, "tokenizer.ggml.tokens", tokens, 8);
  header_i32s(&made, "tokenizer.ggml.token_type", types, 8);
  nk_tokenizer *tokenizer;
  nk_error error = {0};
  assert_int_equal(create_from(&made, &tokenizer, &error), NK_STATUS_OK);
  static const char text[] =
      "UN\xC3\xA1"
      "ble, unx [CLS]";
  nk_span span = {text, sizeof text - 1, true};
  id_list list = encode_spans(tokenizer, &span, 1, true); /* [CLS] and [SEP] are found by their text */
  assert_ids(list, (const int32_t[]){1, 3, 5, 7, 0, 1, 2}, 7, text);
  free(list.ids);
  for (size_t n = 100; n <= 101; n++) {
    char word[102] = "un";
    memset(word + 2, 'a', 99);
    list = encode_text(tokenizer, word, n, false);
    assert_int_equal(list.n, n == 100 ? 99 : 1);
    assert_int_equal(list.ids[0], n == 100 ? 3 : 0);
    free(list.ids);
  }
  assert_false(nk_tokenizer_is_control(tokenizer, 0));
  nk_tokenizer_free(tokenizer);
  free(made.bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_id_of_llama_2_is_that_of_the_reference),
      cmocka_unit_test(every_id_of_phi_3_is_that_of_the_reference),
      cmocka_unit_test(every_id_of_a_model_like_gemma_is_that_of_sentencepiece),
      cmocka_unit_test(every_id_of_bge_is_that_of_its_own_tokenizer),
      cmocka_unit_test(the_best_score_is_merged_first_and_of_equal_ones_the_leftmost),
      cmocka_unit_test(issue_25969_a_byte_token_without_two_hex_digits_is_text),
      cmocka_unit_test(a_mark_that_stands_for_a_space_takes_part_in_a_run_of_spaces),
      cmocka_unit_test(a_run_with_a_mark_does_not_take_the_beginning_of_a_control_token),
      cmocka_unit_test(scores_that_are_no_numbers_or_missing_do_no_harm),
      cmocka_unit_test(a_megabyte_of_one_letter_is_encoded),
      cmocka_unit_test(phi_3_s_special_tokens_take_the_white_space_after_them_along),
      cmocka_unit_test(a_word_that_cannot_be_put_together_is_one_unknown_token),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
