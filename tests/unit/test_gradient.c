/*
 * test_gradient.c: the gradient of every parameter against PyTorch's (tests/fixtures/train/<model>/full), and the same bits
 * whatever the threads and the memory for records.
 */
#include "gradient_fixture.h"

static const char *const MODELS[] = {"llama", "gptneox", "gemma3", "opt", "qwen2"};
#define N_MODELS (sizeof MODELS / sizeof *MODELS)
static const char *const ISAS[] = {"scalar", "simd128", "relaxed"};
#define GRADIENT_TOLERANCE 1e-4 /* relative L2 a tensor */
#define LOSS_TOLERANCE 1e-5

typedef struct oracle {
  bundle bundle;
  examples examples;
  double loss;
  char gguf[128];
} oracle;

static oracle oracle_open(const char *model, const char *method, uint32_t virtual) {
  oracle o;
  char stem[128];
  size_t n;
  (void)snprintf(stem, sizeof stem, "tests/fixtures/train/%s/%s/oracle", model, method);
  (void)snprintf(o.gguf, sizeof o.gguf, "tests/fixtures/tiny/%s.gguf", model);
  o.bundle = bundle_open(stem);
  const int32_t *ids = bundle_get(&o.bundle, "ids", 4, &n), *labels = bundle_get(&o.bundle, "labels", 4, &n);
  assert_int_equal(n, 48);
  o.examples = examples_make(ids, labels, 2, 24, virtual);
  const double *loss = bundle_get(&o.bundle, "loss", 8, &n);
  assert_int_equal(n, 31);
  o.loss = loss[0];
  return o;
}

static void oracle_close(oracle *o) {
  examples_free(&o->examples);
  bundle_close(&o->bundle);
}

static nk_gradient *open_gradient(host *h, uint64_t memory) {
  nk_gradient *g = NULL;
  nk_error error = {0};
  const nk_gradient_options options = {.tokens = 64, .float_activations = true, .weights = true, .memory = memory};
  if (nk_gradient_create(&g, h->context->model, &h->context->machine, NULL, &options, &error) != NK_STATUS_OK)
    fail_msg("%s", error.text);
  return g;
}

/* Every tensor that the oracle names. */
static void compare(nk_gradient *g, host *h, const oracle *o, const char *model) {
  const cJSON *tensors = cJSON_GetObjectItemCaseSensitive(o->bundle.json, "tensors"), *one;
  uint32_t compared = 0;
  cJSON_ArrayForEach(one, tensors) {
    if (strncmp(one->string, "grad/", 5) != 0) continue;
    const char *name = one->string + 5;
    if (strcmp(model, "opt") == 0 && strstr(name, "attn_k.bias") != NULL) continue; /* 0 but for rounding */
    tensor t = tensor_find(h->context->model, name);
    const float *own = nk_gradient_weight(g, tensor_data(&t));
    assert_non_null(own);
    size_t n;
    const float *expected = bundle_get(&o->bundle, one->string, 4, &n);
    double error = relative_l2(own, expected, n);
    if (!(error <= GRADIENT_TOLERANCE)) fail_msg("%s: the gradient of %s is off by %.3g", model, name, error);
    compared++;
  }
  assert_true(compared > 10);
}

static void the_gradient_of_every_parameter_is_autograds(void **state) {
  (void)state;
  for (size_t m = 0; m < N_MODELS; m++) {
    oracle o = oracle_open(MODELS[m], "full", 0);
    for (size_t i = 0; i < sizeof ISAS / sizeof *ISAS; i++) {
      host h = host_open(o.gguf, ISAS[i], 1, ",\"activations\":\"f32\"");
      nk_gradient *g = open_gradient(&h, 0);
      for (int packed = 0; packed < 2; packed++) {
        double loss = gradient_run(g, &o.examples, packed == 1, true);
        if (!(fabs(loss - o.loss) <= LOSS_TOLERANCE)) fail_msg("%s: loss %.9g, expected %.9g", MODELS[m], loss, o.loss);
        compare(g, &h, &o, MODELS[m]);
      }
      nk_gradient_free(g);
      host_close(&h);
    }
    oracle_close(&o);
  }
}

/* The gradients of one run, [*n], the caller's. */
static float *gradients_of(const oracle *o, uint32_t threads, uint64_t memory, uint64_t *n, double *loss) {
  host h = host_open(o->gguf, "simd128", threads, ",\"activations\":\"f32\"");
  nk_gradient *g = open_gradient(&h, memory);
  *loss = gradient_run(g, &o->examples, true, true);
  const float *values = nk_gradient_values(g, n);
  float *copy = malloc(*n * sizeof *copy);
  assert_non_null(copy);
  memcpy(copy, values, *n * sizeof *copy);
  nk_gradient_free(g);
  host_close(&h);
  return copy;
}

static void neither_threads_nor_memory_change_a_bit(void **state) {
  (void)state;
  static const struct { uint32_t threads; uint64_t memory; } ways[] = {{3, 0}, {1, 1}, {2, 300000}};
  for (size_t m = 0; m < N_MODELS; m++) {
    oracle o = oracle_open(MODELS[m], "full", 0);
    uint64_t n, other_n;
    double loss, other_loss;
    float *first = gradients_of(&o, 1, 0, &n, &loss);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
      float *other = gradients_of(&o, ways[i].threads, ways[i].memory, &other_n, &other_loss);
      assert_int_equal(other_n, n);
      assert_memory_equal(other, first, n * sizeof *first);
      assert_memory_equal(&other_loss, &loss, sizeof loss);
      free(other);
    }
    free(first);
    oracle_close(&o);
  }
}

/* Less memory for records: fewer layers have their own, at last none, and the plan says what is taken. */
static void the_plan_keeps_within_the_memory(void **state) {
  (void)state;
  host h = host_open("tests/fixtures/tiny/gemma3.gguf", "simd128", 1, "");
  nk_gradient_options options = {.tokens = 64, .weights = true};
  nk_gradient_plan whole = nk_gradient_measure(h.context->model, &h.context->machine, NULL, &options);
  assert_int_equal(whole.kept, h.context->model->config.n_layers);
  uint32_t kept = whole.kept;
  for (uint64_t memory = whole.records; memory > 1; memory -= memory / 4 + 1) {
    options.memory = memory;
    nk_gradient_plan plan = nk_gradient_measure(h.context->model, &h.context->machine, NULL, &options);
    assert_true(plan.kept <= kept);
    if (plan.kept > 0) assert_true(plan.records <= memory);
    kept = plan.kept;
  }
  assert_int_equal(kept, 0);
  host_close(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_gradient_of_every_parameter_is_autograds),
      cmocka_unit_test(neither_threads_nor_memory_change_a_bit),
      cmocka_unit_test(the_plan_keeps_within_the_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
