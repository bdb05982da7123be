/*
 * ends.c: both ends of the model: token ids to the residual stream, and that to hidden states and logits; and the gradient
 * of the former. That of the head is in loss.c.
 */
#include <math.h>
#include <string.h>

#include "run/way_back.h"

/* The vector of a prompt that stands at entry t of the part, or NULL: a token does. */
static const float *prompt_row(const nk_session *s, const int32_t *ids, uint32_t t) {
  if (ids != NULL && ids[s->part_first + t] >= 0) return NULL;
  size_t row = ids == NULL ? (size_t)s->length + s->part_first + t : (size_t)(-1 - (int64_t)ids[s->part_first + t]);
  return s->prompt + row * s->model->config.width;
}

void nk_embed(nk_session *s, const int32_t *ids) {
  const nk_model *model = s->model;
  const nk_config *c = &model->config;
  const nk_vec *vec = s->machine->vec;
  uint32_t n = s->part_n, d = c->width;
  float *all = s->x + (size_t)s->part_first * d;
  bool projected = model->embed_in.matrix.format != NULL;
  float *rows = projected ? s->h : all; /* [n, embed_width], tight */
  for (uint32_t t = 0; t < n; t++) {
    if (prompt_row(s, ids, t) != NULL) continue;
    nk_matrix_gather(&model->embedding, (uint32_t)ids[s->part_first + t], rows + (size_t)t * c->embed_width);
  }
  if (projected) {
    nk_linear_input in = {.x = rows, .ldx = c->embed_width, .m = n, .cols = c->embed_width, .act = s->act};
    nk_linear_forward(s->machine, !s->options.float_activations, all, d, &model->embed_in, &in);
  }
  for (uint32_t t = 0; t < n; t++) {
    float *x = all + (size_t)t * d;
    const float *given = prompt_row(s, ids, t);
    if (given != NULL) {
      memcpy(x, given, d * sizeof *x);
    } else if (c->arch->embed_sqrt) {
      vec->scale(x, (float)sqrt((double)d), d);
    }
    if (model->token_types.format != NULL) {
      nk_matrix_gather(&model->token_types, 0, s->branch);
      vec->add(x, s->branch, d);
    }
    if (model->positions.format != NULL) {
      uint32_t position = nk_position_of(s, s->length + s->part_first + t);
      nk_matrix_gather(&model->positions, position + c->position_offset, s->branch);
      vec->add(x, s->branch, d);
    }
    if (model->embed_norm.weight != NULL) nk_norm_forward(s, x, x, &model->embed_norm, d);
  }
}

/* Row `row` of a matrix's gradient [rows, n] += dx. */
static void add_row(const nk_gradient *g, const nk_matrix *matrix, size_t row, const float *dx) {
  float *grad = matrix->format == NULL ? NULL : nk_weight_grad_of(g, matrix->data);
  if (grad != NULL) g->machine->vec->add(grad + row * matrix->cols, dx, matrix->cols);
}

/* The gradient of a token's embedding from dx [d], that of the residual stream where it begins. Uses dh, head_mid and
   dhead_mid. */
static void token_backward(nk_gradient *g, uint32_t id, const float *dx) {
  const nk_model *model = g->model;
  const nk_config *c = &model->config;
  uint32_t d = c->width;
  float *own = g->dh;
  memcpy(own, dx, d * sizeof *own);
  if (c->arch->embed_sqrt) g->machine->vec->scale(own, (float)sqrt((double)d), d);
  if (model->embed_in.matrix.format == NULL) {
    add_row(g, &model->embedding, id, own);
    return;
  }
  const nk_linear *in = &model->embed_in;
  nk_matrix_gather(&model->embedding, id, g->head_mid);
  nk_linear_weights_backward(g->machine, nk_weight_grad_of(g, in->matrix.data), nk_weight_grad_of(g, in->bias), own, d, d,
                             g->head_mid, c->embed_width, c->embed_width, 1);
  memset(g->dhead_mid, 0, c->embed_width * sizeof *g->dhead_mid);
  nk_linear_backward(g->machine, g->dhead_mid, c->embed_width, in, own, d, 1, g->scratch);
  add_row(g, &model->embedding, id, g->dhead_mid);
}

void nk_embed_backward(nk_gradient *g) {
  const nk_session *s = g->s;
  const nk_model *model = g->model;
  size_t d = model->config.width;
  float *prompt = g->adapter != NULL && g->adapter->prompt != NULL ? g->grads : NULL;
  for (uint32_t t = 0; t < g->row.n; t++) {
    const float *dx = g->dx + t * d;
    int32_t id = g->row.ids[t];
    if (id < 0) {
      if (prompt != NULL) g->machine->vec->add(prompt + (size_t)(-1 - (int64_t)id) * d, dx, (uint32_t)d);
    } else if (g->n_weights > 0) {
      token_backward(g, (uint32_t)id, dx);
    }
    add_row(g, &model->token_types, 0, dx);
    add_row(g, &model->positions, nk_position_of(s, t) + model->config.position_offset, dx);
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
