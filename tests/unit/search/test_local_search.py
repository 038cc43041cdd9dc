"""The descent from one order by confirmed steps, and the kicks that orders are given before it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pairing.arrays import Indices
from pairing.model.activations import ACTIVATIONS
from pairing.model.network import Network
from pairing.search.acceptance import rounding_of
from pairing.search.local_search import Descent, descent_rows
from pairing.search.moves.perturb import REACH, perturbed
from pairing.search.state import EvaluationsSpent, Search, State
from tests.support.puzzles import Planted, plant


def search_of(planted: Planted, begin: Indices, limit: int | None = None) -> Search:
    rng = np.random.default_rng(0)
    state = State(
        pairs=planted.pairs,
        order=begin,
        error=float("nan"),
        best_pairs=planted.pairs,
        best=begin,
        best_error=float("inf"),
        rng=rng,
    )
    return Search(Network(planted.puzzle, planted.pairs), begin, state, rng, limit)


@pytest.mark.parametrize("scale", [0.05, 0.7])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_a_descent_only_goes_down_and_tells_its_orders_exact_error(activation: str, outputs: int, scale: float) -> None:
    planted = plant(4, blocks=9, width=5, rows=300, outputs=outputs, activation=activation, scale=scale)
    rng = np.random.default_rng(1)
    for rows in (np.arange(300), rng.permutation(300)[:80]):
        begin = rng.permutation(9)
        search = search_of(planted, begin)
        way = Descent(search, search.network, begin, rows)
        # To rounding: an order's error as confirmed and as linearized are summed in another sequence.
        before = search.error(search.network, begin, rows)
        rounding = 1e-5 * before + rounding_of(search)
        errors = []
        for _ in way.steps():
            assert sorted(way.order.tolist()) == list(range(9))
            assert way.error == pytest.approx(search.error(search.network, way.order, rows), rel=1e-4, abs=rounding)
            errors.append(way.error)
        errors.append(way.error)
        assert sorted(way.order.tolist()) == list(range(9))
        assert way.error == pytest.approx(search.error(search.network, way.order, rows), rel=1e-4, abs=rounding)
        assert all(later <= earlier + rounding for earlier, later in pairwise(errors))
        assert errors[0] == pytest.approx(before, rel=1e-4, abs=rounding)
        if scale < 0.1:  # there the surrogate is good enough to leave any order at random
            assert way.error < 0.5 * before


def test_a_descent_near_the_answer_ends_at_it() -> None:
    planted = plant(5, blocks=10, width=6, hidden=9, rows=400, scale=0.3)
    begin = planted.order.copy()
    begin[[4, 5]] = begin[[5, 4]]
    search = search_of(planted, begin)
    way = Descent(search, search.network, begin, np.arange(400))
    for _ in way.steps():
        pass
    np.testing.assert_array_equal(way.order, planted.order)
    assert way.error <= rounding_of(search)


def test_a_descent_leaves_the_order_it_is_given_and_the_search_alone() -> None:
    planted = plant(4, blocks=9, rows=200)
    begin = np.random.default_rng(2).permutation(9)
    search = search_of(planted, begin.copy())
    before = search.state.to_json()
    for _ in Descent(search, search.network, search.begin, np.arange(200)).steps():
        pass
    assert search.state.to_json() == before | {"evaluations": search.state.evaluations}
    np.testing.assert_array_equal(search.begin, begin)


def test_a_descent_ends_with_the_allowance() -> None:
    planted = plant(4, blocks=9, rows=200, scale=0.05)
    begin = planted.order[::-1].copy()
    whole = search_of(planted, begin)
    list(Descent(whole, whole.network, begin, np.arange(200)).steps())
    assert whole.state.evaluations >= 3
    for limit in range(whole.state.evaluations):
        search = search_of(planted, begin, limit)
        with pytest.raises(EvaluationsSpent):
            list(Descent(search, search.network, begin, np.arange(200)).steps())
        assert search.state.evaluations == limit


def test_a_descent_from_where_the_network_overflows_stays_there() -> None:
    planted = plant(8, blocks=5)
    puzzle = replace(planted.puzzle, out_weight=planted.puzzle.out_weight * np.float32(1e30))
    search = search_of(replace(planted, puzzle=puzzle), planted.order)
    way = Descent(search, search.network, planted.order, np.arange(40))
    with np.errstate(over="ignore", invalid="ignore"):
        assert list(way.steps()) == []
    np.testing.assert_array_equal(way.order, planted.order)
    assert not way.error <= rounding_of(search)


@pytest.mark.parametrize("blocks", [1, 2, 3, 5, 48])
def test_a_kicked_order_is_an_order(blocks: int) -> None:
    rng = np.random.default_rng(blocks)
    order = rng.permutation(blocks)
    was = order.copy()
    kicks = [perturbed(order, rng, 48) for _ in range(200)]
    np.testing.assert_array_equal(order, was)
    for kick in kicks:
        assert kick.dtype == np.int64
        assert sorted(kick.tolist()) == list(range(blocks))
    if blocks > 1:
        assert len({kick.tobytes() for kick in kicks}) > 1


def test_kicks_are_local() -> None:
    """A block goes as far as its segments are moved, or as far as others are moved past it."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        assert np.abs(perturbed(np.arange(48), rng, 48) - np.arange(48)).max() <= 4 * REACH + 4 * 5


def test_a_descent_takes_more_rows_for_more_blocks_within_bounds() -> None:
    rng = np.random.default_rng(0)
    most = [max(descent_rows(blocks, rng) for _ in range(50)) for blocks in (1, 20, 48, 60, 90, 400)]
    assert most == sorted(most)
    assert most[0] >= 200
    assert most[-1] <= 4096


def test_large_networks_get_now_few_rows_and_now_many() -> None:
    rng = np.random.default_rng(0)
    rows = [descent_rows(192, rng) for _ in range(200)]
    assert 512 <= min(rows) < 600
    assert 900 < max(rows) <= 1024
