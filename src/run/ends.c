/* ends.c: both ends of the model: token ids to the residual stream, and that to hidden states and logits. */
#include <math.h>
#include <string.h>

#include "run/pass.h"

void nk_embed(nk_session *s, const int32_t *ids) {
  const nk_model *model = s->model;
  const nk_config *c = &model->config;
  const nk_vec *vec = s->machine->vec;
  uint32_t n = s->part_n, d = c->width;
  float *all = s->x + (size_t)s->part_first * d;
  bool projected = model->embed_in.matrix.format != NULL;
  float *rows = projected ? s->h : all; /* [n, embed_width], tight */
  for (uint32_t t = 0; t < n; t++) {
    nk_matrix_gather(&model->embedding, (uint32_t)ids[s->part_first + t], rows + (size_t)t * c->embed_width);
  }
  if (projected) {
    nk_linear_input in = {.x = rows, .ldx = c->embed_width, .m = n, .cols = c->embed_width, .act = s->act};
    nk_linear_forward(s->machine, !s->options.float_activations, all, d, &model->embed_in, &in);
  }
  for (uint32_t t = 0; t < n; t++) {
    float *x = all + (size_t)t * d;
    if (c->arch->embed_sqrt) vec->scale(x, (float)sqrt((double)d), d);
    if (model->token_types.format != NULL) {
      nk_matrix_gather(&model->token_types, 0, s->branch);
      vec->add(x, s->branch, d);
    }
    if (model->positions.format != NULL) {
      nk_matrix_gather(&model->positions, s->length + s->part_first + t + c->position_offset, s->branch);
      vec->add(x, s->branch, d);
    }
    if (model->embed_norm.weight != NULL) nk_norm_forward(s, x, x, &model->embed_norm, d);
  }
}

void nk_hidden(nk_session *s, uint32_t row, uint32_t n) {
  uint32_t d = s->model->config.width;
  const nk_norm *norm = &s->model->output_norm;
  for (uint32_t t = 0; t < n; t++) {
    float *y = s->head_in + (size_t)t * d;
    const float *x = s->x + (size_t)(row + t) * d;
    if (norm->weight != NULL) {
      nk_norm_forward(s, y, x, norm, d);
    } else {
      memcpy(y, x, d * sizeof *y);
    }
  }
}

void nk_head(nk_session *s, uint32_t row, uint32_t n) {
  const nk_model *model = s->model;
  const nk_config *c = &model->config;
  bool int8 = !s->options.float_activations;
  nk_hidden(s, row, n);
  nk_linear_input in = {.x = s->head_in, .ldx = c->width, .m = n, .cols = c->width, .act = s->head_act};
  if (model->head_out.matrix.format != NULL) {
    /* branch is free once a batch is done, and has at least as many rows as there are logits' */
    nk_linear_forward(s->machine, int8, s->branch, c->embed_width, &model->head_out, &in);
    in = (nk_linear_input){.x = s->branch, .ldx = c->embed_width, .m = n, .cols = c->embed_width, .act = s->head_act};
  }
  nk_linear_forward(s->machine, int8, s->logits, model->vocab, &model->head, &in);
  if (c->final_cap > 0.0f) s->machine->vec->softcap(s->logits, c->final_cap, n * model->vocab);
}
