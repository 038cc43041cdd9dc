"""A clock that jumps: what our processes see of it, and never the machine's own."""

from __future__ import annotations

import random
import re
import time
from datetime import datetime, timedelta
from pathlib import Path

from tests.faults.processes import start_workers
from tests.faults.scenario import Found, Scenario, Size, Skipped, disturb
from tests.faults.site import METHODS, Site, open_site

HOUR = 3600


def clock_jumps(folder: Path, size: Size, rng: random.Random) -> Found:
    """All workers' clocks jump an hour ahead and, the next time, an hour back; the run's deadline is two hours."""
    with open_site(folder) as site:
        clock = Clock(site)
        start_workers(site, size, **clock.settings)

        def damage(run: str, flying: dict[str, int]) -> float:
            clock.jump(0 if clock.ahead else HOUR)
            return site.taken_up(run, site.standing(run), set(flying))

        began = datetime.now()
        found = disturb(site, size, rng, damage)
        stamps = re.findall(r"^\[([-\d]+ [:\d]+),", "".join(w.log.read_text() for w in site.workers), re.MULTILINE)
        assert max(map(datetime.fromisoformat, stamps)) >= began + timedelta(seconds=HOUR), "no worker saw the jump"
        return found


def deadline_jumped_over(folder: Path, size: Size, rng: random.Random) -> Found:
    """All workers' clocks jump beyond a run's deadline: it ends at once with the solutions that there are, once."""
    with open_site(folder) as site:
        clock = Clock(site)
        start_workers(site, size, **clock.settings)
        found = Found()
        while found.times < size.times:
            run = site.enqueue(size.evaluations, deadline=HOUR / 2).run
            while not site.in_flight(run):
                time.sleep(0.05)
            clock.jump(HOUR)
            began = time.monotonic()
            ended = site.wait_for_end(run)
            found.recovery.append(time.monotonic() - began)
            assert ended["end"] == "timed_out"
            solutions = site.solutions(run)
            assert sorted(solutions) == [f"{method}.s0" for method in sorted(METHODS)]
            assert {solution[1] for solution in solutions.values()} == {"budget"}
            # What had found nothing better than its start by then is no winner.
            found_better = [s for s in solutions.values() if s[3] < s[2]]
            assert site.pool_rows(run) == sorted({(tuple(s[4]), tuple(s[5])) for s in found_better})
            clock.jump(0)
            found.times, found.runs = found.times + 1, found.runs + 1
        return found


class Clock:
    """What libfaketime tells the processes that it is preloaded into; their monotonic clocks go on as they are."""

    def __init__(self, site: Site) -> None:
        libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        if not libraries:
            raise Skipped("there is no libfaketime here: install the package faketime")
        self.file = site.folder / "clock"
        self.settings = {
            "LD_PRELOAD": str(libraries[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.ahead = 0
        self.jump(0)

    def jump(self, ahead: int) -> None:
        """The clock is so many seconds ahead from now on."""
        unseen = self.file.with_suffix(".new")
        unseen.write_text(f"+{ahead}\n")
        unseen.replace(self.file)
        self.ahead = ahead


SCENARIOS = (
    Scenario(
        name="clock-jumps",
        what="the workers' clocks jump an hour ahead, and back",
        holds="same solutions, no run lost or doubled",
        work=clock_jumps,
        full=Size(times=4, between=8.0),
    ),
    Scenario(
        name="deadline-jumped",
        what="the workers' clocks jump beyond the run's deadline",
        holds="it is compared as it stands, once",
        work=deadline_jumped_over,
        short=Size(),
        full=Size(times=2),
    ),
)
