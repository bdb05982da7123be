/*
 * block.c: the transformer block, written once for every architecture.
 *
 *   x → [norm] → q k v (+ bias) → [q, k norm] → [rotary] → scores · scale → [soft cap] → mask → softmax → values
 *     → output (+ bias) → [post-norm] → + x → [norm]
 *     → [norm] → up (· act(gate)) → down (+ bias) → [post-norm] → + x → [norm]
 *
 * In a parallel layer the feed-forward reads what attention read, and both are added at the end.
 *
 * Each step in brackets exists when its tensor does. Every output element is computed by one thread in an order that
 * depends on nothing but its own position, so batches, chunks and threads give the same bits.
 */
#include <math.h>
#include <string.h>

#include "run/pass.h"
#include "run/rope.h"

#define ROWS_GRAIN 4u /* tokens a task of elementwise work takes: one token stays on the calling thread */

/* ---- Linear --------------------------------------------------------------------------------------------------------- */

/* y [m, rows] = x Wᵀ + b: one product over the pool. */
typedef struct product {
  const nk_machine *machine;
  const nk_linear *linear;
  float *y; /* [m, rows], row stride ldy */
  size_t ldy;
  const float *x; /* [m, cols], row stride ldx */
  size_t ldx;
  const void *act; /* x quantized, or NULL: float32 product */
  uint32_t m;
} product;

static void product_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const product *p = argument;
  const nk_matrix *w = &p->linear->matrix;
  if (p->act != NULL) {
    nk_gemm_q8(p->machine->ops, p->y, p->ldy, w, p->act, p->m, begin, end - begin);
  } else {
    nk_gemm_f32(p->machine->ops, p->y, p->ldy, w, p->x, p->ldx, p->m, begin, end - begin);
  }
  if (p->linear->bias == NULL) return;
  uint32_t first = begin * NK_GROUP_ROWS, last = end * NK_GROUP_ROWS < w->rows ? end * NK_GROUP_ROWS : w->rows;
  for (uint32_t t = 0; t < p->m; t++) {
    p->machine->vec->add(p->y + t * p->ldy + first, p->linear->bias + first, last - first);
  }
}

static bool takes_int8(const nk_session *s, const nk_linear *linear) {
  return !s->options.float_activations && !nk_format_is_float(linear->matrix.format);
}

/* Products of the same input: quantized once, and only if one of them wants it. */
typedef struct input {
  const float *x; /* [m, cols], row stride ldx */
  size_t ldx;
  uint32_t m, cols;
  uint8_t *act; /* room for the quantized form */
  bool quantized;
} input;

static void linear_forward(nk_session *s, float *y, size_t ldy, const nk_linear *linear, input *in) {
  bool int8 = takes_int8(s, linear);
  if (int8 && !in->quantized) {
    nk_act_quantize(s->machine->ops, in->act, in->x, in->ldx, in->m, in->cols);
    in->quantized = true;
  }
  product p = {.machine = s->machine, .linear = linear, .y = y, .ldy = ldy, .x = in->x, .ldx = in->ldx,
               .act = int8 ? in->act : NULL, .m = in->m};
  uint32_t groups = (linear->matrix.rows + NK_GROUP_ROWS - 1) / NK_GROUP_ROWS;
  uint32_t pieces = nk_pool_threads(s->machine->pool);
  pieces = pieces == 1 ? 1 : 4 * pieces; /* small pieces even out threads of unequal speed */
  nk_pool_run(s->machine->pool, groups, (groups + pieces - 1) / pieces, product_task, &p);
}

/* ---- Norms and other work on single tokens ----------------------------------------------------------------------- */

