/*
 * ia3.c: IA3 (H. Liu et al. 2022, arXiv:2205.05638): one learned factor for each element of a linear's output (bias
 * included), or, at the feed-forward's last linear, of its input. Factors begin at 1.
 */
#include "adapt/methods.h"

static nk_status resolve(nk_adapter_config *config, nk_error *error) {
  (void)config;
  (void)error;
  return NK_STATUS_OK; /* it has no numbers of its own */
}

static uint32_t columns(const nk_model *model, const nk_param *param) {
  const nk_linear *linear = nk_layer_slot(&model->layers[param->layer], param->slot);
  if (linear == NULL || param->kind != NK_PARAM_IA3) return 0;
  return param->slot == NK_SLOT_DOWN ? linear->matrix.cols : linear->matrix.rows;
}

static void layout(nk_layout *out, const nk_model *model, const nk_adapter_config *config, const nk_slot_shape *shapes) {
  (void)config;
  for (uint32_t l = 0; l < model->config.n_layers; l++) {
    for (uint32_t s = 0; s < NK_SLOT_COUNT; s++) {
      if (shapes[l * NK_SLOT_COUNT + s].rank == 0) continue;
      nk_param param = {.kind = NK_PARAM_IA3, .layer = l, .slot = (nk_slot)s, .rows = 1};
      param.cols = columns(model, &param);
      nk_layout_add(out, param);
    }
  }
}

static void bind(nk_adapter *adapter, const nk_param *param, const nk_slot_shape *shape) {
  (void)shape;
  adapter->slots[param->layer * NK_SLOT_COUNT + param->slot].ia3 = adapter->values + param->offset;
}

static void initialize(const nk_param *param, float *values, nk_random *random, const nk_init *init) {
  (void)random;
  (void)init;
  for (uint32_t i = 0; i < param->cols; i++) values[i] = 1.0f;
}

const nk_method_row NK_METHOD_IA3_ROW = {
    .name = "ia3",
    .peft_type = "IA3",
    .in_slots = true,
    .resolve = resolve,
    .layout = layout,
    .columns = columns,
    .bind = bind,
    .initialize = initialize,
};
