"""The last stage of a run: rank the methods, store the winners, keep the summary and the matrices."""

from __future__ import annotations

import io
import math
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import numpy as np

from pairing.analysis.block_profile import block_profiles
from pairing.analysis.judgement import judged_noise
from pairing.model.puzzle import Puzzle
from pairing.search.identifiability import undecidable_exchanges
from pairing.solution import Solution
from pairing.version import __version__
from tasks.contracts.errors import PoolError, RecordError, SpoolError
from tasks.contracts.run_request import Request
from tasks.pool.best import Recomputed
from tasks.pool.improvement import is_winner
from tasks.pool.location import PoolAddress, opened
from tasks.pool.winner_selection import Candidate, Stored, store_winners
from tasks.puzzles.resolver import Puzzles
from tasks.runs.lifecycle import end_record, finish
from tasks.runs.outcome import end_of, exit_status
from tasks.runs.overview import found_by
from tasks.runs.ranking import best_record, best_solution, has_searched, ranked_methods, solution_of_record
from tasks.runs.recording import record_compared
from tasks.runs.spooled_winners import note_stored
from tasks.runs.stage_execution import load
from tasks.store.run_store import Store, part_name

LEAST_SECONDS = 1.0
"""So long the best solution is judged, however late it is."""


def compare(store: Store, puzzles: Puzzles, address: PoolAddress, run: str) -> dict[str, Any]:
    """Compares whatever the run's parts have left; the summary, which the store keeps too.

    Does the same again when it is called again, and inserts nothing twice.

    Raises:
        PairingError: the store has lost the request or the puzzle.
    """
    request, puzzle = load(store, puzzles, run)
    plan = store.record(run, "plan") or {}
    refinements = store.parts(run, "refinement")
    methods = ranked_methods(store, puzzle, request)
    plan = _with_pool(store, address, puzzle, request, plan)
    stored, lost = _store(address, puzzle, request, plan, methods, refinements)
    note_stored(store, stored.flushed)
    best = best_solution(puzzle, methods, refinements)
    before = (plan.get("pool_best") or {}).get("full_mse")
    cancelled = store.announced(run) == "cancelled"
    undecidable, noise = (None, None) if best is None or cancelled else _judged(puzzle, best[1], request)
    summary: dict[str, Any] = {
        "schema": 1,
        "version": __version__,
        "run": run,
        "puzzle": puzzle.digest,
        "activation": puzzle.activation,
        "blocks": puzzle.blocks,
        "width": puzzle.width,
        "hidden": puzzle.hidden,
        "outputs": puzzle.outputs,
        "rows": puzzle.rows,
        "solved": bool(best and best[1].solved),
        "noise": noise,
        "noise_floor": puzzle.noise_floor,
        "best": best and best_record(*best, puzzle.names),
        "network": best and _network(puzzle, best[1]),
        "undecidable": undecidable,
        "methods": methods,
        "pool": {
            "best_before": before,
            "best_after": min((e for e in (before, stored.best) if e is not None), default=None),
            "inserted": stored.inserted,
            "stored_later": stored.stored_later,
        },
        "artefacts": {"matrices": None, "summary": None},
        "seconds": _seconds(store, run, request, refinements),
    }
    store.put_matrices(run, _archive(store, request))
    outcome = {
        "timed_out": any(r["cut_by_deadline"] for r in refinements.values()) or time.time() >= request.deadline_at,
        "cancelled": cancelled,
        "pool_error": stored.error or plan.get("pool_error"),
        "lost_winner": lost,
        "unrecorded": stored.unrecorded,
    }
    store.put_record(run, "outcome", outcome)
    store.put_record(run, "summary", summary)
    ending = end_of(summary, outcome), lost, exit_status(summary, outcome), found_by(summary)
    recorded = outcome["pool_error"] is None and record_compared(store, address, run, end_record(*ending))
    finish(store, run, *ending, recorded=recorded)  # last: who waits waits for this
    return summary


def _network(puzzle: Puzzle, solution: Solution) -> list[dict[str, float | None]]:
    """What the summary says of each block."""
    blocks = block_profiles(puzzle, solution)
    return [asdict(block) | {"change": block.change if math.isfinite(block.change) else None} for block in blocks]


def _judged(puzzle: Puzzle, solution: Solution, request: Request) -> tuple[dict[str, Any] | None, float | None]:
    """What the data cannot tell from the solution, and the noise that explains its error; each null where not told."""
    left = max(LEAST_SECONDS, request.deadline_at - time.time())
    noise = judged_noise(puzzle, solution, left)
    undecidable = undecidable_exchanges(puzzle, solution, left)
    return None if undecidable is None else asdict(undecidable), noise


def _store(
    address: PoolAddress,
    puzzle: Puzzle,
    request: Request,
    plan: dict[str, Any],
    methods: list[dict[str, Any]],
    refinements: dict[str, dict[str, Any]],
) -> tuple[Stored, str | None]:
    """What became of the winners, and why one of them is lost, if one is."""
    before = (plan.get("pool_best") or {}).get("full_mse")
    candidates = []
    for method in methods:
        refined = refinements.get(part_name(method["method"], method["seed"]))
        if not method["ok"] or refined is None or not has_searched(refined):
            continue
        if is_winner(method["full_mse"], before, puzzle.target_variance):
            found = {name: method[name] for name in ("method", "seed")} | {n: refined[n] for n in ("host", "seconds")}
            candidates.append(Candidate(**found, solution=solution_of_record(puzzle, refined)))
    if not candidates and not any(address.spool.glob("*.json")):
        return Stored(), None
    try:
        return store_winners(address, puzzle, request, before, candidates), None
    except SpoolError as error:
        return Stored(error=str(error)), str(error)


def _with_pool(
    store: Store, address: PoolAddress, puzzle: Puzzle, request: Request, plan: dict[str, Any]
) -> dict[str, Any]:
    """The plan with the pool best before the run, where the pool could not be read while planning and can be now.

    Rows of the run itself, of a comparison that was begun before, do not count.
    """
    if plan.get("pool_error") is None:
        return plan
    try:
        with opened(address, address.url_for(puzzle)) as pool:
            rows = pool.candidates(puzzle.blocks, puzzle.digest, but_run=request.run)
            before = Recomputed(puzzle).best(rows, request.deadline_at - time.time())
    except PoolError:
        return plan
    read = {**plan, "pool_best": before, "pool_error": None}
    store.put_record(request.run, "plan", read)
    return read


def _seconds(
    store: Store, run: str, request: Request, refinements: dict[str, dict[str, Any]]
) -> dict[str, float | None]:
    times = store.parts(run, "times")

    def total(stage: str) -> float:
        return math.fsum(record["seconds"] for name, record in times.items() if name.startswith(f"{stage}."))

    verification = sum(r["verification_seconds"] for r in refinements.values())
    return {
        "load": None,
        "similarity": total("similarity"),
        "assignment": total("assignment"),
        "refinement": total("refinement") - verification,
        "verification": verification,
        "total": time.time() - request.enqueued_at,
        "cpu": sum(record["cpu"] for record in times.values()),
    }


def _archive(store: Store, request: Request) -> bytes:
    """An npz file: method name → similarity matrix (N, N) float64."""
    matrices = {}
    for method in request.methods:
        with suppress(RecordError):  # its method has failed by it
            matrix = store.similarity(request.puzzle, method)
            if matrix is not None:
                matrices[method] = matrix
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **matrices)
    return buffer.getvalue()
