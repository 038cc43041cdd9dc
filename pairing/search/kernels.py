"""Everything that is compiled: the inner loops of the surrogate and of the searches on it.

The signs of pairs are the caller's: D_ba = −D_ab throughout. Argument types are those of the arrays that callers make.
"""

from __future__ import annotations

import numpy as np

from pairing.search.compiled import njit

INSERTIONS = 4
"""Insertions per block that end a descent near an order, wherever it is then."""


@njit()
def antisymmetric(products, changes, reach):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Writes products[s, a, b] − products[s, b, a], u_a · f_b − u_b · f_a, to changes[pair, s]."""
    samples, count, _ = products.shape
    pair = 0
    for first in range(count):
        for second in range(first + 1, min(first + reach + 1, count)):
            for s in range(samples):
                changes[pair, s] = products[s, first, second] - products[s, second, first]
            pair += 1


@njit(fastmath=True)
def best_insertions(order, slopes, shared_block_gram):  # type: ignore[no-untyped-def]  # pragma: no cover
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
                    cross += shared_block_gram[block, other, passed[k]]
                change += 2 * (cross - direction * slopes[block, other]) + shared_block_gram[block, other, other]
                passed[length] = other
                length += 1
                if -change > gains[taken]:
                    gains[taken], puts[taken] = -change, put
                put += direction
    return gains, puts


# Below, ``at`` is where a search stands: (order (N,) int64, the form's slopes there (P,) float32, inverted (P,) bool).


@njit(fastmath=True)
def perturb_all(present, best, form, perturbations, least):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Perturbs and descends from the best, and keeps what is better."""
    for turn in range(len(perturbations)):
        length, start, shift = perturbations[turn, 0], perturbations[turn, 1], perturbations[turn, 2]
        change = _move_segment(present, form, length, start, shift) + descend_near(present, form, least)
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
def _move_segment(at, form, length, start, shift):  # type: ignore[no-untyped-def]  # pragma: no cover
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
def descend_near(at, form, least):  # type: ignore[no-untyped-def]  # pragma: no cover
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
    """Puts a block elsewhere, one neighbor after the other: the MSE's change."""
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
    _, shared_block_gram, index, reach, pretended = form
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
                    cross += shared_block_gram[block, other, passed[k]]
                pair = index[block, order[put]]
                slope = slopes[pair] if block < order[put] else -slopes[pair]
                change += 2 * (cross - step * slope) + shared_block_gram[block, other, other]
                rounding += pretended[pair]
                passed[length] = other
                length += 1
                if -change > gain and -change > rounding:
                    gain, best_taken, best_put = -change, taken, put
                put += step
    return gain, best_taken, best_put
