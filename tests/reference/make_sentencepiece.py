#!/usr/bin/env python3
"""Makes tests/fixtures/tokenizers/trained-unigram* and trained-spm: small SentencePiece models and ids of many strings.

trained-unigram        built as XLM-R's (multilingual e5): SentencePiece's map nmt_nfkc, white space separates words, <s> and </s> around
trained-unigram-bytes  no map, every space kept, no space in front, byte tokens, a user-defined token
trained-unigram-rules  as the first, with a map of a few rules (for the fuzzer, too, which builds it anew each time)
trained-spm            byte-pair encoding as Gemma's: no space in front, runs of spaces and line breaks and a tag user-defined, byte tokens
All are trained by SentencePiece on the corpus of make_tokenizers.py; the ids are those of Hugging Face's tokenizers with the pipeline
that the converters of transformers make of such a model (Precompiled, WhitespaceSplit, Metaspace, Unigram). The GGUF files hold what
llama.cpp's converter would write. SentencePiece's own ids are compared; where they differ (it knows no grapheme clusters, adds in XX
    python3 -m venv venv && venv/bin/pip install tokenizers==0.23.3 gguf==0.19 sentencepiece==0.2.3 protobuf
    venv/bin/python tests/reference/make_sentencepiece.py tests/fixtures/tokenizers
"""
import io
import os
import random
import sys
import tempfile

os.environ["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"

import gguf
from make_tokenizers import BAD, TOOL, corpus, decode, strings, write_cases
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from sentencepiece import sentencepiece_model_pb2 as proto
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

MASK = "<mask>"
NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)
# What NFKC changes, marks of every kind that join a cluster, and bases of one to three bytes.
CLUSTERS = ["a", "e", "Z", "1", " ", "\r\n", "\n", "é", "ß", "я", "א", "ﬁ", "Ⅷ", "㎏", "ﷺ", "ｶ", "ﾞ", "ﾟ", "Ａ", "½", "²", "…", "™", "İ", "ª", "\u00a0",
            "\u2003", "\u0301", "\u0323", "\u0308", "\u05b4", "\u064b", "\u0903", "\u093f", "\u0e33", "\u200d", "\u200c", "\ufe0f", "\u20e3", "\U0001f3fb", "\u0600",
            "\u0d4e", "\u1112", "\u1161", "\u11ab", "가", "각", "中", "\u0344", "\u1fbf", "\u037e", "\u2126", "©", "🇩", "👨", "\u0085", "\u001c", "\u007f", "\u2581"]

# A map of our own: longer keys, one that begins another, nothing and a space as replacements, more bytes than there were.
RULES = {"ﬁ": "fi", "½": "1/2", "Ⅷ": "VIII", "\u00a0": " ", "\t": " ", "\n": " ", "a\u0301": "á", "a\u0301\u0323": "ạ\u0301", "e\u0301": "é", "\u200d": "", "…": "...",
         "中": "middle", "A": "a", "É": "e", "👍": "up", "İ": "i"}


def train(folder, model_type="unigram", **options):
    model = io.BytesIO()
    lines = [line for text in corpus(folder) for line in text.split("\n") if line.strip() and "\0" not in line]
    SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, model_type=model_type, num_threads=1, hard_vocab_limit=False,
                               minloglevel=2, **options)
    parsed = proto.ModelProto()
    parsed.ParseFromString(model.getvalue())
    return parsed


def write_gguf(path, pieces, spec, prefix, squeeze, ids, model="t5", architecture="bert"):
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre("default")
    writer.add_token_list([text for text, _, _ in pieces])
    writer.add_token_scores([score for _, score, _ in pieces])
    writer.add_token_types([kind for _, _, kind in pieces])
    writer.add_add_space_prefix(prefix)
    if model == "t5":
        writer.add_remove_extra_whitespaces(squeeze)
    if spec:
        writer.add_precompiled_charsmap(spec)
    for name, token_id in ids.items():
        getattr(writer, f"add_{name}_token_id")(token_id)
    writer.add_add_bos_token("bos" in ids)
    writer.add_add_eos_token("eos" in ids)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def cases_of(texts, tokenizer, outside, own, pieces):
    """(cases, how many of SentencePiece's differ). `outside` is for text in which control tokens are text."""
    cases, differ = [], 0
    for data in texts:
        text = decode(data)
        parsed = tokenizer.encode(text, add_special_tokens=True).ids
        plain = outside.encode(text, add_special_tokens=False).ids
        assert all(pieces[token_id][2] != CONTROL for token_id in plain), text
        if TOOL not in text and MASK not in text:
            differ += own.encode(text) != plain
        case = {"hex": data.hex(), "ids": plain}
        if parsed != plain:
            case["ids_special"] = parsed
        back = b""
        for token_id in plain:
            piece, _, kind = pieces[token_id]
            back += bytes([int(piece[3:5], 16)]) if kind == BYTE else piece.replace("\u2581", " ").encode()
        if back != data:
            case["detok_hex"] = back.hex()
        cases.append(case)
    return cases, differ


