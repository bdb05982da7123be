/*
 * tokenizer.h: text to token ids and back.
 *
 * Made from a GGUF header's tokenizer.ggml.* keys, of which it keeps copies: the header is not needed afterwards.
 * One nk_tokenizer is immutable after creation and may be used by several threads.
 *
 * Spans    Text comes as spans {bytes, length, parse_special}. Control tokens are recognized only inside spans with
 *          parse_special (whole inside one span), so text from outside never becomes one, whatever the vocabulary and its
 *          merges say. Pre-tokenization runs across the borders of spans, so that ids equal those of the joined text
 *          wherever no control token is involved. User-defined tokens are text: they are recognized everywhere, across
 *          borders too, but never over the beginning of a control token.
 * Bytes    Input is bytes. Offending bytes of invalid UTF-8 become U+FFFD, one for each byte. A byte for which a byte-level
 *          vocabulary has no token is left out (SmolLM2's lacks some control characters), as in the reference programs.
 * Choices  Of several special tokens at one place the longest wins. Of tokens with the same text the first in the file
 *          counts. A merge that names tokens which do not exist is passed over; a bos or eos outside of the vocabulary is
 *          none.
 * Limits   Below. A special token of more than NK_TOKENIZER_MAX_SPECIAL bytes is not searched for in text.
 */
#ifndef NOOK_TOKENIZER_TOKENIZER_H
#define NOOK_TOKENIZER_TOKENIZER_H

#include "gguf/gguf.h"

#define NK_TOKENIZER_MAX_VOCAB (1u << 20)  /* tokens */
#define NK_TOKENIZER_MAX_MERGES (1u << 22) /* merges */
#define NK_TOKENIZER_MAX_SPECIAL 256u      /* bytes of a special token that text is searched for */
#define NK_TOKENIZER_MAX_PIECE 256u        /* bytes of a token of a unigram model; longer ones never come of text */
#define NK_TOKENIZER_MAX_TEXT (1u << 28)   /* bytes of all spans of one call, and of what they become */

typedef struct nk_tokenizer nk_tokenizer;

typedef struct nk_span {
  const char *bytes;
  size_t length;
  bool parse_special;
} nk_span;

/* Fails with UNSUPPORTED naming the model or the pre-tokenizer when it is none of ours, FORMAT when tables disagree. */
nk_status nk_tokenizer_create(nk_tokenizer **out, const nk_gguf *gguf, nk_error *error);
void nk_tokenizer_free(nk_tokenizer *tokenizer);
/* Bytes that nk_tokenizer_create will allocate for this header, for the memory plan; 0 where it would fail. */
uint64_t nk_tokenizer_bytes(const nk_gguf *gguf);

/*
 * Encodes. ids [capacity]; *count is the number of ids of the whole text, also when it is above capacity (then DATA, and
 * ids is full). add_special: BOS/EOS and the like as the file's add_bos/add_eos say; a BOS that the text already starts
 * with as a control token is not doubled. Allocates working memory (some 60 bytes for each byte of text in the worst case),
 * which it frees before it returns. Other statuses: MEMORY; DATA for more text than NK_TOKENIZER_MAX_TEXT.
 */
nk_status nk_tokenizer_encode(const nk_tokenizer *tokenizer, const nk_span *spans, size_t n_spans, bool add_special,
                              int32_t *ids, size_t capacity, size_t *count, nk_error *error);

/*
 * The bytes of one token. special: control and unknown tokens by their text; otherwise those are empty. Writes the first
 * `capacity` bytes to `out` (no NUL; out may be NULL when capacity is 0) and returns how many the piece has, so that a
 * caller can ask first or see that it was cut. An id outside the vocabulary has none. A piece may be part of a code point.
 */
size_t nk_tokenizer_piece(const nk_tokenizer *tokenizer, int32_t id, bool special, char *out, size_t capacity);

uint32_t nk_tokenizer_vocab(const nk_tokenizer *tokenizer);
bool nk_tokenizer_is_control(const nk_tokenizer *tokenizer, int32_t id);
/* End of generation: eos, eot, eom and every token that the file or its text marks as such. */
bool nk_tokenizer_is_end(const nk_tokenizer *tokenizer, int32_t id);
int32_t nk_tokenizer_bos(const nk_tokenizer *tokenizer); /* -1: none */
int32_t nk_tokenizer_eos(const nk_tokenizer *tokenizer); /* -1: none */
bool nk_tokenizer_adds_bos(const nk_tokenizer *tokenizer);
/* "bpe/smollm" and the like, for info. */
const char *nk_tokenizer_name(const nk_tokenizer *tokenizer);
/* The raw text of a token as the vocabulary has it (byte-level alphabet not undone), for info and tests. */
nk_text nk_tokenizer_raw(const nk_tokenizer *tokenizer, int32_t id);

#endif
