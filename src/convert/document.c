/* document.c: see document.h. */
#include "convert/document.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/utf8.h"

/* ---- Before cJSON sees the text ---------------------------------------------------------------------------------- */

static bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

static nk_status check_encoding(const char *name, const char *text, size_t length, nk_error *error) {
  for (size_t at = 0; at < length;) {
    uint32_t step = 1;
    if ((uint8_t)text[at] >= 0x80 && nk_utf8_scan(text + at, length - at, &step) != NK_UTF8_WHOLE) {
      return nk_fail(error, NK_STATUS_FORMAT, "%s is not valid UTF-8 at byte %zu", name, at);
    }
    if (text[at] == '\0') return nk_fail(error, NK_STATUS_FORMAT, "%s holds a NUL at byte %zu", name, at);
    at += step;
  }
  return NK_STATUS_OK;
}

/* Bounds the depth (cJSON recurses, and a WebAssembly stack is small) and refuses the escaped NUL, at which cJSON's strings
   would end. Up to the first error of the text this sees the same strings and brackets as cJSON. */
static nk_status check_shape(const char *name, const char *text, size_t length, nk_error *error) {
  bool in_string = false;
  uint32_t depth = 0;
  for (size_t i = 0; i < length; i++) {
    char c = text[i];
    if (in_string) {
      if (c == '"') in_string = false;
      if (c != '\\') continue;
      i++; /* text[length] is NUL: looking ahead is safe */
      if (text[i] != 'u') continue;
      bool hex = is_hex(text[i + 1]) && is_hex(text[i + 2]) && is_hex(text[i + 3]) && is_hex(text[i + 4]);
      if (!hex || memcmp(text + i + 1, "0000", 4) == 0) {
        return nk_fail(error, NK_STATUS_FORMAT, "%s has %s at byte %zu", name,
                       hex ? "the character U+0000 in a string" : "a \\u without four hexadecimal digits", i - 1);
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > NK_DOCUMENT_MAX_DEPTH) {
        return nk_fail(error, NK_STATUS_FORMAT, "%s is nested deeper than %u levels at byte %zu", name,
                       NK_DOCUMENT_MAX_DEPTH, i);
      }
    } else if ((c == '}' || c == ']') && depth > 0) {
      depth--;
    }
  }
  return NK_STATUS_OK;
}

/* ---- The tree ---------------------------------------------------------------------------------------------------- */

static void sift(const char **texts, size_t root, size_t n) {
  const char *moving = texts[root];
  for (size_t child; (child = 2 * root + 1) < n; root = child) {
    if (child + 1 < n && strcmp(texts[child], texts[child + 1]) < 0) child++;
    if (strcmp(moving, texts[child]) >= 0) break;
    texts[root] = texts[child];
  }
  texts[root] = moving;
}

void nk_sort_texts(const char **texts, size_t n) {
  for (size_t i = n / 2; i-- > 0;) sift(texts, i, n);
  for (size_t last = n; last-- > 1;) {
    const char *top = texts[0];
    texts[0] = texts[last];
    texts[last] = top;
    sift(texts, 0, last);
  }
}

