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

#endif
