/* Unicode tables and normalization, against values read from the Unicode Character Database 15.0.0 (and NormalizationTest).
   */
#include "tokenizer_fixture.h"

#include "tokenizer/unicode.h"

static void categories_are_those_of_the_database(void **state) {
  (void)state;
  static const struct {
    uint32_t code;
    nk_category category;
    bool white;
  } rows[] = {
      {'a', NK_LL, false},      {'Z', NK_LU, false},      {'5', NK_ND, false},        {' ', NK_ZS, true},
      {'\n', NK_CC, true},      {0x85, NK_CC, true},      {0xA0, NK_ZS, true},        {0x1C, NK_CC, false},
      {'_', NK_PC, false},      {'$', NK_SC, false},      {'+', NK_SM, false},        {'^', NK_SK, false},
      {0xAA, NK_LO, false},     {0xBD, NK_NO, false},     {0x1C5, NK_LT, false},      {0x2B0, NK_LM, false},
      {0x301, NK_MN, false},    {0x903, NK_MC, false},    {0x488, NK_ME, false},      {0x2160, NK_NL, false},
      {0x663, NK_ND, false},    {0x200B, NK_CF, false},   {0x2028, NK_ZL, true},      {0x2029, NK_ZP, true},
      {0x3000, NK_ZS, true},    {0x3400, NK_LO, false},   {0x4DBF, NK_LO, false},     {0x4E00, NK_LO, false},
      {0x9FFF, NK_LO, false},   {0xAC00, NK_LO, false},   {0xD7A3, NK_LO, false},     {0xD7A4, NK_CN, false},
      {0xD800, NK_CS, false},   {0xE000, NK_CO, false},   {0x378, NK_CN, false},      {0x1F600, NK_SO, false},
      {0x20000, NK_LO, false},  {0x2A6DF, NK_LO, false},  {0x2A6E0, NK_CN, false},    {0x10FFFD, NK_CO, false},
      {0x10FFFF, NK_CN, false}, {0x110000, NK_CN, false}, {UINT32_MAX, NK_CN, false},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (nk_unicode_of(rows[i].code)->category != rows[i].category) fail_msg("U+%04X", rows[i].code);
    assert_int_equal(nk_unicode_white(rows[i].code), rows[i].white);
  }
  /* How many there are of each kind in version 15.0, counted over UnicodeData.txt and PropList.txt by themselves. */
  uint32_t letters = 0, numbers = 0, white = 0, marks = 0, punctuation = 0;
  for (uint32_t code = 0; code < NK_UNICODE_END; code++) {
    letters += nk_unicode_in(code, NK_LETTERS);
    numbers += nk_unicode_in(code, NK_NUMBERS);
    marks += nk_unicode_in(code, NK_MARKS);
    punctuation += nk_unicode_in(code, NK_PUNCTUATION);
    white += nk_unicode_white(code);
  }
  assert_string_equal(nk_unicode_version, "15.0.0");
  assert_int_equal(letters, 136104);
  assert_int_equal(numbers, 1831);
  assert_int_equal(marks, 2450);
  assert_int_equal(punctuation, 842);
  assert_int_equal(white, 25);
}

static void lower_case_is_the_simple_mapping(void **state) {
  (void)state;
  static const uint32_t rows[][2] = {
      {'A', 'a'},     {'z', 'z'},     {'@', '@'},       {'[', '['},       {0xC0, 0xE0},       {0xD7, 0xD7},
      {0x100, 0x101}, {0x101, 0x101}, {0x130, 'i'},     {0x178, 0xFF},    {0x391, 0x3B1},     {0x410, 0x430},
      {0x1E9E, 0xDF}, {0x212A, 'k'},  {0x10A0, 0x2D00}, {0x13A0, 0xAB70}, {0x1E921, 0x1E943}, {0x10FFFF, 0x10FFFF}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) assert_int_equal(nk_unicode_lower(rows[i][0]), rows[i][1]);
  uint32_t changed = 0;
  for (uint32_t code = 0; code < NK_UNICODE_END; code++) changed += nk_unicode_lower(code) != code;
  assert_int_equal(changed, 1433);
}

/* NFD and NFC of codes, 0-terminated, compared. */
static void assert_forms(const uint32_t *codes, const uint32_t *nfd, const uint32_t *nfc) {
  uint32_t out[512], scratch[512];
  size_t n = 0, n_nfd = 0, n_nfc = 0;
  while (codes[n] != 0) n++;
  while (nfd[n_nfd] != 0) n_nfd++;
  while (nfc[n_nfc] != 0) n_nfc++;
  assert_int_equal(nk_unicode_nfd_length(codes, n), n_nfd);
  nk_unicode_nfd(codes, n, out, scratch);
  assert_memory_equal(out, nfd, n_nfd * 4);
  size_t got = nk_unicode_nfc(out, n_nfd);
  assert_int_equal(got, n_nfc);
  assert_memory_equal(out, nfc, n_nfc * 4);
}

#define CODES(...) ((const uint32_t[]){__VA_ARGS__, 0})

