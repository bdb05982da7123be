/*
 * arch.h: the table of architectures. An architecture is one row of data; the block that runs it is written once
 * (run/block.c).
 *
 * Most axes of a model are read from the file: which tensors are present (biases, fused projections, gates, norms, tied
 * head) and the metadata (sizes, rope base, epsilon, window). The row holds only what neither tells.
 * docs/add-an-architecture.md.
 */
#ifndef NOOK_MODEL_ARCH_H
#define NOOK_MODEL_ARCH_H

#include "core/status.h"

/* How the dimensions of a head are paired for rotary positions: (0,1)(2,3)… or (0,n/2)(1,n/2+1)…. */
typedef enum nk_rope_pairs { NK_ROPE_NONE, NK_ROPE_ADJACENT, NK_ROPE_HALF } nk_rope_pairs;
typedef enum nk_activation { NK_ACTIVATION_SILU, NK_ACTIVATION_GELU_TANH, NK_ACTIVATION_RELU } nk_activation;
typedef enum nk_norm_kind { NK_NORM_RMS, NK_NORM_LAYER } nk_norm_kind;
/* Both branches read the norm of the same input and are added together. */
typedef enum nk_residual { NK_RESIDUAL_SEQUENTIAL, NK_RESIDUAL_PARALLEL } nk_residual;
typedef enum nk_embed_scale { NK_EMBED_PLAIN, NK_EMBED_SQRT_D } nk_embed_scale;

typedef struct nk_arch {
  const char *name; /* general.architecture */
  nk_rope_pairs rope;
  nk_activation activation;
  nk_norm_kind norm;
  nk_residual residual;
  nk_embed_scale embed_scale;
  uint32_t window_period; /* 0: the window key, if any, holds for every layer; p: every p-th layer has none */
} nk_arch;

/* NULL: no row of that name. `name` need not be NUL-terminated. */
const nk_arch *nk_arch_find(const char *name, size_t length);
uint32_t nk_arch_count(void);
const nk_arch *nk_arch_at(uint32_t index);

#endif
