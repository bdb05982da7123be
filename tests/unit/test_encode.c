/*
 * test_encode.c: the numbers of a conversion: dtypes to float32, float32 to F16 and Q8_0, beside gguf-py's bytes
 * (tests/fixtures/quants).
 */
#include "engine_fixture.h"

#include <math.h>

#include "convert/encode.h"
#include "kernels/formats.h"

static void quantized_weights_are_gguf_pys_bytes(void **state) {
  (void)state;
  static const struct {
    const char *stem;
    uint32_t type;
  } cases[] = {{"tests/fixtures/quants/F16", NK_TYPE_F16}, {"tests/fixtures/quants/Q8_0", NK_TYPE_Q8_0}};
  bundle source = bundle_open("tests/fixtures/quants/source");
  size_t n;
  const float *weights = bundle_get(&source, "weights", 4, &n);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    bundle b = bundle_open(cases[i].stem);
    size_t n_bytes, bad;
    const uint8_t *wanted = bundle_get(&b, "blocks", 1, &n_bytes);
    assert_int_equal(nk_encoded_bytes(cases[i].type, n), n_bytes);
    uint8_t *got = malloc(n_bytes);
    assert_non_null(got);
    assert_true(nk_encode(got, weights, cases[i].type, n, &bad));
    assert_memory_equal(got, wanted, n_bytes);
    free(got);
    bundle_close(&b);
  }
  bundle_close(&source);
}

static void every_half_comes_back_and_what_lies_between_goes_to_the_nearest_even(void **state) {
  (void)state;
  for (uint32_t half = 0; half < 0x7C00; half++) {
    float value = nk_from_half((uint16_t)half), next = nk_from_half((uint16_t)(half + 1));
    assert_int_equal(nk_half_from_f32(value), half);
    assert_int_equal(nk_half_from_f32(-value), half | 0x8000);
    if (half == 0x7BFF) continue;                                 /* the largest */
    float middle = (float)(0.5 * ((double)value + (double)next)); /* exact: 12 bits */
    assert_int_equal(nk_half_from_f32(middle), half % 2 == 0 ? half : half + 1);
    assert_int_equal(nk_half_from_f32(nextafterf(middle, 0.0f)), half);
    assert_int_equal(nk_half_from_f32(nextafterf(middle, 1e9f)), half + 1);
  }
  assert_int_equal(nk_half_from_f32(nextafterf(65520.0f, 0.0f)), 0x7BFF);
}

static void halves_of_the_levels_go_away_from_zero(void **state) {
  (void)state;
  float in[NK_Q8_0_BLOCK] = {127.0f, 0.5f, -0.5f, 1.5f, -1.5f, 2.5f, -2.5f, 0.49999997f, -0.49999997f, -127.0f};
  static const int8_t levels[] = {127, 1, -1, 2, -2, 3, -3, 0, 0, -127, 0};
  uint8_t out[NK_Q8_0_BLOCK + 2];
  size_t bad;
  assert_true(nk_encode(out, in, NK_TYPE_Q8_0, NK_Q8_0_BLOCK, &bad));
  assert_int_equal(out[0] | out[1] << 8, 0x3C00); /* 1 */
  for (size_t i = 0; i < sizeof levels; i++) assert_int_equal((int8_t)out[2 + i], levels[i]);
  memset(in, 0, sizeof in);
  assert_true(nk_encode(out, in, NK_TYPE_Q8_0, NK_Q8_0_BLOCK, &bad));
  for (size_t i = 0; i < sizeof out; i++) assert_int_equal(out[i], 0);
}

static void numbers_beyond_the_type_are_found(void **state) {
  (void)state;
  static const struct {
    float value;
    uint32_t type;
    bool fits;
  } cases[] = {
      {65519.0f, NK_TYPE_F16, true},   {65520.0f, NK_TYPE_F16, false}, {-65520.0f, NK_TYPE_F16, false},
      {3.4e38f, NK_TYPE_F32, true},    {INFINITY, NK_TYPE_F32, false}, {NAN, NK_TYPE_F32, false},
      {-INFINITY, NK_TYPE_F16, false}, {8.3e6f, NK_TYPE_Q8_0, true},   {8.4e6f, NK_TYPE_Q8_0, false},
      {NAN, NK_TYPE_Q8_0, false},      {1e-45f, NK_TYPE_Q8_0, true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    float in[NK_Q8_0_BLOCK] = {1.0f, 2.0f, 3.0f, cases[i].value};
    uint8_t out[4 * NK_Q8_0_BLOCK];
    size_t bad = 99;
    assert_int_equal(nk_encode(out, in, cases[i].type, NK_Q8_0_BLOCK, &bad), cases[i].fits);
    if (!cases[i].fits) assert_int_equal(bad, 3);
  }
}

static void dtypes_are_read_at_any_stride(void **state) {
  (void)state;
  static const uint8_t f32[] = {0, 0, 0x80, 0x3F, 9, 9, 9, 9, 0, 0, 0x20, 0xC1};
  static const uint8_t f16[] = {0, 0x3C, 9, 9, 1, 0}, bf16[] = {0x80, 0x3F, 9, 9, 0x20, 0xC1};
  float out[2];
  nk_decode(out, f32, NK_DTYPE_F32, 2, 2);
  assert_true(out[0] == 1.0f && out[1] == -10.0f);
  nk_decode(out, f16, NK_DTYPE_F16, 2, 2);
  assert_true(out[0] == 1.0f && out[1] == 0x1p-24f);
  nk_decode(out, bf16, NK_DTYPE_BF16, 2, 2);
  assert_true(out[0] == 1.0f && out[1] == -10.0f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(quantized_weights_are_gguf_pys_bytes),
      cmocka_unit_test(every_half_comes_back_and_what_lies_between_goes_to_the_nearest_even),
      cmocka_unit_test(halves_of_the_levels_go_away_from_zero),
      cmocka_unit_test(numbers_beyond_the_type_are_found),
      cmocka_unit_test(dtypes_are_read_at_any_stride),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
