/* vocabulary.c: see vocabulary.h. Format: the tokenizer.json of Hugging Face's tokenizers library. */
#include "convert/vocabulary.h"

#include <stdlib.h>
#include <string.h>

nk_status nk_vocabulary_refuse(const nk_vocabulary *vocabulary, const char *key, const cJSON *value, const char *but,
                               nk_error *error) {
  return nk_document_refuse(vocabulary->tokenizer, key, value, but, error);
}

void nk_vocabulary_free(nk_vocabulary *vocabulary) {
  free(vocabulary->texts);
  free(vocabulary->types);
  free(vocabulary->scores);
  free(vocabulary->sorted);
  *vocabulary = (nk_vocabulary){0};
}

static nk_status bad_token(const nk_vocabulary *vocabulary, const char *text, const char *but, nk_error *error) {
  return nk_fail(error, NK_STATUS_FORMAT, "%s: the token \"%s\" %s", vocabulary->tokenizer->name,
                 nk_label_of(text, strlen(text)).text, but);
}

static nk_status put(nk_vocabulary *vocabulary, uint32_t id, const char *text, int32_t type, nk_error *error) {
  if (vocabulary->texts[id] != NULL && strcmp(vocabulary->texts[id], text) != 0) {
    return bad_token(vocabulary, text, "has the id of another token", error);
  }
  vocabulary->texts[id] = text;
  vocabulary->types[id] = type;
  return NK_STATUS_OK;
}

/* {"token": id, …} */
static nk_status read_table(nk_vocabulary *vocabulary, const cJSON *table, nk_error *error) {
  for (const cJSON *item = table->child; item != NULL; item = item->next) {
    uint64_t id;
    if (!nk_json_integer(item, UINT32_MAX, &id)) return bad_token(vocabulary, item->string, "has no id", error);
    if (id >= vocabulary->n)
      return bad_token(vocabulary, item->string, "has an id that the embedding has no row for", error);
    if (vocabulary->texts[id] != NULL) return bad_token(vocabulary, item->string, "has the id of another token", error);
    nk_status status = put(vocabulary, (uint32_t)id, item->string, NK_TYPE_NORMAL, error);
    if (status != NK_STATUS_OK) return status;
  }
  return NK_STATUS_OK;
}

