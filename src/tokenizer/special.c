/*
 * special.c: finds the tokens that are not made by the model's own rules: control tokens, and user-defined ones.
 *
 * The special tokens lie sorted by their bytes. A match narrows the range of those that agree with the text, a byte at a
 * time, by binary search: at most NK_TOKENIZER_MAX_SPECIAL steps at each place, and none where no token begins with that
 * byte.
 *
 * Runs of spaces   Gemma has user-defined tokens for 2 to 31 spaces, which GGUF writes with spaces where the vocabulary had
 *            U+2581. A U+2581 in a text is a space to the model, so it takes part in a run. As in Hugging Face's tokenizer,
 *            whose ids these are, two or more of them that stand together are a run of their own, and one alone is as good
 *            as a space.
 */
#include "tokenizer/internal.h"

#include <string.h>

bool nk_is_special(unsigned type, uint32_t length) {
  return (type == NK_TOKEN_CONTROL || type == NK_TOKEN_UNKNOWN || type == NK_TOKEN_USER) && length > 0 &&
         length <= NK_TOKENIZER_MAX_SPECIAL;
}

static bool is_user(const nk_vocab *vocab, uint32_t id) { return nk_vocab_type(vocab, id) == NK_TOKEN_USER; }

/* By bytes, the shorter first; of equal texts the user-defined first (a control token then wins where both may match). */
static int compare(const nk_vocab *vocab, uint32_t a, uint32_t b) {
  nk_text x = nk_vocab_text(vocab, a), y = nk_vocab_text(vocab, b);
  int order = memcmp(x.bytes, y.bytes, x.length < y.length ? x.length : y.length);
  if (order != 0) return order;
  if (x.length != y.length) return x.length < y.length ? -1 : 1;
  return (int)is_user(vocab, b) - (int)is_user(vocab, a);
}

static bool before(const nk_vocab *vocab, uint32_t a, uint32_t b) {
  int order = compare(vocab, a, b);
  return order != 0 ? order < 0 : a < b;
}

static void sift(const nk_vocab *vocab, uint32_t *ids, uint32_t at, uint32_t n) {
  for (uint32_t child; (child = 2 * at + 1) < n; at = child) {
    if (child + 1 < n && before(vocab, ids[child], ids[child + 1])) child++;
    if (!before(vocab, ids[at], ids[child])) return;
    uint32_t swap = ids[at];
    ids[at] = ids[child];
    ids[child] = swap;
  }
}

void nk_specials_fill(nk_specials *specials, const nk_vocab *vocab) {
  uint32_t n = 0, *ids = specials->ids;
  for (uint32_t id = 0; id < vocab->n && n < specials->room; id++) {
    if (nk_is_special(nk_vocab_type(vocab, id), nk_vocab_text(vocab, id).length)) ids[n++] = id;
  }
  /* Heapsort: no recursion, no worst case, and (unlike qsort) a context. */
  for (uint32_t at = n / 2; at-- > 0;) sift(vocab, ids, at, n);
  for (uint32_t last = n; last-- > 1;) {
    uint32_t swap = ids[0];
    ids[0] = ids[last];
    ids[last] = swap;
    sift(vocab, ids, 0, last);
  }
  uint32_t kept = 0;
  for (uint32_t i = 0; i < n; i++) {
    if (kept == 0 || compare(vocab, ids[kept - 1], ids[i]) != 0) ids[kept++] = ids[i];
  }
  specials->n = kept;
  specials->n_user = 0;
  uint32_t at = 0;
  for (unsigned byte = 0; byte < 256; byte++) {
    specials->first[byte] = at;
    while (at < kept && (uint8_t)nk_vocab_text(vocab, ids[at]).bytes[0] == byte)
      specials->n_user += is_user(vocab, ids[at++]);
  }
  specials->first[256] = kept;
}

static unsigned byte_at(const nk_specials *specials, const nk_vocab *vocab, uint32_t position, size_t depth) {
  return (uint8_t)nk_vocab_text(vocab, specials->ids[position]).bytes[depth];
}

/* The first of ids [low, high), all longer than `depth`, whose byte at `depth` is >= byte. */
static uint32_t lower_bound(const nk_specials *specials, const nk_vocab *vocab, uint32_t low, uint32_t high, size_t depth,
                            unsigned byte) {
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (byte_at(specials, vocab, middle, depth) < byte) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

uint32_t nk_specials_match(const nk_specials *specials, const nk_vocab *vocab, const uint8_t *text, size_t at, size_t end,
                           size_t trusted_end, bool user, size_t *length) {
  uint32_t low = specials->first[text[at]], high = specials->first[text[at] + 1];
  uint32_t found = NK_NONE;
  for (size_t depth = 1; low < high; depth++) {
    /* ids [low, high) begin with text[at .. at + depth). */
    for (; low < high && nk_vocab_text(vocab, specials->ids[low]).length == depth; low++) {
      uint32_t id = specials->ids[low];
      if (is_user(vocab, id) ? user : at + depth <= trusted_end) {
        found = id;
        *length = depth;
      }
    }
    if (at + depth >= end) break;
    if (low == high) break;
    unsigned byte = text[at + depth];
    unsigned least = byte_at(specials, vocab, low, depth), most = byte_at(specials, vocab, high - 1, depth);
    if (byte < least || byte > most) break;
    if (byte > least) low = lower_bound(specials, vocab, low, high, depth, byte);
    if (byte < most) high = lower_bound(specials, vocab, low, high, depth, byte + 1);
  }
  return found;
}

void nk_specials_find_runs(nk_specials *specials, const nk_vocab *vocab) {
  for (uint32_t n = 0; n <= NK_MAX_RUN; n++) specials->runs[n] = NK_NONE;
  for (uint32_t at = specials->first[' ']; at < specials->first[' ' + 1]; at++) {
    uint32_t id = specials->ids[at], n = 0;
    nk_text text = nk_vocab_text(vocab, id);
    while (n < text.length && text.bytes[n] == ' ') n++;
    if (n < text.length || n < 2 || n > NK_MAX_RUN || !is_user(vocab, id)) continue;
    specials->runs[n] = id;
    if (n > specials->longest_run) specials->longest_run = n;
  }
}

static bool is_mark(const uint8_t *text, size_t at, size_t end) {
  return end - at >= 3 && text[at] == 0xE2 && text[at + 1] == 0x96 && text[at + 2] == 0x81;
}

uint32_t nk_specials_run(const nk_specials *specials, const uint8_t *text, size_t at, size_t end, size_t *length) {
  bool together = is_mark(text, at, end) && is_mark(text, at + 3, end), marked = false;
  uint32_t found = NK_NONE;
  size_t place = at;
  for (uint32_t n = 1; n <= specials->longest_run && place < end; n++) {
    bool mark = is_mark(text, place, end);
    if (!mark && (together || text[place] != ' ')) break;
    if (mark && !together && is_mark(text, place + 3, end)) break;
    marked = marked || mark;
    place += mark ? 3 : 1;
    if (!marked || specials->runs[n] == NK_NONE) continue;
    found = specials->runs[n];
    *length = place - at;
  }
  return found;
}
