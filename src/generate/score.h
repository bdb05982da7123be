/*
 * score.h: what the model thinks of given tokens: logits, hidden states, negative log-likelihoods, one vector of a text,
 * and a closed set of choices.
 *
 * Both are begin / step / end over a session; a step is bounded (session.h). The ids are copied at the beginning.
 */
#ifndef NOOK_GENERATE_SCORE_H
#define NOOK_GENERATE_SCORE_H

#include "run/session.h"

typedef struct nk_score nk_score;

/* ---- Rows: logits, hidden states or losses of every position, or one vector of all ------------------------------- */

typedef enum nk_score_output {
  NK_SCORE_LOGITS,
  NK_SCORE_HIDDEN, /* after the last norm */
  NK_SCORE_NLL,    /* -log p(next token) */
  NK_SCORE_VECTOR, /* hidden states pooled into one row, which comes last */
} nk_score_output;

typedef struct nk_score_options {
  uint32_t chunk; /* tokens of a forward pass at most; 0: the session's batch */
  uint32_t from;  /* first position that is wanted */
  bool reuse;     /* keep what of the cache is the ids' beginning */
  nk_score_output output;
  nk_pooling pooling; /* of the vector; 0: the file's */
  bool normalize;     /* the vector to length 1; a vector of zeros stays one */
} nk_score_options;

/* Rows that a step has brought; pointers live until the next step. */
typedef struct nk_score_rows {
  const float *values; /* [n, columns]: logits, hidden states or the vector; or NULL */
  uint32_t columns;
  const double *nll;   /* [n] or NULL; the last position has none */
  uint32_t first, n;
  uint32_t done, total; /* tokens in the cache, and in all */
  bool finished;
} nk_score_rows;

/* UNSUPPORTED for logits and losses of an encoder. */
nk_status nk_score_rows_begin(nk_score **out, nk_session *session, const nk_model *model, const int32_t *ids, uint32_t n,
                              const nk_score_options *options, nk_error *error);
nk_status nk_score_rows_step(nk_score *score, nk_score_rows *rows, nk_error *error);

/* ---- Choices: log p(choice | prompt) ----------------------------------------------------------------------------- */

/* choice i = choices[start[i] .. start[i + 1]), none empty. */
nk_status nk_score_choices_begin(nk_score **out, nk_session *session, const nk_model *model, const int32_t *ids,
                                 uint32_t n, const int32_t *choices, const uint32_t *start, uint32_t n_choices,
                                 nk_error *error);
nk_status nk_score_choices_step(nk_score *score, bool *finished, nk_error *error);
/* [n_choices] sums of log-probabilities, once finished. */
const double *nk_score_choices(const nk_score *score, uint32_t *n_choices);
/* Tokens read, and to read, the prompt's cached ones included. */
void nk_score_choices_progress(const nk_score *score, uint32_t *done, uint32_t *total);
uint32_t nk_score_choice_tokens(const nk_score *score, uint32_t choice);

void nk_score_free(nk_score *score); /* NULL is fine */

#endif
