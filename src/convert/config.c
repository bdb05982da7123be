/*
 * config.c: from config.json to the keys of the architecture.
 *
 * Sizes, epsilon, window and ties have a few names over all families; they are asked for here under each of them. What is a
 * family's own is in its row. A value that the engine would run differently from transformers is refused by name.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert/internal.h"
#include "model/config.h"

void nk_note(nk_notes *notes, const char *format, ...) {
  if (notes->n == NK_CONVERT_NOTES) return;
  va_list arguments;
  va_start(arguments, format);
  char *text = notes->text[notes->n];
  if (vsnprintf(text, sizeof notes->text[0], format, arguments) < 0) text[0] = '\0';
  va_end(arguments);
  notes->n++;
}

void nk_shape_free(nk_shape *shape) {
  for (uint32_t i = 0; i < shape->n_made; i++) free(shape->made[i].values);
  shape->n_made = 0;
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

static const char *arch_key(const nk_shape *shape, const char *suffix, char key[128]) {
  if (snprintf(key, 128, "%s.%s", shape->family->arch, suffix) < 0) key[0] = '\0';
  return key;
}

void nk_put_arch_u32(nk_gguf_writer *writer, const nk_shape *shape, const char *suffix, uint32_t value) {
  char key[128];
  nk_gguf_put_u32(writer, arch_key(shape, suffix, key), value);
}

void nk_put_arch_f32(nk_gguf_writer *writer, const nk_shape *shape, const char *suffix, double value) {
  char key[128];
  nk_gguf_put_f32(writer, arch_key(shape, suffix, key), (float)value);
}

void nk_put_arch_text(nk_gguf_writer *writer, const nk_shape *shape, const char *suffix, const char *text) {
  char key[128];
  nk_gguf_put_text(writer, arch_key(shape, suffix, key), text, strlen(text));
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static nk_status wrong(const nk_document *document, const char *key, const cJSON *value, const char *needed,
                       nk_error *error) {
  return nk_fail(error, NK_STATUS_FORMAT, "%s: the key \"%s\" is %s; %s is needed", document->name, key,
                 nk_json_words(value).text, needed);
}

/* The name under which the value was found, for a sentence. */
static const char *key_name(const cJSON *value, const char *keys) {
  return value != NULL && value->string != NULL ? value->string : keys;
}

nk_status nk_read_number(const nk_document *document, const cJSON *object, const char *keys, double fallback, double *out,
                         nk_error *error) {
  const cJSON *value = nk_json_find(object, keys);
  *out = fallback;
  if (value == NULL) return NK_STATUS_OK;
  if (!cJSON_IsNumber(value) || !(fabs(value->valuedouble) <= 3.4e38)) {
    return wrong(document, key_name(value, keys), value, "a number", error);
  }
  *out = value->valuedouble;
  return NK_STATUS_OK;
}

/* An integer from 1; a fallback of 0: it must be there. */
static nk_status read_size(const nk_document *config, const char *keys, uint32_t fallback, uint32_t max, uint32_t *out,
                           nk_error *error) {
  const cJSON *value = nk_json_find(config->root, keys);
  uint64_t number;
  *out = fallback;
  if (value == NULL && fallback != 0) return NK_STATUS_OK;
  if (!nk_json_integer(value, max, &number) || number == 0) {
    char needed[64];
    if (snprintf(needed, sizeof needed, "an integer from 1 to %u", max) < 0) needed[0] = '\0';
    return wrong(config, key_name(value, keys), value, needed, error);
  }
  *out = (uint32_t)number;
  return NK_STATUS_OK;
}

static nk_status read_bool(const nk_document *config, const char *keys, bool fallback, bool *out, nk_error *error) {
  const cJSON *value = nk_json_find(config->root, keys);
  *out = fallback;
  if (value == NULL) return NK_STATUS_OK;
  if (!cJSON_IsBool(value)) return wrong(config, key_name(value, keys), value, "true or false", error);
  *out = cJSON_IsTrue(value) != 0;
  return NK_STATUS_OK;
}

/* ---- Keys of the family ------------------------------------------------------------------------------------------ */

