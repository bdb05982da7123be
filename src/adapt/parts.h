/*
 * parts.h: tensors of an adapter's file on their way into layers and slots; for peft.c and lora_gguf.c.
 *
 * A reader finds the slot of each tensor and adds it; then the shapes are checked against the model, and, when the adapter
 * has been made, its values are filled: rows put where the engine has them, LoRA's B transposed.
 */
#ifndef NOOK_ADAPT_PARTS_H
#define NOOK_ADAPT_PARTS_H

#include "adapt/adapter.h"

typedef struct nk_part {
  const char *name;    /* NULL: there is none; the file's, NUL-terminated */
  uint64_t rows, cols; /* cols fastest */
  const uint8_t *data;
  const void *type;    /* the reader's */
} nk_part;

typedef enum nk_part_kind { NK_PART_A, NK_PART_B, NK_PART_IA3 = NK_PART_A, NK_PART_KINDS = 2 } nk_part_kind;

typedef struct nk_parts {
  const nk_model *model;
  const char *file; /* its name in sentences */
  nk_method method; /* LoRA or IA3 */
  bool renamed;     /* rows stand as in Hugging Face's linears, not as in the GGUF's */
  nk_part *parts;   /* [n_layers][NK_SLOT_COUNT][NK_PART_KINDS] */
  /* All of a part as float32, out [rows, cols]. */
  nk_status (*read)(const nk_part *part, float *out, nk_error *error);
} nk_parts;

/* Sets `parts`, from the other fields. The caller frees with nk_parts_free. */
nk_status nk_parts_allocate(nk_parts *parts, nk_error *error);
void nk_parts_free(nk_parts *parts);

nk_part *nk_parts_at(const nk_parts *parts, uint32_t layer, uint32_t slot, nk_part_kind kind);
/* FORMAT when that place is taken. */
nk_status nk_parts_add(nk_parts *parts, uint32_t layer, nk_slot slot, nk_part_kind kind, const nk_part *part,
                       nk_error *error);
/* Ranks from the tensors (1 for IA3): shapes [n_layers][NK_SLOT_COUNT], zeroed; alpha is not touched. FORMAT: half of a
   pair is missing, or two ranks in one. ADAPTER_MISMATCH: sizes that are not the model's. UNSUPPORTED: a rank beyond the
   limit. */
nk_status nk_parts_shapes(const nk_parts *parts, nk_slot_shape *shapes, nk_error *error);
/* Fills an adapter that was made from those shapes. */
nk_status nk_parts_fill(const nk_parts *parts, nk_adapter *adapter, nk_error *error);

/* ADAPTER_MISMATCH: the tensor has another shape than the model asks for. */
nk_status nk_part_mismatch(const char *file, const nk_model *model, const nk_part *part, uint64_t rows, uint64_t cols,
                           nk_error *error);

/* Memory for count × bytes, zeroed, as a size_t; NULL when that is beyond it. */
void *nk_adapter_memory(uint64_t count, size_t bytes);

#endif
