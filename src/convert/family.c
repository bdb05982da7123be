/* family.c: see family.h. Names of Hugging Face's transformers (modeling_*.py), and of checkpoints older than it. */
#include "convert/family.h"

#include <string.h>

#define L "layers.#."
#define B "blk.#."
#define END {NULL, NULL, NK_OP_COPY, 0}
#define COPY(from, to) {from, to, NK_OP_COPY, 0}
#define SKIP(from) {from, NULL, NK_OP_SKIP, 0}
#define OP(op, from, to) {from, to, NK_OP_##op, 0}
#define PART(from, to, part) {from, to, NK_OP_PART, part}

/* ---- Tensors ----------------------------------------------------------------------------------------------------- */

/* The names that Llama made common. */
static const nk_tensor_rule COMMON[] = {
    COPY("embed_tokens", "token_embd"),
    COPY("norm", "output_norm"),
    COPY("lm_head", "output"),
    COPY(L "input_layernorm", B "attn_norm"),
    COPY(L "self_attn.q_proj", B "attn_q"),
    COPY(L "self_attn.k_proj", B "attn_k"),
    COPY(L "self_attn.v_proj", B "attn_v"),
    COPY(L "self_attn.qkv_proj", B "attn_qkv"),
    COPY(L "self_attn.o_proj", B "attn_output"),
    COPY(L "self_attn.q_norm", B "attn_q_norm"),
    COPY(L "self_attn.k_norm", B "attn_k_norm"),
    COPY(L "post_attention_layernorm", B "ffn_norm"),
    COPY(L "mlp.gate_proj", B "ffn_gate"),
    COPY(L "mlp.up_proj", B "ffn_up"),
    COPY(L "mlp.gate_up_proj", B "ffn_up"),
    COPY(L "mlp.down_proj", B "ffn_down"),
    SKIP(L "self_attn.rotary_emb.inv_freq"),
    SKIP("rotary_emb.inv_freq"),
    END,
};

/* Llama's rotary positions turn neighbours in GGUF. */
static const nk_tensor_rule PAIRS[] = {
    OP(PAIR_Q, L "self_attn.q_proj", B "attn_q"),
    OP(PAIR_K, L "self_attn.k_proj", B "attn_k"),
    END,
};

static const nk_tensor_rule GEMMA[] = {
    OP(ADD_ONE, L "input_layernorm", B "attn_norm"),
    OP(ADD_ONE, L "post_attention_layernorm", B "ffn_norm"),
    OP(ADD_ONE, "norm", "output_norm"),
    END,
};

static const nk_tensor_rule GEMMA2[] = {
    OP(ADD_ONE, L "input_layernorm", B "attn_norm"),
    OP(ADD_ONE, L "post_attention_layernorm", B "post_attention_norm"),
    OP(ADD_ONE, L "pre_feedforward_layernorm", B "ffn_norm"),
    OP(ADD_ONE, L "post_feedforward_layernorm", B "post_ffw_norm"),
    OP(ADD_ONE, L "self_attn.q_norm", B "attn_q_norm"),
    OP(ADD_ONE, L "self_attn.k_norm", B "attn_k_norm"),
    OP(ADD_ONE, "norm", "output_norm"),
    END,
};

static const nk_tensor_rule OLMO2[] = {
    COPY(L "post_attention_layernorm", B "post_attention_norm"),
    COPY(L "post_feedforward_layernorm", B "post_ffw_norm"),
    END,
};

static const nk_tensor_rule PHI[] = {
    COPY(L "self_attn.dense", B "attn_output"),
    COPY(L "mlp.fc1", B "ffn_up"),
    COPY(L "mlp.fc2", B "ffn_down"),
    COPY("final_layernorm", "output_norm"),
    END,
};

static const nk_tensor_rule STABLELM[] = {
    OP(PART, L "self_attn.q_layernorm.norms.@", B "attn_q_norm"),
    OP(PART, L "self_attn.k_layernorm.norms.@", B "attn_k_norm"),
    END,
};

