/*
 * bind.c: which tensor of the file goes where in the model; see nk_model_bind in model.h.
 *
 * Presence decides: a bias, a gate, a norm, a fused projection exist when their tensor does. In the end every tensor of the
 * file must have been taken, else the model would run with something silently left out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"

typedef struct binder {
  nk_model *model;
  const nk_gguf *files;
  uint32_t n_files;
  nk_arena *arena;
  nk_binding *binding;
  nk_problems *problems;
  nk_error *error;
  uint8_t **taken; /* [n_files][n_tensors of the file]: 1 where a tensor has found its place */
  uint32_t n_conv, n_attention; /* layers of each kind so far */
} binder;

void nk_binding_free(nk_binding *binding) {
  free(binding->placements);
  *binding = (nk_binding){0};
}

/* ---- Finding ----------------------------------------------------------------------------------------------------- */

/* The tensor of that name in whichever file, or NULL; `take` marks it as having found its place. */
static const nk_gguf_tensor *find(binder *b, const char *name, bool take, uint32_t *file) {
  for (uint32_t f = 0; f < b->n_files; f++) {
    const nk_gguf_tensor *tensor = nk_gguf_find_tensor(&b->files[f], name);
    if (tensor == NULL) continue;
    if (take) b->taken[f][tensor - b->files[f].tensors] = 1;
    if (file != NULL) *file = f;
    return tensor;
  }
  return NULL;
}

static bool present(binder *b, const char *name) { return find(b, name, false, NULL) != NULL; }

static nk_status missing(binder *b, const char *name) {
  return nk_fail_hint(b->error, NK_STATUS_FORMAT, "The file may be incomplete; fetch it again.",
                      "the tensor %s is missing, which a %s model needs", name, b->model->config.arch->name);
}

static nk_status place(binder *b, nk_placement placement) {
  nk_binding *binding = b->binding;
  if (binding->n == binding->capacity) {
    uint32_t capacity = binding->capacity == 0 ? 256 : 2 * binding->capacity;
    nk_placement *grown = realloc(binding->placements, capacity * sizeof *grown);
    if (grown == NULL) return nk_fail(b->error, NK_STATUS_MEMORY, "no memory for the table of tensors");
    binding->placements = grown;
    binding->capacity = capacity;
  }
  binding->placements[binding->n++] = placement;
  return NK_STATUS_OK;
}

/* ---- Placing ----------------------------------------------------------------------------------------------------- */

/* W [rows, cols] from `name`. Absent: FORMAT if required, else untouched. */
static nk_status bind_matrix(binder *b, nk_matrix *matrix, const char *name, uint64_t rows, uint64_t cols, bool required) {
  uint32_t file;
  const nk_gguf_tensor *tensor = find(b, name, true, &file);
  if (tensor == NULL) return required ? missing(b, name) : NK_STATUS_OK;
  if (tensor->dimension[2] != 1 || tensor->dimension[3] != 1) {
    return nk_fail(b->error, NK_STATUS_FORMAT,
                   "the tensor %s has %u dimensions, but a matrix is needed", name, tensor->n_dimensions);
  }
  if (tensor->dimension[0] != cols || tensor->dimension[1] != rows) {
    return nk_fail(b->error, NK_STATUS_FORMAT,
                   "the tensor %s is %llu × %llu, but the model's sizes make it %llu × %llu", name,
                   (unsigned long long)tensor->dimension[1], (unsigned long long)tensor->dimension[0],
                   (unsigned long long)rows, (unsigned long long)cols);
  }
  b->model->parameters += rows * cols;
  const nk_format *format = nk_format_find(tensor->type);
  if (format == NULL) {
    const char *type = nk_type_name(tensor->type);
    if (type != NULL) {
      nk_problem(b->problems, "block format %s (tensor %s)", type, name);
    } else {
      nk_problem(b->problems, "block format number %u (tensor %s)", tensor->type, name);
    }
    return NK_STATUS_OK;
  }
  if (cols % nk_format_block(format) != 0) {
    return nk_fail(b->error, NK_STATUS_FORMAT, "the tensor %s has rows of %llu, no multiple of %s's block of %u", name,
                   (unsigned long long)cols, nk_format_name(format), nk_format_block(format));
  }
  matrix->format = format;
  matrix->rows = (uint32_t)rows;
  matrix->cols = (uint32_t)cols;
  matrix->data = nk_arena_take(b->arena, nk_matrix_bytes(format, rows, cols), 1);
  return place(b, (nk_placement){.tensor = tensor, .file = file, .matrix = matrix});
}

