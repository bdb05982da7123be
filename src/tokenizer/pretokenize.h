/*
 * pretokenize.h: cuts text into the words inside which a byte-level BPE may merge.
 *
 * Purpose  One row per pre-tokenizer: the values of tokenizer.ggml.pre that it answers to, whether text is normalized
 *          first, and one to six stages. A stage is a scanner written by hand for one regular expression (quoted above
 *          it); each piece that a stage finds is cut by the next stage as if it were a whole text. There is no regex
 *          engine.
 * Source   The expressions are those of the models' own tokenizer.json files, as llama.cpp lists them (llama-vocab.cpp).
 */
#ifndef NOOK_TOKENIZER_PRETOKENIZE_H
#define NOOK_TOKENIZER_PRETOKENIZE_H

#include "gguf/gguf.h"
#include "tokenizer/unicode.h"

#define NK_PRETOKENIZER_MAX_STAGES 6
#define NK_PRETOKENIZER_MAX_NAMES 16

/* The end of the first piece of codes [begin, end), begin < end: always > begin. Sees nothing outside of that range. */
typedef size_t nk_scanner(const uint32_t *codes, size_t begin, size_t end);

typedef struct nk_pretokenizer {
  const char *name;                              /* ours, for info */
  const char *pre[NK_PRETOKENIZER_MAX_NAMES];    /* values of tokenizer.ggml.pre; NULL ends */
  nk_scanner *stage[NK_PRETOKENIZER_MAX_STAGES]; /* NULL ends */
  bool nfc;                                      /* Unicode NFC before the first stage */
  bool whole_words;                              /* a word that is a token is taken whole, whatever the merges say */
  bool add_bos;                                  /* where the file has no tokenizer.ggml.add_bos_token */
} nk_pretokenizer;

/* The row for a value of tokenizer.ggml.pre (bytes NULL: the file has none, and `architecture` decides, else the row
   "default"). NULL: none of ours. */
const nk_pretokenizer *nk_pretokenizer_find(nk_text pre, nk_text architecture);
/* Row `index`, NULL past the last. */
const nk_pretokenizer *nk_pretokenizer_at(size_t index);

#endif
