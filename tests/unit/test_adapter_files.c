/*
 * test_adapter_files.c: adapters as other software keeps them: what PEFT and llama.cpp wrote (tests/fixtures/adapters) is
 * compared number by number, through permutations written anew here; and what modules are called.
 */
#include "adapter_fixture.h"

#include "adapt/lora_gguf.h"
#include "adapt/names.h"
#include "adapt/targets.h"
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

static plain plain_open(const char *folder, const char *name) {
  char path[256];
  size_t length;
  (void)snprintf(path, sizeof path, "%s/%s.safetensors", folder, name);
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

/* The modules of the models here: of a slot, where it is called so. */
static const char *module_of(const char *model, nk_slot slot) {
  static const char *const llama[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                                      "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"};
  static const char *const neox[] = {"attention.query_key_value", "", "", "attention.dense", "", "mlp.dense_h_to_4h",
                                     "mlp.dense_4h_to_h"};
  static const char *const opt[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "",
                                    "fc1", "fc2"};
  static const char *const gpt2[] = {"attn.c_attn", "", "", "attn.c_proj", "", "mlp.c_fc", "mlp.c_proj"};
  if (strcmp(model, "gptneox") == 0) return neox[slot];
  if (strcmp(model, "gpt2") == 0) return gpt2[slot];
  return strcmp(model, "opt") == 0 ? opt[slot] : llama[slot];
}

static void path_into(char *out, size_t bytes, const char *model, uint32_t layer, nk_slot slot, const char *end) {
  const char *before = strcmp(model, "gptneox") == 0 ? "gpt_neox.layers"
                       : strcmp(model, "opt") == 0   ? "model.decoder.layers"
                       : strcmp(model, "gpt2") == 0  ? "transformer.h"
                                                     : "model.layers";
  (void)snprintf(out, bytes, "base_model.model.%s.%u.%s%s", before, layer, module_of(model, slot), end);
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
    for (size_t k = 0; k < 5; k++) {
      char folder[128];
      (void)snprintf(folder, sizeof folder, "tests/fixtures/adapters/%s/%s", TRAINED[m], METHODS[k]);
      nk_adapter *adapter = read_folder(model, folder);
      plain file = plain_open(folder, "adapter_model");
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

/* What people's options make of an adapter; PEFT's own scales and ranks are beside it. */
static void folders_of_peft_s_options_mean_here_what_they_mean_there(void **state) {
  (void)state;
  static const struct {
    const char *name, *model, *values;
    uint32_t slots;
    bool everywhere;
  } cases[] = {
      {"patterns", "llama", "adapter_model", BIT(Q) | BIT(K) | BIT(DOWN), true},
      {"layers", "llama", "as_f32", BIT(Q) | BIT(UP), false},
      {"all_linear", "llama", "as_f32", (1u << NK_SLOT_COUNT) - 1, true},
      {"expression", "llama", "adapter_model", BIT(V) | BIT(ATTN_OUT), false},
      {"projection", "llama", "adapter_model", 0, true},
      {"conv1d", "gpt2", "adapter_model", BIT(Q) | BIT(DOWN), true},
      {"conv1d_ia3", "gpt2", "as_f32", BIT(Q) | BIT(DOWN), true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char folder[96], path[160];
    (void)snprintf(folder, sizeof folder, "tests/fixtures/adapters/peft_%s", cases[i].name);
    nk_model *model = tiny_model(cases[i].model);
    nk_adapter *adapter = read_folder(model, folder);
    plain file = plain_open(folder, cases[i].values);
    for (uint32_t p = 0; p < adapter->n_params; p++) {
      compare_param(cases[i].model, model, adapter, &adapter->params[p], &file);
    }
    assert_int_equal(plain_count(&file), adapter->prefix != NULL ? 1 : adapter->n_params);
    assert_int_equal(adapter->config.slots, cases[i].slots);
    assert_int_equal(adapter->config.layers == NULL, cases[i].everywhere);
    (void)snprintf(path, sizeof path, "%s/expected.json", folder);
    size_t length;
    uint8_t *text = read_whole(path, &length);
    cJSON *expected = cJSON_Parse((const char *)text);
    uint32_t compared = 0;
    for (uint32_t p = 0; p < adapter->n_params && adapter->method == NK_METHOD_LORA; p++) {
      const nk_param *param = &adapter->params[p];
      const nk_adapter_slot *slot = &adapter->slots[param->layer * NK_SLOT_COUNT + param->slot];
      path_into(path, sizeof path, cases[i].model, param->layer, param->slot, "");
      const cJSON *pair = cJSON_GetObjectItemCaseSensitive(expected, path + strlen("base_model.model."));
      assert_non_null(pair);
      assert_int_equal(slot->r, (int)cJSON_GetArrayItem(pair, 0)->valuedouble);
      assert_true(slot->scale == (float)cJSON_GetArrayItem(pair, 1)->valuedouble);
      compared++;
    }
    assert_int_equal(compared, 2 * cJSON_GetArraySize(expected));
    cJSON_Delete(expected);
    free(text);
    plain_close(&file);
    nk_adapter_free(adapter);
    nk_model_free(model);
  }
}

static nk_adapter *read_gguf(const nk_model *model, const char *name) {
  char path[128];
  size_t length;
  (void)snprintf(path, sizeof path, "tests/fixtures/adapters/%s.gguf", name);
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
    (void)snprintf(folder, sizeof folder, "tests/fixtures/adapters/%s/%s", pairs[i][0], pairs[i][1]);
    nk_adapter *gguf = read_gguf(model, name), *peft = read_folder(model, folder);
    assert_int_equal(gguf->n_values, peft->n_values);
    assert_memory_equal(gguf->values, peft->values, (size_t)gguf->n_values * sizeof(float));
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

/* The slots of a layer as bits. */
static uint32_t bits_of(const nk_slot_shape *shapes, uint32_t layer) {
  uint32_t bits = 0;
  for (uint32_t s = 0; s < NK_SLOT_COUNT; s++) {
    const nk_slot_shape *shape = &shapes[layer * NK_SLOT_COUNT + s];
    bits |= (shape->rank == 4 && shape->alpha > 2.9 && shape->alpha < 3.1 ? 1u : 0u) << s;
  }
  return bits;
}

static void words_of_people_become_slots(void **state) {
  (void)state;
  static const struct {
    const char *model, *words[2];
    uint32_t first, second; /* slots of the first two layers */
  } cases[] = {
      {"llama", {"q_proj", "v_proj"}, BIT(Q) | BIT(V), BIT(Q) | BIT(V)},
      {"llama", {"q", "attn_out"}, BIT(Q) | BIT(ATTN_OUT), BIT(Q) | BIT(ATTN_OUT)},
      {"llama", {"mlp.up_proj", "model.layers.1.self_attn.k_proj"}, BIT(UP), BIT(UP) | BIT(K)},
      {"gptneox", {"all-linear", "down"}, BIT(Q) | BIT(ATTN_OUT) | BIT(UP) | BIT(DOWN),
       BIT(Q) | BIT(ATTN_OUT) | BIT(UP) | BIT(DOWN)},
      {"gpt2", {"c_proj", "c_attn"}, BIT(Q) | BIT(ATTN_OUT) | BIT(DOWN), BIT(Q) | BIT(ATTN_OUT) | BIT(DOWN)},
      {"gpt2", {"mlp.c_proj", "down"}, BIT(DOWN), BIT(DOWN)},
  };
  const nk_slot_shape shape = {4, 3.0};
  nk_slot_shape shapes[4 * NK_SLOT_COUNT];
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    nk_model *model = tiny_model(cases[i].model);
    memset(shapes, 0xff, sizeof shapes);
    nk_status status = nk_adapter_targets(model, cases[i].words, 2, NULL, &shape, shapes, &error);
    if (status != NK_STATUS_OK) fail_msg("%s", error.text);
    assert_int_equal(bits_of(shapes, 0), cases[i].first);
    assert_int_equal(bits_of(shapes, 1), cases[i].second);
    const uint8_t second[2] = {0, 1};
    assert_int_equal(nk_adapter_targets(model, cases[i].words, 2, second, &shape, shapes, &error), NK_STATUS_OK);
    assert_int_equal(bits_of(shapes, 0), 0);
    assert_int_equal(bits_of(shapes, 1), cases[i].second);
    nk_adapter *adapter;
    nk_adapter_config config = {.method = NK_METHOD_LORA, .pattern = shapes};
    assert_int_equal(nk_adapter_create(&adapter, model, &config, &error), NK_STATUS_OK);
    assert_int_equal(adapter->config.slots, cases[i].second);
    nk_adapter_free(adapter);
    nk_model_free(model);
  }
  static const char *const bad[] = {"query", "", "proj", "_proj", "model.layers.2.self_attn.q_proj", "lm_head", "Q"};
  nk_model *model = tiny_model("llama");
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    assert_int_equal(nk_adapter_targets(model, &bad[i], 1, NULL, &shape, shapes, &error), NK_STATUS_DATA);
    assert_non_null(strstr(error.text, "there are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"));
  }
  nk_model_free(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_number_of_peft_s_folders_is_where_it_belongs),
      cmocka_unit_test(folders_of_peft_s_options_mean_here_what_they_mean_there),
      cmocka_unit_test(llama_cpp_s_conversion_and_the_folder_are_the_same_adapter),
      cmocka_unit_test(names_agree_with_the_converter_s),
      cmocka_unit_test(paths_of_other_classes_and_of_none),
      cmocka_unit_test(words_of_people_become_slots),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
