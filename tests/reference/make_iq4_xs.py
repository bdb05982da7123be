#!/usr/bin/env python3
"""Makes tests/fixtures/quants/model_llama256.IQ4_XS: tiny/llama256 with its matrices in IQ4_XS, and logits.

Blocks are made here (the nearest levels under a scale that takes the largest weight to the table's end), what they mean is
decided by gguf-py's dequantization; the logits are those of Hugging Face transformers (LlamaForCausalLM, float32, eager
attention) with these weights.

    python3 -m venv venv && venv/bin/pip install torch==2.13 transformers==5.23 gguf==0.19
    venv/bin/python tests/reference/make_iq4_xs.py tests/fixtures/tiny/llama256.gguf tests/fixtures/quants
"""
import json
import sys

import gguf
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

NAME, TYPE = "model_llama256.IQ4_XS", gguf.GGMLQuantizationType.IQ4_XS
VALUES = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], dtype=np.float32)
LENGTHS = (7, 33)


def quantize(weights):
    """Blocks [rows, bytes] of weights [rows, cols]."""
    x = weights.reshape(-1, 8, 32)
    ends = np.take_along_axis(x, np.abs(x).argmax(-1)[..., None], -1)[..., 0]
    wanted = ends / -127.0  # the largest weight of 32 at the table's longer end
    d = (np.abs(wanted).max(-1, keepdims=True) / 31.0).astype(np.float16)
    scale = np.clip(np.rint(wanted / d.astype(np.float32)), -32, 31).astype(np.int32)
    step = d.astype(np.float32) * scale.astype(np.float32)
    scaled = x / np.where(step == 0, 1, step)[..., None]
    level = np.abs(scaled[..., None] - VALUES).argmin(-1).astype(np.uint8)
    stored = (scale + 32).astype(np.uint32)
    high = sum((stored[:, i] >> 4) << (2 * i) for i in range(8)).astype("<u2")
    low = (stored[:, 0::2] & 15 | (stored[:, 1::2] & 15) << 4).astype(np.uint8)
    nibbles = (level[..., :16] | level[..., 16:] << 4).reshape(-1, 128)
    blocks = np.concatenate([d.view(np.uint8), high[:, None].view(np.uint8), low, nibbles], axis=1)
    return blocks.reshape(weights.shape[0], -1)


def to_halves(weight, heads):
    """Rows of a q or k projection from interleaved pairs to two halves."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def main(source, folder):
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(f"{folder}/{NAME}.gguf", "llama")
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        writer.add_key_value(name, field.contents(), kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_IQ4_XS)
    weights = {}
    for tensor in reader.tensors:
        value = np.array(tensor.data, dtype=np.float32)
        if value.ndim == 1:
            writer.add_tensor(tensor.name, value)
        else:
            blocks = quantize(value)
            writer.add_tensor(tensor.name, blocks, raw_dtype=TYPE)
            exact, value = value, gguf.quants.dequantize(blocks, TYPE)
            error = np.sqrt(((value - exact) ** 2).mean() / (exact ** 2).mean())
            assert error < 0.12, (tensor.name, error)
        weights[tensor.name] = value
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    number = lambda key: reader.fields["llama." + key].contents()
    heads, kv_heads = number("attention.head_count"), number("attention.head_count_kv")
    config = LlamaConfig(
        vocab_size=weights["token_embd.weight"].shape[0], hidden_size=number("embedding_length"),
        intermediate_size=number("feed_forward_length"), num_hidden_layers=number("block_count"), num_attention_heads=heads,
        num_key_value_heads=kv_heads, head_dim=number("rope.dimension_count"), max_position_embeddings=number("context_length"),
        rms_norm_eps=number("attention.layer_norm_rms_epsilon"), tie_word_embeddings="output.weight" not in weights,
        rope_parameters={"rope_type": "default", "rope_theta": number("rope.freq_base")}, attn_implementation="eager")
    state = {"model.embed_tokens.weight": weights["token_embd.weight"], "model.norm.weight": weights["output_norm.weight"]}
    state["lm_head.weight"] = weights.get("output.weight", weights["token_embd.weight"])
    for i in range(number("block_count")):
        hf, own = f"model.layers.{i}.", f"blk.{i}."
        state[hf + "input_layernorm.weight"] = weights[own + "attn_norm.weight"]
        state[hf + "self_attn.q_proj.weight"] = to_halves(weights[own + "attn_q.weight"], heads)
        state[hf + "self_attn.k_proj.weight"] = to_halves(weights[own + "attn_k.weight"], kv_heads)
        state[hf + "self_attn.v_proj.weight"] = weights[own + "attn_v.weight"]
        state[hf + "self_attn.o_proj.weight"] = weights[own + "attn_output.weight"]
        state[hf + "post_attention_layernorm.weight"] = weights[own + "ffn_norm.weight"]
        state[hf + "mlp.gate_proj.weight"] = weights[own + "ffn_gate.weight"]
        state[hf + "mlp.up_proj.weight"] = weights[own + "ffn_up.weight"]
        state[hf + "mlp.down_proj.weight"] = weights[own + "ffn_down.weight"]
    model = LlamaForCausalLM(config).eval()
    model.load_state_dict({key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in state.items()}, strict=True)

    tensors, data = {}, b""
    random = np.random.default_rng(23)
    for length in LENGTHS:
        ids = random.integers(4, config.vocab_size, length).astype(np.int32)
        with torch.no_grad():
            logits = model(torch.from_numpy(ids.astype(np.int64))[None]).logits[0].numpy().astype(np.float32)
        for key, array in ((f"len{length}/ids", ids), (f"len{length}/logits_f32", logits)):
            data += b"\0" * (-len(data) % 64)
            tensors[key] = {"dtype": "i32" if array.dtype == np.int32 else "f32", "shape": list(array.shape),
                            "offset": len(data), "nbytes": array.nbytes}
            data += array.tobytes()
    with open(f"{folder}/{NAME}.bin", "wb") as file:
        file.write(data)
    meta = {"gguf": f"{NAME}.gguf", "from": "tiny/llama256.gguf", "script": "tests/reference/make_iq4_xs.py",
            "logits_f32": "transformers float32, eager attention, with the weights as gguf-py dequantizes them"}
    with open(f"{folder}/{NAME}.json", "w") as file:
        json.dump({"format": "oracle-bundle/1", "data": f"{NAME}.bin", "meta": meta, "tensors": tensors}, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
