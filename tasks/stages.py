"""The stages of a run: load from the store, call ``pairing``, store what came out. No Celery in here.

A method that fails leaves a ``failure`` record and nothing else; its later stages do nothing, and the other methods'
are not affected.
"""

from __future__ import annotations

import math
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, cast

import numpy as np

from pairing.assignment import agreement, assign
from pairing.errors import MethodError, PairingError
from pairing.network import Network, pairs_of
from pairing.puzzle import Array64, Indices, Puzzle
from pairing.refinement import Hooks, Limits, Progress, Reason, refine
from pairing.signals import similarity as similarity_of
from pairing.signals.evidence import confidence, log_odds
from tasks.attempts import InterruptedTaskError, SupersededError, begin_attempt, owns, take_back_attempt
from tasks.errors import BrokerError
from tasks.puzzles import Puzzles
from tasks.request import Request, request_of
from tasks.store import Store, part_name

RESERVE_SECONDS = 5.0
"""What is kept of a run's deadline for ending refinements and comparing them."""


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


def _done(
    store: Store,
    run: str,
    stage: str,
    part: str,
    work: Callable[[str], None],
    *,
    attempt: str | None = None,
    progress: int = 0,
) -> None:
    """Does one part's stage in an attempt of its own; whatever it raises becomes the part's failure.

    Keeps the times that it took. ``work`` is given the name of the attempt's owner. ``attempt`` is the part that
    attempts are counted for, where several seeds do the same.
    """
    wall, cpu = time.monotonic(), time.process_time()
    try:
        work(begin_attempt(store, run, f"{stage}.{attempt or part}", progress))
    except (BrokerError, InterruptedTaskError, SupersededError):
        raise  # nobody's failure: the task is done again
    except Exception as error:  # one method's failure must never cost the others their comparison
        if _is_end_of_process(error):
            raise SystemExit from error
        unexpected = not isinstance(error, PairingError)
        detail = traceback.format_exc() if unexpected else ""
        text = f"{type(error).__name__}: {error}" if unexpected else str(error)
        if isinstance(error, MemoryError):
            text += "; a worker's process may have more with PAIRING_WORKER_MEMORY_BYTES, or on a larger host"
        store.put_part(run, "failure", part, {"stage": stage, "error": text, "traceback": detail})
    times = {"seconds": time.monotonic() - wall, "cpu": time.process_time() - cpu}
    store.put_part(run, "times", f"{stage}.{part}", times)


def _is_end_of_process(error: BaseException | None) -> bool:
    """Whether an error is what compiled code makes of the exit that a worker tells its process to take."""
    return error is not None and (isinstance(error, SystemExit) or _is_end_of_process(error.__cause__))


def _needless(store: Store, run: str, method: str) -> bool:
    """Whether a method has failed already, or its run was cancelled or has ended without it."""
    failed = store.part(run, "failure", method) is not None
    return failed or store.announced(run) == "cancelled" or store.record(run, "end") is not None


def similarity(store: Store, puzzles: Puzzles, run: str, method: str, seed: int) -> None:
    """Computes a method's similarity matrix, unless the store has it already."""
    if not _needless(store, run, method):
        attempt = part_name(method, seed)
        _done(store, run, "similarity", method, lambda _: _similarity(store, puzzles, run, method), attempt=attempt)


def _similarity(store: Store, puzzles: Puzzles, run: str, method: str) -> None:
    request, puzzle = load(store, puzzles, run)
    if store.similarity(request.puzzle, method) is None:
        store.put_similarity(request.puzzle, method, similarity_of(puzzle, method))


def assignment(store: Store, puzzles: Puzzles, run: str, method: str, seed: int) -> None:
    """Pairs the pieces by a method's similarities, and says how that looks beside the pool's best."""
    if not _needless(store, run, method) and store.part(run, "assignment", method) is None:
        attempt = part_name(method, seed)
        _done(store, run, "assignment", method, lambda _: _assignment(store, puzzles, run, method), attempt=attempt)


def _assignment(store: Store, puzzles: Puzzles, run: str, method: str) -> None:
    request, puzzle = load(store, puzzles, run)
    matrix = _matrix(store, request, method)
    found = assign(matrix)
    best = _pool_best(store, run)
    record = {
        "pairs": found.pairs.tolist(),
        "margins": [_finite(margin) for margin in found.margins],
        "confidence": confidence(matrix, found.pairs).tolist(),
        "total_similarity": found.total_similarity,
        "mean_similarity": found.mean_similarity,
        "top_pairs": [list(pair) for pair in found.top_pairs()],
        "pairs_matching_pool_best": None,
        "pool_order_mse": None,
    }
    if best is not None:
        order, pairs = best
        record["pairs_matching_pool_best"] = agreement(found.pairs, pairs)
        record["pool_order_mse"] = _finite(Network(puzzle, found.pairs).full_mse(order))
    store.put_part(run, "assignment", method, record)


