/*
 * block_backward.c: the gradient of block.c's block, step by step in the opposite order, for every architecture.
 *
 * nk_branches_backward takes dx of a layer's output through the feed-forward and attention's output projection; attention's
 * own gradient follows over the whole row (attention_backward.c); nk_input_backward goes from dqkv to dx of the layer's
 * input. Norms, activations and IA3's factors are made again from the record. An addend's gradient is added where it comes
 * from: dx stays the gradient of the residual stream throughout.
 */
#include <string.h>

#include "run/rope.h"
#include "run/way_back.h"

/* ---- Norms --------------------------------------------------------------------------------------------------------- */

void nk_norm_backward(const nk_gradient *g, float *dx, const float *dy, const float *x, const nk_norm *norm, uint32_t n) {
  const nk_config *c = &g->model->config;
  float *dw = nk_weight_grad_of(g, norm->weight), *db = nk_weight_grad_of(g, norm->bias);
  if (c->arch->norm == NK_NORM_RMS) {
    g->machine->vec->rmsnorm_backward(dx, dw, dy, x, norm->weight, n, c->epsilon);
  } else {
    g->machine->vec->layernorm_backward(dx, dw, db, dy, x, norm->weight, n, c->epsilon);
  }
}

/* For the tokens of a part: rows [d] of the given matrices, of which those of the row's are offset by its first entry. */
typedef struct tokens_job {
  nk_gradient *gradient;
  const nk_layer *layer;
  const nk_norm *norm;
  float *to;       /* [part, d] */
  const float *from, *x;
} tokens_job;

/* Tokens go over the pool, unless a norm's weights learn: those are one sum. */
static void for_tokens(const nk_gradient *g, nk_pool_task task, tokens_job *job) {
  uint32_t n = g->s->part_n;
  nk_pool_run(g->machine->pool, n, g->options.weights ? n : NK_ROWS_GRAIN, task, job);
}

static size_t width_of(const tokens_job *job) { return job->gradient->model->config.width; }

/* to = [norm](x), x [T, d] */
static void norm_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const tokens_job *job = argument;
  const nk_session *s = job->gradient->s;
  size_t d = width_of(job);
  for (size_t t = begin; t < end; t++) {
    const float *x = job->x + (s->part_first + t) * d;
    if (job->norm->weight != NULL) {
      nk_norm_forward(s, job->to + t * d, x, job->norm, (uint32_t)d);
    } else {
      memcpy(job->to + t * d, x, d * sizeof *x);
    }
  }
}

/* to [part, d] = the gradient of what a post-norm took, from [T, d] being that of its result; x [T, d] what it took. */
static void post_norm_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const tokens_job *job = argument;
  size_t d = width_of(job), first = job->gradient->s->part_first;
  for (size_t t = begin; t < end; t++) {
    float *to = job->to + t * d;
    const float *from = job->from + (first + t) * d;
    if (job->norm->weight == NULL) {
      memcpy(to, from, d * sizeof *to);
      continue;
    }
    memset(to, 0, d * sizeof *to);
    nk_norm_backward(job->gradient, to, from, job->x + (first + t) * d, job->norm, (uint32_t)d);
  }
}

/* dx [T, d] += the gradient through a branch's norm: from [part, d], x [T, d] what it took. */
static void pre_norm_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const tokens_job *job = argument;
  nk_gradient *g = job->gradient;
  size_t d = width_of(job), first = g->s->part_first;
  for (size_t t = begin; t < end; t++) {
    float *dx = g->dx + (first + t) * d;
    const float *from = job->from + t * d;
    if (job->norm->weight == NULL) {
      g->machine->vec->add(dx, from, (uint32_t)d);
    } else {
      nk_norm_backward(g, dx, from, job->x + (first + t) * d, job->norm, (uint32_t)d);
    }
  }
}

/* dx of the part becomes that of what the norm after an addition took: x [T, d]. Uses branch. */
static void out_norm_backward(nk_gradient *g, const nk_norm *norm, const float *x) {
  if (norm->weight == NULL) return;
  size_t d = g->model->config.width;
  tokens_job job = {.gradient = g, .norm = norm, .to = g->s->branch, .from = g->dx, .x = x};
  for_tokens(g, post_norm_task, &job);
  memcpy(g->dx + g->s->part_first * d, g->s->branch, g->s->part_n * d * sizeof *g->dx);
}

/* ---- Linears ------------------------------------------------------------------------------------------------------- */

static nk_adapted_grads adapted_grads(const nk_gradient *g) {
  return (nk_adapted_grads){.grads = g->adapter != NULL ? g->grads : NULL, .rank = g->rank};
}

