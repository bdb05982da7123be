/* describe.c: the facts of a model as JSON: nook_info, and the memory plan inside it. Shape: nook.h. */
#include <stdio.h>
#include <string.h>

#include "api/context.h"

static bool add_number(cJSON *object, const char *key, uint64_t value) {
  return cJSON_AddNumberToObject(object, key, (double)value) != NULL;
}

/* A text value of the file, or null. */
static bool add_text(cJSON *object, const char *key, const nk_gguf *gguf, const char *name) {
  nk_text text;
  if (nk_gguf_get_text(gguf, name, &text, NULL) != NK_STATUS_OK || text.bytes == NULL) {
    return cJSON_AddNullToObject(object, key) != NULL;
  }
  return nk_json_text(object, key, text.bytes, text.length);
}

static bool add_integer(cJSON *object, const char *key, const nk_gguf *gguf, const char *name) {
  const nk_gguf_pair *pair = nk_gguf_find(gguf, name);
  uint32_t value;
  if (pair == NULL || nk_gguf_get_u32(gguf, name, 0, 0, UINT32_MAX, &value, NULL) != NK_STATUS_OK) {
    return cJSON_AddNullToObject(object, key) != NULL;
  }
  return add_number(object, key, value);
}

/* {"Q4_1": tensors, …} of the whole file, formats without kernels too. */
static bool add_types(cJSON *object, const nk_gguf *gguf) {
  cJSON *types = cJSON_AddObjectToObject(object, "types");
  if (types == NULL) return false;
  for (uint32_t i = 0; i < gguf->n_tensors; i++) {
    char number[24];
    const char *name = nk_type_name(gguf->tensors[i].type);
    if (name == NULL) {
      (void)snprintf(number, sizeof number, "type %u", gguf->tensors[i].type);
      name = number;
    }
    cJSON *count = cJSON_GetObjectItemCaseSensitive(types, name);
    if (count == NULL) {
      if (cJSON_AddNumberToObject(types, name, 1) == NULL) return false;
    } else {
      cJSON_SetNumberValue(count, count->valuedouble + 1);
    }
  }
  return true;
}

static bool add_unsupported(cJSON *object, const nk_problems *problems) {
  cJSON *list = cJSON_AddArrayToObject(object, "unsupported");
  if (list == NULL) return false;
  uint32_t kept = problems->count < NK_MAX_PROBLEMS ? problems->count : NK_MAX_PROBLEMS;
  for (uint32_t i = 0; i < kept; i++) {
    /* Names come from the file: nk_json_text makes them valid UTF-8 inside a throw-away object. */
    cJSON *holder = cJSON_CreateObject();
    bool added = holder != NULL && nk_json_text(holder, "text", problems->text[i], strlen(problems->text[i])) &&
                 cJSON_AddItemToArray(list, cJSON_DetachItemFromObjectCaseSensitive(holder, "text"));
    cJSON_Delete(holder);
    if (!added) return false;
  }
  if (problems->count > kept) {
    char more[48];
    (void)snprintf(more, sizeof more, "and %u more", problems->count - kept);
    cJSON *text = cJSON_CreateString(more);
    if (text == NULL || !cJSON_AddItemToArray(list, text)) return false;
  }
  return true;
}

static bool add_memory(cJSON *object, nook_context *context, const nk_load_plan *plan, const nk_model *model) {
  cJSON *memory = cJSON_AddObjectToObject(object, "memory");
  if (memory == NULL) return false;
  nk_session_plan session = {0};
  uint64_t working = 0;
  if (model->config.arch != NULL && model->vocab > 0) {
    session = nk_session_measure(model, &context->machine, &context->chosen);
    working = session.work_bytes + nk_generation_bytes(model->vocab, context->chosen.context);
  }
  uint64_t weights = plan->weights_bytes + plan->header_bytes + plan->tokenizer_bytes;
  uint64_t work = working > plan->staging_bytes ? working : plan->staging_bytes;
  return add_number(memory, "weights", weights) && add_number(memory, "kv", session.kv_bytes) &&
         add_number(memory, "work", work) && add_number(memory, "total", weights + session.kv_bytes + work);
}

