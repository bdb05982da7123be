/* peft_config.c: see peft_config.h. */
#include "adapt/peft_config.h"

#include <string.h>

#include "adapt/methods.h"
#include "adapt/names.h"

#define ALL_LINEAR "all-linear"

/* ---- What is not done -------------------------------------------------------------------------------------------- */

#define LORA (1u << NK_METHOD_LORA)
#define IA3 (1u << NK_METHOD_IA3)
#define PROMPT (1u << NK_METHOD_PROMPT)
#define PREFIX (1u << NK_METHOD_PREFIX)
#define ANY (LORA | IA3 | PROMPT | PREFIX)

/* Each must be missing, null, false, or empty. */
static const struct {
  uint32_t methods;
  const char *key, *but;
} OFF[] = {
    {ANY, "modules_to_save", "whole modules that were trained besides are not read"},
    {LORA, "use_dora", "DoRA is not supported, only LoRA without magnitudes"},
    {LORA, "lora_bias", "a bias in LoRA's B is not supported"},
    {LORA, "layer_replication", "replicated layers are not supported"},
    {LORA, "trainable_token_indices", "trained token embeddings are not supported"},
    {LORA, "target_parameters", "adapters of bare parameters are not supported"},
    {LORA, "use_qalora", "QALoRA is not supported"},
    {LORA, "use_bdlora", "block-diagonal LoRA is not supported"},
    {LORA, "alora_invocation_tokens", "activated LoRA, which begins at certain tokens, is not supported"},
    {LORA, "arrow_config", "Arrow's routing between adapters is not supported"},
    {LORA, "kasa_config", "KaSA is not supported"},
    {LORA, "monteclora_config", "MonteCLoRA is not supported"},
};

static bool is_off(const cJSON *value) {
  return value == NULL || cJSON_IsFalse(value) || ((cJSON_IsArray(value) || cJSON_IsObject(value)) && value->child == NULL);
}

/* Missing, or one of the texts "a|b". */
static bool is_one_of(const cJSON *value, const char *texts) {
  if (value == NULL) return true;
  if (!cJSON_IsString(value)) return false;
  size_t length = strlen(value->valuestring);
  for (const char *at = texts;;) {
    size_t n = strcspn(at, "|");
    if (n == length && memcmp(at, value->valuestring, n) == 0) return true;
    if (at[n] == '\0') return false;
    at += n + 1;
  }
}

static nk_status check_off(const nk_peft_config *c, nk_error *error) {
  const cJSON *root = c->document.root;
  for (size_t i = 0; i < sizeof OFF / sizeof OFF[0]; i++) {
    const cJSON *value = nk_json_find(root, OFF[i].key);
    if ((OFF[i].methods >> c->method & 1u) == 0 || is_off(value)) continue;
    return nk_document_refuse(&c->document, OFF[i].key, value, OFF[i].but, error);
  }
  const cJSON *task = nk_json_find(root, "task_type");
  if (!is_one_of(task, "CAUSAL_LM")) {
    return nk_document_refuse(&c->document, "task_type", task, "adapters of models that write (CAUSAL_LM) are read", error);
  }
  const cJSON *bias = nk_json_find(root, "bias");
  if (c->method == NK_METHOD_LORA && !is_one_of(bias, "none")) {
    return nk_document_refuse(&c->document, "bias", bias, "trained biases are not supported, only \"none\"", error);
  }
  /* These begin by taking something away from the base's weights, which we have whole. */
  const cJSON *begin = nk_json_find(root, "init_lora_weights");
  if (c->method == NK_METHOD_LORA && !cJSON_IsBool(begin) && !is_one_of(begin, "gaussian|eva|orthogonal")) {
    return nk_document_refuse(&c->document, "init_lora_weights", begin,
                              "such an adapter needs a changed base model; PEFT can save it as plain LoRA", error);
  }
  return NK_STATUS_OK;
}

/* ---- Numbers ----------------------------------------------------------------------------------------------------- */

static nk_status wrong(const nk_peft_config *c, const char *key, const cJSON *value, const char *needed, nk_error *error) {
  return nk_fail(error, NK_STATUS_FORMAT, "%s: the key \"%s\" is %s; %s is needed", c->document.name, key,
                 nk_json_words(value).text, needed);
}

