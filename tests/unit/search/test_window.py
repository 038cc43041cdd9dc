"""What a search near an order finds that a descent does not, and what it does with numbers that are none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pairing.model.network import Network
from pairing.search.moves.window import AT_ONCE, search_window
from pairing.search.surrogate import Window, pair_index, window_at
from tests.support.puzzles import plant
from tests.support.refining import finished


@pytest.mark.parametrize("seed", range(5))
def test_an_order_shuffled_within_reach_is_put_right_in_a_few_windows(seed: int) -> None:
    planted = plant(seed, blocks=40, width=16, hidden=16, rows=700, scale=0.1)
    network, rng = Network(planted.puzzle, planted.pairs), np.random.default_rng(seed)
    order = planted.order[np.argsort(np.arange(40) + rng.uniform(0, 8, 40))]
    assert not np.array_equal(order, planted.order)
    for _ in range(8):
        window = window_at(network, order, np.arange(planted.puzzle.rows), 12)
        best, _ = finished(search_window(window, 400, rng))
        order = order[best]
    assert np.array_equal(order, planted.order)


def test_a_window_that_is_not_finite_says_so() -> None:
    planted = plant(0, blocks=5)
    window = window_at(Network(planted.puzzle, planted.pairs), planted.order, np.arange(planted.puzzle.rows))
    assert window.finite
    for name in ("slopes", "matrix"):
        broken = np.full_like(getattr(window, name), np.nan)
        assert not replace(window, **{name: broken}).finite


def test_rounding_alone_is_no_gain() -> None:
    """A form of one row that is fitted already: its gains are differences of equal numbers, and once had no end."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        changes = rng.normal(size=(66, 1)).astype(np.float32)
        matrix = changes @ changes.T
        window = Window(0.0, np.zeros(66, np.float32), matrix, pair_index(12, 11), 11)
        best, _ = finished(search_window(window, 120, rng))
        z = np.triu(np.argsort(best)[:, None] > np.argsort(best)[None, :], 1)[np.triu_indices(12, 1)]
        assert (z @ changes.astype(float)).item() ** 2 <= 1e-6 * float(matrix.max())


def test_a_search_looks_at_the_clock_all_the_while() -> None:
    planted = plant(1, blocks=9)
    window = window_at(Network(planted.puzzle, planted.pairs), planted.order, np.arange(planted.puzzle.rows))
    assert sum(1 for _ in search_window(window, 160, np.random.default_rng(0))) == 1 + 160 // AT_ONCE
