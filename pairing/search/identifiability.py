"""Which exchanges in a finished solution are non-identifiable: the neighboring solutions that are as good.

An exchange that changes the predictions by a mean square of V changes the error by V, give or take 2·sqrt(E·V/n) where
the solution's error E over n values is noise that knows nothing of the exchange. So nothing tells it from the solution
where V is within two of these standard errors, V ≤ 16·E/n; or where V is float32's rounding.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import numpy as np

from pairing.arrays import Array32, Array64, Indices
from pairing.model import costs
from pairing.model.activations import activation_of
from pairing.model.network import Network, pairs_of
from pairing.model.pace import OutOfTimeError, Pace
from pairing.model.puzzle import FEW_VALUES, Puzzle
from pairing.search.acceptance import indistinct_mse
from pairing.search.batch_error import candidate_residuals
from pairing.solution import Solution

FEWEST_ROWS = 1
"""Rows of the first look at an exchange; each further look takes four times as many."""

NOISY_ROWS = 256
"""Rows of the last look where noise decides; all of them where float32's rounding does."""

NOISE_BOUND = 16
"""V·n/E up to which noise hides an exchange: two standard errors of the error's change."""

MOST_PAIRS = 2016
"""About the most pairs of positions that are looked at: all of them up to 64 blocks, beyond that the nearer ones."""

BATCH_ROWS = 2**16
"""Rows, of all exchanges looked at together, that bound the memory; and so do …"""

BATCH_WEIGHTS = 2**23
"""… the weights that are gathered for them."""

SCATTER = 4
"""Random orders per value of the target that tell how their predictions scatter."""

MOST_LOGARITHM = 700.0
"""Of a number of orders: float64 has no more."""

