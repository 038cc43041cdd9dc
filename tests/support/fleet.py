"""Real workers on a real broker, the command as a subprocess, and methods of another package for both."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import psutil
import redis
from celery import Celery

from pairing import load_puzzle
from pairing.io.packed import pack_puzzle
from pairing.model.puzzle import Puzzle
from tasks.contracts.run_request import Request, new_run_id, request_of
from tasks.puzzles.bundles import PACKED, ship
from tasks.store.redis import Redis
from tasks.store.run_store import Store
from tests.support import warm
from tests.support.paths import ROOT

DEMO = ROOT / "examples" / "demo-puzzle"
LIMIT = 60.0
"""Seconds in which everything has to be gone, on a busy machine too."""

Found = TypeVar("Found")

_METHODS = '''\
"""Pairing methods that came with another package."""

import ctypes
import itertools
import json
import os
import signal
import time
from collections import deque
from pathlib import Path

import numpy as np

from pairing.signals import weights


def raises(puzzle):
    """Never gives anything."""
    raise RuntimeError("as asked")


def wrong_shape(puzzle):
    """Gives one row too few."""
    return weights.trace(puzzle)[:-1]


def kills_worker(puzzle):
    """Takes its process with it."""
    os.kill(os.getpid(), signal.SIGKILL)


def crashes(puzzle):
    """Reads where there is nothing."""
    ctypes.string_at(0)


def hangs(puzzle):
    """Stays inside one C call for ever, asleep, holding the interpreter's lock all the while."""
    deque(map(ctypes.PyDLL(None).sleep, itertools.repeat(1000)), maxlen=0)


def takes_memory(puzzle):
    """Asks for two gigabytes."""
    return weights.trace(puzzle) + np.zeros(2**28)[0]


def at_the_gate(puzzle):
    """The pairs that the test tells it, as soon as it does."""
    gate = Path(os.environ["THIRD_PARTY_GATE"])
    while not gate.exists():
        time.sleep(0.01)
    return np.eye(puzzle.blocks)[json.loads(gate.read_text())]
