/* test_gguf.c: the GGUF reader on real files, on every truncation of a small one, and on the files of tests/hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/gguf.h"
#include "gguf/types.h"

/* ---- Files, and headers made here -------------------------------------------------------------------------------- */

static uint8_t *read_file(const char *path, size_t *length) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) fail_msg("cannot open %s (tests run from the repository root)", path);
  assert_int_equal(fseek(file, 0, SEEK_END), 0);
  long end = ftell(file);
  assert_true(end >= 0);
  rewind(file);
  *length = (size_t)end;
  /* Exactly as long as the file, so that the sanitizer sees a read beyond it; one byte where it is empty. */
  uint8_t *bytes = malloc(*length == 0 ? 1 : *length);
  assert_non_null(bytes);
  assert_int_equal(fread(bytes, 1, *length, file), *length);
  fclose(file);
  return bytes;
}

typedef struct builder {
  uint8_t bytes[8192];
  size_t length;
} builder;

static void put(builder *b, uint64_t value, unsigned bytes) {
  assert_true(b->length + bytes <= sizeof b->bytes);
  for (unsigned i = 0; i < bytes; i++) b->bytes[b->length++] = (uint8_t)(value >> (8 * i));
}

static void put_bytes(builder *b, const char *bytes, size_t n) {
  assert_true(b->length + n <= sizeof b->bytes);
  memcpy(b->bytes + b->length, bytes, n);
  b->length += n;
}

static void put_string(builder *b, const char *text) {
  put(b, strlen(text), 8);
  put_bytes(b, text, strlen(text));
}

static void put_head(builder *b, uint64_t tensors, uint64_t pairs) {
  b->length = 0;
  put_bytes(b, "GGUF", 4);
  put(b, 3, 4);
  put(b, tensors, 8);
  put(b, pairs, 8);
}

static void put_key(builder *b, const char *key, nk_gguf_type type) {
  put_string(b, key);
  put(b, (uint64_t)type, 4);
}

static void put_number(builder *b, const char *key, nk_gguf_type type, uint64_t bits, unsigned bytes) {
  put_key(b, key, type);
  put(b, bits, bytes);
}