/* dx [m, cols] += (NULL: not wanted) for dy [m, rows] and x [m, cols], the slot's input: weights, LoRA. */
static void slot_backward(nk_gradient *g, const nk_layer *layer, nk_slot slot, float *dx, size_t lddx, const float *dy,
                          size_t lddy, const float *x, size_t ldx) {
  const nk_linear *linear = nk_layer_slot(layer, slot);
  uint32_t m = g->s->part_n, rows = linear->matrix.rows, cols = linear->matrix.cols;
  nk_adapted at = nk_adapted_at(g->s, slot);
  nk_adapted_grads to = adapted_grads(g);
  nk_lora_backward(&at, &to, dx, lddx, dy, lddy, rows, x, ldx, m, cols);
  nk_linear_weights_backward(g->machine, nk_weight_grad_of(g, linear->matrix.data), nk_weight_grad_of(g, linear->bias), dy,
                             lddy, rows, x, ldx, cols, m);
  if (dx != NULL) nk_linear_backward(g->machine, dx, lddx, linear, dy, lddy, m, g->scratch);
}

/* IA3 on a linear's result: dl from x, the result before it, then dy through it. */
static void factors_backward(nk_gradient *g, nk_slot slot, float *dy, size_t lddy, const float *x, size_t ldx,
                             uint32_t n) {
  nk_adapted at = nk_adapted_at(g->s, slot);
  nk_adapted_grads to = adapted_grads(g);
  if (nk_adapted_any(&at)) nk_ia3_backward(&at, &to, dy, lddy, x, ldx, g->s->part_n, n);
}

/* The same forward, on a copy of what the tape has. */
static void factors_again(nk_gradient *g, nk_slot slot, float *y, size_t ldy, uint32_t n) {
  nk_adapted at = nk_adapted_at(g->s, slot);
  if (nk_adapted_any(&at)) nk_ia3_forward(&at, y, ldy, g->s->part_n, n);
}

/* ---- The feed-forward ---------------------------------------------------------------------------------------------- */

typedef struct ff_job {
  nk_gradient *gradient;
  const nk_layer *layer;
} ff_job;

/* act, and act_in where it differs. */
static void activation_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const ff_job *job = argument;
  nk_gradient *g = job->gradient;
  uint32_t n = g->model->config.n_ff;
  size_t ld = nk_ff_columns(g->s, job->layer);
  nk_activation_forward(g->s, job->layer, g->act + begin * (size_t)n, n, g->ffv + begin * ld, end - begin);
}

/* s->ff = the gradient of gate | up from dact. */
static void activation_backward_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const ff_job *job = argument;
  nk_gradient *g = job->gradient;
  const nk_vec *vec = g->machine->vec;
  uint32_t n = g->model->config.n_ff;
  size_t ld = nk_ff_columns(g->s, job->layer);
  for (size_t t = begin; t < end; t++) {
    float *dg = g->s->ff + t * ld, *du = ld > n ? dg + n : NULL;
    const float *dy = g->dact + t * n, *gate = g->ffv + t * ld, *up = ld > n ? gate + n : NULL;
    switch (g->model->config.arch->activation) {
      case NK_ACTIVATION_SILU: vec->silu_backward(dg, du, dy, gate, up, n); break;
      case NK_ACTIVATION_GELU_TANH: vec->gelu_tanh_backward(dg, du, dy, gate, up, n); break;
      case NK_ACTIVATION_GELU_ERF: vec->gelu_erf_backward(dg, du, dy, gate, up, n); break;
      case NK_ACTIVATION_RELU: vec->relu_backward(dg, du, dy, gate, up, n); break;
    }
  }
}

/* The columns of gate | up in ff that a slot makes. */
static uint32_t slot_column(const nk_session *s, const nk_layer *layer, nk_slot slot) {
  uint32_t n = s->model->config.n_ff;
  return slot == NK_SLOT_UP && nk_ff_columns(s, layer) > n ? n : 0;
}

/* dact from dbranch (s->branch), through DOWN. */
static void down_backward(nk_gradient *g, const nk_layer *layer, const nk_record *record) {
  const nk_session *s = g->s;
  const nk_config *c = &g->model->config;
  uint32_t n = c->n_ff, m = s->part_n;
  size_t ld = nk_ff_columns(s, layer);
  memcpy(g->ffv, record->ff + s->part_first * ld, m * ld * sizeof *g->ffv);
  for (nk_slot slot = NK_SLOT_GATE; slot <= NK_SLOT_UP; slot++) {
    const nk_linear *linear = nk_layer_slot(layer, slot);
    if (linear != NULL) factors_again(g, slot, g->ffv + slot_column(s, layer, slot), ld, linear->matrix.rows);
  }
  ff_job job = {.gradient = g, .layer = layer};
  nk_pool_run(g->machine->pool, m, NK_ROWS_GRAIN, activation_task, &job);
  memcpy(g->act_in, g->act, (size_t)m * n * sizeof *g->act);
  factors_again(g, NK_SLOT_DOWN, g->act_in, n, n);
  memset(g->dact, 0, (size_t)m * n * sizeof *g->dact);
  slot_backward(g, layer, NK_SLOT_DOWN, g->dact, n, s->branch, c->width, g->act_in, n);
  factors_backward(g, NK_SLOT_DOWN, g->dact, n, g->act, n, n);
}

