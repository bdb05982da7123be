/*
 * test_load.c: loading as hosts do it: hashes, split files, plans, cancelling, and the order in which bytes are asked for.
 * The split model is cut here from tests/fixtures/tiny/llama.gguf by a small writer.
 */
#include "engine_fixture.h"

#include "core/sha256.h"
#include "gguf/gguf.h"

#define MODEL "tests/fixtures/tiny/llama.gguf"
#define VOCAB 320
#define PARTS 3

static const int32_t IDS[] = {5, 80, 17, 200, 33, 150, 91};
#define N_IDS 7

/* ---- Files made here --------------------------------------------------------------------------------------------- */

typedef struct file {
  uint8_t *bytes;
  size_t length, capacity;
} file;

static void put(file *f, const void *bytes, size_t n) {
  if (f->length + n > f->capacity) {
    f->capacity = 2 * (f->length + n) + 64;
    f->bytes = realloc(f->bytes, f->capacity);
    assert_non_null(f->bytes);
  }
  if (bytes == NULL) {
    memset(f->bytes + f->length, 0, n);
  } else {
    memcpy(f->bytes + f->length, bytes, n);
  }
  f->length += n;
}

static void put_u32(file *f, uint32_t x) { put(f, &x, sizeof x); }
static void put_u64(file *f, uint64_t x) { put(f, &x, sizeof x); }
static void put_text(file *f, const char *bytes, uint64_t n) {
  put_u64(f, n);
  put(f, bytes, (size_t)n);
}

static void put_u16_pair(file *f, const char *key, uint16_t value) {
  put_text(f, key, strlen(key));
  put_u32(f, NK_GGUF_U16);
  put(f, &value, sizeof value);
}

/* Part `part` of `count` of the model in `whole`: every count-th tensor. The first part has the metadata. */
static file cut_part(const uint8_t *whole, size_t length, uint16_t part, uint16_t count) {
  nk_gguf gguf;
  uint64_t more;
  assert_int_equal(nk_gguf_parse(&gguf, whole, length, length, &more, NULL), NK_STATUS_OK);
  assert_int_equal(more, 0);
  uint32_t own = 0;
  for (uint32_t i = part; i < gguf.n_tensors; i += count) own++;
  file f = {0};
  put(&f, "GGUF", 4);
  put_u32(&f, 3);
  put_u64(&f, own);
  put_u64(&f, (part == 0 ? gguf.n_pairs : 0) + 2);
  put_u16_pair(&f, "split.no", part);
  put_u16_pair(&f, "split.count", count);
  /* The pairs lie one after another between the counts and the tensor table: from the first key's length to the last
     value. */
  if (part == 0) {
    const uint8_t *start = (const uint8_t *)gguf.pairs[0].key.bytes - 8;
    const uint8_t *end = (const uint8_t *)gguf.tensors[0].name.bytes - 8;
    put(&f, start, (size_t)(end - start));
  }
  uint64_t offset = 0;
  for (uint32_t i = part; i < gguf.n_tensors; i += count) {
    const nk_gguf_tensor *t = &gguf.tensors[i];
    put_text(&f, t->name.bytes, t->name.length);
    put_u32(&f, t->n_dimensions);
    for (uint32_t d = 0; d < t->n_dimensions; d++) put_u64(&f, t->dimension[d]);
    put_u32(&f, t->type);
    put_u64(&f, offset);
    offset += (t->bytes + 31) / 32 * 32;
  }
  put(&f, NULL, (32 - f.length % 32) % 32);
  for (uint32_t i = part; i < gguf.n_tensors; i += count) {
    put(&f, whole + gguf.tensors[i].offset, (size_t)gguf.tensors[i].bytes);
    put(&f, NULL, (32 - f.length % 32) % 32);
  }
  nk_gguf_free(&gguf);
  return f;
}

