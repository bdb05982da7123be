#!/usr/bin/env python3
"""Makes tests/fixtures/checkpoints: a tiny random checkpoint of each family that `nook convert` takes, with its answers.

Each folder is what a model looks like on the Hugging Face hub: written by transformers' save_pretrained, with a tokenizer
trained here by the rules of the family's own (the tokenizers library; sentencepiece for those that come from it). Beside it
lie reference.json and reference.bin: logits (encoders: hidden states) by transformers in float32, eager attention, from the
weights as they are stored; and strings with the ids that the tokenizer gives them, control tokens parsed.

    python3 -m venv venv && venv/bin/pip install torch==2.13 transformers==5.23 tokenizers==0.23 sentencepiece==0.2.3
    venv/bin/python tests/reference/make_checkpoints.py tests/fixtures/checkpoints [NAME ...]
"""
import io
import json
import os
import shutil
import sys
import tempfile

import numpy as np
import sentencepiece
import tokenizers
import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

TEXT = [
    "The river rises in the hills above the town, and by the time it reaches the sea it has passed forty-two mills.",
    "She wrote down 17 numbers: 3, 14, 159 and 2653; the rest she knew by heart.",
    "It's what they've said, isn't it? We'll see, I'm sure you'd agree.",
    "for (int i = 0; i < n; i++) { total += values[i] * weights[i]; }",
    "Über die Brücke gehen täglich tausend Menschen; größer wird sie dadurch nicht.",
    "Le café était déjà fermé, où l'été passé nous avions mangé.",
    "The mill, the town, the river and the sea: the hills have seen them all, and the hills will see them again.",
    "\tdef answer(question):\n        return 'the river' if question else None\n\n",
]
STRINGS = [
    "The river rises in the hills.", " the  sea   and the town", "It's 2653 mills, isn't it? WE'LL see!", "größer als das café",
    "for (i = 0; i < 10; i++) {\n\treturn values[i];\n}\n", "日本語 and 🙂 emoji", "", "\n\n  \n x", "naïve e\u0301tude 12345 ½ ①",
]
LENGTHS = (9, 33)
WIDTH, FEED_FORWARD, CONTEXT = 32, 64, 64

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
CL100K = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


# ---- Tokenizers ------------------------------------------------------------------------------------------------------

def byte_level(steps, specials, normalizer=None, ignore_merges=False, template=None):
    """A byte-level BPE; steps go before ByteLevel, None: ByteLevel's own expression alone."""
    tok = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer is not None:
        tok.normalizer = normalizer
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not any(isinstance(s, pre_tokenizers.Split) for s in steps))
    tok.pre_tokenizer = pre_tokenizers.Sequence([*steps, last]) if steps else last
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tok.train_from_iterator(TEXT, trainer)
    level = processors.ByteLevel(trim_offsets=False)
    if template is None:
        tok.post_processor = level
    else:
        tok.post_processor = processors.Sequence([level, processors.TemplateProcessing(
            single=f"{template}:0 $A:0", pair=f"{template}:0 $A:0 {template}:1 $B:1", special_tokens=[(template, tok.token_to_id(template))])])
    return tok


