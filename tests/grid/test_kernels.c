/*
 * test_kernels.c: the grid. Every format of formats.def × every ISA × {full tile, tail of rows, one block, many blocks,
 * strides, contents that reach the limits, 1 to 13 tokens, splits over row groups and columns}: SIMD128 must equal SCALAR
 * to the bit, RELAXED too where every sum is a whole number and otherwise within the stated bound; SCALAR is compared with
 * a product in double. Buffers are exactly as long as the contract says, so that a sanitizer sees any read or write beyond.
 */
#include "grid_fixture.h"

static const char *const content_names[] = {"random", "whole", "highest", "lowest", "steep", "subnormal", "zero"};

/* x [m, n], row stride ld; exactly (m - 1) ld + n floats. */
static float *make_values(uint32_t m, uint32_t n, size_t ld, content c) {
  size_t count = (size_t)(m - 1) * ld + n;
  float *x = exact(count * sizeof(float));
  for (size_t i = 0; i < count; i++) x[i] = NAN; /* between the rows */
  for (uint32_t t = 0; t < m; t++) {
    for (uint32_t k = 0; k < n; k++) {
      float v = random_float();
      if (c == WHOLE)
        v = k % 32 == 5 ? 127.0f : (float)((int32_t)(random32() >> 24) % 128) * (random32() & 64 ? 1.0f : -1.0f);
      if (c == HIGHEST) v = 127.0f;
      if (c == LOWEST) v = -127.0f;
      if (c == STEEP) v = k % 16 != 0 ? x[t * ld + k - 1] : random32() & 64 ? 127.0f : -127.0f;
      if (c == ZERO && k / 32 % 2 == 0) v = 0.0f;
      x[t * ld + k] = v;
    }
  }
  return x;
}

static float *make_output(uint32_t m, uint32_t n, size_t ld) {
  size_t count = (size_t)(m - 1) * ld + n;
  float *y = exact(count * sizeof(float));
  for (size_t i = 0; i < count; i++) y[i] = -777.0f;
  return y;
}

/* What lies between the rows of an output must be as it was. */
static void assert_gaps_untouched(const float *y, uint32_t m, uint32_t n, size_t ld) {
  for (uint32_t t = 0; t + 1 < m; t++)
    for (size_t i = n; i < ld; i++)
      if (y[t * ld + i] != -777.0f) fail_msg("a kernel wrote behind row %u", t);
}

/* ---- The references in double ------------------------------------------------------------------------------------ */

typedef struct reference {
  double *dense;     /* W [rows, cols], dequantized by gather */
  double *reach;     /* [rows, cols]: |w| and the size of the terms that it is made of in the integer product */
} reference;

/* Formats of 256 with a minimum: |W| as it would be with one of the two scales 0, added up. */
static void add_terms(double *reach, const nk_matrix *w, const uint8_t *blocks) {
  const nk_format *format = w->format;
  size_t bytes = (size_t)nk_row_bytes(format, w->cols) * w->rows;
  uint8_t *one = exact(bytes);
  float *row = exact(sizeof(float) * w->cols);
  for (uint32_t i = 0; i < 2; i++) {
    memcpy(one, blocks, bytes);
    for (size_t at = 0; at < bytes; at += format->block_bytes) nk_put16(one + at + format->scale_at + 2 * i, 0);
    nk_matrix term = make_matrix(format, w->rows, w->cols, one);
    for (uint32_t r = 0; r < w->rows; r++) {
      nk_matrix_gather(&term, r, row);
      for (uint32_t k = 0; k < w->cols; k++) reach[(size_t)r * w->cols + k] += fabs((double)row[k]);
    }
    free(term.data);
  }
  free(one), free(row);
}

static reference make_reference(const nk_matrix *w, const uint8_t *blocks) {
  const nk_format *format = w->format;
  reference ref = {exact(sizeof(double) * w->rows * w->cols), exact(sizeof(double) * w->rows * w->cols)};
  float *row = exact(sizeof(float) * w->cols);
  size_t row_bytes = (size_t)nk_row_bytes(format, w->cols);
  for (uint32_t r = 0; r < w->rows; r++) {
    nk_matrix_gather(w, r, row);
    for (uint32_t k = 0; k < w->cols; k++) {
      double wide = 0;
      const uint8_t *scales = blocks + r * row_bytes + k / format->block * format->block_bytes + format->scale_at;
      if (format->block == 32) /* level × scale, and the minimum */
        for (uint32_t i = 0; i < format->n_scales; i++)
          wide += fabs((double)nk_half_to_f32(nk_get16(scales + 2 * i))) * (i == 0 ? layout_of(format)->level : 1);
      ref.dense[(size_t)r * w->cols + k] = (double)row[k];
      ref.reach[(size_t)r * w->cols + k] = fabs((double)row[k]) + wide;
    }
  }
  if (format->block > 32 && format->n_scales == 2) add_terms(ref.reach, w, blocks);
  free(row);
  return ref;
}

