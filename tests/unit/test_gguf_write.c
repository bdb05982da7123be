/* test_gguf_write.c: headers that are written are read back by the reader; what cannot be written is said. */
#include "engine_fixture.h"

#include "gguf/write.h"

static nk_gguf read_back(nk_gguf_writer *writer, uint64_t *data_bytes) {
  const uint8_t *header;
  uint64_t header_bytes, more;
  nk_error error = {0};
  if (nk_gguf_writer_finish(writer, &header, &header_bytes, data_bytes, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
  assert_int_equal(header_bytes % NK_GGUF_WRITE_ALIGNMENT, 0);
  nk_gguf gguf;
  nk_status status = nk_gguf_parse(&gguf, header, header_bytes, header_bytes + *data_bytes, &more, &error);
  if (status != NK_STATUS_OK || more != 0) fail_msg("%s", error.text);
  assert_int_equal(gguf.header_bytes, header_bytes);
  return gguf;
}

static void every_kind_of_key_comes_back(void **state) {
  (void)state;
  nk_gguf_writer *writer = nk_gguf_writer_create();
  assert_non_null(writer);
  static const int32_t numbers[] = {1, -2, INT32_MIN};
  static const float floats[] = {0.5f, -3e38f};
  static const uint8_t bools[] = {1, 0, 1};
  nk_gguf_put_u32(writer, "a.u32", 0xFEDCBA98u);
  nk_gguf_put_f32(writer, "a.f32", -0.25f);
  nk_gguf_put_bool(writer, "a.bool", true);
  nk_gguf_put_text(writer, "a.text", "h\xC3\xA9", 3);
  nk_gguf_put_text(writer, "a.empty", "", 0);
  nk_gguf_put_numbers(writer, "a.i32s", NK_GGUF_I32, numbers, 3);
  nk_gguf_put_numbers(writer, "a.f32s", NK_GGUF_F32, floats, 2);
  nk_gguf_put_numbers(writer, "a.bools", NK_GGUF_BOOL, bools, 3);
  nk_gguf_put_numbers(writer, "a.none", NK_GGUF_U8, NULL, 0);
  nk_gguf_put_texts(writer, "a.texts", 2);
  nk_gguf_put_element(writer, "one", 3, NULL, 0);
  nk_gguf_put_element(writer, "tw", 2, "o", 1);
  uint64_t data_bytes;
  nk_gguf gguf = read_back(writer, &data_bytes);
  assert_int_equal(data_bytes, 0);
  assert_int_equal(gguf.n_pairs, 10);
  assert_int_equal(gguf.version, 3);
  const nk_gguf_pair *pair = nk_gguf_find(&gguf, "a.u32");
  assert_int_equal(nk_gguf_integer_at(pair, 0), 0xFEDCBA98u);
  assert_true(nk_gguf_number_at(nk_gguf_find(&gguf, "a.f32"), 0) == -0.25);
  assert_int_equal(nk_gguf_integer_at(nk_gguf_find(&gguf, "a.bool"), 0), 1);
  nk_text text = nk_gguf_text_at(nk_gguf_find(&gguf, "a.text"), 0);
  assert_int_equal(text.length, 3);
  assert_memory_equal(text.bytes, "h\xC3\xA9", 3);
  assert_int_equal(nk_gguf_text_at(nk_gguf_find(&gguf, "a.empty"), 0).length, 0);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(nk_gguf_integer_at(nk_gguf_find(&gguf, "a.i32s"), (uint64_t)i), numbers[i]);
    assert_int_equal(nk_gguf_integer_at(nk_gguf_find(&gguf, "a.bools"), (uint64_t)i), bools[i]);
  }
  assert_true(nk_gguf_number_at(nk_gguf_find(&gguf, "a.f32s"), 1) == (double)-3e38f);
  assert_int_equal(nk_gguf_find(&gguf, "a.none")->count, 0);
  text = nk_gguf_text_at(nk_gguf_find(&gguf, "a.texts"), 1);
  assert_memory_equal(text.bytes, "two", 3);
  nk_gguf_free(&gguf);
  nk_gguf_writer_free(writer);
}

static void tensors_lie_behind_each_other_at_multiples_of_32(void **state) {
  (void)state;
  nk_gguf_writer *writer = nk_gguf_writer_create();
  static const uint64_t vector[] = {3}, matrix[] = {64, 5}, deep[] = {2, 3, 4, 5};
  assert_int_equal(nk_gguf_put_tensor(writer, "v", 1, vector, 0), 12);
  nk_gguf_put_u32(writer, "between", 1);
  assert_int_equal(nk_gguf_put_tensor(writer, "m", 2, matrix, 8), 2 * 34 * 5);
  assert_int_equal(nk_gguf_put_tensor(writer, "d", 4, deep, 1), 240);
  uint64_t data_bytes;
  nk_gguf gguf = read_back(writer, &data_bytes);
  assert_int_equal(data_bytes, 32 + 352 + 256);
  assert_int_equal(nk_gguf_find_tensor(&gguf, "v")->offset, gguf.header_bytes);
  assert_int_equal(nk_gguf_find_tensor(&gguf, "m")->offset, gguf.header_bytes + 32);
  const nk_gguf_tensor *d = nk_gguf_find_tensor(&gguf, "d");
  assert_int_equal(d->offset, gguf.header_bytes + 384);
  assert_int_equal(d->n_dimensions, 4);
  for (int i = 0; i < 4; i++) assert_int_equal(d->dimension[i], deep[i]);
  assert_int_equal(nk_gguf_padding(0), 0);
  assert_int_equal(nk_gguf_padding(1), 31);
  assert_int_equal(nk_gguf_padding(64), 0);
  nk_gguf_free(&gguf);
  nk_gguf_writer_free(writer);
}

typedef void mistake(nk_gguf_writer *writer);

static void key_twice(nk_gguf_writer *w) {
  nk_gguf_put_u32(w, "k", 1);
  nk_gguf_put_bool(w, "other", true);
  nk_gguf_put_f32(w, "k", 1.0f);
}
static void tensor_twice(nk_gguf_writer *w) {
  static const uint64_t n = 4;
  nk_gguf_put_u32(w, "same", 1); /* a key of that name is another thing */
  (void)nk_gguf_put_tensor(w, "same", 1, &n, 0);
  (void)nk_gguf_put_tensor(w, "same", 1, &n, 0);
}
static void empty_name(nk_gguf_writer *w) { nk_gguf_put_u32(w, "", 1); }
static void long_name(nk_gguf_writer *w) {
  char name[NK_GGUF_MAX_NAME + 2] = {0};
  memset(name, 'x', NK_GGUF_MAX_NAME + 1);
  nk_gguf_put_u32(w, name, 1);
}
static void texts_missing(nk_gguf_writer *w) { nk_gguf_put_texts(w, "t", 1); }
static void texts_missing_before(nk_gguf_writer *w) {
  nk_gguf_put_texts(w, "t", 1);
  nk_gguf_put_u32(w, "k", 1);
}
static void texts_too_many(nk_gguf_writer *w) {
  nk_gguf_put_texts(w, "t", 1);
  nk_gguf_put_element(w, "a", 1, NULL, 0);
  nk_gguf_put_element(w, "a", 1, NULL, 0);
}
static void numbers_of_another_type(nk_gguf_writer *w) {
  static const uint64_t n = 4;
  nk_gguf_put_numbers(w, "n", NK_GGUF_U64, &n, 1);
}
static void half_a_block(nk_gguf_writer *w) {
  static const uint64_t n = 48;
  assert_int_equal(nk_gguf_put_tensor(w, "t", 1, &n, 8), 0);
}
static void unknown_type(nk_gguf_writer *w) {
  static const uint64_t n = 48;
  assert_int_equal(nk_gguf_put_tensor(w, "t", 1, &n, 99), 0);
}
static void no_elements(nk_gguf_writer *w) {
  static const uint64_t n[] = {4, 0};
  assert_int_equal(nk_gguf_put_tensor(w, "t", 2, n, 0), 0);
}
static void five_dimensions(nk_gguf_writer *w) {
  static const uint64_t n[] = {1, 1, 1, 1, 1};
  assert_int_equal(nk_gguf_put_tensor(w, "t", 5, n, 0), 0);
}
static void product_that_wraps(nk_gguf_writer *w) {
  static const uint64_t n[] = {1u << 30, 1u << 30, 16, 1};
  assert_int_equal(nk_gguf_put_tensor(w, "t", 4, n, 0), 0);
}
static void sum_beyond_files(nk_gguf_writer *w) {
  static const uint64_t n[] = {1u << 24, 1u << 24};
  char name[16];
  for (int i = 0; i < 5; i++) {
    (void)snprintf(name, sizeof name, "t%d", i);
    (void)nk_gguf_put_tensor(w, name, 2, n, 28); /* F64: 2^51 bytes each */
  }
}

static void a_mistake_is_kept_until_the_end_and_named(void **state) {
  (void)state;
  static const struct {
    mistake *make;
    const char *words;
  } cases[] = {
      {key_twice, "the key k would be written twice"},
      {tensor_twice, "the tensor same would be written twice"},
      {empty_name, "0 bytes"},
      {long_name, "257 bytes"},
      {texts_missing, "lacks texts"},
      {texts_missing_before, "lacks texts"},
      {texts_too_many, "one too many"},
      {numbers_of_another_type, "another type"},
      {half_a_block, "cannot hold"},
      {unknown_type, "cannot hold"},
      {no_elements, "cannot hold"},
      {five_dimensions, "cannot hold"},
      {product_that_wraps, "cannot hold"},
      {sum_beyond_files, "2^52"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    nk_gguf_writer *writer = nk_gguf_writer_create();
    assert_non_null(writer);
    cases[i].make(writer);
    nk_gguf_put_u32(writer, "after", 1);
    const uint8_t *header;
    uint64_t header_bytes, data_bytes;
    nk_error error = {0};
    assert_int_not_equal(nk_gguf_writer_finish(writer, &header, &header_bytes, &data_bytes, &error), NK_STATUS_OK);
    if (strstr(error.text, cases[i].words) == NULL) fail_msg("case %zu: %s", i, error.text);
    assert_null(header);
    nk_gguf_writer_free(writer);
  }
  nk_gguf_writer_free(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_kind_of_key_comes_back),
      cmocka_unit_test(tensors_lie_behind_each_other_at_multiples_of_32),
      cmocka_unit_test(a_mistake_is_kept_until_the_end_and_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
