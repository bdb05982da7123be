/* config.c: see config.h. */
#include "model/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/math.h"

void nk_problem(nk_problems *problems, const char *format, ...) {
  if (problems->count < NK_MAX_PROBLEMS) {
    va_list arguments;
    va_start(arguments, format);
    if (vsnprintf(problems->text[problems->count], NK_PROBLEM_BYTES, format, arguments) < 0) {
      problems->text[problems->count][0] = '\0';
    }
    va_end(arguments);
  }
  problems->count++;
}

/* "<architecture>.<suffix>" into key. */
static const char *key_of(const nk_config *config, char key[128], const char *suffix) {
  (void)snprintf(key, 128, "%s.%s", config->arch->name, suffix);
  return key;
}

static nk_status required_u32(const nk_config *config, const nk_gguf *gguf, const char *suffix, uint32_t max, uint32_t *out,
                              nk_error *error) {
  char key[128];
  key_of(config, key, suffix);
  if (nk_gguf_find(gguf, key) == NULL) {
    return nk_fail(error, NK_STATUS_FORMAT, "the file lacks the key %s, which every %s model has", key, config->arch->name);
  }
  return nk_gguf_get_u32(gguf, key, 0, 1, max, out, error);
}

/* A per-layer number that may be one value or an array; Nook runs files in which all layers agree, but for layers that have
   none of it: `zeros` of them, or NULL where that cannot be. */
static nk_status uniform_u32(const nk_config *config, const nk_gguf *gguf, const char *suffix, uint32_t fallback,
                             uint32_t max, uint32_t *out, uint32_t *zeros, nk_problems *problems, nk_error *error) {
  char key[128];
  key_of(config, key, suffix);
  const nk_gguf_pair *pair = nk_gguf_find(gguf, key);
  if (pair == NULL || pair->type != NK_GGUF_ARRAY) return nk_gguf_get_u32(gguf, key, fallback, 1, max, out, error);
  if (pair->count != config->n_layers || pair->element_type == NK_GGUF_STRING || pair->element_type == NK_GGUF_F32 ||
      pair->element_type == NK_GGUF_F64 || pair->element_type == NK_GGUF_BOOL) {
    return nk_fail(error, NK_STATUS_FORMAT, "the key %s must be an integer or an array of %u integers", key,
                   config->n_layers);
  }
  uint32_t none = 0;
  int64_t common = 0;
  bool differs = false;
  for (uint64_t i = 0; i < pair->count; i++) {
    int64_t value = nk_gguf_integer_at(pair, i);
    if (value < 0 || value > (int64_t)max) {
      return nk_fail(error, NK_STATUS_FORMAT, "the key %s has the value %lld at layer %llu, allowed are 0 to %u", key,
                     (long long)value, (unsigned long long)i, max);
    }
    if (value == 0) none++;
    differs = differs || (value != 0 && common != 0 && value != common);
    if (common == 0) common = value;
  }
  if (common == 0) return nk_fail(error, NK_STATUS_FORMAT, "the key %s is 0", key);
  if (differs || (none > 0 && zeros == NULL)) nk_problem(problems, "%s differs from layer to layer", key);
  if (zeros != NULL) *zeros = none;
  *out = (uint32_t)common;
  return NK_STATUS_OK;
}

/* A positive number or, where the key is missing, 0. */
static nk_status optional_positive(const nk_config *config, const nk_gguf *gguf, const char *suffix, float *out,
                                   nk_error *error) {
  char key[128];
  nk_status status = nk_gguf_get_f32(gguf, key_of(config, key, suffix), 0.0f, out, error);
  if (status != NK_STATUS_OK) return status;
  if (!(*out >= 0.0f)) {
    return nk_fail_hint(error, NK_STATUS_FORMAT, "The file is damaged or was made by a faulty converter.",
                        "the key %s is %g, below 0", key, (double)*out);
  }
  return NK_STATUS_OK;
}

static bool text_is(nk_text text, const char *word) {
  return text.length == strlen(word) && memcmp(text.bytes, word, text.length) == 0;
}

