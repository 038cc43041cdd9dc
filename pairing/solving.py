"""Solve a puzzle in this process, without a broker: for notebooks and scripts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from pairing.analysis.activation_choice import with_activation
from pairing.analysis.judgement import judged
from pairing.assignment import assign
from pairing.errors import InputError, MethodError
from pairing.io.load import load_puzzle
from pairing.model.puzzle import Puzzle
from pairing.search.driver import Hooks, Limits, Progress
from pairing.search.initial_orders import STARTS
from pairing.search.policy import ANNEALERS
from pairing.search.refine import refine
from pairing.search.state import MOST_BLOCKS
from pairing.signals.posterior import log_odds
from pairing.signals.registry import choose_methods, similarity
from pairing.solution import Solution

LEAST_SECONDS = 1.0
"""So long an answer is judged, however late it is."""


def solve(
    puzzle: Puzzle | str | Path,
    methods: str | Sequence[str] = "all",
    *,
    progress: bool | Callable[[str, Progress], None] = False,
    seed: int = 0,
    annealer: str = "surrogate",
    start: str = "auto",
    budget: float = 60.0,
    deadline: float = 300.0,
    repair: bool = True,
) -> Solution:
    """The best solution that the methods lead to, tried one after the other until one solves the puzzle.

    ``puzzle`` is one that was loaded, or where its folder or packed file is. ``methods`` is a comma-separated list, a
    sequence of names, or ``all``. ``progress`` prints a line a second on standard error, or is called about once a
    second with the method's name and how far its refinement is. ``budget`` is in seconds for each refinement,
    ``deadline`` in seconds for everything; with ``repair`` a refinement exchanges wrong pairs, too. An
    activation that is ``auto`` is chosen first. The solution's ``solved`` says whether it is the answer,
    ``noise`` whether noise alone explains its error, and ``as_good`` how many others the data cannot tell from it.

    It works in one thread, since more are slower at these sizes; afterwards BLAS has as many as before.

    Raises:
        InputError: an unknown method, annealer or start, before any work is begun.
        PuzzleError: the puzzle's files are damaged, missing or ambiguous.
        MethodError: every method failed, for want of time perhaps; the last one's reason.
    """
    names = choose_methods(methods if isinstance(methods, str) else ",".join(methods))
    for what, given, known in (("annealer", annealer, ANNEALERS), ("start", start, ("auto", *STARTS))):
        if given not in known:
            raise InputError(f"unknown {what} '{given}'; known: {', '.join(known)}")
    if not isinstance(puzzle, Puzzle):
        puzzle = load_puzzle(puzzle)
    show = _print if progress is True else progress or (lambda _method, _progress: None)
    import scipy.linalg  # noqa: F401 - its BLAS is another one than NumPy's, and is to be limited, too
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        return _solve(puzzle, names, show, seed, annealer, start, budget, deadline, repair)


def _solve(
    puzzle: Puzzle,
    names: Sequence[str],
    show: Callable[[str, Progress], None],
    seed: int,
    annealer: str,
    start: str,
    budget: float,
    deadline: float,
    repair: bool,
) -> Solution:
    began = time.monotonic()
    ends = began + deadline
    puzzle = with_activation(puzzle, deadline / 2)
    best: Solution | None = None
    failure: MethodError | None = None
    for name in names:
        if best is not None and (best.solved or best.noise is not None or time.monotonic() >= ends):
            break
        try:
            matrix = similarity(puzzle, name, ends - time.monotonic())
            left = max(0.0, ends - time.monotonic())
            found = refine(
                puzzle,
                assign(matrix).pairs,
                seed=seed,
                method=name,
                annealer=annealer,
                start=start,
                limits=Limits(seconds=min(budget, left), deadline=left),
                repair=repair,
                hooks=Hooks(progress=partial(show, name)),
                evidence=log_odds(matrix) if repair and puzzle.blocks <= MOST_BLOCKS else None,
            )
        except MethodError as error:
            failure = error
            continue
        if best is None or found.solution.full_mse < best.full_mse:
            best = replace(found.solution, method=name)
    if best is None:
        assert failure is not None  # noqa: S101 - there is at least one method # nosec B101
        raise failure
    found_one = judged(puzzle, best, max(LEAST_SECONDS, ends - time.monotonic()))
    return replace(found_one, seconds=time.monotonic() - began)


def _print(method: str, progress: Progress) -> None:
    print(  # noqa: T201
        f"{method}: MSE {progress.best_error:.3g} after {progress.evaluations:,} evaluations",
        file=sys.stderr,
        flush=True,
    )
