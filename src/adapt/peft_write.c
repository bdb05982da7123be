/* peft_write.c: see peft.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapt/card.h"
#include "adapt/methods.h"
#include "adapt/names.h"
#include "adapt/parts.h"
#include "adapt/peft.h"
#include "core/json.h"

#define BEFORE "base_model.model."
#define VIRTUAL "prompt_embeddings"
#define NAME_BYTES (sizeof BEFORE + NK_MODULE_BYTES + 16)

typedef struct writer {
  const nk_adapter *adapter;
  const nk_model *model;
  nk_error *error;
} writer;

static nk_status no_memory(nk_error *error) { return nk_fail(error, NK_STATUS_MEMORY, "no memory to write an adapter"); }

/* ---- The configuration ------------------------------------------------------------------------------------------- */

static const nk_adapter_slot *slot_at(const nk_adapter *adapter, uint32_t layer, uint32_t slot) {
  return &adapter->slots[layer * NK_SLOT_COUNT + slot];
}

static bool sits(const nk_adapter *adapter, uint32_t layer, uint32_t slot) {
  return slot_at(adapter, layer, slot)->a != NULL || slot_at(adapter, layer, slot)->ia3 != NULL;
}

static bool sits_anywhere(const nk_adapter *adapter, uint32_t layer) {
  for (uint32_t s = 0; s < NK_SLOT_COUNT; s++) {
    if (sits(adapter, layer, s)) return true;
  }
  return false;
}

/* Every layer (or every one in which anything sits) has every slot of the adapter that the model has there. */
static bool is_regular(const writer *w, bool everywhere) {
  for (uint32_t l = 0; l < w->adapter->n_layers; l++) {
    if (!everywhere && !sits_anywhere(w->adapter, l)) continue;
    for (uint32_t s = 0; s < NK_SLOT_COUNT; s++) {
      bool wanted = (w->adapter->config.slots >> s & 1u) != 0 && nk_module_tail(w->model, l, (nk_slot)s) != NULL;
      if (wanted && !sits(w->adapter, l, s)) return false;
    }
  }
  return true;
}

static bool add_once(cJSON *array, const char *text) {
  for (const cJSON *item = array->child; item != NULL; item = item->next) {
    if (strcmp(item->valuestring, text) == 0) return true;
  }
  return nk_json_text_item(array, text, strlen(text));
}

/* The modules of the slots in `mask`: by their last words, or all paths. */
static bool add_targets(const writer *w, cJSON *root, const char *key, uint32_t mask, bool paths) {
  cJSON *array = cJSON_AddArrayToObject(root, key);
  bool whole = array != NULL;
  for (uint32_t l = 0; l < w->adapter->n_layers && whole; l++) {
    for (uint32_t s = 0; s < NK_SLOT_COUNT && whole; s++) {
      char path[NK_MODULE_BYTES];
      if ((mask >> s & 1u) == 0 || !sits(w->adapter, l, s) || !nk_module_path(w->model, l, (nk_slot)s, path)) continue;
      whole = add_once(array, paths ? path : nk_module_target(w->model, l, (nk_slot)s));
    }
  }
  return whole;
}

static double divisor(const nk_adapter *adapter, uint32_t rank) {
  return adapter->config.rslora ? sqrt((double)rank) : (double)rank;
}

static bool same(double a, double b) { return a <= b && a >= b; }

/* Where rank or scale are not those of r and lora_alpha. */
static bool add_patterns(const writer *w, cJSON *root) {
  const nk_adapter *adapter = w->adapter;
  cJSON *ranks = cJSON_AddObjectToObject(root, "rank_pattern"), *alphas = cJSON_AddObjectToObject(root, "alpha_pattern");
  bool whole = ranks != NULL && alphas != NULL;
  for (uint32_t l = 0; l < adapter->n_layers && whole; l++) {
    for (uint32_t s = 0; s < NK_SLOT_COUNT && whole; s++) {
      const nk_adapter_slot *slot = slot_at(adapter, l, s);
      char path[NK_MODULE_BYTES];
      if (slot->a == NULL || !nk_module_path(w->model, l, (nk_slot)s, path)) continue;
      double scale = (double)slot->scale, by = divisor(adapter, slot->r);
      if (slot->r != adapter->config.rank) whole = cJSON_AddNumberToObject(ranks, path, (double)slot->r) != NULL;
      if (!whole || same((double)(float)(adapter->config.alpha / by), scale)) continue;
      whole = cJSON_AddNumberToObject(alphas, path, scale * by) != NULL;
    }
  }
  return whole;
}

