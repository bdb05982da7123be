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
