/* card.c: see card.h. */
#include "adapt/card.h"

#include <stdlib.h>
#include <string.h>

#include "convert/document.h"
#include "core/json.h"

#define HASH_DIGITS 64u

static const char *const TEXTS[] = {"tool", "version", "method", "base_name", "base_sha256", "data_sha256", "date"};

static uint32_t hex_value(char c) {
  return c >= '0' && c <= '9' ? (uint32_t)(c - '0')
         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10
         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A') + 10
                                : 16;
}

static bool is_hash(const char *text) {
  for (uint32_t i = 0; i < HASH_DIGITS; i++) {
    if (hex_value(text[i]) == 16) return false; /* the NUL is no digit: nothing behind it is read */
  }
  return text[HASH_DIGITS] == '\0';
}

static nk_status no_memory(nk_error *error) { return nk_fail(error, NK_STATUS_MEMORY, "no memory for an adapter's card"); }

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

static nk_status add(cJSON *object, const char *key, const char *text, nk_error *error) {
  if (text == NULL) return NK_STATUS_OK;
  if (strlen(text) > NK_CARD_TEXT_BYTES) {
    return nk_fail(error, NK_STATUS_DATA, "the \"%s\" of an adapter's card has more than %u bytes", key,
                   NK_CARD_TEXT_BYTES);
  }
  if (strstr(key, "sha256") != NULL && !is_hash(text)) {
    return nk_fail(error, NK_STATUS_DATA, "the \"%s\" of an adapter's card must be 64 hexadecimal digits, not \"%s\"", key,
                   nk_label_of(text, strlen(text)).text);
  }
  return nk_json_text(object, key, text, strlen(text)) ? NK_STATUS_OK : no_memory(error);
}

nk_status nk_adapter_write_card(nk_adapter *adapter, const nk_card *card, nk_error *error) {
  const char *values[] = {card->tool,        card->version,     nk_method_name(adapter->method), card->base_name,
                          card->base_sha256, card->data_sha256, card->date};
  cJSON *object = cJSON_CreateObject();
  nk_status status = object == NULL ? no_memory(error) : NK_STATUS_OK;
  for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0] && status == NK_STATUS_OK; i++) {
    status = add(object, TEXTS[i], values[i], error);
  }
  if (status == NK_STATUS_OK && card->examples > 0 &&
      cJSON_AddNumberToObject(object, "examples", (double)card->examples) == NULL) {
    status = no_memory(error);
  }
  char *text = status == NK_STATUS_OK ? nk_json_print(object) : NULL;
  if (status == NK_STATUS_OK && text == NULL) status = no_memory(error);
  if (status == NK_STATUS_OK) status = nk_adapter_take_card(adapter, text, strlen(text), error);
  cJSON_free(text);
  cJSON_Delete(object);
  return status;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static nk_status check_card(const cJSON *root, nk_error *error) {
  for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
    const cJSON *value = nk_json_find(root, TEXTS[i]);
    if (value == NULL) continue;
    bool right = cJSON_IsString(value) && (strstr(TEXTS[i], "sha256") == NULL || is_hash(value->valuestring));
    if (right) continue;
    return nk_fail(error, NK_STATUS_FORMAT, "the adapter's card: the key \"%s\" is %s", TEXTS[i],
                   nk_json_words(value).text);
  }
  return NK_STATUS_OK;
}

nk_status nk_adapter_take_card(nk_adapter *adapter, const char *json, size_t length, nk_error *error) {
  if (length > NK_ADAPTER_CARD_BYTES) {
    return nk_fail(error, NK_STATUS_FORMAT, "the adapter's card has %zu bytes; at most %u are read", length,
                   NK_ADAPTER_CARD_BYTES);
  }
  char *copy = malloc(length + 1);
  if (copy == NULL) return no_memory(error);
  memcpy(copy, json, length);
  copy[length] = '\0';
  nk_document document;
  nk_status status = nk_document_parse(&document, "the adapter's card", copy, length, error);
  if (status == NK_STATUS_OK) {
    status = check_card(document.root, error);
    nk_document_free(&document);
  }
  if (status != NK_STATUS_OK) {
    free(copy);
    return status;
  }
  free(adapter->card);
  adapter->card = copy;
  return NK_STATUS_OK;
}

nk_status nk_adapter_card_text(const nk_adapter *adapter, const char *key, char *out, size_t bytes, nk_error *error) {
  out[0] = '\0';
  if (adapter->card == NULL) return NK_STATUS_OK;
  nk_document document;
  nk_status status = nk_document_parse(&document, "the adapter's card", adapter->card, strlen(adapter->card), error);
  if (status != NK_STATUS_OK) return status;
  const cJSON *value = nk_json_find(document.root, key);
  bool fits = cJSON_IsString(value) && strlen(value->valuestring) < bytes;
  if (fits) memcpy(out, value->valuestring, strlen(value->valuestring) + 1);
  nk_document_free(&document);
  return status;
}

nk_status nk_adapter_check_base(const nk_adapter *adapter, const char *base_sha256, nk_error *error) {
  char wanted[HASH_DIGITS + 1];
  if (!is_hash(base_sha256)) return nk_fail(error, NK_STATUS_DATA, "a model's hash must be 64 hexadecimal digits");
  nk_status status = nk_adapter_card_text(adapter, "base_sha256", wanted, sizeof wanted, error);
  if (status != NK_STATUS_OK || wanted[0] == '\0') return status;
  for (uint32_t i = 0; i < HASH_DIGITS; i++) {
    if (hex_value(wanted[i]) == hex_value(base_sha256[i])) continue;
    return nk_fail_hint(error, NK_STATUS_ADAPTER_MISMATCH, "Load the model that the adapter was trained on.",
                        "the adapter was trained on the model with sha256 %s, but the loaded one has %s", wanted,
                        base_sha256);
  }
  return NK_STATUS_OK;
}
