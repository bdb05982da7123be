/* charsmap.c: see charsmap.h. */
#include "tokenizer/charsmap.h"

#include <string.h>

#define KEY "tokenizer.ggml.precompiled_charsmap"

static uint32_t u32_at(const uint8_t *bytes) {
  return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

nk_status nk_charsmap_open(nk_charsmap *map, const nk_gguf *gguf, nk_error *error) {
  *map = (nk_charsmap){0};
  const nk_gguf_pair *pair = nk_gguf_find(gguf, KEY);
  if (pair == NULL) return NK_STATUS_OK;
  if (pair->type != NK_GGUF_ARRAY || (pair->element_type != NK_GGUF_U8 && pair->element_type != NK_GGUF_I8)) {
    return nk_fail(error, NK_STATUS_FORMAT, "the key " KEY " is no array of bytes");
  }
  if (pair->count == 0) return NK_STATUS_OK;
  if (pair->count > NK_CHARSMAP_MAX_BYTES) {
    return nk_fail(error, NK_STATUS_FORMAT, "the key " KEY " has %llu bytes; at most %u are read",
                   (unsigned long long)pair->count, NK_CHARSMAP_MAX_BYTES);
  }
  uint32_t bytes = (uint32_t)pair->count, trie = bytes < 4 ? 0 : u32_at(pair->value);
  if (bytes < 4 || trie % 4 != 0 || trie > bytes - 4) {
    return nk_fail(error, NK_STATUS_FORMAT, "the key " KEY " has %u bytes, which do not hold a trie of %u", bytes, trie);
  }
  const char *texts = (const char *)pair->value + 4 + trie;
  uint32_t n_texts = bytes - 4 - trie;
  if (trie > 0 && (n_texts == 0 || texts[n_texts - 1] != 0)) {
    return nk_fail(error, NK_STATUS_FORMAT, "the last replacement of the key " KEY " has no end");
  }
  for (uint32_t at = 0; at < n_texts;) {
    size_t length = strlen(texts + at);
    if (length > NK_CHARSMAP_MAX_REPLACEMENT) {
      return nk_fail(error, NK_STATUS_FORMAT, "a replacement of the key " KEY " has %zu bytes; at most %u are allowed",
                     length, NK_CHARSMAP_MAX_REPLACEMENT);
    }
    at += (uint32_t)length + 1;
  }
  *map = (nk_charsmap){pair->value + 4, texts, trie / 4, n_texts};
  return NK_STATUS_OK;
}

size_t nk_charsmap_bytes(const nk_charsmap *map) { return (size_t)4 * map->n_units + map->n_texts; }

void nk_charsmap_move(nk_charsmap *map, uint8_t *bytes) {
  if (map->units == NULL) return;
  memcpy(bytes, map->units, nk_charsmap_bytes(map));
  map->units = bytes;
  map->texts = (const char *)bytes + (size_t)4 * map->n_units;
}

nk_text nk_charsmap_find(const nk_charsmap *map, const uint8_t *bytes, size_t n) {
  const nk_text none = {NULL, 0};
  if (map->n_units == 0) return none;
  uint32_t unit = u32_at(map->units), at = 0;
  for (size_t i = 0; i < n; i++) {
    uint32_t offset = (unit >> 10) << ((unit & 1u << 9) >> 6);
    at ^= offset ^ bytes[i];
    if (bytes[i] == 0 || at >= map->n_units) return none;
    unit = u32_at(map->units + (size_t)4 * at);
    if ((unit & (1u << 31 | 0xFFu)) != bytes[i]) return none;
    if ((unit & 1u << 8) == 0) continue;
    uint32_t leaf = at ^ ((unit >> 10) << ((unit & 1u << 9) >> 6));
    if (leaf >= map->n_units) return none;
    uint32_t text = u32_at(map->units + (size_t)4 * leaf) & ~(1u << 31);
    if (text >= map->n_texts) return none;
    return (nk_text){map->texts + text, (uint32_t)strlen(map->texts + text)};
  }
  return none;
}
