"""The trajectory in float32 against a plain float64 one: branches, the gradient's parts, and what exchanges change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing.model.activations import ACTIVATIONS
from pairing.model.network import Network
from pairing.search.surrogate import commutators, pair_index, trajectory
from tests.support.puzzles import PLAIN_ACTIVATIONS, Planted, plant

STEP = 1e-6


@st.composite
def cases(draw: st.DrawFn) -> tuple[Planted, np.ndarray, np.ndarray, np.ndarray]:
    """A small network, pairs and an order at random, and some of its rows."""
    planted = plant(
        draw(st.integers(0, 100)),
        blocks=draw(st.integers(1, 6)),
        width=draw(st.integers(1, 5)),
        hidden=draw(st.integers(1, 6)),
        outputs=draw(st.integers(1, 3)),
        rows=150,
        activation=draw(st.sampled_from(sorted(ACTIVATIONS))),
        scale=draw(st.sampled_from([0.05, 0.5])),
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    blocks = planted.puzzle.blocks
    rows = rng.permutation(150)[: draw(st.sampled_from([1, 7, 150]))]
    return planted, rng.permutation(blocks), rng.permutation(blocks), rows


def branch(planted: Planted, inp: int, out: int, states: np.ndarray) -> np.ndarray:
    puzzle = planted.puzzle
    hidden = states @ puzzle.inp_weight[inp].astype(np.float64).T + puzzle.inp_bias[inp]
    act = PLAIN_ACTIVATIONS[puzzle.activation](hidden)
    return np.asarray(act @ puzzle.out_weight[out].astype(np.float64).T + puzzle.out_bias[out])


def slope(planted: Planted, inp: int, out: int, states: np.ndarray, k: int) -> np.ndarray:
    """(S, d) the branch's derivative by the states' k-th part."""
    step = STEP * np.eye(states.shape[1])[k]
    return (branch(planted, inp, out, states + step) - branch(planted, inp, out, states - step)) / (2 * STEP)


@given(cases())
def test_the_way_forward_and_back_is_the_plain_one(case: tuple[Planted, np.ndarray, np.ndarray, np.ndarray]) -> None:
    planted, pairs, order, rows = case
    puzzle, count, samples = planted.puzzle, len(order), len(rows)
    way = trajectory(Network(puzzle, pairs), order, rows)
    states = [puzzle.rows_in[rows].astype(np.float64)]
    branches = []
    for block in order:
        branches.append(branch(planted, block, pairs[block], states[-1]))
        states.append(states[-1] + branches[-1])
    answer = states[-1] @ puzzle.last_weight.astype(np.float64).T + puzzle.last_bias
    np.testing.assert_allclose(way.branches, branches, rtol=1e-4, atol=1e-4)
    residual = (puzzle.target_values[rows] - answer).T
    np.testing.assert_allclose(way.residual, residual.reshape(-1), rtol=1e-4, atol=1e-4)
    assert way.error == pytest.approx(np.mean(residual**2), rel=1e-3, abs=1e-8)
    gradient = np.repeat(puzzle.last_weight[:, None, :].astype(np.float64), samples, axis=1)  # (o, S, d)
    through = np.empty((count, *gradient.shape))
    clear = np.ones((count, samples), bool)  # rows whose hidden units are not at a kink, where slopes jump
    for position in range(count - 1, -1, -1):
        block, at = order[position], states[position]
        jacobian = np.stack([slope(planted, block, pairs[block], at, k) for k in range(puzzle.width)], axis=2)
        through[position] = np.einsum("osd,sdk->osk", gradient, jacobian)
        gradient = gradient + through[position]
        hidden = at @ puzzle.inp_weight[block].astype(np.float64).T + puzzle.inp_bias[block]
        clear[position] = (np.abs(hidden) > 1e-4).all(axis=1)
    told = np.tile(clear.all(axis=0), puzzle.outputs)
    plain = through.reshape(count, -1, puzzle.width)
    np.testing.assert_allclose(way.branch_vjp[:, told], plain[:, told], rtol=1e-3, atol=1e-3)

    changes = commutators(way)
    assert changes.shape == (count * (count - 1) // 2, puzzle.outputs * samples)
    several = np.tile(np.array(branches), (1, puzzle.outputs, 1))
    index = pair_index(count)
    for a in range(count):
        for b in range(a + 1, count):
            expected = np.sum(plain[a] * several[b] - plain[b] * several[a], axis=1)
            np.testing.assert_allclose(changes[index[a, b], told], expected[told], rtol=1e-3, atol=2e-3)
