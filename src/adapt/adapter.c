/* adapter.c: see adapter.h. What is common to all methods: the flat array, slots, checks, keys, sets. */
#include "adapt/adapter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapt/methods.h"
#include "core/sha256.h"

/* ---- Slots ------------------------------------------------------------------------------------------------------- */

const nk_linear *nk_layer_slot(const nk_layer *layer, nk_slot slot) {
  const nk_linear *linear = NULL;
  switch (slot) {
    case NK_SLOT_Q: linear = &layer->qkv[0]; break;
    case NK_SLOT_K: linear = layer->n_qkv == 3 ? &layer->qkv[1] : NULL; break;
    case NK_SLOT_V: linear = layer->n_qkv == 3 ? &layer->qkv[2] : NULL; break;
    case NK_SLOT_ATTN_OUT: linear = &layer->attn_out; break;
    case NK_SLOT_GATE: linear = &layer->gate; break;
    case NK_SLOT_UP: linear = &layer->up; break;
    case NK_SLOT_DOWN: linear = &layer->down; break;
    case NK_SLOT_COUNT: break;
  }
  return linear != NULL && linear->matrix.format != NULL ? linear : NULL;
}

const char *nk_slot_name(nk_slot slot) {
  static const char *const NAMES[NK_SLOT_COUNT] = {"q", "k", "v", "attn_out", "gate", "up", "down"};
  return (uint32_t)slot < NK_SLOT_COUNT ? NAMES[slot] : "none";
}

/* ---- Making ------------------------------------------------------------------------------------------------------ */

static nk_status no_memory(nk_error *error, uint64_t bytes) {
  return nk_fail_hint(error, NK_STATUS_MEMORY, "Choose a lower rank, fewer slots or fewer virtual tokens.",
                      "an adapter of %llu bytes does not fit the memory", (unsigned long long)bytes);
}

/* A given pattern: every slot must be there. */
static nk_status take_pattern(nk_slot_shape *shapes, const nk_model *model, const nk_adapter_config *config,
                              nk_error *error) {
  for (uint32_t l = 0; l < model->config.n_layers; l++) {
    for (uint32_t s = 0; s < NK_SLOT_COUNT; s++) {
      const nk_slot_shape *wanted = &config->pattern[l * NK_SLOT_COUNT + s];
      if (wanted->rank == 0) continue;
      if (nk_layer_slot(&model->layers[l], (nk_slot)s) == NULL) {
        return nk_fail(error, NK_STATUS_DATA, "layer %u of this %s model has no linear of its own at the slot \"%s\"", l,
                       model->config.arch->name, nk_slot_name((nk_slot)s));
      }
      if (wanted->rank > NK_ADAPTER_MAX_RANK || !(fabs(wanted->alpha) <= NK_ADAPTER_MAX_ALPHA)) {
        return nk_fail(error, NK_STATUS_DATA,
                       "layer %u, slot \"%s\": needed are a rank from 1 to %u and an alpha from -%g to %g, not %u and %g",
                       l, nk_slot_name((nk_slot)s), NK_ADAPTER_MAX_RANK, NK_ADAPTER_MAX_ALPHA, NK_ADAPTER_MAX_ALPHA,
                       wanted->rank, wanted->alpha);
      }
      shapes[l * NK_SLOT_COUNT + s] = *wanted;
    }
  }
  return NK_STATUS_OK;
}