static void normalization_gives_the_forms_of_the_standard(void **state) {
  (void)state;
  /* Rows of NormalizationTest.txt (columns 1, 3, 2). */
  assert_forms(CODES('e', 0x301), CODES('e', 0x301), CODES(0xE9));
  assert_forms(CODES(0x1E0A, 0x323), CODES('D', 0x323, 0x307), CODES(0x1E0C, 0x307));
  assert_forms(CODES(0x1E0C, 0x307), CODES('D', 0x323, 0x307), CODES(0x1E0C, 0x307));
  assert_forms(CODES(0x1E14, 0x304), CODES('E', 0x304, 0x300, 0x304), CODES(0x1E14, 0x304));
  assert_forms(CODES(0x212B), CODES('A', 0x30A), CODES(0xC5));
  assert_forms(CODES(0x1F82), CODES(0x3B1, 0x313, 0x300, 0x345), CODES(0x1F82));
  assert_forms(CODES(0xAC00, 0x11A8), CODES(0x1100, 0x1161, 0x11A8), CODES(0xAC01));
  assert_forms(CODES(0x1100, 0xAC00, 0x11A8), CODES(0x1100, 0x1100, 0x1161, 0x11A8), CODES(0x1100, 0xAC01));
  assert_forms(CODES(0xD4DB), CODES(0x1111, 0x1171, 0x11B6), CODES(0xD4DB));
  assert_forms(CODES(0xAC01, 0x11A8), CODES(0x1100, 0x1161, 0x11A8, 0x11A8), CODES(0xAC01, 0x11A8));
  assert_forms(CODES(0x958), CODES(0x915, 0x93C), CODES(0x915, 0x93C)); /* excluded from composition */
  assert_forms(CODES(0x1D160), CODES(0x1D158, 0x1D165, 0x1D16E), CODES(0x1D158, 0x1D165, 0x1D16E)); /* the same */
  assert_forms(CODES(0x344), CODES(0x308, 0x301), CODES(0x308, 0x301));                             /* begins with a mark */
  assert_forms(CODES(0xF900), CODES(0x8C48), CODES(0x8C48));                                        /* a singleton */
  assert_forms(CODES('a', 0x315, 0x300, 0x5AE, 0x300, 'b'), CODES('a', 0x5AE, 0x300, 0x300, 0x315, 'b'),
               CODES(0xE0, 0x5AE, 0x300, 0x315, 'b'));
  assert_forms(CODES('a', 0x310, 0x300), CODES('a', 0x310, 0x300), CODES('a', 0x310, 0x300)); /* blocked: same class */
  assert_forms(CODES(0x1100, 0x300, 0x1161), CODES(0x1100, 0x300, 0x1161), CODES(0x1100, 0x300, 0x1161)); /* blocked */
}

static void every_code_point_s_forms_are_stable(void **state) {
  (void)state;
  uint32_t decomposed = 0, composed = 0;
  for (uint32_t code = 1; code < NK_UNICODE_END; code++) {
    uint32_t nfd[4], again[16], scratch[16];
    size_t n = nk_unicode_decompose(code, nfd);
    assert_true(n >= 1 && n <= 4);
    for (size_t i = 0; i < n; i++) assert_int_equal(nk_unicode_decompose(nfd[i], again), 1);
    if (n == 1 && nfd[0] == code) continue;
    decomposed++;
    nk_unicode_nfd(&code, 1, again, scratch);
    assert_memory_equal(again, nfd, n * 4); /* mappings are in canonical order already */
    size_t n_nfc = nk_unicode_nfc(again, n);
    composed += n_nfc == 1 && again[0] == code;
  }
  assert_int_equal(decomposed, 2061 + 11172);
  assert_int_equal(composed, 941 + 11172);
}

static void many_marks_in_a_row_are_ordered_stably_and_in_linear_time(void **state) {
  (void)state;
  size_t n = 1 << 20;
  uint32_t *codes = malloc(3 * n * sizeof *codes);
  assert_non_null(codes);
  for (size_t i = 0; i < n; i++) codes[i] = i % 3 == 0 ? 0x315 : i % 3 == 1 ? 0x301 : 0x300; /* classes 232, 230, 230 */
  nk_unicode_nfd(codes, n, codes + n, codes + 2 * n);
  size_t n_230 = n - (n + 2) / 3;
  for (size_t i = 0; i < n; i++) {
    uint32_t wanted = i >= n_230 ? 0x315 : i % 2 == 0 ? 0x301 : 0x300;
    assert_int_equal(codes[n + i], wanted);
  }
  free(codes);
}

static void utf8_goes_both_ways_and_each_offending_byte_is_replaced(void **state) {
  (void)state;
  for (uint32_t code = 0; code < NK_UNICODE_END; code++) {
    uint8_t bytes[4];
    uint32_t n = nk_utf8_encode(code, bytes), back;
    assert_int_equal(nk_utf8_decode(bytes, n, &back), n);
    assert_int_equal(back, code);
    if (n > 1) {
      assert_int_equal(nk_utf8_decode(bytes, n - 1, &back), 1);
      assert_int_equal(back, NK_REPLACEMENT);
    }
  }
  static const char *const bad[] = {
      "\x80", "\xBF\x80", "\xC3(", "\xE4\xB8(", "\xF0\x9F\x98(", "\xF4\x90\x80\x80", "\xF8\x88\x80\x80", "\xFF"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    uint32_t code;
    assert_int_equal(nk_utf8_decode((const uint8_t *)bad[i], strlen(bad[i]), &code), 1);
    assert_int_equal(code, NK_REPLACEMENT);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(categories_are_those_of_the_database),
      cmocka_unit_test(lower_case_is_the_simple_mapping),
      cmocka_unit_test(normalization_gives_the_forms_of_the_standard),
      cmocka_unit_test(every_code_point_s_forms_are_stable),
      cmocka_unit_test(many_marks_in_a_row_are_ordered_stably_and_in_linear_time),
      cmocka_unit_test(utf8_goes_both_ways_and_each_offending_byte_is_replaced),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
