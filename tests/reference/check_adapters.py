#!/usr/bin/env python3
"""Loads adapters that Nook wrote into Hugging Face's PEFT, and says what PEFT makes of them.

For every folder of FOLDER a random transformers model with the sizes of tests/fixtures/tiny/NAME.gguf is made, the adapter is
loaded with PeftModel.from_pretrained, and these must hold: no warning, no tensor missing or left over, PEFT's own state dict
equal to the file bit for bit, ranks and scales as the file says, and logits that change (an adapter of no effect would pass
unseen) and are finite. LoRA's GGUF files beside them must hold what llama.cpp asks of one: its keys, and for each pair a
tensor of the model with fitting sizes.

    cmake --build build/sanitize --target test_adapter_write && mkdir OUT && build/sanitize/unit/test_adapter_write OUT
    python3 -m venv venv && venv/bin/pip install torch==2.13 transformers==5.23 peft==0.21 gguf==0.19 safetensors
    venv/bin/python tests/reference/check_adapters.py OUT
"""
import json
import pathlib
import sys
import warnings

import gguf
import torch
import transformers
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file

TINY = pathlib.Path('tests/fixtures/tiny')
CLASSES = {
    'llama': 'Llama', 'qwen2': 'Qwen2', 'qwen3': 'Qwen3', 'gemma': 'Gemma', 'gemma2': 'Gemma2', 'gemma3': 'Gemma3Text',
    'phi2': 'Phi', 'phi3': 'Phi3', 'gptneox': 'GPTNeoX', 'stablelm': 'StableLm', 'gpt2': 'GPT2', 'opt': 'OPT',
    'olmo2': 'Olmo2', 'ernie4_5': 'Ernie4_5', 'lfm2': 'Lfm2',
}
CAUSAL = {'gemma3': 'Gemma3ForCausalLM', 'gpt2': 'GPT2LMHeadModel'}


def model_of(name):
    reader = gguf.GGUFReader(TINY / f'{name}.gguf')
    arch = reader.fields['general.architecture'].contents()
    field = lambda key, other=None: reader.fields[f'{arch}.{key}'].contents() if f'{arch}.{key}' in reader.fields else other
    shapes = {t.name: [int(n) for n in t.shape] for t in reader.tensors}
    width, heads = field('embedding_length'), field('attention.head_count')
    kv = field('attention.head_count_kv', heads)
    layers, window = field('block_count'), field('attention.sliding_window')
    sizes = dict(vocab_size=shapes['token_embd.weight'][1], hidden_size=width, num_hidden_layers=layers,
                 num_attention_heads=heads, intermediate_size=field('feed_forward_length'), max_position_embeddings=256,
                 attn_implementation='eager', pad_token_id=0, bos_token_id=1, eos_token_id=2)
    if arch == 'gpt2':
        sizes = dict(vocab_size=sizes['vocab_size'], n_embd=width, n_layer=layers, n_head=heads,
                     n_inner=sizes['intermediate_size'], n_positions=256, attn_implementation='eager')
    elif arch == 'opt':
        sizes['ffn_dim'] = sizes.pop('intermediate_size')
        sizes['word_embed_proj_dim'] = shapes['token_embd.weight'][0]
        sizes['do_layer_norm_before'] = bool(field('do_layer_norm_before', True))
    elif arch == 'lfm2':
        kinds = ['conv' if n == 0 else 'full_attention' for n in kv]
        sizes.update(layer_types=kinds, num_key_value_heads=max(kv), block_auto_adjust_ff_dim=False)
    elif arch != 'gptneox':
        sizes['num_key_value_heads'] = kv
        sizes['head_dim'] = field('attention.key_length', width // heads)
    if window and arch in ('gemma2', 'gemma3'):
        sizes['sliding_window'] = window
    config = getattr(transformers, CLASSES[arch] + 'Config')(**sizes)
    torch.manual_seed(0)
    model = getattr(transformers, CAUSAL.get(arch, CLASSES[arch] + 'ForCausalLM'))(config).eval()
    return model, shapes, arch


def check_folder(folder):
    name, what = folder.name.split('.')
    model, _, _ = model_of(name)
    ids = torch.arange(5, 17)[None]
    with torch.no_grad():
        before = model(input_ids=ids).logits
    config = json.loads((folder / 'adapter_config.json').read_text())
    file = load_file(folder / 'adapter_model.safetensors')
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        peft = PeftModel.from_pretrained(model, str(folder)).eval()
    told = [str(w.message) for w in caught if 'deprecated' not in str(w.message)]  # their own code's
    assert not told, told
    state = get_peft_model_state_dict(peft, save_embedding_layers=False)
    assert set(state) == set(file), (sorted(set(state) ^ set(file)))[:4]
    for key, tensor in file.items():
        assert state[key].dtype == torch.float32 and torch.equal(state[key], tensor), key
    for key, module in peft.named_modules():
        if not isinstance(getattr(module, 'scaling', None), dict):
            continue
        rank = module.r['default']
        assert rank == file[f'{key}.lora_A.weight'].shape[0], key
        path = key.removeprefix('base_model.model.')
        alpha = config['alpha_pattern'].get(path, config['lora_alpha'])
        wanted = alpha / (rank ** 0.5 if config['use_rslora'] else rank)
        assert abs(module.scaling['default'] - wanted) <= 1e-12 * abs(wanted), key
    if what == 'prompt' and config['token_dim'] != model.get_input_embeddings().weight.shape[1]:
        return f'{len(file)} tensors (transformers takes no prompt before a projected embedding)'
    if what == 'prefix' and name == 'lfm2':
        return f'{len(file)} tensors (transformers takes no prefix beside convolutions)'
    with torch.no_grad():
        after = peft(input_ids=ids).logits[:, -ids.shape[1]:]
    assert torch.isfinite(after).all()
    moved = (after - before).abs().max().item()
    assert moved > 1e-4, moved
    return f'{len(file)} tensors, logits move by {moved:.3g}'


def check_gguf(path):
    name = path.name.split('.')[0]
    _, shapes, arch = model_of(name)
    reader = gguf.GGUFReader(path)
    text = lambda key: reader.fields[key].contents()
    assert (text('general.type'), text('adapter.type'), text('general.architecture')) == ('adapter', 'lora', arch)
    assert text('adapter.lora.alpha') != 0
    tensors = {t.name: [int(n) for n in t.shape] for t in reader.tensors}
    stems = {key.rsplit('.', 1)[0] for key in tensors}
    assert len(tensors) == 2 * len(stems)
    for stem in stems:
        a, b, base = tensors[f'{stem}.lora_a'], tensors[f'{stem}.lora_b'], shapes[stem]
        assert (a[0], b[1], a[1]) == (base[0], base[1], b[0]), stem
    return f'{len(stems)} pairs'


def main(out):
    failed = 0
    for path in sorted(pathlib.Path(out).iterdir()):
        try:
            print(path.name, check_gguf(path) if path.suffix == '.gguf' else check_folder(path), flush=True)
        except Exception as problem:  # each is counted and told; the others go on
            failed += 1
            print(path.name, 'FAILED', type(problem).__name__, str(problem)[:300], flush=True)
    print(f'{failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    transformers.utils.logging.set_verbosity_error()
    sys.exit(main(sys.argv[1]))
