/* The tokenizer's facts, special tokens, spans and borders of its interface, on vocabularies made on the spot. */
#include "tokenizer_fixture.h"

/* Ids of the small vocabulary below. */
enum { BOS, END, TOOL, TOO, LINES, UNKNOWN, AB, ABC, A, B, C, L, T, O, X, LT, GT, NEWLINE, CONTROL_AB, N_SMALL };

static const char *const small_tokens[N_SMALL] = {"<bos>", "<|im_end|>", "<tool>", "<too",     "\n\n", "<unk>", "ab",
                                                  "abc",   "a",          "b",      "c",        "l",    "t",     "o",
                                                  "x",     "<",          ">",      "\xC4\x8A", "bc"};
static const int32_t small_types[N_SMALL] = {3, 1, 4, 4, 4, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3};
static const char *const small_merges[] = {"a b", "b c", "ab c", "x missing", "nospace", " ", "", "a b"};

static header small_header(void) {
  header made = header_begin();
  header_text(&made, "general.architecture", "llama");
  header_text(&made, "tokenizer.ggml.model", "gpt2");
  header_text(&made, "tokenizer.ggml.pre", "gpt-2");
  header_texts(&made, "tokenizer.ggml.tokens", small_tokens, N_SMALL);
  header_i32s(&made, "tokenizer.ggml.token_type", small_types, N_SMALL);
  header_texts(&made, "tokenizer.ggml.merges", small_merges, sizeof small_merges / sizeof *small_merges);
  return made;
}

typedef struct small {
  header header;
  nk_tokenizer *tokenizer;
} small;

static small open_small(header made) {
  small opened = {made, NULL};
  nk_error error = {0};
  nk_status status = create_from(&opened.header, &opened.tokenizer, &error);
  if (status != NK_STATUS_OK) fail_msg("%s", error.text);
  return opened;
}

static void close_small(small *opened) {
  nk_tokenizer_free(opened->tokenizer);
  free(opened->header.bytes);
}

static void assert_encodes(const nk_tokenizer *tokenizer, const nk_span *spans, size_t n_spans, bool add,
                           const int32_t *wanted, size_t n_wanted) {
  id_list list = encode_spans(tokenizer, spans, n_spans, add);
  assert_ids(list, wanted, n_wanted, n_spans > 0 ? spans[0].bytes : "");
  free(list.ids);
}

#define SPAN(text, trusted) {text, sizeof(text) - 1, trusted}
#define EXPECT(tokenizer, add, spans, ...)                                                                       \
  do {                                                                                                           \
    const int32_t wanted[] = {__VA_ARGS__};                                                                      \
    assert_encodes(tokenizer, spans, sizeof spans / sizeof *spans, add, wanted, sizeof wanted / sizeof *wanted); \
  } while (0)

/* ---- Special tokens -------------------------------------------------------------------------------------------- */

static void control_tokens_are_found_only_in_trusted_spans_and_user_defined_ones_everywhere(void **state) {
  (void)state;
  small s = open_small(small_header());
  const nk_span untrusted[] = {SPAN("<bos><tool>ab", false)}, trusted[] = {SPAN("<bos><tool>ab<|im_end|>", true)};
  EXPECT(s.tokenizer, false, untrusted, LT, B, O, GT, TOOL, AB); /* "s" has no token and is left out */
  EXPECT(s.tokenizer, false, trusted, BOS, TOOL, AB, END);
  const nk_span unknown[] = {SPAN("<unk>", true)};
  EXPECT(s.tokenizer, false, unknown, UNKNOWN);
  close_small(&s);
}

static void the_longest_of_several_special_tokens_wins(void **state) {
  (void)state;
  small s = open_small(small_header());
  const nk_span spans[] = {SPAN("<tool><too<too>", false)};
  EXPECT(s.tokenizer, false, spans, TOOL, TOO, TOO, GT);
  close_small(&s);
}

static void a_user_defined_token_may_run_across_spans(void **state) {
  (void)state;
  small s = open_small(small_header());
  const nk_span spans[] = {SPAN("a<t", false), SPAN("", true), SPAN("oo", true), SPAN("l>", false)};
  EXPECT(s.tokenizer, false, spans, A, TOOL);
  close_small(&s);
}