static void hex_of(const uint8_t *bytes, size_t n, char hex[65]) {
  nk_sha256 hash;
  uint8_t digest[32];
  nk_sha256_init(&hash);
  nk_sha256_update(&hash, bytes, n);
  nk_sha256_final(&hash, digest);
  for (int i = 0; i < 32; i++) (void)snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

static nook_context *fresh(void) {
  nk_status status;
  nook_context *context = nook_create("{}", &status);
  assert_non_null(context);
  assert_int_equal(status, NK_STATUS_OK);
  return context;
}

/* Feeds several files; checks that offsets ascend within each and that progress never goes back. */
static nk_status feed(nook_context *context, const file *files) {
  nook_want want;
  uint64_t reached[PARTS] = {0}, done = 0;
  for (;;) {
    nk_status status = nook_load_step(context, &want);
    if (status != NK_STATUS_OK || want.finished) return status;
    assert_true(want.offset >= reached[want.file]);
    assert_true(want.done >= done && want.done <= want.total);
    assert_true(want.offset <= files[want.file].length && want.length <= files[want.file].length - want.offset);
    memcpy(want.destination, files[want.file].bytes + want.offset, want.length);
    reached[want.file] = want.offset + want.length;
    done = want.done;
  }
}

static void expect_logits(nook_context *context, const float *expected) {
  host h = {.context = context, .n_threads = 1};
  float *logits = host_logits(&h, IDS, N_IDS, 0, VOCAB);
  assert_memory_equal(logits, expected, sizeof(float) * N_IDS * VOCAB);
  free(logits);
}

static float *expected_logits(void) {
  host h = host_open(MODEL, "auto", 1, "");
  float *logits = host_logits(&h, IDS, N_IDS, 0, VOCAB);
  host_close(&h);
  return logits;
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void a_file_with_its_hash_loads_and_one_changed_byte_anywhere_is_refused(void **state) {
  (void)state;
  float *expected = expected_logits();
  file whole = {0};
  whole.bytes = read_whole(MODEL, &whole.length);
  char hex[65], options[256];
  hex_of(whole.bytes, whole.length, hex);
  (void)snprintf(options, sizeof options, "{\"files\":[{\"bytes\":%zu,\"sha256\":\"%s\"}]}", whole.length, hex);
  nook_context *context = fresh();
  assert_int_equal(nook_load_begin(context, options), NK_STATUS_OK);
  assert_int_equal(feed(context, &whole), NK_STATUS_OK);
  expect_logits(context, expected);
  nook_unload(context);
  /* A mantissa bit in the middle of the weights, and the very last byte. */
  const size_t places[] = {whole.length / 2 / 4 * 4, whole.length - 1};
  for (size_t i = 0; i < 2; i++) {
    whole.bytes[places[i]] ^= 1;
    assert_int_equal(nook_load_begin(context, options), NK_STATUS_OK);
    assert_int_equal(feed(context, &whole), NK_STATUS_HASH);
    assert_non_null(strstr(nook_error(context), "SHA-256"));
    assert_string_equal(nook_info(context), "{}");
    assert_int_equal(nook_eval_begin(context, IDS, N_IDS, "{}"), NK_STATUS_DATA); /* nothing is left of it */
    whole.bytes[places[i]] ^= 1;
  }
  assert_int_equal(nook_load_begin(context, options), NK_STATUS_OK);
  assert_int_equal(feed(context, &whole), NK_STATUS_OK);
  nook_destroy(context);
  free(whole.bytes), free(expected);
}

static void a_model_in_parts_is_the_same_model(void **state) {
  (void)state;
  float *expected = expected_logits();
  size_t length;
  uint8_t *whole = read_whole(MODEL, &length);
  file parts[PARTS];
  char hex[PARTS][65], options[512];
  for (uint16_t i = 0; i < PARTS; i++) {
    parts[i] = cut_part(whole, length, i, PARTS);
    hex_of(parts[i].bytes, parts[i].length, hex[i]);
  }
  for (int hashed = 0; hashed < 2; hashed++) {
    if (hashed) {
      (void)snprintf(options, sizeof options,
                     "{\"files\":[{\"bytes\":%zu,\"sha256\":\"%s\"},{\"bytes\":%zu,\"sha256\":\"%s\"},{\"bytes\":%zu,"
                     "\"sha256\":\"%s\"}]}",
                     parts[0].length, hex[0], parts[1].length, hex[1], parts[2].length, hex[2]);
    } else {
      (void)snprintf(options, sizeof options, "{\"files\":[{\"bytes\":%zu},{\"bytes\":%zu},{\"bytes\":%zu}]}",
                     parts[0].length, parts[1].length, parts[2].length);
    }
    nook_context *context = fresh();
    assert_int_equal(nook_load_begin(context, options), NK_STATUS_OK);
    if (feed(context, parts) != NK_STATUS_OK) fail_msg("%s", nook_error(context));
    expect_logits(context, expected);
    nook_destroy(context);
  }
  /* In the wrong order, and with a part left out. */
  const file swapped[PARTS] = {parts[1], parts[0], parts[2]};
  nook_context *context = fresh();
  (void)snprintf(options, sizeof options, "{\"files\":[{\"bytes\":%zu},{\"bytes\":%zu},{\"bytes\":%zu}]}", parts[1].length,
                 parts[0].length, parts[2].length);
  assert_int_equal(nook_load_begin(context, options), NK_STATUS_OK);
  assert_int_equal(feed(context, swapped), NK_STATUS_FORMAT);
  assert_non_null(strstr(nook_error(context), "part 2 of 3"));
  (void)snprintf(options, sizeof options, "{\"files\":[{\"bytes\":%zu},{\"bytes\":%zu}]}", parts[0].length,
                 parts[1].length);
  assert_int_equal(nook_load_begin(context, options), NK_STATUS_OK);
  assert_int_equal(feed(context, parts), NK_STATUS_FORMAT);
  assert_non_null(strstr(nook_error(context), "3 parts, but 2 files"));
  nook_destroy(context);
  for (int i = 0; i < PARTS; i++) free(parts[i].bytes);
  free(whole), free(expected);
}

static double memory_total(nook_context *context) {
  cJSON *info = cJSON_Parse(nook_info(context));
  assert_non_null(info);
  const cJSON *memory = cJSON_GetObjectItemCaseSensitive(info, "memory");
  double total = cJSON_GetObjectItemCaseSensitive(memory, "total")->valuedouble;
  cJSON_Delete(info);
  return total;
}

static void a_plan_reads_the_header_only_and_promises_what_loading_takes(void **state) {
  (void)state;
  file whole = {0};
  whole.bytes = read_whole(MODEL, &whole.length);
  char options[160];
  nook_context *context = fresh();
  (void)snprintf(options, sizeof options, "{\"plan\":true,\"context\":64,\"files\":[{\"bytes\":%zu}]}", whole.length);
  assert_int_equal(nook_load_begin(context, options), NK_STATUS_OK);
  assert_int_equal(feed(context, &whole), NK_STATUS_OK);
  double planned = memory_total(context);
  assert_int_equal(nook_eval_begin(context, IDS, N_IDS, "{}"), NK_STATUS_DATA);
  (void)snprintf(options, sizeof options, "{\"context\":64,\"files\":[{\"bytes\":%zu}]}", whole.length);
  assert_int_equal(nook_load_begin(context, options), NK_STATUS_OK);
  assert_int_equal(feed(context, &whole), NK_STATUS_OK);
  assert_true(memory_total(context) == planned);
  nook_unload(context);
  /* A longer context costs exactly its keys and values and some scratch. */
  (void)snprintf(options, sizeof options, "{\"plan\":true,\"context\":128,\"files\":[{\"bytes\":%zu}]}", whole.length);
  assert_int_equal(nook_load_begin(context, options), NK_STATUS_OK);
  assert_int_equal(feed(context, &whole), NK_STATUS_OK);
  assert_true(memory_total(context) >= planned + 64 * 2 * 2 * 2 * 32);
  nook_destroy(context);
  free(whole.bytes);
}

static void loading_can_be_cancelled_at_every_step_and_begun_again(void **state) {
  (void)state;
  file whole = {0};
  whole.bytes = read_whole(MODEL, &whole.length);
  char options[160];
  (void)snprintf(options, sizeof options, "{\"files\":[{\"bytes\":%zu}]}", whole.length);
  nook_context *context = fresh();
  for (int stop = 0;; stop++) {
    nook_want want = {0};
    assert_int_equal(nook_load_begin(context, options), NK_STATUS_OK);
    for (int step = 0; step < stop && !want.finished; step++) {
      assert_int_equal(nook_load_step(context, &want), NK_STATUS_OK);
      if (want.length > 0) memcpy(want.destination, whole.bytes + want.offset, want.length);
    }
    if (want.finished) break;
    nook_load_cancel(context);
    assert_int_equal(nook_load_step(context, &want), NK_STATUS_DATA);
  }
  assert_int_equal(nook_load_begin(context, options), NK_STATUS_BUSY); /* a model is there already */
  nook_destroy(context);
  free(whole.bytes);
}

static void options_that_are_wrong_are_named(void **state) {
  (void)state;
  nook_context *context = fresh();
  static const struct { const char *options, *says; } bad[] = {
      {"{}", "files"},
      {"{\"files\":[]}", "files"},
      {"{\"files\":[{\"bites\":1}]}", "bites"},
      {"{\"files\":[{}]}", "bytes"},
      {"{\"files\":[{\"bytes\":-1}]}", "bytes"},
      {"{\"files\":[{\"bytes\":1.5}]}", "integer"},
      {"{\"files\":[{\"bytes\":5,\"sha256\":\"abc\"}]}", "64 hexadecimal"},
      {"{\"files\":[{\"bytes\":5}],\"kv\":\"f8\"}", "f16"},
      {"{\"files\":[{\"bytes\":5}],\"context\":0}", "context"},
      {"{\"files\":[{\"bytes\":5}],\"contxt\":9}", "contxt"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    assert_int_equal(nook_load_begin(context, bad[i].options), NK_STATUS_DATA);
    if (strstr(nook_error(context), bad[i].says) == NULL) fail_msg("%s gives %s", bad[i].options, nook_error(context));
  }
  nook_destroy(context);
}

static void kv_types_differ_only_by_their_rounding(void **state) {
  (void)state;
  static const char *const types[] = {"f32", "f16", "q8"};
  static const double bounds[] = {0.0, 1.5e-2, 0.15};
  float *exact = NULL;
  for (int i = 0; i < 3; i++) {
    char options[64];
    (void)snprintf(options, sizeof options, ",\"kv\":\"%s\",\"activations\":\"f32\"", types[i]);
    host h = host_open(MODEL, "auto", 1, options);
    float *logits = host_logits(&h, IDS, N_IDS, 0, VOCAB), *again = host_logits(&h, IDS, N_IDS, 2, VOCAB);
    assert_memory_equal(logits, again, sizeof(float) * N_IDS * VOCAB);
    double worst = 0;
    for (int j = 0; exact != NULL && j < N_IDS * VOCAB; j++) {
      double difference = (double)logits[j] - (double)exact[j];
      if (difference < 0) difference = -difference;
      if (!(difference <= worst)) worst = difference;
    }
    if (!(worst <= bounds[i])) fail_msg("kv %s: max abs %.3g, allowed %.3g", types[i], worst, bounds[i]);
    if (i > 0) assert_true(worst > 0); /* the type is really another one */
    free(again);
    if (i == 0) exact = logits; else free(logits);
    host_close(&h);
  }
  free(exact);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_file_with_its_hash_loads_and_one_changed_byte_anywhere_is_refused),
      cmocka_unit_test(a_model_in_parts_is_the_same_model),
      cmocka_unit_test(a_plan_reads_the_header_only_and_promises_what_loading_takes),
      cmocka_unit_test(loading_can_be_cancelled_at_every_step_and_begun_again),
      cmocka_unit_test(options_that_are_wrong_are_named),
      cmocka_unit_test(kv_types_differ_only_by_their_rounding),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
