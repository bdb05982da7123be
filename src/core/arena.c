/* arena.c: see arena.h. */
#include "core/arena.h"

#include <stdlib.h>
#include <string.h>

nk_arena nk_arena_measure(void) { return (nk_arena){.base = NULL, .size = 0, .used = 0, .lent = NULL}; }

/* The piece and its rounded size. */
static void *take(nk_arena *arena, uint64_t count, uint64_t bytes, uint64_t *size) {
  *size = 0;
  if (bytes != 0 && count > (UINT64_MAX - 2 * NK_ARENA_ALIGN) / bytes) {
    arena->used = UINT64_MAX;
    return NULL;
  }
  uint64_t wanted = (count * bytes + NK_ARENA_ALIGN - 1) / NK_ARENA_ALIGN * NK_ARENA_ALIGN;
  if (wanted > UINT64_MAX - arena->used) {
    arena->used = UINT64_MAX;
    return NULL;
  }
  if (arena->lent_size > 0 && wanted <= arena->lent_size - arena->lent_used) {
    arena->lent_used += wanted;
    if (arena->lent == NULL) return NULL;
    *size = wanted;
    return arena->lent + (arena->lent_used - wanted);
  }
  uint64_t start = arena->used;
  arena->used += wanted;
  if (arena->base == NULL || arena->used > arena->size) return NULL;
  *size = wanted;
  return arena->base + start;
}

void nk_arena_lend(nk_arena *arena, void *memory, uint64_t bytes) {
  /* What alignment may cost is left away wherever the block begins, so that measuring needs no address. */
  uint64_t past = memory == NULL ? 0 : (uintptr_t)memory % NK_ARENA_ALIGN;
  arena->lent = memory == NULL ? NULL : (uint8_t *)memory + (past == 0 ? 0 : NK_ARENA_ALIGN - past);
  arena->lent_size = bytes < NK_ARENA_ALIGN ? 0 : (bytes - NK_ARENA_ALIGN) / NK_ARENA_ALIGN * NK_ARENA_ALIGN;
  arena->lent_used = 0;
}

void *nk_arena_take(nk_arena *arena, uint64_t count, uint64_t bytes) {
  uint64_t size;
  void *piece = take(arena, count, bytes, &size);
  if (piece != NULL) memset(piece, 0, (size_t)size);
  return piece;
}

void *nk_arena_take_raw(nk_arena *arena, uint64_t count, uint64_t bytes) {
  uint64_t size;
  return take(arena, count, bytes, &size);
}

bool nk_arena_ok(const nk_arena *arena) {
  if (arena->base == NULL) return arena->used <= SIZE_MAX;
  return arena->used <= arena->size;
}

nk_status nk_arena_allocate(nk_arena *arena, uint64_t size, const char *what, nk_error *error) {
  *arena = nk_arena_measure();
  if (size == 0) size = NK_ARENA_ALIGN;
  uint64_t rounded = (size + NK_ARENA_ALIGN - 1) / NK_ARENA_ALIGN * NK_ARENA_ALIGN;
  if (rounded < size || rounded > SIZE_MAX) {
    return nk_fail_hint(error, NK_STATUS_MEMORY, "Choose a smaller model or a shorter context.",
                        "%s needs %llu bytes, more than this build can address", what, (unsigned long long)size);
  }
  uint8_t *block = aligned_alloc(NK_ARENA_ALIGN, (size_t)rounded);
  if (block == NULL) {
    return nk_fail_hint(error, NK_STATUS_MEMORY, "Close other tabs, choose a smaller model or a shorter context.",
                        "%s needs %llu bytes (%.1f MB), which could not be had", what, (unsigned long long)size,
                        (double)size / 1e6);
  }
  arena->base = block;
  arena->size = rounded;
  return NK_STATUS_OK;
}

void nk_arena_free(nk_arena *arena) {
  free(arena->base);
  *arena = nk_arena_measure();
}
