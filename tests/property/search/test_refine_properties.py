"""Whatever the puzzle, start and allowance: what a refinement reports is true and no worse than its start."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing.model.network import Network, pairs_of
from pairing.search.driver import Limits
from pairing.search.initial_orders import STARTS
from pairing.search.policy import ANNEALERS
from pairing.search.refine import refine
from pairing.solution import permutation_hash, sigmas_of
from tests.support.puzzles import Planted, plain_mse, plant


@st.composite
def planteds(draw: st.DrawFn) -> Planted:
    return plant(
        draw(st.integers(0, 1000)),
        blocks=draw(st.integers(1, 7)),
        width=draw(st.integers(1, 5)),
        hidden=draw(st.integers(1, 7)),
        outputs=draw(st.integers(1, 3)),
        rows=draw(st.integers(1, 40)),
        activation=draw(st.sampled_from(["relu", "gelu", "tanh", "leaky_relu"])),
        scale=draw(st.sampled_from([0.01, 0.3, 1.0])),
        bias=draw(st.booleans()),
        known=draw(st.booleans()),
    )


@given(
    planteds(),
    st.sampled_from(sorted(ANNEALERS)),
    st.sampled_from(["auto", *STARTS]),
    st.integers(0, 60),
    st.integers(0, 2**31),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_the_report_is_true(
    planted: Planted, annealer: str, start: str, evaluations: int, seed: int, repair: bool, random: object
) -> None:
    puzzle, pairs = planted.puzzle, planted.pairs.copy()
    random.shuffle(pairs)  # type: ignore[attr-defined]
    limits = Limits(seconds=float("inf"), evaluations=evaluations)
    found = refine(puzzle, pairs, seed=seed, annealer=annealer, start=start, repair=repair, limits=limits)
    solution = found.solution
    assert solution.full_mse <= found.start_mse
    ended = pairs_of(solution.inp_sigma, solution.out_sigma)
    assert solution.full_mse == Network(puzzle, ended).full_mse(solution.inp_sigma)
    error = plain_mse(puzzle, solution.inp_sigma, solution.out_sigma)
    assert solution.full_mse == pytest.approx(error, rel=1e-3, abs=1e-9 * (1 + puzzle.target_variance))
    assert found.repaired_pairs == np.count_nonzero(ended != pairs)
    assert repair or not found.repaired_pairs
    assert sigmas_of(puzzle, solution.permutation) == (solution.inp_sigma, solution.out_sigma)
    assert solution.hash == permutation_hash(solution.permutation)
    assert 0 <= found.evaluations <= evaluations
    if found.stopped == "budget":
        assert found.evaluations == evaluations
    else:
        assert found.stopped in ("solved", "converged")
    assert (found.stopped == "solved") <= solution.solved
    assert (found.annealer, found.start in STARTS) == (annealer, True)
    json.dumps([solution.inp_sigma, solution.out_sigma, solution.permutation, found.evaluations, found.start_mse])
