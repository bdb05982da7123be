/* names.c: see names.h. Module names of transformers (modeling_*.py); a test holds them against convert/family.c. */
#include "adapt/names.h"

#include <stdio.h>
#include <string.h>

typedef struct names {
  const char *arch;
  const char *before, *layers; /* "model.", "layers" */
  const char *slot[NK_SLOT_COUNT];
  const char *fused_qkv, *fused_gate; /* at Q and GATE, where the file has them; NULL: transformers has them apart */
  const char *conv_in, *conv_out;
  bool pairs, split, turned;
} names;

#define LLAMA_ATTENTION "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"
#define LLAMA_FEED_FORWARD "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"
#define LLAMA {LLAMA_ATTENTION, LLAMA_FEED_FORWARD}

static const names NAMES[] = {
    {.arch = "llama", .before = "model.", .layers = "layers", .slot = LLAMA, .pairs = true},
    {.arch = "qwen2", .before = "model.", .layers = "layers", .slot = LLAMA},
    {.arch = "qwen3", .before = "model.", .layers = "layers", .slot = LLAMA},
    {.arch = "gemma", .before = "model.", .layers = "layers", .slot = LLAMA},
    {.arch = "gemma2", .before = "model.", .layers = "layers", .slot = LLAMA},
    {.arch = "gemma3", .before = "model.", .layers = "layers", .slot = LLAMA},
    {.arch = "stablelm", .before = "model.", .layers = "layers", .slot = LLAMA},
    {.arch = "olmo2", .before = "model.", .layers = "layers", .slot = LLAMA},
    {.arch = "ernie4_5", .before = "model.", .layers = "layers", .slot = LLAMA},
    {.arch = "phi3", .before = "model.", .layers = "layers", .slot = {NULL, NULL, NULL, "self_attn.o_proj", NULL, NULL,
     "mlp.down_proj"}, .fused_qkv = "self_attn.qkv_proj", .fused_gate = "mlp.gate_up_proj"},
    {.arch = "phi2", .before = "model.", .layers = "layers", .slot = {"self_attn.q_proj", "self_attn.k_proj",
     "self_attn.v_proj", "self_attn.dense", NULL, "mlp.fc1", "mlp.fc2"}},
    {.arch = "gptneox", .before = "gpt_neox.", .layers = "layers", .slot = {NULL, NULL, NULL, "attention.dense", NULL,
     "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"}, .fused_qkv = "attention.query_key_value", .split = true},
    {.arch = "gpt2", .before = "transformer.", .layers = "h", .slot = {NULL, NULL, NULL, "attn.c_proj", NULL, "mlp.c_fc",
     "mlp.c_proj"}, .fused_qkv = "attn.c_attn", .turned = true},
    {.arch = "opt", .before = "model.decoder.", .layers = "layers", .slot = {"self_attn.q_proj", "self_attn.k_proj",
     "self_attn.v_proj", "self_attn.out_proj", NULL, "fc1", "fc2"}},
    {.arch = "lfm2", .before = "model.", .layers = "layers", .slot = {"self_attn.q_proj", "self_attn.k_proj",
     "self_attn.v_proj", "self_attn.out_proj", "feed_forward.w1", "feed_forward.w3", "feed_forward.w2"},
     .conv_in = "conv.in_proj", .conv_out = "conv.out_proj"},
};

/* What may stand before "layers.3." instead of the table's own: the model without its head, and inside of one that also
   sees pictures. */
static const char *const BEFORE[] = {"", "decoder.", "language_model.model.", "model.language_model.",
                                     "model.language_model.model."};

static const names *names_of(const nk_model *model) {
  for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
    if (strcmp(NAMES[i].arch, model->config.arch->name) == 0) return &NAMES[i];
  }
  return NULL;
}

/* ---- Hugging Face ------------------------------------------------------------------------------------------------ */

/* What the module of a slot is called in a layer of that kind. */
static const char *tail_of(const names *n, bool conv, bool fused_qkv, bool fused_gate, nk_slot slot) {
  if (conv && slot == NK_SLOT_Q) return n->conv_in;
  if (conv && slot == NK_SLOT_ATTN_OUT) return n->conv_out;
  if (fused_qkv && slot == NK_SLOT_Q) return n->fused_qkv;
  if (fused_gate && slot == NK_SLOT_GATE) return n->fused_gate;
  return n->slot[slot];
}

const char *nk_module_tail(const nk_model *model, uint32_t layer, nk_slot slot) {
  const names *n = names_of(model);
  if (n == NULL || layer >= model->config.n_layers) return NULL;
  const nk_layer *l = &model->layers[layer];
  if (nk_layer_slot(l, slot) == NULL) return NULL;
  return tail_of(n, l->conv != NULL, l->n_qkv == 1, l->up.matrix.format == NULL, slot);
}

bool nk_module_path(const nk_model *model, uint32_t layer, nk_slot slot, char path[NK_MODULE_BYTES]) {
  const char *tail = nk_module_tail(model, layer, slot);
  if (tail == NULL) return false;
  const names *n = names_of(model);
  (void)snprintf(path, NK_MODULE_BYTES, "%s%s.%u.%s", n->before, n->layers, layer, tail);
  return true;
}

