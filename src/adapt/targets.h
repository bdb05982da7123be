/*
 * targets.h: where an adapter shall sit, in the words that people use: PEFT's target_modules, or this engine's slots.
 *
 * A word is a module's path or its end from a dot on ("q_proj", "mlp.down_proj", "model.layers.0.self_attn.q_proj"), a slot
 * ("q", "attn_out"), or "all-linear": every linear of every layer.
 */
#ifndef NOOK_ADAPT_TARGETS_H
#define NOOK_ADAPT_TARGETS_H

#include "adapt/adapter.h"

/* Sets shapes [n_layers][NK_SLOT_COUNT] to `shape` where one of the words [n] points (nk_adapter_config.pattern), in the
   layers that are chosen (layers [n_layers], NULL: all), and to 0 elsewhere. Words are NUL-terminated. DATA: a word that
   names nothing of this model in these layers; the sentence says what there is. */
nk_status nk_adapter_targets(const nk_model *model, const char *const *words, uint32_t n, const uint8_t *layers,
                             const nk_slot_shape *shape, nk_slot_shape *shapes, nk_error *error);

#endif
