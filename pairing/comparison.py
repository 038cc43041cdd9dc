"""Compare the methods on a puzzle, in this process: for notebooks and scripts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pairing.arrays import Indices
from pairing.assignment import agreement
from pairing.errors import MethodError
from pairing.model.network import pairs_of
from pairing.model.puzzle import Puzzle
from pairing.search.driver import Progress
from pairing.search.refine import Refinement
from pairing.solving import SearchOptions, attempt, prepared

if TYPE_CHECKING:
    from pandas import DataFrame

_COLUMNS = ["method", "pairs shared with best", "initial MSE", "MSE", "status", "evaluations", "seconds", "error"]
_TYPES = {"pairs shared with best": "Int64", "evaluations": "Int64", "error": "string"}


def compare(
    puzzle: Puzzle | str | Path,
    methods: str | Sequence[str] = "all",
    *,
    progress: bool | Callable[[str, Progress], None] = False,
    seed: int = 0,
    annealer: str = "surrogate",
    start: str = "auto",
    budget: float = 10.0,
    deadline: float = 300.0,
    repair: bool = True,
) -> DataFrame:
    """How each method performs on a puzzle: one row per method, the smallest MSE first.

    The arguments are those of :func:`pairing.solve`. Every method is refined for up to ``budget`` seconds, whether or
    not another one has solved the puzzle.

    Returns:
        A frame with the columns ``method``; ``pairs shared with best`` (how many pairs of the method's assignment the
        best solution has, too); ``initial MSE`` and ``MSE`` over all samples; ``status`` (``solved``,
        ``solved up to noise``, ``converged``, ``budget`` if time ran out, or ``failed``); ``evaluations``; ``seconds``
        (signal, assignment and refinement); and ``error``, the reason if the method failed.

    Raises:
        InputError: an argument is wrong; raised before work begins.
        PuzzleError: the puzzle's files are damaged, missing or ambiguous.
    """
    from pandas import DataFrame

    search = SearchOptions(seed=seed, annealer=annealer, start=start, budget=budget, repair=repair)
    found: dict[str, tuple[Indices, Refinement]] = {}
    rows: list[dict[str, object]] = []
    with prepared(puzzle, methods, progress, deadline) as (loaded, names, show, ends):
        for name in names:
            began = time.monotonic()
            try:
                found[name] = attempt(loaded, name, search, show, ends)
                record = _record(found[name][1])
            except MethodError as error:
                record = {"status": "failed", "error": str(error)}
            rows.append({"method": name, "seconds": time.monotonic() - began} | record)
    best = min((each.solution for _, each in found.values()), key=lambda solution: solution.full_mse, default=None)
    if best is not None:
        right = pairs_of(best.inp_sigma, best.out_sigma)
        for row in rows:
            if row["method"] in found:
                row["pairs shared with best"] = agreement(found[str(row["method"])][0], right)
    frame = DataFrame(rows, columns=_COLUMNS).astype(_TYPES)
    return frame.sort_values("MSE", kind="stable", ignore_index=True)


def _record(refinement: Refinement) -> dict[str, object]:
    solution = refinement.solution
    return {
        "initial MSE": refinement.start_mse,
        "MSE": solution.full_mse,
        "status": refinement.stopped if solution.noise is None else solution.verdict,
        "evaluations": refinement.evaluations,
    }
