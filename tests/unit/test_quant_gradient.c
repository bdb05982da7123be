/*
 * test_quant_gradient.c: the gradient of a LoRA through quantized weights against autograd's on the dequantized ones
 * (tests/fixtures/quant_gradients): equal with float32 activations; how near it is with 8-bit ones, which are what training
 * does by default.
 */
#include "gradient_fixture.h"

#include "nook_learn.h"

static const char *const TYPES[] = {"Q4_0", "Q4_1", "Q4_K", "Q8_0"};
static const char *const ISAS[] = {"scalar", "simd128", "relaxed"};
#define COUNT(list) (sizeof(list) / sizeof *(list))
#define LENGTH 24u
#define LOSS_TOLERANCE 1e-5
#define GRADIENT_TOLERANCE 1e-4 /* relative L2 a tensor, float32 activations */
#define LEAST_COSINE 0.998      /* of all gradients, 8-bit activations */

static const nk_adapter *adapter_open(host *h, const char *folder) {
  char path[256];
  size_t n_config, n_tensors;
  uint32_t id;
  const nk_adapter *adapter;
  (void)snprintf(path, sizeof path, "%s/adapter_config.json", folder);
  uint8_t *config = read_whole(path, &n_config);
  (void)snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
  uint8_t *tensors = read_whole(path, &n_tensors);
  if (nook_adapter_read(h->context, "peft", config, (uint32_t)n_config, tensors, (uint32_t)n_tensors, &id) != NK_STATUS_OK)
    fail_msg("%s: %s", folder, nook_error(h->context));
  assert_int_equal(nk_context_adapter(h->context, id, &adapter), NK_STATUS_OK);
  free(config);
  free(tensors);
  return adapter;
}

/* PEFT's gradient of a parameter as ours stands: q's rows of B in pairs, B transposed. expected [n]. */
static void expected_gradient(const bundle *b, const nk_model *model, const nk_param *p, float *expected) {
  char name[160];
  size_t n;
  bool is_a = p->kind == NK_PARAM_LORA_A;
  (void)snprintf(name, sizeof name, "grad/base_model.model.model.layers.%u.self_attn.%c_proj.lora_%c.weight", p->layer,
                 p->slot == NK_SLOT_Q ? 'q' : 'v', is_a ? 'A' : 'B');
  const float *given = bundle_get(b, name, sizeof *given, &n);
  assert_int_equal(n, (size_t)p->rows * p->cols);
  if (is_a) {
    memcpy(expected, given, n * sizeof *given);
    return;
  }
  uint32_t dim = model->config.head_dim, half = dim / 2;
  for (uint32_t row = 0; row < p->cols; row++) {
    uint32_t in = row % dim, to = p->slot == NK_SLOT_Q ? row - in + (in < half ? 2 * in : 2 * (in - half) + 1) : row;
    for (uint32_t k = 0; k < p->rows; k++) expected[(size_t)k * p->cols + to] = given[(size_t)row * p->rows + k];
  }
}

static double dot(const float *a, const float *b, size_t n) {
  double sum = 0.0;
  for (size_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
  return sum;
}

/* Returns the cosine of all gradients to autograd's; *off: the largest relative L2 of a tensor; *loss. */
static double measure(const char *type, const char *isa, bool float_activations, double *off, double *loss,
                      double *expected_loss) {
  char path[160];
  size_t n;
  (void)snprintf(path, sizeof path, "tests/fixtures/quant_gradients/%s/oracle", type);
  bundle b = bundle_open(path);
  const int32_t *ids = bundle_get(&b, "ids", 4, &n), *labels = bundle_get(&b, "labels", 4, &n);
  assert_int_equal(n, 2 * LENGTH);
  *expected_loss = *(const double *)bundle_get(&b, "loss", 8, &n);
  (void)snprintf(path, sizeof path, "tests/fixtures/quants/model_llama256.%s.gguf", type);
  host h = host_open(path, isa, 1, "");
  (void)snprintf(path, sizeof path, "tests/fixtures/quant_gradients/%s", type);
  const nk_adapter *adapter = adapter_open(&h, path);
  const nk_model *model = h.context->model;
  nk_gradient *g = NULL;
  nk_error error = {0};
  const nk_gradient_options options = {.tokens = 2 * LENGTH, .float_activations = float_activations};
  if (nk_gradient_create(&g, model, &h.context->machine, adapter, &options, &error) != NK_STATUS_OK)
    fail_msg("%s", error.text);
  examples e = examples_make(ids, labels, 2, LENGTH, 0);
  *loss = gradient_run(g, &e, true, true);
  uint64_t n_values;
  const float *own = nk_gradient_values(g, &n_values);
  float *expected = malloc(n_values * sizeof *expected);
  assert_non_null(expected);
  *off = 0.0;
  for (uint32_t i = 0; i < adapter->n_params; i++) {
    const nk_param *p = &adapter->params[i];
    expected_gradient(&b, model, p, expected + p->offset);
    double one = relative_l2(own + p->offset, expected + p->offset, (size_t)p->rows * p->cols);
    if (!(one <= *off)) *off = one;
  }
  double cosine = dot(own, expected, n_values) / sqrt(dot(own, own, n_values) * dot(expected, expected, n_values));
  free(expected);
  examples_free(&e);
  nk_gradient_free(g);
  host_close(&h);
  bundle_close(&b);
  return cosine;
}

static void with_float_activations_it_is_autograds(void **state) {
  (void)state;
  for (size_t t = 0; t < COUNT(TYPES); t++) {
    for (size_t i = 0; i < COUNT(ISAS); i++) {
      double off, loss, expected;
      (void)measure(TYPES[t], ISAS[i], true, &off, &loss, &expected);
      if (!(fabs(loss - expected) <= LOSS_TOLERANCE)) fail_msg("%s: loss %.9g, expected %.9g", TYPES[t], loss, expected);
      if (!(off <= GRADIENT_TOLERANCE)) fail_msg("%s, %s: a gradient is off by %.3g", TYPES[t], ISAS[i], off);
      if (i == 1) print_message("%s: float32 activations, relative L2 of the worst tensor %.2g\n", TYPES[t], off);
    }
  }
}

static void with_8_bit_activations_it_points_the_same_way(void **state) {
  (void)state;
  for (size_t t = 0; t < COUNT(TYPES); t++) {
    for (size_t i = 0; i < COUNT(ISAS); i++) {
      double off, loss, expected, cosine = measure(TYPES[t], ISAS[i], false, &off, &loss, &expected);
      if (!(cosine >= LEAST_COSINE)) fail_msg("%s, %s: cosine %.5f", TYPES[t], ISAS[i], cosine);
      if (!(fabs(loss - expected) <= 0.05)) fail_msg("%s, %s: loss %.6g, exactly %.6g", TYPES[t], ISAS[i], loss, expected);
      print_message("%s, %s: 8-bit activations, cosine %.5f, worst tensor %.2g, loss %+.2g\n", TYPES[t], ISAS[i], cosine,
                    off, loss - expected);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(with_float_activations_it_is_autograds),
      cmocka_unit_test(with_8_bit_activations_it_points_the_same_way),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
