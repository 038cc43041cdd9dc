"""Starting orders near another one: reproducible, apart, and no further than asked."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pairing.search.initial_orders import near
from pairing.search.refine import refine
from tests.support.puzzles import plant
from tests.support.refining import allowing

orders = st.integers(4, 40).flatmap(lambda blocks: st.permutations(range(blocks))).map(lambda o: np.array(o, np.int64))


def kept(first: list[int], second: list[int]) -> int:
    """The length of the longest subsequence that two orders of the same blocks have in common."""
    places = [second.index(block) for block in first]
    longest = [1] * len(places)
    for k, place in enumerate(places):
        longest[k] = 1 + max((longest[i] for i in range(k) if places[i] < place), default=0)
    return max(longest)


@given(order=orders, moves=st.integers(1, 5), first=st.integers(0, 2**31), later=st.integers(1, 8))
def test_seeds_start_apart_and_no_further_than_asked(order: np.ndarray, moves: int, first: int, later: int) -> None:
    before = order.copy()
    starts = [near(order, moves, first, first + k) for k in range(later + 1)]
    assert np.array_equal(starts[0], order)
    assert len({start.tobytes() for start in starts}) == later + 1
    for start in starts[1:]:
        assert start.dtype == np.int64
        assert sorted(start.tolist()) == sorted(order.tolist())
        assert kept(order.tolist(), start.tolist()) >= len(order) - moves
    assert np.array_equal(near(order, moves, first, first + later), starts[-1])
    assert np.array_equal(order, before)


@given(order=orders, seed=st.integers(0, 50))
def test_without_moves_all_start_from_the_same(order: np.ndarray, seed: int) -> None:
    assert np.array_equal(near(order, 0, 0, seed), order)


@given(blocks=st.integers(1, 3), seed=st.integers(0, 10))
def test_where_there_are_fewer_orders_than_seeds_it_ends(blocks: int, seed: int) -> None:
    assert sorted(near(np.arange(blocks), 2, 0, seed).tolist()) == list(range(blocks))


def test_refinements_start_there() -> None:
    planted = plant(3, blocks=6)
    options = {"start": "pool", "pool_order": planted.order, "first_seed": 4, "repair": False, "limits": allowing(0)}
    at_once = [refine(planted.puzzle, planted.pairs, seed=4 + k, diversity=1, **options).start_mse for k in range(3)]
    assert at_once[0] == refine(planted.puzzle, planted.pairs, seed=5, diversity=0, **options).start_mse
    assert len(set(at_once)) == 3
