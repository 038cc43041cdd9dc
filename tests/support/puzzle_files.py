"""Puzzles as files: every format that is read, and the check that one was refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pairing.errors import InputError, PuzzleError
from pairing.io.load import load_puzzle
from pairing.model.puzzle import Puzzle
from tests.support.puzzles import columns_of, pieces_of, write_data

CSV = "historical_data.csv"
PARQUET = "historical_data.parquet"
ARRAYS = ("inp_weight", "inp_bias", "out_weight", "out_bias", "last_weight", "last_bias", "rows_in")


def write_pth_puzzle(puzzle: Puzzle, folder: Path) -> Path:
    """Writes the puzzle in the published layout, its pieces as ``.pth``."""
    write_data(puzzle, folder)
    (folder / "pieces").mkdir()
    for number, arrays in pieces_of(puzzle).items():
        save_piece(folder, number, **arrays)
    return folder


def save_piece(folder: Path, number: int, **arrays: Any) -> Path:
    """Writes one ``.pth`` piece of these arrays."""
    import torch

    file = piece(folder, number)
    torch.save({name: torch.as_tensor(np.array(array)) for name, array in arrays.items()}, file)
    return file


def piece(folder: Path, number: int) -> Path:
    """The file of a ``.pth`` piece."""
    return folder / "pieces" / f"piece_{number}.pth"


def write_parquet(puzzle: Puzzle, folder: Path) -> Path:
    """Writes the data as Parquet in the place of CSV."""
    (folder / CSV).unlink(missing_ok=True)
    pd.DataFrame(columns_of(puzzle)).to_parquet(folder / PARQUET)
    return folder / PARQUET


def assert_same(found: Puzzle, expected: Puzzle) -> None:
    """The same pieces and data, to the last bit."""
    for name in ARRAYS:
        array = getattr(found, name)
        assert array.dtype == np.float32, name
        np.testing.assert_array_equal(array, getattr(expected, name), err_msg=name)
    assert (found.inp_numbers, found.out_numbers) == (expected.inp_numbers, expected.out_numbers)
    assert found.last_number == expected.last_number
    assert set(found.targets) == set(expected.targets)
    for name, values in expected.targets.items():
        assert found.targets[name].dtype == np.float64
        np.testing.assert_array_equal(found.targets[name], values)
    assert found.digest == expected.digest


def assert_refused(path: Path, naming: str) -> None:
    """Loading it is an error of the input, whose text holds ``naming``."""
    with pytest.raises(PuzzleError) as caught:
        load_puzzle(path)
    assert isinstance(caught.value, InputError)
    assert caught.value.exit_status == 2
    assert naming in str(caught.value)
