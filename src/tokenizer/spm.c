/*
 * spm.c: SentencePiece's byte-pair encoding with byte fallback (tokenizer.ggml.model = "llama": Llama 1 and 2, Gemma,
 * Phi-3).
 *
 * Algorithm  Spaces become U+2581, which also goes before the text unless the file says otherwise. The characters are the
 *            first symbols; of all neighbours whose joined text is a token, the one with the highest score is merged, the
 *            leftmost first, until none is left. A symbol that is no token becomes the byte tokens of its UTF-8.
 *            Kudo and Richardson 2018, "SentencePiece".
 * Time       n log n: a linked list of symbols and a heap of candidates.
 */
#include "tokenizer/internal.h"

#include <stdio.h>
#include <string.h>

static const uint8_t space_mark[3] = {0xE2, 0x96, 0x81}; /* U+2581 */

/* The byte that a text of the form <0xHH> stands for, or NK_NONE. */
static uint32_t byte_named(nk_text text) {
  if (text.length != 6 || memcmp(text.bytes, "<0x", 3) != 0 || text.bytes[5] != '>') return NK_NONE;
  uint32_t value = 0;
  for (unsigned i = 3; i < 5; i++) {
    char digit = text.bytes[i];
    if (digit >= '0' && digit <= '9') {
      value = value * 16 + (uint32_t)(digit - '0');
    } else if (digit >= 'A' && digit <= 'F') {
      value = value * 16 + (uint32_t)(digit - 'A') + 10;
    } else if (digit >= 'a' && digit <= 'f') {
      value = value * 16 + (uint32_t)(digit - 'a') + 10;
    } else {
      return NK_NONE;
    }
  }
  return value;
}

static size_t piece(const nk_tokenizer *tokenizer, uint32_t id, char *out, size_t capacity) {
  nk_text text = nk_vocab_text(&tokenizer->vocab, id);
  size_t length = 0;
  if (nk_vocab_type(&tokenizer->vocab, id) == NK_TOKEN_BYTE) {
    uint32_t byte = byte_named(text);
    if (byte != NK_NONE) {
      nk_put_byte(out, capacity, &length, (uint8_t)byte);
      return length;
    }
  }
  for (uint32_t at = 0; at < text.length;) {
    if (text.length - at >= 3 && memcmp(text.bytes + at, space_mark, 3) == 0) {
      nk_put_byte(out, capacity, &length, ' ');
      at += 3;
    } else {
      nk_put_byte(out, capacity, &length, (uint8_t)text.bytes[at++]);
    }
  }
  return length;
}

/* ---- Building ------------------------------------------------------------------------------------------------- */

nk_status nk_scores_lay_out(float **scores, const nk_gguf *gguf, uint32_t n, nk_arena *arena, nk_error *error) {
  const nk_gguf_pair *pair;
  nk_status status = nk_gguf_get_array(gguf, "tokenizer.ggml.scores", NK_GGUF_F32, &pair, error);
  if (status != NK_STATUS_OK) return status;
  if (pair == NULL || pair->count != n) {
    return nk_fail(error, NK_STATUS_FORMAT, "the key tokenizer.ggml.scores has %llu entries for %u tokens",
                   (unsigned long long)(pair == NULL ? 0 : pair->count), n);
  }
  *scores = nk_arena_take_raw(arena, n, sizeof **scores);
  return NK_STATUS_OK;
}

void nk_scores_fill(float *scores, const nk_gguf *gguf, uint32_t n) {
  const nk_gguf_pair *pair = nk_gguf_find(gguf, "tokenizer.ggml.scores");
  for (uint32_t id = 0; id < n; id++) {
    float score = (float)nk_gguf_number_at(pair, id);
    if (!(score > -3e38f)) score = -3e38f; /* NaN too */
    scores[id] = score < 3e38f ? score : 3e38f;
  }
}

void nk_bytes_fill(uint32_t ids[256], const nk_vocab *vocab) {
  for (unsigned byte = 0; byte < 256; byte++) ids[byte] = NK_NONE;
  for (uint32_t id = 0; id < vocab->n; id++) {
    if (nk_vocab_type(vocab, id) != NK_TOKEN_BYTE) continue;
    uint32_t byte = byte_named(nk_vocab_text(vocab, id));
    if (byte != NK_NONE && ids[byte] == NK_NONE) ids[byte] = id;
  }
}