static bool add_layers(const writer *w, cJSON *root) {
  cJSON *array = cJSON_AddArrayToObject(root, "layers_to_transform");
  bool whole = array != NULL;
  for (uint32_t l = 0; l < w->adapter->n_layers && whole; l++) {
    if (!sits_anywhere(w->adapter, l)) continue;
    cJSON *number = cJSON_CreateNumber((double)l);
    whole = number != NULL && cJSON_AddItemToArray(array, number);
    if (!whole) cJSON_Delete(number);
  }
  return whole;
}

static bool add_number(cJSON *root, const char *key, double value) {
  return cJSON_AddNumberToObject(root, key, value) != NULL;
}
static bool add_text(cJSON *root, const char *key, const char *text) { return nk_json_text(root, key, text, strlen(text)); }
static bool add_bool(cJSON *root, const char *key, bool value) { return cJSON_AddBoolToObject(root, key, value) != NULL; }
static bool add_null(cJSON *root, const char *key) { return cJSON_AddNullToObject(root, key) != NULL; }

static bool add_lora(const writer *w, cJSON *root) {
  const nk_adapter_config *c = &w->adapter->config;
  bool everywhere = is_regular(w, true), in_layers = !everywhere && is_regular(w, false);
  return add_number(root, "r", (double)c->rank) && add_number(root, "lora_alpha", c->alpha) &&
         add_number(root, "lora_dropout", c->dropout) && add_bool(root, "use_rslora", c->rslora) &&
         add_bool(root, "use_dora", false) && add_text(root, "bias", "none") && add_bool(root, "lora_bias", false) &&
         add_bool(root, "fan_in_fan_out", nk_module_turned(w->model)) && add_bool(root, "init_lora_weights", true) &&
         add_targets(w, root, "target_modules", c->slots, !everywhere && !in_layers) &&
         (in_layers ? add_layers(w, root) : add_null(root, "layers_to_transform")) && add_patterns(w, root);
}

static bool add_ia3(const writer *w, cJSON *root) {
  uint32_t slots = w->adapter->config.slots;
  bool paths = !is_regular(w, true);
  return add_targets(w, root, "target_modules", slots, paths) &&
         add_targets(w, root, "feedforward_modules", slots & 1u << NK_SLOT_DOWN, paths) &&
         add_bool(root, "fan_in_fan_out", nk_module_turned(w->model)) && add_bool(root, "init_ia3_weights", true);
}

static bool add_virtual(const writer *w, cJSON *root) {
  const nk_config *m = &w->model->config;
  bool prefix = w->adapter->method == NK_METHOD_PREFIX;
  double dim = prefix ? (double)m->n_kv_heads * (double)m->head_dim : (double)m->width;
  bool whole = add_number(root, "num_virtual_tokens", (double)w->adapter->n_virtual) &&
               add_number(root, "token_dim", dim) && add_number(root, "num_layers", (double)m->n_layers) &&
               add_number(root, "num_attention_heads", (double)(prefix ? m->n_kv_heads : m->n_heads)) &&
               add_number(root, "num_transformer_submodules", 1);
  if (!whole) return false;
  if (prefix) return add_bool(root, "prefix_projection", false) && add_number(root, "encoder_hidden_size", dim);
  return add_text(root, "prompt_tuning_init", "RANDOM");
}

