/* score.c: see score.h. */
#include "generate/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "generate/sampler.h"

struct nk_score {
  nk_session *session;
  const nk_model *model;
  uint32_t vocab;
  int32_t *ids; /* [n]: the prompt */
  uint32_t n;
  nk_score_options options;
  uint32_t row; /* rows of the batch that was done last which have been handed out */
  double nll[NK_LOGIT_ROWS];
  double *sums_of_hidden; /* [d], of the vector */
  float *vector;          /* [d] */

  int32_t *choices; /* [start[n_choices]] */
  uint32_t *start;  /* [n_choices + 1] */
  double *sums;     /* [n_choices] */
  uint32_t n_choices, choice;
  bool prompt_read;
};

void nk_score_free(nk_score *score) {
  if (score == NULL) return;
  free(score->ids);
  free(score->choices);
  free(score->start);
  free(score->sums);
  free(score->sums_of_hidden);
  free(score->vector);
  free(score);
}

/* A score over a copy of the ids, the cache trimmed to what of it may stay. */
static nk_status begin(nk_score **out, nk_session *session, const nk_model *model, const int32_t *ids, uint32_t n,
                       uint32_t keep, uint32_t chunk, nk_error *error) {
  *out = NULL;
  if (n == 0) return nk_fail(error, NK_STATUS_DATA, "there are no tokens to evaluate");
  nk_score *score = calloc(1, sizeof *score);
  if (score != NULL) score->ids = malloc(n * sizeof *ids);
  if (score == NULL || score->ids == NULL) {
    nk_score_free(score);
    return nk_fail(error, NK_STATUS_MEMORY, "no memory for %u tokens", n);
  }
  memcpy(score->ids, ids, n * sizeof *ids);
  score->session = session;
  score->model = model;
  score->vocab = model->vocab;
  score->n = n;
  uint32_t matched = nk_session_match(session, ids, n);
  nk_session_trim(session, matched < keep ? matched : keep);
  uint32_t known = nk_session_length(session);
  nk_status status = nk_session_feed(session, score->ids + known, n - known, chunk, error);
  if (status != NK_STATUS_OK) {
    nk_score_free(score);
    return status;
  }
  *out = score;
  return NK_STATUS_OK;
}

/* ---- Rows ----------------------------------------------------------------------------------------------------------- */

nk_status nk_score_rows_begin(nk_score **out, nk_session *session, const nk_model *model, const int32_t *ids, uint32_t n,
                              const nk_score_options *options, nk_error *error) {
  *out = NULL;
  bool vector = options->output == NK_SCORE_VECTOR, logits = options->output == NK_SCORE_LOGITS;
  nk_status status = logits || options->output == NK_SCORE_NLL ? nk_session_need_head(session, error) : NK_STATUS_OK;
  if (status != NK_STATUS_OK) return status;
  if (options->from >= n && n > 0) {
    *out = NULL;
    return nk_fail(error, NK_STATUS_DATA, "the first wanted position %u is not among the %u tokens", options->from, n);
  }
  status = begin(out, session, model, ids, n, options->reuse ? options->from : 0, options->chunk, error);
  if (status != NK_STATUS_OK) return status;
  nk_score *score = *out;
  score->options = *options;
  if (!vector) return NK_STATUS_OK;
  uint32_t d = model->config.width;
  score->sums_of_hidden = calloc(d, sizeof *score->sums_of_hidden);
  score->vector = malloc(d * sizeof *score->vector);
  if (score->sums_of_hidden != NULL && score->vector != NULL) return NK_STATUS_OK;
  nk_session_trim(session, 0);
  nk_score_free(score);
  *out = NULL;
  return nk_fail(error, NK_STATUS_MEMORY, "no memory for a vector of %u numbers", d);
}

/* Of the hidden states [n, d] of the positions from `first` on, what counts for the vector. */
static void pool_rows(nk_score *score, const float *hidden, uint32_t first, uint32_t n) {
  uint32_t d = score->model->config.width;
  nk_pooling pooling = score->options.pooling != 0 ? score->options.pooling : score->model->config.pooling;
  for (uint32_t i = 0; i < n; i++, hidden += d) {
    if (pooling == NK_POOLING_CLS && first + i != 0) continue;
    if (pooling == NK_POOLING_LAST && first + i != score->n - 1) continue;
    for (uint32_t j = 0; j < d; j++) score->sums_of_hidden[j] += (double)hidden[j];
  }
}