const char *nk_module_target(const nk_model *model, uint32_t layer, nk_slot slot) {
  const char *tail = nk_module_tail(model, layer, slot);
  const char *dot = tail == NULL ? NULL : strrchr(tail, '.');
  if (dot == NULL) return tail;
  const names *n = names_of(model);
  for (uint32_t s = 0; s < NK_SLOT_COUNT; s++) {
    for (int kind = 0; kind < 4; kind++) {
      const char *other = tail_of(n, kind == 1, kind == 2, kind == 3, (nk_slot)s);
      if (other == NULL || strcmp(other, tail) == 0) continue;
      const char *other_dot = strrchr(other, '.');
      if (other_dot != NULL && strcmp(other_dot, dot) == 0) return tail;
    }
  }
  return dot + 1;
}

/* The number at *at, which moves behind it and the dot that follows. No leading zeros, as nobody writes them. */
static bool take_number(const char *path, size_t length, size_t *at, uint32_t *number) {
  size_t from = *at;
  uint64_t value = 0;
  while (*at < length && path[*at] >= '0' && path[*at] <= '9' && *at - from < 6) {
    value = value * 10 + (uint64_t)(path[*at] - '0');
    (*at)++;
  }
  if (*at == from || (path[from] == '0' && *at - from > 1) || *at >= length || path[*at] != '.') return false;
  (*at)++;
  *number = (uint32_t)value;
  return true;
}

static bool find_behind(const nk_model *model, const names *n, const char *before, const char *path, size_t length,
                        uint32_t *layer, nk_slot *slot) {
  size_t n_before = strlen(before), n_layers = strlen(n->layers), at = n_before + n_layers + 1;
  if (length < at || memcmp(path, before, n_before) != 0) return false;
  if (memcmp(path + n_before, n->layers, n_layers) != 0 || path[at - 1] != '.') return false;
  if (!take_number(path, length, &at, layer) || *layer >= model->config.n_layers) return false;
  for (uint32_t s = 0; s < NK_SLOT_COUNT; s++) {
    const char *tail = nk_module_tail(model, *layer, (nk_slot)s);
    if (tail == NULL || strlen(tail) != length - at || memcmp(path + at, tail, length - at) != 0) continue;
    *slot = (nk_slot)s;
    return true;
  }
  return false;
}

bool nk_module_find(const nk_model *model, const char *path, size_t length, uint32_t *layer, nk_slot *slot) {
  const names *n = names_of(model);
  if (n == NULL) return false;
  if (find_behind(model, n, n->before, path, length, layer, slot)) return true;
  for (size_t i = 0; i < sizeof BEFORE / sizeof BEFORE[0]; i++) {
    if (find_behind(model, n, BEFORE[i], path, length, layer, slot)) return true;
  }
  return false;
}

bool nk_module_turned(const nk_model *model) {
  const names *n = names_of(model);
  return n != NULL && n->turned;
}

const char *nk_module_layers(const nk_model *model) {
  const names *n = names_of(model);
  return n == NULL ? NULL : n->layers;
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

/* Of a head's two halves (i, i + D/2) to pairs (2i, 2i + 1). */
static uint32_t pair(uint32_t row, uint32_t head_dim) {
  uint32_t head = row / head_dim, i = row % head_dim, half = head_dim / 2;
  return head * head_dim + (i < half ? 2 * i : 2 * (i - half) + 1);
}

uint32_t nk_module_row(const nk_model *model, nk_slot slot, uint32_t row) {
  const names *n = names_of(model);
  uint32_t d = model->config.head_dim;
  if (n == NULL) return row;
  if (n->pairs && (slot == NK_SLOT_Q || slot == NK_SLOT_K)) return pair(row, d);
  if (!n->split || slot != NK_SLOT_Q) return row;
  uint32_t head = row / (3 * d), part = row / d % 3; /* [head][q|k|v][D] to [q|k|v][head][D] */
  return (part * model->config.n_heads + head) * d + row % d;
}

uint32_t nk_key_row(const nk_model *model, uint32_t row) {
  const names *n = names_of(model);
  return n != NULL && n->pairs ? pair(row, model->config.head_dim) : row;
}

/* ---- GGUF -------------------------------------------------------------------------------------------------------- */

bool nk_slot_tensor(const nk_model *model, uint32_t layer, nk_slot slot, char name[NK_MODULE_BYTES]) {
  static const char *const STEMS[NK_SLOT_COUNT] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                                   "ffn_gate", "ffn_up", "ffn_down"};
  if (layer >= model->config.n_layers) return false;
  const nk_layer *l = &model->layers[layer];
  if (nk_layer_slot(l, slot) == NULL) return false;
  const char *stem = STEMS[slot];
  if (slot == NK_SLOT_Q && l->n_qkv == 1) stem = l->conv != NULL ? "shortconv.in_proj" : "attn_qkv";
  if (slot == NK_SLOT_ATTN_OUT && l->conv != NULL) stem = "shortconv.out_proj";
  if (slot == NK_SLOT_GATE && l->up.matrix.format == NULL) stem = "ffn_up";
  (void)snprintf(name, NK_MODULE_BYTES, "blk.%u.%s.weight", layer, stem);
  return true;
}
