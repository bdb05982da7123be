#!/usr/bin/env python3
"""Makes the hostile GGUF files of this folder and manifest.json, which says what must happen to each.

Run from anywhere: python3 tests/hostile/make.py. The output depends on nothing but this file. Entries of the manifest:
  file    the file's name in this folder
  layer   "reader": src/gguf refuses the header; "load": the header is sound, the model is not (src/model, src/tokenizer)
  cve     what went wrong elsewhere with such a file ("" where nothing is known: a rule of the format)
  status  the code that Nook answers with (core/status.h), here and in every build; "ok": it must load and answer
  says    a part of the sentence that the answer carries
Each file is a small, sound header with exactly one thing wrong, so that no other check can catch it first.
"""
import json
import os
import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
TYPE_F32, TYPE_Q4_0 = 0, 2
PACK = {U8: 'B', I8: 'b', U16: 'H', I16: 'h', U32: 'I', I32: 'i', F32: 'f', BOOL: 'B', U64: 'Q', I64: 'q', F64: 'd'}
FOLDER = os.path.dirname(os.path.abspath(__file__))


def string(text, length=None):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack('<Q', len(data) if length is None else length) + data


def scalar(kind, value):
    return string(value) if kind == STRING else struct.pack('<' + PACK[kind], value)


def pair(key, kind, value):
    return string(key) + struct.pack('<I', kind) + scalar(kind, value)


def array(key, kind, values, count=None, element=None):
    body = b''.join(scalar(kind, value) for value in values)
    return string(key) + struct.pack('<IIQ', ARRAY, kind if element is None else element,
                                     len(values) if count is None else count) + body


def tensor(name, dims, kind=TYPE_F32, offset=0, n_dims=None):
    head = string(name) + struct.pack('<I', len(dims) if n_dims is None else n_dims)
    return head + b''.join(struct.pack('<Q', d) for d in dims) + struct.pack('<IQ', kind, offset)


def gguf(pairs=(), tensors=(), data=0, version=3, magic=b'GGUF', n_pairs=None, n_tensors=None, alignment=32):
    head = magic + struct.pack('<IQQ', version, len(tensors) if n_tensors is None else n_tensors,
                               len(pairs) if n_pairs is None else n_pairs)
    head += b''.join(pairs) + b''.join(tensors)
    return head + bytes(-len(head) % alignment) + bytes(data)


ARCH = pair('general.architecture', STRING, 'llama')
ONE = tensor('a', [8])  # 32 bytes of data at offset 0

FILES = []


def add(file, cve, status, says, data, layer='reader'):
    FILES.append({'file': file, 'layer': layer, 'cve': cve, 'status': status, 'says': says, 'data': data})


# ---- What the file says it is
add('magic-wrong.gguf', '', 'format', 'not a GGUF file: it starts with the bytes 47 47 4d 4c',
    gguf([ARCH], magic=b'GGML'))
add('empty.gguf', '', 'format', 'only 0 bytes', b'')
add('magic-alone.gguf', '', 'format', 'only 4 bytes', b'GGUF')
add('big-endian.gguf', '', 'unsupported', 'big-endian', b'GGUF' + struct.pack('>IQQ', 3, 0, 0))
add('version-0.gguf', '', 'unsupported', 'version 0', gguf([ARCH], version=0))
add('version-1.gguf', '', 'unsupported', 'version 1', gguf([ARCH], version=1))
add('version-4.gguf', '', 'unsupported', 'version 4', gguf([ARCH], version=4))

# ---- Counts
add('count-tensors-wraps.gguf', 'CVE-2024-21836', 'format', 'claims 1152921504606846977 tensors',
    gguf([ARCH], [ONE], 32, n_tensors=(1 << 60) + 1))
add('count-pairs-wraps.gguf', 'CVE-2024-23605', 'format', '768614336404564651 keys',
    gguf([ARCH], n_pairs=768614336404564651))
add('count-tensors-beyond-file.gguf', 'CVE-2024-21836', 'format', 'bytes are left in the file',
    gguf([ARCH], [ONE], 32, n_tensors=60000))
add('count-pairs-beyond-file.gguf', 'CVE-2024-23605', 'format', 'bytes are left in the file', gguf([ARCH], n_pairs=60000))
add('count-pairs-one-too-many.gguf', 'CVE-2024-23605', 'format', 'needs',
    gguf([ARCH, array('x', U8, [1] * 64)], n_pairs=3))
add('count-tensors-one-too-many.gguf', 'CVE-2024-21836', 'format', 'the name of tensor 1',
    gguf([ARCH], [ONE], 32, n_tensors=2))

# ---- Strings
add('string-length-wraps.gguf', 'CVE-2024-23496', 'format', 'has a string of 18446744073709551615 bytes',
    gguf([ARCH, string('general.name') + struct.pack('<IQ', STRING, (1 << 64) - 1) + b'x' * 64]))
add('string-length-wraps-offset.gguf', 'CVE-2024-23496', 'format', 'has a string of 18446744073709551552 bytes',
    gguf([ARCH, string('general.name') + struct.pack('<IQ', STRING, (1 << 64) - 64) + b'x' * 64]))
add('string-length-wraps-32-bits.gguf', 'CVE-2025-49847', 'format', 'has a string of 4294967297 bytes',
    gguf([ARCH, string('general.name') + struct.pack('<IQ', STRING, (1 << 32) + 1) + b'x' * 64]))
