/*
 * test_train.c: training adapters against PyTorch + PEFT (tests/fixtures/train): first loss, every gradient, thirty AdamW
 * losses and norms, the adapter at the end; on each ISA. Tolerances: tests/fixtures/README.md.
 */
#include "gradient_fixture.h"

#include "adapt/peft.h"
#include "train/trainer.h"

static const char *const MODELS[] = {"llama", "gptneox", "gemma3", "opt", "qwen2"};
static const char *const METHODS[] = {"lora_attn", "lora_all", "prompt", "prefix", "ia3"};
static const char *const ISAS[] = {"scalar", "simd128", "relaxed"};
#define COUNT(list) (sizeof(list) / sizeof *(list))
#define STEPS 30u
#define LENGTH 24u

/* ---- Adapters of the oracles --------------------------------------------------------------------------------------- */

static nk_adapter *adapter_open(const host *h, const char *folder) {
  char path[256];
  size_t n_config, n_tensors;
  (void)snprintf(path, sizeof path, "%s/adapter_config.json", folder);
  uint8_t *config = read_whole(path, &n_config);
  (void)snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
  uint8_t *tensors = read_whole(path, &n_tensors);
  nk_adapter *adapter = NULL;
  nk_error error = {0};
  if (nk_peft_read(&adapter, h->context->model, config, n_config, tensors, n_tensors, &error) != NK_STATUS_OK)
    fail_msg("%s: %s", folder, error.text);
  free(config);
  free(tensors);
  return adapter;
}

/* What a safetensors file [n] in memory has under a name, or NULL; *count: its floats. */
static const float *tensor_of(const uint8_t *file, uint64_t n, const char *name, size_t *count) {
  uint64_t length;
  assert_true(n > 8);
  memcpy(&length, file, 8);
  assert_true(length <= n - 8);
  cJSON *header = cJSON_ParseWithLength((const char *)file + 8, (size_t)length);
  assert_non_null(header);
  const cJSON *one = cJSON_GetObjectItemCaseSensitive(header, name);
  const float *data = NULL;
  if (one != NULL) {
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(one, "data_offsets");
    uint64_t begin = (uint64_t)cJSON_GetArrayItem(offsets, 0)->valuedouble;
    uint64_t end = (uint64_t)cJSON_GetArrayItem(offsets, 1)->valuedouble;
    *count = (size_t)(end - begin) / sizeof(float);
    data = (const float *)(const void *)(file + 8 + length + begin);
  }
  cJSON_Delete(header);
  return data;
}

