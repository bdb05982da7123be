#!/usr/bin/env python3
"""Makes tests/fixtures/gemma/ids.json: ids of many strings under Gemma 3's own vocabulary, by Hugging Face's tokenizers.

The tokenizer.json of the model is not free to fetch. But what transformers makes of such a vocabulary is known (GemmaConverter and GemmaTokenizer): byte-pair
encoding with byte fallback, its merges in the order of the pieces' scores, every space replaced by U+2581 and no space put in front, user-defined and control
pieces as added tokens that are found in the text as it came. That is built here of the vocabulary in the GGUF file, whose converter wrote user-defined pieces
with spaces for U+2581 and at a score of -1000: both are put back.
    python3 -m venv venv && venv/bin/pip install tokenizers==0.23.3 gguf==0.19
    npm run model -- gemma-3-270m-q4_k_m
    venv/bin/python tests/reference/make_gemma_ids.py models/cache/gemma-3-270m-q4_k_m.gguf tests/fixtures/tokenizers tests/fixtures/gemma/ids.json
Strings: those of the vocabularies' tests (smollm2_strings.json and vocab_*_strings.json, up to 300 characters), those that make_tokenizers.py makes, and hard ones.
"""
import glob
import json
import os
import random
import sys

import gguf
from make_tokenizers import decode, strings, write_cases
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)
MARK = "\u2581"
# Pieces of hard strings: white space of every kind, the mark that stands for a space, added tokens and near misses of them, bytes without a piece.
HARD = [" ", "  ", "   ", "\t", "\t\t", "\n", "\n\n", "\n\n\n", "\r\n", "\r", "\u00a0", "\u2003", "\u200b", MARK, MARK * 2, MARK + " ", " " + MARK, "a", "the", " the",
        "A", "0", "42", ".", "...", "<start_of_turn>", "<end_of_turn>", "<start_of_turn>user\n", "<bos>", "<eos>", "<pad>", "<mask>", "<unused7>", "<start_of_image>",
        "<table>", "</table>", "<h1>", "<h1", "<td", "[multimodal]", "[multimodal", "<start_of", "_turn>", "<0x0A>", "<0x41>", "<unk>", "\u4e2d\u6587", "日本語", "한국어",
        "العربية", "हिन्दी", "😀", "👨‍👩‍👧", "🇩🇪", "e\u0301", "\u0000", "\u0007", "\u001b", "\u007f", "\u0085", "\ufeff", "\ufffd", "𐀀", "𓂀", "\U0010fffd", "def f(x):\n        return x"]


def merges_of(vocabulary, scores):
    """transformers' generate_merges: every pair of pieces that together are one, the best score first, the shorter left part first at equal ones ... reversed."""
    merges = []
    for text, score in scores.items():
        pairs = [(text[:cut], text[cut:], score) for cut in range(1, len(text)) if text[:cut] in vocabulary and text[cut:] in vocabulary]
        merges += sorted(pairs, key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))
    merges.sort(key=lambda merge: (merge[2], len(merge[0]), len(merge[1])), reverse=True)
    return [(left, right) for left, right, _ in merges]


def build(path):
    fields = gguf.GGUFReader(path).fields
    texts, kinds, scores = (fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "token_type", "scores"))
    pieces = [(text.replace(" ", MARK), 0.0) if kind == USER else (text, score) for text, kind, score in zip(texts, kinds, scores)]
    vocabulary = {text: token_id for token_id, (text, _) in enumerate(pieces)}
    assert len(vocabulary) == len(pieces) and vocabulary["<unk>"] == 3 and "\t" in vocabulary
    tokenizer = Tokenizer(models.BPE(vocabulary, merges_of(vocabulary, dict(pieces)), unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", MARK)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=kind == CONTROL) for (text, _), kind in zip(pieces, kinds) if kind in (CONTROL, USER)])
    return tokenizer


def texts_of(folder):
    texts = []
    for path in sorted(glob.glob(os.path.join(folder, "*_strings.json"))):
        with open(path, encoding="utf-8") as file:
            texts += [decode(bytes.fromhex(case["hex"])) for case in json.load(file)["cases"]]
    texts += [decode(data) for data in strings(folder)]
    made = random.Random(270)
    texts += HARD + [piece * n for piece in (" ", "\n", "\t", MARK) for n in (3, 5, 30, 31, 32, 33, 64)]
    texts += [left + right for left in HARD[:17] for right in HARD[:17]]
    texts += ["".join(made.choice(HARD) for _ in range(made.randint(2, 9))) for _ in range(500)]
    texts += [" " * made.randint(0, 3) + made.choice(HARD) + " " * made.randint(0, 3) for _ in range(40)]
    return [text for text in dict.fromkeys(texts) if len(text) <= 300]


def main():
    model, folder, out = sys.argv[1:]
    tokenizer = build(model)
    cases = []
    for text in texts_of(folder):
        tokenizer.encode_special_tokens = False
        parsed = tokenizer.encode(text, add_special_tokens=False).ids
        tokenizer.encode_special_tokens = True
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        cases.append([text, plain] if plain == parsed else [text, plain, parsed])
    meta = {"vocabulary": os.path.basename(model), "reference": "tokenizers 0.23.3", "script": "tests/reference/make_gemma_ids.py",
            "case": "[text, ids, ids where control tokens are parsed, if these are others]"}
    write_cases(out, meta, cases)
    print(len(cases), "strings,", os.path.getsize(out), "bytes")


if __name__ == "__main__":
    main()
