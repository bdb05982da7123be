/*
 * test_logits.c: whole models against independent references, and the same bits whatever the way.
 *
 * Every model under tests/fixtures/tiny and tests/fixtures/quants whose architecture and formats are ours is run on each
 * ISA, whole, in chunks and token by token, on one thread and on three. References: transformers (tiny) and llama.cpp or
 * dequantized float32 (quants); tolerances from tests/fixtures/README.md.
 */
#include <dirent.h>
#include <math.h>

#include "engine_fixture.h"

#include "kernels/kernels.h"

static const char *const ISAS[] = {"scalar", "simd128", "relaxed"};

static double max_abs_difference(const float *a, const float *b, size_t n) {
  double top = 0.0;
  for (size_t i = 0; i < n; i++) {
    double difference = fabs((double)a[i] - (double)b[i]);
    if (!(difference <= top)) top = difference; /* NaN too */
  }
  return top;
}

static double relative_l2(const float *a, const float *b, size_t n) {
  double error = 0.0, size = 0.0;
  for (size_t i = 0; i < n; i++) {
    double difference = (double)a[i] - (double)b[i];
    error += difference * difference;
    size += (double)b[i] * (double)b[i];
  }
  return sqrt(error / size);
}

static void assert_same_bits(const float *a, const float *b, size_t n, const char *what, const char *name) {
  if (memcmp(a, b, n * sizeof *a) == 0) return;
  for (size_t i = 0; i < n; i++) {
    if (memcmp(&a[i], &b[i], sizeof *a) != 0) {
      fail_msg("%s, %s: element %zu is %.9g in one way and %.9g in the other", name, what, i, (double)a[i], (double)b[i]);
    }
  }
}

/* One sequence in every way on an open host; compares the bits with `whole`. */
static void check_ways(host *h, const int32_t *ids, uint32_t n, uint32_t vocab, const float *whole, const char *name) {
  static const uint32_t chunks[] = {1, 5, 32};
  for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
    float *other = host_logits(h, ids, n, chunks[i], vocab);
    assert_same_bits(other, whole, (size_t)n * vocab, "in chunks", name);
    free(other);
  }
}

typedef struct reference {
  const char *path;  /* the GGUF */
  const char *stem;  /* the bundle */
  bool quantized;
} reference;

static double tolerance_of(const reference *r) {
  /* llama.cpp made the references of quantized models; its gelu comes from a table of halves. */
  static const char *const gelu[] = {"gemma", "gpt2", "gptneox", "phi2"};
  for (size_t i = 0; r->quantized && i < sizeof gelu / sizeof gelu[0]; i++) {
    if (strstr(r->path, gelu[i]) != NULL) return 1e-2;
  }
  if (r->quantized) return 3e-4;
  return strstr(r->path, "llama256") != NULL ? 3e-4 : 2e-4;
}

/* The exact path (float32 activations) against the reference, on one ISA. Keeps the logits of the longest sequence in
   *kept. */
static void check_exact(const reference *r, const bundle *b, const char *isa, uint32_t threads, float **kept) {
  host h = host_open(r->path, isa, threads, ",\"activations\":\"f32\"");
  uint32_t vocab = host_columns(&h);
  static const int lengths[] = {1, 3, 7, 33, 80, 200};
  for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
    char name[64];
    size_t n = 0, expected_n = 0;
    (void)snprintf(name, sizeof name, "len%d/ids", lengths[i]);
    const int32_t *ids = bundle_find(b, name, sizeof *ids, &n);
    if (ids == NULL) continue;
    const char *what = host_is_encoder(&h) ? "hidden" : "logits";
    (void)snprintf(name, sizeof name, "len%d/%s%s", lengths[i], what, r->quantized ? "_f32" : "");
    const float *expected = bundle_get(b, name, sizeof *expected, &expected_n);
    assert_int_equal(expected_n, n * vocab);
    float *logits = host_logits(&h, ids, (uint32_t)n, 0, vocab);
    double error = max_abs_difference(logits, expected, expected_n);
    if (!(error <= tolerance_of(r)))
      fail_msg("%s on %s, %s: max abs %.3g, allowed %.3g", r->path, isa, name, error, tolerance_of(r));
    check_ways(&h, ids, (uint32_t)n, vocab, logits, r->path);
    if (lengths[i] == (r->quantized ? 33 : 80)) { /* the longest that this kind of bundle has */
      if (*kept != NULL && strcmp(isa, "relaxed") != 0)
        assert_same_bits(logits, *kept, expected_n, "on another ISA or thread count", r->path);
      if (*kept == NULL) {
        *kept = logits;
        continue;
      }
    }
    free(logits);
  }
  host_close(&h);
}