static void ffn_backward(nk_gradient *g, const nk_layer *layer, const nk_record *record) {
  nk_session *s = g->s;
  const nk_config *c = &g->model->config;
  uint32_t d = c->width, m = s->part_n;
  size_t ld = nk_ff_columns(s, layer);
  tokens_job job = {.gradient = g, .layer = layer, .norm = &layer->ffn_post_norm, .to = s->branch, .from = g->dx,
                    .x = record->ffn};
  for_tokens(g, post_norm_task, &job);
  down_backward(g, layer, record);
  ff_job ff = {.gradient = g, .layer = layer};
  nk_pool_run(g->machine->pool, m, NK_ROWS_GRAIN, activation_backward_task, &ff);

  /* What gate and up read: the norm of the residual stream between the branches; in a parallel layer of the input. */
  const nk_norm *norm = layer->parallel && layer->ffn_norm.weight == NULL ? &layer->attn_norm : &layer->ffn_norm;
  const float *x = layer->parallel ? record->x : record->mid;
  tokens_job again = {.gradient = g, .layer = layer, .norm = norm, .to = s->h, .x = x};
  if (!layer->parallel && layer->attn_out_norm.weight != NULL) again.norm = &layer->attn_out_norm;
  for_tokens(g, norm_task, &again);
  memset(g->dh, 0, (size_t)m * d * sizeof *g->dh);
  for (nk_slot slot = NK_SLOT_GATE; slot <= NK_SLOT_UP; slot++) {
    const nk_linear *linear = nk_layer_slot(layer, slot);
    if (linear == NULL) continue;
    uint32_t column = slot_column(s, layer, slot);
    factors_backward(g, slot, s->ff + column, ld, record->ff + s->part_first * ld + column, ld, linear->matrix.rows);
    slot_backward(g, layer, slot, g->dh, d, s->ff + column, ld, s->h, d);
  }
  tokens_job back = {.gradient = g, .layer = layer, .norm = norm, .from = g->dh, .x = x};
  for_tokens(g, pre_norm_task, &back);
}

/* ---- Attention's output -------------------------------------------------------------------------------------------- */

static void attn_out_backward(nk_gradient *g, const nk_layer *layer, const nk_record *record) {
  nk_session *s = g->s;
  uint32_t d = g->model->config.width, q = layer->attn_out.matrix.cols, m = s->part_n;
  tokens_job job = {.gradient = g, .layer = layer, .norm = &layer->attn_post_norm, .to = s->branch, .from = g->dx,
                    .x = record->attn};
  for_tokens(g, post_norm_task, &job);
  const float *mixed = record->mixed + (size_t)s->part_first * q;
  float *dmixed = g->dmixed + (size_t)s->part_first * q;
  nk_adapted at = nk_adapted_at(s, NK_SLOT_ATTN_OUT);
  if (nk_adapted_any(&at) && g->adapter->method == NK_METHOD_IA3) { /* the result before the factors is not in the record */
    nk_linear_input in = {.x = mixed, .ldx = q, .m = m, .cols = q, .act = s->act};
    nk_linear_forward(g->machine, !s->options.float_activations, g->dh, d, &layer->attn_out, &in);
    factors_backward(g, NK_SLOT_ATTN_OUT, s->branch, d, g->dh, d, d);
  }
  memset(dmixed, 0, (size_t)m * q * sizeof *dmixed);
  slot_backward(g, layer, NK_SLOT_ATTN_OUT, dmixed, q, s->branch, d, mixed, q);
}

void nk_branches_backward(nk_gradient *g, const nk_layer *layer) {
  nk_record record = g->tape.records[g->s->layer];
  out_norm_backward(g, &layer->ffn_out_norm, record.sum);
  if (layer->parallel) { /* both branches were added to the input: dx is both results' gradient until the second adds */
    attn_out_backward(g, layer, &record);
    ffn_backward(g, layer, &record);
    return;
  }
  ffn_backward(g, layer, &record);
  out_norm_backward(g, &layer->attn_out_norm, record.mid);
  attn_out_backward(g, layer, &record);
}

/* ---- Queries, keys and values -------------------------------------------------------------------------------------- */