static uint64_t bits_of(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static uint64_t bits_of_f32(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

/* Parses what the builder holds from memory that ends where the bytes end. */
static nk_status parse_builder(const builder *b, uint8_t **memory, nk_gguf *gguf, nk_error *error) {
  *memory = malloc(b->length);
  assert_non_null(*memory);
  memcpy(*memory, b->bytes, b->length);
  uint64_t more;
  nk_status status = nk_gguf_parse(gguf, *memory, b->length, b->length, &more, error);
  assert_int_equal(more, 0);
  return status;
}

static void assert_empty(const nk_gguf *gguf) {
  static const nk_gguf empty;
  assert_memory_equal(gguf, &empty, sizeof empty);
}

static void assert_text(nk_text text, const char *wanted) {
  assert_int_equal(text.length, strlen(wanted));
  assert_memory_equal(text.bytes, wanted, text.length);
}

/* ---- Real files -------------------------------------------------------------------------------------------------- */

static void the_tiny_llama_is_read_whole(void **state) {
  (void)state;
  size_t length;
  uint8_t *bytes = read_file("tests/fixtures/tiny/llama.gguf", &length);
  nk_gguf gguf;
  nk_error error = {0};
  uint64_t more = 1;
  assert_int_equal(nk_gguf_parse(&gguf, bytes, length, length, &more, &error), NK_STATUS_OK);
  assert_int_equal(more, 0);
  assert_int_equal(gguf.version, 3);
  assert_int_equal(gguf.alignment, 32);
  assert_int_equal(gguf.n_tensors, 20);
  assert_int_equal(gguf.n_pairs, 29);
  assert_int_equal(gguf.header_bytes % 32, 0);

  nk_text text;
  assert_int_equal(nk_gguf_get_text(&gguf, "general.architecture", &text, &error), NK_STATUS_OK);
  assert_text(text, "llama");
  uint32_t value;
  assert_int_equal(nk_gguf_get_u32(&gguf, "llama.embedding_length", 0, 1, 4096, &value, &error), NK_STATUS_OK);
  assert_int_equal(value, 64);
  float epsilon;
  assert_int_equal(nk_gguf_get_f32(&gguf, "llama.attention.layer_norm_rms_epsilon", 0, &epsilon, &error), NK_STATUS_OK);
  assert_true(epsilon > 0 && epsilon < 1e-3f);
  const nk_gguf_pair *tokens;
  assert_int_equal(nk_gguf_get_array(&gguf, "tokenizer.ggml.tokens", NK_GGUF_STRING, &tokens, &error), NK_STATUS_OK);
  assert_int_equal(tokens->count, 320);
  /* Byte-level BPE: 4 control tokens, then the 256 bytes in order; byte 0 is written as U+0100. */
  assert_text(nk_gguf_text_at(tokens, 4), "\xc4\x80");
  assert_text(nk_gguf_text_at(tokens, 4 + 'a'), "a");

  const nk_gguf_tensor *tensor = nk_gguf_find_tensor(&gguf, "token_embd.weight");
  assert_non_null(tensor);
  assert_int_equal(tensor->n_dimensions, 2);
  assert_int_equal(tensor->dimension[0], 64);
  assert_int_equal(tensor->dimension[1], 320);
  assert_int_equal(tensor->dimension[2], 1);
  assert_int_equal(tensor->bytes, 64 * 320 * 4);
  assert_null(nk_gguf_find_tensor(&gguf, "token_embd.weigh"));
  assert_null(nk_gguf_find(&gguf, "tokenizer.ggml.token"));
  assert_null(nk_gguf_find(&gguf, ""));

  /* Every name is found, where it is. The last tensor ends where the file does, but for padding. */
  uint64_t end = 0;
  for (uint32_t i = 0; i < gguf.n_tensors; i++) {
    char name[NK_GGUF_MAX_NAME + 1] = {0};
    memcpy(name, gguf.tensors[i].name.bytes, gguf.tensors[i].name.length);
    assert_ptr_equal(nk_gguf_find_tensor(&gguf, name), &gguf.tensors[i]);
    if (gguf.tensors[i].offset + gguf.tensors[i].bytes > end) end = gguf.tensors[i].offset + gguf.tensors[i].bytes;
  }
  for (uint32_t i = 0; i < gguf.n_pairs; i++) {
    char name[NK_GGUF_MAX_NAME + 1] = {0};
    memcpy(name, gguf.pairs[i].key.bytes, gguf.pairs[i].key.length);
    assert_ptr_equal(nk_gguf_find(&gguf, name), &gguf.pairs[i]);
  }
  assert_true(length - end < 32);
  nk_gguf_free(&gguf);
  assert_empty(&gguf);
  nk_gguf_free(&gguf); /* an empty one may be freed */
  free(bytes);
}

static void a_header_fed_in_pieces_is_asked_for_in_growing_ones(void **state) {
  (void)state;
  size_t length;
  uint8_t *bytes = read_file("tests/fixtures/tiny/llama.gguf", &length);
  nk_error error = {0};
  nk_gguf whole, gguf;
  uint64_t more;
  assert_int_equal(nk_gguf_parse(&whole, bytes, length, length, &more, &error), NK_STATUS_OK);
  /* From every start that leaves the header short, the next try suffices or grows; it never asks beyond the file. */
  for (uint64_t start = 0; start < whole.header_bytes; start += 7) {
    uint64_t available = start;
    int tries = 0;
    for (;;) {
      uint8_t *part = malloc(available == 0 ? 1 : (size_t)available);
      assert_non_null(part);
      memcpy(part, bytes, (size_t)available);
      assert_int_equal(nk_gguf_parse(&gguf, part, available, length, &more, &error), NK_STATUS_OK);
      free(part);
      if (more == 0) break;
      assert_empty(&gguf);
      assert_true(more > available && more <= length);
      assert_true(more >= 2 * available || more == length);
      available = more;
      assert_true(++tries < 20);
    }
    assert_int_equal(gguf.header_bytes, whole.header_bytes);
    assert_int_equal(gguf.n_tensors, whole.n_tensors);
    assert_int_equal(gguf.tensors[19].offset, whole.tensors[19].offset);
    nk_gguf_free(&gguf);
  }
  nk_gguf_free(&whole);
  free(bytes);
}

static void a_header_is_never_asked_for_beyond_the_limit_or_the_file(void **state) {
  (void)state;
  builder b;
  nk_gguf gguf;
  nk_error error = {0};
  uint64_t more;
  /* An array that a file of 4 GiB has room for, but a header has not: refused at once, though no byte of it is here. */
  put_head(&b, 0, 1);
  put_key(&b, "x", NK_GGUF_ARRAY);
  put(&b, NK_GGUF_U8, 4);
  put(&b, NK_GGUF_MAX_HEADER, 8);
  assert_int_equal(nk_gguf_parse(&gguf, b.bytes, b.length, 1ull << 32, &more, &error), NK_STATUS_FORMAT);
  assert_non_null(strstr(error.text, "larger than the limit of 268435456 bytes: the key \"x\""));
  assert_int_equal(more, 0);
  /* One that fits asks for all of its bytes, even though twice the present ones are fewer. */
  b.length -= 8;
  put(&b, 1000000, 8);
  assert_int_equal(nk_gguf_parse(&gguf, b.bytes, b.length, 1ull << 32, &more, &error), NK_STATUS_OK);
  assert_int_equal(more, b.length + 1000000);
  /* Growth stops at the limit. Memory of 0.6 of the limit that ends within the header. */
  b.length -= 8;
  put(&b, NK_GGUF_MAX_HEADER - 4096, 8);
  uint64_t available = NK_GGUF_MAX_HEADER / 10 * 6;
  uint8_t *memory = calloc(1, (size_t)available);
  assert_non_null(memory);
  memcpy(memory, b.bytes, b.length);
  assert_int_equal(nk_gguf_parse(&gguf, memory, available, 1ull << 32, &more, &error), NK_STATUS_OK);
  assert_int_equal(more, NK_GGUF_MAX_HEADER);
  /* Before the limit it doubles, though one string more would be enough for now. */
  b.length -= 12;
  put(&b, NK_GGUF_STRING, 4);
  put(&b, 1 << 20, 8);
  memcpy(memory, b.bytes, b.length);
  assert_int_equal(nk_gguf_parse(&gguf, memory, b.length + (8 << 20) + 3, 1ull << 32, &more, &error), NK_STATUS_OK);
  assert_int_equal(more, 0); /* a million empty strings */
  nk_gguf_free(&gguf);
  memory[b.length + (8 << 20) - 8] = 100; /* the last one has 100 bytes */
  assert_int_equal(nk_gguf_parse(&gguf, memory, b.length + (8 << 20) + 3, 1ull << 32, &more, &error), NK_STATUS_OK);
  assert_int_equal(more, 2 * (b.length + (8 << 20) + 3));
  free(memory);
  /* The longest string is asked for, one byte more is not. */
  for (uint64_t over = 0; over < 2; over++) {
    put_head(&b, 0, 1);
    put_key(&b, "x", NK_GGUF_STRING);
    put(&b, NK_GGUF_MAX_STRING + over, 8);
    nk_status status = nk_gguf_parse(&gguf, b.bytes, b.length, 1ull << 32, &more, &error);
    assert_int_equal(status, over == 0 ? NK_STATUS_OK : NK_STATUS_FORMAT);
    assert_int_equal(more, over == 0 ? b.length + NK_GGUF_MAX_STRING : 0);
  }
}

static void every_truncation_of_a_small_file_is_an_error_and_every_shorter_buffer_asks_for_more(void **state) {
  (void)state;
  builder b;
  put_head(&b, 2, 5);
  put_key(&b, "general.architecture", NK_GGUF_STRING);
  put_string(&b, "llama");
  put_number(&b, "general.alignment", NK_GGUF_U32, 64, 4);
  put_key(&b, "tokens", NK_GGUF_ARRAY);
  put(&b, NK_GGUF_STRING, 4);
  put(&b, 3, 8);
  put_string(&b, "a");
  put_string(&b, "");
  put_string(&b, "ccc");
  put_key(&b, "numbers", NK_GGUF_ARRAY);
  put(&b, NK_GGUF_I16, 4);
  put(&b, 2, 8);
  put(&b, 0xfffe, 2);
  put(&b, 7, 2);
  put_number(&b, "flag", NK_GGUF_BOOL, 1, 1);
  put_string(&b, "first");
  put(&b, 1, 4);
  put(&b, 8, 8);
  put(&b, 0, 4);
  put(&b, 64, 8);
  put_string(&b, "second");
  put(&b, 2, 4);
  put(&b, 32, 8);
  put(&b, 2, 8);
  put(&b, 2, 4); /* Q4_0 */
  put(&b, 0, 8);
  size_t header_end = b.length;
  while (b.length % 64 != 0) put(&b, 0, 1);
  size_t data_start = b.length;
  for (int i = 0; i < 64 + 32; i++) put(&b, 0xaa, 1);
  for (size_t cut = 0; cut <= b.length; cut++) {
    uint8_t *memory = malloc(cut == 0 ? 1 : cut);
    assert_non_null(memory);
    memcpy(memory, b.bytes, cut);
    nk_gguf gguf;
    nk_error error = {0};
    uint64_t more = 77;
    nk_status status = nk_gguf_parse(&gguf, memory, cut, cut, &more, &error);
    assert_int_equal(more, 0);
    if (cut < b.length) {
      assert_int_equal(status, NK_STATUS_FORMAT);
      assert_true(strlen(error.text) > 10);
      assert_empty(&gguf);
    } else {
      assert_int_equal(status, NK_STATUS_OK);
      assert_int_equal(gguf.header_bytes, data_start);
      assert_int_equal(gguf.tensors[0].offset, data_start + 64);
      assert_int_equal(gguf.tensors[1].offset, data_start);
      assert_int_equal(gguf.tensors[1].bytes, 36);
      nk_gguf_free(&gguf);
    }
    /* The whole file exists, but only this much is in memory. */
    assert_int_equal(nk_gguf_parse(&gguf, memory, cut, b.length, &more, &error), NK_STATUS_OK);
    if (cut < header_end) {
      assert_true(more > cut && more <= b.length);
      assert_empty(&gguf);
    } else {
      assert_int_equal(more, 0);
      assert_int_equal(gguf.n_tensors, 2);
      nk_gguf_free(&gguf);
    }
    free(memory);
  }
}

/* ---- Hostile files ----------------------------------------------------------------------------------------------- */

static void each_hostile_file_gets_its_status_and_its_sentence(void **state) {
  (void)state;
  size_t length;
  uint8_t *text = read_file("tests/hostile/manifest.json", &length);
  cJSON *manifest = cJSON_ParseWithLength((const char *)text, length);
  assert_non_null(manifest);
  int seen = 0;
  const cJSON *entry;
  cJSON_ArrayForEach(entry, manifest) {
    const char *file = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "file"));
    const char *code = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "status"));
    const char *says = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "says"));
    const char *layer = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "layer"));
    assert_non_null(file);
    assert_non_null(code);
    assert_non_null(says);
    assert_non_null(layer);
    if (strcmp(layer, "reader") != 0) continue; /* test_hostile_load.c loads all of them */
    char path[300];
    snprintf(path, sizeof path, "tests/hostile/%s", file);
    uint8_t *bytes = read_file(path, &length);
    nk_gguf gguf;
    nk_error error = {0};
    uint64_t more = 77;
    nk_status status = nk_gguf_parse(&gguf, bytes, length, length, &more, &error);
    if (strcmp(nk_status_code(status), code) != 0) {
      fail_msg("%s: status %s instead of %s (%s)", file, nk_status_code(status), code, error.text);
    }
    if (strstr(error.text, says) == NULL) fail_msg("%s: \"%s\" lacks \"%s\"", file, error.text, says);
    assert_int_equal(error.status, status);
    assert_int_equal(more, 0);
    assert_empty(&gguf);
    /* Fed byte by byte it comes to the same end. */
    for (uint64_t available = 0; available < length; available++) {
      nk_error other = {0};
      if (nk_gguf_parse(&gguf, bytes, available, length, &more, &other) != NK_STATUS_OK) {
        assert_string_equal(other.text, error.text);
      } else {
        assert_true(more > available && more <= length);
      }
      assert_empty(&gguf);
    }
    free(bytes);
    seen++;
  }
  assert_true(seen >= 50);
  cJSON_Delete(manifest);
  free(text);
}

