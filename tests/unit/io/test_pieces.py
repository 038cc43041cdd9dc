"""Pieces as others save them: a file each under other names, with gaps in the numbers, or all in one file."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from pairing import load_puzzle
from pairing.errors import PuzzleError
from pairing.io import pth
from pairing.io.packed import pack_puzzle, unpack_puzzle
from pairing.model.puzzle import Puzzle
from pairing.solution import solution_of
from tests.support.puzzle_files import assert_same
from tests.support.puzzles import pieces_of, plant, write_data

Layers = dict[str, dict[str, np.ndarray]]
Save = Callable[[Layers, Path], object]


@pytest.fixture(scope="module")
def puzzle() -> Puzzle:
    return plant(1, blocks=5, rows=20, known=False).puzzle


@pytest.fixture
def folder(puzzle: Puzzle, tmp_path: Path) -> Path:
    write_data(puzzle, tmp_path / "some-puzzle")
    (tmp_path / "some-puzzle" / "pieces").mkdir()
    return tmp_path / "some-puzzle"


def state(layers: Layers) -> dict[str, np.ndarray]:
    return {f"{name}.{kind}": array for name, arrays in layers.items() for kind, array in arrays.items()}


def as_safetensors(layers: Layers, pieces: Path) -> None:
    save_file(state(layers), pieces / "model.safetensors")


def as_pth(layers: Layers, pieces: Path) -> None:
    torch.save({key: torch.from_numpy(array) for key, array in state(layers).items()}, pieces / "model.pt")


def as_old_pth(layers: Layers, pieces: Path) -> None:
    tensors = {key: torch.from_numpy(array) for key, array in state(layers).items()}
    torch.save(tensors, pieces / "model.pth", _use_new_zipfile_serialization=False)


def as_shards(layers: Layers, pieces: Path) -> None:
    keys = sorted(state(layers))
    shards = {f"model-0000{k}-of-00002.safetensors": keys[k::2] for k in range(2)}
    for name, some in shards.items():
        save_file({key: state(layers)[key] for key in some}, pieces / name)
    index = {"metadata": {}, "weight_map": {key: name for name, some in shards.items() for key in some}}
    (pieces / "model.safetensors.index.json").write_text(json.dumps(index))


WAYS = [as_safetensors, as_pth, as_old_pth, as_shards]


@pytest.mark.parametrize("save", WAYS)
@pytest.mark.parametrize("name", ["piece_{}", "module.layers.{}", "layer{:02}"])
def test_all_pieces_may_be_in_one_file(folder: Path, puzzle: Puzzle, save: Save, name: str) -> None:
    save({name.format(number): arrays for number, arrays in pieces_of(puzzle).items()}, folder / "pieces")
    assert_same(load_puzzle(folder), puzzle)


@pytest.mark.parametrize("save", WAYS)
def test_names_that_number_nothing_are_kept(
    folder: Path, puzzle: Puzzle, save: Save, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["stem", *(f"layer{number}.linear" for number in range(1, 11))]  # as layer10 comes after layer9
    save({names[number - 1]: arrays for number, arrays in _shifted(puzzle).items()}, folder / "pieces")
    found = load_puzzle(folder)
    assert found.names == (*names[1:], "stem")
    assert_same(replace(found, names=()), puzzle)
    assert "do not number them" in caplog.text
    assert unpack_puzzle(pack_puzzle(found)).names == found.names


def _shifted(puzzle: Puzzle) -> dict[int, dict[str, np.ndarray]]:
    """Piece k is layer k+1, and the last one the stem, which comes last by its name."""
    pieces = pieces_of(puzzle)
    return {(number + 1) % len(pieces) + 1: arrays for number, arrays in pieces.items()}


@pytest.mark.parametrize("name", ["layer{:02}.pt", "layer_{}.pth", "{}.pt", "a-7-layer.{:09}.pth"])
def test_files_may_be_called_otherwise(folder: Path, puzzle: Puzzle, name: str) -> None:
    for number, arrays in pieces_of(puzzle).items():
        tensors = {key: torch.from_numpy(array) for key, array in arrays.items()}
        torch.save(tensors, folder / "pieces" / name.format(number))
    assert_same(load_puzzle(folder), puzzle)


def test_numbers_may_have_gaps_and_stay_as_they_are(
    folder: Path, puzzle: Puzzle, caplog: pytest.LogCaptureFixture
) -> None:
    for number, arrays in pieces_of(puzzle).items():
        save_file(arrays, folder / "pieces" / f"piece_{10 * number + 3}.safetensors")
    found = load_puzzle(folder)
    assert found.inp_numbers == tuple(10 * number + 3 for number in puzzle.inp_numbers)
    assert "gaps" in caplog.text
    own, theirs = (solution_of(each, range(5), range(5), 1.0) for each in (puzzle, found))
    assert theirs.permutation == tuple(10 * number + 3 for number in own.permutation)
    assert unpack_puzzle(pack_puzzle(found)).inp_numbers == found.inp_numbers


def _index(pieces: Path, content: Any) -> None:
    (pieces / "model.safetensors.index.json").write_text(json.dumps(content))


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "an index of files that are not there": (lambda p: _index(p, {"weight_map": {"a.weight": "b"}}), "other files"),
    "an index that names a file elsewhere": (
        lambda p: _index(p, {"weight_map": {"a.weight": "../model.safetensors"}}),
        "other files",
    ),
    "no index": (lambda p: _index(p, ["weight_map"]), "not an index"),
    "two indices": (lambda p: (p / "b.index.json").write_text('{"weight_map": {}}'), "other files"),
    "a file beside, called otherwise": (lambda p: (p / "notes_9.pth").write_bytes(b""), "like the others"),
    "a file beside, without a number": (lambda p: (p / "notes.pth").write_bytes(b""), "like the others"),
}


@pytest.mark.parametrize("harm", REFUSED)
def test_what_is_no_set_of_pieces_is_refused(folder: Path, puzzle: Puzzle, harm: str) -> None:
    for number, arrays in pieces_of(puzzle).items():
        save_file(arrays, folder / "pieces" / f"piece_{number}.safetensors")
    if "index" in harm or "indices" in harm:
        for file in (folder / "pieces").iterdir():
            file.unlink()
        as_shards({f"layer{number}": arrays for number, arrays in pieces_of(puzzle).items()}, folder / "pieces")
    do, reason = REFUSED[harm]
    do(folder / "pieces")
    with pytest.raises(PuzzleError, match=reason):
        load_puzzle(folder)


@pytest.mark.parametrize("key", ["layer3.running_mean", "weight", "layer3.weight.weight"])
def test_what_is_no_layer_of_a_model_is_named(folder: Path, puzzle: Puzzle, key: str) -> None:
    layers = {f"layer{number}": arrays for number, arrays in pieces_of(puzzle).items()}
    save_file(state(layers) | {key: np.ones(3, np.float32)}, folder / "pieces" / "model.safetensors")
    with pytest.raises(PuzzleError, match=r"model\.safetensors"):
        load_puzzle(folder)


def test_a_model_without_end_is_refused(folder: Path) -> None:
    endless = {f"{k:0100}": 0 for k in range(2 * pth.WHOLE_PICKLE_BYTES // 100)}
    (folder / "pieces" / "model.pth").write_bytes(pickle.dumps(endless, protocol=2))
    with pytest.raises(PuzzleError, match="is damaged"):
        load_puzzle(folder)


def test_a_gap_of_hundreds_of_millions_costs_nothing_and_hides_no_reason(folder: Path, puzzle: Puzzle) -> None:
    for number, arrays in pieces_of(puzzle).items():
        save_file(arrays, folder / "pieces" / f"piece_{number}.safetensors")
    save_file({"weight": np.ones((7, puzzle.width), np.float32)}, folder / "pieces" / "piece_999999999.safetensors")
    with pytest.raises(PuzzleError, match=r"pieces.*; piece 11 is missing, though numbers may have gaps"):
        load_puzzle(folder)
