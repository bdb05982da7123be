/*
 * config.h: the sizes and constants of a model, read from a GGUF header and checked against named limits.
 *
 * Nothing is allocated. Whatever a file asks for that Nook does not do is reported by name through nk_problems, so that
 * `nook info` can list all of it, while loading fails with the first.
 */
#ifndef NOOK_MODEL_CONFIG_H
#define NOOK_MODEL_CONFIG_H

#include "gguf/gguf.h"
#include "model/arch.h"

#define NK_MAX_LAYERS 1024u
#define NK_MAX_HEADS 1024u
#define NK_MAX_HEAD_DIM 1024u
#define NK_MAX_WIDTH 65536u
#define NK_MAX_FEED_FORWARD 1048576u
#define NK_MAX_CONTEXT 1048576u
#define NK_MAX_CONV_TAPS 16u

#define NK_MAX_PROBLEMS 16u
#define NK_PROBLEM_BYTES 192u

/* Things of a file that Nook cannot run, in words; further ones than fit are counted. */
typedef struct nk_problems {
  uint32_t count;
  char text[NK_MAX_PROBLEMS][NK_PROBLEM_BYTES];
} nk_problems;

void nk_problem(nk_problems *problems, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What of a text's hidden states is its embedding: their mean, the first token's, or the last token's. The values are the
   file's (pooling_type). */
typedef enum nk_pooling { NK_POOLING_MEAN = 1, NK_POOLING_CLS = 2, NK_POOLING_LAST = 3 } nk_pooling;
#define NK_POOLING_NAMES "auto|mean|cls|last" /* by value; auto: what the file says, else the mean */

/* Rotary positions and how they are stretched beyond the trained context. */
typedef struct nk_rope_config {
  float base;
  float scale;       /* positions are divided by it: linear scaling, and YaRN's for slow dimensions; 1: none */
  float attn_factor; /* what turns is multiplied by it: scores grow by its square; 1: none */
  bool yarn;         /* fast dimensions are kept, slow ones scaled, a ramp lies between */
  float beta_fast, beta_slow; /* YaRN: rotations over `original` positions where the ramp begins and ends */
  uint32_t original; /* context before it was stretched; where factors for short and long contexts part */
} nk_rope_config;

typedef struct nk_config {
  const nk_arch *arch; /* NULL: unknown architecture (then it is among the problems and the rest is zero) */
  nk_text arch_name; /* in the header, and in the table of architectures once the model is whole */
  uint32_t n_layers, width /* d */, n_ff, n_heads, n_kv_heads, head_dim, n_rot;
  uint32_t n_conv;    /* layers that mix tokens by a short convolution instead of attention */
  uint32_t conv_taps; /* tokens that such a convolution sees: its own and those before it */
  uint32_t embed_width; /* of token_embd; d, unless a projection leads from one to the other */
  uint32_t context;     /* trained */
  uint32_t window;      /* attention sees positions i - j < window; 0: all */
  uint32_t position_offset;    /* of learned positions: row = position + offset */
  nk_placement_kind placement; /* the row's, or what the file says */
  bool parallel;               /* both branches read the same input (where layers have a norm for each) */
  float epsilon;
  nk_rope_config rope;
  float local_base;            /* rope base of layers with a window, which are not scaled; 0: no difference */
  float attn_scale;            /* of scores, before a soft cap */
  float attn_cap, final_cap;   /* soft caps of scores and of logits; 0: none */
  nk_pooling pooling;          /* how hidden states become one vector */
} nk_config;

/* FORMAT for values that cannot be; `problems` for what is merely not ours. */
nk_status nk_config_read(nk_config *config, const nk_gguf *gguf, nk_problems *problems, nk_error *error);

#endif
