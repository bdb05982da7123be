/*
 * peft.h: adapters as Hugging Face's PEFT keeps them: adapter_config.json and adapter_model.safetensors.
 *
 * Names    LoRA: base_model.model.PATH.lora_A.weight [r, in] and .lora_B.weight [out, r]. IA3: PATH.ia3_l [out, 1], of the
 *          feed-forward's last linear [1, in]. Prompt tuning: prompt_embeddings [virtual, width]. Prefix tuning:
 *          prompt_embeddings [virtual, layers · 2 · kv], a key and a value of every layer; a prefix that was trained
 *          through a projection (prefix_projection) is in this form too, since PEFT saves what the projection gave.
 * Layout   Rows are Hugging Face's there and the GGUF's here (names.h). Layers that mix by a short convolution have no
 *          prefix: what a file has for them is passed over, and written as zeros.
 * Types    F32, F16 and BF16 are read; F32 is written.
 * Hostile  Both files are checked whole before an adapter exists: sizes, ranks, layers, doubled and missing tensors,
 *          tensors without a place, NaN and infinity. What the configuration says must agree with the tensors.
 */
#ifndef NOOK_ADAPT_PEFT_H
#define NOOK_ADAPT_PEFT_H

#include "adapt/adapter.h"

#define NK_PEFT_TENSORS_NAME "adapter_model.safetensors"

/* A file in memory; the caller free()s data. */
typedef struct nk_bytes {
  uint8_t *data;
  uint64_t length;
} nk_bytes;

/*
 * FORMAT: the files are malformed or contradict each other. UNSUPPORTED: another method or option, named. ADAPTER_MISMATCH:
 * made for a model of other sizes or names. DATA: a value is NaN or infinite. MEMORY. Then *out is NULL. The card, if the
 * file has one, is taken over, not compared: nk_adapter_check_base does that.
 */
nk_status nk_peft_read(nk_adapter **out, const nk_model *model, const uint8_t *config, uint64_t n_config,
                       const uint8_t *tensors, uint64_t n_tensors, nk_error *error);

/*
 * The two files, which PEFT 0.21 loads. base_model_name_or_path is the card's base_name, or null. UNSUPPORTED: an adapter
 * on a fused projection that transformers' model has in parts. After an error both are empty.
 */
nk_status nk_peft_write(const nk_adapter *adapter, const nk_model *model, nk_bytes *config, nk_bytes *tensors,
                        nk_error *error);

#endif
