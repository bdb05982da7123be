/*
 * check.c: the self-check that decides whether an ISA may be used here: every kernel of every format against SCALAR, on
 * small seeded matrices that reach the tile, the tail of rows, the single token and more than one block.
 *
 * SIMD128 must give SCALAR's bits. RELAXED may fuse multiply and add, so it is compared twice: with random scales within
 * CLOSE of the sum of magnitudes; and with scales of 1 and whole activations, where every product and sum is a whole number
 * below 2^24, fused or not, so that its bits must equal SCALAR's too. The second shows what relaxed instructions may choose
 * (signedness of the second operand, saturation), down to one unit of one integer sum.
 */
#include <string.h>

#include "kernels/act.h"
#include "kernels/ops.h"

/* COLS is for formats of 256 elements a block; the others are checked on NARROW columns. */
enum { ROWS = 35, COLS = 256, NARROW = 64, TOKENS = 5, PACKED_ROWS = 40, PACKED_BYTES = PACKED_ROWS * NARROW * 4 };
#define CHECK_COLS(block) ((block) > NARROW ? (block) : NARROW)

#define NK_FORMAT(name, symbol, type, block, bytes, kind, scale_type, scale_at, scales)                               \
  _Static_assert(CHECK_COLS(block) <= COLS && PACKED_ROWS * CHECK_COLS(block) / (block) * (bytes) <= PACKED_BYTES, #name);
#include "kernels/formats.def"
#undef NK_FORMAT

#define CLOSE 1e-5f

typedef struct bench {
  const nk_ops *ops;
  nk_error *error;
  nk_matrix matrix;
  uint32_t seed;
  uint32_t cols;                              /* of the matrix, at most COLS */
  bool whole;                                 /* scales of 1, whole activations: results are exact */
  float x[TOKENS * COLS], dy[TOKENS * ROWS];  /* [TOKENS][COLS] of which cols are used, [TOKENS][ROWS] */
  float dense[COLS];                          /* one row of W */
  float y[TOKENS * ROWS], expected[TOKENS * ROWS], magnitude[TOKENS * ROWS]; /* [TOKENS][ROWS] */
  float dx[TOKENS * COLS], dx_expected[TOKENS * COLS], dx_magnitude[TOKENS * COLS]; /* [TOKENS][cols] */
} bench;

static uint32_t next_random(uint32_t *seed) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 17;
  *seed ^= *seed << 5;
  return *seed;
}

/* Uniform in [-1, 1). */
static float next_float(uint32_t *seed) { return (float)(int32_t)next_random(seed) * 0x1p-31f; }

/* The i-th value of a tensor: uniform in [-1, 1), or whole, at most 127 in size, with a 127 in every block. */
static float next_value(bench *b, uint32_t i) {
  if (!b->whole) return next_float(&b->seed);
  int32_t level = (int32_t)(next_random(&b->seed) >> 8) % 128;
  return i % NK_ACT_BLOCK == 7 ? 127.0f : (float)((next_random(&b->seed) & 0x8000u) != 0 ? level : -level);
}

static float absolute(float x) { return x < 0.0f ? -x : x; }

/* Random bits, in the first row all set; scales of 1, or with the top bit of the exponent off: below 2 in size. */
static nk_status fill(bench *b, uint8_t *packed, uint8_t *file) {
  const nk_format *format = b->matrix.format;
  size_t row_bytes = (size_t)nk_row_bytes(format, b->cols);
  uint32_t one = format->exponent_mask & 0x3FFFu; /* 0x3C00 in f16, 0x3F80 in bf16 */
  b->matrix.data = packed;
  for (uint32_t row = 0; row < ROWS; row += NK_GROUP_ROWS) {
    uint32_t n = ROWS - row < NK_GROUP_ROWS ? ROWS - row : NK_GROUP_ROWS;
    for (size_t i = 0; i < n * row_bytes; i++) file[i] = (uint8_t)(next_random(&b->seed) >> 24);
    if (row == 0 && !format->is_float) memset(file, 0xFF, row_bytes);
    for (size_t at = format->scale_at; at < n * row_bytes; at += format->block_bytes)
      for (uint32_t i = 0; i < format->n_scales; i++)
        nk_put16(file + at + 2 * i, (uint16_t)(b->whole ? one : nk_get16(file + at + 2 * i) & ~0x4000u));
    nk_status status = nk_matrix_pack(&b->matrix, row, n, file, b->error);
    if (status != NK_STATUS_OK) return status;
  }
  return NK_STATUS_OK;
}

static nk_status compare(const bench *b, const char *what, const float *got, const float *expected, const float *magnitude,
                         uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    bool same = b->ops->isa == NK_ISA_RELAXED && !b->whole ? absolute(got[i] - expected[i]) <= CLOSE * magnitude[i]
                                              : memcmp(got + i, expected + i, sizeof(float)) == 0;
    if (!same) {
      return nk_fail(b->error, NK_STATUS_INTERNAL, "the %s kernel of %s differs from its specification: %g instead of %g",
                     what, nk_format_name(b->matrix.format), (double)got[i], (double)expected[i]);
    }
  }
  return NK_STATUS_OK;
}