/* A vector [n] of float32, from whichever float type. */
static nk_status bind_vector(binder *b, const float **vector, const char *name, uint64_t n, bool required) {
  uint32_t file;
  const nk_gguf_tensor *tensor = find(b, name, true, &file);
  if (tensor == NULL) return required ? missing(b, name) : NK_STATUS_OK;
  uint64_t elements = tensor->dimension[0] * tensor->dimension[1] * tensor->dimension[2] * tensor->dimension[3];
  if (elements != n) {
    return nk_fail(b->error, NK_STATUS_FORMAT,
                   "the tensor %s has %llu elements, but the model's sizes make it %llu", name,
                   (unsigned long long)elements, (unsigned long long)n);
  }
  b->model->parameters += n;
  const nk_format *format = nk_format_find(tensor->type);
  if (format == NULL || !nk_format_is_float(format)) {
    const char *type = nk_type_name(tensor->type);
    nk_problem(b->problems, "a vector in block format %s (tensor %s)", type != NULL ? type : "unknown", name);
    return NK_STATUS_OK;
  }
  *vector = nk_arena_take(b->arena, n, sizeof(float));
  return place(b, (nk_placement){.tensor = tensor, .file = file, .vector = vector});
}

/* "<stem>.weight" and "<stem>.bias". */
static nk_status bind_linear(binder *b, nk_linear *linear, const char *stem, uint64_t rows, uint64_t cols, bool required) {
  char name[NK_GGUF_MAX_NAME];
  (void)snprintf(name, sizeof name, "%s.weight", stem);
  nk_status status = bind_matrix(b, &linear->matrix, name, rows, cols, required);
  if (status != NK_STATUS_OK || !present(b, name)) return status;
  (void)snprintf(name, sizeof name, "%s.bias", stem);
  return bind_vector(b, &linear->bias, name, rows, false);
}

static nk_status bind_norm(binder *b, nk_norm *norm, const char *stem, uint64_t n, bool required) {
  char name[NK_GGUF_MAX_NAME];
  (void)snprintf(name, sizeof name, "%s.weight", stem);
  nk_status status = bind_vector(b, &norm->weight, name, n, required);
  if (status != NK_STATUS_OK || !present(b, name)) return status;
  (void)snprintf(name, sizeof name, "%s.bias", stem);
  return bind_vector(b, &norm->bias, name, n, false);
}

/* ---- The model --------------------------------------------------------------------------------------------------- */

#define NK_TRY(expression)                                          \
  do {                                                              \
    nk_status status_ = (expression);                               \
    if (status_ != NK_STATUS_OK) return status_;                    \
  } while (0)

#define NK_STEM(suffix) ((void)snprintf(stem, sizeof stem, "blk.%u." suffix, index), stem)

/* "<stem>.weight" is in a file. */
static bool has(binder *b, const char *stem) {
  char name[NK_GGUF_MAX_NAME];
  (void)snprintf(name, sizeof name, "%s.weight", stem);
  return present(b, name);
}

/* Elements of "<stem>.weight"; 0 when there is none. */
static uint64_t elements_of(binder *b, const char *stem) {
  char name[NK_GGUF_MAX_NAME];
  (void)snprintf(name, sizeof name, "%s.weight", stem);
  const nk_gguf_tensor *tensor = find(b, name, false, NULL);
  if (tensor == NULL) return 0;
  return tensor->dimension[0] * tensor->dimension[1] * tensor->dimension[2] * tensor->dimension[3];
}

/* The norm of q or k: over each head with one set of weights, over each head with its own, or over all heads at once. The
   number of weights tells, and where one head's size equals all of them there is no difference. */
static nk_status bind_head_norm(binder *b, nk_layer *layer, nk_norm *norm, uint32_t *span, const char *stem,
                                uint64_t heads) {
  const nk_config *c = &b->model->config;
  uint64_t n = elements_of(b, stem), all = heads * c->head_dim;
  *span = c->head_dim;
  if (n == all && n != c->head_dim) {
    if (c->arch->norm == NK_NORM_LAYER) {
      layer->head_norms = true;
    } else {
      *span = (uint32_t)all;
    }
    return bind_norm(b, norm, stem, all, true);
  }
  return bind_norm(b, norm, stem, c->head_dim, false);
}

