/*
 * attention.c: softmax(q kᵀ · scale) v over a prefix and the cache, for the tokens of a part.
 *
 * Work is cut into one key/value head × a few queries, each one task of the pool. Keys and values come in tiles of eight
 * entries, which are fixed by their place, so that no result depends on how the tokens came. A prefix's tiles stand before
 * the cache's in a row of scores; they are float32, made anew from the adapter.
 */
#include <math.h>
#include <string.h>

#include "run/pass.h"

/* Entries of scores that one query may need: a prefix and the cache, each from a tile's start to a tile's end. */
static uint64_t score_room(uint32_t context) { return ((uint64_t)context + 3 * NK_KV_TILE - 1) / NK_KV_TILE * NK_KV_TILE; }

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

/* Queries [first, first + n) of the part against one key/value head; `rows` = n · shared query heads. */
typedef struct attention {
  const nk_session *session;
  uint32_t window;
  uint32_t head, first, n, shared;
  float *q;      /* [rows, head_dim], scaled */
  float *out;    /* [rows, head_dim] */
  float *scores; /* [rows, room]: the prefix's columns, then those of the cache from `start` on */
  size_t room;
  uint32_t before; /* columns of the prefix: whole tiles */
  uint32_t start;  /* a multiple of 8: the first entry that any of the queries sees */
  float *tile;     /* [8 · head_dim] */
} attention;

static uint32_t entry_of(const attention *a, uint32_t query) {
  const nk_session *s = a->session;
  return s->length + s->part_first + a->first + query;
}

static void attention_load(attention *a) {
  const nk_session *s = a->session;
  const nk_config *c = &s->model->config;
  uint32_t n = c->head_dim;
  size_t ld = (size_t)(c->n_heads + 2 * c->n_kv_heads) * n;
  float scale = c->attn_scale;
  for (uint32_t i = 0; i < a->n; i++) {
    const float *q = s->qkv + ((size_t)s->part_first + a->first + i) * ld + (size_t)a->head * a->shared * n;
    float *row = a->q + (size_t)i * a->shared * n;
    memcpy(row, q, (size_t)a->shared * n * sizeof *row);
    s->machine->vec->scale(row, scale, a->shared * n);
  }
}

/* Tile `tile` of the prefix's keys as [head_dim, 8], or values as [8, head_dim]; zeros beyond its end. */
static const float *prefix_tile(const attention *a, bool keys, uint32_t tile) {
  const nk_session *s = a->session;
  uint32_t n = s->model->config.head_dim;
  size_t ld = (size_t)s->model->config.n_kv_heads * n;
  const nk_prefix *prefix = &s->prefix->prefix[s->layer];
  for (uint32_t i = 0; i < NK_KV_TILE; i++) {
    uint32_t at = tile * NK_KV_TILE + i;
    const float *row = (keys ? prefix->keys : prefix->values) + at * ld + (size_t)a->head * n;
    for (uint32_t d = 0; d < n; d++) a->tile[keys ? d * NK_KV_TILE + i : i * n + d] = at < s->prefix_n ? row[d] : 0.0f;
  }
  return a->tile;
}

/* Scores of the prefix for all queries: which of them see it, the mask says. */
static void prefix_scores(attention *a) {
  uint32_t n = a->session->model->config.head_dim;
  for (uint32_t tile = 0; tile * NK_KV_TILE < a->before; tile++) {
    const float *keys = prefix_tile(a, true, tile);
    a->session->machine->vec->attention_scores(a->scores + tile * NK_KV_TILE, a->room, a->q, n, a->n * a->shared, keys, n);
  }
}

static void attention_scores(attention *a) {
  const nk_session *s = a->session;
  uint32_t n = s->model->config.head_dim;
  uint32_t last = nk_seen_to(s, entry_of(a, a->n - 1));
  for (uint32_t entry = a->start; entry <= last; entry += NK_KV_TILE) {
    /* Queries that see something of this tile: not before its first entry, and not with a window that begins after it. */
    uint32_t from = 0, to = a->n;
    while (from < to && nk_seen_to(s, entry_of(a, from)) < entry) from++;
    while (to > from && nk_seen_from(s, entry_of(a, to - 1), a->window) >= entry + NK_KV_TILE) to--;
    if (from == to) continue;
    const float *keys = nk_kv_keys(&s->kv, s->machine->vec, nk_kv_layer(s), a->head, entry / NK_KV_TILE, a->tile);
    size_t row = (size_t)from * a->shared;
    s->machine->vec->attention_scores(a->scores + row * a->room + a->before + (entry - a->start), a->room, a->q + row * n,
                                      n, (to - from) * a->shared, keys, n);
  }
}

static void mask(float *scores, uint32_t begin, uint32_t end) {
  for (uint32_t j = begin; j < end; j++) scores[j] = -INFINITY;
}

/* Masks, and softmax over the tiles that the query touches: p stays in place, out is scaled at the end by one over what is
   returned. A prefix that is seen joins in, with all columns between it and the cache's. */
