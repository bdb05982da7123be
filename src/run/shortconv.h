/*
 * shortconv.h: the state of layers that mix tokens by a short convolution (LFM2): the last columns that it saw.
 *
 * A sequence can go on from `live`, which belongs to its present length. It can go back to where a state was kept: every
 * NK_CONV_STRIDE tokens, and at the mark; what lies between is read again. States are float32, so that the way does not
 * show in the bits.
 */
#ifndef NOOK_RUN_SHORTCONV_H
#define NOOK_RUN_SHORTCONV_H

#include "core/arena.h"

#define NK_CONV_STRIDE 64u

typedef struct nk_conv_state {
  uint32_t n_layers, columns, width; /* columns: taps - 1 */
  size_t size;                       /* floats of one state: n_layers · columns · width */
  float *live; /* [n_layers, columns, width], oldest column first: before the batch in work */
  float *next; /* the same after it */
  float *mark; /* of the sequence at mark_length, where that is above 0 */
  float *kept; /* [context / NK_CONV_STRIDE + 1] states, of every NK_CONV_STRIDE tokens; [0] is the beginning */
  uint32_t mark_length;
} nk_conv_state;

/* Nothing is carved where n_layers is 0. */
void nk_conv_carve(nk_conv_state *state, nk_arena *arena, uint32_t n_layers, uint32_t taps, uint32_t width,
                   uint32_t context);
/* A batch that came to its end: next becomes live. */
void nk_conv_enter(nk_conv_state *state);
/* Keeps the live state as that of `length`. */
void nk_conv_mark(nk_conv_state *state, uint32_t length);
/* The longest beginning, at most `length` of the `present` tokens, whose state is there. */
uint32_t nk_conv_resumable(const nk_conv_state *state, uint32_t length, uint32_t present);
/* Makes live the state of `length`, which nk_conv_resumable gave. */
void nk_conv_resume(nk_conv_state *state, uint32_t length, uint32_t present);

#endif
