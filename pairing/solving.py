"""Solve a puzzle in this process, without a broker: for notebooks and scripts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from pairing.analysis.activation_choice import with_activation
from pairing.analysis.judgement import judged
from pairing.arrays import Indices
from pairing.assignment import assign
from pairing.errors import InputError, MethodError
from pairing.found import FoundSolution
from pairing.io.load import load_puzzle
from pairing.model.puzzle import Puzzle
from pairing.search.driver import Hooks, Limits, Progress
from pairing.search.initial_orders import STARTS
from pairing.search.policy import ANNEALERS
from pairing.search.refine import Refinement, refine
from pairing.search.state import MOST_BLOCKS
from pairing.signals.posterior import log_odds
from pairing.signals.registry import choose_methods, similarity

LEAST_SECONDS = 1.0
"""A solution is judged for so long, however late it is."""

Show = Callable[[str, Progress], None]
"""``show(method, progress)``, called about once a second."""


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
) -> FoundSolution:
    """The best solution that the methods lead to, tried one after the other until one solves the puzzle.

    The solution's ``solved`` says whether it is the right one, ``noise`` whether noise alone explains its MSE, and
    ``as_good`` how many others the data cannot tell from it. Pairing works in one thread, since more are slower at
    these sizes; afterwards BLAS has as many threads as before.

    Args:
        puzzle: a loaded puzzle, or the path of a puzzle folder or packed file.
        methods: a comma-separated list, a sequence of names, or ``all``; ``pairing methods`` lists them.
        progress: ``True`` prints a line a second on standard error. A function is called about once a second with the
            method's name and how far its refinement is.
        seed: of the search's random numbers, 0 or more.
        annealer: ``surrogate``, or ``classic`` for the annealer of an earlier version.
        start: the initial order: ``auto`` (the best of ``greedy`` and ``norm``), or the name of one.
        budget: seconds for each refinement.
        deadline: seconds for everything.
        repair: whether a refinement exchanges pieces that the method paired wrongly.

    Raises:
        InputError: an argument is wrong; raised before work begins.
        PuzzleError: the puzzle's files are damaged, missing or ambiguous.
        MethodError: every method failed, perhaps for lack of time; the last one's reason.
    """
    search = SearchOptions(seed=seed, annealer=annealer, start=start, budget=budget, repair=repair)
    with prepared(puzzle, methods, progress, deadline) as (loaded, names, show, ends):
        return _solve(loaded, names, show, search, ends - deadline, ends)


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How refinements search; the arguments of :func:`solve` of the same names.

    Raises:
        InputError: an argument is wrong.
    """

    seed: int
    annealer: str
    start: str
    budget: float
    repair: bool

    def __post_init__(self) -> None:
        """Checks the arguments."""
        for what, given, known in (("annealer", self.annealer, ANNEALERS), ("start", self.start, ("auto", *STARTS))):
            if given not in known:
                raise InputError(f"unknown {what} '{given}'; known: {', '.join(known)}")
        try:
            np.random.SeedSequence([self.seed])
        except (TypeError, ValueError):
            raise InputError(f"seed is {self.seed!r}; give a whole number, 0 or more") from None


@contextmanager
def prepared(
    puzzle: Puzzle | str | Path, methods: str | Sequence[str], progress: bool | Show, deadline: float
) -> Iterator[tuple[Puzzle, list[str], Show, float]]:
    """The puzzle with its activation, the methods' names, whom to tell, and when all ends by the monotonic clock.

    Meanwhile BLAS works in one thread.

    Raises:
        InputError: an argument is wrong, or a method is unknown.
        PuzzleError: the puzzle cannot be read.
        MethodError: the activation is to be chosen, and every method failed.
    """
    names = choose_methods(methods if isinstance(methods, str) else ",".join(methods))
    if not isinstance(progress, bool) and not callable(progress):
        raise InputError(
            f"progress is {progress!r}; give True, False or a function of a method's name and its progress"
        )
    if not isinstance(puzzle, Puzzle | str | Path):
        raise InputError(
            f"puzzle is a {type(puzzle).__name__}; give a Puzzle, or the path of its folder or packed file"
        )
    show = _print if progress is True else progress or (lambda _method, _progress: None)
    ends = time.monotonic() + deadline
    if not isinstance(puzzle, Puzzle):
        puzzle = load_puzzle(puzzle)
    import scipy.linalg  # noqa: F401 - its BLAS is another one than NumPy's, and is to be limited, too
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield with_activation(puzzle, deadline / 2), names, show, ends


def attempt(puzzle: Puzzle, method: str, search: SearchOptions, show: Show, ends: float) -> tuple[Indices, Refinement]:
    """The pairs (N,) int64 that a method assigns, and their refinement, which ends by ``ends`` (monotonic clock).

    Raises:
        MethodError: the method failed.
    """
    matrix = similarity(puzzle, method, ends - time.monotonic())
    pairs = assign(matrix).pairs
    left = max(0.0, ends - time.monotonic())
    return pairs, refine(
        puzzle,
        pairs,
        seed=search.seed,
        method=method,
        annealer=search.annealer,
        start=search.start,
        limits=Limits(seconds=min(search.budget, left), deadline=left),
        repair=search.repair,
        hooks=Hooks(progress=partial(show, method)),
        evidence=log_odds(matrix) if search.repair and puzzle.blocks <= MOST_BLOCKS else None,
    )


def _solve(
    puzzle: Puzzle, names: Sequence[str], show: Show, search: SearchOptions, began: float, ends: float
) -> FoundSolution:
    best: tuple[str, Refinement] | None = None
    failure: MethodError | None = None
    for name in names:
        if best is not None and (_settled(best[1]) or time.monotonic() >= ends):
            break
        try:
            _, found = attempt(puzzle, name, search, show, ends)
        except MethodError as error:
            failure = error
            continue
        if best is None or found.solution.full_mse < best[1].solution.full_mse:
            best = name, found
    if best is None:
        assert failure is not None  # noqa: S101 - there is at least one method # nosec B101
        raise failure
    name, found = best
    solution = judged(puzzle, found.solution, max(LEAST_SECONDS, ends - time.monotonic()))
    return FoundSolution.of(solution, puzzle, name, time.monotonic() - began, found.history)


def _settled(found: Refinement) -> bool:
    return found.solution.solved or found.solution.noise is not None


def _print(method: str, progress: Progress) -> None:
    print(  # noqa: T201
        f"{method}: MSE {progress.best_error:.3g} after {progress.evaluations:,} evaluations",
        file=sys.stderr,
        flush=True,
    )
