/*
 * adapter.h: what a person's few examples change: a small set of numbers beside a frozen model.
 *
 * Methods  LoRA (Hu et al. 2021): y += s · scale · B (A x), scale = alpha / r (rsLoRA: alpha / √r). IA3 (Liu et al.
 *          2022): y *= 1 + s (l - 1) on a linear's output, bias included; on the input of the feed-forward's last linear.
 *          Prompt tuning (Lester et al. 2021): vectors before the embedded tokens. Prefix tuning (Li, Liang 2021): keys
 *          and values before each layer's own, not turned by position. s is the scale that the caller gives; prompt and
 *          prefix have none.
 * Memory   All numbers of an adapter are one flat array, `values`; gradients and the optimizer's moments have its layout,
 *          so that zeroing, clipping, updating and saving are single loops. nk_param says what stands where.
 * Layout   The engine's own: rows as in the GGUF (what conversion did to q and k is done here too), LoRA's B transposed,
 *          [r, out], so that every product runs along long rows. peft.h and lora_gguf.h translate on the way in and out.
 * Slots    A slot is a linear of a layer. nk_adapter_slot is looked up by layer × slot in the forward and backward pass.
 */
#ifndef NOOK_ADAPT_ADAPTER_H
#define NOOK_ADAPT_ADAPTER_H

#include "model/model.h"

#define NK_ADAPTERS_MAX 8u        /* that are applied together */
#define NK_ADAPTER_MAX_RANK 1024u
#define NK_ADAPTER_MAX_ALPHA 1e6     /* and not below minus that */
#define NK_ADAPTER_MAX_VIRTUAL 1024u /* vectors of a prompt, positions of a prefix */
#define NK_ADAPTER_CARD_BYTES (1u << 16)

typedef enum nk_method { NK_METHOD_LORA, NK_METHOD_PROMPT, NK_METHOD_PREFIX, NK_METHOD_IA3, NK_METHOD_COUNT } nk_method;

/* The linears of a layer, in the order of the pass. A fused q|k|v, and a short convolution's input, stand at Q; a fused
   gate|up at GATE. */
typedef enum nk_slot {
  NK_SLOT_Q,
  NK_SLOT_K,
  NK_SLOT_V,
  NK_SLOT_ATTN_OUT,
  NK_SLOT_GATE,
  NK_SLOT_UP,
  NK_SLOT_DOWN,
  NK_SLOT_COUNT,
} nk_slot;

/* The linear of that slot; NULL where the layer has none. */
const nk_linear *nk_layer_slot(const nk_layer *layer, nk_slot slot);

typedef enum nk_param_kind {
  NK_PARAM_LORA_A,   /* [r, in] */
  NK_PARAM_LORA_B,   /* [r, out]: transposed */
  NK_PARAM_IA3,      /* [1, out]; at DOWN [1, in] */
  NK_PARAM_PROMPT,   /* [virtual, width] */
  NK_PARAM_PREFIX_K, /* [virtual, kv heads · head size] */
  NK_PARAM_PREFIX_V,
} nk_param_kind;

typedef struct nk_param {
  nk_param_kind kind;
  uint32_t layer; /* 0 of a prompt */
  nk_slot slot;   /* Q of a prompt and a prefix */
  uint32_t rows, cols;
  uint64_t offset; /* in values */
} nk_param;

/* What the pass reads at a layer's slot; a, b, ia3 are NULL where there is nothing. */
typedef struct nk_adapter_slot {
  const float *a, *b; /* [r, in], [r, out] */
  uint32_t r;
  float scale;        /* alpha / r, without the caller's */
  const float *ia3;   /* [out]; at DOWN [in] */
} nk_adapter_slot;

/* What the pass reads of a prefix in a layer; NULL in a layer without attention. */
typedef struct nk_prefix {
  const float *keys, *values; /* [virtual, kv heads · head size] */
} nk_prefix;

/* The size of one slot, where not all are alike. */
typedef struct nk_slot_shape {
  uint32_t rank; /* 0: nothing sits there; IA3 has no rank: any other number */
  double alpha;  /* LoRA; taken as it is */
} nk_slot_shape;

/* How an adapter is made. Zero is PEFT's default for every field, where the comment says no other. */
typedef struct nk_adapter_config {
  nk_method method;
  uint32_t rank;         /* LoRA; 0: 8 */
  double alpha;          /* LoRA; 0: rank (PEFT's 8 for rank 8) */
  double dropout;        /* LoRA: of its input while training, in [0, 1) */
  bool rslora;           /* LoRA: alpha / √r */
  uint32_t slots;        /* LoRA, IA3: bit i is nk_slot i; 0: the method's default for the architecture */
  const uint8_t *layers; /* [n_layers], non-zero: LoRA and IA3 sit there; NULL: everywhere */
  uint32_t n_virtual;    /* prompt, prefix; 0: 20 */
  /* LoRA, IA3: [n_layers][NK_SLOT_COUNT], instead of slots, layers, rank and alpha; or NULL */
  const nk_slot_shape *pattern;
} nk_adapter_config;

