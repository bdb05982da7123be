/* arch.c: see arch.h. A new dense decoder is one line here, one fixture in tests/fixtures/tiny, one line in
   docs/support.md. */
#include "model/arch.h"

#include <string.h>

/* Prefixes of the enumerations of arch.h, so that a row is one line. */
#define ACT(name) NK_ACTIVATION_##name
#define NORM(name) NK_NORM_##name
#define PLACE(name) NK_PLACE_##name
#define RES(name) NK_RESIDUAL_##name

static const nk_arch ARCHITECTURES[] = {
    /* name, rotary pairs, activation, norm, its place, residual, embeddings · √d, period of the window, local base, wide,
       encoder */
    {"llama", NK_ROPE_ADJACENT, ACT(SILU), NORM(RMS), PLACE(PRE), RES(SEQUENTIAL), false, 0, 0, 0, false},
    {"qwen2", NK_ROPE_HALF, ACT(SILU), NORM(RMS), PLACE(PRE), RES(SEQUENTIAL), false, 0, 0, 0, false},
    {"qwen3", NK_ROPE_HALF, ACT(SILU), NORM(RMS), PLACE(PRE), RES(SEQUENTIAL), false, 0, 0, 0, false},
    {"phi3", NK_ROPE_HALF, ACT(SILU), NORM(RMS), PLACE(PRE), RES(SEQUENTIAL), false, 0, 0, 0, false},
    {"gemma", NK_ROPE_HALF, ACT(GELU_TANH), NORM(RMS), PLACE(PRE), RES(SEQUENTIAL), true, 0, 0, 0, false},
    {"gemma2", NK_ROPE_HALF, ACT(GELU_TANH), NORM(RMS), PLACE(SANDWICH), RES(SEQUENTIAL), true, 2, 0, 46, false},
    {"gemma3", NK_ROPE_HALF, ACT(GELU_TANH), NORM(RMS), PLACE(SANDWICH), RES(SEQUENTIAL), true, 6, 10000, 62, false},
    {"phi2", NK_ROPE_HALF, ACT(GELU_TANH), NORM(LAYER), PLACE(PRE), RES(BY_NORM), false, 0, 0, 0, false},
    {"gptneox", NK_ROPE_HALF, ACT(GELU_ERF), NORM(LAYER), PLACE(PRE), RES(BY_KEY), false, 0, 0, 0, false},
    {"stablelm", NK_ROPE_HALF, ACT(SILU), NORM(LAYER), PLACE(PRE), RES(BY_NORM), false, 0, 0, 0, false},
    {"gpt2", NK_ROPE_NONE, ACT(GELU_TANH), NORM(LAYER), PLACE(PRE), RES(SEQUENTIAL), false, 0, 0, 0, false},
    {"opt", NK_ROPE_NONE, ACT(RELU), NORM(LAYER), PLACE(PRE), RES(SEQUENTIAL), false, 0, 0, 0, false},
    {"olmo2", NK_ROPE_HALF, ACT(SILU), NORM(RMS), PLACE(POST_BRANCH), RES(SEQUENTIAL), false, 0, 0, 0, false},
    {"ernie4_5", NK_ROPE_ADJACENT, ACT(SILU), NORM(RMS), PLACE(PRE), RES(SEQUENTIAL), false, 0, 0, 0, false},
    {"lfm2", NK_ROPE_HALF, ACT(SILU), NORM(RMS), PLACE(PRE), RES(SEQUENTIAL), false, 0, 0, 0, false},
    {"bert", NK_ROPE_NONE, ACT(GELU_ERF), NORM(LAYER), PLACE(POST_RESIDUAL), RES(SEQUENTIAL), false, 0, 0, 0, true},
    {"nomic-bert", NK_ROPE_HALF, ACT(SILU), NORM(LAYER), PLACE(POST_RESIDUAL), RES(SEQUENTIAL), false, 0, 0, 0, true},
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
