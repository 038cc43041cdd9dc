"""Damage to pieces as torch writes them."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.hostile.damages import Victim, kind

GIGABYTE = 1 << 30


def _rewritten(file: Path, change: Callable[[zipfile.ZipInfo, bytes], bytes]) -> Path:
    """The archive with other entries, still uncompressed and with right checksums."""
    entries = {}
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            entries[entry.filename] = change(entry, archive.read(entry))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file


def _with_pickle(file: Path, program: bytes) -> Path:
    """The archive with another pickle."""
    return _rewritten(file, lambda entry, content: program if entry.filename.endswith("data.pkl") else content)


def _state(file: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(file, weights_only=True))


def _with_state(file: Path, **changes: Any) -> Path:
    torch.save({**_state(file), **changes}, file)
    return file


def _spoilt(tensor: torch.Tensor, value: float, victim: Victim) -> torch.Tensor:
    wide = tensor.double().clone()
    wide.view(-1)[victim.up_to(wide.numel())] = value
    return wide


@kind("pth")
def truncated_pth(victim: Victim) -> Path:
    file = victim.any_piece()
    content = file.read_bytes()
    file.write_bytes(content[: victim.up_to(len(content) - 30)])
    return file


@kind("pth")
def flipped_bit_in_pth(victim: Victim) -> Path:
    """Within an entry's content, where the archive's checksum tells it from a valid piece."""
    file = victim.any_piece()
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        entry = victim.one_of(archive.infolist())
    name, extra = struct.unpack_from("<HH", content, entry.header_offset + 26)
    at = entry.header_offset + 30 + name + extra + victim.up_to(entry.file_size)
    content[at] ^= 1 << victim.up_to(8)
    file.write_bytes(content)
    return file


class Trap:
    """What a hostile piece holds: whoever unpickles it makes a folder, or runs a program."""

    def __init__(self, victim: Victim) -> None:
        sprung = str(victim.path.parent / "sprung")
        self._calls: list[tuple[Callable[..., object], tuple[object, ...]]] = [
            (os.mkdir, (sprung,)),
            (os.system, (f"mkdir {sprung}",)),
            (eval, (f"__import__('os').mkdir({sprung!r})",)),
            (exec, (f"import os; os.mkdir({sprung!r})",)),
            (torch.load, (sprung,)),
        ]
        self._call = victim.one_of(self._calls)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self._call


@kind("pth")
def code_in_pth(victim: Victim) -> Path:
    return _with_state(victim.any_piece(), **{victim.one_of(["bias", "weight", "other"]): Trap(victim)})


@kind("pth")
def code_in_legacy_pth(victim: Victim) -> Path:
    file = victim.any_piece()
    torch.save({**_state(file), "bias": Trap(victim)}, file, _use_new_zipfile_serialization=False)
    return file


@kind("pth")
def plain_pickle(victim: Victim) -> Path:
    file = victim.any_piece()
    thing = victim.one_of([Trap(victim), {"weight": np.ones((3, 3))}, [1, 2], {"weight": Trap(victim)}])
    file.write_bytes(pickle.dumps(thing, protocol=victim.up_to(5)))
    return file


@kind("pth")
def pickle_that_allocates(victim: Victim) -> Path:
    """What torch lets pass: it runs no code of the file, but takes all the memory there is."""
    size = victim.one_of([8, 12, 20]) * GIGABYTE
    number = b"\x8a\x08" + struct.pack("<q", size)
    programs = [
        b"\x80\x02cbuiltins\nbytearray\n" + number + b"\x85R.",
        b"\x80\x02ctorch\nFloatTensor\n" + number + b"\x85R.",
        b"\x80\x02ctorch\nFloatTensor\n" + number + b"\x85\x81.",
        b"\x80\x02}X\x06\x00\x00\x00weightcbuiltins\nbytearray\n" + number + b"\x85Rs.",
    ]
    return _with_pickle(victim.any_piece(), victim.one_of(programs))


@kind("pth")
def pickle_that_nests(victim: Victim) -> Path:
    """A tuple in a tuple in a tuple … as a key, whose hash overflows the stack."""
    depth = 200_000 + victim.up_to(1_000_000)
    opening, closing = victim.one_of([(b")" + b"\x85" * depth, b""), (b"N" + b"\x85" * depth, b"")])
    return _with_pickle(victim.any_piece(), b"\x80\x02}" + opening + closing + b"Ns.")


@kind("pth")
def pickle_cut_or_garbled(victim: Victim) -> Path:
    file = victim.any_piece()
    with zipfile.ZipFile(file) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        program = bytearray(archive.read(name))
    if victim.up_to(2):
        return _with_pickle(file, bytes(program[: victim.up_to(len(program) - 1)]))
    at = victim.up_to(len(program) - 8)
    program[at : at + 8] = victim.rng.bytes(7) + b"\xff"
    return _with_pickle(file, bytes(program))


@kind("pth")
def wrong_dtype_in_pth(victim: Victim) -> Path:
    file = victim.any_piece()
    name = victim.one_of(["weight", "bias"])
    dtype = victim.one_of([torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.bool, torch.complex64])
    return _with_state(file, **{name: _state(file)[name].to(dtype)})


@kind("pth")
def nan_or_infinity_in_pth(victim: Victim) -> Path:
    file, name = victim.any_piece(), victim.one_of(["weight", "bias"])
    value = victim.one_of([np.nan, np.inf, -np.inf, 1e39, -1e300])
    spoilt = _spoilt(_state(file)[name], value, victim)
    return _with_state(file, **{name: spoilt if abs(value) < np.inf or victim.up_to(2) else spoilt.float()})


@kind("pth")
def wrong_shape_in_pth(victim: Victim) -> Path:
    file = victim.any_piece()
    weight, bias = (_state(file)[name] for name in ("weight", "bias"))
    changed = victim.one_of(
        [
            {"weight": weight.ravel()},
            {"weight": weight[0, 0]},
            {"weight": weight[None]},
            {"weight": weight.reshape(*[1] * 62, *weight.shape)},
            {"bias": bias[None]},
            {"bias": bias[0]},
            {"bias": torch.cat([bias, bias])},
            {"weight": torch.ones(len(weight), 77)},
        ]
    )
    return _with_state(file, **changed)


@kind("pth")
def size_of_zero_in_pth(victim: Victim) -> Path:
    shape = victim.one_of([(0, 4), (4, 0), (0, 0), (0,), (0, 1 << 62), (1 << 40, 0)])
    file = victim.any_piece()
    return _with_state(file, **{victim.one_of(["weight", "bias"]): torch.empty(shape)})


@kind("pth")
def huge_size_in_pth(victim: Victim) -> Path:
    """One number stretched, or a shape without data."""
    file = victim.any_piece()
    rows, columns = (10 ** (3 + victim.up_to(7)) for _ in range(2))
    place = victim.one_of(["cpu", "meta"])
    return _with_state(file, weight=torch.ones(1, device=place).expand(rows, columns))


@kind("pth")
def shape_without_its_data_in_pth(victim: Victim) -> Path:
    """The pickle says more than the storage has."""
    file = victim.any_piece()

    def longer(entry: zipfile.ZipInfo, content: bytes) -> bytes:
        return content[: victim.up_to(len(content))] if "/data/" in entry.filename else content

    return _rewritten(file, longer)


@kind("pth")
def no_dict_of_tensors(victim: Victim) -> Path:
    file = victim.any_piece()
    state = _state(file)
    weight = state["weight"]
    things: list[object] = [
        weight,
        [weight],
        {},
        {"bias": state["bias"]},
        {**state, "scale": weight},
        {"weight": [[1.0, 2.0]]},
        {"weight": "text"},
        {"weight": None},
        {"weight": weight.to_sparse()},
        {"weight": torch._neg_view(weight)},
        {"model": OrderedDict(state)},
        {0: weight},
        None,
        3,
        "weight",
    ]
    torch.save(victim.one_of(things), file, _use_new_zipfile_serialization=bool(victim.up_to(2)))
    return file


@kind("pth")
def another_format_as_pth(victim: Victim) -> Path:
    file = victim.any_piece()
    content = file.read_bytes()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as other:
        other.writestr("word/document.xml", "<xml/>")
    others = [
        b"",
        b"\n",
        b"PK",
        b"PK\x03\x04",
        b"<!DOCTYPE html><html>404 Not Found</html>",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        gzip.compress(content),
        archive.getvalue(),
        victim.rng.bytes(2000),
        bytes(2000),
        "weight".encode("utf-16"),
        _tar(),
    ]
    file.write_bytes(victim.one_of(others))
    return file


def _tar() -> bytes:
    """The oldest format of torch, which was unpacked into a folder."""
    import tarfile

    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "../../sprung", "tensors"):
            archive.addfile(tarfile.TarInfo(name))
    return content.getvalue()


@kind("pth")
def truncated_legacy_pth(victim: Victim) -> Path:
    file = victim.any_piece()
    torch.save(_state(file), file, _use_new_zipfile_serialization=False)
    content = file.read_bytes()
    file.write_bytes(content[: victim.up_to(len(content) - 1)])
    return file
