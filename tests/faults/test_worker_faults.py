"""Damage to all but servers, at its short size."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.scenario import Scenario
from tests.faults.scenarios import SCENARIOS
from tests.faults.test_server_faults import SCENARIOS as OF_SERVERS

OTHERS = [scenario for scenario in SCENARIOS if scenario.short and scenario not in OF_SERVERS]


@pytest.mark.parametrize("scenario", OTHERS, ids=lambda scenario: str(scenario.name))
def test_what_is_promised_holds(scenario: Scenario, holds: Callable[[Scenario], bool]) -> None:
    assert holds(scenario)