def meta_of(name, differ, texts):
    return {"vocab": name, "reference": "tokenizers 0.23.3", "script": "tests/reference/make_sentencepiece.py",
            "sentencepiece_differs_in": f"{differ} of {len(texts)}"}


def xlmr(folder, texts, name, **options):
    model = train(folder, **options)
    kinds = {piece.piece: piece.type for piece in model.pieces}
    assert [piece.piece for piece in model.pieces[:3]] == ["<unk>", "<s>", "</s>"] and set(kinds.values()) == {NORMAL, UNKNOWN, CONTROL}
    pieces = [("<s>", 0.0, CONTROL), ("<pad>", 0.0, CONTROL), ("</s>", 0.0, CONTROL), ("<unk>", 0.0, UNKNOWN)]
    pieces += [(piece.piece, piece.score, NORMAL) for piece in model.pieces[3:]] + [(MASK, 0.0, CONTROL)]
    spec = model.normalizer_spec.precompiled_charsmap

    def build(names):
        tokenizer = Tokenizer(models.Unigram([(text, score) for text, (_, score, _) in zip(names, pieces)], unk_id=3))
        tokenizer.normalizer = normalizers.Precompiled(spec)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")])
        return tokenizer

    # The library finds control tokens in any text, as ordinary pieces; under other names it cannot.
    outside = build([text if kind == NORMAL else f"\U000f0000{text}" for text, _, kind in pieces])
    tokenizer = build([text for text, _, _ in pieces])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in ("<s>", "<pad>", "</s>", "<unk>")])
    tokenizer.add_special_tokens([AddedToken(MASK, lstrip=True, normalized=False, special=True)])

    write_gguf(f"{folder}/{name}.gguf", pieces, spec, True, True,
               {"bos": 0, "eos": 2, "unk": 3, "sep": 2, "pad": 1, "mask": len(pieces) - 1})
    own = SentencePieceProcessor(model_proto=model.SerializeToString())
    order = {piece.piece: position for position, piece in enumerate(model.pieces)}
    ours = {position: token_id for token_id, (text, _, _) in enumerate(pieces) for position in [order.get(text)] if position is not None}

    class Own:
        encode = staticmethod(lambda text: [ours[position] for position in own.encode(text)])

    cases, differ = cases_of(texts, tokenizer, outside, Own, pieces)
    write_cases(f"{folder}/{name}.json", meta_of(f"{name}.gguf", differ, texts), cases)
    print(name, len(pieces), len(cases), "SentencePiece differs in", differ)


def with_bytes(folder, texts):
    model = train(folder, vocab_size=1000, normalization_rule_name="identity", character_coverage=0.98, byte_fallback=True,
                  add_dummy_prefix=False, remove_extra_whitespaces=False, split_by_whitespace=False, bos_id=-1, eos_id=-1)
    pieces = [(piece.piece, piece.score, piece.type) for piece in model.pieces] + [(TOOL, 0.0, USER)]

    def build(unknown):
        tokenizer = Tokenizer(models.Unigram([(unknown, 0.0)] + [(text, score) for text, score, _ in pieces[1:-1]], unk_id=0, byte_fallback=True))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
        tokenizer.add_tokens([AddedToken(TOOL, normalized=False, special=False)])
        return tokenizer

    outside, tokenizer = build("\U000f0000<unk>"), build("<unk>")
    write_gguf(f"{folder}/trained-unigram-bytes.gguf", pieces, None, False, False, {"unk": 0})
    own = SentencePieceProcessor(model_proto=model.SerializeToString())
    cases, differ = cases_of(texts, tokenizer, outside, own, pieces)
    write_cases(f"{folder}/trained-unigram-bytes.json", meta_of("trained-unigram-bytes.gguf", differ, texts), cases)
    print("unigram-bytes", len(pieces), len(cases), "SentencePiece differs in", differ)


def merges_of(pieces):
    """Every pair of tokens that together are one, the best score first, as transformers makes the merges of such a model."""
    scores = {text: score for text, score, kind in pieces if kind in (NORMAL, USER)}
    order = {text: position for position, (text, _, _) in enumerate(pieces)}
    merges = []
    for text, score in scores.items():
        pairs = [(text[:cut], text[cut:]) for cut in range(1, len(text)) if text[:cut] in scores and text[cut:] in scores]
        merges += [(score, pair) for pair in sorted(pairs, key=lambda pair: (order[pair[0]], order[pair[1]]))]
    return [pair for _, pair in sorted(merges, key=lambda merge: -merge[0])]