/* YaRN (Peng et al. 2023), its constants as the file has them or as the paper does. */
static nk_status read_yarn(nk_config *config, const nk_gguf *gguf, nk_problems *problems, nk_error *error) {
  nk_rope_config *rope = &config->rope;
  float fast, slow, multiplier;
  nk_status status;
  if ((status = optional_positive(config, gguf, "rope.scaling.yarn_beta_fast", &fast, error)) != NK_STATUS_OK ||
      (status = optional_positive(config, gguf, "rope.scaling.yarn_beta_slow", &slow, error)) != NK_STATUS_OK ||
      (status = optional_positive(config, gguf, "rope.scaling.yarn_log_multiplier", &multiplier, error)) != NK_STATUS_OK) {
    return status;
  }
  if (multiplier != 0.0f) nk_problem(problems, "YaRN with a log multiplier of %g", (double)multiplier);
  rope->beta_fast = fast > 0.0f ? fast : 32.0f;
  rope->beta_slow = slow > 0.0f ? slow : 1.0f;
  rope->yarn = rope->scale > 1.0f;
  if (rope->yarn) rope->attn_factor *= (float)(0.1 * nk_log_f64((double)rope->scale) + 1.0);
  return NK_STATUS_OK;
}

/* Scaling beyond the trained context: none, linear, YaRN, or frequency factors for short and long contexts, which are
   tensors (LongRoPE). */
static nk_status read_rope_scaling(nk_config *config, const nk_gguf *gguf, nk_problems *problems, nk_error *error) {
  nk_rope_config *rope = &config->rope;
  char key[128];
  nk_status status;
  nk_text type;
  float factor, attn_factor;
#define NK_TRY(expression) \
  if ((status = (expression)) != NK_STATUS_OK) return status
  NK_TRY(nk_gguf_get_text(gguf, key_of(config, key, "rope.scaling.type"), &type, error));
  bool linear = text_is(type, "linear"), yarn = text_is(type, "yarn"), none = type.bytes == NULL || text_is(type, "none");
  if (!linear && !yarn && !none && !text_is(type, "longrope") && !text_is(type, "su")) {
    nk_problem(problems, "rope scaling of type \"%.*s\"", (int)(type.length > 32 ? 32 : type.length), type.bytes);
  }
  /* Older files have the factor alone, under another name. */
  NK_TRY(optional_positive(config, gguf, "rope.scale_linear", &factor, error));
  if (factor == 0.0f && (linear || yarn)) {
    NK_TRY(optional_positive(config, gguf, "rope.scaling.factor", &factor, error));
  }
  if (factor > 0.0f) rope->scale = factor;
  NK_TRY(nk_gguf_get_u32(gguf, key_of(config, key, "rope.scaling.original_context_length"), config->context, 1,
                         NK_MAX_CONTEXT, &rope->original, error));
  NK_TRY(optional_positive(config, gguf, "rope.scaling.attn_factor", &attn_factor, error));
  if (attn_factor > 0.0f) {
    rope->attn_factor = attn_factor;
  } else if (nk_gguf_find_tensor(gguf, "rope_factors_long.weight") != NULL && rope->original < config->context &&
             rope->original > 1) { /* LongRoPE's own (Ding et al. 2024) */
    double stretch = nk_log_f64((double)config->context / rope->original);
    rope->attn_factor = (float)sqrt(1.0 + stretch / nk_log_f64((double)rope->original));
  }
  if (yarn) NK_TRY(read_yarn(config, gguf, problems, error));
#undef NK_TRY
  return NK_STATUS_OK;
}

static nk_status read_rope(nk_config *config, const nk_gguf *gguf, nk_problems *problems, nk_error *error) {
  nk_rope_config *rope = &config->rope;
  char key[128];
  nk_status status;
  rope->scale = rope->attn_factor = 1.0f;
  if (config->arch->rope == NK_ROPE_NONE) return NK_STATUS_OK;
  if ((status = nk_gguf_get_u32(gguf, key_of(config, key, "rope.dimension_count"), config->head_dim, 0, NK_MAX_HEAD_DIM,
                                &config->n_rot, error)) != NK_STATUS_OK) {
    return status;
  }
  if (config->n_rot > config->head_dim || config->n_rot % 2 != 0) {
    return nk_fail(error, NK_STATUS_FORMAT, "the key %s is %u, but a head has %u dimensions and they turn in pairs", key,
                   config->n_rot, config->head_dim);
  }
  if ((status = nk_gguf_get_f32(gguf, key_of(config, key, "rope.freq_base"), 10000.0f, &rope->base, error)) !=
      NK_STATUS_OK) {
    return status;
  }
  if (!(rope->base > 1.0f)) {
    return nk_fail(error, NK_STATUS_FORMAT, "the key %s is %g; a rope base is above 1", key, (double)rope->base);
  }
  return read_rope_scaling(config, gguf, problems, error);
}

