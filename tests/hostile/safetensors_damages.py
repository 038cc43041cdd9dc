"""Damage to safetensors: single pieces, and packed puzzles."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from tests.hostile.damages import Victim, kind
from tests.hostile.folder_damages import not_a_file

Header = dict[str, Any]


def header_of(content: bytes) -> Header:
    """A safetensors file's header."""
    header: Header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return header


def _with_header(content: bytes, change: Callable[[Header], object]) -> bytes:
    """The same data behind a changed header."""
    header, size = header_of(content), int.from_bytes(content[:8], "little")
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


def _cut(content: bytes, victim: Victim) -> bytes:
    way = victim.up_to(3)
    return content[: victim.up_to(len(content))] if way else content + victim.rng.bytes(1 + victim.up_to(20))


def _lying_length(content: bytes, victim: Victim) -> bytes:
    """The first eight bytes, the header's length, say something else."""
    true = int.from_bytes(content[:8], "little")
    lies = [0, 1, true - 1, true + 1, len(content), len(content) - 8, 10**8 + 1, 2**31, 2**32, 2**63, 2**64 - 1]
    return struct.pack("<Q", victim.one_of(lies)) + content[8:]


def _deep(content: bytes, victim: Victim) -> bytes:
    """A header of absurd depth."""
    depth, opening = 1000 + victim.up_to(300_000), victim.one_of([b"[", b'{"a":', b'{"__metadata__":'])
    text = opening * depth
    return struct.pack("<Q", len(text)) + text


def _lying_header(content: bytes, victim: Victim) -> bytes:
    """Offsets and shapes that contradict each other, or are no numbers."""
    name = victim.one_of([key for key in header_of(content) if key != "__metadata__"])
    entry = header_of(content)[name]
    begin, end = entry["data_offsets"]
    changes: list[Header] = [
        {"data_offsets": [begin, end + 4]},
        {"data_offsets": [end, begin]},
        {"data_offsets": [begin - 1, end]},
        {"data_offsets": [begin, 2**63]},
        {"data_offsets": [begin + 4, end]},
        {"shape": [*entry["shape"], 2]},
        {"shape": [2**62, 2**62]},
        {"shape": [10**12]},
        {"shape": [-1]},
        {"shape": "many"},
        {"shape": [2**64]},
        {"dtype": "F33"},
        {"dtype": 3},
        {"dtype": "F16"},
    ]
    return _with_header(content, lambda header: header[name].update(victim.one_of(changes)))


def _many_arrays(content: bytes, victim: Victim) -> bytes:
    """Thousands of arrays of nothing."""
    return _arrays_of_nothing(victim.one_of(["w", "target."]), victim.one_of([11_000, 100_000]))


@cache
def _arrays_of_nothing(prefix: str, count: int) -> bytes:
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    text = json.dumps({f"{prefix}{k}": empty for k in range(count)}).encode()
    return struct.pack("<Q", len(text)) + text


def _no_utf8(content: bytes, victim: Victim) -> bytes:
    size = int.from_bytes(content[:8], "little")
    header = bytearray(content[8 : 8 + size])
    header[victim.up_to(size)] = 0xFF
    return content[:8] + bytes(header) + content[8 + size :]


FILE_DAMAGES: dict[str, Callable[[bytes, Victim], bytes]] = {
    "cut": _cut,
    "lying_length": _lying_length,
    "deep": _deep,
    "lying_header": _lying_header,
    "many_arrays": _many_arrays,
    "no_utf8": _no_utf8,
}
"""Damage to any safetensors file: its content → another."""


def _of_a_piece(harm: Callable[[bytes, Victim], bytes]) -> Callable[[Victim], Path]:
    def damage(victim: Victim) -> Path:
        file = victim.any_piece()
        file.write_bytes(harm(file.read_bytes(), victim))
        return file

    return damage


def _of_packed(harm: Callable[[bytes, Victim], bytes]) -> Callable[[Victim], Path]:
    def damage(victim: Victim) -> Path:
        victim.path.write_bytes(harm(victim.path.read_bytes(), victim))
        return victim.path

    return damage


for name, harm in FILE_DAMAGES.items():
    for form, wrapped in (("safetensors", _of_a_piece(harm)), ("packed", _of_packed(harm))):
        wrapped.__name__ = f"{name}_{form}"
        kind(form)(wrapped)


def _saved(file: Path, arrays: dict[str, Any]) -> Path:
    file.write_bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))
    return file


@kind("safetensors")
def wrong_dtype_in_safetensors(victim: Victim) -> Path:
    file = victim.any_piece()
    name = victim.one_of(["weight", "bias"])
    arrays = load(file.read_bytes())
    dtype = victim.one_of([np.int8, np.int32, np.int64, np.uint8, np.bool_])
    return _saved(file, {**arrays, name: arrays[name].astype(dtype)})


