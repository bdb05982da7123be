/* copy.c: an adapter like another one; see adapter.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapt/adapter.h"

/* What sits where, for adapters whose slots differ. */
static nk_slot_shape *shapes_of(const nk_adapter *from) {
  size_t n = (size_t)from->n_layers * NK_SLOT_COUNT;
  nk_slot_shape *shapes = calloc(n, sizeof *shapes);
  for (size_t i = 0; shapes != NULL && i < n; i++) {
    const nk_adapter_slot *slot = &from->slots[i];
    if (slot->a == NULL && slot->ia3 == NULL) continue;
    double size = from->config.rslora ? sqrt((double)slot->r) : (double)slot->r;
    shapes[i] = (nk_slot_shape){.rank = slot->a != NULL ? slot->r : 1, .alpha = (double)slot->scale * size};
  }
  return shapes;
}

nk_status nk_adapter_copy(nk_adapter **out, const nk_model *model, const nk_adapter *from, nk_error *error) {
  *out = NULL;
  nk_adapter_config config = from->config;
  nk_slot_shape *shapes = NULL;
  if (from->slots != NULL) {
    shapes = shapes_of(from);
    if (shapes == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory for an adapter");
    config.pattern = shapes;
    config.layers = NULL;
  }
  nk_adapter *copy = NULL;
  nk_status status = nk_adapter_create(&copy, model, &config, error);
  free(shapes);
  if (status != NK_STATUS_OK) return status;
  if (copy->n_values != from->n_values || copy->n_params != from->n_params) {
    unsigned long long own = copy->n_values, others = from->n_values;
    nk_adapter_free(copy);
    return nk_fail(error, NK_STATUS_ADAPTER_MISMATCH,
                   "the adapter is of another model: it has %llu numbers instead of %llu", others, own);
  }
  memcpy(copy->values, from->values, (size_t)from->n_values * sizeof *copy->values);
  size_t n = from->slots == NULL ? 0 : (size_t)from->n_layers * NK_SLOT_COUNT;
  for (size_t i = 0; i < n; i++) copy->slots[i].scale = from->slots[i].scale; /* as it was, to the bit */
  copy->key = from->key;
  *out = copy;
  return NK_STATUS_OK;
}
