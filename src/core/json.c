/* json.c: see json.h. */
#include "core/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/label.h"
#include "core/utf8.h"

/* ---- Before cJSON sees the text ---------------------------------------------------------------------------------- */

static bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

/*
 * Bounds depth and refuses \u0000, also as cJSON reads it from \u with anything but four hexadecimal digits. cJSON recurses
 * up to 1000 levels, which a WebAssembly stack may not hold. Up to the first error of the text, this sees the same strings
 * and brackets as cJSON does; beyond it cJSON does not go.
 */
static nk_status scan(const char *text, size_t length, nk_error *error) {
  bool in_string = false;
  uint32_t depth = 0;
  for (size_t i = 0; i < length; i++) {
    char c = text[i];
    if (in_string) {
      if (c == '"') in_string = false;
      if (c != '\\') continue;
      i++; /* the escaped byte is no quote; text[length] is NUL, so looking ahead is safe */
      if (text[i] != 'u') continue;
      if (strncmp(text + i, "u0000", 5) == 0) {
        return nk_fail(error, NK_STATUS_DATA,
                       "the options hold the character U+0000 at byte %zu; it is not allowed in a string", i - 1);
      }
      for (size_t d = 1; d <= 4; d++) {
        if (is_hex(text[i + d])) continue;
        return nk_fail(error, NK_STATUS_DATA,
                       "the options are not valid JSON at byte %zu: \\u needs four hexadecimal digits", i - 1);
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > NK_JSON_MAX_DEPTH) {
        return nk_fail(error, NK_STATUS_DATA, "the options are nested deeper than %u levels at byte %zu", NK_JSON_MAX_DEPTH,
                       i);
      }
    } else if ((c == '}' || c == ']') && depth > 0) {
      depth--;
    }
  }
  return NK_STATUS_OK;
}

/* ---- One option -------------------------------------------------------------------------------------------------- */

/* What may stand there, for sentences. */
static const char *allowed(const nk_json_option *option, double min, double max, char out[160]) {
  const char *what = option->kind == NK_JSON_BOOL     ? "true or false"
                     : option->kind == NK_JSON_CHOICE ? option->choices
                     : option->kind == NK_JSON_F64    ? "a number"
                                                      : "an integer";
  int written = 0;
  if (option->kind == NK_JSON_BOOL) {
    written = snprintf(out, 160, "%s", what);
  } else if (option->kind == NK_JSON_CHOICE) {
    written = snprintf(out, 160, "one of %s", what);
  } else if (option->kind == NK_JSON_F64 && max >= 1.7976931348623157e308) {
    written = snprintf(out, 160, "%s", what);
  } else {
    written = snprintf(out, 160, "%s from %.10g to %.10g", what, min, max);
  }
  if (written < 0) out[0] = '\0';
  return out;
}

static const char *kind_of(const cJSON *value) {
  if (cJSON_IsBool(value)) return "a bool";
  if (cJSON_IsNumber(value)) return "a number";
  if (cJSON_IsString(value)) return "a string";
  if (cJSON_IsArray(value)) return "an array";
  return "an object";
}

/* The index of `name` in "a|b|c", or -1. */
static int64_t choice_of(const char *choices, const char *name) {
  size_t length = strlen(name);
  for (int64_t index = 0;; index++) {
    const char *bar = strchr(choices, '|');
    size_t n = bar == NULL ? strlen(choices) : (size_t)(bar - choices);
    if (n == length && memcmp(choices, name, n) == 0) return index;
    if (bar == NULL) return -1;
    choices = bar + 1;
  }
}

/* The bounds of the table, cut to what the type holds. */
static void bounds(const nk_json_option *option, double *min, double *max) {
  double low = option->kind == NK_JSON_U32 ? 0 : option->kind == NK_JSON_I32 ? INT32_MIN : -1.7976931348623157e308;
  double high = option->kind == NK_JSON_U32 ? UINT32_MAX : option->kind == NK_JSON_I32 ? INT32_MAX : 1.7976931348623157e308;
  bool any = !(option->min < 0) && !(option->min > 0) && !(option->max < 0) && !(option->max > 0);
  *min = any || option->min < low ? low : option->min;
  *max = any || option->max > high ? high : option->max;
}

