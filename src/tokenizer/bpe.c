/*
 * bpe.c: byte-level byte-pair encoding (tokenizer.ggml.model = "gpt2").
 *
 * Algorithm  Text is cut into words (pretokenize.c). The bytes of a word are the first symbols; of all neighbours that have
 *            a merge, the one that stands first in the file is merged, the leftmost first, until none is left.
 *            Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units"; Radford et al. 2019
 *            (bytes).
 * Time       n log n for a word of n bytes: a linked list of symbols and a heap of (rank, position).
 * Alphabet   Vocabularies write a byte as one printable character: bytes 33..126, 161..172 and 174..255 as the code point
 *            of that number, the other 68 in their order as U+0100 and following.
 */
#include "tokenizer/internal.h"

#include <stdio.h>
#include <string.h>

/* ---- The alphabet of bytes ------------------------------------------------------------------------------------- */

static bool stands_for_itself(uint32_t byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
}

static uint32_t character_of(uint32_t byte) {
  if (stands_for_itself(byte)) return byte;
  if (byte <= 32) return 0x100 + byte;
  return byte == 173 ? 0x143 : 0x100 + 33 + (byte - 127);
}

/* The byte that a character stands for, or NK_NONE. */
static uint32_t byte_of(uint32_t character) {
  if (stands_for_itself(character)) return character;
  if (character < 0x100 || character > 0x143) return NK_NONE;
  uint32_t index = character - 0x100;
  if (index <= 32) return index;
  return index == 0x43 ? 173 : 127 + (index - 33);
}

static size_t piece(const nk_tokenizer *tokenizer, uint32_t id, char *out, size_t capacity) {
  nk_text text = nk_vocab_text(&tokenizer->vocab, id);
  const uint8_t *bytes = (const uint8_t *)text.bytes;
  size_t length = 0;
  for (uint32_t at = 0; at < text.length;) {
    uint32_t character, took = nk_utf8_decode(bytes + at, text.length - at, &character);
    uint32_t byte = byte_of(character);
    if (byte != NK_NONE) {
      nk_put_byte(out, capacity, &length, (uint8_t)byte);
    } else { /* not of the alphabet: as it stands */
      for (uint32_t i = 0; i < took; i++) nk_put_byte(out, capacity, &length, bytes[at + i]);
    }
    at += took;
  }
  return length;
}

/* ---- Merges ---------------------------------------------------------------------------------------------------- */

static uint32_t merge_hash(uint32_t left, uint32_t right) {
  uint64_t hash = ((uint64_t)left << 32 | right) * 0x9E3779B97F4A7C15u; /* 2^64 / golden ratio; Knuth, TAOCP 3, 6.4 */
  hash ^= hash >> 29;
  hash *= 0xBF58476D1CE4E5B9u; /* the finalizer of SplitMix64 */
  return (uint32_t)(hash >> 32);
}

/* The slot of the merge of (left, right), or the free one where it would go, or NK_NONE after NK_MAX_PROBES. */
static uint32_t merge_slot(const nk_bpe *bpe, uint32_t left, uint32_t right) {
  uint32_t slot = merge_hash(left, right) & bpe->mask;
  for (uint32_t tries = 0; tries < NK_MAX_PROBES; tries++) {
    if (bpe->slots[slot] == 0) return slot;
    const uint32_t *merge = bpe->merges + (size_t)3 * (bpe->slots[slot] - 1);
    if (merge[0] == left && merge[1] == right) return slot;
    slot = (slot + 1) & bpe->mask;
  }
  return NK_NONE;
}

static uint32_t merge_rank(const nk_bpe *bpe, uint32_t left, uint32_t right) {
  if (left == NK_NONE || right == NK_NONE) return NK_NONE;
  uint32_t slot = merge_slot(bpe, left, right);
  return slot == NK_NONE || bpe->slots[slot] == 0 ? NK_NONE : bpe->slots[slot] - 1;
}

/* ---- Building -------------------------------------------------------------------------------------------------- */