/* True when the scalar is one of "a|b|c". */
static bool is_allowed(const cJSON *value, const char *allowed) {
  char text[64] = "";
  if (cJSON_IsString(value)) {
    if (strlen(value->valuestring) >= sizeof text) return false;
    memcpy(text, value->valuestring, strlen(value->valuestring) + 1);
  } else if (cJSON_IsNumber(value)) {
    if (snprintf(text, sizeof text, "%.17g", value->valuedouble) < 0) return false;
  } else if (cJSON_IsBool(value)) {
    memcpy(text, cJSON_IsTrue(value) ? "true" : "false", 6 - (size_t)(cJSON_IsTrue(value) != 0));
  } else {
    return false;
  }
  for (size_t n; (n = strcspn(allowed, "|")) > 0; allowed += n + 1) {
    if (strlen(text) == n && strncmp(text, allowed, n) == 0) return true;
    if (allowed[n] == '\0') return false;
  }
  return false;
}

static nk_status apply_key(const nk_key_rule *rule, const nk_shape *shape, const nk_document *config,
                           nk_gguf_writer *writer, nk_error *error) {
  const cJSON *value = rule->from[0] == '\0' ? NULL : nk_json_find(config->root, rule->from);
  char but[160], key[128];
  if (value == NULL && rule->fallback < 0) return NK_STATUS_OK;
  bool checked = rule->kind == NK_KEY_CHECK || rule->kind == NK_KEY_TEXT;
  if (checked && value != NULL && !is_allowed(value, rule->allowed)) {
    if (snprintf(but, sizeof but, "models of type %s are converted where it is %s", shape->family->model_type,
                 rule->allowed) < 0) {
      but[0] = '\0';
    }
    return nk_document_refuse(config, key_name(value, rule->from), value, but, error);
  }
  double number = rule->fallback;
  nk_status status = NK_STATUS_OK;
  switch (rule->kind) {
    case NK_KEY_CHECK:
      break;
    case NK_KEY_TEXT:
      nk_put_arch_text(writer, shape, rule->to, rule->allowed);
      break;
    case NK_KEY_F32:
    case NK_KEY_U32:
      if (value != NULL) status = nk_read_number(config, config->root, rule->from, 0, &number, error);
      if (status != NK_STATUS_OK) return status;
      if (rule->kind == NK_KEY_F32) {
        nk_put_arch_f32(writer, shape, rule->to, number);
      } else if (number >= 0.0 && number <= 4294967295.0 && !(floor(number) < number)) {
        nk_put_arch_u32(writer, shape, rule->to, (uint32_t)number);
      } else {
        return wrong(config, key_name(value, rule->from), value, "an integer from 0", error);
      }
      break;
    case NK_KEY_BOOL: {
      bool flag = rule->fallback > 0;
      if (value != NULL) status = read_bool(config, rule->from, false, &flag, error);
      if (status == NK_STATUS_OK) nk_gguf_put_bool(writer, arch_key(shape, rule->to, key), flag);
    }
  }
  return status;
}

/* ---- Window ------------------------------------------------------------------------------------------------------ */

/* local [layers]: which layers have the window, by a list of them, a period, the layer from which on, or the engine's row.
 */
static nk_status read_local(const nk_shape *shape, const nk_document *config, const nk_arch *arch,
                            uint8_t local[NK_CONVERT_MAX_LAYERS], nk_error *error) {
  const cJSON *types = nk_json_find(config->root, "layer_types"), *from = nk_json_find(config->root, "max_window_layers");
  const cJSON *pattern = nk_json_find(config->root, "sliding_window_pattern|_sliding_window_pattern");
  uint64_t first = 0, period = arch->window_period;
  if (types != NULL) {
    uint32_t n = 0;
    for (const cJSON *type = types->child; type != NULL; type = type->next, n++) {
      if (!nk_json_is(type, "sliding_attention") && !nk_json_is(type, "full_attention")) {
        return nk_document_refuse(config, "layer_types", type, "known are full_attention and sliding_attention", error);
      }
      if (n < shape->layers) local[n] = nk_json_is(type, "sliding_attention");
    }
    return n == shape->layers ? NK_STATUS_OK : wrong(config, "layer_types", types, "one entry for each layer", error);
  }
  if (pattern != NULL && !nk_json_integer(pattern, NK_CONVERT_MAX_LAYERS, &period)) {
    return wrong(config, key_name(pattern, ""), pattern, "an integer", error);
  }
  if (from != NULL && !nk_json_integer(from, UINT32_MAX, &first)) {
    return wrong(config, "max_window_layers", from, "an integer", error);
  }
  for (uint32_t i = 0; i < shape->layers; i++) local[i] = i >= first && (period == 0 || (i + 1) % period != 0);
  return NK_STATUS_OK;
}

