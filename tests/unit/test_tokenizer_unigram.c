/* SentencePiece's unigram model: every id of two trained models (tests/reference/make_sentencepiece.py), the rules one by
   one on vocabularies made on the spot, and normalization maps that lie. */
#include "tokenizer_fixture.h"

#include "tokenizer/charsmap.h"
#include "tokenizer/unicode.h"

#define MAP "tokenizer.ggml.precompiled_charsmap"

static void every_id_of_a_model_like_xlm_r_is_that_of_the_reference(void **state) {
  (void)state;
  vocabulary opened = open_vocabulary(FIXTURES "trained-unigram.gguf");
  assert_string_equal(nk_tokenizer_name(opened.tokenizer), "unigram");
  assert_true(nk_tokenizer_adds_bos(opened.tokenizer));
  assert_int_equal(nk_tokenizer_bos(opened.tokenizer), 0);
  assert_int_equal(nk_tokenizer_eos(opened.tokenizer), 2);
  assert_int_equal(check_strings(opened.tokenizer, FIXTURES "trained-unigram.json", "ids_special", true), 963);
  close_vocabulary(&opened);
}

static void every_id_of_a_model_with_a_map_of_its_own_is_that_of_the_reference(void **state) {
  (void)state;
  vocabulary opened = open_vocabulary(FIXTURES "trained-unigram-rules.gguf");
  assert_int_equal(check_strings(opened.tokenizer, FIXTURES "trained-unigram-rules.json", "ids_special", true), 392);
  close_vocabulary(&opened);
}

static void every_id_of_a_model_with_byte_tokens_is_that_of_the_reference(void **state) {
  (void)state;
  vocabulary opened = open_vocabulary(FIXTURES "trained-unigram-bytes.gguf");
  assert_false(nk_tokenizer_adds_bos(opened.tokenizer));
  assert_int_equal(check_strings(opened.tokenizer, FIXTURES "trained-unigram-bytes.json", "ids_special", true), 937);
  close_vocabulary(&opened);
}

/* ---- Vocabularies made on the spot ----------------------------------------------------------------------------- */

#define SPACE "\xE2\x96\x81"

enum { UNK, CONTROL, A, B, AB, ABA, S, S_A, ACUTE, UNUSED, USER, N_FEW };
static const char *const few[N_FEW] = {"<unk>", "<s>", "a", "b", "ab", "aba", SPACE, SPACE "a", "\xC3\xA9", "ba", "<u>"};
static const int32_t few_types[N_FEW] = {2, 3, 1, 1, 1, 1, 1, 1, 1, 5, 4};
static const float few_scores[N_FEW] = {0, 0, -3, -3, -4, -6, -2, -4, -5, 0, -9};

static header begin_unigram(const float *scores) {
  header made = header_begin();
  header_text(&made, "tokenizer.ggml.model", "t5");
  header_texts(&made, "tokenizer.ggml.tokens", few, N_FEW);
  header_i32s(&made, "tokenizer.ggml.token_type", few_types, N_FEW);
  header_array(&made, "tokenizer.ggml.scores", NK_GGUF_F32, N_FEW);
  put(&made, scores, N_FEW * sizeof *scores);
  header_bool(&made, "tokenizer.ggml.add_bos_token", false);
  header_bool(&made, "tokenizer.ggml.add_eos_token", false);
  return made;
}

static void header_map(header *made, const void *bytes, size_t n) {
  header_array(made, MAP, NK_GGUF_U8, n);
  put(made, bytes, n);
}

static nk_tokenizer *open_made(header *made) {
  nk_tokenizer *tokenizer;
  nk_error error = {0};
  nk_status status = create_from(made, &tokenizer, &error);
  if (status != NK_STATUS_OK) fail_msg("%s", error.text);
  return tokenizer;
}

static void assert_text(const nk_tokenizer *tokenizer, const char *text, const int32_t *wanted, size_t n) {
  id_list list = encode_text(tokenizer, text, strlen(text), false);
  assert_ids(list, wanted, n, text);
  free(list.ids);
}

