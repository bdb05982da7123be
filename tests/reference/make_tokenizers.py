#!/usr/bin/env python3
"""Makes tests/fixtures/tokenizers/trained-*: small vocabularies with the rules of published models, and ids of many strings.

The reference is Hugging Face's `tokenizers`, with the normalizer and the pre-tokenizer of the model's tokenizer.json; the ids are its own.
The merges are learnt (BpeTrainer) from uncut text, so that many of them run across the borders of words: a border at a wrong place
changes ids, which under merges that were learnt with the rule it often would not. The GGUF files hold what llama.cpp's converter would
write.
trained-NAME.gguf    a vocabulary, no tensors
trained-NAME.json    {"meta", "cases": [{"hex", "ids", "ids_parse_special"?, "detok_hex"?}]}; the last two only where they differ
trained-cuts.json    {"meta", "cases": [{"hex", NAME: [code points of each piece], ...}]}: what each rule makes of mixtures of code points, those
                     around every border of a range or a class among them
The texts are those of the fixtures that are there already (the strings of GPT-2 and SmolLM2, a public-domain text), sentences below
and a random mixture of them; seeds are fixed.

    python3 -m venv venv && venv/bin/pip install tokenizers==0.23.3 gguf==0.19
    venv/bin/python tests/reference/make_tokenizers.py tests/fixtures/tokenizers
"""
import json
import os
import random
import re
import sys
import unicodedata

import gguf
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

END, TOOL = "<|endoftext|>", "<|tool|>"  # a control token and a user-defined one
VOCAB = 1100

# The first article of the Universal Declaration of Human Rights, and lines of the kind that people and programs write.
SAMPLES = """All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience.
Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt.
Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de conscience.
Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón y conciencia.
Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są oni obdarzeni rozumem i sumieniem.
Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. İSTANBUL ılık.
Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền.
Все люди рождаются свободными и равными в своём достоинстве и правах. Они наделены разумом и совестью.
Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.
יולד כל אדם חופשי ושווה לזולת בכבודו ובזכויותיו.
يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. ١٢٣٤٥
सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। १२३
மனிதப் பிறிவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்.
มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ
人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心。
すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。カタカナ ー。
모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.
Ամէն մարդ կը ծնի ազատ ու իր պատուովը եւ իրաւունքներովը կը հաւասարի միւսներուն։
ყველა ადამიანი იბადება თავისუფალი და თანასწორი თავისი ღირსებითა და უფლებებით.
ᏂᎦᏓ ᎠᏂᏴᏫ ᏂᎨᎫᏓᎸᎾ ᎠᎴ ᎤᏂᏠᏯ ᎤᎾᏕᎿ
def total(items: list[int]) -> int:\n    return sum(x for x in items if x >= 0)  # 100 %
for (size_t i = 0; i < n; i++) { out[i] = a[i] * 2.5f + b[i]; }\n\t/* a comment */\n\treturn 0x1F;
I'd say we've seen what they're after; it's 12,345.67 and I'll pay 1000000 on 2024-06-07 at 09:15. DON'T, WE'RE, IT'S, I'LL
https://example.org/a/b?q=1&r=%20#top user@example.org C:\\dir\\file.txt ~/notes/2024.md
helloWorld XMLHttpRequest iPhone McDonald HTTPServer snake_case CONSTANT_NAME kebab-case 3D A4 MP3
😀 🎉👍🏽 👨‍👩‍👧 🇩🇪 ✨ … — “quotes” «guillemets» ‘single’ ¿qué? ¡sí! €5 £6 ¥7 ½ ² Ⅷ""".replace("\\n", "\n").replace("\\t", "\t").split("\n")

