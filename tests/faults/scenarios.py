"""All scenarios, in the order of the table."""

from __future__ import annotations

from tests.faults import brokers, callers, clocks, disks, planners, poison, pools, processes
from tests.faults.scenario import Scenario

SCENARIOS: tuple[Scenario, ...] = tuple(
    scenario
    for module in (processes, planners, brokers, pools, disks, poison, clocks, callers)
    for scenario in module.SCENARIOS
)