static void norm_forward(const nk_session *s, float *y, const float *x, const nk_norm *norm, uint32_t n) {
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
  for (size_t t = begin; t < end; t++) {
    if (norm->weight != NULL) {
      norm_forward(s, s->h + t * d, s->x + t * d, norm, (uint32_t)d);
    } else {
      memcpy(s->h + t * d, s->x + t * d, d * sizeof *s->h);
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
    norm_forward(s, x + at, x + at, &one, span);
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
  for (size_t t = begin; t < end; t++) {
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
      nk_kv_put(&s->kv, s->machine->vec, s->layer, head, s->length + (uint32_t)t, one, v + (size_t)head * n);
    }
  }
}

/* x = [norm](x + [post-norm](branch)) for the tokens [begin, end); branch [m, d]. */
static void add_branch(nk_session *s, float *branch, const nk_norm *post, const nk_norm *out, uint32_t begin,
                       uint32_t end) {
  size_t d = s->model->config.width;
  for (size_t t = begin; t < end; t++) {
    float *one = branch + t * d, *x = s->x + t * d;
    if (post->weight != NULL) norm_forward(s, one, one, post, (uint32_t)d);
    s->machine->vec->add(x, one, (uint32_t)d);
    if (out->weight != NULL) norm_forward(s, x, x, out, (uint32_t)d);
  }
}

static void attn_residual_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const tokens_job *job = argument;
  add_branch(job->session, job->session->branch, &job->layer->attn_post_norm, &job->layer->attn_out_norm, begin, end);
}

static void ffn_residual_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const tokens_job *job = argument;
  nk_session *s = job->session;
  const nk_layer *layer = job->layer;
  if (layer->parallel) add_branch(s, s->branch, &layer->attn_post_norm, &layer->attn_out_norm, begin, end);
  add_branch(s, layer->parallel ? s->h : s->branch, &layer->ffn_post_norm, &layer->ffn_out_norm, begin, end);
}

/* Columns of ff: gate | up, or up alone. */
static size_t ff_columns(const nk_session *s, const nk_layer *layer) {
  return (size_t)s->model->config.n_ff * (layer->gate.matrix.format != NULL ? 2 : 1);
}

static void activation_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const tokens_job *job = argument;
  nk_session *s = job->session;
  uint32_t n = s->model->config.n_ff;
  size_t ld = ff_columns(s, job->layer);
  for (size_t t = begin; t < end; t++) {
    float *gate = s->ff + t * ld;
    const float *up = ld > n ? gate + n : NULL;
    switch (s->model->config.arch->activation) {
      case NK_ACTIVATION_SILU: s->machine->vec->silu_forward(gate, gate, up, n); break;
      case NK_ACTIVATION_GELU_TANH: s->machine->vec->gelu_tanh_forward(gate, gate, up, n); break;
      case NK_ACTIVATION_GELU_ERF: s->machine->vec->gelu_erf_forward(gate, gate, up, n); break;
      case NK_ACTIVATION_RELU: s->machine->vec->relu_forward(gate, gate, up, n); break;
    }
  }
}

static void for_tokens(nk_session *s, const nk_layer *layer, nk_pool_task task) {
  tokens_job job = {.session = s, .layer = layer};
  nk_pool_run(s->machine->pool, s->batch_n, ROWS_GRAIN, task, &job);
}

/* ---- Attention --------------------------------------------------------------------------------------------------- */

/* Positions of scores that one query may need, from a tile's start to a tile's end. */
static uint64_t score_room(uint32_t context) { return ((uint64_t)context + 2 * NK_KV_TILE - 1) / NK_KV_TILE * NK_KV_TILE; }

uint32_t nk_attention_queries(const nk_config *c, uint32_t context) {
  uint64_t shared = c->n_heads / c->n_kv_heads;
  uint64_t queries = 65536 / (shared * score_room(context)); /* 256 KB of scores: they should stay in the L2 cache */
  return queries < 1 ? 1 : queries > 16 ? 16 : (uint32_t)queries;
}

uint64_t nk_attention_scratch(const nk_config *c, uint32_t context) {
  uint64_t rows = (uint64_t)nk_attention_queries(c, context) * (c->n_heads / c->n_kv_heads);
  uint64_t floats = rows * (2ull * c->head_dim + score_room(context)) + (uint64_t)NK_KV_TILE * c->head_dim;
  return (floats + 15) / 16 * 16;
}

/* Queries [first, first + n) of the batch against one key/value head; `rows` = n · shared query heads. */
typedef struct attention {
  const nk_session *session;
  uint32_t window;
  uint32_t head, first, n, shared;
  float *q;      /* [rows, head_dim], scaled */
  float *out;    /* [rows, head_dim] */
  float *scores; /* [rows, room]; column 0 is position `start` */
  size_t room;
  uint32_t start; /* a multiple of 8: the first position that any of the queries sees */
  float *tile;   /* [8 · head_dim] */
} attention;

static uint32_t position_of(const attention *a, uint32_t query) { return a->session->length + a->first + query; }