Pairs = list[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Undecidable:
    """Pairs of positions (0 … N−1, ascending) whose exchange in a solution changes nothing that the data shows."""

    blocks: Pairs = field(default_factory=list)
    """Both pieces of either block are exchanged."""
    inp: Pairs = field(default_factory=list)
    """The inp pieces are exchanged."""
    out: Pairs = field(default_factory=list)
    """The out pieces are exchanged."""
    neighbours: int = 0
    """How many exchanges were examined; of so many neighbors of the solution, ``as_good`` are as good."""
    by_chance: float = 0.0
    """About how many other orders of its blocks fit as well by chance, since the data have so few values."""

    def __bool__(self) -> bool:
        """Whether there is any."""
        return self.as_good > 0

    @property
    def as_good(self) -> int:
        """How many neighbors the data cannot tell from the solution."""
        return len(self.blocks) + len(self.inp) + len(self.out)


@np.errstate(over="ignore", invalid="ignore")  # an exchange may overflow: that is a change
def undecidable_exchanges(puzzle: Puzzle, solution: Solution, seconds: float = float("inf")) -> Undecidable | None:
    """The exchanges of two positions' blocks, inp pieces or out pieces that the data cannot tell from the solution.

    Those with V ≤ max(F, 16·E/n), where V is the mean squared change of the predictions, F the error that float32's
    rounding makes (1e-12 of the target's variance, or more where larger numbers cancel), E the solution's error and n
    the number of target values. V is taken over all rows, or over 256 drawn ones where the second bound is the larger.
    With more than 64 blocks only positions less than about 2,000/N apart are compared. None of them where the solution
    is no better than zeros: its error is no noise then, and tells nothing of exchanges. ``None`` where that takes
    longer than ``seconds``.
    """
    found = _exchanges(puzzle.blocks)
    if not solution.full_mse < np.mean(np.square(puzzle.target_values)):
        return Undecidable(neighbours=len(found))
    noise, rounding = NOISE_BOUND * solution.full_mse / puzzle.target_values.size, indistinct_mse(puzzle)
    order = np.array(solution.inp_sigma, np.int64)
    network = Network(puzzle, pairs_of(solution.inp_sigma, solution.out_sigma))
    rows = np.random.default_rng(0).permutation(puzzle.rows)
    rows = rows[:NOISY_ROWS] if noise > rounding else rows
    pace = Pace(puzzle, time.monotonic() + seconds)
    try:
        alike = alike_exchanges(network, order, rows, max(noise, rounding), pace)
    except OutOfTimeError:
        return None
    kinds = {name: _positions(alike, kind) for kind, name in enumerate(("blocks", "inp", "out"))}
    by_chance = _orders_by_chance(network, order, max(solution.full_mse, rounding))
    return Undecidable(**kinds, neighbours=len(found), by_chance=by_chance)


def _orders_by_chance(network: Network, order: Indices, most: float) -> float:
    """The expected number of other orders whose predictions differ by a mean square of at most ``most``.

    Random orders tell how predictions scatter along the principal axes of the R·o values. Of all N! orders the part is
    left that falls near the solution's along every axis, as if they were normal and independent.
    """
    puzzle = network.puzzle
    values = puzzle.target_values.size
    if values > FEW_VALUES or puzzle.blocks < 2:
        return 0.0
    rng = np.random.default_rng(0)
    orders = np.array([order, *(rng.permutation(order) for _ in range(SCATTER * values + 1))])
    residuals = candidate_residuals(puzzle, orders, network.pairs[orders], np.arange(puzzle.rows)).astype(np.float64)
    residuals = residuals[np.isfinite(residuals).all(axis=1)]
    scatter = np.linalg.svd(residuals[1:] - residuals[0], compute_uv=False) / math.sqrt(max(1, len(residuals) - 1))
    near = math.sqrt(2 / math.pi) * math.sqrt(3 * most) / np.maximum(scatter, np.finfo(np.float64).tiny)
    logarithm = math.lgamma(puzzle.blocks + 1) + float(np.log(np.minimum(near, 1.0)).sum())
    return max(0.0, math.exp(min(logarithm, MOST_LOGARITHM)) - 1) if logarithm > 0 else math.exp(logarithm)


def alike_exchanges(network: Network, order: Indices, rows: Indices, most: float, pace: Pace) -> Indices:
    """The exchanges (C, 3) that change the predictions on ``rows`` by a mean square of at most ``most``.

    Each is its first and second position, and what is exchanged (0: blocks, 1: inp, 2: out pieces).

    Raises:
        OutOfTimeError: they cannot be told in time.
    """
    puzzle = network.puzzle
    found = _exchanges(puzzle.blocks)
    count, squares = 0, np.zeros(len(found))
    while count < len(rows) and len(found):
        until = min(len(rows), max(FEWEST_ROWS, 4 * count))
        cost = len(found) / 2 * costs.forward(puzzle, until - count + costs.COPIED_ROWS // puzzle.blocks)
        pace.check(cost)
        began = time.monotonic()
        squares += _squares(network, order, found, puzzle.rows_in[rows[count:until]])
        pace.learn(cost, time.monotonic() - began)
        count = until
        # The rows to come can only add to the sum.
        left = squares <= most * len(rows) * puzzle.outputs
        found, squares = found[left], squares[left]
    return found


def _positions(exchanges: Indices, kind: int) -> Pairs:
    return sorted((int(first), int(second)) for first, second, its in exchanges if its == kind)


def _exchanges(blocks: int) -> Indices:
    """(C, 3) int64: first and second position, and what is exchanged (0: blocks, 1: inp, 2: out pieces)."""
    first, second = np.triu_indices(blocks, 1)
    near = second - first <= max(1, MOST_PAIRS // blocks)
    pairs = np.stack([first[near], second[near]], axis=1)
    return np.concatenate([np.insert(pairs, 2, kind, axis=1) for kind in range(3)])


def _squares(network: Network, order: Indices, exchanges: Indices, rows_in: Array32) -> Array64:
    """(C,) float64: the squared changes of the predictions by each exchange, summed over rows and outputs."""
    some = max(1, BATCH_ROWS // len(rows_in))
    by_first = np.argsort(exchanges[:, 0], kind="stable")
    result = np.empty(len(exchanges))
    for start in range(0, len(exchanges), some):
        batch = by_first[start : start + some]
        result[batch] = _squares_at_once(network, order, exchanges[batch], rows_in)
    return result


def _squares_at_once(network: Network, order: Indices, exchanges: Indices, rows_in: Array32) -> Array64:
    """The same for exchanges (C, 3) in the order of their first positions."""
    first, second, kind = exchanges.T
    states = np.empty((len(exchanges), *rows_in.shape), np.float32)
    plain = rows_in.copy()
    for k, block in enumerate(order):
        begun, last = np.searchsorted(first, [k, k + 1])
        states[begun:last] = plain
        own = np.flatnonzero((first[:last] == k) | (second[:last] == k))
        other = order[first[own] + second[own] - k]
        inp = np.where(kind[own] == 2, block, other)
        out = np.where(kind[own] == 1, block, other)
        changed = _advanced(network, states[own], inp, out)
        network.advance(states[:last].reshape(-1, states.shape[2]), [block])
        states[own] = changed
        network.advance(plain, [block])
    change = network.outputs(states) - network.outputs(plain)
    sums = np.square(change, dtype=np.float64).sum(axis=(1, 2))
    return np.asarray(np.where(np.isfinite(sums), sums, np.inf))


def _advanced(network: Network, states: Array32, inp: Indices, out: Indices) -> Array32:
    """``states`` (C, S, d), each through a block of its own: inp piece ``inp[c]`` and block ``out[c]``'s out piece."""
    puzzle, some = network.puzzle, max(1, BATCH_WEIGHTS // (network.puzzle.hidden * network.puzzle.width))
    result = states.copy()
    for start in range(0, len(states), some):
        its_inp, its_out = inp[start : start + some], out[start : start + some]
        hidden = states[start : start + some] @ puzzle.inp_weight[its_inp].transpose(0, 2, 1)
        hidden += puzzle.inp_bias[its_inp, None, :]
        activation_of(puzzle.activation).apply(hidden, hidden)
        result[start : start + some] += hidden @ network.out_weight[its_out].transpose(0, 2, 1)
        result[start : start + some] += network.out_bias[its_out, None, :]
    return result
