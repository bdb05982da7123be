/*
 * test_convert.c: checkpoints of every family, converted and run beside transformers (tests/reference/make_checkpoints.py).
 */
#include "checkpoint_fixture.h"

#include <math.h>

#include "convert/encode.h"
#include "convert/family.h"
#include "gguf/gguf.h"
#include "model/arch.h"

#define TOLERANCE 2e-4
#define MAX_CHECKPOINTS 64

typedef struct checkpoints {
  char name[MAX_CHECKPOINTS][64];
  uint32_t n;
} checkpoints;

static checkpoints all_checkpoints(void) {
  checkpoints all = {.n = 0};
  DIR *directory = opendir(CHECKPOINTS);
  assert_non_null(directory);
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
    if (entry->d_name[0] == '.' || strchr(entry->d_name, '.') != NULL) continue;
    assert_true(all.n < MAX_CHECKPOINTS);
    (void)snprintf(all.name[all.n++], sizeof all.name[0], "%.63s", entry->d_name);
  }
  (void)closedir(directory);
  assert_true(all.n >= 20);
  return all;
}

static bundle reference_of(const char *checkpoint) {
  char stem[256];
  (void)snprintf(stem, sizeof stem, CHECKPOINTS "/%s/reference", checkpoint);
  return bundle_open(stem);
}

static converted convert_checkpoint(nook_context *context, const char *checkpoint, const char *outtype) {
  folder f = folder_open(checkpoint);
  converted file;
  if (folder_convert(context, &f, outtype, &file) != NK_STATUS_OK) fail_msg("%s: %s", checkpoint, nook_error(context));
  folder_close(&f);
  return file;
}

/* ---- The numbers ------------------------------------------------------------------------------------------------- */

/* In a context that just holds the text: LongRoPE's factors go by it, transformers' by the text. */
static void compare_rows(const char *checkpoint, nook_context *context, const converted *file, const bundle *b,
                         const char *length) {
  char name[64];
  size_t n_ids, n_wanted;
  (void)snprintf(name, sizeof name, "%s/ids", length);
  const int32_t *ids = bundle_get(b, name, 4, &n_ids);
  (void)snprintf(name, sizeof name, "%s/logits", length);
  const float *wanted = bundle_find(b, name, 4, &n_wanted);
  if (wanted == NULL) {
    (void)snprintf(name, sizeof name, "%s/hidden", length);
    wanted = bundle_get(b, name, 4, &n_wanted);
  }
  load_converted(context, file, (uint32_t)n_ids);
  host h = {.context = context, .n_threads = 1};
  float *got = host_logits(&h, ids, (uint32_t)n_ids, 0, (uint32_t)(n_wanted / n_ids));
  double worst = 0;
  for (size_t i = 0; i < n_wanted; i++) {
    double difference = fabs((double)got[i] - (double)wanted[i]);
    worst = difference > worst || difference != difference ? difference : worst;
  }
  free(got);
  nook_unload(context);
  print_message("%s %s: max abs %.2g\n", checkpoint, length, worst);
  if (!(worst <= TOLERANCE)) fail_msg("%s %s: max abs %g", checkpoint, length, worst);
}

static void a_checkpoint_of_each_family_gives_transformers_logits(void **state) {
  (void)state;
  checkpoints all = all_checkpoints();
  for (uint32_t i = 0; i < all.n; i++) {
    bundle b = reference_of(all.name[i]);
    nook_context *context = context_new();
    converted file = convert_checkpoint(context, all.name[i], "f32");
    compare_rows(all.name[i], context, &file, &b, "len9");
    compare_rows(all.name[i], context, &file, &b, "len33");
    nook_destroy(context);
    free(file.bytes);
    bundle_close(&b);
  }
}