'''
THIRD_PARTY = ("raises", "wrong_shape", "kills_worker", "crashes", "hangs", "takes_memory", "at_the_gate")
"""Names of the methods that `third_party_methods` offers."""


def third_party_methods(folder: Path) -> Path:
    """Writes a package with methods of its own as pip would install it; the folder to put on ``PYTHONPATH``."""
    package = folder / "third-party"
    metadata = package / "third_party_methods-1.0.dist-info"
    metadata.mkdir(parents=True)
    (package / "third_party_methods.py").write_text(_METHODS, encoding="utf-8")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party-methods\nVersion: 1.0\n")
    points = "".join(f"{name} = third_party_methods:{name}\n" for name in THIRD_PARTY)
    (metadata / "entry_points.txt").write_text(f"[pairing.signals]\n{points}")
    return package


def variant(rows: int) -> Puzzle:
    """The demonstration puzzle on its first rows: the same answer, but another digest, and so a pool of its own."""
    puzzle = load_puzzle(DEMO)
    targets = {name: values[:rows] for name, values in puzzle.targets.items()}
    return replace(puzzle, rows_in=puzzle.rows_in[:rows], targets=targets)


def clean_environment(**changes: str) -> dict[str, str]:
    """This process's environment without what steers the fleet, and with ``changes``."""
    steering = ("PAIRING_", "CHEROKEE_", "CELERY_", "PYTHONPATH", "PYTHONSAFEPATH")
    return {name: value for name, value in os.environ.items() if not name.startswith(steering)} | changes


def wait_for(what: str, look: Callable[[], Found | None], seconds: float = 60.0) -> Found:
    """Looks until there is something to see: what it is. Fails when ``seconds`` have passed."""
    ends = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < ends, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.05)


# --- workers


@dataclass
class Fleet:
    """A broker with one worker of two prefork children, and everything that Flower would see."""

    url: str = field(repr=False)
    prefix: str
    data_dir: Path
    gate: Path
    worker: subprocess.Popen[bytes]
    log: Path
    app: Celery
    store: Store
    events: list[dict[str, Any]]

    def enqueue(self, puzzle: Puzzle, methods: list[str], **options: Any) -> Request:
        """Puts a run into the store and its first task into the queue, as another program would."""
        bundle = ship(self.store.backend, {PACKED: pack_puzzle(puzzle)}, "test", most_bytes=2**30, quota=2**40)
        request = request_of({"run": new_run_id(), **options, "methods": methods, "puzzle": bundle})
        self.send(request)
        return request

    def send(self, request: Request) -> None:
        """Enqueues a run whose puzzle is in the store."""
        arguments = request.model_dump(exclude={"run"})
        self.app.send_task("pairing.run", kwargs=arguments, task_id=request.run, queue="pairing.pool")

    def summary(self, run: str, seconds: float = 60.0) -> dict[str, Any]:
        """The run's summary, waited for."""

        def look() -> dict[str, Any] | None:
            assert self.worker.poll() is None, self.log.read_text()
            return self.store.record(run, "summary")

        return wait_for(f"the summary of {run}", look, seconds)

    def happened(self, kind: str, task: str) -> list[dict[str, Any]]:
        """The events of one kind that a task has sent so far."""
        return [event for event in list(self.events) if event["type"] == kind and event.get("uuid") == task]

    def wait_until_succeeded(self, task: str, seconds: float = 60.0) -> None:
        """Waits until a task has said that it succeeded: by then it has said everything else."""
        wait_for(f"the success of {task}", lambda: self.happened("task-succeeded", task), seconds)

    def open_gate(self, pairs: Iterable[int]) -> None:
        """Lets the method ``at_the_gate`` answer with these pairs."""
        unseen = self.gate.with_suffix(".new")
        unseen.write_text(json.dumps([int(pair) for pair in pairs]), encoding="utf-8")
        unseen.replace(self.gate)

    def received(self, run: str) -> dict[str, dict[str, Any]]:
        """Of every task of a run that a worker took so far: its event, by its id."""
        mine = [e for e in list(self.events) if e["type"] == "task-received" and e["uuid"].startswith(run)]
        return {event["uuid"]: event for event in mine}


@contextmanager
def running_fleet(
    url: str, folder: Path, roots: Path | None = None, *, third_party: bool = True, **changes: str
) -> Iterator[Fleet]:
    """A worker for ``python -m celery -A tasks`` on the broker at ``url``, behind a key prefix of its own.

    It knows the methods of `third_party_methods` unless told not to, and takes puzzles by their paths from below
    ``roots``. ``changes`` are laid over its environment. The block begins when it is ready.
    """
    prefix = f"test-{secrets.token_hex(6)}:"
    environment = clean_environment(
        PAIRING_BROKER_URL=url,
        PAIRING_KEY_PREFIX=prefix,
        PAIRING_DATA_DIR=str(folder / "data"),
        PAIRING_CACHE_DIR=str(folder / "cache"),
        PYTHONPATH=str(third_party_methods(folder)) if third_party else "",
        PAIRING_PUZZLE_ROOTS=str(roots or ""),
        THIRD_PARTY_GATE=str(folder / "gate"),
    )
    environment |= changes
    arguments = ["--pool=prefork", "--concurrency=2", "--loglevel=INFO", "--without-gossip", "--without-mingle"]
    log = folder / "worker.log"
    app = Celery("tests", broker=url, backend=url, set_as_current=False)
    app.conf.update(
        broker_transport_options={"global_keyprefix": prefix},
        result_backend_transport_options={"global_keyprefix": prefix},
    )
    with _captured(app) as events, log.open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "tasks", "worker", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=ROOT,
            start_new_session=True,
        )
        store = Store(Redis(url, prefix))
        fleet = Fleet(url, prefix, folder / "data", folder / "gate", worker, log, app, store, events)
        try:
            wait_for("the worker", lambda: b" ready." in log.read_bytes() or worker.poll() is not None)
            assert worker.poll() is None, log.read_text()
            yield fleet
        finally:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
            app.close()
            with redis.Redis.from_url(url) as client:
                for key in client.scan_iter(f"{prefix}*"):
                    client.delete(key)


@contextmanager
def _captured(app: Celery) -> Iterator[list[dict[str, Any]]]:
    """Everything that workers say of themselves, in a list that grows; from the start of the block on."""
    events: list[dict[str, Any]] = []
    subscribed, ended = threading.Event(), threading.Event()

    def consume() -> None:
        with app.connection_for_read() as first:
            receiver = app.events.Receiver(first, handlers={"*": events.append})
            with receiver.consumer_context(wakeup=False) as (connection, _channel, _consumers):
                while not ended.is_set():
                    with suppress(TimeoutError):  # the first look makes the subscription
                        connection.drain_events(timeout=0.2)
                    subscribed.set()

    thread = threading.Thread(target=consume, daemon=True)
    thread.start()
    assert subscribed.wait(30)
    try:
        yield events
    finally:
        ended.set()
        thread.join()


# --- the command


@dataclass
class Command:
    """The command ``pairing`` as a newcomer has it, in a working directory and with a data folder of its own."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    fresh: bool = False
    """Whether every call imports for itself; what is called from another network has to."""

    def __post_init__(self) -> None:
        """Keeps it from the user's own data."""
        self.environment = (
            clean_environment(PAIRING_DATA_DIR=str(self.data_dir), PAIRING_CACHE_DIR=str(self.folder / "cache"))
            | self.environment
        )

    @property
    def data_dir(self) -> Path:
        """Where its pools and its spool are."""
        return self.folder / "data"

    def start(self, *arguments: object, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Starts it in a session of its own, both outputs piped."""
        return subprocess.Popen(
            [str(Path(sysconfig.get_path("scripts")) / "pairing"), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={**self.environment, **(environment or {})},
            start_new_session=True,  # its own foreground group, to which a Ctrl-C can be sent
        )

    def __call__(self, *arguments: object, environment: Mapping[str, str] | None = None) -> Ended:
        """Runs it to its end, in a process that has imported already where that makes no difference."""
        whole = {**self.environment, **(environment or {})}
        if not self.fresh and warm.can_be_warm(whole):
            return Ended(*warm.call([*map(str, arguments)], self.folder, whole))
        with self.start(*arguments, environment=environment) as process:
            try:
                output, errors = process.communicate(timeout=120)
            finally:
                process.kill()
        return Ended(process.returncode, output, errors)


@dataclass
class Ended:
    """What a command said, and its exit status."""

    status: int
    output: str
    errors: str

    @property
    def json(self) -> Any:
        """The one JSON value that the standard output is."""
        lines = self.output.splitlines()
        assert len(lines) == 1, (self.output, self.errors)
        return json.loads(lines[0], parse_constant=_no_number)


def _no_number(constant: str) -> float:
    raise AssertionError(f"{constant} is not JSON")


def is_alive(process: psutil.Process) -> bool:
    """A zombie is not: the machine's init may be slow to collect it, or a container have none."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def descendants(pid: int) -> list[psutil.Process]:
    """All processes below one; none if it has ended."""
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def end_all(processes: list[psutil.Process]) -> list[psutil.Process]:
    """The processes that do not end by themselves in time; they are killed, to spare the machine."""
    _, left = psutil.wait_procs(processes, timeout=LIMIT)
    alive = [process for process in left if is_alive(process)]
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return alive
