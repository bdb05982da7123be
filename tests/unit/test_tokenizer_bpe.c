/* Byte-level BPE: every reference id, and properties that hold for any text. Fixtures: tests/fixtures/tokenizers. */
#include "tokenizer_fixture.h"

#include "tokenizer/pretokenize.h"

static void every_id_of_smollm2_is_that_of_the_reference(void **state) {
  (void)state;
  vocabulary smollm2 = open_vocabulary(FIXTURES "vocab-smollm2.gguf");
  assert_string_equal(nk_tokenizer_name(smollm2.tokenizer), "bpe/smollm");
  assert_int_equal(check_strings(smollm2.tokenizer, FIXTURES "smollm2_strings.json", "ids_parse_special", false), 299);
  close_vocabulary(&smollm2);
}

static void every_id_of_gpt2_is_that_of_the_reference(void **state) {
  (void)state;
  vocabulary gpt2 = open_vocabulary(FIXTURES "ggml-vocab-gpt-2.gguf");
  assert_string_equal(nk_tokenizer_name(gpt2.tokenizer), "bpe/gpt-2");
  assert_int_equal(check_strings(gpt2.tokenizer, FIXTURES "vocab_gpt-2_strings.json", "ids_special", true), 189);
  assert_int_equal(check_cases(gpt2.tokenizer, FIXTURES "ggml-vocab-gpt-2.gguf"), 46);
  close_vocabulary(&gpt2);
}

static void check_model(const char *name, const char *tokenizer_name, bool cases) {
  char path[128], strings[128];
  snprintf(path, sizeof path, FIXTURES "ggml-vocab-%s.gguf", name);
  snprintf(strings, sizeof strings, FIXTURES "vocab_%s_strings.json", name);
  vocabulary opened = open_vocabulary(path);
  assert_string_equal(nk_tokenizer_name(opened.tokenizer), tokenizer_name);
  assert_int_equal(check_strings(opened.tokenizer, strings, "ids_special", true), 189);
  if (cases) assert_int_equal(check_cases(opened.tokenizer, path), 46);
  close_vocabulary(&opened);
}

static void every_id_of_llama_3_is_that_of_the_reference(void **state) {
  (void)state;
  check_model("llama-bpe", "bpe/llama-bpe", true);
}

static void every_id_of_qwen2_is_that_of_its_own_tokenizer(void **state) {
  (void)state;
  check_model("qwen2", "bpe/qwen2", true);
}

static void every_id_of_gpt_neox_is_that_of_its_own_tokenizer_though_the_file_names_none(void **state) {
  (void)state;
  check_model("gpt-neox", "bpe/gpt-neox", false);
}

/* ---- Properties ------------------------------------------------------------------------------------------------ */

static uint64_t next_random(uint64_t *seed) { /* xorshift64* (Vigna 2016) */
  *seed ^= *seed >> 12;
  *seed ^= *seed << 25;
  *seed ^= *seed >> 27;
  return *seed * 0x2545F4914F6CDD1Du;
}

static uint32_t below(uint64_t *seed, uint32_t limit) { return (uint32_t)(next_random(seed) >> 33) % limit; }

/* Text of words, digits, white space, accents, emoji, raw bytes and marks of control tokens. */
static size_t random_text(uint64_t *seed, char *out, size_t room) {
  static const char *const pieces[] = {
      "the",
      " cat",
      "'s",
      "'LL",
      "  ",
      "\n",
      "\r\n",
      "\t",
      "42",
      " 1234567",
      "\xC3\xA9",
      "e\xCC\x81",
      " \xE4\xB8\xAD\xE6\x96\x87",
      "\xF0\x9F\x98\x80",
      "!?",
      "<|",
      "im_end",
      "|>",
      "<|im_start|>",
      "<|endoftext|>",
      "\xFF",
      "\xE2\x82",
      "\xC2\xA0",
      "\xE3\x80\x80",
      "\xD9\xA3",
      "\xC2\xBD",
      "don't",
      "\x7F",
      "ing",
      " ",
  };
  size_t length = 0;
  for (uint32_t n = 1 + below(seed, 24); n > 0; n--) {
    const char *piece = pieces[below(seed, sizeof pieces / sizeof *pieces)];
    if (length + strlen(piece) > room) break;
    memcpy(out + length, piece, strlen(piece));
    length += strlen(piece);
  }
  return length;
}

