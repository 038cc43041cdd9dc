"""Run a request on this machine: through an embedded fleet, or in this one process."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from pairing.errors import PairingError
from pairing.io.packed import pack_puzzle
from pairing.model.puzzle import Puzzle
from tasks.client.submit import rescue, send
from tasks.contracts.errors import RunTimeoutError
from tasks.contracts.run_request import Request
from tasks.embedded.fleet import EmbeddedFleet
from tasks.pool.location import PoolAddress
from tasks.puzzles.bundles import PACKED, ship
from tasks.runs.lifecycle import COMPARISON, register
from tasks.store.memory import Memory
from tasks.store.redis import Redis
from tasks.store.run_store import Store

logger = logging.getLogger(__name__)

GRACE_SECONDS = 15.0
"""How long after its deadline a run may take to compare what it has."""

POLL_SECONDS = 0.1


class Observer(Protocol):
    """Whoever is shown how far a run is."""

    def show(self, store: Store, *, last: bool = False) -> None:
        """Looks at the run's records; ``last``: they change no more."""


def run_inline(puzzle: Puzzle, request: Request, address: PoolAddress, observer: Observer) -> Store:
    """Does every stage in this process, one after the other; the store that holds the run's records.

    Raises:
        PairingError: the pool's address is wrong.
    """
    from pairing.analysis.activation_choice import with_activation
    from tasks.puzzles.resolver import Puzzles, remember
    from tasks.runs import stages
    from tasks.runs.comparison import compare
    from tasks.runs.planning import keep, plan
    from tasks.runs.time_slicing import TurnOverError

    store, run = Store(Memory()), request.run
    puzzles = Puzzles(cache_dir=Path(), cache_bytes=0)  # never asked: this process remembers its puzzle
    with _shown(observer, store):
        puzzle = with_activation(puzzle, (request.deadline_at - time.time()) / 2)
        remember(puzzle.digest, puzzle)
        request = keep(store, request, puzzle.digest)
        plan(store, address, request, puzzle)
        for method in request.methods:
            _attempted(stages.similarity, store, puzzles, run, method, request.first_seed)
            _attempted(stages.assignment, store, puzzles, run, method, request.first_seed)
        waiting = deque(sorted(request.parts, key=lambda part: not stages.is_confident(store, run, part[0])))
        while waiting:
            part = waiting.popleft()
            try:
                _attempted(stages.refinement, store, puzzles, run, *part, has_backlog=lambda: bool(waiting))
            except TurnOverError:
                waiting.append(part)
        compare(store, puzzles, address, run)
    return store


def _attempted(stage: Callable[..., None], *arguments: Any, **options: Any) -> None:
    """Does a stage, again where it took too much memory, until it is done or has failed."""
    while True:
        try:
            return stage(*arguments, **options)
        except MemoryError:
            logger.warning("%s took too much memory", stage.__name__)


def run_embedded(fleet: EmbeddedFleet, puzzle: Puzzle, request: Request, observer: Observer) -> Store:
    """Enqueues the run on an embedded fleet and waits for its end; the run's records. The fleet is gone then.

    Raises:
        BrokerError: the broker or a worker died, or did not come up.
        RunTimeoutError: the run did not end by its deadline and could not be compared either.
    """
    try:
        store = Store(Redis(fleet.broker_url))
        bundle = ship(store.backend, {PACKED: pack_puzzle(puzzle)}, puzzle.name)
        request = request.model_copy(update={"puzzle": bundle})
        register(store, request)
        send(fleet.broker_url, "", request)
        rescued = False
        while (ended := store.record(request.run, "end")) is None:
            fleet.check()
            late = time.time() - request.deadline_at
            # The chord did not fire in time: compare what there is, if anything.
            if late > 0 and not rescued and store.record(request.run, "plan") is not None:
                rescued = True
                rescue(fleet.broker_url, "", request.run)
            if late > GRACE_SECONDS and store.part(request.run, "attempt", COMPARISON) is None:
                raise RunTimeoutError(
                    f"run {request.run} did not end by its deadline; enqueue it with a longer --deadline"
                )
            observer.show(store)
            time.sleep(POLL_SECONDS)
        if store.record(request.run, "summary") is None:
            raise PairingError(ended["error"])
        observer.show(store, last=True)
        return _copied(store, request.run)
    finally:
        fleet.end()


def _copied(store: Store, run: str) -> Store:
    """The run's results in this process's memory, since the broker ends now."""
    kept = Store(Memory())
    for name in ("summary", "outcome"):
        kept.put_record(run, name, store.record(run, name) or {})
    for part, record in store.parts(run, "refinement").items():
        kept.put_part(run, "refinement", part, record)
    kept.put_matrices(run, store.matrices(run) or b"")
    return kept


@contextmanager
def _shown(observer: Observer, store: Store) -> Iterator[None]:
    """Shows a run from a thread while this one works on it."""
    ended = threading.Event()

    def loop() -> None:
        while not ended.wait(POLL_SECONDS):
            observer.show(store)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        observer.show(store, last=True)
