/* unicode.c: see unicode.h. */
#include "tokenizer/unicode.h"

#include <string.h>

/* ---- Categories and case -------------------------------------------------------------------------------------- */

const nk_unicode_record *nk_unicode_of(uint32_t code) {
  if (code >= NK_UNICODE_END) code = NK_UNICODE_END - 1; /* U+10FFFF is unassigned for ever */
  uint32_t low = nk_unicode_bits[0], middle = nk_unicode_bits[1];
  uint32_t block = nk_unicode_top[code >> (low + middle)];
  block = nk_unicode_middle[(block << middle) + (code >> low & ((1u << middle) - 1))];
  return &nk_unicode_records[nk_unicode_leaves[(block << low) + (code & ((1u << low) - 1))]];
}

uint32_t nk_unicode_lower(uint32_t code) {
  if (code < 0x80) return code >= 'A' && code <= 'Z' ? code + 32 : code;
  uint32_t low = 0, high = nk_unicode_n_lower;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    const nk_unicode_run *run = &nk_unicode_lower_runs[middle];
    if (code > run->last) {
      low = middle + 1;
    } else if (code < run->first) {
      high = middle;
    } else {
      return (code - run->first) % run->stride == 0 ? (uint32_t)((int32_t)code + run->difference) : code;
    }
  }
  return code;
}

/* ---- Normalization -------------------------------------------------------------------------------------------- */

/* Hangul syllables, section 3.12. */
#define S_BASE 0xAC00u
#define L_BASE 0x1100u
#define V_BASE 0x1161u
#define T_BASE 0x11A7u
#define L_COUNT 19u
#define V_COUNT 21u
#define T_COUNT 28u
#define S_COUNT (L_COUNT * V_COUNT * T_COUNT)

#define MASK21 ((1u << 21) - 1)

static uint32_t first_of(uint64_t entry) { return (uint32_t)(entry >> 21) & MASK21; }
static uint32_t second_of(uint64_t entry) { return (uint32_t)entry & MASK21; }

/* The entry of `code`, or 0. */
static uint64_t find_decomposition(uint32_t code) {
  uint32_t low = 0, high = nk_unicode_n_decompositions;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    uint64_t entry = nk_unicode_decompositions[middle];
    uint32_t here = (uint32_t)(entry >> 42);
    if (here == code) return entry;
    if (here < code) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return 0;
}

uint32_t nk_unicode_decompose(uint32_t code, uint32_t out[4]) {
  if (code >= S_BASE && code < S_BASE + S_COUNT) {
    uint32_t index = code - S_BASE;
    out[0] = L_BASE + index / (V_COUNT * T_COUNT);
    out[1] = V_BASE + index % (V_COUNT * T_COUNT) / T_COUNT;
    out[2] = T_BASE + index % T_COUNT;
    return index % T_COUNT == 0 ? 2 : 3;
  }
  /* The second part of a mapping never decomposes further; the first may, and gives one more code point each time. */
  uint32_t tail[4], n_tail = 0;
  while (code >= 0xC0 && n_tail < 3) {
    uint64_t entry = find_decomposition(code);
    if (entry == 0) break;
    if (second_of(entry) != 0) tail[n_tail++] = second_of(entry);
    code = first_of(entry);
  }
  uint32_t n = 0;
  out[n++] = code;
  while (n_tail > 0) out[n++] = tail[--n_tail];
  return n;
}

uint32_t nk_unicode_compose(uint32_t first, uint32_t second) {
  if (first >= L_BASE && first < L_BASE + L_COUNT && second >= V_BASE && second < V_BASE + V_COUNT) {
    return S_BASE + ((first - L_BASE) * V_COUNT + (second - V_BASE)) * T_COUNT;
  }
  if (first >= S_BASE && first < S_BASE + S_COUNT && (first - S_BASE) % T_COUNT == 0 && second > T_BASE &&
      second < T_BASE + T_COUNT) {
    return first + (second - T_BASE);
  }
  uint64_t wanted = (uint64_t)first << 21 | second;
  uint32_t low = 0, high = nk_unicode_n_compositions;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    uint64_t entry = nk_unicode_decompositions[nk_unicode_compositions[middle]];
    uint64_t here = entry & (((uint64_t)1 << 42) - 1);
    if (here == wanted) return (uint32_t)(entry >> 42);
    if (here < wanted) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return 0;
}

