/* lora_gguf.c: see lora_gguf.h. */
#include "adapt/lora_gguf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapt/card.h"
#include "adapt/names.h"
#include "adapt/parts.h"
#include "core/label.h"
#include "gguf/write.h"

#define FILE_NAME "the adapter"
#define END_BYTES 7u /* ".lora_a" */
#define TYPE_F32 0u

static nk_status no_memory(nk_error *error, const char *to) {
  return nk_fail(error, NK_STATUS_MEMORY, "no memory to %s an adapter", to);
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

/* Through the kernels' own formats, one tensor at a time. */
static nk_status read_values(const nk_part *part, float *out, nk_error *error) {
  const nk_format *format = part->type;
  nk_matrix matrix = {.format = format, .rows = (uint32_t)part->rows, .cols = (uint32_t)part->cols};
  nk_arena arena;
  uint64_t bytes = nk_matrix_bytes(format, part->rows, part->cols);
  nk_status status = nk_arena_allocate(&arena, bytes, "an adapter's tensor", error);
  if (status != NK_STATUS_OK) return status;
  matrix.data = arena.base;
  status = nk_matrix_pack(&matrix, 0, matrix.rows, part->data, error);
  for (uint32_t r = 0; r < matrix.rows && status == NK_STATUS_OK; r++) {
    nk_matrix_gather(&matrix, r, out + (size_t)r * matrix.cols);
  }
  nk_arena_free(&arena);
  return status;
}

/* The slot of "blk.3.attn_q.weight" [length]. */
static bool find_slot(const nk_model *model, const char *name, size_t length, uint32_t *layer, nk_slot *slot) {
  uint32_t number = 0;
  size_t at = 4;
  if (length < at || memcmp(name, "blk.", at) != 0) return false;
  while (at < length && at < 10 && name[at] >= '0' && name[at] <= '9') number = number * 10 + (uint32_t)(name[at++] - '0');
  for (uint32_t s = 0; s < NK_SLOT_COUNT; s++) {
    char own[NK_MODULE_BYTES];
    if (!nk_slot_tensor(model, number, (nk_slot)s, own)) continue;
    if (strlen(own) != length || memcmp(own, name, length) != 0) continue;
    *layer = number;
    *slot = (nk_slot)s;
    return true;
  }
  return false;
}

static nk_status add_tensor(nk_parts *parts, const nk_gguf_tensor *tensor, const char *name, const uint8_t *file,
                            nk_error *error) {
  size_t length = tensor->name.length;
  nk_label label = nk_label_of(name, length);
  bool a = length > END_BYTES && memcmp(name + length - END_BYTES, ".lora_a", END_BYTES) == 0;
  bool b = length > END_BYTES && memcmp(name + length - END_BYTES, ".lora_b", END_BYTES) == 0;
  if (!a && !b) {
    return nk_fail(error, NK_STATUS_UNSUPPORTED, "%s has the tensor \"%s\", which is no half of a LoRA", FILE_NAME,
                   label.text);
  }
  uint32_t layer;
  nk_slot slot;
  if (!find_slot(parts->model, name, length - END_BYTES, &layer, &slot)) {
    return nk_fail_hint(error, NK_STATUS_ADAPTER_MISMATCH, "Load the model that the adapter was trained on.",
                        "%s has the tensor \"%s\", but this %s model of %u layers has no such linear", FILE_NAME,
                        label.text, parts->model->config.arch->name, parts->model->config.n_layers);
  }
  const nk_format *format = nk_format_find(tensor->type);
  if (format == NULL) {
    const char *type = nk_type_name(tensor->type);
    return nk_fail(error, NK_STATUS_UNSUPPORTED, "%s: the tensor \"%s\" is in block format %s", FILE_NAME, label.text,
                   type == NULL ? "unknown" : type);
  }
  uint64_t cols = tensor->dimension[0], rows = tensor->dimension[1];
  bool matrix = tensor->dimension[2] == 1 && tensor->dimension[3] == 1 && cols > 0 && rows > 0;
  if (!matrix || cols % nk_format_block(format) != 0) {
    return nk_fail(error, NK_STATUS_FORMAT, "%s: the tensor \"%s\" is no matrix of whole blocks", FILE_NAME, label.text);
  }
  nk_part part = {.name = name, .rows = rows, .cols = cols, .data = file + tensor->offset, .type = format};
  return nk_parts_add(parts, layer, slot, a ? NK_PART_A : NK_PART_B, &part, error);
}

static nk_status must_be(const nk_gguf *gguf, const char *key, const char *expected, nk_status otherwise, nk_error *error) {
  nk_text text;
  nk_status status = nk_gguf_get_text(gguf, key, &text, error);
  if (status != NK_STATUS_OK) return status;
  bool there = text.bytes != NULL;
  if (there && text.length == strlen(expected) && memcmp(text.bytes, expected, text.length) == 0) return status;
  return nk_fail(error, otherwise, "%s: the key %s is \"%s\"; \"%s\" is needed", FILE_NAME, key,
                 there ? nk_label_of(text.bytes, text.length).text : "missing", expected);
}

static nk_status check_keys(const nk_gguf *gguf, const nk_model *model, float *alpha, nk_error *error) {
  nk_status status = must_be(gguf, "general.type", "adapter", NK_STATUS_FORMAT, error);
  if (status == NK_STATUS_OK) status = must_be(gguf, "adapter.type", "lora", NK_STATUS_UNSUPPORTED, error);
  const char *arch = model->config.arch->name;
  if (status == NK_STATUS_OK) status = must_be(gguf, "general.architecture", arch, NK_STATUS_ADAPTER_MISMATCH, error);
  if (status != NK_STATUS_OK) return status;
  if (nk_gguf_find(gguf, "adapter.alora.invocation_tokens") != NULL) {
    return nk_fail(error, NK_STATUS_UNSUPPORTED, "%s is an activated LoRA, which begins at certain tokens; these are not "
                   "supported", FILE_NAME);
  }
  return nk_gguf_get_f32(gguf, "adapter.lora.alpha", 0.0f, alpha, error);
}

/* names: room for every tensor's, each with a NUL behind it. */
static nk_status read_parts(nk_parts *parts, const nk_gguf *gguf, const uint8_t *file, char *names, nk_error *error) {
  nk_status status = NK_STATUS_OK;
  for (uint32_t i = 0; i < gguf->n_tensors && status == NK_STATUS_OK; i++) {
    const nk_text *name = &gguf->tensors[i].name;
    char *copy = names + (size_t)i * (NK_GGUF_MAX_NAME + 1);
    memcpy(copy, name->bytes, name->length);
    status = add_tensor(parts, &gguf->tensors[i], copy, file, error);
  }
  return status;
}

static nk_status take_card(nk_adapter *adapter, const nk_gguf *gguf, nk_error *error) {
  nk_text card;
  nk_status status = nk_gguf_get_text(gguf, NK_CARD_KEY, &card, error);
  if (status != NK_STATUS_OK || card.bytes == NULL) return status;
  return nk_adapter_take_card(adapter, card.bytes, card.length, error);
}

static nk_status read_adapter(nk_adapter **adapter, nk_parts *parts, const nk_gguf *gguf, const uint8_t *file, char *names,
                              nk_slot_shape *shapes, nk_error *error) {
  float alpha;
  uint32_t n = parts->model->config.n_layers * NK_SLOT_COUNT;
  nk_status status = check_keys(gguf, parts->model, &alpha, error);
  if (status == NK_STATUS_OK) status = read_parts(parts, gguf, file, names, error);
  if (status == NK_STATUS_OK) status = nk_parts_shapes(parts, shapes, error);
  if (status != NK_STATUS_OK) return status;
  bool given = alpha < 0.0f || alpha > 0.0f;
  for (uint32_t i = 0; i < n; i++) shapes[i].alpha = given ? (double)alpha : (double)shapes[i].rank;
  nk_adapter_config config = {.method = NK_METHOD_LORA, .pattern = shapes};
  status = nk_adapter_create(adapter, parts->model, &config, error);
  if (status == NK_STATUS_OK) status = nk_parts_fill(parts, *adapter, error);
  if (status == NK_STATUS_OK) status = nk_adapter_check(*adapter, parts->model, error);
  if (status == NK_STATUS_OK) status = take_card(*adapter, gguf, error);
  return status;
}

nk_status nk_lora_gguf_read(nk_adapter **out, const nk_model *model, const uint8_t *file, uint64_t n, nk_error *error) {
  *out = NULL;
  nk_gguf gguf;
  uint64_t more;
  nk_status status = nk_gguf_parse(&gguf, file, n, n, &more, error);
  if (status != NK_STATUS_OK) return status;
  if (more != 0) return nk_fail(error, NK_STATUS_FORMAT, "%s ends within its header", FILE_NAME);
  nk_adapter *adapter = NULL;
  nk_parts parts = {.model = model, .file = FILE_NAME, .method = NK_METHOD_LORA, .read = read_values};
  char *names = nk_adapter_memory(gguf.n_tensors, NK_GGUF_MAX_NAME + 1);
  nk_slot_shape *shapes = nk_adapter_memory((uint64_t)model->config.n_layers * NK_SLOT_COUNT, sizeof *shapes);
  status = names == NULL || shapes == NULL ? no_memory(error, "read") : nk_parts_allocate(&parts, error);
  if (status == NK_STATUS_OK) status = read_adapter(&adapter, &parts, &gguf, file, names, shapes, error);
  nk_parts_free(&parts);
  free(names);
  free(shapes);
  nk_gguf_free(&gguf);
  if (status != NK_STATUS_OK) {
    nk_adapter_free(adapter);
    return status;
  }
  nk_adapter_rekey(adapter);
  *out = adapter;
  return NK_STATUS_OK;
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

static const nk_adapter_slot *slot_of(const nk_adapter *adapter, const nk_param *param) {
  return &adapter->slots[param->layer * NK_SLOT_COUNT + param->slot];
}

/* The first slot's that is not 0: what most have, where not all are alike. */
static float common_alpha(const nk_adapter *adapter) {
  for (uint32_t i = 0; i < adapter->n_params; i++) {
    const nk_adapter_slot *slot = slot_of(adapter, &adapter->params[i]);
    float alpha = slot->scale * (float)slot->r;
    if (alpha < 0.0f || alpha > 0.0f) return alpha;
  }
  return 1.0f;
}

static uint8_t *put(uint8_t *to, float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  for (uint32_t i = 0; i < 4; i++) to[i] = (uint8_t)(bits >> 8 * i);
  return to + 4;
}

static void put_param(const nk_adapter *adapter, const nk_param *param, float alpha, uint8_t *to) {
  const float *values = adapter->values + param->offset;
  if (param->kind == NK_PARAM_LORA_A) {
    for (uint64_t i = 0; i < (uint64_t)param->rows * param->cols; i++) to = put(to, values[i]);
    return;
  }
  const nk_adapter_slot *slot = slot_of(adapter, param);
  float usual = alpha / (float)slot->r;
  bool other = usual < slot->scale || usual > slot->scale;
  double factor = (double)slot->scale * (double)slot->r / (double)alpha;
  for (uint32_t o = 0; o < param->cols; o++) {
    for (uint32_t r = 0; r < param->rows; r++) {
      float value = values[(size_t)r * param->cols + o];
      to = put(to, other ? (float)((double)value * factor) : value);
    }
  }
}

static void put_header(nk_gguf_writer *writer, const nk_adapter *adapter, const nk_model *model, float alpha) {
  const char *arch = model->config.arch->name;
  nk_gguf_put_text(writer, "general.architecture", arch, strlen(arch));
  nk_gguf_put_text(writer, "general.type", "adapter", 7);
  nk_gguf_put_text(writer, "adapter.type", "lora", 4);
  nk_gguf_put_f32(writer, "adapter.lora.alpha", alpha);
  if (adapter->card != NULL) nk_gguf_put_text(writer, NK_CARD_KEY, adapter->card, strlen(adapter->card));
  for (uint32_t i = 0; i < adapter->n_params; i++) {
    const nk_param *param = &adapter->params[i];
    bool a = param->kind == NK_PARAM_LORA_A;
    char own[NK_MODULE_BYTES], name[NK_MODULE_BYTES + END_BYTES];
    (void)nk_slot_tensor(model, param->layer, param->slot, own); /* it is there: the adapter has been checked */
    (void)snprintf(name, sizeof name, "%s%s", own, a ? ".lora_a" : ".lora_b");
    const uint64_t dimensions[2] = {a ? param->cols : param->rows, a ? param->rows : param->cols};
    (void)nk_gguf_put_tensor(writer, name, 2, dimensions, TYPE_F32);
  }
}

nk_status nk_lora_gguf_write(const nk_adapter *adapter, const nk_model *model, nk_bytes *out, nk_error *error) {
  *out = (nk_bytes){0};
  if (adapter->method != NK_METHOD_LORA) {
    return nk_fail(error, NK_STATUS_UNSUPPORTED, "GGUF holds LoRA adapters; this one is of the method \"%s\"",
                   nk_method_name(adapter->method));
  }
  nk_status status = nk_adapter_check(adapter, model, error);
  if (status != NK_STATUS_OK) return status;
  nk_gguf_writer *writer = nk_gguf_writer_create();
  if (writer == NULL) return no_memory(error, "write");
  float alpha = common_alpha(adapter);
  const uint8_t *header = NULL;
  uint64_t header_bytes = 0, data_bytes = 0;
  put_header(writer, adapter, model, alpha);
  status = nk_gguf_writer_finish(writer, &header, &header_bytes, &data_bytes, error);
  if (status == NK_STATUS_OK) {
    out->data = nk_adapter_memory(header_bytes + data_bytes, 1);
    if (out->data == NULL) status = no_memory(error, "write");
  }
  if (status == NK_STATUS_OK) {
    out->length = header_bytes + data_bytes;
    memcpy(out->data, header, (size_t)header_bytes);
    uint8_t *to = out->data + header_bytes;
    for (uint32_t i = 0; i < adapter->n_params; i++) {
      const nk_param *param = &adapter->params[i];
      uint64_t bytes = (uint64_t)param->rows * param->cols * sizeof(float);
      put_param(adapter, param, alpha, to);
      to += bytes + nk_gguf_padding(bytes);
    }
  }
  nk_gguf_writer_free(writer);
  return status;
}