#define GIVES(tokenizer, text, ...)                                       \
  do {                                                                    \
    static const int32_t wanted[] = {__VA_ARGS__};                        \
    assert_text(tokenizer, text, wanted, sizeof wanted / sizeof *wanted); \
  } while (0)

static void the_highest_sum_of_scores_wins_and_of_equal_ones_the_longer_last_token(void **state) {
  (void)state;
  header made = begin_unigram(few_scores);
  header_bool(&made, "tokenizer.ggml.add_space_prefix", false);
  nk_tokenizer *tokenizer = open_made(&made);
  GIVES(tokenizer, "ab", AB);           /* -4 beats -6 */
  GIVES(tokenizer, "aba", ABA);         /* -6 beats ab a (-7) */
  GIVES(tokenizer, "abab", AB, AB);     /* -8 beats aba b (-9) */
  GIVES(tokenizer, "ba", B, A);         /* the token "ba" is unused */
  GIVES(tokenizer, "a  ab ", A, S, AB); /* a space before ab: "_" "ab" (-6) beats "_a" "b" (-7) */
  GIVES(tokenizer, "a a", A, S_A);
  nk_tokenizer_free(tokenizer);
  free(made.bytes);
  static const float equal[N_FEW] = {0, 0, -2, -2, -4, -6, -2, -4, -5, 0, 0};
  made = begin_unigram(equal);
  header_bool(&made, "tokenizer.ggml.add_space_prefix", false);
  tokenizer = open_made(&made);
  GIVES(tokenizer, "ab", AB); /* reached first, from further back */
  GIVES(tokenizer, "aba", ABA);
  nk_tokenizer_free(tokenizer);
  free(made.bytes);
}

static void what_no_token_covers_is_unknown_and_its_neighbours_are_one(void **state) {
  (void)state;
  header made = begin_unigram(few_scores);
  nk_tokenizer *tokenizer = open_made(&made);
  GIVES(tokenizer, "axyb", S_A, UNK, B);
  GIVES(tokenizer, "x y", S, UNK, S, UNK);
  GIVES(tokenizer, "\xE4\xB8\xAD\xFF\xF0\x9F\x98\x80", S, UNK);
  GIVES(tokenizer, "<unk><s>", S, UNK); /* their letters, which have no tokens: neither is the token of that name */
  nk_tokenizer_free(tokenizer);
  free(made.bytes);
  /* An unknown character counts 10 below the lowest score, -20 here: "qa" "b" (-30) beats it with "ab" (-34). */
  static const char *const tokens[] = {"<unk>", "a", "b", "ab", "qa", SPACE, "abb"};
  static const int32_t types[] = {2, 1, 1, 1, 1, 1, 1};
  static const float scores[] = {-99, -3, -10, -4, -20, -1, -5};
  made = header_begin();
  header_text(&made, "tokenizer.ggml.model", "t5");
  header_texts(&made, "tokenizer.ggml.tokens", tokens, 7);
  header_i32s(&made, "tokenizer.ggml.token_type", types, 7);
  header_array(&made, "tokenizer.ggml.scores", NK_GGUF_F32, 7);
  put(&made, scores, sizeof scores);
  tokenizer = open_made(&made);
  GIVES(tokenizer, "qab", 5, 4, 2);
  GIVES(tokenizer, "qqab", 5, 0, 4, 2);
  GIVES(tokenizer, "qabb", 5, 0, 6); /* -35 beats "qa" "b" "b" (-40); the unknown token's own score does not count */
  nk_tokenizer_free(tokenizer);
  free(made.bytes);
}

