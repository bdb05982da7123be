/* options.h: what a caller may ask of a generation, read from JSON (the keys are in nook.h). */
#ifndef NOOK_GENERATE_OPTIONS_H
#define NOOK_GENERATE_OPTIONS_H

#include <cJSON.h>

#include "generate/sampler.h"
#include "generate/text_stream.h"

#define NK_MAX_LOGIT_BIAS 1024u
#define NK_MAX_GENERATED 1048576u

typedef struct nk_generation_options {
  nk_sampler_options sampler; /* its bias points into `bias` */
  nk_logit_bias *bias;        /* malloc'd, or NULL */
  nk_stop stops[NK_MAX_STOPS]; /* into `root` */
  uint32_t n_stops;
  uint32_t max_tokens; /* UINT32_MAX: as many as the context holds */
  uint32_t logprobs;   /* alternatives a token; UINT32_MAX: no log-probabilities are wanted */
  uint32_t keep;       /* tokens that stay at the beginning when the middle is dropped */
  uint32_t chunk;      /* tokens of the prompt read together at most; 0: the session's batch */
  bool ignore_end, shift, reuse;
  cJSON *root; /* owns the texts */
} nk_generation_options;

nk_status nk_generation_options_read(nk_generation_options *options, const char *text, uint32_t vocab, nk_error *error);
void nk_generation_options_free(nk_generation_options *options);

#endif
