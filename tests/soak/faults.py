"""The faults of a soak: those of ``tests.faults`` that may come at any moment of many runs."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress

from tests.faults.brokers import drop_connections, fill, kill, suspend, troubled
from tests.faults.site import PATIENCE, Site, Worker
from tests.support.broker_troubles import TROUBLES

Fault = Callable[[Site, random.Random], None]

SERVICE = {"REMAP_SIGTERM": "SIGQUIT"}
"""What the units say: workers stop softly."""


def kill_child(site: Site, rng: random.Random) -> None:
    """SIGKILL to a process that refines; where none does, to any of a worker's."""
    flying = [pid for request in site.runs for pid in site.in_flight(request.run).values()]
    children = [pid for worker in site.workers for pid in worker.pids - {worker.process.pid}]
    with suppress(ProcessLookupError):  # it came to its end meanwhile
        os.kill(rng.choice(flying or children), signal.SIGKILL)


def kill_worker(site: Site, rng: random.Random) -> None:
    """SIGKILL to all processes of a worker; a new one is started."""
    _exchange(site, rng, Worker.kill)


def restart_worker(site: Site, rng: random.Random) -> None:
    """SIGTERM to a worker; a new one is started when it has gone."""

    def stop(worker: Worker) -> None:
        worker.process.send_signal(signal.SIGTERM)
        worker.process.wait(PATIENCE)

    _exchange(site, rng, stop)


def _exchange(site: Site, rng: random.Random, end: Callable[[Worker], None]) -> None:
    """The first worker is spared: it is the one whose memory is looked at for the whole time."""
    worker = rng.choice(site.workers[1:])
    end(worker)
    site.workers.remove(worker)
    site.start_worker(**SERVICE)


FAULTS: dict[str, Fault] = {
    "a process killed": kill_child,
    "a worker killed": kill_worker,
    "a service restarted": restart_worker,
    "Redis killed": lambda site, rng: kill(site, rng.uniform(0, 10)),
    "Redis paused": lambda site, rng: suspend(site, rng.uniform(1, 20)),
    "connections dropped": lambda site, _: drop_connections(site, 0),
    "Redis full": lambda site, rng: fill(site, rng.uniform(1, 10)),
    "Redis not ready": lambda site, rng: troubled(rng.choice(TROUBLES))(site, rng.uniform(1, 20)),
}
