/*
 * wordpiece.c: BERT's tokenizer, uncased (tokenizer.ggml.model = "bert": MiniLM, bge, e5, arctic, nomic).
 *
 * Algorithm  Normalize: drop control characters, white space becomes a space, a CJK ideograph is a word of its own, take
 *            off accents (NFD without category Mn), lower case. Cut at white space and around each punctuation mark. From
 *            the beginning of a word take the longest token, then the longest that continues it; a word that cannot be put
 *            together so, or has more than 100 characters, is the unknown token.
 *            Devlin et al. 2019; Hugging Face tokenizers, BertNormalizer, BertPreTokenizer and WordPiece, whose ids are
 *            ours.
 * Vocabulary Of GGUF: tokens that begin a word begin with U+2581, those that continue one have lost their "##".
 */
#include "tokenizer/internal.h"

#include <stdio.h>
#include <string.h>

#define MAX_WORD 100 /* characters */

static const char word_mark[] = "\xE2\x96\x81"; /* U+2581 */

static size_t piece(const nk_tokenizer *tokenizer, uint32_t id, char *out, size_t capacity) {
  return nk_tokenizer_spm.piece(tokenizer, id, out, capacity); /* U+2581 is a space there too */
}

/* ---- Building -------------------------------------------------------------------------------------------------- */

/* The id under one of two keys, else `fallback`. */
static nk_status id_of(const nk_gguf *gguf, const char *key, const char *other_key, uint32_t n, uint32_t fallback,
                       uint32_t *id, nk_error *error) {
  nk_status status = nk_tokenizer_get_id(gguf, key, n, id, error);
  if (status == NK_STATUS_OK && *id == NK_NONE) status = nk_tokenizer_get_id(gguf, other_key, n, id, error);
  if (status == NK_STATUS_OK && *id == NK_NONE) *id = fallback;
  return status;
}

static nk_status lay_out(nk_tokenizer *tokenizer, const nk_gguf *gguf, nk_arena *arena, nk_error *error) {
  (void)gguf, (void)arena, (void)error;
  tokenizer->add_bos = true;
  tokenizer->add_eos = true;
  snprintf(tokenizer->name, sizeof tokenizer->name, "wordpiece");
  return NK_STATUS_OK;
}

static nk_status fill(nk_tokenizer *tokenizer, const nk_gguf *gguf, nk_error *error) {
  nk_vocab *vocab = &tokenizer->vocab;
  uint32_t n = vocab->n, *unknown = &tokenizer->wordpiece.unknown, bos = tokenizer->bos, eos = tokenizer->eos;
  nk_status status = id_of(gguf, "tokenizer.ggml.cls_token_id", "tokenizer.ggml.bos_token_id", n,
                           nk_vocab_scan(vocab, "[CLS]"), &bos, error);
  if (status == NK_STATUS_OK) { /* the first spelling is GGUF's own */
    status = id_of(gguf, "tokenizer.ggml.seperator_token_id", "tokenizer.ggml.separator_token_id", n, eos, &eos, error);
  }
  if (status == NK_STATUS_OK) {
    status = id_of(gguf, "tokenizer.ggml.unknown_token_id", "tokenizer.ggml.unk_token_id", n, nk_vocab_scan(vocab, "[UNK]"),
                   unknown, error);
  }
  if (status != NK_STATUS_OK) return status;
  tokenizer->bos = bos;
  tokenizer->eos = eos == NK_NONE ? nk_vocab_scan(vocab, "[SEP]") : eos;
  /* Converters write it as a control token, but text may well become it. */
  if (*unknown != NK_NONE) vocab->types[*unknown] = NK_TOKEN_UNKNOWN;
  return NK_STATUS_OK;
}

/* ---- Normalization --------------------------------------------------------------------------------------------- */

static bool is_ideograph(uint32_t code) {
  return (code >= 0x4E00 && code <= 0x9FFF) || (code >= 0x3400 && code <= 0x4DBF) || (code >= 0x20000 && code <= 0x2A6DF) ||
         (code >= 0x2A700 && code <= 0x2B73F) || (code >= 0x2B740 && code <= 0x2B81F) ||
         (code >= 0x2B820 && code <= 0x2CEAF) || (code >= 0xF900 && code <= 0xFAFF) || (code >= 0x2F800 && code <= 0x2FA1F);
}