static nk_status count_of(const nk_peft_config *c, const char *key, uint32_t max, uint32_t *out, nk_error *error) {
  const cJSON *value = nk_json_find(c->document.root, key);
  uint64_t number;
  if (!nk_json_integer(value, 1u << 30, &number) || number == 0) return wrong(c, key, value, "a positive integer", error);
  if (number > max) {
    return nk_fail(error, NK_STATUS_UNSUPPORTED, "%s: the key \"%s\" is %llu; at most %u is supported", c->document.name,
                   key, (unsigned long long)number, max);
  }
  *out = (uint32_t)number;
  return NK_STATUS_OK;
}

/* Missing, or exactly that number of the model. */
static nk_status must_be(const nk_peft_config *c, const char *key, uint64_t expected, const char *what, nk_error *error) {
  const cJSON *value = nk_json_find(c->document.root, key);
  uint64_t number;
  if (value == NULL) return NK_STATUS_OK;
  if (!nk_json_integer(value, 1u << 30, &number)) return wrong(c, key, value, "an integer", error);
  if (number == expected) return NK_STATUS_OK;
  return nk_fail_hint(error, NK_STATUS_ADAPTER_MISMATCH, "Load the model that the adapter was trained on.",
                      "%s: the key \"%s\" is %llu, but the model's %s is %llu", c->document.name, key,
                      (unsigned long long)number, what, (unsigned long long)expected);
}

static bool is_plain(const char *name) {
  size_t n = strlen(name), from = name[0] == '^', to = n > from && name[n - 1] == '$' ? n - 1 : n;
  for (size_t i = from; i < to; i++) {
    char x = name[i];
    bool letter = (x >= 'a' && x <= 'z') || (x >= 'A' && x <= 'Z');
    if (!letter && !(x >= '0' && x <= '9') && x != '_' && x != '-' && x != '.') return false;
  }
  return to > from;
}

static nk_status check_pattern(const nk_peft_config *c, const char *key, bool ranks, nk_error *error) {
  const cJSON *pattern = nk_json_find(c->document.root, key);
  if (pattern == NULL) return NK_STATUS_OK;
  if (!cJSON_IsObject(pattern)) return wrong(c, key, pattern, "an object", error);
  uint32_t n = 0;
  for (const cJSON *entry = pattern->child; entry != NULL; entry = entry->next) {
    uint64_t rank;
    if (++n > NK_PEFT_MAX_NAMES) return wrong(c, key, pattern, "an object of at most 8192 entries", error);
    if (!is_plain(entry->string)) {
      return nk_fail(error, NK_STATUS_UNSUPPORTED, "%s: the key \"%s\" names \"%s\"; regular expressions are not supported",
                     c->document.name, key, nk_label_of(entry->string, strlen(entry->string)).text);
    }
    bool right = ranks ? nk_json_integer(entry, NK_ADAPTER_MAX_RANK, &rank) && rank > 0 : cJSON_IsNumber(entry);
    if (right) continue;
    return wrong(c, key, entry, ranks ? "a rank from 1 to 1024 for each name" : "a number for each name", error);
  }
  return NK_STATUS_OK;
}

/* Missing, or an array of texts, or (where `one`) a text. */
static nk_status check_names(const nk_peft_config *c, const char *key, nk_error *error) {
  const cJSON *value = nk_json_find(c->document.root, key);
  if (value == NULL || cJSON_IsString(value)) return NK_STATUS_OK;
  uint32_t n = 0;
  bool right = cJSON_IsArray(value);
  for (const cJSON *item = value->child; item != NULL && right; item = item->next) {
    right = cJSON_IsString(item) && ++n <= NK_PEFT_MAX_NAMES;
  }
  return right ? NK_STATUS_OK : wrong(c, key, value, "a text or an array of at most 8192 texts", error);
}

