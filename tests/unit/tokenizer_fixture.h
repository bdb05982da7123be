/*
 * tokenizer_fixture.h: what the tests of the tokenizer share: files, vocabularies, headers made on the spot, oracle
 * strings. Everything here fails the test at once when it cannot do its work.
 */
#ifndef NOOK_TESTS_TOKENIZER_FIXTURE_H
#define NOOK_TESTS_TOKENIZER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#if __has_include(<cJSON.h>)
#include <cJSON.h>
#else
#include <cjson/cJSON.h>
#endif

#include "gguf/gguf.h"
#include "tokenizer/tokenizer.h"

#define FIXTURES "tests/fixtures/tokenizers/"

/* ---- Files ---------------------------------------------------------------------------------------------------- */

/* The caller frees it. One byte more than *length, a NUL, is there. */
static inline char *read_file(const char *path, size_t *length) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) fail_msg("%s cannot be opened (tests run from the repository root)", path);
  assert_int_equal(fseek(file, 0, SEEK_END), 0);
  long size = ftell(file);
  assert_true(size >= 0);
  rewind(file);
  char *bytes = malloc((size_t)size + 1);
  assert_non_null(bytes);
  assert_int_equal(fread(bytes, 1, (size_t)size, file), (size_t)size);
  fclose(file);
  bytes[size] = 0;
  *length = (size_t)size;
  return bytes;
}

static inline cJSON *read_json(const char *path) {
  size_t length;
  char *text = read_file(path, &length);
  cJSON *json = cJSON_Parse(text);
  free(text);
  if (json == NULL) fail_msg("%s is not JSON", path);
  return json;
}

/* ---- Vocabularies --------------------------------------------------------------------------------------------- */

typedef struct vocabulary {
  uint8_t *header;
  nk_tokenizer *tokenizer;
} vocabulary;

static inline void parse_header(nk_gguf *gguf, const uint8_t *bytes, size_t length) {
  nk_error error = {0};
  uint64_t more = 0;
  nk_status status = nk_gguf_parse(gguf, bytes, length, length, &more, &error);
  if (status != NK_STATUS_OK) fail_msg("%s", error.text);
  assert_int_equal(more, 0);
}

/* The tables of the GGUF are freed before the tokenizer is used, so that a pointer kept into them shows. */
static inline vocabulary open_vocabulary(const char *path) {
  vocabulary opened = {0};
  size_t length;
  opened.header = (uint8_t *)read_file(path, &length);
  nk_gguf gguf;
  parse_header(&gguf, opened.header, length);
  nk_error error = {0};
  nk_status status = nk_tokenizer_create(&opened.tokenizer, &gguf, &error);
  nk_gguf_free(&gguf);
  if (status != NK_STATUS_OK) fail_msg("%s: %s", path, error.text);
  return opened;
}

static inline void close_vocabulary(vocabulary *opened) {
  nk_tokenizer_free(opened->tokenizer);
  free(opened->header);
  *opened = (vocabulary){0};
}

/* ---- Headers made on the spot ---------------------------------------------------------------------------------- */

typedef struct header {
  uint8_t *bytes;
  size_t length, room;
  uint64_t pairs;
} header;

static inline void put(header *made, const void *bytes, size_t n) {
  if (made->length + n > made->room) {
    made->room = 2 * (made->length + n) + 64;
    made->bytes = realloc(made->bytes, made->room);
    assert_non_null(made->bytes);
  }
  if (n > 0) memcpy(made->bytes + made->length, bytes, n);
  made->length += n;
}

static inline void put_u32(header *made, uint32_t value) { put(made, &value, 4); } /* tests run on little-endian machines */
static inline void put_u64(header *made, uint64_t value) { put(made, &value, 8); }

static inline void put_text(header *made, const void *text, size_t length) {
  put_u64(made, length);
  put(made, text, length);
}

static inline header header_begin(void) {
  header made = {0};
  put(&made, "GGUF", 4);
  put_u32(&made, 3);
  put_u64(&made, 0);
  put_u64(&made, 0);
  return made;
}

static inline void header_key(header *made, const char *key, uint32_t type) {
  put_text(made, key, strlen(key));
  put_u32(made, type);
  made->pairs++;
}

static inline void header_text(header *made, const char *key, const char *value) {
  header_key(made, key, NK_GGUF_STRING);
  put_text(made, value, strlen(value));
}

static inline void header_u32(header *made, const char *key, uint32_t value) {
  header_key(made, key, NK_GGUF_U32);
  put_u32(made, value);
}

