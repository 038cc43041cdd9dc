"""The commutator surrogate: the error of every order near a given one as a quadratic form in inversions.

Exchange two blocks a (earlier) and b (later), and a row's output changes, to first order, by
``D_ab = u_a · f_b − u_b · f_a``, with f_p the branch of the block at position p and u_p = J_pᵀ g_{p+1} the part of the
output's gradient that flows through it, both at the present trajectory. With the residual ``r = target − output``, an
order that inverts a set Z of pairs has the error ``mean (r − Σ_{Z} D_ab)²`` to that order.

The form's matrix would have N⁴/4 entries. An insertion moves one block past others, so its price needs only the inner
products among changes that share a block: N matrices of N×N, and a vector for every pair.

Near an order a ``Window`` has the whole matrix: there pairs of positions more than ``reach`` apart stay as they are, so
that about N·reach pairs are left, P, the matrix has P² entries, and turning a pair round costs one of its rows. With
fewer unknowns, fewer samples tell them apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pairing.arrays import Array32, Indices
from pairing.model.activations import activation_of
from pairing.model.network import Network
from pairing.search.kernels import antisymmetric

CHUNK_ROWS = 16
"""Rows whose N×N inner products are held at once: few enough for a core's cache, and a cache line of every pair."""
REACH = 16
"""Places that a window looks to either side of a block."""
MOST_PAIRS = 2**13
"""Pairs in a window at most, whose square is its size in memory: in very large networks it looks less far."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What samples do in a network, forward and backward. N positions, S rows, o outputs."""

    preactivations: Array32
    """(N, S, h): hidden units before the activation."""
    branches: Array32
    """(N, S, d): f_p."""
    branch_vjp: Array32
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
    shared_block_gram: Array32
    """(N, N, N) float32: mean D_ab·D_ac at [a, b, c], where D_ba = −D_ab."""

    @property
    def error(self) -> float:
        """The exact error of the linearized order on the surrogate's rows."""
        return float(np.mean(np.square(self.residual, dtype=np.float64)))


def linearize(network: Network, order: Indices, rows: Indices) -> Surrogate:
    """The surrogate at ``order``, from the data rows ``rows`` (S,)."""
    path = trajectory(network, order, rows)
    return surrogate_of(path.residual, commutators(path))


def surrogate_of(residual: Array32, changes: Array32) -> Surrogate:
    """The surrogate of a residual (n,) and the changes (P, n) of all pairs of positions."""
    count = (1 + math.isqrt(1 + 8 * len(changes))) // 2
    index = pair_index(count)
    shared_block_gram = np.zeros((count, count, count), np.float32)
    for block in range(count if len(changes) else 0):
        mine = changes[index[block]]
        mine[:block] *= -1
        mine[block] = 0
        np.matmul(mine, mine.T, out=shared_block_gram[block])
    shared_block_gram /= np.float32(len(residual))
    return Surrogate(residual, changes, shared_block_gram)


def trajectory(network: Network, order: Indices, rows: Indices) -> Trajectory:
    """The data rows ``rows`` (S,) through the blocks in ``order``, and the gradients back."""
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
    branch_vjp = _backward(network, order, before)
    return Trajectory(before, branches, branch_vjp, np.ascontiguousarray(residual.T).reshape(-1))


def _backward(network: Network, order: Indices, before: Array32) -> Array32:
    """(N, o·S, d): u_p for every position and row, the outputs one after the other."""
    puzzle = network.puzzle
    slope = activation_of(puzzle.activation).slope
    count, samples = before.shape[:2]
    gradient = np.repeat(puzzle.last_weight[:, None, :], samples, axis=1)  # (o, S, d)
    branch_vjp = np.empty((count, *gradient.shape), np.float32)
    for position in range(count - 1, -1, -1):
        block = order[position]
        inner = gradient @ network.out_weight[block]
        inner *= slope(before[position])
        np.matmul(inner, puzzle.inp_weight[block], out=branch_vjp[position])
        gradient += branch_vjp[position]
    return branch_vjp.reshape(count, -1, puzzle.width)


def commutators(path: Trajectory, reach: int | None = None) -> Array32:
    """(P, o·S) float32: D of every pair of positions for every row; of those at most ``reach`` apart, if given."""
    count, samples, _ = path.branches.shape
    reach = count - 1 if reach is None else min(reach, count - 1)
    changes = np.empty((reach * count - reach * (reach + 1) // 2, path.branch_vjp.shape[1]), np.float32)
    for start in range(0, samples, CHUNK_ROWS):
        end = min(samples, start + CHUNK_ROWS)
        branches = path.branches[:, start:end].transpose(1, 2, 0)  # (s, d, N)
        for offset in range(0, path.branch_vjp.shape[1], samples):  # the outputs
            branch_vjp = path.branch_vjp[:, offset + start : offset + end].transpose(1, 0, 2)  # (s, N, d)
            antisymmetric(np.matmul(branch_vjp, branches), changes[:, offset + start : offset + end], reach)
    return changes


def pair_index(count: int, reach: int | None = None) -> Indices:
    """(N, N) int64: the index of two positions' pair, either way round; 0 on the diagonal and out of ``reach``."""
    index = np.zeros((count, count), np.int64)
    first, second = np.triu_indices(count, 1)
    if reach is not None:
        near = second - first <= reach
        first, second = first[near], second[near]
    index[first, second] = index[second, first] = np.arange(len(first))
    return index


@dataclass(frozen=True, eq=False)
class Window:
    """The surrogate's form over the P pairs of positions at most ``reach`` apart: ``error − 2·slopes·z + zᵀ·matrix·z``.

    z is 1 for a pair that is inverted, 0 for any other.
    """

    error: float
    """The exact error of the linearized order on the window's rows."""
    slopes: Array32
    """(P,) float32: mean residual·D."""
    matrix: Array32
    """(P, P) float32: mean D·Dᵀ."""
    index: Indices
    """(N, N) int64: the index of the pair of two positions, either way round; 0 on the diagonal and out of reach."""
    reach: int

    @property
    def finite(self) -> bool:
        """Whether it can be searched."""
        return bool(np.isfinite(self.slopes).all() and np.isfinite(self.matrix).all())


def window_at(network: Network, order: Indices, rows: Indices, reach: int = REACH) -> Window:
    """The form at ``order`` (N,), from the data rows ``rows`` (S,)."""
    reach = _reach(len(order), reach)
    path = trajectory(network, order, rows)
    changes = commutators(path, reach)
    values = np.float32(len(path.residual))
    matrix = changes @ changes.T
    matrix /= values
    return Window(path.error, changes @ path.residual / values, matrix, pair_index(len(order), reach), reach)


def pairs_within(blocks: int, reach: int = REACH) -> int:
    """P, how many pairs of positions a window looks at."""
    reach = _reach(blocks, reach)
    return reach * blocks - reach * (reach + 1) // 2


def _reach(blocks: int, reach: int) -> int:
    return max(1, min(reach, blocks - 1, MOST_PAIRS // blocks))
