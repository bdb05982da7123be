/*
 * test_kernels.c: the grid. Every format of formats.def × every ISA × {full tile, tail of rows, one block, many blocks,
 * strides, contents that reach the limits, 1 to 13 tokens, splits over row groups and columns}: SIMD128 must equal SCALAR
 * to the bit, RELAXED too where every sum is a whole number and otherwise within the stated bound; SCALAR is compared with
 * a product in double. Buffers are exactly as long as the contract says, so that a sanitizer sees any read or write beyond.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/ops.h"

/* ---- Contents --------------------------------------------------------------------------------------------------- */

typedef enum content {
  RANDOM,     /* random levels, scales of both signs below 2 */
  WHOLE,      /* scales of 1, whole activations: all sums are exact */
  HIGHEST,    /* all bits of the levels set, activations at +127 */
  LOWEST,     /* blocks of 0x80 or of 0xFF, activations at -127 */
  STEEP,      /* levels all least or all greatest, sub-scales at their ends, activations of +127 or -127 for 16 at a time */
  SUBNORMAL,  /* scales that are subnormal f16 */
  ZERO,       /* scales 0, every second block of activations 0 */
  CONTENTS
} content;

static const char *const content_names[] = {"random", "whole", "highest", "lowest", "steep", "subnormal", "zero"};

/* Independently of formats.def: which 16-bit fields of a block are floating-point, and which bytes hold sub-scales. */
typedef struct layout {
  uint32_t type, fields, offsets[2];
  uint16_t infinite;
  uint32_t sub_scales_at, sub_scales; /* bytes */
  double level; /* the greatest of the integer product, which a minimum may cancel; formats of 32 */
} layout;

static const layout layouts[] = {
    {0, 1, {2, 0}, 0x7F80, 0, 0, 0},    /* F32 */
    {1, 1, {0, 0}, 0x7C00, 0, 0, 0},    /* F16 */
    {30, 1, {0, 0}, 0x7F80, 0, 0, 0},   /* BF16 */
    {2, 1, {0, 0}, 0x7C00, 0, 0, 16},   /* Q4_0 */
    {3, 2, {0, 2}, 0x7C00, 0, 0, 16},   /* Q4_1 */
    {8, 1, {0, 0}, 0x7C00, 0, 0, 16},   /* Q8_0 */
    {6, 1, {0, 0}, 0x7C00, 0, 0, 31},   /* Q5_0 */
    {7, 2, {0, 2}, 0x7C00, 0, 0, 31},   /* Q5_1 */
    {20, 1, {0, 0}, 0x7C00, 0, 0, 240}, /* IQ4_NL */
};

static const layout *layout_of(const nk_format *format) {
  for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++)
    if (layouts[i].type == format->type) return &layouts[i];
  fail_msg("%s needs its line in the table of layouts", format->name);
  return NULL;
}

static uint32_t random_state = 12345;

static uint32_t random32(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 17;
  random_state ^= random_state << 5;
  return random_state;
}

static float random_float(void) { return (float)(int32_t)random32() * 0x1p-31f; }

static void *exact(size_t bytes) {
  void *p = malloc(bytes);
  assert_non_null(p);
  return p;
}

static uint16_t scale_bits(const nk_format *format, content c) {
  uint32_t one = format->exponent_mask & 0x3FFFu, random = random32() >> 16;
  switch (c) {
    case WHOLE: return (uint16_t)one;
    case HIGHEST: case LOWEST: case STEEP: return (uint16_t)(one | (random & 0x8000u));
    case SUBNORMAL: return (uint16_t)(random & ~format->exponent_mask);
    case ZERO: return (uint16_t)(random & 0x8000u);
    default: return (uint16_t)(random & ~0x4000u);
  }
}

