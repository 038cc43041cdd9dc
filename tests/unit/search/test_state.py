"""A refinement's state survives being written down, and its access to the network is counted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pairing.model.network import Network
from pairing.search.state import ARRAYS, EvaluationsSpent, Search, State
from tests.support.puzzles import plain_mse, plant


def state_of(seed: int = 0, **changes: object) -> State:
    rng = np.random.default_rng(seed)
    rng.integers(0, 10, 3)  # an odd number of 32-bit draws leaves half a word in the generator
    fields = {
        "pairs": np.arange(3),
        "best_pairs": np.arange(3),
        "order": np.array([2, 0, 1]),
        "error": 0.1 + 0.2,
        "best": np.array([0, 1, 2]),
        "best_error": 1 / 3,
    }
    return State(**{**fields, "rng": rng, "evaluations": 17, "step": 5, "stalled": 2, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(5))
def test_a_state_survives_json(seed: int) -> None:
    state = state_of(seed)
    copy = State.from_json(json.loads(json.dumps(state.to_json(), allow_nan=False)), 3)
    assert copy.to_json() == state.to_json()
    for name in ARRAYS:
        assert getattr(copy, name).dtype == np.int64
        np.testing.assert_array_equal(getattr(copy, name), getattr(state, name))
    assert (copy.error, copy.best_error) == (state.error, state.best_error)
    assert (copy.evaluations, copy.step, copy.stalled) == (17, 5, 2)
    assert copy.rng.integers(0, 2**31, 20).tolist() == state.rng.integers(0, 2**31, 20).tolist()
    np.testing.assert_array_equal(copy.rng.permutation(50), state.rng.permutation(50))


def test_a_record_is_a_copy() -> None:
    state = state_of()
    record = state.to_json()
    before = json.dumps(record)
    state.order[:] = 0
    state.rng.random(10)
    state.step += 1
    assert json.dumps(record) == before


def search_of(limit: int | None, rows: int = 40) -> Search:
    planted = plant(0, blocks=3, rows=rows)
    return Search(
        Network(planted.puzzle, planted.pairs), planted.order, state_of(evaluations=0), np.random.default_rng(1), limit
    )


def test_an_error_is_the_exact_one_of_the_rows_asked_for() -> None:
    search, rows, order = search_of(None), np.array([3, 30, 7]), np.array([1, 2, 0])
    puzzle = search.network.puzzle
    part = type(puzzle)(
        **{**vars(puzzle), "rows_in": puzzle.rows_in[rows], "targets": {"pred": puzzle.targets["pred"][rows]}}
    )
    assert search.error(search.network, order, rows) == pytest.approx(
        plain_mse(part, *search.network.sigmas(order)), rel=1e-4
    )


def test_every_answer_counts_and_the_allowance_is_kept() -> None:
    search, order, rows = search_of(3), np.array([1, 2, 0]), np.arange(10)
    search.error(search.network, order, rows)
    search.linearize(search.network, order, rows)
    search.error(search.network, order, rows)
    assert search.state.evaluations == 3
    for ask in (search.error, search.linearize):
        with pytest.raises(EvaluationsSpent):
            ask(search.network, order, rows)
    assert search.state.evaluations == 3


def test_samples_are_different_rows_and_never_more_than_there_are() -> None:
    search = search_of(None, rows=40)
    for sample in (search.fixed_sample, search.fresh_sample):
        for count in (1, 13, 39):
            drawn = sample(count)
            assert len(drawn) == len(set(drawn.tolist())) == count
            assert set(drawn.tolist()) <= set(range(40))
        for count in (40, 1000):
            assert sorted(sample(count).tolist()) == list(range(40))
    np.testing.assert_array_equal(search.yardstick, np.arange(40))


def test_fixed_samples_come_from_the_seed_and_fresh_ones_from_the_state() -> None:
    one, other = search_of(None, 100), search_of(None, 100)
    np.testing.assert_array_equal(one.fixed_sample(20), other.fixed_sample(20))
    np.testing.assert_array_equal(one.fresh_sample(20), other.fresh_sample(20))
    assert one.fresh_sample(20).tolist() != one.fresh_sample(20).tolist()
    assert one.fixed_sample(20).tolist() != search_of(None, 100).fixed_sample(20).tolist()


def test_only_a_better_order_becomes_the_best() -> None:
    search = search_of(None)
    search.state.best_error, search.state.stalled = 0.5, 4
    worse, better = np.array([2, 1, 0]), np.array([1, 0, 2])
    search.state.order = worse
    search.note(0.5)
    assert (search.state.best.tolist(), search.state.stalled) == ([0, 1, 2], 4)
    search.state.order = better
    search.note(0.4)
    better[:] = 0
    assert (search.state.best.tolist(), search.state.best_error, search.state.stalled) == ([1, 0, 2], 0.4, 0)
