"""What the data cannot decide is listed: twins, dead blocks, exchanges below the noise; and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pairing.search.identifiability import NOISY_ROWS, Undecidable, undecidable_exchanges
from pairing.solution import Solution, solution_of
from tests.support.puzzles import Planted, altered, plain_mse, plain_outputs, plant, twins

Pairs = list[tuple[int, int]]


def solution(planted: Planted) -> Solution:
    """The planted answer with its error."""
    error = plain_mse(planted.puzzle, planted.inp_sigma, planted.out_sigma)
    return solution_of(planted.puzzle, planted.inp_sigma, planted.out_sigma, error)


def listed(planted: Planted) -> dict[str, Pairs]:
    found = undecidable_exchanges(planted.puzzle, solution(planted))
    assert found is not None
    blocks = planted.puzzle.blocks
    assert blocks > 64 or found.neighbours == 3 * blocks * (blocks - 1) // 2
    assert found.as_good == len(found.blocks) + len(found.inp) + len(found.out)
    return {kind: getattr(found, kind) for kind in ("blocks", "inp", "out")}


def squared_change(planted: Planted, exchanged: Callable[[list[int], list[int]], None]) -> float:
    """Mean squared change of the predictions, in float64."""
    inp, out = list(planted.inp_sigma), list(planted.out_sigma)
    exchanged(inp, out)
    before = plain_outputs(planted.puzzle, planted.inp_sigma, planted.out_sigma)
    return float(np.mean((plain_outputs(planted.puzzle, inp, out) - before) ** 2))


def every_change(planted: Planted) -> dict[str, dict[tuple[int, int], float]]:
    """All exchanges' mean squared changes, one after the other."""

    def swap(sigma: list[int], first: int, second: int) -> None:
        sigma[first], sigma[second] = sigma[second], sigma[first]

    blocks = planted.puzzle.blocks
    pairs = [(p, q) for p in range(blocks) for q in range(p + 1, blocks)]
    return {
        "blocks": {
            (p, q): squared_change(planted, lambda i, o, p=p, q=q: (swap(i, p, q), swap(o, p, q))) for p, q in pairs
        },
        "inp": {(p, q): squared_change(planted, lambda i, o, p=p, q=q: swap(i, p, q)) for p, q in pairs},
        "out": {(p, q): squared_change(planted, lambda i, o, p=p, q=q: swap(o, p, q)) for p, q in pairs},
    }


def noisy(planted: Planted, size: float) -> Planted:
    """Its predictions with normal noise of that standard deviation."""
    puzzle = planted.puzzle
    pred = puzzle.targets["pred"] + np.random.default_rng(7).normal(0, size, puzzle.targets["pred"].shape)
    return replace(planted, puzzle=replace(puzzle, targets={"pred": pred}))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_a_network_without_twins_is_decided(activation: str, outputs: int) -> None:
    planted = plant(3, blocks=7, activation=activation, outputs=outputs, rows=300)
    found = undecidable_exchanges(planted.puzzle, solution(planted))
    assert found == Undecidable(neighbours=63)
    assert not found


@pytest.mark.parametrize(("first", "second"), [(2, 3), (0, 5), (1, 6)])
def test_twins_are_listed_wherever_they_stand(first: int, second: int) -> None:
    pair = [(first, second)]
    assert listed(twins(plant(1, blocks=7, rows=300), first, second, "inp out")) == {
        "blocks": pair,
        "inp": pair,
        "out": pair,
    }


@pytest.mark.parametrize("kind", ["inp", "out"])
def test_twin_pieces_are_listed(kind: str) -> None:
    expected = {"blocks": [], "inp": [], "out": []} | {kind: [(1, 4)]}
    assert listed(twins(plant(2, blocks=6, rows=300), 1, 4, kind)) == expected


def test_a_block_that_does_nothing_may_stand_before_or_after_its_neighbours() -> None:
    planted = plant(5, blocks=6, rows=200)
    weight, bias = planted.puzzle.out_weight.copy(), planted.puzzle.out_bias.copy()
    weight[planted.out_sigma[3]] = 0
    bias[planted.out_sigma[3]] = 0
    assert listed(altered(planted, out_weight=weight, out_bias=bias)) == {
        "blocks": [(2, 3), (3, 4)],
        "inp": [],
        "out": [],
    }


def test_a_single_row_is_enough_where_the_target_is_exact() -> None:
    # Two blocks that differ in one hidden unit, which only one of 3,000 rows wakes: the last one looked at or not.
    planted = twins(plant(4, blocks=5, rows=3000), 1, 3, "inp out")
    puzzle, rows_in = planted.puzzle, planted.puzzle.rows_in.copy()
    rows_in[1234] *= 50
    weight, bias = puzzle.inp_weight.copy(), puzzle.inp_bias.copy()
    woken = planted.inp_sigma[3]
    weight[woken, 0], bias[woken, 0] = rows_in[1234] / 50, -30 * float(np.linalg.norm(rows_in[1234] / 50))
    sleeping = planted.inp_sigma[1]
    weight[sleeping, 0], bias[sleeping, 0] = 0, -1
    assert listed(altered(planted, inp_weight=weight, inp_bias=bias, rows_in=rows_in))["blocks"] == []
    rows_in = np.delete(rows_in, 1234, axis=0)
    assert listed(altered(planted, inp_weight=weight, inp_bias=bias, rows_in=rows_in))["blocks"] == [(1, 3)]


@pytest.mark.parametrize("size", [0.0, 0.01, 0.1, 1.0])
@pytest.mark.parametrize("rows", [50, NOISY_ROWS])
def test_under_noise_the_formula_decides(size: float, rows: int) -> None:
    planted = noisy(plant(6, blocks=6, rows=rows, scale=0.3), size)
    bound = max(16 * solution(planted).full_mse / rows, 1e-12 * planted.puzzle.target_variance)
    clear = 1e-3  # float32 need not agree with float64 on the bound itself
    found_of_kind = listed(planted)
    for kind, changes in every_change(planted).items():
        found = found_of_kind[kind]
        assert {pair for pair, change in changes.items() if change < bound * (1 - clear)} <= set(found)
        assert {pair for pair, change in changes.items() if change <= bound * (1 + clear)} >= set(found)
        assert size or not found


def test_an_error_that_is_not_finite_decides_nothing() -> None:
    planted = plant(0)
    overflown = solution_of(planted.puzzle, planted.inp_sigma, planted.out_sigma, float("inf"))
    assert not undecidable_exchanges(planted.puzzle, overflown)


def test_far_exchanges_of_a_deep_network_are_passed_over() -> None:
    planted = twins(twins(plant(8, blocks=70, rows=60, scale=0.05), 5, 6, "inp out"), 8, 60, "inp out")
    assert listed(planted)["blocks"] == [(5, 6)]


def test_a_single_block_has_nothing_to_exchange() -> None:
    assert not undecidable_exchanges(plant(0, blocks=1).puzzle, solution(plant(0, blocks=1)))


def test_a_solution_no_better_than_zeros_decides_nothing() -> None:
    planted = plant(0)
    zeros = float(np.mean(np.square(planted.puzzle.target_values)))
    right = solution(planted)
    assert undecidable_exchanges(planted.puzzle, replace(right, full_mse=zeros * 0.99))
    assert not undecidable_exchanges(planted.puzzle, replace(right, full_mse=zeros))
