/*
 * attention_backward.c: the gradient of attention, one key/value head at a time.
 *
 *   S = Q Kᵀ · scale → [soft cap] → mask → P = softmax(S);  O = P V
 *   dV += Pᵀ dO;  dP = dO Vᵀ;  dS = P · (dP - Σ P dP) [· (1 - (S / cap)²)] · scale;  dQ += dS K;  dK += dSᵀ Q
 *
 * P is made again from q, k, v as they were turned (s->qkv), a few queries at a time. Keys come as one run of rows: the
 * prefix's, then those of the row's entries that any of the queries sees.
 */
#include <math.h>
#include <string.h>

#include "run/way_back.h"

/* Columns of a row of scores: softmax takes a multiple of 8. */
static uint64_t columns_of(uint32_t tokens, uint32_t prefix) { return ((uint64_t)tokens + prefix + 7) / 8 * 8; }

uint64_t nk_back_scratch(const nk_config *c, uint32_t tokens, uint32_t prefix) {
  return NK_BACK_QUERIES * columns_of(tokens, prefix) * (c->attn_cap > 0.0f ? 3 : 2);
}

typedef struct heads {
  nk_gradient *gradient;
  const nk_layer *layer;
  const nk_vec *vec;
  uint32_t n, shared, head; /* size of a head, query heads of a key/value head, that head */
  size_t ld, ld_out, ld_prefix;
  const float *k, *v, *pk, *pv;  /* first rows of the head's */
  float *dk, *dv, *dpk, *dpv;    /* the prefix's may be NULL: its gradient is not wanted */
  float *p, *dp, *capped;        /* [queries, columns] */
  size_t columns;                /* stride of these */
  uint32_t prefix;
} heads;

/* p: the softmax of the queries [first, first + m) over the prefix and entries [from, first + m). */
static void probabilities(const heads *h, const float *q, uint32_t first, uint32_t m, uint32_t from) {
  const nk_session *s = h->gradient->s;
  const nk_config *c = &s->model->config;
  uint32_t seen = first + m - from, used = h->prefix + seen, padded = (used + 7) / 8 * 8;
  if (h->prefix > 0)
    h->vec->dense_nt(h->p, h->columns, q, h->ld, h->pk, h->ld_prefix, m, h->prefix, h->n, false);
  h->vec->dense_nt(h->p + h->prefix, h->columns, q, h->ld, h->k + from * h->ld, h->ld, m, seen, h->n, false);
  for (uint32_t i = 0; i < m; i++) {
    float *p = h->p + i * h->columns;
    uint32_t entry = first + i, begin = nk_seen_from(s, entry, h->layer->window);
    uint32_t prefix_begin = nk_prefix_from(s, entry, h->layer->window);
    for (uint32_t j = used; j < padded; j++) p[j] = 0.0f;
    h->vec->scale(p, c->attn_scale, padded);
    if (c->attn_cap > 0.0f) {
      h->vec->softcap(p, c->attn_cap, padded);
      memcpy(h->capped + i * h->columns, p, padded * sizeof *p);
    }
    for (uint32_t j = 0; j < prefix_begin; j++) p[j] = -INFINITY;
    for (uint32_t j = from; j < begin; j++) p[h->prefix + j - from] = -INFINITY;
    for (uint32_t j = h->prefix + entry + 1 - from; j < padded; j++) p[j] = -INFINITY;
    double sum = h->vec->softmax_forward(p, padded);
    h->vec->scale(p, (float)(1.0 / sum), padded);
  }
}

