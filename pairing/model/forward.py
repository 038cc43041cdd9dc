"""Residual blocks applied to many rows at once, at little more than the cost of their matrix products.

States are held as columns, with a row of ones below them, and every bias stands as the last column of its weight: so a
block is two products, the activation and one addition, each over whole contiguous arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from pairing.arrays import Array32
from pairing.model.activations import activation_of
from pairing.model.puzzle import Puzzle

CHUNK_ROWS = 1000
"""Rows that go through the network together at most: their states fit a core's cache."""

SMALL_PRODUCT = 10**6
"""Multiplications up to which OpenBLAS (with AVX-512) does not copy a product's factors before it begins."""

FEWEST_ROWS = 96
"""With fewer rows at once, small products gain less than so many calls cost."""

Advance = Callable[[Array32, Iterable[tuple[int, int]]], None]
"""``advance(states, blocks)`` takes states (d + 1, S) through ``blocks``, each an inp and an out piece, in place."""


@dataclass(frozen=True, eq=False)
class AugmentedLayers:
    """A puzzle's layers, those of the blocks with their biases as the last columns of their weights."""

    inp: Array32
    """(N, h, d + 1) float32."""
    out: Array32
    """(N, d, h + 1) float32."""
    last: Array32
    """(o, d) float32: without its bias, which float32 might not hold beside what it is added to."""
    activation: str

    def chunks(self, rows: int) -> Iterator[slice]:
        """The rows in parts of about one size, which go through the blocks fastest each by itself."""
        small = SMALL_PRODUCT // max(self.inp[0].size, self.out[0].size)
        most = min(small, CHUNK_ROWS) if small >= FEWEST_ROWS else CHUNK_ROWS
        parts = -(-rows // most)
        for part in range(parts):
            yield slice(rows * part // parts, rows * (part + 1) // parts)

    def advancing(self, columns: int) -> Advance:
        """What takes ``columns`` states through blocks, in buffers of its own."""
        act = activation_of(self.activation).apply
        hidden = np.ones((self.out.shape[2], columns), np.float32)
        branch = np.empty((self.out.shape[1], columns), np.float32)
        units = hidden[:-1]

        def advance(states: Array32, blocks: Iterable[tuple[int, int]]) -> None:
            values = states[:-1]
            for i, j in blocks:
                np.matmul(self.inp[i], states, out=units)
                act(units, units)
                np.matmul(self.out[j], hidden, out=branch)
                np.add(values, branch, out=values)

        return advance


def augmented_layers(puzzle: Puzzle) -> AugmentedLayers:
    """The puzzle's layers, ready to be applied."""
    return AugmentedLayers(
        inp=np.concatenate([puzzle.inp_weight, puzzle.inp_bias[:, :, None]], axis=2),
        out=np.concatenate([puzzle.out_weight, puzzle.out_bias[:, :, None]], axis=2),
        last=puzzle.last_weight,
        activation=puzzle.activation,
    )


def columns_of(rows: Array32) -> Array32:
    """(d + 1, S) float32: the rows (S, d) as columns, with ones below them."""
    states = np.ones((rows.shape[1] + 1, len(rows)), np.float32)
    states[:-1] = rows.T
    return states
