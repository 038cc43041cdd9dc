"""Every scenario at its short size; `make faults` does them at full length."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.faults.scenario import Scenario, Skipped
from tests.faults.scenarios import SCENARIOS
from tests.support.servers import ServerMissing


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.name))
def test_what_is_promised_holds(scenario: Scenario, tmp_path: Path) -> None:
    try:
        found = scenario.work(tmp_path, scenario.short, random.Random(0))
    except Skipped as reason:
        pytest.skip(str(reason))
    except ServerMissing as reason:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(reason))
    assert found.times > 0
