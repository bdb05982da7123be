/*
 * rope.h: rotary position embedding (Su et al. 2021, eq. 34) and its stretched forms.
 *
 * Pair i of a head turns by position · f_i, f_i = base^(-2i / n_rot) / factor_i / scale. YaRN (Peng et al. 2023) keeps f_i
 * unscaled for fast pairs, with a ramp between. The angle is rounded to float32 as the reference implementations do it
 * (float32 frequency × position); sine and cosine of that angle are exact to float32.
 */
#ifndef NOOK_RUN_ROPE_H
#define NOOK_RUN_ROPE_H

#include "model/config.h"

/* frequencies [n_rot / 2]; factors [n_rot / 2] or NULL. */
void nk_rope_frequencies(float *frequencies, uint32_t n_rot, const nk_rope_config *rope, const float *factors);

/* turns [n_rot / 2][2] = (cos, sin) · factor of every pair at `position`. */
void nk_rope_turns(float *turns, const float *frequencies, uint32_t n_rot, uint32_t position, float factor);

/* Turns one head x [head_dim] in place; and the gradient of that, also in place. */
void nk_rope_forward(float *x, const float *turns, uint32_t n_rot, nk_rope_pairs pairs);
void nk_rope_backward(float *dx, const float *turns, uint32_t n_rot, nk_rope_pairs pairs);

#endif
