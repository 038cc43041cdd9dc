"""A right answer's error under noise is called noise, a wrong one's is not; hashes decide what the data cannot."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pairing.analysis.judgement import judged
from pairing.export import AssemblyError, assemble
from pairing.model.network import Network
from pairing.model.pace import Pace
from pairing.search.driver import Limits
from pairing.search.enumeration import matching_answer
from pairing.search.identifiability import undecidable_exchanges
from pairing.search.noise import noise_of
from pairing.search.refine import refine
from pairing.solution import solution_of
from pairing.solving import solve
from tests.support.puzzles import Planted, altered, plant, twins, with_hash
from tests.support.refining import allowing, unreachable


def noisy(planted: Planted, size: float) -> Planted:
    """Its predictions with normal noise, ``size`` times as large as they are."""
    values = planted.puzzle.target_values
    noise = np.random.default_rng(7).normal(0, size * float(np.std(values)), values.shape)
    return replace(planted, puzzle=replace(planted.puzzle, targets={"pred": values + noise}))


def some(seed: int, **shape: int) -> Planted:
    return plant(seed, **{"blocks": 8, "width": 8, "hidden": 12, "rows": 1500} | shape, scale=0.3, known=False)


def noise_found(planted: Planted, order: np.ndarray, pairs: np.ndarray | None = None) -> float | None:
    network = Network(planted.puzzle, planted.pairs if pairs is None else pairs)
    return noise_of(network, order, network.full_mse(order))


@pytest.mark.parametrize("size", [1e-3, 0.01, 0.1])
@pytest.mark.parametrize("seed", range(5))
def test_the_right_answers_error_is_called_noise_and_its_size_is_told(seed: int, size: float) -> None:
    planted = noisy(some(seed, outputs=1 + seed % 2), size)
    right = planted.puzzle
    clean = some(seed, outputs=1 + seed % 2).puzzle.target_values
    sigma = float(np.sqrt(np.mean((right.target_values - clean) ** 2)))
    assert noise_found(planted, planted.order) == pytest.approx(sigma, rel=0.01)


@pytest.mark.parametrize("size", [0.0, 1e-3, 0.01])
@pytest.mark.parametrize("seed", range(5))
def test_what_wrong_answers_leave_is_no_noise(seed: int, size: float) -> None:
    planted = noisy(some(seed), size)
    rng = np.random.default_rng(seed)
    neighbours = planted.order.copy()
    neighbours[[3, 4]] = neighbours[[4, 3]]
    assert noise_found(planted, neighbours) is None
    pairs = planted.pairs.copy()
    two = rng.choice(len(pairs), 2, replace=False)
    pairs[two] = pairs[two[::-1]]
    assert noise_found(planted, planted.order, pairs) is None
    # and where the order was bent to make up for the wrong pairs
    bent = refine(planted.puzzle, pairs, repair=False, limits=allowing(80)).solution
    assert noise_found(planted, np.array(bent.inp_sigma), pairs) is None


def test_a_target_that_is_not_the_networks_is_no_noise_of_it() -> None:
    planted = unreachable(1, 6, 1000)
    assert noise_found(planted, planted.order) is None


def test_too_few_values_tell_nothing() -> None:
    planted = noisy(some(0, rows=60), 0.01)
    assert noise_found(planted, planted.order) is None


@pytest.mark.parametrize("seed", [3, 5])
@pytest.mark.slow
def test_a_noisy_puzzle_is_solved_up_to_its_noise(seed: int) -> None:
    planted = noisy(some(seed), 1e-3)
    found = solve(planted.puzzle, "trace", budget=60.0)
    assert found.permutation == planted.permutation
    assert (found.solved, found.as_good) == (False, 0)
    assert found.noise == pytest.approx(np.sqrt(found.full_mse))
    assert solve(some(seed).puzzle, "trace").noise is None


def test_a_refinement_ends_where_noise_is_all_that_is_left() -> None:
    planted = noisy(some(3), 0.01)
    found = refine(planted.puzzle, planted.pairs, limits=Limits(seconds=300.0))
    assert (found.stopped, found.solution.permutation) == ("converged", planted.permutation)
    assert found.solution.noise is not None


def test_a_noisy_answer_is_assembled_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    planted = noisy(some(1), 0.01)
    error = assemble(planted.puzzle, planted.inp_sigma, planted.out_sigma, tmp_path / "right.safetensors")
    assert error > planted.puzzle.solved_mse
    wrong = planted.out_sigma[::-1]
    with pytest.raises(AssemblyError):
        assemble(planted.puzzle, planted.inp_sigma, wrong, tmp_path / "wrong.safetensors")


# ---- what the data cannot decide


def answer_of(planted: Planted) -> tuple[Network, np.ndarray]:
    return Network(planted.puzzle, planted.pairs), planted.order


def test_an_answer_says_how_many_neighbours_are_as_good() -> None:
    planted = twins(plant(1, blocks=7, rows=300, known=False), 1, 4, "inp out")
    network, order = answer_of(planted)
    solution = solution_of(planted.puzzle, planted.inp_sigma, planted.out_sigma, network.full_mse(order))
    assert judged(planted.puzzle, solution).as_good == 3
    assert judged(planted.puzzle, solution).by_chance == 0.0


@pytest.mark.parametrize("rows", [1, 2])
def test_with_one_or_two_rows_other_orders_fit_by_chance_and_that_is_said(rows: int) -> None:
    for seed in range(3):
        planted = plant(seed, blocks=8, rows=rows, known=False, scale=0.01)
        found = refine(planted.puzzle, planted.pairs, start="random", limits=allowing(3000)).solution
        if found.solved and found.permutation != planted.permutation:
            others = judged(planted.puzzle, found).by_chance
            assert others is not None
            assert others > 1
    many = plant(0, blocks=8, rows=200, known=False, scale=0.01)
    network, order = answer_of(many)
    solution = solution_of(many.puzzle, many.inp_sigma, many.out_sigma, network.full_mse(order))
    assert judged(many.puzzle, solution).by_chance == 0.0


def test_no_time_means_that_nothing_is_said() -> None:
    planted = some(0)
    network, order = answer_of(planted)
    solution = solution_of(planted.puzzle, planted.inp_sigma, planted.out_sigma, network.full_mse(order))
    assert undecidable_exchanges(planted.puzzle, solution, seconds=0.0) is None


def with_a_dead_block(planted: Planted) -> Planted:
    weight, bias = planted.puzzle.out_weight.copy(), planted.puzzle.out_bias.copy()
    weight[planted.out_sigma[0]], bias[planted.out_sigma[0]] = 0, 0
    return altered(planted, out_weight=weight, out_bias=bias)


@pytest.mark.parametrize("kinds", ["inp out", "inp", "out"])
@pytest.mark.slow
def test_a_known_hash_decides_between_twins(kinds: str) -> None:
    whole = with_hash(twins(twins(plant(1, blocks=9, rows=300), 1, 4, kinds), 2, 7, kinds))
    for seed in range(3):
        found = refine(whole.puzzle, whole.pairs, seed=seed, start="random", limits=allowing(4000))
        assert found.solution.permutation == whole.permutation
        assert (found.solution.hash_match, found.stopped) == (True, "solved")


def test_a_known_hash_finds_the_place_of_a_block_that_does_nothing() -> None:
    planted = with_hash(with_a_dead_block(plant(2, blocks=7, rows=300)))
    network, order = answer_of(planted)
    last = np.concatenate([order[1:], order[:1]])  # the dead block, from the first place to the last
    found = matching_answer(network, last, 1e-12, Pace(planted.puzzle, float("inf")))
    assert found is not None
    assert found[0].sigmas(found[1]) == (planted.inp_sigma, planted.out_sigma)


def test_the_enumeration_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    planted = plant(3, blocks=9, rows=100)
    alike = altered(planted, out_weight=np.zeros_like(planted.puzzle.out_weight))  # 9! orders are the same
    puzzle = replace(alike.puzzle, target_hash="ab" * 32)
    monkeypatch.setattr("pairing.search.enumeration.MOST_HASHES", 2000)
    began = time.monotonic()
    network = Network(puzzle, alike.pairs)
    assert matching_answer(network, alike.order, 1.0, Pace(puzzle, float("inf"))) is None
    assert time.monotonic() - began < 60
