/*
 * lora.c: LoRA (E. Hu et al. 2021, arXiv:2106.09685): y += scale · B (A x), A [r, in], B [out, r] kept transposed.
 * scale = alpha / r, or alpha / √r (rsLoRA: D. Kalajdzievski 2023, arXiv:2312.03732). A begins uniform in ±1/√in (Kaiming
 * with a = √5, as in PEFT), B at 0, so that an adapter begins by changing nothing.
 */
#include <math.h>

#include "adapt/methods.h"

static nk_status resolve(nk_adapter_config *config, nk_error *error) {
  if (config->rank == 0) config->rank = 8;
  if (config->alpha <= 0.0 && config->alpha >= 0.0) config->alpha = (double)config->rank; /* it was 0 */
  if (config->rank > NK_ADAPTER_MAX_RANK) {
    return nk_fail(error, NK_STATUS_DATA, "LoRA of rank %u was asked for; 1 to %u are supported", config->rank,
                   NK_ADAPTER_MAX_RANK);
  }
  if (!(fabs(config->alpha) <= NK_ADAPTER_MAX_ALPHA)) {
    return nk_fail(error, NK_STATUS_DATA, "LoRA's alpha is %.10g; allowed is a number from -%g to %g", config->alpha,
                   NK_ADAPTER_MAX_ALPHA, NK_ADAPTER_MAX_ALPHA);
  }
  if (!(config->dropout >= 0.0 && config->dropout < 1.0)) {
    return nk_fail(error, NK_STATUS_DATA, "LoRA's dropout is %.10g; allowed is a number from 0 to below 1",
                   config->dropout);
  }
  return NK_STATUS_OK;
}

static void layout(nk_layout *out, const nk_model *model, const nk_adapter_config *config, const nk_slot_shape *shapes) {
  (void)config;
  for (uint32_t l = 0; l < model->config.n_layers; l++) {
    for (uint32_t s = 0; s < NK_SLOT_COUNT; s++) {
      uint32_t rank = shapes[l * NK_SLOT_COUNT + s].rank;
      if (rank == 0) continue;
      const nk_matrix *matrix = &nk_layer_slot(&model->layers[l], (nk_slot)s)->matrix;
      nk_param param = {.layer = l, .slot = (nk_slot)s, .rows = rank};
      param.kind = NK_PARAM_LORA_A;
      param.cols = matrix->cols;
      nk_layout_add(out, param);
      param.kind = NK_PARAM_LORA_B;
      param.cols = matrix->rows;
      nk_layout_add(out, param);
    }
  }
}

static uint32_t columns(const nk_model *model, const nk_param *param) {
  const nk_linear *linear = nk_layer_slot(&model->layers[param->layer], param->slot);
  if (linear == NULL) return 0;
  return param->kind == NK_PARAM_LORA_A ? linear->matrix.cols : param->kind == NK_PARAM_LORA_B ? linear->matrix.rows : 0;
}

static void bind(nk_adapter *adapter, const nk_param *param, const nk_slot_shape *shape) {
  nk_adapter_slot *slot = &adapter->slots[param->layer * NK_SLOT_COUNT + param->slot];
  const float *values = adapter->values + param->offset;
  if (param->kind == NK_PARAM_LORA_A) {
    slot->a = values;
  } else {
    slot->b = values;
  }
  slot->r = param->rows;
  double r = (double)param->rows;
  slot->scale = (float)(shape->alpha / (adapter->config.rslora ? sqrt(r) : r));
}

static void initialize(const nk_param *param, float *values, nk_random *random, const nk_init *init) {
  (void)init;
  uint64_t n = (uint64_t)param->rows * param->cols;
  double bound = param->kind == NK_PARAM_LORA_A ? 1.0 / sqrt((double)param->cols) : 0.0;
  for (uint64_t i = 0; i < n; i++) values[i] = bound > 0.0 ? (float)((2.0 * nk_random_f64(random) - 1.0) * bound) : 0.0f;
}

const nk_method_row NK_METHOD_LORA_ROW = {
    .name = "lora",
    .peft_type = "LORA",
    .in_slots = true,
    .resolve = resolve,
    .layout = layout,
    .columns = columns,
    .bind = bind,
    .initialize = initialize,
};