/* Before transformers 5 the rotary settings stood beside the others, and some models had names of their own. */
static void older_settings_mean_the_same(void **state) {
  (void)state;
  static const struct {
    const char *checkpoint, *config;
  } cases[] = {
      {"llama3",
       "{\"hidden_size\": 32, \"intermediate_size\": 64, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, "
       "\"max_position_embeddings\": 64, \"model_type\": \"llama\", \"hidden_act\": \"silu\", \"num_key_value_heads\": 2, "
       "\"rms_norm_eps\": 1e-06, \"rope_theta\": 500000.0, \"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8.0, "
       "\"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 16}}"},
      {"qwen2",
       "{\"hidden_size\": 32, \"intermediate_size\": 64, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, "
       "\"max_position_embeddings\": 64, \"model_type\": \"qwen2\", \"num_key_value_heads\": 2, \"rms_norm_eps\": 1e-06, "
       "\"rope_theta\": 1000000.0, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0}, \"use_sliding_window\": "
       "true, \"sliding_window\": 16, \"max_window_layers\": 1}"},
      {"gpt_neox",
       "{\"hidden_size\": 32, \"intermediate_size\": 64, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, "
       "\"max_position_embeddings\": 64, \"model_type\": \"gpt_neox\", \"hidden_act\": \"gelu\", \"layer_norm_eps\": "
       "1e-05, \"rotary_pct\": 0.25, \"rotary_emb_base\": 10000, \"use_parallel_residual\": true}"},
      {"gemma3",
       "{\"hidden_size\": 32, \"intermediate_size\": 32, \"num_hidden_layers\": 6, \"num_attention_heads\": 4, "
       "\"max_position_embeddings\": 64, \"model_type\": \"gemma3_text\", \"head_dim\": 8, \"num_key_value_heads\": 2, "
       "\"rms_norm_eps\": 1e-06, \"rope_theta\": 1000000.0, \"rope_local_base_freq\": 10000.0, \"rope_scaling\": null, "
       "\"sliding_window\": 16, \"sliding_window_pattern\": 6, \"query_pre_attn_scalar\": 8, \"hidden_activation\": "
       "\"gelu_pytorch_tanh\"}"},
      {"phi3_long",
       "{\"hidden_size\": 32, \"intermediate_size\": 64, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, "
       "\"max_position_embeddings\": 64, \"model_type\": \"phi3\", \"num_key_value_heads\": 2, \"rms_norm_eps\": 1e-05, "
       "\"rope_theta\": 10000.0, \"original_max_position_embeddings\": 16, \"rope_scaling\": {\"type\": \"su\", "
       "\"short_factor\": [1.0, 1.1, 1.2, 1.3], \"long_factor\": [1.5, 2.0, 3.0, 4.0]}}"},
      {"gpt2",
       "{\"model_type\": \"gpt2\", \"n_embd\": 32, \"n_layer\": 2, \"n_head\": 4, \"n_ctx\": 64, \"n_positions\": 64, "
       "\"n_inner\": null, \"layer_norm_epsilon\": 1e-05, \"activation_function\": \"gelu_new\"}"},
      {"nomic_bert",
       "{\"model_type\": \"nomic_bert\", \"n_embd\": 32, \"n_layer\": 2, \"n_head\": 4, \"n_inner\": 64, \"n_positions\": "
       "8192, \"max_trained_positions\": 64, \"layer_norm_epsilon\": 1e-12, \"rotary_emb_base\": 1000, "
       "\"rotary_emb_fraction\": 1.0, \"rotary_emb_interleaved\": false, \"activation_function\": \"swiglu\", \"prenorm\": "
       "false, \"use_rms_norm\": false, \"causal\": false, \"type_vocab_size\": 2}"},
      {"lfm2",
       "{\"hidden_size\": 32, \"intermediate_size\": 64, \"num_hidden_layers\": 3, \"num_attention_heads\": 4, "
       "\"max_position_embeddings\": 64, \"model_type\": \"lfm2\", \"num_key_value_heads\": 2, \"norm_eps\": 1e-05, "
       "\"rope_theta\": 1000000.0, \"full_attn_idxs\": [1], \"conv_L_cache\": 3, \"tie_embedding\": true, "
       "\"block_ff_dim\": 64}"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    nook_context *context = context_new();
    bundle b = reference_of(cases[i].checkpoint);
    folder f = folder_open(cases[i].checkpoint);
    folder_put(&f, "config.json", cases[i].config, strlen(cases[i].config));
    converted file;
    if (folder_convert(context, &f, "f32", &file) != NK_STATUS_OK)
      fail_msg("%s: %s", cases[i].checkpoint, nook_error(context));
    compare_rows(cases[i].checkpoint, context, &file, &b, "len9");
    compare_rows(cases[i].checkpoint, context, &file, &b, "len33");
    free(file.bytes);
    folder_close(&f);
    bundle_close(&b);
    nook_destroy(context);
  }
}

/* ---- The tokenizer ----------------------------------------------------------------------------------------------- */

static void compare_ids(const char *checkpoint, nook_context *context, const char *text, const cJSON *wanted,
                        uint32_t flags) {
  nook_span span = {0, (uint32_t)strlen(text), 1};
  const int32_t *ids;
  uint32_t n, i = 0;
  if (nook_tokenize(context, text, span.length, &span, 1, flags, &ids, &n) != NK_STATUS_OK)
    fail_msg("%s", nook_error(context));
  for (const cJSON *item = wanted->child; item != NULL; item = item->next, i++) {
    if (i >= n || ids[i] != (int32_t)item->valuedouble) {
      fail_msg("%s: \"%s\": id %u is %d, not %d", checkpoint, text, i, i < n ? ids[i] : -1, (int32_t)item->valuedouble);
    }
  }
  if (i != n) fail_msg("%s: \"%s\" has %u ids, not %u", checkpoint, text, n, i);
}

static void strings_have_the_ids_of_the_checkpoints_own_tokenizer(void **state) {
  (void)state;
  checkpoints all = all_checkpoints();
  for (uint32_t i = 0; i < all.n; i++) {
    bundle b = reference_of(all.name[i]);
    nook_context *context = context_new();
    converted file = convert_checkpoint(context, all.name[i], "q8_0");
    load_converted(context, &file, 0);
    free(file.bytes);
    const cJSON *meta = cJSON_GetObjectItem(b.json, "meta"), *strings = cJSON_GetObjectItem(meta, "strings");
    assert_true(cJSON_GetArraySize(strings) >= 10);
    for (const cJSON *one = strings->child; one != NULL; one = one->next) {
      const char *text = cJSON_GetObjectItem(one, "text")->valuestring;
      compare_ids(all.name[i], context, text, cJSON_GetObjectItem(one, "ids"), 0);
      compare_ids(all.name[i], context, text, cJSON_GetObjectItem(one, "ids_special"), NOOK_TOKENIZE_ADD_SPECIAL);
    }
    cJSON *info = cJSON_Parse(nook_info(context));
    const cJSON *template = cJSON_GetObjectItem(meta, "template"), *ours = cJSON_GetObjectItem(info, "template");
    assert_int_equal(cJSON_IsString(template), cJSON_IsString(ours));
    if (cJSON_IsString(template)) assert_string_equal(template->valuestring, ours->valuestring);
    static const char *const names[] = {"bos", "eos"};
    for (size_t k = 0; k < 2; k++) {
      const cJSON *id = cJSON_GetObjectItem(meta, names[k]), *own = cJSON_GetObjectItem(info, names[k]);
      if (cJSON_IsNumber(id) && (!cJSON_IsNumber(own) || own->valueint != id->valueint))
        fail_msg("%s: %s", all.name[i], names[k]);
    }
    cJSON_Delete(info);
    nook_destroy(context);
    bundle_close(&b);
  }
}

/* ---- Types ------------------------------------------------------------------------------------------------------- */

static nk_gguf header_of(const converted *file) {
  nk_gguf gguf;
  nk_error error = {0};
  uint64_t more;
  nk_status status = nk_gguf_parse(&gguf, file->bytes, file->length, file->length, &more, &error);
  if (status != NK_STATUS_OK || more != 0) fail_msg("%s", error.text);
  return gguf;
}

static bool holds(nk_text name, const char *part) {
  size_t n = strlen(part);
  for (size_t i = 0; i + n <= name.length; i++) {
    if (memcmp(name.bytes + i, part, n) == 0) return true;
  }
  return false;
}

/* Each tensor of `type` holds what the float32 file's numbers become; all others are the float32 file's. */
static void compare_types(const char *checkpoint, const converted *exact, const converted *small, uint32_t outtype) {
  nk_gguf a = header_of(exact), b = header_of(small);
  assert_int_equal(a.n_tensors, b.n_tensors);
  uint32_t n_small = 0, n_half = 0;
  for (uint32_t i = 0; i < a.n_tensors; i++) {
    const nk_gguf_tensor *x = &a.tensors[i], *y = &b.tensors[i];
    assert_int_equal(x->name.length, y->name.length);
    assert_memory_equal(x->name.bytes, y->name.bytes, x->name.length);
    assert_int_equal(x->type, NK_TYPE_F32);
    size_t n = (size_t)(x->bytes / 4), bad;
    bool stays = x->n_dimensions == 1 || holds(x->name, "_norm.") || strncmp(x->name.bytes, "position_embd", 13) == 0 ||
                 strncmp(x->name.bytes, "token_types", 11) == 0 || holds(x->name, "shortconv.conv");
    uint32_t type = stays ? NK_TYPE_F32 : outtype == NK_TYPE_Q8_0 && x->dimension[0] % 32 != 0 ? NK_TYPE_F16 : outtype;
    if (y->type != type) fail_msg("%s: %.*s has the type %u", checkpoint, (int)x->name.length, x->name.bytes, y->type);
    n_small += type == outtype;
    n_half += outtype == NK_TYPE_Q8_0 && type == NK_TYPE_F16;
    uint8_t *wanted = malloc((size_t)y->bytes);
    assert_non_null(wanted);
    assert_int_equal(nk_encoded_bytes(type, n), y->bytes);
    assert_true(nk_encode(wanted, (const float *)(const void *)(exact->bytes + x->offset), type, n, &bad));
    assert_memory_equal(wanted, small->bytes + y->offset, (size_t)y->bytes);
    free(wanted);
  }
  assert_true(n_small >= 8);
  if (strcmp(checkpoint, "opt_post") == 0 && outtype == NK_TYPE_Q8_0) assert_int_equal(n_half, 2); /* rows of 16 */
  nk_gguf_free(&a);
  nk_gguf_free(&b);
}

static void matrices_have_the_type_that_was_asked_for(void **state) {
  (void)state;
  checkpoints all = all_checkpoints();
  nook_context *context = context_new();
  for (uint32_t i = 0; i < all.n; i++) {
    folder f = folder_open(all.name[i]);
    converted exact, half, small;
    assert_int_equal(folder_convert(context, &f, "f32", &exact), NK_STATUS_OK);
    assert_int_equal(folder_convert(context, &f, "f16", &half), NK_STATUS_OK);
    assert_int_equal(folder_convert(context, &f, "q8_0", &small), NK_STATUS_OK);
    assert_true(small.length < half.length && half.length < exact.length);
    compare_types(all.name[i], &exact, &half, NK_TYPE_F16);
    compare_types(all.name[i], &exact, &small, NK_TYPE_Q8_0);
    free(exact.bytes);
    free(half.bytes);
    free(small.bytes);
    folder_close(&f);
  }
  nook_destroy(context);
}

/* ---- The keys ---------------------------------------------------------------------------------------------------- */

static void expect_text(const nk_gguf *gguf, const char *key, const char *wanted) {
  nk_text text;
  assert_int_equal(nk_gguf_get_text(gguf, key, &text, NULL), NK_STATUS_OK);
  if (text.length != strlen(wanted) || memcmp(text.bytes, wanted, text.length) != 0) {
    fail_msg("%s is \"%.*s\", not \"%s\"", key, (int)text.length, text.bytes, wanted);
  }
}

static void a_pre_tokenizer_is_known_by_its_steps(void **state) {
  (void)state;
#define SPLIT(regex) \
  "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"" regex "\"}, \"behavior\": \"Isolated\", \"invert\": false}"
#define BYTES "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": false}"
#define GPT2_STEP "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true}"
#define STEPS(list) "{\"type\": \"Sequence\", \"pretokenizers\": [" list "]}"
#define CL100K(n)                                                                   \
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}" n \
  "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define U "[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]"
#define W "[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]"
#define CASED(s, n)                                                                                            \
  "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?" U "*" W "+" s "|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?" U "+" W "*" s "|\\\\p{N}" n \
  "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n/]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define DIGIT "{\"type\": \"Digits\", \"individual_digits\": true}"
  static const struct {
    const char *normalizer, *pre_tokenizer, *ignore_merges, *pre;
  } cases[] = {
      {"null", GPT2_STEP, "false", "gpt-2"},
      {"{\"type\": \"NFC\"}", GPT2_STEP, "false", "olmo"},
      {"{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}]}", GPT2_STEP, "false", "olmo"},
      {"null", STEPS(DIGIT ", " GPT2_STEP), "false", "smollm"},
      {"{\"type\": \"NFC\"}", STEPS(DIGIT ", " GPT2_STEP), "false", "command-r"},
      {"null", STEPS(SPLIT(CL100K("{1,3}")) ", " BYTES), "true", "llama-bpe"},
      {"null", STEPS(SPLIT(CL100K("{1,3}")) ", " BYTES), "false", "dbrx"},
      {"{\"type\": \"NFC\"}", STEPS(SPLIT(CL100K("")) ", " BYTES), "false", "qwen2"},
      {"null", STEPS(SPLIT(CASED("", "")) ", " BYTES), "true", "tekken"},
      {"null", STEPS(SPLIT(CASED("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "{1,3}")) ", " BYTES), "false", "gpt-4o"},
      {"null",
       STEPS(SPLIT("[\\u000d\\u000a]") ", " SPLIT("\\\\s?\\\\p{L}+") ", " SPLIT("\\\\s?\\\\p{P}+") ", " SPLIT(
           "[一-龥ࠀ-一가-\\ud7ff]+") ", " DIGIT ", " BYTES),
       "false", "deepseek-coder"},
  };
  nook_context *context = context_new();
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    folder f = folder_open("opt");
    char to[4096];
    (void)snprintf(to, sizeof to, "\"normalizer\": %s,\n\"unused\": null", cases[i].normalizer);
    folder_replace(&f, "tokenizer.json", "\"normalizer\": null", to);
    const char *pre = strstr(folder_text(&f, "tokenizer.json"), "\"pre_tokenizer\": "),
               *end = strstr(pre, "\"post_processor\"");
    char from[512];
    (void)snprintf(from, sizeof from, "%.*s", (int)(end - pre), pre);
    (void)snprintf(to, sizeof to, "\"pre_tokenizer\": %s,\n", cases[i].pre_tokenizer);
    folder_replace(&f, "tokenizer.json", from, to);
    (void)snprintf(to, sizeof to, "\"ignore_merges\": %s", cases[i].ignore_merges);
    folder_replace(&f, "tokenizer.json", "\"ignore_merges\": false", to);
    converted file;
    if (folder_convert(context, &f, "f32", &file) != NK_STATUS_OK) fail_msg("%s: %s", cases[i].pre, nook_error(context));
    nk_gguf gguf = header_of(&file);
    expect_text(&gguf, "tokenizer.ggml.pre", cases[i].pre);
    expect_text(&gguf, "general.name", "fixture");
    nk_gguf_free(&gguf);
    free(file.bytes);
    folder_close(&f);
  }
  nook_destroy(context);
}

static void a_metaspace_before_texts_becomes_sentencepieces_rule_and_is_noted(void **state) {
  (void)state;
  nook_context *context = context_new();
  folder f = folder_open("llama");
  folder_replace(
      &f, "tokenizer.json",
      "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": \"▁\"}, {\"type\": "
      "\"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"▁\"}]}, \"pre_tokenizer\": null",
      "\"normalizer\": null, \"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"▁\", \"prepend_scheme\": "
      "\"first\", "
      "\"split\": false}");
  converted file;
  if (folder_convert(context, &f, "f32", &file) != NK_STATUS_OK) fail_msg("%s", nook_error(context));
  assert_non_null(strstr(nook_result(context), "Metaspace"));
  load_converted(context, &file, 0);
  bundle b = reference_of("llama");
  const cJSON *one = cJSON_GetObjectItem(cJSON_GetObjectItem(b.json, "meta"), "strings")->child; /* begins with a letter */
  compare_ids("llama", context, cJSON_GetObjectItem(one, "text")->valuestring, cJSON_GetObjectItem(one, "ids"), 0);
  bundle_close(&b);
  free(file.bytes);
  folder_close(&f);
  nook_destroy(context);
}

static void the_first_merge_of_a_token_is_its_score(void **state) {
  (void)state;
  nook_context *context = context_new();
  folder f = folder_open("llama");
  folder_replace(&f, "tokenizer.json", "\"merges\": [", "\"merges\": [\"▁ t\", "); /* it is there again further on */
  converted file;
  if (folder_convert(context, &f, "f32", &file) != NK_STATUS_OK) fail_msg("%s", nook_error(context));
  nk_gguf gguf = header_of(&file);
  const nk_gguf_pair *tokens = nk_gguf_find(&gguf, "tokenizer.ggml.tokens"),
                     *scores = nk_gguf_find(&gguf, "tokenizer.ggml.scores");
  uint32_t found = 0, merged = 0;
  for (uint64_t i = 0; i < tokens->count; i++) {
    nk_text text = nk_gguf_text_at(tokens, i);
    double score = nk_gguf_number_at(scores, i);
    merged += score > -100.0 && score <= 0.0;
    if (text.length != 4 || memcmp(text.bytes, "▁t", 4) != 0) continue;
    assert_true(!(score < 0.0));
    found++;
  }
  assert_int_equal(found, 1);
  assert_true(merged > 20);
  nk_gguf_free(&gguf);
  free(file.bytes);
  folder_close(&f);
  nook_destroy(context);
}

/* As transformers 5.23 has it. */
static void the_template_says_what_goes_around_a_text_and_without_one_the_settings_do(void **state) {
  (void)state;
  static const struct {
    const char *checkpoint, *config;
    bool template, bos, eos;
  } cases[] = {
      {"opt", "{}", true, true, false},
      {"opt", "{\"add_bos_token\": false, \"add_eos_token\": true, \"bos_token\": \"</s>\"}", true, true, false},
      {"gpt2", "{\"add_bos_token\": true, \"bos_token\": \"<|endoftext|>\"}", true, false, false},
      {"opt", "{}", false, false, false},
      {"opt", "{\"add_bos_token\": true, \"bos_token\": {\"content\": \"</s>\"}}", false, true, false},
      {"opt", "{\"add_eos_token\": true, \"eos_token\": \"</s>\"}", false, false, true},
      {"qwen2", "{\"add_bos_token\": true}", false, false, false}, /* it has no such token */
  };
  nook_context *context = context_new();
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    folder f = folder_open(cases[i].checkpoint);
    folder_put(&f, "tokenizer_config.json", cases[i].config, strlen(cases[i].config));
    if (!cases[i].template) folder_replace(&f, "tokenizer.json", "\"post_processor\"", "\"no_processor\"");
    converted file;
    bool bos, eos;
    if (folder_convert(context, &f, "f32", &file) != NK_STATUS_OK) fail_msg("%s", nook_error(context));
    nk_gguf gguf = header_of(&file);
    assert_int_equal(nk_gguf_get_bool(&gguf, "tokenizer.ggml.add_bos_token", !cases[i].bos, &bos, NULL), NK_STATUS_OK);
    assert_int_equal(nk_gguf_get_bool(&gguf, "tokenizer.ggml.add_eos_token", !cases[i].eos, &eos, NULL), NK_STATUS_OK);
    if (bos != cases[i].bos || eos != cases[i].eos) fail_msg("%s", cases[i].config);
    nk_gguf_free(&gguf);
    free(file.bytes);
    folder_close(&f);
  }
  nook_destroy(context);
}

static void tokens_without_a_row_are_left_out_and_noted(void **state) {
  (void)state;
  nook_context *context = context_new();
  folder f = folder_open("gemma3");
  folder_replace(&f, "tokenizer.json", "\"added_tokens\": [",
                 "\"added_tokens\": [{\"id\": 404, \"content\": \"<image>\", \"special\": true},");
  converted file;
  if (folder_convert(context, &f, "f32", &file) != NK_STATUS_OK) fail_msg("%s", nook_error(context));
  assert_non_null(strstr(nook_result(context), "<image>"));
  free(file.bytes);
  folder_close(&f);
  nook_destroy(context);
}

static void further_ends_of_a_turn_are_kept(void **state) {
  (void)state;
  nook_context *context = context_new();
  folder f = folder_open("llama3");
  converted file;
  uint32_t eos, eot;
  assert_int_equal(folder_convert(context, &f, "f32", &file), NK_STATUS_OK);
  nk_gguf gguf = header_of(&file);
  assert_int_equal(nk_gguf_get_u32(&gguf, "tokenizer.ggml.eos_token_id", 99, 0, 99, &eos, NULL), NK_STATUS_OK);
  assert_int_equal(nk_gguf_get_u32(&gguf, "tokenizer.ggml.eot_token_id", 99, 0, 99, &eot, NULL), NK_STATUS_OK);
  assert_int_equal(eos, 2); /* <|eot_id|> ends a turn, <|end_of_text|> too */
  assert_int_equal(eot, 1);
  nk_gguf_free(&gguf);
  free(file.bytes);
  folder_close(&f);
  nook_destroy(context);
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

static void each_family_has_a_checkpoint_and_an_architecture(void **state) {
  (void)state;
  checkpoints all = all_checkpoints();
  for (uint32_t k = 0; k < nk_family_count(); k++) {
    const nk_family *family = nk_family_at(k);
    if (nk_arch_find(family->arch, strlen(family->arch)) == NULL) {
      fail_msg("%s: no architecture %s", family->model_type, family->arch);
    }
    bool found = false;
    for (uint32_t i = 0; i < all.n && !found; i++) {
      folder f = folder_open(all.name[i]);
      cJSON *config = cJSON_Parse(folder_text(&f, "config.json"));
      const cJSON *type = cJSON_GetObjectItem(config, "model_type");
      found = cJSON_IsString(type) && strcmp(type->valuestring, family->model_type) == 0;
      cJSON_Delete(config);
      folder_close(&f);
    }
    if (!found) fail_msg("the family %s has no checkpoint in " CHECKPOINTS, family->model_type);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_family_has_a_checkpoint_and_an_architecture),
      cmocka_unit_test(a_checkpoint_of_each_family_gives_transformers_logits),
      cmocka_unit_test(older_settings_mean_the_same),
      cmocka_unit_test(strings_have_the_ids_of_the_checkpoints_own_tokenizer),
      cmocka_unit_test(matrices_have_the_type_that_was_asked_for),
      cmocka_unit_test(a_pre_tokenizer_is_known_by_its_steps),
      cmocka_unit_test(further_ends_of_a_turn_are_kept),
      cmocka_unit_test(a_metaspace_before_texts_becomes_sentencepieces_rule_and_is_noted),
      cmocka_unit_test(tokens_without_a_row_are_left_out_and_noted),
      cmocka_unit_test(the_first_merge_of_a_token_is_its_score),
      cmocka_unit_test(the_template_says_what_goes_around_a_text_and_without_one_the_settings_do),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
