"""Exact errors of many candidates at once, against each candidate alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing.model.activations import ACTIVATIONS
from pairing.model.forward import CHUNK_ROWS
from pairing.model.network import Network, pairs_of
from pairing.model.puzzle import Puzzle
from pairing.search.batch_error import candidate_errors
from tests.support.puzzles import plain_mse, plant

seeds = st.integers(0, 2**32 - 1)


def neighbour(sigmas: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """A copy of ``sigmas`` (2, N) with one change."""
    changed = sigmas.copy()
    first, second = rng.integers(0, sigmas.shape[1], 2)
    if kind == "swap":
        second = min(first + 1, sigmas.shape[1] - 1)
    if kind in {"swap", "blocks exchanged"}:
        changed[:, [first, second]] = changed[:, [second, first]]
    elif kind == "out pieces exchanged":
        changed[1, [first, second]] = changed[1, [second, first]]
    elif kind == "insertion":
        changed = np.insert(np.delete(changed, first, axis=1), second, sigmas[:, first], axis=1)
    elif kind == "anything":
        changed = np.stack([rng.permutation(changed[0]), rng.permutation(changed[1])])
    return changed


kinds = st.sampled_from(["swap", "blocks exchanged", "out pieces exchanged", "insertion", "anything", "none"])


def on_rows(puzzle: Puzzle, rows: np.ndarray) -> Puzzle:
    targets = {name: values[rows] for name, values in puzzle.targets.items()}
    return replace(puzzle, rows_in=puzzle.rows_in[rows], targets=targets)


@given(
    st.integers(1, 7),
    st.integers(1, 3),
    st.sampled_from(sorted(ACTIVATIONS)),
    st.lists(kinds, min_size=1, max_size=12),
    seeds,
)
def test_every_error_is_that_of_the_candidate_alone(
    blocks: int, outputs: int, activation: str, changes: list[str], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    puzzle = plant(seed % 1000, blocks=blocks, outputs=outputs, activation=activation, scale=0.3).puzzle
    sigmas = np.stack([rng.permutation(blocks), rng.permutation(blocks)])
    candidates = [sigmas]
    for kind in changes:
        candidates.append(neighbour(candidates[rng.integers(len(candidates))], kind, rng))
    rows = rng.choice(puzzle.rows, int(rng.integers(1, puzzle.rows + 1)), replace=False)
    inp, out = np.stack(candidates, axis=1)
    found = candidate_errors(puzzle, inp, out, rows)
    assert found.dtype == np.float64
    some = on_rows(puzzle, rows)
    alone = [Network(some, pairs_of(*pair)).full_mse(pair[0]) for pair in candidates]
    np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-10)
    np.testing.assert_allclose(found, [plain_mse(some, *pair) for pair in candidates], rtol=1e-3, atol=1e-9)


def test_rows_beyond_one_chunk_count_alike() -> None:
    planted = plant(1, rows=2 * CHUNK_ROWS + 3)
    rng = np.random.default_rng(0)
    inp = np.stack([rng.permutation(4) for _ in range(5)])
    rows = np.arange(planted.puzzle.rows)
    found = candidate_errors(planted.puzzle, inp, planted.pairs[inp], rows)
    network = Network(planted.puzzle, planted.pairs)
    np.testing.assert_allclose(found, [network.full_mse(order) for order in inp], rtol=1e-6)


def test_the_answer_among_candidates_has_no_error() -> None:
    planted = plant(2, blocks=6)
    inp = np.stack([np.roll(planted.inp_sigma, k) for k in range(6)])
    errors = candidate_errors(planted.puzzle, inp, planted.pairs[inp], np.arange(planted.puzzle.rows))
    assert errors[0] < 1e-11 < errors[1:].min()


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_a_candidate_that_overflows_is_infinite_and_spoils_no_other(activation: str) -> None:
    puzzle = plant(3, activation=activation).puzzle
    inp_weight, inp_bias, out_weight = puzzle.inp_weight.copy(), puzzle.inp_bias + 100, puzzle.out_weight.copy()
    inp_weight[1], inp_bias[1] = 0, 0  # this piece's hidden units are zero, and all the others' large …
    out_weight[2] = 1e38  # … so that this one's branch overflows unless the two are a pair
    puzzle = replace(puzzle, inp_weight=inp_weight, inp_bias=inp_bias, out_weight=out_weight)
    out = [[3, 2, 1, 0], [3, 1, 2, 0], [0, 2, 1, 3]]
    errors = candidate_errors(puzzle, [[0, 1, 2, 3]] * 3, out, np.arange(puzzle.rows))
    assert np.isfinite(errors).tolist() == [True, False, True]
    assert errors[1] == np.inf
