"""A window is the surrogate's form over pairs within reach, and a search in it gets the least that form has nearby."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pairing.model.network import Network
from pairing.search.moves.window import search_window
from pairing.search.surrogate import Window, linearize, window_at
from tests.support.puzzles import plant
from tests.support.refining import finished

Order = NDArray[np.int64]
seeds = st.integers(0, 2**16)


def window_of(blocks: int, seed: int, reach: int, outputs: int = 1) -> tuple[Window, Network, Order]:
    planted = plant(seed % 50, blocks=blocks, rows=60, outputs=outputs)
    network, order = Network(planted.puzzle, planted.pairs), np.random.default_rng(seed).permutation(blocks)
    return window_at(network, order, np.arange(planted.puzzle.rows), reach), network, order


def inverted(order: Order) -> NDArray[np.bool_]:
    """(N, N): whether the second position, later than the first, is applied before it."""
    place = np.argsort(order)
    return np.triu(place[:, None] > place[None, :], 1)


def form(window: Window, order: Order) -> float:
    """The form at an order of positions, in float64, all of whose inversions are within reach."""
    z = np.zeros(len(window.slopes))
    z[window.index[inverted(order)]] = 1
    return window.error - 2 * window.slopes.astype(float) @ z + z @ window.matrix.astype(float) @ z


@given(st.integers(2, 9), st.integers(1, 3), seeds)
def test_with_all_pairs_within_reach_it_is_the_surrogate(blocks: int, outputs: int, seed: int) -> None:
    window, network, order = window_of(blocks, seed, blocks, outputs)
    model = linearize(network, order, np.arange(network.puzzle.rows))
    positions = np.random.default_rng(seed + 1).permutation(blocks)
    z = inverted(positions)[np.triu_indices(blocks, 1)]
    left = model.residual.astype(float) - z @ model.changes.astype(float)
    size = float(np.abs(window.matrix).sum())
    np.testing.assert_allclose(form(window, positions), np.mean(left**2), atol=1e-5 * size)


@given(st.integers(2, 14), st.integers(1, 5), seeds)
def test_pairs_within_reach_are_those_of_the_whole_surrogate(blocks: int, reach: int, seed: int) -> None:
    window, _, _ = window_of(blocks, seed, reach)
    whole, _, _ = window_of(blocks, seed, blocks)
    first, second = np.triu_indices(blocks, 1)
    near = second - first <= reach
    mine, all_pairs = window.index[first, second][near], whole.index[first, second][near]
    assert sorted(mine) == list(range(len(window.slopes)))
    np.testing.assert_allclose(window.slopes[mine], whole.slopes[all_pairs], rtol=1e-4, atol=1e-6)
    scale = 1e-5 * float(np.abs(whole.matrix).max())
    np.testing.assert_allclose(
        window.matrix[np.ix_(mine, mine)], whole.matrix[np.ix_(all_pairs, all_pairs)], rtol=1e-4, atol=scale
    )


@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 40), seeds)
def test_no_kick_makes_it_worse_and_no_pair_out_of_reach_is_inverted(
    blocks: int, reach: int, kicks: int, seed: int
) -> None:
    window, _, _ = window_of(blocks, seed, reach)
    best, descended = finished(search_window(window, kicks, np.random.default_rng(seed)))
    again, _ = finished(search_window(window, kicks, np.random.default_rng(seed)))
    assert np.array_equal(best, again)
    size = 1e-5 * float(np.abs(window.matrix).sum() + np.abs(window.slopes).sum() + window.error)
    for order in (best, descended):
        assert sorted(order) == list(range(blocks))
        first, second = np.nonzero(inverted(order))
        assert (second - first <= reach).all()
    assert form(window, descended) <= window.error + size
    assert form(window, best) <= form(window, descended) + size


@given(st.integers(2, 6), seeds)
def test_a_small_form_is_searched_to_its_least(blocks: int, seed: int) -> None:
    window, _, _ = window_of(blocks, seed, blocks)
    least = min(form(window, np.array(order)) for order in permutations(range(blocks)))
    best, _ = finished(search_window(window, 300, np.random.default_rng(seed)))
    size = 1e-5 * float(np.abs(window.matrix).sum() + np.abs(window.slopes).sum() + window.error)
    assert form(window, best) <= least + 2e-5 * window.error + size
