/*
 * generate.h: from a prompt's ids to text, token by token.
 *
 * begin / step / end. A step is one bounded piece of reading, or one token drawn; the sequence, the sampler and the text
 * that is held back (incomplete code points, stop strings that may still match) live here. Options are JSON, named in
 * nook.h. When the context is full the caller's choice holds: stop, or keep the first tokens and drop the middle. Dropping
 * reads the kept tail anew, so that what follows is exactly what a fresh prompt of the kept tokens would give.
 */
#ifndef NOOK_GENERATE_GENERATE_H
#define NOOK_GENERATE_GENERATE_H

#include <cJSON.h>

#include "run/session.h"

typedef struct nk_generation nk_generation;

typedef enum nk_step_kind { NK_STEP_READ, NK_STEP_TOKEN, NK_STEP_SHIFT, NK_STEP_DONE, NK_STEP_WORK } nk_step_kind;

typedef struct nk_generation_event {
  nk_step_kind kind;
  int32_t token;
  const char *text; /* what may be shown now, NUL-terminated, until the next step; never NULL */
  size_t text_bytes;
  float logprob;
  uint32_t done, total; /* tokens of the prompt in the cache, and in all */
  uint32_t dropped;
} nk_generation_event;

/* Bytes that a generation takes while it lasts, for the memory plan: the sampler's scratch and the ids. Log-probabilities,
   stop strings and a max_tokens beyond the context come on top. */
uint64_t nk_generation_bytes(uint32_t vocab, uint32_t context);

/* Copies the ids. model and session outlive the generation. */
nk_status nk_generation_begin(nk_generation **out, nk_session *session, const nk_model *model, const int32_t *ids,
                              uint32_t n, const char *options, nk_error *error);
nk_status nk_generation_step(nk_generation *generation, nk_generation_event *event, nk_error *error);
/* The result object of nook_result; NULL when memory is out. finish_reason is "abort" when it had not finished. */
cJSON *nk_generation_result(const nk_generation *generation);
void nk_generation_free(nk_generation *generation); /* NULL is fine */

#endif
