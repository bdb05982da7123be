/*
 * test_adapter.c: adapters of every method on every tiny decoder: what sits where, how it begins, what is refused.
 */
#include "adapter_fixture.h"

#include <math.h>

#include "adapt/methods.h"

static nk_error error;

#define BIT(name) (1u << NK_SLOT_##name)

static nk_adapter *make(const nk_model *model, const nk_adapter_config *config) {
  nk_adapter *adapter;
  if (nk_adapter_create(&adapter, model, config, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
  assert_non_null(adapter);
  return adapter;
}

static void refused(const nk_model *model, const nk_adapter_config *config, const char *says) {
  nk_adapter *adapter = (nk_adapter *)(uintptr_t)1;
  assert_int_equal(nk_adapter_create(&adapter, model, config, &error), NK_STATUS_DATA);
  assert_null(adapter);
  if (strstr(error.text, says) == NULL) fail_msg("\"%s\" does not say \"%s\"", error.text, says);
}

/* ---- The tables -------------------------------------------------------------------------------------------------- */

static void every_row_of_the_table_is_whole(void **state) {
  (void)state;
  for (uint32_t i = 0; i < NK_METHOD_COUNT; i++) {
    const nk_method_row *row = nk_method_row_of((nk_method)i);
    assert_non_null(row);
    assert_non_null(row->name);
    assert_non_null(row->peft_type);
    assert_non_null(row->resolve);
    assert_non_null(row->layout);
    assert_non_null(row->columns);
    assert_non_null(row->bind);
    assert_non_null(row->initialize);
    nk_method found = NK_METHOD_COUNT;
    assert_true(nk_method_find(row->name, strlen(row->name), &found));
    assert_int_equal(found, i);
    for (uint32_t j = 0; j < i; j++) {
      assert_string_not_equal(row->name, nk_method_name((nk_method)j));
      assert_string_not_equal(row->peft_type, nk_method_row_of((nk_method)j)->peft_type);
    }
  }
  nk_method none;
  assert_false(nk_method_find("lora ", 5, &none));
  assert_null(nk_method_row_of(NK_METHOD_COUNT));
  assert_null(nk_method_name(NK_METHOD_COUNT));
}

static void every_decoder_architecture_has_default_slots_and_a_tiny_model_here(void **state) {
  (void)state;
  for (uint32_t a = 0; a < nk_arch_count(); a++) {
    const nk_arch *arch = nk_arch_at(a);
    bool seen = false;
    for (size_t i = 0; i < N_DECODERS && !arch->encoder; i++) {
      nk_model *model = tiny_model(DECODERS[i]);
      if (model->config.arch == arch) {
        seen = true;
        uint32_t lora = nk_method_slots(NK_METHOD_LORA, model), ia3 = nk_method_slots(NK_METHOD_IA3, model);
        assert_true(lora != 0);
        assert_true((ia3 & BIT(DOWN)) != 0 && ia3 != BIT(DOWN));
        assert_int_equal(nk_method_slots(NK_METHOD_PROMPT, model), 0);
        assert_int_equal(nk_method_slots(NK_METHOD_PREFIX, model), 0);
      }
      nk_model_free(model);
    }
    if (seen == arch->encoder) fail_msg("%s", arch->name);
  }
}

/* peft/utils/constants.py of PEFT 0.21. */
static void default_slots_are_peft_s(void **state) {
  (void)state;
  static const struct {
    const char *model;
    uint32_t lora, ia3;
  } expected[] = {
      {"llama", BIT(Q) | BIT(V), BIT(K) | BIT(V) | BIT(DOWN)},
      {"mistral", BIT(Q) | BIT(V), BIT(K) | BIT(V) | BIT(DOWN)},
      {"gemma3", BIT(Q) | BIT(V), BIT(Q) | BIT(V) | BIT(DOWN)},
      {"phi2", BIT(Q) | BIT(V) | BIT(UP) | BIT(DOWN), BIT(Q) | BIT(V) | BIT(DOWN)},
      {"gptneox", BIT(Q), BIT(Q) | BIT(DOWN)},
      {"gpt2", BIT(Q), BIT(Q) | BIT(DOWN)},
      {"opt", BIT(Q) | BIT(V), BIT(Q) | BIT(K) | BIT(DOWN)},
      {"phi3", BIT(Q), BIT(Q) | BIT(DOWN)}, /* fused; PEFT has no default */
  };
  for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
    nk_model *model = tiny_model(expected[i].model);
    assert_int_equal(nk_method_slots(NK_METHOD_LORA, model), expected[i].lora);
    assert_int_equal(nk_method_slots(NK_METHOD_IA3, model), expected[i].ia3);
    nk_model_free(model);
  }
}

static void each_slot_is_the_linear_of_its_name(void **state) {
  (void)state;
  nk_model *model = tiny_model("llama"), *fused = tiny_model("phi3");
  const nk_layer *l = &model->layers[1], *f = &fused->layers[0];
  const nk_linear *expected[NK_SLOT_COUNT] = {&l->qkv[0], &l->qkv[1], &l->qkv[2], &l->attn_out, &l->gate, &l->up, &l->down};
  const nk_linear *of_fused[NK_SLOT_COUNT] = {&f->qkv[0], NULL, NULL, &f->attn_out, &f->gate, NULL, &f->down};
  for (uint32_t s = 0; s < NK_SLOT_COUNT; s++) {
    assert_ptr_equal(nk_layer_slot(l, (nk_slot)s), expected[s]);
    assert_ptr_equal(nk_layer_slot(f, (nk_slot)s), of_fused[s]);
  }
  assert_null(nk_layer_slot(l, NK_SLOT_COUNT));
  nk_model_free(model);
  nk_model_free(fused);
}

/* ---- What sits where --------------------------------------------------------------------------------------------- */

static void assert_layout(const nk_adapter *adapter, const nk_model *model) {
  uint64_t offset = 0;
  for (uint32_t i = 0; i < adapter->n_params; i++) {
    const nk_param *p = &adapter->params[i], *before = i == 0 ? NULL : p - 1;
    assert_int_equal(p->offset, offset);
    offset += (uint64_t)p->rows * p->cols;
    if (before == NULL) continue;
    bool ascends = before->layer != p->layer  ? before->layer < p->layer
                   : before->slot != p->slot ? before->slot < p->slot
                                             : before->kind < p->kind;
    assert_true(ascends);
  }
  assert_int_equal(offset, adapter->n_values);
  assert_int_equal(nk_adapter_check(adapter, model, &error), NK_STATUS_OK);
}

static void every_method_fits_every_decoder_and_points_into_one_array(void **state) {
  (void)state;
  for (size_t i = 0; i < N_DECODERS; i++) {
    nk_model *model = tiny_model(DECODERS[i]);
    const nk_config *c = &model->config;
    for (uint32_t m = 0; m < NK_METHOD_COUNT; m++) {
      nk_adapter_config config = {.method = (nk_method)m};
      nk_adapter *adapter = make(model, &config);
      assert_layout(adapter, model);
      assert_int_equal(adapter->slots != NULL, m == NK_METHOD_LORA || m == NK_METHOD_IA3);
      assert_int_equal(adapter->prefix != NULL, m == NK_METHOD_PREFIX);
      assert_int_equal(adapter->prompt != NULL, m == NK_METHOD_PROMPT);
      assert_int_equal(adapter->n_virtual, adapter->slots != NULL ? 0 : 20);
      assert_int_equal(adapter->config.slots, nk_method_slots((nk_method)m, model));
      assert_null(adapter->config.layers);
      if (m == NK_METHOD_PROMPT) assert_int_equal(adapter->n_values, 20ull * c->width);
      for (uint32_t l = 0; l < c->n_layers; l++) {
        const nk_layer *layer = &model->layers[l];
        if (adapter->prefix != NULL) {
          assert_int_equal(adapter->prefix[l].keys == NULL, layer->conv != NULL);
          assert_int_equal(adapter->prefix[l].values == NULL, layer->conv != NULL);
        }
        for (uint32_t s = 0; s < NK_SLOT_COUNT && adapter->slots != NULL; s++) {
          const nk_adapter_slot *slot = &adapter->slots[l * NK_SLOT_COUNT + s];
          const nk_linear *linear = nk_layer_slot(layer, (nk_slot)s);
          bool there = (adapter->config.slots >> s & 1u) != 0 && linear != NULL;
          assert_int_equal(slot->a != NULL, there && m == NK_METHOD_LORA);
          assert_int_equal(slot->ia3 != NULL, there && m == NK_METHOD_IA3);
          if (slot->a == NULL) continue;
          assert_ptr_equal(slot->b, slot->a + 8ull * linear->matrix.cols); /* A [r, in] and then B [r, out] */
          assert_int_equal(slot->r, 8);
          assert_true(slot->scale == 1.0f);
        }
      }
      nk_adapter_free(adapter);
    }
    nk_model_free(model);
  }
}

static void slots_layers_rank_and_scale_are_as_asked(void **state) {
  (void)state;
  nk_model *model = tiny_model("llama");
  uint8_t layers[2] = {0, 1};
  nk_adapter_config config = {.method = NK_METHOD_LORA, .rank = 4, .alpha = 6, .rslora = true, .dropout = 0.1,
                              .slots = BIT(K) | BIT(DOWN), .layers = layers};
  nk_adapter *adapter = make(model, &config);
  assert_int_equal(adapter->n_params, 4);
  const nk_adapter_slot *k = &adapter->slots[NK_SLOT_COUNT + NK_SLOT_K];
  const nk_adapter_slot *down = &adapter->slots[NK_SLOT_COUNT + NK_SLOT_DOWN];
  assert_true(k->scale == 3.0f && down->scale == 3.0f); /* 6 / √4 */
  assert_int_equal(adapter->params[0].cols, 64);
  assert_int_equal(adapter->params[1].cols, 32);
  assert_int_equal(adapter->params[2].cols, 160);
  assert_int_equal(adapter->params[3].cols, 64);
  assert_non_null(adapter->config.layers);
  assert_ptr_not_equal(adapter->config.layers, layers);
  assert_int_equal(adapter->config.layers[0], 0);
  assert_int_equal(adapter->config.layers[1], 1);
  nk_adapter_free(adapter);

  nk_slot_shape pattern[2][NK_SLOT_COUNT] = {{{0}}};
  pattern[0][NK_SLOT_Q] = (nk_slot_shape){2, 3};
  pattern[1][NK_SLOT_UP] = (nk_slot_shape){5, -1};
  config = (nk_adapter_config){.method = NK_METHOD_LORA, .pattern = &pattern[0][0]};
  adapter = make(model, &config);
  assert_layout(adapter, model);
  assert_int_equal(adapter->n_params, 4);
  assert_true(adapter->slots[NK_SLOT_Q].scale == 1.5f);
  assert_true(adapter->slots[NK_SLOT_COUNT + NK_SLOT_UP].scale == -0.2f);
  assert_int_equal(adapter->slots[NK_SLOT_COUNT + NK_SLOT_UP].r, 5);
  assert_int_equal(adapter->config.slots, BIT(Q) | BIT(UP));
  assert_int_equal(adapter->config.rank, 2);
  assert_null(adapter->config.layers);
  assert_null(adapter->config.pattern);
  nk_adapter_free(adapter);
  nk_model_free(model);
}

static void what_the_model_has_not_and_numbers_out_of_range_are_refused(void **state) {
  (void)state;
  nk_model *model = tiny_model("gptneox"), *encoder = tiny_model("bert");
  uint8_t none[2] = {0};
  nk_slot_shape pattern[2][NK_SLOT_COUNT] = {{{0}}};
  const nk_slot_shape *all = &pattern[0][0];
  refused(model, &(nk_adapter_config){.method = NK_METHOD_COUNT}, "no method of number 4");
  refused(encoder, &(nk_adapter_config){.method = NK_METHOD_LORA}, "bert model is an encoder");
  refused(model, &(nk_adapter_config){.slots = BIT(Q) | BIT(K)}, "the slot \"k\"");
  refused(model, &(nk_adapter_config){.slots = BIT(GATE)}, "the slot \"gate\"");
  refused(model, &(nk_adapter_config){.slots = 1u << NK_SLOT_COUNT}, "bits beyond them");
  refused(model, &(nk_adapter_config){.slots = BIT(Q), .layers = none}, "none of the layers");
  refused(model, &(nk_adapter_config){.rank = NK_ADAPTER_MAX_RANK + 1}, "rank 1025");
  refused(model, &(nk_adapter_config){.alpha = (double)INFINITY}, "alpha");
  refused(model, &(nk_adapter_config){.alpha = (double)NAN}, "alpha");
  refused(model, &(nk_adapter_config){.alpha = -1000001}, "alpha");
  refused(model, &(nk_adapter_config){.dropout = 1}, "dropout");
  refused(model, &(nk_adapter_config){.dropout = (double)NAN}, "dropout");
  refused(model, &(nk_adapter_config){.method = NK_METHOD_PROMPT, .n_virtual = 1025}, "1025 virtual");
  refused(model, &(nk_adapter_config){.method = NK_METHOD_PREFIX, .n_virtual = 1025}, "1025 virtual");
  refused(model, &(nk_adapter_config){.method = NK_METHOD_IA3, .pattern = all}, "at least one layer");
  pattern[1][NK_SLOT_V].rank = 1;
  refused(model, &(nk_adapter_config){.pattern = all}, "layer 1 of this gptneox model has no linear");
  pattern[1][NK_SLOT_V].rank = 0;
  pattern[1][NK_SLOT_Q].rank = 1025;
  refused(model, &(nk_adapter_config){.pattern = all}, "not 1025");
  pattern[1][NK_SLOT_Q] = (nk_slot_shape){1, (double)NAN};
  refused(model, &(nk_adapter_config){.pattern = all}, "an alpha from -1e+06");
  nk_model_free(model);
  nk_model_free(encoder);
}

static void a_layer_without_attention_has_no_prefix_and_no_k(void **state) {
  (void)state;
  nk_model *model = tiny_model("lfm2");
  nk_adapter *lora = make(model, &(nk_adapter_config){.slots = BIT(Q) | BIT(K)});
  uint32_t convolutions = 0;
  for (uint32_t l = 0; l < model->config.n_layers; l++) {
    bool conv = model->layers[l].conv != NULL;
    convolutions += conv;
    assert_non_null(lora->slots[l * NK_SLOT_COUNT + NK_SLOT_Q].a);
    assert_int_equal(lora->slots[l * NK_SLOT_COUNT + NK_SLOT_K].a == NULL, conv);
  }
  assert_true(convolutions > 0 && convolutions < model->config.n_layers);
  nk_adapter_free(lora);
  nk_model_free(model);
}

/* ---- Beginning --------------------------------------------------------------------------------------------------- */

static void lora_begins_uniform_and_zero_and_ia3_at_one(void **state) {
  (void)state;
  nk_model *model = tiny_model("llama");
  nk_adapter *lora = make(model, &(nk_adapter_config){.rank = 48});
  nk_adapter *ia3 = make(model, &(nk_adapter_config){.method = NK_METHOD_IA3});
  assert_int_equal(nk_adapter_initialize(lora, model, 1, NULL, 0, &error), NK_STATUS_OK);
  assert_int_equal(nk_adapter_initialize(ia3, model, 1, NULL, 0, &error), NK_STATUS_OK);
  for (uint64_t i = 0; i < ia3->n_values; i++) assert_true(ia3->values[i] == 1.0f);
  assert_memory_not_equal(lora->slots[NK_SLOT_Q].a, lora->slots[NK_SLOT_COUNT + NK_SLOT_Q].a, 48 * 64 * sizeof(float));
  for (uint32_t p = 0; p < lora->n_params; p++) {
    const nk_param *param = &lora->params[p];
    uint32_t n = param->rows * param->cols;
    double sum = 0, squares = 0, most = 0, bound = 1.0 / sqrt((double)param->cols);
    for (uint32_t i = 0; i < n; i++) {
      double x = (double)lora->values[param->offset + i];
      sum += x;
      squares += x * x;
      if (fabs(x) > most) most = fabs(x);
    }
    if (param->kind == NK_PARAM_LORA_B) {
      assert_true(most == 0.0);
      continue;
    }
    assert_true(most <= bound && most > 0.995 * bound);
    assert_true(fabs(sum / n) < 0.05 * bound); /* deviation of the mean: bound / √(3 n) = 0.009 bound */
    assert_true(fabs(squares / n - bound * bound / 3) < 0.05 * bound * bound);
  }
  nk_adapter_free(lora);
  nk_adapter_free(ia3);
  nk_model_free(model);
}

static void prompts_and_prefixes_begin_normal_by_the_seed(void **state) {
  (void)state;
  nk_model *model = tiny_model("qwen2");
  for (uint32_t m = 0; m < 2; m++) {
    nk_adapter_config config = {.method = m == 0 ? NK_METHOD_PROMPT : NK_METHOD_PREFIX, .n_virtual = 100};
    nk_adapter *one = make(model, &config), *same = make(model, &config), *other = make(model, &config);
    assert_int_equal(nk_adapter_initialize(one, model, 7, NULL, 0, &error), NK_STATUS_OK);
    assert_int_equal(nk_adapter_initialize(same, model, 7, NULL, 0, &error), NK_STATUS_OK);
    assert_int_equal(nk_adapter_initialize(other, model, 8, NULL, 0, &error), NK_STATUS_OK);
    assert_memory_equal(one->values, same->values, (size_t)one->n_values * sizeof(float));
    assert_true(one->key == same->key && one->key != other->key);
    double sum = 0, squares = 0, fourth = 0, n = (double)one->n_values;
    for (uint64_t i = 0; i < one->n_values; i++) {
      double x = (double)one->values[i];
      sum += x;
      squares += x * x;
      fourth += x * x * x * x;
    }
    assert_true(fabs(sum / n) < 0.06 && fabs(squares / n - 1) < 0.08 && fabs(fourth / n - 3) < 0.6);
    nk_adapter_free(one);
    nk_adapter_free(same);
    nk_adapter_free(other);
  }
  nk_model_free(model);
}

static void a_prompt_begins_as_its_text_repeated_and_scaled_as_tokens_are(void **state) {
  (void)state;
  static const char *const models[] = {"llama", "gemma", "opt_postln"};
  static const int32_t ids[3] = {9, 300, 41};
  for (size_t i = 0; i < 3; i++) {
    nk_model *model = tiny_model(models[i]);
    uint32_t d = model->config.width, e = model->config.embed_width;
    nk_adapter *adapter = make(model, &(nk_adapter_config){.method = NK_METHOD_PROMPT, .n_virtual = 7});
    assert_int_equal(nk_adapter_initialize(adapter, model, 1, ids, 3, &error), NK_STATUS_OK);
    float row[64], weights[64];
    for (uint32_t v = 0; v < 7; v++) {
      nk_matrix_gather(&model->embedding, (uint32_t)ids[v % 3], row);
      for (uint32_t r = 0; r < d; r++) {
        double x = (double)row[r % e];
        if (i == 1) x *= sqrt((double)d);
        if (i == 2) {
          nk_matrix_gather(&model->embed_in.matrix, r, weights);
          x = 0;
          for (uint32_t k = 0; k < e; k++) x += (double)row[k] * (double)weights[k];
        }
        assert_true(fabs((double)adapter->prompt[v * d + r] - x) <= 1e-6 * (1 + fabs(x)));
      }
    }
    static const int32_t bad[2] = {3, 320}, below[1] = {-1};
    assert_int_equal(nk_adapter_initialize(adapter, model, 1, bad, 2, &error), NK_STATUS_DATA);
    assert_non_null(strstr(error.text, "the token 320"));
    assert_int_equal(nk_adapter_initialize(adapter, model, 1, below, 1, &error), NK_STATUS_DATA);
    nk_adapter_free(adapter);
    nk_model_free(model);
  }
}

/* ---- Checks, keys, sets ------------------------------------------------------------------------------------------ */

static void a_value_that_is_no_number_and_another_model_are_told(void **state) {
  (void)state;
  nk_model *model = tiny_model("llama"), *wider = tiny_model("llama256"), *gemma = tiny_model("gemma");
  nk_adapter *adapter = random_adapter(model, &(nk_adapter_config){.rank = 4}, 3);
  assert_int_equal(nk_adapter_check(adapter, model, &error), NK_STATUS_OK);
  float kept = adapter->values[64 * 2 + 5];
  adapter->values[64 * 2 + 5] = NAN;
  assert_int_equal(nk_adapter_check(adapter, model, &error), NK_STATUS_DATA);
  assert_string_equal(error.text, "the adapter's LoRA A (layer 0, slot \"q\") is NaN in row 2, column 5");
  adapter->values[64 * 2 + 5] = kept;
  adapter->values[adapter->n_values - 1] = -INFINITY;
  assert_int_equal(nk_adapter_check(adapter, model, &error), NK_STATUS_DATA);
  assert_string_equal(error.text, "the adapter's LoRA B (layer 1, slot \"v\") is infinite in row 3, column 31");
  assert_int_equal(nk_adapter_check(adapter, wider, &error), NK_STATUS_ADAPTER_MISMATCH);
  assert_non_null(strstr(error.text, "2 layers"));
  assert_int_equal(nk_adapter_check(adapter, gemma, &error), NK_STATUS_ADAPTER_MISMATCH);
  if (strstr(error.text, "has rows of 64, but this gemma model's are 128") == NULL) fail_msg("%s", error.text);
  nk_adapter_free(adapter);
  nk_model_free(model);
  nk_model_free(wider);
  nk_model_free(gemma);
}

static void the_key_tells_contents_apart(void **state) {
  (void)state;
  nk_model *model = tiny_model("llama");
  nk_adapter *a = random_adapter(model, &(nk_adapter_config){.rank = 4, .alpha = 8}, 3);
  nk_adapter *b = random_adapter(model, &(nk_adapter_config){.rank = 4, .alpha = 8}, 3);
  nk_adapter *scaled = random_adapter(model, &(nk_adapter_config){.rank = 4, .alpha = 4}, 3);
  assert_true(a->key != 0 && a->key == b->key && a->key != scaled->key);
  nk_adapter_set none = {.n = 0}, one = {{{a, 1}}, 1}, same = {{{b, 1}}, 1}, half = {{{a, 0.5f}}, 1};
  nk_adapter_set two = {{{a, 1}, {scaled, 1}}, 2}, turned = {{{scaled, 1}, {a, 1}}, 2};
  assert_true(nk_adapter_set_key(&none) == 0);
  assert_true(nk_adapter_set_key(&one) != 0 && nk_adapter_set_key(&one) == nk_adapter_set_key(&same));
  assert_true(nk_adapter_set_key(&one) != nk_adapter_set_key(&half));
  assert_true(nk_adapter_set_key(&one) != nk_adapter_set_key(&two));
  assert_true(nk_adapter_set_key(&two) != nk_adapter_set_key(&turned));
  b->values[b->n_values - 1] += 0.25f;
  nk_adapter_rekey(b);
  assert_true(a->key != b->key);
  nk_adapter_free(a);
  nk_adapter_free(b);
  nk_adapter_free(scaled);
  nk_model_free(model);
}

static void a_set_has_eight_adapters_and_one_prompt_at_most(void **state) {
  (void)state;
  nk_model *model = tiny_model("llama"), *other = tiny_model("gemma");
  nk_adapter *lora = make(model, &(nk_adapter_config){0});
  nk_adapter *prompt = make(model, &(nk_adapter_config){.method = NK_METHOD_PROMPT, .n_virtual = 5});
  nk_adapter *prefix = make(model, &(nk_adapter_config){.method = NK_METHOD_PREFIX, .n_virtual = 6});
  nk_adapter_set set = {{{lora, -2.5f}, {prompt, 1}, {lora, 0}}, 3};
  const float *vectors;
  const nk_adapter *found;
  assert_int_equal(nk_adapter_set_check(&set, model, &error), NK_STATUS_OK);
  assert_int_equal(nk_adapter_set_prompt(&set, &vectors), 5);
  assert_ptr_equal(vectors, prompt->values);
  assert_int_equal(nk_adapter_set_prefix(&set, &found), 0);
  assert_null(found);
  set.uses[1].adapter = prefix;
  assert_int_equal(nk_adapter_set_prompt(&set, &vectors), 0);
  assert_null(vectors);
  assert_int_equal(nk_adapter_set_prefix(&set, &found), 6);
  assert_ptr_equal(found, prefix);
  set.uses[2] = (nk_adapter_use){prompt, 1};
  assert_int_equal(nk_adapter_set_check(&set, model, &error), NK_STATUS_DATA);
  assert_non_null(strstr(error.text, "two prompts or prefixes"));
  set.uses[2] = (nk_adapter_use){lora, NAN};
  assert_int_equal(nk_adapter_set_check(&set, model, &error), NK_STATUS_DATA);
  set.uses[2].scale = 1;
  set.uses[1].scale = 0.5f;
  assert_int_equal(nk_adapter_set_check(&set, model, &error), NK_STATUS_DATA);
  assert_non_null(strstr(error.text, "take none"));
  set.uses[1].scale = 1;
  assert_int_equal(nk_adapter_set_check(&set, other, &error), NK_STATUS_ADAPTER_MISMATCH);
  set.n = NK_ADAPTERS_MAX + 1;
  assert_int_equal(nk_adapter_set_check(&set, model, &error), NK_STATUS_DATA);
  nk_adapter_free(lora);
  nk_adapter_free(prompt);
  nk_adapter_free(prefix);
  nk_model_free(model);
  nk_model_free(other);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_row_of_the_table_is_whole),
      cmocka_unit_test(every_decoder_architecture_has_default_slots_and_a_tiny_model_here),
      cmocka_unit_test(default_slots_are_peft_s),
      cmocka_unit_test(each_slot_is_the_linear_of_its_name),
      cmocka_unit_test(every_method_fits_every_decoder_and_points_into_one_array),
      cmocka_unit_test(slots_layers_rank_and_scale_are_as_asked),
      cmocka_unit_test(what_the_model_has_not_and_numbers_out_of_range_are_refused),
      cmocka_unit_test(a_layer_without_attention_has_no_prefix_and_no_k),
      cmocka_unit_test(lora_begins_uniform_and_zero_and_ia3_at_one),
      cmocka_unit_test(prompts_and_prefixes_begin_normal_by_the_seed),
      cmocka_unit_test(a_prompt_begins_as_its_text_repeated_and_scaled_as_tokens_are),
      cmocka_unit_test(a_value_that_is_no_number_and_another_model_are_told),
      cmocka_unit_test(the_key_tells_contents_apart),
      cmocka_unit_test(a_set_has_eight_adapters_and_one_prompt_at_most),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