add('string-beyond-file.gguf', 'CVE-2024-23496', 'format', 'needs 100000 bytes',
    gguf([ARCH, string('general.name') + struct.pack('<IQ', STRING, 100000) + b'x' * 64]))
add('key-length-wraps.gguf', 'CVE-2024-23496', 'format', 'the name of key 1 is 18446744073709551615 bytes long',
    gguf([ARCH, string('general.name', (1 << 64) - 1) + struct.pack('<IQ', STRING, 1) + b'x' * 64]))
add('key-empty.gguf', '', 'format', 'the name of key 1 is 0 bytes long', gguf([ARCH, pair('', STRING, 'x' * 64)]))
add('key-too-long.gguf', '', 'format', 'the name of key 1 is 257 bytes long', gguf([ARCH, pair('k' * 257, U8, 1)]))
add('key-holds-nul.gguf', '', 'format', 'the name of key 1 holds a NUL byte', gguf([ARCH, pair('general.na\0me', U8, 1)]))
add('tensor-name-holds-nul.gguf', '', 'format', 'the name of tensor 0 holds a NUL byte',
    gguf([ARCH], [tensor('a\0b', [8])], 32))

# ---- Values and arrays
add('value-type-unknown.gguf', '', 'format', 'has the unknown type 13',
    gguf([ARCH, string('general.x') + struct.pack('<IQ', 13, 0)]))
add('value-type-huge.gguf', '', 'format', 'has the unknown type 4294967295',
    gguf([ARCH, string('general.x') + struct.pack('<IQ', 0xffffffff, 0)]))
add('array-type-unknown.gguf', '', 'format', 'is an array of the unknown type 99',
    gguf([ARCH, array('x', U8, [0] * 64, element=99)]))
add('array-of-arrays.gguf', '', 'unsupported', 'array of arrays',
    gguf([ARCH, string('x') + struct.pack('<IIQIQB', ARRAY, ARRAY, 1, U8, 1, 0)]))
add('array-count-wraps.gguf', 'CVE-2024-21825', 'format', 'claims 2305843009213693953 elements',
    gguf([ARCH, array('x', U64, [0] * 8, count=(1 << 61) + 1)]))
add('array-of-strings-count-wraps.gguf', 'CVE-2024-21825', 'format', 'claims 1152921504606846977 elements',
    gguf([ARCH, array('tokenizer.ggml.tokens', STRING, ['a'] * 8, count=(1 << 60) + 1)]))
add('array-of-strings-count-wraps-32-bits.gguf', 'CVE-2024-21825', 'format', 'claims 1073741824 elements',
    gguf([ARCH, array('tokenizer.ggml.tokens', STRING, ['a'] * 8, count=1 << 30)]))
add('array-beyond-file.gguf', 'CVE-2024-21825', 'format', 'claims 1000 elements',
    gguf([ARCH, array('x', F32, [0] * 8, count=1000)]))
add('array-of-strings-beyond-file.gguf', 'CVE-2024-21825', 'format', 'needs',
    gguf([ARCH, array('tokenizer.ggml.tokens', STRING, ['token'] * 8, count=10)]))
add('array-string-length-wraps.gguf', 'CVE-2024-23496', 'format', 'has a string of 18446744073709551615 bytes',
    gguf([ARCH, string('tokenizer.ggml.tokens') + struct.pack('<IIQ', ARRAY, STRING, 2) + string('a') +
          string('b' * 64, (1 << 64) - 1)]))
add('bool-is-2.gguf', '', 'format', 'holds the bool 2', gguf([ARCH, pair('x', BOOL, 2)]))
add('key-twice.gguf', '', 'format', 'the key "general.architecture" occurs twice',
    gguf([ARCH, pair('general.name', STRING, 'x'), ARCH]))

# ---- Alignment
add('alignment-0.gguf', 'CVE-2025-53630', 'format', '"general.alignment" is 0; allowed are 1 to 65536',
    gguf([ARCH, pair('general.alignment', U32, 0)], [ONE], 32))
add('alignment-0x80000000.gguf', 'llama.cpp #26318', 'format', '"general.alignment" is 2147483648',
    gguf([ARCH, pair('general.alignment', U32, 0x80000000)], [ONE], 32))
add('alignment-wraps-in-64-bits.gguf', 'llama.cpp #24997', 'format', '"general.alignment" is 9223372036854775807 or more',
    gguf([ARCH, pair('general.alignment', U64, 1 << 63)], [ONE], 32))
add('alignment-48.gguf', '', 'format', '"general.alignment" is 48, which is no power of two',
    gguf([ARCH, pair('general.alignment', U32, 48)], [ONE], 32))
add('alignment-negative.gguf', '', 'format', '"general.alignment" is -32',
    gguf([ARCH, pair('general.alignment', I32, -32)], [ONE], 32))
add('alignment-is-a-string.gguf', 'llama.cpp #26690', 'format',
    '"general.alignment" is of type string, but an integer is needed',
    gguf([ARCH, pair('general.alignment', STRING, 'x' * 64)], [ONE], 32))
add('alignment-is-an-array.gguf', 'llama.cpp #26690', 'format', '"general.alignment" is of type array of u32',
    gguf([ARCH, array('general.alignment', U32, [])], [ONE], 32))

# ---- Tensors
add('dimensions-0.gguf', 'CVE-2024-21802', 'format', 'has 0 dimensions', gguf([ARCH], [tensor('a', [], n_dims=0)], 64))
add('dimensions-5.gguf', 'CVE-2024-21802', 'format', 'has 5 dimensions',
    gguf([ARCH], [tensor('a', [8, 1, 1, 1, 1])], 32))
