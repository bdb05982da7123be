/*
 * charsmap.h: SentencePiece's compiled normalization (tokenizer.ggml.precompiled_charsmap).
 *
 * Format   u32 bytes of a trie, the trie, then replacements, each ended by a NUL. The trie is a double array of u32 units
 *          (Yata et al. 2007; the layout of "darts-clone"): from a unit at `p` the child for byte c is at p ^ offset ^ c,
 *          where offset is unit >> 10, times 256 when bit 9 is set; it is a child when its bits 0-7 and 31 are c. Bit 8 of
 *          a unit: a key ends there, and the unit at p ^ offset holds, in bits 0-30, where its replacement begins.
 * Hostile  The sizes are checked when a map is opened, every index into the trie or the replacements when it is used; what
 *          lies outside is no match. Limits below.
 */
#ifndef NOOK_TOKENIZER_CHARSMAP_H
#define NOOK_TOKENIZER_CHARSMAP_H

#include "gguf/gguf.h"

#define NK_CHARSMAP_MAX_BYTES (1u << 24) /* of the whole map: 16 MiB (that of XLM-R has 232 KiB) */
#define NK_CHARSMAP_MAX_REPLACEMENT 255u /* bytes of one replacement (the longest of NFKC has 33) */

typedef struct nk_charsmap {
  const uint8_t *units;      /* [4 * n_units], little-endian, unaligned, in the header buffer until it is moved */
  const char *texts;         /* [n_texts], the last of them 0; likewise */
  uint32_t n_units, n_texts; /* n_units 0: nothing is replaced */
} nk_charsmap;

/* Missing: an empty map, OK. FORMAT: the key holds no such map. */
nk_status nk_charsmap_open(nk_charsmap *map, const nk_gguf *gguf, nk_error *error);
/* Trie and replacements, which stand together: their bytes, and their copy to `bytes`, where the map then is. */
size_t nk_charsmap_bytes(const nk_charsmap *map);
void nk_charsmap_move(nk_charsmap *map, uint8_t *bytes);
/* The replacement of the shortest key that `bytes` [n] begin with; bytes NULL: there is none. */
nk_text nk_charsmap_find(const nk_charsmap *map, const uint8_t *bytes, size_t n);

#endif