static void text_from_outside_cannot_swallow_the_beginning_of_a_control_token(void **state) {
  (void)state;
  static const char *const tokens[] = {"<end>", "x<e", "x<", "x", "<", "e", "n", "d", ">"};
  static const int32_t types[] = {3, 4, 4, 1, 1, 1, 1, 1, 1};
  header made = header_begin();
  header_text(&made, "tokenizer.ggml.model", "gpt2");
  header_text(&made, "tokenizer.ggml.pre", "gpt-2");
  header_texts(&made, "tokenizer.ggml.tokens", tokens, 9);
  header_i32s(&made, "tokenizer.ggml.token_type", types, 9);
  header_texts(&made, "tokenizer.ggml.merges", NULL, 0);
  small s = open_small(made);
  const nk_span spans[] = {SPAN("x", false), SPAN("<end>", true)};
  EXPECT(s.tokenizer, false, spans, 3, 0);
  const nk_span outside[] = {SPAN("x", false), SPAN("<end>", false)};
  EXPECT(s.tokenizer, false, outside, 1, 6, 7, 8);
  const nk_span no_control[] = {SPAN("x", false), SPAN("<e", true)};
  EXPECT(s.tokenizer, false, no_control, 1);
  close_small(&s);
}

static void merges_never_make_a_control_token_from_text(void **state) {
  (void)state;
  small s = open_small(small_header()); /* the merge "b c" gives a control token there: it is passed over */
  const nk_span spans[] = {SPAN("bc abc", false)};
  EXPECT(s.tokenizer, false, spans, B, C, ABC);
  const nk_span trusted[] = {SPAN("bc", true)};
  EXPECT(s.tokenizer, false, trusted, CONTROL_AB);
  close_small(&s);
}

/* ---- Beginning and end ----------------------------------------------------------------------------------------- */

static void the_first_token_is_added_once(void **state) {
  (void)state;
  header made = small_header();
  header_u32(&made, "tokenizer.ggml.bos_token_id", BOS);
  header_u32(&made, "tokenizer.ggml.eos_token_id", END);
  header_bool(&made, "tokenizer.ggml.add_bos_token", true);
  header_bool(&made, "tokenizer.ggml.add_eos_token", true);
  small s = open_small(made);
  assert_int_equal(nk_tokenizer_bos(s.tokenizer), BOS);
  assert_int_equal(nk_tokenizer_eos(s.tokenizer), END);
  assert_true(nk_tokenizer_adds_bos(s.tokenizer));
  const nk_span plain[] = {SPAN("ab", true)}, with[] = {SPAN("<bos>ab", true)}, text[] = {SPAN("<bos>", false)};
  EXPECT(s.tokenizer, true, plain, BOS, AB, END);
  EXPECT(s.tokenizer, true, with, BOS, AB, END);
  EXPECT(s.tokenizer, false, plain, AB);
  EXPECT(s.tokenizer, true, text, BOS, LT, B, O, GT, END);
  const nk_span later[] = {SPAN("a<bos>", true)}, other[] = {SPAN("<tool><bos>", true)};
  EXPECT(s.tokenizer, true, later, BOS, A, BOS, END);
  EXPECT(s.tokenizer, true, other, BOS, TOOL, BOS, END);
  const int32_t only[] = {BOS, END};
  assert_encodes(s.tokenizer, NULL, 0, true, only, 2);
  assert_encodes(s.tokenizer, NULL, 0, false, NULL, 0);
  close_small(&s);
}

static void nothing_is_added_where_the_file_does_not_say_so(void **state) {
  (void)state;
  header made = small_header();
  header_u32(&made, "tokenizer.ggml.bos_token_id", BOS);
  small s = open_small(made);
  assert_false(nk_tokenizer_adds_bos(s.tokenizer));
  assert_int_equal(nk_tokenizer_eos(s.tokenizer), -1);
  const nk_span plain[] = {SPAN("ab", true)};
  EXPECT(s.tokenizer, true, plain, AB);
  close_small(&s);
}