/* The first position that a query at `position` sees. */
static uint32_t seen_from(uint32_t position, uint32_t window) {
  return window == 0 || position + 1 <= window ? 0 : position + 1 - window;
}

static void attention_load(attention *a) {
  const nk_session *s = a->session;
  const nk_config *c = &s->model->config;
  uint32_t n = c->head_dim;
  size_t ld = (size_t)(c->n_heads + 2 * c->n_kv_heads) * n;
  float scale = c->attn_scale;
  for (uint32_t i = 0; i < a->n; i++) {
    const float *q = s->qkv + (a->first + i) * ld + (size_t)a->head * a->shared * n;
    float *row = a->q + (size_t)i * a->shared * n;
    memcpy(row, q, (size_t)a->shared * n * sizeof *row);
    s->machine->vec->scale(row, scale, a->shared * n);
  }
}

static void attention_scores(attention *a) {
  const nk_session *s = a->session;
  uint32_t n = s->model->config.head_dim;
  uint32_t last = position_of(a, a->n - 1);
  for (uint32_t position = a->start; position <= last; position += NK_KV_TILE) {
    /* Queries that see something of this tile: not before its first position, and not with a window that begins after
       it. */
    uint32_t from = 0, to = a->n;
    while (from < to && position_of(a, from) < position) from++;
    while (to > from && seen_from(position_of(a, to - 1), a->window) >= position + NK_KV_TILE) to--;
    if (from == to) continue;
    const float *keys = nk_kv_keys(&s->kv, s->machine->vec, s->layer, a->head, position / NK_KV_TILE, a->tile);
    size_t row = (size_t)from * a->shared;
    s->machine->vec->attention_scores(a->scores + row * a->room + (position - a->start), a->room, a->q + row * n, n,
                                      (to - from) * a->shared, keys, n);
  }
}

/* Masks, softmax over the tiles that the query touches; returns nothing: p stays in place, out is scaled at the end. */
static double attention_softmax(attention *a, uint32_t query, float *scores) {
  uint32_t position = position_of(a, query), first = seen_from(position, a->window);
  uint32_t begin = first / NK_KV_TILE * NK_KV_TILE, end = (position / NK_KV_TILE + 1) * NK_KV_TILE;
  const nk_session *s = a->session;
  float cap = s->model->config.attn_cap;
  if (cap > 0.0f) s->machine->vec->softcap(scores + (begin - a->start), cap, end - begin);
  for (uint32_t j = begin; j < first; j++) scores[j - a->start] = -INFINITY;
  for (uint32_t j = position + 1; j < end; j++) scores[j - a->start] = -INFINITY;
  return a->session->machine->vec->softmax_forward(scores + (begin - a->start), end - begin);
}

static void attention_values(attention *a) {
  const nk_session *s = a->session;
  uint32_t n = s->model->config.head_dim;
  uint32_t last = position_of(a, a->n - 1);
  for (uint32_t position = a->start; position <= last; position += NK_KV_TILE) {
    const float *values = NULL;
    for (uint32_t i = 0; i < a->n; i++) {
      uint32_t own = position_of(a, i);
      if (own < position || seen_from(own, a->window) >= position + NK_KV_TILE) continue;
      if (values == NULL) {
        values = nk_kv_values(&s->kv, s->machine->vec, s->layer, a->head, position / NK_KV_TILE, a->tile);
      }
      uint32_t keys = own - position + 1 < NK_KV_TILE ? own - position + 1 : NK_KV_TILE;
      size_t row = (size_t)i * a->shared;
      s->machine->vec->attention_values(a->out + row * n, n, a->scores + row * a->room + (position - a->start), a->room,
                                        a->shared, values, n, keys);
    }
  }
}

typedef struct attention_job {
  nk_session *session;
  const nk_layer *layer;
  uint32_t queries, pieces; /* queries a task takes; tasks a head */
} attention_job;