add('dimensions-2-to-the-32.gguf', 'CVE-2024-21802', 'format', 'has 4294967295 dimensions',
    gguf([ARCH], [tensor('a', [8, 1, 1, 1, 1], n_dims=0xffffffff)], 32))
add('dimension-is-0.gguf', 'CVE-2024-21802', 'format', 'has 0 elements along dimension 1',
    gguf([ARCH], [tensor('a', [8, 0])], 32))
add('dimension-2-to-the-31.gguf', 'CVE-2024-21802', 'format', 'has 2147483648 elements along dimension 0',
    gguf([ARCH], [tensor('a', [1 << 31])], 32))
add('dimension-negative.gguf', 'CVE-2024-21802', 'format', 'has 18446744073709551615 elements along dimension 1',
    gguf([ARCH], [tensor('a', [8, (1 << 64) - 1])], 32))
add('dimensions-product-wraps-to-0.gguf', 'CVE-2026-33298', 'format', 'multiply to more than 64 bits hold',
    gguf([ARCH], [tensor('a', [1 << 30, 1 << 30, 1 << 4])], 32))
add('dimensions-product-wraps.gguf', 'CVE-2026-33298', 'format', 'multiply to more than 64 bits hold',
    gguf([ARCH], [tensor('a', [1 << 30, 1 << 5, (1 << 29) + 1])], 32))  # 2^64 + 2^35
add('bytes-wrap.gguf', 'CVE-2026-33298', 'format', 'multiply to more than 64 bits hold',
    # 2^62 elements fit, their 2^64 bytes do not
    gguf([ARCH], [tensor('a', [1 << 30, 1 << 30, 4])], 32))
add('blocks-uneven.gguf', '', 'format', 'has rows of 33 elements, but its type 2 stores blocks of 32',
    gguf([ARCH], [tensor('a', [33], TYPE_Q4_0)], 64))
add('tensor-twice.gguf', '', 'format', 'the tensor "a" occurs twice',
    gguf([ARCH], [ONE, tensor('b', [8], offset=32), tensor('a', [8], offset=64)], 96))
add('offset-unaligned.gguf', '', 'format', 'starts at offset 8, which is no multiple of the alignment 32',
    gguf([ARCH], [tensor('a', [8], offset=8)], 64))
add('offset-beyond-file.gguf', 'CVE-2025-53630', 'format', 'at offset 4096 of the data',
    gguf([ARCH], [tensor('a', [8], offset=4096)], 32))
add('offset-wraps.gguf', 'CVE-2025-53630', 'format', 'at offset 18446744073709551584 of the data',
    gguf([ARCH], [tensor('a', [8], offset=(1 << 64) - 32)], 32))
add('tensor-beyond-file.gguf', 'CVE-2026-7482', 'format',
    'needs 64 bytes at offset 0 of the data, but the file has only 32',
    gguf([ARCH], [tensor('a', [16])], 32))
add('tensors-sum-wraps.gguf', 'CVE-2025-53630', 'format', 'the tensor "b" needs 18446744073709551552 bytes',
    # 64 bytes and 2^64 - 64 bytes: a sum that is not checked comes to 0
    gguf([ARCH], [tensor('a', [16]), tensor('b', [8 * 2 * 3 * 59, 233 * 1103, 2089, 3033169], offset=64)], 64))
add('tensors-overlap.gguf', 'CVE-2025-53630', 'format', 'the tensor "b" overlaps the tensor "a"',
    gguf([ARCH], [tensor('a', [16]), tensor('b', [8], offset=32)], 64))
add('tensors-share-bytes.gguf', 'CVE-2025-53630', 'format', 'overlaps the tensor',
    gguf([ARCH], [ONE, tensor('b', [8])], 32))

# ---- A sound file, cut
SOUND = gguf([ARCH, pair('general.name', STRING, 'sound'), array('tokenizer.ggml.tokens', STRING, ['a', 'b', 'c'])],
             [ONE, tensor('b', [32, 2], TYPE_Q4_0, 32)], 32 + 36)
for at, says in ((6, 'only 6 bytes'), (16, 'the counts of tensors and keys'), (40, 'only 16 bytes are left in the file'),
                 (150, 'the key "tokenizer.ggml.tokens"'),
    (len(SOUND) - 1, 'the tensor "b" needs 36 bytes at offset 32')):
    add('cut-at-%d.gguf' % at, 'CVE-2024-32878', 'format', says, SOUND[:at])

# ---- The loader: a sound model of one layer, 8 dimensions, 2 heads, 4 tokens, with one thing wrong
TYPE_F16, TYPE_Q5_K = 1, 13
D = 8


def numbers(n, value=0.5):
    return struct.pack('<%df' % n, *[value] * n)


def layer_tensors(i):
    names = [('attn_norm', [D]), ('attn_q', [D, D]), ('attn_k', [D, D]), ('attn_v', [D, D]), ('attn_output', [D, D]),
             ('ffn_norm', [D]), ('ffn_gate', [D, D]), ('ffn_up', [D, D]), ('ffn_down', [D, D])]
    return {'blk.%d.%s.weight' % (i, name): dims for name, dims in names}


