/*
 * test_adapted_logits.c: logits with adapters against PEFT: every method before and after training (tests/fixtures/train),
 * and LoRA from GGUF files at two scales (tests/fixtures/adapters/NAME.logits). Tolerances: tests/fixtures/README.md.
 */
#include "adapted_fixture.h"

#include "nook_learn.h"

static const char *const MODELS[] = {"llama", "gptneox", "gemma3", "opt", "qwen2"};
static const char *const METHODS[] = {"lora_attn", "lora_all", "prompt", "prefix", "ia3"};
static const char *const GGUFS[] = {"llama.lora_all", "llama.lora_attn", "qwen2.lora_all", "gemma3.lora_all",
                                    "gptneox.lora_all"};
static const char *const ISAS[] = {"scalar", "simd128", "relaxed"};
#define COUNT(list) (sizeof(list) / sizeof *(list))
#define VOCAB 320u
#define TOLERANCE 3e-4

static void assert_logits(host *h, const int32_t *ids, uint32_t n, const float *expected, const char *what) {
  float *own = host_logits(h, ids, n, 0, VOCAB);
  double off = max_abs_difference(own, expected, (size_t)n * VOCAB);
  if (!(off <= TOLERANCE)) fail_msg("%s: off by %.3g", what, off);
  free(own);
}

static uint32_t read_peft(host *h, const char *folder) {
  char path[256];
  size_t n_config, n_tensors;
  uint32_t id;
  (void)snprintf(path, sizeof path, "%s/adapter_config.json", folder);
  uint8_t *config = read_whole(path, &n_config);
  (void)snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
  uint8_t *tensors = read_whole(path, &n_tensors);
  if (nook_adapter_read(h->context, "peft", config, (uint32_t)n_config, tensors, (uint32_t)n_tensors, &id) != NK_STATUS_OK)
    fail_msg("%s: %s", folder, nook_error(h->context));
  free(config);
  free(tensors);
  return id;
}

/* Rows of tokens; of a prompt's own vectors PEFT has logits too, which come before. */
static void check_oracle(const char *model, const char *method) {
  char path[160];
  (void)snprintf(path, sizeof path, "tests/fixtures/train/%s/%s/oracle", model, method);
  bundle b = bundle_open(path);
  size_t n;
  const int32_t *ids = bundle_get(&b, "ids", sizeof *ids, &n);
  assert_int_equal(n, 48);
  for (size_t i = 0; i < COUNT(ISAS); i++) {
    (void)snprintf(path, sizeof path, "tests/fixtures/tiny/%s.gguf", model);
    host h = host_open(path, ISAS[i], 1, ",\"activations\":\"f32\"");
    for (int final = 0; final < 2; final++) {
      (void)snprintf(path, sizeof path, "tests/fixtures/train/%s/%s/%s", model, method, final ? "final" : "init");
      apply_one(&h, read_peft(&h, path), 1.0f);
      const float *expected = bundle_get(&b, final ? "logits_final" : "logits_init", sizeof *expected, &n);
      size_t rows = n / VOCAB / 2, before = strcmp(method, "prompt") == 0 ? 8 : 0;
      assert_int_equal(rows, 24 + before);
      for (size_t r = 0; r < 2; r++) assert_logits(&h, ids + r * 24, 24, expected + (r * rows + before) * VOCAB, path);
    }
    host_close(&h);
  }
  bundle_close(&b);
}

static void every_method_gives_the_logits_of_peft(void **state) {
  (void)state;
  for (size_t m = 0; m < COUNT(MODELS); m++)
    for (size_t k = 0; k < COUNT(METHODS); k++) check_oracle(MODELS[m], METHODS[k]);
}

static void a_gguf_of_lora_gives_the_logits_of_peft_at_any_scale(void **state) {
  (void)state;
  for (size_t f = 0; f < COUNT(GGUFS); f++) {
    char path[160];
    size_t n, n_file;
    (void)snprintf(path, sizeof path, "tests/fixtures/adapters/%s.logits", GGUFS[f]);
    bundle b = bundle_open(path);
    const int32_t *ids = bundle_get(&b, "ids", sizeof *ids, &n);
    assert_int_equal(n, 24);
    (void)snprintf(path, sizeof path, "tests/fixtures/tiny/%.*s.gguf", (int)strcspn(GGUFS[f], "."), GGUFS[f]);
    host h = host_open(path, "simd128", 1, ",\"activations\":\"f32\"");
    (void)snprintf(path, sizeof path, "tests/fixtures/adapters/%s.gguf", GGUFS[f]);
    uint8_t *file = read_whole(path, &n_file);
    uint32_t id;
    if (nook_adapter_read(h.context, "gguf", file, (uint32_t)n_file, NULL, 0, &id) != NK_STATUS_OK)
      fail_msg("%s: %s", path, nook_error(h.context));
    free(file);
    assert_logits(&h, ids, 24, bundle_get(&b, "logits_base", sizeof(float), &n), GGUFS[f]);
    apply_one(&h, id, 1.0f);
    assert_logits(&h, ids, 24, bundle_get(&b, "logits", sizeof(float), &n), GGUFS[f]);
    apply_one(&h, id, 0.5f);
    assert_logits(&h, ids, 24, bundle_get(&b, "logits_scale_0.5", sizeof(float), &n), GGUFS[f]);
    host_close(&h);
    bundle_close(&b);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_method_gives_the_logits_of_peft),
      cmocka_unit_test(a_gguf_of_lora_gives_the_logits_of_peft_at_any_scale),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
