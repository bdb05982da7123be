/*
 * arch.h: the table of architectures. An architecture is one row of data; the block that runs it is written once
 * (run/block.c).
 *
 * Most axes of a model are read from the file: which tensors are present (biases, fused projections, gates, norms, learned
 * positions, tied head) and the metadata (sizes, rope base, epsilon, window, soft caps). The row holds only what neither
 * tells. docs/add-an-architecture.md.
 */
#ifndef NOOK_MODEL_ARCH_H
#define NOOK_MODEL_ARCH_H

#include "core/status.h"

/* How the dimensions of a head are paired for rotary positions: (0,1)(2,3)… or (0,n/2)(1,n/2+1)…. NONE: positions are
   learned. */
typedef enum nk_rope_pairs { NK_ROPE_NONE, NK_ROPE_ADJACENT, NK_ROPE_HALF } nk_rope_pairs;

typedef enum nk_activation {
  NK_ACTIVATION_SILU,
  NK_ACTIVATION_GELU_TANH,
  NK_ACTIVATION_GELU_ERF,
  NK_ACTIVATION_RELU,
} nk_activation;

typedef enum nk_norm_kind { NK_NORM_RMS, NK_NORM_LAYER } nk_norm_kind;

/* Where the norms of a layer stand: before a branch; on its output before it is added; both; after the addition. */
typedef enum nk_placement_kind {
  NK_PLACE_PRE,
  NK_PLACE_POST_BRANCH,
  NK_PLACE_SANDWICH,
  NK_PLACE_POST_RESIDUAL,
} nk_placement_kind;

/* Sequential: the feed-forward reads what attention has been added to. Parallel: both read the same input and are added
   together; by the key use_parallel_residual, or where a layer has no norm of its own for the feed-forward. */
typedef enum nk_residual { NK_RESIDUAL_SEQUENTIAL, NK_RESIDUAL_BY_KEY, NK_RESIDUAL_BY_NORM } nk_residual;

typedef struct nk_arch {
  const char *name; /* general.architecture */
  nk_rope_pairs rope;
  nk_activation activation;
  nk_norm_kind norm;
  nk_placement_kind placement;
  nk_residual residual;
  bool embed_sqrt;        /* embeddings are multiplied by √d */
  uint32_t window_period; /* 0: the window holds for every layer; p: every p-th layer sees everything */
  float local_base;       /* rope base of the layers with a window, unless the file says; 0: the same as elsewhere */
  uint32_t wide_layers;   /* with exactly so many layers scores are scaled by 1/√(d / heads), not by the head's size */
  bool encoder;           /* every token sees the whole text, and there is no head: the output is hidden states */
} nk_arch;

/* NULL: no row of that name. `name` need not be NUL-terminated. */
const nk_arch *nk_arch_find(const char *name, size_t length);
uint32_t nk_arch_count(void);
const nk_arch *nk_arch_at(uint32_t index);

#endif
