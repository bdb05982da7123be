/*
 * test_gradient_numeric.c: the gradient of every method on every decoder against the loss itself, along directions: each
 * tensor of an adapter along its own gradient, then all along random ones, in the float path. Differences at h and 2 h,
 * plain and extrapolated (Richardson): a short step has the float32 noise of the loss, a long one curvature and, with ReLU,
 * corners. A wrong gradient agrees at none.
 */
#include "adapted_fixture.h"
#include "gradient_fixture.h"

#define LENGTH 36u /* beyond the tiny models' windows */
#define ROWS 1u

typedef struct subject {
  nk_gradient *gradient;
  nk_adapter *adapter;
  examples examples;
  float *start, *direction; /* [n_values] */
  double largest;           /* relative error that was seen */
} subject;

/* (loss(start + step v) - loss(start - step v)) / 2 step */
static double slope(subject *s, double step) {
  double loss[2];
  for (int side = 0; side < 2; side++) {
    for (uint64_t i = 0; i < s->adapter->n_values; i++)
      s->adapter->values[i] = (float)((double)s->start[i] + (side == 0 ? step : -step) * (double)s->direction[i]);
    loss[side] = gradient_run(s->gradient, &s->examples, false, false);
  }
  memcpy(s->adapter->values, s->start, s->adapter->n_values * sizeof *s->start);
  return (loss[0] - loss[1]) / (2.0 * step);
}

/* direction has length 1 */
static void compare(subject *s, double expected, double scale, const char *path, const char *way, const nk_param *p) {
  static const double steps[] = {0.005, 0.001, 0.02, 0.0003, 0.0001, 0.00006};
  double best = INFINITY, got = 0.0;
  for (size_t i = 0; i < sizeof steps / sizeof *steps && best > 5e-3; i++) {
    double near = slope(s, steps[i]), numeric[2] = {near, (4.0 * near - slope(s, 2.0 * steps[i])) / 3.0};
    for (int k = 0; k < 2; k++) {
      double off = fabs(numeric[k] - expected) / scale;
      if (!(off < best)) continue;
      best = off;
      got = numeric[k];
    }
  }
  if (best > s->largest) s->largest = best;
  if (!(best <= 1e-2)) {
    fail_msg("%s, %s, layer %u, slot %u, kind %d: the slope is %.6g, the gradient says %.6g", path, way,
             p == NULL ? 0 : p->layer, p == NULL ? 0 : (unsigned)p->slot, p == NULL ? -1 : (int)p->kind, got, expected);
  }
}

static double length_of(const float *v, size_t n) {
  double sum = 0.0;
  for (size_t i = 0; i < n; i++) sum += (double)v[i] * (double)v[i];
  return sqrt(sum);
}

static void check_tensors(subject *s, const float *gradient, const char *path, const char *way) {
  const nk_adapter *a = s->adapter;
  double whole = length_of(gradient, a->n_values);
  for (uint32_t i = 0; i < a->n_params; i++) {
    const nk_param *p = &a->params[i];
    size_t n = (size_t)p->rows * p->cols;
    double length = length_of(gradient + p->offset, n);
    assert_true(isfinite(length));
    memset(s->direction, 0, a->n_values * sizeof *s->direction);
    if (length > 1e-3 * whole) { /* a key's gradient may vanish: then any direction must be flat */
      for (size_t k = 0; k < n; k++)
        s->direction[p->offset + k] = (float)((double)gradient[p->offset + k] / length);
      compare(s, length, length, path, way, p);
    } else {
      for (size_t k = 0; k < n; k++) s->direction[p->offset + k] = (float)(1.0 / sqrt((double)n));
      double expected = 0.0;
      for (size_t k = 0; k < n; k++)
        expected += (double)gradient[p->offset + k] * (double)s->direction[p->offset + k];
      compare(s, expected, whole, path, way, p);
    }
  }
}

/* Half of the length along the gradient, so that there is a slope; the rest in any direction. */
static void check_random(subject *s, const float *gradient, const char *path, const char *way, uint64_t seed) {
  const nk_adapter *a = s->adapter;
  nk_random random = nk_random_seed(seed);
  double whole = length_of(gradient, a->n_values), expected = 0.0;
  for (uint64_t i = 0; i < a->n_values; i++) s->direction[i] = (float)nk_random_normal(&random);
  double length = length_of(s->direction, a->n_values);
  for (uint64_t i = 0; i < a->n_values; i++)
    s->direction[i] = (float)(0.8 * (double)s->direction[i] / length + 0.5 * (double)gradient[i] / whole);
  for (uint64_t i = 0; i < a->n_values; i++) expected += (double)gradient[i] * (double)s->direction[i];
  compare(s, expected, whole, path, way, NULL);
}

static void check_way(host *h, const struct way *way, const char *path, double *largest) {
  const nk_model *model = h->context->model;
  uint32_t vocab = model->vocab;
  subject s = {.adapter = adapter_random(model, way, 71)};
  uint32_t virtual = way->config.method == NK_METHOD_PROMPT ? way->config.n_virtual : 0;
  nk_error error = {0};
  const nk_gradient_options options = {.tokens = LENGTH + virtual, .float_activations = true};
  nk_status status = nk_gradient_create(&s.gradient, model, &h->context->machine, s.adapter, &options, &error);
  if (status != NK_STATUS_OK) fail_msg("%s, %s: %s", path, way->name, error.text);
  int32_t ids[ROWS * LENGTH], labels[ROWS * LENGTH];
  random_ids(ids, ROWS * LENGTH, vocab, 72);
  for (uint32_t i = 0; i < ROWS * LENGTH; i++) labels[i] = i % LENGTH < LENGTH / 4 ? NK_NOT_SCORED : ids[i];
  s.examples = examples_make(ids, labels, ROWS, LENGTH, virtual);
  size_t bytes = s.adapter->n_values * sizeof(float);
  float *gradient = malloc(bytes);
  s.start = malloc(bytes);
  s.direction = malloc(bytes);
  assert_true(gradient != NULL && s.start != NULL && s.direction != NULL);
  memcpy(s.start, s.adapter->values, bytes);
  (void)gradient_run(s.gradient, &s.examples, false, true);
  uint64_t n;
  memcpy(gradient, nk_gradient_values(s.gradient, &n), bytes);
  assert_int_equal(n, s.adapter->n_values);
  check_tensors(&s, gradient, path, way->name);
  for (uint64_t seed = 0; seed < 2; seed++) check_random(&s, gradient, path, way->name, 80 + seed);
  if (s.largest > *largest) *largest = s.largest;
  free(gradient);
  free(s.start);
  free(s.direction);
  examples_free(&s.examples);
  nk_gradient_free(s.gradient);
  nk_adapter_free(s.adapter);
}

static void check_decoder(const char *path) {
  double largest = 0.0;
  host h = host_open(path, "simd128", 1, ",\"activations\":\"f32\"");
  for (size_t w = 0; w < N_WAYS; w++) check_way(&h, &WAYS[w], path, &largest);
  print_message("%s: within %.2g\n", path, largest);
  host_close(&h);
}

static void every_gradient_is_the_slope_of_the_loss(void **state) {
  (void)state;
  every_decoder(check_decoder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_gradient_is_the_slope_of_the_loss),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
