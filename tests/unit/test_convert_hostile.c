/*
 * test_convert_hostile.c: checkpoints that are damaged, lie, or ask for what Nook does not do. Each is refused with a
 * sentence that names what is wrong, before any output; afterwards the context converts a sound one.
 */
#include "checkpoint_fixture.h"

#define SOUND "llama_tied" /* BF16, byte-level tokenizer */

static const char *message_of(nook_context *context, cJSON **json) {
  *json = cJSON_Parse(nook_error(context));
  assert_non_null(*json);
  return cJSON_GetObjectItem(*json, "message")->valuestring;
}

static void is_sound(nook_context *context) {
  folder f = folder_open(SOUND);
  converted file;
  if (folder_convert(context, &f, "f16", &file) != NK_STATUS_OK) fail_msg("%s", nook_error(context));
  free(file.bytes);
  folder_close(&f);
}

/* Expects the refusal of `f` with all of the words. */
static void refused(nook_context *context, const folder *f, const char *outtype, const char *what, const char *words,
                    const char *more) {
  converted file;
  nk_status status = folder_convert(context, f, outtype, &file);
  free(file.bytes);
  if (status == NK_STATUS_OK) fail_msg("%s was converted", what);
  cJSON *json;
  const char *message = message_of(context, &json);
  if (strstr(message, words) == NULL || (more != NULL && strstr(message, more) == NULL)) fail_msg("%s: %s", what, message);
  cJSON_Delete(json);
}

/* ---- Safetensors ------------------------------------------------------------------------------------------------- */

static void put_safetensors_named(folder *f, const char *name, uint64_t said, const char *header, size_t data) {
  size_t n = strlen(header);
  uint8_t *bytes = calloc(8 + n + data, 1);
  assert_non_null(bytes);
  for (unsigned i = 0; i < 8; i++) bytes[i] = (uint8_t)((said == 0 ? n : said) >> (8 * i));
  memcpy(bytes + 8, header, n);
  folder_put(f, name, bytes, 8 + n + data);
  free(bytes);
}

static void put_safetensors(folder *f, uint64_t said, const char *header, size_t data) {
  put_safetensors_named(f, "model.safetensors", said, header, data);
}

#define T(shape, begin, end) "{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static void safetensors_headers_that_lie_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *header, *words;
    uint64_t said;
    size_t data;
  } cases[] = {
      {"{}", "says that its header has", 1000, 0},
      {"{}", "says that its header has", UINT64_MAX, 0},
      {"{}", "says that its header has", 0x8000000000000000u, 0},
      {"not json", "not valid JSON", 0, 0},
      {"[1]", "is not a JSON object", 0, 0},
      {"{\"a\":" T("[2]", "0", "8") "}", "ends at byte 8", 0, 4},
      {"{\"a\":" T("[2]", "0", "8") "}", "behind its last tensor", 0, 12},
      {"{\"a\":" T("[2]", "8", "0") "}", "the end lies before the beginning", 0, 8},
      {"{\"a\":" T("[2]", "0", "8") ",\"b\":" T("[2]", "4", "12") "}", "overlap", 0, 12},
      {"{\"a\":" T("[2]", "0", "8") ",\"b\":" T("[2]", "0", "8") "}", "overlap", 0, 8},
      {"{\"a\":" T("[2]", "4", "12") "}", "behind a gap", 0, 12},
      {"{\"a\":" T("[3]", "0", "8") "}", "its shape and F32 make it 12", 0, 8},
      {"{\"a\":" T("[-1]", "0", "8") "}", "an integer from 0", 0, 8},
      {"{\"a\":" T("[1.5]", "0", "8") "}", "an integer from 0", 0, 8},
      {"{\"a\":" T("[1e300]", "0", "8") "}", "an integer from 0", 0, 8},
      {"{\"a\":" T("[1e999]", "0", "8") "}", "1.8e308", 0, 8},
      {"{\"a\":" T("[4294967296,4294967296]", "0", "8") "}", "beyond 2^53", 0, 8},
      {"{\"a\":" T("[1,1,1,1,1,1,1,1,2]", "0", "8") "}", "more than 8 dimensions", 0, 8},
      {"{\"a\":" T("2", "0", "8") "}", "an array of integers", 0, 8},
      {"{\"a\":" T("[2]", "0", "1e20") "}", "an integer is needed", 0, 8},
      {"{\"a\":" T("[2]", "-8", "0") "}", "an integer is needed", 0, 8},
      {"{\"a\":" T("[2]", "\"0\"", "8") "}", "an integer is needed", 0, 8},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", "two integers", 0, 8},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,8]}}", "two integers", 0, 8},
      {"{\"a\":{\"dtype\":\"F31\",\"shape\":[2],\"data_offsets\":[0,8]}}", "\"F31\"", 0, 8},
      {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", "missing", 0, 8},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"strides\":[1]}}", "unknown key \"strides\"", 0, 8},
      {"{\"a\":7}", "an object is needed", 0, 0},
      {"{\"a\":" T("[1]", "0", "4") ",\"a\":" T("[1]", "4", "8") "}", "the key \"a\" twice", 0, 8},
      {"{\"\":" T("[2]", "0", "8") "}", "1 to 512 bytes", 0, 8},
      {"{\"a\\u0000\":" T("[2]", "0", "8") "}", "U+0000", 0, 8},
      {"{\"a\":" T("[2]", "0", "8") "}", "has no place in a llama model", 0, 8},
      {"{\"__metadata__\":{}}", "no token embedding", 0, 0},
  };
  nook_context *context = context_new();
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    folder f = folder_open(SOUND);
    put_safetensors(&f, cases[i].said, cases[i].header, cases[i].data);
    refused(context, &f, "f32", cases[i].header, cases[i].words, NULL);
    folder_close(&f);
  }
  folder f = folder_open(SOUND);
  folder_put(&f, "model.safetensors", "\1\0\0", 3);
  refused(context, &f, "f32", "three bytes", "fewer than a safetensors file", NULL);
  folder_close(&f);
  is_sound(context);
  nook_destroy(context);
}

