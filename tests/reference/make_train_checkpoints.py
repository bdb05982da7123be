#!/usr/bin/env python3
"""Makes tests/fixtures/training/checkpoint.nookt and tests/fuzz/corpus/checkpoint: saved trainings by another writer of the format.

The format is told in src/train/checkpoint.h. What stands in the fixture, tests/unit/test_train_checkpoint.c says too. Inputs of the
fuzzer have no hash at their end (it appends the right one).

    python3 tests/reference/make_train_checkpoints.py tests/fixtures/training tests/fuzz/corpus/checkpoint
"""
import hashlib
import struct
import sys

OPTIONS = b'{"method":"lora","rank":4,"steps":20}\0'


def floats(*values):
    return struct.pack(f"<{len(values)}f", *values)


def record(step, loss, norm=0.0, rate=0.0):
    return struct.pack("<Qddd", step, loss, norm, rate)


def progress(step=3, epoch=1, position=2, examples=12, tokens=345, worse=1, best_step=2, best_loss=1.5, seconds=2.25):
    return struct.pack("<7Qdd", step, epoch, position, examples, tokens, worse, best_step, best_loss, seconds)


def usual():
    return {
        b"KERN": b"scalar\0", b"MODL": bytes(range(32)), b"DATA": bytes(range(32, 64)), b"HELD": bytes(range(64, 96)),
        b"OPTS": OPTIONS, b"PROG": progress(), b"VALS": floats(0.5, -1.25, 3.0), b"MOM1": floats(0.125, 0.0, -2.0),
        b"MOM2": floats(0.25, 0.0, 1e-20), b"BEST": floats(0.0, -1.0, 2.5),
        b"LOSS": record(0, 3.5, 2.0, 0.25) + record(1, 3.25, 1.0, 0.5) + record(2, 3.0, 0.5, 0.5),
        b"EVAL": record(0, 2.0) + record(2, 1.5) + record(3, 1.75),
    }


def body(sections, version=1):
    out = b"NOOKTRNG" + struct.pack("<II", version, 0)
    for tag, data in sections.items():
        out += tag + struct.pack("<IQ", 0, len(data)) + data + b"\0" * (-len(data) % 8)
    return out


def main(fixtures, corpus):
    whole = body(usual())
    with open(f"{fixtures}/checkpoint.nookt", "wb") as file:
        file.write(whole + hashlib.sha256(whole).digest())
    bare = {**usual(), b"BEST": b"", b"LOSS": b"", b"EVAL": b"", b"OPTS": b"{}\0", b"VALS": floats(1), b"MOM1": floats(0),
            b"MOM2": floats(0), b"PROG": progress(0, 0, 0, 0, 0, 0, 0, 0.0, 0.0)}
    inputs = {
        "usual": whole,
        "bare": body(bare),
        "nan": body({**usual(), b"VALS": floats(0.5, float("nan"), 3.0)}),
        "negative": body({**usual(), b"MOM2": floats(0.25, -1.0, 0.0)}),
        "moments_short": body({**usual(), b"MOM1": floats(0.125)}),
        "record_cut": body({**usual(), b"EVAL": record(0, 2.0)[:-4]}),
        "section_twice": body({**usual(), b"KERN": b"simd128\0"}) + whole[16:40],
        "section_missing": body({k: v for k, v in usual().items() if k != b"MOM2"}),
        "length_wraps": whole[:24] + b"\xff" * 8 + whole[32:],
        "length_huge": whole[:24] + struct.pack("<Q", 1 << 40) + whole[32:],
        "version": body(usual(), 2),
        "cut": whole[:300],
        "magic": b"NOOKTRNG",
        "text_without_end": body({**usual(), b"OPTS": b"{}"}),
    }
    for name, data in inputs.items():
        with open(f"{corpus}/{name}", "wb") as file:
            file.write(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
