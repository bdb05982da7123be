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

/* A code point without regard to case: (?i:s) is also U+017F, the long s (the only other letter that folds to one of
   those below). */
static uint32_t folded(uint32_t code) {
  if (code == 0x17F) return 's';
  return code >= 'A' && code <= 'Z' ? code + 32 : code;
}

/* 's|'t|'re|'ve|'m|'ll|'d : the end of such a contraction at `begin`, or `begin`. */
static size_t contraction(const uint32_t *codes, size_t begin, size_t end, bool any_case) {
  if (codes[begin] != '\'' || end - begin < 2) return begin;
  uint32_t a = any_case ? folded(codes[begin + 1]) : codes[begin + 1];
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return begin + 2;
  if (end - begin < 3) return begin;
  uint32_t b = any_case ? folded(codes[begin + 2]) : codes[begin + 2];
  if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return begin + 3;
  return begin;
}

/* ---- Whole expressions ---------------------------------------------------------------------------------------- */

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t scan_gpt2(const uint32_t *codes, size_t begin, size_t end) {
  size_t stop = contraction(codes, begin, end, false);
  if (stop > begin) return stop;
  size_t start = codes[begin] == ' ' && begin + 1 < end ? begin + 1 : begin;
  unsigned class = class_of(codes[start]);
  if (class != WHITE) return run_of(codes, start, end, class);
  return white_run(codes, begin, end);
}