static void deep_and_long_json_is_refused(void **state) {
  (void)state;
  nook_context *context = context_new();
  folder f = folder_open(SOUND);
  size_t depth = 200000;
  char *deep = malloc(depth + 1);
  assert_non_null(deep);
  memset(deep, '[', depth);
  deep[depth] = 0;
  folder_put(&f, "config.json", deep, depth);
  refused(context, &f, "f32", "deep", "nested deeper than 64", "config.json");
  for (size_t i = 0; i < depth; i += 5) memcpy(deep + i, "{\"a\":", 5);
  folder_put(&f, "tokenizer.json", deep, depth);
  folder_put(&f, "config.json", "{}", 2);
  refused(context, &f, "f32", "deep", "nested deeper than 64", "tokenizer.json");
  folder_put(&f, "tokenizer.json", "{\"a\": \"\xff\"}", 10);
  refused(context, &f, "f32", "not UTF-8", "not valid UTF-8 at byte 7", "tokenizer.json");
  folder_put(&f, "tokenizer.json", "{\"a\": 1}\0 ", 10);
  refused(context, &f, "f32", "a NUL", "a NUL at byte 8", "tokenizer.json");
  free(deep);
  folder_close(&f);
  nook_destroy(context);
}

/* ---- Shards ------------------------------------------------------------------------------------------------------ */

static void an_index_reads_no_file_outside_of_the_folder(void **state) {
  (void)state;
  nook_context *context = context_new();
  static const char *const names[] = {
      "../model-00001-of-00002.safetensors", "/etc/passwd", "a/b.safetensors", "..", "C:\\\\x.safetensors", "a\\\\b"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    folder f = folder_open("llama3");
    char index[200];
    (void)snprintf(index, sizeof index, "{\"weight_map\":{\"model.norm.weight\":\"%s\"}}", names[i]);
    folder_put(&f, "model.safetensors.index.json", index, strlen(index));
    refused(context, &f, "f32", names[i], "in the same folder", "index.json");
    folder_close(&f);
  }
  folder f = folder_open("llama3");
  folder_remove(&f, "model-00002-of-00002.safetensors");
  refused(context, &f, "f32", "a part missing", "model-00002-of-00002.safetensors, which is not in the folder", NULL);
  folder_close(&f);
  f = folder_open("llama3");
  folder_replace(&f, "model.safetensors.index.json", "\"weight_map\": {",
                 "\"weight_map\": {\"more.weight\": \"model-00001-of-00002.safetensors\",");
  refused(context, &f, "f32", "a tensor too many", "\"more.weight\" is in the index but in none of its files", NULL);
  folder_close(&f);
  f = folder_open("llama3");
  folder_replace(&f, "model.safetensors.index.json", "\"model.norm.weight\"", "\"model.norm.height\"");
  refused(context, &f, "f32", "another name", "model.norm.", NULL);
  folder_close(&f);
  f = folder_open("llama3");
  folder_put(&f, "model-00002-of-00002.safetensors", folder_text(&f, "model-00001-of-00002.safetensors"), 40000);
  refused(context, &f, "f32", "the same part twice, cut", "model-00002-of-00002.safetensors", NULL);
  folder_close(&f);
  f = folder_open("llama3");
  put_safetensors_named(&f, "model-00002-of-00002.safetensors", 0, "{\"model.embed_tokens.weight\":" T("[2]", "0", "8") "}",
                        8);
  refused(context, &f, "f32", "a tensor twice", "\"model.embed_tokens.weight\" is in two files", NULL);
  folder_close(&f);
  is_sound(context);
  nook_destroy(context);
}