/* File blocks [rows][row bytes]; the caller frees them. */
static uint8_t *make_blocks(const nk_format *format, uint32_t rows, uint32_t cols, content c) {
  size_t bytes = (size_t)nk_row_bytes(format, cols) * rows;
  uint8_t *blocks = exact(bytes);
  const layout *known = layout_of(format);
  for (size_t i = 0; i < bytes; i++) blocks[i] = (uint8_t)(c == HIGHEST ? 0xFF : random32() >> 24);
  for (size_t at = 0; at < bytes; at += format->block_bytes) {
    if (c == LOWEST) memset(blocks + at, random32() & 64 ? 0x80 : 0xFF, format->block_bytes);
    if (c == STEEP) {
      static const uint8_t ends[] = {0x00, 0x7F, 0x80, 0xFF};
      uint32_t alike = random32() % 8;
      memset(blocks + at, random32() & 64 ? 0x00 : 0xFF, format->block_bytes);
      for (uint32_t i = 0; i < known->sub_scales; i++)
        blocks[at + known->sub_scales_at + i] = ends[(alike < 4 ? alike : random32() >> 8) % 4];
    }
    for (uint32_t i = 0; i < format->n_scales; i++) nk_put16(blocks + at + format->scale_at + 2 * i, scale_bits(format, c));
    /* A whole F32 has no random low half. */
    if (c == WHOLE && format->is_float) memset(blocks + at, 0, format->scale_at);
  }
  return blocks;
}

