/*
 * fuzz_adapter.c: adapters' files against models of three layouts. The first byte chooses layout and format. PEFT: the
 * configuration's length (u16, little-endian), the configuration, the length of the safetensors header (u32), the header,
 * the data. GGUF: the file. The models have sizes and no weights: reading an adapter touches none.
 *
 * Asserted: what is accepted is an adapter that fits its model, with finite values, and is read back from what is written
 * of it as the same; what is refused leaves nothing and says why.
 */
#include <stdlib.h>
#include <string.h>

#include "adapt/card.h"
#include "adapt/lora_gguf.h"
#include "core/cursor.h"

#define CHECK(condition)                \
  do {                                  \
    if (!(condition)) __builtin_trap(); \
  } while (0)

enum { LAYERS = 2, WIDTH = 8, HEADS = 2, KV_HEADS = 1, HEAD_DIM = 4, FEED_FORWARD = 12, VOCAB = 16 };

static nk_linear linear(uint32_t rows, uint32_t cols) {
  return (nk_linear){.matrix = {.format = nk_format_find(0), .rows = rows, .cols = cols}};
}

/* 0: llama. 1: gptneox, whose q, k and v are one. 2: lfm2, whose first layer is a short convolution. */
static void make_model(nk_model *model, nk_layer layers[LAYERS], uint32_t layout) {
  static const char *const names[] = {"llama", "gptneox", "lfm2"};
  static const float taps[WIDTH * 3];
  bool fused = layout == 1;
  uint32_t kv = fused ? WIDTH : KV_HEADS * HEAD_DIM;
  *model = (nk_model){.layers = layers, .vocab = VOCAB};
  model->config = (nk_config){.arch = nk_arch_find(names[layout], strlen(names[layout])),
                              .n_layers = LAYERS,
                              .width = WIDTH,
                              .embed_width = WIDTH,
                              .n_ff = FEED_FORWARD,
                              .n_heads = HEADS,
                              .n_kv_heads = fused ? HEADS : KV_HEADS,
                              .head_dim = HEAD_DIM};
  for (uint32_t l = 0; l < LAYERS; l++) {
    nk_layer *layer = &layers[l];
    bool conv = layout == 2 && l == 0;
    *layer = (nk_layer){.n_qkv = fused || conv ? 1 : 3, .conv = conv ? taps : NULL};
    layer->qkv[0] = linear(fused || conv ? 3 * WIDTH : WIDTH, WIDTH);
    if (!fused && !conv) layer->qkv[1] = layer->qkv[2] = linear(kv, WIDTH);
    layer->attn_out = linear(WIDTH, WIDTH);
    if (!fused) layer->gate = linear(FEED_FORWARD, WIDTH);
    layer->up = linear(FEED_FORWARD, WIDTH);
    layer->down = linear(WIDTH, FEED_FORWARD);
  }
}

static void through_peft(const nk_adapter *adapter, const nk_model *model) {
  nk_error error = {0};
  nk_bytes config, tensors;
  nk_adapter *back;
  CHECK(nk_peft_write(adapter, model, &config, &tensors, &error) == NK_STATUS_OK);
  CHECK(nk_peft_read(&back, model, config.data, config.length, tensors.data, tensors.length, &error) == NK_STATUS_OK);
  CHECK(back->key == adapter->key && back->n_values == adapter->n_values);
  CHECK((back->card == NULL) == (adapter->card == NULL));
  nk_adapter_free(back);
  free(config.data);
  free(tensors.data);
}

/* Scales may move into B, so only the layout is the same for sure. */
static void through_gguf(const nk_adapter *adapter, const nk_model *model) {
  nk_error error = {0};
  nk_bytes file;
  nk_adapter *back;
  nk_status status = nk_lora_gguf_write(adapter, model, &file, &error);
  CHECK((status == NK_STATUS_OK) == (adapter->method == NK_METHOD_LORA));
  if (status != NK_STATUS_OK) return;
  status = nk_lora_gguf_read(&back, model, file.data, file.length, &error);
  CHECK(status == NK_STATUS_OK || status == NK_STATUS_DATA); /* a product beyond float32 */
  if (status == NK_STATUS_OK) CHECK(back->n_params == adapter->n_params && back->n_values == adapter->n_values);
  nk_adapter_free(back);
  free(file.data);
}

static void check_adapter(const nk_adapter *adapter, const nk_model *model) {
  nk_error error = {0};
  uint64_t offset = 0;
  CHECK(nk_adapter_check(adapter, model, &error) == NK_STATUS_OK && adapter->key != 0);
  for (uint32_t i = 0; i < adapter->n_params; i++) {
    CHECK(adapter->params[i].offset == offset);
    offset += (uint64_t)adapter->params[i].rows * adapter->params[i].cols;
  }
  CHECK(offset == adapter->n_values && offset > 0);
  nk_adapter_set set = {{{adapter, 1.0f}}, 1};
  CHECK(nk_adapter_set_check(&set, model, &error) == NK_STATUS_OK && nk_adapter_set_key(&set) != 0);
  through_peft(adapter, model);
  through_gguf(adapter, model);
}

/* A copy of the next `bytes` bytes, or of all that are left: reading beyond it is seen. */
static uint8_t *take(nk_cursor *cursor, uint64_t bytes, uint64_t *n) {
  uint64_t left = nk_cursor_left(cursor);
  *n = bytes < left ? bytes : left;
  uint8_t *copy = malloc(*n == 0 ? 1 : (size_t)*n);
  CHECK(copy != NULL);
  if (*n > 0) memcpy(copy, nk_cursor_bytes(cursor, *n), (size_t)*n);
  return copy;
}

static nk_status read_peft(nk_adapter **adapter, const nk_model *model, nk_cursor *cursor, nk_error *error) {
  uint16_t n_config = 0;
  uint32_t n_header = 0;
  uint64_t config_bytes, rest_bytes;
  (void)nk_cursor_u16(cursor, &n_config);
  uint8_t *config = take(cursor, n_config, &config_bytes);
  (void)nk_cursor_u32(cursor, &n_header);
  uint8_t *rest = take(cursor, UINT64_MAX, &rest_bytes);
  uint8_t *tensors = malloc(8 + (size_t)rest_bytes);
  CHECK(tensors != NULL);
  for (uint32_t i = 0; i < 8; i++) tensors[i] = (uint8_t)((uint64_t)n_header >> 8 * i);
  memcpy(tensors + 8, rest, (size_t)rest_bytes);
  nk_status status = nk_peft_read(adapter, model, config, config_bytes, tensors, 8 + rest_bytes, error);
  free(tensors);
  free(rest);
  free(config);
  return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  nk_layer layers[LAYERS];
  nk_model model;
  make_model(&model, layers, (data[0] & 0x7fu) % 3);
  nk_cursor cursor = nk_cursor_over(data + 1, size - 1);
  nk_error error = {0};
  nk_adapter *adapter = NULL;
  nk_status status;
  if ((data[0] & 0x80u) == 0) {
    status = read_peft(&adapter, &model, &cursor, &error);
  } else {
    uint64_t n;
    uint8_t *file = take(&cursor, UINT64_MAX, &n);
    status = nk_lora_gguf_read(&adapter, &model, file, n, &error);
    free(file);
  }
  CHECK((status == NK_STATUS_OK) == (adapter != NULL) && (status == NK_STATUS_OK) == (error.text[0] == '\0'));
  if (adapter != NULL) check_adapter(adapter, &model);
  nk_adapter_free(adapter);
  return 0;
}
