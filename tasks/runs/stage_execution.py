"""One part of a run as a worker takes it up: what it needs from the store, its attempts, times and failures."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Sized
from contextlib import suppress

from pairing.errors import PairingError
from pairing.model.puzzle import Puzzle
from tasks.contracts.errors import BrokerError, RecordError
from tasks.contracts.run_request import Request, request_of
from tasks.puzzles.resolver import Puzzles
from tasks.runs.attempts import InterruptedTaskError, SupersededError, begin_attempt, is_last_attempt
from tasks.runs.time_slicing import TurnOverError
from tasks.store.run_store import Store

logger = logging.getLogger(__name__)


def check_blocks(found: Sized, puzzle: Puzzle, what: str) -> None:
    """Whether something that was read from the store has one entry a block.

    Raises:
        RecordError: it has not; the message begins with ``what``.
    """
    if len(found) != puzzle.blocks:
        raise RecordError(
            f"{what} in the store are of {len(found)} blocks, and the puzzle has {puzzle.blocks}: somebody else has"
            " changed it. Enqueue the run again"
        )


def load(store: Store, puzzles: Puzzles, run: str) -> tuple[Request, Puzzle]:
    """The run's request as it was accepted, and its puzzle.

    Raises:
        PairingError: the store has lost one of them.
    """
    record = store.record(run, "request")
    if record is None:
        raise PairingError(f"the run {run} is not in the store (any more); enqueue it again")
    request = request_of(record)
    return request, puzzles.fetched(store.backend, request.puzzle)


def run_stage(
    store: Store,
    run: str,
    stage: str,
    part: str,
    work: Callable[[str], None],
    *,
    attempt: str | None = None,
    progress: Callable[[], int] = lambda: 0,
) -> None:
    """Does one part's stage in an attempt of its own; whatever it raises becomes the part's failure.

    Keeps the times that it took. ``work`` is given the name of the attempt's owner. ``attempt`` is the part that
    attempts are counted for, where several seeds do the same; ``progress`` is where its checkpoint stands.

    Raises:
        MemoryError: it took too much memory, and may be tried again, where there is more.
    """
    wall, cpu = time.monotonic(), time.process_time()
    counted = f"{stage}.{attempt or part}"
    try:
        work(begin_attempt(store, run, counted, progress()))
    except TurnOverError:
        _add_times(store, run, f"{stage}.{part}", wall, cpu)
        raise
    except (BrokerError, InterruptedTaskError, SupersededError):
        raise  # nobody's failure: the task is done again
    except Exception as error:  # one method's failure must never cost the others their comparison
        if is_end_of_process(error):
            raise SystemExit from error
        unexpected = not isinstance(error, PairingError)
        detail = traceback.format_exc() if unexpected else ""
        text = f"{type(error).__name__}: {error}".removesuffix(": ") if unexpected else str(error)
        if isinstance(error, MemoryError):
            if not is_last_attempt(store, run, counted):
                raise
            text += "; a worker's process may have more with PAIRING_WORKER_MEMORY_BYTES, or on a larger host"
        logger.warning("%s failed: %s", stage, text, exc_info=unexpected or error.__cause__ is not None)
        store.put_part(run, "failure", part, {"stage": stage, "error": text, "traceback": detail})
    _add_times(store, run, f"{stage}.{part}", wall, cpu)
    store.count({f"stages.{stage}": 1})


def _add_times(store: Store, run: str, name: str, wall: float, cpu: float) -> None:
    """Adds the time since then, by both clocks, to that of earlier turns."""
    before = {"seconds": 0.0, "cpu": 0.0}
    with suppress(RecordError):  # somebody else has spoilt it, and it is only a time
        before = store.part(run, "times", name) or before
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    store.put_part(run, "times", name, {"seconds": before["seconds"] + wall, "cpu": before["cpu"] + cpu})


def is_end_of_process(error: BaseException | None) -> bool:
    """Whether an error is what compiled code makes of the exit that a worker tells its process to take."""
    return error is not None and (isinstance(error, SystemExit) or is_end_of_process(error.__cause__))


def should_skip(store: Store, run: str, method: str) -> bool:
    """Whether a method has failed already, or its run was cancelled or has ended without it."""
    failed = has_record(store, run, "failure", method)
    return failed or store.announced(run) == "cancelled" or store.record(run, "end") is not None


def has_record(store: Store, run: str, kind: str, part: str) -> bool:
    """Whether there is such a record. One that somebody else has spoilt is a failure of that part."""
    try:
        return store.part(run, kind, part) is not None
    except RecordError as error:
        store.put_part(run, "failure", part, {"stage": kind, "error": str(error), "traceback": ""})
        return True
