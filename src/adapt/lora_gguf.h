/*
 * lora_gguf.h: LoRA adapters as llama.cpp keeps them, in one GGUF file.
 *
 * Format   general.type "adapter", adapter.type "lora", general.architecture, adapter.lora.alpha (F32); tensors
 *          NAME.lora_a [r, in] and NAME.lora_b [out, r], NAME being the model's tensor ("blk.0.attn_q.weight"), so that
 *          rows stand as in the model's file. The scale is alpha / r of each tensor; alpha 0 or missing: 1.
 * Types    Every format that has kernels is read; F32 is written.
 * One alpha  The file has one for all tensors, so on writing B is multiplied where a slot's own differs.
 * Hostile  As gguf/gguf.h; then as peft.h.
 */
#ifndef NOOK_ADAPT_LORA_GGUF_H
#define NOOK_ADAPT_LORA_GGUF_H

#include "adapt/peft.h"

/* Statuses as nk_peft_read's. */
nk_status nk_lora_gguf_read(nk_adapter **out, const nk_model *model, const uint8_t *file, uint64_t n, nk_error *error);
/* The file, the caller's to free. UNSUPPORTED for another method. */
nk_status nk_lora_gguf_write(const nk_adapter *adapter, const nk_model *model, nk_bytes *out, nk_error *error);

#endif