static nk_matrix make_matrix(const nk_format *format, uint32_t rows, uint32_t cols, const uint8_t *blocks) {
  nk_matrix w = {.format = format, .rows = rows, .cols = cols, .data = exact((size_t)nk_matrix_bytes(format, rows, cols))};
  nk_error error = {0};
  if (nk_matrix_pack(&w, 0, rows, blocks, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
  return w;
}

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

static const nk_isa isas[] = {NK_ISA_SCALAR, NK_ISA_SIMD128, NK_ISA_RELAXED};

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

static void unpacking_gives_back_every_byte(void **state) {
  static const uint32_t all_rows[] = {1, 8, 11, 24, 61};
  (void)state;
  for (uint32_t f = 0; f < nk_format_count(); f++) {
    const nk_format *format = nk_format_at(f);
    for (uint32_t i = 0; i < 5; i++) {
      for (uint32_t blocks_a_row = 1; blocks_a_row < 40; blocks_a_row += 7) {
        uint32_t rows = all_rows[i], cols = blocks_a_row * format->block;
        size_t row_bytes = (size_t)nk_row_bytes(format, cols);
        assert_int_equal(nk_matrix_bytes(format, rows, cols), (rows + 7) / 8 * 8 * row_bytes);
        uint8_t *blocks = make_blocks(format, rows, cols, i % 2 == 0 ? RANDOM : SUBNORMAL), *back = exact(rows * row_bytes);
        nk_matrix w = make_matrix(format, rows, cols, blocks);
        nk_matrix_unpack(&w, 0, rows, back);
        assert_memory_equal(back, blocks, rows * row_bytes);
        uint32_t from = random32() % rows, n = random32() % (rows - from + 1);
        memset(back, 0, rows * row_bytes);
        nk_matrix_unpack(&w, from, n, back);
        if (n > 0) assert_memory_equal(back, blocks + from * row_bytes, n * row_bytes);

        /* Packed in pieces, as it comes from a file: the same bytes, those of the missing rows too. */
        nk_matrix pieces = w;
        pieces.data = exact((size_t)nk_matrix_bytes(format, rows, cols));
        memset(pieces.data, 0xA5, (size_t)nk_matrix_bytes(format, rows, cols));
        for (uint32_t r = 0; r < rows; r += 16) {
          uint32_t some = rows - r < 16 ? rows - r : 16;
          assert_int_equal(nk_matrix_pack(&pieces, r, some, blocks + r * row_bytes, NULL), NK_STATUS_OK);
        }
        assert_memory_equal(pieces.data, w.data, (size_t)nk_matrix_bytes(format, rows, cols));
        free(pieces.data), free(w.data), free(blocks), free(back);
      }
    }
  }
}

static void scales_that_are_not_finite_are_refused_by_row(void **state) {
  (void)state;
  for (uint32_t f = 0; f < nk_format_count(); f++) {
    const nk_format *format = nk_format_at(f);
    uint32_t rows = 21, cols = 3 * format->block;
    size_t row_bytes = (size_t)nk_row_bytes(format, cols);
    uint8_t *blocks = make_blocks(format, rows, cols, RANDOM);
    nk_matrix w = make_matrix(format, rows, cols, blocks);
    for (uint32_t i = 0; i < format->n_scales; i++) {
      for (uint32_t sort = 0; sort < 4; sort++) { /* +-Inf, +-NaN */
        uint32_t row = random32() % rows, block = random32() % 3;
        uint8_t *at = blocks + row * row_bytes + block * format->block_bytes + format->scale_at + 2 * i, saved[2];
        uint32_t bits = format->exponent_mask | (sort & 1 ? 0x8000u : 0u) | (sort & 2 ? 1u : 0u);
        char expected[32];
        nk_error error = {0};
        memcpy(saved, at, 2);
        nk_put16(at, (uint16_t)bits);
        assert_int_equal(nk_matrix_pack(&w, 0, rows, blocks, &error), NK_STATUS_FORMAT);
        (void)snprintf(expected, sizeof expected, "row %u ", row);
        assert_non_null(strstr(error.text, expected));
        memcpy(at, saved, 2);
      }
    }
    /* The largest finite scale is fine. */
    nk_put16(blocks + format->scale_at, (uint16_t)(format->exponent_mask - 1));
    assert_int_equal(nk_matrix_pack(&w, 0, rows, blocks, NULL), NK_STATUS_OK);
    /* Not whole groups; beyond the end; not whole blocks. */
    assert_int_equal(nk_matrix_pack(&w, 4, 8, blocks, NULL), NK_STATUS_INTERNAL);
    assert_int_equal(nk_matrix_pack(&w, 8, 4, blocks, NULL), NK_STATUS_INTERNAL);
    assert_int_equal(nk_matrix_pack(&w, 16, 8, blocks, NULL), NK_STATUS_INTERNAL);
    if (format->block > 1) {
      nk_matrix uneven = w;
      uneven.cols = cols + 1;
      assert_int_equal(nk_matrix_pack(&uneven, 0, rows, blocks, NULL), NK_STATUS_FORMAT);
    }
    free(w.data);
    free(blocks);
  }
}

static void each_scale_and_minimum_of_a_block_is_checked(void **state) {
  (void)state;
  for (uint32_t f = 0; f < nk_format_count(); f++) {
    const nk_format *format = nk_format_at(f);
    const layout *known = layout_of(format);
    for (uint32_t j = 0; j < known->fields; j++) {
      uint8_t *blocks = make_blocks(format, 8, format->block, RANDOM);
      nk_matrix w = make_matrix(format, 8, format->block, blocks);
      nk_put16(blocks + 5 * format->block_bytes + known->offsets[j], known->infinite);
      assert_int_equal(nk_matrix_pack(&w, 0, 8, blocks, NULL), NK_STATUS_FORMAT);
      free(w.data);
      free(blocks);
    }
  }
}

static void activations_are_quantized_by_the_rule(void **state) {
  enum { M = 7, K = 96 };
  float x[M * K], seen[M * K], other[M * K];
  (void)state;
  for (uint32_t round = 0; round < 40; round++) {
    for (uint32_t i = 0; i < M * K; i++)
      x[i] = ldexpf(random_float(), (int)(random32() % 8) - 4 + (int)(round % 5) * 20 - 40);
    const nk_ops *scalar = nk_ops_get(NK_ISA_SCALAR);
    void *act = exact((size_t)nk_act_bytes(scalar, M, K));
    nk_act_quantize(scalar, act, x, K, M, K);
    nk_act_dequantize(scalar, seen, K, act, M, K);
    free(act);
    for (uint32_t b = 0; b < M * K; b += 32) {
      double largest = 0, most = 0;
      for (uint32_t i = 0; i < 32; i++) largest = fmax(largest, fabs((double)x[b + i]));
      for (uint32_t i = 0; i < 32; i++) {
        assert_true(fabs((double)x[b + i] - (double)seen[b + i]) <= largest / 254 * 1.00001);
        most = fmax(most, fabs((double)seen[b + i]));
      }
      assert_true(fabs(most - largest) <= largest * 1e-6);
    }
  }
  /* Half goes to even: a block whose scale is 1. */
  for (uint32_t i = 0; i < M * K; i++) x[i] = (float)(int32_t)(i % 32) - 15.5f;
  for (uint32_t i = 0; i < M * K; i += 32) x[i] = 127.0f;
  for (size_t i = 0; i < sizeof isas / sizeof isas[0]; i++) {
    const nk_ops *ops = nk_ops_get(isas[i]);
    void *act = exact((size_t)nk_act_bytes(ops, M, K));
    nk_act_quantize(ops, act, x, K, M, K);
    nk_act_dequantize(ops, seen, K, act, M, K);
    for (uint32_t j = 0; j < M * K; j++) assert_true((double)seen[j] == nearbyint((double)x[j]));
    free(act);
  }
  /* The sums of the levels, also of each half of a block, in a quad's stream and in a single token's. */
  for (uint32_t round = 0; round < 20; round++) {
    for (uint32_t i = 0; i < M * K; i++) x[i] = round == 0 ? 1.0f : round == 1 ? -1.0f : random_float();
    for (size_t i = 0; i < sizeof isas / sizeof isas[0]; i++) {
      const nk_ops *ops = nk_ops_get(isas[i]);
      uint8_t *act = exact((size_t)nk_act_bytes(ops, M, K));
      nk_act_quantize(ops, act, x, K, M, K);
      nk_act_dequantize(ops, seen, K, act, M, K);
      for (uint32_t t = 0; t < M; t++) {
        uint32_t slots = t < 4 ? 4 : 1, slot = t % slots, values = slots * 32 * ops->act_value_bytes;
        const uint8_t *stream = act + (t - slot) * (size_t)(nk_act_bytes(ops, 1, K));
        for (uint32_t b = 0; b < K / 32; b++) {
          const uint8_t *scales = stream + b * (values + slots * 12) + values;
          double scale = (double)nk_get_f32(scales + 4 * slot), halves[2] = {0, 0};
          for (uint32_t k = 0; k < 32; k++) halves[k / 16] += nearbyint((double)seen[t * K + b * 32 + k] / scale);
          for (uint32_t half = 0; half < 2; half++)
            assert_true((int16_t)nk_get16(scales + 4 * (2 * slots + slot) + 2 * half) == (int32_t)halves[half]);
          assert_true(nk_get_f32(scales + 4 * (slots + slot)) == (float)scale * (float)(halves[0] + halves[1]));
        }
      }
      free(act);
    }
  }
  /* All ISAs alike, whatever comes: huge, tiny, infinite, not a number. */
  static const float odd[] = {NAN,    INFINITY, -INFINITY, FLT_MAX,   -FLT_MAX, FLT_MIN,
                              1e-45f, -0.0f,    0x1p-100f, 0x1p-101f, 1e30f};
  for (uint32_t round = 0; round < 300; round++) {
    for (uint32_t i = 0; i < M * K; i++) x[i] = random_float();
    for (uint32_t i = 0; i < round % 50; i++) x[random32() % (M * K)] = odd[random32() % 11];
    if (round % 3 == 0) /* nothing but one oddity in a block */
      for (uint32_t i = 0; i < 32; i++) x[i] = i == 9 ? odd[round / 3 % 11] : 0.0f;
    for (size_t i = 0; i < sizeof isas / sizeof isas[0]; i++) {
      const nk_ops *ops = nk_ops_get(isas[i]);
      void *act = exact((size_t)nk_act_bytes(ops, M, K));
      nk_act_quantize(ops, act, x, K, M, K);
      nk_act_dequantize(ops, i == 0 ? seen : other, K, act, M, K);
      if (i > 0) assert_memory_equal(other, seen, sizeof seen);
      free(act);
    }
    for (uint32_t i = 0; i < M * K; i++) {
      assert_true(fabsf(seen[i]) <= 0x1.000002p100f);
      if (x[i] != x[i]) assert_true(seen[i] == 0.0f);
      if (isinf(x[i])) assert_true(fabsf(seen[i]) >= 0x1.fffffcp99f && (seen[i] > 0) == (x[i] > 0));
    }
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

static void formats_and_types_have_their_names(void **state) {
  (void)state;
  for (uint32_t f = 0; f < nk_format_count(); f++) {
    const nk_format *format = nk_format_at(f);
    assert_ptr_equal(nk_format_find(nk_format_type(format)), format);
    assert_string_equal(nk_type_name(nk_format_type(format)), nk_format_name(format));
    assert_int_equal(nk_row_bytes(format, 3 * format->block), 3 * nk_format_block_bytes(format));
  }
  assert_null(nk_format_at(nk_format_count()));
  assert_null(nk_format_find(16));
  assert_string_equal(nk_type_name(16), "IQ2_XXS");
  assert_string_equal(nk_type_name(13), "Q5_K");
  assert_string_equal(nk_type_name(23), "IQ4_XS");
  assert_string_equal(nk_type_name(28), "F64");
  assert_string_equal(nk_type_name(35), "TQ2_0");
  assert_string_equal(nk_type_name(39), "MXFP4");
  assert_null(nk_type_name(4000000000u));
  /* Sizes are counted in 64 bits. */
  assert_true(nk_matrix_bytes(nk_format_find(0), 4000000000u, 1000000) == 16000000000000000u);
}

static void every_half_precision_number_converts_exactly(void **state) {
  (void)state;
  for (uint32_t h = 0; h < 65536; h++) {
    if ((h & 0x7C00u) == 0x7C00u) continue;
    int exponent = (int)(h >> 10 & 31);
    double fraction = h & 1023, value = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
    float expected = (float)(h & 0x8000u ? -value : value), got = nk_half_to_f32((uint16_t)h);
    assert_memory_equal(&got, &expected, sizeof got);
  }
  /* The same through packing and every ISA's panel: y = 1 × w. */
  const nk_format *f16 = nk_format_find(1);
  uint16_t *file = exact(2 * 63488);
  float *expected = exact(sizeof(float) * 63488), *y = exact(sizeof(float) * 63488), one = 1.0f;
  uint32_t n = 0;
  for (uint32_t h = 0; h < 65536; h++) {
    if ((h & 0x7C00u) == 0x7C00u) continue;
    file[n] = (uint16_t)h;
    expected[n++] = 0.0f + nk_half_to_f32((uint16_t)h);
  }
  assert_int_equal(n, 63488);
  nk_matrix w = make_matrix(f16, n, 1, (const uint8_t *)file);
  for (size_t i = 0; i < sizeof isas / sizeof isas[0]; i++) {
    nk_gemm_f32(nk_ops_get(isas[i]), y, n, &w, &one, 1, 1, 0, n / 8);
    assert_memory_equal(y, expected, sizeof(float) * n);
  }
  free(file), free(expected), free(y), free(w.data);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(formats_and_types_have_their_names),
      cmocka_unit_test(every_half_precision_number_converts_exactly),
      cmocka_unit_test(unpacking_gives_back_every_byte),
      cmocka_unit_test(scales_that_are_not_finite_are_refused_by_row),
      cmocka_unit_test(each_scale_and_minimum_of_a_block_is_checked),
      cmocka_unit_test(activations_are_quantized_by_the_rule),
      cmocka_unit_test(products_equal_their_specification_over_the_grid),
      cmocka_unit_test(every_number_of_tokens_works_on_one_shape),
      cmocka_unit_test(the_self_check_passes_and_names_a_kernel_that_is_wrong),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
