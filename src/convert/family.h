/*
 * family.h: the table of model families that can be converted. A family is one row: how Hugging Face names its tensors,
 * what happens to each on the way, and the few keys of config.json that are its own.
 *
 * What all families share (sizes, epsilon, rotary positions, window, ties) is in metadata.c and asked for under every name
 * that config.json files have for it. Adding a family that Nook runs is a row here, with rules where its names are new, and
 * a checkpoint in tests/reference/make_checkpoints.py.
 */
#ifndef NOOK_CONVERT_FAMILY_H
#define NOOK_CONVERT_FAMILY_H

#include "core/status.h"

/* What happens to a tensor. Shapes are Hugging Face's, [rows, columns]; D is the size of a head, H the number of heads. */
typedef enum nk_tensor_op {
  NK_OP_COPY,
  NK_OP_SKIP,    /* not part of the model as it runs: buffers, heads for training */
  NK_OP_ADD_ONE, /* Gemma's norms multiply by 1 + w: the file holds 1 + w */
  NK_OP_TURN,    /* [in, out] to [out, in]: GPT-2's projections; a bias stays */
  NK_OP_PAIR_Q,  /* rows of each head from two halves (i, i + D/2) to pairs (2i, 2i + 1); biases too */
  NK_OP_PAIR_K,  /* the same over the key heads */
  NK_OP_SPLIT,   /* rows [H][q|k|v][D] to [q|k|v][H][D]: GPT-NeoX's fused projection; biases too */
  NK_OP_SQUEEZE, /* [d, 1, L] to [d, L]: a depthwise convolution */
  NK_OP_PART,    /* one of several that stand behind each other in one tensor */
  NK_OP_DROP,    /* without its first rows, as many as the family says */
} nk_tensor_op;

/* Names without ".weight" and ".bias", which stay ("gamma" and "beta" become them); a SKIP rule may name the whole.
   "#" is the number of the layer, "@" that of the part. */
typedef struct nk_tensor_rule {
  const char *from, *to;
  nk_tensor_op op;
  uint32_t part; /* of PART, where no "@" tells */
} nk_tensor_rule;

typedef enum nk_key_kind {
  NK_KEY_CHECK, /* the value must be one of "a|b|c" (numbers and bools as JSON has them); missing is fine */
  NK_KEY_U32,   /* the value, or the fallback where it is missing; a fallback below 0: then the key is left out */
  NK_KEY_F32,
  NK_KEY_BOOL,
  NK_KEY_TEXT, /* the fallback is in `allowed`, where the value must be among the alternatives */
} nk_key_kind;

typedef struct nk_key_rule {
  const char *from; /* "a|b": the first that is there */
  const char *to;   /* behind the architecture's name */
  nk_key_kind kind;
  double fallback;
  const char *allowed;
} nk_key_rule;

#define NK_FAMILY_TABLES 3u

typedef struct nk_family {
  const char *model_type; /* of config.json */
  const char *arch;       /* general.architecture */
  const char *prefixes;   /* "a.|b.": beginnings of names that are left out, where they are there */
  const nk_tensor_rule *tensors[NK_FAMILY_TABLES]; /* the first rule that fits holds; each ends with a NULL */
  const nk_key_rule *keys[2];
  double theta;     /* base of rotary positions where config.json has none; 0: learned positions */
  double partial;   /* share of a head that turns, likewise */
  double epsilon;   /* likewise; 0: it must be there */
  bool tied;        /* likewise */
  uint32_t dropped; /* rows of the learned positions before that of the first token, counted in max_position_embeddings */
} nk_family;

/* NULL: no such family. */
const nk_family *nk_family_find(const char *model_type);
uint32_t nk_family_count(void);
const nk_family *nk_family_at(uint32_t index);

#endif
