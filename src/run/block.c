/*
 * block.c: the transformer block, written once for every architecture.
 *
 *   x → [norm] → q k v (+ bias) → [q, k norm] → [rotary] → scores · scale → [soft cap] → mask → softmax → values
 *     → output (+ bias) → [post-norm] → + x → [norm]
 *     → [norm] → up (· act(gate)) → down (+ bias) → [post-norm] → + x → [norm]
 *
 * In a parallel layer the feed-forward reads what attention read, and both are added at the end. A layer may mix tokens by
 * a short convolution instead of attention (shortconv.c).
 *
 * Each step in brackets exists when its tensor does. Every output element is computed by one thread in an order that
 * depends on nothing but its own position, so batches, chunks and threads give the same bits.
 */
#include <math.h>
#include <string.h>

#include "run/pass.h"
#include "run/rope.h"

/* ---- Norms and other work on single tokens ----------------------------------------------------------------------- */

void nk_norm_forward(const nk_session *s, float *y, const float *x, const nk_norm *norm, uint32_t n) {
  const nk_config *c = &s->model->config;
  if (c->arch->norm == NK_NORM_RMS) {
    s->machine->vec->rmsnorm_forward(y, x, norm->weight, n, c->epsilon);
  } else {
    s->machine->vec->layernorm_forward(y, x, norm->weight, norm->bias, n, c->epsilon);
  }
}

typedef struct tokens_job {
  nk_session *session;
  const nk_layer *layer;
} tokens_job;

/* h = norm(x), or x where there is no norm, for the tokens [begin, end). */
static void norm_tokens(const tokens_job *job, const nk_norm *norm, uint32_t begin, uint32_t end) {
  nk_session *s = job->session;
  size_t d = s->model->config.width;
  const float *x = s->x + s->part_first * d;
  for (size_t t = begin; t < end; t++) {
    if (norm->weight != NULL) {
      nk_norm_forward(s, s->h + t * d, x + t * d, norm, (uint32_t)d);
    } else {
      memcpy(s->h + t * d, x + t * d, d * sizeof *s->h);
    }
  }
}

static void attn_norm_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const tokens_job *job = argument;
  norm_tokens(job, &job->layer->attn_norm, begin, end);
}

static void ffn_norm_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const tokens_job *job = argument;
  const nk_layer *layer = job->layer;
  /* A parallel layer without a norm of its own for the feed-forward shares attention's: made again, since h was used. */
  bool shared = layer->parallel && layer->ffn_norm.weight == NULL;
  norm_tokens(job, shared ? &layer->attn_norm : &layer->ffn_norm, begin, end);
}

/* The norm of q or k [heads, head_dim] of one token: span by span, each span with its weights. */
static void head_norm_forward(const nk_session *s, float *x, const nk_norm *norm, uint32_t heads, uint32_t span, bool own) {
  if (norm->weight == NULL) return;
  uint32_t all = heads * s->model->config.head_dim;
  for (uint32_t at = 0; at < all; at += span) {
    const nk_norm one = {.weight = norm->weight + (own ? at : 0), .bias = NULL};
    nk_norm_forward(s, x + at, x + at, &one, span);
  }
}

/* q, k norms, turns, and into the cache. */
static void keys_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const tokens_job *job = argument;
  nk_session *s = job->session;
  const nk_layer *layer = job->layer;
  const nk_config *c = &s->model->config;
  uint32_t n = c->head_dim;
  size_t ld = (size_t)(c->n_heads + 2 * c->n_kv_heads) * n;
  const float *all_turns = layer->local_rope ? s->local_turns : s->turns;
  for (size_t t = s->part_first + (size_t)begin; t < s->part_first + (size_t)end; t++) {
    float *q = s->qkv + t * ld, *k = q + (size_t)c->n_heads * n, *v = k + (size_t)c->n_kv_heads * n;
    const float *turns = all_turns + t * c->n_rot;
    head_norm_forward(s, q, &layer->q_norm, c->n_heads, layer->q_norm_span, layer->head_norms);
    head_norm_forward(s, k, &layer->k_norm, c->n_kv_heads, layer->k_norm_span, layer->head_norms);
    for (uint32_t head = 0; head < c->n_heads; head++) {
      nk_rope_forward(q + (size_t)head * n, turns, c->n_rot, c->arch->rope);
    }
    for (uint32_t head = 0; head < c->n_kv_heads; head++) {
      float *one = k + (size_t)head * n;
      nk_rope_forward(one, turns, c->n_rot, c->arch->rope);
      nk_kv_put(&s->kv, s->machine->vec, nk_kv_layer(s), head, s->length + (uint32_t)t, one, v + (size_t)head * n);
    }
  }
}