/* ---- Settings ---------------------------------------------------------------------------------------------------- */

static void what_nook_would_run_otherwise_is_refused_by_name(void **state) {
  (void)state;
  static const struct {
    const char *checkpoint, *file, *from, *to, *words, *more;
  } cases[] = {
      {SOUND, "config.json", "\"model_type\": \"llama\"", "\"model_type\": \"mamba\"", "\"model_type\" is \"mamba\"",
       "gpt_neox"},
      {SOUND, "config.json", "\"hidden_act\": \"silu\"", "\"hidden_act\": \"relu\"", "\"hidden_act\" is \"relu\"", "silu"},
      {SOUND, "config.json", "\"hidden_size\": 32", "\"hidden_size\": 0", "\"hidden_size\" is 0", "config.json"},
      {SOUND, "config.json", "\"hidden_size\": 32", "\"hidden_size\": \"32\"", "\"hidden_size\" is \"32\"", NULL},
      {SOUND, "config.json", "\"hidden_size\": 32", "\"hidden_size\": 1e9", "\"hidden_size\" is 1000000000", NULL},
      {SOUND, "config.json", "\"hidden_size\": 32", "\"hidden_size\": 64", "64", NULL},
      {SOUND, "config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", "layers.1.", "no place"},
      {SOUND, "config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "blk.2.", "missing"},
      {SOUND, "config.json", "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3", "heads", NULL},
      {SOUND, "config.json", "\"rms_norm_eps\"", "\"other_eps\"", "rms_norm_eps", "missing"},
      {SOUND, "config.json", "\"rope_type\": \"default\"", "\"rope_type\": \"dynamic\"", "\"rope_type\" is \"dynamic\"",
       NULL},
      {SOUND, "config.json", "\"rope_type\": \"default\"", "\"rope_type\": \"linear\"", "\"factor\" is missing", NULL},
      {SOUND, "config.json", "\"rope_theta\": 10000.0", "\"rope_theta\": -1", "rope_theta", NULL},
      {SOUND, "config.json", "\"hidden_act\"", "\"quantization_config\": {\"bits\": 4}, \"hidden_act\"",
       "quantization_config", NULL},
      {"gemma2", "config.json", "\"query_pre_attn_scalar\": 16", "\"query_pre_attn_scalar\": 24", "query_pre_attn_scalar",
       "24"},
      {"gemma3", "config.json", "\"full_attention\"\n", "\"chunked_attention\"\n", "chunked_attention", NULL},
      {"gpt2", "config.json", "\"scale_attn_by_inverse_layer_idx\": false", "\"scale_attn_by_inverse_layer_idx\": true",
       "inverse_layer_idx\" is true", NULL},
      {"gpt_neox", "config.json", "\"hidden_act\": \"gelu\"", "\"hidden_act\": \"gelu_fast\"", "gelu_fast", NULL},
      {SOUND, "tokenizer.json", "\"individual_digits\": true", "\"individual_digits\": false",
       "\"digits\" and further steps", "tokenizer.json"},
      {SOUND, "tokenizer.json", "\"add_prefix_space\": false", "\"add_prefix_space\": true", "add_prefix_space", NULL},
      {SOUND, "tokenizer.json", "\"normalizer\": null", "\"normalizer\": {\"type\": \"Lowercase\"}", "Lowercase", NULL},
      {SOUND, "tokenizer.json", "\"type\": \"BPE\"", "\"type\": \"WordLevel\"", "WordLevel", NULL},
      {SOUND, "tokenizer.json", "\"dropout\": null", "\"dropout\": 0.1", "dropout", "0.1"},
      {SOUND, "tokenizer.json", "\"end_of_word_suffix\": null", "\"end_of_word_suffix\": \"</w>\"", "end_of_word_suffix",
       NULL},
      {SOUND, "tokenizer.json", "\"merges\": [", "\"merges\": [[\"a\"],", "merge 0", NULL},
      {SOUND, "tokenizer.json", "\"merges\": [", "\"merges\": [\"a b c\",", "merge 0", NULL},
      {SOUND, "tokenizer.json", "\"merges\": [", "\"merges\": [[\"a b\", \"c\"],", "merge 0", NULL},
      {SOUND, "tokenizer.json", "\"vocab\": {", "\"vocab\": {\"zz\": 7,", "has the id of another token", NULL},
      {SOUND, "tokenizer.json", "\"vocab\": {", "\"vocab\": {\"zz\": 320,", "no row for", "\"zz\""},
      {SOUND, "tokenizer.json", "\"vocab\": {", "\"vocab\": {\"zz\": -1,", "has no id", NULL},
      {SOUND, "tokenizer.json", "\"vocab\": {", "\"vocab\": {\"zz\": 1e18,", "has no id", NULL},
      {SOUND, "tokenizer.json", "\"vocab\": {", "\"vocab\": {\"!\": 9,", "the key \"!\" twice", NULL},
      {SOUND, "tokenizer.json", "\"added_tokens\": [", "\"added_tokens\": [{\"id\": 1},", "added_tokens", NULL},
      {SOUND, "tokenizer.json", "\"model\": {", "\"mode\": {", "no vocabulary", NULL},
      {"llama", "tokenizer.json", "\"prepend\": \"▁\"", "\"prepend\": \"_\"", "normalizer", NULL},
      {"llama", "tokenizer.json", "\"merges\": [", "\"merges\": [\"qq zz\",", "makes a text that is no token", NULL},
      {"bert", "tokenizer.json", "\"lowercase\": true", "\"lowercase\": false", "\"lowercase\" is false", "uncased"},
      {"bert", "tokenizer.json", "\"BertPreTokenizer\"", "\"Whitespace\"", "Whitespace", NULL},
      {"bert", "config.json", "\"hidden_act\": \"gelu\"", "\"hidden_act\": \"relu\"", "relu", NULL},
      {"bert", "1_Pooling/config.json", "\"pooling_mode_cls_token\": true", "\"pooling_mode_cls_token\": false",
       "exactly one", NULL},
      {"llama_unigram", "tokenizer.json", "\"precompiled_charsmap\": \"", "\"precompiled_charsmap\": \"*", "base64", NULL},
      {"llama_unigram", "tokenizer.json", "\"precompiled_charsmap\": \"", "\"precompiled_charsmap\": \"////", "charsmap",
       NULL},
      {"llama_unigram", "tokenizer.json", "\"type\": \"Metaspace\"", "\"type\": \"Whitespace\"", "Metaspace is needed",
       NULL},
      {"xlm_roberta", "config.json", "\"max_position_embeddings\": 66", "\"max_position_embeddings\": 2",
       "max_position_embeddings", "more is needed"},
      {"xlm_roberta", "config.json", "\"max_position_embeddings\": 66", "\"max_position_embeddings\": 67", "position_embd",
       NULL},
      {"phi3_long", "config.json", "\"long_factor\": [", "\"long_factor\": [1.0,", "long_factor", "for each frequency"},
      {"phi3_long", "config.json", "\"short_factor\": [", "\"short_factor\": [0.0], \"other\": [", "short_factor", NULL},
      {"qwen3", "config.json", "\"attention_factor\": 1.5", "\"mscale\": 1.5", "mscale", "yarn"},
      {"lfm2", "config.json", "\"conv\"", "\"mamba\"", "\"layer_types\" is \"mamba\"", NULL},
      {"llama", "tokenizer.json", "\"single\": [", "\"single\": [{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}},",
       "single", NULL},
  };
  nook_context *context = context_new();
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    folder f = folder_open(cases[i].checkpoint);
    folder_replace(&f, cases[i].file, cases[i].from, cases[i].to);
    refused(context, &f, "f32", cases[i].to, cases[i].words, cases[i].more);
    folder_close(&f);
  }
  nook_destroy(context);
}

