/*
 * unigram.c: SentencePiece's unigram language model (tokenizer.ggml.model = "t5": multilingual e5 and others of XLM-R, T5).
 *
 * Algorithm  Normalize by the file's compiled map (charsmap.h). White space separates words, each of which gets U+2581 in
 *            front (the first only with add_space_prefix; with remove_extra_whitespaces false every space stays, and
 *            becomes U+2581, and the whole text is one word). Of all ways to put a word together from tokens the one with
 *            the highest sum of scores is taken (Viterbi), the longer last token at equal sums. A character that no token
 *            covers alone may also be unknown, at 10 below the lowest score; unknown neighbours become one token, or the
 *            tokens of their bytes where the vocabulary has those.
 *            Kudo 2018, "Subword Regularization"; the ids are those of Hugging Face's tokenizers, with which these models
 *            were published: Precompiled, WhitespaceSplit, Metaspace, Unigram.
 * Normalize  Their Precompiled looks at grapheme clusters: a cluster below 6 bytes that begins with a key is replaced as a
 *            whole, a longer one character by character.
 * Time       Linear in the text: at each character at most NK_TOKENIZER_MAX_PIECE bytes are looked at, as far as a filter
 *            of all beginnings of tokens (one bit per hash) lets through; what it lets through, the vocabulary decides.
 */
#include "tokenizer/internal.h"

#include <stdio.h>
#include <string.h>

static const uint8_t space_mark[3] = {0xE2, 0x96, 0x81}; /* U+2581 */

#define SHORT_CLUSTER 6u     /* bytes; below it a cluster is replaced as a whole */
#define UNKNOWN_PENALTY 10.0 /* below the lowest score */
#define FILTER_BITS 64u      /* per token, at least */

static size_t piece(const nk_tokenizer *tokenizer, uint32_t id, char *out, size_t capacity) {
  return nk_tokenizer_spm.piece(tokenizer, id, out, capacity); /* U+2581 is a space there too */
}

/* ---- Building ------------------------------------------------------------------------------------------------- */

static nk_status lay_out(nk_tokenizer *tokenizer, const nk_gguf *gguf, nk_arena *arena, nk_error *error) {
  nk_unigram *unigram = &tokenizer->unigram;
  uint32_t n = tokenizer->vocab.n;
  nk_status status = nk_scores_lay_out(&unigram->scores, gguf, n, arena, error);
  if (status == NK_STATUS_OK) status = nk_charsmap_open(&unigram->charsmap, gguf, error);
  if (status == NK_STATUS_OK) {
    status = nk_gguf_get_bool(gguf, "tokenizer.ggml.add_space_prefix", true, &unigram->space_prefix, error);
  }
  if (status == NK_STATUS_OK) {
    status = nk_gguf_get_bool(gguf, "tokenizer.ggml.remove_extra_whitespaces", true, &unigram->words, error);
  }
  if (status == NK_STATUS_OK) {
    status = nk_tokenizer_get_id(gguf, "tokenizer.ggml.unknown_token_id", n, &unigram->unknown, error);
  }
  if (status != NK_STATUS_OK) return status;
  unigram->map_bytes = nk_arena_take_raw(arena, nk_charsmap_bytes(&unigram->charsmap), 1);
  uint32_t bits = 512;
  while (bits / FILTER_BITS < n) bits *= 2; /* n <= 2^20: at most 2^26 */
  unigram->filter_mask = bits - 1;
  unigram->filter = nk_arena_take(arena, bits / 8, sizeof *unigram->filter);
  if (nk_gguf_find(gguf, "tokenizer.ggml.eos_token_id") == NULL && n > 1) tokenizer->eos = 1; /* T5's */
  tokenizer->add_eos = true;
  snprintf(tokenizer->name, sizeof tokenizer->name, "unigram");
  return NK_STATUS_OK;
}

static uint32_t filter_bit(const nk_unigram *unigram, uint64_t hash) {
  return (uint32_t)((hash * 0x9E3779B97F4A7C15u) >> 32) & unigram->filter_mask;
}

static bool passes(const nk_unigram *unigram, uint64_t hash) {
  uint32_t bit = filter_bit(unigram, hash);
  return (unigram->filter[bit / 8] >> bit % 8 & 1) != 0;
}

/* True for tokens that text may be put together from. */
static bool takes_part(unsigned type, uint32_t length) {
  return (type == NK_TOKEN_NORMAL || type == NK_TOKEN_USER) && length > 0 && length <= NK_TOKENIZER_MAX_PIECE;
}

