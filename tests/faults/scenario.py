"""What a scenario is: damage of one kind, done so many times to runs that are under way."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.site import PATIENCE, Site
from tests.faults.undisturbed import undisturbed
from tests.support.fleet import wait_for

FULL_SECONDS = 30.0
"""That a refinement takes of a core at full length, or more."""


class Skipped(Exception):
    """This machine cannot do the damage. The text says why."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a scenario is."""

    times: int = 1
    """How often the damage is done."""
    evaluations: int = 1500
    """Of every refinement: a thousand take one to two seconds of a core. At full length they are as many as take
    ``FULL_SECONDS`` on this machine."""
    outage: float = 2.0
    """Seconds that something is away."""
    between: float = 1.0
    """Seconds between two times, on average."""
    workers: int = 2
    processes: int = 1
    """Of each worker."""


@dataclass(kw_only=True)
class Found:
    """What happened; that everything held is said by the scenario's having come to its end."""

    times: int = 0
    runs: int = 0
    recovery: list[float] = field(default_factory=list)
    """Seconds from every damage's end until what it had hit was worked on again."""
    said: str = ""
    """What people are told, where that is what is looked at."""


Work = Callable[[Path, Size, random.Random], Found]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A line of the table."""

    name: str
    what: str
    holds: str
    work: Work
    full: Size
    short: Size | None = None
    """At every run of the tests; ``None`` where these hold the same promise by another scenario, or by a test of its
    own."""


Damage = Callable[[str, dict[str, int]], float | None]
"""Is given a run and its refinements in flight (part → process), and gives the seconds to recovery.

``None`` where nothing was in flight after all: that does not count.
"""


def disturb(site: Site, size: Size, rng: random.Random, damage: Damage) -> Found:
    """Does the damage so many times to runs of a site, one after the other; every run ends as if nothing had been."""
    found = Found()
    seeds = max(1, size.workers * size.processes // 2)
    expected = undisturbed(size.evaluations, seeds)
    while found.times < size.times:
        run = site.enqueue(size.evaluations, seeds=seeds).run
        found.runs += 1
        while found.times < size.times:
            flying = flying_in(site, run)
            if not flying:
                break
            took = damage(run, flying)
            if took is None:
                continue
            found.recovery.append(took)
            found.times += 1
            pause(site, run, rng.uniform(0.5, 1.5) * size.between)
        site.wait_for_end(run)
        site.check_run(run, expected)
    return found


def flying_in(site: Site, run: str) -> dict[str, int]:
    """The refinements of a run that are in flight (part → process), waited for; none where it has ended."""
    wait_for("a task in flight", lambda: site.in_flight(run) or site.ended(run), PATIENCE)
    return site.in_flight(run)


def under_way(site: Site, size: Size, run: str = "") -> str:
    """A run that has refinements in flight: that one, or a new one where that has none any more."""
    while not run or not flying_in(site, run):
        run = site.enqueue(size.evaluations).run
    return run


def pause(site: Site, run: str, seconds: float) -> None:
    """Lets a run go on for so long, or to its end."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and site.ended(run) is None:
        time.sleep(0.05)
