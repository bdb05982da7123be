#!/usr/bin/env python3
"""Makes tests/fuzz/corpus/convert and tests/fuzz/corpus/safetensors from tests/fixtures/checkpoints: seeds of the fuzzers.

A folder becomes one file in the form that tests/fuzz/fuzz_convert.c describes; of the safetensors files only the headers are
kept, the data are zeros. JSON is written without white space.

    python3 tests/reference/make_convert_corpus.py
"""
import hashlib
import json
import os
import struct

NAMES = ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "model.safetensors", "chat_template.jinja",
         "chat_template.json", "1_Pooling/config.json", "special_tokens_map.json", "model.safetensors.index.json",
         "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
FROM, TO = "tests/fixtures/checkpoints", "tests/fuzz/corpus"
CHOSEN = ["llama", "llama3", "gemma3", "gpt2", "gpt_neox", "opt_post", "phi3_long", "stablelm_parallel", "lfm2", "bert", "nomic_bert", "xlm_roberta"]


def keep(folder, data):
    with open(f"{TO}/{folder}/{hashlib.sha256(data).hexdigest()[:12]}", "wb") as file:
        file.write(data)


def entry(path, name):
    with open(path, "rb") as file:
        data = file.read()
    zeros = 0
    if name.endswith(".safetensors"):
        length = struct.unpack("<Q", data[:8])[0] + 8
        zeros, data = len(data) - length, data[:length]
        keep("safetensors", bytes([6]) + data[8:])
    elif name.endswith(".json"):
        data = json.dumps(json.loads(data), separators=(",", ":"), ensure_ascii=False).encode()
    return struct.pack("<BII", NAMES.index(name), len(data), zeros) + data


for folder in ("convert", "safetensors"):
    os.makedirs(f"{TO}/{folder}", exist_ok=True)
    for old in os.listdir(f"{TO}/{folder}"):
        os.remove(f"{TO}/{folder}/{old}")
for number, checkpoint in enumerate(CHOSEN):
    if not os.path.isdir(f"{FROM}/{checkpoint}"):
        continue
    files = [name for name in NAMES if os.path.exists(f"{FROM}/{checkpoint}/{name}")]
    keep("convert", bytes([number % 3]) + b"".join(entry(f"{FROM}/{checkpoint}/{name}", name) for name in files))
for size, header in enumerate([
        '{}', '{"__metadata__":{"format":"pt"}}', '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        '{"a":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]},"b":{"dtype":"I64","shape":[0],"data_offsets":[8,8]}}',
        '{"a":{"dtype":"F16","shape":[4294967296,4294967296],"data_offsets":[0,9007199254740992]}}']):
    keep("safetensors", bytes([size]) + header.encode())
