"""The residual network: ``x = x + W_out act(W_in x + b_in) + b_out`` block by block, then the last layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pairing.arrays import Array32, Array64, Indices
from pairing.model.forward import AugmentedLayers, augmented_layers, columns_of
from pairing.model.puzzle import Puzzle


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

    @cached_property
    def layers(self) -> AugmentedLayers:
        """The puzzle's layers, ready to be applied."""
        return augmented_layers(self.puzzle)

    def advance(self, states: Array32, blocks: Iterable[int]) -> None:
        """Takes ``states`` (S, d) float32 through ``blocks``, in place."""
        columns = columns_of(states)
        self._advance_columns(columns, blocks)
        states[:] = columns[:-1].T

    def _advance_columns(self, columns: Array32, blocks: Iterable[int]) -> None:
        advance = self.layers.advancing(columns.shape[1])
        advance(columns, ((k, self.pairs[k]) for k in blocks))

    def outputs(self, states: Array32) -> Array32:
        """The last layer's outputs (S, o) float32 for the final states (S, d), without its bias."""
        return states @ self.puzzle.last_weight.T

    def predict(self, order: Sequence[int] | Indices, rows_in: Array32) -> Array64:
        """The whole network's predictions (S, o) for ``rows_in`` (S, d), blocks in ``order``; the bias in float64."""
        predictions = np.empty((len(rows_in), self.puzzle.outputs))
        for chunk in self.layers.chunks(len(rows_in)):
            columns = columns_of(rows_in[chunk])
            self._advance_columns(columns, order)
            np.add((self.layers.last @ columns[:-1]).T, self.puzzle.last_bias, out=predictions[chunk], dtype=np.float64)
        return predictions

    @np.errstate(over="ignore", invalid="ignore")
    def full_mse(self, order: Sequence[int] | Indices) -> float:
        """MSE over all samples and outputs, accumulated in float64; infinite where it overflows."""
        targets, total = self.puzzle.target_values, 0.0
        for chunk in self.layers.chunks(self.puzzle.rows):
            residual = targets[chunk] - self.predict(order, self.puzzle.rows_in[chunk])
            total += float(np.sum(np.square(residual)))
        return total / targets.size if np.isfinite(total) else float("inf")

    def sigmas(self, order: Sequence[int] | Indices) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """``(inp_sigma, out_sigma)`` of the blocks in ``order``, as plain ints."""
        return tuple(int(k) for k in order), tuple(int(self.pairs[k]) for k in order)


def pairs_of(inp_sigma: Sequence[int], out_sigma: Sequence[int]) -> NDArray[np.int64]:
    """(N,) int64: the out piece's index for every inp piece's, of an order's sigmas."""
    pairs = np.empty(len(inp_sigma), np.int64)
    pairs[list(inp_sigma)] = out_sigma
    return pairs
