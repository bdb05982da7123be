/* arch.c: see arch.h. A new dense decoder is one line here, one fixture in tests/fixtures/tiny, one line in
   docs/support.md. */
#include "model/arch.h"

#include <string.h>

static const nk_arch ARCHITECTURES[] = {
    /* name    rope              activation          norm         residual                embeddings      window */
    {"llama", NK_ROPE_ADJACENT, NK_ACTIVATION_SILU, NK_NORM_RMS, NK_RESIDUAL_SEQUENTIAL, NK_EMBED_PLAIN, 0},
};

uint32_t nk_arch_count(void) { return (uint32_t)(sizeof ARCHITECTURES / sizeof ARCHITECTURES[0]); }

const nk_arch *nk_arch_at(uint32_t index) { return index < nk_arch_count() ? &ARCHITECTURES[index] : NULL; }

const nk_arch *nk_arch_find(const char *name, size_t length) {
  for (uint32_t i = 0; i < nk_arch_count(); i++) {
    const nk_arch *row = &ARCHITECTURES[i];
    if (strlen(row->name) == length && memcmp(row->name, name, length) == 0) return row;
  }
  return NULL;
}