/* The mean has the sum's direction; its length matters only where the vector keeps it. */
static void finish_vector(nk_score *score, nk_score_rows *rows) {
  uint32_t d = score->model->config.width;
  nk_pooling pooling = score->options.pooling != 0 ? score->options.pooling : score->model->config.pooling;
  double squares = 0.0, divisor = pooling == NK_POOLING_MEAN ? (double)score->n : 1.0;
  for (uint32_t j = 0; j < d; j++) squares += score->sums_of_hidden[j] * score->sums_of_hidden[j];
  if (score->options.normalize && squares > 0.0) divisor = sqrt(squares);
  for (uint32_t j = 0; j < d; j++) score->vector[j] = (float)(score->sums_of_hidden[j] / divisor);
  rows->values = score->vector;
  rows->columns = d;
  rows->first = 0;
  rows->n = 1;
}

/* The losses of the rows of logits [n, vocab] from position rows->first on. */
static void losses(nk_score *score, const float *logits, uint32_t n, nk_score_rows *rows) {
  rows->nll = score->nll;
  for (uint32_t i = 0; i < n && rows->first + i + 1 < score->n; i++) {
    const float *row = logits + (size_t)i * score->vocab;
    score->nll[i] = nk_log_sum_exp(row, score->vocab) - (double)row[score->ids[rows->first + i + 1]];
    rows->n++;
  }
}

nk_status nk_score_rows_step(nk_score *score, nk_score_rows *rows, nk_error *error) {
  nk_session *session = score->session;
  *rows = (nk_score_rows){.total = score->n};
  uint32_t first = nk_session_rows_first(session), count = nk_session_rows_count(session);
  if (score->row >= count) {
    bool batch_done;
    nk_session_step(session, &batch_done);
    first = nk_session_rows_first(session);
    count = batch_done ? nk_session_rows_count(session) : 0;
    if (batch_done) score->row = score->options.from > first ? score->options.from - first : 0;
    rows->done = nk_session_length(session);
    rows->finished = score->row >= count && !nk_session_feeding(session);
    if (score->row >= count) return NK_STATUS_OK;
  }
  uint32_t limit = nk_session_logit_rows(session);
  uint32_t n = count - score->row < limit ? count - score->row : limit;
  nk_score_output output = score->options.output;
  bool hidden = output == NK_SCORE_HIDDEN || output == NK_SCORE_VECTOR;
  const float *values = hidden ? nk_session_hidden(session, score->row, n) : nk_session_logits(session, score->row, n);
  if (values == NULL)
    return nk_fail(error, NK_STATUS_INTERNAL, "rows %u to %u of the batch are not there", score->row, score->row + n);
  rows->first = first + score->row;
  rows->done = nk_session_length(session);
  score->row += n;
  rows->finished = score->row >= count && !nk_session_feeding(session);
  switch (output) {
    case NK_SCORE_LOGITS:
    case NK_SCORE_HIDDEN:
      rows->values = values;
      rows->columns = hidden ? score->model->config.width : score->vocab;
      rows->n = n;
      return NK_STATUS_OK;
    case NK_SCORE_NLL: losses(score, values, n, rows); return NK_STATUS_OK;
    case NK_SCORE_VECTOR:
      pool_rows(score, values, rows->first, n);
      if (rows->finished) finish_vector(score, rows);
      return NK_STATUS_OK;
  }
  return NK_STATUS_OK;
}

/* ---- Choices --------------------------------------------------------------------------------------------------------- */

nk_status nk_score_choices_begin(nk_score **out, nk_session *session, const nk_model *model, const int32_t *ids,
                                 uint32_t n, const int32_t *choices, const uint32_t *start, uint32_t n_choices,
                                 nk_error *error) {
  *out = NULL;
  nk_status status = nk_session_need_head(session, error);
  if (status != NK_STATUS_OK) return status;
  if (n_choices == 0) return nk_fail(error, NK_STATUS_DATA, "there are no choices to score");
  uint32_t longest = 0;
  for (uint32_t i = 0; i < n_choices; i++) {
    if (start[i] >= start[i + 1]) return nk_fail(error, NK_STATUS_DATA, "choice %u is empty", i);
    if (start[i + 1] - start[i] > longest) longest = start[i + 1] - start[i];
  }
  for (uint32_t i = start[0]; i < start[n_choices]; i++) {
    if (choices[i] < 0 || (uint32_t)choices[i] >= model->vocab) {
      return nk_fail(error, NK_STATUS_DATA, "token %d of a choice is outside the vocabulary of %u", choices[i],
                     model->vocab);
    }
  }
  if (n > 0 && (uint64_t)n + longest - 1 > nk_session_context(session)) {
    return nk_fail_hint(error, NK_STATUS_CONTEXT_FULL, "Shorten the prompt or load with a larger context.",
                        "the prompt of %u tokens and a choice of %u do not fit the context of %u", n, longest,
                        nk_session_context(session));
  }
  /* The last token is read again even when it is cached: its logits are needed. */
  status = begin(out, session, model, ids, n, n > 0 ? n - 1 : 0, 0, error);
  if (status != NK_STATUS_OK) return status;
  nk_score *score = *out;
  uint32_t total = start[n_choices] - start[0];
  score->choices = malloc(total * sizeof *choices);
  score->start = malloc((n_choices + 1) * sizeof *start);
  score->sums = calloc(n_choices, sizeof *score->sums);
  if (score->choices == NULL || score->start == NULL || score->sums == NULL) {
    nk_session_trim(session, 0);
    nk_score_free(score);
    *out = NULL;
    return nk_fail(error, NK_STATUS_MEMORY, "no memory for %u choices", n_choices);
  }
  memcpy(score->choices, choices + start[0], total * sizeof *choices);
  for (uint32_t i = 0; i <= n_choices; i++) score->start[i] = start[i] - start[0];
  score->n_choices = n_choices;
  return NK_STATUS_OK;
}

