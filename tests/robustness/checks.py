"""What has to be true of whatever is reported of a puzzle."""

from __future__ import annotations

import time
import warnings

import numpy as np

from pairing.model.network import Network, pairs_of
from pairing.search.refine import refine
from pairing.signals.registry import methods
from pairing.solution import Solution, permutation_hash, sigmas_of, solution_of
from pairing.solving import solve
from tests.robustness.puzzles import FOREIGN, NOISY, odd_puzzle
from tests.support.puzzles import Planted, plain_outputs
from tests.support.refining import allowing, unreachable

BUDGET, DEADLINE, LATE = 0.2, 0.35, 5.0
"""Seconds of a refinement and of a solve, and how much later than its deadline it may end."""


def compile_loops() -> None:
    """Compiles the loops of a search, which is no part of a puzzle's time: the first process of all does it once."""
    planted = unreachable(0, 7, 40)
    refine(planted.puzzle, planted.pairs, start="random", limits=allowing(300))


def check(seed: int) -> None:
    """Solves the puzzle of that seed, in a way that the seed tells, and asserts that all of the report is true."""
    planted, kind = odd_puzzle(seed)
    rng = np.random.default_rng([seed, 1])
    puzzle = planted.puzzle
    names = ",".join(rng.choice(sorted(methods()), 2, replace=False))
    options = {"annealer": str(rng.choice(["surrogate", "surrogate", "surrogate", "classic"]))}
    options["start"] = str(rng.choice(["auto", "greedy", "norm", "delta", "random"]))
    began = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = solve(puzzle, names, budget=BUDGET, deadline=DEADLINE, repair=bool(rng.random() < 0.8), **options)
    assert time.monotonic() - began < DEADLINE + LATE
    _check_report(planted, found)
    _check_verdict(planted, found, kind)


@np.errstate(over="ignore", invalid="ignore")
def _check_report(planted: Planted, found: Solution) -> None:
    puzzle = planted.puzzle
    assert sigmas_of(puzzle, found.permutation) == (found.inp_sigma, found.out_sigma)
    assert found.hash == permutation_hash(found.permutation)
    assert found.hash_match == (None if puzzle.target_hash is None else found.hash == puzzle.target_hash)
    network = Network(puzzle, pairs_of(found.inp_sigma, found.out_sigma))
    assert found.full_mse == network.full_mse(found.inp_sigma)
    exact = plain_outputs(puzzle, found.inp_sigma, found.out_sigma)
    residual = puzzle.target_values - exact
    mse, rounding = np.mean(residual**2), np.mean((network.predict(found.inp_sigma, puzzle.rows_in) - exact) ** 2)
    if np.isfinite(found.full_mse) and np.isfinite(mse):
        assert abs(found.full_mse - mse) <= (2 * np.sqrt(mse * rounding) + rounding) * (1 + 1e-6) + 1e-9 * mse
        assert rounding <= 1e-8 * (np.mean(exact**2) + 1) + 1e4 * puzzle.arithmetic_floor


def _check_verdict(planted: Planted, found: Solution, kind: str) -> None:
    """Nothing right is called wrong, and nothing wrong right."""
    puzzle = planted.puzzle
    error = Network(puzzle, planted.pairs).full_mse(planted.order)
    right = solution_of(puzzle, planted.inp_sigma, planted.out_sigma, error)
    assert right.solved or kind in (NOISY, FOREIGN), f"the right answer's {error:.3g} > {puzzle.solved_mse:.3g}"
    if puzzle.target_hash is not None:
        assert found.solved == (found.permutation == planted.permutation)
        assert found.noise is None
    elif found.solved:
        assert found.full_mse <= puzzle.solved_mse
        assert found.as_good is not None
        assert found.by_chance is not None
    else:
        assert found.permutation != planted.permutation or not right.solved
    if found.noise is not None:
        assert kind != FOREIGN
        assert found.full_mse < error * (1 + 16 / np.sqrt(puzzle.target_values.size)) + puzzle.solved_mse