static nk_status fill(nk_tokenizer *tokenizer, const nk_gguf *gguf, nk_error *error) {
  (void)error;
  nk_unigram *unigram = &tokenizer->unigram;
  nk_vocab *vocab = &tokenizer->vocab;
  double lowest = 0;
  bool any = false;
  nk_scores_fill(unigram->scores, gguf, vocab->n);
  nk_charsmap_move(&unigram->charsmap, unigram->map_bytes);
  nk_bytes_fill(unigram->byte_id, vocab);
  for (uint32_t id = 0; id < vocab->n; id++) {
    unsigned type = nk_vocab_type(vocab, id);
    if (type == NK_TOKEN_UNKNOWN && unigram->unknown == NK_NONE) unigram->unknown = id;
    if (type == NK_TOKEN_NORMAL) {
      double score = (double)unigram->scores[id];
      if (!any || score < lowest) lowest = score;
      any = true;
    }
    nk_text text = nk_vocab_text(vocab, id);
    if (!takes_part(type, text.length)) continue;
    uint64_t hash = NK_HASH_EMPTY;
    for (uint32_t i = 0; i < text.length; i++) {
      hash = nk_hash_more(hash, (uint8_t)text.bytes[i]);
      uint32_t bit = filter_bit(unigram, hash);
      unigram->filter[bit / 8] = (uint8_t)(unigram->filter[bit / 8] | 1u << bit % 8);
    }
  }
  unigram->unknown_score = lowest - UNKNOWN_PENALTY;
  /* Converters may write it as a control token, but text may well become it. */
  if (unigram->unknown != NK_NONE) vocab->types[unigram->unknown] = NK_TOKEN_UNKNOWN;
  unigram->bytes = true;
  for (unsigned byte = 0; byte < 256; byte++) unigram->bytes = unigram->bytes && unigram->byte_id[byte] != NK_NONE;
  return NK_STATUS_OK;
}

/* ---- Normalization --------------------------------------------------------------------------------------------- */

/* Where normalized bytes go. Counts when `text` is NULL. */
typedef struct writer {
  uint8_t *text;
  uint64_t length, room; /* a map may make 255 bytes of one: more than 32 bits count */
  const nk_unigram *unigram;
  bool begun;   /* something was written */
  bool in_word; /* the last character was not white */
} writer;

static void put_bytes(writer *out, const void *bytes, size_t n) {
  if (out->text != NULL && n <= out->room - out->length) memcpy(out->text + (size_t)out->length, bytes, n);
  out->length += n;
}

static void put_code(writer *out, uint32_t code, const uint8_t *bytes, size_t n) {
  if (!out->unigram->words) {
    put_bytes(out, code == ' ' ? space_mark : bytes, code == ' ' ? 3 : n);
    return;
  }
  if (nk_unicode_white(code)) {
    out->in_word = false;
    return;
  }
  if (!out->in_word && code != 0x2581 && (out->begun || out->unigram->space_prefix)) put_bytes(out, space_mark, 3);
  out->in_word = out->begun = true;
  put_bytes(out, bytes, n);
}

static void put_text(writer *out, const uint8_t *bytes, size_t n) {
  for (size_t at = 0; at < n;) {
    uint32_t code, took = nk_utf8_decode(bytes + at, n - at, &code);
    put_code(out, code, bytes + at, took);
    at += took;
  }
}

/* The replacement of `bytes` [n], if there is one. */
static bool put_replacement(writer *out, const uint8_t *bytes, size_t n) {
  nk_text replacement = nk_charsmap_find(&out->unigram->charsmap, bytes, n);
  if (replacement.bytes == NULL) return false;
  put_text(out, (const uint8_t *)replacement.bytes, replacement.length);
  return true;
}

static void normalize(writer *out, const uint32_t *codes, size_t n) {
  if (!out->unigram->words && out->unigram->space_prefix) put_bytes(out, space_mark, 3);
  for (size_t at = 0; at < n;) {
    size_t end = nk_unicode_cluster_end(codes, at, n), length = 0;
    uint8_t cluster[SHORT_CLUSTER + 4]; /* only those below SHORT_CLUSTER are kept whole */
    for (size_t i = at; i < end && length < SHORT_CLUSTER; i++) length += nk_utf8_encode(codes[i], cluster + length);
    if (length < SHORT_CLUSTER && put_replacement(out, cluster, length)) {
      at = end;
      continue;
    }
    for (; at < end; at++) {
      length = nk_utf8_encode(codes[at], cluster);
      if (!put_replacement(out, cluster, length)) put_code(out, codes[at], cluster, length);
    }
  }
}

/* ---- One word -------------------------------------------------------------------------------------------------- */

/* The best way to put the first bytes of a word together. */
typedef struct path {
  double score;
  uint32_t start; /* where its last token begins; NK_NONE: no path ends here; later, where the next token ends */
  uint32_t id;
} path;

static void reach(path *paths, size_t end, double score, uint32_t start, uint32_t id) {
  if (paths[end].start == NK_NONE || score > paths[end].score) paths[end] = (path){score, start, id};
}

