/* adapters.c: adapters through the public interface; see nook.h and adapt/. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapt/card.h"
#include "adapt/lora_gguf.h"
#include "adapt/peft.h"
#include "api/context.h"

#define HEX_BYTES 65u

/* ---- The context's list -------------------------------------------------------------------------------------------- */

nk_status nk_context_hold(nook_context *context, nk_adapter *adapter, uint32_t *id) {
  if (context->n_adapters == context->adapters_room) {
    uint32_t room = context->adapters_room == 0 ? 4 : 2 * context->adapters_room;
    nk_held *longer = realloc(context->adapters, room * sizeof *longer);
    if (longer == NULL) return nk_fail(&context->error, NK_STATUS_MEMORY, "no memory for another adapter");
    context->adapters = longer;
    context->adapters_room = room;
  }
  *id = ++context->last_adapter;
  context->adapters[context->n_adapters++] = (nk_held){.id = *id, .adapter = adapter};
  return NK_STATUS_OK;
}

static nk_held *find(nook_context *context, uint32_t id) {
  for (uint32_t i = 0; i < context->n_adapters; i++)
    if (context->adapters[i].id == id) return &context->adapters[i];
  return NULL;
}

nk_status nk_context_adapter(nook_context *context, uint32_t id, const nk_adapter **adapter) {
  const nk_held *held = find(context, id);
  if (held == NULL) return nk_fail(&context->error, NK_STATUS_DATA, "there is no adapter of number %u", id);
  *adapter = held->adapter;
  return NK_STATUS_OK;
}

void nk_context_release_adapters(nook_context *context) {
  nk_trainer_free(context->trainer);
  context->trainer = NULL;
  const nk_adapter_set none = {.n = 0};
  if (context->session != NULL) (void)nk_session_adapt(context->session, &none, NULL);
  for (uint32_t i = 0; i < context->n_adapters; i++) nk_adapter_free(context->adapters[i].adapter);
  free(context->adapters);
  free(context->files[0]);
  free(context->files[1]);
  context->adapters = NULL;
  context->files[0] = context->files[1] = NULL;
  context->n_adapters = context->adapters_room = 0;
}

/* ---- Files --------------------------------------------------------------------------------------------------------- */