def sentence_piece(style, specials, user=(), vocab=400):
    """SentencePiece's BPE with byte fallback, turned into merges as transformers turns it: every split of every piece."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT * 4), model_writer=out, model_type="bpe", vocab_size=vocab, byte_fallback=True, character_coverage=0.999,
        bos_id=1, eos_id=2, unk_id=0, pad_id=-1, hard_vocab_limit=False, minloglevel=2, normalization_rule_name="identity",
        remove_extra_whitespaces=False, allow_whitespace_only_pieces=True)
    sp = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    pieces = [(sp.id_to_piece(i), sp.get_score(i)) for i in range(sp.get_piece_size())]
    ids = {text: i for i, (text, _) in enumerate(pieces)}
    merges = []
    for text, value in pieces:
        splits = [(text[:i], text[i:]) for i in range(1, len(text)) if text[:i] in ids and text[i:] in ids]
        merges += [(left, right, value) for left, right in sorted(splits, key=lambda s: (ids[s[0]], ids[s[1]]))]
    merges.sort(key=lambda m: m[2], reverse=True)
    tok = Tokenizer(models.BPE(ids, [(a, b) for a, b, _ in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if style == "llama":
        tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tok.normalizer = normalizers.Replace(" ", "▁")
        tok.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tok.add_special_tokens([AddedToken(t, normalized=False) for t in ("<unk>", "<s>", "</s>", *specials)])
    tok.add_tokens([AddedToken(t, normalized=False) for t in user])
    tok.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return tok


def field(message, wanted):
    """The bytes of a length-delimited field of a protocol buffer, the last of its number."""
    at, found = 0, None

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 2:
            length = varint()
            if key >> 3 == wanted:
                found = message[at:at + length]
            at += length
        elif key & 7 == 0:
            varint()
        else:
            at += {1: 8, 5: 4}[key & 7]
    return found


def unigram():
    """SentencePiece's unigram model with a map of three characters, as transformers writes XLM-R's."""
    out = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        rules.write("".join("\t".join(" ".join(f"{ord(c):X}" for c in text) for text in pair) + "\n" for pair in (("½", "1/2"), ("①", "1"), ("\t", " "))))
        rules.flush()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXT * 4), model_writer=out, model_type="unigram", vocab_size=220, character_coverage=1.0, bos_id=0, pad_id=1, eos_id=2,
            unk_id=3, hard_vocab_limit=False, minloglevel=2, normalization_rule_tsv=rules.name)
    sp = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    pieces = [(sp.id_to_piece(i), sp.get_score(i)) for i in range(sp.get_piece_size())]
    tok = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    charsmap = field(field(out.getvalue(), 3), 2)  # normalizer_spec.precompiled_charsmap
    tok.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap), normalizers.Replace(Regex(" {2,}"), " ")])
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")])
    tok.decoder = decoders.Metaspace()
    tok.add_special_tokens([AddedToken(t, normalized=False) for t in ("<s>", "<pad>", "</s>", "<unk>")])
    tok.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return tok


def word_piece():
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece()
    tok.train_from_iterator(TEXT, trainers.WordPieceTrainer(vocab_size=260, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
    tok.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return tok


def wrap(tok, **names):
    return PreTrainedTokenizerFast(tokenizer_object=tok, clean_up_tokenization_spaces=False, **names)


def gpt2_like():
    return wrap(byte_level([], ["<|endoftext|>"]), bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>")


def neox_like():
    return wrap(byte_level([], ["<|endoftext|>", "<|padding|>"], normalizers.NFC()), bos_token="<|endoftext|>", eos_token="<|endoftext|>")


def opt_like():
    return wrap(byte_level([], ["<s>", "<pad>", "</s>", "<unk>"], template="</s>"), bos_token="</s>", eos_token="</s>", pad_token="<pad>", unk_token="</s>", add_bos_token=True)


def smollm_like():
    return wrap(byte_level([pre_tokenizers.Digits(individual_digits=True)], ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]),
                bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>")


def llama3_like():
    split = pre_tokenizers.Split(Regex(CL100K % "{1,3}"), "isolated")
    return wrap(byte_level([split], ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"], ignore_merges=True, template="<|begin_of_text|>"),
                bos_token="<|begin_of_text|>", eos_token="<|eot_id|>")


def qwen_like():
    split = pre_tokenizers.Split(Regex(CL100K % ""), "isolated")
    tok = byte_level([split], ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], normalizers.NFC())
    tok.add_tokens([AddedToken("<tool_call>", normalized=False, special=False)])
    return wrap(tok, eos_token="<|im_end|>", pad_token="<|endoftext|>", add_bos_token=False)


def llama_like(**more):
    return wrap(sentence_piece("llama", []), bos_token="<s>", eos_token="</s>", unk_token="<unk>", **more)


def phi3_like():
    return wrap(sentence_piece("llama", ["<|endoftext|>", "<|assistant|>", "<|end|>"]), bos_token="<s>", eos_token="<|endoftext|>", unk_token="<unk>")


def gemma_like():
    tok = sentence_piece("gemma", ["<start_of_turn>", "<end_of_turn>"], user=["\n\n", "  "])
    return wrap(tok, bos_token="<s>", eos_token="</s>", unk_token="<unk>", add_bos_token=True)


def unigram_like():
    return wrap(unigram(), bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>")


def bert_like():
    return wrap(word_piece(), cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]")


# ---- Models ----------------------------------------------------------------------------------------------------------

T = transformers
HEADS = dict(num_attention_heads=4, num_key_value_heads=2)
BASE = dict(hidden_size=WIDTH, intermediate_size=FEED_FORWARD, num_hidden_layers=2, max_position_embeddings=CONTEXT)
TEMPLATE = "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}{% endfor %}"
LONG = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0, 1.1, 1.2, 1.3], "long_factor": [1.5, 2.0, 3.0, 4.0],
        "original_max_position_embeddings": 16}

# name: (config class, its arguments, model class, tokenizer, dtype, shard size, what else)
MODELS = {
    "llama": (T.LlamaConfig, dict(BASE, **HEADS, rms_norm_eps=1e-5), T.LlamaForCausalLM, llama_like, "bfloat16", None, {"merges": "texts"}),
    "llama_tied": (T.LlamaConfig, dict(BASE, **HEADS, tie_word_embeddings=True, attention_bias=True), T.LlamaForCausalLM, smollm_like, "bfloat16", None, {"template": "config"}),
    "llama3": (T.LlamaConfig, dict(BASE, **HEADS, rope_parameters={
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16}), T.LlamaForCausalLM, llama3_like, "bfloat16", "40KB", {"template": "file", "ends": ["<|end_of_text|>", "<|eot_id|>"]}),
    "llama_unigram": (T.LlamaConfig, dict(BASE, **HEADS, tie_word_embeddings=True), T.LlamaForCausalLM, unigram_like, "bfloat16", None, {}),
    "mistral": (T.MistralConfig, dict(BASE, **HEADS, sliding_window=16), T.MistralForCausalLM, llama_like, "bfloat16", None, {}),
    "qwen2": (T.Qwen2Config, dict(BASE, **HEADS, use_sliding_window=True, sliding_window=16, max_window_layers=1, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1000000.0}), T.Qwen2ForCausalLM, qwen_like, "float16", None, {}),
    "qwen3": (T.Qwen3Config, dict(BASE, **HEADS, head_dim=16, rope_parameters={
        "rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0, "original_max_position_embeddings": 16, "attention_factor": 1.5}), T.Qwen3ForCausalLM, qwen_like, "bfloat16", None, {}),
    "gemma": (T.GemmaConfig, dict(BASE, num_attention_heads=4, num_key_value_heads=1, head_dim=16), T.GemmaForCausalLM, gemma_like, "bfloat16", None, {}),
    "gemma2": (T.Gemma2Config, dict(BASE, **HEADS, head_dim=16, query_pre_attn_scalar=16, sliding_window=16, attn_logit_softcapping=8.0, final_logit_softcapping=3.0),
               T.Gemma2ForCausalLM, gemma_like, "bfloat16", None, {}),
    "gemma3": (T.Gemma3TextConfig, dict(BASE, **HEADS, num_hidden_layers=6, intermediate_size=32, head_dim=8, query_pre_attn_scalar=8, sliding_window=16), T.Gemma3ForCausalLM, gemma_like, "bfloat16", None, {}),
    "phi": (T.PhiConfig, dict(BASE, num_attention_heads=4, partial_rotary_factor=0.5), T.PhiForCausalLM, gpt2_like, "float16", None, {"rows": 384}),
    "phi3": (T.Phi3Config, dict(BASE, **HEADS, sliding_window=None, original_max_position_embeddings=CONTEXT), T.Phi3ForCausalLM, phi3_like, "bfloat16", None, {}),
    "phi3_long": (T.Phi3Config, dict(BASE, **HEADS, sliding_window=None, rope_parameters=LONG, original_max_position_embeddings=16), T.Phi3ForCausalLM, phi3_like, "bfloat16", None, {}),
    "gpt_neox": (T.GPTNeoXConfig, dict(BASE, num_attention_heads=4, rotary_pct=0.25), T.GPTNeoXForCausalLM, neox_like, "float16", None, {"rows": 352, "merges": "texts"}),
    "opt": (T.OPTConfig, dict(hidden_size=WIDTH, ffn_dim=FEED_FORWARD, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=CONTEXT, word_embed_proj_dim=WIDTH),
            T.OPTForCausalLM, opt_like, "float16", None, {}),
    "opt_post": (T.OPTConfig, dict(hidden_size=WIDTH, ffn_dim=FEED_FORWARD, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=CONTEXT, word_embed_proj_dim=16,
                                   do_layer_norm_before=False), T.OPTForCausalLM, opt_like, "float32", None, {}),
    "stablelm": (T.StableLmConfig, dict(BASE, **HEADS, use_qkv_bias=True, rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25}),
                 T.StableLmForCausalLM, neox_like, "bfloat16", None, {}),
    "stablelm_parallel": (T.StableLmConfig, dict(BASE, **HEADS, qk_layernorm=True, use_parallel_residual=True), T.StableLmForCausalLM, neox_like, "bfloat16", None, {}),
    "gpt2": (T.GPT2Config, dict(n_embd=WIDTH, n_layer=2, n_head=4, n_positions=CONTEXT), T.GPT2LMHeadModel, gpt2_like, "float16", None, {"merges": "texts"}),
    "olmo2": (T.Olmo2Config, dict(BASE, **HEADS), T.Olmo2ForCausalLM, neox_like, "bfloat16", None, {}),
    "lfm2": (T.Lfm2Config, dict(BASE, **HEADS, num_hidden_layers=3, block_multiple_of=16, layer_types=["conv", "full_attention", "conv"]), T.Lfm2ForCausalLM, llama3_like, "bfloat16", None, {}),
    "bert": (T.BertConfig, dict(BASE, num_attention_heads=4), T.BertModel, bert_like, "float32", None, {"pooling": "cls"}),
    "xlm_roberta": (T.XLMRobertaConfig, dict(BASE, num_attention_heads=4, max_position_embeddings=CONTEXT + 2, type_vocab_size=1), T.XLMRobertaModel, unigram_like, "bfloat16",
                    None, {"pooling": "mean"}),
    "nomic_bert": (T.NomicBertConfig, dict(BASE, num_attention_heads=4, rope_parameters={"rope_type": "default", "rope_theta": 1000.0}), T.NomicBertModel, bert_like, "float32", None, {"pooling": "mean"}),
}


def randomize(model, gemma):
    with torch.no_grad():
        for key, value in model.named_parameters():
            if value.dim() == 1:
                one = key.endswith("weight") and not gemma
                value.copy_((1.0 if one else 0.0) + 0.1 * torch.randn_like(value))
            else:
                value.copy_(torch.randn_like(value) * (0.5 if "embed" in key or "wte" in key else 0.15))


def bundle(folder, tensors, meta):
    table, data = {}, b""
    for key, array in tensors.items():
        data += b"\0" * (-len(data) % 64)
        table[key] = {"dtype": "i32" if array.dtype == np.int32 else "f32", "shape": list(array.shape), "offset": len(data), "nbytes": array.nbytes}
        data += array.tobytes()
    with open(f"{folder}/reference.bin", "wb") as file:
        file.write(data)
    with open(f"{folder}/reference.json", "w") as file:
        json.dump({"format": "oracle-bundle/1", "data": "reference.bin", "meta": meta, "tensors": table}, file, indent=1, ensure_ascii=False)
        file.write("\n")


def make(target, name, seed):
    config_class, arguments, model_class, tokenizer_of, dtype, shard, more = MODELS[name]
    folder = f"{target}/{name}"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    tokenizer = tokenizer_of()
    torch.manual_seed(seed)
    rows = more.get("rows", len(tokenizer))
    ids = {key: getattr(tokenizer, key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = config_class(vocab_size=rows, attn_implementation="eager", **ids, **arguments)
    model = model_class(config).eval()
    randomize(model, "gemma" in name)
    model.tie_weights()
    model.to(getattr(torch, dtype))
    if more.get("ends"):
        model.generation_config.eos_token_id = [tokenizer.convert_tokens_to_ids(one) for one in more["ends"]]
    model.save_pretrained(folder, **({"max_shard_size": shard} if shard else {}))
    if more.get("template"):
        tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    if more.get("template") == "config":  # as before there was a file for it
        os.remove(f"{folder}/chat_template.jinja")
        with open(f"{folder}/tokenizer_config.json") as file:
            settings = json.load(file)
        settings["chat_template"] = TEMPLATE
        with open(f"{folder}/tokenizer_config.json", "w") as file:
            json.dump(settings, file, indent=2)
    if more.get("merges"):  # as before the lists
        with open(f"{folder}/tokenizer.json") as file:
            rules = json.load(file)
        rules["model"]["merges"] = [" ".join(pair) for pair in rules["model"]["merges"]]
        with open(f"{folder}/tokenizer.json", "w") as file:
            json.dump(rules, file, ensure_ascii=False)
    if more.get("pooling"):
        os.makedirs(f"{folder}/1_Pooling")
        with open(f"{folder}/1_Pooling/config.json", "w") as file:
            json.dump({"word_embedding_dimension": WIDTH, "pooling_mode_cls_token": more["pooling"] == "cls",
                       "pooling_mode_mean_tokens": more["pooling"] == "mean"}, file)

    # The reference reads the folder anew: what is stored is what is compared.
    model = model_class.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    encoder = model_class in (T.BertModel, T.NomicBertModel, T.XLMRobertaModel)
    random, tensors = np.random.default_rng(seed), {}
    for length in LENGTHS:
        tokens = random.integers(0, len(tokenizer), length).astype(np.int32)
        if encoder:
            tokens[0], tokens[-1] = tokenizer("").input_ids
            tokens[tokens == tokenizer.pad_token_id] = 5  # padding would have no position
        with torch.no_grad():
            out = model(torch.from_numpy(tokens.astype(np.int64))[None])
        rows_out = out.last_hidden_state if encoder else out.logits
        tensors[f"len{length}/ids"] = tokens
        tensors[f"len{length}/{'hidden' if encoder else 'logits'}"] = np.ascontiguousarray(rows_out[0].numpy().astype(np.float32))
    specials = tokenizer.all_special_tokens
    strings = STRINGS + [f"{specials[-1]}the town{specials[0]} and the sea"]
    meta = {"script": "tests/reference/make_checkpoints.py", "reference": "transformers float32, eager attention", "seed": seed, "dtype": dtype,
            "bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id, "template": TEMPLATE if more.get("template") else None,
            "strings": [{"text": text, "ids": tokenizer(text, add_special_tokens=False).input_ids, "ids_special": tokenizer(text).input_ids} for text in strings]}
    bundle(folder, tensors, meta)
    size = sum(os.path.getsize(os.path.join(root, file)) for root, _, files in os.walk(folder) for file in files)
    print(f"{name}: {size} bytes, {len(tokenizer)} tokens, {sorted(os.listdir(folder))}", flush=True)


if __name__ == "__main__":
    for one in MODELS:
        if not sys.argv[2:] or one in sys.argv[2:]:
            make(sys.argv[1], one, 100 + sum(map(ord, one)))