/* `values` in the adapter's layout, as the tensors of PEFT's file; the caller frees. */
static nk_bytes as_peft(const host *h, nk_adapter *adapter, const float *values) {
  nk_bytes config, tensors;
  nk_error error = {0};
  float *own = malloc(adapter->n_values * sizeof *own);
  assert_non_null(own);
  memcpy(own, adapter->values, adapter->n_values * sizeof *own);
  memcpy(adapter->values, values, adapter->n_values * sizeof *own);
  if (nk_peft_write(adapter, h->context->model, &config, &tensors, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
  memcpy(adapter->values, own, adapter->n_values * sizeof *own);
  free(own);
  free(config.data);
  return tensors;
}

/* ---- One oracle ---------------------------------------------------------------------------------------------------- */

typedef struct oracle {
  bundle bundle;
  char name[64], folder[128], gguf[128];
  const int32_t *ids, *labels; /* [2, LENGTH] */
  const double *loss, *norm;
} oracle;

static oracle oracle_open(const char *model, const char *method) {
  oracle o;
  char stem[160];
  size_t n;
  (void)snprintf(o.name, sizeof o.name, "%s/%s", model, method);
  (void)snprintf(o.folder, sizeof o.folder, "tests/fixtures/train/%s", o.name);
  (void)snprintf(o.gguf, sizeof o.gguf, "tests/fixtures/tiny/%s.gguf", model);
  (void)snprintf(stem, sizeof stem, "%s/oracle", o.folder);
  o.bundle = bundle_open(stem);
  o.ids = bundle_get(&o.bundle, "ids", 4, &n);
  assert_int_equal(n, 2 * LENGTH);
  o.labels = bundle_get(&o.bundle, "labels", 4, &n);
  o.loss = bundle_get(&o.bundle, "loss", 8, &n);
  assert_int_equal(n, STEPS + 1);
  o.norm = bundle_get(&o.bundle, "grad_norm", 8, &n);
  return o;
}

static nk_adapter *oracle_adapter(const oracle *o, const host *h, const char *which) {
  char folder[160];
  (void)snprintf(folder, sizeof folder, "%s/%s", o->folder, which);
  return adapter_open(h, folder);
}

static void check_gradients(const oracle *o, const host *h) {
  nk_adapter *adapter = oracle_adapter(o, h, "init");
  nk_gradient *g = NULL;
  nk_error error = {0};
  const nk_gradient_options options = {.tokens = 80, .float_activations = true};
  if (nk_gradient_create(&g, h->context->model, &h->context->machine, adapter, &options, &error) != NK_STATUS_OK)
    fail_msg("%s", error.text);
  uint32_t virtual = adapter->method == NK_METHOD_PROMPT ? adapter->n_virtual : 0;
  examples e = examples_make(o->ids, o->labels, 2, LENGTH, virtual);
  double loss = gradient_run(g, &e, true, true);
  if (!(fabs(loss - o->loss[0]) <= 1e-5)) fail_msg("%s: loss %.9g, expected %.9g", o->name, loss, o->loss[0]);
  uint64_t n_values;
  nk_bytes tensors = as_peft(h, adapter, nk_gradient_values(g, &n_values));
  const cJSON *one;
  uint32_t compared = 0;
  cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(o->bundle.json, "tensors")) {
    if (strncmp(one->string, "grad/", 5) != 0) continue;
    size_t n, own_n = 0;
    const float *expected = bundle_get(&o->bundle, one->string, 4, &n);
    const float *own = tensor_of(tensors.data, tensors.length, one->string + 5, &own_n);
    if (own == NULL || own_n != n) fail_msg("%s: %s is not among our tensors", o->name, one->string);
    double off = relative_l2(own, expected, n);
    if (!(off <= 1e-4)) fail_msg("%s: the gradient of %s is off by %.3g", o->name, one->string, off);
    compared++;
  }
  assert_true(compared > 0);
  free(tensors.data);
  examples_free(&e);
  nk_gradient_free(g);
  nk_adapter_free(adapter);
}

/* Thirty updates; the loss after them is measured on the same examples. */
static void check_training(const oracle *o, const host *h) {
  nk_trainer *t = NULL;
  nk_error error = {0};
  nk_adapter *init = oracle_adapter(o, h, "init"), *final = oracle_adapter(o, h, "final");
  const cJSON *meta = cJSON_GetObjectItemCaseSensitive(o->bundle.json, "meta");
  const cJSON *optimizer = cJSON_GetObjectItemCaseSensitive(meta, "optimizer");
  char text[256];
  (void)snprintf(text, sizeof text,
                 "{\"method\":\"%s\",\"steps\":30,\"batch_size\":2,\"lr\":%.9g,\"schedule\":\"constant\","
                 "\"warmup_steps\":5,\"weight_decay\":%.9g,\"clip\":1,\"shuffle\":false,\"eval_every\":1000}",
                 nk_method_name(init->method), cJSON_GetObjectItemCaseSensitive(optimizer, "lr")->valuedouble,
                 cJSON_GetObjectItemCaseSensitive(optimizer, "weight_decay")->valuedouble);
  if (nk_trainer_create(&t, h->context->model, &h->context->machine, text, 256, true, &error) != NK_STATUS_OK)
    fail_msg("%s", error.text);
  if (nk_trainer_begin_with(t, init, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
  for (uint32_t i = 0; i < 4; i++) {
    const uint32_t row = i % 2;
    if (nk_trainer_add(t, o->ids + row * LENGTH, o->labels + row * LENGTH, LENGTH, i >= 2, &error) != NK_STATUS_OK)
      fail_msg("%s", error.text);
  }
  const uint8_t hash[32] = {1};
  if (nk_trainer_start(t, hash, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
  uint32_t steps = 0, evals = 0;
  for (nk_train_event event = {0}; event.type != NK_TRAIN_DONE;) {
    if (nk_trainer_step(t, 0.01, &event, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
    if (event.type == NK_TRAIN_STEP) {
      assert_true(steps < STEPS);
      if (!(fabs(event.loss - o->loss[steps]) <= 2e-3))
        fail_msg("%s: loss %.9g at step %u, expected %.9g", o->name, event.loss, steps, o->loss[steps]);
      if (!(fabs(event.norm - o->norm[steps]) <= 5e-3 * o->norm[steps]))
        fail_msg("%s: norm %.9g at step %u, expected %.9g", o->name, event.norm, steps, o->norm[steps]);
      assert_int_equal(event.step, ++steps);
    } else if (event.type == NK_TRAIN_EVAL) {
      double expected = o->loss[evals++ == 0 ? 0 : STEPS];
      if (!(fabs(event.loss - expected) <= 2e-3))
        fail_msg("%s: %.9g was measured, expected %.9g", o->name, event.loss, expected);
    }
  }
  assert_int_equal(steps, STEPS);
  assert_int_equal(evals, 2);
  assert_int_equal(nk_trainer_end_reason(t), NK_TRAIN_BUDGET);
  nk_adapter *made = nk_trainer_take(t);
  for (uint32_t i = 0; i < made->n_params; i++) {
    const nk_param *p = &made->params[i];
    double off = relative_l2(made->values + p->offset, final->values + p->offset, (size_t)p->rows * p->cols);
    if (!(off <= 1e-2))
      fail_msg("%s: the final values of layer %u, slot %u are off by %.3g", o->name, p->layer, p->slot, off);
  }
  nk_adapter_free(made);
  nk_trainer_free(t);
  nk_adapter_free(init);
  nk_adapter_free(final);
}

static void every_method_learns_as_in_pytorch(void **state) {
  (void)state;
  for (size_t m = 0; m < COUNT(MODELS); m++) {
    for (size_t k = 0; k < COUNT(METHODS); k++) {
      oracle o = oracle_open(MODELS[m], METHODS[k]);
      for (size_t i = 0; i < COUNT(ISAS); i++) {
        host h = host_open(o.gguf, ISAS[i], 1, ",\"activations\":\"f32\"");
        check_gradients(&o, &h);
        if (strcmp(ISAS[i], "simd128") == 0) check_training(&o, &h); /* all thirty steps: where the others' bits are near */
        host_close(&h);
      }
      bundle_close(&o.bundle);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_method_learns_as_in_pytorch),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