/* The chosen slots of the chosen layers, where they are; each slot must be somewhere. */
static nk_status spread(nk_slot_shape *shapes, const nk_model *model, const nk_adapter_config *config, nk_error *error) {
  uint32_t found = 0;
  if (config->slots >> NK_SLOT_COUNT != 0) {
    return nk_fail(error, NK_STATUS_DATA, "there are %u slots, but bits beyond them are set (0x%x)",
                   (uint32_t)NK_SLOT_COUNT, config->slots);
  }
  for (uint32_t l = 0; l < model->config.n_layers; l++) {
    if (config->layers != NULL && config->layers[l] == 0) continue;
    for (uint32_t s = 0; s < NK_SLOT_COUNT; s++) {
      bool wanted = (config->slots >> s & 1u) != 0;
      if (!wanted || nk_layer_slot(&model->layers[l], (nk_slot)s) == NULL) continue;
      found |= 1u << s;
      shapes[l * NK_SLOT_COUNT + s] = (nk_slot_shape){config->rank == 0 ? 1 : config->rank, config->alpha};
    }
  }
  for (uint32_t s = 0; s < NK_SLOT_COUNT; s++) {
    if ((config->slots >> s & 1u) == 0 || (found >> s & 1u) != 0) continue;
    return nk_fail_hint(error, NK_STATUS_DATA, "Fused projections stand at the slots \"q\" and \"gate\".",
                        "none of the layers that were chosen has a linear of its own at the slot \"%s\" (%s model)",
                        nk_slot_name((nk_slot)s), model->config.arch->name);
  }
  return NK_STATUS_OK;
}

/* What sits where: shapes [n_layers][NK_SLOT_COUNT], zeroed. Then the configuration says it too: slots, and in `layers`
   (zeroed, [n_layers]) which layers have any. */
static nk_status resolve_slots(nk_slot_shape *shapes, uint8_t *layers, const nk_method_row *row, const nk_model *model,
                               nk_adapter_config *config, nk_error *error) {
  nk_status status;
  if (config->pattern != NULL) {
    status = take_pattern(shapes, model, config, error);
  } else {
    if (config->slots == 0) config->slots = nk_method_slots(config->method, model);
    status = spread(shapes, model, config, error);
  }
  if (status != NK_STATUS_OK) return status;
  const nk_slot_shape *first = NULL;
  config->slots = 0;
  for (uint32_t l = 0; l < model->config.n_layers; l++) {
    for (uint32_t s = 0; s < NK_SLOT_COUNT; s++) {
      const nk_slot_shape *shape = &shapes[l * NK_SLOT_COUNT + s];
      if (shape->rank == 0) continue;
      if (first == NULL) first = shape;
      config->slots |= 1u << s;
      layers[l] = 1;
    }
  }
  if (first == NULL) {
    return nk_fail(error, NK_STATUS_DATA, "a %s adapter needs a slot in at least one layer, but none was chosen",
                   row->name);
  }
  if (config->pattern != NULL) {
    config->rank = first->rank;
    config->alpha = first->alpha;
  }
  config->pattern = NULL;
  return NK_STATUS_OK;
}

static void *zeroed(uint64_t count, size_t bytes) {
  if (count > SIZE_MAX / 2 / bytes) return NULL;
  return calloc(count == 0 ? 1 : (size_t)count, bytes);
}

static nk_status build(nk_adapter *adapter, const nk_method_row *row, const nk_model *model, const nk_slot_shape *shapes,
                       nk_error *error) {
  nk_layout layout = {0};
  row->layout(&layout, model, &adapter->config, shapes);
  if (layout.n == 0) {
    return nk_fail(error, NK_STATUS_DATA, "this %s model has no place for a %s adapter", model->config.arch->name,
                   row->name);
  }
  uint64_t bytes = layout.n_values > UINT64_MAX / sizeof(float) ? UINT64_MAX : layout.n_values * sizeof(float);
  adapter->values = zeroed(layout.n_values, sizeof *adapter->values);
  adapter->params = zeroed(layout.n, sizeof *adapter->params);
  if (row->in_slots) {
    adapter->slots = zeroed((uint64_t)adapter->n_layers * NK_SLOT_COUNT, sizeof *adapter->slots);
  } else {
    adapter->n_virtual = adapter->config.n_virtual;
    if (row == &NK_METHOD_PREFIX_ROW) adapter->prefix = zeroed(adapter->n_layers, sizeof *adapter->prefix);
  }
  bool whole = adapter->values != NULL && adapter->params != NULL && (!row->in_slots || adapter->slots != NULL) &&
               (row != &NK_METHOD_PREFIX_ROW || adapter->prefix != NULL);
  if (!whole) return no_memory(error, bytes);
  layout = (nk_layout){.params = adapter->params};
  row->layout(&layout, model, &adapter->config, shapes);
  adapter->n_params = layout.n;
  adapter->n_values = layout.n_values;
  for (uint32_t i = 0; i < layout.n; i++) {
    const nk_param *param = &adapter->params[i];
    row->bind(adapter, param, shapes == NULL ? NULL : &shapes[param->layer * NK_SLOT_COUNT + param->slot]);
  }
  nk_adapter_rekey(adapter);
  return NK_STATUS_OK;
}