static void spaces_separate_or_stay_as_the_file_says(void **state) {
  (void)state;
  for (int squeeze = 0; squeeze < 2; squeeze++) {
    for (int prefix = 0; prefix < 2; prefix++) {
      header made = begin_unigram(few_scores);
      header_bool(&made, "tokenizer.ggml.remove_extra_whitespaces", squeeze != 0);
      header_bool(&made, "tokenizer.ggml.add_space_prefix", prefix != 0);
      nk_tokenizer *tokenizer = open_made(&made);
      if (squeeze && prefix) GIVES(tokenizer, "  b \t\n\xC2\x85 b  ", S, B, S, B);
      if (squeeze && !prefix) GIVES(tokenizer, "  b  b  ", B, S, B);
      if (!squeeze && prefix) GIVES(tokenizer, " b  b", S, S, B, S, S, B);
      if (!squeeze && !prefix) GIVES(tokenizer, " b  b ", S, B, S, S, B, S);
      if (squeeze) assert_text(tokenizer, " \t ", NULL, 0);
      if (squeeze && prefix) GIVES(tokenizer, "b" SPACE "b", S, B, S, B); /* the mark itself begins a word */
      nk_tokenizer_free(tokenizer);
      free(made.bytes);
    }
  }
}

static void user_defined_tokens_are_cut_out_first_and_what_follows_begins_a_word(void **state) {
  (void)state;
  header made = begin_unigram(few_scores);
  nk_tokenizer *tokenizer = open_made(&made);
  GIVES(tokenizer, "b<u>b <u><u>", S, B, USER, S, B, USER, USER);
  nk_tokenizer_free(tokenizer);
  free(made.bytes);
}

static void scores_that_are_no_numbers_do_no_harm(void **state) {
  (void)state;
  union {
    uint32_t bits;
    float value;
  } nan = {0x7FC00000u}, infinite = {0x7F800000u}, minus = {0xFF800000u};
  for (unsigned round = 0; round < 64; round++) {
    float scores[N_FEW];
    for (unsigned i = 0; i < N_FEW; i++) {
      unsigned pick = (round * 7 + i * (round + 3)) % 5;
      scores[i] = pick == 0 ? nan.value : pick == 1 ? infinite.value : pick == 2 ? minus.value : pick == 3 ? 3e38f : -1;
    }
    header made = begin_unigram(scores);
    nk_tokenizer *tokenizer = open_made(&made);
    id_list list = encode_text(tokenizer, "abab aba x bab\xC3\xA9", 16, false);
    size_t length;
    char *back = detokenize(tokenizer, list, false, &length);
    assert_true(length > 8);
    free(back);
    free(list.ids);
    nk_tokenizer_free(tokenizer);
    free(made.bytes);
  }
}

static void a_token_whose_score_is_no_number_is_the_worst(void **state) {
  (void)state;
  union {
    uint32_t bits;
    float value;
  } nan = {0x7FC00000u};
  float scores[N_FEW];
  memcpy(scores, few_scores, sizeof scores);
  scores[AB] = nan.value;
  header made = begin_unigram(scores);
  nk_tokenizer *tokenizer = open_made(&made);
  GIVES(tokenizer, "bab", S, B, A, B);
  nk_tokenizer_free(tokenizer);
  free(made.bytes);
}

/* ---- Normalization maps ---------------------------------------------------------------------------------------- */

/* A trie of one key of one byte: units 0 (root), the key's and its leaf's. */
static size_t small_map(uint8_t *out, uint8_t key, uint32_t value, const char *texts, size_t n_texts) {
  uint32_t units[256] = {0};
  units[0] = 1u << 10; /* offset 1 */
  units[1 ^ key] = key | 1u << 8 | (uint32_t)(1 ^ key ^ 2) << 10;
  units[2] = value | 1u << 31;
  uint32_t bytes = sizeof units;
  memcpy(out, &bytes, 4);
  memcpy(out + 4, units, sizeof units);
  memcpy(out + 4 + sizeof units, texts, n_texts);
  return 4 + sizeof units + n_texts;
}