static void hostile_names_are_made_fit_for_a_sentence(void **state) {
  (void)state;
  builder b;
  uint8_t *memory;
  nk_gguf gguf;
  nk_error error = {0};
  put_head(&b, 0, 1);
  put(&b, 200, 8);
  for (int i = 0; i < 200; i++) put(&b, i < 2 ? 0x1b : i < 4 ? 0xff : 'k', 1);
  put(&b, 99, 4);
  put(&b, 0, 8);
  assert_int_equal(parse_builder(&b, &memory, &gguf, &error), NK_STATUS_FORMAT);
  assert_non_null(strstr(error.text, "\"????kkkk"));
  assert_non_null(strstr(error.text, "kkk...\" has the unknown type 99"));
  free(memory);
}

static void the_most_names_allowed_in_the_worst_order_are_sorted_in_no_time(void **state) {
  (void)state;
  /* The most tensors that are allowed, names in falling order with a long common start; unknown type, so no data. */
  enum { N = NK_GGUF_MAX_TENSORS, NAME = 64, ROW = 8 + NAME + 4 + 8 + 4 + 8 };
  size_t length = 24 + (size_t)N * ROW + 64;
  uint8_t *memory = calloc(1, length);
  assert_non_null(memory);
  builder b;
  put_head(&b, N, 0);
  memcpy(memory, b.bytes, 24);
  for (size_t i = 0; i < N; i++) {
    char name[NAME + 1];
    snprintf(name, sizeof name, "%059d%05u", 0, (unsigned)(N - 1 - i));
    b.length = 0;
    put_string(&b, name);
    put(&b, 1, 4);
    put(&b, 5, 8);
    put(&b, 1000, 4);
    put(&b, 0, 8);
    assert_int_equal(b.length, ROW);
    memcpy(memory + 24 + i * ROW, b.bytes, ROW);
  }
  nk_gguf gguf;
  nk_error error = {0};
  uint64_t more;
  assert_int_equal(nk_gguf_parse(&gguf, memory, length, length, &more, &error), NK_STATUS_OK);
  for (uint32_t i = 0; i < N; i++) assert_int_equal(gguf.tensor_index[i], N - 1 - i);
  nk_gguf_free(&gguf);
  free(memory);
}