/* x = [norm](x + [post-norm](branch)) for the tokens [begin, end); branch [m, d]. sums: the tape's place for what is
   before the last norm, or NULL. */
static void add_branch(nk_session *s, float *branch, const nk_norm *post, const nk_norm *out, float *sums, uint32_t begin,
                       uint32_t end) {
  size_t d = s->model->config.width;
  for (size_t t = begin; t < end; t++) {
    float *one = branch + t * d, *x = s->x + (s->part_first + t) * d;
    if (post->weight != NULL) nk_norm_forward(s, one, one, post, (uint32_t)d);
    s->machine->vec->add(x, one, (uint32_t)d);
    if (sums != NULL) memcpy(sums + (s->part_first + t) * d, x, d * sizeof *x);
    if (out->weight != NULL) nk_norm_forward(s, x, x, out, (uint32_t)d);
  }
}

/* The tape's record of the layer in work; an empty one where there is no tape. */
static nk_record record_of(const nk_session *s) {
  return s->tape != NULL ? s->tape->records[s->layer] : (nk_record){0};
}

/* Copies the part's rows [m, n] to their place in the tape, where it has one. */
static void keep_rows(const nk_session *s, float *tape, const float *rows, size_t n) {
  if (tape != NULL) memcpy(tape + s->part_first * n, rows, s->part_n * n * sizeof *rows);
}

static void attn_residual_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const tokens_job *job = argument;
  nk_session *s = job->session;
  add_branch(s, s->branch, &job->layer->attn_post_norm, &job->layer->attn_out_norm, record_of(s).mid, begin, end);
}

static void ffn_residual_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const tokens_job *job = argument;
  nk_session *s = job->session;
  const nk_layer *layer = job->layer;
  if (layer->parallel) add_branch(s, s->branch, &layer->attn_post_norm, &layer->attn_out_norm, NULL, begin, end);
  float *branch = layer->parallel ? s->h : s->branch;
  add_branch(s, branch, &layer->ffn_post_norm, &layer->ffn_out_norm, record_of(s).sum, begin, end);
}

size_t nk_qkv_columns(const nk_session *s, const nk_layer *layer) {
  const nk_config *c = &s->model->config;
  return layer->conv != NULL ? 3 * (size_t)c->width : (size_t)(c->n_heads + 2 * c->n_kv_heads) * c->head_dim;
}

size_t nk_ff_columns(const nk_session *s, const nk_layer *layer) {
  return (size_t)s->model->config.n_ff * (layer->gate.matrix.format != NULL ? 2 : 1);
}

void nk_activation_forward(const nk_session *s, const nk_layer *layer, float *y, size_t ldy, const float *ff, uint32_t m) {
  uint32_t n = s->model->config.n_ff;
  size_t ld = nk_ff_columns(s, layer);
  for (size_t t = 0; t < m; t++) {
    const float *gate = ff + t * ld, *up = ld > n ? gate + n : NULL;
    switch (s->model->config.arch->activation) {
      case NK_ACTIVATION_SILU: s->machine->vec->silu_forward(y + t * ldy, gate, up, n); break;
      case NK_ACTIVATION_GELU_TANH: s->machine->vec->gelu_tanh_forward(y + t * ldy, gate, up, n); break;
      case NK_ACTIVATION_GELU_ERF: s->machine->vec->gelu_erf_forward(y + t * ldy, gate, up, n); break;
      case NK_ACTIVATION_RELU: s->machine->vec->relu_forward(y + t * ldy, gate, up, n); break;
    }
  }
}

