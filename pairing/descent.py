"""Steepest descent on the surrogate over insertions: one block taken out and put in elsewhere."""

from __future__ import annotations

import numpy as np
from numba import njit

from pairing.puzzle import Array32, Indices
from pairing.surrogate import Surrogate, pair_index


def descend(surrogate: Surrogate, moves: int, least_gain: float) -> Indices:
    """The way down: (m + 1, N) int64, the order of positions after 0, 1, … m insertions, m ≤ ``moves``.

    Each insertion is the best of all N(N−1); the descent ends where the best gains less than ``least_gain`` (an error).
    """
    count = len(surrogate.crossings)
    index = pair_index(count)
    first, second = np.triu_indices(count, 1)
    slopes = np.zeros((count, count), np.float32)  # mean residual·D_ab at [a, b], where D_ba = −D_ab
    values = np.float32(len(surrogate.residual))
    remaining = surrogate.changes @ surrogate.residual / values
    order = np.arange(count)
    path = [order.copy()]
    while len(path) <= moves:
        slopes[first, second], slopes[second, first] = remaining, -remaining
        gain, taken, put = _best_insertion(order, slopes, surrogate.crossings)
        if gain <= 0.0 or gain < least_gain:
            break
        remaining -= surrogate.changes @ _insert(order, taken, put, surrogate.changes, index) / values
        path.append(order.copy())
    return np.array(path)


def _insert(order: Indices, taken: int, put: int, changes: Array32, index: Indices) -> Array32:
    """Moves a block in ``order``, in place; what that adds to the outputs, (n,)."""
    block = order[taken]
    if put > taken:
        passed = order[taken + 1 : put + 1].copy()
        order[taken:put] = passed
        signs = np.where(passed > block, 1, -1)
    else:
        passed = order[put:taken].copy()
        order[put + 1 : taken + 1] = passed
        signs = np.where(passed > block, -1, 1)
    order[put] = block
    added: Array32 = signs.astype(np.float32) @ changes[index[block, passed]]
    return added


@njit(cache=True, fastmath=True)
def _best_insertion(order, slopes, crossings):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The insertion of largest gain: (gain, position taken from, position put at)."""
    count = order.shape[0]
    best, best_taken, best_put = 0.0, 0, 0
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
                if -change > best:
                    best, best_taken, best_put = -change, taken, put
                put += direction
    return best, best_taken, best_put
