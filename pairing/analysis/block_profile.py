"""What each block of a network is like: its weights' norms, and how much it changes the state that passes through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pairing.arrays import Array32
from pairing.model.network import Network, pairs_of
from pairing.model.puzzle import Puzzle
from pairing.solution import Solution

SAMPLES = 1000


@dataclass(frozen=True)
class BlockProfile:
    """One block."""

    inp_norm: float
    """The Frobenius norm of the inp piece's weight."""
    out_norm: float
    """That of the out piece's."""
    change: float
    """‖x' − x‖ / ‖x‖ for the states x before and x' after the block, over at most 1,000 samples; NaN: overflow."""


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def block_profiles(puzzle: Puzzle, solution: Solution) -> list[BlockProfile]:
    """A solution's blocks in the order in which they are applied."""
    network = Network(puzzle, pairs_of(solution.inp_sigma, solution.out_sigma))
    states = puzzle.rows_in[:: -(-puzzle.rows // SAMPLES)].copy()
    profiles = []
    for inp, out in zip(solution.inp_sigma, solution.out_sigma, strict=True):
        before = states.copy()
        network.advance(states, [inp])
        profiles.append(
            BlockProfile(
                _norm(puzzle.inp_weight[inp]),
                _norm(puzzle.out_weight[out]),
                float(np.linalg.norm(states - before) / np.linalg.norm(before)),
            )
        )
    return profiles


def _norm(weight: Array32) -> float:
    return float(np.linalg.norm(weight.astype(np.float64)))