static void a_map_replaces_characters_and_short_clusters(void **state) {
  (void)state;
  uint8_t map[2048];
  header made = begin_unigram(few_scores);
  header_map(&made, map, small_map(map, 'x', 2, "ab\0 \0", 5));
  nk_tokenizer *tokenizer = open_made(&made);
  GIVES(tokenizer, "xbxbx", S, B, B); /* nothing in its place */
  nk_tokenizer_free(tokenizer);
  free(made.bytes);
  made = begin_unigram(few_scores);
  header_map(&made, map, small_map(map, 'x', 3, "ab\0 \0", 5));
  tokenizer = open_made(&made);
  GIVES(tokenizer, "xbxxbx", S, B, S, B); /* a space in its place */
  nk_tokenizer_free(tokenizer);
  free(made.bytes);
  made = begin_unigram(few_scores);
  header_map(&made, map, small_map(map, 'x', 3, "ab\0aba\0", 7));
  tokenizer = open_made(&made);
  GIVES(tokenizer, "x", S, ABA);
  GIVES(tokenizer, "bx", S, B, ABA);
  GIVES(tokenizer, "x\xCC\x81", S, ABA);                      /* 3 bytes: the mark goes with it */
  GIVES(tokenizer, "x\xCC\x81\xCC\x81", S, ABA);              /* 5 bytes */
  GIVES(tokenizer, "x\xCC\x81\xCC\x81\xCC\x81", S, ABA, UNK); /* 7: each by itself */
  nk_tokenizer_free(tokenizer);
  free(made.bytes);
}

static void keys_have_no_zero_byte_and_offsets_may_be_large(void **state) {
  (void)state;
  uint32_t units[512] = {0}, bytes = sizeof units;
  units[0] = 1u << 10 | 1u << 9; /* 1 * 256 */
  units[256 ^ 'x'] = 'x' | 1u << 8 | (uint32_t)(256 ^ 'x' ^ 2) << 10;
  units[2] = 1u << 31 | 1;
  uint8_t map[4 + sizeof units + 5];
  memcpy(map, &bytes, 4);
  memcpy(map + 4, units, sizeof units);
  memcpy(map + 4 + sizeof units, "\0aba", 5);
  header made = begin_unigram(few_scores);
  header_map(&made, map, sizeof map);
  nk_tokenizer *tokenizer = open_made(&made);
  GIVES(tokenizer, "x", S, ABA);
  id_list list = encode_text(tokenizer, "\0x", 2, false); /* the empty unit at 256 is no child */
  assert_ids(list, (const int32_t[]){S, UNK, ABA}, 3, "NUL, x");
  free(list.ids);
  nk_tokenizer_free(tokenizer);
  free(made.bytes);
  nk_gguf gguf;
  made = begin_unigram(few_scores);
  header_map(&made, map, sizeof map);
  header_end(&made);
  parse_header(&gguf, made.bytes, made.length);
  nk_charsmap opened;
  nk_error error = {0};
  assert_int_equal(nk_charsmap_open(&opened, &gguf, &error), NK_STATUS_OK);
  assert_null(nk_charsmap_find(&opened, (const uint8_t *)"\0x", 2).bytes);
  assert_int_equal(nk_charsmap_find(&opened, (const uint8_t *)"xy", 2).length, 3);
  nk_gguf_free(&gguf);
  free(made.bytes);
}

static void a_user_defined_token_that_a_map_makes_of_text_counts_nothing(void **state) {
  (void)state;
  static const char *const tokens[] = {"<unk>", "a", "b", "ab", SPACE};
  static const int32_t types[] = {2, 1, 1, 4, 1};
  static const float scores[] = {0, -3, -3, -50, -1};
  uint8_t map[2048];
  header made = header_begin();
  header_text(&made, "tokenizer.ggml.model", "t5");
  header_texts(&made, "tokenizer.ggml.tokens", tokens, 5);
  header_i32s(&made, "tokenizer.ggml.token_type", types, 5);
  header_array(&made, "tokenizer.ggml.scores", NK_GGUF_F32, 5);
  put(&made, scores, sizeof scores);
  header_map(&made, map, small_map(map, 'x', 0, "ab\0", 3));
  nk_tokenizer *tokenizer = open_made(&made);
  GIVES(tokenizer, "x", 4, 3);
  GIVES(tokenizer, "ba", 4, 2, 1);
  nk_tokenizer_free(tokenizer);
  free(made.bytes);
}