static void attention_one(const attention_job *job, uint32_t item, uint32_t thread) {
  nk_session *s = job->session;
  const nk_config *c = &s->model->config;
  uint32_t n = c->head_dim;
  attention a = {.session = s, .window = job->layer->window, .shared = c->n_heads / c->n_kv_heads};
  a.head = item / job->pieces;
  a.first = item % job->pieces * job->queries;
  a.n = s->batch_n - a.first < job->queries ? s->batch_n - a.first : job->queries;
  a.room = (size_t)score_room(s->options.context);
  a.start = seen_from(position_of(&a, 0), a.window) / NK_KV_TILE * NK_KV_TILE;
  size_t rows = (size_t)nk_attention_queries(c, s->options.context) * a.shared;
  a.tile = s->attention + thread * (size_t)nk_attention_scratch(c, s->options.context);
  a.q = a.tile + (size_t)NK_KV_TILE * n;
  a.out = a.q + rows * n;
  a.scores = a.out + rows * n;

  attention_load(&a);
  attention_scores(&a);
  memset(a.out, 0, (size_t)a.n * a.shared * n * sizeof *a.out);
  size_t ld = (size_t)c->n_heads * n;
  float *sums = a.q; /* the queries are no longer needed: their room keeps the sums, one a row */
  for (uint32_t r = 0; r < a.n * a.shared; r++) {
    sums[r] = (float)(1.0 / attention_softmax(&a, r / a.shared, a.scores + r * a.room));
  }
  attention_values(&a);
  for (uint32_t r = 0; r < a.n * a.shared; r++) {
    float *row = a.out + (size_t)r * n;
    s->machine->vec->scale(row, sums[r], n);
    memcpy(s->h + (a.first + r / a.shared) * ld + ((size_t)a.head * a.shared + r % a.shared) * n, row, n * sizeof *row);
  }
}

static void attention_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  for (uint32_t item = begin; item < end; item++) attention_one(argument, item, thread);
}

static void attention_forward(nk_session *s, const nk_layer *layer) {
  const nk_config *c = &s->model->config;
  attention_job job = {.session = s, .layer = layer, .queries = nk_attention_queries(c, s->options.context)};
  job.pieces = (s->batch_n + job.queries - 1) / job.queries;
  nk_pool_run(s->machine->pool, c->n_kv_heads * job.pieces, 1, attention_task, &job);
}

/* ---- The stages -------------------------------------------------------------------------------------------------- */

static void attn_in(nk_session *s, const nk_layer *layer) {
  const nk_config *c = &s->model->config;
  size_t ld = (size_t)(c->n_heads + 2 * c->n_kv_heads) * c->head_dim;
  for_tokens(s, layer, attn_norm_task);
  input in = {.x = s->h, .ldx = c->width, .m = s->batch_n, .cols = c->width, .act = s->act};
  float *y = s->qkv;
  for (uint32_t i = 0; i < layer->n_qkv; i++) {
    linear_forward(s, y, ld, &layer->qkv[i], &in);
    y += layer->qkv[i].matrix.rows;
  }
  for_tokens(s, layer, keys_task);
}

static void attn_out(nk_session *s, const nk_layer *layer) {
  const nk_config *c = &s->model->config;
  uint32_t q = c->n_heads * c->head_dim;
  input in = {.x = s->h, .ldx = q, .m = s->batch_n, .cols = q, .act = s->act};
  linear_forward(s, s->branch, c->width, &layer->attn_out, &in);
  if (!layer->parallel) for_tokens(s, layer, attn_residual_task);
}

static void ffn_in(nk_session *s, const nk_layer *layer) {
  const nk_config *c = &s->model->config;
  for_tokens(s, layer, ffn_norm_task);
  input in = {.x = s->h, .ldx = c->width, .m = s->batch_n, .cols = c->width, .act = s->act};
  size_t ld = ff_columns(s, layer);
  if (layer->gate.matrix.format != NULL) linear_forward(s, s->ff, ld, &layer->gate, &in);
  if (layer->up.matrix.format != NULL) linear_forward(s, ld > c->n_ff ? s->ff + c->n_ff : s->ff, ld, &layer->up, &in);
  for_tokens(s, layer, activation_task);
}

static void ffn_out(nk_session *s, const nk_layer *layer) {
  const nk_config *c = &s->model->config;
  input in = {.x = s->ff, .ldx = ff_columns(s, layer), .m = s->batch_n, .cols = c->n_ff, .act = s->act};
  /* A parallel layer still holds attention's branch; h has been read and can take the other. */
  linear_forward(s, layer->parallel ? s->h : s->branch, c->width, &layer->down, &in);
  for_tokens(s, layer, ffn_residual_task);
}