typedef struct nk_adapter {
  nk_method method;
  /* Resolved: `layers` is NULL (everywhere) or belongs to the adapter; `pattern` is NULL, since `slots` below says what it
     said: then `slots` here holds what sits in some layer, rank and alpha are those of the first one. */
  nk_adapter_config config;
  nk_param *params;         /* [n_params], by layer, slot, kind; offsets ascend without gaps */
  uint32_t n_params;
  float *values; /* [n_values] */
  uint64_t n_values;
  nk_adapter_slot *slots; /* [n_layers][NK_SLOT_COUNT], into values; NULL of a prompt or a prefix */
  nk_prefix *prefix;      /* [n_layers], into values; NULL of other methods */
  const float *prompt;    /* [n_virtual, width], into values; NULL of other methods */
  uint32_t n_virtual;     /* 0 of LoRA and IA3 */
  uint32_t n_layers;
  uint64_t key;           /* of its contents: sha256 of method, layout and values, cut; nk_adapter_rekey after a change */
  char *card;             /* provenance: a JSON object, NUL-terminated, or NULL */
} nk_adapter;

/* ---- Making -------------------------------------------------------------------------------------------------------- */

/* An adapter for the model with all values 0, checked: DATA for a slot or layer that the model has not, a rank or count out
   of range, a prefix for a model without attention, an encoder. A slot that some of the layers lack (a short convolution
   has no k) is left out there. The caller frees it. */
nk_status nk_adapter_create(nk_adapter **out, const nk_model *model, const nk_adapter_config *config, nk_error *error);
void nk_adapter_free(nk_adapter *adapter); /* NULL is fine */

/* PEFT's initial values, from the seed: LoRA A uniform in ±1/√in, B zero; IA3 ones; prefix normal(0, 1); prompt
   normal(0, 1), or, with ids [n_ids > 0], the embeddings of the ids, repeated to its length. */
nk_status nk_adapter_initialize(nk_adapter *adapter, const nk_model *model, uint64_t seed, const int32_t *ids,
                                uint32_t n_ids, nk_error *error);
/* Another of the same shape and values, without the card. ADAPTER_MISMATCH when it is not one of the model's. */
nk_status nk_adapter_copy(nk_adapter **out, const nk_model *model, const nk_adapter *from, nk_error *error);
/* Recomputes `key` after values changed. */
void nk_adapter_rekey(nk_adapter *adapter);
/* DATA when a value is Inf or NaN (the message says where), ADAPTER_MISMATCH when sizes are not the model's. */
nk_status nk_adapter_check(const nk_adapter *adapter, const nk_model *model, nk_error *error);

const char *nk_method_name(nk_method method); /* "lora"; NULL for a number that is no method */
bool nk_method_find(const char *name, size_t length, nk_method *method);
const char *nk_slot_name(nk_slot slot);       /* "q", "k", "v", "attn_out", "gate", "up", "down" */
uint32_t nk_method_slots(nk_method method, const nk_model *model); /* the default slots of LoRA and IA3, else 0 */

/* ---- Use ----------------------------------------------------------------------------------------------------------- */

/* Adapters that are applied together: any number of LoRA and IA3 with scales, at most one prompt or prefix. */
typedef struct nk_adapter_use {
  const nk_adapter *adapter;
  float scale;
} nk_adapter_use;

typedef struct nk_adapter_set {
  nk_adapter_use uses[NK_ADAPTERS_MAX];
  uint32_t n;
} nk_adapter_set;

/* DATA: too many, two prompts or prefixes, a scale that is not finite or not 1 for a prompt or prefix; ADAPTER_MISMATCH. */
nk_status nk_adapter_set_check(const nk_adapter_set *set, const nk_model *model, nk_error *error);
/* Differs when adapters, their values or scales differ; 0 of an empty set. */
uint64_t nk_adapter_set_key(const nk_adapter_set *set);
/* Virtual vectors that stand before the tokens (prompt), and positions before them (prompt or prefix). */
uint32_t nk_adapter_set_prompt(const nk_adapter_set *set, const float **prompt);
uint32_t nk_adapter_set_prefix(const nk_adapter_set *set, const nk_adapter **prefix);

#endif
