/*
 * adapted_fixture.h: what the tests of adapters in the pass share: every decoder under tests/fixtures/tiny, an adapter of
 * each method with values from a seed, and adapters applied in a context.
 */
#ifndef NOOK_TESTS_ADAPTED_FIXTURE_H
#define NOOK_TESTS_ADAPTED_FIXTURE_H

#include <dirent.h>
#include <math.h>

#include "engine_fixture.h"

#include "api/context.h"
#include "core/random.h"

#define ALL_SLOTS ((1u << NK_SLOT_COUNT) - 1u)

/* Slots are those of the model where this says all. */
static const struct way { const char *name; nk_adapter_config config; bool all; } WAYS[] = {
    {"lora", {.method = NK_METHOD_LORA, .rank = 4, .alpha = 8.0}, false},
    {"lora of all slots", {.method = NK_METHOD_LORA, .rank = 4, .alpha = 8.0}, true},
    {"ia3", {.method = NK_METHOD_IA3}, false},
    {"ia3 of all slots", {.method = NK_METHOD_IA3}, true},
    {"prompt", {.method = NK_METHOD_PROMPT, .n_virtual = 5}, false},
    {"prefix", {.method = NK_METHOD_PREFIX, .n_virtual = 11}, false},
};
#define N_WAYS (sizeof WAYS / sizeof *WAYS)

/* Runs `check` with the path of every tiny model that writes. */
static inline void every_decoder(void (*check)(const char *path)) {
  static const char folder[] = "tests/fixtures/tiny";
  struct dirent **list;
  int n = scandir(folder, &list, NULL, alphasort), checked = 0;
  if (n < 0) fail_msg("%s cannot be read (tests run from the repository root)", folder);
  for (int i = 0; i < n; i++) {
    const char *dot = strrchr(list[i]->d_name, '.');
    if (dot != NULL && strcmp(dot, ".gguf") == 0 && strstr(list[i]->d_name, "bert") == NULL) {
      char path[512];
      (void)snprintf(path, sizeof path, "%s/%s", folder, list[i]->d_name);
      check(path);
      checked++;
    }
    free(list[i]);
  }
  free(list);
  assert_true(checked >= 20);
}

/* The slots that some layer of the model has. */
static inline uint32_t slots_of(const nk_model *model) {
  uint32_t slots = 0;
  for (uint32_t l = 0; l < model->config.n_layers; l++)
    for (uint32_t s = 0; s < NK_SLOT_COUNT; s++)
      if (nk_layer_slot(&model->layers[l], (nk_slot)s) != NULL) slots |= 1u << s;
  return slots;
}

/* With all values 0; the caller's. */
static inline nk_adapter *adapter_of(const nk_model *model, const struct way *way) {
  nk_adapter_config config = way->config;
  nk_adapter *adapter = NULL;
  nk_error error = {0};
  if (way->all) config.slots = slots_of(model);
  if (nk_adapter_create(&adapter, model, &config, &error) != NK_STATUS_OK) fail_msg("%s: %s", way->name, error.text);
  return adapter;
}

/* Every value from the seed, large enough to move the logits: normal numbers · 0.2; IA3 about 1, keys and values and a
   prompt about as large as the model's own. */
static inline void adapter_randomize(nk_adapter *adapter, uint64_t seed) {
  nk_random random = nk_random_seed(seed);
  for (uint64_t i = 0; i < adapter->n_values; i++) {
    double value = 0.2 * nk_random_normal(&random);
    adapter->values[i] = (float)(adapter->method == NK_METHOD_IA3 ? 1.0 + value : value);
  }
  nk_adapter_rekey(adapter);
}

static inline nk_adapter *adapter_random(const nk_model *model, const struct way *way, uint64_t seed) {
  nk_adapter *adapter = adapter_of(model, way);
  adapter_randomize(adapter, seed);
  return adapter;
}

/* Into the context, which frees it. */
static inline uint32_t adapter_hold(host *h, nk_adapter *adapter) {
  uint32_t id;
  if (nk_context_hold(h->context, adapter, &id) != NK_STATUS_OK) fail_msg("%s", nook_error(h->context));
  return id;
}

static inline void apply_all(host *h, const uint32_t *ids, const float *scales, uint32_t n) {
  if (nook_adapters_apply(h->context, ids, scales, n) != NK_STATUS_OK) fail_msg("%s", nook_error(h->context));
}

static inline void apply_one(host *h, uint32_t id, float scale) { apply_all(h, &id, &scale, 1); }

/* ids [n] of the vocabulary, from the seed. */
static inline void random_ids(int32_t *ids, uint32_t n, uint32_t vocab, uint64_t seed) {
  nk_random random = nk_random_seed(seed);
  for (uint32_t i = 0; i < n; i++) ids[i] = (int32_t)nk_random_below(&random, vocab);
}

/* NaN when one of them is. */
static inline double max_abs_difference(const float *a, const float *b, size_t n) {
  double top = 0.0;
  for (size_t i = 0; i < n; i++) {
    double difference = fabs((double)a[i] - (double)b[i]);
    if (!(difference <= top)) top = difference;
  }
  return top;
}

#endif
