/*
 * fuzz_tokenizer.c: text on real vocabularies, and vocabularies that are not real. Run from the repository root.
 *
 * Input    Byte 0: bits 0-4 the mode, bit 5 add_special. The rest, by mode:
 *          mutated header: 4-byte edits {u24 offset, u8 value} of a small vocabulary, then encoding and detokenizing with
 *          it; raw header:     the bytes of a GGUF;
 *          else (a vocabulary of the list below): spans, each one byte (bit 0 parse_special, bits 1-7 length) and its text.
 * Checked  Ids do not depend on spans or capacity; no control token comes from an untrusted span; what is encoded comes
 *          back.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/gguf.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/unicode.h"

#define FIXTURES "tests/fixtures/tokenizers/"
#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) {                                                         \
      fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                                  \
    }                                                                           \
  } while (0)

/* round: what comes back of an encoded text. ALL: every byte; MARKED: too, but U+2581 is a space; SOME: bytes without a
   token are missing; NONE: it is normalized. */
enum { NONE, SOME, MARKED, ALL };
static const struct {
  const char *path;
  int round;
} vocabularies[] = {
    {FIXTURES "vocab-smollm2.gguf", SOME},       {FIXTURES "ggml-vocab-gpt-2.gguf", ALL},
    {FIXTURES "ggml-vocab-llama-bpe.gguf", ALL}, {FIXTURES "ggml-vocab-qwen2.gguf", NONE},
    {FIXTURES "ggml-vocab-gpt-neox.gguf", NONE}, {FIXTURES "ggml-vocab-llama-spm.gguf", NONE},
    {FIXTURES "ggml-vocab-phi-3.gguf", NONE},    {FIXTURES "ggml-vocab-bert-bge.gguf", NONE},
    {FIXTURES "trained-unigram.gguf", NONE},     {FIXTURES "trained-unigram-bytes.gguf", MARKED},
    {FIXTURES "trained-tekken.gguf", ALL},       {FIXTURES "trained-gpt-4o.gguf", ALL},
    {FIXTURES "trained-deepseek-llm.gguf", ALL}, {FIXTURES "trained-deepseek-coder.gguf", ALL},
    {FIXTURES "trained-deepseek-v3.gguf", ALL},  {FIXTURES "trained-default.gguf", ALL},
    {FIXTURES "vocab-tiny-spm.gguf", NONE},      {FIXTURES "vocab-tiny-bert.gguf", NONE},
    {FIXTURES "vocab-tiny.gguf", ALL},           {FIXTURES "trained-unigram-rules.gguf", NONE},
};
#define N_VOCABULARIES (sizeof vocabularies / sizeof *vocabularies)
#define N_MUTATED 4 /* the last ones, small enough to be copied and built again each time */

/* Loaded once, at first use; freed never: the fuzzer is one process. */
static nk_tokenizer *tokenizers[N_VOCABULARIES];
static uint8_t *headers[N_VOCABULARIES];
static size_t header_bytes[N_VOCABULARIES];

static uint8_t *read_vocabulary(const char *path, size_t *length) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    fprintf(stderr, "%s cannot be opened; run from the repository root\n", path);
    exit(1);
  }
  CHECK(fseek(file, 0, SEEK_END) == 0);
  *length = (size_t)ftell(file);
  rewind(file);
  uint8_t *bytes = malloc(*length);
  CHECK(bytes != NULL && fread(bytes, 1, *length, file) == *length);
  fclose(file);
  return bytes;
}

static nk_tokenizer *create(const uint8_t *bytes, size_t length) {
  nk_gguf gguf;
  nk_error error = {0};
  uint64_t more;
  if (nk_gguf_parse(&gguf, bytes, length, length, &more, &error) != NK_STATUS_OK || more != 0) return NULL;
  nk_tokenizer *tokenizer;
  nk_status status = nk_tokenizer_create(&tokenizer, &gguf, &error);
  CHECK((status == NK_STATUS_OK) == (tokenizer != NULL));
  CHECK(status == NK_STATUS_OK || error.text[0] != 0);
  CHECK(status != NK_STATUS_OK || nk_tokenizer_bytes(&gguf) > 0);
  nk_gguf_free(&gguf);
  return tokenizer;
}

static void open_vocabulary(size_t index) {
  if (tokenizers[index] != NULL) return;
  headers[index] = read_vocabulary(vocabularies[index].path, &header_bytes[index]);
  tokenizers[index] = create(headers[index], header_bytes[index]);
  CHECK(tokenizers[index] != NULL);
}

typedef struct id_list {
  int32_t *ids;
  size_t n;
} id_list;

static id_list encode(const nk_tokenizer *tokenizer, const nk_span *spans, size_t n_spans, bool add_special) {
  nk_error error = {0};
  size_t n, again;
  nk_status status = nk_tokenizer_encode(tokenizer, spans, n_spans, add_special, NULL, 0, &n, &error);
  CHECK(status == (n == 0 ? NK_STATUS_OK : NK_STATUS_DATA));
  id_list list = {malloc(n * sizeof *list.ids + 1), n};
  CHECK(list.ids != NULL);
  CHECK(nk_tokenizer_encode(tokenizer, spans, n_spans, add_special, list.ids, n, &again, &error) == NK_STATUS_OK);
  CHECK(again == n);
  for (size_t i = 0; i < n; i++) CHECK(list.ids[i] >= 0 && (uint32_t)list.ids[i] < nk_tokenizer_vocab(tokenizer));
  return list;
}

static bool same(id_list a, id_list b) {
  return a.n == b.n && (a.n == 0 || memcmp(a.ids, b.ids, a.n * sizeof *a.ids) == 0);
}