static nk_status lay_out(nk_tokenizer *tokenizer, const nk_gguf *gguf, nk_arena *arena, nk_error *error) {
  nk_spm *spm = &tokenizer->spm;
  nk_status status = nk_scores_lay_out(&spm->scores, gguf, tokenizer->vocab.n, arena, error);
  if (status == NK_STATUS_OK) {
    status = nk_gguf_get_bool(gguf, "tokenizer.ggml.add_space_prefix", true, &spm->space_prefix, error);
  }
  if (status == NK_STATUS_OK) {
    status = nk_tokenizer_get_id(gguf, "tokenizer.ggml.unknown_token_id", tokenizer->vocab.n, &spm->unknown, error);
  }
  if (status != NK_STATUS_OK) return status;
  tokenizer->add_bos = true;
  snprintf(tokenizer->name, sizeof tokenizer->name, "spm");
  return NK_STATUS_OK;
}

/* Phi-3's own tokenizer takes the white space behind its special tokens along; GGUF has no key for it. */
static void mark_strips(nk_vocab *vocab) {
  static const char *const keep[] = {"<unk>", "<s>", "<|endoftext|>"};
  for (uint32_t id = 0; id < vocab->n; id++) {
    nk_text text = nk_vocab_text(vocab, id);
    if (!nk_is_special(nk_vocab_type(vocab, id), text.length)) continue;
    bool strips = true;
    for (size_t i = 0; i < sizeof keep / sizeof *keep; i++) {
      if (strlen(keep[i]) == text.length && memcmp(keep[i], text.bytes, text.length) == 0) strips = false;
    }
    if (strips) vocab->types[id] |= NK_TOKEN_STRIP;
  }
}

static nk_status fill(nk_tokenizer *tokenizer, const nk_gguf *gguf, nk_error *error) {
  nk_spm *spm = &tokenizer->spm;
  nk_vocab *vocab = &tokenizer->vocab;
  nk_scores_fill(spm->scores, gguf, vocab->n);
  nk_bytes_fill(spm->byte_id, vocab);
  /* A control token must not come out of text, not even as the unknown one. */
  if (spm->unknown != NK_NONE && nk_vocab_type(vocab, spm->unknown) == NK_TOKEN_CONTROL) spm->unknown = NK_NONE;
  nk_text architecture;
  nk_status status = nk_gguf_get_text(gguf, "general.architecture", &architecture, error);
  if (status != NK_STATUS_OK) return status;
  if (architecture.length == 4 && memcmp(architecture.bytes, "phi3", 4) == 0) mark_strips(vocab);
  return NK_STATUS_OK;
}

/* ---- Encoding ------------------------------------------------------------------------------------------------- */

typedef struct symbol {
  uint32_t start, length;  /* bytes of the text; length 0: merged into the one before */
  uint32_t previous, next; /* NK_NONE: none */
} symbol;

/* Two neighbours that together are a token. Stale once the bytes from `left` on are divided otherwise. */
typedef struct candidate {
  float score;
  uint32_t left;   /* position of the left symbol */
  uint32_t length; /* bytes of both */
} candidate;

typedef struct candidates {
  candidate *entries; /* [2 n] is enough, as in bpe.c */
  size_t n;
} candidates;

static bool better(candidate a, candidate b) { return a.score != b.score ? a.score > b.score : a.left < b.left; }

static void push(candidates *heap, candidate entry) {
  size_t at = heap->n++;
  for (; at > 0 && better(entry, heap->entries[(at - 1) / 2]); at = (at - 1) / 2)
    heap->entries[at] = heap->entries[(at - 1) / 2];
  heap->entries[at] = entry;
}

static candidate pop(candidates *heap) {
  candidate best = heap->entries[0], entry = heap->entries[--heap->n];
  size_t at = 0;
  for (size_t child; (child = 2 * at + 1) < heap->n; at = child) {
    if (child + 1 < heap->n && better(heap->entries[child + 1], heap->entries[child])) child++;
    if (!better(heap->entries[child], entry)) break;
    heap->entries[at] = heap->entries[child];
  }
  heap->entries[at] = entry;
  return best;
}

