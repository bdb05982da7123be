#!/usr/bin/env python3
"""Makes tests/fuzz/corpus/adapter: seeds of fuzz_adapter, in the form that tests/fuzz/fuzz_adapter.c describes.

Small adapters for its three models (two layers, 8 wide), in every method and both formats, some with options.

    venv/bin/python tests/reference/make_adapter_corpus.py        (needs gguf and numpy)
"""
import hashlib
import json
import os
import struct
import tempfile

import gguf
import numpy as np

TO = 'tests/fuzz/corpus/adapter'
WIDTH, KV, FEED_FORWARD, LAYERS = 8, 4, 12, 2
LLAMA = {'q_proj': ('self_attn.', WIDTH, WIDTH), 'k_proj': ('self_attn.', KV, WIDTH), 'v_proj': ('self_attn.', KV, WIDTH),
         'down_proj': ('mlp.', WIDTH, FEED_FORWARD)}
NEOX = {'query_key_value': ('attention.', 3 * WIDTH, WIDTH), 'dense_4h_to_h': ('mlp.', WIDTH, FEED_FORWARD)}
CONFIG = {'task_type': 'CAUSAL_LM', 'inference_mode': True, 'base_model_name_or_path': 'x', 'modules_to_save': None}
random = np.random.default_rng(1)


def keep(data):
    with open(f'{TO}/{hashlib.sha256(data).hexdigest()[:12]}', 'wb') as file:
        file.write(data)


def peft(layout, config, tensors, types='F32', metadata=None):
    header, data = ({'__metadata__': metadata} if metadata else {}), b''
    for name, shape in tensors.items():
        values = random.standard_normal(shape).astype(np.float32)
        raw = values.tobytes()
        if types == 'F16':
            raw = values.astype(np.float16).tobytes()
        elif types == 'BF16':
            raw = (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        header[name] = {'dtype': types, 'shape': list(shape), 'data_offsets': [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(',', ':')).encode()
    config = json.dumps({**CONFIG, **config}, separators=(',', ':')).encode()
    keep(bytes([layout]) + struct.pack('<H', len(config)) + config + struct.pack('<I', len(text)) + text + data)


def path(table, before, layer, name):
    return f'base_model.model.{before}.layers.{layer}.{table[name][0]}{name}'


def lora(table, before, names, layers, rank):
    tensors = {}
    for layer in layers:
        for name in names:
            _, out, inner = table[name]
            r = rank(layer, name)
            tensors[path(table, before, layer, name) + '.lora_A.weight'] = (r, inner)
            tensors[path(table, before, layer, name) + '.lora_B.weight'] = (out, r)
    return tensors


def gguf_file(layout, arch, alpha, tensors):
    with tempfile.TemporaryDirectory() as folder:
        writer = gguf.GGUFWriter(f'{folder}/x', arch)
        writer.add_type('adapter')
        writer.add_string('adapter.type', 'lora')
        if alpha is not None:
            writer.add_float32('adapter.lora.alpha', alpha)
        writer.add_string('nook.card', '{"tool":"x"}')
        for name, shape, kind in tensors:
            writer.add_tensor(name, random.standard_normal(shape).astype(kind))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        with open(f'{folder}/x', 'rb') as file:
            keep(bytes([0x80 | layout]) + file.read())


os.makedirs(TO, exist_ok=True)
for old in os.listdir(TO):
    os.remove(f'{TO}/{old}')
both, two = range(LAYERS), lambda layer, name: 2
targets = {'peft_type': 'LORA', 'r': 2, 'lora_alpha': 4, 'bias': 'none', 'lora_dropout': 0.1}
peft(0, {**targets, 'target_modules': ['q_proj', 'v_proj']}, lora(LLAMA, 'model', ['q_proj', 'v_proj'], both, two),
     metadata={'format': 'pt', 'nook.card': json.dumps({'tool': 'x', 'base_sha256': 'ab' * 32})})
peft(0, {**targets, 'target_modules': '.*k_proj', 'use_rslora': True}, lora(LLAMA, 'model', ['k_proj'], both, two), 'F16')
peft(0, {**targets, 'target_modules': ['k_proj'], 'layers_to_transform': [1], 'layers_pattern': ['layers']},
     lora(LLAMA, 'model', ['k_proj'], [1], two), 'BF16')
peft(0, {**targets, 'target_modules': ['q_proj', 'down_proj'], 'rank_pattern': {'down_proj': 1},
         'alpha_pattern': {'^model.layers.1.mlp.down_proj$': 0.5}},
     lora(LLAMA, 'model', ['q_proj', 'down_proj'], both, lambda layer, name: 1 if name == 'down_proj' else 2))
peft(1, {**targets, 'target_modules': ['query_key_value']}, lora(NEOX, 'gpt_neox', ['query_key_value'], both, two))
peft(1, {'peft_type': 'IA3', 'target_modules': list(NEOX), 'feedforward_modules': ['dense_4h_to_h']},
     {path(NEOX, 'gpt_neox', layer, name) + '.ia3_l': shape for layer in both
      for name, shape in (('query_key_value', (24, 1)), ('dense_4h_to_h', (1, 12)))})
peft(0, {'peft_type': 'IA3', 'target_modules': ['k_proj', 'down_proj'], 'feedforward_modules': ['down_proj']},
     {path(LLAMA, 'model', layer, name) + '.ia3_l': shape for layer in both
      for name, shape in (('k_proj', (4, 1)), ('down_proj', (1, 12)))}, 'F16')
virtual = {'num_virtual_tokens': 2, 'num_layers': 2, 'num_transformer_submodules': 1}
peft(2, {'peft_type': 'PROMPT_TUNING', **virtual, 'token_dim': 8}, {'prompt_embeddings': (2, 8)})
peft(0, {'peft_type': 'PREFIX_TUNING', **virtual, 'token_dim': 4, 'prefix_projection': True}, {'prompt_embeddings': (2, 16)})
peft(2, {'peft_type': 'PREFIX_TUNING', **virtual, 'token_dim': 4}, {'prompt_embeddings': (2, 16)}, 'BF16')
peft(2, {**targets, 'target_modules': ['in_proj']},
     {f'base_model.model.model.layers.0.conv.in_proj.lora_{half}.weight': shape for half, shape in (('A', (2, 8)), ('B', (24, 2)))})
pair = lambda stem, out, inner, kind: [(f'{stem}.weight.lora_a', (2, inner), kind), (f'{stem}.weight.lora_b', (out, 2), kind)]
gguf_file(0, 'llama', 4.0, pair('blk.0.attn_q', 8, 8, np.float32) + pair('blk.1.ffn_down', 8, 12, np.float16))
gguf_file(1, 'gptneox', None, pair('blk.1.attn_qkv', 24, 8, np.float32))
gguf_file(2, 'lfm2', -1.0, pair('blk.0.shortconv.in_proj', 24, 8, np.float32))
print(len(os.listdir(TO)))