nk_status nk_adapter_create(nk_adapter **out, const nk_model *model, const nk_adapter_config *config, nk_error *error) {
  *out = NULL;
  const nk_method_row *row = nk_method_row_of(config->method);
  if (row == NULL) return nk_fail(error, NK_STATUS_DATA, "there is no method of number %u", (uint32_t)config->method);
  if (model->config.arch->encoder) {
    return nk_fail(error, NK_STATUS_DATA, "adapters sit in models that write; this %s model is an encoder",
                   model->config.arch->name);
  }
  uint32_t n_layers = model->config.n_layers;
  nk_adapter *adapter = zeroed(1, sizeof *adapter);
  uint8_t *layers = zeroed(n_layers, 1);
  nk_slot_shape *shapes = row->in_slots ? zeroed((uint64_t)n_layers * NK_SLOT_COUNT, sizeof *shapes) : NULL;
  nk_status status = NK_STATUS_OK;
  if (adapter == NULL || layers == NULL || (row->in_slots && shapes == NULL)) {
    status = no_memory(error, (uint64_t)n_layers * NK_SLOT_COUNT * sizeof *shapes);
  } else {
    adapter->method = config->method;
    adapter->n_layers = n_layers;
    adapter->config = *config;
    status = row->resolve(&adapter->config, error);
    if (status == NK_STATUS_OK && row->in_slots) {
      status = resolve_slots(shapes, layers, row, model, &adapter->config, error);
    }
    adapter->config.pattern = NULL;
    adapter->config.layers = NULL;
    if (status == NK_STATUS_OK && row->in_slots && memchr(layers, 0, n_layers) != NULL) {
      adapter->config.layers = layers;
      layers = NULL;
    }
    if (status == NK_STATUS_OK) status = build(adapter, row, model, shapes, error);
  }
  free(shapes);
  free(layers);
  if (status != NK_STATUS_OK) {
    nk_adapter_free(adapter);
    return status;
  }
  *out = adapter;
  return NK_STATUS_OK;
}

void nk_adapter_free(nk_adapter *adapter) {
  if (adapter == NULL) return;
  free(adapter->params);
  free(adapter->values);
  free(adapter->slots);
  free(adapter->prefix);
  free(adapter->card);
  free((void *)(uintptr_t)adapter->config.layers); /* its own, lent out as const */
  free(adapter);
}

nk_status nk_adapter_initialize(nk_adapter *adapter, const nk_model *model, uint64_t seed, const int32_t *ids,
                                uint32_t n_ids, nk_error *error) {
  for (uint32_t i = 0; i < n_ids; i++) {
    if (ids[i] >= 0 && (uint32_t)ids[i] < model->vocab) continue;
    return nk_fail(error, NK_STATUS_DATA, "the text that a prompt begins with has the token %d; the model's are 0 to %u",
                   ids[i], model->vocab - 1);
  }
  float *scratch = zeroed(2ull * model->config.embed_width, sizeof *scratch);
  if (scratch == NULL) return no_memory(error, 2ull * model->config.embed_width * sizeof *scratch);
  nk_init init = {.model = model, .ids = ids, .n_ids = n_ids, .scratch = scratch};
  const nk_method_row *row = nk_method_row_of(adapter->method);
  for (uint32_t i = 0; i < adapter->n_params; i++) {
    nk_random random = nk_random_stream(seed, i);
    row->initialize(&adapter->params[i], adapter->values + adapter->params[i].offset, &random, &init);
  }
  free(scratch);
  nk_adapter_rekey(adapter);
  return NK_STATUS_OK;
}