static void an_index_that_points_outside_is_no_match(void **state) {
  (void)state;
  uint8_t map[2048];
  nk_charsmap opened;
  nk_error error = {0};
  for (unsigned round = 0; round < 6; round++) {
    size_t n = small_map(map, 'x', round == 0 ? 7 : round == 1 ? 0x7FFFFFFF : 0, "ab\0aba\0", 7);
    uint32_t unit;
    if (round == 2) unit = 'x' | 1u << 8 | 0x1FFFFFu << 10; /* the leaf far outside */
    if (round == 3) unit = 'x' | 1u << 8 | 1u << 9 | 0x1FFFFFu << 10;
    if (round == 2 || round == 3) memcpy(map + 4 + 4 * (1 ^ 'x'), &unit, 4);
    unit = 0x1FFFFFu << 10;
    if (round == 4) memcpy(map + 4, &unit, 4); /* the root's children far outside */
    unit = 'y' | 1u << 8 | 1u << 10;
    if (round == 5) memcpy(map + 4 + 4 * (1 ^ 'x'), &unit, 4); /* another byte's child */
    header made = begin_unigram(few_scores);
    header_map(&made, map, n);
    header_end(&made);
    nk_gguf gguf;
    parse_header(&gguf, made.bytes, made.length);
    assert_int_equal(nk_charsmap_open(&opened, &gguf, &error), NK_STATUS_OK);
    assert_null(nk_charsmap_find(&opened, (const uint8_t *)"x", 1).bytes);
    assert_null(nk_charsmap_find(&opened, (const uint8_t *)"", 0).bytes);
    assert_null(nk_charsmap_find(&opened, (const uint8_t *)"\0x", 2).bytes);
    nk_gguf_free(&gguf);
    free(made.bytes);
  }
}

static void a_map_whose_parts_do_not_fit_is_refused(void **state) {
  (void)state;
  uint8_t map[2048];
  char texts[300];
  memset(texts, 'q', sizeof texts);
  texts[299] = 0;
  for (unsigned round = 0; round < 10; round++) {
    size_t n = small_map(map, 'x', 0, "ab\0", 3);
    uint32_t size = 1024;
    if (round == 0) n = 3;                 /* no size */
    if (round == 1) size = 1023;           /* no whole units */
    if (round == 2) size = (uint32_t)n;    /* longer than what is there */
    if (round == 3) size = UINT32_MAX - 3; /* wraps with the 4 bytes of the size */
    if (round == 4) n = 4 + 1024;          /* a trie without replacements */
    if (round == 5) n--;                   /* a replacement without an end */
    if (round == 6) n = small_map(map, 'x', 0, texts, sizeof texts);
    if (round == 7) n = small_map(map, 'x', 0, texts + 44, 256), size = 1024; /* 255 bytes: the longest that is allowed */
    if (round == 8) n = 0;                                                    /* no map */
    if (n >= 4) memcpy(map, &size, 4);
    header made = begin_unigram(few_scores);
    if (round == 9) {
      header_array(&made, MAP, NK_GGUF_U16, 4);
      put(&made, map, 8);
    } else {
      header_map(&made, map, n);
    }
    nk_tokenizer *tokenizer = NULL;
    nk_error error = {0};
    nk_status status = create_from(&made, &tokenizer, &error);
    assert_int_equal(status, round == 7 || round == 8 ? NK_STATUS_OK : NK_STATUS_FORMAT);
    if (status != NK_STATUS_OK) assert_non_null(strstr(error.text, MAP));
    nk_tokenizer_free(tokenizer);
    free(made.bytes);
  }
  header made = begin_unigram(few_scores);
  header_text(&made, MAP, "text");
  nk_tokenizer *tokenizer = NULL;
  nk_error error = {0};
  assert_int_equal(create_from(&made, &tokenizer, &error), NK_STATUS_FORMAT);
  free(made.bytes);
}