static nk_status check(const nk_json_option *option, const cJSON *value, nk_error *error) {
  double min, max;
  bounds(option, &min, &max);
  char text[160];
  bool right = false;
  switch (option->kind) {
    case NK_JSON_BOOL:
      right = cJSON_IsBool(value);
      break;
    case NK_JSON_CHOICE:
      right = cJSON_IsString(value);
      if (right && choice_of(option->choices, value->valuestring) < 0) {
        return nk_fail(error, NK_STATUS_DATA, "the option \"%s\" is \"%s\"; allowed is %s", option->key,
                       nk_label_of(value->valuestring, strlen(value->valuestring)).text, allowed(option, min, max, text));
      }
      break;
    case NK_JSON_U32:
    case NK_JSON_I32:
    case NK_JSON_F64: {
      right = cJSON_IsNumber(value);
      double number = value->valuedouble;
      bool whole = option->kind == NK_JSON_F64 || (number >= min && number <= max && !(floor(number) < number));
      if (right && (!(number >= min && number <= max) || !whole)) {
        return nk_fail(error, NK_STATUS_DATA, "the option \"%s\" is %.10g; allowed is %s", option->key, number,
                       allowed(option, min, max, text));
      }
      break;
    }
    case NK_JSON_VALUE:
      right = true;
      break;
  }
  if (right) return NK_STATUS_OK;
  return nk_fail(error, NK_STATUS_DATA, "the option \"%s\" is %s; allowed is %s", option->key, kind_of(value),
                 allowed(option, min, max, text));
}

/* After check. */
static void assign(const nk_json_option *option, const cJSON *value) {
  switch (option->kind) {
    case NK_JSON_BOOL:
      *(bool *)option->target = cJSON_IsTrue(value) != 0;
      break;
    case NK_JSON_U32:
      *(uint32_t *)option->target = (uint32_t)value->valuedouble;
      break;
    case NK_JSON_I32:
      *(int32_t *)option->target = (int32_t)value->valuedouble;
      break;
    case NK_JSON_F64:
      *(double *)option->target = value->valuedouble;
      break;
    case NK_JSON_CHOICE:
      *(uint32_t *)option->target = (uint32_t)choice_of(option->choices, value->valuestring);
      break;
    case NK_JSON_VALUE:
      *(const cJSON **)option->target = value;
      break;
  }
}

static const nk_json_option *find(const nk_json_option *table, size_t n, const char *key) {
  for (size_t i = 0; i < n; i++) {
    if (strcmp(table[i].key, key) == 0) return &table[i];
  }
  return NULL;
}

static nk_status unknown_key(const nk_json_option *table, size_t n, const char *key, nk_error *error) {
  char known[400] = "none";
  size_t at = 0;
  for (size_t i = 0; i < n; i++) {
    int written = snprintf(known + at, sizeof known - at, "%s%s", i == 0 ? "" : ", ", table[i].key);
    if (written < 0 || (size_t)written >= sizeof known - at) break; /* a list this long is cut; the key is named anyway */
    at += (size_t)written;
  }
  return nk_fail(error, NK_STATUS_DATA, "there is no option \"%s\"; known are: %s", nk_label_of(key, strlen(key)).text,
                 known);
}

/* ---- All of them ------------------------------------------------------------------------------------------------- */

/* A heap sort of the keys: a hundred thousand of them fit the limit of bytes, so comparing each with each would hang. */
static void sift(const char **names, size_t root, size_t n) {
  const char *moving = names[root];
  for (size_t child; (child = 2 * root + 1) < n; root = child) {
    if (child + 1 < n && strcmp(names[child], names[child + 1]) < 0) child++;
    if (strcmp(moving, names[child]) >= 0) break;
    names[root] = names[child];
  }
  names[root] = moving;
}

