"""Iterated local search inside one surrogate: hundreds of kicks for the price of one linearisation.

Where few pairs are inverted, the surrogate's quadratic form is nearly exact. A descent ends in the first order that no
insertion betters, but the form has better orders nearby. Its matrix over all pairs would have N⁴/4 entries; here pairs
of positions more than ``reach`` apart stay as they are, so that about N·reach pairs are left, P, the matrix has P²
entries, and turning a pair round costs one of its rows. With fewer unknowns, fewer rows of data tell them apart.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from pairing.arrays import Array32, Indices
from pairing.model.network import Network
from pairing.search.compiled import njit
from pairing.search.surrogate import commutators, pair_index, trajectory

REACH = 16
"""Places that a window looks to either side of a block."""
LONGEST = 3
"""Blocks in a kick's segment, at most …"""
FARTHEST = 8
"""… and places by which it is moved, at most."""
MOST_PAIRS = 2**13
"""Pairs in a form at most, whose square is its size in memory: in very large networks it looks less far."""
INSERTIONS = 4
"""Insertions per block that end a descent, wherever it is then."""
KICKS_AT_ONCE = 16
"""Kicks between two looks at the clock."""
ROUNDING = 4 * float(np.finfo(np.float32).eps)
"""What float32 pretends of a gain, as a part of the products that it is the difference of."""


@dataclass(frozen=True, eq=False)
class Window:
    """The surrogate's form over the P pairs of positions at most ``reach`` apart: ``error − 2·slopes·z + zᵀ·matrix·z``.

    z is 1 for a pair that is inverted, 0 for any other.
    """

    error: float
    """The exact error of the linearised order on the window's rows."""
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
    way = trajectory(network, order, rows)
    changes = commutators(way, reach)
    values = np.float32(len(way.residual))
    matrix = changes @ changes.T
    matrix /= values
    return Window(way.error, changes @ way.residual / values, matrix, pair_index(len(order), reach), reach)


def pairs_within(blocks: int, reach: int = REACH) -> int:
    """P, how many pairs of positions a window looks at."""
    reach = _reach(blocks, reach)
    return reach * blocks - reach * (reach + 1) // 2


