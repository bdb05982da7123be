/* gradient.c: memory and steps of a row's loss and gradient; see gradient.h and way_back.h. */
#include "run/gradient.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run/way_back.h"

/* Floats that take about as long on the way back as one multiplication forward, for the size of a step. */
#define BACK_COST 3ull

/* ---- Memory ------------------------------------------------------------------------------------------------------- */

static uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }

static bool has(const nk_norm *norm, bool measured) { return measured || norm->weight != NULL; }

/* Floats a token that a record of the layer takes beside x. A measured model has no vectors yet: every step that a file may
   bring is counted then. */
static void carve_record(nk_record *r, nk_arena *arena, const nk_gradient *g, const nk_layer *layer) {
  const nk_config *c = &g->model->config;
  bool measured = layer == NULL;
  uint64_t n = g->options.tokens, d = c->width, q = (uint64_t)c->n_heads * c->head_dim;
  uint64_t qkv = most(q + 2ull * c->n_kv_heads * c->head_dim, c->n_conv > 0 ? 3 * d : 0);
  r->qkv = nk_arena_take_raw(arena, n * qkv, sizeof(float));
  r->mixed = nk_arena_take_raw(arena, n * most(q, c->n_conv > 0 ? d : 0), sizeof(float));
  r->mid = nk_arena_take_raw(arena, n * d, sizeof(float));
  r->ff = nk_arena_take_raw(arena, n * 2 * c->n_ff, sizeof(float));
  if (has(measured ? NULL : &layer->attn_post_norm, measured)) r->attn = nk_arena_take_raw(arena, n * d, sizeof(float));
  if (has(measured ? NULL : &layer->ffn_post_norm, measured)) r->ffn = nk_arena_take_raw(arena, n * d, sizeof(float));
  if (has(measured ? NULL : &layer->ffn_out_norm, measured)) r->sum = nk_arena_take_raw(arena, n * d, sizeof(float));
}

/* All layers have their x; the last g->kept a record of their own, the others one together. */
static void carve_records(nk_gradient *g, nk_arena *arena) {
  uint32_t n = g->model->config.n_layers, own = n - g->kept;
  const nk_layer *layers = g->model->layers;
  nk_record shared = {0}, none = {0};
  nk_record *records = nk_arena_take(arena, n, sizeof *records);
  if (own > 0) carve_record(&shared, arena, g, layers == NULL ? NULL : &layers[0]);
  for (uint32_t i = 0; i < n; i++) {
    nk_record *r = records == NULL ? &none : &records[i];
    if (i < own) {
      *r = shared;
    } else {
      carve_record(r, arena, g, layers == NULL ? NULL : &layers[i]);
    }
    r->x = nk_arena_take_raw(arena, (uint64_t)g->options.tokens * g->model->config.width, sizeof(float));
    if (layers != NULL && layers[i].parallel) r->mid = NULL;
  }
  g->tape.records = records;
}

static uint32_t largest_rank(const nk_adapter *adapter) {
  uint32_t rank = 0;
  for (uint32_t i = 0; adapter != NULL && i < adapter->n_params; i++)
    if (adapter->params[i].kind == NK_PARAM_LORA_A && adapter->params[i].rows > rank) rank = adapter->params[i].rows;
  return rank;
}

static void carve_weight(void *argument, const void *data, const nk_matrix *matrix, uint64_t n) {
  (void)matrix;
  nk_gradient *g = argument;
  float *grad = g->grads == NULL ? NULL : g->grads + g->n_values;
  if (g->weights != NULL) g->weights[g->n_weights] = (nk_weight_grad){.data = data, .grad = grad, .n = n};
  g->n_weights++;
  g->n_values += n;
}

static int by_data(const void *a, const void *b) {
  uintptr_t x = (uintptr_t)((const nk_weight_grad *)a)->data, y = (uintptr_t)((const nk_weight_grad *)b)->data;
  return x < y ? -1 : x > y;
}