def model(keys=None, dims=None, drop=(), data=None, types=None, layers=1):
    """keys: pairs replaced or added, by name (None: left out); dims, data, types: of tensors, by name; drop: omitted."""
    pairs = {
        'general.architecture': ARCH,
        'llama.block_count': pair('llama.block_count', U32, layers),
        'llama.embedding_length': pair('llama.embedding_length', U32, D),
        'llama.context_length': pair('llama.context_length', U32, 64),
        'llama.feed_forward_length': pair('llama.feed_forward_length', U32, D),
        'llama.attention.head_count': pair('llama.attention.head_count', U32, 2),
        'llama.attention.layer_norm_rms_epsilon': pair('llama.attention.layer_norm_rms_epsilon', F32, 1e-5),
        'tokenizer.ggml.model': pair('tokenizer.ggml.model', STRING, 'gpt2'),
        'tokenizer.ggml.pre': pair('tokenizer.ggml.pre', STRING, 'gpt-2'),
        'tokenizer.ggml.tokens': array('tokenizer.ggml.tokens', STRING, ['a', 'b', 'ab', '<|im_end|>']),
        'tokenizer.ggml.token_type': array('tokenizer.ggml.token_type', I32, [1, 1, 1, 3]),
        'tokenizer.ggml.merges': array('tokenizer.ggml.merges', STRING, ['a b']),
    }
    pairs.update(keys or {})
    shapes = {'token_embd.weight': [D, 4], 'output_norm.weight': [D]}
    for i in range(layers):
        shapes.update(layer_tensors(i))
    shapes.update(dims or {})
    table, body = [], b''
    for name, shape in shapes.items():
        if name in drop:
            continue
        kind = (types or {}).get(name, TYPE_F32)
        count = 1
        for d in shape:
            count *= d
        payload = (data or {}).get(name) or numbers(count)
        table.append(tensor(name, shape, kind, len(body)))
        body += payload + bytes(-len(payload) % 32)
    return gguf([p for p in pairs.values() if p is not None], table) + body


def bad(file, cve, status, says, **change):
    add(file, cve, status, says, model(**change), 'load')


def key(name, kind, value):
    return {name: pair(name, kind, value)}


def keys(*some):
    out = {}
    for one in some:
        out.update(one)
    return out


NAN, INF = float('nan'), float('inf')
HEADS, EPSILON = 'llama.attention.head_count', 'llama.attention.layer_norm_rms_epsilon'
bad('sound-model.gguf', '', 'ok', '')

# What the model says it is
bad('architecture-missing.gguf', '', 'format', 'the file has no general.architecture',
    keys={'general.architecture': None})
bad('architecture-unknown.gguf', '', 'unsupported', 'not supported: architecture "mamba"',
    keys=key('general.architecture', STRING, 'mamba'))
bad('architecture-is-a-number.gguf', 'llama.cpp #26690', 'format', '"general.architecture" is of type u32',
    keys=key('general.architecture', U32, 7))
bad('experts.gguf', '', 'unsupported', 'mixture of 8 experts', keys=key('llama.expert_count', U32, 8))

# Sizes
bad('block-count-beyond-limit.gguf', 'llama.cpp #25821', 'format', '"llama.block_count" is 1025; allowed are 1 to 1024',
    keys=key('llama.block_count', U32, 1025))
bad('block-count-huge.gguf', 'llama.cpp #25821', 'format', '"llama.block_count" is 4294967295',
    keys=key('llama.block_count', U32, 0xffffffff))
bad('block-count-0.gguf', 'llama.cpp #25821', 'format', '"llama.block_count" is 0', keys=key('llama.block_count', U32, 0))
bad('block-count-missing.gguf', '', 'format', 'lacks the key llama.block_count', keys={'llama.block_count': None})
bad('block-count-above-tensors.gguf', 'llama.cpp #25821', 'format', 'the tensor blk.1.attn_norm.weight is missing',
    keys=key('llama.block_count', U32, 2))
bad('block-count-below-tensors.gguf', '', 'unsupported',
    'tensor blk.1.attn_norm.weight, which no llama model of ours has',
    layers=2, keys=key('llama.block_count', U32, 1))
bad('head-count-0.gguf', '', 'format', '"%s" is 0' % HEADS, keys=key(HEADS, U32, 0))
bad('head-count-missing.gguf', '', 'format', 'lacks the key %s' % HEADS, keys={HEADS: None})
bad('head-count-beyond-limit.gguf', '', 'format', '"%s" is 1000000' % HEADS, keys=key(HEADS, U32, 1000000))
bad('head-count-above-width.gguf', '', 'format', '8 dimensions in 9 heads', keys=key(HEADS, U32, 9))
bad('head-count-negative.gguf', '', 'format', '"%s" is -2' % HEADS, keys=key(HEADS, I32, -2))
bad('head-count-array-too-long.gguf', 'llama.cpp #25821', 'format', 'array of 1 integers',
    keys={HEADS: array(HEADS, U32, [2] * 600)})
bad('head-count-array-of-floats.gguf', 'llama.cpp #26690', 'format', 'must be an integer or an array',
    keys={HEADS: array(HEADS, F32, [2.0])})
bad('head-count-kv-uneven.gguf', '', 'format', '2 query heads cannot share 3 key/value heads',
    keys=key('llama.attention.head_count_kv', U32, 3))
bad('key-length-beyond-limit.gguf', '', 'format', '"llama.attention.key_length" is 65536',
    keys=key('llama.attention.key_length', U32, 65536))
bad('key-length-disagrees.gguf', 'llama.cpp #29128', 'format',
    'the tensor blk.0.attn_q.weight is 8 × 8, but the model\'s sizes make it 32 × 8',
    keys=key('llama.attention.key_length', U32, 16))
