/* targets.c: see targets.h. */
#include "adapt/targets.h"

#include <stdio.h>
#include <string.h>

#include "adapt/names.h"
#include "core/label.h"

static bool points_at(const nk_model *model, const char *word, uint32_t layer, nk_slot slot) {
  if (nk_layer_slot(&model->layers[layer], slot) == NULL) return false;
  if (strcmp(word, "all-linear") == 0 || strcmp(word, nk_slot_name(slot)) == 0) return true;
  char path[NK_MODULE_BYTES];
  if (!nk_module_path(model, layer, slot, path)) return false;
  size_t n = strlen(word), length = strlen(path);
  if (n == 0 || n > length || strcmp(path + length - n, word) != 0) return false;
  return n == length || path[length - n - 1] == '.';
}

/* "q_proj, k_proj, …" of a layer. */
static void list_modules(const nk_model *model, uint32_t layer, char *out, size_t bytes) {
  size_t at = 0;
  out[0] = '\0';
  for (uint32_t s = 0; s < NK_SLOT_COUNT; s++) {
    if (nk_layer_slot(&model->layers[layer], (nk_slot)s) == NULL) continue;
    const char *name = nk_module_target(model, layer, (nk_slot)s);
    int n = snprintf(out + at, bytes - at, "%s%s", at == 0 ? "" : ", ", name == NULL ? nk_slot_name((nk_slot)s) : name);
    if (n < 0 || (size_t)n >= bytes - at) return;
    at += (size_t)n;
  }
}

nk_status nk_adapter_targets(const nk_model *model, const char *const *words, uint32_t n, const uint8_t *layers,
                             const nk_slot_shape *shape, nk_slot_shape *shapes, nk_error *error) {
  memset(shapes, 0, (size_t)model->config.n_layers * NK_SLOT_COUNT * sizeof *shapes);
  for (uint32_t i = 0; i < n; i++) {
    bool found = false;
    uint32_t seen = 0; /* the last of the chosen layers */
    for (uint32_t l = 0; l < model->config.n_layers; l++) {
      if (layers != NULL && layers[l] == 0) continue;
      seen = l;
      for (uint32_t s = 0; s < NK_SLOT_COUNT; s++) {
        if (!points_at(model, words[i], l, (nk_slot)s)) continue;
        shapes[l * NK_SLOT_COUNT + s] = *shape;
        found = true;
      }
    }
    if (found) continue;
    char modules[160];
    list_modules(model, seen, modules, sizeof modules);
    return nk_fail(error, NK_STATUS_DATA, "\"%s\" is no linear of the chosen layers of this %s model; there are %s",
                   nk_label_of(words[i], strlen(words[i])).text, model->config.arch->name, modules);
  }
  return NK_STATUS_OK;
}
