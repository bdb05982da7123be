#!/usr/bin/env python3
"""Writes src/tokenizer/unicode_tables.c from the Unicode Character Database.

    python3 tools/unicode/generate.py [FOLDER] > src/tokenizer/unicode_tables.c

FOLDER holds UnicodeData.txt, PropList.txt, DerivedCoreProperties.txt, IndicSyllabicCategory.txt, CompositionExclusions.txt and
DerivedAge.txt; the default is where the package `unicode-data` of Debian puts them. Needs nothing but Python 3. The output is committed, so a build does not need the
package.

What is written (see unicode.h for the readers):
  records     the distinct (general category, canonical combining class, white space, part in a grapheme cluster)
  stages      code point -> record, as a trie of three levels whose block sizes are searched for the smallest total
  lower case  simple mappings, as runs of equal stride and difference
  decompose   canonical mappings, one u64 each: code point, first, second (21 bits each), sorted
  compose     positions in `decompose` of the primary composites, sorted by (first, second)
Hangul syllables are computed, not listed.
"""

import re
import sys

LIMIT = 0x110000
CATEGORIES = ("Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co").split()


def fields(path):
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            line = line.split("#")[0].strip()
            if line:
                yield [part.strip() for part in line.split(";")]


def code_range(text):
    first, _, last = text.partition("..")
    return range(int(first, 16), int(last or first, 16) + 1)


def read(folder):
    category, combining = [0] * LIMIT, [0] * LIMIT
    lower, decomposition, first = {}, {}, 0
    for row in fields(f"{folder}/UnicodeData.txt"):
        code = int(row[0], 16)
        if row[1].endswith(", First>"):
            first = code
            continue
        start = first if row[1].endswith(", Last>") else code
        for point in range(start, code + 1):
            category[point] = CATEGORIES.index(row[2])
            combining[point] = int(row[3])
        if row[13]:
            lower[code] = int(row[13], 16)
        if row[5] and not row[5].startswith("<"):
            parts = [int(part, 16) for part in row[5].split()]
            decomposition[code] = parts if len(parts) == 2 else parts + [0]
    white = set()
    for row in fields(f"{folder}/PropList.txt"):
        if row[1] == "White_Space":
            white.update(code_range(row[0]))
    excluded = {int(row[0], 16) for row in fields(f"{folder}/CompositionExclusions.txt")}
    with open(f"{folder}/DerivedAge.txt", encoding="utf-8") as lines:
        version = re.search(r"DerivedAge-([0-9.]+)\.txt", lines.readline()).group(1)
    return category, combining, white, lower, decomposition, excluded, version


# Mc that stand by themselves in a grapheme cluster, and two letters that do not: UAX #29, table 2, SpacingMark.
NOT_SPACING = ("102B 102C 1038 1062..1064 1067..106D 1083 1087..108C 108F 109A..109C 1A61 1A63 1A64 AA7B AA7D 11720 11721").split()
ALSO_SPACING = (0xE33, 0xEB3)
CLUSTER_OTHER, CLUSTER_CONTROL, CLUSTER_EXTEND, CLUSTER_SPACING, CLUSTER_PREPEND = range(5)


def clusters(folder, category):
    """Grapheme_Cluster_Break, from its definition in UAX #29, table 2 (Hangul and what has no part here: CLUSTER_OTHER)."""
    extend, prepend = set(range(0x1F3FB, 0x1F400)), set()  # Emoji_Modifier
    for row in fields(f"{folder}/DerivedCoreProperties.txt"):
        if row[1] == "Grapheme_Extend":
            extend.update(code_range(row[0]))
    for row in fields(f"{folder}/PropList.txt"):
        if row[1] == "Prepended_Concatenation_Mark":
            prepend.update(code_range(row[0]))
    for row in fields(f"{folder}/IndicSyllabicCategory.txt"):
        if row[1] in ("Consonant_Preceding_Repha", "Consonant_Prefixed"):
            prepend.update(code_range(row[0]))
    alone = {code for text in NOT_SPACING for code in code_range(text)}
    extend.add(0x200D)  # ZWJ holds on to what stands before it in the same way
    out = [CLUSTER_OTHER] * LIMIT
    for code in range(LIMIT):
        name = CATEGORIES[category[code]]
        if code in prepend:
            out[code] = CLUSTER_PREPEND
        elif code in extend:
            out[code] = CLUSTER_EXTEND
        elif name in ("Cc", "Cf", "Zl", "Zp"):
            out[code] = CLUSTER_CONTROL
        elif (name == "Mc" and code not in alone) or code in ALSO_SPACING:
            out[code] = CLUSTER_SPACING
    return out


