/*
 * loss.c: -log p of the labelled entries, and its gradient down to the residual stream.
 *
 *   logits z = [cap ·tanh(] head [head_out] norm(x) [/ cap)];  loss = log Σ e^z - z_label
 *   dz = (softmax(z) - onehot) · weight
 *
 * Only labelled entries come here: the head is the widest matrix of a model.
 */
#include <math.h>
#include <string.h>

#include "core/math.h"
#include "run/way_back.h"

/* dz in z's place, [vocab]; returns -log p of the label. */
static double row_loss(const nk_gradient *g, float *z, uint32_t label) {
  const nk_vec *vec = g->machine->vec;
  uint32_t vocab = g->model->vocab, whole = vocab / 8 * 8;
  float wanted = z[label], largest = z[0];
  for (uint32_t i = 1; i < vocab; i++) largest = z[i] > largest ? z[i] : largest;
  /* softmax_forward takes multiples of 8: the rest by hand, against the same largest logit. */
  double sum = 0.0;
  float rest[8];
  for (uint32_t i = whole; i < vocab; i++) rest[i - whole] = nk_exp_f32(z[i] - largest);
  if (whole > 0) {
    float inner = z[0];
    for (uint32_t i = 1; i < whole; i++) inner = z[i] > inner ? z[i] : inner;
    double part = vec->softmax_forward(z, whole);
    float factor = nk_exp_f32(inner - largest);
    sum = part * (double)factor;
    if (factor != 1.0f) vec->scale(z, factor, whole);
  }
  for (uint32_t i = whole; i < vocab; i++) {
    z[i] = rest[i - whole];
    sum += (double)z[i];
  }
  vec->scale(z, (float)(g->weight / sum), vocab);
  z[label] -= (float)g->weight;
  return nk_log_f64(sum) + (double)largest - (double)wanted;
}

/* What the head read: head_x and head_in [n, d] of the targets. */
static void gather(nk_gradient *g, uint32_t first, uint32_t n) {
  size_t d = g->model->config.width;
  const nk_norm *norm = &g->model->output_norm;
  for (uint32_t i = 0; i < n; i++) {
    float *x = g->head_x + i * d;
    memcpy(x, g->s->x + g->targets[first + i] * d, d * sizeof *x);
    if (norm->weight != NULL) {
      nk_norm_forward(g->s, g->head_in + i * d, x, norm, (uint32_t)d);
    } else {
      memcpy(g->head_in + i * d, x, d * sizeof *x);
    }
  }
}

/* What is given to the head itself: head_in, or its projection. */
static const float *head_input(const nk_gradient *g) {
  return g->model->head_out.matrix.format != NULL ? g->head_mid : g->head_in;
}

static void head_forward(nk_gradient *g, uint32_t n) {
  const nk_model *model = g->model;
  const nk_config *c = &model->config;
  bool int8 = !g->options.float_activations;
  nk_linear_input in = {.x = g->head_in, .ldx = c->width, .m = n, .cols = c->width, .act = g->head_act};
  if (model->head_out.matrix.format != NULL) {
    nk_linear_forward(g->machine, int8, g->head_mid, c->embed_width, &model->head_out, &in);
    in = (nk_linear_input){.x = g->head_mid, .ldx = c->embed_width, .m = n, .cols = c->embed_width, .act = g->head_act};
  }
  nk_linear_forward(g->machine, int8, g->logits, model->vocab, &model->head, &in);
  if (c->final_cap > 0.0f) g->machine->vec->softcap(g->logits, c->final_cap, n * model->vocab);
}

static void weights_backward(nk_gradient *g, const nk_linear *linear, const float *dy, const float *x, uint32_t n) {
  uint32_t rows = linear->matrix.rows, cols = linear->matrix.cols;
  nk_linear_weights_backward(g->machine, nk_weight_grad_of(g, linear->matrix.data), nk_weight_grad_of(g, linear->bias), dy,
                             rows, rows, x, cols, cols, n);
}

/* dx of the targets, from dlogits. */
static void head_backward(nk_gradient *g, uint32_t first, uint32_t n) {
  const nk_model *model = g->model;
  const nk_config *c = &model->config;
  uint32_t d = c->width, vocab = model->vocab;
  bool projected = model->head_out.matrix.format != NULL;
  float *to = projected ? g->dhead_mid : g->dhead_in;
  uint32_t width = projected ? c->embed_width : d;
  weights_backward(g, &model->head, g->logits, head_input(g), n);
  memset(to, 0, (size_t)n * width * sizeof *to);
  nk_linear_backward(g->machine, to, width, &model->head, g->logits, vocab, n, g->scratch);
  if (projected) {
    weights_backward(g, &model->head_out, g->dhead_mid, g->head_in, n);
    memset(g->dhead_in, 0, (size_t)n * d * sizeof *g->dhead_in);
    nk_linear_backward(g->machine, g->dhead_in, d, &model->head_out, g->dhead_mid, c->embed_width, n, g->scratch);
  }
  for (uint32_t i = 0; i < n; i++) {
    float *dx = g->dx + (size_t)g->targets[first + i] * d;
    const float *dy = g->dhead_in + (size_t)i * d;
    if (model->output_norm.weight != NULL) {
      nk_norm_backward(g, dx, dy, g->head_x + (size_t)i * d, &model->output_norm, d);
    } else {
      g->machine->vec->add(dx, dy, d);
    }
  }
}

typedef struct rows_job {
  nk_gradient *gradient;
  uint32_t first;
  double loss[NK_LOSS_ROWS];
} rows_job;

static void rows_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  rows_job *job = argument;
  const nk_gradient *g = job->gradient;
  size_t vocab = g->model->vocab;
  float cap = g->model->config.final_cap;
  for (uint32_t i = begin; i < end; i++) {
    float *z = g->logits + i * vocab;
    uint32_t label = (uint32_t)g->row.labels[g->targets[job->first + i] + 1];
    if (cap > 0.0f && g->backward) { /* the derivative of the cap needs the logits themselves */
      float *copy = g->capped + i * vocab;
      memcpy(copy, z, vocab * sizeof *z);
      job->loss[i] = row_loss(g, z, label);
      g->machine->vec->softcap_backward(z, copy, cap, (uint32_t)vocab);
    } else {
      job->loss[i] = row_loss(g, z, label);
    }
  }
}

void nk_loss(nk_gradient *g, uint32_t first, uint32_t n) {
  gather(g, first, n);
  head_forward(g, n);
  rows_job job = {.gradient = g, .first = first};
  nk_pool_run(g->machine->pool, n, 1, rows_task, &job);
  for (uint32_t i = 0; i < n; i++) g->loss += job.loss[i];
  g->scored += n;
  if (g->backward) head_backward(g, first, n);
}