static void free_reference(reference ref) {
  free(ref.dense);
  free(ref.reach);
}

/* ---- One cell of the grid ------------------------------------------------------------------------------------------ */

typedef struct cell {
  const nk_format *format;
  content content;
  uint32_t rows, cols, m;
  uint32_t pad; /* strides exceed the widths by this */
} cell;

static void compare(const cell *c, nk_isa isa, const char *what, const float *got, const float *expected,
                    const double *bound, uint32_t m, uint32_t n, size_t ld) {
  bool to_the_bit = isa != NK_ISA_RELAXED || (c->content == WHOLE && bound != NULL && c->cols <= 1024);
  for (uint32_t t = 0; t < m; t++) {
    for (uint32_t i = 0; i < n; i++) {
      const float *g = got + t * ld + i, *e = expected + t * ld + i;
      bool good = to_the_bit ? memcmp(g, e, sizeof *g) == 0 : fabs((double)*g - (double)*e) <= 2 * bound[(size_t)t * n + i];
      if (!good) {
        fail_msg("%s %s, isa %d, %s, %u x %u, m %u: [%u, %u] is %.9g, not %.9g", c->format->name, what, (int)isa,
                 content_names[c->content], c->rows, c->cols, c->m, t, i, (double)*g, (double)*e);
      }
    }
  }
}

/* SCALAR against the double product; leaves in bound [m, n] what rounding may do. */
static void compare_double(const cell *c, const char *what, const float *got, size_t ld, const double *exact_value,
                           const double *bound, uint32_t m, uint32_t n) {
  for (uint32_t t = 0; t < m; t++) {
    for (uint32_t i = 0; i < n; i++) {
      double difference = fabs((double)got[t * ld + i] - exact_value[(size_t)t * n + i]);
      if (!(difference <= bound[(size_t)t * n + i])) {
        fail_msg("%s %s, %s, %u x %u, m %u: [%u, %u] is %.9g, in double %.17g (%g allowed)", c->format->name, what,
                 content_names[c->content], c->rows, c->cols, c->m, t, i, (double)got[t * ld + i],
                 exact_value[(size_t)t * n + i], bound[(size_t)t * n + i]);
      }
    }
  }
}

static void check_integer_product(const cell *c, const nk_matrix *w, const reference *ref) {
  uint32_t m = c->m, rows = c->rows, cols = c->cols, groups = (rows + 7) / 8;
  size_t ldx = cols + c->pad, ldy = rows + c->pad;
  float *x = make_values(m, cols, ldx, c->content), *expected = make_output(m, rows, ldy);
  float *seen = exact(sizeof(float) * m * cols); /* the activations as quantized, [m, cols] */
  double *value = calloc((size_t)m * rows, sizeof(double)), *bound = calloc((size_t)m * rows, sizeof(double));
  assert_true(value != NULL && bound != NULL);
  for (size_t i = 0; i < sizeof isas / sizeof isas[0]; i++) {
    const nk_ops *ops = nk_ops_get(isas[i]);
    float *y = isas[i] == NK_ISA_SCALAR ? expected : make_output(m, rows, ldy);
    void *act = exact((size_t)nk_act_bytes(ops, m, cols));
    nk_act_quantize(ops, act, x, ldx, m, cols);
    nk_gemm_q8(ops, y, ldy, w, act, m, 0, groups);
    assert_gaps_untouched(y, m, rows, ldy);
    if (isas[i] == NK_ISA_SCALAR) {
      nk_act_dequantize(ops, seen, cols, act, m, cols);
      for (uint32_t t = 0; t < m; t++) {
        for (uint32_t r = 0; r < rows; r++) {
          double sum = 0, reach = 0;
          for (uint32_t k = 0; k < cols; k++) {
            sum += (double)seen[(size_t)t * cols + k] * ref->dense[(size_t)r * cols + k];
            reach += fabs((double)seen[(size_t)t * cols + k]) * ref->reach[(size_t)r * cols + k];
          }
          value[(size_t)t * rows + r] = sum;
          bound[(size_t)t * rows + r] = (2.0 * cols / 32 + 6) * 0x1p-24 * reach + 1e-44;
        }
      }
      compare_double(c, "integer product", y, ldy, value, bound, m, rows);
    } else {
      compare(c, isas[i], "integer product", y, expected, bound, m, rows, ldy);
      /* Any split over row groups, and each token alone, gives the same bits. */
      float *again = make_output(m, rows, ldy);
      for (uint32_t g = groups; g-- > 0;) nk_gemm_q8(ops, again, ldy, w, act, m, g, 1);
      assert_memory_equal(again, y, ((size_t)(m - 1) * ldy + rows) * sizeof(float));
      for (uint32_t t = 0; t < m; t++) {
        nk_act_quantize(ops, act, x + t * ldx, ldx, 1, cols);
        nk_gemm_q8(ops, again + t * ldy, ldy, w, act, 1, 0, groups + 3); /* beyond the last group there is nothing */
      }
      assert_memory_equal(again, y, ((size_t)(m - 1) * ldy + rows) * sizeof(float));
      free(again);
      free(y);
    }
    free(act);
  }
  free(x), free(expected), free(seen), free(value), free(bound);
}

