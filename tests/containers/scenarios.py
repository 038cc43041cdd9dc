"""All scenarios, in the order in which they are done: later ones need what earlier ones leave."""

from __future__ import annotations

from tests.containers import alone, composed
from tests.support.scenarios import Scenario

SCENARIOS: tuple[Scenario, ...] = (*alone.SCENARIOS, *composed.SCENARIOS)