PIECES = ["the", " cat", "Cat", "CAT", "iPhone", "XMLHttp", "'s", "'S", "'LL", "'ll", "'ve", "'RE", "'m", "'D", "'t", "’s", "'\u017f", "'", "''s", " ", "  ",
          "   ", "\n", "\n\n", "\r\n", "\r", "\t", "\t\t", " \n", "\n ", "\u00a0", "\u3000", "\u2028", "\u0085", "\u1680", "\u200b", "\ufeff", "\u000b", "\u001c",
          "4", "42", "123", "1234", "1234567", " 12", "½", "²", "٣", "٤٥٦", "१२३", "Ⅷ", "〇", "é", "e\u0301", "\u0301", "\u0323\u0307", "a\u0308\u0323", "한국", "\u1112\u1161\u11ab", "各",
          " 中文", "中", "かな", "カナ", "ー", "ß", "ẞ", "İ", "ı", "ſ", "ǅ", "ʰ", "ª", "ƻ", "ʔ", "ა", "Ა", "Ꭰ", "ꭰ", "Ա", "ա", "𐐀", "𝒜", "ώ", "\u1f7d", "Ω", "\u2126", "K",
          "!", "?!", "...", "…", "//", "/", "\n/", "$", "+", "<=>", "^", "`", "```", "~", "|", "_", "-", "—", "。", "，", "“", "”", "‘", "(", ")", "{", "}", "@", "#", "%", "&", "*",
          "\\", "€", "₿", "™", "😀", "👍🏽", "\u200d", "\ufe0f", "🇩", "\u0000", "\u0001", "\u007f", "\u00ad", "\u202e", "नि", "ก็", "שָׁ", "\ufffd", "\U000e0041", TOOL, "<|tool", END]
