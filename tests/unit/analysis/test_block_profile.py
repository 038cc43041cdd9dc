"""What each block of a network is like: the norms of its pieces, and how much it changes the state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pairing.analysis.block_profile import block_profiles
from pairing.solution import solution_of
from tests.support.puzzles import Planted, plant


def profiles(planted: Planted, **changes: object) -> list[tuple[float, float, float]]:
    puzzle = replace(planted.puzzle, **changes)
    solution = solution_of(puzzle, planted.inp_sigma, planted.out_sigma, 0.0)
    return [(block.inp_norm, block.out_norm, block.change) for block in block_profiles(puzzle, solution)]


def test_they_are_those_of_the_network_s_own_pass() -> None:
    planted = plant(0, blocks=3)
    puzzle = planted.puzzle
    states = puzzle.rows_in.astype(np.float64)
    expected = []
    for inp, out in zip(planted.inp_sigma, planted.out_sigma, strict=True):
        hidden = np.maximum(states @ puzzle.inp_weight[inp].T + puzzle.inp_bias[inp], 0)
        added = hidden @ puzzle.out_weight[out].T + puzzle.out_bias[out]
        norms = np.sqrt(np.sum(puzzle.inp_weight[inp] ** 2)), np.sqrt(np.sum(puzzle.out_weight[out] ** 2))
        expected.append((*norms, np.linalg.norm(added) / np.linalg.norm(states)))
        states += added
    assert profiles(planted) == [pytest.approx(block, rel=1e-4) for block in expected]


def test_a_change_that_overflows_is_nan() -> None:
    planted = plant(0, blocks=3)
    changes = [change for _, _, change in profiles(planted, rows_in=planted.puzzle.rows_in * np.float32(1e37))]
    assert np.isnan(changes).all()