def _matrix(store: Store, request: Request, method: str) -> Array64:
    """A method's similarity matrix, (N, N) float64, which an earlier stage has stored.

    Raises:
        MethodError: the store has lost it.
    """
    matrix = store.similarity(request.puzzle, method)
    if matrix is None:
        raise MethodError(f"the similarities of '{method}' are not in the store (any more); enqueue the run again")
    return matrix


def refinement(
    store: Store, puzzles: Puzzles, run: str, method: str, seed: int, interrupted: Callable[[], bool] = lambda: False
) -> None:
    """Orders the blocks of a method's pairing; the run's other refinements end when this one solves the puzzle.

    Resumes from the checkpoint of an earlier attempt. ``interrupted`` says whether this process is about to end.

    Raises:
        InterruptedTaskError: it is; the checkpoint is saved, and the task is to be handed to another worker.
        SupersededError: another worker has taken over.
        BrokerError: the store cannot be reached.
    """
    part = part_name(method, seed)
    if _needless(store, run, method) or store.part(run, "refinement", part) is not None:
        return
    checkpoint = store.checkpoint(run, part)
    progress = 0 if checkpoint is None else int(checkpoint["evaluations"])

    def work(owner: str) -> None:
        _refinement(store, puzzles, run, method, seed, checkpoint, owner, interrupted)

    _done(store, run, "refinement", part, work, progress=progress)


def _refinement(
    store: Store,
    puzzles: Puzzles,
    run: str,
    method: str,
    seed: int,
    checkpoint: dict[str, Any] | None,
    owner: str,
    interrupted: Callable[[], bool],
) -> None:
    request, puzzle = load(store, puzzles, run)
    part = part_name(method, seed)
    attempt = f"refinement.{part}"
    record = store.part(run, "assignment", method)
    if record is None:
        raise MethodError(f"the pairing of '{method}' is not in the store (any more); enqueue the run again")

    def should_stop() -> Reason | None:
        if interrupted():
            return "interrupted"
        if time.time() > request.deadline_at - RESERVE_SECONDS:  # by its own clock it may have time left: clocks jump
            return "budget"
        return cast(Reason | None, store.announced(run)) or (None if owns(store, run, attempt, owner) else "superseded")

    def save(state: dict[str, Any]) -> None:
        if owns(store, run, attempt, owner):  # whoever has taken over may be further by now
            store.put_checkpoint(run, part, state)

    best = _pool_best(store, run)
    left = max(0.0, request.deadline_at - RESERVE_SECONDS - time.time())
    budget = math.inf if request.compare else request.budget
    found = refine(
        puzzle,
        np.array(record["pairs"], np.int64),
        seed=seed,
        annealer=request.annealer,
        start=request.start,
        pool_order=None if best is None else best[0],
        diversity=request.diversity,
        first_seed=request.first_seed,
        limits=Limits(seconds=min(budget, left), evaluations=request.allowance, until_solved=not request.compare),
        hooks=Hooks(
            should_stop=should_stop,
            progress=lambda progress: _show(store, run, part, progress),
            checkpoint=save,
        ),
        checkpoint=checkpoint,
        repair=request.repair,
        evidence=log_odds(_matrix(store, request, method)) if request.repair else None,
    )
    if found.stopped == "interrupted":
        take_back_attempt(store, run, attempt)
        raise InterruptedTaskError
    if found.stopped == "superseded" or not owns(store, run, attempt, owner):
        raise SupersededError
    if found.solution.solved and request.stop_when_solved and not request.compare:
        store.announce(run, "solved_elsewhere")
    cut = found.stopped == "budget" and left < budget and request.deadline_at - RESERVE_SECONDS <= time.time()
    store.put_part(
        run,
        "refinement",
        part,
        {
            "solution": _plain(asdict(found.solution)),
            "annealer": found.annealer,
            "start": found.start,
            "start_mse": _finite(found.start_mse),
            "evaluations": found.evaluations,
            "repaired_pairs": found.repaired_pairs,
            "stopped": found.stopped,
            "cut_by_deadline": cut,
            "seconds": found.seconds,
            "verification_seconds": found.verification_seconds,
            "host": socket.gethostname(),
        },
    )


def _show(store: Store, run: str, part: str, progress: Progress) -> None:
    store.put_part(run, "progress", part, _plain(asdict(progress)))


def _pool_best(store: Store, run: str) -> tuple[Indices, Indices] | None:
    """The pool best's order and pairs as the plan recorded them, each (N,) int64; ``None`` for an empty pool."""
    best = (store.record(run, "plan") or {}).get("pool_best")
    if best is None:
        return None
    return np.array(best["inp_sigma"], np.int64), pairs_of(best["inp_sigma"], best["out_sigma"])


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {key: _finite(value) if isinstance(value, float) else value for key, value in record.items()}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
