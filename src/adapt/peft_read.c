/* peft_read.c: see peft.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapt/card.h"
#include "adapt/methods.h"
#include "adapt/names.h"
#include "adapt/parts.h"
#include "adapt/peft.h"
#include "adapt/peft_config.h"
#include "convert/safetensors.h"
#include "kernels/formats.h"

#define BEFORE "base_model.model."
#define VIRTUAL "prompt_embeddings"

typedef struct reader {
  const nk_model *model;
  nk_peft_config config;
  nk_source_list list;
  const uint8_t *data; /* of the whole safetensors file */
  nk_parts parts;
  nk_slot_shape *shapes; /* [n_layers][NK_SLOT_COUNT] */
  nk_error *error;
} reader;

static nk_status no_memory(nk_error *error) { return nk_fail(error, NK_STATUS_MEMORY, "no memory to read an adapter"); }

/* ---- Numbers ----------------------------------------------------------------------------------------------------- */

static float half(const uint8_t *p) {
  uint16_t bits = (uint16_t)(p[0] | p[1] << 8);
  if ((bits & 0x7c00u) != 0x7c00u) return nk_half_to_f32(bits);
  return (bits & 0x3ffu) != 0 ? NAN : (bits & 0x8000u) != 0 ? -INFINITY : INFINITY;
}

