/*
 * shortconv.c: a gated causal convolution over the last few tokens, dimension by dimension (LFM2, Liquid AI 2025):
 *
 *   b, c, x = in_proj(h);  u = b · x;  y_t = c_t · Σ_j w[j] u_{t - taps + 1 + j} (+ bias);  out_proj(y)
 *
 * See shortconv.h for the state.
 */
#include <string.h>

#include "run/way_back.h"

/* ---- State --------------------------------------------------------------------------------------------------------- */

void nk_conv_carve(nk_conv_state *state, nk_arena *arena, uint32_t n_layers, uint32_t taps, uint32_t width,
                   uint32_t context) {
  *state = (nk_conv_state){.n_layers = n_layers, .columns = n_layers == 0 ? 0 : taps - 1, .width = width};
  uint64_t size = (uint64_t)state->n_layers * state->columns * width;
  if (size == 0) return;
  state->size = (size_t)size;
  state->live = nk_arena_take(arena, size, sizeof(float));
  state->next = nk_arena_take(arena, size, sizeof(float));
  state->mark = nk_arena_take(arena, size, sizeof(float));
  state->kept = nk_arena_take(arena, size * (context / NK_CONV_STRIDE + 1), sizeof(float));
}

void nk_conv_enter(nk_conv_state *state) {
  float *live = state->live;
  state->live = state->next;
  state->next = live;
}

void nk_conv_mark(nk_conv_state *state, uint32_t length) {
  if (state->size == 0) return;
  memcpy(state->mark, state->live, state->size * sizeof *state->mark);
  state->mark_length = length;
}

uint32_t nk_conv_resumable(const nk_conv_state *state, uint32_t length, uint32_t present) {
  if (state->size == 0 || length == present) return length;
  uint32_t kept = length / NK_CONV_STRIDE * NK_CONV_STRIDE;
  return state->mark_length > kept && state->mark_length <= length ? state->mark_length : kept;
}

void nk_conv_resume(nk_conv_state *state, uint32_t length, uint32_t present) {
  if (state->size == 0 || length == present) return;
  const float *from = length > 0 && state->mark_length == length
                          ? state->mark
                          : state->kept + length / NK_CONV_STRIDE * state->size;
  memcpy(state->live, from, state->size * sizeof *from);
  if (state->mark_length > length) state->mark_length = 0; /* what follows may be other tokens */
}

/* ---- Forward ------------------------------------------------------------------------------------------------------- */

typedef struct conv_job {
  nk_session *session;
  const nk_layer *layer;
} conv_job;

/* u = b · x of the tokens [begin, end), in b's place. */
static void gate_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const conv_job *job = argument;
  size_t d = job->session->model->config.width;
  for (size_t t = begin; t < end; t++) {
    float *b = job->session->qkv + (job->session->part_first + t) * 3 * d;
    const float *x = b + 2 * d;
    for (size_t i = 0; i < d; i++) b[i] *= x[i];
  }
}

/* Column u [d] of the token that is `back` before token t of the part: of the batch, or of the state; while training, when
   batches begin anew and hold several sequences, zeros before the token's own. */
static const float *column(const conv_job *job, size_t t, uint32_t back) {
  const nk_session *s = job->session;
  size_t d = s->model->config.width;
  const nk_conv_state *conv = &s->conv;
  t += s->part_first;
  if (s->options.training && t - nk_start_of(s, (uint32_t)t) < back) return conv->live;
  if (back <= t) return s->qkv + (t - back) * 3 * d;
  size_t before = back - t; /* 1: the last column of the state */
  return conv->live + ((size_t)job->layer->cache * conv->columns + conv->columns - before) * d;
}