static void check_float_product(const cell *c, const nk_matrix *w, const reference *ref) {
  uint32_t m = c->m, rows = c->rows, cols = c->cols, groups = (rows + 7) / 8;
  size_t ldx = cols + c->pad, ldy = rows + c->pad;
  float *x = make_values(m, cols, ldx, c->content), *expected = make_output(m, rows, ldy);
  double *value = calloc((size_t)m * rows, sizeof(double)), *bound = calloc((size_t)m * rows, sizeof(double));
  assert_true(value != NULL && bound != NULL);
  for (uint32_t t = 0; t < m; t++) {
    for (uint32_t r = 0; r < rows; r++) {
      double sum = 0, reach = 0;
      for (uint32_t k = 0; k < cols; k++) {
        double product = (double)x[t * ldx + k] * ref->dense[(size_t)r * cols + k];
        sum += product;
        reach += fabs(product);
      }
      value[(size_t)t * rows + r] = sum;
      bound[(size_t)t * rows + r] = (cols + 2.0) * 0x1p-24 * reach + 1e-40;
    }
  }
  for (size_t i = 0; i < sizeof isas / sizeof isas[0]; i++) {
    const nk_ops *ops = nk_ops_get(isas[i]);
    float *y = isas[i] == NK_ISA_SCALAR ? expected : make_output(m, rows, ldy);
    nk_gemm_f32(ops, y, ldy, w, x, ldx, m, 0, groups);
    assert_gaps_untouched(y, m, rows, ldy);
    if (isas[i] == NK_ISA_SCALAR) {
      compare_double(c, "float product", y, ldy, value, bound, m, rows);
      continue;
    }
    compare(c, isas[i], "float product", y, expected, bound, m, rows, ldy);
    float *again = make_output(m, rows, ldy);
    for (uint32_t g = groups; g-- > 0;) nk_gemm_f32(ops, again, ldy, w, x, ldx, m, g, 1);
    assert_memory_equal(again, y, ((size_t)(m - 1) * ldy + rows) * sizeof(float));
    for (uint32_t t = 0; t < m; t++) nk_gemm_f32(ops, again + t * ldy, ldy, w, x + t * ldx, ldx, 1, 0, groups);
    assert_memory_equal(again, y, ((size_t)(m - 1) * ldy + rows) * sizeof(float));
    free(again);
    free(y);
  }
  free(x), free(expected), free(value), free(bound);
}