static bool is_punctuation(uint32_t code) {
  if (code < 0x80) {
    return (code >= 33 && code <= 47) || (code >= 58 && code <= 64) || (code >= 91 && code <= 96) ||
           (code >= 123 && code <= 126);
  }
  return nk_unicode_in(code, NK_PUNCTUATION);
}

/* The cleaned text to codes [3 × length]; returns how many. */
static size_t clean(const uint8_t *bytes, size_t length, uint32_t *codes) {
  size_t n = 0;
  for (size_t at = 0; at < length;) {
    uint32_t code;
    at += nk_utf8_decode(bytes + at, length - at, &code);
    if (code == '\t' || code == '\n' || code == '\r') {
      codes[n++] = ' ';
      continue;
    }
    /* Control characters in the sense of the reference: unassigned code points are not among them. */
    if (code == NK_REPLACEMENT || nk_unicode_in(code, 1u << NK_CC | 1u << NK_CF | 1u << NK_CS | 1u << NK_CO)) continue;
    if (nk_unicode_white(code)) code = ' ';
    bool alone = is_ideograph(code);
    if (alone) codes[n++] = ' ';
    codes[n++] = code;
    if (alone) codes[n++] = ' ';
  }
  return n;
}

/* ---- Words ----------------------------------------------------------------------------------------------------- */

/* codes [n], one word without white space; n <= MAX_WORD. */
static void put_word(const nk_tokenizer *tokenizer, const uint32_t *codes, size_t n, nk_sink *sink) {
  const nk_vocab *vocab = &tokenizer->vocab;
  uint8_t text[4 * MAX_WORD];
  size_t end_of[MAX_WORD + 1] = {0}; /* bytes of the first i characters */
  uint32_t ids[MAX_WORD];
  size_t n_ids = 0;
  for (size_t i = 0; i < n; i++) end_of[i + 1] = end_of[i] + nk_utf8_encode(codes[i], text + end_of[i]);
  for (size_t at = 0; at < n;) {
    const char *mark = at == 0 ? word_mark : "";
    uint32_t id = NK_NONE;
    size_t stop = n;
    for (; stop > at && id == NK_NONE; stop--) {
      size_t length = end_of[stop] - end_of[at];
      id = at == 0 ? nk_vocab_find(vocab, mark, 3, text, length) : nk_vocab_find(vocab, text + end_of[at], length, NULL, 0);
    }
    if (id == NK_NONE) {
      if (tokenizer->wordpiece.unknown != NK_NONE) nk_sink_put(sink, tokenizer->wordpiece.unknown);
      return;
    }
    ids[n_ids++] = id;
    at = stop + 1;
  }
  for (size_t i = 0; i < n_ids; i++) nk_sink_put(sink, ids[i]);
}

static nk_status encode(const nk_tokenizer *tokenizer, const uint8_t *bytes, size_t length, nk_sink *sink,
                        nk_scratch *scratch, nk_error *error) {
  uint32_t *cleaned = nk_buffer_need(&scratch->codes, length, 3 * sizeof *cleaned);
  if (cleaned == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory to tokenize %zu bytes of text", length);
  size_t n = clean(bytes, length, cleaned), n_nfd = nk_unicode_nfd_length(cleaned, n);
  uint32_t *codes = nk_buffer_need(&scratch->more, n_nfd, 2 * sizeof *codes);
  if (codes == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory to tokenize %zu bytes of text", length);
  nk_unicode_nfd(cleaned, n, codes, codes + n_nfd);
  n = 0;
  for (size_t i = 0; i < n_nfd; i++) {
    if (!nk_unicode_in(codes[i], 1u << NK_MN)) codes[n++] = nk_unicode_lower(codes[i]);
  }
  for (size_t at = 0; at < n;) {
    if (nk_unicode_white(codes[at])) {
      at++;
      continue;
    }
    size_t begin = at++;
    if (!is_punctuation(codes[begin])) {
      while (at < n && !nk_unicode_white(codes[at]) && !is_punctuation(codes[at])) at++;
    }
    if (at - begin <= MAX_WORD) {
      put_word(tokenizer, codes + begin, at - begin, sink);
    } else if (tokenizer->wordpiece.unknown != NK_NONE) {
      nk_sink_put(sink, tokenizer->wordpiece.unknown);
    }
  }
  return NK_STATUS_OK;
}

const nk_tokenizer_kind nk_tokenizer_wordpiece = {
    .model = "bert",
    .name = "wordpiece",
    .lay_out = lay_out,
    .fill = fill,
    .encode = encode,
    .piece = piece,
};