static void carve_grads(nk_gradient *g, nk_arena *arena) {
  g->n_weights = 0;
  g->n_values = g->adapter != NULL ? g->adapter->n_values : 0;
  g->grads = NULL;
  g->weights = NULL;
  if (g->options.weights) nk_weights_visit(g->model, carve_weight, g); /* counts */
  g->grads = nk_arena_take(arena, g->n_values, sizeof *g->grads);
  g->weights = nk_arena_take(arena, g->n_weights, sizeof *g->weights);
  if (!g->options.weights || g->weights == NULL) return;
  g->n_weights = 0;
  g->n_values = 0;
  nk_weights_visit(g->model, carve_weight, g);
  qsort(g->weights, g->n_weights, sizeof *g->weights, by_data);
}

static void carve_rest(nk_gradient *g, nk_arena *arena, uint32_t part) {
  const nk_config *c = &g->model->config;
  uint64_t n = g->options.tokens, m = part, d = c->width, q = (uint64_t)c->n_heads * c->head_dim, vocab = g->model->vocab;
  uint64_t qkv = most(q + 2ull * c->n_kv_heads * c->head_dim, c->n_conv > 0 ? 3 * d : 0);
  uint64_t widest = most(most(d, q), c->n_ff), threads = nk_pool_threads(g->machine->pool), rows = g->loss_rows;
  uint32_t head_cols = (uint32_t)((most(d, c->embed_width) + NK_ACT_BLOCK - 1) / NK_ACT_BLOCK * NK_ACT_BLOCK);
  g->targets = nk_arena_take(arena, n, sizeof *g->targets);
  g->dx = nk_arena_take(arena, n * d, sizeof(float));
  g->dqkv = nk_arena_take(arena, n * qkv, sizeof(float));
  g->dmixed = nk_arena_take(arena, n * most(q, d), sizeof(float));
  g->dh = nk_arena_take(arena, m * most(d, q), sizeof(float));
  g->ffv = nk_arena_take(arena, m * 2 * c->n_ff, sizeof(float));
  g->act = nk_arena_take(arena, m * c->n_ff, sizeof(float));
  g->dact = nk_arena_take(arena, m * c->n_ff, sizeof(float));
  g->act_in = nk_arena_take(arena, m * c->n_ff, sizeof(float));
  g->rank = nk_arena_take(arena, 2 * m * largest_rank(g->adapter), sizeof(float));
  if (g->adapter != NULL && g->adapter->config.dropout > 0.0)
    g->dropout.room = nk_arena_take(arena, m * widest, sizeof(float));
  uint32_t prefix = g->adapter != NULL && g->adapter->prefix != NULL ? g->adapter->n_virtual : 0;
  g->scores = nk_arena_take(arena, threads * nk_back_scratch(c, g->options.tokens, prefix), sizeof(float));
  g->logits = nk_arena_take_raw(arena, rows * vocab, sizeof(float));
  if (c->final_cap > 0.0f) g->capped = nk_arena_take_raw(arena, rows * vocab, sizeof(float));
  g->head_x = nk_arena_take(arena, rows * d, sizeof(float));
  g->head_in = nk_arena_take(arena, rows * d, sizeof(float));
  g->dhead_in = nk_arena_take(arena, rows * d, sizeof(float));
  g->head_mid = nk_arena_take(arena, rows * c->embed_width, sizeof(float));
  g->dhead_mid = nk_arena_take(arena, rows * c->embed_width, sizeof(float));
  g->head_act = nk_arena_take(arena, nk_act_bytes(g->machine->ops, g->loss_rows, head_cols), 1);
  g->scratch = nk_arena_take(arena, threads * nk_gemm_t_scratch_bytes(), 1);
}

static nk_session_options session_options(const nk_gradient_options *o, const nk_adapter *adapter) {
  uint32_t prefix = adapter != NULL && adapter->prefix != NULL ? adapter->n_virtual : 0;
  return (nk_session_options){.context = o->tokens + prefix, .kv = NK_KV_F32, .float_activations = o->float_activations,
                              .training = true};
}

