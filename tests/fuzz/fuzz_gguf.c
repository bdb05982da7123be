/*
 * fuzz_gguf.c: the GGUF reader as a host drives it.
 *
 * The first byte chooses how much is in memory at the first try and whether the file claims to be longer than it is; the
 * rest is the file. What is asserted here is the contract of gguf.h: growth of `more`, tensors inside the file, sorted
 * unique names, the same result whole and in pieces, and every element of every array readable.
 */
#include <stdlib.h>
#include <string.h>

#include "gguf/gguf.h"

#define CHECK(condition)                \
  do {                                  \
    if (!(condition)) __builtin_trap(); \
  } while (0)

static void read_everything(const nk_gguf *gguf, uint64_t file_bytes) {
  volatile uint64_t sum = 0; /* so that reads are not left out */
  for (uint32_t i = 0; i < gguf->n_pairs; i++) {
    const nk_gguf_pair *pair = &gguf->pairs[i];
    char key[NK_GGUF_MAX_NAME + 1] = {0};
    memcpy(key, pair->key.bytes, pair->key.length);
    CHECK(nk_gguf_find(gguf, key) == pair);
    for (uint64_t e = 0; e < pair->count; e++) {
      nk_text text = nk_gguf_text_at(pair, e);
      for (uint32_t c = 0; c < text.length; c++) sum += (uint8_t)text.bytes[c];
      sum += (uint64_t)nk_gguf_integer_at(pair, e);
      double number = nk_gguf_number_at(pair, e);
      sum += number > 0 && number < 1e9 ? (uint64_t)number : 0;
    }
    nk_error error;
    uint32_t u;
    float f;
    bool b;
    nk_text text;
    const nk_gguf_pair *array;
    if (nk_gguf_get_u32(gguf, key, 0, 3, 1000, &u, &error) == NK_STATUS_OK) CHECK(u >= 3 && u <= 1000);
    if (nk_gguf_get_f32(gguf, key, 0, &f, &error) == NK_STATUS_OK) CHECK(f - f == 0);
    (void)nk_gguf_get_bool(gguf, key, false, &b, &error);
    (void)nk_gguf_get_text(gguf, key, &text, &error);
    if (nk_gguf_get_array(gguf, key, NK_GGUF_F32, &array, &error) == NK_STATUS_OK) CHECK(array == pair);
  }
  for (uint32_t i = 0; i < gguf->n_tensors; i++) {
    const nk_gguf_tensor *tensor = &gguf->tensors[i];
    char name[NK_GGUF_MAX_NAME + 1] = {0};
    memcpy(name, tensor->name.bytes, tensor->name.length);
    CHECK(nk_gguf_find_tensor(gguf, name) == tensor);
    CHECK(tensor->offset >= gguf->header_bytes && tensor->offset <= file_bytes);
    CHECK(tensor->bytes <= file_bytes - tensor->offset);
    CHECK(tensor->n_dimensions >= 1 && tensor->n_dimensions <= NK_GGUF_MAX_DIMENSIONS);
    for (uint32_t j = 0; j < i && i < 64; j++) {
      const nk_gguf_tensor *other = &gguf->tensors[j];
      if (tensor->bytes == 0 || other->bytes == 0) continue;
      CHECK(tensor->offset + tensor->bytes <= other->offset || other->offset + other->bytes <= tensor->offset);
    }
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  uint8_t choice = data[0];
  data++;
  size--;
  uint64_t file_bytes = (choice & 1) != 0 ? size : (uint64_t)size << (choice >> 1 & 15);
  nk_gguf whole;
  nk_error error = {0};
  uint64_t more;
  nk_status status = nk_gguf_parse(&whole, data, size, file_bytes, &more, &error);
  if (status != NK_STATUS_OK) CHECK(more == 0 && error.text[0] != 0 && error.status == status);
  if (more != 0) {
    CHECK(more > size && more <= file_bytes && more <= NK_GGUF_MAX_HEADER && whole.pairs == NULL);
    return 0;
  }
  if (status == NK_STATUS_OK) read_everything(&whole, file_bytes);

  /* The same in pieces, each in memory of its own, so that a read beyond it is seen. */
  uint64_t available = size * (choice >> 5) / 8;
  for (;;) {
    uint8_t *part = malloc(available == 0 ? 1 : available);
    CHECK(part != NULL);
    memcpy(part, data, available);
    nk_gguf again;
    nk_error other = {0};
    nk_status second = nk_gguf_parse(&again, part, available, file_bytes, &more, &other);
    if (second == NK_STATUS_OK && more != 0) {
      CHECK(more > available && more <= file_bytes);
      available = more < size ? more : size;
      free(part);
      continue;
    }
    CHECK(second == status && strcmp(error.text, other.text) == 0);
    CHECK(again.n_pairs == whole.n_pairs && again.n_tensors == whole.n_tensors && again.header_bytes == whole.header_bytes);
    if (second == NK_STATUS_OK) read_everything(&again, file_bytes);
    nk_gguf_free(&again);
    free(part);
    break;
  }
  if (status == NK_STATUS_OK) nk_gguf_free(&whole);
  return 0;
}
