"""What may grow in a fleet and must not: memory, connections, files; and by how much it did."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import redis

from tests.faults.site import PATIENCE, Site
from tests.support.fleet import wait_for

WARM_SECONDS = 120.0
"""Of a process, after which it has imported, compiled and allocated what it keeps."""

TELLING_SECONDS = 600.0
"""A process that is looked at for less tells no slope: what it takes and gives back for a single run is more."""

MIB = 2**20


@dataclass(frozen=True)
class Left:
    """What is there while nothing is being done."""

    connections: int
    temporary: int
    """Files and folders."""
    spooled: int
    for_ever: int
    """Bytes of Redis's keys that have no lifetime."""
    expiring: int
    """Bytes of those that have one."""


@dataclass
class Watch:
    """Looks at a site from time to time."""

    site: Site
    temporary: Path
    """Its workers' folder for temporary files."""
    began: float = field(default_factory=time.monotonic)
    resident: dict[tuple[int, float], list[tuple[float, int]]] = field(default_factory=dict)
    """Of every process of a worker: (seconds, bytes) over time."""

    def look(self) -> None:
        """Notes the memory of every process."""
        now = time.monotonic() - self.began
        for worker in self.site.workers:
            for pid in worker.pids:
                try:
                    process = psutil.Process(pid)
                    of_it = self.resident.setdefault((pid, process.create_time()), [])
                    of_it.append((now, process.memory_info().rss))
                except psutil.NoSuchProcess:
                    continue

    def slopes(self) -> list[float]:
        """MiB an hour of every process that was there long enough to tell, by least squares; after its warming up."""
        found = []
        for samples in self.resident.values():
            seconds, size = np.array(samples, np.float64).T
            warm = seconds >= seconds[0] + WARM_SECONDS
            if warm.any() and np.ptp(seconds[warm]) >= TELLING_SECONDS:
                found.append(float(np.polyfit(seconds[warm] / 3600, size[warm] / MIB, 1)[0]))
        return found

    def most(self) -> float:
        """MiB of the largest process that there was."""
        return max(size for samples in self.resident.values() for _, size in samples) / MIB

    def left(self) -> Left:
        """What is there now."""
        with redis.Redis.from_url(self.site.broker.url) as client:
            sizes = {False: 0, True: 0}
            for key in client.scan_iter("*", count=1000):
                sizes[client.pttl(key) >= 0] += client.memory_usage(key, samples=0) or 0
            connections = len(client.client_list()) - 1
        spool = Path(self.site.settings["PAIRING_DATA_DIR"]) / "spool"
        return Left(
            connections=connections,
            temporary=sum(len(folders) + len(files) for _, folders, files in os.walk(self.temporary)),
            spooled=len(list(spool.rglob("*.json"))),
            for_ever=sizes[False],
            expiring=sizes[True],
        )


def at_rest(site: Site) -> None:
    """Waits until no message waits in a queue, and no worker has one."""
    with redis.Redis.from_url(site.broker.url) as client:

        def idle() -> bool:
            return not client.hlen("unacked") and not any(client.scan_iter(_type="list"))

        wait_for("an idle fleet", idle, PATIENCE)