static const nk_tensor_rule NEOX[] = {
    COPY("embed_in", "token_embd"),
    COPY("final_layer_norm", "output_norm"),
    COPY("embed_out", "output"),
    COPY(L "input_layernorm", B "attn_norm"),
    COPY(L "post_attention_layernorm", B "ffn_norm"),
    OP(SPLIT, L "attention.query_key_value", B "attn_qkv"),
    COPY(L "attention.dense", B "attn_output"),
    COPY(L "mlp.dense_h_to_4h", B "ffn_up"),
    COPY(L "mlp.dense_4h_to_h", B "ffn_down"),
    SKIP(L "attention.bias"),
    SKIP(L "attention.masked_bias"),
    SKIP(L "attention.rotary_emb.inv_freq"),
    SKIP("rotary_emb.inv_freq"),
    END,
};

static const nk_tensor_rule OPT[] = {
    COPY("embed_tokens", "token_embd"),
    COPY("embed_positions", "position_embd"),
    COPY("project_in", "token_embd_proj_in"),
    COPY("project_out", "output_proj_out"),
    COPY("final_layer_norm", "output_norm"),
    COPY("lm_head", "output"),
    COPY(L "self_attn_layer_norm", B "attn_norm"),
    COPY(L "self_attn.q_proj", B "attn_q"),
    COPY(L "self_attn.k_proj", B "attn_k"),
    COPY(L "self_attn.v_proj", B "attn_v"),
    COPY(L "self_attn.out_proj", B "attn_output"),
    COPY(L "final_layer_norm", B "ffn_norm"),
    COPY(L "fc1", B "ffn_up"),
    COPY(L "fc2", B "ffn_down"),
    END,
};

static const nk_tensor_rule GPT2[] = {
    COPY("wte", "token_embd"),
    COPY("wpe", "position_embd"),
    COPY("ln_f", "output_norm"),
    COPY("lm_head", "output"),
    SKIP("h.#.attn.bias"),
    SKIP("h.#.attn.masked_bias"),
    COPY("h.#.ln_1", B "attn_norm"),
    OP(TURN, "h.#.attn.c_attn", B "attn_qkv"),
    OP(TURN, "h.#.attn.c_proj", B "attn_output"),
    COPY("h.#.ln_2", B "ffn_norm"),
    OP(TURN, "h.#.mlp.c_fc", B "ffn_up"),
    OP(TURN, "h.#.mlp.c_proj", B "ffn_down"),
    END,
};

static const nk_tensor_rule LFM2[] = {
    COPY("embedding_norm", "token_embd_norm"), /* the last norm, by the name that GGUF files have for it */
    COPY(L "operator_norm", B "attn_norm"),
    COPY(L "ffn_norm", B "ffn_norm"),
    COPY(L "feed_forward.w1", B "ffn_gate"),
    COPY(L "feed_forward.w2", B "ffn_down"),
    COPY(L "feed_forward.w3", B "ffn_up"),
    COPY(L "self_attn.out_proj", B "attn_output"),
    COPY(L "self_attn.q_layernorm", B "attn_q_norm"),
    COPY(L "self_attn.k_layernorm", B "attn_k_norm"),
    COPY(L "conv.in_proj", B "shortconv.in_proj"),
    OP(SQUEEZE, L "conv.conv", B "shortconv.conv"),
    COPY(L "conv.out_proj", B "shortconv.out_proj"),
    SKIP("pos_emb.inv_freq"),
    END,
};

#define E "encoder.layer.#."
static const nk_tensor_rule BERT[] = {
    COPY("embeddings.word_embeddings", "token_embd"),
    COPY("embeddings.position_embeddings", "position_embd"),
    COPY("embeddings.token_type_embeddings", "token_types"),
    COPY("embeddings.LayerNorm", "token_embd_norm"),
    COPY(E "attention.self.query", B "attn_q"),
    COPY(E "attention.self.key", B "attn_k"),
    COPY(E "attention.self.value", B "attn_v"),
    COPY(E "attention.output.dense", B "attn_output"),
    COPY(E "attention.output.LayerNorm", B "attn_output_norm"),
    COPY(E "intermediate.dense", B "ffn_up"),
    COPY(E "output.dense", B "ffn_down"),
    COPY(E "output.LayerNorm", B "layer_output_norm"),
    SKIP("embeddings.position_ids"),
    SKIP("pooler.dense"),
    SKIP("cls.predictions.bias"),
    SKIP("cls.predictions.decoder"),
    SKIP("cls.predictions.transform.dense"),
    SKIP("cls.predictions.transform.LayerNorm"),
    SKIP("cls.seq_relationship"),
    END,
};

