/*
 * types.h: how many bytes the tensors of a GGUF file take, for every type number that the format has known.
 *
 * The reader needs only sizes, to see that each tensor lies inside the file; what a type means is the kernels' business.
 * Source: the block layouts of the format's reference implementation (ggml-common.h of ggml, as of 2025).
 */
#ifndef NOOK_GGUF_TYPES_H
#define NOOK_GGUF_TYPES_H

#include "core/status.h"

/* A type stores `block` elements, along the fastest dimension, in `bytes` bytes. */
typedef struct nk_gguf_size {
  uint32_t block;
  uint32_t bytes;
} nk_gguf_size;

/* False for a number that is none, or that was removed from the format. */
bool nk_gguf_type_size(uint32_t type, nk_gguf_size *size);

#endif