static nk_status lay_out(nk_tokenizer *tokenizer, const nk_gguf *gguf, nk_arena *arena, nk_error *error) {
  nk_bpe *bpe = &tokenizer->bpe;
  nk_text pre, architecture;
  nk_status status = nk_gguf_get_text(gguf, "tokenizer.ggml.pre", &pre, error);
  if (status == NK_STATUS_OK) status = nk_gguf_get_text(gguf, "general.architecture", &architecture, error);
  if (status != NK_STATUS_OK) return status;
  bpe->pre = nk_pretokenizer_find(pre, architecture);
  if (bpe->pre == NULL) {
    return nk_fail(error, NK_STATUS_UNSUPPORTED, "the pre-tokenizer '%.*s' (tokenizer.ggml.pre) is not one that Nook knows",
                   (int)(pre.length < 64 ? pre.length : 64), pre.bytes);
  }
  const nk_gguf_pair *merges;
  status = nk_gguf_get_array(gguf, "tokenizer.ggml.merges", NK_GGUF_STRING, &merges, error);
  if (status != NK_STATUS_OK) return status;
  if (merges == NULL) {
    return nk_fail_hint(error, NK_STATUS_FORMAT, "Convert the model again, with its tokenizer.",
                        "the file has no merges (tokenizer.ggml.merges)");
  }
  if (merges->count > NK_TOKENIZER_MAX_MERGES) {
    return nk_fail(error, NK_STATUS_FORMAT, "the tokenizer has %llu merges; at most %u are read",
                   (unsigned long long)merges->count, NK_TOKENIZER_MAX_MERGES);
  }
  bpe->n = (uint32_t)merges->count;
  uint32_t slots = nk_slots_for(bpe->n);
  bpe->mask = slots - 1;
  bpe->merges = nk_arena_take(arena, bpe->n, 3 * sizeof *bpe->merges);
  bpe->slots = nk_arena_take(arena, slots, sizeof *bpe->slots);
  tokenizer->add_bos = bpe->pre->add_bos;
  if (pre.bytes == NULL) pre = (nk_text){bpe->pre->name, (uint32_t)strlen(bpe->pre->name)};
  snprintf(tokenizer->name, sizeof tokenizer->name, "bpe/%.*s", (int)pre.length, pre.bytes); /* a name of the table */
  return NK_STATUS_OK;
}

static nk_status fill(nk_tokenizer *tokenizer, const nk_gguf *gguf, nk_error *error) {
  nk_bpe *bpe = &tokenizer->bpe;
  const nk_vocab *vocab = &tokenizer->vocab;
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint8_t text[4];
    bpe->byte_id[byte] = nk_vocab_find(vocab, text, nk_utf8_encode(character_of(byte), text), NULL, 0);
  }
  const nk_gguf_pair *merges;
  nk_status status = nk_gguf_get_array(gguf, "tokenizer.ggml.merges", NK_GGUF_STRING, &merges, error);
  if (status != NK_STATUS_OK) return status;
  for (uint32_t rank = 0; rank < bpe->n; rank++) {
    nk_text text = nk_gguf_text_at(merges, rank);
    if (text.length < 3) continue;
    const char *space = memchr(text.bytes + 1, ' ', text.length - 1);
    if (space == NULL) continue;
    const char *right = space + 1;
    size_t n_left = (size_t)(space - text.bytes), n_right = text.length - n_left - 1;
    uint32_t *merge = bpe->merges + (size_t)3 * rank;
    merge[0] = nk_vocab_find(vocab, text.bytes, n_left, NULL, 0);
    merge[1] = nk_vocab_find(vocab, right, n_right, NULL, 0);
    merge[2] = nk_vocab_find(vocab, text.bytes, n_left, right, n_right);
    if (merge[0] == NK_NONE || merge[1] == NK_NONE || merge[2] == NK_NONE) continue;
    uint32_t slot = merge_slot(bpe, merge[0], merge[1]);
    if (slot == NK_NONE) {
      return nk_fail(error, NK_STATUS_FORMAT, "the merges are built to collide: merge %u has no place in the table", rank);
    }
    if (bpe->slots[slot] == 0) bpe->slots[slot] = rank + 1; /* else the pair stood earlier, with a better rank */
  }
  return NK_STATUS_OK;
}

/* ---- One word -------------------------------------------------------------------------------------------------- */

