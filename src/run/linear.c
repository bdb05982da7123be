/* linear.c: see linear.h. */
#include "run/linear.h"

/* y [m, rows] = x Wᵀ + b: one product over the pool. */
typedef struct product {
  const nk_machine *machine;
  const nk_linear *linear;
  float *y; /* [m, rows], row stride ldy */
  size_t ldy;
  const float *x; /* [m, cols], row stride ldx */
  size_t ldx;
  const void *act; /* x quantized, or NULL: float32 product */
  uint32_t m;
} product;

static void product_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const product *p = argument;
  const nk_matrix *w = &p->linear->matrix;
  if (p->act != NULL) {
    nk_gemm_q8(p->machine->ops, p->y, p->ldy, w, p->act, p->m, begin, end - begin);
  } else {
    nk_gemm_f32(p->machine->ops, p->y, p->ldy, w, p->x, p->ldx, p->m, begin, end - begin);
  }
  if (p->linear->bias == NULL) return;
  uint32_t first = begin * NK_GROUP_ROWS, last = end * NK_GROUP_ROWS < w->rows ? end * NK_GROUP_ROWS : w->rows;
  for (uint32_t t = 0; t < p->m; t++) {
    p->machine->vec->add(p->y + t * p->ldy + first, p->linear->bias + first, last - first);
  }
}

void nk_linear_forward(const nk_machine *machine, bool int8, float *y, size_t ldy, const nk_linear *linear,
                       nk_linear_input *in) {
  int8 = int8 && !nk_format_is_float(linear->matrix.format);
  if (int8 && !in->quantized) {
    nk_act_quantize(machine->ops, in->act, in->x, in->ldx, in->m, in->cols);
    in->quantized = true;
  }
  product p = {.machine = machine, .linear = linear, .y = y, .ldy = ldy, .x = in->x, .ldx = in->ldx,
               .act = int8 ? in->act : NULL, .m = in->m};
  uint32_t groups = (linear->matrix.rows + NK_GROUP_ROWS - 1) / NK_GROUP_ROWS;
  uint32_t pieces = nk_pool_threads(machine->pool);
  pieces = pieces == 1 ? 1 : 4 * pieces; /* small pieces even out threads of unequal speed */
  nk_pool_run(machine->pool, groups, (groups + pieces - 1) / pieces, product_task, &p);
}

/* ---- Backward ------------------------------------------------------------------------------------------------------ */

#define TRANSPOSED_GRAIN 2u /* pieces of NK_ACT_BLOCK columns */
#define WEIGHT_GRAIN 16u    /* rows */

typedef struct gradient {
  const nk_machine *machine;
  const nk_linear *linear;
  float *dx, *dw, *db;
  const float *dy, *x;
  size_t lddx, lddy, ldx;
  uint32_t m, rows, cols;
  uint8_t *scratch;
} gradient;

static void inputs_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  const gradient *g = argument;
  uint8_t *scratch = g->scratch + thread * (size_t)nk_gemm_t_scratch_bytes();
  nk_gemm_t_f32(g->machine->ops, g->dx, g->lddx, &g->linear->matrix, g->dy, g->lddy, g->m, begin * NK_ACT_BLOCK,
                (end - begin) * NK_ACT_BLOCK, scratch);
}

void nk_linear_backward(const nk_machine *machine, float *dx, size_t lddx, const nk_linear *linear, const float *dy,
                        size_t lddy, uint32_t m, uint8_t *scratch) {
  gradient g = {.machine = machine, .linear = linear, .dx = dx, .lddx = lddx, .dy = dy, .lddy = lddy, .m = m,
                .scratch = scratch};
  uint32_t pieces = (linear->matrix.cols + NK_ACT_BLOCK - 1) / NK_ACT_BLOCK;
  uint32_t grain = nk_pool_threads(machine->pool) == 1 ? pieces : TRANSPOSED_GRAIN;
  nk_pool_run(machine->pool, pieces, grain, inputs_task, &g);
}

static void weights_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const gradient *g = argument;
  if (g->dw != NULL) {
    g->machine->vec->dense_tn(g->dw + (size_t)begin * g->cols, g->cols, g->dy + begin, g->lddy, g->x, g->ldx, g->m,
                              end - begin, g->cols, true);
  }
  if (g->db != NULL)
    for (uint32_t t = 0; t < g->m; t++) g->machine->vec->add(g->db + begin, g->dy + t * g->lddy + begin, end - begin);
}

void nk_linear_weights_backward(const nk_machine *machine, float *dw, float *db, const float *dy, size_t lddy,
                                uint32_t rows, const float *x, size_t ldx, uint32_t cols, uint32_t m) {
  if (dw == NULL && db == NULL) return;
  gradient g = {.machine = machine, .dw = dw, .db = db, .dy = dy, .lddy = lddy, .x = x, .ldx = ldx, .m = m, .rows = rows,
                .cols = cols};
  nk_pool_run(machine->pool, rows, WEIGHT_GRAIN, weights_task, &g);
}
