/*
 * document.h: JSON files of a checkpoint (config.json, tokenizer.json, an index, a safetensors header), read through cJSON.
 *
 * Hostile  Bounded in bytes and depth before cJSON sees the text; UTF-8, no NUL (escaped or not), no key twice in one
 * object, no number that float64 cannot hold. Whatever is wrong is one sentence that begins with the document's name.
 * Limits   Numbers are float64: integers are exact to 2^53. cJSON finds keys by walking a list, so tables of a size that
 *          comes from outside (vocabularies, tensors) are walked once, never searched.
 */
#ifndef NOOK_CONVERT_DOCUMENT_H
#define NOOK_CONVERT_DOCUMENT_H

#include <cJSON.h>

#include "core/label.h"
#include "core/status.h"

#define NK_DOCUMENT_MAX_DEPTH 64u
#define NK_DOCUMENT_MAX_BYTES (1u << 26) /* 64 MiB: a vocabulary of half a million tokens with its merges takes 40 */

/* One file's tree. `name` is for sentences and must outlive it. */
typedef struct nk_document {
  const char *name;
  cJSON *root; /* an object; NULL: there is no such file */
} nk_document;

/* text [length + 1], text[length] being NUL. The tree must be an object. The caller frees with nk_document_free. */
nk_status nk_document_parse(nk_document *out, const char *name, const char *text, size_t length, nk_error *error);
void nk_document_free(nk_document *document);

/* The value under one of the keys "a|b|c", the first that is there and not null; NULL when none is. `object` may be NULL.
 */
const cJSON *nk_json_find(const cJSON *object, const char *keys);
/* The same by a path "a/b": each but the last must be an object, else NULL. */
const cJSON *nk_json_path(const cJSON *object, const char *path);

/* True when the value is an integer in [0, max]. */
bool nk_json_integer(const cJSON *value, uint64_t max, uint64_t *out);
bool nk_json_is(const cJSON *value, const char *text); /* a string that equals it */

/* The value in words for a sentence: "\"relu\"", "3", "true", "null", "an array", "missing". */
nk_label nk_json_words(const cJSON *value);

/* UNSUPPORTED: "NAME: the key KEY is VALUE; BUT". */
nk_status nk_document_refuse(const nk_document *document, const char *key, const cJSON *value, const char *but,
                             nk_error *error);

/* Sorts pointers to texts by strcmp; a heap sort, so that no order of a hostile file makes it slow. */
void nk_sort_texts(const char **texts, size_t n);

#endif