/* RoBERTa counts positions from behind the id of its padding token: the first two rows are nobody's. */
static const nk_tensor_rule XLM_ROBERTA[] = {
    OP(DROP, "embeddings.position_embeddings", "position_embd"),
    SKIP("lm_head.bias"),
    SKIP("lm_head.decoder"),
    SKIP("lm_head.dense"),
    SKIP("lm_head.layer_norm"),
    END,
};

/* Nomic's own names, and those that transformers gave the model. */
#define N "encoder.layers.#."
static const nk_tensor_rule NOMIC[] = {
    COPY("emb_ln", "token_embd_norm"),
    COPY(N "attn.Wqkv", B "attn_qkv"),
    COPY(N "attn.out_proj", B "attn_output"),
    COPY(N "norm1", B "attn_output_norm"),
    COPY(N "mlp.fc11", B "ffn_up"),
    COPY(N "mlp.fc12", B "ffn_gate"),
    COPY(N "mlp.fc2", B "ffn_down"),
    COPY(N "norm2", B "layer_output_norm"),
    PART(L "self_attn.q_proj", B "attn_qkv", 0),
    PART(L "self_attn.k_proj", B "attn_qkv", 1),
    PART(L "self_attn.v_proj", B "attn_qkv", 2),
    COPY(L "post_attention_layernorm", B "attn_output_norm"),
    COPY(L "post_mlp_layernorm", B "layer_output_norm"),
    END,
};

/* ---- Keys -------------------------------------------------------------------------------------------------------- */

#define CHECK(from, allowed) {from, NULL, NK_KEY_CHECK, 0, allowed}
#define KEYS_END {NULL, NULL, NK_KEY_CHECK, 0, NULL}
#define LEAVE_OUT (-1.0)

static const nk_key_rule SILU[] = {CHECK("hidden_act|hidden_activation", "silu|swish"), KEYS_END};

/* Early Gemma files say "gelu" and mean its tanh form, as their own implementation has it. */
static const nk_key_rule GEMMA_KEYS[] = {
    CHECK("hidden_activation", "gelu_pytorch_tanh|gelu_new"),
    CHECK("hidden_act", "gelu|gelu_pytorch_tanh|gelu_new"),
    CHECK("use_bidirectional_attention", "false"),
    {"attn_logit_softcapping", "attn_logit_softcapping", NK_KEY_F32, LEAVE_OUT, NULL},
    {"final_logit_softcapping", "final_logit_softcapping", NK_KEY_F32, LEAVE_OUT, NULL},
    KEYS_END,
};

static const nk_key_rule PHI_KEYS[] = {CHECK("hidden_act", "gelu_new|gelu_pytorch_tanh"), CHECK("qk_layernorm", "false"),
                                       KEYS_END};

static const nk_key_rule NEOX_KEYS[] = {
    CHECK("hidden_act", "gelu"),
    {"use_parallel_residual", "use_parallel_residual", NK_KEY_BOOL, 1, NULL},
    KEYS_END,
};

static const nk_key_rule STABLELM_KEYS[] = {
    CHECK("hidden_act", "silu|swish"),
    {"use_parallel_residual", "use_parallel_residual", NK_KEY_BOOL, 0, NULL},
    KEYS_END,
};

static const nk_key_rule OPT_KEYS[] = {
    CHECK("_remove_final_layer_norm", "false"),
    {"activation_function", "activation_function", NK_KEY_TEXT, 0, "relu"},
    {"do_layer_norm_before", "do_layer_norm_before", NK_KEY_BOOL, 1, NULL},
    {"word_embed_proj_dim", "word_embed_proj_dim", NK_KEY_U32, LEAVE_OUT, NULL},
    {"", "position_offset", NK_KEY_U32, 2, NULL}, /* OPTLearnedPositionalEmbedding: row = position + 2 */
    KEYS_END,
};

static const nk_key_rule GPT2_KEYS[] = {
    CHECK("activation_function", "gelu_new|gelu_pytorch_tanh"),
    CHECK("scale_attn_weights", "true"),
    CHECK("scale_attn_by_inverse_layer_idx", "false"),
    CHECK("add_cross_attention", "false"),
    KEYS_END,
};