/* The default path (int8 activations) against the dequantized reference. */
static void check_default(const reference *r, const bundle *b, const char *isa, uint32_t threads, float **kept) {
  host h = host_open(r->path, isa, threads, "");
  uint32_t vocab = host_columns(&h);
  size_t n = 0, expected_n = 0;
  const int32_t *ids = bundle_find(b, "len80/ids", sizeof *ids, &n);
  if (ids == NULL) ids = bundle_get(b, "len33/ids", sizeof *ids, &n);
  char name[64];
  (void)snprintf(name, sizeof name, "len%zu/logits_f32", n);
  const float *expected = bundle_get(b, name, sizeof *expected, &expected_n);
  float *logits = host_logits(&h, ids, (uint32_t)n, 0, vocab);
  double error = relative_l2(logits, expected, expected_n);
  if (!(error <= 0.08)) fail_msg("%s on %s: rel L2 %.3g, allowed 0.08", r->path, isa, error);
  check_ways(&h, ids, (uint32_t)n, vocab, logits, r->path);
  if (*kept != NULL && strcmp(isa, "relaxed") != 0)
    assert_same_bits(logits, *kept, expected_n, "on another ISA or thread count", r->path);
  if (*kept == NULL) {
    *kept = logits;
  } else {
    free(logits);
  }
  host_close(&h);
}

static void check_model(const reference *r) {
  bundle b = bundle_open(r->stem);
  float *exact = NULL, *usual = NULL;
  for (size_t i = 0; i < sizeof ISAS / sizeof ISAS[0]; i++) {
    for (uint32_t threads = 1; threads <= 3; threads += 2) {
      check_exact(r, &b, ISAS[i], threads, &exact);
      if (r->quantized) check_default(r, &b, ISAS[i], threads, &usual);
    }
  }
  free(exact);
  free(usual);
  bundle_close(&b);
}

/* Every *.gguf of a folder that has a bundle beside it. */
static void check_folder(const char *folder, const char *prefix, bool quantized, int at_least) {
  DIR *directory = opendir(folder);
  assert_non_null(directory);
  int checked = 0;
  for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
    size_t length = strlen(entry->d_name);
    if (length < 6 || strcmp(entry->d_name + length - 5, ".gguf") != 0) continue;
    if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0) continue;
    char path[512], stem[512];
    (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    (void)snprintf(stem, sizeof stem, "%s/%.*s", folder, (int)(length - 5), entry->d_name);
    reference r = {.path = path, .stem = stem, .quantized = quantized};
    check_model(&r);
    checked++;
  }
  (void)closedir(directory);
  if (checked < at_least) fail_msg("%s holds %d models, expected at least %d", folder, checked, at_least);
}

static void tiny_models_give_the_reference_logits_in_every_way(void **state) {
  (void)state;
  check_folder("tests/fixtures/tiny", "", false, 3);
}

static void quantized_models_give_the_reference_logits_in_every_way(void **state) {
  (void)state;
  check_folder("tests/fixtures/quants", "model_", true, 6);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tiny_models_give_the_reference_logits_in_every_way),
      cmocka_unit_test(quantized_models_give_the_reference_logits_in_every_way),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
