"""Run a request on this machine: through an embedded fleet, or in this one process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from pairing.errors import PairingError
from pairing.puzzle import Puzzle
from tasks.address import PoolAddress
from tasks.display import Display
from tasks.errors import RunTimeoutError
from tasks.request import Request
from tasks.store import Memory, Redis, Store

GRACE_SECONDS = 15.0
"""How long after its deadline a run may take to compare what it has."""

POLL_SECONDS = 0.1


def run_inline(puzzle: Puzzle, request: Request, address: PoolAddress, display: Display) -> Store:
    """Does every stage in this process, one after the other; the store that holds the run's records.

    Raises:
        PairingError: the pool's address is wrong.
    """
    from tasks import stages
    from tasks.comparison import compare
    from tasks.planning import plan

    store, run = Store(Memory()), request.run
    _put(store, puzzle, request)
    with _shown(display, store):
        plan(store, address, run)
        for method in request.methods:
            stages.similarity(store, run, method)
            stages.assignment(store, run, method)
        for part in request.parts:
            stages.refinement(store, run, *part)
        compare(store, address, run)
    return store


def run_embedded(
    puzzle: Puzzle, request: Request, workers: int, environment: Mapping[str, str], display: Display
) -> Store:
    """Enqueues the run on an embedded fleet of this command's own and waits for its end; the run's records.

    ``environment`` holds the workers' settings. When this returns or raises, the fleet is gone.

    Raises:
        BrokerError: the broker or a worker died.
        RunTimeoutError: the run did not end by its deadline and could not be compared either.
    """
    from celery import Celery

    from tasks.local import embedded_fleet

    # The broker is this run's alone: a prefix that is set for another one would part its workers from us.
    with ExitStack() as stack:
        fleet = stack.enter_context(embedded_fleet(workers, {**environment, "PAIRING_KEY_PREFIX": ""}))
        store = Store(Redis(fleet.broker_url))
        _put(store, puzzle, request)
        producer = Celery("pairing-producer", set_as_current=False)
        # By a connection of our own: CELERY_BROKER_URL in a user's environment overrules what an app is told.
        connection = stack.enter_context(producer.connection_for_write(fleet.broker_url))
        send = {"queue": "pairing.pool", "ignore_result": True, "connection": connection}
        producer.send_task("pairing.run", args=[request.run], task_id=request.run, **send)
        rescued = False
        while store.record(request.run, "summary") is None:
            fleet.check()
            failed = store.record(request.run, "failed")
            if failed is not None:
                raise PairingError(failed["error"])
            late = time.time() - request.deadline_at
            if late > 0 and not rescued:  # the chord did not fire in time: compare what there is
                rescued = True
                producer.send_task("pairing.comparison", args=[request.run], **send)
            if late > GRACE_SECONDS:
                raise RunTimeoutError(
                    f"run {request.run} did not end by its deadline; enqueue it with a longer --deadline"
                )
            display.show(store)
            time.sleep(POLL_SECONDS)
        display.show(store, last=True)
        return _copied(store, request.run)


def _put(store: Store, puzzle: Puzzle, request: Request) -> None:
    bundle = store.put_puzzle(puzzle.pack())
    store.put_record(request.run, "request", {**request.model_dump(), "bundle": bundle})


def _copied(store: Store, run: str) -> Store:
    """The run's results in this process's memory, since the broker ends now."""
    kept = Store(Memory())
    for name in ("summary", "outcome"):
        kept.put_record(run, name, store.record(run, name) or {})
    kept.put_matrices(run, store.matrices(run) or b"")
    return kept


@contextmanager
def _shown(display: Display, store: Store) -> Iterator[None]:
    """Shows a run from a thread while this one works on it."""
    ended = threading.Event()

    def loop() -> None:
        while not ended.wait(POLL_SECONDS):
            display.show(store)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        display.show(store, last=True)