static const nk_key_rule LFM2_KEYS[] = {
    CHECK("hidden_act", "silu|swish"),
    {"conv_L_cache", "shortconv.l_cache", NK_KEY_U32, 3, NULL},
    KEYS_END,
};

static const nk_key_rule BERT_KEYS[] = {
    CHECK("hidden_act", "gelu"),
    CHECK("position_embedding_type", "absolute"),
    CHECK("is_decoder", "false"),
    {"", "attention.causal", NK_KEY_BOOL, 0, NULL},
    KEYS_END,
};

static const nk_key_rule NOMIC_KEYS[] = {
    CHECK("hidden_act", "silu|swish"),
    CHECK("activation_function", "swiglu|silu|swish"),
    CHECK("prenorm", "false"),
    CHECK("use_rms_norm", "false"),
    CHECK("rotary_emb_interleaved", "false"),
    CHECK("moe_every_n_layers", "0"),
    CHECK("is_decoder", "false"),
    CHECK("causal", "false"),
    {"", "attention.causal", NK_KEY_BOOL, 0, NULL},
    KEYS_END,
};

/* ---- The table --------------------------------------------------------------------------------------------------- */

static const nk_family FAMILIES[] = {
    /* model_type, architecture, prefixes, tensors, keys, rope base, share that turns, epsilon, tied, dropped */
    {"llama", "llama", "model.", {PAIRS, COMMON}, {SILU}, 10000, 1, 0, false, 0},
    {"mistral", "llama", "model.", {PAIRS, COMMON}, {SILU}, 10000, 1, 0, false, 0},
    {"qwen2", "qwen2", "model.", {COMMON}, {SILU}, 10000, 1, 0, false, 0},
    {"qwen3", "qwen3", "model.", {COMMON}, {SILU}, 10000, 1, 0, false, 0},
    {"gemma", "gemma", "model.", {GEMMA, COMMON}, {GEMMA_KEYS}, 10000, 1, 0, true, 0},
    {"gemma2", "gemma2", "model.", {GEMMA2, COMMON}, {GEMMA_KEYS}, 10000, 1, 0, true, 0},
    {"gemma3_text", "gemma3", "model.", {GEMMA2, COMMON}, {GEMMA_KEYS}, 1000000, 1, 0, true, 0},
    {"phi", "phi2", "model.", {PHI, COMMON}, {PHI_KEYS}, 10000, 0.5, 0, false, 0},
    {"phi3", "phi3", "model.", {COMMON}, {SILU}, 10000, 1, 0, false, 0},
    {"gpt_neox", "gptneox", "gpt_neox.", {NEOX}, {NEOX_KEYS}, 10000, 0.25, 0, false, 0},
    {"stablelm", "stablelm", "model.", {STABLELM, COMMON}, {STABLELM_KEYS}, 10000, 0.25, 0, false, 0},
    {"gpt2", "gpt2", "transformer.", {GPT2}, {GPT2_KEYS}, 0, 0, 1e-5, true, 0},
    {"opt", "opt", "model.decoder.|decoder.", {OPT}, {OPT_KEYS}, 0, 0, 1e-5, true, 0},
    {"olmo2", "olmo2", "model.", {OLMO2, COMMON}, {SILU}, 10000, 1, 0, false, 0},
    {"lfm2", "lfm2", "model.", {LFM2, COMMON}, {LFM2_KEYS}, 1000000, 1, 0, true, 0},
    {"bert", "bert", "bert.", {BERT}, {BERT_KEYS}, 0, 0, 0, false, 0},
    {"xlm-roberta", "bert", "roberta.", {XLM_ROBERTA, BERT}, {BERT_KEYS}, 0, 0, 0, false, 2},
    {"nomic_bert", "nomic-bert", "bert.|nomic_bert.|model.", {NOMIC, COMMON, BERT}, {NOMIC_KEYS}, 1000, 1, 0, false, 0},
};

uint32_t nk_family_count(void) { return (uint32_t)(sizeof FAMILIES / sizeof FAMILIES[0]); }

const nk_family *nk_family_at(uint32_t index) { return index < nk_family_count() ? &FAMILIES[index] : NULL; }

const nk_family *nk_family_find(const char *model_type) {
  for (uint32_t i = 0; i < nk_family_count(); i++) {
    if (strcmp(FAMILIES[i].model_type, model_type) == 0) return &FAMILIES[i];
  }
  return NULL;
}
