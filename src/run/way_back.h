/*
 * way_back.h: the inside of a gradient, shared by gradient.c (memory and steps), loss.c (the head), block_backward.c and
 * attention_backward.c.
 *
 * Shapes   T: entries of the row; part: entries that a step takes; others as in pass.h. The session's own buffers are used
 *          again on the way back where they are free.
 */
#ifndef NOOK_RUN_WAY_BACK_H
#define NOOK_RUN_WAY_BACK_H

#include "run/gradient.h"
#include "run/pass.h"

#define NK_LOSS_ROWS 32u              /* labelled entries whose logits are there together at most */
#define NK_LOSS_BYTES (8u << 20)      /* of logits, unless one row is more */
#define NK_BACK_QUERIES 16u           /* queries whose scores are there together */

/* A tensor of the model and its gradient. */
typedef struct nk_weight_grad {
  const void *data;
  float *grad; /* [rows, cols] */
  uint64_t n;
} nk_weight_grad;

/* What the next step does. */
typedef enum nk_way {
  NK_WAY_DONE,
  NK_WAY_FORWARD,
  NK_WAY_LOSS,
  NK_WAY_AGAIN,     /* the layer forward once more, into the shared record */
  NK_WAY_BRANCHES,
  NK_WAY_ATTENTION,
  NK_WAY_INPUT,
} nk_way;

struct nk_gradient {
  nk_session *s;
  const nk_model *model;
  const nk_machine *machine;
  const nk_adapter *adapter;
  nk_gradient_options options;
  nk_arena memory;

  float *grads; /* [n_values] */
  uint64_t n_values;
  nk_weight_grad *weights; /* [n_weights], ascending by data; of options.weights */
  uint32_t n_weights;

  nk_tape tape;
  uint32_t kept;   /* the last layers, which have records of their own */
  uint32_t shared; /* the layer that the shared record holds */
  uint32_t lowest; /* the first layer that learns */
  bool below;      /* the input of layer 0 learns too */
  nk_dropout dropout;

  nk_row row;
  bool backward;
  double weight, loss;
  uint32_t scored, *targets; /* [T] entries that predict a label, ascending */
  uint32_t n_targets, target;

  nk_way way;
  uint32_t layer, first; /* of the work that comes next */

  float *dx;     /* [T, d] the gradient of the residual stream */
  float *dqkv;   /* [T, q + 2 kv] or [T, 3 d] */
  float *dmixed; /* [T, q] of attention's output */
  float *dh;     /* [part, max(d, q)] of a branch's input */
  float *ffv;    /* [part, gate | up] as the activation saw it */
  float *act, *dact; /* [part, ff] the activation's output; and its gradient */
  float *act_in;     /* [part, ff] the same with IA3's factors */
  float *rank;   /* [2, part, r] */
  float *scores; /* per thread: nk_back_scratch floats */
  float *logits, *capped; /* [loss rows, vocab]; a copy, with a soft cap */
  float *head_in, *dhead_in, *head_x; /* [loss rows, d]: head's input, its gradient, the residual stream */
  float *head_mid, *dhead_mid;        /* [loss rows, embed_width], with a projection before the head */
  uint8_t *head_act, *scratch;
  uint32_t loss_rows;
};

/* Every tensor of the model that can learn, once: [n] entries, of which a tied one appears once. */
typedef void (*nk_weight_visit)(void *argument, const void *data, const nk_matrix *matrix, uint64_t n);
void nk_weights_visit(const nk_model *model, nk_weight_visit visit, void *argument);
/* The gradient of a tensor of the model; NULL: it does not learn. */
float *nk_weight_grad_of(const nk_gradient *gradient, const void *data);
/* dx [n] += of y = norm(x) for dy, all rows of one token; and of the norm's weights. dx may not be dy. */
void nk_norm_backward(const nk_gradient *gradient, float *dx, const float *dy, const float *x, const nk_norm *norm,
                      uint32_t n);

/* Floats of scratch of attention's way back for one thread, with entries of at most T. */
uint64_t nk_back_scratch(const nk_config *config, uint32_t tokens, uint32_t prefix);
/* dqkv (of turned q, k, v) += from dmixed, and the prefix's gradient, of the current layer's key/value heads [first,
   first + n). */
void nk_attention_backward(nk_gradient *gradient, const nk_layer *layer, uint32_t first, uint32_t n);
/* The same of a short convolution: dqkv from dmixed. */
void nk_shortconv_backward(nk_gradient *gradient, const nk_layer *layer);

/* Entries [first, first + n) of the row, layer by layer backwards: from dx of the layer's output to dmixed and dx of what
   the branches read; then from dqkv to dx of its input. */
void nk_branches_backward(nk_gradient *gradient, const nk_layer *layer);
void nk_input_backward(nk_gradient *gradient, const nk_layer *layer, bool want_dx);
/* qkv of the part from the record, as attention saw it. */
void nk_turned_again(nk_gradient *gradient, const nk_layer *layer);
/* The gradient of the embeddings, or of a prompt, from dx of the first layer's input. */
void nk_embed_backward(nk_gradient *gradient);

/* The loss of targets [first, first + n), and their share of dx. */
void nk_loss(nk_gradient *gradient, uint32_t first, uint32_t n);

#endif
