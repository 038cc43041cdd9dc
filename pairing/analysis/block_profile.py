"""What each block of a network is like: its weights' norms, and how much it changes the state that passes through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pairing.model.network import Network, pairs_of
from pairing.model.puzzle import Puzzle
from pairing.solution import Solution

SAMPLES = 1024


@dataclass(frozen=True)
class BlockProfile:
    """One block."""

    inp_norm: float
    """The Frobenius norm of the inp piece's weight."""
    out_norm: float
    """That of the out piece's."""
    change: float | None
    """‖x' − x‖ / ‖x‖ of the states x before and x' behind the block, over at most 1,024 samples; ``None``: overflow."""


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def block_profiles(puzzle: Puzzle, solution: Solution) -> list[BlockProfile]:
    """A solution's blocks in the order in which they are applied."""
    network = Network(puzzle, pairs_of(solution.inp_sigma, solution.out_sigma))
    states = puzzle.rows_in[:: -(-puzzle.rows // SAMPLES)].copy()
    profiles = []
    for inp, out in zip(solution.inp_sigma, solution.out_sigma, strict=True):
        before = states.copy()
        network.advance(states, [inp])
        change = float(np.linalg.norm(states - before) / np.linalg.norm(before))
        profiles.append(
            BlockProfile(
                float(np.linalg.norm(puzzle.inp_weight[inp])),
                float(np.linalg.norm(puzzle.out_weight[out])),
                change if np.isfinite(change) else None,
            )
        )
    return profiles