/* ---- Keys -------------------------------------------------------------------------------------------------------- */

static void hash_words(nk_sha256 *hash, const uint32_t *words, size_t n) {
  for (size_t i = 0; i < n; i++) {
    uint8_t bytes[4] = {(uint8_t)words[i], (uint8_t)(words[i] >> 8), (uint8_t)(words[i] >> 16), (uint8_t)(words[i] >> 24)};
    nk_sha256_update(hash, bytes, sizeof bytes);
  }
}

static uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

/* The first 8 bytes; never 0, which means "none". */
static uint64_t cut(const nk_sha256 *hash) {
  uint8_t digest[32];
  nk_sha256_final(hash, digest);
  uint64_t key = 0;
  for (uint32_t i = 0; i < 8; i++) key = key << 8 | digest[i];
  return key == 0 ? 1 : key;
}

void nk_adapter_rekey(nk_adapter *adapter) {
  nk_sha256 hash;
  nk_sha256_init(&hash);
  hash_words(&hash, (const uint32_t[]){(uint32_t)adapter->method, adapter->n_layers, adapter->n_params}, 3);
  for (uint32_t i = 0; i < adapter->n_params; i++) {
    const nk_param *p = &adapter->params[i];
    uint32_t scale = adapter->slots == NULL ? 0 : bits_of(adapter->slots[p->layer * NK_SLOT_COUNT + p->slot].scale);
    hash_words(&hash, (const uint32_t[]){(uint32_t)p->kind, p->layer, (uint32_t)p->slot, p->rows, p->cols, scale}, 6);
  }
  /* In the host's order, which is little-endian wherever this runs (WebAssembly's own). */
  nk_sha256_update(&hash, (const uint8_t *)adapter->values, (size_t)adapter->n_values * sizeof *adapter->values);
  adapter->key = cut(&hash);
}

/* ---- Checks ------------------------------------------------------------------------------------------------------ */

static const char *kind_name(nk_param_kind kind) {
  switch (kind) {
    case NK_PARAM_LORA_A: return "LoRA A";
    case NK_PARAM_LORA_B: return "LoRA B";
    case NK_PARAM_IA3: return "IA3";
    case NK_PARAM_PROMPT: return "the prompt";
    case NK_PARAM_PREFIX_K: return "the prefix's keys";
    case NK_PARAM_PREFIX_V: return "the prefix's values";
  }
  return "an unknown parameter";
}

/* Sizes alone. */
static nk_status check_sizes(const nk_adapter *adapter, const nk_model *model, nk_error *error) {
  static const char hint[] = "Load the model that the adapter was trained on.";
  const nk_config *c = &model->config;
  const nk_method_row *row = nk_method_row_of(adapter->method);
  if (row == NULL || c->arch->encoder || adapter->n_layers != c->n_layers) {
    return nk_fail_hint(error, NK_STATUS_ADAPTER_MISMATCH, hint,
                        "the adapter is for a model of %u layers that writes; this %s model has %u layers%s",
                        adapter->n_layers, c->arch->name, c->n_layers, c->arch->encoder ? " and is an encoder" : "");
  }
  for (uint32_t i = 0; i < adapter->n_params; i++) {
    const nk_param *p = &adapter->params[i];
    uint32_t columns = p->layer < c->n_layers ? row->columns(model, p) : 0;
    if (columns == p->cols) continue;
    return nk_fail_hint(error, NK_STATUS_ADAPTER_MISMATCH, hint,
                        "the adapter's %s (layer %u, slot \"%s\") has rows of %u, but this %s model's are %u",
                        kind_name(p->kind), p->layer, nk_slot_name(p->slot), p->cols, c->arch->name, columns);
  }
  return NK_STATUS_OK;
}