void nk_block_stage(nk_session *s, const nk_layer *layer, nk_stage stage) {
  switch (stage) {
    case NK_STAGE_ATTN_IN: attn_in(s, layer); return;
    case NK_STAGE_ATTN: attention_forward(s, layer); return;
    case NK_STAGE_ATTN_OUT: attn_out(s, layer); return;
    case NK_STAGE_FFN_IN: ffn_in(s, layer); return;
    case NK_STAGE_FFN_OUT: ffn_out(s, layer); return;
    case NK_STAGE_COUNT: return;
  }
}

uint64_t nk_attention_products(const nk_session *s, uint32_t window, uint32_t n) {
  const nk_config *c = &s->model->config;
  uint64_t seen = (uint64_t)s->length + n;
  if (window != 0 && window < seen) seen = window;
  return 2 * 2 * seen * c->n_heads * c->head_dim; /* scores and values, both in float32 */
}

static uint64_t elements(const nk_linear *linear) { return (uint64_t)linear->matrix.rows * linear->matrix.cols; }

uint64_t nk_block_products(const nk_session *s, const nk_layer *layer, nk_stage stage) {
  uint64_t m = s->options.float_activations ? 2ull * s->batch_n : s->batch_n;
  switch (stage) {
    case NK_STAGE_ATTN_IN: return m * (elements(&layer->qkv[0]) + elements(&layer->qkv[1]) + elements(&layer->qkv[2]));
    case NK_STAGE_ATTN: return s->batch_n * nk_attention_products(s, layer->window, s->batch_n);
    case NK_STAGE_ATTN_OUT: return m * elements(&layer->attn_out);
    case NK_STAGE_FFN_IN: return m * (elements(&layer->gate) + elements(&layer->up));
    case NK_STAGE_FFN_OUT: return m * elements(&layer->down);
    case NK_STAGE_COUNT: return 0;
  }
  return 0;
}

/* ---- Both ends --------------------------------------------------------------------------------------------------- */

void nk_embed(nk_session *s, const int32_t *ids, uint32_t n) {
  const nk_model *model = s->model;
  const nk_config *c = &model->config;
  bool projected = model->embed_in.matrix.format != NULL;
  float *rows = projected ? s->h : s->x; /* [n, embed_width], tight */
  for (uint32_t t = 0; t < n; t++) {
    nk_matrix_gather(&model->embedding, (uint32_t)ids[t], rows + (size_t)t * c->embed_width);
  }
  if (projected) {
    input in = {.x = rows, .ldx = c->embed_width, .m = n, .cols = c->embed_width, .act = s->act};
    linear_forward(s, s->x, c->width, &model->embed_in, &in);
  }
  for (uint32_t t = 0; t < n; t++) {
    float *x = s->x + (size_t)t * c->width;
    if (c->arch->embed_sqrt) s->machine->vec->scale(x, (float)sqrt((double)c->width), c->width);
    if (model->positions.format != NULL) {
      nk_matrix_gather(&model->positions, s->length + t + c->position_offset, s->branch);
      s->machine->vec->add(x, s->branch, c->width);
    }
  }
}

void nk_head(nk_session *s, uint32_t row, uint32_t n) {
  const nk_model *model = s->model;
  const nk_config *c = &model->config;
  for (uint32_t t = 0; t < n; t++) {
    float *y = s->head_in + (size_t)t * c->width;
    const float *x = s->x + (size_t)(row + t) * c->width;
    if (model->output_norm.weight != NULL) {
      norm_forward(s, y, x, &model->output_norm, c->width);
    } else {
      memcpy(y, x, c->width * sizeof *y);
    }
  }
  input in = {.x = s->head_in, .ldx = c->width, .m = n, .cols = c->width, .act = s->head_act};
  if (model->head_out.matrix.format != NULL) {
    /* branch is free once a batch is done, and has at least as many rows as there are logits' */
    linear_forward(s, s->branch, c->embed_width, &model->head_out, &in);
    in = (input){.x = s->branch, .ldx = c->embed_width, .m = n, .cols = c->embed_width, .act = s->head_act};
  }
  linear_forward(s, s->logits, model->vocab, &model->head, &in);
  if (c->final_cap > 0.0f) s->machine->vec->softcap(s->logits, c->final_cap, n * model->vocab);
}