bad('embedding-length-disagrees.gguf', 'CVE-2026-7482', 'format',
    'the tensor token_embd.weight is 4 × 8, but the model\'s sizes make it 4 × 16',
    keys=key('llama.embedding_length', U32, 16))
bad('embedding-length-huge.gguf', 'CVE-2026-33298', 'format', '"llama.embedding_length" is 2147483648',
    keys=key('llama.embedding_length', U32, 1 << 31))
bad('feed-forward-disagrees.gguf', '', 'format',
    'the tensor blk.0.ffn_gate.weight is 8 × 8, but the model\'s sizes make it 1024 × 8',
    keys=key('llama.feed_forward_length', U32, 1024))
bad('context-length-0.gguf', '', 'format', '"llama.context_length" is 0', keys=key('llama.context_length', U32, 0))
bad('context-length-huge.gguf', '', 'format', '"llama.context_length" is 4294967295',
    keys=key('llama.context_length', U32, 0xffffffff))
bad('context-length-is-a-float.gguf', 'llama.cpp #26690', 'format', '"llama.context_length" is of type f32',
    keys=key('llama.context_length', F32, 64.0))
bad('rotated-above-head.gguf', '', 'format', 'llama.rope.dimension_count is 8, but a head has 4',
    keys=key('llama.rope.dimension_count', U32, 8))
bad('rotated-odd.gguf', '', 'format', 'llama.rope.dimension_count is 3', keys=key('llama.rope.dimension_count', U32, 3))
bad('rope-base-nan.gguf', '', 'format', 'llama.rope.freq_base', keys=key('llama.rope.freq_base', F32, NAN))
bad('rope-base-0.gguf', '', 'format', 'llama.rope.freq_base is 0', keys=key('llama.rope.freq_base', F32, 0.0))
bad('rope-scale-inf.gguf', '', 'format', 'llama.rope.scale_linear', keys=key('llama.rope.scale_linear', F32, INF))
bad('rope-scale-negative.gguf', '', 'format', 'is -2, below 0', keys=key('llama.rope.scale_linear', F32, -2.0))
bad('rope-scaling-unknown.gguf', '', 'unsupported', 'rope scaling of type "warp"',
    keys=key('llama.rope.scaling.type', STRING, 'warp'))
bad('rope-factors-0.gguf', '', 'format', 'the tensor rope_freqs.weight is 0 at element 1',
    dims={'rope_freqs.weight': [2]}, data={'rope_freqs.weight': struct.pack('<2f', 1.0, 0.0)})
bad('rope-factors-long-0.gguf', '', 'format', 'the tensor rope_factors_long.weight is -1 at element 0',
    dims={'rope_factors_long.weight': [2], 'rope_factors_short.weight': [2]},
    data={'rope_factors_long.weight': struct.pack('<2f', -1.0, 1.0)})
bad('rope-factors-long-alone.gguf', '', 'format', 'the tensor rope_factors_short.weight is missing',
    dims={'rope_factors_long.weight': [2]})
bad('rope-original-context-0.gguf', '', 'format', '"llama.rope.scaling.original_context_length" is 0',
    keys=key('llama.rope.scaling.original_context_length', U32, 0))
bad('rope-yarn-beta-negative.gguf', '', 'format', 'llama.rope.scaling.yarn_beta_fast is -32, below 0',
    keys=keys(key('llama.rope.scaling.type', STRING, 'yarn'), key('llama.rope.scaling.factor', F32, 4.0),
              key('llama.rope.scaling.yarn_beta_fast', F32, -32.0)))
bad('rope-yarn-multiplier.gguf', '', 'unsupported', 'YaRN with a log multiplier of 0.1',
    keys=keys(key('llama.rope.scaling.type', STRING, 'yarn'), key('llama.rope.scaling.factor', F32, 4.0),
              key('llama.rope.scaling.yarn_log_multiplier', F32, 0.1)))
bad('window-pattern-too-long.gguf', '', 'format', 'sliding_window_pattern must be a number or an array of 1 booleans',
    keys={'llama.attention.sliding_window_pattern': array('llama.attention.sliding_window_pattern', BOOL, [1, 0])})
bad('window-pattern-of-integers.gguf', '', 'format', 'sliding_window_pattern must be a number or an array of 1 booleans',
    keys={'llama.attention.sliding_window_pattern': array('llama.attention.sliding_window_pattern', U32, [1])})
bad('decoder-not-causal.gguf', '', 'unsupported', 'llama.attention.causal = false',
    keys=key('llama.attention.causal', BOOL, 0))
bad('pooling-unknown.gguf', '', 'unsupported', 'pooling of type 4', keys=key('llama.pooling_type', U32, 4))
bad('convolutions-without-taps.gguf', '', 'format', 
    '2 layers have no attention, and the file lacks the key llama.shortconv.l_cache',
    layers=3, keys={'llama.attention.head_count_kv': array('llama.attention.head_count_kv', U32, [0, 2, 0])})
bad('convolutions-missing.gguf', '', 'format', 'layer 1 has attention, but the file names 2 layers without',
    layers=3, keys=keys({'llama.attention.head_count_kv': array('llama.attention.head_count_kv', U32, [0, 2, 0])},
                        key('llama.shortconv.l_cache', U32, 3)))
bad('convolution-not-named.gguf', '', 'format', 'layer 0 has a short convolution, but the file names 0 such layers',
    keys=key('llama.shortconv.l_cache', U32, 3), drop=('blk.0.attn_q.weight', 'blk.0.attn_k.weight', 'blk.0.attn_v.weight'),
    dims={'blk.0.shortconv.in_proj.weight': [8, 24], 'blk.0.shortconv.conv.weight': [3, 8]})
