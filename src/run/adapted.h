/*
 * adapted.h: what adapters change of a linear, forward and backward.
 *
 *   LoRA   y += s · scale · B (A x')       x' = x, while training with dropout x · mask / (1 - rate)
 *   IA3    y *= 1 + s (l - 1), bias and LoRA included; at DOWN the factors are the input's, before it is quantized, and
 *          LoRA there sees the changed input.
 *
 * LoRA multiplies float32 activations whatever the matrix multiplies.
 */
#ifndef NOOK_RUN_ADAPTED_H
#define NOOK_RUN_ADAPTED_H

#include "adapt/adapter.h"
#include "run/linear.h"
#include "run/tape.h"

/* One adapted linear: a layer's slot and what applies there. */
typedef struct nk_adapted {
  const nk_machine *machine;
  const nk_adapter_set *adapters;
  uint32_t layer;
  nk_slot slot;
  const nk_dropout *dropout; /* or NULL */
  uint32_t first;            /* the entry of row 0, for dropout */
} nk_adapted;

/* True when an adapter has something at the slot. */
bool nk_adapted_any(const nk_adapted *at);

/* y [m, rows] += what LoRA makes of x [m, cols]. */
void nk_lora_forward(const nk_adapted *at, float *y, size_t ldy, uint32_t rows, const float *x, size_t ldx, uint32_t m,
                     uint32_t cols);
/* x [m, n] *= IA3's factors of the slot. */
void nk_ia3_forward(const nk_adapted *at, float *x, size_t ldx, uint32_t m, uint32_t n);

/* Gradients of the only adapter of the set, which is applied with scale 1; grads: as its values. */
typedef struct nk_adapted_grads {
  float *grads;   /* [n_values], or NULL: only dx is wanted */
  float *rank;    /* scratch [2, m, r]: A x' and its gradient */
} nk_adapted_grads;

/* dA, dB += ; dx [m, cols] += (NULL: not wanted). */
void nk_lora_backward(const nk_adapted *at, const nk_adapted_grads *to, float *dx, size_t lddx, const float *dy,
                      size_t lddy, uint32_t rows, const float *x, size_t ldx, uint32_t m, uint32_t cols);
/* dl += dy · x; dy *= l: dy [m, n] is the gradient of the product, then of x [m, n], which is as it was before. */
void nk_ia3_backward(const nk_adapted *at, const nk_adapted_grads *to, float *dy, size_t lddy, const float *x, size_t ldx,
                     uint32_t m, uint32_t n);

#endif