/* Adds log p of the choice's tokens that the next rows of the batch that was just done predict; as many rows a call as
   there is room for logits. */
static nk_status add_rows(nk_score *score, nk_error *error) {
  nk_session *session = score->session;
  uint32_t left = nk_session_rows_count(session) - score->row, limit = nk_session_logit_rows(session);
  uint32_t n = left < limit ? left : limit;
  const float *logits = nk_session_logits(session, score->row, n);
  if (logits == NULL)
    return nk_fail(error, NK_STATUS_INTERNAL, "rows %u to %u of the batch are not there", score->row, score->row + n);
  /* Row i of a choice's tokens predicts its token i + 1. */
  uint32_t first = nk_session_rows_first(session) - score->n + score->row;
  const int32_t *tokens = score->choices + score->start[score->choice] + first + 1;
  for (uint32_t i = 0; i < n; i++, logits += score->vocab) {
    score->sums[score->choice] += (double)logits[tokens[i]] - nk_log_sum_exp(logits, score->vocab);
  }
  score->row += n;
  return NK_STATUS_OK;
}

/* The first token of every choice, from the prompt's last row. */
static nk_status read_prompt_end(nk_score *score, nk_error *error) {
  nk_session_mark(score->session); /* each choice begins here */
  const float *logits = nk_session_logits(score->session, nk_session_rows_count(score->session) - 1, 1);
  if (logits == NULL) return nk_fail(error, NK_STATUS_INTERNAL, "the prompt's last row is not there");
  double total = nk_log_sum_exp(logits, score->vocab);
  for (uint32_t i = 0; i < score->n_choices; i++) {
    score->sums[i] = (double)logits[score->choices[score->start[i]]] - total;
  }
  score->prompt_read = true;
  score->choice = UINT32_MAX;
  return NK_STATUS_OK;
}

/* Feeds the next choice that has more than one token: all but its last one. */
static nk_status next_choice(nk_score *score, bool *finished, nk_error *error) {
  nk_session_trim(score->session, score->n);
  do {
    score->choice++;
    if (score->choice == score->n_choices) {
      *finished = true;
      return NK_STATUS_OK;
    }
  } while (nk_score_choice_tokens(score, score->choice) == 1);
  return nk_session_feed(score->session, score->choices + score->start[score->choice],
                         nk_score_choice_tokens(score, score->choice) - 1, 0, error);
}

nk_status nk_score_choices_step(nk_score *score, bool *finished, nk_error *error) {
  *finished = score->prompt_read && score->choice == score->n_choices;
  nk_status status;
  if (!score->prompt_read || score->row >= nk_session_rows_count(score->session)) {
    bool batch_done;
    nk_session_step(score->session, &batch_done);
    if (!batch_done) return NK_STATUS_OK;
    score->row = 0;
    if (!score->prompt_read) {
      if (nk_session_feeding(score->session)) return NK_STATUS_OK;
      if ((status = read_prompt_end(score, error)) != NK_STATUS_OK) return status;
      return next_choice(score, finished, error);
    }
  }
  if ((status = add_rows(score, error)) != NK_STATUS_OK) return status;
  if (score->row < nk_session_rows_count(score->session) || nk_session_feeding(score->session)) return NK_STATUS_OK;
  return next_choice(score, finished, error);
}

const double *nk_score_choices(const nk_score *score, uint32_t *n_choices) {
  *n_choices = score->n_choices;
  return score->sums;
}

uint32_t nk_score_choice_tokens(const nk_score *score, uint32_t choice) {
  return score->start[choice + 1] - score->start[choice];
}

void nk_score_choices_progress(const nk_score *score, uint32_t *done, uint32_t *total) {
  *total = score->n;
  *done = nk_session_length(score->session) < score->n ? nk_session_length(score->session) : score->n;
  for (uint32_t i = 0; i < score->n_choices; i++) {
    uint32_t own = nk_score_choice_tokens(score, i) - 1;
    *total += own;
    if (score->prompt_read && i < score->choice) *done += own;
  }
}