static size_t numbers(const uint32_t *codes, size_t begin, size_t end, size_t digits) {
  return run_of(codes, begin, end - begin < digits ? end : begin + digits, NUMBER);
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ : white space through its last line break, when it has one. */
static size_t lines_or_white(const uint32_t *codes, size_t begin, size_t end) {
  size_t stop = run_of(codes, begin, end, WHITE);
  for (size_t at = stop; at > begin; at--) {
    if (is_newline(codes[at - 1])) return at;
  }
  return stop < end && stop - begin > 1 ? stop - 1 : stop;
}

/*  ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ : what remains where neither words nor numbers are; with `slash`
   [\r\n/]* in the first part. */
static size_t marks_or_white(const uint32_t *codes, size_t begin, size_t end, bool slash) {
  size_t start = codes[begin] == ' ' && begin + 1 < end ? begin + 1 : begin;
  size_t stop = run_of(codes, start, end, OTHER);
  if (stop == start) return lines_or_white(codes, begin, end);
  while (stop < end && (is_newline(codes[stop]) || (slash && codes[stop] == '/'))) stop++;
  return stop;
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,DIGITS}
   | ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static size_t scan_cl100k(const uint32_t *codes, size_t begin, size_t end, size_t digits) {
  size_t stop = contraction(codes, begin, end, true);
  if (stop > begin) return stop;
  unsigned class = class_of(codes[begin]);
  if (class == LETTER) return run_of(codes, begin, end, LETTER);
  if (class == NUMBER) return numbers(codes, begin, end, digits);
  if (begin + 1 < end && class_of(codes[begin + 1]) == LETTER && !is_newline(codes[begin])) {
    return run_of(codes, begin + 1, end, LETTER);
  }
  return marks_or_white(codes, begin, end, false);
}

static size_t scan_llama3(const uint32_t *codes, size_t begin, size_t end) { return scan_cl100k(codes, begin, end, 3); }
static size_t scan_qwen2(const uint32_t *codes, size_t begin, size_t end) { return scan_cl100k(codes, begin, end, 1); }

/* Letters that may begin a word (capitals) and those that may go on with it; the other letters and marks are both. */
#define CASELESS (1u << NK_LM | 1u << NK_LO | NK_MARKS)
#define UPPER (1u << NK_LU | 1u << NK_LT | CASELESS)
#define LOWER (1u << NK_LL | CASELESS)

static size_t run_in(const uint32_t *codes, size_t at, size_t end, uint32_t set) {
  while (at < end && nk_unicode_in(codes[at], set)) at++;
  return at;
}

/* UPPER* LOWER+ : its end, or `begin`. Capitals are taken as far as they go; where no small letter follows, the last of
   them that may stand for one is the end. */
static size_t capitals_and_small(const uint32_t *codes, size_t begin, size_t end) {
  size_t capitals = run_in(codes, begin, end, UPPER), stop = run_in(codes, capitals, end, LOWER);
  if (stop > capitals) return stop;
  for (stop = capitals; stop > begin; stop--) {
    if (nk_unicode_in(codes[stop - 1], LOWER)) return stop;
  }
  return begin;
}

/* [^\r\n\p{L}\p{N}]?UPPER*LOWER+SUFFIX|[^\r\n\p{L}\p{N}]?UPPER+LOWER*SUFFIX|\p{N}{1,DIGITS}
   | ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
   where UPPER is [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}], LOWER [\p{Ll}\p{Lm}\p{Lo}\p{M}] and SUFFIX nothing or, with
   `contractions`, (?i:'s|'t|'re|'ve|'m|'ll|'d)? */
static size_t scan_cased(const uint32_t *codes, size_t begin, size_t end, size_t digits, bool contractions) {
  bool prefix = begin + 1 < end && (class_of(codes[begin]) & (OTHER | WHITE)) && !is_newline(codes[begin]);
  /* The first expression with and without a prefix, then the second (in which no small letter is left to follow). */
  for (unsigned attempt = 0; attempt < 4; attempt++) {
    if (attempt % 2 == 0 && !prefix) continue;
    size_t start = attempt % 2 == 0 ? begin + 1 : begin;
    size_t stop = attempt < 2 ? capitals_and_small(codes, start, end) : run_in(codes, start, end, UPPER);
    if (stop > start) return contractions && stop < end ? contraction(codes, stop, end, true) : stop;
  }
  if (class_of(codes[begin]) == NUMBER) return numbers(codes, begin, end, digits);
  return marks_or_white(codes, begin, end, true);
}

static size_t scan_tekken(const uint32_t *codes, size_t begin, size_t end) {
  return scan_cased(codes, begin, end, 1, false);
}
static size_t scan_gpt4o(const uint32_t *codes, size_t begin, size_t end) { return scan_cased(codes, begin, end, 3, true); }

/* ---- Expressions that leave gaps ------------------------------------------------------------------------------- */

/* The end of a match that begins at `at`, or `at`. Where it fails it looks at no more than a few code points. */
typedef size_t matcher(const uint32_t *codes, size_t at, size_t end);

/* The first match, or what stands before it. */
static size_t isolate(const uint32_t *codes, size_t begin, size_t end, matcher *match) {
  size_t stop = match(codes, begin, end);
  if (stop > begin) return stop;
  for (stop = begin + 1; stop < end && match(codes, stop, end) == stop; stop++) continue;
  return stop;
}

/* \p{N} : every digit alone, what stands between digits whole. */
static size_t scan_digits(const uint32_t *codes, size_t begin, size_t end) {
  if (class_of(codes[begin]) == NUMBER) return begin + 1;
  return run_of(codes, begin, end, LETTER | WHITE | OTHER);
}

/* \p{N}+ */
static size_t scan_numbers(const uint32_t *codes, size_t begin, size_t end) {
  return run_of(codes, begin, end, class_of(codes[begin]) == NUMBER ? NUMBER : LETTER | WHITE | OTHER);
}

/* \p{N}{1,3} */
static size_t scan_numbers_by_3(const uint32_t *codes, size_t begin, size_t end) {
  if (class_of(codes[begin]) == NUMBER) return numbers(codes, begin, end, 3);
  return run_of(codes, begin, end, LETTER | WHITE | OTHER);
}

/* [\r\n] */
static size_t match_newline(const uint32_t *codes, size_t at, size_t end) {
  (void)end;
  return at + is_newline(codes[at]);
}
static size_t scan_newlines(const uint32_t *codes, size_t begin, size_t end) {
  return isolate(codes, begin, end, match_newline);
}

/* [0-9][0-9][0-9] */
static size_t match_3_digits(const uint32_t *codes, size_t at, size_t end) {
  if (end - at < 3) return at;
  for (size_t i = at; i < at + 3; i++) {
    if (codes[i] < '0' || codes[i] > '9') return at;
  }
  return at + 3;
}
static size_t scan_3_digits(const uint32_t *codes, size_t begin, size_t end) {
  return isolate(codes, begin, end, match_3_digits);
}

/* [\p{P}\$\+<=>\^~\|]+ , and with a back quote too. */
static bool is_mark(uint32_t code, bool back_quote) {
  if (code == '$' || code == '+' || (code >= '<' && code <= '>') || code == '^' || code == '~' || code == '|') return true;
  return (back_quote && code == '`') || nk_unicode_in(code, NK_PUNCTUATION);
}
static size_t scan_marks(const uint32_t *codes, size_t begin, size_t end, bool back_quote) {
  bool mark = is_mark(codes[begin], back_quote);
  size_t stop = begin + 1;
  while (stop < end && is_mark(codes[stop], back_quote) == mark) stop++;
  return stop;
}
static size_t scan_default_marks(const uint32_t *codes, size_t begin, size_t end) {
  return scan_marks(codes, begin, end, false);
}
static size_t scan_falcon_marks(const uint32_t *codes, size_t begin, size_t end) {
  return scan_marks(codes, begin, end, true);
}

/* ---- DeepSeek's ------------------------------------------------------------------------------------------------ */

/* \s?[SET]+ . A white character that is itself in the set gives the same end either way. */
typedef bool member(uint32_t code);
static size_t match_spaced(const uint32_t *codes, size_t at, size_t end, member *in) {
  size_t stop = at + 1 < end && class_of(codes[at]) == WHITE && in(codes[at + 1]) ? at + 1 : at;
  while (stop < end && in(codes[stop])) stop++;
  return stop;
}

/* First and last of the letters with case that deepseek-llm's expression lists (no category: it lacks some). */
static const uint16_t cased_letters[][2] = {
    {0x41, 0x5A},     {0x61, 0x7A},     {0xB5, 0xB5},     {0xC0, 0xD6},     {0xD8, 0xF6},     {0xF8, 0x1BA},
    {0x1BC, 0x1BF},   {0x1C4, 0x293},   {0x295, 0x2AF},   {0x370, 0x373},   {0x376, 0x377},   {0x37B, 0x37D},
    {0x37F, 0x37F},   {0x386, 0x386},   {0x388, 0x38A},   {0x38C, 0x38C},   {0x38E, 0x3A1},   {0x3A3, 0x3F5},
    {0x3F7, 0x481},   {0x48A, 0x52F},   {0x531, 0x556},   {0x10A0, 0x10C5}, {0x13A0, 0x13F5}, {0x13F8, 0x13FD},
    {0x1C90, 0x1CBA}, {0x1CBD, 0x1CBF}, {0x1D00, 0x1D2B}, {0x1D6B, 0x1D77}, {0x1D79, 0x1D9A}, {0x1E00, 0x1F15},
    {0x1F18, 0x1F1D}, {0x1F20, 0x1F45}, {0x1F48, 0x1F4D}, {0x1F50, 0x1F57}, {0x1F59, 0x1F59}, {0x1F5B, 0x1F5B},
    {0x1F5D, 0x1F5D}, {0x1F5F, 0x1F7D}, {0x1F80, 0x1FB4}, {0x1FB6, 0x1FBC}, {0x1FBE, 0x1FBE}, {0x1FC2, 0x1FC4},
    {0x1FC6, 0x1FCC}, {0x1FD0, 0x1FD3}, {0x1FD6, 0x1FDB}, {0x1FE0, 0x1FEC}, {0x1FF2, 0x1FF4}, {0x1FF6, 0x1FFC},
    {0x2102, 0x2102}, {0x2107, 0x2107}, {0x210A, 0x2113}, {0x2115, 0x2115}, {0x2119, 0x211D}, {0x2124, 0x2124},
    {0x2126, 0x2126}, {0x2128, 0x2128}, {0x212A, 0x212D}, {0x212F, 0x2134}, {0x2139, 0x2139}, {0x213C, 0x213F},
    {0x2145, 0x2149}, {0x214E, 0x214E}, {0x2183, 0x2184}, {0x2C00, 0x2C7B}, {0x2C7E, 0x2CE4}, {0x2CEB, 0x2CEE},
    {0x2CF2, 0x2CF3}, {0xA640, 0xA66D}, {0xA680, 0xA69B}, {0xA722, 0xA76F}, {0xA771, 0xA787}, {0xA78B, 0xA78E},
    {0xAB70, 0xABBF}, {0xFB00, 0xFB06}, {0xFB13, 0xFB17}, {0xFF21, 0xFF3A}, {0xFF41, 0xFF5A},
};
static const uint32_t cased_letters_above[][2] = {
    {0x10400, 0x1044F}, {0x104B0, 0x104D3}, {0x104D8, 0x104FB}, {0x10C80, 0x10CB2},
    {0x10CC0, 0x10CF2}, {0x118A0, 0x118DF}, {0x1E900, 0x1E943},
};

static bool is_cased_letter(uint32_t code) {
  if (code > 0xFFFF) {
    for (size_t i = 0; i < sizeof cased_letters_above / sizeof *cased_letters_above; i++) {
      if (code >= cased_letters_above[i][0] && code <= cased_letters_above[i][1]) return true;
    }
    return false;
  }
  size_t low = 0, high = sizeof cased_letters / sizeof *cased_letters; /* the first range that ends at or behind code */
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (cased_letters[middle][1] < code) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < sizeof cased_letters / sizeof *cased_letters && code >= cased_letters[low][0];
}
static size_t match_cased_letters(const uint32_t *codes, size_t at, size_t end) {
  return match_spaced(codes, at, end, is_cased_letter);
}
static size_t scan_cased_letters(const uint32_t *codes, size_t begin, size_t end) {
  return isolate(codes, begin, end, match_cased_letters);
}

/* [!-/:-~！-／：-～‘-‟　-。] */
static bool is_listed_mark(uint32_t code) {
  return (code >= '!' && code <= '/') || (code >= ':' && code <= '~') || (code >= 0xFF01 && code <= 0xFF0F) ||
         (code >= 0xFF1A && code <= 0xFF5E) || (code >= 0x2018 && code <= 0x201F) || (code >= 0x3000 && code <= 0x3002);
}
static size_t match_listed_marks(const uint32_t *codes, size_t at, size_t end) {
  return match_spaced(codes, at, end, is_listed_mark);
}
static size_t scan_listed_marks(const uint32_t *codes, size_t begin, size_t end) {
  return isolate(codes, begin, end, match_listed_marks);
}

/* \s?\p{L}+ */
static bool is_letter(uint32_t code) { return class_of(code) == LETTER; }
static size_t match_letters(const uint32_t *codes, size_t at, size_t end) {
  return match_spaced(codes, at, end, is_letter);
}
static size_t scan_letters(const uint32_t *codes, size_t begin, size_t end) {
  return isolate(codes, begin, end, match_letters);
}

/* \s?\p{P}+ */
static bool is_punctuation(uint32_t code) { return nk_unicode_in(code, NK_PUNCTUATION); }
static size_t match_punctuation(const uint32_t *codes, size_t at, size_t end) {
  return match_spaced(codes, at, end, is_punctuation);
}
static size_t scan_punctuation(const uint32_t *codes, size_t begin, size_t end) {
  return isolate(codes, begin, end, match_punctuation);
}

/* \s+$ : line breaks stand alone by now, so that the end of the piece is meant. */
static size_t scan_white_end(const uint32_t *codes, size_t begin, size_t end) {
  size_t start = end;
  while (start > begin && class_of(codes[start - 1]) == WHITE) start--;
  return start > begin ? start : end;
}

/* [一-龥ࠀ-一가-퟿]+ */
static bool is_asian(uint32_t code) { return (code >= 0x800 && code <= 0x9FA5) || (code >= 0xAC00 && code <= 0xD7FF); }
static size_t scan_asian(const uint32_t *codes, size_t begin, size_t end) {
  bool asian = is_asian(codes[begin]);
  size_t stop = begin + 1;
  while (stop < end && is_asian(codes[stop]) == asian) stop++;
  return stop;
}

/* [一-龥぀-ゟ゠-ヿ]+ */
static bool is_han_or_kana(uint32_t code) {
  return (code >= 0x4E00 && code <= 0x9FA5) || (code >= 0x3040 && code <= 0x30FF);
}
static size_t scan_han_and_kana(const uint32_t *codes, size_t begin, size_t end) {
  bool han = is_han_or_kana(codes[begin]);
  size_t stop = begin + 1;
  while (stop < end && is_han_or_kana(codes[stop]) == han) stop++;
  return stop;
}

/* [!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*
   |\s*[\r\n]+|\s+(?!\S)|\s+ */
static bool is_ascii_letter(uint32_t code) { return folded(code) >= 'a' && folded(code) <= 'z' && code < 0x80; }
static size_t match_deepseek3(const uint32_t *codes, size_t at, size_t end) {
  const uint32_t words = NK_LETTERS | NK_MARKS, marks = NK_PUNCTUATION | NK_SYMBOLS;
  uint32_t code = codes[at];
  size_t stop = at + 1;
  if (code < 0x80 && nk_unicode_in(code, marks) && stop < end && is_ascii_letter(codes[stop])) {
    while (stop < end && is_ascii_letter(codes[stop])) stop++;
    return stop;
  }
  if (!is_newline(code) && !nk_unicode_in(code, NK_LETTERS | marks) && stop < end && nk_unicode_in(codes[stop], words)) {
    return run_in(codes, stop, end, words);
  }
  if (nk_unicode_in(code, words)) return run_in(codes, at, end, words);
  if (nk_unicode_in(code, marks) || (code == ' ' && stop < end && nk_unicode_in(codes[stop], marks))) {
    stop = run_in(codes, stop, end, marks);
    while (stop < end && is_newline(codes[stop])) stop++;
    return stop;
  }
  return class_of(code) == WHITE ? lines_or_white(codes, at, end) : at;
}
static size_t scan_deepseek3(const uint32_t *codes, size_t begin, size_t end) {
  return isolate(codes, begin, end, match_deepseek3);
}

/* ---- The table ------------------------------------------------------------------------------------------------- */

static const nk_pretokenizer rows[] = {
    {.name = "gpt-2",
     .pre = {"gpt-2", "phi-2", "exaone4", "gigachat", "granite-docling", "jais", "jina-de", "jina-es", "jina-v2-de",
             "jina-v2-es", "mellum", "trillion"},
     .stage = {scan_gpt2}},
    {.name = "gpt-neox", .pre = {"gpt-neox", "olmo", "mpt", "modern-bert"}, .stage = {scan_gpt2}, .nfc = true},
    {.name = "smollm",
     .pre = {"smollm", "starcoder", "refact", "codeshell", "exaone", "mellum2", "minerva-7b"},
     .stage = {scan_digits, scan_gpt2}},
    {.name = "command-r", .pre = {"command-r"}, .stage = {scan_digits, scan_gpt2}, .nfc = true},
    {.name = "llama-bpe",
     .pre = {"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "jina-v5-nano", "lfm2", "midm-2.0", "pixtral"},
     .stage = {scan_llama3},
     .whole_words = true,
     .add_bos = true},
    {.name = "dbrx", .pre = {"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}, .stage = {scan_llama3}}, /* OLMo-2, Phi-4 */
    {.name = "qwen2", .pre = {"qwen2", "stablelm2", "deepseek-r1-qwen", "megrez"}, .stage = {scan_qwen2}, .nfc = true},
    {.name = "tekken", .pre = {"tekken"}, .stage = {scan_tekken}, .whole_words = true, .add_bos = true}, /* Mistral Nemo */
    {.name = "gpt-4o", .pre = {"gpt-4o", "llama4", "kanana2"}, .stage = {scan_gpt4o}},                   /* Phi-4-mini */
    {.name = "deepseek-llm",
     .pre = {"deepseek-llm"},
     .stage = {scan_newlines, scan_cased_letters, scan_listed_marks, scan_white_end, scan_asian, scan_digits}},
    {.name = "deepseek-coder",
     .pre = {"deepseek-coder"},
     .stage = {scan_newlines, scan_letters, scan_punctuation, scan_asian, scan_digits}},
    {.name = "deepseek-v3", .pre = {"deepseek-v3"}, .stage = {scan_numbers_by_3, scan_han_and_kana, scan_deepseek3}},
    {.name = "falcon", .pre = {"falcon"}, .stage = {scan_falcon_marks, scan_gpt2, scan_numbers, scan_3_digits}},
    {.name = "default", .pre = {"default"}, .stage = {scan_default_marks, scan_gpt2, scan_numbers, scan_3_digits}},
};

/* Files written before the key existed: these architectures had one tokenizer. Those of others take the row "default", as
   llama.cpp does. */
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
    if (pre.bytes == NULL) pre = (nk_text){"default", sizeof "default" - 1};
  }
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    for (size_t k = 0; k < NK_PRETOKENIZER_MAX_NAMES && rows[i].pre[k] != NULL; k++) {
      if (text_is(pre, rows[i].pre[k])) return &rows[i];
    }
  }
  return NULL;
}
