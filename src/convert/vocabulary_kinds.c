/*
 * vocabulary_kinds.c: the four kinds of tokenizer, written as GGUF has them.
 *
 *   byte-level BPE             "gpt2": tokens, merges, and the name of the pre-tokenizer
 *   BPE with byte fallback     "llama": SentencePiece's BPE; the score of a token is minus the rank of its first merge, so
 * that the highest score is what the merges put first Unigram                    "t5": tokens with scores, the table of its
 * normalizer WordPiece                  "bert": tokens that begin a word get U+2581, those that continue one lose "##"
 *
 * What Nook's tokenizer would do otherwise than the file says is refused by name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert/vocabulary.h"
#include "tokenizer/tokenizer.h"

#define SPACE_MARK "\xE2\x96\x81" /* U+2581 */

/* ---- Common parts ------------------------------------------------------------------------------------------------ */

static void put_text(nk_gguf_writer *writer, const char *key, const char *text) {
  nk_gguf_put_text(writer, key, text, strlen(text));
}

/* Ids without a token get a text of their own: "[PAD7]". */
static void put_tokens(const nk_vocabulary *vocabulary, nk_gguf_writer *writer, bool wordpiece) {
  nk_gguf_put_texts(writer, "tokenizer.ggml.tokens", vocabulary->n);
  for (uint32_t id = 0; id < vocabulary->n; id++) {
    const char *text = vocabulary->texts[id];
    char pad[24];
    if (text == NULL) {
      int n = snprintf(pad, sizeof pad, "[PAD%u]", id);
      nk_gguf_put_element(writer, pad, n < 0 ? 0 : (size_t)n, NULL, 0);
    } else if (!wordpiece || vocabulary->types[id] == NK_TYPE_CONTROL) {
      nk_gguf_put_element(writer, text, strlen(text), NULL, 0);
    } else if (strncmp(text, "##", 2) == 0) {
      nk_gguf_put_element(writer, text + 2, strlen(text + 2), NULL, 0);
    } else {
      nk_gguf_put_element(writer, SPACE_MARK, 3, text, strlen(text));
    }
  }
  nk_gguf_put_numbers(writer, "tokenizer.ggml.token_type", NK_GGUF_I32, vocabulary->types, vocabulary->n);
}

static bool is_hex_digit(char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); }

/* <0xHH>, where the model says that such tokens are bytes; and the unknown token. */
static void mark_bytes(nk_vocabulary *vocabulary) {
  bool fallback = cJSON_IsTrue(nk_json_find(vocabulary->model, "byte_fallback"));
  for (uint32_t id = 0; id < vocabulary->n && fallback; id++) {
    const char *text = vocabulary->texts[id];
    if (text == NULL || strlen(text) != 6 || strncmp(text, "<0x", 3) != 0 || text[5] != '>') continue;
    if (is_hex_digit(text[3]) && is_hex_digit(text[4])) vocabulary->types[id] = NK_TYPE_BYTE;
  }
}

/* Where a space goes before the text, by Metaspace's two spellings. */
static bool metaspace_prefix(const cJSON *step) {
  const cJSON *scheme = nk_json_find(step, "prepend_scheme"), *old = nk_json_find(step, "add_prefix_space");
  return scheme != NULL ? !nk_json_is(scheme, "never") : !cJSON_IsFalse(old);
}

/* ---- Merges ------------------------------------------------------------------------------------------------------ */

/* One merge, "a b" or ["a", "b"]. */
static bool read_merge(const cJSON *item, const char **a, size_t *n_a, const char **b, size_t *n_b) {
  if (cJSON_IsString(item)) {
    const char *space = strchr(item->valuestring, ' ');
    if (space == NULL || strchr(space + 1, ' ') != NULL) return false;
    *a = item->valuestring;
    *n_a = (size_t)(space - *a);
    *b = space + 1;
  } else {
    const cJSON *first = cJSON_IsArray(item) ? item->child : NULL, *second = first == NULL ? NULL : first->next;
    if (!cJSON_IsString(first) || !cJSON_IsString(second) || second->next != NULL) return false;
    if (strchr(first->valuestring, ' ') != NULL || strchr(second->valuestring, ' ') != NULL) return false;
    *a = first->valuestring;
    *n_a = strlen(*a);
    *b = second->valuestring;
  }
  *n_b = strlen(*b);
  return *n_a > 0 && *n_b > 0;
}

