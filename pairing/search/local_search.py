"""Steepest descent over insertions: one block taken out and put in elsewhere, as exact errors confirm."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from pairing.arrays import Array32, Array64, Indices
from pairing.model.network import Network
from pairing.search.acceptance import rounding_of
from pairing.search.kernels import best_insertions
from pairing.search.state import Search
from pairing.search.surrogate import Surrogate, pair_index

LINEARIZATIONS = 16
LEAST_ROWS = 256
MANY_ROWS = 512
LEAST_FALL = 0.02
"""The part of the error by which it has to fall for a descent of a large network to go on: its steps are dear."""
LARGE = 64
"""Blocks of a large network."""


def descent_rows(blocks: int, rng: np.random.Generator) -> int:
    """Rows for a linearization: a third of the N(N−1)/2 bits, since far fewer of them are ever turned.

    256 at least. Large networks get 512 to 1,024, now more and now fewer: few rows make quick steps from afar, many
    sure ones near the end.
    """
    return int(min(max(blocks * (blocks - 1) // 6, LEAST_ROWS), MANY_ROWS * 2 ** rng.random()))


class Descent:
    """A descent from one order on one sample of rows, over several linearizations."""

    def __init__(self, search: Search, network: Network, order: Indices, rows: Indices) -> None:
        """Stands at ``order``, (N,) int64, whose error on ``rows`` is not known yet."""
        self._search, self.network, self.order, self.rows = search, network, order, rows
        self.error = np.inf
        """The order's exact error on the rows."""

    def steps(self, linearizations: int = LINEARIZATIONS) -> Iterator[None]:
        """One linearization after the other until the exact error falls no more (of a large network: hardly)."""
        rounding = rounding_of(self._search)
        least_fall = LEAST_FALL if len(self.order) > LARGE else 0.0
        for _ in range(linearizations):
            model = self._search.linearize(self.network, self.order, self.rows)
            self.error = model.error
            if not np.isfinite(model.shared_block_gram).all():
                return
            least = 1e-6 * max(model.error, rounding)
            path = descend(model, 2 * len(self.order), least, lambda: self._search.pace.left <= 0)
            yield
            if not self._follow(path) or self.error <= rounding or self.error > (1 - least_fall) * model.error:
                return

    def _follow(self, path: Indices) -> bool:
        """Goes as far along the path as makes the exact error fall: all of it, else half, else a quarter …"""
        moves = len(path) - 1
        while moves >= 1:
            candidate = self.order[path[moves]]
            error = self._search.error(self.network, candidate, self.rows)
            if error < self.error:
                self.order, self.error = candidate, error
                return True
            moves //= 2
        return False

    def judged(self) -> float:
        """The end's error on samples that it was not fitted to; at rounding no other samples tell more."""
        if self.error <= rounding_of(self._search):
            return self.error
        return self._search.error(self.network, self.order, self._search.yardstick)


def descend(
    surrogate: Surrogate, moves: int, least_gain: float, expired: Callable[[], bool] = lambda: False
) -> Indices:
    """The way down: (m + 1, N) int64, the order of positions after 0, 1, … m insertions, m ≤ ``moves``.

    Of all N(N−1) insertions the best is made, and of those of a fifth of its gain that are made elsewhere in the order
    those that keep half their gain. The descent ends where the best gains less than ``least_gain`` (an error), or when
    time has ``expired``.
    """
    count = len(surrogate.shared_block_gram)
    index = pair_index(count)
    first, second = np.triu_indices(count, 1)
    slopes = np.zeros((count, count), np.float32)  # mean residual·D_ab at [a, b], where D_ba = −D_ab
    values = np.float32(len(surrogate.residual))
    products = surrogate.changes @ surrogate.residual / values
    residual, order = surrogate.residual, np.arange(count)
    path = [order]
    while len(path) <= moves and not expired():
        slopes[first, second], slopes[second, first] = products, -products
        gains, puts = best_insertions(order, slopes, surrogate.shared_block_gram)
        best = gains.max()
        if best <= 0.0 or best < least_gain:
            break
        before, error = residual, _mean_square(residual)
        for taken in _apart(gains, puts):
            moved, pairs, signs = _inserted(order, taken, int(puts[taken]), index)
            left = residual - signs @ surrogate.changes[pairs]
            fallen = _mean_square(left)
            if error - fallen >= max(least_gain, gains[taken] / 2) or residual is before:
                order, residual, error = moved, left, fallen
                path.append(order)
        products -= surrogate.changes @ (before - residual) / values
    return np.array(path[: moves + 1])


def _mean_square(values: Array32) -> float:
    return float(values @ values) / len(values)


def _apart(gains: Array64, puts: Indices) -> list[int]:
    """The positions from which the best insertion and those of a fifth of its gain take a block; no two ways touch."""
    found: list[int] = []
    free = np.ones(len(gains), bool)
    ranked = np.argsort(-gains, kind="stable")
    for taken in ranked[gains[ranked] >= gains[ranked[0]] / 5].tolist():
        way = slice(min(taken, int(puts[taken])), max(taken, int(puts[taken])) + 1)
        if free[way].all():
            free[way] = False
            found.append(taken)
    return found


def _inserted(order: Indices, taken: int, put: int, index: Indices) -> tuple[Indices, Indices, Array32]:
    """The order with a block put elsewhere, the pairs that this turns round, and the signs of their changes."""
    block = order[taken]
    passed = order[taken + 1 : put + 1] if put > taken else order[put:taken]
    signs = np.where((passed > block) == (put > taken), np.float32(1), np.float32(-1))
    moved = order.copy()
    moved[min(taken, put) : max(taken, put) + 1] = [*passed, block] if put > taken else [block, *passed]
    return moved, index[block, passed], signs