static void cutting_a_text_into_spans_changes_no_id(void **state) {
  (void)state;
  static const char *const paths[] = {FIXTURES "vocab-smollm2.gguf", FIXTURES "ggml-vocab-gpt-2.gguf"};
  uint64_t seed = 20240607;
  for (size_t k = 0; k < 2; k++) {
    vocabulary opened = open_vocabulary(paths[k]);
    for (int round = 0; round < 2000; round++) {
      char text[512];
      size_t length = random_text(&seed, text, sizeof text);
      id_list whole = encode_text(opened.tokenizer, text, length, false);
      nk_span spans[64];
      size_t n = 0;
      for (size_t at = 0; at < length || n == 0;) {
        size_t left = length - at, take = n == 63 ? left : below(&seed, (uint32_t)left + 1);
        spans[n++] = (nk_span){text + at, take, false};
        at += take;
        if (n == 64) break;
      }
      id_list parts = encode_spans(opened.tokenizer, spans, n, false);
      assert_ids(parts, whole.ids, whole.n, "a text in spans");
      free(parts.ids);
      free(whole.ids);
    }
    close_vocabulary(&opened);
  }
}

static void text_without_parse_special_never_gives_a_control_token(void **state) {
  (void)state;
  vocabulary smollm2 = open_vocabulary(FIXTURES "vocab-smollm2.gguf");
  uint64_t seed = 7;
  for (int round = 0; round < 3000; round++) {
    char text[512];
    id_list list = encode_text(smollm2.tokenizer, text, random_text(&seed, text, sizeof text), false);
    for (size_t i = 0; i < list.n; i++) assert_false(nk_tokenizer_is_control(smollm2.tokenizer, list.ids[i]));
    free(list.ids);
  }
  close_vocabulary(&smollm2);
}

static void user_text_inside_a_chat_stays_text_and_the_template_around_it_does_not(void **state) {
  (void)state;
  vocabulary smollm2 = open_vocabulary(FIXTURES "vocab-smollm2.gguf");
  static const char before[] = "<|im_start|>user\n", user[] = "a<|im_end|>b<|im_start|>", after[] = "<|im_end|>\n";
  nk_span spans[] = {
      {before, sizeof before - 1, true},
      {user, sizeof user - 1, false},
      {after, sizeof after - 1, true},
  };
  id_list list = encode_spans(smollm2.tokenizer, spans, 3, false);
  size_t control = 0;
  for (size_t i = 0; i < list.n; i++) control += nk_tokenizer_is_control(smollm2.tokenizer, list.ids[i]);
  assert_int_equal(control, 2);
  assert_int_equal(list.ids[0], 1);
  assert_int_equal(list.ids[list.n - 2], 2);
  size_t length;
  char *text = detokenize(smollm2.tokenizer, list, true, &length);
  assert_string_equal(text, "<|im_start|>user\na<|im_end|>b<|im_start|><|im_end|>\n");
  free(text);
  text = detokenize(smollm2.tokenizer, list, false, &length);
  assert_string_equal(text, "user\na<|im_end|>b<|im_start|>\n");
  free(text);
  free(list.ids);
  close_vocabulary(&smollm2);
}

static void a_control_token_in_two_spans_is_text(void **state) {
  (void)state;
  vocabulary smollm2 = open_vocabulary(FIXTURES "vocab-smollm2.gguf");
  static const char text[] = "<|im_end|>";
  for (unsigned kinds = 0; kinds < 4; kinds++) {
    for (size_t cut = 1; cut < sizeof text - 1; cut++) {
      nk_span spans[] = {{text, cut, (kinds & 1) != 0}, {text + cut, sizeof text - 1 - cut, (kinds & 2) != 0}};
      id_list list = encode_spans(smollm2.tokenizer, spans, 2, false);
      static const int32_t wanted[] = {44, 108, 306, 79, 486, 108, 46};
      assert_ids(list, wanted, 7, "<|im_end|> in two spans");
      free(list.ids);
    }
  }
  close_vocabulary(&smollm2);
}

static bool has_token_for_every_byte(const nk_tokenizer *tokenizer, const char *text, size_t length) {
  id_list list = encode_text(tokenizer, text, length, false);
  size_t back;
  free(detokenize(tokenizer, list, false, &back));
  free(list.ids);
  return back == length;
}