/* ---- Types ------------------------------------------------------------------------------------------------------- */

static void a_tensor_of_unknown_type_is_kept_with_no_bytes(void **state) {
  (void)state;
  builder b;
  uint8_t *memory;
  nk_gguf gguf;
  nk_error error = {0};
  put_head(&b, 2, 0);
  put_string(&b, "strange");
  put(&b, 1, 4);
  put(&b, 5, 8);
  put(&b, 1234, 4);
  put(&b, 0, 8);
  put_string(&b, "known");
  put(&b, 1, 4);
  put(&b, 8, 8);
  put(&b, 0, 4);
  put(&b, 0, 8);
  while (b.length % 32 != 0) put(&b, 0, 1);
  for (int i = 0; i < 32; i++) put(&b, 0, 1);
  assert_int_equal(parse_builder(&b, &memory, &gguf, &error), NK_STATUS_OK);
  assert_int_equal(gguf.tensors[0].type, 1234);
  assert_int_equal(gguf.tensors[0].bytes, 0);
  assert_int_equal(gguf.tensors[1].bytes, 32);
  nk_gguf_free(&gguf);
  free(memory);
}

static void the_sizes_of_types_are_those_of_the_format(void **state) {
  (void)state;
  nk_gguf_size size;
  for (uint32_t type = 0; type < 100; type++) {
    bool removed = type == 4 || type == 5 || (type >= 31 && type <= 33) || (type >= 36 && type <= 38) || type > 41;
    assert_int_equal(nk_gguf_type_size(type, &size), !removed);
    if (!removed) assert_true(size.block > 0 && size.bytes > 0 && size.bytes <= 8 * size.block);
  }
  assert_false(nk_gguf_type_size(UINT32_MAX, &size));
  static const uint32_t some[][3] = {{0, 1, 4},   {1, 1, 2},      {2, 32, 18},    {3, 32, 20},
                                     {8, 32, 34}, {12, 256, 144}, {14, 256, 210}, {30, 1, 2}};
  for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
    assert_true(nk_gguf_type_size(some[i][0], &size));
    assert_int_equal(size.block, some[i][1]);
    assert_int_equal(size.bytes, some[i][2]);
  }
}

