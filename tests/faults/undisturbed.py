"""What runs give when nothing goes wrong, and how long their refinements take."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from tests.faults.site import METHODS, SHORT, Solutions, open_site


def undisturbed(evaluations: int, seeds: int = 1) -> Solutions:
    """What a run gives when nothing goes wrong."""
    solutions, _ = _undisturbed(evaluations, seeds)
    return solutions


def seconds_of(evaluations: int) -> float:
    """Of a core, that the shortest of the refinements of so many evaluations was seen to take."""
    _, seconds = _undisturbed(evaluations, 1)
    return seconds


def lasting(seconds: float) -> int:
    """Evaluations of a refinement that was seen to take so many seconds of a core here, or more."""
    evaluations = SHORT * 20
    while (took := seconds_of(evaluations)) < seconds:
        evaluations = round(evaluations * 1.1 * seconds / took)
    return evaluations


@cache
def _undisturbed(evaluations: int, seeds: int) -> tuple[Solutions, float]:
    with tempfile.TemporaryDirectory() as name, open_site(Path(name)) as site:
        site.start_worker(processes=2)
        run = site.enqueue(evaluations, seeds=seeds).run
        site.wait_for_end(run)
        found = site.solutions(run)
        assert len(found) == len(METHODS) * seeds
        assert {solution[0] for solution in found.values()} == {evaluations}
        seconds = [record["seconds"] for part, record in site.store.parts(run, "times").items() if "refine" in part]
        return found, min(seconds)
