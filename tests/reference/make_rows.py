#!/usr/bin/env python3
"""Makes fixtures of tests/fixtures/tiny that no oracle has: tiny random models of further rows and of stretched positions.

olmo2, nomic_bert, lfm2, ernie4_5: rows of the table. qwen2_yarn: YaRN. phi3_long, phi3_short: LongRoPE beyond and within the original
context (the session's context decides which factors hold). gemma3_pattern: windows layer by layer from the file.

The reference is Hugging Face transformers (float32, eager attention); the GGUF is written by gguf-py with the tensor names of
llama.cpp's converter. They run by token ids; lfm2 has the oracles' tokenizer of 320 tokens besides, so that it can generate.

    python3 -m venv venv && venv/bin/pip install torch==2.13 transformers==5.23 gguf==0.19
    venv/bin/python tests/reference/make_rows.py tests/fixtures/tiny [NAME…]
"""
import json
import math
import sys

import gguf
import numpy as np
import torch
import transformers

VOCAB, WIDTH, FEED_FORWARD, HEADS, CONTEXT = 320, 64, 160, 4, 256
LENGTHS = (1, 7, 33, 80, 200)
COMMON = dict(vocab_size=VOCAB, hidden_size=WIDTH, intermediate_size=FEED_FORWARD, num_attention_heads=HEADS,
              max_position_embeddings=CONTEXT, attn_implementation="eager", pad_token_id=3, bos_token_id=1, eos_token_id=2)

# HF module of a layer -> GGUF stem, for families that keep the usual names.
LAYER = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.qkv_proj": "attn_qkv", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate_up_proj": "ffn_up",
}