/* [["token", score], …]: Unigram */
static nk_status read_scored(nk_vocabulary *vocabulary, const cJSON *list, nk_error *error) {
  uint32_t id = 0;
  vocabulary->scores = calloc(vocabulary->n, sizeof *vocabulary->scores);
  if (vocabulary->scores == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory for the vocabulary");
  for (const cJSON *item = list->child; item != NULL; item = item->next, id++) {
    const cJSON *text = cJSON_IsArray(item) ? item->child : NULL, *score = text == NULL ? NULL : text->next;
    if (!cJSON_IsString(text) || !cJSON_IsNumber(score) || !(score->valuedouble > -1e30 && score->valuedouble < 1e30)) {
      return nk_fail(error, NK_STATUS_FORMAT, "%s: entry %u of model.vocab is no pair of text and score",
                     vocabulary->tokenizer->name, id);
    }
    if (id >= vocabulary->n) {
      return bad_token(vocabulary, text->valuestring, "has an id that the embedding has no row for", error);
    }
    vocabulary->scores[id] = (float)score->valuedouble;
    nk_status status = put(vocabulary, id, text->valuestring, NK_TYPE_NORMAL, error);
    if (status != NK_STATUS_OK) return status;
  }
  return NK_STATUS_OK;
}

/* Tokens that are written like control tokens are such, whatever the file says: text must not become them. */
static bool looks_special(const char *text) {
  size_t n = strlen(text);
  return (n > 4 && strncmp(text, "<|", 2) == 0 && strcmp(text + n - 2, "|>") == 0) ||
         (n > 8 && strncmp(text, "<\xEF\xBD\x9C", 4) == 0 && strcmp(text + n - 4, "\xEF\xBD\x9C>") == 0);
}

static nk_status read_added(nk_vocabulary *vocabulary, nk_notes *notes, nk_error *error) {
  const cJSON *list = nk_json_find(vocabulary->tokenizer->root, "added_tokens");
  uint32_t beyond = 0;
  const char *first = "";
  for (const cJSON *item = cJSON_IsArray(list) ? list->child : NULL; item != NULL; item = item->next) {
    const cJSON *content = nk_json_find(item, "content");
    uint64_t id;
    if (!cJSON_IsString(content) || !nk_json_integer(nk_json_find(item, "id"), UINT32_MAX, &id)) {
      return nk_fail(error, NK_STATUS_FORMAT, "%s: an entry of added_tokens has no id or no content",
                     vocabulary->tokenizer->name);
    }
    if (id >= vocabulary->n) { /* e.g. Gemma 3's token for images, in its models of text */
      if (beyond++ == 0) first = content->valuestring;
      continue;
    }
    bool special = cJSON_IsTrue(nk_json_find(item, "special")) || looks_special(content->valuestring);
    nk_status status = put(vocabulary, (uint32_t)id, content->valuestring, special ? NK_TYPE_CONTROL : NK_TYPE_USER, error);
    if (status != NK_STATUS_OK) return status;
  }
  if (beyond > 0) {
    nk_note(notes, "%u added tokens have no row in the embedding and are left out (\"%s\")", beyond,
            nk_label_of(first, strlen(first)).text);
  }
  return NK_STATUS_OK;
}

static int compare_named(const void *a, const void *b) {
  const nk_named *x = a, *y = b;
  int order = strcmp(x->text, y->text);
  if (order != 0) return order;
  return x->id < y->id ? -1 : x->id > y->id ? 1 : 0;
}

uint32_t nk_vocabulary_find(const nk_vocabulary *vocabulary, const char *text, size_t length) {
  uint32_t low = 0, high = vocabulary->n_sorted;
  while (low < high) { /* the first that is not before the text: of equal ones the lowest id */
    uint32_t middle = low + (high - low) / 2;
    const char *here = vocabulary->sorted[middle].text;
    int order = strncmp(here, text, length);
    if (order < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  /* Texts that go on behind the wanted one follow it directly. */
  if (low == vocabulary->n_sorted) return UINT32_MAX;
  const char *here = vocabulary->sorted[low].text;
  return strncmp(here, text, length) == 0 && here[length] == '\0' ? vocabulary->sorted[low].id : UINT32_MAX;
}

nk_status nk_vocabulary_read(nk_vocabulary *out, const nk_document *tokenizer, uint32_t rows, nk_notes *notes,
                             nk_error *error) {
  *out = (nk_vocabulary){.tokenizer = tokenizer, .n = rows};
  out->model = nk_json_find(tokenizer->root, "model");
  const cJSON *table = nk_json_find(out->model, "vocab");
  if (!cJSON_IsObject(table) && !cJSON_IsArray(table)) {
    return nk_fail(error, NK_STATUS_FORMAT, "%s has no vocabulary (model.vocab is %s)", tokenizer->name,
                   nk_json_words(table).text);
  }
  out->texts = calloc(rows, sizeof *out->texts);
  out->types = calloc(rows, sizeof *out->types);
  out->sorted = calloc(rows, sizeof *out->sorted);
  if (out->texts == NULL || out->types == NULL || out->sorted == NULL) {
    return nk_fail(error, NK_STATUS_MEMORY, "no memory for a vocabulary of %u tokens", rows);
  }
  nk_status status = cJSON_IsArray(table) ? read_scored(out, table, error) : read_table(out, table, error);
  if (status == NK_STATUS_OK) status = read_added(out, notes, error);
  if (status != NK_STATUS_OK) return status;
  for (uint32_t id = 0; id < rows; id++) {
    if (out->texts[id] != NULL) out->sorted[out->n_sorted++] = (nk_named){out->texts[id], id};
    if (out->texts[id] == NULL) out->types[id] = NK_TYPE_UNUSED;
  }
  qsort(out->sorted, out->n_sorted, sizeof *out->sorted, compare_named);
  return NK_STATUS_OK;
}

bool nk_step_find(const cJSON *object, const char *list, const char *type, const cJSON **step) {
  if (step != NULL) *step = NULL;
  const cJSON *kind = nk_json_find(object, "type"), *steps = nk_json_find(object, list);
  if (nk_json_is(kind, type)) {
    if (step != NULL) *step = object;
    return true;
  }
  if (!nk_json_is(kind, "Sequence") || !cJSON_IsArray(steps)) return false;
  for (const cJSON *item = steps->child; item != NULL; item = item->next) {
    if (!nk_json_is(nk_json_find(item, "type"), type)) continue;
    if (step != NULL) *step = item;
    return true;
  }
  return false;
}
