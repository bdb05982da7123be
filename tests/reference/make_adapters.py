#!/usr/bin/env python3
"""Makes tests/fixtures/adapters/peft_*: adapters as Hugging Face's PEFT saves them when people use its options.

Random transformers models with the sizes of tests/fixtures/tiny/NAME.gguf, random adapter weights, save_pretrained. Beside
each folder's two files: expected.json, PEFT's own scale and rank of every module, and, where the adapter was saved in 16 bits,
as_f32.safetensors, the same numbers by PyTorch's conversion.

    python3 -m venv venv && venv/bin/pip install torch==2.13 transformers==5.23 peft==0.21 safetensors
    venv/bin/python tests/reference/make_adapters.py tests/fixtures/adapters
"""
import json
import pathlib
import shutil
import sys

import torch
import transformers
from peft import IA3Config, LoraConfig, PrefixTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file


def llama():
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=320, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=160, max_position_embeddings=256))


def gpt2():
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=320, n_embd=64, n_layer=2, n_head=4, n_inner=256, n_positions=256))


ALL = dict(task_type='CAUSAL_LM')
CASES = {
    'patterns': (llama, torch.float32, LoraConfig(
        r=4, lora_alpha=6, use_rslora=True, lora_dropout=0.05, target_modules=['q_proj', 'k_proj', 'mlp.down_proj'],
        rank_pattern={'k_proj': 2, '^model.layers.1.mlp.down_proj': 3}, alpha_pattern={'layers.1.self_attn.q_proj': 10},
        **ALL)),
    'layers': (llama, torch.float16, LoraConfig(
        r=2, lora_alpha=16, target_modules=['q_proj', 'up_proj'], layers_to_transform=[1], layers_pattern='layers', **ALL)),
    'all_linear': (llama, torch.bfloat16, LoraConfig(r=1, target_modules='all-linear', **ALL)),
    'expression': (llama, torch.float32, LoraConfig(r=2, target_modules=r'.*layers\.0\..*\.(o|v)_proj', **ALL)),
    'projection': (llama, torch.float32, PrefixTuningConfig(
        num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=24, **ALL)),
    'conv1d': (gpt2, torch.float32, LoraConfig(r=2, lora_alpha=3, target_modules=['c_attn', 'mlp.c_proj'],
                                               fan_in_fan_out=True, **ALL)),
    'conv1d_ia3': (gpt2, torch.float16, IA3Config(**ALL)),
}


def make(out, name, make_model, dtype, config):
    torch.manual_seed(sum(map(ord, name)))
    model = get_peft_model(make_model(), config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = (torch.randn_like(parameter) * 0.3).to(dtype)
    folder = out / f'peft_{name}'
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / 'README.md').unlink(missing_ok=True)
    tensors = load_file(folder / 'adapter_model.safetensors')
    assert all(tensor.dtype == dtype for tensor in tensors.values())
    if dtype != torch.float32:
        save_file({key: tensor.float() for key, tensor in tensors.items()}, folder / 'as_f32.safetensors')
    modules = {}
    for key, module in model.named_modules():
        scaling = getattr(module, 'scaling', None)
        if isinstance(scaling, dict) and 'default' in scaling:
            modules[key.removeprefix('base_model.model.')] = [module.r['default'], scaling['default']]
    (folder / 'expected.json').write_text(json.dumps(modules, indent=1) + '\n')
    print(folder, len(tensors), len(modules))


if __name__ == '__main__':
    for case, arguments in CASES.items():
        make(pathlib.Path(sys.argv[1]), case, *arguments)
