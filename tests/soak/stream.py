"""A steady stream of runs with a random fault from time to time, and what came of every one of them."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.site import PATIENCE, SHORT, Site, Solutions, numbered, open_site
from tests.faults.undisturbed import undisturbed
from tests.soak.faults import FAULTS, SERVICE
from tests.soak.watch import Left, Watch, at_rest

WORKERS = 3
OPEN = 3
"""Runs under way at any time."""

LOOK_SECONDS = 2.0


@dataclass
class Soaked:
    """What came of it."""

    seconds: float = 0.0
    runs: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """Runs that lost or doubled a winner, gave another solution or had no end; and how."""
    slowest: float = 0.0
    """Seconds from a run's enqueuing to its end."""
    slopes: list[float] = field(default_factory=list)
    """MiB an hour of every process that was looked at for long enough."""
    most: float = 0.0
    """MiB of the largest process."""
    before: Left | None = None
    """At rest, after runs that every process took part in, and before the first fault."""
    after: Left | None = None
    """At rest, when everything has ended."""


def soak(
    folder: Path,
    seconds: float,
    rng: random.Random,
    *,
    evaluations: int,
    every: float = 60.0,
    say: Callable[[str], object] = lambda text: None,
) -> Soaked:
    """Keeps a fleet at default settings at work for so many seconds, with a fault every so many on average."""
    expected = undisturbed(evaluations)
    soaked = Soaked()
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    with open_site(folder, TMPDIR=str(temporary)) as site:
        for _ in range(WORKERS):
            site.start_worker(**SERVICE)
        # So many that every process works, and has the connections that it keeps.
        for run in [site.enqueue(SHORT, puzzle=numbered(-number)).run for number in range(1, 2 * WORKERS + 1)]:
            site.wait_for_end(run)
            site.check_run(run, undisturbed(SHORT))
        site.runs.clear()
        at_rest(site)
        watch = Watch(site, temporary)
        soaked.before = watch.left()
        began = time.monotonic()
        next_fault = began + rng.uniform(0.5, 1.5) * every
        under_way: dict[str, float] = {}
        number = 0
        while (now := time.monotonic()) < began + seconds or under_way:
            while len(under_way) < OPEN and now < began + seconds:
                number += 1
                under_way[site.enqueue(evaluations, puzzle=numbered(number)).run] = time.monotonic()
            if now >= next_fault and now < began + seconds:
                name = rng.choice(sorted(FAULTS))
                say(f"{now - began:6.0f} s  {name}; {soaked.runs} runs have ended")
                FAULTS[name](site, rng)
                soaked.faults[name] += 1
                next_fault = time.monotonic() + rng.uniform(0.5, 1.5) * every
            for run, since in list(under_way.items()):
                if site.ended(run) is not None or time.monotonic() > since + PATIENCE:
                    del under_way[run]
                    check(site, run, expected, soaked, time.monotonic() - since)
            watch.look()
            time.sleep(LOOK_SECONDS)
        soaked.seconds = time.monotonic() - began
        at_rest(site)
        soaked.after, soaked.slopes, soaked.most = watch.left(), watch.slopes(), watch.most()
    return soaked


def check(site: Site, run: str, expected: Solutions, soaked: Soaked, seconds: float) -> None:
    """Notes how a run ended, and forgets it."""
    soaked.runs += 1
    soaked.slowest = max(soaked.slowest, seconds)
    try:
        site.check_run(run, expected)
    except AssertionError as error:
        soaked.wrong.append(f"{run}: {error}")
    site.runs[:] = [request for request in site.runs if request.run != run]
