"""Damage to the folder of pieces and to ``puzzle.json``, and things that stand where a file should be."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from tests.hostile.damages import Victim, kind


@kind("pth")
def doubled_piece(victim: Victim) -> str:
    file = victim.any_piece()
    number = file.stem.removeprefix("piece_")
    other = file.with_name(
        victim.one_of([f"piece_0{number}.pth", f"piece_000{number}.pth", f"{file.stem}.safetensors"])
    )
    shutil.copy(file, other)
    return str(max(file, other))


@kind("pth")
def missing_piece(victim: Victim) -> str:
    """The one of the highest number is missed by the shapes, the others by the numbers."""
    victim.any_piece().unlink()
    return str(victim.path / "pieces")


@kind("pth")
def surplus_piece(victim: Victim) -> Path:
    pieces = victim.path / "pieces"
    file = pieces / f"piece_{2 * victim.puzzle.blocks + 1}.pth"
    if victim.up_to(2):
        torch.save({"weight": torch.ones(9, 9)}, file)
        return file
    shutil.copy(victim.any_piece(), file)
    return pieces


@kind("pth")
def strange_name_among_pieces(victim: Victim) -> str:
    names = [
        "piece_3 (copy).pth",
        "piece_.pth",
        "piece_-1.pth",
        "piece_1.5.pth",
        "notes.txt",
        "piece_1.PTH",
        "piece_٣.pth",
    ]
    name = victim.one_of([*names, "piece_" + "9" * 200 + ".pth", "a\nb", "\x1b[2Jpiece", "piece_1.pth.part", "ä" * 100])
    (victim.path / "pieces" / name).write_bytes(b"")
    return str(victim.path / "pieces")


@kind("pth")
def no_file_for_a_pth(victim: Victim) -> Path:
    return not_a_file(victim, victim.any_piece())


def not_a_file(victim: Victim, file: Path) -> Path:
    """A folder, a pipe, a device or a link that leads nowhere in the place of a file."""
    file.unlink()
    way = victim.up_to(6)
    if way == 0:
        file.mkdir()
    elif way == 1:
        os.mkfifo(file)
    else:
        ends = {2: file, 3: file.with_name(".nowhere"), 4: Path("/dev/zero"), 5: Path("/dev/null")}
        file.symlink_to(ends[way])
    return file


@kind("pth")
def no_folder_of_pieces(victim: Victim) -> str:
    pieces = victim.path / "pieces"
    shutil.rmtree(pieces)
    way = victim.up_to(5)
    if way == 0:
        pieces.mkdir()
    elif way == 1:
        pieces.write_bytes(b"")
    elif way == 2:
        os.mkfifo(pieces)
    elif way == 3:
        pieces.symlink_to(pieces)
    return str(pieces)


@kind("safetensors")
def wrong_description(victim: Victim) -> Path:
    file = victim.path / "puzzle.json"
    values: list[Any] = [[], "text", 3, None, {"name": 3}, {"activation": ["relu"]}, {"activation": "swish"}]
    values += [{"target_hash": "abc"}, {"target_hash": 7}, {"target_hash": "g" * 64}, {"name": {"a": 1}}]
    texts = [json.dumps(value).encode() for value in values]
    depth = 1000 + victim.up_to(300_000)
    texts += [b"", b"{", b"\xff\xfe\x00", b"[" * depth, b'{"a":' * depth, b" " * (2 << 20), b'{"name": ' + b"9" * 9999]
    file.write_bytes(victim.one_of(texts))
    return file


@kind("safetensors")
def no_file_for_the_description(victim: Victim) -> Path:
    file = victim.path / "puzzle.json"
    file.write_bytes(b"{}")
    return not_a_file(victim, file)
