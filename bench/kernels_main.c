/*
 * kernels_main.c: the matrix kernels as exports that bench/kernels.mjs calls and times. Sizes and repetitions come from
 * there; each call returns after `repeat` runs, so that the clock's grain doesn't matter.
 */
#include <stdlib.h>
#include <string.h>

#include "kernels/formats.h"
#include "kernels/vec.h"

#ifdef __wasm__
#define EXPORT(name) __attribute__((export_name(#name))) name
#else
#define EXPORT(name) name
#endif

typedef struct state {
  nk_matrix matrix;  /* [rows, cols] */
  float *x, *y, *dx; /* [m, cols], [m, rows], [m, cols] */
  uint8_t *act, *row_blocks; /* quantized x; 8 rows as the file has them */
  float *scratch;
  uint32_t m;
} state;

/* The one global of this program, which is no part of the engine. */
static state bench;

int EXPORT(bench_format_count)(void);
int EXPORT(bench_prepare)(uint32_t format, uint32_t rows, uint32_t cols, uint32_t m);
int EXPORT(bench_check)(int isa);
double EXPORT(bench_run)(int isa, int what, uint32_t repeat);
double EXPORT(bench_bytes)(void);
const char *EXPORT(bench_format_name)(uint32_t format);

int bench_format_count(void) { return (int)nk_format_count(); }
const char *bench_format_name(uint32_t format) { return nk_format_name(nk_format_at(format)); }
double bench_bytes(void) { return (double)nk_matrix_bytes(bench.matrix.format, bench.matrix.rows, bench.matrix.cols); }

/* Fills a matrix with random levels and scales near 2^-6, x and y with numbers in [-1, 1). Returns 0, or 1 without
   memory. */
int bench_prepare(uint32_t format, uint32_t rows, uint32_t cols, uint32_t m) {
  const nk_format *f = nk_format_at(format);
  size_t row_bytes = (size_t)nk_row_bytes(f, cols);
  uint32_t seed = 1;
  free(bench.matrix.data), free(bench.x), free(bench.y), free(bench.dx), free(bench.act), free(bench.row_blocks);
  free(bench.scratch);
  bench = (state){.matrix = {.format = f, .rows = rows, .cols = cols}, .m = m};
  bench.matrix.data = malloc((size_t)nk_matrix_bytes(f, rows, cols));
  bench.x = malloc(sizeof(float) * m * cols);
  bench.y = malloc(sizeof(float) * m * rows);
  bench.dx = malloc(sizeof(float) * m * cols);
  bench.act = malloc((size_t)nk_act_bytes(nk_ops_get(NK_ISA_SIMD128), m, cols) + 64);
  bench.row_blocks = malloc(8 * row_bytes);
  bench.scratch = malloc((size_t)nk_gemm_t_scratch_bytes());
  if (!bench.matrix.data || !bench.x || !bench.y || !bench.dx || !bench.act || !bench.row_blocks || !bench.scratch)
    return 1;
  for (size_t i = 0; i < (size_t)m * cols; i++) {
    seed = seed * 1664525u + 1013904223u;
    bench.x[i] = (float)(int32_t)seed * 0x1p-31f;
    bench.dx[i] = 0.0f;
  }
  for (size_t i = 0; i < (size_t)m * rows; i++) bench.y[i] = 0x1p-10f;
  for (size_t i = 0; i < 8 * row_bytes; i++) {
    seed = seed * 1664525u + 1013904223u;
    bench.row_blocks[i] = (uint8_t)(seed >> 24);
  }
  /* Every field that is a scale (and every float element) gets a small exponent. */
  for (size_t at = f->scale_at; at < 8 * row_bytes; at += f->block_bytes)
    for (uint32_t i = 0; i < f->n_scales; i++)
      bench.row_blocks[at + 2 * i + 1] = f->exponent_mask == NK_EXPONENT_HALF ? 0x24 : 0x3C;
  for (uint32_t r = 0; r + 8 <= rows; r += 8)
    if (nk_matrix_pack(&bench.matrix, r, 8, bench.row_blocks, NULL) != NK_STATUS_OK) return 1;
  return 0;
}

