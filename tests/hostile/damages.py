"""Every kind of damage: what is done to a sound puzzle, and what the error's text must name."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from pairing.io.packed import pack_puzzle
from pairing.model.puzzle import Puzzle
from tests.support.puzzle_files import CSV, PARQUET, write_parquet, write_pth_puzzle
from tests.support.puzzles import Planted, plant, write_puzzle

CASES = int(os.environ.get("HOSTILE_CASES", "20"))
"""Cases of each kind."""

SEED = int(os.environ.get("HOSTILE_SEED", "0"))
"""Another number makes other cases."""

Item = TypeVar("Item")

FORMS = ("pth", "safetensors", "parquet", "packed")
"""How a sound puzzle is written: a folder with CSV and ``.pth``, with CSV and safetensors, with Parquet; or packed."""


@dataclass(frozen=True)
class Victim:
    """A sound puzzle, which is to be damaged."""

    path: Path
    """Its folder, or the packed file."""
    planted: Planted
    rng: np.random.Generator

    @property
    def puzzle(self) -> Puzzle:
        """What the files hold."""
        return self.planted.puzzle

    @property
    def csv(self) -> Path:
        """The data, where they are CSV."""
        return self.path / CSV

    @property
    def parquet(self) -> Path:
        """The data, where they are Parquet."""
        return self.path / PARQUET

    def any_piece(self) -> Path:
        """One of the pieces."""
        return self.one_of(sorted((self.path / "pieces").iterdir()))

    def one_of(self, items: Sequence[Item]) -> Item:
        """One of them."""
        return items[int(self.rng.integers(len(items)))]

    def up_to(self, most: int) -> int:
        """A number from 0 to ``most − 1``."""
        return int(self.rng.integers(most))


Harm = Callable[[Victim], str | Path]
"""Damages the victim; what the message must hold."""


@dataclass(frozen=True)
class Kind:
    """One kind of damage to puzzles of one form."""

    form: str
    harm: Harm


KINDS: dict[str, Kind] = {}


def kind(form: str) -> Callable[[Harm], Harm]:
    """Puts a function into the table, under its name."""

    def register(harm: Harm) -> Harm:
        KINDS[harm.__name__] = Kind(form, harm)
        return harm

    return register


def sound(form: str, place: Path, seed: int) -> Planted:
    """Writes a small puzzle of one form to ``place``; its answer."""
    shape = np.random.default_rng(seed)
    width, outputs = int(shape.integers(3, 6)), int(shape.integers(1, 3))
    planted = plant(
        seed, blocks=int(shape.integers(2, 5)), width=width, hidden=width + 3, outputs=outputs, rows=10 + seed % 10
    )
    if form == "pth":
        write_pth_puzzle(planted.puzzle, place)
    elif form == "packed":
        place.write_bytes(pack_puzzle(planted.puzzle))
    else:
        write_puzzle(planted.puzzle, place)
        if form == "parquet":
            write_parquet(planted.puzzle, place)
    return planted


def generator(name: str, seed: int, case: int) -> np.random.Generator:
    """The random numbers of one case: the same whenever it is repeated."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), case])