static void activation_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const tokens_job *job = argument;
  size_t ld = nk_ff_columns(job->session, job->layer);
  float *ff = job->session->ff + begin * ld;
  nk_activation_forward(job->session, job->layer, ff, ld, ff, end - begin);
}

static void for_tokens(nk_session *s, const nk_layer *layer, nk_pool_task task) {
  tokens_job job = {.session = s, .layer = layer};
  nk_pool_run(s->machine->pool, s->part_n, NK_ROWS_GRAIN, task, &job);
}

void nk_turn_forward(nk_session *s, const nk_layer *layer) { for_tokens(s, layer, keys_task); }

/* ---- The stages -------------------------------------------------------------------------------------------------- */

nk_adapted nk_adapted_at(const nk_session *s, nk_slot slot) {
  return (nk_adapted){.machine = s->machine, .adapters = &s->adapters, .layer = s->layer, .slot = slot,
                      .dropout = s->dropout, .first = s->part_first};
}

/* The tape's copy of y [m, rows], which is a range of columns of qkv or ff. */
static void keep_columns(const nk_session *s, nk_slot slot, const float *y, size_t ld, uint32_t rows) {
  nk_record record = record_of(s);
  bool qkv = slot <= NK_SLOT_V;
  float *tape = qkv ? record.qkv : slot == NK_SLOT_GATE || slot == NK_SLOT_UP ? record.ff : NULL;
  if (tape == NULL) return;
  size_t column = (size_t)(y - (qkv ? s->qkv + s->part_first * ld : s->ff));
  for (size_t t = 0; t < s->part_n; t++)
    memcpy(tape + (s->part_first + t) * ld + column, y + t * ld, rows * sizeof *y);
}

void nk_adapted_forward(nk_session *s, const nk_layer *layer, nk_slot slot, float *y, size_t ldy,
                        const nk_linear_input *in) {
  uint32_t rows = nk_layer_slot(layer, slot)->matrix.rows;
  nk_adapted at = nk_adapted_at(s, slot);
  bool any = nk_adapted_any(&at);
  if (any) nk_lora_forward(&at, y, ldy, rows, in->x, in->ldx, in->m, in->cols);
  keep_columns(s, slot, y, ldy, rows);
  if (any && slot != NK_SLOT_DOWN) nk_ia3_forward(&at, y, ldy, in->m, rows);
}

void nk_adapted_input_forward(nk_session *s, const nk_layer *layer) {
  nk_adapted at = nk_adapted_at(s, NK_SLOT_DOWN);
  if (nk_adapted_any(&at)) nk_ia3_forward(&at, s->ff, nk_ff_columns(s, layer), s->part_n, s->model->config.n_ff);
}

/* The linear of a slot with its adapters. */
static void slot_forward(nk_session *s, const nk_layer *layer, nk_slot slot, float *y, size_t ldy, nk_linear_input *in) {
  nk_linear_forward(s->machine, !s->options.float_activations, y, ldy, nk_layer_slot(layer, slot), in);
  nk_adapted_forward(s, layer, slot, y, ldy, in);
}

static void attn_in(nk_session *s, const nk_layer *layer) {
  const nk_config *c = &s->model->config;
  size_t ld = nk_qkv_columns(s, layer);
  keep_rows(s, record_of(s).x, s->x + s->part_first * (size_t)c->width, c->width);
  for_tokens(s, layer, attn_norm_task);
  nk_linear_input in = {.x = s->h, .ldx = c->width, .m = s->part_n, .cols = c->width, .act = s->act};
  float *y = s->qkv + s->part_first * ld;
  for (uint32_t i = 0; i < layer->n_qkv; i++) {
    slot_forward(s, layer, (nk_slot)(NK_SLOT_Q + i), y, ld, &in);
    y += layer->qkv[i].matrix.rows;
  }
  if (layer->conv == NULL) nk_turn_forward(s, layer);
}

