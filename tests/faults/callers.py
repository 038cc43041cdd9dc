"""A caller that is killed while it enqueues, and a store that is full when somebody enqueues."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import redis

from pairing.io.packed import pack_puzzle
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
    with open_site(folder) as site:
        start_workers(site, size)
        packets = enqueued(site, "counted")
        under = ""
        for number in sorted(rng.sample(range(1, packets + 1), min(size.times, packets))):
            under, run = under_way(site, size, under), f"killed-{number}"
            enqueued(site, run, number)
            found.times += 1
            if site.store.run_entry(run) is None:
                enqueued(site, run)
        long = {request.run for request in site.runs}
        listed = {entry["run"] for entry in site.store.run_entries()}
        for run in listed:
            site.wait_for_end(run)
            site.check_run(run, undisturbed(size.evaluations if run in long else SHORT))
        found.runs = len(listed)
        assert found.runs == found.times + 1 + len(long)
    return found


def enqueued(site: Site, run: str, last: int = 0) -> int:
    """Calls ``pairing enqueue`` through a proxy, and kills it before its packet number ``last``; how many it sent."""

    def before(number: int, caller: subprocess.Popen[str]) -> None:
        if number == last:
            caller.kill()
            caller.wait()
            raise OSError("the caller is gone")

    said, sent = through_proxy(site, run, 1000 + last, before)
    assert said.returncode == (-signal.SIGKILL if last else 0), said.stderr
    return sent


def through_proxy(
    site: Site, run: str, puzzle: int, before: Callable[[int, subprocess.Popen[str]], None]
) -> tuple[subprocess.CompletedProcess[str], int]:
    """Calls ``pairing enqueue``; what it said, and how many packets it sent, each with ``before`` called before it."""
    path = site.folder / f"{run}.safetensors"
    path.write_bytes(pack_puzzle(numbered(puzzle)))
    sent, callers, started = 0, [], threading.Event()

    def count() -> None:
        nonlocal sent
        started.wait()
        sent += 1
        before(sent, callers[0])

    with forwarding(site.broker.made.port, count) as proxy:
        through = site.broker.url.replace(f":{site.broker.made.port}/", f":{proxy.port}/")
        options = ["--methods", ",".join(METHODS), "--evaluations", str(SHORT), "--start", "greedy"]
        callers.append(
            subprocess.Popen(
                [
                    program(),
                    "enqueue",
                    path,
                    "--run",
                    run,
                    "--compare",
                    "--no-repair",
                    "--insert",
                    "each",
                    "--deadline",
                    "7200",
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env=site.environment | {"PAIRING_BROKER_URL": through},
                cwd=site.folder,
            )
        )
        started.set()
        _, errors = callers[0].communicate()
    return subprocess.CompletedProcess(callers[0].args, callers[0].returncode, stderr=errors), sent


def store_full(folder: Path, size: Size, rng: random.Random) -> Found:
    """Redis takes no more before the n-th packet of somebody who enqueues while a run is under way; later it does."""
    found = Found()
    with open_site(folder) as site, redis.Redis.from_url(site.broker.url) as client:
        start_workers(site, size)
        packets = enqueued(site, "counted")
        under = ""
        for number in (1, packets // 2):  # from the beginning; in the middle of it
            under, run = under_way(site, size, under), f"full-{number}"

            def fill(sent: int, _: object, number: int = number) -> None:
                if sent == number:
                    client.config_set("maxmemory", 1)

            said, _ = through_proxy(site, run, 1000 + number, fill)
            client.config_set("maxmemory", 0)
            assert said.returncode == 3, said.stderr
            assert "is full" in said.stderr
            assert "Traceback" not in said.stderr
            assert site.store.run_entry(run) is None
            assert site.store.record(run, "plan") is None
            found.times, found.said = found.times + 1, said.stderr.strip()
            began = time.monotonic()
            enqueued(site, run)
            site.wait_for_end(run)
            found.recovery.append(time.monotonic() - began)
            site.check_run(run, undisturbed(SHORT))
        for request in site.runs:
            site.wait_for_end(request.run)
            site.check_run(request.run, undisturbed(size.evaluations))
        found.runs = 2 + len(site.runs)
    return found


SCENARIOS = (
    Scenario(
        name="caller-killed",
        what="a caller killed (SIGKILL) before one of the packets that enqueue a run",
        holds="no half run: it ends by itself, or is not there and can be enqueued again",
        work=caller_killed,
        short=Size(processes=2),
        full=Size(times=1000, processes=2),
    ),
    Scenario(
        name="store-full",
        what="a store that is full when a run is enqueued",
        holds="a clear error, no half run; it works when there is room",
        work=store_full,
        short=Size(workers=1),
        full=Size(),
    ),
)