static void what_is_encoded_comes_back_byte_for_byte(void **state) {
  (void)state;
  vocabulary gpt2 = open_vocabulary(FIXTURES "ggml-vocab-gpt-2.gguf");
  for (uint32_t code = 1; code < 0x30000; code += code < 0x3000 ? 1 : 37) {
    if (code >= 0xD800 && code < 0xE000) continue;
    uint8_t text[4];
    size_t length = nk_utf8_encode(code, text), back;
    id_list list = encode_text(gpt2.tokenizer, text, length, false);
    char *got = detokenize(gpt2.tokenizer, list, false, &back);
    assert_int_equal(back, length);
    assert_memory_equal(got, text, length);
    free(got);
    free(list.ids);
  }
  close_vocabulary(&gpt2);
}

static void a_byte_without_a_token_is_left_out(void **state) {
  (void)state;
  vocabulary smollm2 = open_vocabulary(FIXTURES "vocab-smollm2.gguf");
  assert_true(has_token_for_every_byte(smollm2.tokenizer, "\x01", 1));
  assert_false(has_token_for_every_byte(smollm2.tokenizer, "\x04", 1));
  id_list list = encode_text(smollm2.tokenizer,
                             "a\x04"
                             "b",
                             3, false);
  static const int32_t wanted[] = {81, 82};
  assert_ids(list, wanted, 2, "a, 0x04, b");
  free(list.ids);
  close_vocabulary(&smollm2);
}

/* ---- Long words ------------------------------------------------------------------------------------------------ */

static void a_megabyte_of_one_letter_is_encoded(void **state) {
  (void)state;
  vocabulary smollm2 = open_vocabulary(FIXTURES "vocab-smollm2.gguf");
  size_t length = 1 << 20, back;
  char *text = malloc(length);
  assert_non_null(text);
  for (const char *letter = "a =\n"; *letter != 0; letter++) {
    memset(text, *letter, length);
    id_list list = encode_text(smollm2.tokenizer, text, length, true);
    assert_true(list.n > 0 && list.n < length);
    char *got = detokenize(smollm2.tokenizer, list, false, &back);
    assert_int_equal(back, length);
    assert_memory_equal(got, text, length);
    free(got);
    free(list.ids);
  }
  free(text);
  close_vocabulary(&smollm2);
}

/* The definition, in quadratic time: of all neighbours with a merge the best rank, the leftmost first. */
static size_t merge_slowly(const nk_gguf_pair *merges, char (*symbols)[64], size_t n) {
  for (;;) {
    uint64_t best = UINT64_MAX;
    size_t at = 0;
    for (size_t i = 0; i + 1 < n; i++) {
      char pair[132];
      size_t length = (size_t)snprintf(pair, sizeof pair, "%s %s", symbols[i], symbols[i + 1]);
      for (uint64_t rank = 0; rank < merges->count && rank < best; rank++) {
        nk_text merge = nk_gguf_text_at(merges, rank);
        if (merge.length == length && memcmp(merge.bytes, pair, length) == 0) {
          best = rank;
          at = i;
        }
      }
    }
    if (best == UINT64_MAX) return n;
    size_t length = strlen(symbols[at]);
    for (size_t i = 0; symbols[at + 1][i] != 0; i++) symbols[at][length++] = symbols[at + 1][i];
    symbols[at][length] = 0;
    memmove(symbols[at + 1], symbols[at + 2], (n - at - 2) * sizeof *symbols);
    n--;
  }
}

static void merges_are_made_in_the_order_of_the_definition(void **state) {
  (void)state;
  size_t length;
  uint8_t *bytes = (uint8_t *)read_file(FIXTURES "ggml-vocab-gpt-2.gguf", &length);
  nk_gguf gguf;
  parse_header(&gguf, bytes, length);
  nk_error error = {0};
  nk_tokenizer *tokenizer;
  assert_int_equal(nk_tokenizer_create(&tokenizer, &gguf, &error), NK_STATUS_OK);
  const nk_gguf_pair *merges;
  assert_int_equal(nk_gguf_get_array(&gguf, "tokenizer.ggml.merges", NK_GGUF_STRING, &merges, &error), NK_STATUS_OK);
  uint64_t seed = 11;
  for (int round = 0; round < 25; round++) {
    char symbols[20][64], word[20];
    size_t n = 2 + below(&seed, 15);
    for (size_t i = 0; i < n; i++) {
      word[i] = "aeinorstlh"[below(&seed, 10)];
      symbols[i][0] = word[i];
      symbols[i][1] = 0;
    }
    id_list list = encode_text(tokenizer, word, n, false);
    size_t wanted = merge_slowly(merges, symbols, n);
    assert_int_equal(list.n, wanted);
    for (size_t i = 0; i < wanted; i++) {
      nk_text raw = nk_tokenizer_raw(tokenizer, list.ids[i]);
      assert_int_equal(raw.length, strlen(symbols[i]));
      assert_memory_equal(raw.bytes, symbols[i], raw.length);
    }
    free(list.ids);
  }
  nk_tokenizer_free(tokenizer);
  nk_gguf_free(&gguf);
  free(bytes);
}