/* A gated short convolution: in_proj gives b, c and x, each [d]. */
static nk_status bind_shortconv(binder *b, nk_layer *layer, uint32_t index) {
  const nk_config *c = &b->model->config;
  char stem[64], name[NK_GGUF_MAX_NAME];
  layer->n_qkv = 1;
  NK_TRY(bind_linear(b, &layer->qkv[0], NK_STEM("shortconv.in_proj"), 3ull * c->width, c->width, true));
  (void)snprintf(name, sizeof name, "blk.%u.shortconv.conv.weight", index);
  NK_TRY(bind_vector(b, &layer->conv, name, (uint64_t)c->width * c->conv_taps, true));
  (void)snprintf(name, sizeof name, "blk.%u.shortconv.conv.bias", index);
  NK_TRY(bind_vector(b, &layer->conv_bias, name, c->width, false));
  layer->cache = b->n_conv++;
  if (b->n_conv > c->n_conv) {
    return nk_fail(b->error, NK_STATUS_FORMAT, "layer %u has a short convolution, but the file names %u such layers", index,
                   c->n_conv);
  }
  return bind_linear(b, &layer->attn_out, NK_STEM("shortconv.out_proj"), c->width, c->width, true);
}

static nk_status bind_attention(binder *b, nk_layer *layer, uint32_t index) {
  const nk_config *c = &b->model->config;
  uint64_t q_rows = (uint64_t)c->n_heads * c->head_dim, kv_rows = (uint64_t)c->n_kv_heads * c->head_dim;
  char stem[64];
  if (has(b, NK_STEM("attn_qkv"))) {
    layer->n_qkv = 1;
    NK_TRY(bind_linear(b, &layer->qkv[0], stem, q_rows + 2 * kv_rows, c->width, true));
  } else {
    layer->n_qkv = 3;
    NK_TRY(bind_linear(b, &layer->qkv[0], NK_STEM("attn_q"), q_rows, c->width, true));
    NK_TRY(bind_linear(b, &layer->qkv[1], NK_STEM("attn_k"), kv_rows, c->width, true));
    NK_TRY(bind_linear(b, &layer->qkv[2], NK_STEM("attn_v"), kv_rows, c->width, true));
  }
  /* An encoder reads each text anew: one layer's keys and values at a time are enough. */
  layer->cache = c->arch->encoder ? 0 : b->n_attention;
  b->n_attention++;
  if (b->n_attention > c->n_layers - c->n_conv) {
    return nk_fail(b->error, NK_STATUS_FORMAT, "layer %u has attention, but the file names %u layers without", index,
                   c->n_conv);
  }
  NK_TRY(bind_head_norm(b, layer, &layer->q_norm, &layer->q_norm_span, NK_STEM("attn_q_norm"), c->n_heads));
  NK_TRY(bind_head_norm(b, layer, &layer->k_norm, &layer->k_norm_span, NK_STEM("attn_k_norm"), c->n_kv_heads));
  return bind_linear(b, &layer->attn_out, NK_STEM("attn_output"), c->width, q_rows, true);
}

/* gate and up apart; fused in ffn_up, whose rows are twice the feed-forward's; or no gate at all. */
static nk_status bind_feed_forward(binder *b, nk_layer *layer, uint32_t index) {
  const nk_config *c = &b->model->config;
  char stem[64];
  uint64_t up = elements_of(b, NK_STEM("ffn_up"));
  if (up == 2ull * c->n_ff * c->width && !has(b, NK_STEM("ffn_gate"))) {
    NK_TRY(bind_linear(b, &layer->gate, NK_STEM("ffn_up"), 2ull * c->n_ff, c->width, true));
  } else {
    NK_TRY(bind_linear(b, &layer->gate, NK_STEM("ffn_gate"), c->n_ff, c->width, false));
    NK_TRY(bind_linear(b, &layer->up, NK_STEM("ffn_up"), c->n_ff, c->width, true));
  }
  return bind_linear(b, &layer->down, NK_STEM("ffn_down"), c->width, c->n_ff, true);
}

