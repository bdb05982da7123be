/*
 * test_determinism.c: the base build gives the same bits on every host. tests/fixtures/determinism.json holds one SHA-256
 * of the logits of each model and path; this program, Node and Chromium (tests/shared/logits.js) are all held to it.
 *
 * Format   {"models": [{"file", "bundle", "ids", "hashes": {"float": hex, "default": hex}}]}. A hash is of the float32
 *          logits [n, vocabulary] of the bundle's tensor `ids`, little-endian, from position 0 in an empty context.
 *          "float": activations "f32"; "default": the engine's own choice (8-bit activations for quantized matrices).
 * Source   The scalar kernels. NOOK_WRITE_DETERMINISM=1 writes the file anew (tests/fixtures/determinism.mjs does that with
 *          the optimized build): only a change that is meant to change the arithmetic may do so.
 */
#include <dirent.h>

#include "engine_fixture.h"

#include "core/sha256.h"

#define FIXTURES "tests/fixtures/"
#define TABLE FIXTURES "determinism.json"
#define REAL_MODEL "models/cache/SmolLM2-135M-Instruct.Q4_1.gguf"
#define MAX_MODELS 256

static const char *const PATHS[2] = {"float", "default"};
static const char *const LOAD_OPTIONS[2] = {",\"activations\":\"f32\"", ""};

typedef struct model {
  char file[512];   /* the GGUF, from the repository root */
  char bundle[512]; /* its bundle, without suffix */
  char ids[32];     /* the tensor of the bundle */
} model;

static void hash_logits(const model *m, const char *isa, uint32_t threads, uint32_t chunk, int path, char hex[65]) {
  bundle b = bundle_open(m->bundle);
  size_t n = 0;
  const int32_t *ids = bundle_get(&b, m->ids, sizeof *ids, &n);
  host h = host_open(m->file, isa, threads, LOAD_OPTIONS[path]);
  uint32_t vocab = host_columns(&h);
  float *logits = host_logits(&h, ids, (uint32_t)n, chunk, vocab);
  nk_sha256 hash;
  uint8_t digest[32];
  nk_sha256_init(&hash);
  for (size_t i = 0; i < n * vocab; i++) {
    uint32_t bits;
    memcpy(&bits, &logits[i], sizeof bits);
    const uint8_t bytes[4] = {(uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16), (uint8_t)(bits >> 24)};
    nk_sha256_update(&hash, bytes, sizeof bytes);
  }
  nk_sha256_final(&hash, digest);
  for (size_t i = 0; i < sizeof digest; i++) (void)snprintf(hex + 2 * i, 3, "%02x", digest[i]);
  free(logits);
  host_close(&h);
  bundle_close(&b);
}

/* ---- The models -------------------------------------------------------------------------------------------------- */

static int by_file(const void *a, const void *b) {
  return strcmp(((const model *)a)->file, ((const model *)b)->file);
}

/* Every *.gguf of a folder whose name begins with `prefix`, with the longest sequence of its bundle. */
static size_t list_folder(const char *folder, const char *prefix, model *models, size_t n) {
  DIR *directory = opendir(folder);
  if (directory == NULL) fail_msg("%s cannot be opened (tests run from the repository root)", folder);
  for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
    size_t length = strlen(entry->d_name);
    if (length < 6 || length > 200 || strcmp(entry->d_name + length - 5, ".gguf") != 0) continue;
    if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0) continue;
    assert_true(n < MAX_MODELS);
    model *m = &models[n++];
    (void)snprintf(m->file, sizeof m->file, "%s%s", folder, entry->d_name);
    (void)snprintf(m->bundle, sizeof m->bundle, "%s%.*s", folder, (int)(length - 5), entry->d_name);
    bundle b = bundle_open(m->bundle);
    size_t count;
    (void)snprintf(m->ids, sizeof m->ids, "len80/ids");
    if (bundle_find(&b, m->ids, sizeof(int32_t), &count) == NULL) {
      (void)snprintf(m->ids, sizeof m->ids, "len33/ids");
      (void)bundle_get(&b, m->ids, sizeof(int32_t), &count);
    }
    bundle_close(&b);
  }
  (void)closedir(directory);
  return n;
}

