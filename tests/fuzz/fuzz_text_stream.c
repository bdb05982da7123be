/*
 * fuzz_text_stream.c: stop strings, bytes and their split into tokens, all from the input. Asserted: the text in all is
 * that of a version which sees the whole input at once, and each piece is whole code points. Input: a byte with the number
 * of stop strings, for each a length byte and its bytes, a byte that drives the split, then the bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "core/utf8.h"
#include "generate/text_stream.h"

#define CHECK(condition)                \
  do {                                  \
    if (!(condition)) __builtin_trap(); \
  } while (0)

enum { MOST = 4096, PIECE = 32 };

static size_t decode(const char *bytes, size_t n, char *out) {
  size_t length = 0;
  for (size_t at = 0; at < n;) {
    uint32_t step;
    bool whole = nk_utf8_scan(bytes + at, n - at, &step) == NK_UTF8_WHOLE;
    memcpy(out + length, whole ? bytes + at : NK_UTF8_REPLACEMENT, whole ? step : 3);
    length += whole ? step : 3;
    at += step;
  }
  return length;
}

static size_t cut(const char *text, size_t n, const nk_stop *stops, uint32_t n_stops, int32_t *stopped) {
  *stopped = -1;
  for (size_t end = 1; end <= n && *stopped < 0; end++) {
    for (uint32_t i = 0; i < n_stops; i++) {
      size_t length = stops[i].length;
      if (length > end || memcmp(text + end - length, stops[i].bytes, length) != 0) continue;
      if (*stopped < 0 || length > stops[*stopped].length) *stopped = (int32_t)i;
    }
    if (*stopped >= 0) return end - stops[*stopped].length;
  }
  return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2 || size > MOST) return 0;
  const uint8_t *end = data + size;
  uint32_t n_stops = *data++ % (NK_MAX_STOPS + 2);
  nk_stop stops[NK_MAX_STOPS + 2];
  for (uint32_t i = 0; i < n_stops; i++) {
    size_t length = data < end ? *data++ % 64 : 0;
    if (length > (size_t)(end - data)) length = (size_t)(end - data);
    stops[i] = (nk_stop){(const char *)data, length};
    data += length;
  }
  uint32_t seed = data < end ? *data++ : 0;
  size_t n = (size_t)(end - data);
  void *memory = malloc((size_t)nk_text_stream_bytes(stops, n_stops, PIECE));
  char *wanted = malloc(3 * MOST), *got = malloc(3 * MOST);
  CHECK(memory != NULL && wanted != NULL && got != NULL);
  nk_text_stream stream;
  nk_error error = {0};
  if (nk_text_stream_init(&stream, stops, n_stops, PIECE, memory, &error) == NK_STATUS_OK) {
    int32_t stopped;
    size_t wanted_length = cut(wanted, decode((const char *)data, n, wanted), stops, n_stops, &stopped);
    size_t length = 0;
    const char *text;
    size_t bytes;
    for (size_t at = 0; at < n;) {
      seed = seed * 1664525u + 1013904223u;
      size_t take = (seed >> 24) % (PIECE + 1);
      if (take > n - at) take = n - at;
      CHECK(nk_text_stream_push(&stream, (const char *)data + at, take, &text, &bytes, &error) == NK_STATUS_OK);
      CHECK(text[bytes] == '\0' && length + bytes <= wanted_length);
      char copy[1024];
      CHECK(bytes <= 400 && decode(text, bytes, copy) == bytes && memcmp(copy, text, bytes) == 0);
      memcpy(got + length, text, bytes);
      length += bytes;
      at += take;
    }
    nk_text_stream_flush(&stream, &text, &bytes);
    CHECK(length + bytes == wanted_length);
    memcpy(got + length, text, bytes);
    CHECK(memcmp(got, wanted, wanted_length) == 0 && nk_text_stream_stop(&stream) == stopped);
  } else {
    CHECK(error.text[0] != '\0');
  }
  free(memory);
  free(wanted);
  free(got);
  return 0;
}