/* Σ |x| |w| for every output, from the activations in b->x. */
static void measure(bench *b) {
  memset(b->magnitude, 0, sizeof b->magnitude);
  memset(b->dx_magnitude, 0, sizeof b->dx_magnitude);
  for (uint32_t r = 0; r < ROWS; r++) {
    nk_matrix_gather(&b->matrix, r, b->dense);
    for (uint32_t t = 0; t < TOKENS; t++) {
      for (uint32_t k = 0; k < b->cols; k++) {
        b->magnitude[t * ROWS + r] += absolute(b->x[t * COLS + k] * b->dense[k]);
        b->dx_magnitude[t * b->cols + k] += absolute(b->dy[t * ROWS + r] * b->dense[k]);
      }
    }
  }
}

static nk_status check_products(bench *b, const uint8_t *act, const uint8_t *act_expected, float *scratch) {
  const nk_ops *scalar = &nk_scalar_ops;
  uint32_t groups = PACKED_ROWS / NK_GROUP_ROWS, cols = b->cols;
  nk_status status;
  measure(b);
  if (!b->matrix.format->is_float) {
    /* The minimum of a 4-bit format can cancel most of a sum: its magnitude is bounded by 31 times the largest weight's. */
    float wide[TOKENS * ROWS];
    for (uint32_t i = 0; i < TOKENS * ROWS; i++) wide[i] = 32.0f * b->magnitude[i];
    nk_gemm_q8(b->ops, b->y, ROWS, &b->matrix, act, TOKENS, 0, groups);
    nk_gemm_q8(scalar, b->expected, ROWS, &b->matrix, act_expected, TOKENS, 0, groups);
    status = compare(b, "integer", b->y, b->expected, wide, TOKENS * ROWS);
    if (status != NK_STATUS_OK) return status;
  }
  nk_gemm_f32(b->ops, b->y, ROWS, &b->matrix, b->x, COLS, TOKENS, 0, groups);
  nk_gemm_f32(scalar, b->expected, ROWS, &b->matrix, b->x, COLS, TOKENS, 0, groups);
  status = compare(b, "float", b->y, b->expected, b->magnitude, TOKENS * ROWS);
  if (status != NK_STATUS_OK) return status;

  memset(b->dx, 0, sizeof b->dx);
  memset(b->dx_expected, 0, sizeof b->dx_expected);
  nk_gemm_t_f32(b->ops, b->dx, cols, &b->matrix, b->dy, ROWS, TOKENS, 0, cols, scratch);
  nk_gemm_t_f32(scalar, b->dx_expected, cols, &b->matrix, b->dy, ROWS, TOKENS, 0, cols, scratch);
  return compare(b, "transposed", b->dx, b->dx_expected, b->dx_magnitude, TOKENS * cols);
}

nk_status nk_kernels_check(const nk_ops *ops, nk_error *error) {
  uint8_t packed[PACKED_BYTES] __attribute__((aligned(64)));
  uint8_t file[PACKED_BYTES / PACKED_ROWS * NK_GROUP_ROWS];
  enum { ACT_BYTES = NK_ACT_BLOCK * 2 + 12 }; /* a block of int16 values, the larger sort (act.h) */
  uint8_t act[TOKENS * (COLS / NK_ACT_BLOCK) * ACT_BYTES] __attribute__((aligned(16)));
  uint8_t act_expected[TOKENS * (COLS / NK_ACT_BLOCK) * ACT_BYTES] __attribute__((aligned(16)));
  float scratch[NK_SCRATCH_T(TOKENS)];
  bench b = {.ops = ops, .error = error, .seed = 0x9E3779B9u};
  for (uint32_t pass = 0; pass < 2; pass++) {
    b.whole = pass == 1;
    for (uint32_t i = 0; i < TOKENS * ROWS; i++) b.dy[i] = next_value(&b, i);
    for (uint32_t i = 0; i < TOKENS * COLS; i++) b.x[i] = next_value(&b, i);
    /* The largest levels of both signs side by side, where sums of 16 bits would break first. */
    for (uint32_t i = 0; i < NK_ACT_BLOCK; i++) b.x[i] = b.whole ? 127.0f : 1.0f;
    for (uint32_t i = 0; i < NK_ACT_BLOCK; i++) b.x[COLS + i] = -b.x[i];

    nk_act_quantize(ops, act, b.x, COLS, TOKENS, COLS);
    nk_act_quantize(&nk_scalar_ops, act_expected, b.x, COLS, TOKENS, COLS);
    nk_act_dequantize(ops, b.dx, COLS, act, TOKENS, COLS);
    nk_act_dequantize(&nk_scalar_ops, b.dx_expected, COLS, act_expected, TOKENS, COLS);
    if (memcmp(b.dx, b.dx_expected, sizeof b.dx) != 0)
      return nk_fail(error, NK_STATUS_INTERNAL, "the quantization of activations differs from its specification");

    for (uint32_t i = 0; i < NK_FORMAT_COUNT; i++) {
      const nk_format *format = nk_format_at(i);
      if (b.whole && format->is_float) continue;
      b.cols = CHECK_COLS(format->block);
      b.matrix = (nk_matrix){.format = format, .rows = ROWS, .cols = b.cols};
      nk_act_quantize(ops, act, b.x, COLS, TOKENS, b.cols);
      nk_act_quantize(&nk_scalar_ops, act_expected, b.x, COLS, TOKENS, b.cols);
      memset(packed, 0, sizeof packed);
      nk_status status = fill(&b, packed, file);
      if (status != NK_STATUS_OK) return status;
      status = check_products(&b, act, act_expected, scratch);
      if (status != NK_STATUS_OK) return status;
    }
  }
  return NK_STATUS_OK;
}