/* Sizes that follow from the model and the options. */
static void resolve(nk_gradient *g, const nk_model *model, const nk_machine *machine, const nk_adapter *adapter,
                    const nk_gradient_options *options) {
  *g = (nk_gradient){.model = model, .machine = machine, .adapter = adapter, .options = *options};
  uint64_t rows = NK_LOSS_BYTES / ((uint64_t)model->vocab * sizeof(float) + 1);
  g->loss_rows = rows < 1 ? 1 : rows > NK_LOSS_ROWS ? NK_LOSS_ROWS : (uint32_t)rows;
  uint32_t n = model->config.n_layers;
  g->kept = n;
  if (options->memory == 0) return;
  for (; g->kept > 0; g->kept--) {
    nk_arena arena = nk_arena_measure();
    nk_gradient probe = *g;
    carve_records(&probe, &arena);
    if (arena.used <= options->memory) return;
  }
}

nk_gradient_plan nk_gradient_measure(const nk_model *model, const nk_machine *machine, const nk_adapter *adapter,
                                     const nk_gradient_options *options) {
  nk_gradient g;
  resolve(&g, model, machine, adapter, options);
  nk_session_options wanted = session_options(options, adapter);
  nk_session_plan session = nk_session_measure(model, machine, &wanted);
  nk_arena records = nk_arena_measure(), rest = nk_arena_measure();
  carve_records(&g, &records);
  carve_grads(&g, &rest);
  carve_rest(&g, &rest, session.batch);
  uint64_t bytes = records.used, parts[] = {rest.used, session.kv_bytes, session.work_bytes};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    bytes = bytes > UINT64_MAX - parts[i] ? UINT64_MAX : bytes + parts[i];
  return (nk_gradient_plan){.bytes = bytes, .records = records.used, .kept = g.kept};
}

static nk_status check(const nk_model *model, const nk_adapter *adapter, const nk_gradient_options *o, nk_error *error) {
  if (model->config.arch->encoder)
    return nk_fail(error, NK_STATUS_UNSUPPORTED, "a %s model reads texts and writes none: it cannot be taught",
                   model->config.arch->name);
  if (model->embed_norm.weight != NULL && (adapter == NULL || adapter->method == NK_METHOD_PROMPT))
    return nk_fail(error, NK_STATUS_UNSUPPORTED, "the norm of a %s model's embeddings has no way back",
                   model->config.arch->name);
  if (o->tokens < 2 || o->tokens > NK_MAX_CONTEXT)
    return nk_fail(error, NK_STATUS_DATA, "a row of examples has 2 to %u tokens, not %u", NK_MAX_CONTEXT, o->tokens);
  if ((adapter == NULL) != o->weights)
    return nk_fail(error, NK_STATUS_INTERNAL, "either an adapter learns or the weights do");
  return NK_STATUS_OK;
}

static void find_plain(void *argument, const void *data, const nk_matrix *matrix, uint64_t n) {
  (void)data;
  (void)n;
  const char **name = argument;
  if (matrix != NULL && strcmp(nk_format_name(matrix->format), "F32") != 0) *name = nk_format_name(matrix->format);
}

/* From which layer on something learns. */
static void find_lowest(nk_gradient *g) {
  const nk_adapter *a = g->adapter;
  g->below = a == NULL || a->method == NK_METHOD_PROMPT;
  if (a == NULL || a->n_params == 0) return;
  g->lowest = a->params[0].layer;
  for (uint32_t i = 1; i < a->n_params; i++)
    if (a->params[i].layer < g->lowest) g->lowest = a->params[i].layer;
}