static void check_transposed_product(const cell *c, const nk_matrix *w, const reference *ref) {
  uint32_t m = c->m, rows = c->rows, cols = c->cols;
  size_t lddx = cols + c->pad, lddy = rows + c->pad, count = (size_t)(m - 1) * lddx + cols;
  float *dy = make_values(m, rows, lddy, c->content), *start = make_values(m, cols, lddx, c->content);
  float *expected = exact(count * sizeof(float));
  void *scratch = exact((size_t)nk_gemm_t_scratch_bytes());
  double *value = calloc((size_t)m * cols, sizeof(double)), *bound = calloc((size_t)m * cols, sizeof(double));
  assert_true(value != NULL && bound != NULL);
  for (uint32_t t = 0; t < m; t++) {
    for (size_t i = cols; i < lddx && t + 1 < m; i++) start[t * lddx + i] = -777.0f;
    for (uint32_t k = 0; k < cols; k++) {
      double sum = (double)start[t * lddx + k], reach = fabs(sum);
      for (uint32_t r = 0; r < rows; r++) {
        double product = (double)dy[t * lddy + r] * ref->dense[(size_t)r * cols + k];
        sum += product;
        reach += fabs(product);
      }
      value[(size_t)t * cols + k] = sum;
      bound[(size_t)t * cols + k] = (rows + 2.0) * 0x1p-24 * reach + 1e-40;
    }
  }
  for (size_t i = 0; i < sizeof isas / sizeof isas[0]; i++) {
    const nk_ops *ops = nk_ops_get(isas[i]);
    float *dx = isas[i] == NK_ISA_SCALAR ? expected : exact(count * sizeof(float)), *again = exact(count * sizeof(float));
    memcpy(dx, start, count * sizeof(float));
    nk_gemm_t_f32(ops, dx, lddx, w, dy, lddy, m, 0, cols, scratch);
    assert_gaps_untouched(dx, m, cols, lddx);
    if (isas[i] == NK_ISA_SCALAR) {
      compare_double(c, "transposed product", dx, lddx, value, bound, m, cols);
    } else {
      compare(c, isas[i], "transposed product", dx, expected, bound, m, cols, lddx);
    }
    /* Any split over the columns, and each token alone, gives the same bits. */
    memcpy(again, start, count * sizeof(float));
    for (uint32_t k = (cols - 1) / 32 * 32;; k -= 32) {
      nk_gemm_t_f32(ops, again, lddx, w, dy, lddy, m, k, 32, scratch);
      if (k == 0) break;
    }
    assert_memory_equal(again, dx, count * sizeof(float));
    memcpy(again, start, count * sizeof(float));
    for (uint32_t t = 0; t < m; t++)
      nk_gemm_t_f32(ops, again + t * lddx, lddx, w, dy + t * lddy, lddy, 1, 0, cols, scratch);
    assert_memory_equal(again, dx, count * sizeof(float));
    free(again);
    if (dx != expected) free(dx);
  }
  free(dy), free(start), free(expected), free(scratch), free(value), free(bound);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void products_equal_their_specification_over_the_grid(void **state) {
  static const uint32_t all_rows[] = {1, 7, 8, 13, 32, 37, 75}, all_m[] = {1, 2, 3, 4, 5, 7, 8, 9, 13};
  static const uint32_t block_cols[] = {32, 64, 96, 544}, wide_cols[] = {256, 512, 768, 1280};
  static const uint32_t float_cols[] = {1, 31, 33, 64, 67, 80, 192, 211};
  uint32_t cells = 0;
  (void)state;
  for (uint32_t f = 0; f < nk_format_count(); f++) {
    const nk_format *format = nk_format_at(f);
    const uint32_t *all_cols = format->is_float ? float_cols : format->block == 32 ? block_cols : wide_cols;
    uint32_t n_cols = format->is_float ? 8 : 4;
    for (uint32_t kind = 0; kind < CONTENTS; kind++) {
      for (uint32_t i = 0; i < 7; i++) {
        for (uint32_t j = 0; j < n_cols; j++) {
          /* Walk through the numbers of tokens, so that each meets each shape in some content. */
          cell c = {
              format, (content)kind, all_rows[i], all_cols[j], all_m[(kind * 5 + i * 4 + j) % 9], cells % 3 == 0 ? 0 : 5};
          uint8_t *blocks = make_blocks(format, c.rows, c.cols, c.content);
          nk_matrix w = make_matrix(format, c.rows, c.cols, blocks);
          reference ref = make_reference(&w, blocks);
          if (!format->is_float) check_integer_product(&c, &w, &ref);
          check_float_product(&c, &w, &ref);
          check_transposed_product(&c, &w, &ref);
          free_reference(ref);
          free(w.data);
          free(blocks);
          cells++;
        }
      }
    }
  }
  print_message("%u cells, %u formats, 3 ISAs\n", cells, nk_format_count());
}

static void every_number_of_tokens_works_on_one_shape(void **state) {
  (void)state;
  for (uint32_t f = 0; f < nk_format_count(); f++) {
    const nk_format *format = nk_format_at(f);
    uint32_t cols = format->block > 64 ? format->block : 64;
    uint8_t *blocks = make_blocks(format, 35, cols, WHOLE);
    nk_matrix w = make_matrix(format, 35, cols, blocks);
    reference ref = make_reference(&w, blocks);
    for (uint32_t m = 1; m <= 17; m++) {
      cell c = {format, WHOLE, 35, cols, m, m % 4};
      if (!format->is_float) check_integer_product(&c, &w, &ref);
      check_float_product(&c, &w, &ref);
      check_transposed_product(&c, &w, &ref);
    }
    free_reference(ref);
    free(w.data);
    free(blocks);
  }
}

/* More tokens, rows and columns than a block of the loops around the kernels holds; whole numbers of quads and not. */
static void products_beyond_the_blocks_of_their_loops_are_the_same(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 4; i++) {
    const nk_format *format = nk_format_find(i % 2 == 0 ? 0 : 3); /* F32, Q4_1 */
    uint32_t rows = i < 2 ? 2 * NK_PANEL_T_R + 11 : 19, cols = i < 2 ? 40 : NK_PANEL_K + 72;
    cell c = {format, RANDOM, rows, cols - cols % format->block, NK_TOKENS_T + (i < 2 ? 7 : 4), 3};
    uint8_t *blocks = make_blocks(format, c.rows, c.cols, c.content);
    nk_matrix w = make_matrix(format, c.rows, c.cols, blocks);
    reference ref = make_reference(&w, blocks);
    check_float_product(&c, &w, &ref);
    check_transposed_product(&c, &w, &ref);
    free_reference(ref);
    free(w.data);
    free(blocks);
  }
}