static nk_status bad_merge(const nk_vocabulary *vocabulary, uint32_t rank, const char *but, nk_error *error) {
  return nk_fail(error, NK_STATUS_FORMAT, "%s: merge %u %s", vocabulary->tokenizer->name, rank, but);
}

static nk_status count_merges(const nk_vocabulary *vocabulary, const cJSON **list, uint32_t *n, nk_error *error) {
  *list = nk_json_find(vocabulary->model, "merges");
  *n = 0;
  if (!cJSON_IsArray(*list)) return nk_vocabulary_refuse(vocabulary, "merges", *list, "a list is needed", error);
  for (const cJSON *item = (*list)->child; item != NULL; item = item->next) (*n)++;
  if (*n <= NK_TOKENIZER_MAX_MERGES) return NK_STATUS_OK;
  return nk_fail(error, NK_STATUS_UNSUPPORTED, "%s has %u merges; at most %u are read", vocabulary->tokenizer->name, *n,
                 NK_TOKENIZER_MAX_MERGES);
}

/* Parts of a BPE that the engine's does not have. */
static nk_status check_bpe(const nk_vocabulary *vocabulary, nk_error *error) {
  static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
  for (size_t i = 0; i < sizeof affixes / sizeof affixes[0]; i++) {
    const cJSON *value = nk_json_find(vocabulary->model, affixes[i]);
    if (value != NULL && !nk_json_is(value, ""))
      return nk_vocabulary_refuse(vocabulary, affixes[i], value, "it must be empty", error);
  }
  const cJSON *dropout = nk_json_find(vocabulary->model, "dropout");
  if (cJSON_IsNumber(dropout) && dropout->valuedouble > 0) {
    return nk_vocabulary_refuse(vocabulary, "dropout", dropout, "it must be 0", error);
  }
  return NK_STATUS_OK;
}

/* ---- Byte-level BPE ---------------------------------------------------------------------------------------------- */

static nk_status write_byte_level(nk_vocabulary *vocabulary, nk_gguf_writer *writer, nk_error *error) {
  const char *pre;
  const cJSON *merges;
  uint32_t n, rank = 0;
  nk_status status = check_bpe(vocabulary, error);
  if (status == NK_STATUS_OK) status = nk_vocabulary_pre(vocabulary, &pre, error);
  if (status == NK_STATUS_OK) status = count_merges(vocabulary, &merges, &n, error);
  if (status != NK_STATUS_OK) return status;
  put_text(writer, "tokenizer.ggml.model", "gpt2");
  put_text(writer, "tokenizer.ggml.pre", pre);
  put_tokens(vocabulary, writer, false);
  nk_gguf_put_texts(writer, "tokenizer.ggml.merges", n);
  for (const cJSON *item = merges->child; item != NULL; item = item->next, rank++) {
    const char *a, *b;
    size_t n_a, n_b;
    if (!read_merge(item, &a, &n_a, &b, &n_b)) return bad_merge(vocabulary, rank, "is no pair of texts", error);
    char joined[512];
    if (n_a + n_b + 2 > sizeof joined) return bad_merge(vocabulary, rank, "is longer than 510 bytes", error);
    memcpy(joined, a, n_a);
    joined[n_a] = ' ';
    nk_gguf_put_element(writer, joined, n_a + 1, b, n_b);
  }
  return NK_STATUS_OK;
}

/* ---- SentencePiece's BPE ----------------------------------------------------------------------------------------- */

