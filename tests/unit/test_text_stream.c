/* test_text_stream.c: streamed text against a version that sees all of it at once, over random splits into tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/utf8.h"
#include "generate/text_stream.h"

#define MAX_PIECE 16u
#define R NK_UTF8_REPLACEMENT

static uint32_t next(uint32_t *seed) { return (*seed = *seed * 1664525u + 1013904223u) >> 8; }

typedef struct fixture {
  nk_text_stream stream;
  void *memory;
} fixture;

static fixture make(const nk_stop *stops, uint32_t n_stops, size_t max_piece) {
  fixture f;
  nk_error error = {0};
  f.memory = malloc((size_t)nk_text_stream_bytes(stops, n_stops, max_piece));
  assert_non_null(f.memory);
  nk_status status = nk_text_stream_init(&f.stream, stops, n_stops, max_piece, f.memory, &error);
  if (status != NK_STATUS_OK) fail_msg("%s", error.text);
  assert_int_equal(nk_text_stream_stop(&f.stream), -1);
  return f;
}

static void assert_push(fixture *f, const char *piece, const char *wanted) {
  const char *text;
  size_t bytes;
  nk_error error = {0};
  assert_int_equal(nk_text_stream_push(&f->stream, piece, strlen(piece), &text, &bytes, &error), NK_STATUS_OK);
  assert_string_equal(text, wanted);
  assert_int_equal(bytes, strlen(wanted));
}

static void assert_flush(fixture *f, const char *wanted) {
  const char *text;
  size_t bytes;
  nk_text_stream_flush(&f->stream, &text, &bytes);
  assert_string_equal(text, wanted);
  assert_int_equal(bytes, strlen(wanted));
}

/* ---- Examples ---------------------------------------------------------------------------------------------------- */

static void text_goes_out_at_once_and_code_points_whole(void **state) {
  (void)state;
  fixture f = make(NULL, 0, MAX_PIECE);
  assert_push(&f, "Hello", "Hello");
  assert_push(&f, "", "");
  assert_push(&f, " \xf0\x9f", " ");
  assert_push(&f, "\x98", "");
  assert_push(&f, "\x80!", "\xf0\x9f\x98\x80!");
  assert_push(&f, "\xe2\x82", "");
  assert_push(&f, "x", R "x");
  assert_push(&f, "\xff\xc3", R);
  assert_push(&f, "\xa4\x80", "\xc3\xa4" R);
  assert_push(&f, "\xf0\x9f", "");
  assert_flush(&f, R);
  assert_flush(&f, "");
  assert_push(&f, "\x98", R); /* a new text: the old start is gone */
  free(f.memory);
}

static void a_nul_byte_of_a_token_is_text(void **state) {
  (void)state;
  fixture f = make(NULL, 0, MAX_PIECE);
  const char *text;
  size_t bytes;
  nk_error error = {0};
  assert_int_equal(nk_text_stream_push(&f.stream, "a\0b", 3, &text, &bytes, &error), NK_STATUS_OK);
  assert_int_equal(bytes, 3);
  assert_memory_equal(text, "a\0b", 4);
  free(f.memory);
}

static void a_stop_string_over_several_tokens_is_held_back_and_cut(void **state) {
  (void)state;
  const nk_stop stops[] = {{"\nUser:", 6}, {"</s>", 4}};
  fixture f = make(stops, 2, MAX_PIECE);
  assert_push(&f, "Yes.\n", "Yes.");
  assert_push(&f, "Us", "");
  assert_push(&f, "ual\n", "\nUsual");
  assert_push(&f, "\nUse", "\n"); /* the first line feed can't be the beginning any more, the second can */
  assert_push(&f, "r: more", "");
  assert_int_equal(nk_text_stream_stop(&f.stream), 0);
  assert_push(&f, "never", "");
  assert_flush(&f, "");
  assert_int_equal(nk_text_stream_stop(&f.stream), 0);
  free(f.memory);

  f = make(stops, 2, MAX_PIECE);
  assert_push(&f, "a</", "a");
  assert_flush(&f, "</");
  assert_int_equal(nk_text_stream_stop(&f.stream), -1);
  assert_push(&f, "s>", "s>"); /* a new text */
  assert_push(&f, "b</s></s>c", "b");
  assert_int_equal(nk_text_stream_stop(&f.stream), 1);
  free(f.memory);
}

static void of_stops_complete_at_one_byte_the_longest_counts(void **state) {
  (void)state;
  const nk_stop stops[] = {{"b", 1}, {"ab", 2}, {"xab", 3}, {"cabb", 4}};
  fixture f = make(stops, 4, MAX_PIECE);
  assert_push(&f, "zca", "z");
  assert_push(&f, "b", "c"); /* "ab" and "b" are complete before "cabb" could be */
  assert_int_equal(nk_text_stream_stop(&f.stream), 1);
  free(f.memory);
}