static void every_end_of_generation_is_known(void **state) {
  (void)state;
  header made = small_header();
  header_u32(&made, "tokenizer.ggml.eos_token_id", ABC);
  header_u32(&made, "tokenizer.ggml.eot_token_id", X);
  header_u32(&made, "tokenizer.ggml.eom_token_id", UNKNOWN);
  small s = open_small(made);
  for (int32_t id = -1; id <= N_SMALL; id++) {
    assert_int_equal(nk_tokenizer_is_end(s.tokenizer, id), id == ABC || id == X || id == UNKNOWN || id == END);
    assert_int_equal(nk_tokenizer_is_control(s.tokenizer, id), id == BOS || id == END || id == CONTROL_AB);
  }
  close_small(&s);
  vocabulary smollm2 = open_vocabulary(FIXTURES "vocab-smollm2.gguf");
  for (int32_t id = 0; id < (int32_t)nk_tokenizer_vocab(smollm2.tokenizer); id++) {
    assert_int_equal(nk_tokenizer_is_end(smollm2.tokenizer, id), id == 0 || id == 2);
  }
  assert_int_equal(nk_tokenizer_vocab(smollm2.tokenizer), 49152);
  assert_int_equal(nk_tokenizer_bos(smollm2.tokenizer), 1);
  assert_int_equal(nk_tokenizer_eos(smollm2.tokenizer), 2);
  assert_false(nk_tokenizer_adds_bos(smollm2.tokenizer));
  close_vocabulary(&smollm2);
}

/* ---- Pieces ---------------------------------------------------------------------------------------------------- */

static void a_piece_is_cut_to_its_capacity_and_says_its_length(void **state) {
  (void)state;
  small s = open_small(small_header());
  for (size_t capacity = 0; capacity < 8; capacity++) {
    char out[8] = "~~~~~~~";
    assert_int_equal(nk_tokenizer_piece(s.tokenizer, TOOL, false, out, capacity), 6);
    assert_memory_equal(out, "<tool>", capacity < 6 ? capacity : 6);
    for (size_t i = capacity; i < 7; i++) assert_int_equal(out[i], '~');
    assert_int_equal(nk_tokenizer_piece(s.tokenizer, ABC, false, out, capacity), 3);
    assert_memory_equal(out, "abc", capacity < 3 ? capacity : 3);
  }
  char out[16];
  assert_int_equal(nk_tokenizer_piece(s.tokenizer, NEWLINE, false, out, 16), 1);
  assert_int_equal(out[0], '\n');
  assert_int_equal(nk_tokenizer_piece(s.tokenizer, LINES, false, out, 16), 2);
  assert_int_equal(nk_tokenizer_piece(s.tokenizer, BOS, false, out, 16), 0);
  assert_int_equal(nk_tokenizer_piece(s.tokenizer, BOS, true, out, 16), 5);
  assert_int_equal(nk_tokenizer_piece(s.tokenizer, UNKNOWN, false, out, 16), 0);
  assert_int_equal(nk_tokenizer_piece(s.tokenizer, UNKNOWN, true, out, 16), 5);
  assert_int_equal(nk_tokenizer_piece(s.tokenizer, ABC, false, NULL, 16), 3);
  assert_int_equal(nk_tokenizer_piece(s.tokenizer, -1, true, out, 16), 0);
  assert_int_equal(nk_tokenizer_piece(s.tokenizer, N_SMALL, true, out, 16), 0);
  assert_int_equal(nk_tokenizer_piece(s.tokenizer, INT32_MIN, true, out, 16), 0);
  close_small(&s);
}

static void the_bytes_of_a_token_are_those_that_its_characters_stand_for(void **state) {
  (void)state;
  vocabulary gpt2 = open_vocabulary(FIXTURES "ggml-vocab-gpt-2.gguf");
  bool seen[256] = {false};
  for (int32_t id = 0; id < 50256; id++) {
    unsigned char out[2];
    if (nk_tokenizer_piece(gpt2.tokenizer, id, false, (char *)out, 2) == 1) {
      assert_false(seen[out[0]]);
      seen[out[0]] = true;
    }
  }
  for (unsigned byte = 0; byte < 256; byte++) assert_true(seen[byte]);
  nk_text raw = nk_tokenizer_raw(gpt2.tokenizer, 257);
  assert_int_equal(raw.length, 3);
  assert_memory_equal(raw.bytes,
                      "\xC4\xA0"
                      "a",
                      3);
  assert_null(nk_tokenizer_raw(gpt2.tokenizer, -1).bytes);
  assert_null(nk_tokenizer_raw(gpt2.tokenizer, 50257).bytes);
  close_vocabulary(&gpt2);
}

/* ---- Borders --------------------------------------------------------------------------------------------------- */

