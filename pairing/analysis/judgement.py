"""The last check of a solution: whether noise explains its MSE, and how many others are as good."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from pairing.model.network import Network, pairs_of
from pairing.model.puzzle import Puzzle
from pairing.search.identifiability import undecidable_exchanges
from pairing.search.noise import noise_of
from pairing.solution import Solution


def judged(puzzle: Puzzle, solution: Solution, seconds: float = float("inf")) -> Solution:
    """The solution with its ``noise`` and, if it solves the puzzle, ``as_good`` and ``by_chance``.

    As far as ``seconds`` allow.
    """
    ends = time.monotonic() + seconds
    noise = judged_noise(puzzle, solution, seconds)
    if noise is None and not solution.solved:
        return solution
    undecidable = undecidable_exchanges(puzzle, solution, ends - time.monotonic())
    if undecidable is None:
        return replace(solution, noise=noise)
    return replace(solution, noise=noise, as_good=undecidable.as_good, by_chance=undecidable.by_chance)


def judged_noise(puzzle: Puzzle, solution: Solution, seconds: float = float("inf")) -> float | None:
    """The standard deviation of the noise that explains the error of a solution which is not solved otherwise."""
    if solution.noise is not None or solution.solved or solution.hash_match is not None:
        return solution.noise
    network = Network(puzzle, pairs_of(solution.inp_sigma, solution.out_sigma))
    return noise_of(network, np.array(solution.inp_sigma, np.int64), solution.full_mse, seconds)
