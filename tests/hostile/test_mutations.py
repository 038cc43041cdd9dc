"""Bytes changed anywhere: the puzzle is refused by name, or what was loaded is a whole one of finite numbers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pairing.io.load import load_puzzle
from tests.hostile.damages import CASES, FORMS, SEED, Victim, generator, sound
from tests.hostile.sandbox import Sandbox, sandbox
from tests.hostile.test_damage import MOST_MEMORY, complaint, verify


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with sandbox() as found:
        yield found


def flip(content: bytearray, victim: Victim) -> bytes:
    for _ in range(1 + victim.up_to(3)):
        content[victim.up_to(len(content))] ^= 1 << victim.up_to(8)
    return bytes(content)


def replace(content: bytearray, victim: Victim) -> bytes:
    at, size = victim.up_to(len(content)), 1 + victim.up_to(8)
    content[at : at + size] = victim.one_of([bytes(size), b"\xff" * size, victim.rng.bytes(size), b"", b'",[{}]'])
    return bytes(content)


def repeat(content: bytearray, victim: Victim) -> bytes:
    begin, size, at = victim.up_to(len(content)), 1 + victim.up_to(200), victim.up_to(len(content))
    content[at:at] = content[begin : begin + size]
    return bytes(content)


MUTATIONS: list[Callable[[bytearray, Victim], bytes]] = [flip, replace, repeat]


@pytest.mark.parametrize("form", FORMS)
def test_a_mutated_file_is_refused_or_whole(form: str, box: Sandbox, tmp_path: Path) -> None:
    origin = tmp_path / "sound"
    planted = sound(form, origin, SEED)
    wrong, refused = [], 0
    for case in range(5 * CASES):
        place = tmp_path / str(case) / "puzzle"
        place.parent.mkdir()
        (shutil.copytree if origin.is_dir() else shutil.copy)(origin, place)
        victim = Victim(place, planted, generator(f"mutated {form}", SEED, case))
        files = [place] if place.is_file() else sorted(file for file in place.rglob("*") if file.is_file())
        file = victim.one_of(files)
        file.write_bytes(victim.one_of(MUTATIONS)(bytearray(file.read_bytes()), victim))
        said = verify(box, place, planted)
        if said.status in (0, 1):
            found = load_puzzle(place)
            whole = all(np.isfinite(array).all() for array in found.arrays().values())
            if not whole or said.errors or said.did or said.peak > MOST_MEMORY:
                wrong.append(f"case {case} of seed {SEED}: {file.name} loads, {said}")
        else:
            refused += 1
            if reason := complaint(said, str(place)):
                wrong.append(f"case {case} of seed {SEED}: {file.name}: {reason}")
        shutil.rmtree(place.parent)
    assert not wrong, "\n".join(wrong)
    assert refused > CASES
