/*
 * pass.h: the inside of a session, shared by session.c (the sequence and its steps) and block.c (the layers).
 *
 * Shapes   m: tokens of a part; d: width; q: n_heads · head_dim; kv: n_kv_heads · head_dim; ff: n_ff.
 * Parts    A decoder's batch is one part. An encoder's batch is the whole text, and a training pass's is its whole row of
 *          examples: all parts enter the cache before the first attends, and what is between qkv and x has room for one.
 * Places   An entry is a place in the cache. A prompt's vectors are entries before the tokens; a prefix is none: it stands
 *          before every sequence without being in the cache. Positions count both.
 */
#ifndef NOOK_RUN_PASS_H
#define NOOK_RUN_PASS_H

#include "adapt/adapter.h"
#include "run/adapted.h"
#include "run/linear.h"
#include "run/shortconv.h"
#include "run/session.h"
#include "run/tape.h"

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
  uint32_t length; /* entries in the cache: the prompt's vectors, then tokens */

  nk_adapter_set adapters;
  uint64_t adapters_key;
  const float *prompt; /* [prompt_n, d], of an adapter, or NULL */
  const nk_adapter *prefix;
  uint32_t prompt_n, prefix_n;

  /* Training only: NULL in a session that reads. */
  nk_tape *tape;                /* keeps what the way back needs */
  const uint32_t *starts;       /* [batch_n] the entry at which each entry's own sequence begins; NULL: all are one */
  const nk_dropout *dropout;

  /* The feed under way: ids [feed_n], feed_done of them in the cache, the next batch_n in work. */
  const int32_t *feed; /* an id below 0, -1 - i: vector i of the prompt */
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

/* True where a batch is a whole text in parts, which shares one layer's cache. */
static inline bool nk_whole(const nk_session *session) {
  return session->model->config.arch->encoder || session->options.training;
}

/* The entry at which the sequence of entry `entry` begins. */
static inline uint32_t nk_start_of(const nk_session *session, uint32_t entry) {
  return session->starts == NULL ? 0 : session->starts[entry - session->length];
}

/* The position of entry `entry` in its sequence, after the prefix. */
static inline uint32_t nk_position_of(const nk_session *session, uint32_t entry) {
  return session->prefix_n + entry - nk_start_of(session, entry);
}

/* Columns of qkv: q | k | v, or a short convolution's gates and input. */
size_t nk_qkv_columns(const nk_session *session, const nk_layer *layer);
/* Columns of ff: gate | up, or up alone. */
size_t nk_ff_columns(const nk_session *session, const nk_layer *layer);

/* The last entry that a query at `entry` sees: itself, or in an encoder the end of the text. */
static inline uint32_t nk_seen_to(const nk_session *session, uint32_t entry) {
  return session->model->config.arch->encoder ? session->length + session->batch_n - 1 : entry;
}

/* The first entry that a query at `entry` sees. */
static inline uint32_t nk_seen_from(const nk_session *session, uint32_t entry, uint32_t window) {
  uint32_t start = nk_start_of(session, entry), from = window == 0 || entry + 1 <= window ? 0 : entry + 1 - window;
  return from > start ? from : start;
}

/* The first vector of the prefix that a query at `entry` sees; prefix_n: none. */
static inline uint32_t nk_prefix_from(const nk_session *session, uint32_t entry, uint32_t window) {
  uint32_t position = nk_position_of(session, entry);
  uint32_t from = window == 0 || position + 1 <= window ? 0 : position + 1 - window;
  return from < session->prefix_n ? from : session->prefix_n;
}

/* The place of the current layer in the cache of its kind. */
static inline uint32_t nk_kv_layer(const nk_session *session) {
  return nk_whole(session) ? 0 : session->model->layers[session->layer].cache;
}

/* The adapters of a linear on its result y [m, rows]: what LoRA adds for in->x [m, cols]; the tape's copy; IA3's factors,
   but for the slot DOWN. */
void nk_adapted_forward(nk_session *session, const nk_layer *layer, nk_slot slot, float *y, size_t ldy,
                        const nk_linear_input *in);
/* IA3's factors of ff, the input of DOWN. */
void nk_adapted_input_forward(nk_session *session, const nk_layer *layer);
nk_adapted nk_adapted_at(const nk_session *session, nk_slot slot);

/* y = norm(x) [n], the model's kind of norm; y may be x. */
void nk_norm_forward(const nk_session *session, float *y, const float *x, const nk_norm *norm, uint32_t n);
/* The short convolution of the part: qkv and the state to h [m, d]. */
void nk_shortconv_forward(nk_session *session, const nk_layer *layer);
/* Attention of the part: qkv and the cache to h [m, q]. */
void nk_attention_forward(nk_session *session, const nk_layer *layer);
/* q and k of the part, in qkv: their norms and turns, and into the cache. */
void nk_turn_forward(nk_session *session, const nk_layer *layer);
/* y [m, n] = act(gate) · up of ff [m, nk_ff_columns]; y may be ff. */
void nk_activation_forward(const nk_session *session, const nk_layer *layer, float *y, size_t ldy, const float *ff,
                           uint32_t m);
/* Runs one stage of one layer over the session's part. */
void nk_block_stage(nk_session *session, const nk_layer *layer, nk_stage stage);
/* One layer alone, over the whole batch: its next stage; false: that was the last. The part of the batch that begins at
   entry `first` becomes the one in work. */
void nk_layer_begin(nk_session *session, uint32_t layer);
bool nk_layer_step(nk_session *session, uint64_t *products);
void nk_part_begin(nk_session *session, uint32_t first);
/* Multiplications of that stage, for the size of a step; those in float32 count twice. */
uint64_t nk_block_products(const nk_session *session, const nk_layer *layer, nk_stage stage);
/* Of attention in one layer, at most, for each of the next n tokens. */
uint64_t nk_attention_products(const nk_session *session, uint32_t window, uint32_t n);

/* x [part_n, d] of the session's part from the batch's ids; NULL: its entries are those of the prompt at their places. */
void nk_embed(nk_session *session, const int32_t *ids);
/* head_in [n, d] of rows [row, row + n) of x: after the last norm. */
void nk_hidden(nk_session *session, uint32_t row, uint32_t n);
/* logits [n, vocab] of the same. */
void nk_head(nk_session *session, uint32_t row, uint32_t n);

#endif
