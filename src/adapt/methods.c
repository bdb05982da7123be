/* methods.c: see methods.h. A new method is a line here, a row and a file like lora.c (docs/add-a-method.md). */
#include "adapt/methods.h"

#include <string.h>

static const nk_method_row *const METHODS[NK_METHOD_COUNT] = {
    [NK_METHOD_LORA] = &NK_METHOD_LORA_ROW,
    [NK_METHOD_PROMPT] = &NK_METHOD_PROMPT_ROW,
    [NK_METHOD_PREFIX] = &NK_METHOD_PREFIX_ROW,
    [NK_METHOD_IA3] = &NK_METHOD_IA3_ROW,
};

const nk_method_row *nk_method_row_of(nk_method method) {
  return (uint32_t)method < NK_METHOD_COUNT ? METHODS[method] : NULL;
}

const char *nk_method_name(nk_method method) {
  const nk_method_row *row = nk_method_row_of(method);
  return row == NULL ? NULL : row->name;
}

bool nk_method_find(const char *name, size_t length, nk_method *method) {
  for (uint32_t i = 0; i < NK_METHOD_COUNT; i++) {
    if (strlen(METHODS[i]->name) != length || memcmp(METHODS[i]->name, name, length) != 0) continue;
    *method = (nk_method)i;
    return true;
  }
  return false;
}

/* ---- Default slots ----------------------------------------------------------------------------------------------- */

#define Q (1u << NK_SLOT_Q)
#define K (1u << NK_SLOT_K)
#define V (1u << NK_SLOT_V)
#define UP (1u << NK_SLOT_UP)
#define DOWN (1u << NK_SLOT_DOWN)

/* PEFT's target modules by default, for LoRA and IA3. PEFT has none for phi3, olmo2, ernie4_5 and lfm2, nor for IA3 in
   stablelm: they take Llama's. Where q, k and v are one matrix, Q stands for any of them. */
static const struct {
  const char *arch;
  uint32_t lora, ia3;
} DEFAULTS[] = {
    {"llama", Q | V, K | V | DOWN},    {"qwen2", Q | V, Q | V | DOWN},    {"qwen3", Q | V, Q | V | DOWN},
    {"phi3", Q | V, K | V | DOWN},     {"gemma", Q | V, Q | V | DOWN},    {"gemma2", Q | V, Q | V | DOWN},
    {"gemma3", Q | V, Q | V | DOWN},   {"phi2", Q | V | UP | DOWN, Q | V | DOWN}, {"gptneox", Q, Q | DOWN},
    {"stablelm", Q | V, K | V | DOWN}, {"gpt2", Q, Q | DOWN},             {"opt", Q | V, Q | K | DOWN},
    {"olmo2", Q | V, K | V | DOWN},    {"ernie4_5", Q | V, K | V | DOWN}, {"lfm2", Q | V, K | V | DOWN},
};

uint32_t nk_method_slots(nk_method method, const nk_model *model) {
  const nk_method_row *row = nk_method_row_of(method);
  if (row == NULL || !row->in_slots) return 0;
  uint32_t slots = 0, present = 0;
  bool fused = false;
  for (size_t i = 0; i < sizeof DEFAULTS / sizeof DEFAULTS[0]; i++) {
    if (strcmp(DEFAULTS[i].arch, model->config.arch->name) != 0) continue;
    slots = method == NK_METHOD_IA3 ? DEFAULTS[i].ia3 : DEFAULTS[i].lora;
  }
  for (uint32_t l = 0; l < model->config.n_layers; l++) {
    const nk_layer *layer = &model->layers[l];
    if (layer->conv == NULL && layer->n_qkv == 1) fused = true;
    for (uint32_t s = 0; s < NK_SLOT_COUNT; s++) {
      if (nk_layer_slot(layer, (nk_slot)s) != NULL) present |= 1u << s;
    }
  }
  if (fused && (slots & (Q | K | V)) != 0) slots |= Q;
  return slots & present;
}

/* ---- For the rows ------------------------------------------------------------------------------------------------ */

void nk_layout_add(nk_layout *layout, nk_param param) {
  param.offset = layout->n_values;
  if (layout->params != NULL) layout->params[layout->n] = param;
  layout->n++;
  layout->n_values += (uint64_t)param.rows * param.cols; /* 14,336 of them at most, each below 2^31 */
}

nk_status nk_resolve_virtual(nk_adapter_config *config, nk_error *error) {
  if (config->n_virtual == 0) config->n_virtual = 20;
  if (config->n_virtual <= NK_ADAPTER_MAX_VIRTUAL) return NK_STATUS_OK;
  return nk_fail(error, NK_STATUS_DATA, "an adapter with %u virtual tokens was asked for; 1 to %u are supported",
                 config->n_virtual, NK_ADAPTER_MAX_VIRTUAL);
}

void nk_fill_normal(float *values, uint64_t n, nk_random *random) {
  for (uint64_t i = 0; i < n; i++) values[i] = (float)nk_random_normal(random);
}