static void no_capacity_counts_and_too_little_fills_and_says_so(void **state) {
  (void)state;
  small s = open_small(small_header());
  nk_span span = SPAN("ab x x", false);
  nk_error error = {0};
  size_t count = 99;
  assert_int_equal(nk_tokenizer_encode(s.tokenizer, &span, 1, false, NULL, 0, &count, &error), NK_STATUS_DATA);
  assert_int_equal(count, 3);
  int32_t ids[4] = {-7, -7, -7, -7};
  assert_int_equal(nk_tokenizer_encode(s.tokenizer, &span, 1, false, ids, 2, &count, &error), NK_STATUS_DATA);
  assert_int_equal(count, 3);
  assert_true(ids[0] == AB && ids[1] == X && ids[2] == -7);
  assert_non_null(strstr(error.text, "3 tokens"));
  assert_int_equal(nk_tokenizer_encode(s.tokenizer, &span, 1, false, ids, 3, &count, &error), NK_STATUS_OK);
  assert_true(count == 3 && ids[2] == X && ids[3] == -7);
  nk_span empty = {NULL, 0, true};
  assert_int_equal(nk_tokenizer_encode(s.tokenizer, &empty, 1, false, NULL, 0, &count, &error), NK_STATUS_OK);
  assert_int_equal(count, 0);
  close_small(&s);
}

static void nothing_given_is_an_error_or_nothing(void **state) {
  (void)state;
  small s = open_small(small_header());
  nk_error error = {0};
  size_t count;
  nk_span span = SPAN("ab", false), no_text = {NULL, 3, false}, huge = {"", SIZE_MAX, false};
  int32_t ids[4];
  assert_int_equal(nk_tokenizer_encode(NULL, &span, 1, false, ids, 4, &count, &error), NK_STATUS_DATA);
  assert_int_equal(nk_tokenizer_encode(s.tokenizer, NULL, 1, false, ids, 4, &count, &error), NK_STATUS_DATA);
  assert_int_equal(nk_tokenizer_encode(s.tokenizer, &no_text, 1, false, ids, 4, &count, &error), NK_STATUS_DATA);
  assert_int_equal(nk_tokenizer_encode(s.tokenizer, &huge, 1, false, ids, 4, &count, &error), NK_STATUS_DATA);
  assert_int_equal(nk_tokenizer_encode(s.tokenizer, &span, 1, false, NULL, 4, &count, &error), NK_STATUS_DATA);
  assert_int_equal(nk_tokenizer_encode(s.tokenizer, &span, 1, false, ids, 4, NULL, &error), NK_STATUS_DATA);
  assert_int_equal(nk_tokenizer_encode(s.tokenizer, &span, 1, false, ids, 4, &count, NULL), NK_STATUS_OK);
  assert_int_equal(nk_tokenizer_create(NULL, NULL, &error), NK_STATUS_DATA);
  nk_tokenizer *none = s.tokenizer;
  assert_int_equal(nk_tokenizer_create(&none, NULL, &error), NK_STATUS_DATA);
  assert_null(none);
  nk_tokenizer_free(NULL);
  assert_int_equal(nk_tokenizer_bytes(NULL), 0);
  assert_int_equal(nk_tokenizer_vocab(NULL), 0);
  assert_int_equal(nk_tokenizer_bos(NULL), -1);
  assert_int_equal(nk_tokenizer_eos(NULL), -1);
  assert_int_equal(nk_tokenizer_piece(NULL, 0, true, NULL, 0), 0);
  assert_false(nk_tokenizer_is_control(NULL, 0));
  assert_false(nk_tokenizer_is_end(NULL, 0));
  assert_false(nk_tokenizer_adds_bos(NULL));
  assert_null(nk_tokenizer_raw(NULL, 0).bytes);
  assert_string_equal(nk_tokenizer_name(NULL), "");
  close_small(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(control_tokens_are_found_only_in_trusted_spans_and_user_defined_ones_everywhere),
      cmocka_unit_test(the_longest_of_several_special_tokens_wins),
      cmocka_unit_test(a_user_defined_token_may_run_across_spans),
      cmocka_unit_test(text_from_outside_cannot_swallow_the_beginning_of_a_control_token),
      cmocka_unit_test(merges_never_make_a_control_token_from_text),
      cmocka_unit_test(the_first_token_is_added_once),
      cmocka_unit_test(nothing_is_added_where_the_file_does_not_say_so),
      cmocka_unit_test(every_end_of_generation_is_known),
      cmocka_unit_test(a_piece_is_cut_to_its_capacity_and_says_its_length),
      cmocka_unit_test(the_bytes_of_a_token_are_those_that_its_characters_stand_for),
      cmocka_unit_test(no_capacity_counts_and_too_little_fills_and_says_so),
      cmocka_unit_test(nothing_given_is_an_error_or_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
