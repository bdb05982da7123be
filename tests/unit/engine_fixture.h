/*
 * engine_fixture.h: what the tests of whole models share: oracle bundles, a native host that feeds the engine from files,
 * and threads for its pool. Everything here fails the test at once when it cannot do its work.
 */
#ifndef NOOK_TESTS_ENGINE_FIXTURE_H
#define NOOK_TESTS_ENGINE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <cJSON.h>
#include <pthread.h>

#include "nook.h"

/* ---- Files ------------------------------------------------------------------------------------------------------- */

/* The caller frees it. A NUL follows the *length bytes. */
static inline uint8_t *read_whole(const char *path, size_t *length) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) fail_msg("%s cannot be opened (tests run from the repository root)", path);
  assert_int_equal(fseek(file, 0, SEEK_END), 0);
  long size = ftell(file);
  assert_true(size >= 0);
  rewind(file);
  uint8_t *bytes = malloc((size_t)size + 1);
  assert_non_null(bytes);
  assert_int_equal(fread(bytes, 1, (size_t)size, file), (size_t)size);
  bytes[size] = 0;
  (void)fclose(file);
  *length = (size_t)size;
  return bytes;
}

/* ---- Bundles: NAME.json describes the tensors of NAME.bin (oracle-bundle/1) -------------------------------------- */

typedef struct bundle {
  cJSON *json;
  uint8_t *bytes;
  size_t length;
} bundle;

static inline bundle bundle_open(const char *stem) {
  char path[768];
  size_t length;
  bundle b;
  (void)snprintf(path, sizeof path, "%s.json", stem);
  uint8_t *text = read_whole(path, &length);
  b.json = cJSON_Parse((const char *)text);
  free(text);
  if (b.json == NULL) fail_msg("%s is not JSON", path);
  (void)snprintf(path, sizeof path, "%s.bin", stem);
  b.bytes = read_whole(path, &b.length);
  return b;
}

static inline void bundle_close(bundle *b) {
  cJSON_Delete(b->json);
  free(b->bytes);
}

/* The tensor's first byte, or NULL when there is none of that name. *n: elements. */
static inline const void *bundle_find(const bundle *b, const char *name, size_t element_bytes, size_t *n) {
  *n = 0;
  const cJSON *tensors = cJSON_GetObjectItemCaseSensitive(b->json, "tensors");
  const cJSON *one = cJSON_GetObjectItemCaseSensitive(tensors, name);
  if (one == NULL) return NULL;
  size_t offset = (size_t)cJSON_GetObjectItemCaseSensitive(one, "offset")->valuedouble;
  size_t bytes = (size_t)cJSON_GetObjectItemCaseSensitive(one, "nbytes")->valuedouble;
  assert_true(offset <= b->length && bytes <= b->length - offset);
  *n = bytes / element_bytes;
  return b->bytes + offset;
}

static inline const void *bundle_get(const bundle *b, const char *name, size_t element_bytes, size_t *n) {
  const void *found = bundle_find(b, name, element_bytes, n);
  if (found == NULL) fail_msg("the bundle lacks %s", name);
  return found;
}

/* ---- A host ------------------------------------------------------------------------------------------------------ */

#define HOST_MAX_THREADS 8

typedef struct host {
  nook_context *context;
  pthread_t threads[HOST_MAX_THREADS];
  uint32_t n_threads;
} host;

typedef struct host_thread { nook_context *context; uint32_t index; } host_thread;

static inline void *host_thread_main(void *argument) {
  host_thread own = *(host_thread *)argument;
  free(argument);
  nook_thread_main(own.context, own.index);
  return NULL;
}

/* Feeds what the loader wants from a file in memory; returns the status that loading ended with. */
static inline nk_status host_feed(nook_context *context, const uint8_t *file, size_t length) {
  nook_want want;
  for (;;) {
    nk_status status = nook_load_step(context, &want);
    if (status != NK_STATUS_OK || want.finished) return status;
    assert_true(want.offset <= length && want.length <= length - want.offset);
    memcpy(want.destination, file + want.offset, want.length);
  }
}