static nk_status convert_window(const nk_shape *shape, const nk_document *config, const nk_arch *arch,
                                nk_gguf_writer *writer, nk_error *error) {
  uint8_t local[NK_CONVERT_MAX_LAYERS] = {0};
  bool used, any = false, usual = true;
  uint32_t window;
  nk_status status = read_size(config, "sliding_window", UINT32_MAX, UINT32_MAX, &window, error);
  if (status == NK_STATUS_OK) status = read_bool(config, "use_sliding_window", true, &used, error);
  if (status == NK_STATUS_OK) status = read_local(shape, config, arch, local, error);
  if (status != NK_STATUS_OK) return status;
  for (uint32_t i = 0; i < shape->layers; i++) {
    bool by_row = arch->window_period == 0 || (i + 1) % arch->window_period != 0;
    any = any || local[i];
    usual = usual && local[i] == by_row;
  }
  if (!used || window == UINT32_MAX || !any) return NK_STATUS_OK;
  nk_put_arch_u32(writer, shape, "attention.sliding_window", window);
  if (usual) return NK_STATUS_OK;
  char key[128];
  nk_gguf_put_numbers(writer, arch_key(shape, "attention.sliding_window_pattern", key), NK_GGUF_BOOL, local, shape->layers);
  return NK_STATUS_OK;
}

/* ---- LFM2 -------------------------------------------------------------------------------------------------------- */

/* Which layers have attention: the number of key heads of each, 0 for a short convolution. */
static nk_status put_mixers(const nk_shape *shape, const nk_document *config, nk_gguf_writer *writer, nk_error *error) {
  uint32_t heads[NK_CONVERT_MAX_LAYERS] = {0};
  const cJSON *types = nk_json_find(config->root, "layer_types"), *indexes = nk_json_find(config->root, "full_attn_idxs");
  uint32_t n = 0;
  if (cJSON_IsArray(types)) {
    for (const cJSON *type = types->child; type != NULL; type = type->next, n++) {
      bool attention = nk_json_is(type, "full_attention");
      if (n == shape->layers || (!attention && !nk_json_is(type, "conv"))) {
        return wrong(config, "layer_types", type, "\"conv\" or \"full_attention\" for each layer", error);
      }
      heads[n] = attention ? shape->kv_heads : 0;
    }
    if (n != shape->layers) return wrong(config, "layer_types", types, "one entry for each layer", error);
  } else if (cJSON_IsArray(indexes)) {
    for (const cJSON *item = indexes->child; item != NULL; item = item->next) {
      uint64_t layer;
      if (!nk_json_integer(item, shape->layers - 1, &layer)) return wrong(config, "full_attn_idxs", item, "a layer", error);
      heads[layer] = shape->kv_heads;
    }
  } else {
    return wrong(config, "layer_types", types, "an array", error);
  }
  char key[128];
  nk_gguf_put_numbers(writer, arch_key(shape, "attention.head_count_kv", key), NK_GGUF_I32, heads, shape->layers);
  return NK_STATUS_OK;
}

