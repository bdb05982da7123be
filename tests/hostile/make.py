#!/usr/bin/env python3
"""Makes the hostile GGUF files of this folder and manifest.json, which says what must happen to each.

Run from anywhere: python3 tests/hostile/make.py. The output depends on nothing but this file. Entries of the manifest:
  file    the file's name in this folder
  cve     what went wrong elsewhere with such a file ("" where nothing is known: a rule of the format)
  status  the code that Nook answers with (core/status.h), here and in every build
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


def add(file, cve, status, says, data):
    FILES.append({'file': file, 'cve': cve, 'status': status, 'says': says, 'data': data})


# ---- What the file says it is
add('magic-wrong.gguf', '', 'format', 'not a GGUF file: it starts with the bytes 47 47 4d 4c', gguf([ARCH], magic=b'GGML'))
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
add('alignment-is-a-string.gguf', 'llama.cpp #26690', 'format', '"general.alignment" is of type string, but an integer is needed',
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
add('tensor-beyond-file.gguf', 'CVE-2026-7482', 'format', 'needs 64 bytes at offset 0 of the data, but the file has only 32',
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
                 (150, 'the key "tokenizer.ggml.tokens"'), (len(SOUND) - 1, 'the tensor "b" needs 36 bytes at offset 32')):
    add('cut-at-%d.gguf' % at, 'CVE-2024-32878', 'format', says, SOUND[:at])


def main():
    for name in os.listdir(FOLDER):
        if name.endswith('.gguf'):
            os.remove(os.path.join(FOLDER, name))
    for entry in FILES:
        with open(os.path.join(FOLDER, entry['file']), 'wb') as out:
            out.write(entry['data'])
    lines = [json.dumps({k: entry[k] for k in ('file', 'cve', 'status', 'says')}, ensure_ascii=False) for entry in FILES]
    with open(os.path.join(FOLDER, 'manifest.json'), 'w', encoding='utf-8', newline='\n') as out:
        out.write('[\n  ' + ',\n  '.join(lines) + '\n]\n')


if __name__ == '__main__':
    main()