/* qkv of the part as the linears gave it, IA3 included. */
static void linears_again(nk_gradient *g, const nk_layer *layer) {
  nk_session *s = g->s;
  size_t ld = nk_qkv_columns(s, layer);
  const nk_record *record = &g->tape.records[s->layer];
  float *qkv = s->qkv + s->part_first * ld;
  memcpy(qkv, record->qkv + s->part_first * ld, s->part_n * ld * sizeof *qkv);
  for (uint32_t i = 0; i < layer->n_qkv; i++) {
    factors_again(g, (nk_slot)(NK_SLOT_Q + i), qkv, ld, layer->qkv[i].matrix.rows);
    qkv += layer->qkv[i].matrix.rows;
  }
}

void nk_turned_again(nk_gradient *g, const nk_layer *layer) {
  linears_again(g, layer);
  if (layer->conv == NULL) nk_turn_forward(g->s, layer);
}

/* The gradient through the norm of q or k [heads, head_dim] of one token; x is what the norm took. */
static void head_norm_backward(const nk_gradient *g, float *dy, const float *x, const nk_norm *norm, uint32_t heads,
                               uint32_t span, bool own) {
  if (norm->weight == NULL) return;
  uint32_t all = heads * g->model->config.head_dim;
  float dx[NK_MAX_HEAD_DIM];
  for (uint32_t at = 0; at < all; at += span) {
    nk_norm one = {.weight = norm->weight + (own ? at : 0)};
    float *dw = nk_weight_grad_of(g, norm->weight);
    float *room = span <= NK_MAX_HEAD_DIM ? dx : g->dh; /* a norm over all heads: dh is free, and as wide */
    memset(room, 0, span * sizeof *room);
    if (g->model->config.arch->norm == NK_NORM_RMS) {
      g->machine->vec->rmsnorm_backward(room, dw != NULL ? dw + (own ? at : 0) : NULL, dy + at, x + at, one.weight, span,
                                        g->model->config.epsilon);
    } else {
      g->machine->vec->layernorm_backward(room, dw != NULL ? dw + (own ? at : 0) : NULL, NULL, dy + at, x + at, one.weight,
                                          span, g->model->config.epsilon);
    }
    memcpy(dy + at, room, span * sizeof *room);
  }
}

/* dqkv of one part: from turned to as the linears gave it, IA3 included. */
static void turn_backward(nk_gradient *g, const nk_layer *layer, const float *raw) {
  const nk_session *s = g->s;
  const nk_config *c = &g->model->config;
  uint32_t n = c->head_dim;
  size_t ld = nk_qkv_columns(s, layer);
  const float *all_turns = layer->local_rope ? s->local_turns : s->turns;
  for (size_t t = 0; t < s->part_n; t++) {
    size_t entry = s->part_first + t;
    float *q = g->dqkv + entry * ld, *k = q + (size_t)c->n_heads * n;
    const float *turns = all_turns + entry * c->n_rot, *x = raw + entry * ld;
    for (uint32_t head = 0; head < c->n_heads + c->n_kv_heads; head++)
      nk_rope_backward(q + (size_t)head * n, turns, c->n_rot, c->arch->rope);
    head_norm_backward(g, q, x, &layer->q_norm, c->n_heads, layer->q_norm_span, layer->head_norms);
    head_norm_backward(g, k, x + (size_t)c->n_heads * n, &layer->k_norm, c->n_kv_heads, layer->k_norm_span,
                       layer->head_norms);
  }
}

void nk_input_backward(nk_gradient *g, const nk_layer *layer, bool want_dx) {
  nk_session *s = g->s;
  const nk_config *c = &g->model->config;
  nk_record record = g->tape.records[s->layer];
  uint32_t d = c->width, m = s->part_n;
  size_t ld = nk_qkv_columns(s, layer);
  if (layer->conv == NULL) {
    /* What the norms took, in qkv's place. */
    if (layer->q_norm.weight != NULL || layer->k_norm.weight != NULL) linears_again(g, layer);
    turn_backward(g, layer, s->qkv);
  }
  tokens_job again = {.gradient = g, .layer = layer, .norm = &layer->attn_norm, .to = s->h, .x = record.x};
  for_tokens(g, norm_task, &again);
  memset(g->dh, 0, (size_t)m * d * sizeof *g->dh);
  size_t column = s->part_first * ld;
  for (uint32_t i = 0; i < layer->n_qkv; i++) {
    nk_slot slot = (nk_slot)(NK_SLOT_Q + i);
    uint32_t rows = layer->qkv[i].matrix.rows;
    factors_backward(g, slot, g->dqkv + column, ld, record.qkv + column, ld, rows);
    slot_backward(g, layer, slot, want_dx ? g->dh : NULL, d, g->dqkv + column, ld, s->h, d);
    column += rows;
  }
  if (!want_dx) return;
  tokens_job back = {.gradient = g, .layer = layer, .norm = &layer->attn_norm, .from = g->dh, .x = record.x};
  for_tokens(g, pre_norm_task, &back);
}
