/*
 * adamw.h: one step of AdamW over an adapter's flat array, the norm of its gradient, and its clipping.
 *
 * Source   Loshchilov, Hutter 2019 (arXiv:1711.05101), in the order of PyTorch's torch.optim.AdamW for one tensor:
 *            p *= 1 - lr·wd;  m += (1 - β1)(g - m);  v = β2·v + (1 - β2)·g·g;
 *            p -= lr / (1 - β1^t) · m / (√v / √(1 - β2^t) + ε)
 *          Arrays are float32 and each product rounds alone; the factors are float64, narrowed once.
 * Bits     Only + - * / and √, which IEEE 754 fixes, and elements do not touch each other: the same bits on every host, and
 *          on any number of threads when ranges of the arrays are given to them.
 */
#ifndef NOOK_TRAIN_ADAMW_H
#define NOOK_TRAIN_ADAMW_H

#include "core/status.h"

typedef struct nk_adamw_options {
  double beta1, beta2; /* [0, 1) */
  double epsilon;      /* > 0 */
  double weight_decay; /* >= 0; times the learning rate */
} nk_adamw_options;

/* PyTorch's: β 0.9 and 0.999, ε 1e-8; no decay, which is the trainer's to choose. */
nk_adamw_options nk_adamw_defaults(void);

/* What one step multiplies by; the same for every element. */
typedef struct nk_adamw_factors {
  float keep, beta1_rest, beta2, beta2_rest, correction2, epsilon, rate;
} nk_adamw_factors;

/* t counts steps from 1. lr >= 0. */
nk_adamw_factors nk_adamw_factors_at(const nk_adamw_options *options, double lr, uint64_t t);

/* values, gradient, m, v: [n], the same range of each array; m and v are 0 before the first step. */
void nk_adamw_step(const nk_adamw_factors *factors, float *restrict values, const float *restrict gradient,
                   float *restrict m, float *restrict v, uint64_t n);

/* base^exponent by repeated squaring: no host libm. */
double nk_power(double base, uint64_t exponent);

/* √Σ g², summed in float64 in eight lanes whatever the machine: no float32 overflows it. NaN or infinity when one of the
   elements is. */
double nk_gradient_norm(const float *gradient, uint64_t n);
/* The factor of torch.nn.utils.clip_grad_norm_: min(1, limit / (norm + 1e-6)); 1 when the limit is 0 (no clipping). `norm`
   is finite: of a gradient that is not, no factor makes a step. */
double nk_clip_factor(double norm, double limit);
/* gradient *= factor; of 1 it changes no bit. */
void nk_gradient_scale(float *gradient, uint64_t n, double factor);

#endif
