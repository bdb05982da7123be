/*
 * gradient_fixture.h: what the tests of learning share: rows of examples, a gradient run to its end, tensors by name.
 */
#ifndef NOOK_TESTS_GRADIENT_FIXTURE_H
#define NOOK_TESTS_GRADIENT_FIXTURE_H

#include <math.h>

#include "engine_fixture.h"

#include "api/context.h"
#include "run/gradient.h"

/* ids and labels [n, length] of examples of one length, each in a row of its own or all in one; with `virtual` vectors of a
   prompt before each. */
typedef struct examples {
  int32_t *ids, *labels; /* [n · (virtual + length)] */
  uint32_t *apart, *together; /* where each entry's example begins: in a row of its own, in one of all */
  uint32_t n, length, scored;
} examples;

static inline examples examples_make(const int32_t *ids, const int32_t *labels, uint32_t n, uint32_t length,
                                     uint32_t virtual) {
  examples e = {.n = n, .length = length + virtual};
  size_t all = (size_t)n * e.length;
  e.ids = calloc(all, sizeof *e.ids);
  e.labels = calloc(all, sizeof *e.labels);
  e.apart = calloc(all, sizeof *e.apart);
  e.together = calloc(all, sizeof *e.together);
  assert_true(e.ids != NULL && e.labels != NULL && e.apart != NULL && e.together != NULL);
  for (uint32_t i = 0; i < n; i++) {
    for (uint32_t t = 0; t < e.length; t++) {
      size_t at = (size_t)i * e.length + t, from = (size_t)i * length + t - virtual;
      e.ids[at] = t < virtual ? -1 - (int32_t)t : ids[from];
      e.labels[at] = t < virtual ? NK_NOT_SCORED : labels[from];
      e.together[at] = i * e.length;
      if (t > 0 && e.labels[at] != NK_NOT_SCORED) e.scored++;
    }
  }
  return e;
}

static inline void examples_free(examples *e) {
  free(e->ids);
  free(e->labels);
  free(e->apart);
  free(e->together);
}

/* One row to its end; its loss is added to *loss. */
static inline void gradient_row(nk_gradient *g, const nk_row *row, bool backward, double weight, uint64_t key,
                                double *loss) {
  nk_error error = {0};
  if (nk_gradient_begin(g, row, backward, weight, key, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
  for (bool done = false; !done;) nk_gradient_step(g, &done);
  *loss += nk_gradient_loss(g);
}

/* The mean loss of all examples and its gradient, which is cleared first. */
static inline double gradient_run(nk_gradient *g, const examples *e, bool packed, bool backward) {
  uint64_t n = 0;
  float *grads = nk_gradient_values(g, &n);
  memset(grads, 0, n * sizeof *grads);
  double loss = 0.0, weight = 1.0 / e->scored;
  if (packed) {
    const nk_row row = {e->ids, e->labels, e->together, e->n * e->length};
    gradient_row(g, &row, backward, weight, 0, &loss);
  } else {
    for (uint32_t i = 0; i < e->n; i++) {
      size_t at = (size_t)i * e->length;
      const nk_row row = {e->ids + at, e->labels + at, e->apart + at, e->length};
      gradient_row(g, &row, backward, weight, 0, &loss);
    }
  }
  return loss * weight;
}

static inline double relative_l2(const float *a, const float *b, size_t n) {
  double error = 0.0, size = 0.0;
  for (size_t i = 0; i < n; i++) {
    double difference = (double)a[i] - (double)b[i];
    error += difference * difference;
    size += (double)b[i] * (double)b[i];
  }
  return sqrt(error / size);
}

/* ---- Tensors by their names in a GGUF ---------------------------------------------------------------------------- */

typedef struct tensor {
  const nk_matrix *matrix; /* or */
  const float *vector;
} tensor;

static inline const void *tensor_data(const tensor *t) {
  return t->matrix != NULL ? (const void *)t->matrix->data : t->vector;
}

static inline tensor linear_tensor(const nk_linear *linear, bool bias) {
  return bias ? (tensor){.vector = linear->bias} : (tensor){.matrix = &linear->matrix};
}

static inline tensor norm_tensor(const nk_norm *norm, bool bias) {
  return (tensor){.vector = bias ? norm->bias : norm->weight};
}

/* Of the models that the oracles have; fails the test for another. */
static inline tensor tensor_find(const nk_model *model, const char *name) {
  bool bias = strstr(name, ".bias") != NULL;
  unsigned layer = 0;
  char stem[64];
  if (sscanf(name, "blk.%u.%63[^.]", &layer, stem) == 2) {
    assert_true(layer < model->config.n_layers);
    const nk_layer *l = &model->layers[layer];
    const struct { const char *stem; const nk_norm *norm; const nk_linear *linear; } table[] = {
        {"attn_norm", &l->attn_norm, NULL}, {"ffn_norm", &l->ffn_norm, NULL}, {"attn_q_norm", &l->q_norm, NULL},
        {"attn_k_norm", &l->k_norm, NULL}, {"post_attention_norm", &l->attn_post_norm, NULL},
        {"post_ffw_norm", &l->ffn_post_norm, NULL}, {"attn_q", NULL, &l->qkv[0]}, {"attn_qkv", NULL, &l->qkv[0]},
        {"attn_k", NULL, &l->qkv[1]}, {"attn_v", NULL, &l->qkv[2]}, {"attn_output", NULL, &l->attn_out},
        {"ffn_gate", NULL, &l->gate}, {"ffn_up", NULL, &l->up}, {"ffn_down", NULL, &l->down},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
      if (strcmp(table[i].stem, stem) != 0) continue;
      return table[i].norm != NULL ? norm_tensor(table[i].norm, bias) : linear_tensor(table[i].linear, bias);
    }
  }
  if (strcmp(name, "token_embd.weight") == 0) return (tensor){.matrix = &model->embedding};
  if (strcmp(name, "position_embd.weight") == 0) return (tensor){.matrix = &model->positions};
  if (strcmp(name, "output.weight") == 0) return (tensor){.matrix = &model->head.matrix};
  if (strncmp(name, "output_norm.", 12) == 0) return norm_tensor(&model->output_norm, bias);
  fail_msg("no tensor is known as %s", name);
  return (tensor){NULL, NULL};
}

#endif