nk_status nk_gradient_create(nk_gradient **out, const nk_model *model, const nk_machine *machine, const nk_adapter *adapter,
                             const nk_gradient_options *options, nk_error *error) {
  *out = NULL;
  nk_status status = check(model, adapter, options, error);
  if (status != NK_STATUS_OK) return status;
  const char *format = NULL;
  if (options->weights) nk_weights_visit(model, find_plain, &format);
  if (format != NULL)
    return nk_fail_hint(error, NK_STATUS_UNSUPPORTED, "Teach it by an adapter.",
                        "the weights of a model in %s cannot learn, only those in F32", format);
  nk_gradient *g = malloc(sizeof *g);
  if (g == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory for training");
  resolve(g, model, machine, adapter, options);
  nk_session_options wanted = session_options(options, adapter);
  status = nk_session_create(&g->s, model, machine, &wanted, error);
  if (status == NK_STATUS_OK && adapter != NULL) {
    const nk_adapter_set set = {.uses = {{.adapter = adapter, .scale = 1.0f}}, .n = 1};
    status = nk_session_adapt(g->s, &set, error);
  }
  if (status != NK_STATUS_OK) {
    nk_gradient_free(g);
    return status;
  }
  nk_arena measure = nk_arena_measure();
  nk_gradient probe = *g;
  carve_records(&probe, &measure);
  carve_grads(&probe, &measure);
  carve_rest(&probe, &measure, nk_session_batch(g->s));
  status = nk_arena_allocate(&g->memory, measure.used, "training", error);
  if (status != NK_STATUS_OK) {
    nk_gradient_free(g);
    return status;
  }
  carve_records(g, &g->memory);
  carve_grads(g, &g->memory);
  carve_rest(g, &g->memory, nk_session_batch(g->s));
  if (adapter != NULL) g->dropout.rate = (float)adapter->config.dropout;
  find_lowest(g);
  *out = g;
  return NK_STATUS_OK;
}

void nk_gradient_free(nk_gradient *g) {
  if (g == NULL) return;
  nk_session_free(g->s);
  nk_arena_free(&g->memory);
  free(g);
}

float *nk_gradient_values(nk_gradient *g, uint64_t *n) {
  *n = g->n_values;
  return g->grads;
}

float *nk_gradient_weight(nk_gradient *g, const void *data) { return nk_weight_grad_of(g, data); }

double nk_gradient_loss(const nk_gradient *g) { return g->loss; }
uint32_t nk_gradient_scored(const nk_gradient *g) { return g->scored; }

/* ---- A row --------------------------------------------------------------------------------------------------------- */

nk_status nk_gradient_begin(nk_gradient *g, const nk_row *row, bool backward, double weight, uint64_t dropout_key,
                            nk_error *error) {
  nk_session *s = g->s;
  if (row->n == 0 || row->n > g->options.tokens)
    return nk_fail(error, NK_STATUS_DATA, "a row of %u tokens, where 1 to %u fit", row->n, g->options.tokens);
  g->n_targets = 0;
  for (uint32_t i = 0; i < row->n; i++) {
    bool begins = row->starts[i] == i;
    if (row->starts[i] > i || (!begins && row->starts[i] != row->starts[i - 1]))
      return nk_fail(error, NK_STATUS_INTERNAL, "entry %u of a row begins at %u", i, row->starts[i]);
    if (row->labels[i] == NK_NOT_SCORED || begins) continue;
    if (row->labels[i] < 0 || (uint32_t)row->labels[i] >= g->model->vocab)
      return nk_fail(error, NK_STATUS_DATA, "label %d at position %u is outside the vocabulary of %u", row->labels[i], i,
                     g->model->vocab);
    g->targets[g->n_targets++] = i - 1;
  }
  nk_session_trim(s, 0);
  s->length = 0;
  s->starts = row->starts;
  s->tape = backward ? &g->tape : NULL;
  g->dropout.key = dropout_key;
  s->dropout = backward && g->dropout.rate > 0.0f ? &g->dropout : NULL;
  nk_status status = nk_session_feed(s, row->ids, row->n, 0, error);
  if (status != NK_STATUS_OK) return status;
  g->row = *row;
  g->backward = backward;
  g->weight = weight;
  g->loss = 0.0;
  g->scored = g->target = 0;
  g->way = NK_WAY_FORWARD;
  return NK_STATUS_OK;
}

/* The whole row is in the session's batch again, as it was on the way forward. */
static void hold_row(nk_gradient *g) {
  g->s->length = 0;
  g->s->batch_n = g->row.n;
}

static const nk_layer *layer_of(const nk_gradient *g) { return &g->model->layers[g->layer]; }

static void enter_layer(nk_gradient *g, uint32_t layer) {
  g->layer = layer;
  g->first = 0;
  g->way = NK_WAY_BRANCHES;
  if (layer + g->kept < g->model->config.n_layers && layer != g->shared) {
    size_t n = (size_t)g->row.n * g->model->config.width;
    memcpy(g->s->x, g->tape.records[layer].x, n * sizeof(float));
    nk_layer_begin(g->s, layer);
    g->way = NK_WAY_AGAIN;
  }
  g->s->layer = layer;
}

static uint64_t loss_step(nk_gradient *g) {
  uint32_t left = g->n_targets - g->target, n = left < g->loss_rows ? left : g->loss_rows;
  if (n > 0) nk_loss(g, g->target, n);
  g->target += n;
  if (g->target == g->n_targets) {
    g->way = NK_WAY_DONE;
    uint32_t layers = g->model->config.n_layers;
    g->shared = layers - g->kept - 1; /* wraps where all layers are kept: then it is not asked for */
    if (g->backward && g->n_targets > 0) enter_layer(g, layers - 1);
  }
  return BACK_COST * n * g->model->vocab * g->model->config.embed_width;
}

static uint64_t elements(const nk_linear *linear) { return (uint64_t)linear->matrix.rows * linear->matrix.cols; }

static uint64_t branches_step(nk_gradient *g) {
  const nk_layer *layer = layer_of(g);
  nk_part_begin(g->s, g->first);
  nk_branches_backward(g, layer);
  nk_turned_again(g, layer);
  g->first += g->s->part_n;
  if (g->first == g->row.n) {
    memset(g->dqkv, 0, g->row.n * nk_qkv_columns(g->s, layer) * sizeof *g->dqkv);
    g->first = 0;
    g->way = NK_WAY_ATTENTION;
  }
  return BACK_COST * g->s->part_n *
         (elements(&layer->gate) + elements(&layer->up) + elements(&layer->down) + elements(&layer->attn_out));
}

/* As many heads as there are threads, or the convolution. */
static uint64_t attention_step(nk_gradient *g) {
  const nk_layer *layer = layer_of(g);
  const nk_config *c = &g->model->config;
  uint64_t products = (uint64_t)g->row.n * c->width * c->conv_taps;
  uint32_t heads = c->n_kv_heads;
  if (layer->conv != NULL) {
    nk_shortconv_backward(g, layer);
    g->first = heads;
  } else {
    uint32_t threads = nk_pool_threads(g->machine->pool), n = heads - g->first < threads ? heads - g->first : threads;
    nk_attention_backward(g, layer, g->first, n);
    g->first += n;
    products = BACK_COST * g->row.n * (g->row.n + g->s->prefix_n) * (c->n_heads / heads) * c->head_dim;
  }
  if (g->first == heads) {
    g->first = 0;
    g->way = NK_WAY_INPUT;
  }
  return products;
}

static uint64_t input_step(nk_gradient *g) {
  const nk_layer *layer = layer_of(g);
  nk_part_begin(g->s, g->first);
  nk_input_backward(g, layer, g->layer > g->lowest || g->below);
  g->first += g->s->part_n;
  uint64_t products = 0;
  for (uint32_t i = 0; i < layer->n_qkv; i++) products += BACK_COST * g->s->part_n * elements(&layer->qkv[i]);
  if (g->first < g->row.n) return products;
  if (g->layer > g->lowest) {
    enter_layer(g, g->layer - 1);
    return products;
  }
  if (g->below) nk_embed_backward(g);
  g->way = NK_WAY_DONE;
  return products;
}

void nk_gradient_step(nk_gradient *g, bool *done) {
  for (uint64_t products = 0; g->way != NK_WAY_DONE && products < NK_STEP_PRODUCTS;) {
    switch (g->way) {
      case NK_WAY_FORWARD: {
        bool read = false;
        nk_session_step(g->s, &read);
        products = NK_STEP_PRODUCTS; /* it is a step already */
        if (!read) break;
        hold_row(g);
        memset(g->dx, 0, (size_t)g->row.n * g->model->config.width * sizeof *g->dx);
        g->way = NK_WAY_LOSS;
        break;
      }
      case NK_WAY_LOSS: products += loss_step(g); break;
      case NK_WAY_AGAIN:
        if (nk_layer_step(g->s, &products)) break;
        g->s->layer = g->layer;
        g->shared = g->layer;
        g->way = NK_WAY_BRANCHES;
        break;
      case NK_WAY_BRANCHES: products += branches_step(g); break;
      case NK_WAY_ATTENTION: products += attention_step(g); break;
      case NK_WAY_INPUT: products += input_step(g); break;
      case NK_WAY_DONE: break;
    }
  }
  *done = g->way == NK_WAY_DONE;
}
