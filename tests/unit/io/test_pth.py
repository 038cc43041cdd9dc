"""The reader of torch's files gives what torch gives, and needs no torch."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pairing.errors import PuzzleError
from pairing.io.floats import BYTES, as_float32
from pairing.io.load import load_puzzle
from pairing.io.pth import read_pth
from tests.support.puzzle_files import write_pth_puzzle
from tests.support.puzzles import plant

OLD = {"_use_new_zipfile_serialization": False}
KINDS = [
    (getattr(torch, kind), layout)
    for kind, size in BYTES.items()
    for layout in ({}, OLD)
    if size > 1 or layout is not OLD
]
"""Types and layouts: the old one has no 8-bit numbers."""


def assert_as_torch(file: Path) -> None:
    state = torch.load(file, weights_only=False)  # its reader of weights alone knows protocol 2
    found = read_pth(file)
    assert list(found) == [name for name, tensor in state.items() if tensor is not None]
    for name, array in found.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, state[name].detach().float().numpy())


@pytest.mark.parametrize(("kind", "layout"), KINDS, ids=str)
def test_every_type(kind: torch.dtype, layout: dict[str, Any], tmp_path: Path) -> None:
    numbers = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).to(kind)
    torch.save({"weight": numbers, "bias": numbers[:, 1], "view": numbers.T[2:5, ::2]}, tmp_path / "a.pth", **layout)
    assert_as_torch(tmp_path / "a.pth")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float8_e5m2, torch.float8_e4m3fn], ids=str)
def test_every_number_of_a_narrow_type(kind: torch.dtype) -> None:
    name, size = str(kind).removeprefix("torch."), kind.itemsize
    raw = np.arange(256**size, dtype=f"u{size}")
    wide = torch.from_numpy(raw.copy()).view(kind).float().numpy()
    np.testing.assert_array_equal(as_float32(raw.tobytes(), name), wide)
    np.testing.assert_array_equal(as_float32(raw.astype(f">u{size}").tobytes(), name, ">"), wide)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("layout", [{}, OLD], ids=["zip", "legacy"])
def test_every_protocol(protocol: int, layout: dict[str, Any], tmp_path: Path) -> None:
    marked = torch.nn.Parameter(torch.ones(3))
    marked.note = "an attribute"
    state = torch.nn.Linear(4, 3).state_dict()
    torch.save({**state, "marked": marked}, tmp_path / "a.pth", pickle_protocol=protocol, **layout)
    assert list(read_pth(tmp_path / "a.pth")) == ["weight", "bias", "marked"]
    torch.save(state, tmp_path / "a.pth", pickle_protocol=protocol, **layout)
    assert_as_torch(tmp_path / "a.pth")


def test_none_is_no_tensor(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2, 2), "bias": None}, tmp_path / "a.pth")
    assert_as_torch(tmp_path / "a.pth")


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("layout", [{}, OLD], ids=["zip", "legacy"])
def test_a_module_is_refused_with_how_to_save_it(protocol: int, layout: dict[str, Any], tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 3), tmp_path / "a.pth", pickle_protocol=protocol, **layout)
    with pytest.raises(PuzzleError, match=r"a\.pth: .*torch\.nn\.modules\.linear\.Linear.*module\.state_dict"):
        read_pth(tmp_path / "a.pth")


def test_a_bare_tensor_is_refused_with_how_to_save_it(tmp_path: Path) -> None:
    torch.save(torch.ones(2), tmp_path / "a.pth")
    with pytest.raises(PuzzleError, match=r"bare tensor.*state_dict"):
        read_pth(tmp_path / "a.pth")


def test_nothing_of_a_pickle_is_hashed_but_texts(tmp_path: Path) -> None:
    """A tuple of itself twice, 60 deep, takes for ever to hash."""
    bomb = b")" + b"q\x00h\x00\x86" * 60
    ordered = b"ccollections\nOrderedDict\n"
    for program in (b"}" + bomb + b"Ns.", ordered + b"]" + bomb + b"N\x86a\x85R.", b"}(" + bomb + b"Nu."):
        with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02" + program)
        with pytest.raises(PuzzleError, match="is damaged"):
            read_pth(tmp_path / "a.pth")


def test_changed_bytes_are_refused_or_read_as_torch_reads_them(tmp_path: Path) -> None:
    content, file = io.BytesIO(), tmp_path / "a.pth"
    torch.save({"weight": torch.ones(3, 2), "bias": torch.ones(3)}, content)
    with zipfile.ZipFile(content) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    rng = np.random.default_rng(0)
    for _ in range(300):
        program = bytearray(entries["archive/data.pkl"])
        for place in rng.integers(len(program), size=int(rng.integers(1, 4))):
            program[place] = rng.integers(256)
        with zipfile.ZipFile(file, "w") as archive:
            for name, entry in (entries | {"archive/data.pkl": bytes(program)}).items():
                archive.writestr(name, entry)
        try:
            found = read_pth(file)
        except PuzzleError as error:
            assert str(file) in str(error)  # noqa: PT017
            continue
        try:
            state = torch.load(file, weights_only=True, map_location="cpu")
        except (RuntimeError, pickle.UnpicklingError, ValueError, KeyError, TypeError, AttributeError, AssertionError):
            continue  # ours overlooks what is no part of the numbers
        for name in {"weight", "bias"} & set(found):
            np.testing.assert_array_equal(found[name], state[name].detach().float().numpy())


@pytest.mark.slow
def test_a_folder_of_pth_needs_no_torch(tmp_path: Path) -> None:
    puzzle = plant(0, blocks=3).puzzle
    folder = write_pth_puzzle(puzzle, tmp_path / "p")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pairing import load_puzzle, solve\n"
        "puzzle = load_puzzle(sys.argv[1])\n"
        "print(puzzle.digest, solve(puzzle, methods='trace').permutation is not None)"
    )
    run = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert run.stdout.split() == [puzzle.digest, "True"]
    assert load_puzzle(folder).digest == puzzle.digest
