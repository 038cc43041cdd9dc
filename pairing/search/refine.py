"""The refinement of one pairing: from a starting order to a checked solution."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pairing.arrays import Array64, Indices
from pairing.assignment import agreement
from pairing.errors import InputError
from pairing.model.network import Network
from pairing.model.puzzle import Puzzle
from pairing.search.driver import Driver, Hooks, Limits, Stopped
from pairing.search.history import History
from pairing.search.initial_orders import near
from pairing.search.policy import ANNEALERS
from pairing.solution import Solution, solution_of


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """What a refinement found."""

    solution: Solution
    seed: int
    annealer: str
    start: str
    start_mse: float
    """The initial order's MSE over all samples; NaN where there was no time for it."""
    evaluations: int
    """Errors of orders computed (a linearization counts as one)."""
    steps: int
    """Steps of the annealer: proposals of ``classic``, moves of ``surrogate``."""
    repaired_pairs: int
    """Pairs of the solution that are not those of the assignment."""
    stopped: Stopped
    seconds: float
    """Wall-clock time of all attempts, the final check on all rows included."""
    verification_seconds: float
    """The part of it that exact MSEs over all samples took."""
    history: History
    """How it came there, over all attempts."""


@np.errstate(over="ignore", invalid="ignore")  # a wrong order may overflow: that is an infinite error
def refine(
    puzzle: Puzzle,
    pairs: Indices,
    *,
    seed: int = 0,
    method: str = "",
    annealer: str = "surrogate",
    start: str = "auto",
    pool_order: Indices | None = None,
    diversity: int = 0,
    first_seed: int = 0,
    repair: bool = True,
    evidence: Array64 | None = None,
    limits: Limits = Limits(),
    hooks: Hooks = Hooks(),
    checkpoint: dict[str, Any] | None = None,
) -> Refinement:
    """Orders the blocks that ``pairs`` makes (inp piece i with out piece ``pairs[i]``, (N,) int64); repairs the pairs.

    The result is never worse than its start on all rows. With the same arguments and an allowance of evaluations, and
    where neither the clock nor another's success ends it, the result is the same; also when it was interrupted and
    resumed from a ``checkpoint``, the record that ``hooks.checkpoint`` was given last.

    ``start``: ``auto`` takes the order with the smallest MSE among the pool's (where there is one), ``greedy`` and
    ``norm``; or the name of one. ``pool_order`` is the pool best's order, (N,) int64; seeds after
    ``first_seed`` start from a neighbor of it, so many moves of a block away as ``diversity`` says
    (:func:`pairing.search.initial_orders.near`). With ``repair`` pairs are exchanged where
    no order leads to an error at rounding (``surrogate`` only); ``evidence`` (N, N) float64, the log-odds of every pair
    in nats (:func:`pairing.signals.posterior.log_odds`), then speaks beside the data. Where it expects many pairs to be
    wrong, as −log N everywhere does, a logit search looks for pairs and order.

    Raises:
        InputError: an unknown annealer or start.
        RefinementPaused: ``hooks.should_stop`` asked for it.
        MethodError: the checkpoint is none.
    """
    if annealer not in ANNEALERS:
        raise InputError(f"unknown annealer '{annealer}'; known: {', '.join(ANNEALERS)}")
    began = time.monotonic()
    network = Network(puzzle, np.asarray(pairs, np.int64))
    driver = Driver(network, [seed, *method.encode()], limits, hooks, began)
    if pool_order is not None:
        pool_order = near(pool_order, diversity, first_seed, seed)
    chosen, begin = driver.start(start, pool_order)
    search = driver.search(begin, checkpoint, repair=repair and annealer == "surrogate", evidence=evidence)
    stopped = driver.anneal(annealer, search)
    final, order, full_mse, start_mse = driver.verified(begin)
    solution = solution_of(puzzle, *final.sigmas(order), full_mse)
    if driver.noisy == final.pairs.tobytes() + order.tobytes() and solution.hash_match is None and not solution.solved:
        solution = replace(solution, noise=float(np.sqrt(full_mse)))
    if solution.solved and stopped == "converged":
        stopped = "solved"
    driver.history.end(driver.seconds(), driver.state.evaluations, order)
    return Refinement(
        solution=solution,
        seed=seed,
        annealer=annealer,
        start=chosen,
        start_mse=start_mse,
        evaluations=driver.state.evaluations,
        steps=driver.state.step,
        repaired_pairs=len(network.pairs) - agreement(final.pairs, network.pairs),
        stopped=stopped,
        seconds=driver.seconds(),
        verification_seconds=driver.verification_seconds,
        history=driver.history,
    )
