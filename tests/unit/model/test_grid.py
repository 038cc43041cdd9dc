"""On which grid a target's values lie, and what error of a right answer that explains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pairing.model.grid import rounding_errors
from pairing.model.network import Network
from pairing.solution import solution_of
from tests.support.puzzles import Planted, altered, plant

Floats = NDArray[np.float64]

NORMAL = np.random.default_rng(0).normal(0, 2, 5000)


def rounding_error(values: Floats) -> float:
    return float(rounding_errors(values).mean())


def bfloat16(values: Floats) -> Floats:
    bits = (values.astype(np.float32).view(np.uint32).astype(np.uint64) + 0x8000) & 0xFFFF0000
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)


def stored(kind: type[np.floating]) -> object:
    return lambda values: values.astype(kind).astype(np.float64)


def read(kind: type[np.floating]) -> object:
    """Written in that format with its shortest texts, and read as float64."""
    return lambda values: np.array([float(str(value)) for value in values.ravel().astype(kind)]).reshape(values.shape)


GRIDS = {
    "3 decimals": lambda values: np.round(values, 3),
    "3 decimals in float32": lambda values: np.round(values, 3).astype(np.float32).astype(np.float64),
    "2 decimals in float16": lambda values: np.round(values, 2).astype(np.float16).astype(np.float64),
    "3 decimals in float16": lambda values: np.round(values, 3).astype(np.float16).astype(np.float64),
    "6 decimals": lambda values: np.round(values, 6),
    "float16": stored(np.float16),
    "bfloat16": bfloat16,
    "float32": stored(np.float32),
    "float16 in text": read(np.float16),
    "float32 in text": read(np.float32),
}


@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("grid", GRIDS)
def test_the_error_that_rounding_makes_is_recognized(grid: str, offset: float) -> None:
    values = NORMAL + offset
    rounded = GRIDS[grid](values)  # type: ignore[operator]
    found = rounding_error(rounded[:, None])
    assert found == pytest.approx(float(np.mean((rounded - values) ** 2)), rel=0.1)


@pytest.mark.parametrize("grid", GRIDS)
def test_one_odd_value_does_not_hide_it(grid: str) -> None:
    rounded = GRIDS[grid](NORMAL)  # type: ignore[operator]
    whole = rounding_error(rounded[:, None])
    rounded[7] = 1 / 3
    assert rounding_error(rounded[:, None]) == pytest.approx(whole, rel=0.01)


def test_small_numbers_in_float16_have_its_absolute_step() -> None:
    small = np.random.default_rng(2).normal(0, 1e-6, 500)
    stored_small = small.astype(np.float16).astype(np.float64)
    expected = float(np.mean((stored_small - small) ** 2))
    assert rounding_error(stored_small[:, None]) == pytest.approx(expected, rel=0.1)


def test_values_of_full_precision_have_none() -> None:
    assert rounding_error(NORMAL[:, None]) == 0.0
    assert rounding_error(NORMAL[:1, None]) == 0.0


def test_whole_numbers_are_labels_but_not_beside_columns_of_half_precision() -> None:
    whole = np.arange(1024.0, 2048.0)[:, None]
    assert rounding_error(whole) == 0.0
    other = np.random.default_rng(1).normal(size=(1024, 1)).astype(np.float16).astype(np.float64)
    assert rounding_error(np.hstack([whole, other])) == pytest.approx(1 / 24, rel=0.01)


# ---- the right answer is called right


def right_answer_is_solved(planted: Planted) -> bool:
    error = Network(planted.puzzle, planted.pairs).full_mse(planted.order)
    return solution_of(planted.puzzle, planted.inp_sigma, planted.out_sigma, error).solved


def with_target(planted: Planted, target: Floats) -> Planted:
    return replace(planted, puzzle=replace(planted.puzzle, targets={"pred": target}))


@pytest.mark.parametrize("rows", [30, 2000])
@pytest.mark.parametrize("grid", GRIDS)
def test_a_rounded_targets_right_answer_is_solved_and_an_exchange_of_neighbours_is_not(grid: str, rows: int) -> None:
    planted = plant(2, blocks=6, outputs=2, rows=rows, known=False)
    rounded = with_target(planted, GRIDS[grid](planted.puzzle.target_values))  # type: ignore[operator]
    assert right_answer_is_solved(rounded)
    order = planted.order[[1, 0, *range(2, 6)]]
    error = Network(rounded.puzzle, planted.pairs).full_mse(order)
    assert error > rounded.puzzle.solved_mse


@pytest.mark.parametrize("store", [None, np.float32])
@pytest.mark.parametrize("bias", [1e4, -1e6])
def test_a_large_last_bias_hides_nothing(bias: float, store: type[np.floating] | None) -> None:
    planted = plant(3, blocks=5, rows=500, known=False)
    target = planted.puzzle.target_values - planted.puzzle.last_bias.astype(np.float64) + bias
    puzzle = replace(planted.puzzle, last_bias=np.full(1, bias, np.float32))
    kept = target if store is None else target.astype(store).astype(np.float64)
    offset = with_target(replace(planted, puzzle=puzzle), kept)
    assert right_answer_is_solved(offset)
    exact = Network(offset.puzzle, offset.pairs).full_mse(offset.order)
    assert exact < 1e-12 or store is not None
    wrong = Network(offset.puzzle, offset.pairs).full_mse(offset.order[::-1].copy())
    assert wrong > offset.puzzle.solved_mse


def test_large_inputs_and_biases_that_cancel_are_allowed_for() -> None:
    planted = plant(4, blocks=6, rows=400, known=False)
    puzzle = replace(planted.puzzle, rows_in=planted.puzzle.rows_in + np.float32(3e4))
    moved = altered(replace(planted, puzzle=puzzle))
    assert right_answer_is_solved(moved)