/* One query head's queries [first, first + m). */
static void queries_backward(const heads *h, uint32_t query_head, uint32_t first, uint32_t m) {
  const nk_session *s = h->gradient->s;
  const nk_config *c = &s->model->config;
  const float *q = s->qkv + first * h->ld + (size_t)query_head * h->n;
  const float *out = h->gradient->dmixed + first * h->ld_out + (size_t)query_head * h->n;
  float *dq = h->gradient->dqkv + first * h->ld + (size_t)query_head * h->n;
  uint32_t from = nk_seen_from(s, first, h->layer->window), seen = first + m - from;
  uint32_t used = h->prefix + seen, padded = (used + 7) / 8 * 8;
  probabilities(h, q, first, m, from);

  if (h->prefix > 0)
    h->vec->dense_nt(h->dp, h->columns, out, h->ld_out, h->pv, h->ld_prefix, m, h->prefix, h->n, false);
  h->vec->dense_nt(h->dp + h->prefix, h->columns, out, h->ld_out, h->v + from * h->ld, h->ld, m, seen, h->n, false);
  h->vec->dense_tn(h->dv + from * h->ld, h->ld, h->p + h->prefix, h->columns, out, h->ld_out, m, seen, h->n, true);
  if (h->dpv != NULL) h->vec->dense_tn(h->dpv, h->ld_prefix, h->p, h->columns, out, h->ld_out, m, h->prefix, h->n, true);

  for (uint32_t i = 0; i < m; i++) {
    float *ds = h->dp + i * h->columns;
    for (uint32_t j = used; j < padded; j++) ds[j] = 0.0f;
    h->vec->softmax_backward(ds, h->p + i * h->columns, padded);
    if (c->attn_cap > 0.0f) h->vec->softcap_backward(ds, h->capped + i * h->columns, c->attn_cap, padded);
    h->vec->scale(ds, c->attn_scale, padded);
  }
  const float *ds = h->dp + h->prefix;
  if (h->prefix > 0) h->vec->dense_nn(dq, h->ld, h->dp, h->columns, h->pk, h->ld_prefix, m, h->prefix, h->n, true);
  h->vec->dense_nn(dq, h->ld, ds, h->columns, h->k + from * h->ld, h->ld, m, seen, h->n, true);
  h->vec->dense_tn(h->dk + from * h->ld, h->ld, ds, h->columns, q, h->ld, m, seen, h->n, true);
  if (h->dpk != NULL) h->vec->dense_tn(h->dpk, h->ld_prefix, h->dp, h->columns, q, h->ld, m, h->prefix, h->n, true);
}

static void head_backward(nk_gradient *g, const nk_layer *layer, uint32_t head, uint32_t thread) {
  const nk_session *s = g->s;
  const nk_config *c = &s->model->config;
  uint32_t n = c->head_dim;
  size_t q = (size_t)c->n_heads * n, kv = (size_t)c->n_kv_heads * n;
  size_t columns = (size_t)columns_of(g->options.tokens, s->prefix_n);
  float *scores = g->scores + thread * (size_t)nk_back_scratch(c, g->options.tokens, s->prefix_n);
  heads h = {.gradient = g, .layer = layer, .vec = s->machine->vec, .n = n, .shared = c->n_heads / c->n_kv_heads,
             .head = head, .ld = q + 2 * kv, .ld_out = q, .ld_prefix = kv, .p = scores, .columns = columns,
             .prefix = s->prefix_n};
  h.dp = h.p + NK_BACK_QUERIES * columns;
  h.capped = h.dp + NK_BACK_QUERIES * columns;
  h.k = s->qkv + q + (size_t)head * n;
  h.v = h.k + kv;
  h.dk = g->dqkv + q + (size_t)head * n;
  h.dv = h.dk + kv;
  if (h.prefix > 0) {
    const nk_prefix *prefix = &s->prefix->prefix[s->layer];
    h.pk = prefix->keys + (size_t)head * n;
    h.pv = prefix->values + (size_t)head * n;
    if (s->prefix == g->adapter && g->grads != NULL) {
      h.dpk = g->grads + (h.pk - g->adapter->values);
      h.dpv = g->grads + (h.pv - g->adapter->values);
    }
  }
  for (uint32_t first = 0, m; first < g->row.n; first += m) {
    m = g->row.n - first < NK_BACK_QUERIES ? g->row.n - first : NK_BACK_QUERIES;
    for (uint32_t i = 0; i < h.shared; i++) queries_backward(&h, head * h.shared + i, first, m);
  }
}

typedef struct heads_job {
  nk_gradient *gradient;
  const nk_layer *layer;
  uint32_t first;
} heads_job;

static void heads_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  const heads_job *job = argument;
  for (uint32_t i = begin; i < end; i++) head_backward(job->gradient, job->layer, job->first + i, thread);
}

void nk_attention_backward(nk_gradient *g, const nk_layer *layer, uint32_t first, uint32_t n) {
  heads_job job = {.gradient = g, .layer = layer, .first = first};
  nk_pool_run(g->machine->pool, n, 1, heads_task, &job);
}
