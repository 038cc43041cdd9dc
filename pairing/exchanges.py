"""What exchanges of pieces between two blocks would gain, whatever small changes of the order go with them.

Let the blocks at positions p and q exchange their out pieces (or their inp pieces). A row's output changes, to first
order, by ``E_pq = g_{p+1}·(f'_p − f_p) + g_{q+1}·(f'_q − f_q)``, with f' the new branches at the present states and g
the output's gradient. With wrong pairs the order is wrong too, since it was bent to make up for them. So inversions
are a nuisance: each of the N(N−1)/2 changes D (:mod:`pairing.surrogate`) is taken as present with a random
coefficient of variance τ², and what no change explains as noise of variance σ². With ``K = (σ² I + τ² Σ D Dᵀ)⁻¹`` an
exchange's log-likelihood ratio is ``E·K r − E·K E / 2`` (generalised least squares, Aitken 1935).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pairing.activations import activation_of
from pairing.network import Network
from pairing.puzzle import Array32, Array64, Indices
from pairing.surrogate import Trajectory, commutators, trajectory

INVERSION_VARIANCE = 0.03
"""τ²: that much of all pairs of blocks may be in the wrong order."""
NOISE = 0.1
"""σ² as a part of the residual's variance."""
CONDITION = 1e-4
"""Least noise, as a part of what inversions explain on average: float32 has no root of a matrix nearer to singular."""
CHUNK_ROWS = 100
"""Rows whose N·h hidden units are held at once."""


@dataclass(frozen=True)
class Exchange:
    """Two positions, first < second, that exchange their out pieces, or with ``inp`` their inp pieces."""

    first: int
    second: int
    inp: bool

    def applied(self, pairs: Indices, order: Indices) -> tuple[Indices, Indices]:
        """The pairs and the order afterwards, both (N,) int64."""
        here, there = order[self.first], order[self.second]
        pairs, order = pairs.copy(), order.copy()
        pairs[[here, there]] = pairs[[there, here]]
        if self.inp:  # the out pieces stay where they are, the inp pieces change places
            order[[self.first, self.second]] = there, here
        return pairs, order


@dataclass(eq=False)
class Prices:
    """The gains of all N(N−1) exchanges, in nats; more is better."""

    exchanges: list[Exchange]
    gains: Array64
    _whitened: Array32
    """(n, N(N−1)): what every exchange changes, multiplied by the root of K."""

    def best(self, count: int) -> Iterator[tuple[Exchange, float]]:
        """The exchanges of largest gain, one after the other."""
        for index in np.argsort(-self.gains, kind="stable")[:count]:
            yield self.exchanges[index], float(self.gains[index])

    def together(self, least_gain: float) -> list[Exchange]:
        """Exchanges that each gain ``least_gain`` or more on top of those before, no position in two of them."""
        gains = self.gains.copy()
        chosen: list[Exchange] = []
        while gains.max(initial=-np.inf) >= least_gain:
            index = int(gains.argmax())
            exchange = self.exchanges[index]
            chosen.append(exchange)
            gains -= self._whitened.T @ self._whitened[:, index]
            taken = {exchange.first, exchange.second}
            gains[[bool(taken & {other.first, other.second}) for other in self.exchanges]] = -np.inf
        return chosen


def price_exchanges(network: Network, order: Indices, rows: Indices, evidence: Array64 | None = None) -> Prices | None:
    """The gains of all exchanges at ``order``, from the data rows ``rows`` (S,); ``None`` where anything overflows.

    ``evidence`` (N, N) float64 are the weights' log-odds of inp piece i and out piece j being a pair, in nats.
    """
    from scipy.linalg import cholesky, solve_triangular

    way = trajectory(network, order, rows)
    changes = commutators(way)
    effects = np.concatenate(_effects(network, order, rows, way))
    if not (np.isfinite(changes).all() and np.isfinite(effects).all() and way.error > 0):
        return None
    covariance = np.float32(INVERSION_VARIANCE) * (changes.T @ changes)
    least = CONDITION * float(np.trace(covariance)) / len(covariance)
    covariance[np.diag_indices_from(covariance)] += np.float32(max(NOISE * way.error, least))
    root = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
    whitened = np.asarray(solve_triangular(root, effects.T, lower=True, check_finite=False), np.float32)
    residual = solve_triangular(root, way.residual, lower=True, check_finite=False)
    gains = whitened.T @ residual - np.einsum("nk,nk->k", whitened, whitened) / 2
    first, second = np.triu_indices(len(order), 1)
    exchanges = [Exchange(int(p), int(q), inp) for inp in (False, True) for p, q in zip(first, second, strict=True)]
    gains = gains.astype(np.float64)
    if evidence is not None:
        inp, out = order, network.pairs[order]
        known = evidence[np.ix_(inp, out)]
        alone = np.diag(known)
        swapped = known[first, second] + known[second, first] - alone[first] - alone[second]
        gains += np.tile(swapped, 2)  # either kind of exchange makes the same pairs
    return Prices(exchanges, gains, whitened)


def _effects(network: Network, order: Indices, rows: Indices, way: Trajectory) -> tuple[Array32, Array32]:
    """(P, o·S) each: E of every exchange of out pieces, and of inp pieces."""
    puzzle, count, samples = network.puzzle, len(order), len(rows)
    act = activation_of(puzzle.activation).apply
    out_weight, out_bias = network.out_weight[order], network.out_bias[order]
    inp_bias = puzzle.inp_bias[order].reshape(-1)
    out_side = np.ascontiguousarray(out_weight.transpose(1, 0, 2)).reshape(puzzle.width, -1)  # (d, N·h)
    inp_side = np.ascontiguousarray(puzzle.inp_weight[order].transpose(2, 0, 1)).reshape(puzzle.width, -1)
    states = puzzle.rows_in[rows] + np.cumsum(way.branches, axis=0)  # after each block
    states -= way.branches
    through = way.through.reshape(count, puzzle.outputs, samples, puzzle.width)
    gradients = np.cumsum(through[::-1], axis=0)[::-1] - through + puzzle.last_weight[:, None, :]  # g_{p+1}
    effects = np.empty((2, count, count, puzzle.outputs, samples), np.float32)
    for position in range(count):
        for output in range(puzzle.outputs):
            for start in range(0, samples, CHUNK_ROWS):
                rows_here = slice(start, start + CHUNK_ROWS)
                gradient = gradients[position, output, rows_here]
                present = np.einsum("sd,sd->s", gradient, way.branches[position, rows_here])[:, None]
                biases = gradient @ out_bias.T
                hidden = np.empty_like(way.hidden[position, rows_here])
                act(way.hidden[position, rows_here], hidden)
                pulled = (gradient @ out_side).reshape(len(gradient), count, -1)
                new = np.matmul(pulled, hidden[:, :, None])[:, :, 0] + biases - present
                effects[0, position, :, output, rows_here] = new.T
                others = states[position, rows_here] @ inp_side
                others += inp_bias
                act(others, others)
                pulled = gradient @ out_weight[position]
                new = np.matmul(others.reshape(len(gradient), count, -1), pulled[:, :, None])[:, :, 0]
                new += biases[:, position, None] - present
                effects[1, position, :, output, rows_here] = new.T
    first, second = np.triu_indices(count, 1)
    both = effects[:, first, second] + effects[:, second, first]
    flat = both.reshape(2, len(first), -1)
    return flat[0], flat[1]
