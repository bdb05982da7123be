/* parts.c: see parts.h. */
#include "adapt/parts.h"

#include <stdlib.h>
#include <string.h>

#include "adapt/names.h"
#include "core/label.h"

static nk_status no_memory(nk_error *error) { return nk_fail(error, NK_STATUS_MEMORY, "no memory to read an adapter"); }

static nk_label label_of(const nk_part *part) { return nk_label_of(part->name, strlen(part->name)); }

void *nk_adapter_memory(uint64_t count, size_t bytes) {
  if (count > SIZE_MAX / 2 / bytes) return NULL;
  return calloc(count == 0 ? 1 : (size_t)count, bytes);
}

nk_status nk_parts_allocate(nk_parts *parts, nk_error *error) {
  uint64_t n = (uint64_t)parts->model->config.n_layers * NK_SLOT_COUNT * NK_PART_KINDS;
  parts->parts = nk_adapter_memory(n, sizeof *parts->parts);
  return parts->parts == NULL ? no_memory(error) : NK_STATUS_OK;
}

void nk_parts_free(nk_parts *parts) {
  free(parts->parts);
  parts->parts = NULL;
}

nk_part *nk_parts_at(const nk_parts *parts, uint32_t layer, uint32_t slot, nk_part_kind kind) {
  return &parts->parts[(layer * NK_SLOT_COUNT + slot) * NK_PART_KINDS + kind];
}

nk_status nk_parts_add(nk_parts *parts, uint32_t layer, nk_slot slot, nk_part_kind kind, const nk_part *part,
                       nk_error *error) {
  nk_part *place = nk_parts_at(parts, layer, (uint32_t)slot, kind);
  if (place->name != NULL) {
    return nk_fail(error, NK_STATUS_FORMAT, "%s: the tensors \"%s\" and \"%s\" are for the same place", parts->file,
                   label_of(place).text, label_of(part).text);
  }
  *place = *part;
  return NK_STATUS_OK;
}

nk_status nk_part_mismatch(const char *file, const nk_model *model, const nk_part *part, uint64_t rows, uint64_t cols,
                           nk_error *error) {
  return nk_fail_hint(error, NK_STATUS_ADAPTER_MISMATCH, "Load the model that the adapter was trained on.",
                      "%s: the tensor \"%s\" is %llu × %llu, but this %s model makes it %llu × %llu", file,
                      label_of(part).text, (unsigned long long)part->rows, (unsigned long long)part->cols,
                      model->config.arch->name, (unsigned long long)rows, (unsigned long long)cols);
}

/* ---- Shapes ------------------------------------------------------------------------------------------------------ */

static nk_status lora_shape(const nk_parts *parts, const nk_part *a, const nk_part *b, const nk_matrix *matrix,
                            uint32_t *rank, nk_error *error) {
  if (a->name == NULL || b->name == NULL) {
    return nk_fail(error, NK_STATUS_FORMAT, "%s has the tensor \"%s\" without its other half, LoRA's %s", parts->file,
                   label_of(a->name == NULL ? b : a).text, a->name == NULL ? "A" : "B");
  }
  if (a->cols != matrix->cols) return nk_part_mismatch(parts->file, parts->model, a, a->rows, matrix->cols, error);
  if (b->rows != matrix->rows) return nk_part_mismatch(parts->file, parts->model, b, matrix->rows, b->cols, error);
  if (a->rows != b->cols || a->rows == 0) {
    return nk_fail(error, NK_STATUS_FORMAT, "%s: the tensor \"%s\" has rank %llu, but its other half has %llu", parts->file,
                   label_of(a).text, (unsigned long long)a->rows, (unsigned long long)b->cols);
  }
  if (a->rows > NK_ADAPTER_MAX_RANK) {
    return nk_fail(error, NK_STATUS_UNSUPPORTED, "%s: the tensor \"%s\" has rank %llu; at most %u is supported",
                   parts->file, label_of(a).text, (unsigned long long)a->rows, NK_ADAPTER_MAX_RANK);
  }
  *rank = (uint32_t)a->rows;
  return NK_STATUS_OK;
}