static void what_is_missing_is_named(void **state) {
  (void)state;
  static const struct {
    const char *file, *words;
  } cases[] = {{"config.json", "no config.json"},
               {"tokenizer.json", "no tokenizer.json"},
               {"model.safetensors", "neither model.safetensors nor"}};
  nook_context *context = context_new();
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    folder f = folder_open(SOUND);
    folder_remove(&f, cases[i].file);
    refused(context, &f, "f32", cases[i].file, cases[i].words, NULL);
    folder_close(&f);
  }
  folder f = folder_open(SOUND); /* what may be missing */
  folder_remove(&f, "tokenizer_config.json");
  folder_remove(&f, "generation_config.json");
  converted file;
  if (folder_convert(context, &f, "f32", &file) != NK_STATUS_OK) fail_msg("%s", nook_error(context));
  free(file.bytes);
  folder_close(&f);
  nook_destroy(context);
}

/* ---- Numbers ----------------------------------------------------------------------------------------------------- */

static void numbers_that_a_type_cannot_hold_are_named(void **state) {
  (void)state;
  nook_context *context = context_new();
  folder f = folder_open(SOUND);
  uint8_t *bytes = NULL;
  size_t length = 0;
  for (uint32_t i = 0; i < f.n; i++) {
    if (strcmp(f.name[i], "model.safetensors") != 0) continue;
    bytes = f.bytes[i];
    length = f.length[i];
  }
  assert_non_null(bytes);
  uint8_t kept[2] = {bytes[length - 2], bytes[length - 1]};
  memcpy(bytes + length - 2, "\x80\x7f", 2); /* BF16 infinity, in the last tensor of the file */
  refused(context, &f, "f32", "infinity", "holds inf", "no model");
  memcpy(bytes + length - 2, "\xc0\x7f", 2);
  refused(context, &f, "f32", "NaN", "nan", NULL);
  memcpy(bytes + length - 2, kept, 2);
  uint64_t header = bytes[0] | (uint64_t)bytes[1] << 8 | (uint64_t)bytes[2] << 16;
  const char *entry = strstr((const char *)bytes + 8, "\"model.embed_tokens.weight\"");
  assert_non_null(entry);
  size_t at = (size_t)strtoull(strstr(entry, "\"data_offsets\":[") + 16, NULL, 10) + 8 + (size_t)header;
  memcpy(bytes + at, "\x00\x48", 2); /* BF16 131072 */
  refused(context, &f, "f16", "131072", "holds 131072", "F16");
  converted file;
  assert_int_equal(folder_convert(context, &f, "f32", &file), NK_STATUS_OK);
  free(file.bytes);
  folder_close(&f);
  nook_destroy(context);
}

