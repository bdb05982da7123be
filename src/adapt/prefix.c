/*
 * prefix.c: prefix tuning (X. L. Li, P. Liang 2021, arXiv:2101.00190): learned keys and values before each layer's own,
 * kept as they are after a layer's rotary positions, so not turned by any. They begin normal(0, 1), as in PEFT. Layers that
 * mix by a short convolution have none.
 */
#include "adapt/methods.h"

static bool attends(const nk_layer *layer) { return layer->conv == NULL; }

static uint32_t kv_width(const nk_model *model) { return model->config.n_kv_heads * model->config.head_dim; }

static void layout(nk_layout *out, const nk_model *model, const nk_adapter_config *config, const nk_slot_shape *shapes) {
  (void)shapes;
  for (uint32_t l = 0; l < model->config.n_layers; l++) {
    if (!attends(&model->layers[l])) continue;
    nk_param param = {.layer = l, .rows = config->n_virtual, .cols = kv_width(model)};
    param.kind = NK_PARAM_PREFIX_K;
    nk_layout_add(out, param);
    param.kind = NK_PARAM_PREFIX_V;
    nk_layout_add(out, param);
  }
}

static uint32_t columns(const nk_model *model, const nk_param *param) {
  bool ours = param->kind == NK_PARAM_PREFIX_K || param->kind == NK_PARAM_PREFIX_V;
  return ours && attends(&model->layers[param->layer]) ? kv_width(model) : 0;
}

static void bind(nk_adapter *adapter, const nk_param *param, const nk_slot_shape *shape) {
  (void)shape;
  nk_prefix *prefix = &adapter->prefix[param->layer];
  if (param->kind == NK_PARAM_PREFIX_K) {
    prefix->keys = adapter->values + param->offset;
  } else {
    prefix->values = adapter->values + param->offset;
  }
}

static void initialize(const nk_param *param, float *values, nk_random *random, const nk_init *init) {
  (void)init;
  nk_fill_normal(values, (uint64_t)param->rows * param->cols, random);
}

const nk_method_row NK_METHOD_PREFIX_ROW = {
    .name = "prefix",
    .peft_type = "PREFIX_TUNING",
    .in_slots = false,
    .resolve = nk_resolve_virtual,
    .layout = layout,
    .columns = columns,
    .bind = bind,
    .initialize = initialize,
};