static nk_status check_layers(const nk_peft_config *c, const nk_model *model, nk_error *error) {
  const cJSON *layers = nk_json_find(c->document.root, "layers_to_transform");
  if (layers == NULL) return NK_STATUS_OK;
  uint64_t number, n_layers = model->config.n_layers;
  uint32_t n = 0;
  const cJSON *item = cJSON_IsArray(layers) ? layers->child : layers;
  for (; item != NULL; item = item->next) {
    if (!nk_json_integer(item, 1u << 30, &number) || ++n > NK_MAX_LAYERS) {
      return wrong(c, "layers_to_transform", item, "an array of at most 1024 layers", error);
    }
    if (number >= n_layers) {
      return nk_fail(error, NK_STATUS_ADAPTER_MISMATCH, "%s: layers_to_transform names layer %llu; the model has %llu",
                     c->document.name, (unsigned long long)number, (unsigned long long)n_layers);
    }
    if (item == layers) break; /* a number by itself has neighbours of the object's */
  }
  /* The word before a layer's number; empty: any. */
  const cJSON *pattern = nk_json_find(c->document.root, "layers_pattern");
  const cJSON *word = cJSON_IsArray(pattern) ? pattern->child : pattern;
  if (word == NULL || nk_json_is(word, "")) return NK_STATUS_OK;
  for (; word != NULL; word = word->next) {
    if (nk_module_layers(model) != NULL && nk_json_is(word, nk_module_layers(model))) return NK_STATUS_OK;
    if (word == pattern) break;
  }
  return nk_document_refuse(&c->document, "layers_pattern", pattern, "the layers of this model are called otherwise",
                            error);
}

static nk_status read_lora(nk_peft_config *c, const nk_model *model, nk_error *error) {
  nk_status status = count_of(c, "r", NK_ADAPTER_MAX_RANK, &c->rank, error);
  if (status != NK_STATUS_OK) return status;
  const cJSON *root = c->document.root, *alpha = nk_json_find(root, "lora_alpha");
  const cJSON *dropout = nk_json_find(root, "lora_dropout"), *rslora = nk_json_find(root, "use_rslora");
  c->alpha = 8.0;
  if (alpha != NULL && !cJSON_IsNumber(alpha)) return wrong(c, "lora_alpha", alpha, "a number", error);
  if (alpha != NULL) c->alpha = alpha->valuedouble;
  if (dropout != NULL && (!cJSON_IsNumber(dropout) || !(dropout->valuedouble >= 0.0 && dropout->valuedouble < 1.0))) {
    return wrong(c, "lora_dropout", dropout, "a number from 0 to below 1", error);
  }
  if (dropout != NULL) c->dropout = dropout->valuedouble;
  if (rslora != NULL && !cJSON_IsBool(rslora)) return wrong(c, "use_rslora", rslora, "true or false", error);
  c->rslora = cJSON_IsTrue(rslora) != 0;
  status = check_pattern(c, "rank_pattern", true, error);
  if (status == NK_STATUS_OK) status = check_pattern(c, "alpha_pattern", false, error);
  if (status == NK_STATUS_OK) status = check_layers(c, model, error);
  return status;
}

static nk_status read_virtual(nk_peft_config *c, const nk_model *model, nk_error *error) {
  const nk_config *m = &model->config;
  nk_status status = count_of(c, "num_virtual_tokens", NK_ADAPTER_MAX_VIRTUAL, &c->n_virtual, error);
  if (status == NK_STATUS_OK) status = must_be(c, "num_transformer_submodules", 1, "number of parts", error);
  if (status == NK_STATUS_OK) status = must_be(c, "num_layers", m->n_layers, "number of layers", error);
  if (status != NK_STATUS_OK) return status;
  if (c->method == NK_METHOD_PROMPT) return must_be(c, "token_dim", m->width, "width", error);
  return must_be(c, "token_dim", (uint64_t)m->n_kv_heads * m->head_dim, "width of keys", error);
}

/* ---- All of it --------------------------------------------------------------------------------------------------- */