/* options: the keys of nook_load_begin other than files, with a leading comma, or "". */
static inline host host_open(const char *path, const char *isa, uint32_t threads, const char *options) {
  host h = {.n_threads = threads};
  char text[512];
  nk_status status;
  (void)snprintf(text, sizeof text, "{\"isa\":\"%s\",\"threads\":%u}", isa, threads);
  h.context = nook_create(text, &status);
  assert_non_null(h.context);
  if (status != NK_STATUS_OK) fail_msg("%s", nook_error(h.context));
  for (uint32_t i = 1; i < threads; i++) {
    host_thread *own = malloc(sizeof *own);
    assert_non_null(own);
    *own = (host_thread){h.context, i};
    assert_int_equal(pthread_create(&h.threads[i], NULL, host_thread_main, own), 0);
  }
  size_t length;
  uint8_t *file = read_whole(path, &length);
  (void)snprintf(text, sizeof text, "{\"files\":[{\"bytes\":%zu}]%s}", length, options);
  status = nook_load_begin(h.context, text);
  if (status == NK_STATUS_OK) status = host_feed(h.context, file, length);
  free(file);
  if (status != NK_STATUS_OK) fail_msg("%s: %s", path, nook_error(h.context));
  return h;
}

static inline void host_close(host *h) {
  nook_threads_stop(h->context);
  for (uint32_t i = 1; i < h->n_threads; i++) assert_int_equal(pthread_join(h->threads[i], NULL), 0);
  nook_destroy(h->context);
}

static inline cJSON *host_info(host *h) {
  cJSON *info = cJSON_Parse(nook_info(h->context));
  assert_non_null(info);
  return info;
}

static inline bool host_is_encoder(host *h) {
  cJSON *info = host_info(h);
  bool encoder = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(info, "encoder"));
  cJSON_Delete(info);
  return encoder;
}

/* The numbers of a row: of logits, or of an encoder's hidden states. */
static inline uint32_t host_columns(host *h) {
  cJSON *info = host_info(h);
  const cJSON *sizes = cJSON_GetObjectItemCaseSensitive(info, "sizes");
  const cJSON *item = host_is_encoder(h) ? cJSON_GetObjectItemCaseSensitive(sizes, "width")
                                         : cJSON_GetObjectItemCaseSensitive(info, "vocabulary");
  assert_true(cJSON_IsNumber(item));
  uint32_t columns = (uint32_t)item->valuedouble;
  cJSON_Delete(info);
  return columns;
}

/* Logits (of an encoder: hidden states) of every position, [n, columns], the caller's to free. */
static inline float *host_logits(host *h, const int32_t *ids, uint32_t n, uint32_t chunk, uint32_t columns) {
  char options[96], own[24] = "";
  if (chunk > 0) (void)snprintf(own, sizeof own, ",\"chunk\":%u", chunk);
  (void)snprintf(options, sizeof options, "{\"reuse\":false,\"output\":\"%s\"%s}",
                 host_is_encoder(h) ? "hidden" : "logits", own);
  float *logits = malloc((size_t)n * columns * sizeof *logits);
  assert_non_null(logits);
  uint32_t got = 0;
  if (nook_eval_begin(h->context, ids, n, options) != NK_STATUS_OK) fail_msg("%s", nook_error(h->context));
  for (nook_rows rows = {0}; !rows.finished;) {
    if (nook_eval_step(h->context, &rows) != NK_STATUS_OK) fail_msg("%s", nook_error(h->context));
    if (rows.n_rows == 0) continue;
    assert_int_equal(rows.first, got);
    assert_int_equal(rows.columns, columns);
    memcpy(logits + (size_t)got * columns, rows.values, (size_t)rows.n_rows * columns * sizeof *logits);
    got += rows.n_rows;
  }
  assert_int_equal(got, n);
  nook_eval_end(h->context);
  return logits;
}

#endif
