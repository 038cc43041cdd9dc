"""What a step takes is known before it is begun; samples shrink with it, and everything ends in time."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from pairing.errors import MethodError
from pairing.model import costs, pace
from pairing.model.network import Network
from pairing.model.pace import CAUTION, OutOfTimeError, Pace
from pairing.search.driver import Hooks, Limits, RefinementPaused
from pairing.search.refine import refine
from pairing.search.state import Search, State
from pairing.solving import solve
from tests.support.puzzles import plant
from tests.support.refining import allowing, outcome, unreachable

RATE = 1e6


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that makes a million multiplications a second, as far as is known."""
    monkeypatch.setattr(pace, "_rate", lambda *_: RATE)


def test_a_rate_is_measured() -> None:
    assert 1e7 < pace._rate(32, 64) < 1e13


@pytest.mark.usefixtures("slow")
def test_a_step_that_would_end_too_late_is_not_begun() -> None:
    puzzle = plant(0).puzzle
    some = Pace(puzzle, time.monotonic() + 10)
    some.check(RATE)
    with pytest.raises(OutOfTimeError):
        some.check(100 * RATE)
    Pace(puzzle, float("inf")).check(1e30)
    reserved = Pace(puzzle, float("inf"), time.monotonic() + 10, reserve=5 * RATE)
    assert reserved.left == pytest.approx(10 - 5 * CAUTION, abs=1)


@pytest.mark.usefixtures("slow")
def test_a_slow_machine_is_noticed_and_forgotten() -> None:
    some = Pace(plant(0).puzzle, time.monotonic() + 10)
    assert some.seconds(RATE) == CAUTION
    some.learn(RATE, 8.0)
    assert some.seconds(RATE) == 8.0
    some.learn(RATE, 1.0)
    assert some.seconds(RATE) == 4.0
    some.learn(RATE, 1e-4)  # too short to tell
    assert some.seconds(RATE) == 4.0
    some.learn(RATE, 1e6)
    assert some.seconds(RATE) == pace.SLOWEST


@pytest.mark.usefixtures("slow")
def test_samples_shrink_by_halves_until_a_step_is_short_enough() -> None:
    puzzle = plant(0).puzzle
    some = Pace(puzzle, time.monotonic() + 10)
    assert some.affordable(1000, lambda rows: rows * RATE / 1000, 10.0) == 1000
    assert some.affordable(1000, lambda rows: rows * RATE / 1000, 0.5) == 250
    assert some.affordable(1000, lambda rows: rows * RATE, 0.5) == costs.FEWEST_ROWS


def search_of(rows: int, **options: Any) -> Search:
    planted = unreachable(0, 6, rows)
    nan, order = float("nan"), planted.order
    state = State(
        pairs=planted.pairs,
        order=order,
        error=nan,
        best_pairs=planted.pairs,
        best=order,
        best_error=float("inf"),
        rng=np.random.default_rng(0),
    )
    return Search(Network(planted.puzzle, planted.pairs), order, state, np.random.default_rng(1), None, **options)


@pytest.mark.usefixtures("slow")
def test_only_a_search_that_the_clock_ends_has_smaller_samples() -> None:
    assert len(search_of(2000).yardstick) == 1024
    short = search_of(2000, step_seconds=0.1)
    assert costs.FEWEST_ROWS <= len(short.yardstick) < 1024
    assert len(short.fresh_sample(512)) < 512


def test_every_cost_grows_with_the_puzzle_and_its_rows() -> None:
    small, large = plant(0, blocks=4).puzzle, plant(0, blocks=8, width=8, hidden=12).puzzle
    for cost in (costs.forward, costs.trajectory, costs.linearization, costs.greedy):
        assert 0 < cost(small, 100) < cost(large, 100) < cost(large, 1000)
    assert 0 < costs.exchanges(small, 1000, 200, 64) < costs.exchanges(large, 1000, 200, 64)


