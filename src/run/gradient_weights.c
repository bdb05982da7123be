/* gradient_weights.c: every tensor of a model that can learn, and where its gradient is; see way_back.h. */
#include <stdlib.h>

#include "run/way_back.h"

typedef struct visitor {
  nk_weight_visit visit;
  void *argument;
} visitor;

static void matrix(const visitor *v, const nk_matrix *m) {
  if (m->format != NULL) v->visit(v->argument, m->data, m, (uint64_t)m->rows * m->cols);
}

static void vector(const visitor *v, const float *data, uint64_t n) {
  if (data != NULL) v->visit(v->argument, data, NULL, n);
}

static void linear(const visitor *v, const nk_linear *l) {
  matrix(v, &l->matrix);
  if (l->matrix.format != NULL) vector(v, l->bias, l->matrix.rows);
}

static void norm(const visitor *v, const nk_norm *n, uint64_t size) {
  vector(v, n->weight, size);
  vector(v, n->bias, size);
}

/* The weights of q's or k's norm: of one span, or of every head its own. */
static uint64_t head_norm_size(const nk_layer *layer, uint32_t span, uint32_t heads, uint32_t head_dim) {
  return layer->head_norms ? (uint64_t)heads * head_dim : span;
}

static void layer_weights(const visitor *v, const nk_config *c, const nk_layer *l) {
  norm(v, &l->attn_norm, c->width);
  norm(v, &l->attn_post_norm, c->width);
  norm(v, &l->attn_out_norm, c->width);
  norm(v, &l->q_norm, head_norm_size(l, l->q_norm_span, c->n_heads, c->head_dim));
  norm(v, &l->k_norm, head_norm_size(l, l->k_norm_span, c->n_kv_heads, c->head_dim));
  for (uint32_t i = 0; i < l->n_qkv; i++) linear(v, &l->qkv[i]);
  vector(v, l->conv, (uint64_t)c->width * c->conv_taps);
  vector(v, l->conv_bias, c->width);
  linear(v, &l->attn_out);
  norm(v, &l->ffn_norm, c->width);
  norm(v, &l->ffn_post_norm, c->width);
  norm(v, &l->ffn_out_norm, c->width);
  linear(v, &l->gate);
  linear(v, &l->up);
  linear(v, &l->down);
}

void nk_weights_visit(const nk_model *model, nk_weight_visit visit, void *argument) {
  const visitor v = {visit, argument};
  const nk_config *c = &model->config;
  matrix(&v, &model->embedding);
  linear(&v, &model->embed_in);
  linear(&v, &model->head_out);
  matrix(&v, &model->positions);
  matrix(&v, &model->token_types);
  norm(&v, &model->embed_norm, c->width);
  norm(&v, &model->output_norm, c->width);
  if (model->tied) {
    vector(&v, model->head.bias, model->vocab);
  } else {
    linear(&v, &model->head);
  }
  for (uint32_t i = 0; i < c->n_layers; i++) layer_weights(&v, c, &model->layers[i]);
}

float *nk_weight_grad_of(const nk_gradient *g, const void *data) {
  if (data == NULL || g->n_weights == 0) return NULL;
  uint32_t low = 0, high = g->n_weights;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if ((uintptr_t)g->weights[middle].data < (uintptr_t)data) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < g->n_weights && g->weights[low].data == data ? g->weights[low].grad : NULL;
}
