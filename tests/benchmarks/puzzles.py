"""The published puzzle, disguised."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from pairing.assignment import assign
from pairing.io.load import load_puzzle
from pairing.search.refine import refine
from pairing.signals.registry import similarity
from pairing.solution import Solution
from tests.support.paths import PUBLISHED_PUZZLE
from tests.support.puzzles import Planted, reshuffled


@cache
def published() -> Planted:
    """The published puzzle with the answer that is found for it, its hash withheld."""
    puzzle = load_puzzle(PUBLISHED_PUZZLE)
    found = refine(puzzle, assign(similarity(puzzle, "trace")).pairs).solution
    if not found.hash_match:
        raise RuntimeError("the published puzzle was not solved, so nothing can be compared with its answer")
    return Planted(puzzle=replace(puzzle, target_hash=None), inp_sigma=found.inp_sigma, out_sigma=found.out_sigma)


def disguised(seed: int) -> Planted:
    """The published puzzle re-shuffled: pieces renumbered, hidden units permuted inside blocks, no hash."""
    return reshuffled(published(), np.random.default_rng(seed))


def is_answer(planted: Planted, solution: Solution) -> bool:
    """Whether a solution is the planted answer, block for block."""
    return (solution.inp_sigma, solution.out_sigma) == (planted.inp_sigma, planted.out_sigma)
