/*
 * names.h: what a slot is called in other people's files, and how its rows stand there.
 *
 * Paths    Hugging Face's, "model.layers.3.self_attn.q_proj"; PEFT writes "base_model.model." before it.
 * GGUF     "blk.3.attn_q.weight".
 * Rows     Conversion to GGUF turned rows of q and k in architecture llama (two halves of a head became pairs) and
 *          sorted gptneox's fused projection by q, k, v (PAIR_Q, PAIR_K, SPLIT of convert/family.h). Adapters in Hugging
 *          Face's files have the order from before; those in GGUF the file's.
 */
#ifndef NOOK_ADAPT_NAMES_H
#define NOOK_ADAPT_NAMES_H

#include "adapt/adapter.h"

#define NK_MODULE_BYTES 96u /* a path or a GGUF name, with its NUL */

/* False where the model's layer has no such slot, or transformers' model none of that shape (q, k and v fused in the file
   and apart there). */
bool nk_module_path(const nk_model *model, uint32_t layer, nk_slot slot, char path[NK_MODULE_BYTES]);
/* The path from the layer on: "self_attn.q_proj". NULL likewise. */
const char *nk_module_tail(const nk_model *model, uint32_t layer, nk_slot slot);
/* The last word of it, where no other slot's module ends in the same; else all of it: PEFT's target_modules. */
const char *nk_module_target(const nk_model *model, uint32_t layer, nk_slot slot);

/* The slot that a path names, whichever of transformers' classes held the model; false when none of this model's. */
bool nk_module_find(const nk_model *model, const char *path, size_t length, uint32_t *layer, nk_slot *slot);

/* Where row `row` of Hugging Face's linear stands in the GGUF's, and here. */
uint32_t nk_module_row(const nk_model *model, nk_slot slot, uint32_t row);
/* The same for an element of a key, [kv heads · head size]; values of attention keep their order. */
uint32_t nk_key_row(const nk_model *model, uint32_t row);

/* transformers keeps such linears as [in, out] (GPT-2's Conv1D); PEFT asks for a flag. */
bool nk_module_turned(const nk_model *model);
/* The word before a layer's number: "layers". NULL: no names are known for the architecture. */
const char *nk_module_layers(const nk_model *model);

bool nk_slot_tensor(const nk_model *model, uint32_t layer, nk_slot slot, char name[NK_MODULE_BYTES]);

#endif
