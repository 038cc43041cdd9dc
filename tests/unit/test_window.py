"""What a search near an order finds that a descent does not, and what it does with numbers that are none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pairing.network import Network
from pairing.window import search, window_at
from tests.support.puzzles import plant


@pytest.mark.parametrize("seed", range(5))
def test_an_order_shuffled_within_reach_is_put_right_in_a_few_windows(seed: int) -> None:
    planted = plant(seed, blocks=40, width=16, hidden=16, rows=700, scale=0.1)
    network, rng = Network(planted.puzzle, planted.pairs), np.random.default_rng(seed)
    order = planted.order[np.argsort(np.arange(40) + rng.uniform(0, 8, 40))]
    assert not np.array_equal(order, planted.order)
    for _ in range(8):
        window = window_at(network, order, np.arange(planted.puzzle.rows), 12)
        best, _ = search(window, 400, rng)
        order = order[best]
    assert np.array_equal(order, planted.order)


def test_a_window_that_is_not_finite_says_so() -> None:
    planted = plant(0, blocks=5)
    window = window_at(Network(planted.puzzle, planted.pairs), planted.order, np.arange(planted.puzzle.rows))
    assert window.finite
    for name in ("slopes", "matrix"):
        broken = np.full_like(getattr(window, name), np.nan)
        assert not replace(window, **{name: broken}).finite
