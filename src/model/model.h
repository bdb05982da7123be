/*
 * model.h: a model in memory: its weights, packed, hung into layers; its tokenizer.
 *
 * Data flows one way: file → packed weights (here) → block (run/) → logits → tokens. A model is immutable once loaded.
 * Memory: one weights arena (layers, vectors, packed matrices), the tokenizer's block, and the buffer in which the file's
 * header was: nothing of it is needed once the model is whole, and a session may be lent it. nk_model_free frees all three.
 */
#ifndef NOOK_MODEL_MODEL_H
#define NOOK_MODEL_MODEL_H

#include "core/arena.h"
#include "kernels/kernels.h"
#include "model/config.h"
#include "tokenizer/tokenizer.h"

#define NK_MAX_FILES 256u /* parts of a split model */

/* A norm's parameters [n]; weight NULL: the step is absent. */
typedef struct nk_norm {
  const float *weight, *bias;
} nk_norm;

/* y = W x + b. matrix.data NULL: absent. This is where an adapter's slot will sit. */
typedef struct nk_linear {
  nk_matrix matrix;
  const float *bias; /* [rows] or NULL */
} nk_linear;

/* Norms that are absent are skipped; see nk_placement_kind for where the others stand. */
typedef struct nk_layer {
  nk_norm attn_norm, attn_post_norm, attn_out_norm; /* before the branch; on its output; after it has been added */
  nk_norm q_norm, k_norm;
  uint32_t q_norm_span, k_norm_span; /* elements that q's and k's norm takes together: a head, or all of them */
  bool head_norms;                   /* q_norm and k_norm have weights of their own for every head */
  nk_linear qkv[3]; /* q, k, v; or one fused [q|k|v, d]; or a short convolution's gates and input [3 d, d] */
  uint32_t n_qkv;                    /* 3 or 1 */
  const float *conv, *conv_bias;     /* [d, taps], [d] or NULL: the layer mixes by a short convolution, not by attention */
  uint32_t cache;                    /* the layer's place in the cache of its kind */
  nk_linear attn_out;
  nk_norm ffn_norm, ffn_post_norm, ffn_out_norm;
  nk_linear gate, up, down; /* gate absent: a plain feed-forward; up absent: gate is fused [gate|up, d] */
  uint32_t window;          /* 0: sees everything before it */
  bool parallel;            /* the feed-forward reads the layer's input, not what attention was added to */
  bool local_rope;          /* turns by config.local_base */
} nk_layer;

typedef struct nk_model {
  nk_config config;
  nk_tokenizer *tokenizer; /* NULL when the file has none (tests of bare weights) */
  nk_matrix embedding;     /* [vocab, embed_width] */
  nk_linear embed_in, head_out; /* projections [d, embed_width] and [embed_width, d], or absent */
  nk_matrix positions;     /* [context + offset, d] learned positions, or absent */
  nk_matrix token_types;   /* [types, d], of which row 0 is added to every token; or absent */
  nk_norm embed_norm;      /* of the sum of token, position and type, or absent */
  nk_linear head;          /* [vocab, embed_width]; the embedding's matrix when tied; absent in an encoder */
  bool tied;
  nk_norm output_norm;
  /* [n_rot / 2] divisors of the rotary frequencies, or NULL: one set, or one for contexts up to config.rope.original and
     one beyond */
  const float *rope_factors, *rope_short, *rope_long;
  nk_layer *layers;          /* [n_layers] */
  uint32_t vocab;
  uint64_t parameters;

  uint8_t *spare; /* [spare_bytes] free memory: what held the header */
  uint64_t spare_bytes;
  uint64_t file_bytes; /* of all files */
  uint8_t header_hash[32]; /* SHA-256 of the first file's header */
  nk_arena weights;
} nk_model;

void nk_model_free(nk_model *model); /* NULL is fine */
/* Which model this is, for what is made for it: SHA-256 of the header's and of the beginning, middle and end of every
   matrix as it is packed. The same in every build; a few milliseconds. */
void nk_model_identity(const nk_model *model, uint8_t digest[32]);

/* ---- Binding: which tensor of the file goes where ---------------------------------------------------------------- */

typedef struct nk_placement {
  const nk_gguf_tensor *tensor;
  uint32_t file;
  nk_matrix *matrix; /* destination of a matrix, or */
  const float **vector; /* of a vector of float32 */
} nk_placement;

typedef struct nk_binding {
  nk_placement *placements; /* [n], in the order of the model; malloc'd */
  uint32_t n, capacity;
} nk_binding;

/*
 * Hangs every tensor of `files` into `model` (config read, layers allocated here by calloc into the weights arena on the
 * real pass) and carves its memory. Called twice: with a measuring arena, then with the real one. Every tensor must find
 * its place, every place its tensor: FORMAT otherwise, with the tensor's name; a type without kernels is a problem.
 */
nk_status nk_model_bind(nk_model *model, const nk_gguf *files, uint32_t n_files, nk_arena *arena, nk_binding *binding,
                        nk_problems *problems, nk_error *error);
void nk_binding_free(nk_binding *binding);

#endif
