/*
 * fuzz_safetensors.c: headers of safetensors files. The first byte chooses how much data follows the header; the rest is
 * the JSON. Asserted: the contract of safetensors.h: what is accepted covers the data, without overlap, and fits its
 * shapes.
 */
#include <stdlib.h>
#include <string.h>

#include "convert/safetensors.h"

#define CHECK(condition)                \
  do {                                  \
    if (!(condition)) __builtin_trap(); \
  } while (0)

static void check_list(const nk_source_list *list, uint64_t file_bytes, uint64_t header) {
  uint64_t at = header;
  for (uint32_t i = 0; i < list->n; i++) {
    const nk_source_tensor *tensor = &list->tensors[i];
    CHECK(tensor->offset == at && tensor->bytes <= file_bytes - at);
    uint64_t elements = 1;
    for (uint32_t d = 0; d < tensor->n_dimensions; d++) elements *= tensor->shape[d];
    CHECK(elements == tensor->elements && elements * tensor->item_bytes == tensor->bytes);
    CHECK(tensor->name[0] != '\0' && strlen(tensor->name) <= NK_SAFETENSORS_MAX_NAME);
    at += tensor->bytes;
  }
  CHECK(at == file_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  static const uint64_t amounts[] = {0, 4, 8, 64, 128, 4096, 1u << 20, 1ull << 40};
  uint64_t extra = amounts[data[0] & 7];
  size_t length = size - 1;
  char *json = malloc(length + 1);
  CHECK(json != NULL);
  memcpy(json, data + 1, length);
  json[length] = '\0';
  nk_source_list list = {0};
  nk_error error = {0};
  uint64_t header = NK_SAFETENSORS_LENGTH_BYTES + (uint64_t)length;
  nk_status status = nk_safetensors_read(&list, json, length, "x.safetensors", header + extra, 0, &error);
  CHECK((status == NK_STATUS_OK) == (error.text[0] == '\0'));
  if (status == NK_STATUS_OK) {
    check_list(&list, header + extra, header);
    (void)nk_source_check_names(&list, &error);
    /* The same file again: every name twice. */
    uint32_t n = list.n;
    CHECK(nk_safetensors_read(&list, json, length, "y.safetensors", header + extra, 1, &error) == NK_STATUS_OK);
    CHECK(list.n == 2 * n && (n == 0 || nk_source_check_names(&list, &error) == NK_STATUS_FORMAT));
  }
  nk_source_free(&list);
  free(json);
  return 0;
}
