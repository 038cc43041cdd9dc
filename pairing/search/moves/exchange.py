"""What exchanges of pieces between two blocks would gain, whatever small changes of the order go with them.

Let the blocks at positions p and q exchange their out pieces (or their inp pieces). A row's output changes, to first
order, by ``E_pq = g_{p+1}·(f'_p − f_p) + g_{q+1}·(f'_q − f_q)``, with f' the new branches at the present states and g
the output's gradient. With wrong pairs the order is wrong too, since it was bent to make up for them. So inversions
are a nuisance, and with K of :mod:`pairing.search.whitening` the log-likelihood ratio of an exchange is
``E·K r − E·K E / 2``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairing.arrays import Array32, Array64, Indices
from pairing.model.activations import activation_of
from pairing.model.network import Network
from pairing.search.surrogate import Trajectory, commutators, trajectory
from pairing.search.whitening import Whitening

SCREENING = 5
"""All exchanges are screened on one in so many of the rows."""
KEPT = 64
"""Exchanges that are priced on all rows."""
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
    """The most promising exchanges with their gains, in nats; more is better."""

    exchanges: list[Exchange]
    gains: Array64
    """(m,) float64, descending."""
    _products: Array64
    """(m, m): ``E·K E'`` of every two exchanges."""

    def together(self, least_gain: float) -> list[Exchange]:
        """Exchanges that each gain ``least_gain`` or more on top of those before, no position in two of them."""
        gains = self.gains.copy()
        chosen: list[Exchange] = []
        while gains.max(initial=-np.inf) >= least_gain:
            index = int(gains.argmax())
            exchange = self.exchanges[index]
            chosen.append(exchange)
            gains -= self._products[index]
            taken = {exchange.first, exchange.second}
            gains[[bool(taken & {other.first, other.second}) for other in self.exchanges]] = -np.inf
        return chosen


@np.errstate(over="ignore", invalid="ignore")  # a wrong order may overflow: then there are no prices
def price_exchanges(network: Network, order: Indices, rows: Indices, evidence: Array64 | None = None) -> Prices | None:
    """The exchanges of largest gain at ``order``, from the data rows ``rows`` (S,).

    ``None`` where anything overflows, nothing remains to be explained, or there is a single block. All N(N−1) are
    priced on a fifth of the rows, and the best 64 of them again on all. ``evidence`` (N, N) float64 are the weights'
    log-odds of inp piece i and out piece j being a pair, in nats.
    """
    if len(order) < 2:
        return None
    prior = _prior(network, order, evidence)
    first, second = np.triu_indices(len(order), 1)
    some = rows[::SCREENING]
    path = LinearizedPath(network, order, some, trajectory(network, order, some))
    model = _model(path.along)
    effects = np.concatenate(path.all_effects())
    gains = None if model is None else _gains(model, path.along, effects)
    if gains is None:
        return None
    kept = np.argsort(-(gains + prior), kind="stable")[:KEPT]
    pair = kept % len(first)  # of out pieces first, then of inp pieces
    sides = zip(first[pair].tolist(), second[pair].tolist(), (kept >= len(first)).tolist(), strict=True)
    exchanges = [Exchange(*side) for side in sides]
    path = LinearizedPath(network, order, rows, trajectory(network, order, rows))
    model = _model(path.along)
    effects = np.array([path.effect(exchange) for exchange in exchanges])
    gains = None if model is None else _gains(model, path.along, effects)
    if model is None or gains is None:
        return None
    gains += prior[kept]
    best = np.argsort(-gains, kind="stable")
    chosen = effects[best].T
    return Prices([exchanges[k] for k in best], gains[best], model.inner(chosen, chosen))


def _prior(network: Network, order: Indices, evidence: Array64 | None) -> Array64:
    """(N(N−1),): what each exchange adds to the log-odds of the pairs; either kind makes the same pairs."""
    first, second = np.triu_indices(len(order), 1)
    if evidence is None:
        return np.zeros(2 * len(first))
    known = evidence[np.ix_(order, network.pairs[order])]
    alone = np.diag(known)
    return np.tile(known[first, second] + known[second, first] - alone[first] - alone[second], 2)


def _model(along: Trajectory) -> Whitening | None:
    """What small changes of the order along a trajectory can explain; ``None`` where anything overflows."""
    changes = commutators(along)
    return Whitening(changes, along.error) if np.isfinite(changes).all() and 0 < along.error < np.inf else None