/* What only some architectures say: learned positions, projections of embeddings, soft caps, residuals, local rope. */
static nk_status read_extras(nk_config *config, const nk_gguf *gguf, nk_problems *problems, nk_error *error) {
  char key[128];
  nk_status status;
  bool before;
  nk_text activation;
  config->placement = config->arch->placement;
  config->local_base = config->arch->local_base;
  bool wide = config->arch->wide_layers != 0 && config->n_layers == config->arch->wide_layers;
  double per_head = wide ? (double)config->width / config->n_heads : (double)config->head_dim;
  config->attn_scale = (float)(1.0 / sqrt(per_head));
#define NK_TRY(expression) \
  if ((status = (expression)) != NK_STATUS_OK) return status
  NK_TRY(optional_positive(config, gguf, "attn_logit_softcapping", &config->attn_cap, error));
  NK_TRY(optional_positive(config, gguf, "final_logit_softcapping", &config->final_cap, error));
  float local;
  NK_TRY(optional_positive(config, gguf, "rope.freq_base_swa", &local, error));
  if (local > 1.0f) config->local_base = local;
  NK_TRY(nk_gguf_get_bool(gguf, key_of(config, key, "use_parallel_residual"),
                          config->arch->residual == NK_RESIDUAL_BY_KEY, &config->parallel, error));
  NK_TRY(nk_gguf_get_u32(gguf, key_of(config, key, "position_offset"), 0, 0, NK_MAX_CONTEXT, &config->position_offset,
                         error));
  NK_TRY(nk_gguf_get_u32(gguf, key_of(config, key, "word_embed_proj_dim"), config->width, 1, NK_MAX_WIDTH,
                         &config->embed_width, error));
  NK_TRY(nk_gguf_get_bool(gguf, key_of(config, key, "do_layer_norm_before"), true, &before, error));
  if (!before) config->placement = NK_PLACE_POST_RESIDUAL;
  NK_TRY(nk_gguf_get_text(gguf, key_of(config, key, "activation_function"), &activation, error));
#undef NK_TRY
  bool relu = text_is(activation, "relu");
  if (activation.bytes != NULL && !relu) {
    nk_problem(problems, "activation function \"%.*s\"", (int)(activation.length > 32 ? 32 : activation.length),
               activation.bytes);
  }
  return NK_STATUS_OK;
}

/* An encoder must be one by its file too, a decoder must not: with the other mask it would run and be wrong. */
static nk_status read_encoder(nk_config *config, const nk_gguf *gguf, nk_problems *problems, nk_error *error) {
  char key[128];
  bool causal;
  bool encoder = config->arch->encoder;
  nk_status status = nk_gguf_get_bool(gguf, key_of(config, key, "attention.causal"), !encoder, &causal, error);
  if (status != NK_STATUS_OK) return status;
  if (causal == encoder) nk_problem(problems, "%s = %s", key, causal ? "true" : "false");
  uint32_t pooling;
  if ((status = nk_gguf_get_u32(gguf, key_of(config, key, "pooling_type"), 0, 0, UINT32_MAX, &pooling, error)) !=
      NK_STATUS_OK) {
    return status;
  }
  if (pooling > NK_POOLING_LAST) nk_problem(problems, "pooling of type %u", pooling);
  config->pooling = pooling == 0 || pooling > NK_POOLING_LAST ? NK_POOLING_MEAN : (nk_pooling)pooling;
  return NK_STATUS_OK;
}

