"""Damage to processes: a process of a worker, a whole worker, a service that is restarted."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from tests.faults.scenario import Found, Scenario, Size, disturb
from tests.faults.site import PATIENCE, Site, Worker, open_site

TAKEN_UP_SECONDS = 60.0
"""By which a lost worker's task is worked on elsewhere."""

SOFT_SHUTDOWN_SECONDS = 10.0

STOP_SECONDS = 5.0
"""After the soft shutdown, by which the worker's process is gone on a busy machine."""


def child_killed(folder: Path, size: Size, rng: random.Random) -> Found:
    """SIGKILL to a random process of a worker that has a refinement in flight."""
    with open_site(folder) as site:
        start_workers(site, size)

        def damage(run: str, flying: dict[str, int]) -> float | None:
            part = rng.choice(sorted(flying))
            owners = site.owners(run, {part})
            try:
                os.kill(flying[part], signal.SIGKILL)
            except ProcessLookupError:
                return None
            return site.begun_again(run, owners) if site.unfinished(run, {part}) else None

        return disturb(site, size, rng, damage)


def worker_killed(folder: Path, size: Size, rng: random.Random) -> Found:
    """SIGKILL to all processes of a worker that has a refinement in flight; a new one is started."""
    with open_site(folder) as site:
        start_workers(site, size)

        def damage(run: str, flying: dict[str, int]) -> float | None:
            worker = owner(site, flying, rng)
            owners = site.owners(run, {part for part, pid in flying.items() if pid in worker.pids})
            worker.kill()
            site.workers.remove(worker)
            hit = site.unfinished(run, set(owners))
            began = time.monotonic()
            site.start_worker(processes=size.processes)
            if not hit:
                return None
            site.begun_again(run, {part: owners[part] for part in hit})
            took = time.monotonic() - began
            assert took <= TAKEN_UP_SECONDS
            return took

        return disturb(site, size, rng, damage)


def service_restarted(folder: Path, size: Size, rng: random.Random) -> Found:
    """SIGTERM to a worker whose unit says REMAP_SIGTERM=SIGQUIT, while it has a refinement; a new one is started."""
    with open_site(folder) as site:
        start_workers(site, size, REMAP_SIGTERM="SIGQUIT")

        def damage(run: str, flying: dict[str, int]) -> float | None:
            worker = owner(site, flying, rng)
            owners = site.owners(run, {part for part, pid in flying.items() if pid in worker.pids})
            stood = {part: evaluations_of(site, run, part) for part in owners}
            began = time.monotonic()
            worker.process.send_signal(signal.SIGTERM)
            worker.process.wait(PATIENCE)
            ended = time.monotonic()
            assert ended - began <= SOFT_SHUTDOWN_SECONDS + STOP_SECONDS
            site.workers.remove(worker)
            now = site.owners(run, set(owners))  # others may have taken it up, or even done it, before this one ended
            hit = site.unfinished(run, set(owners)) | {part for part in owners if now[part] != owners[part]}
            site.start_worker(processes=size.processes, REMAP_SIGTERM="SIGQUIT")
            if not hit:
                return None
            site.begun_again(run, {part: owners[part] for part in hit})
            took = time.monotonic() - ended
            attempts = site.store.parts(run, "attempt")
            begun = {part: attempts[f"refinement.{part}"]["progress"] for part in hit}
            assert all(begun[part] >= max(stood[part], 1) for part in hit), (begun, stood)
            return took

        return disturb(site, size, rng, damage)


def evaluations_of(site: Site, run: str, part: str) -> int:
    """How far a refinement's checkpoint is."""
    return int((site.store.checkpoint(run, part) or {"evaluations": 0})["evaluations"])


def start_workers(site: Site, size: Size, **changes: str) -> None:
    for _ in range(size.workers):
        site.start_worker(processes=size.processes, **changes)


def owner(site: Site, flying: dict[str, int], rng: random.Random) -> Worker:
    """A worker that has one of the refinements in flight."""
    return rng.choice([worker for worker in site.workers if worker.pids & set(flying.values())])


SCENARIOS = (
    Scenario(
        name="child-killed",
        what="SIGKILL to a process of a worker",
        holds="same solutions, each winner stored once",
        work=child_killed,
        short=Size(),
        full=Size(times=50, between=2.0, processes=2),
    ),
    Scenario(
        name="worker-killed",
        what="SIGKILL to a whole worker; a new one is started",
        holds="the same; taken up within 60 s",
        work=worker_killed,
        short=Size(),
        full=Size(times=10, between=3.0, processes=2),
    ),
    Scenario(
        name="service-restarted",
        what="SIGTERM to a worker in a refinement (a service's restart)",
        holds="it stops within the soft shutdown, the refinement resumes elsewhere",
        work=service_restarted,
        full=Size(times=3, between=3.0),
    ),
)
