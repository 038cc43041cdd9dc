"""The last stage of a run: rank the methods, store the winners, keep the summary and the matrices."""

from __future__ import annotations

import io
import math
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import numpy as np

from pairing.analysis.judgement import judged_noise
from pairing.model import costs
from pairing.model.network import Network, pairs_of
from pairing.model.puzzle import Puzzle
from pairing.search.identifiability import undecidable_exchanges
from pairing.solution import Solution, solution_of
from pairing.version import __version__
from tasks.contracts.errors import PoolError, RecordError, SpoolError
from tasks.contracts.run_request import Request
from tasks.pool.best import Recomputed
from tasks.pool.improvement import is_winner
from tasks.pool.location import PoolAddress, opened
from tasks.pool.winner_selection import Candidate, Stored, store_winners
from tasks.puzzles.resolver import Puzzles
from tasks.runs.lifecycle import finish
from tasks.runs.outcome import end_of, exit_status, stopped_early
from tasks.runs.spooled_winners import note_stored
from tasks.runs.stage_execution import check_blocks, load
from tasks.store.run_store import Store, part_name

HOSTS_RATIO = 2.0
HOSTS_VARIANCE = 1e-9
"""By what factor, and by how much of the target's variance, rounding may part one solution's errors on two hosts."""
CHECKED_ROWS = 512
"""Rows on which a result is looked at first …"""
CHECKED_COST = 5e9
"""… and in large networks so many that it costs no more multiplications."""
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
    methods = _ranked([_method_record(store, puzzle, request, *part) for part in request.parts])
    plan = _with_pool(store, address, puzzle, request, plan)
    stored, lost = _store(address, puzzle, request, plan, methods, refinements)
    note_stored(store, stored.flushed)
    best = _best(puzzle, methods, refinements)
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
        "best": best and _best_record(*best, puzzle.names),
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
    finish(store, run, end_of(summary, outcome), lost, exit_status(summary, outcome))  # last: who waits waits for this
    return summary


def _judged(puzzle: Puzzle, solution: Solution, request: Request) -> tuple[dict[str, Any] | None, float | None]:
    """What the data cannot tell from the solution, and the noise that explains its error; each null where not told."""
    left = max(LEAST_SECONDS, request.deadline_at - time.time())
    noise = judged_noise(puzzle, solution, left)
    undecidable = undecidable_exchanges(puzzle, solution, left)
    return None if undecidable is None else asdict(undecidable), noise


def _method_record(store: Store, puzzle: Puzzle, request: Request, method: str, seed: int) -> dict[str, Any]:
    """One entry of the summary's ``methods``."""
    run, part = request.run, part_name(method, seed)
    try:
        failure = store.part(run, "failure", method) or store.part(run, "failure", part)
        assigned, refined = store.part(run, "assignment", method), store.part(run, "refinement", part)
        if assigned is not None:
            check_blocks(assigned["pairs"], puzzle, f"the pairing of '{method}'")
        if refined is not None:
            _check_result(puzzle, refined, part)
    except RecordError as unsound:
        failure, assigned, refined = {"error": str(unsound)}, None, None
    ok = failure is None and refined is not None
    why = (
        "the run was cancelled before"
        if store.announced(run) == "cancelled"
        else "its worker was lost, or time ran out"
    )
    error = None if ok else (failure or {}).get("error", f"did not finish: {why}")
    record: dict[str, Any] = {"method": method, "seed": seed, "ok": ok, "error": error}
    for name in ("total_similarity", "mean_similarity", "top_pairs", "pairs", "margins", "confidence"):
        record[name] = assigned and assigned[name]
    for name in ("pairs_matching_pool_best", "pool_order_mse"):
        record[name] = assigned and assigned[name]
    for name in ("annealer", "start", "start_mse"):
        record[name] = refined and refined[name]
    record["full_mse"] = refined and refined["solution"]["full_mse"]
    for name in ("evaluations", "repaired_pairs", "stopped", "seconds"):
        record[name] = refined and refined[name]
    if not ok:
        record["stopped"] = "failed"
    return record


