/*
 * test_formats.c: every format of formats.def without its products: names, packing and unpacking byte for byte, scales that
 * are refused; and the quantization of activations.
 */
#include "grid_fixture.h"

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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(formats_and_types_have_their_names),
      cmocka_unit_test(every_half_precision_number_converts_exactly),
      cmocka_unit_test(unpacking_gives_back_every_byte),
      cmocka_unit_test(scales_that_are_not_finite_are_refused_by_row),
      cmocka_unit_test(each_scale_and_minimum_of_a_block_is_checked),
      cmocka_unit_test(activations_are_quantized_by_the_rule),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