/* Steps of the normalizer: spaces become U+2581, which may go before the text. */
static nk_status check_spaces(const nk_vocabulary *vocabulary, bool *prefix, nk_notes *notes, nk_error *error) {
  const cJSON *root = vocabulary->tokenizer->root, *normalizer = nk_json_find(root, "normalizer"), *step;
  const cJSON *pre = nk_json_find(root, "pre_tokenizer");
  *prefix = false;
  bool sequence = nk_json_is(nk_json_find(normalizer, "type"), "Sequence");
  const cJSON *steps = nk_json_find(normalizer, "normalizers");
  const cJSON *first = !sequence ? normalizer : cJSON_IsArray(steps) ? steps->child : NULL;
  for (step = first; step != NULL; step = sequence ? step->next : NULL) {
    const cJSON *type = nk_json_find(step, "type");
    bool replaces = nk_json_is(type, "Replace") && nk_json_is(nk_json_path(step, "pattern/String"), " ") &&
                    nk_json_is(nk_json_find(step, "content"), SPACE_MARK);
    bool prepends = nk_json_is(type, "Prepend") && nk_json_is(nk_json_find(step, "prepend"), SPACE_MARK);
    if (!replaces && !prepends) {
      return nk_vocabulary_refuse(vocabulary, "normalizer", type,
                                  "only the marking of spaces is known beside byte_fallback", error);
    }
    *prefix = *prefix || prepends;
  }
  if (pre == NULL) return NK_STATUS_OK;
  if (nk_step_find(pre, "pretokenizers", "Metaspace", &step)) {
    if (!nk_json_is(nk_json_find(step, "replacement"), SPACE_MARK)) {
      return nk_vocabulary_refuse(vocabulary, "replacement", nk_json_find(step, "replacement"), "it must be U+2581", error);
    }
    if (metaspace_prefix(step)) {
      nk_note(notes,
              "the tokenizer's Metaspace becomes SentencePiece's rule: a space goes before each text and behind each "
              "control token");
      *prefix = true;
    }
    return NK_STATUS_OK;
  }
  /* Gemma cuts at spaces that its normalizer has replaced: nothing is cut. */
  bool at_space = nk_json_is(nk_json_find(pre, "type"), "Split") && nk_json_is(nk_json_path(pre, "pattern/String"), " ");
  if (at_space) return NK_STATUS_OK;
  return nk_vocabulary_refuse(vocabulary, "pre_tokenizer", nk_json_find(pre, "type"), "Metaspace or none is needed", error);
}

/* Scores by the merges. *odd: tokens of several characters that no merge makes. */
static nk_status score_merges(nk_vocabulary *vocabulary, float *scores, uint32_t *odd, nk_error *error) {
  const cJSON *merges;
  uint32_t n, rank = 0;
  nk_status status = count_merges(vocabulary, &merges, &n, error);
  if (status != NK_STATUS_OK) return status;
  const float never = -(float)n - 1.0f; /* n < 2^24: exact */
  for (uint32_t id = 0; id < vocabulary->n; id++) scores[id] = never;
  for (const cJSON *item = merges->child; item != NULL; item = item->next, rank++) {
    const char *a, *b;
    size_t n_a, n_b;
    if (!read_merge(item, &a, &n_a, &b, &n_b)) return bad_merge(vocabulary, rank, "is no pair of texts", error);
    char joined[512];
    if (n_a + n_b > sizeof joined) return bad_merge(vocabulary, rank, "is longer than 512 bytes", error);
    memcpy(joined, a, n_a);
    memcpy(joined + n_a, b, n_b);
    uint32_t id = nk_vocabulary_find(vocabulary, joined, n_a + n_b);
    if (id == UINT32_MAX) return bad_merge(vocabulary, rank, "makes a text that is no token", error);
    if (scores[id] <= never) scores[id] = -(float)rank;
  }
  *odd = 0;
  for (uint32_t id = 0; id < vocabulary->n; id++) {
    const char *text = vocabulary->texts[id];
    if (text == NULL || vocabulary->types[id] != NK_TYPE_NORMAL || scores[id] > never) continue;
    size_t characters = 0;
    for (; *text != '\0'; text++) characters += ((uint8_t)*text & 0xC0u) != 0x80u;
    *odd += characters > 1;
  }
  return NK_STATUS_OK;
}

