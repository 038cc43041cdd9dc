"""A caller that is killed while it enqueues, and a store that is full when somebody enqueues."""

from __future__ import annotations

import itertools
import random
import subprocess
import time
from pathlib import Path

import redis

from tests.faults.processes import start_workers
from tests.faults.proxy import forwarding
from tests.faults.scenario import Found, Scenario, Size, under_way
from tests.faults.site import METHODS, SHORT, Site, numbered, open_site, program
from tests.faults.undisturbed import undisturbed


def caller_killed(folder: Path, size: Size, rng: random.Random) -> Found:
    """SIGKILL to ``pairing enqueue`` before the n-th packet that it sends to Redis, for ``times`` n of all.

    A run that is listed then comes to its end by itself; the others are enqueued again under the same name. Meanwhile
    other runs are under way, which must not notice.
    """
    found = Found()
    with open_site(folder, visibility=size.visibility) as site:
        start_workers(site, size)
        packets = enqueued(site, "counted", None)
        under = ""
        for number in sorted(rng.sample(range(1, packets + 1), min(size.times, packets))):
            under, run = under_way(site, size, under), f"killed-{number}"
            enqueued(site, run, number)
            found.times += 1
            if site.store.run_entry(run) is None:
                enqueued(site, run, None)
        long = {request.run for request in site.runs}
        listed = {entry["run"] for entry in site.store.run_entries()}
        for run in listed:
            site.wait_for_end(run)
            site.check_run(run, undisturbed(size.evaluations if run in long else SHORT))
        found.runs = len(listed)
        assert found.runs == found.times + 1 + len(long)
    return found


def enqueued(site: Site, run: str, last: int | None) -> int:
    """Calls ``pairing enqueue`` through a proxy, and kills it before its packet number ``last``; how many it sent."""
    path = site.folder / f"{run}.safetensors"
    path.write_bytes(numbered(1000 + (last or 0)).pack())
    sent, callers = itertools.count(1), []
    count = 0

    def before() -> None:
        nonlocal count
        count = next(sent)
        if count == last:
            callers[0].kill()
            callers[0].wait()
            raise OSError("the caller is gone")

    with forwarding(site.broker.made.port, before) as proxy:
        proxy.open.clear()
        through = site.broker.url.replace(f":{site.broker.made.port}/", f":{proxy.port}/")
        options = ["--methods", ",".join(METHODS), "--evaluations", str(SHORT), "--start", "greedy"]
        callers.append(
            subprocess.Popen(
                [program(), "enqueue", path, "--run", run, "--compare", "--no-repair", "--deadline", "7200", *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=site.environment | {"PAIRING_BROKER_URL": through},
                cwd=site.folder,
            )
        )
        proxy.open.set()
        _, errors = callers[0].communicate()
        assert callers[0].returncode == (0 if last is None else -9), errors
    return count


def store_full(folder: Path, size: Size, rng: random.Random) -> Found:
    """Somebody enqueues while Redis takes no more and a run is under way, and again when there is room."""
    found, expected = Found(), undisturbed(size.evaluations)
    with open_site(folder, visibility=size.visibility) as site, redis.Redis.from_url(site.broker.url) as client:
        start_workers(site, size)
        path = folder / "puzzle.safetensors"
        path.write_bytes(numbered(1000).pack())
        options = ["--methods", ",".join(METHODS), "--evaluations", size.evaluations, "--start", "greedy"]
        call = ["enqueue", path, "--run", "asked", "--compare", "--no-repair", *options]
        under = ""
        for free in (None, 20_000):  # none at all; enough to begin with
            under = under_way(site, size, under)
            client.config_set("maxmemory", client.info("memory")["used_memory"] + free if free else 1)
            said = site.call(*call)
            client.config_set("maxmemory", 0)
            assert said.returncode == 3, said.stderr
            assert "is full" in said.stderr
            assert "Traceback" not in said.stderr
            assert {entry["run"] for entry in site.store.run_entries()} == {request.run for request in site.runs}
            assert site.store.record("asked", "plan") is None
            found.times, found.said = found.times + 1, said.stderr.strip()
        began = time.monotonic()
        said = site.call(*call)
        assert said.returncode == 0, said.stderr
        for run in ("asked", *(request.run for request in site.runs)):
            site.wait_for_end(run)
            site.check_run(run, expected)
        found.runs, found.recovery = 1 + len(site.runs), [time.monotonic() - began]
    return found


SCENARIOS = (
    Scenario(
        name="caller-killed",
        what="a caller killed (SIGKILL) before one of the packets that enqueue a run",
        holds="no half run: it ends by itself, or is not there and can be enqueued again",
        work=caller_killed,
        short=Size(times=3, processes=2),
        full=Size(times=1000, visibility=10, processes=2),
    ),
    Scenario(
        name="store-full",
        what="a store that is full when a run is enqueued",
        holds="a clear error, no half run; it works when there is room",
        work=store_full,
        full=Size(visibility=10),
    ),
)
