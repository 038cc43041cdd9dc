"""How long a refinement works before it lets others in."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.runs import time_slicing
from tasks.runs.time_slicing import Turn, TurnOverError, first_turn, is_sure


def undisturbed_turn(**options: Any) -> Turn:
    """A turn that nothing but others' waiting ends."""
    return Turn(owned=lambda: True, announced=lambda: None, interrupted=lambda: False, **options)


@pytest.mark.parametrize(
    ("first", "used", "length"), [(5.0, 0.0, 5.0), (20.0, 0.0, 20.0), (5.0, 7.0, 7.0), (20.0, 50.0, 50.0)]
)
def test_a_turn_is_as_long_as_those_before(
    first: float, used: float, length: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, has_backlog = 100.0, False
    monkeypatch.setattr(time_slicing.time, "monotonic", lambda: now)
    turn = undisturbed_turn(first=first, used=used, has_backlog=lambda: has_backlog)
    now = 100.0 + length
    assert turn.should_stop() is None  # nobody waits
    has_backlog = True
    assert turn.should_stop() is None  # that is not asked again at once
    now += time_slicing.CROWD_SECONDS
    assert turn.should_stop() == "turn_over"
    assert isinstance(turn.pause, TurnOverError)


@pytest.mark.parametrize(("used", "budget", "whole"), [(0.0, 5.0, True), (0.0, 60.0, False), (40.0, 60.0, True)])
def test_who_is_nearly_done_takes_the_rest_at_once(
    used: float, budget: float, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time_slicing.time, "monotonic", lambda: now)
    turn = undisturbed_turn(first=time_slicing.TURN_SECONDS, used=used, budget=budget, has_backlog=lambda: True)
    now += max(time_slicing.TURN_SECONDS, used)
    assert turn.should_stop() == (None if whole else "turn_over")


def test_a_method_that_expects_all_its_pairs_to_be_right_is_sure() -> None:
    assert is_sure([1.0, 0.9, 0.999])
    assert not is_sure([1.0, 0.4, 1.0])
    assert not is_sure([0.9] * 10)


@pytest.mark.parametrize(
    ("confidence", "others", "seconds"),
    [
        ([1.0, 1.0], [[1.0, 1.0], [1.0, 1.0]], time_slicing.SURE_TURN_SECONDS),
        ([0.5, 0.5], [], time_slicing.LEADING_TURN_SECONDS),
        ([0.5, 0.5], [[1.0, 1.0], [0.5, 0.5], [0.1, 0.1]], time_slicing.LEADING_TURN_SECONDS),
        ([0.5, 0.5], [[1.0, 1.0], [0.6, 0.5], [0.1, 0.1]], time_slicing.TURN_SECONDS),
    ],
)
def test_who_expects_the_most_right_pairs_works_longest(
    confidence: list[float], others: list[list[float]], seconds: float
) -> None:
    assert first_turn(confidence, others) == seconds
