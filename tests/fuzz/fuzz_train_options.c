/*
 * fuzz_train_options.c: options of a training as a page could send them. The first byte chooses the model's number of
 * layers; the bytes up to the first NUL are the text. Asserted: an error has a sentence and leaves nothing allocated; what
 * was accepted is in its ranges, and what follows from it makes sense for any number of examples.
 */
#include <stdlib.h>
#include <string.h>

#include "train/options.h"

#define CHECK(condition)                \
  do {                                  \
    if (!(condition)) __builtin_trap(); \
  } while (0)

static void check_accepted(const nk_train_options *o, uint32_t n_layers) {
  CHECK(o->adapter.method < NK_METHOD_COUNT && o->adapter.rank <= NK_ADAPTER_MAX_RANK);
  CHECK(o->adapter.slots >> NK_SLOT_COUNT == 0 && o->adapter.n_virtual <= NK_ADAPTER_MAX_VIRTUAL);
  CHECK(o->adapter.layers == o->layers);
  uint32_t chosen = 0;
  for (uint32_t l = 0; o->layers != NULL && l < n_layers; l++) chosen += o->layers[l];
  CHECK(o->layers == NULL || chosen > 0);
  CHECK((o->init_ids == NULL) == (o->n_init_ids == 0) && o->n_init_ids <= NK_ADAPTER_MAX_VIRTUAL);
  for (uint32_t i = 0; i < o->n_init_ids; i++) CHECK(o->init_ids[i] >= 0);
  CHECK(o->lr > 0 && o->clip >= 0 && o->adamw.weight_decay >= 0 && o->held_out >= 0);
  CHECK(o->batch_size > 0 && o->accumulate > 0 && o->seed < 1ull << 53);
  static const uint32_t sizes[] = {1, 2, 7, 1000, UINT32_MAX};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    uint64_t total = nk_train_options_total(o, sizes[i]), epoch = nk_train_options_epoch_steps(o, sizes[i]);
    CHECK((total == 0) == (o->budget == NK_BUDGET_MINUTES) && epoch > 0 && epoch <= sizes[i]);
    nk_schedule schedule = nk_train_options_schedule(o, total);
    CHECK(total > 0 || schedule.kind == NK_SCHEDULE_CONSTANT);
    const uint64_t steps[] = {0, 1, total / 2, total, UINT32_MAX};
    for (size_t k = 0; k < sizeof steps / sizeof steps[0]; k++) {
      double rate = nk_schedule_rate(&schedule, steps[k]);
      CHECK(rate >= 0 && rate <= o->lr);
    }
    uint32_t held = nk_train_options_held_out(o, sizes[i]);
    CHECK((held == 0) == !(o->held_out > 0) && (o->held_out >= 1 || held <= sizes[i]));
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  uint32_t n_layers = 1u + data[0] % 64;
  char *text = malloc(size);
  CHECK(text != NULL);
  memcpy(text, data + 1, size - 1);
  text[size - 1] = '\0';
  nk_train_options options;
  nk_error error = {0};
  nk_status status = nk_train_options_read(&options, text, n_layers, &error);
  CHECK((status == NK_STATUS_OK) == (error.text[0] == '\0'));
  if (status == NK_STATUS_OK) {
    check_accepted(&options, n_layers);
    nk_train_options_free(&options);
  }
  CHECK(options.layers == NULL && options.init_ids == NULL);
  free(text);
  return 0;
}
