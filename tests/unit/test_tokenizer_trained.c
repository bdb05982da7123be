/* Pre-tokenizers on vocabularies that Hugging Face's tokenizers made (tests/reference/make_tokenizers.py): every id, and no
   row of the table without a vocabulary. */
#include "tokenizer_fixture.h"

#include "tokenizer/pretokenize.h"

/* Values of tokenizer.ggml.pre with a fixture of that name. */
static const char *const trained[] = {"phi-2",       "olmo",   "starcoder", "command-r",    "stablelm2",
                                      "dbrx",        "lfm2",   "tekken",    "deepseek-llm", "deepseek-coder",
                                      "deepseek-v3", "gpt-4o", "falcon",    "default"};
#define N_TRAINED (sizeof trained / sizeof *trained)
/* Those with the vocabulary of a real model (test_tokenizer_bpe.c). */
static const char *const real[] = {"gpt-2", "gpt-neox", "smollm", "llama-bpe", "qwen2"};

static const nk_pretokenizer *row_of(const char *pre) {
  return nk_pretokenizer_find((nk_text){pre, (uint32_t)strlen(pre)}, (nk_text){NULL, 0});
}

static void every_id_of_every_trained_vocabulary_is_that_of_the_reference(void **state) {
  (void)state;
  for (size_t i = 0; i < N_TRAINED; i++) {
    char path[128], strings[128], name[64];
    snprintf(path, sizeof path, FIXTURES "trained-%s.gguf", trained[i]);
    snprintf(strings, sizeof strings, FIXTURES "trained-%s.json", trained[i]);
    snprintf(name, sizeof name, "bpe/%s", trained[i]);
    vocabulary opened = open_vocabulary(path);
    assert_string_equal(nk_tokenizer_name(opened.tokenizer), name);
    assert_int_equal(check_strings(opened.tokenizer, strings, "ids_parse_special", false), 707);
    close_vocabulary(&opened);
  }
}

/* Lengths of the pieces, in code points, at *lengths, which moves on. */
static void cut_lengths(const nk_pretokenizer *row, unsigned stage, const uint32_t *codes, size_t begin, size_t end,
                        size_t **lengths) {
  if (stage == NK_PRETOKENIZER_MAX_STAGES || row->stage[stage] == NULL) {
    *(*lengths)++ = end - begin;
    return;
  }
  while (begin < end) {
    size_t stop = row->stage[stage](codes, begin, end);
    assert_true(stop > begin && stop <= end);
    cut_lengths(row, stage + 1, codes, begin, stop, lengths);
    begin = stop;
  }
}

static void every_piece_of_mixed_code_points_is_that_of_the_reference(void **state) {
  (void)state;
  cJSON *json = read_json(FIXTURES "trained-cuts.json");
  unsigned n = 0;
  const cJSON *item;
  cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "cases")) {
    const char *hex = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "hex"));
    size_t length, n_codes = 0;
    uint8_t *text = unhex(hex, &length);
    uint32_t codes[64];
    for (size_t at = 0; at < length; n_codes++) {
      assert_true(n_codes < 64);
      at += nk_utf8_decode(text + at, length - at, &codes[n_codes]);
    }
    free(text);
    for (size_t i = 0; i < N_TRAINED; i++) {
      size_t lengths[64], *end = lengths;
      cut_lengths(row_of(trained[i]), 0, codes, 0, n_codes, &end);
      const cJSON *wanted = cJSON_GetObjectItemCaseSensitive(item, trained[i]);
      bool same = cJSON_GetArraySize(wanted) == end - lengths;
      for (int k = 0; same && k < end - lengths; k++) {
        same = (size_t)cJSON_GetArrayItem(wanted, k)->valuedouble == lengths[k];
      }
      if (!same) fail_msg("%s cuts %s otherwise", trained[i], hex);
    }
    n++;
  }
  assert_int_equal(n, 1200);
  cJSON_Delete(json);
}

static void no_row_of_the_table_is_without_a_fixture(void **state) {
  (void)state;
  const nk_pretokenizer *row;
  for (size_t n = 0; (row = nk_pretokenizer_at(n)) != NULL; n++) {
    bool found = false;
    for (size_t i = 0; i < N_TRAINED; i++) found = found || row_of(trained[i]) == row;
    for (size_t i = 0; i < sizeof real / sizeof *real; i++) found = found || row_of(real[i]) == row;
    if (!found) fail_msg("the row %s has neither a trained nor a real vocabulary", row->name);
  }
}

