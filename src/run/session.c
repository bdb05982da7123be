/* session.c: the sequence, its memory and its steps; see session.h. */
#include <stdlib.h>
#include <string.h>

#include "run/pass.h"
#include "run/rope.h"

/* ---- Memory --------------------------------------------------------------------------------------------------------- */

static uint64_t largest(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* A stage of one layer over a whole batch should not be far above a step: with large models the batch is smaller. */
static uint32_t choose_batch(const nk_config *c, uint32_t context, uint32_t wanted) {
  uint32_t batch = wanted == 0 ? NK_BATCH_DEFAULT : wanted > NK_BATCH_MAX ? NK_BATCH_MAX : wanted;
  uint64_t stage = 2ull * c->width * c->n_ff; /* gate and up: the largest of a layer */
  if (wanted == 0 && stage * batch > NK_STEP_PRODUCTS) {
    uint64_t fitting = NK_STEP_PRODUCTS / stage / 4 * 4;
    batch = fitting < 8 ? 8 : (uint32_t)fitting;
  }
  return batch > context ? context : batch;
}

/* Tokens that x and qkv have room for: a batch, which may be a whole text. */
static uint32_t batch_room(const nk_session *s) { return nk_whole(s) ? s->options.context : s->options.batch; }

static uint32_t choose_logit_rows(const nk_model *model) {
  uint32_t vocab = model->config.arch->encoder ? 0 : model->vocab; /* rows of hidden states are short */
  uint64_t rows = (2u << 20) / ((uint64_t)vocab * sizeof(float) + 1);
  return rows < 1 ? 1 : rows > NK_LOGIT_ROWS ? NK_LOGIT_ROWS : (uint32_t)rows;
}

/* Carves everything but the cache. */
static void carve_work(nk_session *s, nk_arena *arena, const nk_machine *machine) {
  const nk_config *c = &s->model->config;
  uint64_t all = batch_room(s), m = s->options.batch, d = c->width, q = (uint64_t)c->n_heads * c->head_dim;
  uint64_t kv = (uint64_t)c->n_kv_heads * c->head_dim;
  /* Quantized activations come in blocks; widths that are none belong to float matrices, which don't use them. */
  uint64_t widest = largest(largest(d, q), largest(c->n_ff, c->embed_width));
  uint32_t act_cols = (uint32_t)((widest + NK_ACT_BLOCK - 1) / NK_ACT_BLOCK * NK_ACT_BLOCK);
  uint32_t head_cols = (uint32_t)((largest(d, c->embed_width) + NK_ACT_BLOCK - 1) / NK_ACT_BLOCK * NK_ACT_BLOCK);
  uint64_t threads = nk_pool_threads(machine->pool);
  /* The largest come first: spare memory is filled best that way. */
  /* A decoder has read qkv before it writes ff, in every layer; where a batch has parts, later ones wait in qkv. */
  uint64_t qkv = all * largest(q + 2 * kv, c->n_conv > 0 ? 3 * d : 0), ff = m * 2 * c->n_ff;
  s->qkv = nk_arena_take(arena, nk_whole(s) ? qkv : largest(qkv, ff), sizeof *s->qkv);
  s->ff = nk_whole(s) ? nk_arena_take(arena, ff, sizeof *s->ff) : s->qkv;
  s->x = nk_arena_take(arena, all * d, sizeof *s->x);
  s->h = nk_arena_take(arena, m * largest(largest(d, q), c->embed_width), sizeof *s->h);
  s->branch = nk_arena_take(arena, largest(m, s->logit_rows) * largest(d, c->embed_width), sizeof *s->branch);
  s->act = nk_arena_take(arena, nk_act_bytes(machine->ops, (uint32_t)m, act_cols), 1);
  s->tokens = nk_arena_take(arena, s->options.context, sizeof *s->tokens);
  s->frequencies = nk_arena_take(arena, c->n_rot / 2 + 1, sizeof *s->frequencies);
  s->turns = nk_arena_take(arena, all * c->n_rot, sizeof *s->turns);
  if (c->local_base > 0.0f) {
    s->local_frequencies = nk_arena_take(arena, c->n_rot / 2 + 1, sizeof *s->frequencies);
    s->local_turns = nk_arena_take(arena, all * c->n_rot, sizeof *s->turns);
  }
  uint64_t vocab = c->arch->encoder ? 0 : s->model->vocab;
  s->logits = nk_arena_take_raw(arena, s->logit_rows * vocab, sizeof *s->logits);
  s->head_in = nk_arena_take(arena, s->logit_rows * d, sizeof *s->head_in);
  s->head_act = nk_arena_take(arena, nk_act_bytes(machine->ops, s->logit_rows, head_cols), 1);
  s->attention = nk_arena_take(arena, threads * nk_attention_scratch(c, s->options.context), sizeof *s->attention);
}

static void carve_kv(nk_session *s, nk_arena *arena) {
  const nk_config *c = &s->model->config;
  uint32_t layers = nk_whole(s) ? 1 : c->n_layers - c->n_conv; /* model.h, nk_layer's cache */
  nk_kv_carve(&s->kv, arena, s->options.kv, layers, c->n_kv_heads, c->head_dim, s->options.context);
  nk_conv_carve(&s->conv, arena, c->n_conv, c->conv_taps, c->width, s->options.context);
}

static void resolve(nk_session *s, const nk_model *model, const nk_session_options *options) {
  *s = (nk_session){.model = model, .options = *options};
  s->options.batch = choose_batch(&model->config, options->context, options->batch);
  s->logit_rows = choose_logit_rows(model);
}

nk_session_plan nk_session_measure(const nk_model *model, const nk_machine *machine, const nk_session_options *options) {
  nk_session s;
  resolve(&s, model, options);
  nk_arena kv = nk_arena_measure(), work = nk_arena_measure();
  carve_kv(&s, &kv);
  nk_arena_lend(&work, NULL, options->spare_bytes);
  carve_work(&s, &work, machine);
  return (nk_session_plan){.kv_bytes = kv.used, .work_bytes = work.used, .batch = s.options.batch,
                           .logit_rows = s.logit_rows};
}

nk_status nk_session_create(nk_session **out, const nk_model *model, const nk_machine *machine,
                            const nk_session_options *options, nk_error *error) {
  *out = NULL;
  nk_session *s = malloc(sizeof *s);
  if (s == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory for a session");
  resolve(s, model, options);
  nk_arena measure = nk_arena_measure();
  uint64_t spare = options->spare == NULL ? 0 : options->spare_bytes;
  carve_kv(s, &measure);
  nk_arena_lend(&measure, NULL, spare);
  carve_work(s, &measure, machine);
  nk_status status = nk_arena_allocate(&s->memory, measure.used, "the session (cache and buffers)", error);
  if (status != NK_STATUS_OK) {
    free(s);
    return status;
  }
  s->machine = machine;
  carve_kv(s, &s->memory);
  nk_arena_lend(&s->memory, options->spare, spare);
  carve_work(s, &s->memory, machine);
  const nk_config *c = &model->config;
  if (c->arch->rope != NK_ROPE_NONE) {
    const float *parted = options->context > c->rope.original ? model->rope_long : model->rope_short;
    nk_rope_frequencies(s->frequencies, c->n_rot, &c->rope, parted != NULL ? parted : model->rope_factors);
    const nk_rope_config local = {.base = c->local_base, .scale = 1.0f};
    if (c->local_base > 0.0f) nk_rope_frequencies(s->local_frequencies, c->n_rot, &local, NULL);
  }
  *out = s;
  return NK_STATUS_OK;
}

void nk_session_free(nk_session *session) {
  if (session == NULL) return;
  nk_arena_free(&session->memory);
  free(session);
}

/* ---- The sequence ------------------------------------------------------------------------------------------------ */

/* Entries of a prompt before the first token, when it has been read whole; while training they are among the ids. */
static uint32_t prompt_entries(const nk_session *s) { return s->options.training ? 0 : s->prompt_n; }

/* Entries before the first token that are there. */
static uint32_t before_tokens(const nk_session *s) {
  return s->length < prompt_entries(s) ? s->length : prompt_entries(s);
}

uint32_t nk_session_length(const nk_session *s) { return s->length - before_tokens(s); }
uint32_t nk_session_context(const nk_session *s) { return s->options.context - prompt_entries(s) - s->prefix_n; }
uint32_t nk_session_batch(const nk_session *s) { return s->options.batch; }
uint32_t nk_session_logit_rows(const nk_session *s) { return s->logit_rows; }
const int32_t *nk_session_tokens(const nk_session *s) { return s->tokens; }
bool nk_session_feeding(const nk_session *s) { return s->feed_done < s->feed_n; }
uint32_t nk_session_rows_first(const nk_session *s) { return s->rows_first; }
uint32_t nk_session_rows_count(const nk_session *s) { return s->rows_count; }

uint32_t nk_session_match(const nk_session *s, const int32_t *ids, uint32_t n) {
  if (s->model->config.arch->encoder) return 0;
  uint32_t length = nk_session_length(s), before = before_tokens(s), limit = n < length ? n : length, i = 0;
  while (i < limit && s->tokens[i] == ids[i]) i++;
  uint32_t there = nk_conv_resumable(&s->conv, before + i, s->length);
  return there < before ? 0 : there - before;
}

void nk_session_trim(nk_session *s, uint32_t length) {
  length += before_tokens(s);
  if (length < s->length) {
    length = nk_conv_resumable(&s->conv, length, s->length);
    nk_conv_resume(&s->conv, length, s->length);
    s->length = length;
  }
  s->feed = NULL;
  s->feed_n = s->feed_done = s->batch_n = 0;
  s->rows_count = 0;
}

/* Forgets everything, the prompt's entries too. */
static void forget(nk_session *s) {
  nk_session_trim(s, 0);
  nk_conv_resume(&s->conv, 0, s->length);
  s->length = 0;
}

void nk_session_mark(nk_session *s) { nk_conv_mark(&s->conv, s->length); }

nk_status nk_session_adapt(nk_session *s, const nk_adapter_set *adapters, nk_error *error) {
  nk_status status = nk_adapter_set_check(adapters, s->model, error);
  if (status != NK_STATUS_OK) return status;
  const nk_adapter *prefix = NULL;
  const float *prompt = NULL;
  uint32_t prefix_n = nk_adapter_set_prefix(adapters, &prefix), prompt_n = nk_adapter_set_prompt(adapters, &prompt);
  if ((uint64_t)prefix_n + prompt_n >= s->options.context) {
    return nk_fail_hint(error, NK_STATUS_CONTEXT_FULL, "Load with a larger context.",
                        "the adapter takes %u positions, and the context has %u", prefix_n + prompt_n, s->options.context);
  }
  uint64_t key = nk_adapter_set_key(adapters);
  bool same = key == s->adapters_key && adapters->n == s->adapters.n;
  if (!same) forget(s);
  s->adapters = *adapters;
  s->adapters_key = key;
  s->prompt = prompt;
  s->prefix = prefix;
  s->prompt_n = prompt_n;
  s->prefix_n = prefix_n;
  return NK_STATUS_OK;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

nk_status nk_session_feed(nk_session *s, const int32_t *ids, uint32_t n, uint32_t chunk, nk_error *error) {
  if (s->model->config.arch->encoder) nk_session_trim(s, 0);
  uint32_t context = nk_session_context(s), taken = nk_session_length(s);
  if (n > context - taken) {
    return nk_fail_hint(error, NK_STATUS_CONTEXT_FULL,
                        "Shorten the text, load with a larger context, or let the middle be dropped.",
                        "%u tokens do not fit: %u of the context's %u are taken", n, taken, context);
  }
  int64_t lowest = s->options.training ? -(int64_t)s->prompt_n : 0;
  for (uint32_t i = 0; i < n; i++) {
    if (ids[i] < lowest || ids[i] >= (int64_t)s->model->vocab) {
      return nk_fail(error, NK_STATUS_DATA, "token %d at position %u is outside the vocabulary of %u", ids[i], i,
                     s->model->vocab);
    }
  }
  s->feed = ids;
  s->feed_n = n;
  s->feed_done = 0;
  s->feed_chunk = chunk == 0 || chunk > s->options.batch ? s->options.batch : chunk;
  s->batch_n = 0;
  s->rows_count = 0;
  return NK_STATUS_OK;
}

/* Of n tokens, as many as attention over `seen` further positions leaves room for in a step. */
static uint32_t tokens_that_fit(const nk_session *s, uint32_t n, uint32_t seen) {
  const nk_config *c = &s->model->config;
  uint32_t window = c->arch->window_period == 0 ? c->window : 0;
  uint64_t tokens = NK_STEP_PRODUCTS / nk_attention_products(s, window, seen) / 4 * 4;
  if (tokens < 4) tokens = 4;
  return n < tokens ? n : (uint32_t)tokens;
}

/* The batch is of the prompt's vectors, which a sequence begins with; a training pass brings them among its ids. */
static bool of_prompt(const nk_session *s) { return s->length < prompt_entries(s); }

/* Attention's work grows with what was read before, and a stage of a layer is the smallest piece of a step: further on in a
   long sequence batches become smaller. That changes no bit. */
static uint32_t next_batch(const nk_session *s) {
  uint32_t left = of_prompt(s) ? s->prompt_n - s->length : s->feed_n - s->feed_done;
  uint32_t n = left < s->feed_chunk ? left : s->feed_chunk;
  return nk_whole(s) ? left : tokens_that_fit(s, n, n);
}

/* The part that begins at token `first` of the batch becomes the one in work. */
static void take_part(nk_session *s, uint32_t first) {
  uint32_t left = s->batch_n - first;
  s->part_first = first;
  s->part_n = left;
  if (!nk_whole(s)) return;
  s->part_n = tokens_that_fit(s, left < s->feed_chunk ? left : s->feed_chunk, s->batch_n);
}

static void begin_batch(nk_session *s) {
  const nk_config *c = &s->model->config;
  s->batch_n = next_batch(s);
  s->layer = 0;
  s->stage = NK_STAGE_ATTN_IN;
  s->rows_count = 0;
  nk_kv_open(&s->kv, s->length, s->batch_n);
  for (take_part(s, 0);; take_part(s, s->part_first + s->part_n)) {
    nk_embed(s, of_prompt(s) ? NULL : s->feed + s->feed_done);
    if (s->part_first + s->part_n == s->batch_n) break;
  }
  take_part(s, 0);
  if (c->arch->rope == NK_ROPE_NONE) return;
  for (uint32_t t = 0; t < s->batch_n; t++) {
    size_t at = (size_t)t * c->n_rot;
    uint32_t position = nk_position_of(s, s->length + t);
    nk_rope_turns(s->turns + at, s->frequencies, c->n_rot, position, c->rope.attn_factor);
    if (c->local_base > 0.0f) nk_rope_turns(s->local_turns + at, s->local_frequencies, c->n_rot, position, 1.0f);
  }
}

/* True: tokens were read, not the prompt. */
static bool end_batch(nk_session *s) {
  bool tokens = !of_prompt(s);
  if (tokens) {
    s->rows_first = nk_session_length(s);
    s->rows_count = s->batch_n;
    memcpy(s->tokens + s->rows_first, s->feed + s->feed_done, s->batch_n * sizeof *s->tokens);
    s->feed_done += s->batch_n;
  }
  s->length += s->batch_n;
  nk_conv_enter(&s->conv);
  s->batch_n = 0;
  return tokens;
}

/* To the next piece of the batch: all its parts enter the cache before the first attends. False: it has been done. */
static bool advance(nk_session *s) {
  uint32_t next = s->part_first + s->part_n;
  s->stage++;
  bool entered = s->stage == NK_STAGE_ATTN, left = s->stage == NK_STAGE_COUNT;
  if (!entered && !left) return true;
  if (next < s->batch_n) {
    s->stage = entered ? NK_STAGE_ATTN_IN : NK_STAGE_ATTN;
    take_part(s, next);
    return true;
  }
  take_part(s, 0);
  if (entered) return true;
  s->stage = NK_STAGE_ATTN_IN;
  return ++s->layer < s->model->config.n_layers;
}

void nk_layer_begin(nk_session *s, uint32_t layer) {
  s->layer = layer;
  s->stage = NK_STAGE_ATTN_IN;
  take_part(s, 0);
}

bool nk_layer_step(nk_session *s, uint64_t *products) {
  const nk_layer *layer = &s->model->layers[s->layer];
  uint32_t before = s->layer;
  *products += nk_block_products(s, layer, s->stage);
  nk_block_stage(s, layer, s->stage);
  advance(s);
  return s->layer == before;
}

void nk_part_begin(nk_session *s, uint32_t first) { take_part(s, first); }

void nk_session_step(nk_session *s, bool *batch_done) {
  *batch_done = false;
  if (!nk_session_feeding(s)) return;
  if (s->batch_n == 0) begin_batch(s);
  for (uint64_t products = 0; products < NK_STEP_PRODUCTS;) {
    const nk_layer *layer = &s->model->layers[s->layer];
    products += nk_block_products(s, layer, s->stage);
    nk_block_stage(s, layer, s->stage);
    if (advance(s)) continue;
    *batch_done = end_batch(s);
    return;
  }
}

const float *nk_session_logits(nk_session *s, uint32_t row, uint32_t n) {
  if (n > s->logit_rows || row > s->rows_count || n > s->rows_count - row) return NULL;
  if (s->model->config.arch->encoder) return NULL;
  nk_head(s, row, n);
  return s->logits;
}

const float *nk_session_hidden(nk_session *s, uint32_t row, uint32_t n) {
  if (n > s->logit_rows || row > s->rows_count || n > s->rows_count - row) return NULL;
  nk_hidden(s, row, n);
  return s->head_in;
}

nk_status nk_session_need_head(const nk_session *s, nk_error *error) {
  const nk_arch *arch = s->model->config.arch;
  if (!arch->encoder) return NK_STATUS_OK;
  return nk_fail_hint(error, NK_STATUS_UNSUPPORTED, "Use it for embeddings, and another model to write.",
                      "a %s model reads texts and writes none: it has no logits", arch->name);
}