static void conv_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const conv_job *job = argument;
  const nk_session *s = job->session;
  size_t d = s->model->config.width;
  uint32_t taps = s->model->config.conv_taps;
  for (size_t t = begin; t < end; t++) {
    float *y = s->h + t * d;
    const float *c = s->qkv + (s->part_first + t) * 3 * d + d;
    for (size_t i = 0; i < d; i++) y[i] = job->layer->conv_bias != NULL ? job->layer->conv_bias[i] : 0.0f;
    for (uint32_t j = 0; j < taps; j++) {
      const float *u = column(job, t, taps - 1 - j);
      for (size_t i = 0; i < d; i++) y[i] += job->layer->conv[i * taps + j] * u[i];
    }
    for (size_t i = 0; i < d; i++) y[i] *= c[i];
  }
}

/* The last columns before token t of the part, for the layer, into a whole state. */
static void keep(const conv_job *job, float *state, size_t t) {
  const nk_conv_state *conv = &job->session->conv;
  size_t d = conv->width;
  for (uint32_t j = 0; j < conv->columns; j++) {
    float *to = state + ((size_t)job->layer->cache * conv->columns + j) * d;
    memcpy(to, column(job, t, conv->columns - j), d * sizeof *to);
  }
}

void nk_shortconv_forward(nk_session *s, const nk_layer *layer) {
  conv_job job = {.session = s, .layer = layer};
  nk_pool_run(s->machine->pool, s->part_n, NK_ROWS_GRAIN, gate_task, &job);
  nk_pool_run(s->machine->pool, s->part_n, NK_ROWS_GRAIN, conv_task, &job);
  if (s->conv.size == 0 || s->options.training) return;
  keep(&job, s->conv.next, s->part_n);
  uint32_t first = s->length / NK_CONV_STRIDE + 1, last = (s->length + s->part_n) / NK_CONV_STRIDE;
  for (uint32_t i = first; i <= last; i++) keep(&job, s->conv.kept + i * s->conv.size, i * NK_CONV_STRIDE - s->length);
}

/* ---- Backward ------------------------------------------------------------------------------------------------------ */

#define COLUMN_GRAIN 64u

typedef struct back_job {
  nk_gradient *gradient;
  const nk_layer *layer;
} back_job;

/* Dimensions [begin, end): qkv holds b | c | x as the projection gave them. */
static void back_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const back_job *job = argument;
  nk_gradient *g = job->gradient;
  const nk_session *s = g->s;
  size_t d = s->model->config.width;
  uint32_t taps = s->model->config.conv_taps;
  float *dw = nk_weight_grad_of(g, job->layer->conv), *dbias = nk_weight_grad_of(g, job->layer->conv_bias);
  for (uint32_t t = 0; t < g->row.n; t++) {
    const float *dy = g->dmixed + t * d, *c = s->qkv + t * 3 * d + d;
    float *dc = g->dqkv + t * 3 * d + d;
    /* Taps before the sequence see zeros. */
    uint32_t back = t - g->row.starts[t], first = back + 1 >= taps ? 0 : taps - 1 - back;
    for (size_t i = begin; i < end; i++) {
      const float *w = job->layer->conv + i * taps;
      float sum = job->layer->conv_bias != NULL ? job->layer->conv_bias[i] : 0.0f, dsum = dy[i] * c[i];
      for (uint32_t j = first; j < taps; j++) {
        size_t at = (size_t)(t + 1 + j - taps) * 3 * d + i;
        float b = s->qkv[at], x = s->qkv[at + 2 * d];
        sum += w[j] * (b * x);
        g->dqkv[at] += dsum * w[j] * x;
        g->dqkv[at + 2 * d] += dsum * w[j] * b;
        if (dw != NULL) dw[i * taps + j] += dsum * (b * x);
      }
      if (dbias != NULL) dbias[i] += dsum;
      dc[i] += dy[i] * sum;
    }
  }
}

void nk_shortconv_backward(nk_gradient *g, const nk_layer *layer) {
  back_job job = {.gradient = g, .layer = layer};
  nk_pool_run(g->machine->pool, g->model->config.width, COLUMN_GRAIN, back_task, &job);
}
