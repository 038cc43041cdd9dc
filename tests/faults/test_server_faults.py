"""Damage to brokers, pools and disks, at its short size; beside that to workers, so that both take half as long."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults import brokers, disks, pools
from tests.faults.scenario import Scenario

ALL = (*brokers.SCENARIOS, *pools.SCENARIOS, *disks.SCENARIOS)
SCENARIOS = [scenario for scenario in ALL if scenario.short]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.name))
def test_what_is_promised_holds(scenario: Scenario, holds: Callable[[Scenario], bool]) -> None:
    assert holds(scenario)