static inline void header_bool(header *made, const char *key, bool value) {
  header_key(made, key, NK_GGUF_BOOL);
  put(made, &(uint8_t){value}, 1);
}

/* An array whose elements the caller then puts. */
static inline void header_array(header *made, const char *key, uint32_t element, uint64_t count) {
  header_key(made, key, NK_GGUF_ARRAY);
  put_u32(made, element);
  put_u64(made, count);
}

static inline void header_texts(header *made, const char *key, const char *const *texts, size_t n) {
  header_array(made, key, NK_GGUF_STRING, n);
  for (size_t i = 0; i < n; i++) put_text(made, texts[i], strlen(texts[i]));
}

static inline void header_i32s(header *made, const char *key, const int32_t *values, size_t n) {
  header_array(made, key, NK_GGUF_I32, n);
  put(made, values, n * sizeof *values);
}

/* Writes the count of pairs and the padding; the header can then be parsed. */
static inline void header_end(header *made) {
  memcpy(made->bytes + 16, &made->pairs, 8);
  while (made->length % 32 != 0) put(made, "", 1);
}

/* Creates from the header, which must parse, and ends it. */
static inline nk_status create_from(header *made, nk_tokenizer **tokenizer, nk_error *error) {
  nk_gguf gguf;
  header_end(made);
  parse_header(&gguf, made->bytes, made->length);
  uint64_t planned = nk_tokenizer_bytes(&gguf);
  nk_status status = nk_tokenizer_create(tokenizer, &gguf, error);
  if (status == NK_STATUS_OK) assert_true(planned > 0);
  nk_gguf_free(&gguf);
  return status;
}

/* ---- Encoding -------------------------------------------------------------------------------------------------- */

typedef struct id_list {
  int32_t *ids;
  size_t n;
} id_list;

static inline id_list encode_spans(const nk_tokenizer *tokenizer, const nk_span *spans, size_t n_spans, bool add_special) {
  size_t capacity = 8;
  for (size_t i = 0; i < n_spans; i++) capacity += 4 * spans[i].length;
  id_list list = {malloc(capacity * sizeof *list.ids), 0};
  assert_non_null(list.ids);
  nk_error error = {0};
  nk_status status = nk_tokenizer_encode(tokenizer, spans, n_spans, add_special, list.ids, capacity, &list.n, &error);
  if (status != NK_STATUS_OK) fail_msg("%s", error.text);
  return list;
}

static inline id_list encode_text(const nk_tokenizer *tokenizer, const void *text, size_t length, bool special) {
  nk_span span = {text, length, special};
  return encode_spans(tokenizer, &span, 1, special);
}

/* The caller frees it; NUL behind. */
static inline char *detokenize(const nk_tokenizer *tokenizer, id_list list, bool special, size_t *length) {
  size_t total = 0;
  for (size_t i = 0; i < list.n; i++) total += nk_tokenizer_piece(tokenizer, list.ids[i], special, NULL, 0);
  char *text = malloc(total + 1);
  assert_non_null(text);
  *length = 0;
  for (size_t i = 0; i < list.n; i++) {
    *length += nk_tokenizer_piece(tokenizer, list.ids[i], special, text + *length, total - *length);
  }
  assert_int_equal(*length, total);
  text[total] = 0;
  return text;
}

static inline void assert_ids(id_list got, const int32_t *wanted, size_t n, const char *what) {
  bool same = got.n == n && (n == 0 || memcmp(got.ids, wanted, n * sizeof *wanted) == 0);
  if (same) return;
  fprintf(stderr, "%s\n  got   ", what);
  for (size_t i = 0; i < got.n; i++) fprintf(stderr, " %d", got.ids[i]);
  fprintf(stderr, "\n  wanted");
  for (size_t i = 0; i < n; i++) fprintf(stderr, " %d", wanted[i]);
  fprintf(stderr, "\n");
  fail_msg("ids differ for: %s", what);
}

/* ---- Oracle strings -------------------------------------------------------------------------------------------- */

static inline uint8_t *unhex(const char *hex, size_t *length) {
  *length = strlen(hex) / 2;
  uint8_t *bytes = malloc(*length + 1);
  assert_non_null(bytes);
  for (size_t i = 0; i < *length; i++) {
    unsigned value;
    assert_int_equal(sscanf(hex + 2 * i, "%2x", &value), 1);
    bytes[i] = (uint8_t)value;
  }
  bytes[*length] = 0;
  return bytes;
}

