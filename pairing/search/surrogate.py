"""The commutator surrogate: the error of every order near a given one as a quadratic form in inversions.

Exchange two blocks a (earlier) and b (later), and a row's output changes, to first order, by
``D_ab = u_a · f_b − u_b · f_a``, with f_p the branch of the block at position p and u_p = J_pᵀ g_{p+1} the part of the
output's gradient that flows through it, both at the present trajectory. With the residual ``r = target − output``, an
order that inverts a set Z of pairs has the error ``mean (r − Σ_{Z} D_ab)²`` to that order.

The form's matrix would have N⁴/4 entries. An insertion moves one block past others, so its price needs only the inner
products among changes that share a block: N matrices of N×N, and a vector for every pair.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pairing.arrays import Array32, Indices
from pairing.model.activations import activation_of
from pairing.model.network import Network
from pairing.search.compiled import njit

CHUNK_ROWS = 16
"""Rows whose N×N inner products are held at once: few enough for a core's cache, and a cache line of every pair."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A network's way over some rows, forward and backward. N positions, S rows, o outputs."""

    hidden: Array32
    """(N, S, h): hidden units before the activation."""
    branches: Array32
    """(N, S, d): f_p."""
    through: Array32
    """(N, o·S, d): u_p, the outputs one after the other."""
    residual: Array32
    """(o·S,): target − output."""

    @property
    def error(self) -> float:
        """The exact error on these rows."""
        return float(np.mean(np.square(self.residual, dtype=np.float64)))


@dataclass(frozen=True, eq=False)
class Surrogate:
    """The error of an order that inverts the pairs Z of positions: ``mean (residual − Σ_Z changes)²``.

    Pair (p, q), p < q, has the index that ``np.triu_indices(N, 1)`` gives it.
    """

    residual: Array32
    """(n,) float32, for n = o·S values."""
    changes: Array32
    """(P, n) float32: D of each of the P = N(N−1)/2 pairs."""
    crossings: Array32
    """(N, N, N) float32: mean D_ab·D_ac at [a, b, c], where D_ba = −D_ab."""

    @property
    def error(self) -> float:
        """The exact error of the linearised order on the surrogate's rows."""
        return float(np.mean(np.square(self.residual, dtype=np.float64)))


def linearise(network: Network, order: Indices, rows: Indices) -> Surrogate:
    """The surrogate at ``order``, from the data rows ``rows`` (S,)."""
    way = trajectory(network, order, rows)
    return surrogate_of(way.residual, commutators(way))


def surrogate_of(residual: Array32, changes: Array32) -> Surrogate:
    """The surrogate of a residual (n,) and the changes (P, n) of all pairs of positions."""
    count = (1 + math.isqrt(1 + 8 * len(changes))) // 2
    index = pair_index(count)
    crossings = np.zeros((count, count, count), np.float32)
    for block in range(count if len(changes) else 0):
        mine = changes[index[block]]
        mine[:block] *= -1
        mine[block] = 0
        np.matmul(mine, mine.T, out=crossings[block])
    crossings /= np.float32(len(residual))
    return Surrogate(residual, changes, crossings)


def trajectory(network: Network, order: Indices, rows: Indices) -> Trajectory:
    """The way of the data rows ``rows`` (S,) through the blocks in ``order``, and the gradient's way back."""
    puzzle = network.puzzle
    act = activation_of(puzzle.activation).apply
    states = puzzle.rows_in[rows]
    before = np.empty((len(order), len(rows), puzzle.hidden), np.float32)
    branches = np.empty((len(order), len(rows), puzzle.width), np.float32)
    hidden = np.empty_like(before[0])
    for position, block in enumerate(order):
        np.matmul(states, puzzle.inp_weight[block].T, out=before[position])
        before[position] += puzzle.inp_bias[block]
        act(before[position], hidden)
        np.matmul(hidden, network.out_weight[block].T, out=branches[position])
        branches[position] += network.out_bias[block]
        states += branches[position]
    residual = (puzzle.target_values[rows] - puzzle.last_bias - network.outputs(states)).astype(np.float32)
    through = _backward(network, order, before)
    return Trajectory(before, branches, through, np.ascontiguousarray(residual.T).reshape(-1))


def _backward(network: Network, order: Indices, before: Array32) -> Array32:
    """(N, o·S, d): u_p for every position and row, the outputs one after the other."""
    puzzle = network.puzzle
    slope = activation_of(puzzle.activation).slope
    count, samples = before.shape[:2]
    gradient = np.repeat(puzzle.last_weight[:, None, :], samples, axis=1)  # (o, S, d)
    through = np.empty((count, *gradient.shape), np.float32)
    for position in range(count - 1, -1, -1):
        block = order[position]
        inner = gradient @ network.out_weight[block]
        inner *= slope(before[position])
        np.matmul(inner, puzzle.inp_weight[block], out=through[position])
        gradient += through[position]
    return through.reshape(count, -1, puzzle.width)


def commutators(way: Trajectory, reach: int | None = None) -> Array32:
    """(P, o·S) float32: D of every pair of positions for every row; of those at most ``reach`` apart, if given."""
    count, samples, _ = way.branches.shape
    reach = count - 1 if reach is None else min(reach, count - 1)
    changes = np.empty((reach * count - reach * (reach + 1) // 2, way.through.shape[1]), np.float32)
    for start in range(0, samples, CHUNK_ROWS):
        end = min(samples, start + CHUNK_ROWS)
        branches = way.branches[:, start:end].transpose(1, 2, 0)  # (s, d, N)
        for offset in range(0, way.through.shape[1], samples):  # the outputs
            through = way.through[:, offset + start : offset + end].transpose(1, 0, 2)  # (s, N, d)
            _antisymmetric(np.matmul(through, branches), changes[:, offset + start : offset + end], reach)
    return changes


@njit()
def _antisymmetric(products, changes, reach):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Writes products[s, a, b] − products[s, b, a], u_a · f_b − u_b · f_a, to changes[pair, s]."""
    samples, count, _ = products.shape
    pair = 0
    for first in range(count):
        for second in range(first + 1, min(first + reach + 1, count)):
            for s in range(samples):
                changes[pair, s] = products[s, first, second] - products[s, second, first]
            pair += 1


def pair_index(count: int, reach: int | None = None) -> Indices:
    """(N, N) int64: the index of two positions' pair, either way round; 0 on the diagonal and out of ``reach``."""
    index = np.zeros((count, count), np.int64)
    first, second = np.triu_indices(count, 1)
    if reach is not None:
        near = second - first <= reach
        first, second = first[near], second[near]
    index[first, second] = index[second, first] = np.arange(len(first))
    return index
