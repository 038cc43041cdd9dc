"""Damage to Redis and to the network before it."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from pathlib import Path

import redis

from tests.faults.processes import start_workers
from tests.faults.proxy import forwarding
from tests.faults.scenario import Found, Scenario, Size, disturb, pause
from tests.faults.site import SHORT, open_site
from tests.faults.undisturbed import undisturbed
from tests.support.broker_troubles import TROUBLES

DROPS = 5
WITHIN_SECONDS = 2.5


def broker_killed(folder: Path, size: Size, rng: random.Random) -> Found:
    """SIGKILL to Redis, which is started again on its append-only file."""
    with open_site(folder) as site:
        start_workers(site, size)

        def damage(run: str, flying: dict[str, int]) -> float:
            site.broker.kill()
            time.sleep(size.outage)
            site.broker.start()
            return site.taken_up(run, site.standing(run), set(flying))

        return disturb(site, size, rng, damage)


def broker_paused(folder: Path, size: Size, rng: random.Random) -> Found:
    """SIGSTOP to Redis: connections stay, and nothing is answered."""
    with open_site(folder) as site:
        start_workers(site, size)

        def damage(run: str, flying: dict[str, int]) -> float:
            os.kill(site.broker.pid, signal.SIGSTOP)
            time.sleep(size.outage)
            os.kill(site.broker.pid, signal.SIGCONT)
            return site.taken_up(run, site.standing(run), set(flying))

        return disturb(site, size, rng, damage)


def worker_cut_off(folder: Path, size: Size, rng: random.Random) -> Found:
    """Nothing gets through between Redis and one worker, which has a refinement; then it comes back."""
    with open_site(folder) as site, forwarding(site.broker.made.port) as proxy:
        through = site.broker.url.replace(f":{site.broker.made.port}/", f":{proxy.port}/")
        far = site.start_worker(processes=size.processes, PAIRING_BROKER_URL=through)
        start_workers(site, size)

        def damage(run: str, flying: dict[str, int]) -> float | None:
            hit = {part for part, pid in flying.items() if pid in far.pids}
            if not hit:
                pause(site, run, 0.1)  # the other worker's alone, so far
                return None
            owners = site.owners(run, hit)
            proxy.open.clear()
            began = time.monotonic()
            took = site.begun_again(run, owners) if site.unfinished(run, hit) == hit else None
            time.sleep(max(0.0, size.outage - (time.monotonic() - began)))
            proxy.open.set()
            return took

        found = disturb(site, size, rng, damage)
        disturbed = [request.run for request in site.runs]
        for worker in [worker for worker in site.workers if worker is not far]:
            worker.kill()
            site.workers.remove(worker)
        alone = site.enqueue(SHORT).run  # who was cut off is back, and has nothing left to store
        site.wait_for_end(alone)
        site.check_run(alone, undisturbed(SHORT))
        for run in disturbed:
            site.check_run(run, undisturbed(size.evaluations))
        return found


def connections_dropped(folder: Path, size: Size, rng: random.Random) -> Found:
    """Redis drops every connection five times within three seconds; attempts that end so are not the tasks' fault."""
    with open_site(folder) as site:
        start_workers(site, size)

        def damage(run: str, flying: dict[str, int]) -> float:
            with redis.Redis.from_url(site.broker.url) as client:
                for _ in range(DROPS):
                    for kind in ("normal", "pubsub"):
                        client.client_kill_filter(_type=kind, skipme=True)
                    time.sleep(WITHIN_SECONDS / DROPS)
            return site.taken_up(run, site.standing(run), set(flying))

        return disturb(site, size, rng, damage)


def broker_full(folder: Path, size: Size, rng: random.Random) -> Found:
    """Redis takes no more (``maxmemory``) while refinements are in flight; then there is room again."""
    with open_site(folder) as site:
        start_workers(site, size)

        def damage(run: str, flying: dict[str, int]) -> float:
            with redis.Redis.from_url(site.broker.url) as client:
                client.config_set("maxmemory", 1)
                time.sleep(size.outage)
                client.config_set("maxmemory", 0)
            return site.taken_up(run, site.standing(run), set(flying))

        return disturb(site, size, rng, damage)


def broker_unready(folder: Path, size: Size, rng: random.Random) -> Found:
    """Redis answers READONLY, NOREPLICAS and MISCONF, in turn, to every write while refinements are in flight."""
    with open_site(folder) as site:
        start_workers(site, size)
        troubles = itertools.cycle(TROUBLES)

        def damage(run: str, flying: dict[str, int]) -> float:
            with redis.Redis.from_url(site.broker.url) as client, next(troubles)(client, site.broker.made.folder):
                time.sleep(size.outage)
            return site.taken_up(run, site.standing(run), set(flying))

        return disturb(site, size, rng, damage)


SCENARIOS = (
    Scenario(
        name="broker-killed",
        what="Redis killed (SIGKILL) and started again, AOF on",
        holds="the run ends, nothing in flight becomes a failure",
        work=broker_killed,
        full=Size(times=3, outage=10.0, between=8.0),
    ),
    Scenario(
        name="broker-paused",
        what="Redis paused (SIGSTOP)",
        holds="the same; no winner twice",
        work=broker_paused,
        full=Size(times=1, outage=30.0),
    ),
    Scenario(
        name="worker-cut-off",
        what="one worker cut off from the network",
        holds="the same; no winner twice",
        work=worker_cut_off,
        short=Size(workers=1),
        full=Size(times=1, outage=60.0, workers=1),
    ),
    Scenario(
        name="connections-dropped",
        what="Redis drops all connections, five times within three seconds",
        holds="workers go on; nothing in flight becomes a failure",
        work=connections_dropped,
        full=Size(times=3, between=5.0),
    ),
    Scenario(
        name="broker-full",
        what="Redis takes no more (maxmemory) in the middle of a run",
        holds="the run goes on when there is room again",
        work=broker_full,
        full=Size(times=2, outage=20.0, between=5.0),
    ),
    Scenario(
        name="broker-unready",
        what="Redis answers READONLY, NOREPLICAS or MISCONF to every write",
        holds="the same: it is waited for",
        work=broker_unready,
        short=Size(times=3, outage=1.0),
        full=Size(times=6, outage=20.0),
    ),
)