/* The pieces of a list, compared with text [length]; bytes for which the vocabulary has no token may be missing. */
static void check_round_trip(const nk_tokenizer *tokenizer, id_list list, const uint8_t *text, size_t length,
                             bool lossless) {
  size_t at = 0;
  for (size_t i = 0; i < list.n; i++) {
    size_t n = nk_tokenizer_piece(tokenizer, list.ids[i], true, NULL, 0);
    char *piece = malloc(n + 1);
    CHECK(piece != NULL && nk_tokenizer_piece(tokenizer, list.ids[i], true, piece, n) == n);
    for (size_t k = 0; k < n; k++, at++) {
      while (!lossless && at < length && text[at] != (uint8_t)piece[k]) at++;
      CHECK(at < length && text[at] == (uint8_t)piece[k]);
    }
    free(piece);
  }
  CHECK(!lossless || at == length);
}

static bool is_utf8(const uint8_t *text, size_t length) {
  for (size_t at = 0; at < length;) {
    uint32_t code, n = nk_utf8_decode(text + at, length - at, &code);
    uint8_t again[4];
    if (nk_utf8_encode(code, again) != n || memcmp(again, text + at, n) != 0) return false;
    at += n;
  }
  return true;
}

static bool has_mark(const uint8_t *text, size_t length) {
  for (size_t at = 0; at + 3 <= length; at++) {
    if (memcmp(text + at, "\xE2\x96\x81", 3) == 0) return true;
  }
  return false;
}

#define MAX_SPANS 256

static void fuzz_text(size_t index, const uint8_t *data, size_t size, bool add_special) {
  open_vocabulary(index);
  const nk_tokenizer *tokenizer = tokenizers[index];
  nk_span spans[MAX_SPANS];
  uint8_t *text = malloc(size + 1);
  CHECK(text != NULL);
  size_t n_spans = 0, length = 0;
  for (size_t at = 0; at < size && n_spans < MAX_SPANS;) {
    size_t take = data[at] >> 1, left = size - at - 1;
    if (take > left) take = left;
    spans[n_spans++] = (nk_span){(const char *)data + at + 1, take, (data[at] & 1) != 0};
    memcpy(text + length, data + at + 1, take);
    length += take;
    at += take + 1;
  }
  bool valid = is_utf8(text, length);
  id_list trusted = encode(tokenizer, spans, n_spans, add_special);
  int round = valid ? vocabularies[index].round : NONE;
  if (round == MARKED) round = has_mark(text, length) ? NONE : ALL;
  if (round != NONE && !add_special) check_round_trip(tokenizer, trusted, text, length, round == ALL);
  for (size_t i = 0; i < n_spans; i++) spans[i].parse_special = false;
  nk_span whole = {(const char *)text, length, false};
  id_list parts = encode(tokenizer, spans, n_spans, false), joined = encode(tokenizer, &whole, 1, false);
  CHECK(same(parts, joined));
  for (size_t i = 0; i < parts.n; i++) CHECK(!nk_tokenizer_is_control(tokenizer, parts.ids[i]));
  if (round != NONE) check_round_trip(tokenizer, parts, text, length, round == ALL);
  free(trusted.ids);
  free(parts.ids);
  free(joined.ids);
  free(text);
}

/* Uses whatever came out of a header. */
static void exercise(const uint8_t *header, size_t length, bool add_special) {
  nk_tokenizer *tokenizer = create(header, length);
  if (tokenizer == NULL) return;
  static const char chat[] = "<|im_start|>user\nHello, the \xC3\xA9 12 worlds!  <|im_end|>\n",
                    user[] = " <|im_end|>it's\xFF \xE4\xB8\xAD";
  nk_span spans[] = {{chat, sizeof chat - 1, true}, {user, sizeof user - 1, false}, {chat, sizeof chat - 1, true}};
  free(encode(tokenizer, spans, 3, add_special).ids);
  spans[0].parse_special = spans[2].parse_special = false;
  id_list list = encode(tokenizer, spans, 3, false);
  for (size_t i = 0; i < list.n; i++) CHECK(!nk_tokenizer_is_control(tokenizer, list.ids[i]));
  free(list.ids);
  uint32_t n = nk_tokenizer_vocab(tokenizer);
  for (uint32_t id = 0; id < n && id < 1000; id++) {
    char out[16];
    nk_tokenizer_piece(tokenizer, (int32_t)id, true, out, sizeof out);
    nk_tokenizer_is_end(tokenizer, (int32_t)id);
  }
  nk_tokenizer_free(tokenizer);
}

static void fuzz_mutated(size_t index, const uint8_t *data, size_t size, bool add_special) {
  open_vocabulary(index);
  uint8_t *copy = malloc(header_bytes[index]);
  CHECK(copy != NULL);
  memcpy(copy, headers[index], header_bytes[index]);
  for (size_t at = 0; at + 4 <= size; at += 4) {
    size_t offset = (size_t)data[at] | (size_t)data[at + 1] << 8 | (size_t)data[at + 2] << 16;
    copy[offset % header_bytes[index]] = data[at + 3];
  }
  exercise(copy, header_bytes[index], add_special);
  free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  unsigned mode = data[0] & 31;
  bool add_special = (data[0] & 32) != 0;
  if (mode < N_VOCABULARIES) {
    fuzz_text(mode, data + 1, size - 1, add_special);
  } else if (mode == 31) {
    exercise(data + 1, size - 1, add_special);
  } else {
    fuzz_mutated(N_VOCABULARIES - 1 - mode % N_MUTATED, data + 1, size - 1, add_special);
  }
  return 0;
}