static float *broken_y(float *y) {
  y[3] *= 1.000002f; /* far within the bound for rounding, so that only the exact comparison sees it */
  return y;
}
static const nk_kernels *broken_from;
static void broken_gemv(float *y, const uint8_t *group, const uint8_t *act, uint32_t n_blocks) {
  broken_from->gemv(y, group, act, n_blocks);
  (void)broken_y(y);
}
static void broken_gemm(float *y, size_t ldy, const uint8_t *group, const uint8_t *act, uint32_t n_blocks) {
  broken_from->gemm(y, ldy, group, act, n_blocks);
  (void)broken_y(y + 2 * ldy);
}
static void broken_panel(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k) {
  broken_from->panel(panel, group, k0, n_k);
  panel[11] += 0.01f;
}
static void broken_panel_t(float *panel, const uint8_t *group, uint32_t k0, uint32_t n_k) {
  broken_from->panel_t(panel, group, k0, n_k);
  panel[11] += 0.01f;
}

static void the_self_check_passes_and_names_a_kernel_that_is_wrong(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof isas / sizeof isas[0]; i++) {
    const nk_ops *ops = nk_ops_get(isas[i]);
    nk_error error = {0};
    if (nk_kernels_check(ops, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
    if (isas[i] == NK_ISA_SCALAR) continue;
    for (uint32_t f = 0; f < nk_format_count(); f++) {
      for (uint32_t which = 0; which < 4; which++) {
        nk_ops broken = *ops;
        nk_kernels kernels = *ops->kernels[f];
        broken_from = ops->kernels[f];
        broken.kernels[f] = &kernels;
        if (which == 0 && kernels.gemv != NULL) kernels.gemv = broken_gemv;
        else if (which == 1 && kernels.gemm != NULL) kernels.gemm = broken_gemm;
        else if (which == 2 && kernels.panel != NULL) kernels.panel = broken_panel;
        else if (which == 3) kernels.panel_t = broken_panel_t;
        else continue;
        assert_int_equal(nk_kernels_check(&broken, &error), NK_STATUS_INTERNAL);
        assert_non_null(strstr(error.text, nk_format_name(nk_format_at(f))));
      }
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(products_equal_their_specification_over_the_grid),
      cmocka_unit_test(every_number_of_tokens_works_on_one_shape),
      cmocka_unit_test(products_beyond_the_blocks_of_their_loops_are_the_same),
      cmocka_unit_test(the_self_check_passes_and_names_a_kernel_that_is_wrong),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
