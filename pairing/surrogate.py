"""The commutator surrogate: the error of every order near a given one as a quadratic form in inversions.

Exchange two blocks a (earlier) and b (later), and a row's output changes, to first order, by
``D_ab = u_a · f_b − u_b · f_a``, with f_p the branch of the block at position p and u_p = J_pᵀ g_{p+1} the part of the
output's gradient that flows through it, both at the present trajectory. With the residual ``r = target − output``, an
order that inverts a set Z of pairs has the error ``mean (r − Σ_{Z} D_ab)²`` to that order: a quadratic form in
N(N−1)/2 bits, whose matrix is computed once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pairing.activations import activation_of
from pairing.network import Network
from pairing.puzzle import Array32, Indices


@dataclass(frozen=True, eq=False)
class Surrogate:
    """``error(z) = error − 2 slope·z + zᵀ gram z`` for inversion bits z of the P = N(N−1)/2 pairs of positions.

    Pair (p, q), p < q, has the index that ``np.triu_indices(N, 1)`` gives it.
    """

    error: float
    """The exact error of the linearised order on the surrogate's rows."""
    slope: Array32
    """(P,) float32."""
    gram: Array32
    """(P, P) float32."""


def linearise(network: Network, order: Indices, rows: Indices) -> Surrogate:
    """The surrogate at ``order``, from the data rows ``rows`` (S,)."""
    forward, residual = _forward(network, order, rows)
    through = _backward(network, order, forward)
    changes = _commutators(through, forward.branches)
    samples = np.float32(len(changes))
    return Surrogate(
        error=float(np.mean(np.square(residual, dtype=np.float64))),
        slope=(residual.T.reshape(-1) @ changes) / samples,
        gram=(changes.T @ changes) / samples,
    )


@dataclass(frozen=True, eq=False)
class _Trajectory:
    before: Array32  # (N, S, h): hidden units before the activation
    branches: Array32  # (N, S, d)


def _forward(network: Network, order: Indices, rows: Indices) -> tuple[_Trajectory, Array32]:
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
    residual = puzzle.target_values[rows].astype(np.float32) - network.outputs(states)
    return _Trajectory(before, branches), residual


def _backward(network: Network, order: Indices, forward: _Trajectory) -> Array32:
    """(N, o·S, d): u_p for every position and row, the outputs one after the other."""
    puzzle = network.puzzle
    slope = activation_of(puzzle.activation).slope
    count, samples, width = forward.branches.shape
    gradient = np.repeat(puzzle.last_weight[:, None, :], samples, axis=1)  # (o, S, d)
    through = np.empty((count, puzzle.outputs, samples, width), np.float32)
    for position in range(count - 1, -1, -1):
        block = order[position]
        inner = gradient @ network.out_weight[block]
        inner *= slope(forward.before[position])
        np.matmul(inner, puzzle.inp_weight[block], out=through[position])
        gradient += through[position]
    return through.reshape(count, puzzle.outputs * samples, width)


def _commutators(through: Array32, branches: Array32) -> Array32:
    """(o·S, P) float32: D of every pair of positions for every row."""
    count = len(branches)
    outputs = through.shape[1] // branches.shape[1]
    branches = np.tile(branches, (1, outputs, 1)) if outputs > 1 else branches
    products = np.matmul(through.transpose(1, 0, 2), branches.transpose(1, 2, 0))  # (o·S, N, N): u_p · f_q
    first, second = np.triu_indices(count, 1)
    flat = products.reshape(len(products), -1)
    changes: Array32 = flat[:, first * count + second] - flat[:, second * count + first]
    return changes
