/* vocabulary.h: the tokens of tokenizer.json by id, and the way from a text to its id. */
#ifndef NOOK_CONVERT_VOCABULARY_H
#define NOOK_CONVERT_VOCABULARY_H

#include "convert/internal.h"

/* tokenizer.ggml.token_type */
enum {
  NK_TYPE_NORMAL = 1,
  NK_TYPE_UNKNOWN = 2,
  NK_TYPE_CONTROL = 3,
  NK_TYPE_USER = 4,
  NK_TYPE_UNUSED = 5,
  NK_TYPE_BYTE = 6
};

typedef struct nk_named {
  const char *text;
  uint32_t id;
} nk_named;

typedef struct nk_vocabulary {
  const nk_document *tokenizer; /* its tree owns the texts */
  const cJSON *model;
  uint32_t n;         /* rows of the embedding */
  const char **texts; /* [n]; NULL: the id has no token */
  int32_t *types;     /* [n] */
  float *scores;      /* [n]; NULL unless the model is Unigram */
  nk_named *sorted;   /* [n_sorted], by text */
  uint32_t n_sorted;
} nk_vocabulary;

/* Reads model.vocab and added_tokens. */
nk_status nk_vocabulary_read(nk_vocabulary *out, const nk_document *tokenizer, uint32_t rows, nk_notes *notes,
                             nk_error *error);
void nk_vocabulary_free(nk_vocabulary *vocabulary);
/* UINT32_MAX: no token has this text. */
uint32_t nk_vocabulary_find(const nk_vocabulary *vocabulary, const char *text, size_t length);

/* "json: the key is …" for a part of tokenizer.json that Nook's tokenizer would do otherwise. */
nk_status nk_vocabulary_refuse(const nk_vocabulary *vocabulary, const char *key, const cJSON *value, const char *but,
                               nk_error *error);

/* Writes model, tokens, types, scores, merges and what else the kind of tokenizer needs (vocabulary_kinds.c). */
nk_status nk_vocabulary_write(nk_vocabulary *vocabulary, nk_gguf_writer *writer, nk_notes *notes, nk_error *error);
/* The value of tokenizer.ggml.pre for a byte-level tokenizer, by its content (pretokenizers.c). */
nk_status nk_vocabulary_pre(const nk_vocabulary *vocabulary, const char **pre, nk_error *error);
/* True when there is a step of that type: the object itself, or in a Sequence's list under `list`. *step: it. */
bool nk_step_find(const cJSON *object, const char *list, const char *type, const cJSON **step);

#endif
