/*
 * vocab.c: the token texts and the way from a text to its token.
 *
 * Texts are copied one behind the other, so that the header can go; a token is an offset there. The hash table is open
 * addressing with linear probing over ids. Tokens that text must never become (control, unknown, byte) are not in it, so
 * neither a merge nor a word can produce one.
 */
#include "tokenizer/internal.h"

#include <string.h>

/* Ends of a turn or a text under whatever type converters gave them; they become control tokens, because text from outside
   must not end a turn. */
static const char *const enders[] = {
    "<|im_end|>",    "<|eot_id|>", "<|eom_id|>", "<|endoftext|>",   "<|end_of_text|>", "<|end|>",
    "<end_of_turn>", "<EOT>",      "_<EOT>",     "<|end_of_turn|>", "<|return|>",      "<｜end▁of▁sentence｜>",
};

static bool is_ender(nk_text text) {
  if (text.length < 5 || (text.bytes[0] != '<' && text.bytes[0] != '_')) return false;
  for (size_t i = 0; i < sizeof enders / sizeof *enders; i++) {
    if (strlen(enders[i]) == text.length && memcmp(enders[i], text.bytes, text.length) == 0) return true;
  }
  return false;
}

uint32_t nk_slots_for(uint32_t n) {
  uint32_t slots = 16;
  while (slots / 4 * 3 < n) slots *= 2;
  return slots;
}

nk_status nk_vocab_lay_out(nk_vocab *vocab, const nk_gguf *gguf, nk_arena *arena, nk_error *error) {
  const nk_gguf_pair *tokens, *types;
  nk_status status = nk_gguf_get_array(gguf, "tokenizer.ggml.tokens", NK_GGUF_STRING, &tokens, error);
  if (status == NK_STATUS_OK) status = nk_gguf_get_array(gguf, "tokenizer.ggml.token_type", NK_GGUF_I32, &types, error);
  if (status != NK_STATUS_OK) return status;
  if (tokens == NULL || tokens->count == 0) {
    return nk_fail_hint(error, NK_STATUS_FORMAT, "Convert the model again, with its tokenizer.",
                        "the file has no vocabulary (tokenizer.ggml.tokens)");
  }
  if (tokens->count > NK_TOKENIZER_MAX_VOCAB) {
    return nk_fail(error, NK_STATUS_FORMAT, "the vocabulary has %llu tokens; at most %u are read",
                   (unsigned long long)tokens->count, NK_TOKENIZER_MAX_VOCAB);
  }
  if (types != NULL && types->count != tokens->count) {
    return nk_fail(error, NK_STATUS_FORMAT, "the key tokenizer.ggml.token_type has %llu entries for %llu tokens",
                   (unsigned long long)types->count, (unsigned long long)tokens->count);
  }
  vocab->n = (uint32_t)tokens->count;
  uint32_t slots = nk_slots_for(vocab->n);
  vocab->mask = slots - 1;
  /* strings[n] - strings[0] is the array's size: 8 bytes of length and the text of each. */
  uint64_t text_bytes = (uint64_t)(tokens->strings[vocab->n] - tokens->strings[0]) - 8 * (uint64_t)vocab->n;
  vocab->texts = nk_arena_take_raw(arena, text_bytes, 1);
  vocab->offsets = nk_arena_take(arena, (uint64_t)vocab->n + 1, sizeof *vocab->offsets);
  vocab->types = nk_arena_take(arena, vocab->n, sizeof *vocab->types);
  vocab->slots = nk_arena_take(arena, slots, sizeof *vocab->slots);
  return NK_STATUS_OK;
}

nk_text nk_vocab_text(const nk_vocab *vocab, uint32_t id) {
  uint32_t start = vocab->offsets[id];
  return (nk_text){vocab->texts + start, vocab->offsets[id + 1] - start};
}

static uint64_t hash_of(uint64_t hash, const uint8_t *bytes, size_t n) {
  for (size_t i = 0; i < n; i++) hash = nk_hash_more(hash, bytes[i]);
  return hash;
}

/* The slot that holds the text a followed by b, whose hash is given, or the free slot where it would go, or NK_NONE after
   NK_MAX_PROBES. */
