/*
 * test_adapter_files.c: adapters as other software keeps them: PEFT's folders and llama.cpp's GGUF. What PEFT and llama.cpp
 * wrote (tests/fixtures/train, lora_gguf) is compared number by number, through permutations written anew here; what is
 * written here is read back to the same bits.
 *
 * With a folder as argument, the program writes an adapter of every method and decoder there instead, for
 * tests/reference/check_adapters.py.
 */
#include "adapter_fixture.h"

#include <sys/stat.h>

#include "adapt/card.h"
#include "adapt/lora_gguf.h"
#include "adapt/names.h"
#include "adapt/peft.h"
#include "convert/family.h"

static nk_error error;

#define BIT(name) (1u << NK_SLOT_##name)

static const char *const TRAINED[] = {"llama", "gptneox", "gemma3", "opt", "qwen2"};

/* ---- Files ------------------------------------------------------------------------------------------------------- */

static nk_adapter *read_folder(const nk_model *model, const char *folder) {
  char path[256];
  size_t n_config, n_tensors;
  (void)snprintf(path, sizeof path, "%s/adapter_config.json", folder);
  uint8_t *config = read_whole(path, &n_config);
  (void)snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
  uint8_t *tensors = read_whole(path, &n_tensors);
  nk_adapter *adapter;
  nk_status status = nk_peft_read(&adapter, model, config, n_config, tensors, n_tensors, &error);
  free(config);
  free(tensors);
  if (status != NK_STATUS_OK) fail_msg("%s: %s", folder, error.text);
  return adapter;
}

/* A safetensors file of F32 matrices, read plainly. */
typedef struct plain {
  uint8_t *file;
  cJSON *header;
  const float *data;
} plain;

static plain plain_open(const char *folder) {
  char path[256];
  size_t length;
  (void)snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
  plain p = {.file = read_whole(path, &length)};
  uint64_t n;
  memcpy(&n, p.file, 8);
  p.header = cJSON_ParseWithLength((const char *)p.file + 8, (size_t)n);
  assert_non_null(p.header);
  float *data = malloc(length - 8 - (size_t)n);
  assert_non_null(data);
  memcpy(data, p.file + 8 + n, length - 8 - (size_t)n);
  p.data = data;
  return p;
}

static void plain_close(plain *p) {
  free((void *)(uintptr_t)p->data);
  free(p->file);
  cJSON_Delete(p->header);
}

static const float *plain_get(const plain *p, const char *name, uint32_t *rows, uint32_t *cols) {
  const cJSON *entry = cJSON_GetObjectItemCaseSensitive(p->header, name);
  if (entry == NULL) fail_msg("there is no %s", name);
  const cJSON *shape = cJSON_GetObjectItemCaseSensitive(entry, "shape");
  *rows = (uint32_t)cJSON_GetArrayItem(shape, 0)->valuedouble;
  *cols = (uint32_t)cJSON_GetArrayItem(shape, 1)->valuedouble;
  return p->data + (size_t)cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(entry, "data_offsets"), 0)->valuedouble / 4;
}

static uint32_t plain_count(const plain *p) {
  uint32_t n = 0;
  for (const cJSON *entry = p->header->child; entry != NULL; entry = entry->next) {
    n += strcmp(entry->string, "__metadata__") != 0;
  }
  return n;
}

/* ---- Where things stand, written anew ----------------------------------------------------------------------------- */

/* The modules of the five trained models: of a slot, where it is called so. */
static const char *module_of(const char *model, nk_slot slot) {
  static const char *const llama[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                                      "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"};
  static const char *const neox[] = {"attention.query_key_value", "", "", "attention.dense", "", "mlp.dense_h_to_4h",
                                     "mlp.dense_4h_to_h"};
  static const char *const opt[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "",
                                    "fc1", "fc2"};
  if (strcmp(model, "gptneox") == 0) return neox[slot];
  return strcmp(model, "opt") == 0 ? opt[slot] : llama[slot];
}