/* The rows of the first feed-forward: config.json's number goes through a rounding that depends on three other keys. */
static uint32_t rows_of(const nk_source_list *sources, const char *end) {
  for (uint32_t i = 0; i < sources->n; i++) {
    const nk_source_tensor *tensor = &sources->tensors[i];
    size_t n = strlen(tensor->name), m = strlen(end);
    if (n < m || strcmp(tensor->name + n - m, end) != 0 || tensor->n_dimensions != 2) continue;
    if (tensor->shape[0] > 0 && tensor->shape[0] <= NK_MAX_FEED_FORWARD) return (uint32_t)tensor->shape[0];
  }
  return 0;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

static nk_status put_epsilon(const nk_shape *shape, const nk_document *config, const nk_arch *arch, nk_gguf_writer *writer,
                             nk_error *error) {
  static const char keys[] = "rms_norm_eps|layer_norm_eps|layer_norm_epsilon|norm_eps|layernorm_eps";
  double epsilon;
  nk_status status = nk_read_number(config, config->root, keys, shape->family->epsilon, &epsilon, error);
  if (status != NK_STATUS_OK) return status;
  if (!(epsilon > 0.0 && epsilon < 1.0)) {
    return wrong(config, "rms_norm_eps or layer_norm_eps", nk_json_find(config->root, keys), "a number between 0 and 1",
                 error);
  }
  nk_put_arch_f32(writer, shape,
                  arch->norm == NK_NORM_RMS ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon", epsilon);
  return NK_STATUS_OK;
}

/* Scores are scaled by the head's size, or, in the rows that say so, by the width over the heads. */
static nk_status check_scale(const nk_shape *shape, const nk_document *config, const nk_arch *arch, nk_error *error) {
  double given;
  nk_status status = nk_read_number(config, config->root, "query_pre_attn_scalar", 0, &given, error);
  if (status != NK_STATUS_OK || !(given > 0.0 || given < 0.0)) return status;
  bool wide = arch->wide_layers != 0 && shape->layers == arch->wide_layers;
  double ours = wide ? (double)shape->width / shape->heads : (double)shape->head_dim;
  if (fabs(given - ours) < 1e-6 * ours) return NK_STATUS_OK;
  return nk_document_refuse(config, "query_pre_attn_scalar", nk_json_find(config->root, "query_pre_attn_scalar"),
                            "it must be the size of a head", error);
}

/* 1_Pooling/config.json of sentence-transformers. */
static nk_status put_pooling(const nk_shape *shape, const nk_document *pooling, nk_gguf_writer *writer, nk_error *error) {
  static const struct {
    const char *key;
    uint32_t value;
  } modes[] = {{"pooling_mode_mean_tokens", 1}, {"pooling_mode_cls_token", 2}, {"pooling_mode_lasttoken", 3}};
  if (pooling->root == NULL) return NK_STATUS_OK;
  uint32_t value = 0, n = 0;
  for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
    if (!cJSON_IsTrue(nk_json_find(pooling->root, modes[i].key))) continue;
    value = modes[i].value;
    n++;
  }
  if (n != 1) {
    return nk_fail(error, NK_STATUS_UNSUPPORTED, "%s: exactly one of mean, cls and last token must be its pooling",
                   pooling->name);
  }
  nk_put_arch_u32(writer, shape, "pooling_type", value);
  return NK_STATUS_OK;
}

static nk_status find_family(nk_shape *shape, const nk_document *config, nk_error *error) {
  const cJSON *type = nk_json_find(config->root, "model_type");
  if (!cJSON_IsString(type)) return wrong(config, "model_type", type, "a text", error);
  shape->family = nk_family_find(type->valuestring);
  if (shape->family != NULL) return NK_STATUS_OK;
  char known[300] = "";
  size_t at = 0;
  for (uint32_t i = 0; i < nk_family_count(); i++) {
    int n = snprintf(known + at, sizeof known - at, "%s%s", i == 0 ? "" : ", ", nk_family_at(i)->model_type);
    if (n < 0 || (size_t)n >= sizeof known - at) break;
    at += (size_t)n;
  }
  char but[340];
  if (snprintf(but, sizeof but, "known are %s", known) < 0) but[0] = '\0';
  return nk_document_refuse(config, "model_type", type, but, error);
}

nk_status nk_convert_config(nk_shape *shape, const nk_document *config, const nk_document *pooling,
                            const nk_source_list *sources, nk_gguf_writer *writer, nk_error *error) {
  nk_status status;
#define NK_TRY(expression) \
  if ((status = (expression)) != NK_STATUS_OK) return status
  NK_TRY(find_family(shape, config, error));
  const nk_family *family = shape->family;
  const nk_arch *arch = nk_arch_find(family->arch, strlen(family->arch));
  if (arch == NULL) {
    return nk_fail(error, NK_STATUS_UNSUPPORTED, "models of type %s become the architecture %s, which this build lacks",
                   family->model_type, family->arch);
  }
  const cJSON *quantized = nk_json_find(config->root, "quantization_config");
  if (quantized != NULL) {
    return nk_document_refuse(config, "quantization_config", quantized, "convert the checkpoint that is not quantized",
                              error);
  }
  uint32_t context, feed_forward, n_vocab;
  NK_TRY(read_size(config, "num_hidden_layers|n_layer", 0, NK_CONVERT_MAX_LAYERS, &shape->layers, error));
  NK_TRY(read_size(config, "hidden_size|n_embd", 0, NK_MAX_WIDTH, &shape->width, error));
  NK_TRY(read_size(config, "num_attention_heads|n_head", 0, NK_MAX_HEADS, &shape->heads, error));
  NK_TRY(read_size(config, "num_key_value_heads", shape->heads, NK_MAX_HEADS, &shape->kv_heads, error));
  NK_TRY(read_size(config, "max_trained_positions|max_position_embeddings|n_positions|n_ctx", 0, NK_MAX_CONTEXT, &context,
                   error));
  NK_TRY(read_size(config, "intermediate_size|ffn_dim|n_inner|block_ff_dim", 4 * shape->width, NK_MAX_FEED_FORWARD,
                   &feed_forward, error));
  NK_TRY(read_size(config, "vocab_size", UINT32_MAX, UINT32_MAX - 1, &n_vocab, error));
  if (context <= family->dropped) {
    return wrong(config, "max_position_embeddings", nk_json_find(config->root, "max_position_embeddings"), "more", error);
  }
  context -= family->dropped;
  uint32_t even = shape->width / shape->heads;
  NK_TRY(read_size(config, "head_dim", even == 0 ? 1 : even, NK_MAX_HEAD_DIM, &shape->head_dim, error));
  NK_TRY(read_bool(config, "tie_word_embeddings|tie_embedding", family->tied, &shape->tied, error));
  shape->vocab = n_vocab == UINT32_MAX ? 0 : n_vocab;
  bool mixers = strcmp(family->arch, "lfm2") == 0;
  uint32_t rows = mixers ? rows_of(sources, "feed_forward.w1.weight") : 0;
  if (rows != 0) feed_forward = rows;

  nk_put_arch_u32(writer, shape, "context_length", context);
  nk_put_arch_u32(writer, shape, "embedding_length", shape->width);
  nk_put_arch_u32(writer, shape, "block_count", shape->layers);
  nk_put_arch_u32(writer, shape, "feed_forward_length", feed_forward);
  nk_put_arch_u32(writer, shape, "attention.head_count", shape->heads);
  if (mixers) {
    NK_TRY(put_mixers(shape, config, writer, error));
  } else {
    nk_put_arch_u32(writer, shape, "attention.head_count_kv", shape->kv_heads);
  }
  if (nk_json_find(config->root, "head_dim") != NULL || shape->head_dim * shape->heads != shape->width) {
    nk_put_arch_u32(writer, shape, "attention.key_length", shape->head_dim);
    nk_put_arch_u32(writer, shape, "attention.value_length", shape->head_dim);
  }
  NK_TRY(put_epsilon(shape, config, arch, writer, error));
  if (!mixers) NK_TRY(convert_window(shape, config, arch, writer, error));
  NK_TRY(check_scale(shape, config, arch, error));
  NK_TRY(nk_convert_rope(shape, config, context, writer, error));
  for (size_t t = 0; t < sizeof family->keys / sizeof family->keys[0]; t++) {
    for (const nk_key_rule *rule = family->keys[t]; rule != NULL && rule->from != NULL; rule++) {
      NK_TRY(apply_key(rule, shape, config, writer, error));
    }
  }
  NK_TRY(put_pooling(shape, pooling, writer, error));
#undef NK_TRY
  return NK_STATUS_OK;
}