static nk_status check_duplicates(const cJSON *object, nk_error *error) {
  size_t n = 0;
  for (const cJSON *child = object->child; child != NULL; child = child->next) n++;
  if (n < 2) return NK_STATUS_OK;
  const char **names = malloc(n * sizeof *names);
  if (names == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory to check %zu options", n);
  n = 0;
  for (const cJSON *child = object->child; child != NULL; child = child->next) names[n++] = child->string;
  for (size_t i = n / 2; i-- > 0;) sift(names, i, n);
  for (size_t last = n; last-- > 1;) {
    const char *top = names[0];
    names[0] = names[last];
    names[last] = top;
    sift(names, 0, last);
  }
  nk_status status = NK_STATUS_OK;
  for (size_t i = 1; i < n && status == NK_STATUS_OK; i++) {
    if (strcmp(names[i - 1], names[i]) != 0) continue;
    status = nk_fail(error, NK_STATUS_DATA, "the option \"%s\" is given twice; allowed is once",
                     nk_label_of(names[i], strlen(names[i])).text);
  }
  free(names);
  return status;
}

/* What holds at every level: no key twice, no number that float64 can't hold. The tree is at most NK_JSON_MAX_DEPTH deep:
 * see scan. */
static nk_status check_tree(const cJSON *value, nk_error *error) {
  if (cJSON_IsNumber(value) && !isfinite(value->valuedouble)) {
    const char *key = value->string == NULL ? "" : value->string;
    return nk_fail(error, NK_STATUS_DATA, "the option \"%s\" holds a number beyond 1.8e308; allowed is a finite number",
                   nk_label_of(key, strlen(key)).text);
  }
  nk_status status = cJSON_IsObject(value) ? check_duplicates(value, error) : NK_STATUS_OK;
  for (const cJSON *child = value->child; child != NULL && status == NK_STATUS_OK; child = child->next) {
    status = check_tree(child, error);
  }
  return status;
}

static nk_status read_tree(const cJSON *tree, const nk_json_option *table, size_t n, bool keeps, nk_error *error) {
  if (!cJSON_IsObject(tree)) {
    return nk_fail(error, NK_STATUS_DATA, "the options are %s; allowed is an object like {\"key\": value}",
                   cJSON_IsNull(tree) ? "null" : kind_of(tree));
  }
  nk_status status = check_tree(tree, error);
  if (status != NK_STATUS_OK) return status;
  for (const cJSON *value = tree->child; value != NULL; value = value->next) {
    const nk_json_option *option = find(table, n, value->string);
    if (option == NULL) return unknown_key(table, n, value->string, error);
    if (cJSON_IsNull(value)) continue;
    if (option->kind == NK_JSON_VALUE && !keeps) {
      return nk_fail(error, NK_STATUS_INTERNAL, "the option \"%s\" is read without a place for its tree", option->key);
    }
    status = check(option, value, error);
    if (status != NK_STATUS_OK) return status;
  }
  for (const cJSON *value = tree->child; value != NULL; value = value->next) {
    if (!cJSON_IsNull(value)) assign(find(table, n, value->string), value);
  }
  return NK_STATUS_OK;
}

nk_status nk_json_options(const char *text, const nk_json_option *table, size_t n, cJSON **root, nk_error *error) {
  if (root != NULL) *root = NULL;
  if (text == NULL || text[0] == '\0') return NK_STATUS_OK;
  const char *end = memchr(text, '\0', (size_t)NK_JSON_MAX_BYTES + 1);
  if (end == NULL) {
    return nk_fail(error, NK_STATUS_DATA, "the options are longer than the limit of %u bytes", NK_JSON_MAX_BYTES);
  }
  size_t length = (size_t)(end - text);
  nk_status status = scan(text, length, error);
  if (status != NK_STATUS_OK) return status;
  const char *stopped = text;
  cJSON *tree = cJSON_ParseWithLengthOpts(text, length + 1, &stopped, 1);
  if (tree == NULL && nk_json_well_formed(text)) {
    return nk_fail(error, NK_STATUS_MEMORY, "no memory for the options");
  }
  if (tree == NULL) {
    return nk_fail(error, NK_STATUS_DATA, "the options are not valid JSON at byte %zu: \"%s\"", (size_t)(stopped - text),
                   nk_label_of(stopped, (size_t)(end - stopped)).text);
  }
  status = read_tree(tree, table, n, root != NULL, error);
  if (status == NK_STATUS_OK && root != NULL) {
    *root = tree;
  } else {
    cJSON_Delete(tree);
  }
  return status;
}

/* ---- Out --------------------------------------------------------------------------------------------------------- */

/* A string item of bytes that may be anything; NULL when memory is out. */
static cJSON *text_item(const char *bytes, size_t length) {
  if (length > (SIZE_MAX - 1) / NK_UTF8_REPLACEMENT_BYTES) return NULL;
  char *valid = malloc(length * NK_UTF8_REPLACEMENT_BYTES + 1);
  if (valid == NULL) return NULL;
  size_t n = 0;
  for (size_t at = 0; at < length;) {
    uint32_t step;
    if (nk_utf8_scan(bytes + at, length - at, &step) == NK_UTF8_WHOLE && bytes[at] != '\0') {
      memcpy(valid + n, bytes + at, step);
      n += step;
    } else {
      memcpy(valid + n, NK_UTF8_REPLACEMENT, NK_UTF8_REPLACEMENT_BYTES);
      n += NK_UTF8_REPLACEMENT_BYTES;
    }
    at += step;
  }
  valid[n] = '\0';
  cJSON *item = cJSON_CreateString(valid);
  free(valid);
  return item;
}

bool nk_json_text(cJSON *object, const char *key, const char *bytes, size_t length) {
  cJSON *item = text_item(bytes, length);
  if (item != NULL && cJSON_AddItemToObject(object, key, item)) return true;
  cJSON_Delete(item);
  return false;
}

bool nk_json_text_item(cJSON *array, const char *bytes, size_t length) {
  cJSON *item = text_item(bytes, length);
  if (item != NULL && cJSON_AddItemToArray(array, item)) return true;
  cJSON_Delete(item);
  return false;
}

char *nk_json_print(const cJSON *json) { return json == NULL ? NULL : cJSON_PrintUnformatted(json); }