static bool add_run(cJSON *object, nook_context *context) {
  static const char *const isa_names[] = {"scalar", "simd128", "relaxed"};
  static const char *const kv_names[] = {"f16", "f32", "q8"};
  return cJSON_AddStringToObject(object, "isa", isa_names[context->isa]) != NULL &&
         add_number(object, "threads", nk_pool_threads(context->machine.pool)) &&
         cJSON_AddStringToObject(object, "activations", context->chosen.float_activations ? "f32" : "auto") != NULL &&
         cJSON_AddStringToObject(object, "kv_type", kv_names[context->chosen.kv]) != NULL;
}

static bool add_config(cJSON *object, const nk_model *model) {
  const nk_config *c = &model->config;
  cJSON *sizes = cJSON_AddObjectToObject(object, "sizes");
  return sizes != NULL && add_number(sizes, "layers", c->n_layers) && add_number(sizes, "width", c->width) &&
         add_number(sizes, "feed_forward", c->n_ff) && add_number(sizes, "heads", c->n_heads) &&
         add_number(sizes, "kv_heads", c->n_kv_heads) && add_number(sizes, "head_dim", c->head_dim) &&
         add_number(sizes, "window", c->window) && cJSON_AddBoolToObject(sizes, "tied", model->tied) != NULL;
}

static bool add_hash(cJSON *object, const nk_loader *loader) {
  uint8_t digest[32];
  char hex[65];
  nk_loader_header_hash(loader, digest);
  for (int i = 0; i < 32; i++) (void)snprintf(hex + 2 * i, 3, "%02x", digest[i]);
  return cJSON_AddStringToObject(object, "header_sha256", hex) != NULL;
}

/* "gpt2/smollm": what the file names, whether or not Nook has it; null without a tokenizer. */
static bool add_tokenizer(cJSON *object, const nk_gguf *gguf) {
  nk_text model, pre;
  if (nk_gguf_get_text(gguf, "tokenizer.ggml.model", &model, NULL) != NK_STATUS_OK || model.bytes == NULL) {
    return cJSON_AddNullToObject(object, "tokenizer") != NULL;
  }
  char name[128];
  if (nk_gguf_get_text(gguf, "tokenizer.ggml.pre", &pre, NULL) != NK_STATUS_OK || pre.bytes == NULL) pre.length = 0;
  int written =
      snprintf(name, sizeof name, "%.*s%s%.*s", (int)(model.length > 60 ? 60 : model.length), model.bytes,
               pre.length > 0 ? "/" : "", (int)(pre.length > 60 ? 60 : pre.length), pre.length > 0 ? pre.bytes : "");
  return written > 0 && nk_json_text(object, "tokenizer", name, strlen(name));
}

/* "encoder": reads texts only; "pooling": how its rows, or a decoder's, become one vector. */
static bool add_encoder(cJSON *object, const nk_config *config) {
  static const char *const names[] = {"mean", "mean", "cls", "last"};
  return cJSON_AddBoolToObject(object, "encoder", config->arch != NULL && config->arch->encoder) != NULL &&
         cJSON_AddStringToObject(object, "pooling", names[config->pooling]) != NULL;
}

nk_status nk_context_describe(nook_context *context, const nk_load_plan *plan) {
  const nk_model *model = nk_loader_model(context->loader);
  const nk_config *config = &model->config;
  const nk_gguf *gguf = nk_loader_gguf(context->loader);
  cJSON *info = cJSON_CreateObject();
  bool whole = info != NULL && nk_json_text(info, "architecture", config->arch_name.bytes, config->arch_name.length) &&
               add_text(info, "name", gguf, "general.name") && add_text(info, "license", gguf, "general.license") &&
               add_number(info, "parameters", model->parameters) && add_number(info, "bytes", model->file_bytes) &&
               add_types(info, gguf) && add_number(info, "context", context->chosen.context) &&
               add_number(info, "trained_context", config->context) && add_number(info, "vocabulary", model->vocab) &&
               add_config(info, model) && add_tokenizer(info, gguf) &&
               add_text(info, "template", gguf, "tokenizer.chat_template") &&
               add_integer(info, "bos", gguf, "tokenizer.ggml.bos_token_id") &&
               add_integer(info, "eos", gguf, "tokenizer.ggml.eos_token_id") &&
               add_encoder(info, config) && add_memory(info, context, plan, model) &&
               add_run(info, context) && add_hash(info, context->loader) &&
               add_unsupported(info, nk_loader_problems(context->loader));
  if (!whole) {
    cJSON_Delete(info);
    return nk_fail(&context->error, NK_STATUS_MEMORY, "no memory for the model's facts");
  }
  return nk_context_keep(context, &context->info_text, info);
}