static uint64_t planned_bytes(const char *path) {
  size_t length;
  uint8_t *bytes = (uint8_t *)read_file(path, &length);
  nk_gguf gguf;
  parse_header(&gguf, bytes, length);
  uint64_t planned = nk_tokenizer_bytes(&gguf);
  nk_gguf_free(&gguf);
  free(bytes);
  return planned;
}

static void the_planned_memory_is_small(void **state) {
  (void)state;
  uint64_t smollm2 = planned_bytes(FIXTURES "vocab-smollm2.gguf"),
           llama3 = planned_bytes(FIXTURES "ggml-vocab-llama-bpe.gguf");
  assert_true(smollm2 > 1000000 && smollm2 < 2500000);
  assert_true(llama3 > 5000000 && llama3 < 9000000); /* texts and merges included */
}

/* ---- Pre-tokenizers -------------------------------------------------------------------------------------------- */

/* The pieces of a text, joined by '|'. */
static void cut_text(const nk_pretokenizer *pre, unsigned stage, const uint32_t *codes, size_t begin, size_t end,
                     char *out) {
  if (stage == NK_PRETOKENIZER_MAX_STAGES || pre->stage[stage] == NULL) {
    size_t length = strlen(out);
    if (length > 0) out[length++] = '|';
    for (size_t i = begin; i < end; i++) length += nk_utf8_encode(codes[i], (uint8_t *)out + length);
    out[length] = 0;
    return;
  }
  while (begin < end) {
    size_t stop = pre->stage[stage](codes, begin, end);
    assert_true(stop > begin && stop <= end);
    cut_text(pre, stage + 1, codes, begin, stop, out);
    begin = stop;
  }
}

static void assert_cut(const char *name, const char *text, const char *wanted) {
  const nk_pretokenizer *pre = nk_pretokenizer_find((nk_text){name, (uint32_t)strlen(name)}, (nk_text){NULL, 0});
  assert_non_null(pre);
  uint32_t codes[256];
  size_t n = 0;
  for (size_t at = 0, length = strlen(text); at < length; n++) {
    at += nk_utf8_decode((const uint8_t *)text + at, length - at, &codes[n]);
  }
  char out[1024] = "";
  cut_text(pre, 0, codes, 0, n, out);
  if (strcmp(out, wanted) != 0) fail_msg("%s cuts '%s' to '%s', not '%s'", name, text, out, wanted);
}