static nk_status ia3_shape(const nk_parts *parts, const nk_part *part, nk_slot slot, const nk_matrix *matrix,
                           uint32_t *rank, nk_error *error) {
  *rank = 1;
  bool input = slot == NK_SLOT_DOWN;
  uint32_t rows = input ? 1 : matrix->rows, cols = input ? matrix->cols : 1;
  if (part->rows == rows && part->cols == cols) return NK_STATUS_OK;
  bool other = part->rows == (input ? matrix->rows : 1) && part->cols == (input ? 1 : matrix->cols);
  if (!other) return nk_part_mismatch(parts->file, parts->model, part, rows, cols, error);
  return nk_fail(error, NK_STATUS_UNSUPPORTED,
                 "%s: the tensor \"%s\" scales a linear's %s; inputs are scaled at the feed-forward's last linear alone, "
                 "outputs everywhere else",
                 parts->file, label_of(part).text, input ? "output" : "input");
}

nk_status nk_parts_shapes(const nk_parts *parts, nk_slot_shape *shapes, nk_error *error) {
  for (uint32_t l = 0; l < parts->model->config.n_layers; l++) {
    for (uint32_t s = 0; s < NK_SLOT_COUNT; s++) {
      const nk_part *a = nk_parts_at(parts, l, s, NK_PART_A), *b = nk_parts_at(parts, l, s, NK_PART_B);
      if (a->name == NULL && b->name == NULL) continue;
      const nk_matrix *matrix = &nk_layer_slot(&parts->model->layers[l], (nk_slot)s)->matrix;
      uint32_t *rank = &shapes[l * NK_SLOT_COUNT + s].rank;
      nk_status status = parts->method == NK_METHOD_LORA ? lora_shape(parts, a, b, matrix, rank, error)
                                                         : ia3_shape(parts, a, (nk_slot)s, matrix, rank, error);
      if (status != NK_STATUS_OK) return status;
    }
  }
  return NK_STATUS_OK;
}

/* ---- Values ------------------------------------------------------------------------------------------------------ */

/* from [out, r] to [r, out], rows by their place here. */
static void turn(const nk_parts *parts, const nk_param *param, const float *from, float *to) {
  for (uint32_t o = 0; o < param->cols; o++) {
    uint32_t place = parts->renamed ? nk_module_row(parts->model, param->slot, o) : o;
    for (uint32_t r = 0; r < param->rows; r++) to[(size_t)r * param->cols + place] = from[(size_t)o * param->rows + r];
  }
}

nk_status nk_parts_fill(const nk_parts *parts, nk_adapter *adapter, nk_error *error) {
  uint64_t most = 0;
  for (uint32_t i = 0; i < adapter->n_params; i++) {
    uint64_t n = (uint64_t)adapter->params[i].rows * adapter->params[i].cols;
    if (n > most) most = n;
  }
  float *scratch = nk_adapter_memory(most, sizeof *scratch);
  if (scratch == NULL) return no_memory(error);
  nk_status status = NK_STATUS_OK;
  for (uint32_t i = 0; i < adapter->n_params && status == NK_STATUS_OK; i++) {
    const nk_param *param = &adapter->params[i];
    float *values = adapter->values + param->offset;
    bool direct = param->kind == NK_PARAM_LORA_A || param->slot == NK_SLOT_DOWN;
    nk_part_kind kind = param->kind == NK_PARAM_LORA_B ? NK_PART_B : NK_PART_A;
    const nk_part *part = nk_parts_at(parts, param->layer, (uint32_t)param->slot, kind);
    if (param->kind == NK_PARAM_LORA_B) direct = false;
    status = parts->read(part, direct ? values : scratch, error);
    if (status == NK_STATUS_OK && !direct) turn(parts, param, scratch, values);
  }
  free(scratch);
  return status;
}