def _gains(model: Whitening, along: Trajectory, effects: Array32) -> Array64 | None:
    """(m,): the log-likelihood ratios of exchanges with effects (m, n); ``None`` where anything overflows."""
    gains = model.inner(effects.T, along.residual[:, None])[:, 0] - model.squares(effects.T) / 2
    return gains if np.isfinite(gains).all() else None


class LinearizedPath:
    """A trajectory with its states and gradients, and what exchanges change along it."""

    def __init__(self, network: Network, order: Indices, rows: Indices, along: Trajectory) -> None:
        """``along`` is the trajectory of the data rows ``rows`` (S,) through the network in ``order``."""
        puzzle = network.puzzle
        self.along, self.puzzle = along, puzzle
        self.inp_weight, self.inp_bias = puzzle.inp_weight[order], puzzle.inp_bias[order]
        self.out_weight, self.out_bias = network.out_weight[order], network.out_bias[order]
        self.act = activation_of(puzzle.activation).apply
        self.states = np.cumsum(along.branches, axis=0)  # (N, S, d), before each block
        self.states += puzzle.rows_in[rows] - along.branches
        vjp = along.branch_vjp.reshape(len(order), puzzle.outputs, len(rows), puzzle.width)
        after = np.cumsum(vjp[::-1], axis=0)[::-1]
        self.gradients = after - vjp + puzzle.last_weight[:, None, :]  # (N, o, S, d): g_{p+1}

    def effect(self, exchange: Exchange) -> Array32:
        """(o·S,): E of one exchange."""
        ways = ((exchange.first, exchange.second), (exchange.second, exchange.first))
        return self._replaced(*ways[0], exchange.inp) + self._replaced(*ways[1], exchange.inp)

    def _replaced(self, position: int, other: int, inp: bool) -> Array32:
        """(o·S,): the first-order change where the block at ``position`` takes a piece of the one at ``other``."""
        before, out = self.along.preactivations[position], other
        if inp:
            before, out = self.states[position] @ self.inp_weight[other].T + self.inp_bias[other], position
        hidden = np.empty_like(before)
        self.act(before, hidden)
        change = hidden @ self.out_weight[out].T + self.out_bias[out] - self.along.branches[position]
        effect: Array32 = np.einsum("osd,sd->os", self.gradients[position], change).reshape(-1)
        return effect

    def all_effects(self) -> tuple[Array32, Array32]:
        """(P, o·S) each: E of every exchange of out pieces, and of inp pieces."""
        count, outputs, samples, width = self.gradients.shape
        out_side = np.ascontiguousarray(self.out_weight.transpose(1, 0, 2)).reshape(width, -1)  # (d, N·h)
        inp_side = np.ascontiguousarray(self.inp_weight.transpose(2, 0, 1)).reshape(width, -1)
        inp_bias = self.inp_bias.reshape(-1)
        effects = np.empty((2, count, count, outputs, samples), np.float32)
        for position, output, start in product(range(count), range(outputs), range(0, samples, CHUNK_ROWS)):
            rows = slice(start, start + CHUNK_ROWS)
            gradient = self.gradients[position, output, rows]
            biases = gradient @ self.out_bias.T
            present = np.einsum("sd,sd->s", gradient, self.along.branches[position, rows])[:, None]
            hidden = np.empty_like(self.along.preactivations[position, rows])
            self.act(self.along.preactivations[position, rows], hidden)
            pulled = (gradient @ out_side).reshape(len(gradient), count, -1)
            effects[0, position, :, output, rows] = (_dots(pulled, hidden) + biases - present).T
            others = self.states[position, rows] @ inp_side
            others += inp_bias
            self.act(others, others)
            others = others.reshape(len(gradient), count, -1)
            pulled = gradient @ self.out_weight[position]
            effects[1, position, :, output, rows] = (_dots(others, pulled) + biases[:, position, None] - present).T
        first, second = np.triu_indices(count, 1)
        both = effects[:, first, second] + effects[:, second, first]
        flat = both.reshape(2, len(first), -1)
        return flat[0], flat[1]


def _dots(many: NDArray[Any], one: NDArray[Any]) -> NDArray[Any]:
    """(s, N): inner products of (s, N, h) with (s, h)."""
    dots: NDArray[Any] = np.matmul(many, one[:, :, None])[:, :, 0]
    return dots