static void self_similar_stops_are_found(void **state) {
  (void)state;
  const nk_stop stops[] = {{"aabaaab", 7}};
  fixture f = make(stops, 1, MAX_PIECE);
  assert_push(&f, "aabaaa", "");
  assert_push(&f, "a", "aabaa"); /* of "aabaaaa" only the last "aa" may still be the beginning */
  assert_push(&f, "aabaaab", "aa");
  assert_int_equal(nk_text_stream_stop(&f.stream), 0);
  free(f.memory);
}

static void a_stop_of_replacement_characters_can_end_the_text(void **state) {
  (void)state;
  const nk_stop stops[] = {{"a" R, 4}};
  fixture f = make(stops, 1, MAX_PIECE);
  assert_push(&f, "xa\xff", "x");
  assert_int_equal(nk_text_stream_stop(&f.stream), 0);
  free(f.memory);
  f = make(stops, 1, MAX_PIECE);
  assert_push(&f, "xa\xe2", "x");
  assert_flush(&f, "");
  assert_int_equal(nk_text_stream_stop(&f.stream), 0);
  free(f.memory);
}

static void bad_stop_strings_and_pieces_are_refused(void **state) {
  (void)state;
  char large[300];
  memset(large, 'x', sizeof large);
  const nk_stop bad[] = {{"", 0}, {large, 257}, {large, SIZE_MAX}, {"\xc3", 1}, {"a\xff", 2}, {"\xed\xa0\x80", 3}};
  static const char *const says[] = {"stop string 1 has 0 bytes",   "has 257 bytes; allowed are 1 to 256",
                                     "allowed are 1 to 256",        "not valid UTF-8",
                                     "(\"a?\") is not valid UTF-8", "not valid UTF-8"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    const nk_stop stops[] = {{"fine", 4}, bad[i]};
    assert_true(nk_text_stream_bytes(stops, 2, 8) < 4096);
    nk_text_stream stream;
    nk_error error = {0};
    char memory[4096];
    assert_int_equal(nk_text_stream_init(&stream, stops, 2, 8, memory, &error), NK_STATUS_DATA);
    if (strstr(error.text, says[i]) == NULL) fail_msg("%s", error.text);
  }
  nk_stop many[17];
  for (int i = 0; i < 17; i++) many[i] = (nk_stop){"x", 1};
  nk_text_stream stream;
  nk_error error = {0};
  char memory[4096];
  assert_int_equal(nk_text_stream_init(&stream, many, 17, 8, memory, &error), NK_STATUS_DATA);
  assert_string_equal(error.text, "there are 17 stop strings; allowed are at most 16");

  fixture f = make(many, 16, 4);
  const char *text;
  size_t bytes;
  assert_push(&f, "abcd", "abcd");
  assert_int_equal(nk_text_stream_push(&f.stream, "abcde", 5, &text, &bytes, &error), NK_STATUS_INTERNAL);
  assert_non_null(strstr(error.text, "a token of 5 bytes came where at most 4"));
  assert_string_equal(text, "");
  free(f.memory);
}

static void a_stop_of_the_greatest_length_works_in_the_memory_given(void **state) {
  (void)state;
  char longest[256], piece[16];
  memset(longest, 'a', sizeof longest);
  longest[255] = 'b';
  const nk_stop stops[] = {{longest, 256}};
  fixture f = make(stops, 1, MAX_PIECE);
  memset(piece, 'a', sizeof piece);
  const char *text;
  size_t bytes, out = 0;
  nk_error error = {0};
  for (int i = 0; i < 40; i++) {
    assert_int_equal(nk_text_stream_push(&f.stream, piece, 16, &text, &bytes, &error), NK_STATUS_OK);
    out += bytes;
    assert_int_equal(out, i < 15 ? 0 : 16 * (i + 1) - 255);
  }
  /* The worst case of expansion fills the memory to the last byte: invalid bytes, three for one, behind a full hold. */
  assert_push(&f, "\xf0\x9f\x98", "");
  memset(piece, (char)0xff, sizeof piece);
  assert_int_equal(nk_text_stream_push(&f.stream, piece, 16, &text, &bytes, &error), NK_STATUS_OK);
  assert_int_equal(bytes, 255 + 3 + 48);
  assert_int_equal(bytes + 1 + 2 * 256, nk_text_stream_bytes(stops, 1, MAX_PIECE));
  free(f.memory);
}

/* ---- Properties -------------------------------------------------------------------------------------------------- */

/* All of the text at once: decoded with the whole input in sight, then the end of the first stop that is complete, searched
   for at every place. Returns the length, and the stop's index or -1. */
static size_t decode_plainly(const char *bytes, size_t n, const nk_stop *stops, uint32_t n_stops, char *out,
                             int32_t *stopped) {
  size_t length = 0;
  for (size_t at = 0; at < n;) {
    uint32_t step;
    bool whole = nk_utf8_scan(bytes + at, n - at, &step) == NK_UTF8_WHOLE;
    memcpy(out + length, whole ? bytes + at : R, whole ? step : 3);
    length += whole ? step : 3;
    at += step;
  }
  *stopped = -1;
  for (size_t end = 1; end <= length; end++) {
    for (uint32_t i = 0; i < n_stops; i++) {
      if (stops[i].length > end || memcmp(out + end - stops[i].length, stops[i].bytes, stops[i].length) != 0) continue;
      if (*stopped < 0 || stops[i].length > stops[*stopped].length) *stopped = (int32_t)i;
    }
    if (*stopped >= 0) return end - stops[*stopped].length;
  }
  return length;
}