/* ---- The interface ----------------------------------------------------------------------------------------------- */

static void options_are_checked_and_operations_exclude_each_other(void **state) {
  (void)state;
  nook_context *context = context_new();
  nook_conversion step;
  assert_int_equal(nook_convert_step(context, &step), NK_STATUS_DATA);
  static const char *const bad[] = {
      "{}",
      "{\"files\":[]}",
      "{\"files\":[{\"name\":\"a\"}]}",
      "{\"files\":[{\"name\":\"a\",\"bytes\":-1}]}",
      "{\"files\":[{\"name\":\"\",\"bytes\":1}]}",
      "{\"files\":[{\"name\":1,\"bytes\":1}]}",
      "{\"files\":[{\"name\":\"a\",\"bytes\":1,\"c\":1}]}",
      "{\"files\":[{\"name\":\"a\",\"bytes\":1}],\"outtype\":\"q4\"}",
      "{\"files\":[{\"name\":\"a\",\"bytes\":1}],\"name\":1}",
      "{\"files\":[{\"name\":\"a\",\"bytes\":1}],\"type\":1}",
      "{\"files\":[7]}",
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    if (nook_convert_begin(context, bad[i]) != NK_STATUS_DATA) fail_msg("%s", bad[i]);
  }
  assert_int_equal(nook_convert_begin(context, "{\"files\":[{\"name\":\"config.json\",\"bytes\":10}]}"), NK_STATUS_OK);
  assert_int_equal(nook_convert_begin(context, "{\"files\":[{\"name\":\"config.json\",\"bytes\":10}]}"), NK_STATUS_BUSY);
  assert_int_equal(nook_load_begin(context, "{\"files\":[{\"bytes\":10}]}"), NK_STATUS_BUSY);
  assert_int_equal(nook_convert_step(context, &step), NK_STATUS_OK);
  assert_int_equal(step.length, 10);
  nook_convert_end(context); /* in the middle: an abort */
  nook_convert_end(context);
  is_sound(context);
  assert_int_equal(nook_convert_begin(context, "{\"files\":[{\"name\":\"config.json\",\"bytes\":10}]}"), NK_STATUS_OK);
  nook_destroy(context); /* under way: all of it is freed */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(safetensors_headers_that_lie_are_refused),
      cmocka_unit_test(deep_and_long_json_is_refused),
      cmocka_unit_test(an_index_reads_no_file_outside_of_the_folder),
      cmocka_unit_test(what_nook_would_run_otherwise_is_refused_by_name),
      cmocka_unit_test(what_is_missing_is_named),
      cmocka_unit_test(numbers_that_a_type_cannot_hold_are_named),
      cmocka_unit_test(options_are_checked_and_operations_exclude_each_other),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