/* The same file, with and without the key. */
static void a_file_without_the_key_is_cut_by_the_default_row_unless_its_architecture_had_one_tokenizer(void **state) {
  (void)state;
  static const char *const tokens[] = {"a", "1", "2", ".", "12", "a.", "\xC4\xA0", "\xC4\xA0.", "\xCC\x81"};
  static const char *const merges[] = {"a .", "\xC4\xA0 .", "1 2"};
  static const struct {
    const char *architecture, *name;
    int32_t ids[4];
    size_t n;
  } cases[] = {
      {"llama", "bpe/default", {0, 6, 3, 4}, 4}, /* marks are cut off first: "a", " ", ".", "12" */
      {"gpt2", "bpe/gpt-2", {0, 7, 4}, 3},       {"phi2", "bpe/gpt-2", {0, 7, 4}, 3},
      {"opt", "bpe/gpt-2", {0, 7, 4}, 3},        {"gptneox", "bpe/gpt-neox", {0, 7, 4}, 3},
      {"qwen2", "bpe/qwen2", {0, 7, 1, 2}, 4},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    header made = header_begin();
    header_text(&made, "general.architecture", cases[i].architecture);
    header_text(&made, "tokenizer.ggml.model", "gpt2");
    header_texts(&made, "tokenizer.ggml.tokens", tokens, sizeof tokens / sizeof *tokens);
    header_texts(&made, "tokenizer.ggml.merges", merges, 3);
    nk_tokenizer *tokenizer;
    nk_error error = {0};
    assert_int_equal(create_from(&made, &tokenizer, &error), NK_STATUS_OK);
    assert_string_equal(nk_tokenizer_name(tokenizer), cases[i].name);
    id_list list = encode_text(tokenizer, "a .12", 5, false);
    assert_ids(list, cases[i].ids, cases[i].n, cases[i].architecture);
    free(list.ids);
    nk_tokenizer_free(tokenizer);
    free(made.bytes);
  }
}

/* ---- Properties ------------------------------------------------------------------------------------------------ */

static uint32_t next_random(uint64_t *seed) { /* xorshift64* (Vigna 2016) */
  *seed ^= *seed >> 12;
  *seed ^= *seed << 25;
  *seed ^= *seed >> 27;
  return (uint32_t)(*seed * 0x2545F4914F6CDD1Du >> 33);
}

/* Code points of every class that a rule knows, many of them at borders of one. */
static uint32_t random_code(uint64_t *seed) {
  static const uint32_t some[] = {' ',    ' ',    ' ',    '\n',    '\r',   '\t',   'a',    'Z',    's',    'l',    '\'',
                                  '1',    '2',    '/',    '.',     '`',    0x17F,  0xE9,   0x301,  0x300,  0xAA,   0x2B0,
                                  0x1C5,  0x4E2D, 0x9FA5, 0x9FA6,  0x7FF,  0x800,  0xD7FF, 0xAC00, 0x3000, 0xA0,   0x85,
                                  0x2028, 0xBD,   0x2167, 0x1F600, 0x200D, 0xFF01, 0xFF5E, 0x3042, 0x660,  0x10428};
  uint32_t pick = next_random(seed);
  if (pick % 4 != 0) return some[pick / 4 % (sizeof some / sizeof *some)];
  uint32_t code = next_random(seed) % (pick % 8 == 0 ? 0x3000 : 0x110000);
  return code >= 0xD800 && code < 0xE000 ? 'x' : code;
}

static void the_pieces_of_any_text_are_the_text(void **state) {
  (void)state;
  uint64_t seed = 99;
  const nk_pretokenizer *row;
  for (size_t n = 0; (row = nk_pretokenizer_at(n)) != NULL; n++) {
    for (int round = 0; round < 3000; round++) {
      uint32_t codes[24];
      size_t length = 1 + next_random(&seed) % 24;
      for (size_t i = 0; i < length; i++) codes[i] = random_code(&seed);
      for (unsigned stage = 0; stage < NK_PRETOKENIZER_MAX_STAGES && row->stage[stage] != NULL; stage++) {
        size_t begin = 0;
        while (begin < length) {
          size_t stop = row->stage[stage](codes, begin, length);
          if (stop <= begin || stop > length) fail_msg("%s, stage %u: a piece ends at %zu", row->name, stage, stop);
          /* What follows the piece may be read to find its end, never what stands before it. */
          uint32_t before = begin > 0 ? codes[begin - 1] : 0;
          if (begin > 0) codes[begin - 1] = 'q';
          assert_int_equal(row->stage[stage](codes, begin, length), stop);
          if (begin > 0) codes[begin - 1] = before;
          begin = stop;
        }
      }
    }
  }
}

static void what_is_encoded_comes_back_byte_for_byte_where_nothing_is_normalized(void **state) {
  (void)state;
  uint64_t seed = 4;
  for (size_t i = 0; i < N_TRAINED; i++) {
    if (row_of(trained[i])->nfc) continue;
    char path[128];
    snprintf(path, sizeof path, FIXTURES "trained-%s.gguf", trained[i]);
    vocabulary opened = open_vocabulary(path);
    for (int round = 0; round < 500; round++) {
      uint8_t text[96];
      size_t length = 0, back;
      for (uint32_t n = next_random(&seed) % 24; n > 0; n--) length += nk_utf8_encode(random_code(&seed), text + length);
      id_list list = encode_text(opened.tokenizer, text, length, false);
      char *got = detokenize(opened.tokenizer, list, true, &back);
      assert_int_equal(back, length);
      assert_memory_equal(got, text, length);
      free(got);
      free(list.ids);
    }
    close_vocabulary(&opened);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_id_of_every_trained_vocabulary_is_that_of_the_reference),
      cmocka_unit_test(every_piece_of_mixed_code_points_is_that_of_the_reference),
      cmocka_unit_test(no_row_of_the_table_is_without_a_fixture),
      cmocka_unit_test(a_file_without_the_key_is_cut_by_the_default_row_unless_its_architecture_had_one_tokenizer),
      cmocka_unit_test(the_pieces_of_any_text_are_the_text),
      cmocka_unit_test(what_is_encoded_comes_back_byte_for_byte_where_nothing_is_normalized),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
