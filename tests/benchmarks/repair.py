"""Wrong pairs put right: the published puzzle's true pairs with k out pieces permuted."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import partial

import numpy as np

from pairing.arrays import Indices
from pairing.search.driver import Limits
from pairing.search.refine import refine
from tests.benchmarks.case import Case, Sample, Values, finite
from tests.benchmarks.puzzles import disguised, is_answer
from tests.benchmarks.record import Figure, share

SECONDS = {2: 60, 4: 60, 8: 180, 12: 180, 16: 180, 48: 180}
"""Seconds that a repair may take, by the number of wrong pairs."""

REQUIRED = {2: 90.0, 4: 90.0, 8: 75.0}
"""Per cent of the tries that must end exact."""

QUICK = {2: 2, 4: 2}
TRIES = 20
FEW_TRIES = 5
"""Tries of what is only reported: each takes its whole time as a rule."""


def permuted(pairs: Indices, wrong: int, rng: np.random.Generator) -> Indices:
    """The pairs (N,) with the out pieces of ``wrong`` blocks passed round in a ring, so that each of those is wrong."""
    ring = rng.choice(len(pairs), wrong, replace=False)
    changed = pairs.copy()
    changed[ring] = pairs[np.roll(ring, 1)]
    return changed


def _repaired(wrong: int, sample: Sample) -> Values:
    planted = disguised(sample.seed)
    pairs = permuted(planted.pairs, wrong, np.random.default_rng(sample.seed))
    cpu_began, began = time.process_time(), time.monotonic()
    limits = Limits(seconds=SECONDS[wrong])
    found = refine(planted.puzzle, pairs, seed=sample.seed, limits=limits, repair=True)
    return {
        "exact": is_answer(planted, found.solution),
        "seconds": time.monotonic() - began,
        "cpu": time.process_time() - cpu_began,
        "pairs_right": _pairs_right(planted.pairs, found.solution.inp_sigma, found.solution.out_sigma),
        "relative_error": finite(found.solution.full_mse / planted.puzzle.target_variance),
    }


def _pairs_right(true: Indices, inp_sigma: Sequence[int], out_sigma: Sequence[int]) -> int:
    return sum(int(true[i]) == j for i, j in zip(inp_sigma, out_sigma, strict=True))


def _figures(values: Sequence[Values], wrong: int) -> list[Figure]:
    exact = [v["exact"] for v in values]
    median = float(np.median([v["seconds"] if v["exact"] else math.inf for v in values]))
    return [
        share(f"{wrong} wrong pairs: exact within {SECONDS[wrong]} s", exact, required=REQUIRED.get(wrong)),
        Figure(what=f"{wrong} wrong pairs: median", measured=median, unit="s", samples=len(values)),
    ]


CASES = tuple(
    Case(
        name=f"repair {wrong}",
        measure=partial(_repaired, wrong),
        figures=partial(_figures, wrong=wrong),
        quick=QUICK.get(wrong, 0),
        full=TRIES if wrong in REQUIRED else FEW_TRIES,
    )
    for wrong in SECONDS
)