BAD = [b"\xff", b"\xfe", b"\x80", b"\xbf\xbf", b"\xe2\x82", b"\xf0\x9f\x98", b"\xc3", b"a\xc3 b", b"\xf8\x88\x80\x80\x80"]

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER, CONTRACTION = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
CASED = (r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + "+%(s)s|" + r"[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER + "*%(s)s|" +
         r"\p{N}%(n)s| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
# Letters with case as deepseek-llm lists them.
DEEPSEEK_LETTERS = (
    "0041-005A 0061-007A 00B5 00C0-00D6 00D8-00F6 00F8-01BA 01BC-01BF 01C4-0293 0295-02AF 0370-0373 0376 0377 037B-037D 037F 0386 0388-038A "
    "038C 038E-03A1 03A3-03F5 03F7-0481 048A-052F 0531-0556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA 1CBD-1CBF 1D00-1D2B 1D6B-1D77 1D79-1D9A "
    "1E00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D 1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4 1FC6-1FCC 1FD0-1FD3 "
    "1FD6-1FDB 1FE0-1FEC 1FF2-1FF4 1FF6-1FFC 2102 2107 210A-2113 2115 2119-211D 2124 2126 2128 212A-212D 212F-2134 2139 213C-213F 2145-2149 "
    "214E 2183 2184 2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2 2CF3 A640-A66D A680-A69B A722-A76F A771-A787 A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 "
    "FF21-FF3A FF41-FF5A 10400-1044F 104B0-104D3 104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF 1E900-1E943")
DEEPSEEK_CLASS = "".join("-".join(chr(int(code, 16)) for code in part.split("-")) for part in DEEPSEEK_LETTERS.split())


def split(expression):
    return pre_tokenizers.Split(Regex(expression), "isolated")


def digits():
    return pre_tokenizers.Digits(individual_digits=True)


def bytes_only():
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def gpt2():
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


# name: (architecture, NFC, stages, whole words whatever the merges say)
RULES = {
    "phi-2": ("phi2", False, [gpt2()], False),
    "olmo": ("gptneox", True, [gpt2()], False),
    "starcoder": ("llama", False, [digits(), gpt2()], False),
    "command-r": ("llama", True, [digits(), gpt2()], False),
    "stablelm2": ("stablelm", True, [split(CL100K % ""), bytes_only()], False),
    "dbrx": ("olmo2", False, [split(CL100K % "{1,3}"), bytes_only()], False),
    "lfm2": ("lfm2", False, [split(CL100K % "{1,3}"), bytes_only()], True),
    "tekken": ("llama", False, [split(CASED % {"s": "", "n": ""}), bytes_only()], True),
    "gpt-4o": ("phi3", False, [split(CASED % {"s": CONTRACTION, "n": "{1,3}"}), bytes_only()], False),
    "deepseek-llm": ("llama", False, [split("[\r\n]"), split(r"\s?[" + DEEPSEEK_CLASS + "]+"), split("\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+"), split(r"\s+$"),
                                      split("[一-龥ࠀ-一가-\ud7ff]+"), digits(), bytes_only()], False),
    "deepseek-coder": ("llama", False, [split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split("[一-龥ࠀ-一가-\ud7ff]+"), digits(), bytes_only()],
                       False),
    "deepseek-v3": ("llama", False, [split(r"\p{N}{1,3}"), split("[一-龥\u3040-ゟ゠-ヿ]+"), split(
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"),
                                     bytes_only()], False),
    # In Falcon's own file the digits are cut after the bytes have become letters, some of which (\u00b2 and the like) are digits themselves;
    # its vocabulary, learnt so, has no merges on which that would tell.
    "falcon": ("falcon", False, [pre_tokenizers.Punctuation("contiguous"), split(GPT2), pre_tokenizers.Digits(individual_digits=False),
                                 split("[0-9][0-9][0-9]"), bytes_only()], False),
    "default": ("llama", False, [split(r"[\p{P}\$\+<=>\^~\|]+"), split(GPT2), split(r"\p{N}+"), split("[0-9][0-9][0-9]"), bytes_only()], False),
}


def decode(data):
    """UTF-8 with each offending byte as U+FFFD (no overlong forms or surrogates are among our strings)."""
    text, at = "", 0
    while at < len(data):
        for length in (1, 2, 3, 4):
            try:
                text += data[at:at + length].decode()
                at += length
                break
            except UnicodeDecodeError:
                pass
        else:
            text += "\ufffd"
            at += 1
    return text


def fixture_texts(folder):
    texts = []
    for name in ("vocab_gpt-2_strings.json", "smollm2_strings.json"):
        with open(f"{folder}/{name}", encoding="utf-8") as file:
            for case in json.load(file)["cases"]:
                try:
                    texts.append(bytes.fromhex(case["hex"]).decode())
                except UnicodeDecodeError:
                    pass
    return texts


def corpus(folder):
    with open(f"{folder}/../real_smollm2/ppl_text.txt", encoding="utf-8") as file:
        texts = file.read().split("\n") + SAMPLES * 3 + [text for text in fixture_texts(folder) if len(text) < 2000]
    mixture = random.Random(7)
    texts += ["".join(mixture.choice(PIECES) for _ in range(12)) for _ in range(800)]
    return [re.sub(r"<?\|(\w*\|?)>?", r"\1", text) for text in texts]  # no token shall look like a special one


def strings(folder):
    """Bytes; the first ones are the fixtures', the others made here."""
    made = random.Random(20240607)
    out = [text.encode() for text in fixture_texts(folder) if len(text) <= 300]
    out += [line.encode() for line in SAMPLES]
    for _ in range(220):
        out.append("".join(made.choice(PIECES) for _ in range(made.randint(2, 14))).encode())
    for _ in range(60):
        out.append(" ".join(made.choice(made.choice(SAMPLES).split(" ")) + made.choice(PIECES) for _ in range(made.randint(2, 6))).encode())
    assigned = [code for code in range(0x20, 0x30000) if unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co")]
    for _ in range(80):
        out.append("".join(chr(made.choice(assigned)) for _ in range(made.randint(1, 6))).encode())
    for _ in range(40):
        out.append(b"".join(made.choice(BAD) if made.random() < 0.5 else made.choice(PIECES).encode() for _ in range(made.randint(1, 6))))
    seen, unique = set(), []
    for data in out:
        if data not in seen:
            seen.add(data)
            unique.append(data)
    return unique


# First and last code points of what the expressions name, besides DeepSeek's letters.
BORDERS = ("0021-002F 0030-0039 003A-007E 0041-005A 0061-007A 2018-201F 3000-3002 3040-309F 30A0-30FF 4E00-9FA5 0800-4E00 AC00-D7FF FF01-FF0F FF1A-FF5E "
           "0024 002B 003C-003E 005E 0060 007C 000A 000D 0009 0020 0085 00A0 1680 2000-200A 2028-2029 205F 017F 212A 00AA 00BA 01C5 01C8 01BB 02B0 0300 0301 0903 "
           "20DD 00B2 00BD 0660-0669 2160 3007 00AD 200B 200D FE0F 1F600 1F1E6 20AC 2200 005F 2014 2118 A9CF")


def cuts(rules):
    """Cases of trained-cuts.json."""
    made = random.Random(31)
    border = set()
    for part in f"{BORDERS} {DEEPSEEK_LETTERS}".split():
        codes = [int(code, 16) for code in part.split("-")]
        border.update(code + step for code in codes for step in (-1, 0, 1))
    fit = [chr(code) for code in sorted(border) if unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co")]
    common = list("aZs'lL1237 .$!/\n\r\t") + ["  ", "'s", "'LL", "123", "中", "é", "Ab"]
    cases = []
    for position in range(1200):
        parts = [made.choice(fit) if made.random() < 0.5 else made.choice(common) for _ in range(made.randint(3, 9))]
        parts.insert(made.randrange(len(parts)), fit[position % len(fit)])
        text = "".join(parts)
        case = {"hex": text.encode().hex()}
        for name, stages in rules.items():
            offsets = [offset for _, offset in pre_tokenizers.Sequence(stages).pre_tokenize_str(text)]
            assert [end for _, end in offsets][:-1] == [start for start, _ in offsets][1:] and offsets[0][0] == 0 and offsets[-1][1] == len(text)
            case[name] = [end - start for start, end in offsets]
        cases.append(case)
    return cases


def train(folder, rule):
    architecture, nfc, stages, whole_words = rule
    tokenizer = Tokenizer(models.BPE())
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = bytes_only()
    tokenizer.train_from_iterator(corpus(folder), trainers.BpeTrainer(
        vocab_size=VOCAB, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=[END]))
    model = json.loads(tokenizer.to_str())["model"]
    vocab, merges = model["vocab"], [tuple(merge) for merge in model["merges"]]
    if whole_words:  # tokens that only a whole word can become
        merges = [merge for rank, merge in enumerate(merges) if rank % 9 != 8]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(stages)
    tokenizer.model = models.BPE(vocab, merges, ignore_merges=whole_words)
    tokenizer.add_special_tokens([AddedToken(END, special=True, normalized=False)])
    tokenizer.add_tokens([AddedToken(TOOL, special=False, normalized=False)])
    return tokenizer, merges


def write_gguf(path, name, rule, tokenizer, merges):
    writer = gguf.GGUFWriter(path, rule[0])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(name)
    by_id = sorted((token_id, token) for token, token_id in tokenizer.get_vocab().items())
    assert [token_id for token_id, _ in by_id] == list(range(len(by_id)))
    writer.add_token_list([token for _, token in by_id])
    types = {END: gguf.TokenType.CONTROL, TOOL: gguf.TokenType.USER_DEFINED}
    writer.add_token_types([types.get(token, gguf.TokenType.NORMAL) for _, token in by_id])
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def write_cases(path, meta, cases):
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write('{"meta": ' + json.dumps(meta, ensure_ascii=False) + ',\n "cases": [\n')
        file.write(",\n".join(json.dumps(case, separators=(",", ":")) for case in cases))
        file.write("\n]}\n")


def case_of(tokenizer, data, normalized):
    """normalized: what comes back, without special tokens."""
    text = decode(data)
    tokenizer.encode_special_tokens = False
    parsed = tokenizer.encode(text, add_special_tokens=False).ids
    tokenizer.encode_special_tokens = True
    plain = tokenizer.encode(text, add_special_tokens=False).ids
    case = {"hex": data.hex(), "ids": plain}
    if parsed != plain:
        case["ids_parse_special"] = parsed
    back = normalized(text).encode()
    if back != data:
        case["detok_hex"] = back.hex()
    return case


def main():
    folder = sys.argv[1]
    for name in os.listdir(folder):
        if re.fullmatch(r"trained-(?!unigram|spm).*\.(gguf|json)", name):
            os.remove(f"{folder}/{name}")
    for name, rule in RULES.items():
        tokenizer, merges = train(folder, rule)
        write_gguf(f"{folder}/trained-{name}.gguf", name, rule, tokenizer, merges)
        nfc = rule[1]

        def normalized(text):
            return TOOL.join(unicodedata.normalize("NFC", part) if nfc else part for part in text.split(TOOL))

        cases = [case_of(tokenizer, data, normalized) for data in strings(folder)]
        write_cases(f"{folder}/trained-{name}.json", {
            "vocab": f"trained-{name}.gguf", "reference": "tokenizers 0.23.3", "script": "tests/reference/make_tokenizers.py"}, cases)
        print(name, tokenizer.get_vocab_size(), len(merges), len(cases))
    made = cuts({name: rule[2] for name, rule in RULES.items()})
    write_cases(f"{folder}/trained-cuts.json", {"reference": "tokenizers 0.23.3", "script": "tests/reference/make_tokenizers.py"}, made)
    print("cuts", len(made))


if __name__ == "__main__":
    main()