def _check_result(puzzle: Puzzle, refined: dict[str, Any], part: str) -> None:
    """Whether a refinement's result is one of this puzzle, and as good as it says; a pool never forgets a false one.

    Raises:
        RecordError: it is not.
    """
    solution = refined["solution"]
    for name in ("inp_sigma", "out_sigma"):
        check_blocks(solution[name], puzzle, f"the results of {part}")
    if solution["full_mse"] is None:
        return
    order, most = solution["inp_sigma"], HOSTS_RATIO * solution["full_mse"] + HOSTS_VARIANCE * puzzle.target_variance
    network = Network(puzzle, pairs_of(order, solution["out_sigma"]))
    # A few rows clear nearly every honest result; none is refused before all rows have been looked at.
    if _sampled_error(network, order) > most and (error := network.full_mse(order)) > most:
        raise RecordError(
            f"the result of {part} in the store has an error of {error:.3g}, not of {solution['full_mse']:.3g} as it"
            " says: somebody else has changed it. Enqueue the run again"
        )


@np.errstate(over="ignore", invalid="ignore")  # a wrong order may overflow
def _sampled_error(network: Network, order: list[int]) -> float:
    """The error on a few rows from everywhere; infinite where it overflows."""
    puzzle = network.puzzle
    most = max(1, int(CHECKED_COST * CHECKED_ROWS / costs.forward(puzzle, CHECKED_ROWS)))
    rows = np.linspace(0, puzzle.rows - 1, min(puzzle.rows, CHECKED_ROWS, most)).astype(np.int64)
    residual = puzzle.target_values[rows] - network.predict(np.array(order, np.int64), puzzle.rows_in[rows])
    error = float(np.mean(np.square(residual)))
    return error if math.isfinite(error) else math.inf


def _ranked(methods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By error; behind them those that were stopped early, then those that failed."""

    def rank(record: dict[str, Any]) -> tuple[int, float]:
        if not record["ok"]:
            return 2, 0.0
        error = record["full_mse"]
        return int(stopped_early(record["stopped"])), float("inf") if error is None else error

    return sorted(methods, key=rank)


def _solution(puzzle: Puzzle, refined: dict[str, Any]) -> Solution:
    solution = refined["solution"]
    error = float("inf") if solution["full_mse"] is None else solution["full_mse"]
    return solution_of(puzzle, solution["inp_sigma"], solution["out_sigma"], error)


def _best(
    puzzle: Puzzle, methods: list[dict[str, Any]], refinements: dict[str, dict[str, Any]]
) -> tuple[dict[str, Any], Solution] | None:
    """The record and the solution of least error, whoever found it first in the ranking."""
    finished = [m for m in methods if m["ok"] and m["full_mse"] is not None]
    if not finished:
        return None
    found = min(finished, key=lambda m: m["full_mse"])
    return found, _solution(puzzle, refinements[part_name(found["method"], found["seed"])])


def _best_record(found: dict[str, Any], solution: Solution, names: tuple[str, ...]) -> dict[str, Any]:
    """The summary's ``best``."""
    return {
        "method": found["method"],
        "seed": found["seed"],
        "full_mse": solution.full_mse,
        "inp_sigma": list(solution.inp_sigma),
        "out_sigma": list(solution.out_sigma),
        "permutation": list(solution.permutation),
        "names": [names[number] for number in solution.permutation] if names else [],
        "hash": solution.hash,
        "hash_match": solution.hash_match,
    }


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
        if not method["ok"] or refined is None or not _searched(refined):
            continue
        if is_winner(method["full_mse"], before, puzzle.target_variance):
            found = {name: method[name] for name in ("method", "seed")} | {n: refined[n] for n in ("host", "seconds")}
            candidates.append(Candidate(**found, solution=_solution(puzzle, refined)))
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


def _searched(refined: dict[str, Any]) -> bool:
    """Whether a result is more than the order at which its refinement was interrupted before it found anything."""
    interrupted = stopped_early(refined["stopped"]) or refined["cut_by_deadline"]
    start, error = refined["start_mse"], refined["solution"]["full_mse"]
    if refined["evaluations"] == 0:
        return False
    return not interrupted or start is None or (error is not None and error < start)


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
