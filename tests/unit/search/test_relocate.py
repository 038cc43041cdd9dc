"""A block that stands far from its place is among the first; relocations are the order with one block put elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pairing.model.network import Network
from pairing.search.batch_error import candidate_residuals
from pairing.search.moves.relocate import relocations
from pairing.search.surrogate import Surrogate, linearize, trajectory
from tests.support.puzzles import Planted, plant

Order = NDArray[np.int64]


def moved(order: Order, taken: int, put: int) -> Order:
    return np.insert(np.delete(order, taken), put, order[taken])


def found(planted: Planted, order: Order, seed: int = 0) -> Order:
    rows = np.arange(planted.puzzle.rows)
    network = Network(planted.puzzle, planted.pairs)
    return relocations(network, order, linearize(network, order, rows), rows, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("outputs", [1, 3])
def test_the_block_that_is_far_away_is_among_the_first_though_others_have_moved_too(seed: int, outputs: int) -> None:
    planted = plant(seed, blocks=24, rows=200, outputs=outputs, scale=0.3)
    right = planted.order
    settled = right.copy()
    for first in (3, 9, 14, 20):  # neighbours that have changed places
        settled[[first, first + 1]] = settled[[first + 1, first]]
    order = moved(settled, 4, 19)
    stray = settled[4]
    others = order[order != stray]
    promising = [line for line in found(planted, order)[:3] if np.array_equal(line[line != stray], others)]
    assert min(abs(int(np.flatnonzero(line == stray)[0]) - 4) for line in promising) <= 5


def test_nothing_is_relocated_where_the_surrogate_is_not_finite_or_nothing_is_left() -> None:
    planted = plant(0, blocks=6)
    network, rows = Network(planted.puzzle, planted.pairs), np.arange(planted.puzzle.rows)
    model = linearize(network, planted.order, rows)
    rng = np.random.default_rng(0)
    broken = replace(model, changes=np.full_like(model.changes, np.inf))
    exact = Surrogate(np.zeros_like(model.residual), model.changes, model.shared_block_gram)
    for useless in (broken, exact):
        assert len(relocations(network, planted.order, useless, rows, rng)) == 0


def test_residuals_of_several_outputs_stand_as_those_of_a_trajectory() -> None:
    planted = plant(1, blocks=5, outputs=3)
    network, rows = Network(planted.puzzle, planted.pairs), np.arange(7)
    orders = np.stack([np.roll(planted.order, k) for k in range(5)])
    residuals = candidate_residuals(planted.puzzle, orders, planted.pairs[orders], rows)
    for order, residual in zip(orders, residuals, strict=True):
        np.testing.assert_allclose(residual, trajectory(network, order, rows).residual, rtol=1e-3, atol=1e-5)
