"""Wrong pairs put right: the published puzzle's true pairs with k out pieces permuted, and nothing said of the weights.

With all of them wrong the order begins at random, too: pairs and order come from the data alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import partial

import numpy as np

from pairing.arrays import Indices
from pairing.search.driver import Hooks, Limits
from pairing.search.refine import refine
from tests.benchmarks.case import Case, Sample, Values, finite
from tests.benchmarks.puzzles import disguised, is_answer
from tests.benchmarks.record import Figure, share

SECONDS = 60
"""CPU seconds that a try may take."""

BLOCKS = 48
"""Of the published puzzle."""

REQUIRED = {2: 90.0, 4: 90.0, 8: 95.0, 16: 95.0, 28: 95.0, BLOCKS: 95.0}
"""Per cent of the tries that must end exact, by the number of wrong pairs."""

MEDIANS = {BLOCKS: 20.0}
"""CPU seconds."""

QUICK = {2: 2, 4: 2, BLOCKS: 1}
TRIES = 20


def permuted(pairs: Indices, wrong: int, rng: np.random.Generator) -> Indices:
    """The pairs (N,) with the out pieces of ``wrong`` blocks passed round in a ring, so that each of those is wrong."""
    ring = rng.choice(len(pairs), wrong, replace=False)
    changed = pairs.copy()
    changed[ring] = pairs[np.roll(ring, 1)]
    return changed


def _repaired(wrong: int, sample: Sample) -> Values:
    planted = disguised(sample.seed)
    pairs = permuted(planted.pairs, wrong, np.random.default_rng(sample.seed))
    start = "auto" if wrong < BLOCKS else "random"
    began = time.process_time()
    evidence = np.full((BLOCKS, BLOCKS), -math.log(BLOCKS)) if wrong == BLOCKS else None
    hooks = Hooks(should_stop=lambda: "budget" if time.process_time() - began > SECONDS else None)
    limits = Limits(seconds=math.inf)
    found = refine(planted.puzzle, pairs, seed=sample.seed, start=start, evidence=evidence, limits=limits, hooks=hooks)
    return {
        "exact": is_answer(planted, found.solution),
        "cpu": time.process_time() - began,
        "pairs_right": _pairs_right(planted.pairs, found.solution.inp_sigma, found.solution.out_sigma),
        "relative_error": finite(found.solution.full_mse / planted.puzzle.target_variance),
    }


def _pairs_right(true: Indices, inp_sigma: Sequence[int], out_sigma: Sequence[int]) -> int:
    return sum(int(true[i]) == j for i, j in zip(inp_sigma, out_sigma, strict=True))


def _figures(values: Sequence[Values], wrong: int) -> list[Figure]:
    exact = [v["exact"] for v in values]
    median = float(np.median([v["cpu"] if v["exact"] else math.inf for v in values]))
    what = f"{wrong} wrong pairs" if wrong < BLOCKS else "data alone, published network"
    return [
        share(f"{what}: exact within {SECONDS} CPU s", exact, required=REQUIRED[wrong]),
        Figure(what=f"{what}: median", measured=median, unit="CPU s", required=MEDIANS.get(wrong), samples=len(values)),
    ]


CASES = tuple(
    Case(
        name=f"repair {wrong}",
        measure=partial(_repaired, wrong),
        figures=partial(_figures, wrong=wrong),
        quick=QUICK.get(wrong, 0),
        full=TRIES,
    )
    for wrong in REQUIRED
)
