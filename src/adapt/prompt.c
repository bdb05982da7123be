/*
 * prompt.c: prompt tuning (B. Lester et al. 2021, arXiv:2104.08691): learned vectors before the embedded tokens. They begin
 * normal(0, 1), or as the embeddings of a text's tokens, repeated to the prompt's length: what the layers would read in
 * their place, so through the projection and with the factor √d where the model has these, but without positions.
 */
#include <math.h>

#include "adapt/methods.h"

static void layout(nk_layout *out, const nk_model *model, const nk_adapter_config *config, const nk_slot_shape *shapes) {
  (void)shapes;
  nk_layout_add(out, (nk_param){.kind = NK_PARAM_PROMPT, .rows = config->n_virtual, .cols = model->config.width});
}

static uint32_t columns(const nk_model *model, const nk_param *param) {
  return param->kind == NK_PARAM_PROMPT && param->layer == 0 ? model->config.width : 0;
}

static void bind(nk_adapter *adapter, const nk_param *param, const nk_slot_shape *shape) {
  (void)shape;
  adapter->prompt = adapter->values + param->offset;
}

/* Row `id` of the embedding as the first layer reads it: out [width]. */
static void embed(const nk_init *init, uint32_t id, float *out) {
  const nk_config *c = &init->model->config;
  const nk_linear *in = &init->model->embed_in; /* [width, embed_width] */
  if (in->matrix.format == NULL) {
    nk_matrix_gather(&init->model->embedding, id, out);
  } else {
    float *row = init->scratch, *weights = init->scratch + c->embed_width;
    nk_matrix_gather(&init->model->embedding, id, row);
    for (uint32_t r = 0; r < c->width; r++) {
      nk_matrix_gather(&in->matrix, r, weights);
      double sum = in->bias == NULL ? 0.0 : (double)in->bias[r];
      for (uint32_t k = 0; k < c->embed_width; k++) sum += (double)weights[k] * (double)row[k];
      out[r] = (float)sum;
    }
  }
  if (!c->arch->embed_sqrt) return;
  float factor = (float)sqrt((double)c->width);
  for (uint32_t i = 0; i < c->width; i++) out[i] *= factor;
}

static void initialize(const nk_param *param, float *values, nk_random *random, const nk_init *init) {
  if (init->n_ids == 0) {
    nk_fill_normal(values, (uint64_t)param->rows * param->cols, random);
    return;
  }
  for (uint32_t i = 0; i < param->rows; i++) {
    embed(init, (uint32_t)init->ids[i % init->n_ids], values + (size_t)i * param->cols);
  }
}

const nk_method_row NK_METHOD_PROMPT_ROW = {
    .name = "prompt",
    .peft_type = "PROMPT_TUNING",
    .in_slots = false,
    .resolve = nk_resolve_virtual,
    .layout = layout,
    .columns = columns,
    .bind = bind,
    .initialize = initialize,
};