typedef struct symbol {
  uint32_t id;             /* NK_NONE: a byte without a token */
  uint32_t previous, next; /* NK_NONE: none */
  uint32_t rank;           /* of the merge with the next symbol; NK_NONE: there is none, or this one is gone */
} symbol;

/* Entries of the heap are rank << 32 | position, so the smallest is the best rank and of those the leftmost. An entry is
   stale when the symbol at its position has another rank by now. */
typedef struct rank_heap {
  uint64_t *entries; /* [2 n] is enough: n - 1 at first, and a merge takes one out and puts in at most two */
  size_t n;
} rank_heap;

static void heap_down(rank_heap *heap, size_t at) {
  uint64_t entry = heap->entries[at];
  for (size_t child; (child = 2 * at + 1) < heap->n; at = child) {
    if (child + 1 < heap->n && heap->entries[child + 1] < heap->entries[child]) child++;
    if (entry <= heap->entries[child]) break;
    heap->entries[at] = heap->entries[child];
  }
  heap->entries[at] = entry;
}

static void heap_push(rank_heap *heap, uint64_t entry) {
  size_t at = heap->n++;
  for (; at > 0 && heap->entries[(at - 1) / 2] > entry; at = (at - 1) / 2) heap->entries[at] = heap->entries[(at - 1) / 2];
  heap->entries[at] = entry;
}

static uint64_t heap_pop(rank_heap *heap) {
  uint64_t best = heap->entries[0];
  heap->entries[0] = heap->entries[--heap->n];
  if (heap->n > 1) heap_down(heap, 0);
  return best;
}

static void rank_again(const nk_bpe *bpe, symbol *symbols, rank_heap *heap, uint32_t at) {
  uint32_t next = symbols[at].next;
  symbols[at].rank = next == NK_NONE ? NK_NONE : merge_rank(bpe, symbols[at].id, symbols[next].id);
  if (symbols[at].rank != NK_NONE) heap_push(heap, (uint64_t)symbols[at].rank << 32 | at);
}

/* symbols [n] with their ids; entries [2 n]. */
static void merge_word(const nk_bpe *bpe, symbol *symbols, uint64_t *entries, uint32_t n, nk_sink *sink) {
  rank_heap heap = {entries, 0};
  for (uint32_t i = 0; i < n; i++) {
    symbols[i].previous = i == 0 ? NK_NONE : i - 1;
    symbols[i].next = i + 1 == n ? NK_NONE : i + 1;
    symbols[i].rank = i + 1 == n ? NK_NONE : merge_rank(bpe, symbols[i].id, symbols[i + 1].id);
    if (symbols[i].rank != NK_NONE) entries[heap.n++] = (uint64_t)symbols[i].rank << 32 | i;
  }
  for (size_t at = heap.n / 2; at-- > 0;) heap_down(&heap, at);
  while (heap.n > 0) {
    uint64_t entry = heap_pop(&heap);
    uint32_t at = (uint32_t)entry, rank = (uint32_t)(entry >> 32);
    if (symbols[at].rank != rank) continue;
    uint32_t gone = symbols[at].next, after = symbols[gone].next;
    symbols[at].id = bpe->merges[(size_t)3 * rank + 2];
    symbols[at].next = after;
    symbols[gone].rank = NK_NONE;
    if (after != NK_NONE) symbols[after].previous = at;
    rank_again(bpe, symbols, &heap, at);
    if (symbols[at].previous != NK_NONE) rank_again(bpe, symbols, &heap, symbols[at].previous);
  }
  for (uint32_t at = 0; at != NK_NONE; at = symbols[at].next) {
    if (symbols[at].id != NK_NONE) nk_sink_put(sink, symbols[at].id);
  }
}

#define FEW 64 /* symbols of a word that needs no memory but the stack */

/* The token that is the whole word, or NK_NONE. text [2 × bytes of the word] is written to. */
static uint32_t whole_word(const nk_vocab *vocab, const uint32_t *codes, size_t n, uint8_t *text) {
  size_t length = 0;
  for (size_t i = 0; i < n; i++) {
    uint8_t bytes[4];
    uint32_t took = nk_utf8_encode(codes[i], bytes);
    for (uint32_t k = 0; k < took; k++) length += nk_utf8_encode(character_of(bytes[k]), text + length);
  }
  return nk_vocab_find(vocab, text, length, NULL, 0);
}