size_t nk_unicode_nfd_length(const uint32_t *codes, size_t n) {
  size_t length = 0;
  uint32_t parts[4];
  for (size_t i = 0; i < n; i++) length += nk_unicode_decompose(codes[i], parts);
  return length;
}

/* Stable sort of codes [n] by combining class: by insertion while it is short, else by counting, so that a text made of
   nothing but accents takes linear time. */
static void order_marks(uint32_t *codes, size_t n, uint32_t *scratch) {
  if (n <= 16) {
    for (size_t i = 1; i < n; i++) {
      uint32_t code = codes[i];
      uint8_t class = nk_unicode_of(code)->combining;
      size_t at = i;
      for (; at > 0 && nk_unicode_of(codes[at - 1])->combining > class; at--) codes[at] = codes[at - 1];
      codes[at] = code;
    }
    return;
  }
  size_t start[257] = {0};
  for (size_t i = 0; i < n; i++) start[nk_unicode_of(codes[i])->combining + 1]++;
  for (size_t class = 1; class < 257; class ++) start[class] += start[class - 1];
  for (size_t i = 0; i < n; i++) scratch[start[nk_unicode_of(codes[i])->combining]++] = codes[i];
  memcpy(codes, scratch, n * sizeof *codes);
}

void nk_unicode_nfd(const uint32_t *codes, size_t n, uint32_t *out, uint32_t *scratch) {
  size_t length = 0;
  uint32_t parts[4];
  for (size_t i = 0; i < n; i++) {
    uint32_t n_parts = nk_unicode_decompose(codes[i], parts);
    memcpy(out + length, parts, n_parts * sizeof *parts);
    length += n_parts;
  }
  for (size_t i = 0; i < length;) {
    size_t end = i;
    while (end < length && nk_unicode_of(out[end])->combining != 0) end++;
    if (end - i > 1) order_marks(out + i, end - i, scratch);
    i = end + 1;
  }
}

size_t nk_unicode_nfc(uint32_t *codes, size_t n) {
  size_t written = 0, starter = SIZE_MAX;
  uint8_t last_class = 0; /* of the last code point kept after the starter; 0: none */
  for (size_t i = 0; i < n; i++) {
    uint32_t code = codes[i];
    uint8_t class = nk_unicode_of(code)->combining;
    bool adjacent = starter != SIZE_MAX && starter + 1 == written;
    /* Blocked when something of the same or a higher class, or another starter, stands between. */
    if (starter != SIZE_MAX && (adjacent || (last_class != 0 && last_class < class))) {
      uint32_t composite = nk_unicode_compose(codes[starter], code);
      if (composite != 0) {
        codes[starter] = composite;
        continue;
      }
    }
    if (class == 0) starter = written;
    last_class = class;
    codes[written++] = code;
  }
  return written;
}

/* ---- Grapheme clusters ----------------------------------------------------------------------------------------- */

/* Hangul parts: leading consonant, vowel, trailing consonant, and syllables without and with the last. */
enum { NO_HANGUL, HANGUL_L, HANGUL_V, HANGUL_T, HANGUL_LV, HANGUL_LVT };

static unsigned hangul_of(uint32_t code) {
  if ((code >= 0x1100 && code <= 0x115F) || (code >= 0xA960 && code <= 0xA97C)) return HANGUL_L;
  if ((code >= 0x1160 && code <= 0x11A7) || (code >= 0xD7B0 && code <= 0xD7C6)) return HANGUL_V;
  if ((code >= 0x11A8 && code <= 0x11FF) || (code >= 0xD7CB && code <= 0xD7FB)) return HANGUL_T;
  if (code < S_BASE || code >= S_BASE + S_COUNT) return NO_HANGUL;
  return (code - S_BASE) % T_COUNT == 0 ? HANGUL_LV : HANGUL_LVT;
}