def _reach(blocks: int, reach: int) -> int:
    return max(1, min(reach, blocks - 1, MOST_PAIRS // blocks))


def search(window: Window, kicks: int, rng: np.random.Generator) -> Generator[bool, None, tuple[Indices, Indices]]:
    """The best order of positions (N,) int64 after a descent and ``kicks`` kicks, and that of the descent alone.

    A kick moves a segment of one to three blocks by up to eight places; the descent after it has to better the best.
    Gains below a millionth of the window's error, or of float32's rounding, do not count. Yields False between kicks,
    often.
    """
    count = len(window.index)
    lengths = rng.integers(1, min(LONGEST, count) + 1, kicks)
    starts = rng.integers(0, count - lengths + 1)
    shifts = rng.integers(1, FARTHEST + 1, kicks) * rng.choice([-1, 1], kicks)
    moves = np.column_stack([lengths, starts, shifts])
    form = window.matrix, _crossings(window), window.index, window.reach, _pretended(window)
    order, slopes, inverted = np.arange(count), window.slopes.copy(), np.zeros(len(window.slopes), np.bool_)
    least = 1e-6 * window.error
    _descend((order, slopes, inverted), form, least)
    yield False
    descended = order.copy()
    best = order.copy(), slopes.copy(), inverted.copy()
    for start in range(0, kicks, KICKS_AT_ONCE):
        _kick_all((order, slopes, inverted), best, form, moves[start : start + KICKS_AT_ONCE], least)
        yield False
    return best[0], descended


def _pretended(window: Window) -> Array32:
    """(P,) float32: the gain that rounding may pretend of turning each pair round, whatever else is turned.

    The form's entries are products of a pair's changes with the residual and with other pairs' changes; none is larger
    than the root of the product of their mean squares.
    """
    squares = np.maximum(np.diag(window.matrix).astype(np.float64), 0)
    largest = max(float(squares.max(initial=0)), window.error)
    return np.asarray(ROUNDING * np.sqrt(squares) * np.sqrt(largest), np.float32)


def _crossings(window: Window) -> Array32:
    """(N, 2·reach + 1, 2·reach + 1) float32: mean D_ab·D_ac of each block a and its neighbours b, c; D_ba = −D_ab."""
    count, reach = len(window.index), window.reach
    crossings = np.zeros((count, 2 * reach + 1, 2 * reach + 1), np.float32)
    for block in range(count if len(window.slopes) else 0):
        low, high = max(0, block - reach), min(count, block + reach + 1)
        mine = window.index[block, low:high]
        signs = np.sign(np.arange(low, high) - block).astype(np.float32)
        inside = slice(low - block + reach, high - block + reach)
        crossings[block, inside, inside] = window.matrix[np.ix_(mine, mine)] * np.outer(signs, signs)
    return crossings


# Below, ``at`` is where a search stands: (order (N,) int64, the form's slopes there (P,) float32, inverted (P,) bool).


@njit(fastmath=True)
def _kick_all(present, best, form, kicks, least):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Kicks and descends from the best, and keeps what is better."""
    for kick in range(len(kicks)):
        length, start, shift = kicks[kick, 0], kicks[kick, 1], kicks[kick, 2]
        change = _kick(present, form, length, start, shift) + _descend(present, form, least)
        if change < -least / 10:
            _copy(present, best)
        else:
            _copy(best, present)


@njit()
def _copy(source, target):  # type: ignore[no-untyped-def]  # pragma: no cover
    for k in range(len(source[0])):
        target[0][k] = source[0][k]
    for pair in range(len(source[1])):
        target[1][pair], target[2][pair] = source[1][pair], source[2][pair]


@njit(fastmath=True)
def _kick(at, form, length, start, shift):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Moves a segment by some places, or fewer where its blocks would pass others out of reach: the error's change."""
    order, reach = at[0], form[3]
    change = 0.0
    step = 1 if shift > 0 else -1
    for k in range(length):
        taken = start + length - 1 - k if shift > 0 else start + k
        put = taken
        while put != taken + shift and 0 <= put + step < len(order) and abs(order[put + step] - order[taken]) <= reach:
            put += step
        change += _insert(at, form, taken, put)
    return change


@njit(fastmath=True)
def _descend(at, form, least):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Makes the best insertion until none gains more than ``least``, or many are made: the error's change."""
    change = 0.0
    for _ in range(INSERTIONS * len(at[0])):
        gain, taken, put = _best_insertion(at, form)
        if gain <= least:
            break
        change += _insert(at, form, taken, put)
    return change


@njit(fastmath=True)
def _insert(at, form, taken, put):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Puts a block elsewhere, one neighbour after the other: the error's change."""
    order, slopes, inverted = at
    matrix, _, index, _, _ = form
    block, step, change = order[taken], 1 if put > taken else -1, 0.0
    while taken != put:
        other = order[taken + step]
        pair = index[block, other]
        sign = np.float32(-1.0 if inverted[pair] else 1.0)
        change += matrix[pair, pair] - 2 * sign * slopes[pair]
        inverted[pair] = not inverted[pair]
        for k in range(len(slopes)):
            slopes[k] -= sign * matrix[pair, k]
        order[taken] = other
        taken += step
    order[put] = block
    return change


@njit(fastmath=True)
def _best_insertion(at, form):  # type: ignore[no-untyped-def]  # pragma: no cover
    """(gain, position taken from, position put at) of the best insertion whose block passes none out of reach.

    One whose gain rounding may pretend is none.
    """
    order, slopes, _ = at
    _, crossings, index, reach, pretended = form
    gain, best_taken, best_put = 0.0, 0, 0
    passed = np.empty(len(order), np.int64)
    for taken in range(len(order)):
        block = order[taken]
        for step in (1, -1):
            change, rounding, length, put = 0.0, 0.0, 0, taken + step
            while 0 <= put < len(order) and abs(order[put] - block) <= reach:
                other = order[put] - block + reach
                cross = 0.0
                for k in range(length):
                    cross += crossings[block, other, passed[k]]
                pair = index[block, order[put]]
                slope = slopes[pair] if block < order[put] else -slopes[pair]
                change += 2 * (cross - step * slope) + crossings[block, other, other]
                rounding += pretended[pair]
                passed[length] = other
                length += 1
                if -change > gain and -change > rounding:
                    gain, best_taken, best_put = -change, taken, put
                put += step
    return gain, best_taken, best_put
