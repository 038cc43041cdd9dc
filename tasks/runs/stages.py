"""The stages of a run: load from the store, call ``pairing``, store what came out. No Celery in here.

A method that fails leaves a ``failure`` record and nothing else; its later stages do nothing, and the other methods'
are not affected.
"""

from __future__ import annotations

import logging
import math
import socket
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from pairing.arrays import Array64, Indices
from pairing.assignment import agreement, assign
from pairing.errors import MethodError
from pairing.model.network import Network, pairs_of
from pairing.model.puzzle import Puzzle
from pairing.search.compiled import uncached
from pairing.search.driver import Hooks, Limits, Progress, RefinementPaused
from pairing.search.history import History
from pairing.search.refine import refine
from pairing.search.state import MOST_BLOCKS
from pairing.signals.posterior import confidence, log_odds
from pairing.signals.registry import similarity as similarity_of
from tasks.contracts.run_request import Request
from tasks.puzzles.resolver import Puzzles
from tasks.runs.attempts import InterruptedTaskError, SupersededError, owns, take_back_attempt
from tasks.runs.stage_execution import check_blocks, has_record, load, run_stage, should_skip
from tasks.runs.time_slicing import Turn, first_turn, is_sure
from tasks.runs.work_counters import Work
from tasks.store.run_store import Store, part_name

logger = logging.getLogger(__name__)

RESERVE_SECONDS = 5.0
"""What is kept of a run's deadline for ending refinements and comparing them."""


def similarity(store: Store, puzzles: Puzzles, run: str, method: str, seed: int) -> None:
    """Computes a method's similarity matrix, unless the store has it already."""
    if not should_skip(store, run, method):
        attempt = part_name(method, seed)
        run_stage(store, run, "similarity", method, lambda _: _similarity(store, puzzles, run, method), attempt=attempt)


def _similarity(store: Store, puzzles: Puzzles, run: str, method: str) -> None:
    request, puzzle = load(store, puzzles, run)
    if store.similarity(request.puzzle, method) is None:
        left = request.deadline_at - RESERVE_SECONDS - time.time()
        known = partial(store.similarity, request.puzzle)
        store.put_similarity(request.puzzle, method, similarity_of(puzzle, method, left, known), run)
    else:
        store.keep_similarity(request.puzzle, method, run)


def assignment(store: Store, puzzles: Puzzles, run: str, method: str, seed: int) -> None:
    """Pairs the pieces by a method's similarities, and says how that looks beside the pool's best."""
    if not should_skip(store, run, method) and not has_record(store, run, "assignment", method):
        attempt = part_name(method, seed)
        run_stage(store, run, "assignment", method, lambda _: _assignment(store, puzzles, run, method), attempt=attempt)


def _assignment(store: Store, puzzles: Puzzles, run: str, method: str) -> None:
    request, puzzle = load(store, puzzles, run)
    matrix = _matrix(store, request, puzzle, method)
    found = assign(matrix)
    best = _pool_best(store, run, puzzle)
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
        others = store.parts(run, "assignment").values()  # many methods find the same pairs
        alike = [other["pool_order_mse"] for other in others if other["pairs"] == record["pairs"]]
        record["pool_order_mse"] = alike[0] if alike else _finite(Network(puzzle, found.pairs).full_mse(order))
    store.put_part(run, "assignment", method, record)


def is_confident(store: Store, run: str, method: str) -> bool:
    """Whether a method that has paired the pieces expects all of its pairs to be right."""
    record = store.parts(run, "assignment").get(method)  # one that somebody else has spoilt is its own stage's matter
    return record is not None and is_sure(record["confidence"])


def _matrix(store: Store, request: Request, puzzle: Puzzle, method: str) -> Array64:
    """A method's similarity matrix, (N, N) float64, which an earlier stage has stored.

    Raises:
        MethodError: the store has lost it.
        RecordError: it is another one by now.
    """
    matrix = store.similarity(request.puzzle, method)
    if matrix is None:
        raise MethodError(f"the similarities of '{method}' are not in the store (any more); enqueue the run again")
    check_blocks(matrix, puzzle, f"the similarities of '{method}'")
    check_blocks(matrix.T, puzzle, f"the similarities of '{method}'")
    return matrix


def refinement(
    store: Store,
    puzzles: Puzzles,
    run: str,
    method: str,
    seed: int,
    interrupted: Callable[[], bool] = lambda: False,
    has_backlog: Callable[[], bool] = lambda: False,
) -> None:
    """Orders the blocks of a method's pairing; the run's other refinements end when this one solves the puzzle.

    Resumes from the checkpoint of an earlier attempt. ``interrupted`` says whether this process is about to end,
    ``has_backlog`` whether other tasks wait for it.

    Raises:
        InterruptedTaskError: it is; the checkpoint is saved, and the task is to be handed to another worker.
        TurnOverError: it has worked long enough while others wait; the checkpoint is saved.
        SupersededError: another worker has taken over.
        BrokerError: the store cannot be reached.
    """
    part = part_name(method, seed)
    if should_skip(store, run, method) or has_record(store, run, "refinement", part):
        return

    def progress() -> int:
        return int((store.checkpoint(run, part) or {"evaluations": 0})["evaluations"])

    def work(owner: str) -> None:
        _refinement(store, puzzles, run, method, seed, store.checkpoint(run, part), owner, interrupted, has_backlog)

    run_stage(store, run, "refinement", part, work, progress=progress)