/* The norms of a layer where the placement has them. */
static nk_status bind_layer_norms(binder *b, nk_layer *layer, uint32_t index) {
  const nk_config *c = &b->model->config;
  char stem[64];
  switch (c->placement) {
    case NK_PLACE_POST_RESIDUAL:
      if (!has(b, NK_STEM("attn_output_norm"))) {
        NK_TRY(bind_norm(b, &layer->attn_out_norm, NK_STEM("attn_norm"), c->width, true));
        return bind_norm(b, &layer->ffn_out_norm, NK_STEM("ffn_norm"), c->width, true);
      }
      NK_TRY(bind_norm(b, &layer->attn_out_norm, NK_STEM("attn_output_norm"), c->width, true));
      return bind_norm(b, &layer->ffn_out_norm, NK_STEM("layer_output_norm"), c->width, true);
    case NK_PLACE_POST_BRANCH: break;
    case NK_PLACE_PRE:
    case NK_PLACE_SANDWICH: {
      NK_TRY(bind_norm(b, &layer->attn_norm, NK_STEM("attn_norm"), c->width, true));
      bool own = c->arch->residual != NK_RESIDUAL_BY_NORM;
      NK_TRY(bind_norm(b, &layer->ffn_norm, NK_STEM("ffn_norm"), c->width, own));
      layer->parallel = c->arch->residual == NK_RESIDUAL_BY_KEY ? c->parallel : !own && !has(b, NK_STEM("ffn_norm"));
      if (c->placement == NK_PLACE_PRE) return NK_STATUS_OK;
    }
  }
  NK_TRY(bind_norm(b, &layer->attn_post_norm, NK_STEM("post_attention_norm"), c->width, true));
  return bind_norm(b, &layer->ffn_post_norm, NK_STEM("post_ffw_norm"), c->width, true);
}

/* Where the file has a window: whether this layer sees everything all the same. The file says so by a period or layer by
   layer, else the architecture's period holds. */
static nk_status sees_all(binder *b, uint32_t index, bool *all) {
  const nk_config *c = &b->model->config;
  char key[128];
  (void)snprintf(key, sizeof key, "%s.attention.sliding_window_pattern", c->arch->name);
  const nk_gguf_pair *pair = nk_gguf_find(&b->files[0], key);
  if (pair != NULL && pair->type == NK_GGUF_ARRAY) {
    if (pair->count != c->n_layers || pair->element_type != NK_GGUF_BOOL) {
      return nk_fail(b->error, NK_STATUS_FORMAT, "the key %s must be a number or an array of %u booleans", key,
                     c->n_layers);
    }
    *all = nk_gguf_integer_at(pair, index) == 0;
    return NK_STATUS_OK;
  }
  uint32_t period;
  NK_TRY(nk_gguf_get_u32(&b->files[0], key, c->arch->window_period, 0, NK_MAX_LAYERS, &period, b->error));
  *all = period != 0 && (index + 1) % period == 0;
  return NK_STATUS_OK;
}

static nk_status bind_layer(binder *b, nk_layer *layer, uint32_t index) {
  const nk_config *c = &b->model->config;
  char stem[64];
  NK_TRY(bind_layer_norms(b, layer, index));
  bool conv = has(b, NK_STEM("shortconv.in_proj"));
  NK_TRY(conv ? bind_shortconv(b, layer, index) : bind_attention(b, layer, index));
  NK_TRY(bind_feed_forward(b, layer, index));
  layer->window = c->window;
  bool all = false;
  NK_TRY(sees_all(b, index, &all));
  if (all) layer->window = 0;
  layer->local_rope = layer->window != 0 && c->local_base > 0.0f;
  return NK_STATUS_OK;
}
#undef NK_STEM

static nk_status read_vocab(binder *b) {
  uint32_t file;
  const nk_gguf_tensor *tensor = find(b, "token_embd.weight", false, &file);
  if (tensor == NULL) return missing(b, "token_embd.weight");
  if (tensor->dimension[1] > NK_TOKENIZER_MAX_VOCAB) {
    return nk_fail(b->error, NK_STATUS_FORMAT,
                   "the tensor token_embd.weight has %llu rows, more than the %u tokens that are supported",
                   (unsigned long long)tensor->dimension[1], NK_TOKENIZER_MAX_VOCAB);
  }
  b->model->vocab = (uint32_t)tensor->dimension[1];
  return NK_STATUS_OK;
}

/* Every tensor of the file must have found its place. */
static nk_status check_taken(binder *b) {
  for (uint32_t f = 0; f < b->n_files; f++) {
    for (uint32_t t = 0; t < b->files[f].n_tensors; t++) {
      if (b->taken[f][t]) continue;
      nk_text name = b->files[f].tensors[t].name;
      nk_problem(b->problems, "tensor %.*s, which no %s model of ours has", (int)name.length, name.bytes,
                 b->model->config.arch->name);
    }
  }
  return NK_STATUS_OK;
}

