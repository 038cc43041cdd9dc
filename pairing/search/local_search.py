"""Steepest descent on the surrogate over insertions: one block taken out and put in elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pairing.arrays import Array32, Array64, Indices
from pairing.search.compiled import njit
from pairing.search.surrogate import Surrogate, pair_index


def descend(
    surrogate: Surrogate, moves: int, least_gain: float, expired: Callable[[], bool] = lambda: False
) -> Indices:
    """The way down: (m + 1, N) int64, the order of positions after 0, 1, … m insertions, m ≤ ``moves``.

    Of all N(N−1) insertions the best is made, and of those of a fifth of its gain that are made elsewhere in the order
    those that keep half their gain. The descent ends where the best gains less than ``least_gain`` (an error), or when
    time has ``expired``.
    """
    count = len(surrogate.crossings)
    index = pair_index(count)
    first, second = np.triu_indices(count, 1)
    slopes = np.zeros((count, count), np.float32)  # mean residual·D_ab at [a, b], where D_ba = −D_ab
    values = np.float32(len(surrogate.residual))
    products = surrogate.changes @ surrogate.residual / values
    residual, order = surrogate.residual, np.arange(count)
    path = [order]
    while len(path) <= moves and not expired():
        slopes[first, second], slopes[second, first] = products, -products
        gains, puts = _best_insertions(order, slopes, surrogate.crossings)
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


@njit(fastmath=True)
def _best_insertions(order, slopes, crossings):  # type: ignore[no-untyped-def]  # pragma: no cover
    """For each position the best insertion of the block there: (gains (N,), positions put at (N,))."""
    count = order.shape[0]
    gains, puts = np.zeros(count), np.arange(count)
    passed = np.empty(count, np.int64)
    for taken in range(count):
        block = order[taken]
        for direction in (1, -1):
            change = 0.0
            length = 0
            put = taken + direction
            while 0 <= put < count:
                other = order[put]
                cross = 0.0
                for k in range(length):
                    cross += crossings[block, other, passed[k]]
                change += 2 * (cross - direction * slopes[block, other]) + crossings[block, other, other]
                passed[length] = other
                length += 1
                if -change > gains[taken]:
                    gains[taken], puts[taken] = -change, put
                put += direction
    return gains, puts
