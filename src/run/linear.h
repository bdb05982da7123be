/*
 * linear.h: y = x Wᵀ + b over the pool, the input quantized once for all products that share it.
 */
#ifndef NOOK_RUN_LINEAR_H
#define NOOK_RUN_LINEAR_H

#include "model/model.h"
#include "run/machine.h"

/* Products of the same input: quantized once, and only if one of them wants it. */
typedef struct nk_linear_input {
  const float *x; /* [m, cols], row stride ldx */
  size_t ldx;
  uint32_t m, cols;
  uint8_t *act; /* room for the quantized form: nk_act_bytes(m, cols) */
  bool quantized;
} nk_linear_input;

/* y [m, rows], row stride ldy. int8: quantized matrices multiply int8 activations, otherwise float32 ones. */
void nk_linear_forward(const nk_machine *machine, bool int8, float *y, size_t ldy, const nk_linear *linear,
                       nk_linear_input *in);

/* dx [m, cols] += dy [m, rows] W, in float32 through the packed weights. scratch: nk_gemm_t_scratch_bytes() a thread. */
void nk_linear_backward(const nk_machine *machine, float *dx, size_t lddx, const nk_linear *linear, const float *dy,
                        size_t lddy, uint32_t m, uint8_t *scratch);
/* dw [rows, cols] += dyᵀ x, db [rows] += Σ dy (NULL: not wanted): of a weight that is trained. */
void nk_linear_weights_backward(const nk_machine *machine, float *dw, float *db, const float *dy, size_t lddy,
                                uint32_t rows, const float *x, size_t ldx, uint32_t cols, uint32_t m);

#endif