bad('convolution-taps-beyond-limit.gguf', '', 'format', '"llama.shortconv.l_cache" is 4000000000',
    keys=key('llama.shortconv.l_cache', U32, 4000000000))
bad('heads-only-zeros.gguf', '', 'format', 'the key llama.attention.head_count_kv is 0',
    keys={'llama.attention.head_count_kv': array('llama.attention.head_count_kv', U32, [0])})
bad('token-types-uneven.gguf', '', 'format', 'the tensor token_types.weight',
    dims={'token_types.weight': [5, 2]})
bad('rope-factors-too-many.gguf', '', 'format', 'the tensor rope_freqs.weight has 64 elements',
    dims={'rope_freqs.weight': [64]})
bad('epsilon-nan.gguf', '', 'format', EPSILON, keys=key(EPSILON, F32, NAN))
bad('epsilon-negative.gguf', '', 'format', '%s is -1' % EPSILON, keys=key(EPSILON, F32, -1.0))
bad('epsilon-missing.gguf', '', 'format', 'lacks the key %s' % EPSILON, keys={EPSILON: None})

# Tensors
bad('tensor-missing.gguf', 'CVE-2024-41130', 'format', 'the tensor output_norm.weight is missing',
    drop=['output_norm.weight'])
bad('tensor-nobody-takes.gguf', '', 'unsupported', 'tensor blk.0.surprise.weight, which no llama model of ours has',
    dims={'blk.0.surprise.weight': [D]})
bad('layer-number-in-a-name.gguf', 'control vectors: direction.536870912', 'unsupported',
    'tensor blk.536870912.attn_q.weight',
    dims={'blk.536870912.attn_q.weight': [D, D]})
bad('tensor-of-3-dimensions.gguf', 'CVE-2024-21802', 'format',
    'the tensor blk.0.attn_k.weight has 3 dimensions, but a matrix is needed', dims={'blk.0.attn_k.weight': [D, D, 2]})
bad('tensor-turned.gguf', '', 'format', 'the tensor token_embd.weight is 8 × 4', dims={'token_embd.weight': [4, D]})
bad('tensor-type-not-ours.gguf', '', 'unsupported', 'block format I32 (tensor blk.0.ffn_up.weight)',
    types={'blk.0.ffn_up.weight': 26})
bad('tensor-type-unknown.gguf', 'CVE-2026-33298', 'unsupported', 'block format number 99 (tensor blk.0.attn_k.weight)',
    types={'blk.0.attn_k.weight': 99})
bad('vector-of-integers.gguf', '', 'unsupported', 'a vector in block format I32 (tensor output_norm.weight)',
    types={'output_norm.weight': 26})
bad('vector-too-short.gguf', '', 'format', 'the tensor blk.0.ffn_norm.weight has 4 elements',
    dims={'blk.0.ffn_norm.weight': [4]})
bad('weights-nan.gguf', '', 'format', 'the tensor blk.0.attn_v.weight',
    data={'blk.0.attn_v.weight': numbers(63) + numbers(1, NAN)})
bad('weights-inf.gguf', '', 'format', 'the tensor blk.0.ffn_down.weight',
    data={'blk.0.ffn_down.weight': numbers(1, -INF) + numbers(63)})
bad('norm-nan.gguf', '', 'format', 'the tensor output_norm.weight holds Inf or NaN at element 7',
    data={'output_norm.weight': numbers(7) + numbers(1, NAN)})
bad('norm-f16-inf.gguf', '', 'format', 'the tensor blk.0.attn_norm.weight holds Inf or NaN at element 0',
    types={'blk.0.attn_norm.weight': TYPE_F16},
    data={'blk.0.attn_norm.weight': struct.pack('<8H', 0x7c00, *[0x3c00] * 7)})
bad('scale-nan.gguf', '', 'format', 'the tensor token_embd.weight', keys=keys(key('llama.embedding_length', U32, 32),
    key('llama.feed_forward_length', U32, D)), types={'token_embd.weight': TYPE_Q4_0},
    dims={'token_embd.weight': [32, 4], 'output_norm.weight': [32], 'blk.0.attn_norm.weight': [32],
    'blk.0.ffn_norm.weight': [32],
          'blk.0.attn_q.weight': [32, 32], 'blk.0.attn_k.weight': [32, 32], 'blk.0.attn_v.weight': [32, 32],
          'blk.0.attn_output.weight': [32, 32], 'blk.0.ffn_gate.weight': [32, D], 'blk.0.ffn_up.weight': [32, D],
          'blk.0.ffn_down.weight': [D, 32]},
    data={'token_embd.weight': struct.pack('<H', 0x2c00) + bytes(16) + struct.pack('<H', 0x7e00) + bytes(16) + bytes(36)})

# Parts of a split model
bad('split-count-2.gguf', '', 'format', 'file 1 says the model has 2 parts, but 1 file was given',
    keys=keys(key('split.count', U16, 2), key('split.no', U16, 0)))
bad('split-second-alone.gguf', '', 'format', 'file 1 says it is part 2',
    keys=keys(key('split.count', U16, 1), key('split.no', U16, 1)))
bad('split-count-huge.gguf', '', 'format', '"split.count" is 4294967295', keys=key('split.count', U32, 0xffffffff))