static void path_into(char *out, size_t bytes, const char *model, uint32_t layer, nk_slot slot, const char *end) {
  const char *before = strcmp(model, "gptneox") == 0 ? "gpt_neox" : strcmp(model, "opt") == 0 ? "model.decoder" : "model";
  (void)snprintf(out, bytes, "base_model.model.%s.layers.%u.%s%s", before, layer, module_of(model, slot), end);
}

/* The row of Hugging Face's that is row `row` here: the other direction than names.c goes. */
static uint32_t source_row(const char *name, const nk_model *model, nk_slot slot, uint32_t row) {
  uint32_t d = model->config.head_dim, heads = model->config.n_heads;
  if (strcmp(name, "llama") == 0 && slot <= NK_SLOT_K) { /* [heads, D/2, 2] from [heads, 2, D/2] */
    uint32_t head = row / d, i = row % d / 2, half = row % 2;
    return (head * 2 + half) * (d / 2) + i;
  }
  if (strcmp(name, "gptneox") == 0 && slot == NK_SLOT_Q) { /* [3, heads, D] from [heads, 3, D] */
    uint32_t part = row / (heads * d), head = row / d % heads, i = row % d;
    return (head * 3 + part) * d + i;
  }
  return row;
}

/* The parameter's values, one by one, against the file's. */
static void compare_param(const char *name, const nk_model *model, const nk_adapter *adapter, const nk_param *p,
                          const plain *file) {
  char path[160];
  uint32_t rows, cols;
  const float *values = adapter->values + p->offset;
  if (p->kind == NK_PARAM_PROMPT || p->kind == NK_PARAM_PREFIX_K || p->kind == NK_PARAM_PREFIX_V) {
    const float *all = plain_get(file, "prompt_embeddings", &rows, &cols);
    assert_int_equal(rows, p->rows);
    bool prompt = p->kind == NK_PARAM_PROMPT;
    assert_int_equal(cols, prompt ? p->cols : model->config.n_layers * 2 * p->cols);
    uint32_t first = prompt ? 0 : (p->layer * 2 + (p->kind == NK_PARAM_PREFIX_V)) * p->cols;
    for (uint32_t v = 0; v < rows; v++) {
      for (uint32_t e = 0; e < p->cols; e++) {
        uint32_t from = p->kind == NK_PARAM_PREFIX_K ? source_row(name, model, NK_SLOT_K, e) : e;
        assert_true(values[v * p->cols + e] == all[v * cols + first + from]);
      }
    }
    return;
  }
  const char *end = p->kind == NK_PARAM_LORA_A   ? ".lora_A.weight"
                    : p->kind == NK_PARAM_LORA_B ? ".lora_B.weight"
                                                 : ".ia3_l";
  path_into(path, sizeof path, name, p->layer, p->slot, end);
  const float *all = plain_get(file, path, &rows, &cols);
  bool input = p->kind == NK_PARAM_LORA_A || (p->kind == NK_PARAM_IA3 && p->slot == NK_SLOT_DOWN);
  assert_int_equal(rows, input ? p->rows : p->cols);
  assert_int_equal(cols, input ? p->cols : p->rows);
  for (uint32_t r = 0; r < p->rows; r++) {
    for (uint32_t c = 0; c < p->cols; c++) {
      float x = input ? all[r * cols + c] : all[source_row(name, model, p->slot, c) * cols + r];
      assert_true(values[r * p->cols + c] == x);
    }
  }
}

/* ---- Reading what PEFT and llama.cpp wrote ------------------------------------------------------------------------ */

static const char *const METHODS[] = {"lora_attn", "lora_all", "ia3", "prompt", "prefix"};