static uint32_t probe(const nk_vocab *vocab, uint64_t hash, const uint8_t *a, size_t n_a, const uint8_t *b, size_t n_b) {
  hash ^= hash >> 32;
  uint32_t slot = (uint32_t)hash & vocab->mask;
  for (uint32_t tries = 0; tries < NK_MAX_PROBES; tries++) {
    if (vocab->slots[slot] == 0) return slot;
    nk_text text = nk_vocab_text(vocab, vocab->slots[slot] - 1);
    if (text.length == n_a + n_b && memcmp(text.bytes, a, n_a) == 0 &&
        (n_b == 0 || memcmp(text.bytes + n_a, b, n_b) == 0)) {
      return slot;
    }
    slot = (slot + 1) & vocab->mask;
  }
  return NK_NONE;
}

static uint32_t id_in(const nk_vocab *vocab, uint32_t slot) {
  return slot == NK_NONE || vocab->slots[slot] == 0 ? NK_NONE : vocab->slots[slot] - 1;
}

uint32_t nk_vocab_find(const nk_vocab *vocab, const void *a, size_t n_a, const void *b, size_t n_b) {
  if (n_a == 0 || n_a + n_b > vocab->longest) return NK_NONE;
  return id_in(vocab, probe(vocab, hash_of(hash_of(NK_HASH_EMPTY, a, n_a), b, n_b), a, n_a, b, n_b));
}

uint32_t nk_vocab_find_hashed(const nk_vocab *vocab, uint64_t hash, const uint8_t *text, size_t n) {
  return n > vocab->longest ? NK_NONE : id_in(vocab, probe(vocab, hash, text, n, NULL, 0));
}

uint32_t nk_vocab_scan(const nk_vocab *vocab, const char *text) {
  size_t length = strlen(text);
  for (uint32_t id = 0; id < vocab->n; id++) {
    nk_text here = nk_vocab_text(vocab, id);
    if (here.length == length && memcmp(here.bytes, text, length) == 0) return id;
  }
  return NK_NONE;
}

nk_status nk_vocab_fill(nk_vocab *vocab, const nk_gguf *gguf, nk_error *error) {
  const nk_gguf_pair *tokens, *types;
  nk_status status = nk_gguf_get_array(gguf, "tokenizer.ggml.tokens", NK_GGUF_STRING, &tokens, error);
  if (status == NK_STATUS_OK) status = nk_gguf_get_array(gguf, "tokenizer.ggml.token_type", NK_GGUF_I32, &types, error);
  if (status != NK_STATUS_OK) return status;
  for (uint32_t id = 0; id < vocab->n; id++) {
    nk_text given_text = nk_gguf_text_at(tokens, id);
    if (given_text.length > 0) memcpy(vocab->texts + vocab->offsets[id], given_text.bytes, given_text.length);
    vocab->offsets[id + 1] = vocab->offsets[id] + given_text.length;
    int64_t given = types == NULL ? NK_TOKEN_NORMAL : nk_gguf_integer_at(types, id);
    unsigned type = given >= NK_TOKEN_NORMAL && given <= NK_TOKEN_BYTE ? (unsigned)given : NK_TOKEN_NORMAL;
    nk_text text = nk_vocab_text(vocab, id);
    if (is_ender(text)) {
      type = NK_TOKEN_CONTROL | NK_TOKEN_END;
    } else if (type == NK_TOKEN_CONTROL && text.length == 4 && memcmp(text.bytes, "</s>", 4) == 0) {
      type |= NK_TOKEN_END; /* only where the file says so: Phi-3 has it as ordinary text */
    }
    vocab->types[id] = (uint8_t)type;
    type &= NK_TOKEN_TYPE;
    if (text.length == 0 || type == NK_TOKEN_CONTROL || type == NK_TOKEN_UNKNOWN || type == NK_TOKEN_BYTE) continue;
    const uint8_t *bytes = (const uint8_t *)text.bytes;
    uint32_t slot = probe(vocab, hash_of(NK_HASH_EMPTY, bytes, text.length), bytes, text.length, NULL, 0);
    if (slot == NK_NONE) {
      return nk_fail(error, NK_STATUS_FORMAT, "the vocabulary is built to collide: token %u has no place in the table", id);
    }
    if (vocab->slots[slot] != 0) continue; /* the same text again */
    vocab->slots[slot] = id + 1;
    if (text.length > vocab->longest) vocab->longest = text.length;
  }
  return NK_STATUS_OK;
}