static nk_status bind_all(binder *b) {
  nk_model *model = b->model;
  const nk_config *c = &model->config;
  /* While measuring there is no arena to keep the layers in; every layer is bound into the same temporary one. */
  nk_layer measured;
  model->parameters = 0;
  model->layers = nk_arena_take(b->arena, c->n_layers, sizeof *model->layers);
  NK_TRY(read_vocab(b));
  NK_TRY(bind_matrix(b, &model->embedding, "token_embd.weight", model->vocab, c->embed_width, true));
  bool projected = c->embed_width != c->width;
  NK_TRY(bind_linear(b, &model->embed_in, "token_embd_proj_in", c->width, c->embed_width, projected));
  NK_TRY(bind_linear(b, &model->head_out, "output_proj_out", c->embed_width, c->width, projected));
  if (c->arch->rope == NK_ROPE_NONE) {
    uint64_t rows = (uint64_t)c->context + c->position_offset;
    NK_TRY(bind_matrix(b, &model->positions, "position_embd.weight", rows, c->width, true));
  }
  uint64_t types = elements_of(b, "token_types") / c->width;
  if (types > 0) NK_TRY(bind_matrix(b, &model->token_types, "token_types.weight", types, c->width, true));
  bool final = c->placement != NK_PLACE_POST_RESIDUAL;
  /* Some converters call the norm after the last layer so. */
  bool misnamed = final && !has(b, "output_norm") && has(b, "token_embd_norm");
  if (!misnamed) NK_TRY(bind_norm(b, &model->embed_norm, "token_embd_norm", c->width, false));
  NK_TRY(bind_norm(b, &model->output_norm, misnamed ? "token_embd_norm" : "output_norm", c->width, final));
  if (!c->arch->encoder) NK_TRY(bind_linear(b, &model->head, "output", model->vocab, c->embed_width, false));
  model->tied = !c->arch->encoder && !present(b, "output.weight");
  if (c->arch->rope != NK_ROPE_NONE) {
    NK_TRY(bind_vector(b, &model->rope_factors, "rope_freqs.weight", c->n_rot / 2, false));
    bool parted = present(b, "rope_factors_long.weight") || present(b, "rope_factors_short.weight");
    NK_TRY(bind_vector(b, &model->rope_long, "rope_factors_long.weight", c->n_rot / 2, parted));
    NK_TRY(bind_vector(b, &model->rope_short, "rope_factors_short.weight", c->n_rot / 2, parted));
  }
  for (uint32_t i = 0; i < c->n_layers; i++) {
    memset(&measured, 0, sizeof measured);
    NK_TRY(bind_layer(b, model->layers != NULL ? &model->layers[i] : &measured, i));
  }
  NK_TRY(check_taken(b));
  if (model->tied) model->head.matrix = model->embedding;
  return NK_STATUS_OK;
}

nk_status nk_model_bind(nk_model *model, const nk_gguf *files, uint32_t n_files, nk_arena *arena, nk_binding *binding,
                        nk_problems *problems, nk_error *error) {
  binder b = {.model = model, .files = files, .n_files = n_files, .arena = arena, .binding = binding,
              .problems = problems, .error = error};
  binding->n = 0;
  uint64_t n_tensors = 0;
  for (uint32_t f = 0; f < n_files; f++) n_tensors += files[f].n_tensors;
  uint8_t *marks = calloc(n_tensors == 0 ? 1 : (size_t)n_tensors, 1);
  b.taken = calloc(n_files, sizeof *b.taken);
  nk_status status = NK_STATUS_OK;
  if (marks == NULL || b.taken == NULL) {
    status = nk_fail(error, NK_STATUS_MEMORY, "no memory for the table of tensors");
  } else {
    uint64_t start = 0;
    for (uint32_t f = 0; f < n_files; f++) {
      b.taken[f] = marks + start;
      start += files[f].n_tensors;
    }
    status = bind_all(&b);
  }
  free(b.taken);
  free(marks);
  if (status == NK_STATUS_OK && !nk_arena_ok(arena)) {
    status = nk_fail_hint(error, NK_STATUS_MEMORY, "Choose a smaller model.", "the weights do not fit this build's memory");
  }
  return status;
}
