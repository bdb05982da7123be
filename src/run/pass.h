/*
 * pass.h: the inside of a session, shared by session.c (the sequence and its steps) and block.c (the layers).
 *
 * Shapes   m: tokens of a part; d: width; q: n_heads · head_dim; kv: n_kv_heads · head_dim; ff: n_ff.
 * Parts    A decoder's batch is one part. An encoder's batch is the whole text: all parts of it enter the cache before the
 *          first attends, and what is between qkv and x has room for one part.
 */
#ifndef NOOK_RUN_PASS_H
#define NOOK_RUN_PASS_H

#include "run/linear.h"
#include "run/shortconv.h"
#include "run/session.h"

#define NK_ROWS_GRAIN 4u /* tokens a task of elementwise work takes: one token stays on the calling thread */

/* The steps of one layer, each a bounded piece of work. */
typedef enum nk_stage {
  NK_STAGE_ATTN_IN,  /* norm, q k v, their norms, rotary turns, into the cache */
  NK_STAGE_ATTN,     /* scores, softmax, values; or the short convolution */
  NK_STAGE_ATTN_OUT, /* output projection, post-norm, residual */
  NK_STAGE_FFN_IN,   /* norm, gate and up, activation */
  NK_STAGE_FFN_OUT,  /* down, post-norm, residual */
  NK_STAGE_COUNT,
} nk_stage;

struct nk_session {
  const nk_model *model;
  const nk_machine *machine;
  nk_session_options options; /* batch resolved */
  uint32_t logit_rows;
  nk_arena memory;
  nk_kv kv;
  nk_conv_state conv;

  int32_t *tokens; /* [context] */
  uint32_t length; /* tokens in the cache */

  /* The feed under way: ids [feed_n], feed_done of them in the cache, the next batch_n in work. */
  const int32_t *feed;
  uint32_t feed_n, feed_done, feed_chunk;
  uint32_t batch_n, layer;
  uint32_t part_first, part_n; /* tokens of the batch that the stage is for */
  nk_stage stage;
  uint32_t rows_first, rows_count; /* the batch that was done last */

  float *frequencies, *local_frequencies; /* [n_rot / 2]; of layers with a window where they differ */
  float *turns, *local_turns;             /* [batch, n_rot / 2, 2] cos, sin */
  float *x;           /* [batch, d] the residual stream */
  float *qkv;         /* [batch, q + 2 kv]; in a layer with a short convolution [batch, 3 d] */
  float *h;           /* [part, max(d, q)] a branch's input; attention's output */
  float *branch;      /* [part, d] a branch's output */
  float *ff;          /* [part, 2 ff] gate | up; [part, ff] without a gate; a decoder's is qkv's memory */
  uint8_t *act;       /* quantized input of the current products */
  float *logits;      /* [logit_rows, vocab] */
  float *head_in;     /* [logit_rows, d] */
  uint8_t *head_act;
  float *attention;   /* per thread: nk_attention_scratch(…) floats */
};

/* Sizes of attention's scratch of one thread, in floats, and the queries that it takes at once. */
uint32_t nk_attention_queries(const nk_config *config, uint32_t context);
uint64_t nk_attention_scratch(const nk_config *config, uint32_t context);

/* The place of the current layer in the cache of its kind. */
static inline uint32_t nk_kv_layer(const nk_session *session) { return session->model->layers[session->layer].cache; }

/* y = norm(x) [n], the model's kind of norm; y may be x. */
void nk_norm_forward(const nk_session *session, float *y, const float *x, const nk_norm *norm, uint32_t n);
/* The short convolution of the part: qkv and the state to h [m, d]. */
void nk_shortconv_forward(nk_session *session, const nk_layer *layer);
/* Attention of the part: qkv and the cache to h [m, q]. */
void nk_attention_forward(nk_session *session, const nk_layer *layer);
/* Runs one stage of one layer over the session's part. */
void nk_block_stage(nk_session *session, const nk_layer *layer, nk_stage stage);
/* Multiplications of that stage, for the size of a step; those in float32 count twice. */
uint64_t nk_block_products(const nk_session *session, const nk_layer *layer, nk_stage stage);
/* Of attention in one layer, at most, for each of the next n tokens. */
uint64_t nk_attention_products(const nk_session *session, uint32_t window, uint32_t n);

/* x [part_n, d] of the session's part from the batch's token ids. */
void nk_embed(nk_session *session, const int32_t *ids);
/* head_in [n, d] of rows [row, row + n) of x: after the last norm. */
void nk_hidden(nk_session *session, uint32_t row, uint32_t n);
/* logits [n, vocab] of the same. */
void nk_head(nk_session *session, uint32_t row, uint32_t n);

#endif