static void every_number_of_peft_s_folders_is_where_it_belongs(void **state) {
  (void)state;
  for (size_t m = 0; m < 5; m++) {
    nk_model *model = tiny_model(TRAINED[m]);
    for (size_t k = 0; k < 10; k++) {
      char folder[128];
      (void)snprintf(folder, sizeof folder, "tests/fixtures/train/%s/%s/%s", TRAINED[m], METHODS[k / 2],
                     k % 2 == 0 ? "init" : "final");
      nk_adapter *adapter = read_folder(model, folder);
      plain file = plain_open(folder);
      for (uint32_t i = 0; i < adapter->n_params; i++) {
        compare_param(TRAINED[m], model, adapter, &adapter->params[i], &file);
      }
      bool prefix = adapter->method == NK_METHOD_PREFIX;
      assert_int_equal(plain_count(&file), prefix ? 1 : adapter->n_params);
      for (uint32_t i = 0; i < adapter->n_params && adapter->method == NK_METHOD_LORA; i++) {
        const nk_param *p = &adapter->params[i];
        assert_true(adapter->slots[p->layer * NK_SLOT_COUNT + p->slot].scale == 2.0f); /* alpha 8, rank 4 */
      }
      plain_close(&file);
      nk_adapter_free(adapter);
    }
    nk_model_free(model);
  }
}

static nk_adapter *read_gguf(const nk_model *model, const char *name) {
  char path[128];
  size_t length;
  (void)snprintf(path, sizeof path, "tests/fixtures/lora_gguf/%s.gguf", name);
  uint8_t *file = read_whole(path, &length);
  nk_adapter *adapter;
  nk_status status = nk_lora_gguf_read(&adapter, model, file, length, &error);
  free(file);
  if (status != NK_STATUS_OK) fail_msg("%s: %s", path, error.text);
  return adapter;
}

/* llama.cpp's converter made the GGUF from the same folder. */
static void llama_cpp_s_conversion_and_the_folder_are_the_same_adapter(void **state) {
  (void)state;
  static const char *const pairs[][2] = {{"llama", "lora_attn"}, {"llama", "lora_all"}, {"gemma3", "lora_all"},
                                         {"gptneox", "lora_all"}, {"qwen2", "lora_all"}};
  for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
    char name[64], folder[128];
    nk_model *model = tiny_model(pairs[i][0]);
    (void)snprintf(name, sizeof name, "%s.%s", pairs[i][0], pairs[i][1]);
    (void)snprintf(folder, sizeof folder, "tests/fixtures/train/%s/%s/final", pairs[i][0], pairs[i][1]);
    nk_adapter *gguf = read_gguf(model, name), *peft = read_folder(model, folder);
    assert_int_equal(gguf->n_values, peft->n_values);
    assert_memory_equal(gguf->values, peft->values, gguf->n_values * sizeof(float));
    assert_true(gguf->key == peft->key);
    nk_adapter_free(gguf);
    nk_adapter_free(peft);
    nk_model_free(model);
  }
}

/* ---- Names ------------------------------------------------------------------------------------------------------- */

/* "#" is the layer's number, 3. */
static bool fits(const char *rule, const char *text) {
  for (; *rule != '\0'; rule++) {
    if (*rule != '#') {
      if (*text++ != *rule) return false;
      continue;
    }
    if (*text++ != '0') return false;
  }
  return *text == '\0';
}