/* 0: the ISA is here and agrees with its specification. */
int bench_check(int isa) {
  const nk_ops *ops = nk_ops_get((nk_isa)isa);
  if (ops == NULL) return -1;
  nk_status status = nk_kernels_check(ops, NULL);
  return (int)(status != NK_STATUS_OK ? status : nk_vec_check(nk_vec_get((nk_isa)isa), NULL));
}

/* Sums the 64-bit words of `bytes` bytes: as fast as they come. */
static __attribute__((noinline)) uint64_t read_bytes(const uint8_t *data, size_t bytes) {
  uint64_t sum[4] = {0};
  for (size_t i = 0; i + 32 <= bytes; i += 32) {
    uint64_t word[4];
    memcpy(word, data + i, 32);
    for (uint32_t j = 0; j < 4; j++) sum[j] += word[j];
  }
  return sum[0] + sum[1] + sum[2] + sum[3];
}

/* what: 0 integer product, 1 float product, 2 transposed product, 3 quantize activations, 4 gather rows, 5 pack, 6 unpack,
   7 only read the packed bytes: the ceiling of one token's product here; 8, 9, 10 the dense products nt [m, k] × [rows, k],
   nn [m, rows] × [rows, k], tn [m, rows] × [m, k] of F32. Returns a number that depends on the result. */
double bench_run(int isa, int what, uint32_t repeat) {
  const nk_ops *ops = nk_ops_get((nk_isa)isa);
  const nk_matrix *w = &bench.matrix;
  const nk_vec *vec = nk_vec_get((nk_isa)isa);
  float *weights = (float *)(void *)w->data; /* of F32: any matrix [rows, cols] */
  uint32_t groups = (w->rows + 7) / 8;
  if (what == 0) nk_act_quantize(ops, bench.act, bench.x, w->cols, bench.m, w->cols);
  for (uint32_t i = 0; i < repeat; i++) {
    switch (what) {
      case 0: nk_gemm_q8(ops, bench.y, w->rows, w, bench.act, bench.m, 0, groups); break;
      case 1: nk_gemm_f32(ops, bench.y, w->rows, w, bench.x, w->cols, bench.m, 0, groups); break;
      case 2: nk_gemm_t_f32(ops, bench.dx, w->cols, w, bench.y, w->rows, bench.m, 0, w->cols, bench.scratch); break;
      case 3: nk_act_quantize(ops, bench.act, bench.x, w->cols, bench.m, w->cols); break;
      case 4:
        for (uint32_t r = 0; r < w->rows; r++) nk_matrix_gather(w, r, bench.dx);
        break;
      case 5:
        for (uint32_t r = 0; r + 8 <= w->rows; r += 8) (void)nk_matrix_pack(&bench.matrix, r, 8, bench.row_blocks, NULL);
        break;
      case 6:
        for (uint32_t r = 0; r + 8 <= w->rows; r += 8) nk_matrix_unpack(w, r, 8, bench.row_blocks);
        break;
      case 8:
        vec->dense_nt(bench.y, w->rows, bench.x, w->cols, weights, w->cols, bench.m, w->rows, w->cols, false);
        break;
      case 9: vec->dense_nn(bench.dx, w->cols, bench.y, w->rows, weights, w->cols, bench.m, w->rows, w->cols, false); break;
      case 10:
        vec->dense_tn(weights, w->cols, bench.y, w->rows, bench.x, w->cols, bench.m, w->rows, w->cols, false);
        break;
      default: /* in pieces: an engine optimizes a function at its next call */
        for (size_t at = 0, total = (size_t)bench_bytes(); at < total; at += 65536)
          bench.dx[0] += (float)(read_bytes(w->data + at, total - at < 65536 ? total - at : 65536) & 1);
        break;
    }
  }
  return (double)bench.y[0] + (double)bench.dx[0];
}
