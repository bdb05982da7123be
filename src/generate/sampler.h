/*
 * sampler.h: from logits to the next token. Pure: no model, no allocation, no clock; the same logits, past and seed give
 * the same token in every build and on every host (own exp and log, sums in a fixed order, a generator of its own).
 *
 * Steps, in llama.cpp's default order, each on what the one before left:
 *   1. logit bias            s += bias (OpenAI API)
 *   2. repetition penalty θ  s = s > 0 ? s/θ : s·θ, once for each token in the window (CTRL, arXiv:1909.05858, 4.1; the
 *                            product for negative s as in Hugging Face's version, since division would reward them)
 *   3. frequency, presence   s -= count·frequency + [count > 0]·presence (OpenAI API)
 *   4. temperature 0         greedy: the highest s; of equal ones the lowest id. Nothing below happens.
 *   5. top-k                 the k highest; of equal ones the lower ids (arXiv:1805.04833)
 *   6. typical               by |-ln p - H|, H the entropy, the fewest whose mass reaches typical_p (arXiv:2202.00666)
 *   7. top-p                 by p, the fewest whose mass reaches top_p (arXiv:1904.09751)
 *   8. min-p                 those with p >= min_p · (highest p) (arXiv:2407.01082)
 *   9. draw                  from softmax(s / temperature), by one number u in [0, 1) against the running sum
 * Filters 6 and 7 take p as the softmax of what is left, at temperature 1. Each keeps at least one token. A logit of
 * -infinity rules a token out.
 *
 * Generator   PCG32 (core/random.h); its state comes from the seed.
 * Cost        One pass over the vocabulary and a heap; only what a filter keeps is ever put in order.
 */
#ifndef NOOK_GENERATE_SAMPLER_H
#define NOOK_GENERATE_SAMPLER_H

#include "core/random.h"
#include "core/status.h"

#define NK_SAMPLER_MAX_TOP 20u /* alternatives for which log-probabilities are given */

typedef struct nk_logit_bias {
  int32_t token;
  float bias;
} nk_logit_bias;

typedef struct nk_sampler_options {
  double temperature;          /* [0, 100]; 0: greedy */
  double top_p;                /* [0, 1]; 1: off */
  double min_p;                /* [0, 1]; 0: off */
  double typical_p;            /* [0, 1]; 1: off */
  double repetition_penalty;   /* [0.01, 100]; 1: off */
  double frequency_penalty;    /* [-2, 2]; 0: off */
  double presence_penalty;     /* [-2, 2]; 0: off */
  uint32_t top_k;              /* 0: off */
  uint32_t penalty_window;     /* the last tokens that penalties look at; 0: all */
  bool repetition_sees_prompt; /* the repetition penalty counts the prompt's tokens too (as in Hugging Face's) */
  bool frequency_sees_prompt;  /* so do the frequency and presence penalties (OpenAI's look at the completion alone) */
  const nk_logit_bias *bias;   /* [n_bias], borrowed while the sampler lives; those of one token add up; [-1000, 1000] */
  uint32_t n_bias;
  uint64_t seed;
} nk_sampler_options;

/* Temperature 1, seed 0, everything else off; repetition_sees_prompt true, frequency_sees_prompt false. */
nk_sampler_options nk_sampler_defaults(void);

typedef struct nk_candidate {
  float score;
  uint32_t token;
} nk_candidate;

typedef struct nk_sampler {
  nk_sampler_options options;
  nk_random random;
  uint32_t vocab;
  nk_candidate *candidates; /* [vocab], scratch */
  double *keys;             /* [vocab], scratch; also the counts of past tokens */
} nk_sampler;

/* Bytes of scratch for a vocabulary. */
uint64_t nk_sampler_bytes(uint32_t vocab);

/* Checks the options (DATA, naming the option and what is allowed). scratch: nk_sampler_bytes(vocab), aligned to 8, the
   caller's, and it outlives the sampler. vocab > 0. */
nk_status nk_sampler_init(nk_sampler *sampler, const nk_sampler_options *options, uint32_t vocab, void *scratch,
                          nk_error *error);

/*
 * Draws the next token. logits [vocab] are not changed. past [n_past]: the tokens so far, of which the first n_prompt are
 * the prompt's; those outside the vocabulary are passed over. FORMAT when a logit is NaN or +infinity (a model whose
 * arithmetic broke), or none is finite.
 */
nk_status nk_sampler_draw(nk_sampler *sampler, const float *logits, const int32_t *past, uint32_t n_past, uint32_t n_prompt,
                          int32_t *token, nk_error *error);

typedef struct nk_logprob {
  int32_t token;
  float logprob;
} nk_logprob;

/* ln Σ e^logit, the normalizer of a softmax; in float64, by id. vocab > 0. */
double nk_log_sum_exp(const float *logits, uint32_t vocab);

/* ln p of `token` under the model: before bias, penalties, filters and temperature. Sums in float64, by id. */
float nk_logprob_of(const float *logits, uint32_t vocab, int32_t token);

/* The same, and the n most likely tokens, falling, of equal ones the lowest id first: top [n], n <= NK_SAMPLER_MAX_TOP.
   Returns how many were written: n, or vocab if that is less. */
uint32_t nk_logprobs(const float *logits, uint32_t vocab, int32_t token, float *logprob, nk_logprob *top, uint32_t n);

#endif