/* What converts a checkpoint and what names modules agree: the path of each slot becomes the slot's tensor. */
static void names_agree_with_the_converter_s(void **state) {
  (void)state;
  for (size_t i = 0; i < N_DECODERS; i++) {
    nk_model *model = tiny_model(DECODERS[i]);
    const nk_family *family = NULL;
    for (uint32_t f = 0; f < nk_family_count() && family == NULL; f++) {
      if (strcmp(nk_family_at(f)->arch, model->config.arch->name) == 0) family = nk_family_at(f);
    }
    for (uint32_t s = 0; s < NK_SLOT_COUNT; s++) {
      char path[NK_MODULE_BYTES], tensor[NK_MODULE_BYTES];
      bool there = nk_layer_slot(&model->layers[0], (nk_slot)s) != NULL;
      assert_int_equal(nk_module_path(model, 0, (nk_slot)s, path), there);
      assert_int_equal(nk_slot_tensor(model, 0, (nk_slot)s, tensor), there);
      uint32_t layer = 9;
      nk_slot slot = NK_SLOT_COUNT;
      if (!there) continue;
      assert_true(nk_module_find(model, path, strlen(path), &layer, &slot) && layer == 0 && slot == s);
      assert_false(nk_module_find(model, path, strlen(path) - 1, &layer, &slot));
      if (family == NULL) continue; /* ernie4_5 is not converted here */
      const char *own = path;
      size_t n_prefix = strcspn(family->prefixes, "|");
      assert_memory_equal(path, family->prefixes, n_prefix);
      own += n_prefix;
      tensor[strlen(tensor) - strlen(".weight")] = '\0';
      const nk_tensor_rule *found = NULL;
      for (size_t t = 0; t < NK_FAMILY_TABLES && found == NULL; t++) {
        for (const nk_tensor_rule *rule = family->tensors[t]; rule != NULL && rule->from != NULL && found == NULL; rule++) {
          if (fits(rule->from, own)) found = rule;
        }
      }
      if (found == NULL || !fits(found->to, tensor)) fail_msg("%s is not %s", path, tensor);
      bool pairs = found->op == NK_OP_PAIR_Q || found->op == NK_OP_PAIR_K, split = found->op == NK_OP_SPLIT;
      uint32_t d = model->config.head_dim;
      assert_int_equal(nk_module_row(model, (nk_slot)s, 1), pairs ? 2 : 1);
      assert_int_equal(nk_module_row(model, (nk_slot)s, d / 2), pairs ? 1 : d / 2);
      assert_int_equal(nk_module_row(model, (nk_slot)s, d), split ? model->config.n_heads * d : d);
      assert_int_equal(nk_module_turned(model), found->op == NK_OP_TURN);
    }
    nk_model_free(model);
  }
}

static void paths_of_other_classes_and_of_none(void **state) {
  (void)state;
  nk_model *model = tiny_model("gemma3");
  static const struct {
    const char *path;
    bool found;
  } paths[] = {{"model.layers.5.self_attn.q_proj", true},
               {"layers.5.self_attn.q_proj", true},
               {"language_model.model.layers.5.self_attn.q_proj", true},
               {"model.language_model.layers.5.self_attn.q_proj", true},
               {"model.layers.6.self_attn.q_proj", false},
               {"model.layers.05.self_attn.q_proj", false},
               {"model.layers.4294967296.self_attn.q_proj", false},
               {"model.layers.5self_attn.q_proj", false},
               {"model.layers.5.self_attn.q_projx", false},
               {"model.layers.5.self_attn", false},
               {"model.layers.5.", false},
               {"model.layers.", false},
               {"model.layers", false},
               {"vision_tower.layers.5.self_attn.q_proj", false},
               {"model.h.5.self_attn.q_proj", false},
               {"", false}};
  for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
    uint32_t layer = 9;
    nk_slot slot = NK_SLOT_COUNT;
    bool found = nk_module_find(model, paths[i].path, strlen(paths[i].path), &layer, &slot);
    if (found != paths[i].found) fail_msg("%s", paths[i].path);
    if (found) assert_true(layer == 5 && slot == NK_SLOT_Q);
  }
  nk_model_free(model);
  model = tiny_model("gpt2");
  assert_string_equal(nk_module_target(model, 0, NK_SLOT_Q), "c_attn");
  assert_string_equal(nk_module_target(model, 0, NK_SLOT_ATTN_OUT), "attn.c_proj"); /* c_proj is two modules */
  assert_string_equal(nk_module_target(model, 0, NK_SLOT_DOWN), "mlp.c_proj");
  nk_model_free(model);
}

/* ---- There and back ---------------------------------------------------------------------------------------------- */