def randomize(model, seed):
    """Weights of a size at which every layer matters; norms near 1, biases not 0."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            norm = "norm" in name.lower()
            scale = 0.5 if "embed" in name.lower() and not norm else 0.12
            value.copy_((1 + 0.1 * torch.randn_like(value)) if norm and name.endswith("weight") else torch.randn_like(value) * scale)
    return model.eval()


def header(folder, name, arch, layers, kv_heads, rms=None, layer_norm=None):
    writer = gguf.GGUFWriter(f"{folder}/{name}.gguf", arch)
    writer.add_name(name)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(kv_heads)
    writer.add_vocab_size(VOCAB)
    if rms is not None:
        writer.add_layer_norm_rms_eps(rms)
    if layer_norm is not None:
        writer.add_layer_norm_eps(layer_norm)
    return writer


def add_layers(writer, state, layers, names, prefix="model.layers."):
    """Every tensor of every layer under its GGUF name; none is left over."""
    for i in range(layers):
        own = {key[len(f"{prefix}{i}."):]: value for key, value in state.items() if key.startswith(f"{prefix}{i}.")}
        for module, stem in names.items():
            for part in ("weight", "bias"):
                if f"{module}.{part}" in own:
                    writer.add_tensor(f"blk.{i}.{stem}.{part}", own.pop(f"{module}.{part}"))
        assert not own, f"unmapped: {sorted(own)}"


def add_ends(writer, state, tied, norm="model.norm.weight", norm_name="output_norm.weight"):
    writer.add_tensor("token_embd.weight", state["model.embed_tokens.weight"])
    writer.add_tensor(norm_name, state[norm])
    if not tied:
        writer.add_tensor("output.weight", state["lm_head.weight"])


def finish(folder, name, writer, model, seed, lengths=LENGTHS, hidden=False, context=CONTEXT, extra=None):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    tensors, data = {}, b""
    random = np.random.default_rng(seed)
    for length in lengths:
        ids = random.integers(4, VOCAB, length).astype(np.int32)
        batch = torch.from_numpy(ids.astype(np.int64))[None]
        with torch.no_grad():
            out = model(batch)
        rows = (out.last_hidden_state if hidden else out.logits)[0].numpy().astype(np.float32)
        arrays = [(f"len{length}/ids", ids), (f"len{length}/{'hidden' if hidden else 'logits'}", rows)]
        if hidden:
            mean = rows.astype(np.float64).mean(0)
            arrays += [(f"len{length}/mean", mean.astype(np.float32)),
                       (f"len{length}/mean_normalized", (mean / np.linalg.norm(mean)).astype(np.float32))]
        for key, array in arrays:
            data += b"\0" * (-len(data) % 64)
            tensors[key] = {"dtype": "i32" if array.dtype == np.int32 else "f32", "shape": list(array.shape), "offset": len(data),
                            "nbytes": array.nbytes}
            data += array.tobytes()
    with open(f"{folder}/{name}.bin", "wb") as file:
        file.write(data)
    meta = {"gguf": f"{name}.gguf", "seed": seed, "reference": "transformers float32, eager attention",
            "script": "tests/reference/make_rows.py", **(extra or {})}
    with open(f"{folder}/{name}.json", "w") as file:
        json.dump({"format": "oracle-bundle/1", "data": f"{name}.bin", "meta": meta, "tensors": tensors}, file, indent=1)
        file.write("\n")


def state_of(model):
    return {key: value.numpy() for key, value in model.state_dict().items()}


def olmo2(folder):
    config = transformers.Olmo2Config(**COMMON, num_hidden_layers=2, num_key_value_heads=2, rms_norm_eps=1e-6,
                                      rope_parameters={"rope_type": "default", "rope_theta": 500000.0}, tie_word_embeddings=False)
    model = randomize(transformers.Olmo2ForCausalLM(config), 41)
    state = state_of(model)
    writer = header(folder, "olmo2", "olmo2", 2, 2, rms=1e-6)
    writer.add_rope_freq_base(500000.0)
    add_ends(writer, state, False)
    names = {**LAYER, "post_attention_layernorm": "post_attention_norm", "post_feedforward_layernorm": "post_ffw_norm"}
    add_layers(writer, state, 2, names)
    finish(folder, "olmo2", writer, model, 41)


def nomic_bert(folder):
    config = transformers.NomicBertConfig(
        **{**COMMON, "bos_token_id": None, "eos_token_id": None}, num_hidden_layers=2, type_vocab_size=2, layer_norm_eps=1e-12,
        hidden_act="silu", rope_parameters={"rope_type": "default", "rope_theta": 1000.0})
    model = randomize(transformers.NomicBertModel(config, add_pooling_layer=False), 42)
    state = state_of(model)
    writer = header(folder, "nomic_bert", "nomic-bert", 2, HEADS, layer_norm=1e-12)
    writer.add_rope_freq_base(1000.0)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_tensor("token_embd.weight", state["embeddings.word_embeddings.weight"])
    writer.add_tensor("token_types.weight", state["embeddings.token_type_embeddings.weight"])
    for key in [key for key in state if key.startswith("embeddings.") and "orm" in key]:
        writer.add_tensor(f"token_embd_norm.{key.rsplit('.', 1)[1]}", state[key])
    add = {}
    for i in range(2):
        own = {key[len(f"layers.{i}."):]: value for key, value in state.items() if key.startswith(f"layers.{i}.")}
        q, k, v = (own.pop(f"self_attn.{x}_proj.weight") for x in "qkv")
        add[f"layers.{i}.qkv.weight"] = np.concatenate([q, k, v])
        add.update({f"layers.{i}.{key}": value for key, value in own.items()})
    add_layers(writer, add, 2, {
        "qkv": "attn_qkv", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "attn_output_norm",
        "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "post_mlp_layernorm": "layer_output_norm",
    }, prefix="layers.")
    finish(folder, "nomic_bert", writer, model, 42, hidden=True)


def qwen2_yarn(folder):
    rope = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
    config = transformers.Qwen2Config(**COMMON, num_hidden_layers=2, num_key_value_heads=2, rms_norm_eps=1e-6, rope_parameters=rope,
                                      tie_word_embeddings=True)
    model = randomize(transformers.Qwen2ForCausalLM(config), 43)
    state = state_of(model)
    writer = header(folder, "qwen2_yarn", "qwen2", 2, 2, rms=1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(4.0)
    writer.add_rope_scaling_orig_ctx_len(64)
    add_ends(writer, state, True)
    add_layers(writer, state, 2, LAYER)
    finish(folder, "qwen2_yarn", writer, model, 43, extra={"rope_parameters": rope})


def phi3(folder, name, original, lengths):
    """LongRoPE: transformers takes the long factors for sequences beyond the original context, a session by its context."""
    head = WIDTH // HEADS
    random = np.random.default_rng(44)
    short, long = ((1 + random.random(head // 2) * spread).astype(np.float32) for spread in (0.2, 6.0))
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": short.tolist(), "long_factor": long.tolist(),
            "original_max_position_embeddings": original}
    config = transformers.Phi3Config(**COMMON, num_hidden_layers=2, num_key_value_heads=2, rms_norm_eps=1e-5, rope_parameters=rope,
                                     original_max_position_embeddings=original, tie_word_embeddings=False)
    model = randomize(transformers.Phi3ForCausalLM(config), 44)
    state = state_of(model)
    writer = header(folder, name, "phi3", 2, 2, rms=1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(head)
    writer.add_rope_scaling_orig_ctx_len(original)
    scale = CONTEXT / original
    writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0)
    writer.add_tensor("rope_factors_long.weight", long)
    writer.add_tensor("rope_factors_short.weight", short)
    add_ends(writer, state, False)
    add_layers(writer, state, 2, LAYER)
    finish(folder, name, writer, model, 44, lengths=lengths, extra={"rope_parameters": rope})


def phi3_long(folder):
    phi3(folder, "phi3_long", 64, (80, 200))


def phi3_short(folder):
    phi3(folder, "phi3_short", 256, LENGTHS)


def copy_tokenizer(writer, path):
    for key, field in gguf.GGUFReader(path).fields.items():
        if key.startswith("tokenizer."):
            kind = field.types[0]
            writer.add_key_value(key, field.contents(), kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)


def lfm2(folder):
    kinds = ["conv", "full_attention", "conv", "full_attention"]
    config = transformers.Lfm2Config(**COMMON, num_hidden_layers=4, num_key_value_heads=2, norm_eps=1e-5, layer_types=kinds,
                                     block_auto_adjust_ff_dim=False, conv_L_cache=3, conv_bias=False, tie_word_embeddings=True,
                                     rope_parameters={"rope_type": "default", "rope_theta": 1000000.0})
    model = randomize(transformers.Lfm2ForCausalLM(config), 45)
    state = state_of(model)
    writer = header(folder, "lfm2", "lfm2", 4, [0 if kind == "conv" else 2 for kind in kinds], rms=1e-5)
    writer.add_rope_freq_base(1000000.0)
    writer.add_shortconv_l_cache(3)
    copy_tokenizer(writer, f"{folder}/llama.gguf")
    add_ends(writer, state, True, norm="model.embedding_norm.weight", norm_name="token_embd_norm.weight")
    for key in state:
        if key.endswith("conv.conv.weight"):
            state[key] = state[key][:, 0, :]
    names = {
        "operator_norm": "attn_norm", "ffn_norm": "ffn_norm", "conv.in_proj": "shortconv.in_proj", "conv.conv": "shortconv.conv",
        "conv.out_proj": "shortconv.out_proj", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v", "self_attn.out_proj": "attn_output", "self_attn.q_layernorm": "attn_q_norm",
        "self_attn.k_layernorm": "attn_k_norm", "feed_forward.w1": "ffn_gate", "feed_forward.w3": "ffn_up",
        "feed_forward.w2": "ffn_down",
    }
    add_layers(writer, state, 4, names)
    finish(folder, "lfm2", writer, model, 45)


def gemma3_pattern(folder):
    """Windows layer by layer, not every sixth; with linear scaling of the layers that see everything."""
    kinds = ["full_attention", "sliding_attention", "sliding_attention"]
    rope = {"full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}
    config = transformers.Gemma3TextConfig(**COMMON, num_hidden_layers=3, num_key_value_heads=1, head_dim=32, rms_norm_eps=1e-6,
                                           sliding_window=16, layer_types=kinds, rope_parameters=rope, query_pre_attn_scalar=32,
                                           tie_word_embeddings=True, hidden_activation="gelu_pytorch_tanh")
    model = randomize(transformers.Gemma3ForCausalLM(config), 46)
    state = state_of(model)
    for key, value in state.items():
        if "norm" in key:
            state[key] = value + 1
    writer = header(folder, "gemma3_pattern", "gemma3", 3, 1, rms=1e-6)
    writer.add_key_length(32)
    writer.add_value_length(32)
    writer.add_rope_freq_base(1000000.0)
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(8.0)
    writer.add_sliding_window(16)
    writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in kinds])
    add_ends(writer, state, True)
    names = {**LAYER, "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
             "post_feedforward_layernorm": "post_ffw_norm"}
    add_layers(writer, state, 3, names)
    finish(folder, "gemma3_pattern", writer, model, 46)


def ernie4_5(folder):
    config = transformers.Ernie4_5Config(**COMMON, num_hidden_layers=2, num_key_value_heads=2, head_dim=16, rms_norm_eps=1e-5,
                                         rope_parameters={"rope_type": "default", "rope_theta": 500000.0}, use_bias=False,
                                         tie_word_embeddings=True)
    model = randomize(transformers.Ernie4_5ForCausalLM(config), 47)
    state = state_of(model)
    writer = header(folder, "ernie4_5", "ernie4_5", 2, 2, rms=1e-5)
    writer.add_rope_freq_base(500000.0)
    add_ends(writer, state, True)
    add_layers(writer, state, 2, LAYER)
    finish(folder, "ernie4_5", writer, model, 47)


FIXTURES = {f.__name__: f for f in (olmo2, nomic_bert, lfm2, ernie4_5, qwen2_yarn, phi3_long, phi3_short, gemma3_pattern)}

if __name__ == "__main__":
    for wanted in sys.argv[2:] or FIXTURES:
        FIXTURES[wanted](sys.argv[1])
        print(wanted)