static double attention_softmax(attention *a, uint32_t query, float *scores) {
  const nk_session *s = a->session;
  uint32_t entry = entry_of(a, query), first = nk_seen_from(s, entry, a->window), last = nk_seen_to(s, entry);
  uint32_t begin = first / NK_KV_TILE * NK_KV_TILE, end = (last / NK_KV_TILE + 1) * NK_KV_TILE;
  uint32_t column = a->before + (begin - a->start), columns = a->before + (end - a->start);
  uint32_t prefix = nk_prefix_from(s, entry, a->window), from = prefix < s->prefix_n ? 0 : column;
  float cap = s->model->config.attn_cap;
  if (cap > 0.0f) s->machine->vec->softcap(scores + column, cap, columns - column);
  mask(scores, column, column + (first - begin));
  mask(scores, column + (last + 1 - begin), columns);
  if (prefix < s->prefix_n) {
    if (cap > 0.0f) s->machine->vec->softcap(scores, cap, a->before);
    mask(scores, 0, prefix);
    mask(scores, s->prefix_n, a->before);
    mask(scores, a->before, column);
  }
  return s->machine->vec->softmax_forward(scores + from, columns - from);
}

static void prefix_values(attention *a) {
  const nk_session *s = a->session;
  uint32_t n = s->model->config.head_dim;
  for (uint32_t tile = 0; tile * NK_KV_TILE < a->before; tile++) {
    const float *values = NULL;
    for (uint32_t i = 0; i < a->n; i++) {
      if (nk_prefix_from(s, entry_of(a, i), a->window) == s->prefix_n) continue;
      if (values == NULL) values = prefix_tile(a, false, tile);
      size_t row = (size_t)i * a->shared;
      uint32_t left = s->prefix_n - tile * NK_KV_TILE;
      s->machine->vec->attention_values(a->out + row * n, n, a->scores + row * a->room + tile * NK_KV_TILE, a->room,
                                        a->shared, values, n, left < NK_KV_TILE ? left : NK_KV_TILE);
    }
  }
}

static void attention_values(attention *a) {
  const nk_session *s = a->session;
  uint32_t n = s->model->config.head_dim;
  uint32_t last = nk_seen_to(s, entry_of(a, a->n - 1));
  for (uint32_t entry = a->start; entry <= last; entry += NK_KV_TILE) {
    const float *values = NULL;
    for (uint32_t i = 0; i < a->n; i++) {
      uint32_t own = entry_of(a, i), to = nk_seen_to(s, own);
      if (to < entry || nk_seen_from(s, own, a->window) >= entry + NK_KV_TILE) continue;
      if (values == NULL) {
        values = nk_kv_values(&s->kv, s->machine->vec, nk_kv_layer(s), a->head, entry / NK_KV_TILE, a->tile);
      }
      uint32_t keys = to - entry + 1 < NK_KV_TILE ? to - entry + 1 : NK_KV_TILE;
      size_t row = (size_t)i * a->shared;
      s->machine->vec->attention_values(a->out + row * n, n, a->scores + row * a->room + a->before + (entry - a->start),
                                        a->room, a->shared, values, n, keys);
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
  a.n = s->part_n - a.first < job->queries ? s->part_n - a.first : job->queries;
  a.room = (size_t)score_room(s->options.context);
  a.before = (s->prefix_n + NK_KV_TILE - 1) / NK_KV_TILE * NK_KV_TILE;
  a.start = nk_seen_from(s, entry_of(&a, 0), a.window) / NK_KV_TILE * NK_KV_TILE;
  size_t rows = (size_t)nk_attention_queries(c, s->options.context) * a.shared;
  a.tile = s->attention + thread * (size_t)nk_attention_scratch(c, s->options.context);
  a.q = a.tile + (size_t)NK_KV_TILE * n;
  a.out = a.q + rows * n;
  a.scores = a.out + rows * n;

  attention_load(&a);
  prefix_scores(&a);
  attention_scores(&a);
  memset(a.out, 0, (size_t)a.n * a.shared * n * sizeof *a.out);
  size_t ld = (size_t)c->n_heads * n;
  float *sums = a.q; /* the queries are no longer needed: their room keeps the sums, one a row */
  for (uint32_t r = 0; r < a.n * a.shared; r++) {
    sums[r] = (float)(1.0 / attention_softmax(&a, r / a.shared, a.scores + r * a.room));
  }
  prefix_values(&a);
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

void nk_attention_forward(nk_session *s, const nk_layer *layer) {
  const nk_config *c = &s->model->config;
  attention_job job = {.session = s, .layer = layer, .queries = nk_attention_queries(c, s->options.context)};
  job.pieces = (s->part_n + job.queries - 1) / job.queries;
  nk_pool_run(s->machine->pool, c->n_kv_heads * job.pieces, 1, attention_task, &job);
}

uint64_t nk_attention_products(const nk_session *s, uint32_t window, uint32_t n) {
  const nk_config *c = &s->model->config;
  uint64_t seen = (uint64_t)s->prefix_n + s->length + n;
  if (window != 0 && window < seen) seen = window;
  return 2 * 2 * seen * c->n_heads * c->head_dim; /* scores and values, both in float32 */
}
