/*
 * test_adapter_hostile.c: adapters that are broken, contradict themselves, or are for something else: each is refused with
 * a sentence that names what is wrong, and nothing of it remains.
 */
#include "adapter_fixture.h"

#include <math.h>

#include "adapt/card.h"
#include "adapt/lora_gguf.h"
#include "gguf/write.h"

static nk_error error;

/* ---- Folders made here ------------------------------------------------------------------------------------------- */

typedef struct folder {
  char *config, *header; /* NUL-terminated */
  uint8_t *data;
  size_t n_data;
} folder;

static char *copy_text(const char *bytes, size_t n) {
  char *text = malloc(n + 1);
  assert_non_null(text);
  memcpy(text, bytes, n);
  text[n] = '\0';
  return text;
}

static folder folder_of(const nk_adapter *adapter, const nk_model *model) {
  nk_bytes config, tensors;
  uint64_t n;
  if (nk_peft_write(adapter, model, &config, &tensors, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
  memcpy(&n, tensors.data, 8);
  folder f = {.config = copy_text((const char *)config.data, (size_t)config.length),
              .header = copy_text((const char *)tensors.data + 8, (size_t)n),
              .n_data = (size_t)(tensors.length - 8 - n)};
  f.data = malloc(f.n_data);
  assert_non_null(f.data);
  memcpy(f.data, tensors.data + 8 + n, f.n_data);
  free(config.data);
  free(tensors.data);
  return f;
}

static void folder_free(folder *f) {
  free(f->config);
  free(f->header);
  free(f->data);
}

/* The first `from` becomes `to`; it must be there. */
static void change(char **text, const char *from, const char *to) {
  char *at = strstr(*text, from);
  if (at == NULL) fail_msg("there is no %s in %s", from, *text);
  size_t before = (size_t)(at - *text), n_to = strlen(to), n_rest = strlen(at + strlen(from));
  char *changed = malloc(before + n_to + n_rest + 1);
  assert_non_null(changed);
  memcpy(changed, *text, before);
  memcpy(changed + before, to, n_to);
  memcpy(changed + before + n_to, at + strlen(from), n_rest + 1);
  free(*text);
  *text = changed;
}

static nk_status read_folder(nk_adapter **adapter, const nk_model *model, const folder *f) {
  uint64_t n = strlen(f->header);
  size_t length = 8 + (size_t)n + f->n_data;
  uint8_t *tensors = malloc(length), *config = malloc(strlen(f->config) + 1);
  assert_non_null(tensors);
  assert_non_null(config);
  memcpy(tensors, &n, 8);
  memcpy(tensors + 8, f->header, (size_t)n);
  memcpy(tensors + 8 + n, f->data, f->n_data);
  memcpy(config, f->config, strlen(f->config));
  nk_status status = nk_peft_read(adapter, model, config, strlen(f->config), tensors, length, &error);
  free(tensors);
  free(config);
  return status;
}

typedef struct change_of {
  const char *from, *to; /* of the configuration, or of the header */
  nk_status status;
  const char *says;
} change_of;

static void refuses(const nk_model *model, const nk_adapter *adapter, bool in_header, const change_of *changes, size_t n) {
  for (size_t i = 0; i < n; i++) {
    folder f = folder_of(adapter, model);
    change(in_header ? &f.header : &f.config, changes[i].from, changes[i].to);
    nk_adapter *got = (nk_adapter *)(uintptr_t)1;
    error = (nk_error){0};
    nk_status status = read_folder(&got, model, &f);
    if (status != changes[i].status) {
      fail_msg("%s -> %s: status %u, \"%s\"", changes[i].from, changes[i].to, (unsigned)status, error.text);
    }
    if (status == NK_STATUS_OK) {
      nk_adapter_free(got);
    } else {
      assert_null(got);
      if (strstr(error.text, changes[i].says) == NULL) fail_msg("\"%s\" does not say \"%s\"", error.text, changes[i].says);
    }
    folder_free(&f);
  }
}

#define FORMAT NK_STATUS_FORMAT
#define UNSUPPORTED NK_STATUS_UNSUPPORTED
#define MISMATCH NK_STATUS_ADAPTER_MISMATCH
#define OK NK_STATUS_OK
#define COUNT(list) (sizeof(list) / sizeof(list)[0])

/* ---- adapter_config.json ------------------------------------------------------------------------------------------ */

static void options_that_would_change_the_output_are_refused_by_name(void **state) {
  (void)state;
  static const change_of changes[] = {
      {"\"LORA\"", "\"LOHA\"", UNSUPPORTED, "\"peft_type\" is \"LOHA\"; supported are LORA, IA3"},
      {"\"LORA\"", "3", UNSUPPORTED, "\"peft_type\" is 3"},
      {"\"peft_type\":\"LORA\",", "", FORMAT, "\"peft_type\" is missing"},
      {"\"CAUSAL_LM\"", "\"SEQ_CLS\"", UNSUPPORTED, "\"task_type\" is \"SEQ_CLS\""},
      {"\"modules_to_save\":null", "\"modules_to_save\":[\"lm_head\"]", UNSUPPORTED, "modules_to_save"},
      {"\"modules_to_save\":null", "\"modules_to_save\":[]", OK, ""},
      {"\"use_dora\":false", "\"use_dora\":true", UNSUPPORTED, "\"use_dora\" is true; DoRA"},
      {"\"bias\":\"none\"", "\"bias\":\"all\"", UNSUPPORTED, "\"bias\" is \"all\""},
      {"\"lora_bias\":false", "\"lora_bias\":true", UNSUPPORTED, "lora_bias"},
      {"\"init_lora_weights\":true", "\"init_lora_weights\":\"pissa_niter_4\"", UNSUPPORTED, "init_lora_weights"},
      {"\"init_lora_weights\":true", "\"init_lora_weights\":\"olora\"", UNSUPPORTED, "init_lora_weights"},
      {"\"init_lora_weights\":true", "\"init_lora_weights\":\"gaussian\"", OK, ""},
      {"\"bias\"", "\"layer_replication\":[[0,2]],\"bias\"", UNSUPPORTED, "layer_replication"},
      {"\"bias\"", "\"trainable_token_indices\":{\"x\":[1]},\"bias\"", UNSUPPORTED, "trainable_token_indices"},
      {"\"bias\"", "\"target_parameters\":[\"x\"],\"bias\"", UNSUPPORTED, "target_parameters"},
      {"\"bias\"", "\"alora_invocation_tokens\":[5],\"bias\"", UNSUPPORTED, "alora_invocation_tokens"},
      {"\"bias\"", "\"use_qalora\":true,\"bias\"", UNSUPPORTED, "use_qalora"},
      {"\"bias\"", "\"use_bdlora\":{\"x\":1},\"bias\"", UNSUPPORTED, "use_bdlora"},
      {"\"bias\"", "\"kasa_config\":{\"x\":1},\"bias\"", UNSUPPORTED, "kasa_config"},
      {"\"bias\"", "\"monteclora_config\":{\"x\":1},\"bias\"", UNSUPPORTED, "monteclora_config"},
      {"\"bias\"", "\"arrow_config\":{\"x\":1},\"bias\"", UNSUPPORTED, "arrow_config"},
      {"\"bias\"", "\"of_a_later_version\":{\"x\":1},\"bias\"", OK, ""},
      {"\"fan_in_fan_out\":false", "\"fan_in_fan_out\":true", OK, ""}, /* it turns the base's weight alone */
  };
  nk_model *model = tiny_model("llama");
  nk_adapter *adapter = random_adapter(model, &(nk_adapter_config){.rank = 3, .alpha = 5}, 1);
  refuses(model, adapter, false, changes, COUNT(changes));
  nk_adapter_free(adapter);
  nk_model_free(model);
}

static void numbers_and_names_of_a_lora_configuration_are_checked(void **state) {
  (void)state;
  static const change_of changes[] = {
      {"\"r\":3", "\"r\":0", FORMAT, "\"r\" is 0"},
      {"\"r\":3", "\"r\":-3", FORMAT, "\"r\" is -3"},
      {"\"r\":3", "\"r\":2.5", FORMAT, "\"r\" is 2.5"},
      {"\"r\":3", "\"r\":\"3\"", FORMAT, "\"r\" is \"3\""},
      {"\"r\":3,", "", FORMAT, "\"r\" is missing"},
      {"\"r\":3", "\"r\":4", FORMAT, "has rank 3, but adapter_config.json says 4"},
      {"\"r\":3", "\"r\":1025", UNSUPPORTED, "at most 1024"},
      {"\"r\":3", "\"r\":3,\"r\":3", FORMAT, "twice"},
      {"\"lora_alpha\":5", "\"lora_alpha\":\"5\"", FORMAT, "lora_alpha"},
      {"\"lora_alpha\":5", "\"lora_alpha\":1e300", NK_STATUS_DATA, "alpha"},
      {"\"lora_alpha\":5", "\"lora_alpha\":1e999", FORMAT, "1.8e308"},
      {"\"lora_alpha\":5", "\"lora_alpha\":0", OK, ""},
      {"\"lora_dropout\":0", "\"lora_dropout\":1", FORMAT, "lora_dropout"},
      {"\"use_rslora\":false", "\"use_rslora\":1", FORMAT, "use_rslora"},
      {"\"rank_pattern\":{}", "\"rank_pattern\":[]", FORMAT, "rank_pattern"},
      {"\"rank_pattern\":{}", "\"rank_pattern\":{\"q_proj\":2}", FORMAT, "says 2"},
      {"\"rank_pattern\":{}", "\"rank_pattern\":{\"^q_proj\":2}", OK, ""}, /* no path is so short */
      {"\"rank_pattern\":{}", "\"rank_pattern\":{\"q_proj\":0}", FORMAT, "rank_pattern"},
      {"\"rank_pattern\":{}", "\"rank_pattern\":{\".*q_proj\":3}", UNSUPPORTED, "names \".*q_proj\"; regular"},
      {"\"rank_pattern\":{}", "\"rank_pattern\":{\"^$\":3}", UNSUPPORTED, "regular"},
      {"\"alpha_pattern\":{}", "\"alpha_pattern\":{\"q_proj\":null}", FORMAT, "alpha_pattern"},
      {"\"alpha_pattern\":{}", "\"alpha_pattern\":{\"(q|k)_proj\":2}", UNSUPPORTED, "regular"},
      {"\"alpha_pattern\":{}", "\"alpha_pattern\":{\"q_proj\":1e300}", NK_STATUS_DATA, "alpha"},
      {"[\"q_proj\",\"v_proj\"]", "[\"q_proj\"]", FORMAT, "does not name its module"},
      {"[\"q_proj\",\"v_proj\"]", "[\"q_proj\",\"v_proj\",\"k_proj\"]", FORMAT,
       "names the module model.layers.0.self_attn.k_proj"},
      {"[\"q_proj\",\"v_proj\"]", "[\"q_proj\",\"_proj\",\"v_proj\"]", OK, ""}, /* "_proj" is no word of a path */
      {"[\"q_proj\",\"v_proj\"]", "[\"q_proj\",3]", FORMAT, "target_modules"},
      {"[\"q_proj\",\"v_proj\"]", "{}", FORMAT, "target_modules"},
      {"[\"q_proj\",\"v_proj\"]", "\"all-linear\"", FORMAT, "names the module model.layers.0.self_attn.k_proj"},
      {"[\"q_proj\",\"v_proj\"]", "\".*[qv]_proj\"", OK, ""},
      {"[\"q_proj\",\"v_proj\"]", "null", OK, ""},
      {"\"layers_to_transform\":null", "\"layers_to_transform\":[1]", FORMAT, "does not name its module"},
      {"\"layers_to_transform\":null", "\"layers_to_transform\":0", FORMAT, "does not name its module"},
      {"\"layers_to_transform\":null", "\"layers_to_transform\":[0,1]", OK, ""},
      {"\"layers_to_transform\":null", "\"layers_to_transform\":[]", OK, ""},
      {"\"layers_to_transform\":null", "\"layers_to_transform\":[0,2]", MISMATCH, "names layer 2; the model has 2"},
      {"\"layers_to_transform\":null", "\"layers_to_transform\":[0,\"1\"]", FORMAT, "layers_to_transform"},
      {"\"layers_to_transform\":null", "\"layers_to_transform\":[0,-1]", FORMAT, "layers_to_transform"},
      {"\"layers_to_transform\":null", "\"layers_to_transform\":[0,1],\"layers_pattern\":\"h\"", UNSUPPORTED,
       "layers_pattern"},
      {"\"layers_to_transform\":null", "\"layers_to_transform\":[0,1],\"layers_pattern\":[\"h\",\"layers\"]", OK, ""},
      {"{", "", FORMAT, "adapter_config.json"},
      {"}", "}}", FORMAT, "adapter_config.json"},
      {"{", "[{", FORMAT, "adapter_config.json"},
  };
  nk_model *model = tiny_model("llama");
  nk_adapter *adapter = random_adapter(model, &(nk_adapter_config){.rank = 3, .alpha = 5}, 1);
  refuses(model, adapter, false, changes, COUNT(changes));
  /* A configuration of nothing, and one beyond the limit. */
  folder f = folder_of(adapter, model);
  nk_adapter *got;
  f.config[0] = '\0';
  assert_int_equal(read_folder(&got, model, &f), FORMAT);
  free(f.config);
  f.config = malloc((1u << 20) + 2);
  assert_non_null(f.config);
  memset(f.config, ' ', (1u << 20) + 1);
  f.config[(1u << 20) + 1] = '\0';
  assert_int_equal(read_folder(&got, model, &f), FORMAT);
  assert_non_null(strstr(error.text, "at most 1048576 are read"));
  folder_free(&f);
  nk_adapter_free(adapter);
  nk_model_free(model);
}

static void prompts_prefixes_and_ia3_of_another_shape_are_refused(void **state) {
  (void)state;
  static const change_of prompt[] = {
      {"\"num_virtual_tokens\":4", "\"num_virtual_tokens\":5", FORMAT, "has 4 virtual tokens, but"},
      {"\"num_virtual_tokens\":4", "\"num_virtual_tokens\":0", FORMAT, "num_virtual_tokens"},
      {"\"num_virtual_tokens\":4", "\"num_virtual_tokens\":1025", UNSUPPORTED, "at most 1024"},
      {"\"token_dim\":64", "\"token_dim\":128", MISMATCH, "token_dim\" is 128, but the model's width is 64"},
      {"\"num_layers\":2", "\"num_layers\":3", MISMATCH, "num_layers"},
      {"\"num_transformer_submodules\":1", "\"num_transformer_submodules\":2", MISMATCH, "num_transformer_submodules"},
      {"\"PROMPT_TUNING\"", "\"P_TUNING\"", UNSUPPORTED, "P_TUNING"},
      {"\"PROMPT_TUNING\"", "\"LORA\"", FORMAT, "\"r\" is missing"},
      {"\"PROMPT_TUNING\"", "\"PREFIX_TUNING\"", MISMATCH, "token_dim\" is 64, but the model's width of keys is 32"},
  };
  static const change_of prefix[] = {
      {"\"token_dim\":32", "\"token_dim\":64", MISMATCH, "width of keys is 32"},
      {"\"num_layers\":2", "\"num_layers\":1", MISMATCH, "num_layers"},
      {"\"prefix_projection\":false", "\"prefix_projection\":true", OK, ""},
  };
  static const change_of prompt_header[] = {
      {"prompt_embeddings", "embeddings", UNSUPPORTED, "the tensor \"embeddings\""},
      {"\"prompt_embeddings\":{\"dtype\":\"F32\",\"shape\":[4,64],\"data_offsets\":[0,1024]}", "", FORMAT, ""},
      {"[4,64]", "[4,64,1]", FORMAT, "is no matrix"},
      {"[4,64]", "[256]", FORMAT, "is no matrix"},
      {"[4,64]", "[8,32]", FORMAT, "has 8 virtual tokens"},
      {"\"F32\",\"shape\":[4,64]", "\"F16\",\"shape\":[4,128]", MISMATCH,
       "is 4 × 128, but this llama model makes it 4 × 64"},
      {"\"F32\"", "\"I32\"", UNSUPPORTED, "type I32"},
  };
  static const change_of ia3[] = {
      {"[32,1]", "[1,32]", MISMATCH, "is 1 × 32, but this llama model makes it 32 × 1"},
      {"[1,160]", "[160,1]", MISMATCH, "is 160 × 1, but this llama model makes it 1 × 160"},
      {"[32,1]", "[16,2]", MISMATCH, "is 16 × 2, but this llama model makes it 32 × 1"},
      {"k_proj.ia3_l", "k_proj.ia3_L", UNSUPPORTED, "no part of a IA3 adapter"},
      {"k_proj.ia3_l", "q_proj.ia3_l", MISMATCH, "makes it 64 × 1"},
      {"layers.0.self_attn.k_proj", "layers.1.self_attn.k_proj", FORMAT, "twice"},
  };
  static const change_of ia3_input[] = {{"[64,1]", "[1,64]", UNSUPPORTED, "scales a linear's input; inputs are scaled"}};
  nk_model *model = tiny_model("llama");
  nk_adapter *adapter = random_adapter(model, &(nk_adapter_config){.method = NK_METHOD_PROMPT, .n_virtual = 4}, 1);
  refuses(model, adapter, false, prompt, COUNT(prompt));
  refuses(model, adapter, true, prompt_header, COUNT(prompt_header));
  folder f = folder_of(adapter, model);
  nk_adapter *got;
  change(&f.header, "\"prompt_embeddings\"",
         "\"x\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},\"prompt_embeddings\"");
  assert_int_equal(read_folder(&got, model, &f), UNSUPPORTED);
  assert_non_null(strstr(error.text, "the tensor \"x\""));
  folder_free(&f);
  f = folder_of(adapter, model);
  free(f.header);
  f.header = copy_text("{}", 2);
  f.n_data = 0;
  assert_int_equal(read_folder(&got, model, &f), FORMAT);
  assert_non_null(strstr(error.text, "lacks the tensor \"prompt_embeddings\""));
  folder_free(&f);
  nk_adapter_free(adapter);
  adapter = random_adapter(model, &(nk_adapter_config){.method = NK_METHOD_PREFIX, .n_virtual = 4}, 1);
  refuses(model, adapter, false, prefix, COUNT(prefix));
  nk_adapter_free(adapter);
  adapter = random_adapter(model, &(nk_adapter_config){.method = NK_METHOD_IA3}, 1);
  refuses(model, adapter, true, ia3, COUNT(ia3));
  nk_adapter_free(adapter);
  adapter = random_adapter(model, &(nk_adapter_config){.method = NK_METHOD_IA3, .slots = 1u << NK_SLOT_ATTN_OUT}, 1);
  refuses(model, adapter, true, ia3_input, COUNT(ia3_input));
  nk_adapter_free(adapter);
  nk_model_free(model);
}

/* ---- adapter_model.safetensors ------------------------------------------------------------------------------------- */

static void tensors_without_a_place_or_a_partner_are_refused_by_name(void **state) {
  (void)state;
#define Q0 "base_model.model.model.layers.0.self_attn.q_proj"
  static const change_of changes[] = {
      {Q0 ".lora_A.weight", Q0 ".lora_A.bias", UNSUPPORTED, Q0 ".lora_A.bias"},
      {Q0 ".lora_A.weight", Q0 ".lora_magnitude_vector", UNSUPPORTED, "lora_magnitude_vector"},
      {Q0 ".lora_A.weight", "base_model.model.model.embed_tokens.lora_embedding_A", UNSUPPORTED, "lora_embedding_A"},
      {Q0 ".lora_A.weight", "base_model.model.lm_head.lora_A.weight", MISMATCH, "lm_head"},
      {Q0 ".lora_A.weight", "model.layers.0.self_attn.q_proj.lora_A.weight", UNSUPPORTED, "no part of a LORA adapter"},
      {Q0 ".lora_A.weight", "base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight", MISMATCH,
       "of 2 layers has no such"},
      {Q0 ".lora_A.weight", "base_model.model.model.layers.0.mlp.fc1.lora_A.weight", MISMATCH, "mlp.fc1"},
      {Q0 ".lora_A.weight", "base_model.model..lora_A.weight", UNSUPPORTED, "no part of a LORA adapter"},
      {Q0 ".lora_A.weight", "base_model.model.x.lora_A.weight", MISMATCH, "has no such linear"},
      {Q0 ".lora_A.weight", "base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight", FORMAT,
       "without its other half, LoRA's A"},
      {Q0 ".lora_A.weight", "base_model.model.layers.0.self_attn.v_proj.lora_A.weight", FORMAT, "for the same place"},
      {Q0 ".lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[3,64]",
       Q0 ".lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[192]", FORMAT, "no matrix"},
      {Q0 ".lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[3,64]",
       Q0 ".lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[6,32]", MISMATCH, "is 6 × 32"},
      {Q0 ".lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[3,64]",
       Q0 ".lora_A.weight\":{\"dtype\":\"BF16\",\"shape\":[6,64]", FORMAT, "has rank 6, but its other half has 3"},
      {Q0 ".lora_B.weight\":{\"dtype\":\"F32\",\"shape\":[64,3]",
       Q0 ".lora_B.weight\":{\"dtype\":\"F32\",\"shape\":[3,64]", MISMATCH, "is 3 × 64"},
      {"\"F32\"", "\"I32\"", UNSUPPORTED, "type I32"},
      {"\"F32\"", "\"F64\"", FORMAT, "bytes"},
      {"[3,64]", "[3,6442450944]", FORMAT, "bytes"},
      {"[3,64]", "[4294967296,4294967296]", FORMAT, "2^53"},
      {"[0,768]", "[0,767]", FORMAT, "bytes"},
      {"{", "[", FORMAT, "adapter_model.safetensors"},
  };
  nk_model *model = tiny_model("llama");
  nk_adapter *adapter = random_adapter(model, &(nk_adapter_config){.rank = 3, .alpha = 5}, 1);
  refuses(model, adapter, true, changes, COUNT(changes));
  nk_adapter_free(adapter);
  nk_model_free(model);
}

/* For a model of other sizes; for an encoder. */
static void an_adapter_of_another_model_is_a_mismatch(void **state) {
  (void)state;
  nk_model *model = tiny_model("llama"), *encoder = tiny_model("bert");
  static const char *const others[] = {"llama256", "gemma", "gptneox", "gpt2", "opt", "phi3", "qwen3", "lfm2"};
  for (uint32_t m = 0; m < NK_METHOD_COUNT; m++) {
    nk_adapter_config config = {.method = (nk_method)m, .slots = (1u << NK_SLOT_COUNT) - 1};
    nk_adapter *adapter = random_adapter(model, &config, m), *got;
    folder f = folder_of(adapter, model);
    for (size_t i = 0; i < COUNT(others); i++) {
      nk_model *other = tiny_model(others[i]);
      const nk_config *c = &other->config;
      bool same_sizes = c->n_layers == 2 && ((m == NK_METHOD_PROMPT && c->width == 64) ||
                                             (m == NK_METHOD_PREFIX && c->n_kv_heads * c->head_dim == 32));
      nk_status expected = same_sizes ? OK : MISMATCH;
      if (read_folder(&got, other, &f) != expected) fail_msg("%s, method %u: %s", others[i], m, error.text);
      nk_adapter_free(got);
      nk_model_free(other);
    }
    assert_int_equal(read_folder(&got, encoder, &f), MISMATCH);
    folder_free(&f);
    nk_adapter_free(adapter);
  }
  nk_model_free(model);
  nk_model_free(encoder);
}

static void a_file_cut_anywhere_is_refused(void **state) {
  (void)state;
  nk_model *model = tiny_model("llama");
  nk_adapter *adapter = random_adapter(model, &(nk_adapter_config){.rank = 1, .slots = 1u << NK_SLOT_K}, 1), *got;
  nk_bytes config, tensors, gguf;
  assert_int_equal(nk_peft_write(adapter, model, &config, &tensors, &error), OK);
  assert_int_equal(nk_lora_gguf_write(adapter, model, &gguf, &error), OK);
  for (uint64_t n = 0; n < tensors.length; n++) {
    uint8_t *cut = malloc((size_t)n + 1); /* of its own, so that reading on is seen */
    assert_non_null(cut);
    uint8_t *end = cut + 1;
    memcpy(end, tensors.data, (size_t)n);
    assert_int_equal(nk_peft_read(&got, model, config.data, config.length, end, n, &error), FORMAT);
    assert_null(got);
    free(cut);
  }
  for (uint64_t n = 0; n < config.length; n++) {
    nk_status status = nk_peft_read(&got, model, config.data, n, tensors.data, tensors.length, &error);
    assert_int_equal(status, FORMAT);
  }
  uint64_t whole = gguf.length - 64; /* the last tensor's padding may be missing */
  for (uint64_t n = 0; n < whole; n++) {
    uint8_t *cut = malloc((size_t)n + 1);
    assert_non_null(cut);
    memcpy(cut + 1, gguf.data, (size_t)n);
    assert_int_equal(nk_lora_gguf_read(&got, model, cut + 1, n, &error), FORMAT);
    assert_null(got);
    free(cut);
  }
  free(config.data);
  free(tensors.data);
  free(gguf.data);
  nk_adapter_free(adapter);
  nk_model_free(model);
}

static void values_that_are_no_numbers_are_told_where_they_stand(void **state) {
  (void)state;
  nk_model *model = tiny_model("llama");
  for (uint32_t m = 0; m < NK_METHOD_COUNT; m++) {
    nk_adapter *adapter = random_adapter(model, &(nk_adapter_config){.method = (nk_method)m, .n_virtual = 4}, m), *got;
    folder f = folder_of(adapter, model);
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < COUNT(bad); i++) {
      memcpy(f.data + f.n_data - 4, &bad[i], 4);
      assert_int_equal(read_folder(&got, model, &f), NK_STATUS_DATA);
      assert_non_null(strstr(error.text, i == 0 ? "is NaN in row" : "is infinite in row"));
    }
    folder_free(&f);
    nk_adapter_free(adapter);
  }
  /* In 16 bits: the last elements of a prompt. */
  static const struct {
    const char *type;
    uint16_t bits;
    nk_status status;
  } halves[] = {{"F16", 0x7c00, NK_STATUS_DATA}, {"F16", 0xfc00, NK_STATUS_DATA}, {"F16", 0x7e01, NK_STATUS_DATA},
                {"F16", 0x7bff, OK},             {"BF16", 0x7f80, NK_STATUS_DATA}, {"BF16", 0xff81, NK_STATUS_DATA},
                {"BF16", 0x7f7f, OK}};
  for (size_t i = 0; i < COUNT(halves); i++) {
    nk_adapter *adapter = random_adapter(model, &(nk_adapter_config){.method = NK_METHOD_PROMPT, .n_virtual = 4}, 1), *got;
    folder f = folder_of(adapter, model);
    change(&f.header, "\"F32\"", i < 4 ? "\"F16\"" : "\"BF16\"");
    change(&f.header, "[0,1024]", "[0,512]");
    memset(f.data, 0, 512);
    f.n_data = 512;
    memcpy(f.data + 510, &halves[i].bits, 2);
    if (read_folder(&got, model, &f) != halves[i].status) fail_msg("%s %x: %s", halves[i].type, halves[i].bits, error.text);
    nk_adapter_free(got);
    folder_free(&f);
    nk_adapter_free(adapter);
  }
  nk_model_free(model);
}

static void a_broken_card_makes_the_file_broken(void **state) {
  (void)state;
  nk_model *model = tiny_model("llama");
  nk_adapter *adapter = random_adapter(model, &(nk_adapter_config){0}, 1);
  assert_int_equal(nk_adapter_take_card(adapter, "{\"tool\":\"x\"}", 12, &error), OK);
  static const change_of changes[] = {
      {"{\\\"tool\\\":\\\"x\\\"}", "{\\\"tool\\\":3}", FORMAT, "the adapter's card: the key \"tool\" is 3"},
      {"{\\\"tool\\\":\\\"x\\\"}", "none", FORMAT, "the adapter's card is not valid JSON"},
      {"\"{\\\"tool\\\":\\\"x\\\"}\"", "7", OK, ""}, /* no text: not ours */
  };
  refuses(model, adapter, true, changes, COUNT(changes));
  nk_adapter_free(adapter);
  nk_model_free(model);
}

/* ---- GGUF ---------------------------------------------------------------------------------------------------------- */

typedef struct tensor {
  const char *name;
  uint64_t cols, rows;
  uint32_t type;
} tensor;

typedef struct odd_gguf {
  const char *type, *adapter, *arch; /* NULL: left out */
  bool alora;
  tensor tensors[3]; /* up to a NULL name */
  nk_status status;
  const char *says;
} odd_gguf;

static void odd_gguf_files_are_refused_by_name(void **state) {
  (void)state;
#define A0 {"blk.0.attn_k.weight.lora_a", 64, 2, 0}
#define B0 {"blk.0.attn_k.weight.lora_b", 2, 32, 0}
  static const odd_gguf cases[] = {
      {"adapter", "lora", "llama", false, {A0, B0}, OK, ""},
      {"model", "lora", "llama", false, {A0, B0}, FORMAT, "general.type is \"model\""},
      {NULL, "lora", "llama", false, {A0, B0}, FORMAT, "general.type is \"missing\""},
      {"adapter", "vector", "llama", false, {A0, B0}, UNSUPPORTED, "adapter.type is \"vector\""},
      {"adapter", "lora", "qwen2", false, {A0, B0}, MISMATCH, "general.architecture is \"qwen2\"; \"llama\" is needed"},
      {"adapter", "lora", "llama", true, {A0, B0}, UNSUPPORTED, "activated LoRA"},
      {"adapter", "lora", "llama", false, {A0}, FORMAT, "without its other half, LoRA's B"},
      {"adapter", "lora", "llama", false, {B0}, FORMAT, "without its other half, LoRA's A"},
      {"adapter", "lora", "llama", false, {{0}}, NK_STATUS_DATA, "at least one layer"},
      {"adapter", "lora", "llama", false, {A0, B0, {"blk.0.attn_norm.weight", 64, 1, 0}}, UNSUPPORTED, "no half of a LoRA"},
      {"adapter", "lora", "llama", false, {{"token_embd.weight.lora_a", 64, 2, 0}}, MISMATCH, "token_embd"},
      {"adapter", "lora", "llama", false, {{"blk.2.attn_k.weight.lora_a", 64, 2, 0}}, MISMATCH, "of 2 layers"},
      {"adapter", "lora", "llama", false, {{"blk.00.attn_k.weight.lora_a", 64, 2, 0}}, MISMATCH, "blk.00"},
      {"adapter", "lora", "llama", false, {{"blk.4294967296.attn_k.weight.lora_a", 64, 2, 0}}, MISMATCH, "4294967296"},
      {"adapter", "lora", "llama", false, {{"blk..attn_k.weight.lora_a", 64, 2, 0}}, MISMATCH, "blk..attn_k"},
      {"adapter", "lora", "llama", false, {{".lora_a", 64, 2, 0}}, UNSUPPORTED, "no half of a LoRA"},
      {"adapter", "lora", "llama", false, {{"blk.0.attn_k.weight.lora_a", 32, 2, 0}, B0}, MISMATCH, "is 2 × 32"},
      {"adapter", "lora", "llama", false, {A0, {"blk.0.attn_k.weight.lora_b", 2, 64, 0}}, MISMATCH, "is 64 × 2"},
      {"adapter", "lora", "llama", false, {A0, {"blk.0.attn_k.weight.lora_b", 3, 32, 0}}, FORMAT,
       "has rank 2, but its other half has 3"},
      {"adapter", "lora", "llama", false, {{"blk.0.attn_k.weight.lora_a", 64, 1025, 0}, {"blk.0.attn_k.weight.lora_b",
       1025, 32, 0}}, UNSUPPORTED, "rank 1025"},
      {"adapter", "lora", "llama", false, {{"blk.0.attn_k.weight.lora_a", 64, 2, 8}, B0}, OK, ""}, /* Q8_0 */
      {"adapter", "lora", "llama", false, {{"blk.0.attn_k.weight.lora_a", 64, 2, 26}, B0}, UNSUPPORTED, "block format I32"},
  };
  nk_model *model = tiny_model("llama");
  for (size_t i = 0; i < COUNT(cases); i++) {
    const odd_gguf *c = &cases[i];
    nk_gguf_writer *writer = nk_gguf_writer_create();
    assert_non_null(writer);
    if (c->arch != NULL) nk_gguf_put_text(writer, "general.architecture", c->arch, strlen(c->arch));
    if (c->type != NULL) nk_gguf_put_text(writer, "general.type", c->type, strlen(c->type));
    if (c->adapter != NULL) nk_gguf_put_text(writer, "adapter.type", c->adapter, strlen(c->adapter));
    static const uint32_t ids[1] = {5};
    if (c->alora) nk_gguf_put_numbers(writer, "adapter.alora.invocation_tokens", NK_GGUF_U32, ids, 1);
    for (size_t t = 0; t < 3 && c->tensors[t].name != NULL; t++) {
      const uint64_t dimensions[2] = {c->tensors[t].cols, c->tensors[t].rows};
      (void)nk_gguf_put_tensor(writer, c->tensors[t].name, 2, dimensions, c->tensors[t].type);
    }
    const uint8_t *header;
    uint64_t n, data;
    if (nk_gguf_writer_finish(writer, &header, &n, &data, &error) != OK) fail_msg("case %zu: %s", i, error.text);
    uint8_t *file = calloc((size_t)(n + data), 1);
    assert_non_null(file);
    memcpy(file, header, (size_t)n);
    nk_adapter *got = (nk_adapter *)(uintptr_t)1;
    nk_status status = nk_lora_gguf_read(&got, model, file, n + data, &error);
    if (status != c->status) fail_msg("case %zu: status %u, %s", i, (unsigned)status, error.text);
    if (status == OK) {
      assert_true(got->slots[NK_SLOT_K].scale == 1.0f); /* without alpha */
      nk_adapter_free(got);
    } else {
      assert_null(got);
      if (strstr(error.text, c->says) == NULL) fail_msg("case %zu: \"%s\" does not say \"%s\"", i, error.text, c->says);
    }
    free(file);
    nk_gguf_writer_free(writer);
  }
  nk_model_free(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(options_that_would_change_the_output_are_refused_by_name),
      cmocka_unit_test(numbers_and_names_of_a_lora_configuration_are_checked),
      cmocka_unit_test(prompts_prefixes_and_ia3_of_another_shape_are_refused),
      cmocka_unit_test(tensors_without_a_place_or_a_partner_are_refused_by_name),
      cmocka_unit_test(an_adapter_of_another_model_is_a_mismatch),
      cmocka_unit_test(a_file_cut_anywhere_is_refused),
      cmocka_unit_test(values_that_are_no_numbers_are_told_where_they_stand),
      cmocka_unit_test(a_broken_card_makes_the_file_broken),
      cmocka_unit_test(odd_gguf_files_are_refused_by_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
