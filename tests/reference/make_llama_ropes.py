#!/usr/bin/env python3
"""Makes tests/fixtures/tiny/llama3_rope and llama2_linear: tiny random Llama models with scaled rotary positions.

The reference is Hugging Face transformers (LlamaForCausalLM, float32, eager attention); the GGUF is written by gguf-py with
the conventions of llama.cpp's converter: q and k rows permuted for interleaved rotation, Llama 3's frequency factors as the
tensor rope_freqs.weight, linear scaling as rope.scaling.{type,factor}. No tokenizer: these run by token ids.

    python3 -m venv venv && venv/bin/pip install torch==2.13 transformers==5.23 gguf==0.19
    venv/bin/python tests/reference/make_llama_ropes.py tests/fixtures/tiny
"""
import json
import math
import sys

import gguf
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

VOCAB, WIDTH, FEED_FORWARD, LAYERS, HEADS, HEAD_DIM, CONTEXT = 320, 64, 160, 2, 4, 16, 256
LENGTHS = (1, 7, 33, 80, 200)
ORIGINAL = 64  # the context that Llama 3's scaling starts from


def permute(weight, heads):
    """Rows of a q or k projection from two halves to interleaved pairs."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def llama3_factors(base, factor, low, high, original):
    """Divisors of the rotary frequencies (Llama 3.1): long waves are stretched, short ones kept, between them a ramp."""
    factors = []
    for i in range(0, HEAD_DIM, 2):
        wave = 2 * math.pi * base ** (i / HEAD_DIM)
        if wave < original / high:
            factors.append(1.0)
        elif wave > original / low:
            factors.append(factor)
        else:
            ramp = (original / wave - low) / (high - low)
            factors.append(1.0 / ((1 - ramp) / factor + ramp))
    return np.array(factors, dtype=np.float32)


def build(folder, name, seed, kv_heads, tied, rope):
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=WIDTH, intermediate_size=FEED_FORWARD, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        num_key_value_heads=kv_heads, head_dim=HEAD_DIM, max_position_embeddings=CONTEXT, rms_norm_eps=1e-5,
        tie_word_embeddings=tied, rope_parameters=rope, attn_implementation="eager", pad_token_id=3, bos_token_id=1, eos_token_id=2)
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for key, value in model.named_parameters():
            value.copy_(1 + 0.1 * torch.randn_like(value) if value.dim() == 1 else torch.randn_like(value) * (0.5 if "embed" in key else 0.12))
    state = {key: value.numpy() for key, value in model.state_dict().items()}

    writer = gguf.GGUFWriter(f"{folder}/{name}.gguf", "llama")
    writer.add_name(name)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_vocab_size(VOCAB)
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    else:
        writer.add_tensor("rope_freqs.weight", llama3_factors(
            rope["rope_theta"], rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"], ORIGINAL))
    writer.add_tensor("token_embd.weight", state["model.embed_tokens.weight"])
    writer.add_tensor("output_norm.weight", state["model.norm.weight"])
    if not tied:
        writer.add_tensor("output.weight", state["lm_head.weight"])
    for i in range(LAYERS):
        hf, own = f"model.layers.{i}.", f"blk.{i}."
        writer.add_tensor(own + "attn_norm.weight", state[hf + "input_layernorm.weight"])
        writer.add_tensor(own + "attn_q.weight", permute(state[hf + "self_attn.q_proj.weight"], HEADS))
        writer.add_tensor(own + "attn_k.weight", permute(state[hf + "self_attn.k_proj.weight"], kv_heads))
        writer.add_tensor(own + "attn_v.weight", state[hf + "self_attn.v_proj.weight"])
        writer.add_tensor(own + "attn_output.weight", state[hf + "self_attn.o_proj.weight"])
        writer.add_tensor(own + "ffn_norm.weight", state[hf + "post_attention_layernorm.weight"])
        writer.add_tensor(own + "ffn_gate.weight", state[hf + "mlp.gate_proj.weight"])
        writer.add_tensor(own + "ffn_up.weight", state[hf + "mlp.up_proj.weight"])
        writer.add_tensor(own + "ffn_down.weight", state[hf + "mlp.down_proj.weight"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    tensors, data = {}, b""
    random = np.random.default_rng(seed)
    for length in LENGTHS:
        ids = random.integers(4, VOCAB, length).astype(np.int32)
        with torch.no_grad():
            logits = model(torch.from_numpy(ids.astype(np.int64))[None]).logits[0].numpy().astype(np.float32)
        for key, array in ((f"len{length}/ids", ids), (f"len{length}/logits", logits)):
            data += b"\0" * (-len(data) % 64)
            tensors[key] = {"dtype": "i32" if array.dtype == np.int32 else "f32", "shape": list(array.shape), "offset": len(data),
                            "nbytes": array.nbytes}
            data += array.tobytes()
    with open(f"{folder}/{name}.bin", "wb") as file:
        file.write(data)
    meta = {"gguf": f"{name}.gguf", "seed": seed, "reference": "transformers float32, eager attention", "rope_parameters": rope,
            "script": "tests/reference/make_llama_ropes.py"}
    with open(f"{folder}/{name}.json", "w") as file:
        json.dump({"format": "oracle-bundle/1", "data": f"{name}.bin", "meta": meta, "tensors": tensors}, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    target = sys.argv[1]
    build(target, "llama3_rope", 31, 2, True, {
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": ORIGINAL})
    build(target, "llama2_linear", 32, 4, False, {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0})