nk_status nk_adapter_check(const nk_adapter *adapter, const nk_model *model, nk_error *error) {
  nk_status status = check_sizes(adapter, model, error);
  if (status != NK_STATUS_OK) return status;
  for (uint32_t i = 0; i < adapter->n_params; i++) {
    const nk_param *p = &adapter->params[i];
    const float *values = adapter->values + p->offset;
    uint64_t n = (uint64_t)p->rows * p->cols;
    for (uint64_t v = 0; v < n; v++) {
      if (isfinite(values[v])) continue;
      return nk_fail(error, NK_STATUS_DATA, "the adapter's %s (layer %u, slot \"%s\") is %s in row %u, column %u",
                     kind_name(p->kind), p->layer, nk_slot_name(p->slot), isnan(values[v]) ? "NaN" : "infinite",
                     (uint32_t)(v / p->cols), (uint32_t)(v % p->cols));
    }
  }
  return NK_STATUS_OK;
}

/* ---- Sets -------------------------------------------------------------------------------------------------------- */

nk_status nk_adapter_set_check(const nk_adapter_set *set, const nk_model *model, nk_error *error) {
  if (set->n > NK_ADAPTERS_MAX) {
    return nk_fail(error, NK_STATUS_DATA, "%u adapters were asked for at once; at most %u are applied together", set->n,
                   NK_ADAPTERS_MAX);
  }
  uint32_t before = 0;
  for (uint32_t i = 0; i < set->n; i++) {
    const nk_adapter *adapter = set->uses[i].adapter;
    double scale = (double)set->uses[i].scale;
    if (!isfinite(scale)) return nk_fail(error, NK_STATUS_DATA, "the scale of adapter %u is not a finite number", i + 1);
    nk_status status = check_sizes(adapter, model, error);
    if (status != NK_STATUS_OK) return status;
    if (adapter->n_virtual == 0) continue;
    if (scale < 1.0 || scale > 1.0) {
      return nk_fail(error, NK_STATUS_DATA, "the %s adapter was given the scale %.10g; prompts and prefixes take none",
                     nk_method_name(adapter->method), scale);
    }
    if (++before > 1) {
      return nk_fail(error, NK_STATUS_DATA, "two prompts or prefixes were asked for at once; one is possible");
    }
  }
  return NK_STATUS_OK;
}

uint64_t nk_adapter_set_key(const nk_adapter_set *set) {
  if (set->n == 0) return 0;
  nk_sha256 hash;
  nk_sha256_init(&hash);
  for (uint32_t i = 0; i < set->n; i++) {
    uint64_t key = set->uses[i].adapter->key;
    hash_words(&hash, (const uint32_t[]){(uint32_t)key, (uint32_t)(key >> 32), bits_of(set->uses[i].scale)}, 3);
  }
  return cut(&hash);
}

uint32_t nk_adapter_set_prompt(const nk_adapter_set *set, const float **prompt) {
  *prompt = NULL;
  for (uint32_t i = 0; i < set->n; i++) {
    if (set->uses[i].adapter->prompt == NULL) continue;
    *prompt = set->uses[i].adapter->prompt;
    return set->uses[i].adapter->n_virtual;
  }
  return 0;
}

uint32_t nk_adapter_set_prefix(const nk_adapter_set *set, const nk_adapter **prefix) {
  *prefix = NULL;
  for (uint32_t i = 0; i < set->n; i++) {
    if (set->uses[i].adapter->prefix == NULL) continue;
    *prefix = set->uses[i].adapter;
    return set->uses[i].adapter->n_virtual;
  }
  return 0;
}
