/*
 * arena.h: memory of one lifetime (weights, session, step), carved from one allocation.
 *
 * The same carve function runs twice: first on a measuring arena (base NULL), which only counts, then on the real one.
 * So the plan that a person is shown, the size of WebAssembly.Memory and the actual use can't differ.
 * An arena may be lent a second block, memory of another that is not needed any more: pieces go there as long as they fit.
 * Nothing is freed singly; the owner of the block frees it whole. All sizes are u64: on wasm32 a size_t would wrap.
 */
#ifndef NOOK_CORE_ARENA_H
#define NOOK_CORE_ARENA_H

#include "core/status.h"

#define NK_ARENA_ALIGN 64u /* every carved piece starts at a multiple of this: a cache line, four SIMD vectors */

typedef struct nk_arena {
  uint8_t *base; /* NULL: measuring */
  uint64_t size; /* bytes at base; unused while measuring */
  uint64_t used; /* bytes carved so far, lent ones not counted; saturates at UINT64_MAX when a sum would wrap */
  uint8_t *lent; /* NULL while measuring */
  uint64_t lent_size, lent_used;
} nk_arena;

/* A measuring arena. */
nk_arena nk_arena_measure(void);

/* Carves `count` × `bytes` zero-filled bytes. NULL while measuring, and NULL when the block is too small or the product
   wraps (then `used` says what would have been needed, and nk_arena_ok is false). */
void *nk_arena_take(nk_arena *arena, uint64_t count, uint64_t bytes);
/* The same, not filled: for large pieces that are written before they are read. Where the host gives pages when they are
   first touched (all do), what is never written takes no memory. */
void *nk_arena_take_raw(nk_arena *arena, uint64_t count, uint64_t bytes);

/* Lends `bytes` at `memory` (NULL on a measuring arena) to the pieces that are carved from now on. The lender frees it,
   after the arena's owner is done with it. */
void nk_arena_lend(nk_arena *arena, void *memory, uint64_t bytes);

/* False when a real arena was asked for more than it has, or a measuring one for more than the address space. */
bool nk_arena_ok(const nk_arena *arena);

/* Allocates a block of `size` bytes for a real arena; the caller frees it with nk_arena_free. */
nk_status nk_arena_allocate(nk_arena *arena, uint64_t size, const char *what, nk_error *error);
void nk_arena_free(nk_arena *arena);

#endif