/* ---- Getters ----------------------------------------------------------------------------------------------------- */

static void getters_check_type_and_range_and_name_the_key(void **state) {
  (void)state;
  builder b;
  uint8_t *memory;
  nk_gguf gguf;
  nk_error error = {0};
  put_head(&b, 0, 17);
  put_number(&b, "u8", NK_GGUF_U8, 200, 1);
  put_number(&b, "i8", NK_GGUF_I8, 0x80, 1);
  put_number(&b, "u16", NK_GGUF_U16, 65535, 2);
  put_number(&b, "i16", NK_GGUF_I16, 0x8000, 2);
  put_number(&b, "u32", NK_GGUF_U32, UINT32_MAX, 4);
  put_number(&b, "i32", NK_GGUF_I32, 0xfffffffe, 4);
  put_number(&b, "u64", NK_GGUF_U64, UINT64_MAX, 8);
  put_number(&b, "i64", NK_GGUF_I64, 1ull << 63, 8);
  put_number(&b, "small u64", NK_GGUF_U64, 12, 8);
  put_number(&b, "f32", NK_GGUF_F32, bits_of_f32(0.5f), 4);
  put_number(&b, "f64", NK_GGUF_F64, bits_of(-0.25), 8);
  put_number(&b, "huge", NK_GGUF_F64, bits_of(1e39), 8);
  put_number(&b, "nan", NK_GGUF_F32, bits_of_f32(NAN), 4);
  put_number(&b, "inf", NK_GGUF_F32, bits_of_f32(INFINITY), 4);
  put_number(&b, "yes", NK_GGUF_BOOL, 1, 1);
  put_key(&b, "text", NK_GGUF_STRING);
  put_string(&b, "words");
  put_key(&b, "list", NK_GGUF_ARRAY);
  put(&b, NK_GGUF_U8, 4);
  put(&b, 4, 8);
  put(&b, 0x04030201, 4);
  assert_int_equal(parse_builder(&b, &memory, &gguf, &error), NK_STATUS_OK);

  uint32_t u;
  float f;
  bool yes;
  nk_text text;
  const nk_gguf_pair *pair;
  assert_int_equal(nk_gguf_get_u32(&gguf, "missing", 41, 0, 10, &u, &error), NK_STATUS_OK);
  assert_int_equal(u, 41);
  static const struct {
    const char *key;
    uint32_t value;
  } good[] = {{"u8", 200}, {"u16", 65535}, {"u32", UINT32_MAX}, {"small u64", 12}};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    assert_int_equal(nk_gguf_get_u32(&gguf, good[i].key, 0, 0, UINT32_MAX, &u, &error), NK_STATUS_OK);
    assert_int_equal(u, good[i].value);
    assert_int_equal(nk_gguf_get_u32(&gguf, good[i].key, 0, good[i].value, good[i].value, &u, &error), NK_STATUS_OK);
    assert_int_equal(nk_gguf_get_u32(&gguf, good[i].key, 0, 0, good[i].value - 1, &u, &error), NK_STATUS_FORMAT);
    assert_non_null(strstr(error.text, good[i].key));
    if (good[i].value == UINT32_MAX) continue;
    assert_int_equal(nk_gguf_get_u32(&gguf, good[i].key, 0, good[i].value + 1, UINT32_MAX, &u, &error), NK_STATUS_FORMAT);
  }
  static const char *const bad_integers[] = {"i8", "i16", "i32", "u64", "i64", "f32", "f64", "yes", "text", "list"};
  for (size_t i = 0; i < sizeof bad_integers / sizeof bad_integers[0]; i++) {
    assert_int_equal(nk_gguf_get_u32(&gguf, bad_integers[i], 0, 0, UINT32_MAX, &u, &error), NK_STATUS_FORMAT);
    assert_non_null(strstr(error.text, bad_integers[i]));
  }
  assert_int_equal(nk_gguf_integer_at(nk_gguf_find(&gguf, "i8"), 0), -128);
  assert_int_equal(nk_gguf_integer_at(nk_gguf_find(&gguf, "i16"), 0), -32768);
  assert_int_equal(nk_gguf_integer_at(nk_gguf_find(&gguf, "i32"), 0), -2);
  assert_true(nk_gguf_integer_at(nk_gguf_find(&gguf, "i64"), 0) == INT64_MIN);
  assert_true(nk_gguf_integer_at(nk_gguf_find(&gguf, "u64"), 0) == INT64_MAX);
  assert_true(nk_gguf_number_at(nk_gguf_find(&gguf, "u64"), 0) == 18446744073709551616.0);
  assert_int_equal(nk_gguf_integer_at(nk_gguf_find(&gguf, "yes"), 0), 1);
  assert_int_equal(nk_gguf_integer_at(nk_gguf_find(&gguf, "f32"), 0), 0);
  assert_int_equal(nk_gguf_text_at(nk_gguf_find(&gguf, "u64"), 0).length, 0);

  assert_int_equal(nk_gguf_get_f32(&gguf, "missing", 2.5f, &f, &error), NK_STATUS_OK);
  assert_true(f == 2.5f);
  assert_int_equal(nk_gguf_get_f32(&gguf, "f32", 0, &f, &error), NK_STATUS_OK);
  assert_true(f == 0.5f);
  assert_int_equal(nk_gguf_get_f32(&gguf, "f64", 0, &f, &error), NK_STATUS_OK);
  assert_true(f == -0.25f);
  static const char *const bad_floats[] = {"huge", "nan", "inf", "u8", "yes", "text", "list"};
  for (size_t i = 0; i < sizeof bad_floats / sizeof bad_floats[0]; i++) {
    assert_int_equal(nk_gguf_get_f32(&gguf, bad_floats[i], 0, &f, &error), NK_STATUS_FORMAT);
    assert_non_null(strstr(error.text, bad_floats[i]));
  }

  assert_int_equal(nk_gguf_get_bool(&gguf, "missing", true, &yes, &error), NK_STATUS_OK);
  assert_true(yes);
  assert_int_equal(nk_gguf_get_bool(&gguf, "yes", false, &yes, &error), NK_STATUS_OK);
  assert_true(yes);
  assert_int_equal(nk_gguf_get_bool(&gguf, "u8", false, &yes, &error), NK_STATUS_FORMAT);

  assert_int_equal(nk_gguf_get_text(&gguf, "missing", &text, &error), NK_STATUS_OK);
  assert_null(text.bytes);
  assert_int_equal(nk_gguf_get_text(&gguf, "text", &text, &error), NK_STATUS_OK);
  assert_text(text, "words");
  assert_int_equal(nk_gguf_get_text(&gguf, "list", &text, &error), NK_STATUS_FORMAT);
  assert_non_null(strstr(error.text, "the key \"list\" is of type array of u8, but a string is needed"));

  assert_int_equal(nk_gguf_get_array(&gguf, "missing", NK_GGUF_F32, &pair, &error), NK_STATUS_OK);
  assert_null(pair);
  /* llama.cpp #26690: scores declared as floats, stored as bytes, read four times beyond their end. */
  assert_int_equal(nk_gguf_get_array(&gguf, "list", NK_GGUF_F32, &pair, &error), NK_STATUS_FORMAT);
  assert_non_null(strstr(error.text, "the key \"list\" is of type array of u8, but an array of f32 is needed"));
  assert_null(pair);
  assert_int_equal(nk_gguf_get_array(&gguf, "u8", NK_GGUF_U8, &pair, &error), NK_STATUS_FORMAT);
  assert_int_equal(nk_gguf_get_array(&gguf, "list", NK_GGUF_U8, &pair, &error), NK_STATUS_OK);
  for (uint64_t i = 0; i < 4; i++) {
    assert_int_equal(nk_gguf_integer_at(pair, i), (int64_t)i + 1);
    assert_true(nk_gguf_number_at(pair, i) == (double)i + 1);
  }
  nk_gguf_free(&gguf);
  free(memory);
}