/* Rules GB6 to GB8. */
static bool hangul_joins(unsigned before, unsigned after) {
  if (before == HANGUL_L) return after != NO_HANGUL && after != HANGUL_T;
  if (before == HANGUL_V || before == HANGUL_LV) return after == HANGUL_V || after == HANGUL_T;
  return (before == HANGUL_T || before == HANGUL_LVT) && after == HANGUL_T;
}

size_t nk_unicode_cluster_end(const uint32_t *codes, size_t at, size_t n) {
  for (at++; at < n; at++) {
    uint32_t before = codes[at - 1], after = codes[at];
    if (before == '\r' && after == '\n') continue; /* GB3 */
    unsigned left = nk_unicode_of(before)->cluster, right = nk_unicode_of(after)->cluster;
    if (left == NK_CLUSTER_CONTROL || right == NK_CLUSTER_CONTROL) break;                          /* GB4, GB5 */
    if (right == NK_CLUSTER_EXTEND || right == NK_CLUSTER_SPACING) continue;                       /* GB9, GB9a */
    if (left == NK_CLUSTER_PREPEND || hangul_joins(hangul_of(before), hangul_of(after))) continue; /* GB9b, GB6-8 */
    break;
  }
  return at;
}

/* ---- UTF-8 ----------------------------------------------------------------------------------------------------- */

static bool continues(const uint8_t *bytes, size_t n, uint32_t from, uint32_t to) {
  if (n <= to) return false;
  for (uint32_t i = from; i <= to; i++) {
    if ((bytes[i] & 0xC0) != 0x80) return false;
  }
  return true;
}

uint32_t nk_utf8_decode(const uint8_t *bytes, size_t n, uint32_t *code) {
  uint8_t lead = bytes[0];
  if (lead < 0x80) {
    *code = lead;
    return 1;
  }
  if (lead >= 0xC0 && lead < 0xE0 && continues(bytes, n, 1, 1)) {
    *code = (uint32_t)(lead & 0x1F) << 6 | (bytes[1] & 0x3Fu);
    return 2;
  }
  if (lead >= 0xE0 && lead < 0xF0 && continues(bytes, n, 1, 2)) {
    *code = (uint32_t)(lead & 0x0F) << 12 | (uint32_t)(bytes[1] & 0x3F) << 6 | (bytes[2] & 0x3Fu);
    return 3;
  }
  if (lead >= 0xF0 && lead < 0xF8 && continues(bytes, n, 1, 3)) {
    uint32_t value = (uint32_t)(lead & 0x07) << 18 | (uint32_t)(bytes[1] & 0x3F) << 12 | (uint32_t)(bytes[2] & 0x3F) << 6 |
                     (bytes[3] & 0x3Fu);
    if (value < NK_UNICODE_END) {
      *code = value;
      return 4;
    }
  }
  *code = NK_REPLACEMENT;
  return 1;
}

uint32_t nk_utf8_encode(uint32_t code, uint8_t out[4]) {
  if (code < 0x80) {
    out[0] = (uint8_t)code;
    return 1;
  }
  if (code < 0x800) {
    out[0] = (uint8_t)(0xC0 | code >> 6);
    out[1] = (uint8_t)(0x80 | (code & 0x3F));
    return 2;
  }
  if (code < 0x10000) {
    out[0] = (uint8_t)(0xE0 | code >> 12);
    out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
    out[2] = (uint8_t)(0x80 | (code & 0x3F));
    return 3;
  }
  out[0] = (uint8_t)(0xF0 | (code >> 18 & 0x07));
  out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3F));
  out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
  out[3] = (uint8_t)(0x80 | (code & 0x3F));
  return 4;
}