# Tokenizers
TOKENS, TYPES, MERGES = 'tokenizer.ggml.tokens', 'tokenizer.ggml.token_type', 'tokenizer.ggml.merges'
SPM = keys(key('tokenizer.ggml.model', STRING, 'llama'), {'tokenizer.ggml.pre': None, MERGES: None})
bad('vocabulary-above-embedding.gguf', 'CVE-2025-52566', 'format',
    'the tokenizer has 6 tokens, but token_embd.weight has only 4 rows',
    keys={TOKENS: array(TOKENS, STRING, ['a', 'b', 'ab', 'c', 'd', 'e']), TYPES: None})
bad('vocabulary-missing.gguf', '', 'format', 'no vocabulary (tokenizer.ggml.tokens)', keys={TOKENS: None, TYPES: None})
bad('vocabulary-of-numbers.gguf', 'llama.cpp #26690', 'format', TOKENS, keys={TOKENS: array(TOKENS, U8, [1, 2, 3, 4])})
bad('tokenizer-unknown.gguf', '', 'unsupported', "the tokenizer model 'rwkv'",
    keys=key('tokenizer.ggml.model', STRING, 'rwkv'))
bad('pre-tokenizer-unknown.gguf', '', 'unsupported', 'no-such-split',
    keys=key('tokenizer.ggml.pre', STRING, 'no-such-split'))
bad('token-types-too-few.gguf', '', 'format', 'token_type has 3 entries for 4 tokens',
    keys={TYPES: array(TYPES, I32, [1, 1, 1])})
bad('token-types-of-floats.gguf', 'llama.cpp #26690', 'format', TYPES, keys={TYPES: array(TYPES, F32, [1.0] * 4)})
bad('merges-missing.gguf', '', 'format', MERGES, keys={MERGES: None})
bad('scores-too-few.gguf', '', 'format', 'tokenizer.ggml.scores has 2 entries for 4 tokens',
    keys=keys(SPM, {'tokenizer.ggml.scores': array('tokenizer.ggml.scores', F32, [0.0] * 2)}))
bad('byte-token-minus-1.gguf', 'llama.cpp #25969', 'ok', '',
    keys=keys(SPM, {'tokenizer.ggml.scores': array('tokenizer.ggml.scores', F32, [0.0] * 4),
                    TOKENS: array(TOKENS, STRING, ['<0x-1>', '<0x100>', '<0xGG>', '<0x61>']),
    TYPES: array(TYPES, I32, [6, 6, 6, 6])}))
bad('scores-nan.gguf', '', 'ok', '',
    keys=keys(SPM, {'tokenizer.ggml.scores': array('tokenizer.ggml.scores', F32, [NAN, INF, -INF, NAN])}))
bad('token-of-70000-bytes.gguf', 'CVE-2025-49847', 'ok', '',
    keys={TOKENS: array(TOKENS, STRING, ['a', 'b', 'x' * 70000, '<|im_end|>'])})
# Unigram and its normalization map: u32 bytes of a trie, the trie, replacements that end with a NUL
SCORES, MAP = 'tokenizer.ggml.scores', 'tokenizer.ggml.precompiled_charsmap'
UNIGRAM = keys(key('tokenizer.ggml.model', STRING, 't5'), {'tokenizer.ggml.pre': None, MERGES: None,
                                                          SCORES: array(SCORES, F32, [0.0, -1.0, -1.5, 0.0])})


def charsmap(units, texts, size=None):
    trie = b''.join(struct.pack('<I', unit) for unit in units)
    return {MAP: array(MAP, U8, list(struct.pack('<I', len(trie) if size is None else size) + trie + texts))}


def one_key(byte, leaf=2, value=0, offset=1):
    """A trie in which only `byte` is a key."""
    units = [0] * 256
    units[0] = offset << 10
    units[1 ^ byte] = byte | 1 << 8 | (1 ^ byte ^ leaf) << 10
    units[2] = 1 << 31 | value
    return units


bad('unigram.gguf', '', 'ok', '', keys=UNIGRAM)
bad('unigram-scores-missing.gguf', '', 'format', 'tokenizer.ggml.scores has 0 entries for 4 tokens',
    keys=keys(UNIGRAM, {SCORES: None}))
bad('unigram-scores-nan.gguf', '', 'ok', '', keys=keys(UNIGRAM, {SCORES: array(SCORES, F32, [NAN, INF, -INF, NAN])}))
bad('unigram-all-control.gguf', '', 'ok', '', keys=keys(UNIGRAM, {TYPES: array(TYPES, I32, [3, 3, 3, 3])}))
bad('unigram-unknown-outside.gguf', 'CVE-2026-21869', 'ok', '',
    keys=keys(UNIGRAM, key('tokenizer.ggml.unknown_token_id', I64, 1 << 40)))
bad('unigram-unknown-is-a-text.gguf', 'llama.cpp #26690', 'format', 'tokenizer.ggml.unknown_token_id is not an integer',
    keys=keys(UNIGRAM, key('tokenizer.ggml.unknown_token_id', STRING, '<unk>')))
bad('unigram-prefix-is-a-number.gguf', 'llama.cpp #26690', 'format', 'tokenizer.ggml.add_space_prefix',
    keys=keys(UNIGRAM, key('tokenizer.ggml.add_space_prefix', U32, 1)))
