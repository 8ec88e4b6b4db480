#!/usr/bin/env python3
"""Exchanges safetensors files with the reference library.

Without arguments writes tests/checkpoint/data/*.safetensors by the library, and beside each file a listing of
what is in it. With files as arguments loads each by the library and compares it with the listing beside it,
where there is one; prints the listing otherwise. Needs the packages safetensors, numpy and ml_dtypes:

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install safetensors==0.8.0 numpy ml_dtypes
    /tmp/venv/bin/python scripts/goldens/safetensors.py [FILE...]

ours.safetensors there is written by this project (RONDEL_EXCHANGE_FOLDER=tests/checkpoint/data in the
environment of the test that compares it), so that the library can be asked whether it is right.
"""

import pathlib
import struct
import sys

# This script has the name of the package it needs.
sys.path = [path for path in sys.path if pathlib.Path(path).resolve() != pathlib.Path(__file__).resolve().parent]

import ml_dtypes  # noqa: E402
import numpy  # noqa: E402
import safetensors  # noqa: E402

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "tests" / "checkpoint" / "data"

# Names of the library's arguments, and the names in files.
FILE_NAMES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "uint16": "U16",
    "int32": "I32",
    "uint32": "U32",
    "int64": "I64",
    "uint64": "U64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}


def arrays():
    """Maps the name of each file to its tensors and metadata."""
    numbers = numpy.array([0, 1, -1, 0.5, -2.5, 1e-3, 65504, numpy.inf])
    whole = numpy.array([0, 1, 2, 3, 100, 127])
    yield "floats", {
        "f16": numbers.astype(numpy.float16).reshape(2, 4),
        "bf16": numbers.astype(ml_dtypes.bfloat16).reshape(4, 2),
        "f32": numbers.astype(numpy.float32).reshape(2, 2, 2),
        "f64": numbers.astype(numpy.float64),
        "f8_e4m3": whole.astype(ml_dtypes.float8_e4m3fn),
        "f8_e5m2": whole.astype(ml_dtypes.float8_e5m2),
        "c64": numpy.array([1 + 2j, -0.5j], numpy.complex64),
    }, None
    yield "integers", {
        kind: whole.astype(kind).reshape(3, 2)
        for kind in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
    } | {
        "bool": whole > 1,
        "least": numpy.array([-(2**63)], numpy.int64),
        "most": numpy.array([2**64 - 1], numpy.uint64),
    }, {"format": "np"}
    yield "shapes", {
        "scalar": numpy.array(2.5, numpy.float32),
        "one": numpy.array([2.5], numpy.float32),
        "empty": numpy.zeros((0,), numpy.float32),
        "empty.middle": numpy.zeros((3, 0, 2), numpy.int64),
        "deep": numpy.arange(6, dtype=numpy.uint8).reshape(1, 1, 2, 1, 3, 1),
    }, None
    yield "names", {
        "": numpy.array([1], numpy.uint8),
        "with \"quotes\" and \\": numpy.array([2], numpy.uint8),
        "\u00fcn\u00efc\u00f6d\u00e9 \u20ac \U0001d11e": numpy.array([3], numpy.uint8),
    }, {"\u20ac": "\U0001d11e", "empty": "", "quoted": "\"\\\""}
    yield "nothing", {}, None


def listing(path):
    """What a file holds, as the library reads it: the lines of the listing, by name."""
    found = dict(safetensors.deserialize(path.read_bytes()))
    lines = []
    for name in sorted(found, key=lambda text: text.encode()):
        one = found[name]
        sizes = ",".join(map(str, one["shape"])) or "-"
        lines.append(f"{one['dtype']} {sizes} {bytes(one['data']).hex() or '-'} {name}\n")
    with safetensors.safe_open(path, framework="numpy") as opened:
        metadata = opened.metadata() or {}
    lines += [f"metadata {key}={metadata[key]}\n" for key in sorted(metadata, key=lambda text: text.encode())]
    return "".join(lines)


def expected_listing(tensors, metadata):
    """The same, from the arrays themselves."""
    lines = []
    for name in sorted(tensors, key=lambda text: text.encode()):
        one = tensors[name]
        sizes = ",".join(map(str, one.shape)) or "-"
        lines.append(f"{FILE_NAMES[one.dtype.name]} {sizes} {one.tobytes().hex() or '-'} {name}\n")
    lines += [f"metadata {key}={metadata[key]}\n" for key in sorted(metadata or {}, key=lambda text: text.encode())]
    return "".join(lines)


def write():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, tensors, metadata in arrays():
        path = FOLDER / f"{name}.safetensors"
        described = {
            key: safetensors.TensorSpec(
                dtype=value.dtype.name, shape=list(value.shape), data_ptr=value.ctypes.data, data_len=value.nbytes)
            for key, value in tensors.items()
        }
        path.write_bytes(safetensors.serialize(described, metadata))
        expected = expected_listing(tensors, metadata)
        if listing(path) != expected:
            sys.exit(f"{path} does not hold what was written")
        path.with_suffix(".txt").write_text(expected, encoding="utf-8")
        print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size} B")


def verify(paths):
    failed = False
    for path in map(pathlib.Path, paths):
        (length,) = struct.unpack("<Q", path.read_bytes()[:8])
        found = listing(path)
        expected = path.with_suffix(".txt")
        if not expected.exists():
            print(found, end="")
            continue
        right = found == expected.read_text(encoding="utf-8")
        failed |= not right
        print(f"{path.name}: header of {length} B, {found.count(chr(10))} entries, {'equal' if right else 'DIFFERENT'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(verify(sys.argv[1:]) if len(sys.argv) > 1 else write())