static inline id_list json_ids(const cJSON *array) {
  assert_true(cJSON_IsArray(array));
  id_list list = {malloc(((size_t)cJSON_GetArraySize(array) + 1) * sizeof *list.ids), 0};
  assert_non_null(list.ids);
  const cJSON *item;
  cJSON_ArrayForEach(item, array) list.ids[list.n++] = (int32_t)item->valuedouble;
  return list;
}

static inline void check_ids(const nk_tokenizer *tokenizer, const uint8_t *text, size_t length, bool parse, bool add,
                             const cJSON *wanted, const char *what) {
  nk_span span = {(const char *)text, length, parse};
  id_list got = encode_spans(tokenizer, &span, 1, add), list = json_ids(wanted);
  assert_ids(got, list.ids, list.n, what);
  free(got.ids);
  free(list.ids);
}

/* Every case of one of the files of strings; returns how many had ids. `plain` is what the text gives without parsing of
   special tokens, `parsed` (named by `parsed_key`) what it gives with it, and with add_special when `add`. */
static inline unsigned check_strings(const nk_tokenizer *tokenizer, const char *path, const char *parsed_key, bool add) {
  cJSON *json = read_json(path);
  unsigned n = 0;
  const cJSON *item;
  cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "cases")) {
    const char *hex = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "hex"));
    assert_non_null(hex);
    size_t length;
    uint8_t *text = unhex(hex, &length);
    const cJSON *plain = cJSON_GetObjectItemCaseSensitive(item, "ids");
    if (plain == NULL) { /* the reference aborts on these bytes: any answer will do */
      id_list got = encode_text(tokenizer, text, length, false);
      free(got.ids);
      free(text);
      continue;
    }
    const cJSON *parsed = cJSON_GetObjectItemCaseSensitive(item, parsed_key);
    check_ids(tokenizer, text, length, false, false, plain, hex);
    /* Corrected cases (llamacpp_ids) have no ids with BOS and the like. */
    bool corrected = cJSON_GetObjectItemCaseSensitive(item, "llamacpp_ids") != NULL;
    check_ids(tokenizer, text, length, true, add && (parsed != NULL || !corrected), parsed == NULL ? plain : parsed, hex);
    id_list list = json_ids(plain);
    size_t got_length, wanted_length;
    char *got = detokenize(tokenizer, list, true, &got_length);
    const char *back = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "detok_hex"));
    uint8_t *wanted = unhex(back == NULL ? hex : back, &wanted_length);
    /* Corrected cases were normalized first, so another text comes back (a detok_hex there belongs to llama.cpp's ids). */
    bool same = got_length == wanted_length && memcmp(got, wanted, got_length) == 0;
    if (!same && !corrected) fail_msg("detokenizes to '%s': %s", got, hex);
    free(wanted);
    free(got);
    free(list.ids);
    free(text);
    n++;
  }
  cJSON_Delete(json);
  return n;
}

/* llama.cpp's own cases: texts of NAME.inp between separator lines, ids of NAME.out a line each. Returns how many. */
static inline unsigned check_cases(const nk_tokenizer *tokenizer, const char *vocabulary_path) {
  char path[256];
  size_t n_texts, n_ids;
  snprintf(path, sizeof path, "%s.inp", vocabulary_path);
  char *texts = read_file(path, &n_texts);
  snprintf(path, sizeof path, "%s.out", vocabulary_path);
  char *ids = read_file(path, &n_ids);
  static const char separator[] = "\n__ggml_vocab_test__\n";
  unsigned n = 0;
  const char *text = texts, *line = ids;
  for (; *line != 0; n++) {
    assert_non_null(text); /* more lines of ids than texts */
    const char *stop = strstr(text, separator);
    int32_t wanted[512];
    size_t n_wanted = 0;
    for (; *line != '\n' && *line != 0;) {
      char *after;
      long value = strtol(line, &after, 10);
      assert_ptr_not_equal(after, line);
      assert_true(n_wanted < 512);
      wanted[n_wanted++] = (int32_t)value;
      line = after;
      while (*line == ' ') line++;
    }
    if (*line == '\n') line++;
    size_t length = stop == NULL ? strlen(text) : (size_t)(stop - text);
    nk_span span = {text, length, false};
    id_list got = encode_spans(tokenizer, &span, 1, false);
    assert_ids(got, wanted, n_wanted, "a case of the .inp file");
    free(got.ids);
    text = stop == NULL ? NULL : stop + strlen(separator);
  }
  free(texts);
  free(ids);
  return n;
}

#endif
