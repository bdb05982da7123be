/*
 * fuzz_checkpoint.c: saved trainings. The bytes are a file without the hash at its end; the right one is appended, so that
 * what lies behind it is reached. Asserted: an error has a sentence; what is accepted points into the file, is written back
 * as the very same bytes, and is refused as soon as a byte is missing or another.
 */
#include <stdlib.h>
#include <string.h>

#include "core/sha256.h"
#include "train/checkpoint.h"

#define CHECK(condition)                \
  do {                                  \
    if (!(condition)) __builtin_trap(); \
  } while (0)

static void check_inside(const void *part, uint64_t bytes, const uint8_t *file, uint64_t n) {
  const uint8_t *start = part;
  CHECK(start >= file && (uint64_t)(start - file) <= n && bytes <= n - (uint64_t)(start - file));
}

static void check_accepted(const nk_checkpoint *c, uint8_t *file, uint64_t n) {
  uint64_t floats = c->n_values * sizeof(float);
  CHECK(c->n_values > 0);
  check_inside(c->values, floats, file, n);
  check_inside(c->m, floats, file, n);
  check_inside(c->v, floats, file, n);
  if (c->best != NULL) check_inside(c->best, floats, file, n);
  check_inside(c->losses, c->n_losses * sizeof(nk_loss_record), file, n);
  check_inside(c->evals, c->n_evals * sizeof(nk_loss_record), file, n);
  check_inside(c->options, strlen(c->options) + 1, file, n);
  CHECK(nk_checkpoint_bytes(c) == n);
  uint8_t *again = malloc((size_t)n);
  CHECK(again != NULL);
  nk_error error = {0};
  CHECK(nk_checkpoint_write(c, again, n, &error) == NK_STATUS_OK);
  CHECK(memcmp(again, file, (size_t)n) == 0);
  free(again);
  nk_checkpoint_here here = {.variant = "scalar", .n_values = c->n_values, .n_examples = UINT32_MAX};
  memcpy(here.model, c->model, 32);
  memcpy(here.data, c->data, 32);
  memcpy(here.held_out, c->held_out, 32);
  bool other = false;
  nk_status status = nk_checkpoint_match(c, &here, &other, &error);
  CHECK(status == NK_STATUS_OK || c->progress.position > UINT32_MAX);
  CHECK(status != NK_STATUS_OK || other == (strcmp(c->variant, "scalar") != 0));
  nk_checkpoint damaged;
  file[n / 2] ^= 1;
  CHECK(nk_checkpoint_read(&damaged, file, n, &error) != NK_STATUS_OK);
  file[n / 2] ^= 1;
  CHECK(nk_checkpoint_read(&damaged, file, n - 1, &error) != NK_STATUS_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  nk_checkpoint checkpoint;
  nk_error error = {0};
  nk_status bare = nk_checkpoint_read(&checkpoint, data, size, &error);
  CHECK((bare == NK_STATUS_OK) == (error.text[0] == '\0'));
  uint8_t *file = malloc(size + 32);
  CHECK(file != NULL);
  if (size > 0) memcpy(file, data, size);
  nk_sha256 hash;
  nk_sha256_init(&hash);
  nk_sha256_update(&hash, data, size);
  nk_sha256_final(&hash, file + size);
  error = (nk_error){0};
  nk_status status = nk_checkpoint_read(&checkpoint, file, (uint64_t)size + 32, &error);
  CHECK((status == NK_STATUS_OK) == (error.text[0] == '\0'));
  CHECK(status == NK_STATUS_OK || status == NK_STATUS_FORMAT || status == NK_STATUS_UNSUPPORTED);
  if (status == NK_STATUS_OK) check_accepted(&checkpoint, file, (uint64_t)size + 32);
  free(file);
  return 0;
}
