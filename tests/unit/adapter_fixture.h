/*
 * adapter_fixture.h: what the tests of adapters share: a tiny model by itself, without a context, and its adapters.
 */
#ifndef NOOK_TESTS_ADAPTER_FIXTURE_H
#define NOOK_TESTS_ADAPTER_FIXTURE_H

#include "engine_fixture.h"

#include "adapt/adapter.h"
#include "model/load.h"

/* The tiny models that write, one a decoder architecture at least. */
static const char *const DECODERS[] = {"llama",    "llama256", "mistral", "qwen2", "qwen3",    "gemma", "gemma2",
                                       "gemma3",   "phi2",     "phi3",    "gptneox", "stablelm", "gpt2",  "opt",
                                       "opt_postln", "olmo2",  "ernie4_5", "lfm2"};
#define N_DECODERS (sizeof DECODERS / sizeof DECODERS[0])

/* tests/fixtures/tiny/NAME.gguf; the caller frees it. */
static inline nk_model *tiny_model(const char *name) {
  char path[256];
  nk_error error = {0};
  size_t length;
  (void)snprintf(path, sizeof path, "tests/fixtures/tiny/%s.gguf", name);
  uint8_t *file = read_whole(path, &length);
  nk_loader *loader;
  nk_load_file facts = {.bytes = length};
  nk_status status = nk_loader_create(&loader, &facts, 1, &error);
  for (int phase = 0; phase < 2 && status == NK_STATUS_OK; phase++) {
    if (phase == 1) {
      nk_load_plan plan;
      status = nk_loader_plan(loader, &plan, &error);
      if (status == NK_STATUS_OK) status = nk_loader_weights(loader, &error);
    }
    for (nk_request r = {.length = 1}; status == NK_STATUS_OK;) {
      status = nk_loader_step(loader, &r, &error);
      if (status != NK_STATUS_OK || r.length == 0) break;
      assert_true(r.offset <= length && r.length <= length - r.offset);
      memcpy(r.destination, file + r.offset, r.length);
    }
  }
  nk_model *model = NULL;
  if (status == NK_STATUS_OK) status = nk_loader_take(loader, &model, &error);
  if (status != NK_STATUS_OK) fail_msg("%s: %s", path, error.text);
  nk_loader_free(loader);
  free(file);
  return model;
}

/* By the configuration, with values from the seed in every place (so that B is not 0). */
static inline nk_adapter *random_adapter(const nk_model *model, const nk_adapter_config *config, uint64_t seed) {
  nk_adapter *adapter;
  nk_error error = {0};
  if (nk_adapter_create(&adapter, model, config, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
  uint64_t x = seed * 2654435761u + 1;
  for (uint64_t i = 0; i < adapter->n_values; i++) {
    x = x * 6364136223846793005u + 1442695040888963407u;
    adapter->values[i] = (float)((double)(x >> 40) / 16777216.0 - 0.5);
  }
  nk_adapter_rekey(adapter);
  return adapter;
}

#endif