def blocks(values, bits):
    """Cuts `values` into blocks of 2**bits; (index of each block, distinct blocks joined)."""
    seen, index, joined = {}, [], []
    for start in range(0, len(values), 1 << bits):
        block = tuple(values[start:start + (1 << bits)])
        if block not in seen:
            seen[block] = len(seen)
            joined.extend(block)
        index.append(seen[block])
    return index, joined


def width(values):
    return 1 if max(values) < 256 else 2


def smallest_trie(values):
    best = None
    for low in range(3, 9):
        middle_values, leaves = blocks(values, low)
        for middle in range(2, 9):
            if len(middle_values) % (1 << middle):
                continue
            top, joined = blocks(middle_values, middle)
            size = len(top) * width(top) + len(joined) * width(joined) + len(leaves)
            if best is None or size < best[0]:
                best = (size, low, middle, top, joined, leaves)
    return best


def lower_runs(lower):
    runs = []
    for code in sorted(lower):
        difference = lower[code] - code
        if runs:
            run = runs[-1]
            step = code - run["last"]
            if difference == run["difference"] and step in (1, 2) and run["stride"] in (0, step):
                run["last"], run["stride"] = code, step
                continue
        runs.append({"first": code, "last": code, "stride": 0, "difference": difference})
    return runs


def emit(name, kind, values, form="{}"):
    print(f"const {kind} {name}[{len(values)}] = {{")
    line = "   "
    for value in values:
        text = " " + form.format(value) + ","
        if len(line) + len(text) > 122:
            print(line)
            line = "   "
        line += text
    print(line)
    print("};\n")


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else "/usr/share/unicode"
    category, combining, white, lower, decomposition, excluded, version = read(folder)

    cluster = clusters(folder, category)

    records, values = {}, []
    for code in range(LIMIT):
        record = (category[code], combining[code], int(code in white), cluster[code])
        values.append(records.setdefault(record, len(records)))
    if len(records) > 256:
        sys.exit("more than 256 records: the leaves of the trie need two bytes")
    _, low, middle, top, joined, leaves = smallest_trie(values)

    codes = sorted(decomposition)
    composed = [
        position for position, code in enumerate(codes)
        if decomposition[code][1] and code not in excluded and combining[code] == combining[decomposition[code][0]] == 0
    ]
    composed.sort(key=lambda position: decomposition[codes[position]])

    print("/* unicode_tables.c: generated by tools/unicode/generate.py from the Unicode Character Database "
          f"{version}. Do not edit. */")
    print('#include "tokenizer/unicode.h"\n')
    print(f'const char nk_unicode_version[] = "{version}";\n')
    emit("nk_unicode_records", "nk_unicode_record", [f"{{{a}, {b}, {c}, {d}}}" for a, b, c, d in records])
    print(f"const uint32_t nk_unicode_bits[2] = {{{low}, {middle}}};\n")
    for name, numbers in (("top", top), ("middle", joined), ("leaves", leaves)):
        kind = "uint8_t" if width(numbers) == 1 else "uint16_t"
        if {"top": "uint8_t", "middle": "uint16_t", "leaves": "uint8_t"}[name] != kind:
            sys.exit(f"the width of {name} changed: adapt unicode.h")
        emit(f"nk_unicode_{name}", kind, numbers)
    runs = lower_runs(lower)
    print(f"const uint32_t nk_unicode_n_lower = {len(runs)};")
    emit("nk_unicode_lower_runs", "nk_unicode_run",
         [f"{{{run['first']}, {run['last']}, {run['difference']}, {run['stride'] or 1}}}" for run in runs])
    print(f"const uint32_t nk_unicode_n_decompositions = {len(codes)};")
    emit("nk_unicode_decompositions", "uint64_t",
         [code << 42 | decomposition[code][0] << 21 | decomposition[code][1] for code in codes], "0x{:x}u")
    print(f"const uint32_t nk_unicode_n_compositions = {len(composed)};")
    emit("nk_unicode_compositions", "uint16_t", composed)


main()
