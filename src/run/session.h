/*
 * session.h: one sequence being read: its tokens, their keys and values, and the buffers of a forward pass.
 *
 * A feed brings further tokens into the sequence in batches; nk_session_step does a bounded piece of the current batch
 * (some 50 ms), so that the host may stop between steps. Until a batch is done its tokens don't count: stopping anywhere
 * leaves the sequence as it was after the last whole batch. Everything is carved beforehand; nothing allocates here.
 *
 * An encoder's tokens see the whole text, so a feed is a text: it begins anew and is one batch, which goes through each
 * layer in parts.
 */
#ifndef NOOK_RUN_SESSION_H
#define NOOK_RUN_SESSION_H

#include "adapt/adapter.h"
#include "run/kv.h"
#include "run/machine.h"

#define NK_BATCH_DEFAULT 64u /* tokens that go through the layers together */
#define NK_BATCH_MAX 512u
#define NK_LOGIT_ROWS 8u /* rows of logits or hidden states handed out together at most */

/* Multiplications that a step does at most, roughly 50 ms of base SIMD; a stage of one layer is the unit. */
#define NK_STEP_PRODUCTS 500000000ull

typedef struct nk_session_options {
  uint32_t context; /* positions */
  uint32_t batch;   /* tokens of a batch (an encoder: of a part) at most; 0: NK_BATCH_DEFAULT */
  nk_kv_type kv;
  bool float_activations; /* matrices multiply float32 activations instead of int8 ones */
  void *spare;            /* memory for some of the buffers, the caller's as long as the session lives; NULL to measure */
  uint64_t spare_bytes;   /* of one session at a time */
  bool training; /* a batch is a whole row of examples, in parts; one layer's cache serves all (gradient.h) */
} nk_session_options;

typedef struct nk_session nk_session;

/* Bytes of the cache and of the buffers of a session (without what spare memory holds), and the batch that it would use.
   Needs a bound model (measured is enough). Saturates at UINT64_MAX. */
typedef struct nk_session_plan {
  uint64_t kv_bytes, work_bytes;
  uint32_t batch, logit_rows;
} nk_session_plan;
nk_session_plan nk_session_measure(const nk_model *model, const nk_machine *machine, const nk_session_options *options);

nk_status nk_session_create(nk_session **out, const nk_model *model, const nk_machine *machine,
                            const nk_session_options *options, nk_error *error);
void nk_session_free(nk_session *session);

/* Applies these adapters from now on, which stay where they are (with their values unchanged) until others are applied. An
   empty set restores the model. What was read with others is forgotten. Takes their vectors and positions from the context:
   CONTEXT_FULL when nothing is left of it. See nk_adapter_set_check for other errors. */
nk_status nk_session_adapt(nk_session *session, const nk_adapter_set *adapters, nk_error *error);

/* ---- The sequence ---------------------------------------------------------------------------------------------------- */

uint32_t nk_session_length(const nk_session *session); /* tokens in the cache */
uint32_t nk_session_context(const nk_session *session); /* tokens that fit, beside an adapter's vectors */
uint32_t nk_session_batch(const nk_session *session);
uint32_t nk_session_logit_rows(const nk_session *session);
const int32_t *nk_session_tokens(const nk_session *session); /* [length] */
/* How many of the first `n` ids are already in the cache, as its beginning, and can be gone on from. An encoder keeps
   nothing: 0. */
uint32_t nk_session_match(const nk_session *session, const int32_t *ids, uint32_t n);
/* Keeps the first `length` tokens, or fewer where the state after them is not there any more (short convolutions): ask for
   the length. Ends a feed that is under way. */
void nk_session_trim(nk_session *session, uint32_t length);
/* Keeps the state at the present length, so that trimming to it is exact: at most one place at a time. */
void nk_session_mark(nk_session *session);

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

/* Appends ids (kept by the caller until the feed ends). CONTEXT_FULL when they don't fit, DATA for an id outside the
   vocabulary. chunk: tokens a batch at most (0: the session's batch). */
nk_status nk_session_feed(nk_session *session, const int32_t *ids, uint32_t n, uint32_t chunk, nk_error *error);
/* A bounded piece of work. *batch_done: a batch has just entered the sequence and its rows may be asked for. The feed is
   over when nk_session_feeding is false. */
void nk_session_step(nk_session *session, bool *batch_done);
bool nk_session_feeding(const nk_session *session);

/* Of the batch that was just done: the position of its first token, and its number of tokens. */
uint32_t nk_session_rows_first(const nk_session *session);
uint32_t nk_session_rows_count(const nk_session *session);
/* Logits of rows [row, row + n) of that batch, n <= nk_session_logit_rows; [n, vocab], valid until the next call. */
const float *nk_session_logits(nk_session *session, uint32_t row, uint32_t n);
/* UNSUPPORTED, with a sentence, for an encoder: it has none. */
nk_status nk_session_need_head(const nk_session *session, nk_error *error);
/* Their hidden states after the last norm, [n, d], likewise. An encoder has only these. */
const float *nk_session_hidden(nk_session *session, uint32_t row, uint32_t n);

#endif
