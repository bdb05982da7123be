/*
 * methods.h: the table of methods. A method is one row of functions and one file; adapter.c does what is common to all.
 *
 * The row says which numbers of a configuration are right (resolve), what stands in the flat array (layout, columns), what
 * the pass reads of it (bind) and how it begins (initialize). docs/add-a-method.md.
 */
#ifndef NOOK_ADAPT_METHODS_H
#define NOOK_ADAPT_METHODS_H

#include "adapt/adapter.h"
#include "core/random.h"

/* The parameters of an adapter; counted first (params NULL), then written. */
typedef struct nk_layout {
  nk_param *params;
  uint32_t n;
  uint64_t n_values;
} nk_layout;

void nk_layout_add(nk_layout *layout, nk_param param); /* its offset is set here */

/* What the text of a prompt becomes; n_ids 0: random. */
typedef struct nk_init {
  const nk_model *model;
  const int32_t *ids; /* [n_ids], checked */
  uint32_t n_ids;
  float *scratch; /* [2, embed_width] */
} nk_init;

typedef struct nk_method_row {
  const char *name;      /* "lora": options, messages, cards */
  const char *peft_type; /* "LORA": adapter_config.json */
  bool in_slots;         /* it sits in slots of layers; else its configuration has n_virtual */
  /* Fills in defaults and checks numbers; the slots are resolved elsewhere. DATA. */
  nk_status (*resolve)(nk_adapter_config *config, nk_error *error);
  /* Adds the parameters by layer, slot, kind. shapes: [n_layers][NK_SLOT_COUNT], or NULL where nothing sits in slots. */
  void (*layout)(nk_layout *layout, const nk_model *model, const nk_adapter_config *config, const nk_slot_shape *shapes);
  /* Columns that a parameter of that kind has in this model; 0 where it can have none. */
  uint32_t (*columns)(const nk_model *model, const nk_param *param);
  /* Points adapter->slots, prefix or prompt at a parameter's values. shape: of its slot, or NULL. */
  void (*bind)(nk_adapter *adapter, const nk_param *param, const nk_slot_shape *shape);
  /* First values of one parameter, values [rows, cols]; the generator is its own. */
  void (*initialize)(const nk_param *param, float *values, nk_random *random, const nk_init *init);
} nk_method_row;

extern const nk_method_row NK_METHOD_LORA_ROW, NK_METHOD_PROMPT_ROW, NK_METHOD_PREFIX_ROW, NK_METHOD_IA3_ROW;

/* NULL for a number that is no method. */
const nk_method_row *nk_method_row_of(nk_method method);

/* For the rows: n_virtual of 1 to the limit, 0 becoming 20; normal(0, 1) values. */
nk_status nk_resolve_virtual(nk_adapter_config *config, nk_error *error);
void nk_fill_normal(float *values, uint64_t n, nk_random *random);

#endif