static void replacements_that_make_too_much_of_a_text_are_data_errors(void **state) {
  (void)state;
  uint8_t map[2048];
  char text[253] = "";
  while (strlen(text) < 252) strcat(text, "\xF0\x9F\x98\x80");
  header made = begin_unigram(few_scores);
  header_map(&made, map, small_map(map, 'x', 0, text, sizeof text));
  nk_tokenizer *tokenizer = open_made(&made);
  size_t n = NK_TOKENIZER_MAX_TEXT / 252 + 2, count;
  char *long_text = malloc(n);
  assert_non_null(long_text);
  memset(long_text, 'x', n);
  nk_span span = {long_text, n, false};
  nk_error error = {0};
  assert_int_equal(nk_tokenizer_encode(tokenizer, &span, 1, false, NULL, 0, &count, &error), NK_STATUS_DATA);
  assert_non_null(strstr(error.text, "normalized"));
  span.length = 4;
  int32_t ids[2048];
  assert_int_equal(nk_tokenizer_encode(tokenizer, &span, 1, false, ids, 2048, &count, &error), NK_STATUS_OK);
  assert_int_equal(count, 2); /* U+2581, and all of it unknown */
  free(long_text);
  nk_tokenizer_free(tokenizer);
  free(made.bytes);
}

/* ---- Grapheme clusters ----------------------------------------------------------------------------------------- */

static void clusters_end_where_unicode_says(void **state) {
  (void)state;
  static const struct {
    uint32_t codes[5];
    size_t n, ends;
  } rows[] = {
      {{'a', 'b'}, 2, 1},
      {{'a', 0x301, 0x323, 'b'}, 4, 3},
      {{'\r', '\n', 0x301}, 3, 2},
      {{'\n', '\r'}, 2, 1},
      {{'\r', 0x301}, 2, 1},
      {{'a', 0x200D, 'b'}, 3, 2},
      {{'a', 0x903, 0x20DD}, 3, 3}, /* a spacing mark, an enclosing one */
      {{'a', 0x0E33, 'b'}, 3, 2},
      {{'a', 0x102B}, 2, 1},            /* a spacing mark that stands by itself */
      {{'a', 0x200B}, 2, 1},            /* a control */
      {{0x600, 'a', 0x301, 'b'}, 4, 3}, /* prepended */
      {{0x600, '\n'}, 2, 1},
      {{0x1100, 0x1161, 0x11A8, 0x1100}, 4, 3},
      {{0x1100, 0x1100, 0xAC00, 0x11A8}, 4, 4},
      {{0xAC00, 0x1161, 0x11A8}, 3, 3},
      {{0xAC01, 0x1161}, 2, 1},
      {{0xAC01, 0x11A8, 0x1161}, 3, 2},
      {{0x1161, 0x1100}, 2, 1},
      {{0x1100, 0x11A8}, 2, 1},
      {{0x1F44D, 0x1F3FB, 'a'}, 3, 2}, /* an emoji's colour */
      {{0x301, 0x301}, 2, 2},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (nk_unicode_cluster_end(rows[i].codes, 0, rows[i].n) != rows[i].ends) fail_msg("row %zu", i);
  }
  /* How many there are of each in Unicode 15.0; compared with those of the package `regex`, which has Unicode 17. */
  uint32_t counts[5] = {0};
  for (uint32_t code = 0; code < NK_UNICODE_END; code++) counts[nk_unicode_of(code)->cluster]++;
  assert_int_equal(counts[NK_CLUSTER_CONTROL], 126);
  assert_int_equal(counts[NK_CLUSTER_EXTEND], 2131);
  assert_int_equal(counts[NK_CLUSTER_SPACING], 395);
  assert_int_equal(counts[NK_CLUSTER_PREPEND], 27);
}

/* ---- Properties ------------------------------------------------------------------------------------------------ */

static uint32_t next_random(uint64_t *seed) { /* xorshift64* (Vigna 2016) */
  *seed ^= *seed >> 12;
  *seed ^= *seed << 25;
  *seed ^= *seed >> 27;
  return (uint32_t)(*seed * 0x2545F4914F6CDD1Du >> 33);
}