def gemma(folder, texts):
    users = ["\u2581" * n for n in (2, 3, 4, 8)] + ["\n" * n for n in (1, 2, 3)] + ["\t\t", "<table>", "<h1>"]
    # The trainer takes user-defined symbols from a list in one text, in which white space cannot be written: names stand for them.
    names = [f"<user{position}>" for position in range(len(users))]
    model = train(folder, model_type="bpe", vocab_size=1300, normalization_rule_name="identity", character_coverage=0.98, byte_fallback=True,
                  add_dummy_prefix=False, remove_extra_whitespaces=False, user_defined_symbols=names)
    for position, piece in enumerate(model.pieces):
        if piece.piece in users:  # learnt as well
            piece.piece, piece.type = f"<unused{position}>", UNUSED
        if piece.piece in names:
            piece.piece, piece.score = users[names.index(piece.piece)], 0.0
    own = SentencePieceProcessor(model_proto=model.SerializeToString())
    pieces = [(piece.piece, piece.score, piece.type) for piece in model.pieces]
    # The converter writes user-defined tokens with spaces, at -1000.
    written = [(text.replace("\u2581", " "), -1000.0, kind) if kind == USER else (text, score, kind) for text, score, kind in pieces]
    write_gguf(f"{folder}/trained-spm.gguf", written, None, False, False, {"bos": 1, "eos": 2, "unk": 0}, "llama", "gemma3")
    tokenizer = Tokenizer(models.BPE({text: token_id for token_id, (text, _, _) in enumerate(pieces)}, merges_of(pieces), unk_token="<unk>",
                                     fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.add_tokens([AddedToken(text, normalized="\u2581" in text, special=False) for text in users])
    cases = []
    for data in texts:
        ids = own.encode(decode(data))
        assert ids == tokenizer.encode(decode(data), add_special_tokens=False).ids, data
        back = b"".join(bytes([int(text[3:5], 16)]) if kind == BYTE else text.encode() for text, _, kind in (written[i] for i in ids))
        back = back.replace("\u2581".encode(), b" ")
        cases.append({"hex": data.hex(), "ids": ids, **({"detok_hex": back.hex()} if back != data else {})})
    write_cases(f"{folder}/trained-spm.json", {"vocab": "trained-spm.gguf", "reference": "sentencepiece 0.2.3 and tokenizers 0.23.3",
                                               "script": "tests/reference/make_sentencepiece.py"}, cases)
    print("spm", len(pieces), len(cases))


def main():
    folder = sys.argv[1]
    made = random.Random(11)
    texts = strings(folder)
    texts += ["".join(made.choice(CLUSTERS) for _ in range(made.randint(1, 8))).encode() for _ in range(240)]
    texts += [f"the {MASK} of {MASK}{MASK} a".encode(), f"a{TOOL} b {TOOL}c".encode(), b"a <s>x</s> <unk> <pad>"]
    texts += [made.choice(BAD) + made.choice(CLUSTERS).encode() for _ in range(20)]
    texts = list(dict.fromkeys(texts))
    xlmr(folder, texts, "trained-unigram", vocab_size=900, character_coverage=0.98, normalization_rule_name="nmt_nfkc")
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        for key, value in RULES.items():
            rules.write("\t".join(" ".join(f"{ord(code):X}" for code in text) for text in (key, value)) + "\n")
        rules.flush()
        few = texts[::3] + [("x".join(made.choice(list(RULES)) for _ in range(made.randint(1, 4)))).encode() for _ in range(80)]
        xlmr(folder, list(dict.fromkeys(few)), "trained-unigram-rules", vocab_size=460, character_coverage=0.98, normalization_rule_tsv=rules.name)
    unmarked = [text for text in texts if "\u2581".encode() not in text]
    with_bytes(folder, unmarked)
    white = ["  ", "   ", "    ", " ", "\n", "\n\n", "\n\n\n\n", "\t", "\t\t\t", "a", "the", " the", "<table>", "<h1", "<h1>", "def f(x):\n        return", "<bos>"]
    unmarked += ["".join(made.choice(white) for _ in range(made.randint(1, 9))).encode() for _ in range(250)]
    gemma(folder, [text for text in dict.fromkeys(unmarked) if b"<s>" not in text and b"<pad>" not in text])


if __name__ == "__main__":
    main()
