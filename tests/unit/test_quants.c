/*
 * test_quants.c: block formats against independent references (fixtures/quants, made with gguf-py, numpy and llama.cpp).
 * Every row of formats.def must have its fixture. Dequantization is compared bit by bit; the integer products of every ISA
 * with the float64 product of their own quantized activations and the dequantized weights, to 1e-6 of the magnitude.
 */
#include "engine_fixture.h"

#include <math.h>

#include "kernels/ops.h"

#define FOLDER "tests/fixtures/quants/"

static const nk_isa isas[] = {NK_ISA_SCALAR, NK_ISA_SIMD128, NK_ISA_RELAXED};

typedef struct fixture {
  bundle file, source;
  const nk_format *format;
  const uint8_t *blocks; /* [rows, row bytes]; of F32 the source itself */
  const float *dequant;  /* [rows, cols] */
  uint32_t rows, cols;
} fixture;

static fixture open_fixture(uint32_t index) {
  fixture f = {.format = nk_format_at(index), .rows = 16, .cols = 1024};
  char stem[128];
  size_t n;
  f.source = bundle_open(FOLDER "source");
  if (f.format->type == 0) { /* F32 needs no bundle of its own: its blocks are the source */
    f.file = bundle_open(FOLDER "source");
    f.blocks = bundle_get(&f.file, "weights", 1, &n);
    f.dequant = bundle_get(&f.file, "weights", 4, &n);
  } else {
    (void)snprintf(stem, sizeof stem, FOLDER "%s", f.format->name);
    f.file = bundle_open(stem);
    const cJSON *meta = cJSON_GetObjectItemCaseSensitive(f.file.json, "meta");
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(meta, "ggml_type_id")->valueint, f.format->type);
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(meta, "block_elems")->valueint, f.format->block);
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(meta, "block_bytes")->valueint, f.format->block_bytes);
    f.blocks = bundle_get(&f.file, "blocks", 1, &n);
    assert_int_equal(n, f.rows * nk_row_bytes(f.format, f.cols));
    f.dequant = bundle_get(&f.file, "dequant", 4, &n);
  }
  assert_int_equal(n, f.rows * f.cols);
  return f;
}

static void close_fixture(fixture *f) {
  bundle_close(&f->file);
  bundle_close(&f->source);
}

