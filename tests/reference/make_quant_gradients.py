"""Gradients of a LoRA on a quantized model: tests/fixtures/quant_gradients/<TYPE>/.

For model_llama256.<TYPE>.gguf of tests/fixtures/quants: the weights as gguf-py dequantizes them, a llama written here in
PyTorch (float64, so that only the engine rounds), a LoRA on q and v (rank 4, alpha 8, values from a seed, B not zero),
the mean loss of two rows and autograd's gradients. Writes the adapter as PEFT does (adapter_config.json,
adapter_model.safetensors) and a bundle: ids, labels, loss, grad/<PEFT's name>.

  python tests/reference/make_quant_gradients.py        needs torch, gguf, safetensors
"""
import json
import pathlib

import gguf
import numpy as np
import torch
from safetensors.torch import save_file

TESTS = pathlib.Path(__file__).resolve().parent.parent
OUT = TESTS / "fixtures" / "quant_gradients"
TYPES = ["Q4_0", "Q4_1", "Q4_K", "Q8_0"]
RANK, ALPHA, LENGTH = 4, 8, 24


def load(path):
    reader = gguf.GGUFReader(str(path))
    field = {name: f.contents() for name, f in reader.fields.items()}
    tensors = {}
    for t in reader.tensors:
        values = gguf.dequantize(t.data, t.tensor_type).reshape(tuple(int(n) for n in reversed(t.shape)))
        tensors[t.name] = torch.tensor(np.array(values, dtype=np.float64))
    return field, tensors


def norm(x, weight, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def turn(x, base, scale=1.0):
    """Rotary positions of x [heads, T, D] as the GGUF lays heads out: pairs (2 i, 2 i + 1)."""
    heads, length, dim = x.shape
    angle = torch.arange(length, dtype=torch.float64)[:, None] * base ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    even, odd = x[..., 0::2], x[..., 1::2]
    out = torch.stack([even * angle.cos() - odd * angle.sin(), even * angle.sin() + odd * angle.cos()], -1)
    return out.reshape(heads, length, dim)


def to_gguf_rows(b, heads):
    """LoRA's B of q from Hugging Face's order of rows (halves) to the GGUF's (pairs)."""
    rows, rank = b.shape
    return b.reshape(heads, 2, rows // heads // 2, rank).transpose(1, 2).reshape(rows, rank)


def forward(field, w, lora, ids):
    get = lambda name: field["llama." + name]
    heads, kv, eps = get("attention.head_count"), get("attention.head_count_kv"), get("attention.layer_norm_rms_epsilon")
    x = w["token_embd.weight"][ids]
    length = len(ids)
    mask = torch.full((length, length), -torch.inf, dtype=torch.float64).triu(1)
    for layer in range(get("block_count")):
        block = lambda name: w[f"blk.{layer}.{name}.weight"]
        h = norm(x, block("attn_norm"), eps)
        low = lambda module: h @ lora[layer, module, "A"].T
        q = h @ block("attn_q").T + ALPHA / RANK * low("q_proj") @ to_gguf_rows(lora[layer, "q_proj", "B"], heads).T
        k = h @ block("attn_k").T
        v = h @ block("attn_v").T + ALPHA / RANK * low("v_proj") @ lora[layer, "v_proj", "B"].T
        split = lambda t, n: t.reshape(length, n, -1).transpose(0, 1)
        q, k, v = turn(split(q, heads), get("rope.freq_base")), turn(split(k, kv), get("rope.freq_base")), split(v, kv)
        k, v = (t.repeat_interleave(heads // kv, 0) for t in (k, v))
        p = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5 + mask).softmax(-1)
        x = x + (p @ v).transpose(0, 1).reshape(length, -1) @ block("attn_output").T
        h = norm(x, block("ffn_norm"), eps)
        x = x + (torch.nn.functional.silu(h @ block("ffn_gate").T) * (h @ block("ffn_up").T)) @ block("ffn_down").T
    x = norm(x, w["output_norm.weight"], eps)
    return x @ w.get("output.weight", w["token_embd.weight"]).T


def name_of(layer, module, side):
    return f"base_model.model.model.layers.{layer}.self_attn.{module}.lora_{side}.weight"


def bundle(folder, tensors, meta):
    blob, entries = bytearray(), {}
    kinds = {np.dtype("int32"): "i32", np.dtype("float32"): "f32", np.dtype("float64"): "f64"}
    for name, array in tensors.items():
        blob += bytes(-len(blob) % 64)
        entries[name] = {"dtype": kinds[array.dtype], "shape": list(array.shape), "offset": len(blob),
                         "nbytes": array.nbytes}
        blob += array.tobytes()
    (folder / "oracle.bin").write_bytes(blob)
    text = {"format": "oracle-bundle/1", "data": "oracle.bin", "meta": meta, "tensors": entries}
    (folder / "oracle.json").write_text(json.dumps(text, indent=1) + "\n")


def make(kind):
    field, w = load(TESTS / "fixtures" / "quants" / f"model_llama256.{kind}.gguf")
    generator = torch.Generator().manual_seed(1100)
    lora = {}
    for layer in range(field["llama.block_count"]):
        for module, tensor in (("q_proj", "attn_q"), ("v_proj", "attn_v")):
            rows, cols = w[f"blk.{layer}.{tensor}.weight"].shape
            for side, shape in (("A", (RANK, cols)), ("B", (rows, RANK))):
                values = 0.05 * torch.randn(shape, generator=generator, dtype=torch.float32)
                lora[layer, module, side] = values.double().requires_grad_()
    vocab = w["token_embd.weight"].shape[0]
    ids = torch.randint(3, vocab, (2, LENGTH), generator=generator)
    labels = ids.clone()
    labels[:, :6] = -100
    total, scored = 0.0, 0
    for row, wanted in zip(ids, labels):
        logits = forward(field, w, lora, row)
        total = total + torch.nn.functional.cross_entropy(logits[:-1], wanted[1:], ignore_index=-100, reduction="sum")
        scored += int((wanted[1:] != -100).sum())
    loss = total / scored
    loss.backward()

    folder = OUT / kind
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name_of(*key): value.detach().float().contiguous() for key, value in lora.items()},
              str(folder / "adapter_model.safetensors"), metadata={"format": "pt"})
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": ALPHA, "lora_dropout": 0.0,
              "bias": "none", "target_modules": ["q_proj", "v_proj"], "base_model_name_or_path": "synthetic"}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")
    tensors = {"ids": ids.numpy().astype(np.int32), "labels": labels.numpy().astype(np.int32),
               "loss": np.array([loss.item()])}
    for key, value in lora.items():
        tensors["grad/" + name_of(*key)] = value.grad.float().numpy()
    bundle(folder, tensors, {"model": f"quants/model_llama256.{kind}.gguf", "loss_definition": "mean over labels"})
    print(kind, loss.item(), sum(v.numel() for v in lora.values()))


if __name__ == "__main__":
    for one in TYPES:
        make(one)