static void identity_text(const nook_context *context, char text[HEX_BYTES]) {
  uint8_t digest[32];
  nk_model_identity(context->model, digest);
  for (int i = 0; i < 32; i++) (void)snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

/* True: "gguf"; false: "peft". */
static nk_status read_format(nook_context *context, const char *format, bool *gguf) {
  *gguf = format != NULL && strcmp(format, "gguf") == 0;
  if (*gguf || (format != NULL && strcmp(format, "peft") == 0)) return NK_STATUS_OK;
  return nk_fail(&context->error, NK_STATUS_DATA, "the format of an adapter is \"peft\" or \"gguf\"");
}

nk_status nook_adapter_read(nook_context *context, const char *format, const uint8_t *a, uint32_t n_a, const uint8_t *b,
                            uint32_t n_b, uint32_t *id) {
  *id = 0;
  bool gguf;
  nk_status status = nk_context_ready(context);
  if (status == NK_STATUS_OK) status = read_format(context, format, &gguf);
  if (status != NK_STATUS_OK) return status;
  nk_adapter *adapter = NULL;
  status = gguf ? nk_lora_gguf_read(&adapter, context->model, a, n_a, &context->error)
                : nk_peft_read(&adapter, context->model, a, n_a, b, n_b, &context->error);
  if (status != NK_STATUS_OK) return status;
  char base[HEX_BYTES];
  identity_text(context, base);
  status = nk_adapter_check_base(adapter, base, &context->error);
  if (status == NK_STATUS_OK) status = nk_context_hold(context, adapter, id);
  if (status != NK_STATUS_OK) nk_adapter_free(adapter);
  return status;
}

nk_status nook_adapter_write(nook_context *context, uint32_t id, const char *format, const uint8_t **a, uint32_t *n_a,
                             const uint8_t **b, uint32_t *n_b) {
  *a = *b = NULL;
  *n_a = *n_b = 0;
  bool gguf;
  const nk_adapter *adapter;
  nk_status status = read_format(context, format, &gguf);
  if (status == NK_STATUS_OK) status = nk_context_adapter(context, id, &adapter);
  if (status != NK_STATUS_OK) return status;
  free(context->files[0]);
  free(context->files[1]);
  context->files[0] = context->files[1] = NULL;
  nk_bytes one = {NULL, 0}, two = {NULL, 0};
  status = gguf ? nk_lora_gguf_write(adapter, context->model, &one, &context->error)
                : nk_peft_write(adapter, context->model, &one, &two, &context->error);
  if (status != NK_STATUS_OK) return status;
  context->files[0] = one.data;
  context->files[1] = two.data;
  *a = one.data;
  *b = two.data;
  *n_a = (uint32_t)one.length;
  *n_b = (uint32_t)two.length;
  return NK_STATUS_OK;
}

nk_status nook_adapter_card(nook_context *context, uint32_t id, const char *card) {
  nk_held *held = find(context, id);
  if (held == NULL) return nk_fail(&context->error, NK_STATUS_DATA, "there is no adapter of number %u", id);
  char base[HEX_BYTES];
  identity_text(context, base);
  cJSON *json = card == NULL ? NULL : cJSON_Parse(card);
  if (!cJSON_IsObject(json)) {
    cJSON_Delete(json);
    return nk_fail(&context->error, NK_STATUS_DATA, "the card of an adapter is a JSON object");
  }
  cJSON_DeleteItemFromObjectCaseSensitive(json, "base_sha256");
  cJSON_DeleteItemFromObjectCaseSensitive(json, "method");
  bool whole = cJSON_AddStringToObject(json, "base_sha256", base) != NULL &&
               cJSON_AddStringToObject(json, "method", nk_method_name(held->adapter->method)) != NULL;
  char *text = whole ? cJSON_PrintUnformatted(json) : NULL;
  cJSON_Delete(json);
  if (text == NULL) return nk_fail(&context->error, NK_STATUS_MEMORY, "no memory for a card");
  nk_status status = nk_adapter_take_card(held->adapter, text, strlen(text), &context->error);
  cJSON_free(text);
  return status;
}

/* ---- List, removal, use -------------------------------------------------------------------------------------------- */

nk_status nook_adapter_remove(nook_context *context, uint32_t id) {
  nk_held *held = find(context, id);
  if (held == NULL) return nk_fail(&context->error, NK_STATUS_DATA, "there is no adapter of number %u", id);
  if (context->operation != NK_IDLE)
    return nk_fail_hint(&context->error, NK_STATUS_BUSY, "End it first.", "another operation is under way");
  const nk_adapter_set none = {.n = 0};
  (void)nk_session_adapt(context->session, &none, NULL);
  nk_adapter_free(held->adapter);
  uint32_t at = (uint32_t)(held - context->adapters);
  context->n_adapters--;
  memmove(held, held + 1, (context->n_adapters - at) * sizeof *held);
  return NK_STATUS_OK;
}

static bool add_slots(cJSON *object, const nk_adapter *a) {
  cJSON *slots = cJSON_AddArrayToObject(object, "slots"), *layers = cJSON_AddArrayToObject(object, "layers");
  if (slots == NULL || layers == NULL) return false;
  if (a->slots == NULL) return true;
  for (uint32_t s = 0; s < NK_SLOT_COUNT; s++) {
    if ((a->config.slots >> s & 1u) == 0) continue;
    cJSON *name = cJSON_CreateString(nk_slot_name((nk_slot)s));
    if (name == NULL || !cJSON_AddItemToArray(slots, name)) return false;
  }
  for (uint32_t l = 0; l < a->n_layers; l++) {
    if (a->config.layers != NULL && a->config.layers[l] == 0) continue;
    cJSON *number = cJSON_CreateNumber(l);
    if (number == NULL || !cJSON_AddItemToArray(layers, number)) return false;
  }
  return true;
}

static bool add_adapter(cJSON *list, const nk_held *held) {
  const nk_adapter *a = held->adapter;
  cJSON *object = cJSON_CreateObject();
  if (object == NULL || !cJSON_AddItemToArray(list, object)) return false;
  char key[17];
  (void)snprintf(key, sizeof key, "%016llx", (unsigned long long)a->key);
  bool whole = cJSON_AddNumberToObject(object, "id", held->id) != NULL &&
               cJSON_AddStringToObject(object, "method", nk_method_name(a->method)) != NULL &&
               cJSON_AddNumberToObject(object, "parameters", (double)a->n_values) != NULL &&
               cJSON_AddNumberToObject(object, "rank", a->method == NK_METHOD_LORA ? a->config.rank : 0) != NULL &&
               cJSON_AddNumberToObject(object, "alpha", a->method == NK_METHOD_LORA ? a->config.alpha : 0) != NULL &&
               cJSON_AddNumberToObject(object, "virtual", a->n_virtual) != NULL &&
               cJSON_AddStringToObject(object, "key", key) != NULL && add_slots(object, a);
  if (!whole) return false;
  cJSON *card = a->card == NULL ? cJSON_CreateNull() : cJSON_Parse(a->card);
  return card != NULL && cJSON_AddItemToObject(object, "card", card);
}

nk_status nook_adapters(nook_context *context) {
  if (context->model == NULL) return nk_fail_hint(&context->error, NK_STATUS_DATA, "Load one first.", "no model is loaded");
  char base[HEX_BYTES];
  identity_text(context, base);
  cJSON *root = cJSON_CreateObject();
  cJSON *list = root == NULL ? NULL : cJSON_AddArrayToObject(root, "adapters");
  bool whole = list != NULL && cJSON_AddStringToObject(root, "base_sha256", base) != NULL;
  for (uint32_t i = 0; whole && i < context->n_adapters; i++) whole = add_adapter(list, &context->adapters[i]);
  if (!whole) {
    cJSON_Delete(root);
    root = NULL;
  }
  return nk_context_keep(context, &context->result_text, root);
}

nk_status nook_adapters_apply(nook_context *context, const uint32_t *ids, const float *scales, uint32_t n) {
  nk_status status = nk_context_ready(context);
  if (status != NK_STATUS_OK) return status;
  if (n > NK_ADAPTERS_MAX)
    return nk_fail(&context->error, NK_STATUS_DATA, "%u adapters at once, where at most %u are applied", n,
                   NK_ADAPTERS_MAX);
  nk_adapter_set set = {.n = n};
  for (uint32_t i = 0; i < n; i++) {
    set.uses[i].scale = scales[i];
    status = nk_context_adapter(context, ids[i], &set.uses[i].adapter);
    if (status != NK_STATUS_OK) return status;
  }
  return nk_session_adapt(context->session, &set, &context->error);
}
