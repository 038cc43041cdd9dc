"""Steepest descent on the surrogate over insertions: one block taken out and put in elsewhere."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pairing.puzzle import Indices
from pairing.surrogate import Surrogate


def descend(surrogate: Surrogate, moves: int, least_gain: float) -> Indices:
    """The way down: (m + 1, N) int64, the order of positions after 0, 1, … m insertions, m ≤ ``moves``.

    Each insertion is the best of all N(N−1); the descent ends where the best gains less than ``least_gain`` (an error).
    """
    pairs = len(surrogate.slope)
    count = (1 + int(np.sqrt(1 + 8 * pairs))) // 2
    path: Indices = _descend(surrogate.gram, surrogate.slope, _pair_index(count), count, moves, least_gain)
    return path


def _pair_index(count: int) -> NDArray[np.int32]:
    """(N, N) int32: the index of the pair of two positions, either way round."""
    index = np.zeros((count, count), np.int32)
    first, second = np.triu_indices(count, 1)
    index[first, second] = index[second, first] = np.arange(len(first))
    return index


@njit(cache=True, fastmath=True)
def _descend(gram, slope, pair_index, count, moves, least_gain):  # type: ignore[no-untyped-def]  # pragma: no cover
    order = np.arange(count).astype(np.int32)
    inverted = np.zeros(slope.shape[0], np.bool_)
    gradient = -slope  # half the derivative of the quadratic form at the present bits
    path = np.empty((moves + 1, count), np.int64)
    path[0] = order
    done = 0
    while done < moves:
        gain, taken, put = _best_insertion(order, inverted, gradient, gram, pair_index)
        if gain <= 0.0 or gain < least_gain:
            break
        _insert(order, taken, put, inverted, gradient, gram, pair_index)
        done += 1
        path[done] = order
    return path[: done + 1]


@njit(cache=True, fastmath=True)
def _best_insertion(order, inverted, gradient, gram, pair_index):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The insertion of largest gain: (gain, position taken from, position put at)."""
    count = order.shape[0]
    best, best_taken, best_put = 0.0, 0, 0
    flipped = np.empty(count, np.int32)
    signs = np.empty(count, np.float32)
    for taken in range(count):
        label = order[taken]
        for direction in (1, -1):
            change = 0.0
            length = 0
            put = taken + direction
            while 0 <= put < count:
                pair = pair_index[label, order[put]]
                sign = np.float32(-1.0) if inverted[pair] else np.float32(1.0)
                cross = gradient[pair]
                for k in range(length):
                    cross += signs[k] * gram[pair, flipped[k]]
                change += 2 * sign * cross + gram[pair, pair]
                flipped[length] = pair
                signs[length] = sign
                length += 1
                if -change > best:
                    best, best_taken, best_put = -change, taken, put
                put += direction
    return best, best_taken, best_put


@njit(cache=True, fastmath=True)
def _insert(order, taken, put, inverted, gradient, gram, pair_index):  # type: ignore[no-untyped-def]  # pragma: no cover
    label = order[taken]
    step = 1 if put > taken else -1
    place = taken
    while place != put:
        other = order[place + step]
        pair = pair_index[label, other]
        sign = np.float32(-1.0) if inverted[pair] else np.float32(1.0)
        for k in range(gradient.shape[0]):
            gradient[k] += sign * gram[pair, k]
        inverted[pair] = not inverted[pair]
        order[place] = other
        place += step
    order[put] = label