@kind("safetensors")
def strange_dtype_in_safetensors(victim: Victim) -> Path:
    """Types that the format knows, and that weights are not of."""
    file = victim.any_piece()
    arrays = {name: array.astype(np.float16) for name, array in load(file.read_bytes()).items()}
    name, dtype = victim.one_of(["weight", "bias"]), victim.one_of(["I16", "U16"])
    file.write_bytes(_with_header(save(arrays), lambda header: header[name].update(dtype=dtype)))
    return file


@kind("safetensors")
def nan_or_infinity_in_safetensors(victim: Victim) -> Path:
    file, name = victim.any_piece(), victim.one_of(["weight", "bias"])
    arrays = load(file.read_bytes())
    spoilt = arrays[name].astype(np.float64)
    spoilt.flat[victim.up_to(spoilt.size)] = victim.one_of([np.nan, np.inf, -np.inf, 1e39, -1e300])
    return _saved(file, {**arrays, name: spoilt})


@kind("safetensors")
def wrong_shape_in_safetensors(victim: Victim) -> Path:
    file = victim.any_piece()
    arrays = load(file.read_bytes())
    weight, bias = arrays["weight"], arrays["bias"]
    changes: list[dict[str, Any]] = [
        {"weight": weight.ravel()},
        {"weight": weight[None]},
        {"weight": np.float32(1)},
        {"weight": weight[:0]},
        {"weight": weight[:, :0]},
        {"bias": bias[:-1]},
        {"bias": bias[None]},
        {"surplus": bias},
    ]
    return _saved(file, {**arrays, **victim.one_of(changes)})


@kind("safetensors")
def no_file_for_a_safetensors(victim: Victim) -> Path:
    return not_a_file(victim, victim.any_piece())


@kind("packed")
def wrong_arrays_in_packed(victim: Victim) -> Path:
    content = victim.path.read_bytes()
    arrays = load(content)
    name = victim.one_of(sorted(arrays))
    array = arrays[name]
    spoilt = array.copy()
    spoilt.flat[victim.up_to(array.size)] = victim.one_of([np.nan, np.inf, -np.inf])
    changed = victim.one_of(
        [spoilt, array[None], array.ravel()[:0], array.astype(np.int32), array.astype(np.float16), array[:-1], None]
    )
    arrays = {key: value for key, value in {**arrays, name: changed}.items() if value is not None}
    victim.path.write_bytes(save(arrays, header_of(content)["__metadata__"]))
    return victim.path


@kind("packed")
def surplus_array_in_packed(victim: Victim) -> Path:
    content = victim.path.read_bytes()
    name = victim.one_of(["surplus", "pred", "Target.pred", "", "\x1b[2J", "inp_weight2", "x" * 10_000])
    victim.path.write_bytes(save({**load(content), name: np.ones(3)}, header_of(content)["__metadata__"]))
    return victim.path


@kind("packed")
def wrong_description_in_packed(victim: Victim) -> Path:
    content = victim.path.read_bytes()
    about = json.loads(header_of(content)["__metadata__"]["pairing"])
    inp, out, last = json.loads(about["numbers"])
    numbers: list[Any] = [
        None,
        [],
        [inp, out],
        [out, inp[::-1], last],
        [inp[::-1], out, last],
        [inp, out, last + 1],
        [inp, out, 10**400],
        [inp, out, -1],
        [inp, out, True],
        [inp, out, str(last)],
        [inp, out, float(last)],
        [[inp], out, last],
        {"inp": inp},
    ]
    changes: list[dict[str, Any]] = [{"numbers": json.dumps(wrong)} for wrong in numbers]
    changes += [{"numbers": "[" * 100_000}, {"schema": "2"}, {"schema": None}, {"activation": "swish"}]
    changes += [{"activation": 3}, {"name": ["a"]}, {"target": 7}, {"target_hash": "xyz"}, {"target_hash": 1}]
    text: Any = json.dumps({**about, **victim.one_of(changes)})
    text = victim.one_of([text] * 20 + ["[" * 100_000, "", "null", "[]", "{"])
    metadata = {"pairing": text} if victim.up_to(15) else {}
    victim.path.write_bytes(save(load(content), metadata))
    return victim.path


@kind("packed")
def no_puzzle_at_all(victim: Victim) -> Path:
    """Something else is where the packed puzzle should be, or nothing."""
    others = [b"", b"\0", b"PK\x03\x04", bytes(4096), victim.rng.bytes(4096), b"measurement_0,pred\n1,2\n", b"{}"]
    if victim.up_to(2):
        victim.path.write_bytes(victim.one_of(others))
        return victim.path
    return not_a_file(victim, victim.path)