static void the_longest_name_is_found_and_false_is_false(void **state) {
  (void)state;
  builder b;
  uint8_t *memory;
  nk_gguf gguf;
  nk_error error = {0};
  char name[NK_GGUF_MAX_NAME + 2];
  memset(name, 'n', sizeof name);
  name[NK_GGUF_MAX_NAME] = '\0';
  put_head(&b, 1, 2);
  put_number(&b, name, NK_GGUF_BOOL, 0, 1);
  put_number(&b, "then", NK_GGUF_U8, 1, 1);
  put_string(&b, name);
  put(&b, 1, 4);
  put(&b, 5, 8);
  put(&b, 1000, 4);
  put(&b, 0, 8);
  assert_int_equal(parse_builder(&b, &memory, &gguf, &error), NK_STATUS_OK);
  bool yes = true;
  assert_int_equal(nk_gguf_get_bool(&gguf, name, true, &yes, &error), NK_STATUS_OK);
  assert_false(yes);
  assert_ptr_equal(nk_gguf_find_tensor(&gguf, name), &gguf.tensors[0]);
  name[NK_GGUF_MAX_NAME] = 'n';
  name[NK_GGUF_MAX_NAME + 1] = '\0';
  assert_null(nk_gguf_find(&gguf, name));
  assert_null(nk_gguf_find_tensor(&gguf, name));
  nk_gguf_free(&gguf);
  free(memory);
}