static void any_bytes_are_encoded_and_come_back_where_nothing_is_normalized(void **state) {
  (void)state;
  static const char *const pieces[] = {
      "the ", "of", "\xE4\xB8\xAD",     "\xFF",   "\x80",     "e\xCC\x81", "<|tool|>", "<|to",
      " ",    "\n", "\xF0\x9F\x98\x80", "<0x41>", "\xC3\xA9", "12",        "<unk>",    "\x01"};
  vocabulary bytes = open_vocabulary(FIXTURES "trained-unigram-bytes.gguf");
  vocabulary mapped = open_vocabulary(FIXTURES "trained-unigram.gguf");
  uint64_t seed = 5;
  for (int round = 0; round < 3000; round++) {
    char text[256], valid[1024];
    size_t length = 0, back, n_valid = 0;
    for (uint32_t n = next_random(&seed) % 16; n > 0; n--) {
      const char *piece = pieces[next_random(&seed) % (sizeof pieces / sizeof *pieces)];
      memcpy(text + length, piece, strlen(piece));
      length += strlen(piece);
    }
    for (size_t at = 0; at < length;) { /* offending bytes become U+FFFD */
      uint32_t code;
      at += nk_utf8_decode((const uint8_t *)text + at, length - at, &code);
      n_valid += nk_utf8_encode(code, (uint8_t *)valid + n_valid);
    }
    id_list list = encode_text(bytes.tokenizer, text, length, false);
    char *got = detokenize(bytes.tokenizer, list, false, &back);
    assert_int_equal(back, n_valid);
    assert_memory_equal(got, valid, n_valid);
    free(got);
    free(list.ids);
    list = encode_text(mapped.tokenizer, text, length, false);
    for (size_t i = 0; i < list.n; i++) assert_false(nk_tokenizer_is_control(mapped.tokenizer, list.ids[i]));
    free(list.ids);
  }
  close_vocabulary(&bytes);
  close_vocabulary(&mapped);
}

static void a_megabyte_of_one_letter_is_encoded(void **state) {
  (void)state;
  vocabulary bytes = open_vocabulary(FIXTURES "trained-unigram-bytes.gguf");
  size_t length = 1 << 20, back;
  char *text = malloc(length);
  assert_non_null(text);
  for (const char *letter = "a =\n"; *letter != 0; letter++) {
    memset(text, *letter, length);
    id_list list = encode_text(bytes.tokenizer, text, length, false);
    char *got = detokenize(bytes.tokenizer, list, false, &back);
    assert_int_equal(back, length);
    assert_memory_equal(got, text, length);
    free(got);
    free(list.ids);
  }
  free(text);
  close_vocabulary(&bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_id_of_a_model_like_xlm_r_is_that_of_the_reference),
      cmocka_unit_test(every_id_of_a_model_with_a_map_of_its_own_is_that_of_the_reference),
      cmocka_unit_test(every_id_of_a_model_with_byte_tokens_is_that_of_the_reference),
      cmocka_unit_test(the_highest_sum_of_scores_wins_and_of_equal_ones_the_longer_last_token),
      cmocka_unit_test(what_no_token_covers_is_unknown_and_its_neighbours_are_one),
      cmocka_unit_test(spaces_separate_or_stay_as_the_file_says),
      cmocka_unit_test(user_defined_tokens_are_cut_out_first_and_what_follows_begins_a_word),
      cmocka_unit_test(scores_that_are_no_numbers_do_no_harm),
      cmocka_unit_test(a_token_whose_score_is_no_number_is_the_worst),
      cmocka_unit_test(a_map_replaces_characters_and_short_clusters),
      cmocka_unit_test(keys_have_no_zero_byte_and_offsets_may_be_large),
      cmocka_unit_test(a_user_defined_token_that_a_map_makes_of_text_counts_nothing),
      cmocka_unit_test(an_index_that_points_outside_is_no_match),
      cmocka_unit_test(a_map_whose_parts_do_not_fit_is_refused),
      cmocka_unit_test(replacements_that_make_too_much_of_a_text_are_data_errors),
      cmocka_unit_test(clusters_end_where_unicode_says),
      cmocka_unit_test(any_bytes_are_encoded_and_come_back_where_nothing_is_normalized),
      cmocka_unit_test(a_megabyte_of_one_letter_is_encoded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
