"""`make faults` does every scenario at full length, and that is as long as was asked for."""

from __future__ import annotations

import pytest

from tests.faults import undisturbed
from tests.faults.scenario import Scenario
from tests.faults.scenarios import SCENARIOS


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.name))
def test_at_full_length_several_workers_do_the_work(scenario: Scenario) -> None:
    full = scenario.full
    alone = ("worker-cut-off", "messages-lost")  # beside the one that is cut off; before what waits and is lost
    assert full.workers > 1 or scenario.name in alone


def test_as_many_evaluations_are_chosen_as_last_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undisturbed, "seconds_of", lambda evaluations: (evaluations - 1000) / 700)
    assert 30.0 <= undisturbed.seconds_of(undisturbed.lasting(30.0)) < 50.0


ASKED = {
    "child-killed": (50, 0),
    "worker-killed": (10, 0),
    "broker-killed": (3, 10),
    "broker-paused": (1, 30),
    "worker-cut-off": (1, 60),
    "pool-down": (1, 60),
}
"""Of scenarios at full length: how often at least, and for how many seconds."""


@pytest.mark.parametrize("name", ASKED)
def test_the_full_length_is_what_was_asked_for(name: str) -> None:
    (full,) = [scenario.full for scenario in SCENARIOS if scenario.name == name]
    assert (full.times, full.outage) >= ASKED[name]
    assert full.outage >= ASKED[name][1]