static bool encode_word(const nk_tokenizer *tokenizer, const uint32_t *codes, size_t n, nk_sink *sink,
                        nk_scratch *scratch) {
  const nk_bpe *bpe = &tokenizer->bpe;
  size_t n_bytes = 0;
  uint8_t bytes[4];
  for (size_t i = 0; i < n; i++) n_bytes += nk_utf8_encode(codes[i], bytes);
  if (bpe->pre->whole_words && n_bytes <= tokenizer->vocab.longest) {
    uint8_t *text = nk_buffer_need(&scratch->word, n_bytes, 2);
    if (text == NULL) return false;
    uint32_t id = whole_word(&tokenizer->vocab, codes, n, text);
    if (id != NK_NONE) {
      nk_sink_put(sink, id);
      return true;
    }
  }
  symbol few_symbols[FEW];
  uint64_t few_entries[2 * FEW];
  symbol *symbols = few_symbols;
  uint64_t *entries = few_entries;
  if (n_bytes > FEW) {
    entries = nk_buffer_need(&scratch->work, n_bytes, 2 * sizeof *entries + sizeof *symbols);
    if (entries == NULL) return false;
    symbols = (symbol *)(void *)(entries + 2 * n_bytes);
  }
  uint32_t count = 0;
  for (size_t i = 0; i < n; i++) {
    uint32_t took = nk_utf8_encode(codes[i], bytes);
    for (uint32_t k = 0; k < took; k++) symbols[count++].id = bpe->byte_id[bytes[k]];
  }
  merge_word(bpe, symbols, entries, count, sink);
  return true;
}

/* ---- A fragment ------------------------------------------------------------------------------------------------ */

/* Cuts codes [begin, end) by the stages from `stage` on and encodes the words. Recursion is as deep as there are stages. */
static bool cut(const nk_tokenizer *tokenizer, const uint32_t *codes, size_t begin, size_t end, unsigned stage,
                nk_sink *sink, nk_scratch *scratch) {
  const nk_pretokenizer *pre = tokenizer->bpe.pre;
  if (stage == NK_PRETOKENIZER_MAX_STAGES || pre->stage[stage] == NULL) {
    return encode_word(tokenizer, codes + begin, end - begin, sink, scratch);
  }
  while (begin < end) {
    size_t stop = pre->stage[stage](codes, begin, end);
    if (!cut(tokenizer, codes, begin, stop, stage + 1, sink, scratch)) return false;
    begin = stop;
  }
  return true;
}

static nk_status encode(const nk_tokenizer *tokenizer, const uint8_t *bytes, size_t length, nk_sink *sink,
                        nk_scratch *scratch, nk_error *error) {
  size_t n = 0;
  uint32_t *codes = nk_buffer_need(&scratch->codes, length, sizeof *codes);
  if (codes == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory to tokenize %zu bytes of text", length);
  uint32_t highest = 0;
  for (size_t at = 0; at < length; n++) {
    at += nk_utf8_decode(bytes + at, length - at, &codes[n]);
    if (codes[n] > highest) highest = codes[n];
  }
  if (tokenizer->bpe.pre->nfc && highest >= 0x300) { /* below U+0300 every text is in NFC */
    size_t n_nfd = nk_unicode_nfd_length(codes, n);
    uint32_t *nfd = nk_buffer_need(&scratch->more, n_nfd, 2 * sizeof *nfd);
    if (nfd == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory to tokenize %zu bytes of text", length);
    nk_unicode_nfd(codes, n, nfd, nfd + n_nfd);
    n = nk_unicode_nfc(nfd, n_nfd);
    codes = nfd;
  }
  if (!cut(tokenizer, codes, 0, n, 0, sink, scratch)) {
    return nk_fail(error, NK_STATUS_MEMORY, "no memory to tokenize %zu bytes of text", length);
  }
  return NK_STATUS_OK;
}

const nk_tokenizer_kind nk_tokenizer_bpe = {
    .model = "gpt2",
    .name = "bpe",
    .lay_out = lay_out,
    .fill = fill,
    .encode = encode,
    .piece = piece,
};
