"""A refinement's history: its errors fall, it stays small, and a resumption does not tear it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pairing.search.history import ORDERS, POINTS, History
from pairing.search.refine import refine
from pairing.search.state import State
from tests.support.puzzles import Planted
from tests.support.refining import allowing, checkpoints_of, outcome


def state(error: float, evaluations: int, order: list[int]) -> State:
    best = np.array(order, np.int64)
    return State(
        pairs=best,
        order=best,
        error=error,
        best_pairs=best,
        best=best,
        best_error=error,
        rng=np.random.default_rng(0),
        evaluations=evaluations,
    )


@pytest.mark.parametrize("improvements", [1, POINTS, POINTS + 1, 5000])
def test_it_stays_small_and_keeps_both_ends(improvements: int) -> None:
    history = History(orders=[[0, 1, 2]])
    for k in range(improvements):
        history.note(k / 10, state(1.0 / (k + 1), k, [k, k + 1, k + 2]))
    assert len(history.points) <= POINTS
    assert len(history.orders) <= ORDERS
    assert history.points[0] == (0.0, 0, 1.0)
    assert history.points[-1][:2] == (round((improvements - 1) / 10, 3), improvements - 1)
    assert (history.orders[0], history.orders[-1]) == ([0, 1, 2], [improvements - 1, improvements, improvements + 1])
    errors = [error for _, _, error in history.points]
    assert errors == sorted(set(errors), reverse=True)


def test_a_start_that_overflows_is_no_point() -> None:
    history = History(orders=[[0, 1]])
    history.begin(1.0, float("inf"))
    assert history.points == []
    history.begin(1.0, 0.5)
    history.note(2.0, state(0.5, 1, [0, 1]))  # the start, measured again
    assert history.points == [(1.0, 0, 0.5)]


def test_what_is_no_better_is_not_kept() -> None:
    history = History(orders=[[0, 1]])
    for error in (0.5, 0.5, 0.7, float("inf")):
        history.note(1.0, state(error, 3, [1, 0]))
    assert history.points == [(1.0, 3, 0.5)]
    assert history.orders == [[0, 1], [1, 0]]


def test_the_next_attempt_goes_on_where_the_last_one_was_saved() -> None:
    history = History(orders=[[0, 1]])
    history.note(2.0, state(0.5, 3, [1, 0]))
    history.note(4.0, state(0.5, 9, [1, 0]))
    resumed = History.from_json(json.loads(json.dumps(history.to_json(), allow_nan=False)))
    resumed.note(4.5, state(0.5, 3, [1, 0]))  # done again
    resumed.note(5.0, state(0.25, 12, [0, 1]))
    assert resumed.points == [(2.0, 3, 0.5), (5.0, 12, 0.25)]
    assert resumed.orders == [[0, 1], [1, 0], [0, 1]]


@pytest.mark.parametrize("annealer", ["surrogate", "classic"])
def test_a_refinement_tells_its_way(demo: Planted, annealer: str) -> None:
    options: dict[str, Any] = {"annealer": annealer, "start": "random", "limits": allowing(150)}
    found = refine(demo.puzzle, demo.pairs, **options)
    history = found.history
    assert history.points[0][1:] == (0, pytest.approx(found.start_mse, rel=0.2))  # over some of the samples
    assert [evaluations for _, evaluations, _ in history.points] == sorted(e for _, e, _ in history.points)
    assert history.orders[-1] == list(found.solution.inp_sigma)
    assert all(sorted(order) == list(range(demo.puzzle.blocks)) for order in history.orders)
    assert history.evaluations == found.evaluations


@pytest.mark.usefixtures("talkative")
def test_a_checkpoint_of_a_version_without_histories_is_resumed(demo: Planted) -> None:
    options: dict[str, Any] = {"seed": 1, "start": "random", "limits": allowing(100)}
    undisturbed, saved = checkpoints_of(demo.puzzle, demo.pairs, **options)
    record = json.loads(saved[0])
    del record["history"]
    resumed = refine(demo.puzzle, demo.pairs, checkpoint=record, **options)
    assert resumed.solution == undisturbed.solution
    assert outcome(resumed)["evaluations"] == undisturbed.evaluations