/* The tokens of text [at, n) that begin at `at`, which is `length` bytes of one character away from the next. */
static void extend(const nk_tokenizer *tokenizer, const uint8_t *text, size_t n, size_t at, size_t length, path *paths) {
  const nk_unigram *unigram = &tokenizer->unigram;
  const nk_vocab *vocab = &tokenizer->vocab;
  double base = paths[at].score;
  uint64_t hash = NK_HASH_EMPTY;
  size_t limit = n - at < NK_TOKENIZER_MAX_PIECE ? n : at + NK_TOKENIZER_MAX_PIECE;
  for (size_t end = at; end < limit;) {
    hash = nk_hash_more(hash, text[end++]);
    if (!passes(unigram, hash)) break;
    if (end < n && (text[end] & 0xC0) == 0x80) continue; /* inside of a character no token ends */
    uint32_t id = nk_vocab_find_hashed(vocab, hash, text + at, end - at);
    if (id == NK_NONE) continue;
    unsigned type = nk_vocab_type(vocab, id);
    if (!takes_part(type, (uint32_t)(end - at))) continue;
    double score = type == NK_TOKEN_USER ? 0 : (double)unigram->scores[id];
    reach(paths, end, base + score, (uint32_t)at, id);
  }
  /* Where a token covers the character alone, that one counts more and stays. */
  reach(paths, at + length, base + unigram->unknown_score, (uint32_t)at, NK_NONE);
}

static void put_unknown(const nk_unigram *unigram, const uint8_t *text, size_t n, nk_sink *sink) {
  if (unigram->bytes) {
    for (size_t i = 0; i < n; i++) nk_sink_put(sink, unigram->byte_id[text[i]]);
  } else if (unigram->unknown != NK_NONE) {
    nk_sink_put(sink, unigram->unknown);
  }
}

/* text [n], n > 0; paths [n + 1]. */
static void encode_word(const nk_tokenizer *tokenizer, const uint8_t *text, size_t n, path *paths, nk_sink *sink) {
  for (size_t i = 0; i <= n; i++) paths[i].start = NK_NONE;
  paths[0] = (path){0, 0, NK_NONE};
  for (size_t at = 0; at < n;) {
    uint32_t code, length = nk_utf8_decode(text + at, n - at, &code);
    extend(tokenizer, text, n, at, length, paths);
    at += length;
  }
  /* Turn the chain round. */
  uint32_t next = NK_NONE;
  for (uint32_t at = (uint32_t)n;;) {
    uint32_t start = paths[at].start;
    paths[at].start = next;
    next = at;
    if (at == 0) break;
    at = start;
  }
  uint32_t unknown = 0; /* where a run of unknown characters begins, + 1; 0: there is none */
  for (uint32_t begin = 0, end; begin < n; begin = end) {
    end = paths[begin].start;
    if (paths[end].id == NK_NONE) {
      if (unknown == 0) unknown = begin + 1;
      if (end == n || paths[paths[end].start].id != NK_NONE) {
        put_unknown(&tokenizer->unigram, text + unknown - 1, end - (unknown - 1), sink);
        unknown = 0;
      }
    } else {
      nk_sink_put(sink, paths[end].id);
    }
  }
}

/* ---- A fragment ------------------------------------------------------------------------------------------------ */

/* The end of the word of text [n] that begins at `at`. */
static size_t word_end(const nk_unigram *unigram, const uint8_t *text, size_t at, size_t n) {
  if (!unigram->words) return n;
  for (size_t end = at + 1; end < n; end++) {
    if (text[end] == space_mark[0] && n - end >= 3 && memcmp(text + end, space_mark, 3) == 0) return end;
  }
  return n;
}

static nk_status encode(const nk_tokenizer *tokenizer, const uint8_t *bytes, size_t length, nk_sink *sink,
                        nk_scratch *scratch, nk_error *error) {
  const nk_unigram *unigram = &tokenizer->unigram;
  uint32_t *codes = nk_buffer_need(&scratch->codes, length, sizeof *codes);
  if (codes == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory to tokenize %zu bytes of text", length);
  size_t n = 0;
  for (size_t at = 0; at < length; n++) at += nk_utf8_decode(bytes + at, length - at, &codes[n]);
  writer counted = {.unigram = unigram};
  normalize(&counted, codes, n);
  if (counted.length > NK_TOKENIZER_MAX_TEXT) {
    return nk_fail_hint(error, NK_STATUS_DATA, "Tokenize it in parts.", "the text has more than %u bytes when normalized",
                        NK_TOKENIZER_MAX_TEXT);
  }
  writer out = {.unigram = unigram, .room = counted.length};
  size_t size = (size_t)counted.length;
  out.text = nk_buffer_need(&scratch->more, size, 1);
  if (out.text == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory to tokenize %zu bytes of text", length);
  normalize(&out, codes, n);
  for (size_t at = 0, end; at < size; at = end) {
    end = word_end(unigram, out.text, at, size);
    path *paths = nk_buffer_need(&scratch->work, end - at + 1, sizeof *paths);
    if (paths == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory to tokenize %zu bytes of text", length);
    encode_word(tokenizer, out.text + at, end - at, paths, sink);
  }
  return NK_STATUS_OK;
}

const nk_tokenizer_kind nk_tokenizer_unigram = {
    .model = "t5",
    .name = "unigram",
    .lay_out = lay_out,
    .fill = fill,
    .encode = encode,
    .piece = piece,
};
