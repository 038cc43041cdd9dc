"""Scenarios at their short size."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.scenario import Scenario, Skipped
from tests.support.servers import ServerMissing


@pytest.fixture
def holds(tmp_path: Path) -> Callable[[Scenario], bool]:
    """Does the damage of a scenario; whether there was any, and all that is promised held."""

    def held(scenario: Scenario) -> bool:
        assert scenario.short
        try:
            return scenario.work(tmp_path, scenario.short, random.Random(0)).times > 0
        except (Skipped, ServerMissing) as reason:
            pytest.skip(str(reason))

    return held