static void version_2_is_read_as_version_3(void **state) {
  (void)state;
  builder b;
  uint8_t *memory;
  nk_gguf gguf;
  nk_error error = {0};
  put_head(&b, 0, 1);
  b.bytes[4] = 2;
  put_number(&b, "x", NK_GGUF_U8, 1, 1);
  assert_int_equal(parse_builder(&b, &memory, &gguf, &error), NK_STATUS_OK);
  assert_int_equal(gguf.version, 2);
  assert_int_equal(gguf.header_bytes, b.length); /* no tensors: no padding is needed */
  nk_gguf_free(&gguf);
  free(memory);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_tiny_llama_is_read_whole),
      cmocka_unit_test(a_header_fed_in_pieces_is_asked_for_in_growing_ones),
      cmocka_unit_test(a_header_is_never_asked_for_beyond_the_limit_or_the_file),
      cmocka_unit_test(every_truncation_of_a_small_file_is_an_error_and_every_shorter_buffer_asks_for_more),
      cmocka_unit_test(each_hostile_file_gets_its_status_and_its_sentence),
      cmocka_unit_test(hostile_names_are_made_fit_for_a_sentence),
      cmocka_unit_test(the_most_names_allowed_in_the_worst_order_are_sorted_in_no_time),
      cmocka_unit_test(a_tensor_of_unknown_type_is_kept_with_no_bytes),
      cmocka_unit_test(the_sizes_of_types_are_those_of_the_format),
      cmocka_unit_test(getters_check_type_and_range_and_name_the_key),
      cmocka_unit_test(the_longest_name_is_found_and_false_is_false),
      cmocka_unit_test(version_2_is_read_as_version_3),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
