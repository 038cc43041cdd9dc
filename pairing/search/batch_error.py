"""Exact errors of many candidates at once: orders and pairings that differ from one another in a few blocks.

Candidates are taken in the lexicographic order of their blocks, and each continues from the states at the place where
it forks off from the ones before it: of all candidates together, every shared beginning is computed once.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from pairing.arrays import Array32, Array64, Indices
from pairing.model.forward import augmented_layers, columns_of
from pairing.model.puzzle import Puzzle


def candidate_errors(puzzle: Puzzle, inp_sigmas: ArrayLike, out_sigmas: ArrayLike, rows: Indices) -> Array64:
    """(C,) float64: each candidate's mean squared error on the data rows ``rows`` (S,), over all outputs.

    ``inp_sigmas`` and ``out_sigmas`` are (C, N): every line is one candidate's sigma, and any order and pairing is
    allowed. An error that overflows is infinite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        residuals = candidate_residuals(puzzle, inp_sigmas, out_sigmas, rows)
        errors: Array64 = np.square(residuals, dtype=np.float64).mean(axis=1)
    errors[~np.isfinite(errors)] = np.inf
    return errors


@np.errstate(over="ignore", invalid="ignore")  # a wrong order may overflow
def candidate_residuals(puzzle: Puzzle, inp_sigmas: ArrayLike, out_sigmas: ArrayLike, rows: Indices) -> Array32:
    """(C, o·S) float32: target − output of each candidate, the outputs one after the other; see the errors."""
    inp, out = np.asarray(inp_sigmas, np.int64), np.asarray(out_sigmas, np.int64)
    order, shared = _forks(inp * puzzle.blocks + out)
    paths = [list(zip(*sigmas, strict=True)) for sigmas in zip(inp[order].tolist(), out[order].tolist(), strict=True)]
    kept_at = _kept(shared)
    layers, residuals = augmented_layers(puzzle), np.empty((len(inp), puzzle.outputs, len(rows)), np.float32)
    for chunk in layers.chunks(len(rows)):
        states = columns_of(puzzle.rows_in[rows[chunk]])
        targets = (puzzle.target_values[rows[chunk]] - puzzle.last_bias).T
        advance, kept = layers.advancing(states.shape[1]), {0: states.copy()}
        for candidate, path, fork, stops in zip(order, paths, shared, kept_at, strict=True):
            states[:] = kept[fork]
            for start, stop in pairwise([fork, *stops]):
                advance(states, path[start:stop])
                kept[stop] = states.copy()
            advance(states, path[stops[-1] if stops else fork :])
            residuals[candidate, :, chunk] = targets - layers.last @ states[:-1]
    return residuals.reshape(len(inp), -1)


def _forks(blocks: Indices) -> tuple[Indices, list[int]]:
    """The lexicographic order of the lines (C, N), and how many blocks each there shares with the one before it."""
    order = np.lexsort(blocks.T[::-1])
    differs = blocks[order[1:]] != blocks[order[:-1]]
    shared = np.where(differs.any(axis=1), differs.argmax(axis=1), blocks.shape[1])
    return order, [0, *shared.tolist()]


def _kept(shared: list[int]) -> list[list[int]]:
    """For each line the places, ascending, past its own fork at which later lines fork off from it."""
    places: list[list[int]] = []
    later: list[int] = []
    for fork in reversed(shared):
        places.append([place for place in later if place > fork])
        later = [*(place for place in later if place < fork), fork]
    return places[::-1]
