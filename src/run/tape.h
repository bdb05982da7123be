/*
 * tape.h: what a training pass keeps of its way forward, for the way back.
 *
 * A record is one layer's: its input and the results that can't be made again cheaply. Norms, turns, activations and
 * softmax are made again. Where memory is short, layers share one record but for x: their way forward is then run again
 * before the way back (nk_gradient in gradient.h), with the same bits.
 *
 * Shapes   T: entries of the row; d, q, kv, ff as in pass.h. Pointers are NULL where the layer has no such step.
 */
#ifndef NOOK_RUN_TAPE_H
#define NOOK_RUN_TAPE_H

#include "core/arena.h"

typedef struct nk_record {
  float *x;     /* [T, d] the layer's input */
  float *qkv;   /* [T, q + 2 kv] before norms, turns and IA3; of a short convolution [T, 3 d] */
  float *mixed; /* [T, q] what attention (or the convolution) made of it */
  float *attn;  /* [T, d] attention's branch before its post-norm */
  float *mid;   /* [T, d] the residual stream between the branches, before attn_out_norm; not in a parallel layer */
  float *ff;    /* [T, gate | up] before the activation and IA3 */
  float *ffn;   /* [T, d] the feed-forward's branch before its post-norm */
  float *sum;   /* [T, d] the residual stream before ffn_out_norm */
} nk_record;

typedef struct nk_tape {
  nk_record *records; /* [n_layers] */
} nk_tape;

/* LoRA's dropout: element k of entry t of a slot's input is kept where its random number, which depends on the key, the
   layer, the slot, t and k alone, is at least rate; then multiplied by 1 / (1 - rate). */
typedef struct nk_dropout {
  float rate;
  uint64_t key; /* of the step */
  float *room;  /* scratch [part, widest input] */
} nk_dropout;

#endif