static nk_status write_spm(nk_vocabulary *vocabulary, nk_gguf_writer *writer, nk_notes *notes, nk_error *error) {
  bool prefix;
  uint32_t odd;
  nk_status status = check_bpe(vocabulary, error);
  if (status == NK_STATUS_OK) status = check_spaces(vocabulary, &prefix, notes, error);
  if (status != NK_STATUS_OK) return status;
  mark_bytes(vocabulary);
  float *scores = calloc(vocabulary->n, sizeof *scores);
  if (scores == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory for the scores of %u tokens", vocabulary->n);
  status = score_merges(vocabulary, scores, &odd, error);
  if (status == NK_STATUS_OK) {
    if (odd > 0) nk_note(notes, "%u tokens of several characters are made by no merge", odd);
    put_text(writer, "tokenizer.ggml.model", "llama");
    put_text(writer, "tokenizer.ggml.pre", "default");
    put_tokens(vocabulary, writer, false);
    nk_gguf_put_numbers(writer, "tokenizer.ggml.scores", NK_GGUF_F32, scores, vocabulary->n);
    nk_gguf_put_bool(writer, "tokenizer.ggml.add_space_prefix", prefix);
  }
  free(scores);
  return status;
}

/* ---- Unigram ----------------------------------------------------------------------------------------------------- */

static int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* The table of a Precompiled normalizer (SentencePiece's charsmap), base64 there, bytes here. */
static nk_status put_charsmap(const nk_vocabulary *vocabulary, const cJSON *step, nk_gguf_writer *writer, nk_error *error) {
  const cJSON *text = nk_json_find(step, "precompiled_charsmap");
  size_t length = cJSON_IsString(text) ? strlen(text->valuestring) : 0, n = 0;
  uint8_t *bytes = malloc(length / 4 * 3 + 3);
  if (bytes == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory for the normalizer's table");
  uint32_t held = 0, bits = 0;
  bool good = length > 0;
  for (size_t i = 0; i < length && text->valuestring[i] != '=' && good; i++) {
    int digit = base64_digit(text->valuestring[i]);
    good = digit >= 0;
    held = held << 6 | ((uint32_t)digit & 63u);
    bits += 6;
    if (bits >= 8) bytes[n++] = (uint8_t)(held >> (bits -= 8));
  }
  if (good) nk_gguf_put_numbers(writer, "tokenizer.ggml.precompiled_charsmap", NK_GGUF_U8, bytes, n);
  free(bytes);
  return good ? NK_STATUS_OK : nk_vocabulary_refuse(vocabulary, "precompiled_charsmap", text, "base64 is needed", error);
}

/* Normalizers: the table, and the squeezing of runs of spaces. */
static nk_status put_unigram_normalizer(const nk_vocabulary *vocabulary, nk_gguf_writer *writer, nk_error *error) {
  const cJSON *normalizer = nk_json_find(vocabulary->tokenizer->root, "normalizer");
  const cJSON *steps = nk_json_find(normalizer, "normalizers");
  bool sequence = nk_json_is(nk_json_find(normalizer, "type"), "Sequence"), squeezes = false, table = false;
  const cJSON *first = !sequence ? normalizer : cJSON_IsArray(steps) ? steps->child : NULL;
  for (const cJSON *step = first; step != NULL; step = sequence ? step->next : NULL) {
    const cJSON *type = nk_json_find(step, "type");
    bool spaces = nk_json_is(type, "Replace") && nk_json_is(nk_json_path(step, "pattern/Regex"), " {2,}");
    bool strip = nk_json_is(type, "Strip");
    if (nk_json_is(type, "Precompiled") && !table) {
      nk_status status = put_charsmap(vocabulary, step, writer, error);
      if (status != NK_STATUS_OK) return status;
      table = true;
    } else if (!spaces && !strip) {
      return nk_vocabulary_refuse(vocabulary, "normalizer", type,
                                  "Precompiled, Strip and the squeezing of spaces are known", error);
    }
    squeezes = squeezes || spaces;
  }
  const cJSON *pre = nk_json_find(vocabulary->tokenizer->root, "pre_tokenizer"), *metaspace;
  if (!nk_step_find(pre, "pretokenizers", "Metaspace", &metaspace)) {
    return nk_vocabulary_refuse(vocabulary, "pre_tokenizer", nk_json_find(pre, "type"), "Metaspace is needed", error);
  }
  /* WhitespaceSplit before Metaspace drops further spaces as well. */
  squeezes = squeezes || nk_step_find(pre, "pretokenizers", "WhitespaceSplit", NULL);
  nk_gguf_put_bool(writer, "tokenizer.ggml.add_space_prefix", metaspace_prefix(metaspace));
  nk_gguf_put_bool(writer, "tokenizer.ggml.remove_extra_whitespaces", squeezes);
  return NK_STATUS_OK;
}

static nk_status write_unigram(nk_vocabulary *vocabulary, nk_gguf_writer *writer, nk_error *error) {
  uint64_t unknown;
  if (vocabulary->scores == NULL)
    return nk_vocabulary_refuse(vocabulary, "vocab", NULL, "pairs of text and score are needed", error);
  mark_bytes(vocabulary);
  if (nk_json_integer(nk_json_find(vocabulary->model, "unk_id"), vocabulary->n - 1, &unknown)) {
    vocabulary->types[unknown] = NK_TYPE_UNKNOWN;
  }
  put_text(writer, "tokenizer.ggml.model", "t5");
  put_text(writer, "tokenizer.ggml.pre", "default");
  put_tokens(vocabulary, writer, false);
  nk_gguf_put_numbers(writer, "tokenizer.ggml.scores", NK_GGUF_F32, vocabulary->scores, vocabulary->n);
  return put_unigram_normalizer(vocabulary, writer, error);
}

/* ---- WordPiece --------------------------------------------------------------------------------------------------- */

static nk_status write_wordpiece(nk_vocabulary *vocabulary, nk_gguf_writer *writer, nk_error *error) {
  const cJSON *root = vocabulary->tokenizer->root, *normalizer = nk_json_find(root, "normalizer");
  const cJSON *pre = nk_json_path(root, "pre_tokenizer/type"),
              *prefix = nk_json_find(vocabulary->model, "continuing_subword_prefix");
  const cJSON *longest = nk_json_find(vocabulary->model, "max_input_chars_per_word");
  if (!nk_json_is(nk_json_find(normalizer, "type"), "BertNormalizer")) {
    return nk_vocabulary_refuse(vocabulary, "normalizer", nk_json_find(normalizer, "type"),
                                "WordPiece needs BertNormalizer", error);
  }
  static const char *const flags[] = {"clean_text", "handle_chinese_chars", "lowercase", "strip_accents"};
  for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
    const cJSON *value = nk_json_find(normalizer, flags[i]); /* strip_accents is null where lowercase decides */
    if (value != NULL && !cJSON_IsTrue(value))
      return nk_vocabulary_refuse(vocabulary, flags[i], value, "only uncased BERT is known", error);
  }
  if (!nk_json_is(pre, "BertPreTokenizer"))
    return nk_vocabulary_refuse(vocabulary, "pre_tokenizer", pre, "BertPreTokenizer is needed", error);
  if (prefix != NULL && !nk_json_is(prefix, "##")) {
    return nk_vocabulary_refuse(vocabulary, "continuing_subword_prefix", prefix, "it must be \"##\"", error);
  }
  if (cJSON_IsNumber(longest) && (longest->valuedouble < 100 || longest->valuedouble > 100)) {
    return nk_vocabulary_refuse(vocabulary, "max_input_chars_per_word", longest, "it must be 100", error);
  }
  put_text(writer, "tokenizer.ggml.model", "bert");
  put_text(writer, "tokenizer.ggml.pre", "bert-bge");
  put_tokens(vocabulary, writer, true);
  return NK_STATUS_OK;
}

/* ---- All --------------------------------------------------------------------------------------------------------- */

nk_status nk_vocabulary_write(nk_vocabulary *vocabulary, nk_gguf_writer *writer, nk_notes *notes, nk_error *error) {
  const cJSON *root = vocabulary->tokenizer->root, *type = nk_json_find(vocabulary->model, "type");
  bool merges = nk_json_find(vocabulary->model, "merges") != NULL; /* older files have no type */
  if (nk_json_is(type, "Unigram")) return write_unigram(vocabulary, writer, error);
  if (nk_json_is(type, "WordPiece") || (type == NULL && !merges)) return write_wordpiece(vocabulary, writer, error);
  if (!nk_json_is(type, "BPE") && !(type == NULL && merges)) {
    return nk_vocabulary_refuse(vocabulary, "type", type, "known are BPE, Unigram and WordPiece", error);
  }
  if (nk_step_find(nk_json_find(root, "pre_tokenizer"), "pretokenizers", "ByteLevel", NULL)) {
    return write_byte_level(vocabulary, writer, error);
  }
  if (cJSON_IsTrue(nk_json_find(vocabulary->model, "byte_fallback"))) return write_spm(vocabulary, writer, notes, error);
  return nk_vocabulary_refuse(vocabulary, "pre_tokenizer", nk_json_path(root, "pre_tokenizer/type"),
                              "a BPE needs ByteLevel or byte_fallback", error);
}