static void each_pre_tokenizer_cuts_as_its_expression_says(void **state) {
  (void)state;
  assert_cut("gpt-2", "I'll say: don't  stop 12345!!\n\n x", "I|'ll| say|:| don|'t| | stop| 12345|!!|\n\n| x");
  assert_cut("gpt-2", "'S 'RE x's", "'|S| '|RE| x|'s");
  assert_cut("gpt-2", "a   ", "a|   ");
  assert_cut("gpt-2", "a\xCA\xB0\xC7\x85\xE4\xB8\xAD", "a\xCA\xB0\xC7\x85\xE4\xB8\xAD"); /* Ll Lm Lt Lo */
  assert_cut("gpt-2", "a \n b", "a| \n| b");
  assert_cut("gpt-2", "\xC2\xA0x \xC2\xBD\xD9\xA3", "\xC2\xA0|x| \xC2\xBD\xD9\xA3");
  assert_cut("smollm", "abc 123 x9", "abc| |1|2|3| x|9");
  assert_cut("smollm", "  12  ", "  |1|2|  ");
  assert_cut("llama-bpe", "I'LL say 12345 it's", "I|'LL| say| |123|45| it|'s");
  assert_cut("llama-bpe", "a\n\n  b  \r\n c", "a|\n\n| | b|  \r\n| c");
  assert_cut("llama-bpe", "(x) !!\n\n-y \t", "(x|)| !!\n\n|-y| \t");
  assert_cut("llama-bpe", "\nx \n", "\n|x| \n");
  assert_cut("llama-bpe", "\tx\xC2\xA0y  z", "\tx|\xC2\xA0y| | z");
  assert_cut("qwen2", "a 123", "a| |1|2|3");
  assert_cut("smollm", "\xD9\xA3\xD9\xA3", "\xD9\xA3|\xD9\xA3");
  assert_cut("qwen2", "it'\xC5\xBFx", "it|'\xC5\xBF|x"); /* U+017F folds to s */
  assert_cut("gpt-2", "it'\xC5\xBFx", "it|'|\xC5\xBFx");
  assert_cut("tekken", "helloWorld HTTPServer ABC'S 12", "hello|World| HTTPServer| ABC|'S| |1|2");
  assert_cut("tekken", "\xE4\xB8\xADXY !/\n/ x", "\xE4\xB8\xAD|XY| !/\n/| x");
  assert_cut("tekken", "a\xC7\x85\x62 \xC7\x85", "a|\xC7\x85\x62| \xC7\x85"); /* U+01C5 begins a word */
  assert_cut("gpt-4o", "It's ABC'LLx 1234", "It's| ABC'LL|x| |123|4");
  assert_cut("deepseek-llm", "caf\xC3\xA9s a1b  \n \xE4\xB8\xAD. ", "caf|\xC3\xA9|s| a|1|b|  |\n| |\xE4\xB8\xAD|.| ");
  assert_cut("deepseek-coder", "a$b ?! 12", "a|$|b| ?!| |1|2");
  assert_cut("deepseek-v3", "x 1234 .foo(a)!!\n", "x| |123|4| .|foo|(a|)!!\n");
  assert_cut("falcon", "a`b 12345", "a|`|b| |123|45");
  assert_cut("default", "a $5^ ~+= -<>!", "a| |$|5|^| |~+=| |-<>!");
  assert_cut("default", "a`b<=c 12345", "a|`|b|<=|c| |123|45");
}

static void every_row_of_the_table_is_found_by_each_of_its_names(void **state) {
  (void)state;
  size_t n = 0;
  for (const nk_pretokenizer *row; (row = nk_pretokenizer_at(n)) != NULL; n++) {
    assert_non_null(row->stage[0]);
    for (size_t k = 0; k < NK_PRETOKENIZER_MAX_NAMES && row->pre[k] != NULL; k++) {
      nk_text pre = {row->pre[k], (uint32_t)strlen(row->pre[k])};
      assert_ptr_equal(nk_pretokenizer_find(pre, (nk_text){NULL, 0}), row);
    }
  }
  assert_true(n >= 14);
  assert_null(nk_pretokenizer_find((nk_text){"gpt", 3}, (nk_text){"gptneox", 7}));
  assert_string_equal(nk_pretokenizer_find((nk_text){NULL, 0}, (nk_text){"gptneox", 7})->name, "gpt-neox");
  assert_string_equal(nk_pretokenizer_find((nk_text){NULL, 0}, (nk_text){"llama", 5})->name, "default");
  assert_string_equal(nk_pretokenizer_find((nk_text){NULL, 0}, (nk_text){NULL, 0})->name, "default");
  assert_null(nk_pretokenizer_find((nk_text){"", 0}, (nk_text){"llama", 5}));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_id_of_smollm2_is_that_of_the_reference),
      cmocka_unit_test(every_id_of_gpt2_is_that_of_the_reference),
      cmocka_unit_test(every_id_of_llama_3_is_that_of_the_reference),
      cmocka_unit_test(every_id_of_qwen2_is_that_of_its_own_tokenizer),
      cmocka_unit_test(every_id_of_gpt_neox_is_that_of_its_own_tokenizer_though_the_file_names_none),
      cmocka_unit_test(cutting_a_text_into_spans_changes_no_id),
      cmocka_unit_test(text_without_parse_special_never_gives_a_control_token),
      cmocka_unit_test(user_text_inside_a_chat_stays_text_and_the_template_around_it_does_not),
      cmocka_unit_test(a_control_token_in_two_spans_is_text),
      cmocka_unit_test(what_is_encoded_comes_back_byte_for_byte),
      cmocka_unit_test(a_byte_without_a_token_is_left_out),
      cmocka_unit_test(a_megabyte_of_one_letter_is_encoded),
      cmocka_unit_test(merges_are_made_in_the_order_of_the_definition),
      cmocka_unit_test(the_planned_memory_is_small),
      cmocka_unit_test(each_pre_tokenizer_cuts_as_its_expression_says),
      cmocka_unit_test(every_row_of_the_table_is_found_by_each_of_its_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