# ---- a refinement on a machine that is far too slow for its puzzle


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("annealer", ["surrogate", "classic"])
def test_a_refinement_begins_nothing_that_it_cannot_end(annealer: str) -> None:
    planted = plant(1, blocks=12, width=16, hidden=24, rows=2000, known=False)
    began = time.monotonic()
    found = refine(planted.puzzle, planted.pairs, annealer=annealer, start="random", limits=Limits(seconds=1.0))
    assert time.monotonic() - began < 5.0
    assert (found.stopped, found.evaluations) == ("budget", 0)
    assert found.solution.full_mse == found.start_mse


@pytest.mark.usefixtures("slow")
def test_without_time_for_an_error_on_all_rows_there_is_no_result() -> None:
    planted = plant(1, blocks=12, width=16, hidden=24, rows=2000, known=False)
    limits = Limits(seconds=60.0, deadline=1.0)
    with pytest.raises(MethodError, match=r"over all 2,000 rows takes about \d+ s, and \d s are left: give more time"):
        refine(planted.puzzle, planted.pairs, start="random", limits=limits)
    with pytest.raises(MethodError, match="the start greedy takes about"):
        refine(planted.puzzle, planted.pairs, start="greedy", limits=limits)
    with pytest.raises(MethodError, match="give more time"):
        solve(planted.puzzle, "trace,norm_balance", deadline=1.0)


@pytest.mark.usefixtures("slow")
def test_with_time_for_one_error_it_is_that_of_the_best_order() -> None:
    planted = plant(1, blocks=5, rows=2000, known=False)
    one = costs.forward(planted.puzzle, 2000) / RATE * CAUTION
    limits = Limits(seconds=0.0, deadline=one)
    found = refine(planted.puzzle, planted.pairs, start="random", limits=limits)
    assert np.isfinite(found.solution.full_mse)


@pytest.mark.slow
def test_an_allowance_of_evaluations_knows_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    planted = unreachable(3, 7, 1500)
    one = refine(planted.puzzle, planted.pairs, start="random", limits=allowing(300))
    monkeypatch.setattr(pace, "_rate", lambda *_: RATE)
    other = refine(planted.puzzle, planted.pairs, start="random", limits=allowing(300))
    assert outcome(one) == outcome(other)


def test_a_refinement_knows_its_seed_and_its_steps() -> None:
    planted = unreachable(3, 7, 200)
    found = refine(planted.puzzle, planted.pairs, seed=11, start="random", limits=allowing(100))
    assert found.seed == 11
    assert found.steps > 0
    classic = refine(planted.puzzle, planted.pairs, seed=2, annealer="classic", start="random", limits=allowing(100))
    assert (classic.seed, classic.steps) == (2, 99)


def test_classic_tells_its_best_error_on_the_yardsticks_rows() -> None:
    planted = unreachable(3, 5, 6000)
    found = refine(planted.puzzle, planted.pairs, annealer="classic", start="random", limits=allowing(60))
    told = {round(point[2], 12) for point in found.history.points}
    network = Network(planted.puzzle, planted.pairs)
    search = Search(
        network,
        planted.order,
        search_of(10).state,
        np.random.default_rng(np.random.SeedSequence([0]).spawn(3)[2]),
        None,
    )
    errors = {
        round(float(f"{search.error(network, np.array(order), search.yardstick):.6g}"), 12)
        for order in found.history.orders
    }
    assert told & errors
    assert found.solution.full_mse == network.full_mse(found.solution.inp_sigma)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("errors", [6, 100])
def test_near_the_deadline_a_refinement_keeps_its_turn(errors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On all rows an error is dear, and with others' turns between there would be no time for it."""
    monkeypatch.setattr("pairing.search.driver.POLL_SECONDS", 0.0)
    planted = unreachable(1, 5, 300)
    limits = Limits(seconds=1.0, deadline=errors * costs.forward(planted.puzzle, 300) / RATE * CAUTION)
    hooks = Hooks(should_stop=lambda: "turn_over")
    if errors == 6:
        assert refine(planted.puzzle, planted.pairs, start="norm", limits=limits, hooks=hooks).evaluations > 0
    else:
        with pytest.raises(RefinementPaused):
            refine(planted.puzzle, planted.pairs, start="norm", limits=limits, hooks=hooks)