static nk_status write_config(const writer *w, nk_bytes *out) {
  char base[NK_CARD_TEXT_BYTES + 1];
  nk_status status = nk_adapter_card_text(w->adapter, "base_name", base, sizeof base, w->error);
  if (status != NK_STATUS_OK) return status;
  bool named = base[0] != '\0';
  cJSON *root = cJSON_CreateObject();
  bool whole = root != NULL && add_text(root, "peft_type", nk_method_row_of(w->adapter->method)->peft_type) &&
               add_text(root, "task_type", "CAUSAL_LM") && add_bool(root, "inference_mode", true) &&
               (named ? add_text(root, "base_model_name_or_path", base) : add_null(root, "base_model_name_or_path")) &&
               add_null(root, "modules_to_save");
  if (whole) {
    whole = w->adapter->method == NK_METHOD_LORA  ? add_lora(w, root)
            : w->adapter->method == NK_METHOD_IA3 ? add_ia3(w, root)
                                                  : add_virtual(w, root);
  }
  char *text = whole ? nk_json_print(root) : NULL;
  cJSON_Delete(root);
  if (text == NULL) return no_memory(w->error);
  out->length = strlen(text);
  out->data = nk_adapter_memory(out->length, 1);
  if (out->data != NULL) memcpy(out->data, text, (size_t)out->length);
  cJSON_free(text);
  return out->data == NULL ? no_memory(w->error) : NK_STATUS_OK;
}

/* ---- The tensors ------------------------------------------------------------------------------------------------- */

/* What the file has: each parameter, or all of a prefix as one. */
static uint32_t tensor_count(const writer *w) { return w->adapter->prefix != NULL ? 1 : w->adapter->n_params; }

static nk_status tensor_facts(const writer *w, uint32_t index, char name[NAME_BYTES], uint64_t shape[2]) {
  const nk_param *param = &w->adapter->params[index];
  (void)snprintf(name, NAME_BYTES, "%s", VIRTUAL);
  shape[0] = param->rows;
  shape[1] = param->cols;
  if (w->adapter->prefix != NULL) shape[1] = 2ull * w->adapter->n_layers * param->cols;
  if (w->adapter->slots == NULL) return NK_STATUS_OK;
  char path[NK_MODULE_BYTES];
  if (!nk_module_path(w->model, param->layer, param->slot, path)) {
    return nk_fail(w->error, NK_STATUS_UNSUPPORTED,
                   "Hugging Face's %s model has no module for the slot \"%s\" as this model's file has it (layer %u)",
                   w->model->config.arch->name, nk_slot_name(param->slot), param->layer);
  }
  bool out_first = param->kind == NK_PARAM_LORA_B || (param->kind == NK_PARAM_IA3 && param->slot != NK_SLOT_DOWN);
  if (out_first) {
    shape[0] = param->cols;
    shape[1] = param->rows;
  }
  (void)snprintf(name, NAME_BYTES, "%s%s%s", BEFORE, path,
                 param->kind == NK_PARAM_LORA_A   ? ".lora_A.weight"
                 : param->kind == NK_PARAM_LORA_B ? ".lora_B.weight"
                                                  : ".ia3_l");
  return NK_STATUS_OK;
}

static uint8_t *put(uint8_t *to, float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  for (uint32_t i = 0; i < 4; i++) to[i] = (uint8_t)(bits >> 8 * i);
  return to + 4;
}

static uint8_t *put_param(const writer *w, const nk_param *param, uint8_t *to) {
  const float *values = w->adapter->values + param->offset;
  bool turned = param->kind == NK_PARAM_LORA_B || (param->kind == NK_PARAM_IA3 && param->slot != NK_SLOT_DOWN);
  if (!turned) {
    for (uint64_t i = 0; i < (uint64_t)param->rows * param->cols; i++) to = put(to, values[i]);
    return to;
  }
  for (uint32_t o = 0; o < param->cols; o++) {
    uint32_t place = nk_module_row(w->model, param->slot, o);
    for (uint32_t r = 0; r < param->rows; r++) to = put(to, values[(size_t)r * param->cols + place]);
  }
  return to;
}