static nk_matrix pack(const nk_format *format, uint32_t rows, uint32_t cols, const uint8_t *blocks) {
  nk_matrix w = {.format = format, .rows = rows, .cols = cols, .data = malloc((size_t)nk_matrix_bytes(format, rows, cols))};
  nk_error error = {0};
  assert_non_null(w.data);
  if (nk_matrix_pack(&w, 0, rows, blocks, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
  return w;
}

/* Row gather and the panels of every ISA (through y = unit vector × Wᵀ, and dx = unit vector × W) give these floats. */
static void assert_dequantizes_to(const nk_matrix *w, const float *expected) {
  float *row = malloc(sizeof(float) * w->cols), *unit = calloc(w->cols > w->rows ? w->cols : w->rows, sizeof(float));
  float *y = malloc(sizeof(float) * w->rows);
  void *scratch = malloc((size_t)nk_gemm_t_scratch_bytes());
  assert_true(row != NULL && unit != NULL && y != NULL && scratch != NULL);
  for (uint32_t r = 0; r < w->rows; r++) {
    nk_matrix_gather(w, r, row);
    if (memcmp(row, expected + (size_t)r * w->cols, sizeof(float) * w->cols) != 0) {
      for (uint32_t k = 0; k < w->cols; k++)
        if (memcmp(row + k, expected + (size_t)r * w->cols + k, sizeof(float)) != 0)
          fail_msg("%s: [%u, %u] is %a, not %a", w->format->name, r, k, (double)row[k],
                   (double)expected[(size_t)r * w->cols + k]);
    }
  }
  for (size_t i = 0; i < sizeof isas / sizeof isas[0]; i++) {
    const nk_ops *ops = nk_ops_get(isas[i]);
    for (uint32_t k = 0; k < w->cols; k += w->cols > 100 ? 37 : 1) {
      unit[k] = 1.0f;
      nk_gemm_f32(ops, y, w->rows, w, unit, w->cols, 1, 0, (w->rows + 7) / 8);
      unit[k] = 0.0f;
      for (uint32_t r = 0; r < w->rows; r++) assert_true(y[r] == expected[(size_t)r * w->cols + k]);
    }
    for (uint32_t r = 0; r < w->rows; r++) {
      memset(row, 0, sizeof(float) * w->cols);
      unit[r] = 1.0f;
      nk_gemm_t_f32(ops, row, w->cols, w, unit, w->rows, 1, 0, w->cols, scratch);
      unit[r] = 0.0f;
      for (uint32_t k = 0; k < w->cols; k++) assert_true(row[k] == expected[(size_t)r * w->cols + k]);
    }
  }
  free(row), free(unit), free(y), free(scratch);
}

static void every_format_dequantizes_as_its_references_do(void **state) {
  (void)state;
  for (uint32_t i = 0; i < nk_format_count(); i++) {
    fixture f = open_fixture(i);
    nk_matrix w = pack(f.format, f.rows, f.cols, f.blocks);
    assert_dequantizes_to(&w, f.dequant);
    free(w.data);
    close_fixture(&f);
  }
}

static void random_blocks_dequantize_as_their_references_do(void **state) {
  uint32_t seen = 0;
  (void)state;
  for (uint32_t i = 0; i < nk_format_count(); i++) {
    if (nk_format_is_float(nk_format_at(i))) continue; /* their fixtures hold none: every f16 is tried in the grid */
    fixture f = open_fixture(i);
    size_t n, n_floats;
    const uint8_t *blocks = bundle_get(&f.file, "random_blocks", 1, &n);
    const float *expected = bundle_get(&f.file, "random_dequant", 4, &n_floats);
    assert_int_equal(n, 64 * f.format->block_bytes);
    assert_int_equal(n_floats, 64 * f.format->block);
    nk_matrix w = pack(f.format, 64, f.format->block, blocks); /* 64 rows of one block */
    assert_dequantizes_to(&w, expected);
    free(w.data);
    w = pack(f.format, 4, 16 * f.format->block, blocks);
    assert_dequantizes_to(&w, expected);
    free(w.data);
    close_fixture(&f);
    seen++;
  }
  assert_true(seen >= 3);
}

static void integer_products_are_those_of_their_own_activations(void **state) {
  enum { M = 4 };
  (void)state;
  for (uint32_t i = 0; i < nk_format_count(); i++) {
    if (nk_format_is_float(nk_format_at(i))) continue;
    fixture f = open_fixture(i);
    size_t n;
    const float *x = bundle_get(&f.source, "activations", 4, &n);
    const double *rounded = bundle_get(&f.file, "matvec_q8act_f64", 8, &n);
    assert_int_equal(n, M * f.rows);
    nk_matrix w = pack(f.format, f.rows, f.cols, f.blocks);
    double magnitude = 0; /* the largest reference value */
    for (size_t j = 0; j < n; j++) magnitude = fmax(magnitude, fabs(rounded[j]));
    for (size_t j = 0; j < sizeof isas / sizeof isas[0]; j++) {
      const nk_ops *ops = nk_ops_get(isas[j]);
      void *act = malloc((size_t)nk_act_bytes(ops, M, f.cols));
      float *y = malloc(sizeof(float) * M * f.rows), *seen = malloc(sizeof(float) * M * f.cols);
      assert_true(act != NULL && y != NULL && seen != NULL);
      nk_act_quantize(ops, act, x, f.cols, M, f.cols);
      nk_act_dequantize(ops, seen, f.cols, act, M, f.cols);
      nk_gemm_q8(ops, y, f.rows, &w, act, M, 0, f.rows / 8);
      for (uint32_t t = 0; t < M; t++) {
        for (uint32_t r = 0; r < f.rows; r++) {
          double sum = 0;
          for (uint32_t k = 0; k < f.cols; k++)
            sum += (double)seen[t * f.cols + k] * (double)f.dequant[(size_t)r * f.cols + k];
          double got = (double)y[t * f.rows + r];
          if (!(fabs(got - sum) <= 1e-6 * magnitude))
            fail_msg("%s, isa %d: [%u, %u] is %.9g, not %.12g", f.format->name, (int)isas[j], t, r, got, sum);
          /* The references keep the activations' scales as f16, here they are f32; for formats of 256 elements a block they
             have one scale for 256 activations: close, not equal. */
          double apart = fabs(got - rounded[t * f.rows + r]) / magnitude;
          if (!(apart <= (f.format->block > 32 ? 8e-3 : 2e-3)))
            fail_msg("%s, isa %d: [%u, %u] is %g of the magnitude off", f.format->name, (int)isas[j], t, r, apart);
        }
      }
      free(act), free(y), free(seen);
    }
    free(w.data);
    close_fixture(&f);
  }
}

static void float_products_are_those_of_the_dequantized_weights(void **state) {
  enum { M = 4 };
  (void)state;
  for (uint32_t i = 0; i < nk_format_count(); i++) {
    fixture f = open_fixture(i);
    size_t n;
    const float *x = bundle_get(&f.source, "activations", 4, &n);
    const double *expected = bundle_find(&f.file, "matvec_f64", 8, &n);
    nk_matrix w = pack(f.format, f.rows, f.cols, f.blocks);
    for (size_t j = 0; j < sizeof isas / sizeof isas[0]; j++) {
      float y[M * 16];
      nk_gemm_f32(nk_ops_get(isas[j]), y, f.rows, &w, x, f.cols, M, 0, f.rows / 8);
      for (uint32_t t = 0; t < M; t++) {
        for (uint32_t r = 0; r < f.rows; r++) {
          double sum = 0, reach = 0;
          for (uint32_t k = 0; k < f.cols; k++) {
            double product = (double)x[t * f.cols + k] * (double)f.dequant[(size_t)r * f.cols + k];
            sum += product;
            reach += fabs(product);
          }
          if (expected != NULL) assert_true(fabs(sum - expected[t * f.rows + r]) <= 1e-9 * reach);
          assert_true(fabs((double)y[t * f.rows + r] - sum) <= 1e-6 * reach);
        }
      }
    }
    free(w.data);
    close_fixture(&f);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_format_dequantizes_as_its_references_do),
      cmocka_unit_test(random_blocks_dequantize_as_their_references_do),
      cmocka_unit_test(integer_products_are_those_of_their_own_activations),
      cmocka_unit_test(float_products_are_those_of_the_dequantized_weights),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