static void attn(nk_session *s, const nk_layer *layer) {
  if (layer->conv != NULL) {
    nk_shortconv_forward(s, layer);
  } else {
    nk_attention_forward(s, layer);
  }
  keep_rows(s, record_of(s).mixed, s->h, layer->attn_out.matrix.cols);
}

static void attn_out(nk_session *s, const nk_layer *layer) {
  const nk_config *c = &s->model->config;
  uint32_t q = layer->attn_out.matrix.cols;
  nk_linear_input in = {.x = s->h, .ldx = q, .m = s->part_n, .cols = q, .act = s->act};
  slot_forward(s, layer, NK_SLOT_ATTN_OUT, s->branch, c->width, &in);
  keep_rows(s, record_of(s).attn, s->branch, c->width);
  if (!layer->parallel) for_tokens(s, layer, attn_residual_task);
}

static void ffn_in(nk_session *s, const nk_layer *layer) {
  const nk_config *c = &s->model->config;
  for_tokens(s, layer, ffn_norm_task);
  nk_linear_input in = {.x = s->h, .ldx = c->width, .m = s->part_n, .cols = c->width, .act = s->act};
  size_t ld = nk_ff_columns(s, layer);
  if (layer->gate.matrix.format != NULL) slot_forward(s, layer, NK_SLOT_GATE, s->ff, ld, &in);
  if (layer->up.matrix.format != NULL)
    slot_forward(s, layer, NK_SLOT_UP, ld > c->n_ff ? s->ff + c->n_ff : s->ff, ld, &in);
  for_tokens(s, layer, activation_task);
  nk_adapted_input_forward(s, layer);
}

static void ffn_out(nk_session *s, const nk_layer *layer) {
  const nk_config *c = &s->model->config;
  nk_linear_input in = {.x = s->ff, .ldx = nk_ff_columns(s, layer), .m = s->part_n, .cols = c->n_ff, .act = s->act};
  /* A parallel layer still holds attention's branch; h has been read and can take the other. */
  float *branch = layer->parallel ? s->h : s->branch;
  slot_forward(s, layer, NK_SLOT_DOWN, branch, c->width, &in);
  keep_rows(s, record_of(s).ffn, branch, c->width);
  for_tokens(s, layer, ffn_residual_task);
}

void nk_block_stage(nk_session *s, const nk_layer *layer, nk_stage stage) {
  switch (stage) {
    case NK_STAGE_ATTN_IN: attn_in(s, layer); return;
    case NK_STAGE_ATTN: attn(s, layer); return;
    case NK_STAGE_ATTN_OUT: attn_out(s, layer); return;
    case NK_STAGE_FFN_IN: ffn_in(s, layer); return;
    case NK_STAGE_FFN_OUT: ffn_out(s, layer); return;
    case NK_STAGE_COUNT: return;
  }
}

static uint64_t elements(const nk_linear *linear) { return (uint64_t)linear->matrix.rows * linear->matrix.cols; }

uint64_t nk_block_products(const nk_session *s, const nk_layer *layer, nk_stage stage) {
  uint64_t m = s->options.float_activations ? 2ull * s->part_n : s->part_n;
  switch (stage) {
    case NK_STAGE_ATTN_IN: return m * (elements(&layer->qkv[0]) + elements(&layer->qkv[1]) + elements(&layer->qkv[2]));
    case NK_STAGE_ATTN:
      if (layer->conv != NULL) return (uint64_t)s->part_n * s->model->config.width * s->model->config.conv_taps;
      return s->part_n * nk_attention_products(s, layer->window, s->batch_n);
    case NK_STAGE_ATTN_OUT: return m * elements(&layer->attn_out);
    case NK_STAGE_FFN_IN: return m * (elements(&layer->gate) + elements(&layer->up));
    case NK_STAGE_FFN_OUT: return m * elements(&layer->down);
    case NK_STAGE_COUNT: return 0;
  }
  return 0;
}