bad('charsmap.gguf', '', 'ok', '', keys=keys(UNIGRAM, charsmap(one_key(0x61), b'ab\0')))
bad('charsmap-empty.gguf', '', 'ok', '', keys=keys(UNIGRAM, {MAP: array(MAP, U8, [])}))
bad('charsmap-3-bytes.gguf', 'llama.cpp: xcda_blob_size', 'format', MAP + ' has 3 bytes',
    keys=keys(UNIGRAM, {MAP: array(MAP, U8, [0, 0, 0])}))
bad('charsmap-size-beyond-map.gguf', 'llama.cpp: xcda_blob_size', 'format', 'do not hold a trie of 4096',
    keys=keys(UNIGRAM, charsmap(one_key(0x61), b'ab\0', 4096)))
bad('charsmap-size-wraps.gguf', 'llama.cpp: xcda_blob_size', 'format', 'do not hold a trie of 4294967292',
    keys=keys(UNIGRAM, charsmap(one_key(0x61), b'ab\0', 0xfffffffc)))
bad('charsmap-size-odd.gguf', '', 'format', 'do not hold a trie of 1022',
    keys=keys(UNIGRAM, charsmap(one_key(0x61), b'ab\0', 1022)))
bad('charsmap-replacement-without-end.gguf', 'llama.cpp: unterminated string', 'format', 'the last replacement',
    keys=keys(UNIGRAM, charsmap(one_key(0x61), b'ab')))
bad('charsmap-without-replacements.gguf', '', 'format', 'the last replacement',
    keys=keys(UNIGRAM, charsmap(one_key(0x61), b'')))
bad('charsmap-replacement-of-256-bytes.gguf', '', 'format', 'has 256 bytes; at most 255',
    keys=keys(UNIGRAM, charsmap(one_key(0x61), b'a' * 256 + b'\0')))
bad('charsmap-child-outside.gguf', 'llama.cpp: index out of array bounds in XCDA', 'ok', '',
    keys=keys(UNIGRAM, charsmap(one_key(0x61, offset=0x1fffff), b'ab\0')))
bad('charsmap-leaf-outside.gguf', 'llama.cpp: index out of array bounds in XCDA', 'ok', '',
    keys=keys(UNIGRAM, charsmap(one_key(0x61, leaf=0xfffff), b'ab\0')))
bad('charsmap-replacement-outside.gguf', 'llama.cpp: index out of array bounds in precompiled charsmap', 'ok', '',
    keys=keys(UNIGRAM, charsmap(one_key(0x61, value=0x7fffffff), b'ab\0')))
bad('charsmap-of-texts.gguf', 'llama.cpp #26690', 'format', MAP + ' is no array of bytes',
    keys=keys(UNIGRAM, {MAP: array(MAP, STRING, ['a', 'b'])}))
bad('charsmap-is-a-number.gguf', 'llama.cpp #26690', 'format', MAP + ' is no array of bytes',
    keys=keys(UNIGRAM, key(MAP, U32, 7)))

# WordPiece
WORDPIECE = keys(key('tokenizer.ggml.model', STRING, 'bert'), {'tokenizer.ggml.pre': None, MERGES: None})
bad('wordpiece.gguf', '', 'ok', '', keys=WORDPIECE)
bad('wordpiece-without-special-tokens.gguf', '', 'ok', '', keys=keys(WORDPIECE, {TYPES: array(TYPES, I32, [1, 1, 1, 1])}))
bad('wordpiece-all-unknown.gguf', '', 'ok', '', keys=keys(WORDPIECE, {TYPES: array(TYPES, I32, [2, 2, 2, 2])}))
bad('wordpiece-ids-outside.gguf', 'CVE-2026-21869', 'ok', '',
    keys=keys(WORDPIECE, key('tokenizer.ggml.cls_token_id', U32, 0xffffffff),
              key('tokenizer.ggml.seperator_token_id', I32, -1), key('tokenizer.ggml.unknown_token_id', U64, 1 << 63)))
bad('wordpiece-separator-is-a-float.gguf', 'llama.cpp #26690', 'format',
    'tokenizer.ggml.seperator_token_id is not an integer',
    keys=keys(WORDPIECE, key('tokenizer.ggml.seperator_token_id', F32, 1.0)))
bad('wordpiece-empty-tokens.gguf', '', 'ok', '',
    keys=keys(WORDPIECE, {TOKENS: array(TOKENS, STRING, ['', '', '\u2581', ''])}))

bad('end-token-outside.gguf', 'CVE-2026-21869', 'ok', '', keys=key('tokenizer.ggml.eos_token_id', I64, -1))
bad('end-token-is-a-text.gguf', 'llama.cpp #26690', 'format', 'tokenizer.ggml.eos_token_id is not an integer',
    keys=key('tokenizer.ggml.eos_token_id', STRING, '</s>'))
bad('add-bos-is-a-number.gguf', 'llama.cpp #26690', 'format', 'tokenizer.ggml.add_bos_token',
    keys=key('tokenizer.ggml.add_bos_token', U32, 1))


def main():
    for name in os.listdir(FOLDER):
        if name.endswith('.gguf'):
            os.remove(os.path.join(FOLDER, name))
    for entry in FILES:
        with open(os.path.join(FOLDER, entry['file']), 'wb') as out:
            out.write(entry['data'])
    lines = [json.dumps({k: entry[k] for k in ('file', 'layer', 'cve', 'status', 'says')},
    ensure_ascii=False) for entry in FILES]
    with open(os.path.join(FOLDER, 'manifest.json'), 'w', encoding='utf-8', newline='\n') as out:
        out.write('[\n  ' + ',\n  '.join(lines) + '\n]\n')


if __name__ == '__main__':
    main()
