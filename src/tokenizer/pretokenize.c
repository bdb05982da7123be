/* pretokenize.c: see pretokenize.h. */
#include "tokenizer/pretokenize.h"

#include <string.h>

/* ---- Classes of one code point -------------------------------------------------------------------------------- */

enum { LETTER = 1, NUMBER = 2, WHITE = 4, OTHER = 8 };

/* Exactly one of the four for every code point: the expressions below divide text by \p{L}, \p{N} and \s. */
static unsigned class_of(uint32_t code) {
  const nk_unicode_record *record = nk_unicode_of(code);
  if (record->white) return WHITE;
  if (NK_LETTERS >> record->category & 1u) return LETTER;
  if (NK_NUMBERS >> record->category & 1u) return NUMBER;
  return OTHER;
}

static bool is_newline(uint32_t code) { return code == '\r' || code == '\n'; }

static size_t run_of(const uint32_t *codes, size_t at, size_t end, unsigned class) {
  while (at < end && (class_of(codes[at]) & class)) at++;
  return at;
}

/* \s+(?!\S)|\s+ : white space up to, but without, its last character where something follows. */
static size_t white_run(const uint32_t *codes, size_t begin, size_t end) {
  size_t stop = run_of(codes, begin, end, WHITE);
  return stop < end && stop - begin > 1 ? stop - 1 : stop;
}

static uint32_t ascii_lower(uint32_t code) { return code >= 'A' && code <= 'Z' ? code + 32 : code; }

/* 's|'t|'re|'ve|'m|'ll|'d : the end of such a contraction at `begin`, or `begin`. */
static size_t contraction(const uint32_t *codes, size_t begin, size_t end, bool any_case) {
  if (codes[begin] != '\'' || end - begin < 2) return begin;
  uint32_t a = any_case ? ascii_lower(codes[begin + 1]) : codes[begin + 1];
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return begin + 2;
  if (end - begin < 3) return begin;
  uint32_t b = any_case ? ascii_lower(codes[begin + 2]) : codes[begin + 2];
  if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return begin + 3;
  return begin;
}

/* ---- Scanners ------------------------------------------------------------------------------------------------- */

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t scan_gpt2(const uint32_t *codes, size_t begin, size_t end) {
  size_t stop = contraction(codes, begin, end, false);
  if (stop > begin) return stop;
  size_t start = codes[begin] == ' ' && begin + 1 < end ? begin + 1 : begin;
  unsigned class = class_of(codes[start]);
  if (class != WHITE) return run_of(codes, start, end, class);
  return white_run(codes, begin, end);
}

/* \p{N} : every digit alone, what stands between digits whole. */
static size_t scan_digits(const uint32_t *codes, size_t begin, size_t end) {
  if (class_of(codes[begin]) == NUMBER) return begin + 1;
  return run_of(codes, begin, end, LETTER | WHITE | OTHER);
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,DIGITS}
   | ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static size_t scan_cl100k(const uint32_t *codes, size_t begin, size_t end, size_t digits) {
  size_t stop = contraction(codes, begin, end, true);
  if (stop > begin) return stop;
  unsigned class = class_of(codes[begin]);
  if (class == LETTER) return run_of(codes, begin, end, LETTER);
  if (class == NUMBER) {
    size_t limit = end - begin < digits ? end : begin + digits;
    return run_of(codes, begin, limit, NUMBER);
  }
  unsigned next = begin + 1 < end ? class_of(codes[begin + 1]) : 0;
  if (next == LETTER && !is_newline(codes[begin])) return run_of(codes, begin + 1, end, LETTER);
  if (class == OTHER || (codes[begin] == ' ' && next == OTHER)) {
    stop = run_of(codes, begin + 1, end, OTHER);
    while (stop < end && is_newline(codes[stop])) stop++;
    return stop;
  }
  /* White space: through its last line break when it has one. */
  stop = run_of(codes, begin, end, WHITE);
  for (size_t at = stop; at > begin; at--) {
    if (is_newline(codes[at - 1])) return at;
  }
  return stop < end && stop - begin > 1 ? stop - 1 : stop;
}

static size_t scan_llama3(const uint32_t *codes, size_t begin, size_t end) { return scan_cl100k(codes, begin, end, 3); }
static size_t scan_qwen2(const uint32_t *codes, size_t begin, size_t end) { return scan_cl100k(codes, begin, end, 1); }

/* ---- The table ------------------------------------------------------------------------------------------------- */

static const nk_pretokenizer rows[] = {
    {.name = "gpt-2", .pre = {"gpt-2", "phi-2"}, .stage = {scan_gpt2}},
    {.name = "smollm", .pre = {"smollm"}, .stage = {scan_digits, scan_gpt2}},
    {.name = "gpt-neox", .pre = {"gpt-neox"}, .stage = {scan_gpt2}, .nfc = true},
    {.name = "llama-bpe",
     .pre = {"llama-bpe", "llama3", "llama-v3"},
     .stage = {scan_llama3},
     .whole_words = true,
     .add_bos = true},
    {.name = "qwen2", .pre = {"qwen2"}, .stage = {scan_qwen2}, .nfc = true},
};

/* Files written before the key existed: the architecture had one tokenizer. */
static const struct {
  const char *architecture, *pre;
} without_key[] = {{"gptneox", "gpt-neox"}, {"gpt2", "gpt-2"}, {"phi2", "phi-2"}, {"qwen2", "qwen2"}, {"opt", "gpt-2"}};

static bool text_is(nk_text text, const char *word) {
  return text.bytes != NULL && strlen(word) == text.length && memcmp(text.bytes, word, text.length) == 0;
}

const nk_pretokenizer *nk_pretokenizer_at(size_t index) { return index < sizeof rows / sizeof *rows ? &rows[index] : NULL; }

const nk_pretokenizer *nk_pretokenizer_find(nk_text pre, nk_text architecture) {
  if (pre.bytes == NULL) {
    for (size_t i = 0; i < sizeof without_key / sizeof *without_key; i++) {
      if (text_is(architecture, without_key[i].architecture)) {
        pre = (nk_text){without_key[i].pre, (uint32_t)strlen(without_key[i].pre)};
      }
    }
  }
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    for (size_t k = 0; k < NK_PRETOKENIZER_MAX_NAMES && rows[i].pre[k] != NULL; k++) {
      if (text_is(pre, rows[i].pre[k])) return &rows[i];
    }
  }
  return NULL;
}