static nk_status read_epsilon(nk_config *config, const nk_gguf *gguf, nk_error *error) {
  char key[128];
  bool rms = config->arch->norm == NK_NORM_RMS;
  key_of(config, key, rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon");
  if (nk_gguf_find(gguf, key) == NULL) {
    return nk_fail(error, NK_STATUS_FORMAT, "the file lacks the key %s, which every %s model has", key, config->arch->name);
  }
  nk_status status = nk_gguf_get_f32(gguf, key, 0.0f, &config->epsilon, error);
  if (status != NK_STATUS_OK) return status;
  if (!(config->epsilon >= 0.0f && config->epsilon < 1.0f)) {
    return nk_fail(error, NK_STATUS_FORMAT, "the key %s is %g; an epsilon lies between 0 and 1", key,
                   (double)config->epsilon);
  }
  return NK_STATUS_OK;
}

nk_status nk_config_read(nk_config *config, const nk_gguf *gguf, nk_problems *problems, nk_error *error) {
  memset(config, 0, sizeof *config);
  nk_status status = nk_gguf_get_text(gguf, "general.architecture", &config->arch_name, error);
  if (status != NK_STATUS_OK) return status;
  if (config->arch_name.bytes == NULL) {
    return nk_fail_hint(error, NK_STATUS_FORMAT, "For a model in several parts, give all of them, the first part first.",
                        "the file has no general.architecture: it is not a model, or not its first part");
  }
  config->arch = nk_arch_find(config->arch_name.bytes, config->arch_name.length);
  if (config->arch == NULL) {
    nk_problem(problems, "architecture \"%.*s\"", (int)(config->arch_name.length > 64 ? 64 : config->arch_name.length),
               config->arch_name.bytes);
    return NK_STATUS_OK;
  }
  char key[128];
#define NK_TRY(expression) \
  if ((status = (expression)) != NK_STATUS_OK) return status
  NK_TRY(required_u32(config, gguf, "block_count", NK_MAX_LAYERS, &config->n_layers, error));
  NK_TRY(required_u32(config, gguf, "embedding_length", NK_MAX_WIDTH, &config->width, error));
  NK_TRY(required_u32(config, gguf, "context_length", NK_MAX_CONTEXT, &config->context, error));
  NK_TRY(uniform_u32(config, gguf, "attention.head_count", 0, NK_MAX_HEADS, &config->n_heads, NULL, problems, error));
  if (config->n_heads == 0) {
    return nk_fail(error, NK_STATUS_FORMAT, "the file lacks the key %s.attention.head_count", config->arch->name);
  }
  NK_TRY(uniform_u32(config, gguf, "attention.head_count_kv", config->n_heads, NK_MAX_HEADS, &config->n_kv_heads,
                     &config->n_conv, problems, error));
  NK_TRY(nk_gguf_get_u32(gguf, key_of(config, key, "shortconv.l_cache"), 0, config->n_conv > 0 ? 1 : 0, NK_MAX_CONV_TAPS,
                         &config->conv_taps, error));
  if (config->n_conv > 0 && config->conv_taps == 0) {
    return nk_fail(error, NK_STATUS_FORMAT, "%u layers have no attention, and the file lacks the key %s",
                   config->n_conv, key);
  }
  NK_TRY(uniform_u32(config, gguf, "feed_forward_length", 0, NK_MAX_FEED_FORWARD, &config->n_ff, NULL, problems, error));
  if (config->n_ff == 0) {
    return nk_fail(error, NK_STATUS_FORMAT, "the file lacks the key %s.feed_forward_length", config->arch->name);
  }
  if (config->n_heads % config->n_kv_heads != 0) {
    return nk_fail(error, NK_STATUS_FORMAT, "%u query heads cannot share %u key/value heads evenly", config->n_heads,
                   config->n_kv_heads);
  }
  uint32_t value_length;
  NK_TRY(nk_gguf_get_u32(gguf, key_of(config, key, "attention.key_length"), config->width / config->n_heads, 1,
                         NK_MAX_HEAD_DIM, &config->head_dim, error));
  NK_TRY(nk_gguf_get_u32(gguf, key_of(config, key, "attention.value_length"), config->head_dim, 1, NK_MAX_HEAD_DIM,
                         &value_length, error));
  if (config->head_dim == 0 || config->head_dim > NK_MAX_HEAD_DIM) {
    return nk_fail(error, NK_STATUS_FORMAT, "%u dimensions in %u heads: a head would have %u", config->width,
                   config->n_heads, config->head_dim);
  }
  if (value_length != config->head_dim) nk_problem(problems, "keys and values of different length");
  NK_TRY(nk_gguf_get_u32(gguf, key_of(config, key, "attention.sliding_window"), 0, 0, UINT32_MAX, &config->window, error));
  uint32_t experts;
  NK_TRY(nk_gguf_get_u32(gguf, key_of(config, key, "expert_count"), 0, 0, UINT32_MAX, &experts, error));
  if (experts > 0) nk_problem(problems, "mixture of %u experts", experts);
  NK_TRY(read_rope(config, gguf, problems, error));
  NK_TRY(read_epsilon(config, gguf, error));
  NK_TRY(read_extras(config, gguf, problems, error));
  NK_TRY(read_encoder(config, gguf, problems, error));
#undef NK_TRY
  return NK_STATUS_OK;
}