static nk_status read_values(const nk_part *part, float *out, nk_error *error) {
  const nk_source_tensor *tensor = part->type;
  uint64_t n = part->rows * part->cols;
  (void)error;
  for (uint64_t i = 0; i < n; i++) {
    const uint8_t *p = part->data + i * tensor->item_bytes;
    if (tensor->type == NK_DTYPE_F16) {
      out[i] = half(p);
    } else if (tensor->type == NK_DTYPE_BF16) {
      out[i] = nk_float_of_bits((uint32_t)p[0] << 16 | (uint32_t)p[1] << 24);
    } else {
      out[i] = nk_float_of_bits((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
    }
  }
  return NK_STATUS_OK;
}

/* ---- The safetensors file ---------------------------------------------------------------------------------------- */

/* The card, when the header's metadata has one. */
static nk_status take_card(nk_adapter *adapter, const char *json, size_t length, nk_error *error) {
  if (strstr(json, NK_CARD_KEY) == NULL) return NK_STATUS_OK;
  nk_document document;
  nk_status status = nk_document_parse(&document, NK_PEFT_TENSORS_NAME, json, length, error);
  if (status != NK_STATUS_OK) return status;
  const cJSON *card = nk_json_find(nk_json_find(document.root, "__metadata__"), NK_CARD_KEY);
  if (cJSON_IsString(card)) status = nk_adapter_take_card(adapter, card->valuestring, strlen(card->valuestring), error);
  nk_document_free(&document);
  return status;
}

/* A copy of the header's JSON with a NUL behind it, the caller's to free; and the list of its tensors. */
static nk_status read_header(reader *r, const uint8_t *tensors, uint64_t n, char **json, uint64_t *length) {
  uint8_t first[NK_SAFETENSORS_LENGTH_BYTES] = {0};
  memcpy(first, tensors, n < sizeof first ? (size_t)n : sizeof first);
  nk_status status = nk_safetensors_length(first, NK_PEFT_TENSORS_NAME, n, length, r->error);
  if (status != NK_STATUS_OK) return status;
  *json = nk_adapter_memory(*length + 1, 1);
  if (*json == NULL) return no_memory(r->error);
  memcpy(*json, tensors + NK_SAFETENSORS_LENGTH_BYTES, (size_t)*length);
  r->data = tensors;
  status = nk_safetensors_read(&r->list, *json, *length, NK_PEFT_TENSORS_NAME, n, 0, r->error);
  for (uint32_t i = 0; i < r->list.n && status == NK_STATUS_OK; i++) {
    const nk_source_tensor *tensor = &r->list.tensors[i];
    if (tensor->type != NK_DTYPE_OTHER) continue;
    status = nk_fail(r->error, NK_STATUS_UNSUPPORTED, "%s: the tensor \"%s\" is of type %s; F32, F16 and BF16 are read",
                     NK_PEFT_TENSORS_NAME, nk_label_of(tensor->name, strlen(tensor->name)).text, tensor->dtype);
  }
  return status;
}

/* As a matrix; false when it is none. */
static bool part_of(const reader *r, const nk_source_tensor *tensor, nk_part *part) {
  *part = (nk_part){.name = tensor->name, .data = r->data + tensor->offset, .type = tensor};
  if (tensor->n_dimensions != 2) return false;
  part->rows = tensor->shape[0];
  part->cols = tensor->shape[1];
  return true;
}

static nk_status no_matrix(const reader *r, const nk_part *part) {
  return nk_fail(r->error, NK_STATUS_FORMAT, "%s: the tensor \"%s\" is no matrix", NK_PEFT_TENSORS_NAME,
                 nk_label_of(part->name, strlen(part->name)).text);
}

/* ---- LoRA and IA3 ------------------------------------------------------------------------------------------------ */

/* The path between PEFT's beginning and end of a name; NULL when the name has not that form. */
static const char *path_of(const nk_part *part, const char *end, size_t *length) {
  size_t n = strlen(part->name), before = strlen(BEFORE), n_end = strlen(end);
  if (n <= before + n_end || memcmp(part->name, BEFORE, before) != 0) return NULL;
  if (strcmp(part->name + n - n_end, end) != 0) return NULL;
  *length = n - before - n_end;
  return part->name + before;
}

static nk_status add_tensor(reader *r, const nk_source_tensor *tensor) {
  static const char *const ENDS[2][NK_PART_KINDS] = {{".lora_A.weight", ".lora_B.weight"}, {".ia3_l", NULL}};
  const char *const *ends = ENDS[r->config.method == NK_METHOD_IA3];
  const char *type = nk_method_row_of(r->config.method)->peft_type;
  nk_part part;
  bool matrix = part_of(r, tensor, &part);
  for (uint32_t kind = 0; kind < NK_PART_KINDS && ends[kind] != NULL; kind++) {
    size_t length;
    const char *path = path_of(&part, ends[kind], &length);
    uint32_t layer;
    nk_slot slot;
    if (path == NULL) continue;
    if (!nk_module_find(r->model, path, length, &layer, &slot)) {
      return nk_fail_hint(r->error, NK_STATUS_ADAPTER_MISMATCH, "Load the model that the adapter was trained on.",
                          "%s has the tensor \"%s\", but this %s model of %u layers has no such linear",
                          NK_PEFT_TENSORS_NAME, nk_label_of(part.name, strlen(part.name)).text,
                          r->model->config.arch->name, r->model->config.n_layers);
    }
    return matrix ? nk_parts_add(&r->parts, layer, slot, (nk_part_kind)kind, &part, r->error) : no_matrix(r, &part);
  }
  return nk_fail(r->error, NK_STATUS_UNSUPPORTED, "%s has the tensor \"%s\", which is no part of a %s adapter of linears",
                 NK_PEFT_TENSORS_NAME, nk_label_of(part.name, strlen(part.name)).text, type);
}

/* The configuration names what the file has, and LoRA's rank and alpha. */
static nk_status compare_slot(reader *r, uint32_t layer, uint32_t slot) {
  nk_slot_shape *shape = &r->shapes[layer * NK_SLOT_COUNT + slot], said;
  const nk_part *part = nk_parts_at(&r->parts, layer, slot, NK_PART_A);
  char path[NK_MODULE_BYTES];
  if (!nk_module_path(r->model, layer, (nk_slot)slot, path)) return NK_STATUS_OK;
  nk_peft_aim aim = nk_peft_config_aims(&r->config, path, layer);
  if (shape->rank == 0) {
    if (aim != NK_PEFT_YES) return NK_STATUS_OK;
    return nk_fail(r->error, NK_STATUS_FORMAT, "%s names the module %s, but %s has no tensors for it", NK_PEFT_CONFIG_NAME,
                   path, NK_PEFT_TENSORS_NAME);
  }
  if (aim == NK_PEFT_NO) {
    return nk_fail(r->error, NK_STATUS_FORMAT, "%s has the tensor \"%s\", but %s does not name its module",
                   NK_PEFT_TENSORS_NAME, nk_label_of(part->name, strlen(part->name)).text, NK_PEFT_CONFIG_NAME);
  }
  if (r->config.method != NK_METHOD_LORA) return NK_STATUS_OK;
  nk_peft_config_shape(&r->config, path, &said);
  if (said.rank != shape->rank) {
    return nk_fail(r->error, NK_STATUS_FORMAT, "%s: the tensor \"%s\" has rank %u, but %s says %u", NK_PEFT_TENSORS_NAME,
                   nk_label_of(part->name, strlen(part->name)).text, shape->rank, NK_PEFT_CONFIG_NAME, said.rank);
  }
  shape->alpha = said.alpha;
  return NK_STATUS_OK;
}

static nk_status read_slots(reader *r, nk_adapter **adapter) {
  nk_status status = nk_parts_allocate(&r->parts, r->error);
  if (status != NK_STATUS_OK) return status;
  uint32_t n_layers = r->model->config.n_layers;
  r->shapes = nk_adapter_memory((uint64_t)n_layers * NK_SLOT_COUNT, sizeof *r->shapes);
  if (r->shapes == NULL) return no_memory(r->error);
  for (uint32_t i = 0; i < r->list.n && status == NK_STATUS_OK; i++) status = add_tensor(r, &r->list.tensors[i]);
  if (status == NK_STATUS_OK) status = nk_parts_shapes(&r->parts, r->shapes, r->error);
  for (uint32_t l = 0; l < n_layers; l++) {
    for (uint32_t s = 0; s < NK_SLOT_COUNT && status == NK_STATUS_OK; s++) status = compare_slot(r, l, s);
  }
  if (status != NK_STATUS_OK) return status;
  nk_adapter_config config = {.method = r->config.method, .rslora = r->config.rslora, .dropout = r->config.dropout,
                              .pattern = r->shapes};
  status = nk_adapter_create(adapter, r->model, &config, r->error);
  return status == NK_STATUS_OK ? nk_parts_fill(&r->parts, *adapter, r->error) : status;
}

/* ---- Prompt and prefix ------------------------------------------------------------------------------------------- */

/* from [virtual, layers, 2, kv], Hugging Face's order of a key's elements. */
static void fill_prefix(const nk_model *model, nk_adapter *adapter, const float *from) {
  for (uint32_t i = 0; i < adapter->n_params; i++) {
    const nk_param *param = &adapter->params[i];
    bool key = param->kind == NK_PARAM_PREFIX_K;
    for (uint32_t v = 0; v < param->rows; v++) {
      uint64_t pair = ((uint64_t)v * adapter->n_layers + param->layer) * 2 + !key;
      float *to = adapter->values + param->offset + (uint64_t)v * param->cols;
      for (uint32_t e = 0; e < param->cols; e++) to[key ? nk_key_row(model, e) : e] = from[pair * param->cols + e];
    }
  }
}

static nk_status read_virtual(reader *r, nk_adapter **adapter) {
  const nk_config *m = &r->model->config;
  nk_part part = {0};
  for (uint32_t i = 0; i < r->list.n; i++) {
    const nk_source_tensor *tensor = &r->list.tensors[i];
    if (strcmp(tensor->name, VIRTUAL) == 0) {
      if (!part_of(r, tensor, &part)) return no_matrix(r, &part);
      continue;
    }
    return nk_fail(r->error, NK_STATUS_UNSUPPORTED, "%s has the tensor \"%s\"; a %s adapter has \"" VIRTUAL "\" alone",
                   NK_PEFT_TENSORS_NAME, nk_label_of(tensor->name, strlen(tensor->name)).text,
                   nk_method_row_of(r->config.method)->peft_type);
  }
  if (part.name == NULL) {
    return nk_fail(r->error, NK_STATUS_FORMAT, "%s lacks the tensor \"" VIRTUAL "\"", NK_PEFT_TENSORS_NAME);
  }
  bool prefix = r->config.method == NK_METHOD_PREFIX;
  uint64_t cols = prefix ? 2ull * m->n_layers * m->n_kv_heads * m->head_dim : m->width;
  if (part.rows != r->config.n_virtual) {
    return nk_fail(r->error, NK_STATUS_FORMAT, "%s has %llu virtual tokens, but %s says %u", NK_PEFT_TENSORS_NAME,
                   (unsigned long long)part.rows, NK_PEFT_CONFIG_NAME, r->config.n_virtual);
  }
  if (part.cols != cols) return nk_part_mismatch(NK_PEFT_TENSORS_NAME, r->model, &part, part.rows, cols, r->error);
  nk_adapter_config config = {.method = r->config.method, .n_virtual = r->config.n_virtual};
  nk_status status = nk_adapter_create(adapter, r->model, &config, r->error);
  if (status != NK_STATUS_OK) return status;
  if (!prefix) return read_values(&part, (*adapter)->values, r->error);
  float *scratch = nk_adapter_memory(part.rows * part.cols, sizeof *scratch);
  if (scratch == NULL) return no_memory(r->error);
  status = read_values(&part, scratch, r->error);
  if (status == NK_STATUS_OK) fill_prefix(r->model, *adapter, scratch);
  free(scratch);
  return status;
}

/* ---- Both files -------------------------------------------------------------------------------------------------- */

static nk_status read_config(reader *r, const uint8_t *config, uint64_t n_config) {
  if (n_config > NK_PEFT_MAX_CONFIG) return nk_peft_config_read(&r->config, r->model, "", n_config, r->error);
  char *text = nk_adapter_memory(n_config + 1, 1);
  if (text == NULL) return no_memory(r->error);
  if (n_config > 0) memcpy(text, config, (size_t)n_config);
  nk_status status = nk_peft_config_read(&r->config, r->model, text, n_config, r->error);
  free(text);
  return status;
}

nk_status nk_peft_read(nk_adapter **out, const nk_model *model, const uint8_t *config, uint64_t n_config,
                       const uint8_t *tensors, uint64_t n_tensors, nk_error *error) {
  *out = NULL;
  if (model->config.arch->encoder) {
    return nk_fail(error, NK_STATUS_ADAPTER_MISMATCH, "adapters sit in models that write; this %s model is an encoder",
                   model->config.arch->name);
  }
  reader r = {.model = model, .error = error};
  nk_status status = read_config(&r, config, n_config);
  if (status != NK_STATUS_OK) return status;
  nk_adapter *adapter = NULL;
  char *json = NULL;
  uint64_t length = 0;
  r.parts = (nk_parts){.model = model, .file = NK_PEFT_TENSORS_NAME, .method = r.config.method, .renamed = true,
                       .read = read_values};
  status = read_header(&r, tensors, n_tensors, &json, &length);
  if (status == NK_STATUS_OK) {
    bool in_slots = nk_method_row_of(r.config.method)->in_slots;
    status = in_slots ? read_slots(&r, &adapter) : read_virtual(&r, &adapter);
  }
  if (status == NK_STATUS_OK) status = nk_adapter_check(adapter, model, error);
  if (status == NK_STATUS_OK) status = take_card(adapter, json, (size_t)length, error);
  free(json);
  free(r.shapes);
  nk_parts_free(&r.parts);
  nk_source_free(&r.list);
  nk_document_free(&r.config.document);
  if (status != NK_STATUS_OK) {
    nk_adapter_free(adapter);
    return status;
  }
  nk_adapter_rekey(adapter);
  *out = adapter;
  return NK_STATUS_OK;
}