static void assert_same(const nk_adapter *a, const nk_adapter *b) {
  assert_int_equal(a->method, b->method);
  assert_int_equal(a->n_params, b->n_params);
  assert_int_equal(a->n_values, b->n_values);
  for (uint32_t i = 0; i < a->n_params; i++) {
    const nk_param *p = &a->params[i], *q = &b->params[i];
    assert_true(p->kind == q->kind && p->layer == q->layer && p->slot == q->slot && p->rows == q->rows &&
                p->cols == q->cols && p->offset == q->offset);
  }
  assert_memory_equal(a->values, b->values, a->n_values * sizeof(float));
  assert_true(a->key == b->key); /* scales too */
  assert_int_equal(a->n_virtual, b->n_virtual);
  assert_true(a->config.rslora == b->config.rslora);
  assert_true(a->config.dropout <= b->config.dropout && a->config.dropout >= b->config.dropout);
  assert_int_equal(a->card == NULL, b->card == NULL);
  if (a->card != NULL) assert_string_equal(a->card, b->card);
}

static void through_peft(const nk_adapter *adapter, const nk_model *model) {
  nk_bytes config, tensors;
  nk_adapter *back;
  if (nk_peft_write(adapter, model, &config, &tensors, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
  nk_status status = nk_peft_read(&back, model, config.data, config.length, tensors.data, tensors.length, &error);
  if (status != NK_STATUS_OK) fail_msg("%s\n%.*s", error.text, (int)config.length, (const char *)config.data);
  assert_same(adapter, back);
  nk_adapter_free(back);
  free(config.data);
  free(tensors.data);
}

static const nk_card CARD = {.tool = "nook",
                             .version = "0.1.0",
                             .base_name = "tiny/model \"x\"",
                             .base_sha256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                             .data_sha256 = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                             .date = "2026-11-25",
                             .examples = 12};

static void every_method_of_every_decoder_goes_through_peft_s_files_and_back(void **state) {
  (void)state;
  for (size_t i = 0; i < N_DECODERS; i++) {
    nk_model *model = tiny_model(DECODERS[i]);
    for (uint32_t m = 0; m < NK_METHOD_COUNT; m++) {
      nk_adapter_config config = {.method = (nk_method)m, .rank = 3, .alpha = 5, .n_virtual = 4};
      if (m == NK_METHOD_LORA) config.dropout = 0.1;
      nk_adapter *adapter = random_adapter(model, &config, 10 * i + m);
      through_peft(adapter, model);
      assert_int_equal(nk_adapter_write_card(adapter, &CARD, &error), NK_STATUS_OK);
      through_peft(adapter, model);
      nk_adapter_free(adapter);
    }
    uint32_t all = 0;
    for (uint32_t s = 0; s < NK_SLOT_COUNT; s++) all |= nk_layer_slot(&model->layers[0], (nk_slot)s) != NULL ? 1u << s : 0;
    nk_adapter *adapter = random_adapter(model, &(nk_adapter_config){.slots = all, .rank = 2, .rslora = true}, i);
    through_peft(adapter, model);
    nk_adapter_free(adapter);
    nk_model_free(model);
  }
}

/* Odd layouts: some layers alone; slots that differ from layer to layer; ranks and scales of their own. */
static void uneven_adapters_go_through_peft_s_files_and_back(void **state) {
  (void)state;
  nk_model *model = tiny_model("gemma3");
  uint8_t layers[6] = {0, 1, 0, 0, 1, 0};
  nk_slot_shape pattern[6][NK_SLOT_COUNT] = {{{0}}};
  pattern[0][NK_SLOT_Q] = (nk_slot_shape){2, 3};
  pattern[1][NK_SLOT_UP] = (nk_slot_shape){5, -1};
  pattern[1][NK_SLOT_DOWN] = (nk_slot_shape){2, 0.3};
  pattern[5][NK_SLOT_Q] = (nk_slot_shape){1, 3};
  for (uint32_t m = 0; m < 4; m++) {
    nk_adapter_config config = {.method = m < 2 ? NK_METHOD_LORA : NK_METHOD_IA3, .rslora = m == 1};
    for (uint32_t k = 0; k < 2; k++) {
      config.layers = k == 0 ? layers : NULL;
      config.pattern = k == 0 ? NULL : &pattern[0][0];
      nk_adapter *adapter = random_adapter(model, &config, m);
      through_peft(adapter, model);
      nk_adapter_free(adapter);
    }
  }
  nk_model_free(model);
  model = tiny_model("lfm2"); /* out_proj is a module of both kinds of layers */
  for (uint32_t l = 0; l < 2; l++) {
    uint8_t some[NK_MAX_LAYERS] = {0};
    some[l] = 1;
    nk_adapter_config config = {.slots = BIT(Q) | BIT(ATTN_OUT), .layers = some};
    nk_adapter *adapter = random_adapter(model, &config, l);
    through_peft(adapter, model);
    nk_adapter_free(adapter);
    config.method = NK_METHOD_IA3;
    adapter = random_adapter(model, &config, l);
    through_peft(adapter, model);
    nk_adapter_free(adapter);
  }
  nk_model_free(model);
}

static nk_adapter *through_gguf(const nk_adapter *adapter, const nk_model *model) {
  nk_bytes file;
  nk_adapter *back;
  if (nk_lora_gguf_write(adapter, model, &file, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
  if (nk_lora_gguf_read(&back, model, file.data, file.length, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
  free(file.data);
  return back;
}

static void lora_of_every_decoder_goes_through_gguf_and_back(void **state) {
  (void)state;
  for (size_t i = 0; i < N_DECODERS; i++) {
    nk_model *model = tiny_model(DECODERS[i]);
    nk_adapter *adapter = random_adapter(model, &(nk_adapter_config){.rank = 4, .alpha = 6}, i);
    assert_int_equal(nk_adapter_write_card(adapter, &CARD, &error), NK_STATUS_OK);
    nk_adapter *back = through_gguf(adapter, model);
    assert_same(adapter, back);
    nk_adapter_free(adapter);
    nk_adapter_free(back);
    nk_model_free(model);
  }
}

/* B's scale where the file's one alpha is not the slot's: the product is the same. */
static void gguf_has_one_alpha_and_b_makes_up_for_it(void **state) {
  (void)state;
  nk_model *model = tiny_model("llama");
  nk_slot_shape pattern[2][NK_SLOT_COUNT] = {{{0}}};
  pattern[0][NK_SLOT_K] = (nk_slot_shape){2, 0};
  pattern[0][NK_SLOT_DOWN] = (nk_slot_shape){2, 3};
  pattern[1][NK_SLOT_UP] = (nk_slot_shape){5, -1};
  pattern[1][NK_SLOT_V] = (nk_slot_shape){6, 3};
  for (int rslora = 0; rslora < 2; rslora++) {
    nk_adapter *adapter = random_adapter(model, &(nk_adapter_config){.pattern = &pattern[0][0], .rslora = rslora == 1}, 4);
    nk_adapter *back = through_gguf(adapter, model);
    assert_int_equal(back->n_params, adapter->n_params);
    for (uint32_t i = 0; i < adapter->n_params; i++) {
      const nk_param *p = &adapter->params[i];
      uint32_t at = p->layer * NK_SLOT_COUNT + p->slot;
      bool b = p->kind == NK_PARAM_LORA_B;
      double was = b ? (double)adapter->slots[at].scale : 1, is = b ? (double)back->slots[at].scale : 1;
      for (uint64_t v = p->offset; v < p->offset + (uint64_t)p->rows * p->cols; v++) {
        double wanted = was * (double)adapter->values[v], got = is * (double)back->values[v];
        assert_true(got - wanted <= 1e-6 && wanted - got <= 1e-6);
      }
    }
    nk_adapter_free(adapter);
    nk_adapter_free(back);
  }
  nk_adapter *ia3 = random_adapter(model, &(nk_adapter_config){.method = NK_METHOD_IA3}, 1);
  nk_bytes file;
  assert_int_equal(nk_lora_gguf_write(ia3, model, &file, &error), NK_STATUS_UNSUPPORTED);
  assert_null(file.data);
  assert_non_null(strstr(error.text, "\"ia3\""));
  nk_adapter_free(ia3);
  nk_model_free(model);
}

/* ---- Cards ------------------------------------------------------------------------------------------------------- */

static void another_base_is_refused_with_both_hashes(void **state) {
  (void)state;
  nk_model *model = tiny_model("llama");
  nk_adapter *adapter = random_adapter(model, &(nk_adapter_config){0}, 1);
  const char *other = "FFFF456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
  const char *same = "0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF";
  assert_int_equal(nk_adapter_check_base(adapter, other, &error), NK_STATUS_OK); /* no card, no claim */
  assert_int_equal(nk_adapter_write_card(adapter, &CARD, &error), NK_STATUS_OK);
  assert_int_equal(nk_adapter_check_base(adapter, CARD.base_sha256, &error), NK_STATUS_OK);
  assert_int_equal(nk_adapter_check_base(adapter, same, &error), NK_STATUS_OK);
  assert_int_equal(nk_adapter_check_base(adapter, other, &error), NK_STATUS_ADAPTER_MISMATCH);
  assert_non_null(strstr(error.text, CARD.base_sha256));
  assert_non_null(strstr(error.text, other));
  assert_int_equal(nk_adapter_check_base(adapter, "0123", &error), NK_STATUS_DATA);
  cJSON *card = cJSON_Parse(adapter->card);
  assert_string_equal(cJSON_GetObjectItem(card, "method")->valuestring, "lora");
  assert_string_equal(cJSON_GetObjectItem(card, "base_name")->valuestring, CARD.base_name);
  assert_int_equal((int)cJSON_GetObjectItem(card, "examples")->valuedouble, 12);
  cJSON_Delete(card);
  nk_adapter_free(adapter);
  nk_model_free(model);
}

static void a_card_that_is_none_is_refused_and_the_old_one_stays(void **state) {
  (void)state;
  nk_model *model = tiny_model("llama");
  nk_adapter *adapter = random_adapter(model, &(nk_adapter_config){0}, 1);
  nk_card card = CARD;
  card.base_sha256 = "123";
  assert_int_equal(nk_adapter_write_card(adapter, &card, &error), NK_STATUS_DATA);
  char *long_text = malloc(NK_ADAPTER_CARD_BYTES + 2);
  assert_non_null(long_text);
  memset(long_text, 'x', NK_ADAPTER_CARD_BYTES + 1);
  long_text[NK_ADAPTER_CARD_BYTES + 1] = '\0';
  card = (nk_card){.tool = long_text};
  assert_int_equal(nk_adapter_write_card(adapter, &card, &error), NK_STATUS_DATA);
  assert_null(adapter->card);
  assert_int_equal(nk_adapter_take_card(adapter, "{\"x\":[1]}", 9, &error), NK_STATUS_OK);
  static const char *const bad[] = {"",
                                    "[]",
                                    "{\"tool\":3}",
                                    "{\"base_sha256\":\"12\"}",
                                    "{\"a\":1,\"a\":2}",
                                    "{\"a\":\"\xff\"}",
                                    "{\"a\":\"\\u0000\"}"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    assert_int_equal(nk_adapter_take_card(adapter, bad[i], strlen(bad[i]), &error), NK_STATUS_FORMAT);
    assert_string_equal(adapter->card, "{\"x\":[1]}");
  }
  assert_int_equal(nk_adapter_take_card(adapter, long_text, NK_ADAPTER_CARD_BYTES + 1, &error), NK_STATUS_FORMAT);
  free(long_text);
  nk_adapter_free(adapter);
  nk_model_free(model);
}

/* ---- For check_adapters.py ---------------------------------------------------------------------------------------- */

static void put_file(const char *folder, const char *name, const nk_bytes *bytes) {
  char path[512];
  (void)snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "wb");
  if (file == NULL || fwrite(bytes->data, 1, (size_t)bytes->length, file) != bytes->length || fclose(file) != 0) exit(1);
}

static void put_folder(const nk_adapter *adapter, const nk_model *model, const char *out, const char *name,
                       const char *what) {
  char folder[400];
  nk_bytes config, tensors;
  (void)snprintf(folder, sizeof folder, "%s/%s.%s", out, name, what);
  if (nk_peft_write(adapter, model, &config, &tensors, &error) != NK_STATUS_OK || mkdir(folder, 0777) != 0) exit(1);
  put_file(folder, "adapter_config.json", &config);
  put_file(folder, "adapter_model.safetensors", &tensors);
  free(config.data);
  free(tensors.data);
}

static int write_all(const char *out) {
  for (size_t i = 0; i < N_DECODERS; i++) {
    nk_model *model = tiny_model(DECODERS[i]);
    uint32_t all = 0;
    for (uint32_t s = 0; s < NK_SLOT_COUNT; s++) all |= nk_layer_slot(&model->layers[0], (nk_slot)s) != NULL ? 1u << s : 0;
    uint8_t layers[NK_MAX_LAYERS] = {0};
    layers[0] = 1;
    nk_slot_shape pattern[8][NK_SLOT_COUNT] = {{{0}}};
    pattern[0][NK_SLOT_Q] = (nk_slot_shape){2, 3};
    pattern[0][NK_SLOT_DOWN] = (nk_slot_shape){1, 5};
    if (model->config.n_layers > 1) pattern[1][NK_SLOT_DOWN] = (nk_slot_shape){4, 0.7};
    const struct {
      const char *name;
      nk_adapter_config config;
    } adapters[] = {{"lora", {.rank = 4, .alpha = 6}},
                    {"lora_all", {.slots = all, .rank = 3, .rslora = true, .dropout = 0.1}},
                    {"lora_layer", {.layers = layers}},
                    {"lora_uneven", {.pattern = &pattern[0][0]}},
                    {"ia3", {.method = NK_METHOD_IA3}},
                    {"ia3_layer", {.method = NK_METHOD_IA3, .layers = layers}},
                    {"prompt", {.method = NK_METHOD_PROMPT, .n_virtual = 5}},
                    {"prefix", {.method = NK_METHOD_PREFIX, .n_virtual = 6}}};
    for (size_t a = 0; a < sizeof adapters / sizeof adapters[0]; a++) {
      nk_adapter *adapter = random_adapter(model, &adapters[a].config, a);
      if (nk_adapter_write_card(adapter, &CARD, &error) != NK_STATUS_OK) exit(1);
      put_folder(adapter, model, out, DECODERS[i], adapters[a].name);
      nk_bytes file;
      if (adapter->method == NK_METHOD_LORA) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s.%s.gguf", DECODERS[i], adapters[a].name);
        if (nk_lora_gguf_write(adapter, model, &file, &error) != NK_STATUS_OK) exit(1);
        put_file(out, name, &file);
        free(file.data);
      }
      nk_adapter_free(adapter);
    }
    nk_model_free(model);
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc > 1) return write_all(argv[1]);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_number_of_peft_s_folders_is_where_it_belongs),
      cmocka_unit_test(llama_cpp_s_conversion_and_the_folder_are_the_same_adapter),
      cmocka_unit_test(names_agree_with_the_converter_s),
      cmocka_unit_test(paths_of_other_classes_and_of_none),
      cmocka_unit_test(every_method_of_every_decoder_goes_through_peft_s_files_and_back),
      cmocka_unit_test(uneven_adapters_go_through_peft_s_files_and_back),
      cmocka_unit_test(lora_of_every_decoder_goes_through_gguf_and_back),
      cmocka_unit_test(gguf_has_one_alpha_and_b_makes_up_for_it),
      cmocka_unit_test(another_base_is_refused_with_both_hashes),
      cmocka_unit_test(a_card_that_is_none_is_refused_and_the_old_one_stays),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
