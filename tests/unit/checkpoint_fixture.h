/*
 * checkpoint_fixture.h: what the tests of the converter share: a folder in memory, a host that feeds a conversion from it,
 * and changes to its files.
 */
#ifndef NOOK_TESTS_CHECKPOINT_FIXTURE_H
#define NOOK_TESTS_CHECKPOINT_FIXTURE_H

#include <dirent.h>

#include "engine_fixture.h"

#define CHECKPOINTS "tests/fixtures/checkpoints"
#define FOLDER_FILES 32

typedef struct folder {
  char name[FOLDER_FILES][64];
  uint8_t *bytes[FOLDER_FILES];
  size_t length[FOLDER_FILES];
  uint32_t n;
} folder;

static inline void folder_put(folder *f, const char *name, const void *bytes, size_t length) {
  uint32_t i = 0;
  while (i < f->n && strcmp(f->name[i], name) != 0) i++;
  assert_true(i < FOLDER_FILES);
  if (i == f->n) {
    f->n++;
    (void)snprintf(f->name[i], sizeof f->name[i], "%.63s", name);
    f->bytes[i] = NULL;
  }
  free(f->bytes[i]);
  f->bytes[i] = malloc(length + 1);
  assert_non_null(f->bytes[i]);
  memcpy(f->bytes[i], bytes, length);
  f->bytes[i][length] = 0;
  f->length[i] = length;
}

static inline void folder_remove(folder *f, const char *name) {
  for (uint32_t i = 0; i < f->n; i++) {
    if (strcmp(f->name[i], name) != 0) continue;
    free(f->bytes[i]);
    f->n--;
    memcpy(f->name[i], f->name[f->n], sizeof f->name[i]);
    f->bytes[i] = f->bytes[f->n];
    f->length[i] = f->length[f->n];
    return;
  }
  fail_msg("the folder has no %s", name);
}

static inline const char *folder_text(const folder *f, const char *name) {
  for (uint32_t i = 0; i < f->n; i++) {
    if (strcmp(f->name[i], name) == 0) return (const char *)f->bytes[i];
  }
  fail_msg("the folder has no %s", name);
  return NULL;
}

/* All files of tests/fixtures/checkpoints/NAME but the reference; sub is "" or "1_Pooling/". */
static inline void folder_read(folder *f, const char *checkpoint, const char *sub) {
  char path[768];
  (void)snprintf(path, sizeof path, CHECKPOINTS "/%s/%s", checkpoint, sub);
  DIR *directory = opendir(path);
  if (directory == NULL) fail_msg("%s cannot be opened (tests run from the repository root)", path);
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
    if (entry->d_name[0] == '.' || strncmp(entry->d_name, "reference.", 10) == 0) continue;
    if (strcmp(entry->d_name, "1_Pooling") == 0) {
      folder_read(f, checkpoint, "1_Pooling/");
      continue;
    }
    char name[320];
    size_t length;
    (void)snprintf(path, sizeof path, CHECKPOINTS "/%s/%s%s", checkpoint, sub, entry->d_name);
    (void)snprintf(name, sizeof name, "%s%s", sub, entry->d_name);
    uint8_t *bytes = read_whole(path, &length);
    folder_put(f, name, bytes, length);
    free(bytes);
  }
  (void)closedir(directory);
}

static inline folder folder_open(const char *checkpoint) {
  folder f = {.n = 0};
  folder_read(&f, checkpoint, "");
  return f;
}

static inline void folder_close(folder *f) {
  for (uint32_t i = 0; i < f->n; i++) free(f->bytes[i]);
  f->n = 0;
}

/* Replaces the only occurrence of `from` in a file by `to`. */
static inline void folder_replace(folder *f, const char *name, const char *from, const char *to) {
  const char *text = folder_text(f, name), *at = strstr(text, from);
  if (at == NULL) fail_msg("%s does not hold %s", name, from);
  size_t n_text = strlen(text), n_from = strlen(from), n_to = strlen(to), before = (size_t)(at - text);
  char *changed = malloc(n_text + n_to + 1);
  assert_non_null(changed);
  memcpy(changed, text, before);
  memcpy(changed + before, to, n_to);
  memcpy(changed + before + n_to, at + n_from, n_text - before - n_from + 1);
  folder_put(f, name, changed, strlen(changed));
  free(changed);
}

typedef struct converted {
  uint8_t *bytes;
  size_t length;
} converted;

/* Converts; on OK *out is the file, the caller's to free. Checks the contract of the steps on the way. */
static inline nk_status folder_convert(nook_context *context, const folder *f, const char *outtype, converted *out) {
  char options[8192];
  int n = snprintf(options, sizeof options, "{\"outtype\":\"%s\",\"name\":\"fixture\",\"files\":[", outtype);
  for (uint32_t i = 0; i < f->n; i++) {
    n += snprintf(options + n, sizeof options - (size_t)n, "%s{\"name\":\"%s\",\"bytes\":%zu}", i == 0 ? "" : ",",
                  f->name[i], f->length[i]);
  }
  (void)snprintf(options + n, sizeof options - (size_t)n, "]}");
  *out = (converted){NULL, 0};
  nk_status status = nook_convert_begin(context, options);
  nook_conversion step = {0};
  while (status == NK_STATUS_OK && !step.finished) {
    status = nook_convert_step(context, &step);
    if (status != NK_STATUS_OK) break;
    assert_true(step.done <= step.total);
    if (step.output_bytes > 0) {
      out->bytes = realloc(out->bytes, out->length + step.output_bytes);
      assert_non_null(out->bytes);
      memcpy(out->bytes + out->length, step.output, step.output_bytes);
      out->length += step.output_bytes;
    }
    if (step.length > 0) {
      assert_true(step.file < f->n && step.offset <= f->length[step.file] &&
                  step.length <= f->length[step.file] - step.offset);
      memcpy(step.destination, f->bytes[step.file] + step.offset, step.length);
    }
  }
  nook_convert_end(context);
  if (status != NK_STATUS_OK) {
    free(out->bytes);
    *out = (converted){NULL, 0};
  }
  return status;
}

static inline nook_context *context_new(void) {
  nk_status status;
  nook_context *context = nook_create("{\"isa\":\"simd128\"}", &status);
  assert_non_null(context);
  if (status != NK_STATUS_OK) fail_msg("%s", nook_error(context));
  return context;
}

/* Loads a converted file into the context; 0 tokens: as many as it was trained for. */
static inline void load_converted(nook_context *context, const converted *file, uint32_t tokens) {
  char options[160], more[40] = "";
  if (tokens != 0) (void)snprintf(more, sizeof more, ",\"context\":%u", tokens);
  (void)snprintf(options, sizeof options, "{\"files\":[{\"bytes\":%zu}],\"activations\":\"f32\"%s}", file->length, more);
  nk_status status = nook_load_begin(context, options);
  if (status == NK_STATUS_OK) status = host_feed(context, file->bytes, file->length);
  if (status != NK_STATUS_OK) fail_msg("the converted file does not load: %s", nook_error(context));
}

#endif