/* Proposes the merge of the symbol at `left` with the next one. */
static void propose(const nk_tokenizer *tokenizer, const uint8_t *text, const symbol *symbols, uint32_t left,
                    candidates *heap) {
  uint32_t right = symbols[left].next;
  if (right == NK_NONE) return;
  uint32_t length = symbols[left].length + symbols[right].length;
  uint32_t id = nk_vocab_find(&tokenizer->vocab, text + symbols[left].start, length, NULL, 0);
  if (id != NK_NONE) push(heap, (candidate){tokenizer->spm.scores[id], left, length});
}

static void put_symbol(const nk_tokenizer *tokenizer, const uint8_t *text, size_t length, nk_sink *sink) {
  const nk_spm *spm = &tokenizer->spm;
  uint32_t id = nk_vocab_find(&tokenizer->vocab, text, length, NULL, 0);
  if (id != NK_NONE) {
    nk_sink_put(sink, id);
    return;
  }
  bool missing = false;
  for (size_t i = 0; i < length; i++) missing = missing || spm->byte_id[text[i]] == NK_NONE;
  if (missing) {
    if (spm->unknown != NK_NONE) nk_sink_put(sink, spm->unknown);
    return;
  }
  for (size_t i = 0; i < length; i++) nk_sink_put(sink, spm->byte_id[text[i]]);
}

static nk_status encode(const nk_tokenizer *tokenizer, const uint8_t *bytes, size_t length, nk_sink *sink,
                        nk_scratch *scratch, nk_error *error) {
  /* The text as the model sees it: at most 3 bytes for one (U+2581 for a space, U+FFFD for an offending byte). */
  uint8_t *text = nk_buffer_need(&scratch->codes, length + 1, 3);
  symbol *symbols = nk_buffer_need(&scratch->work, length + 1, sizeof *symbols);
  candidates heap = {nk_buffer_need(&scratch->more, length + 1, 2 * sizeof *heap.entries), 0};
  if (text == NULL || symbols == NULL || heap.entries == NULL) {
    return nk_fail(error, NK_STATUS_MEMORY, "no memory to tokenize %zu bytes of text", length);
  }
  uint32_t n = 0, size = 0;
  bool prefix = tokenizer->spm.space_prefix;
  for (size_t at = 0; at < length || prefix;) {
    uint32_t code = ' ', took = 0;
    if (!prefix) took = nk_utf8_decode(bytes + at, length - at, &code);
    prefix = false;
    at += took;
    if (code == ' ') code = 0x2581;
    uint32_t written = nk_utf8_encode(code, text + size);
    symbols[n] = (symbol){size, written, n == 0 ? NK_NONE : n - 1, n + 1};
    size += written;
    n++;
  }
  symbols[n - 1].next = NK_NONE;
  for (uint32_t i = 0; i < n; i++) propose(tokenizer, text, symbols, i, &heap);
  while (heap.n > 0) {
    candidate best = pop(&heap);
    uint32_t left = best.left, right = symbols[left].next;
    if (symbols[left].length == 0 || right == NK_NONE || symbols[left].length + symbols[right].length != best.length)
      continue;
    symbols[left].length = best.length;
    symbols[left].next = symbols[right].next;
    symbols[right].length = 0;
    if (symbols[left].next != NK_NONE) symbols[symbols[left].next].previous = left;
    propose(tokenizer, text, symbols, left, &heap);
    if (symbols[left].previous != NK_NONE) propose(tokenizer, text, symbols, symbols[left].previous, &heap);
  }
  for (uint32_t at = 0; at != NK_NONE; at = symbols[at].next) {
    put_symbol(tokenizer, text + symbols[at].start, symbols[at].length, sink);
  }
  return NK_STATUS_OK;
}

const nk_tokenizer_kind nk_tokenizer_spm = {
    .model = "llama",
    .name = "spm",
    .marks = true,
    .lay_out = lay_out,
    .fill = fill,
    .encode = encode,
    .piece = piece,
};
