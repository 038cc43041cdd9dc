"""A planner that is killed while it publishes a run's canvas."""

from __future__ import annotations

import random
import time
from pathlib import Path

from tests.faults.scenario import Found, Scenario, Size
from tests.faults.site import METHODS, SHORT, open_site
from tests.faults.undisturbed import undisturbed

_KILLER = """
import os, pathlib, signal
from celery.signals import after_task_publish, before_task_publish

def count(sender, **_):
    file = pathlib.Path(__file__).with_name("kill-after")
    if sender == "pairing.similarity" and file.exists():
        left = int(file.read_text()) - 1
        if left >= 0:
            file.write_text(str(left))
            return
        file.unlink()
        os.kill(os.getpid(), signal.SIGKILL)

{when}_task_publish.connect(count, weak=False)
"""
"""A module of a worker: kills the process before or after it publishes one of the canvas's first tasks."""


def planner_killed(folder: Path, size: Size, rng: random.Random) -> Found:
    """SIGKILL before each message of a canvas, and after the last one, which is when the planner would say so."""
    found = Found()
    with open_site(folder) as site:
        package = folder / "third-party"
        (package / "before.py").write_text(_KILLER.format(when="before"))
        (package / "after.py").write_text(_KILLER.format(when="after"))
        for when, after in [*(("before", number) for number in range(len(METHODS))), ("after", len(METHODS) - 1)]:
            worker = site.start_worker("--include", when, processes=size.processes)
            (package / "kill-after").write_text(str(after))
            began = time.monotonic()
            run = site.enqueue(SHORT).run
            site.wait_for_end(run)
            found.recovery.append(time.monotonic() - began)
            assert not (package / "kill-after").exists(), "nobody was killed"
            site.check_run(run, undisturbed(SHORT))
            found.times, found.runs = found.times + 1, found.runs + 1
            worker.kill()
            site.workers.remove(worker)
    return found


SCENARIOS = (
    Scenario(
        name="planner-killed",
        what="SIGKILL to a planner at every step of publishing a run",
        holds="the run ends with the same solutions; it costs seconds",
        work=planner_killed,
        full=Size(processes=2),
        short=Size(processes=2),
    ),
)
