"""The methods of a run judged side by side: what each came to, their ranking, and the best solution."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pairing.model import costs
from pairing.model.network import Network, pairs_of
from pairing.model.puzzle import Puzzle
from pairing.solution import Solution, solution_of
from tasks.contracts.errors import RecordError
from tasks.contracts.run_request import Request
from tasks.runs.outcome import stopped_early
from tasks.runs.stage_execution import check_blocks
from tasks.store.run_store import Store, part_name

HOSTS_RATIO = 2.0
HOSTS_VARIANCE = 1e-9
"""By what factor, and by how much of the target's variance, rounding may part one solution's errors on two hosts."""
CHECKED_ROWS = 512
"""Rows on which a result is looked at first …"""
CHECKED_COST = 5e9
"""… and in large networks so many that it costs no more multiplications."""


def ranked_methods(store: Store, puzzle: Puzzle, request: Request) -> list[dict[str, Any]]:
    """The summary's ``methods``: by MSE; behind them those that were stopped early, then those that failed."""

    def rank(record: dict[str, Any]) -> tuple[int, float]:
        if not record["ok"]:
            return 2, 0.0
        error = record["full_mse"]
        return int(stopped_early(record["stopped"])), float("inf") if error is None else error

    return sorted((_method_record(store, puzzle, request, *part) for part in request.parts), key=rank)


def best_solution(
    puzzle: Puzzle, methods: list[dict[str, Any]], refinements: dict[str, dict[str, Any]]
) -> tuple[dict[str, Any], Solution] | None:
    """The record and the solution with the smallest MSE; of several, the first in the ranking."""
    finished = [m for m in methods if m["ok"] and m["full_mse"] is not None]
    if not finished:
        return None
    found = min(finished, key=lambda m: m["full_mse"])
    return found, solution_of_record(puzzle, refinements[part_name(found["method"], found["seed"])])


def best_record(found: dict[str, Any], solution: Solution, names: tuple[str, ...]) -> dict[str, Any]:
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


def solution_of_record(puzzle: Puzzle, refined: dict[str, Any]) -> Solution:
    """The solution that a refinement's record holds."""
    solution = refined["solution"]
    error = float("inf") if solution["full_mse"] is None else solution["full_mse"]
    return solution_of(puzzle, solution["inp_sigma"], solution["out_sigma"], error)


def has_searched(refined: dict[str, Any]) -> bool:
    """Whether a result is more than the order at which its refinement was interrupted before it found anything."""
    interrupted = stopped_early(refined["stopped"]) or refined["cut_by_deadline"]
    start, error = refined["start_mse"], refined["solution"]["full_mse"]
    if refined["evaluations"] == 0:
        return False
    return not interrupted or start is None or (error is not None and error < start)


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
            f"the result of {part} in the store has an MSE of {error:.3g}, not of {solution['full_mse']:.3g} as it"
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