/* All models, sorted by file. The caller frees the list. */
static model *list_models(size_t *n) {
  model *models = calloc(MAX_MODELS, sizeof *models);
  assert_non_null(models);
  *n = list_folder(FIXTURES "tiny/", "", models, 0);
  *n = list_folder(FIXTURES "quants/", "model_", models, *n);
  model *real = &models[(*n)++];
  (void)snprintf(real->file, sizeof real->file, "%s", REAL_MODEL);
  (void)snprintf(real->bundle, sizeof real->bundle, "%s", FIXTURES "real_smollm2/logits_capital");
  (void)snprintf(real->ids, sizeof real->ids, "ids");
  qsort(models, *n, sizeof *models, by_file);
  return models;
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

static void write_table(const model *models, size_t n) {
  cJSON *json = cJSON_CreateObject();
  (void)cJSON_AddStringToObject(json, "rule",
                                "SHA-256 of the float32 logits of the bundle's ids, little-endian; scalar kernels");
  cJSON *list = cJSON_AddArrayToObject(json, "models");
  for (size_t i = 0; i < n; i++) {
    cJSON *row = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(row, "file", models[i].file);
    (void)cJSON_AddStringToObject(row, "bundle", models[i].bundle);
    (void)cJSON_AddStringToObject(row, "ids", models[i].ids);
    cJSON *hashes = cJSON_AddObjectToObject(row, "hashes");
    for (int path = 0; path < 2; path++) {
      char hex[65];
      hash_logits(&models[i], "scalar", 1, 0, path, hex);
      (void)cJSON_AddStringToObject(hashes, PATHS[path], hex);
    }
    (void)cJSON_AddItemToArray(list, row);
  }
  char *text = cJSON_Print(json);
  assert_non_null(text);
  FILE *file = fopen(TABLE, "wb");
  if (file == NULL) fail_msg("%s cannot be written", TABLE);
  assert_true(fprintf(file, "%s\n", text) > 0);
  assert_int_equal(fclose(file), 0);
  cJSON_free(text);
  cJSON_Delete(json);
}

static const char *text_of(const cJSON *row, const char *key) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(row, key);
  if (!cJSON_IsString(item)) fail_msg("%s: a model lacks \"%s\"", TABLE, key);
  return item->valuestring;
}

static cJSON *read_table(void) {
  size_t length;
  uint8_t *text = read_whole(TABLE, &length);
  cJSON *json = cJSON_Parse((const char *)text);
  free(text);
  if (json == NULL) fail_msg("%s is not JSON", TABLE);
  return json;
}

/* The row of a model, which must have the same bundle and ids. */
static const cJSON *row_of(const cJSON *json, const model *m) {
  const cJSON *row;
  cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(json, "models")) {
    if (strcmp(text_of(row, "file"), m->file) != 0) continue;
    assert_string_equal(text_of(row, "bundle"), m->bundle);
    assert_string_equal(text_of(row, "ids"), m->ids);
    return row;
  }
  fail_msg("%s is not in %s: run node tests/fixtures/determinism.mjs", m->file, TABLE);
  return NULL;
}

static void check(const cJSON *json, const model *m, const char *isa, uint32_t threads, uint32_t chunk) {
  const cJSON *hashes = cJSON_GetObjectItemCaseSensitive(row_of(json, m), "hashes");
  for (int path = 0; path < 2; path++) {
    char hex[65];
    hash_logits(m, isa, threads, chunk, path, hex);
    if (strcmp(hex, text_of(hashes, PATHS[path])) != 0) {
      fail_msg("%s, path %s, %s, %u thread(s), chunk %u: the logits have other bits than in %s", m->file, PATHS[path], isa,
               threads, chunk, TABLE);
    }
  }
}

static void small_models_have_the_bits_of_the_table_on_scalar_and_simd128(void **state) {
  (void)state;
  cJSON *json = read_table();
  size_t n;
  model *models = list_models(&n);
  assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(json, "models")), n);
  for (size_t i = 0; i < n; i++) {
    if (strcmp(models[i].file, REAL_MODEL) == 0) continue;
    check(json, &models[i], "scalar", 1, 0);
    check(json, &models[i], "simd128", 1, 0);
    check(json, &models[i], "simd128", 3, 5);
  }
  free(models);
  cJSON_Delete(json);
}

static void the_default_model_has_the_bits_of_the_table(void **state) {
  (void)state;
  FILE *file = fopen(REAL_MODEL, "rb");
  if (file == NULL) fail_msg("%s is missing: run npm run setup", REAL_MODEL);
  (void)fclose(file);
  cJSON *json = read_table();
  size_t n;
  model *models = list_models(&n);
  int checked = 0;
  for (size_t i = 0; i < n; i++) {
    if (strcmp(models[i].file, REAL_MODEL) != 0) continue;
    check(json, &models[i], "simd128", 2, 0);
    checked++;
  }
  assert_int_equal(checked, 1);
  free(models);
  cJSON_Delete(json);
}

int main(void) {
  const char *write = getenv("NOOK_WRITE_DETERMINISM");
  if (write != NULL && strcmp(write, "1") == 0) {
    size_t n;
    model *models = list_models(&n);
    write_table(models, n);
    free(models);
    (void)printf("%zu models in %s\n", n, TABLE);
    return 0;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(small_models_have_the_bits_of_the_table_on_scalar_and_simd128),
      cmocka_unit_test(the_default_model_has_the_bits_of_the_table),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
