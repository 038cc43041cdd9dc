"""A place for faults: a broker that can be killed, workers that can, runs, and what an undisturbed run gives."""

from __future__ import annotations

import os
import signal
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import redis

from pairing.io.packed import pack_puzzle
from pairing.model.puzzle import Puzzle
from tasks.client.submit import send
from tasks.contracts.run_request import Request, new_run_id, request_of
from tasks.puzzles.bundles import PACKED, ship
from tasks.runs.attempts import MOST_ATTEMPTS
from tasks.runs.lifecycle import register
from tasks.store.redis import Redis
from tasks.store.run_store import Store
from tests.support.fleet import clean_environment, is_alive, third_party_methods, variant, wait_for
from tests.support.servers import RedisMade, made_redis

METHODS = ("cosine", "transpose")
"""They get no pair of the puzzle right, so that their refinements use all their evaluations."""

SHORT = 200
"""Evaluations of a refinement that nothing is done to, beside those that something is done to."""

ROWS = 300
"""Of the demonstration puzzle: an evaluation takes about a millisecond."""

PATIENCE = 600.0
"""Seconds that anything may take on a busy machine before it counts as hanging."""

Solutions = dict[str, tuple[Any, ...]]


@dataclass
class Worker:
    """A worker as a service: ``pairing worker`` in a session of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pids(self) -> set[int]:
        """Its own process and its children."""
        try:
            return {self.process.pid, *(child.pid for child in psutil.Process(self.process.pid).children())}
        except psutil.NoSuchProcess:
            return set()

    def kill(self) -> None:
        """All of it at once, as when its host loses power."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class Broker:
    """A Redis that goes down hard and comes up again on its data."""

    made: RedisMade
    running: ExitStack = field(default_factory=ExitStack)
    url: str = field(default="", repr=False)
    pid: int = 0

    def start(self) -> None:
        self.url = self.running.enter_context(self.made.running())
        with redis.Redis.from_url(self.url) as client:
            self.pid = int(client.info("server")["process_id"])

    def kill(self) -> None:
        """SIGKILL, as when its host loses power but keeps its disk."""
        os.kill(self.pid, signal.SIGKILL)
        self.running.close()


