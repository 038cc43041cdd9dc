"""The residual network: ``x = x + W_out act(W_in x + b_in) + b_out`` block by block, then the last layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pairing.activations import activation_of
from pairing.puzzle import Array32, Indices, Puzzle

CHUNK_ROWS = 1000
"""Rows that go through the network together: their states fit a core's cache."""


@dataclass(frozen=True, eq=False)
class Network:
    """A puzzle with its pairs fixed: block i is inp piece i with out piece ``pairs[i]``; only the order is open."""

    puzzle: Puzzle
    pairs: Indices
    """(N,) int64: the out piece's index for every inp piece's."""

    @cached_property
    def out_weight(self) -> Array32:
        """(N, d, h) float32, in the order of the blocks."""
        return self.puzzle.out_weight[self.pairs]

    @cached_property
    def out_bias(self) -> Array32:
        """(N, d) float32, in the order of the blocks."""
        return self.puzzle.out_bias[self.pairs]

    def advance(self, states: Array32, blocks: Iterable[int]) -> None:
        """Takes ``states`` (S, d) float32 through ``blocks``, in place."""
        puzzle, weight, bias = self.puzzle, self.out_weight, self.out_bias
        act = activation_of(puzzle.activation).apply
        hidden = np.empty((len(states), puzzle.hidden), np.float32)
        branch = np.empty_like(states)
        for k in blocks:
            np.matmul(states, puzzle.inp_weight[k].T, out=hidden)
            hidden += puzzle.inp_bias[k]
            act(hidden, hidden)
            np.matmul(hidden, weight[k].T, out=branch)
            branch += bias[k]
            states += branch

    def outputs(self, states: Array32) -> Array32:
        """The last layer's answer (S, o) float32 to the final states (S, d)."""
        return states @ self.puzzle.last_weight.T + self.puzzle.last_bias

    def predict(self, order: Sequence[int] | Indices, rows_in: Array32) -> Array32:
        """The whole network's answer (S, o) float32 to ``rows_in`` (S, d), its blocks in ``order``."""
        parts = []
        for start in range(0, len(rows_in), CHUNK_ROWS):
            states = np.array(rows_in[start : start + CHUNK_ROWS], np.float32, order="C")
            self.advance(states, order)
            parts.append(self.outputs(states))
        return np.concatenate(parts)

    def full_mse(self, order: Sequence[int] | Indices) -> float:
        """Mean squared error over all rows and outputs, accumulated in float64. Infinite where it overflows."""
        with np.errstate(over="ignore", invalid="ignore"):
            residual = self.puzzle.target_values - self.predict(order, self.puzzle.rows_in)
            error = float(np.mean(np.square(residual)))
        return error if np.isfinite(error) else float("inf")

    def sigmas(self, order: Sequence[int] | Indices) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """``(inp_sigma, out_sigma)`` of the blocks in ``order``, as plain ints."""
        return tuple(int(k) for k in order), tuple(int(self.pairs[k]) for k in order)


def pairs_of(inp_sigma: Sequence[int], out_sigma: Sequence[int]) -> NDArray[np.int64]:
    """(N,) int64: the out piece's index for every inp piece's, of an order's sigmas."""
    pairs = np.empty(len(inp_sigma), np.int64)
    pairs[list(inp_sigma)] = out_sigma
    return pairs
