/*
 * test_adapter_write.c: what is written as PEFT's folder or as GGUF is read back to the same bits; cards.
 *
 * With a folder as argument, the program writes adapters of every method and decoder there instead, for
 * tests/reference/check_adapters.py.
 */
#include "adapter_fixture.h"

#include <sys/stat.h>

#include "adapt/card.h"
#include "adapt/lora_gguf.h"

static nk_error error;

#define BIT(name) (1u << NK_SLOT_##name)

static const nk_card CARD = {.tool = "nook",
                             .version = "0.1.0",
                             .base_name = "tiny/model \"x\"",
                             .base_sha256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                             .data_sha256 = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                             .date = "2026-11-25",
                             .examples = 12};

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
  assert_memory_equal(a->values, b->values, (size_t)a->n_values * sizeof(float));
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

static void layers_are_told_by_number_and_modules_by_their_last_word(void **state) {
  (void)state;
  nk_model *model = tiny_model("gemma3");
  uint8_t layers[6] = {0, 1, 0, 0, 1, 0};
  nk_adapter *adapter = random_adapter(model, &(nk_adapter_config){.layers = layers}, 1);
  nk_bytes config, tensors;
  assert_int_equal(nk_peft_write(adapter, model, &config, &tensors, &error), NK_STATUS_OK);
  cJSON *json = cJSON_ParseWithLength((const char *)config.data, (size_t)config.length);
  char *numbers = cJSON_PrintUnformatted(cJSON_GetObjectItem(json, "layers_to_transform"));
  char *modules = cJSON_PrintUnformatted(cJSON_GetObjectItem(json, "target_modules"));
  assert_string_equal(numbers, "[1,4]");
  assert_string_equal(modules, "[\"q_proj\",\"v_proj\"]");
  cJSON_free(numbers);
  cJSON_free(modules);
  cJSON_Delete(json);
  free(config.data);
  free(tensors.data);
  nk_adapter_free(adapter);
  nk_model_free(model);
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
    for (uint32_t l = model->config.n_layers; l-- > 0;) { /* the first with attention */
      if (model->layers[l].conv != NULL) continue;
      memset(layers, 0, sizeof layers);
      layers[l] = 1;
    }
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
      cmocka_unit_test(every_method_of_every_decoder_goes_through_peft_s_files_and_back),
      cmocka_unit_test(layers_are_told_by_number_and_modules_by_their_last_word),
      cmocka_unit_test(uneven_adapters_go_through_peft_s_files_and_back),
      cmocka_unit_test(lora_of_every_decoder_goes_through_gguf_and_back),
      cmocka_unit_test(gguf_has_one_alpha_and_b_makes_up_for_it),
      cmocka_unit_test(another_base_is_refused_with_both_hashes),
      cmocka_unit_test(a_card_that_is_none_is_refused_and_the_old_one_stays),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
