/*
 * json.h: options come in and facts go out as JSON, through cJSON.
 *
 * Hostile  Options may come from a web page. They are bounded in bytes and depth before cJSON sees them, and every key,
 *          type and range is checked against a table; nothing is written to the targets unless all of it is right.
 * Limits   cJSON keeps strings NUL-terminated, so that an escaped NUL would cut a string short: it is refused. Numbers are
 *          float64; an integer beyond 2^53 may not arrive exactly.
 */
#ifndef NOOK_CORE_JSON_H
#define NOOK_CORE_JSON_H

#include <cJSON.h>

#include "core/status.h"

#define NK_JSON_MAX_BYTES (1u << 20)
#define NK_JSON_MAX_DEPTH 64u

typedef enum nk_json_kind {
  NK_JSON_BOOL,   /* target bool * */
  NK_JSON_U32,    /* target uint32_t * */
  NK_JSON_I32,    /* target int32_t * */
  NK_JSON_F64,    /* target double *, finite */
  NK_JSON_CHOICE, /* target uint32_t *: the index of the string in `choices`, "f16|f32|q8" */
  NK_JSON_VALUE,  /* target const cJSON **: any value; the caller checks it */
} nk_json_kind;

typedef struct nk_json_option {
  const char *key;
  nk_json_kind kind;
  void *target;
  double min, max; /* of the numeric kinds, inclusive; both 0: whatever the type holds */
  const char *choices;
} nk_json_option;

/*
 * Reads the object `text` by `table` [n]. NULL or "" is {}. A key that is missing or null leaves its target as it is.
 * DATA, naming the key and what is allowed: unknown key, wrong type, out of range, no integer, duplicate key, too deep, too
 * long, an escaped NUL, no JSON. MEMORY when it runs out. Then no target was written and *root is NULL.
 * *root owns the tree that VALUE targets point into; the caller cJSON_Delete()s it (NULL is fine). `root` may be NULL when
 * the table has no VALUE.
 */
nk_status nk_json_options(const char *text, const nk_json_option *table, size_t n, cJSON **root, nk_error *error);

/* True: JSON beyond doubt, so that cJSON's failure to parse it is a lack of memory (json_syntax.c). Allocates nothing. */
bool nk_json_well_formed(const char *text);

/* Adds bytes [length] as a string, made valid first: ill-formed UTF-8 and NULs become U+FFFD. False when memory is out. */
bool nk_json_text(cJSON *object, const char *key, const char *bytes, size_t length);

/* The same as an element of an array. */
bool nk_json_text_item(cJSON *array, const char *bytes, size_t length);

/* The text without white space, or NULL when memory is out (also when json is NULL). The caller cJSON_free()s it. */
char *nk_json_print(const cJSON *json);

#endif
