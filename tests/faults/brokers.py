"""Damage to Redis and to the network before it."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import redis
from kombu import Connection
from kombu.pidbox import Mailbox

from tests.faults.processes import start_workers
from tests.faults.proxy import forwarding
from tests.faults.scenario import Found, Scenario, Size, Work, disturb, pause
from tests.faults.site import PATIENCE, SHORT, Site, open_site
from tests.faults.undisturbed import undisturbed
from tests.support.broker_troubles import TROUBLES, Trouble
from tests.support.fleet import wait_for

DROPS = 5
WITHIN_SECONDS = 2.5

Outage = Callable[[Site, float], None]
"""Does something to a site's Redis for so many seconds, after which it is well again."""


def kill(site: Site, seconds: float) -> None:
    """SIGKILL to Redis, which is started again on its append-only file."""
    site.broker.kill()
    time.sleep(seconds)
    site.broker.start()


def suspend(site: Site, seconds: float) -> None:
    """SIGSTOP to Redis: connections stay, and nothing is answered."""
    os.kill(site.broker.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(site.broker.pid, signal.SIGCONT)


def drop_connections(site: Site, seconds: float) -> None:
    """Redis drops every connection five times within three seconds; attempts that end so are not the tasks' fault."""
    with redis.Redis.from_url(site.broker.url) as client:
        for _ in range(DROPS):
            for kind in ("normal", "pubsub"):
                client.client_kill_filter(_type=kind, skipme=True)
            time.sleep(WITHIN_SECONDS / DROPS)


def fill(site: Site, seconds: float) -> None:
    """Redis takes no more (``maxmemory``), while the workers are asked something."""
    with redis.Redis.from_url(site.broker.url) as client, Connection(site.broker.url) as connection:
        mailbox = Mailbox("celery", type="fanout", accept=["json"], serializer="json")(connection)
        mailbox.reply_queue(connection.default_channel).declare()
        client.config_set("maxmemory", 1)
        question = {"method": "ping", "arguments": {}, "destination": None, "ticket": "asked"}
        reply_to = {"exchange": mailbox.reply_exchange.name, "routing_key": mailbox.oid}
        producer = connection.Producer()
        producer.publish(question | {"reply_to": reply_to}, exchange=mailbox.exchange, declare=[mailbox.exchange])
        time.sleep(seconds)
        client.config_set("maxmemory", 0)


def troubled(trouble: Trouble) -> Outage:
    """Redis answers READONLY, NOREPLICAS or MISCONF to every write."""

    def outage(site: Site, seconds: float) -> None:
        with redis.Redis.from_url(site.broker.url) as client, trouble(client, site.broker.made.folder):
            time.sleep(seconds)

    return outage


def outlived(*outages: Outage) -> Work:
    """Does these, in turn, to the Redis of a site that has refinements in flight."""

    def work(folder: Path, size: Size, rng: random.Random) -> Found:
        with open_site(folder) as site:
            start_workers(site, size)
            turns = itertools.cycle(outages)

            def damage(run: str, flying: dict[str, int]) -> float:
                next(turns)(site, size.outage)
                return site.taken_up(run, site.standing(run), set(flying))

            return disturb(site, size, rng, damage)

    return work


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


def messages_lost(folder: Path, size: Size, rng: random.Random) -> Found:
    """Redis gives all that waits to hosts that are gone in that moment: nobody has noted it, and nobody works on it."""
    with open_site(folder) as site, redis.Redis.from_url(site.broker.url) as client:
        start_workers(site, size)

        def waiting() -> list[bytes]:
            return [key for key in client.scan_iter("pairing.*", _type="list") if client.llen(key)]

        def damage(run: str, flying: dict[str, int]) -> float | None:
            queues = waiting()
            for queue in queues:
                client.delete(queue)
            began = time.monotonic()
            if not queues:
                return None
            wait_for("what was lost", lambda: waiting() or site.ended(run), PATIENCE)
            return time.monotonic() - began

        return disturb(site, size, rng, damage)


SCENARIOS = (
    Scenario(
        name="broker-killed",
        what="Redis killed (SIGKILL) and started again, AOF on",
        holds="the run ends, nothing in flight becomes a failure",
        work=outlived(kill),
        short=Size(workers=1),
        full=Size(times=3, outage=10.0, between=8.0),
    ),
    Scenario(
        name="broker-paused",
        what="Redis paused (SIGSTOP)",
        holds="the same; no winner twice",
        work=outlived(suspend),
        full=Size(times=1, outage=30.0),
    ),
    Scenario(
        name="messages-lost",
        what="Redis gives what waits in its queues to hosts that have just lost power",
        holds="the run is published again, and ends with the same solutions",
        work=messages_lost,
        short=Size(workers=1),
        full=Size(times=2, workers=1),
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
        work=outlived(drop_connections),
        short=Size(workers=1),
        full=Size(times=3, between=5.0),
    ),
    Scenario(
        name="broker-full",
        what="Redis takes no more (maxmemory) in the middle of a run",
        holds="the run goes on when there is room again",
        work=outlived(fill),
        full=Size(times=2, outage=90.0, between=5.0),
    ),
    Scenario(
        name="broker-unready",
        what="Redis answers READONLY, NOREPLICAS or MISCONF to every write",
        holds="the same: it is waited for",
        work=outlived(*map(troubled, TROUBLES)),
        full=Size(times=6, outage=20.0),
    ),
)