def _refinement(
    store: Store,
    puzzles: Puzzles,
    run: str,
    method: str,
    seed: int,
    checkpoint: dict[str, Any] | None,
    owner: str,
    interrupted: Callable[[], bool],
    has_backlog: Callable[[], bool],
) -> None:
    request, puzzle = load(store, puzzles, run)
    part = part_name(method, seed)
    attempt = f"refinement.{part}"
    record = store.part(run, "assignment", method)
    if record is None:
        raise MethodError(f"the pairing of '{method}' is not in the store (any more); enqueue the run again")
    check_blocks(record["pairs"], puzzle, f"the pairing of '{method}'")
    if checkpoint is None and store.announced(run) == "solved_elsewhere":
        store.put_part(run, "refinement", part, _not_begun(request, record["pairs"]))
        _show_end(store, run, part, "solved_elsewhere", None, 0)
        return

    def announced() -> str | None:
        if time.time() > request.deadline_at - RESERVE_SECONDS:  # by its own clock it may have time left: clocks jump
            return "budget"
        return store.announced(run)

    work = Work(store, checkpoint)

    def show(progress: Progress) -> None:
        work.count(steps=progress.steps, evaluations=progress.evaluations)
        store.put_part(run, "progress", part, _plain(asdict(progress)))

    def save(state: dict[str, Any]) -> None:
        work.count(steps=state["step"], evaluations=state["evaluations"])
        if owns(store, run, attempt, owner):  # whoever has taken over may be further by now
            store.put_checkpoint(run, part, state)

    if checkpoint is not None:
        logger.info("refinement goes on from its checkpoint: %d evaluations", checkpoint["evaluations"])
    best, rivals = _pool_best(store, run, puzzle), store.parts(run, "assignment")
    left = max(0.0, request.deadline_at - RESERVE_SECONDS - time.time())
    budget = math.inf if request.compare else request.budget
    repair = request.repair and puzzle.blocks <= MOST_BLOCKS
    used = 0.0 if checkpoint is None else float(checkpoint.get("seconds", 0.0))
    turn = Turn(
        first=first_turn(record["confidence"], [known["confidence"] for known in rivals.values()]),
        used=used,
        budget=min(budget, used + left),
        owned=lambda: owns(store, run, attempt, owner),
        announced=announced,
        interrupted=interrupted,
        has_backlog=has_backlog,
    )
    try:
        found = refine(
            puzzle,
            np.array(record["pairs"], np.int64),
            seed=seed,
            method=method,
            annealer=request.annealer,
            start=request.start,
            pool_order=None if best is None or request.compare else best[0],
            diversity=request.diversity,
            first_seed=request.first_seed,
            limits=Limits(
                seconds=min(budget, used + left),
                evaluations=request.allowance,
                until_solved=not request.compare,
                deadline=used + left,
            ),
            hooks=Hooks(should_stop=turn.should_stop, progress=show, checkpoint=save),
            checkpoint=checkpoint,
            repair=repair,
            evidence=log_odds(_matrix(store, request, puzzle, method)) if repair else None,
        )
    except RefinementPaused:
        if not isinstance(turn.pause, SupersededError):
            take_back_attempt(store, run, attempt, owner)
        raise turn.pause or InterruptedTaskError() from None
    if not owns(store, run, attempt, owner):
        raise SupersededError
    settled = found.solution.solved or found.solution.noise is not None
    if settled and request.stop_when_solved and not request.compare:
        store.announce(run, "solved_elsewhere")
    spent = request.allowance is not None and found.evaluations >= request.allowance
    # Also where time is left: a step that would end too late is not begun.
    cut = found.stopped == "budget" and used + left < budget and not spent
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
            "uncached": uncached(),
            "history": found.history.to_json(),
        },
    )
    _show_end(store, run, part, found.stopped, _finite(found.solution.full_mse), found.evaluations)
    said = found.stopped, found.solution.full_mse, found.evaluations, found.seconds
    logger.info("refined: %s, MSE %.3g, %d evaluations, %.1f s", *said)


def _show_end(store: Store, run: str, part: str, stopped: str, error: float | None, evaluations: int) -> None:
    """Has the progress of a refinement say that it is over, for whoever does not read the whole result."""
    steps = (store.part(run, "progress", part) or {"steps": 0})["steps"]
    record = {"stage": stopped, "best_error": error, "evaluations": evaluations, "steps": steps, "seconds_left": None}
    store.put_part(run, "progress", part, {**record, "ended": True})


def _not_begun(request: Request, pairs: list[int]) -> dict[str, Any]:
    """The result where the run was solved before: no error of any order is worth the time that it would take now."""
    order = list(range(len(pairs)))
    return {
        "solution": {"full_mse": None, "inp_sigma": order, "out_sigma": pairs, "hash": "", "noise": None},
        "annealer": request.annealer,
        "start": "",
        "start_mse": None,
        "evaluations": 0,
        "repaired_pairs": 0,
        "stopped": "solved_elsewhere",
        "cut_by_deadline": False,
        "seconds": 0.0,
        "verification_seconds": 0.0,
        "host": socket.gethostname(),
        "uncached": uncached(),
        "history": History(orders=[order]).to_json(),
    }


def _pool_best(store: Store, run: str, puzzle: Puzzle) -> tuple[Indices, Indices] | None:
    """The pool best's order and pairs as the plan recorded them, each (N,) int64; ``None`` for an empty pool.

    Raises:
        RecordError: the plan is none of this puzzle.
    """
    best = (store.record(run, "plan") or {}).get("pool_best")
    if best is None:
        return None
    for name in ("inp_sigma", "out_sigma"):
        check_blocks(best[name], puzzle, "the pool best of the run's plan")
    return np.array(best["inp_sigma"], np.int64), pairs_of(best["inp_sigma"], best["out_sigma"])


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {key: _finite(value) if isinstance(value, float) else value for key, value in record.items()}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