static uint8_t *put_prefix(const writer *w, uint8_t *to) {
  uint32_t kv = w->model->config.n_kv_heads * w->model->config.head_dim;
  for (uint32_t v = 0; v < w->adapter->n_virtual; v++) {
    for (uint32_t l = 0; l < w->adapter->n_layers; l++) {
      const nk_prefix *prefix = &w->adapter->prefix[l];
      const float *key = prefix->keys, *value = prefix->values;
      for (uint32_t e = 0; e < kv; e++) to = put(to, key == NULL ? 0.0f : key[(size_t)v * kv + nk_key_row(w->model, e)]);
      for (uint32_t e = 0; e < kv; e++) to = put(to, value == NULL ? 0.0f : value[(size_t)v * kv + e]);
    }
  }
  return to;
}

static bool add_pair(cJSON *object, const char *key, double a, double b) {
  const double pair[2] = {a, b};
  cJSON *array = cJSON_CreateDoubleArray(pair, 2);
  if (array != NULL && cJSON_AddItemToObject(object, key, array)) return true;
  cJSON_Delete(array);
  return false;
}

static nk_status make_header(const writer *w, char **text, uint64_t *data_bytes) {
  cJSON *root = cJSON_CreateObject(), *metadata = root == NULL ? NULL : cJSON_AddObjectToObject(root, "__metadata__");
  bool whole = metadata != NULL && add_text(metadata, "format", "pt") &&
               (w->adapter->card == NULL || add_text(metadata, NK_CARD_KEY, w->adapter->card));
  nk_status status = NK_STATUS_OK;
  *data_bytes = 0;
  for (uint32_t i = 0; i < tensor_count(w) && whole && status == NK_STATUS_OK; i++) {
    char name[NAME_BYTES];
    uint64_t shape[2];
    status = tensor_facts(w, i, name, shape);
    if (status != NK_STATUS_OK) break;
    uint64_t end = *data_bytes + shape[0] * shape[1] * sizeof(float);
    cJSON *entry = cJSON_AddObjectToObject(root, name);
    whole = entry != NULL && add_text(entry, "dtype", "F32") &&
            add_pair(entry, "shape", (double)shape[0], (double)shape[1]) &&
            add_pair(entry, "data_offsets", (double)*data_bytes, (double)end);
    *data_bytes = end;
  }
  *text = whole && status == NK_STATUS_OK ? nk_json_print(root) : NULL;
  cJSON_Delete(root);
  return status == NK_STATUS_OK && *text == NULL ? no_memory(w->error) : status;
}

static nk_status write_tensors(const writer *w, nk_bytes *out) {
  char *text = NULL;
  uint64_t data_bytes;
  nk_status status = make_header(w, &text, &data_bytes);
  if (status != NK_STATUS_OK) return status;
  uint64_t n = strlen(text), padded = (n + 7) / 8 * 8; /* data begin at a multiple of 8 */
  out->length = 8 + padded + data_bytes;
  out->data = nk_adapter_memory(out->length, 1);
  if (out->data != NULL) {
    uint8_t *to = out->data;
    for (uint32_t i = 0; i < 8; i++) *to++ = (uint8_t)(padded >> 8 * i);
    memcpy(to, text, (size_t)n);
    memset(to + n, ' ', (size_t)(padded - n));
    to += padded;
    if (w->adapter->prefix != NULL) {
      (void)put_prefix(w, to);
    } else {
      for (uint32_t i = 0; i < w->adapter->n_params; i++) to = put_param(w, &w->adapter->params[i], to);
    }
  }
  cJSON_free(text);
  return out->data == NULL ? no_memory(w->error) : NK_STATUS_OK;
}

nk_status nk_peft_write(const nk_adapter *adapter, const nk_model *model, nk_bytes *config, nk_bytes *tensors,
                        nk_error *error) {
  *config = *tensors = (nk_bytes){0};
  writer w = {adapter, model, error};
  nk_status status = nk_adapter_check(adapter, model, error);
  if (status == NK_STATUS_OK) status = write_tensors(&w, tensors);
  if (status == NK_STATUS_OK) status = write_config(&w, config);
  if (status == NK_STATUS_OK) return status;
  free(config->data);
  free(tensors->data);
  *config = *tensors = (nk_bytes){0};
  return status;
}