static nk_status read_all(nk_peft_config *c, const nk_model *model, nk_error *error) {
  const cJSON *type = nk_json_find(c->document.root, "peft_type");
  bool known = false;
  for (uint32_t m = 0; m < NK_METHOD_COUNT; m++) {
    if (!nk_json_is(type, nk_method_row_of((nk_method)m)->peft_type)) continue;
    c->method = (nk_method)m;
    known = true;
  }
  if (type == NULL) return wrong(c, "peft_type", type, "a method's name", error);
  if (!known) {
    return nk_document_refuse(&c->document, "peft_type", type,
                              "supported are LORA, IA3, PROMPT_TUNING and PREFIX_TUNING", error);
  }
  nk_status status = check_off(c, error);
  if (status != NK_STATUS_OK) return status;
  if (!nk_method_row_of(c->method)->in_slots) return read_virtual(c, model, error);
  static const char *const LISTS[] = {"target_modules", "exclude_modules", "feedforward_modules"};
  for (size_t i = 0; i < sizeof LISTS / sizeof LISTS[0] && status == NK_STATUS_OK; i++) {
    status = check_names(c, LISTS[i], error);
  }
  if (status == NK_STATUS_OK && c->method == NK_METHOD_LORA) status = read_lora(c, model, error);
  return status;
}

nk_status nk_peft_config_read(nk_peft_config *out, const nk_model *model, const char *text, uint64_t length,
                              nk_error *error) {
  *out = (nk_peft_config){.document = {.name = NK_PEFT_CONFIG_NAME}};
  if (length > NK_PEFT_MAX_CONFIG) {
    return nk_fail(error, NK_STATUS_FORMAT, "%s has %llu bytes; at most %u are read", NK_PEFT_CONFIG_NAME,
                   (unsigned long long)length, NK_PEFT_MAX_CONFIG);
  }
  nk_status status = nk_document_parse(&out->document, NK_PEFT_CONFIG_NAME, text, (size_t)length, error);
  if (status != NK_STATUS_OK) return status;
  status = read_all(out, model, error);
  if (status != NK_STATUS_OK) nk_document_free(&out->document);
  return status;
}

/* ---- Names ------------------------------------------------------------------------------------------------------- */

/* name [n] is path, or its end from a dot on. */
static bool ends_so(const char *path, const char *name, size_t n) {
  size_t length = strlen(path);
  return n <= length && memcmp(path + length - n, name, n) == 0 && (n == length || path[length - n - 1] == '.');
}

nk_peft_aim nk_peft_config_aims(const nk_peft_config *config, const char *path, uint32_t layer) {
  const cJSON *root = config->document.root, *targets = nk_json_find(root, "target_modules");
  if (targets == NULL || !is_off(nk_json_find(root, "exclude_modules"))) return NK_PEFT_UNSAID;
  if (cJSON_IsString(targets)) return nk_json_is(targets, ALL_LINEAR) ? NK_PEFT_YES : NK_PEFT_UNSAID;
  bool named = false;
  for (const cJSON *item = targets->child; item != NULL && !named; item = item->next) {
    named = ends_so(path, item->valuestring, strlen(item->valuestring));
  }
  const cJSON *layers = config->method == NK_METHOD_LORA ? nk_json_find(root, "layers_to_transform") : NULL;
  if (!named) return NK_PEFT_NO;
  if (is_off(layers)) return NK_PEFT_YES;
  uint64_t number = 0;
  const cJSON *item = cJSON_IsArray(layers) ? layers->child : layers;
  for (; item != NULL; item = item->next) {
    if (nk_json_integer(item, UINT64_MAX, &number) && number == layer) return NK_PEFT_YES;
    if (item == layers) break;
  }
  return NK_PEFT_NO;
}

/* The first entry that fits, or NULL. */
static const cJSON *fitting(const cJSON *pattern, const char *path) {
  for (const cJSON *entry = pattern == NULL ? NULL : pattern->child; entry != NULL; entry = entry->next) {
    const char *name = entry->string;
    bool whole = name[0] == '^';
    size_t n = strlen(name += whole);
    if (n > 0 && name[n - 1] == '$') n--;
    if (ends_so(path, name, n) && (!whole || n == strlen(path))) return entry;
  }
  return NULL;
}

void nk_peft_config_shape(const nk_peft_config *config, const char *path, nk_slot_shape *shape) {
  const cJSON *root = config->document.root;
  const cJSON *rank = fitting(nk_json_find(root, "rank_pattern"), path);
  const cJSON *alpha = fitting(nk_json_find(root, "alpha_pattern"), path);
  shape->rank = rank == NULL ? config->rank : (uint32_t)rank->valuedouble;
  shape->alpha = alpha == NULL ? config->alpha : alpha->valuedouble;
}