static nk_status check_keys(const char *name, const cJSON *object, nk_error *error) {
  size_t n = 0;
  for (const cJSON *child = object->child; child != NULL; child = child->next) n++;
  if (n < 2) return NK_STATUS_OK;
  const char **keys = malloc(n * sizeof *keys);
  if (keys == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory to check the keys of %s", name);
  n = 0;
  for (const cJSON *child = object->child; child != NULL; child = child->next) keys[n++] = child->string;
  nk_sort_texts(keys, n);
  nk_status status = NK_STATUS_OK;
  for (size_t i = 1; i < n && status == NK_STATUS_OK; i++) {
    if (strcmp(keys[i - 1], keys[i]) != 0) continue;
    status = nk_fail(error, NK_STATUS_FORMAT, "%s has the key \"%s\" twice in one object", name,
                     nk_label_of(keys[i], strlen(keys[i])).text);
  }
  free(keys);
  return status;
}

/* At most NK_DOCUMENT_MAX_DEPTH deep: see check_shape. */
static nk_status check_tree(const char *name, const cJSON *value, nk_error *error) {
  if (cJSON_IsNumber(value) && !isfinite(value->valuedouble)) {
    return nk_fail(error, NK_STATUS_FORMAT, "%s holds a number beyond 1.8e308", name);
  }
  nk_status status = cJSON_IsObject(value) ? check_keys(name, value, error) : NK_STATUS_OK;
  for (const cJSON *child = value->child; child != NULL && status == NK_STATUS_OK; child = child->next) {
    status = check_tree(name, child, error);
  }
  return status;
}

nk_status nk_document_parse(nk_document *out, const char *name, const char *text, size_t length, nk_error *error) {
  *out = (nk_document){name, NULL};
  if (length > NK_DOCUMENT_MAX_BYTES) {
    return nk_fail(error, NK_STATUS_FORMAT, "%s has %zu bytes, more than the %u that are read", name, length,
                   NK_DOCUMENT_MAX_BYTES);
  }
  nk_status status = check_encoding(name, text, length, error);
  if (status == NK_STATUS_OK) status = check_shape(name, text, length, error);
  if (status != NK_STATUS_OK) return status;
  const char *stopped = text;
  cJSON *root = cJSON_ParseWithLengthOpts(text, length + 1, &stopped, 1);
  if (root == NULL && nk_json_well_formed(text)) return nk_fail(error, NK_STATUS_MEMORY, "no memory to read %s", name);
  if (root == NULL) {
    return nk_fail(error, NK_STATUS_FORMAT, "%s is not valid JSON at byte %zu", name, (size_t)(stopped - text));
  }
  if (!cJSON_IsObject(root)) {
    status = nk_fail(error, NK_STATUS_FORMAT, "%s is not a JSON object", name);
  } else {
    status = check_tree(name, root, error);
  }
  if (status == NK_STATUS_OK) {
    out->root = root;
  } else {
    cJSON_Delete(root);
  }
  return status;
}

void nk_document_free(nk_document *document) {
  cJSON_Delete(document->root);
  document->root = NULL;
}

/* ---- Values ------------------------------------------------------------------------------------------------------ */

static const cJSON *child_named(const cJSON *object, const char *key, size_t length) {
  if (!cJSON_IsObject(object)) return NULL;
  for (const cJSON *child = object->child; child != NULL; child = child->next) {
    if (strncmp(child->string, key, length) == 0 && child->string[length] == '\0') return child;
  }
  return NULL;
}

const cJSON *nk_json_find(const cJSON *object, const char *keys) {
  for (;;) {
    size_t length = strcspn(keys, "|");
    const cJSON *value = child_named(object, keys, length);
    if (value != NULL && !cJSON_IsNull(value)) return value;
    if (keys[length] == '\0') return NULL;
    keys += length + 1;
  }
}

const cJSON *nk_json_path(const cJSON *object, const char *path) {
  for (;;) {
    size_t length = strcspn(path, "/");
    object = child_named(object, path, length);
    if (object == NULL || cJSON_IsNull(object)) return NULL;
    if (path[length] == '\0') return object;
    path += length + 1;
  }
}

bool nk_json_integer(const cJSON *value, uint64_t max, uint64_t *out) {
  if (!cJSON_IsNumber(value)) return false;
  double number = value->valuedouble;
  if (!(number >= 0.0 && number <= 9007199254740992.0) || floor(number) < number) return false;
  *out = (uint64_t)number;
  return *out <= max;
}

bool nk_json_is(const cJSON *value, const char *text) {
  return cJSON_IsString(value) && strcmp(value->valuestring, text) == 0;
}

nk_label nk_json_words(const cJSON *value) {
  char words[NK_LABEL_BYTES + 8] = "missing";
  int n = 0;
  if (cJSON_IsString(value)) {
    n = snprintf(words, sizeof words, "\"%s\"", nk_label_of(value->valuestring, strlen(value->valuestring)).text);
  } else if (cJSON_IsNumber(value)) {
    n = snprintf(words, sizeof words, "%.17g", value->valuedouble);
  } else if (value != NULL) {
    const char *kind = cJSON_IsTrue(value)    ? "true"
                       : cJSON_IsFalse(value) ? "false"
                       : cJSON_IsNull(value)  ? "null"
                       : cJSON_IsArray(value) ? "an array"
                                              : "an object";
    n = snprintf(words, sizeof words, "%s", kind);
  }
  if (n < 0) words[0] = '\0';
  return nk_label_of(words, strlen(words));
}

nk_status nk_document_refuse(const nk_document *document, const char *key, const cJSON *value, const char *but,
                             nk_error *error) {
  return nk_fail(error, NK_STATUS_UNSUPPORTED, "%s: the key \"%s\" is %s; %s", document->name, key,
                 nk_json_words(value).text, but);
}