@dataclass
class Site:
    """A broker, workers on one host, and its runs."""

    folder: Path
    broker: Broker
    settings: dict[str, str]
    workers: list[Worker] = field(default_factory=list)
    runs: list[Request] = field(default_factory=list)
    started: int = 0

    @cached_property
    def store(self) -> Store:
        """The fleet's store, patient: the broker may be away."""
        return Store(Redis(self.broker.url, patience=PATIENCE))

    @property
    def environment(self) -> dict[str, str]:
        """Of workers and callers."""
        return clean_environment(PAIRING_BROKER_URL=self.broker.url, **self.settings)

    def start_worker(self, *arguments: str, processes: int = 1, **changes: str) -> Worker:
        """A worker more, ready."""
        log = self.folder / f"worker-{self.started}.log"
        with log.open("wb") as output:
            name = ("--name", f"w{self.started}", "--concurrency", str(processes))
            process = subprocess.Popen(
                [program(), "worker", *name, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment | changes,
                cwd=self.folder,
                start_new_session=True,
            )
        worker = Worker(process, log)
        self.started += 1
        self.workers.append(worker)
        wait_for("the worker", lambda: b" ready." in log.read_bytes() or process.poll() is not None, PATIENCE)
        assert process.poll() is None, log.read_text()
        return worker

    def call(self, *arguments: object, **changes: str) -> subprocess.CompletedProcess[str]:
        """The command ``pairing`` as a caller on this host has it."""
        return subprocess.run(
            [program(), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment | changes,
            check=False,
        )

    def enqueue(self, evaluations: int, *, puzzle: Puzzle | None = None, **options: Any) -> Request:
        """A run, on a puzzle (and so a pool) of its own, whose refinements only their evaluations end."""
        puzzle = puzzle or numbered(len(self.runs))
        bundle = ship(self.store.backend, {PACKED: pack_puzzle(puzzle)}, "faults")
        asked = {"methods": list(METHODS), "start": "greedy", "repair": False, "compare": True, "deadline": 7200.0}
        asked |= {"run": new_run_id(), "puzzle": bundle, "evaluations": evaluations, "insert": "each", **options}
        request = request_of(asked)
        send(self.broker.url, "", request)
        register(self.store, request)
        self.runs.append(request)
        return request

    def ended(self, run: str) -> dict[str, Any] | None:
        """How a run ended, ``None`` while it has not."""
        return self.store.record(run, "end")

    def wait_for_end(self, run: str, seconds: float = PATIENCE) -> dict[str, Any]:
        return wait_for(f"the end of {run}", lambda: self.ended(run), seconds)

    def in_flight(self, run: str) -> dict[str, int]:
        """Refinements under way that have saved or shown something, and may be lost: part → process.

        A third loss without progress is the method's end, and so not what is undisturbed elsewhere.
        """
        refined, progress = self.store.parts(run, "refinement"), self.store.parts(run, "progress")
        found = {}
        for name, attempt in self.store.parts(run, "attempt").items():
            stage, _, part = name.partition(".")
            pid = int(attempt["owner"].split(":")[1])
            may_be_lost = attempt["count"] < MOST_ATTEMPTS
            if stage == "refinement" and may_be_lost and part in progress and part not in refined and alive(pid):
                found[part] = pid
        return found

    def standing(self, run: str) -> dict[str, tuple[Any, ...]]:
        """How far every refinement is; changes as long as it is worked on."""
        progress = self.store.parts(run, "progress")
        refined = self.store.parts(run, "refinement")
        attempts = self.store.parts(run, "attempt")
        parts = [name.partition(".")[2] for name in attempts if name.startswith("refinement.")]
        return {p: (attempts[f"refinement.{p}"]["owner"], progress.get(p), p in refined) for p in parts}

    def owners(self, run: str, parts: set[str]) -> dict[str, str]:
        """Whose attempt at each of some refinements of a run is the newest."""
        attempts = self.store.parts(run, "attempt")
        return {part: attempts[f"refinement.{part}"]["owner"] for part in parts}

    def unfinished(self, run: str, parts: set[str]) -> set[str]:
        """Those of some refinements of a run that have no result."""
        return parts - set(self.store.parts(run, "refinement"))

    def begun_again(self, run: str, owners: dict[str, str]) -> float:
        """Waits until somebody else has begun each of those refinements; the seconds that it took.

        It is the proof that they were in flight when their process ended, too.
        """
        began = time.monotonic()

        def look() -> bool:
            now = self.owners(run, set(owners))
            return all(now[part] != owner for part, owner in owners.items())

        wait_for(f"another attempt at {', '.join(sorted(owners))}", look, PATIENCE)
        return time.monotonic() - began

    def taken_up(self, run: str, before: dict[str, tuple[Any, ...]], parts: set[str]) -> float:
        """Waits until those parts of a run are worked on again, or done; the seconds that it took."""
        began = time.monotonic()

        def look() -> bool:
            now = self.standing(run)
            return self.ended(run) is not None or all(now[part] != before[part] for part in parts)

        wait_for(f"work on {', '.join(sorted(parts))}", look, PATIENCE)
        return time.monotonic() - began

    def solutions(self, run: str) -> Solutions:
        """Every method's solution: all that is the same whatever was killed on the way."""
        refined = self.store.parts(run, "refinement")
        return {
            part: (
                record["evaluations"],
                record["stopped"],
                record["start_mse"],
                *(record["solution"][name] for name in ("full_mse", "inp_sigma", "out_sigma", "hash")),
            )
            for part, record in sorted(refined.items())
        }

    def check_run(self, run: str, expected: Solutions) -> None:
        """A run has ended as if nothing had been, and its pool has every winner exactly once."""
        ended = self.ended(run)
        assert ended is not None
        assert ended["end"] == "succeeded", (ended, self.store.parts(run, "failure"))
        failed = self.store.parts(run, "failure")
        assert not failed, failed
        assert self.solutions(run) == expected
        assert self.pool_rows(run) == sorted({(tuple(s[4]), tuple(s[5])) for s in expected.values()})

    def pool_rows(self, run: str) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """The sigmas of all rows in the SQLite pool of a run's puzzle, each as often as it is there."""
        import json
        import sqlite3

        plan = self.store.record(run, "plan")
        assert plan is not None
        name = plan["puzzle"].removeprefix("sha256:")[:16]
        path = Path(self.settings["PAIRING_DATA_DIR"]) / "pools" / f"{name}.sqlite"
        with sqlite3.connect(path) as connection:
            rows = connection.execute("SELECT inp_sigma, out_sigma FROM js_puzzle_pool").fetchall()
        connection.close()
        return sorted((tuple(json.loads(inp)), tuple(json.loads(out))) for inp, out in rows)


@contextmanager
def open_site(folder: Path, **settings: str) -> Iterator[Site]:
    """A broker of its own and no workers yet, at default settings; when the block ends, nothing of it is left."""
    folder.mkdir(parents=True, exist_ok=True)
    own = {
        "PAIRING_DATA_DIR": str(folder / "data"),
        "PAIRING_CACHE_DIR": str(folder / "cache"),
        "PYTHONPATH": str(third_party_methods(folder)),
    }
    with made_redis() as made:
        broker = Broker(made)
        broker.start()
        site = Site(folder, broker, own | settings)
        try:
            yield site
        finally:
            for worker in site.workers:
                worker.kill()
            with suppress(ProcessLookupError):
                os.kill(broker.pid, signal.SIGCONT)  # a paused one does not end
            broker.running.close()


def program() -> str:
    """The command ``pairing`` of this environment."""
    return str(Path(sysconfig.get_path("scripts")) / "pairing")


def numbered(number: int) -> Puzzle:
    """The puzzle of all scenarios: with every number another digest, and so another pool, but the same solutions."""
    puzzle = variant(ROWS)
    unused = np.full_like(puzzle.target_values, float(number))
    return replace(puzzle, targets={**puzzle.targets, "unused": unused})


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return is_alive(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False