/* How much of `text` must be held: the longest end that is the beginning of a stop string, but not all of one. */
static size_t hold_plainly(const char *text, size_t length, const nk_stop *stops, uint32_t n_stops) {
  size_t most = 0;
  for (uint32_t i = 0; i < n_stops; i++) {
    for (size_t k = 1; k < stops[i].length && k <= length; k++) {
      if (memcmp(text + length - k, stops[i].bytes, k) == 0 && k > most) most = k;
    }
  }
  return most;
}

static bool is_valid_utf8(const char *text, size_t n) {
  for (size_t at = 0; at < n;) {
    uint32_t step;
    if (nk_utf8_scan(text + at, n - at, &step) != NK_UTF8_WHOLE) return false;
    at += step;
  }
  return true;
}

static void any_split_into_tokens_gives_the_same_text(void **state) {
  (void)state;
  /* A small alphabet, so that stop strings, near misses, cut code points and invalid bytes are common. */
  static const char *const letters[] = {"a",    "b",    "ab",   "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                                        "\xc3", "\x80", "\xff", "\xf0\x9f"};
  uint32_t seed = 11, stops_hit = 0, stops_missed = 0;
  for (int round = 0; round < 20000; round++) {
    char stop_text[4][24], input[96], wanted[3 * 96], got[3 * 96];
    nk_stop stops[4];
    uint32_t n_stops = next(&seed) % 5;
    for (uint32_t i = 0; i < n_stops; i++) {
      size_t length = 0;
      for (uint32_t k = next(&seed) % 4 + 1; k > 0; k--) {
        uint32_t which = next(&seed) % 7;
        const char *letter = which == 6 ? R : letters[which];
        memcpy(stop_text[i] + length, letter, strlen(letter));
        length += strlen(letter);
      }
      stops[i] = (nk_stop){stop_text[i], length};
    }
    size_t n = 0;
    uint32_t kinds = next(&seed) % 2 == 0 ? 3 : 10;
    for (uint32_t k = next(&seed) % 20; k > 0; k--) {
      const char *letter = letters[next(&seed) % kinds];
      memcpy(input + n, letter, strlen(letter));
      n += strlen(letter);
    }
    int32_t wanted_stop;
    size_t wanted_length = decode_plainly(input, n, stops, n_stops, wanted, &wanted_stop);

    fixture f = make(stops, n_stops, MAX_PIECE);
    size_t length = 0, at = 0, bytes;
    const char *text;
    nk_error error = {0};
    while (at < n) {
      size_t take = next(&seed) % 5;
      if (take > n - at) take = n - at;
      assert_int_equal(nk_text_stream_push(&f.stream, input + at, take, &text, &bytes, &error), NK_STATUS_OK);
      assert_int_equal(text[bytes], '\0');
      assert_true(is_valid_utf8(text, bytes));
      memcpy(got + length, text, bytes);
      length += bytes;
      at += take;
      /* Nothing is held that could go out. */
      if (nk_text_stream_stop(&f.stream) < 0) {
        char so_far[3 * 96];
        size_t waiting = f.stream.n_tail;
        int32_t none;
        size_t decoded = decode_plainly(input, at - waiting, NULL, 0, so_far, &none);
        assert_int_equal(decoded - length, hold_plainly(so_far, decoded, stops, n_stops));
        uint32_t step;
        if (waiting > 0) assert_int_equal(nk_utf8_scan(input + at - waiting, waiting, &step), NK_UTF8_CUT);
      }
    }
    nk_text_stream_flush(&f.stream, &text, &bytes);
    memcpy(got + length, text, bytes);
    length += bytes;
    assert_int_equal(nk_text_stream_stop(&f.stream), wanted_stop);
    assert_int_equal(length, wanted_length);
    assert_memory_equal(got, wanted, length);
    if (wanted_stop >= 0)
      stops_hit++;
    else
      stops_missed++;
    free(f.memory);
  }
  assert_true(stops_hit > 2000 && stops_missed > 2000); /* both happened often */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(text_goes_out_at_once_and_code_points_whole),
      cmocka_unit_test(a_nul_byte_of_a_token_is_text),
      cmocka_unit_test(a_stop_string_over_several_tokens_is_held_back_and_cut),
      cmocka_unit_test(of_stops_complete_at_one_byte_the_longest_counts),
      cmocka_unit_test(self_similar_stops_are_found),
      cmocka_unit_test(a_stop_of_replacement_characters_can_end_the_text),
      cmocka_unit_test(bad_stop_strings_and_pieces_are_refused),
      cmocka_unit_test(a_stop_of_the_greatest_length_works_in_the_memory_given),
      cmocka_unit_test(any_split_into_tokens_gives_the_same_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
