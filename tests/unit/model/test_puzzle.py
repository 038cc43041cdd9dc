"""What a puzzle says of itself: sizes, the rounding of its target, and when an error counts as solved."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from pairing.model.puzzle import Puzzle
from tests.support.puzzles import plant


def with_target(values: np.ndarray) -> Puzzle:
    """A puzzle with these target values (R,) or (R, o)."""
    columns = values.reshape(len(values), -1).astype(np.float64)
    puzzle = plant(0, rows=len(values), outputs=columns.shape[1]).puzzle
    return replace(puzzle, targets={"pred": columns})


NORMAL = np.random.default_rng(0).normal(0, 2, 300)


def test_sizes() -> None:
    puzzle = plant(0, blocks=3, width=4, hidden=5, outputs=2, rows=7).puzzle
    assert (puzzle.blocks, puzzle.width, puzzle.hidden, puzzle.outputs, puzzle.rows) == (3, 4, 5, 2, 7)


def test_columns_of_full_precision_have_hardly_a_floor() -> None:
    assert 0 <= with_target(NORMAL).noise_floor < 1e-25
    assert 0 <= with_target(NORMAL.astype(np.float32).astype(str).astype(np.float64)).noise_floor < 1e-14


@pytest.mark.parametrize("decimals", [1, 2, 3, 6])
@pytest.mark.parametrize("scale", [1, 1000])
def test_rounded_columns_have_the_floor_of_their_step(decimals: int, scale: float) -> None:
    assert with_target(np.round(NORMAL * scale, decimals)).noise_floor == pytest.approx(
        10.0 ** (-2 * decimals) / 12, rel=0.05
    )


def test_the_floor_is_the_error_that_rounding_makes() -> None:
    many = np.random.default_rng(1).normal(0, 2, 20_000)
    assert with_target(np.round(many, 2)).noise_floor == pytest.approx(
        np.mean((many - np.round(many, 2)) ** 2), rel=0.05
    )


@pytest.mark.parametrize("values", [np.arange(10), np.array([0.0, 1.0] * 5), np.array([-3.0, 1e15, 1e20])], ids=str)
def test_whole_numbers_are_labels_and_not_rounded(values: np.ndarray) -> None:
    assert with_target(values).noise_floor == 0


def test_every_column_has_its_own_floor() -> None:
    columns = np.stack([np.round(NORMAL, 2), np.round(NORMAL, 4)], axis=1)
    assert with_target(columns).noise_floor == pytest.approx((1e-4 + 1e-8) / 24)


def test_small_numbers_written_with_exponents_are_no_whole_ones() -> None:
    assert with_target(np.array([1e-5, 3e-5, -2e-5])).noise_floor == pytest.approx(1e-10 / 12)


def test_variance_is_about_each_outputs_own_mean() -> None:
    columns = np.stack([NORMAL, 3 * NORMAL + 100], axis=1)
    assert with_target(columns).target_variance == pytest.approx(5 * NORMAL.var())


def test_solved_is_a_billionth_of_the_variance_or_the_rounding() -> None:
    fine = with_target(NORMAL)
    assert fine.solved_mse == pytest.approx(1e-9 * NORMAL.var())
    coarse = with_target(np.round(np.tile(NORMAL, 30), 2))
    assert coarse.solved_mse == pytest.approx(1.05 * 1e-4 / 12)
    short = with_target(np.round(NORMAL, 2))  # the errors of 300 roundings: their mean has a standard error of 5 %
    assert short.solved_mse == pytest.approx((1 + 4 * np.sqrt(0.8 / 300)) * 1e-4 / 12)
    assert with_target(NORMAL > 0).solved_mse == pytest.approx(1e-9 * (NORMAL > 0).var())


@pytest.mark.parametrize("decimals", [1, 2, 3])
def test_the_right_answer_counts_as_solved_when_the_target_was_rounded(decimals: int) -> None:
    puzzle = plant(4, rows=5000).puzzle
    rounded = replace(puzzle, targets={"pred": np.round(puzzle.targets["pred"], decimals)})
    error = np.mean((rounded.target_values - puzzle.target_values) ** 2)
    assert error <= rounded.solved_mse < 1.3 * error


def test_options_leave_the_puzzle_itself_alone() -> None:
    puzzle = plant(0, known=False).puzzle
    variance = puzzle.target_variance
    other = puzzle.with_options(target="true", target_hash="ab" * 32, activation="tanh")
    assert (puzzle.target, puzzle.target_hash, puzzle.activation) == ("pred", None, "relu")
    assert other.target_variance != variance
    assert puzzle.target_variance == variance


def test_importing_pairing_loads_nothing_heavy() -> None:
    code = "import sys, pairing; print(*(m for m in ('torch', 'scipy', 'pandas', 'numba') if m in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
