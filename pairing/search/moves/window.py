"""Perturbing without re-linearizing: iterated local search (Lourenço, Martin and Stützle 2003) on one surrogate.

Where few pairs are inverted, the surrogate is nearly exact. A descent ends in the first order that no insertion
betters, but the surrogate has better orders nearby: hundreds of perturbations cost as much as one linearization.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from pairing.arrays import Array32, Indices
from pairing.search.acceptance import accept
from pairing.search.kernels import descend_near, perturb_all
from pairing.search.moves.perturb import perturb
from pairing.search.state import Search, window_cost
from pairing.search.surrogate import Window

LONGEST = 3
"""Blocks in a perturbation's segment, at most …"""
FARTHEST = 8
"""… and places by which it is moved, at most."""
AT_ONCE = 16
"""Perturbations between two looks at the clock."""
ROUNDING = 4 * float(np.finfo(np.float32).eps)
"""What float32 pretends of a gain, as a part of the products that it is the difference of."""


def perturb_linearized(search: Search) -> Generator[bool, None, bool]:
    """Goes on from the best order that is found on the surrogate near the present one; whether it does."""
    state, network, schedule = search.state, search.present, search.schedule
    blocks = len(state.order)
    rows = search.fresh_sample(min(schedule.window_rows * blocks, schedule.most_window_rows), window_cost)
    window = search.window(network, state.order, rows)
    yield False
    if not window.finite:
        return (yield from perturb(search))
    best, descended = yield from search_window(window, schedule.window_perturbations * blocks, state.rng)
    for positions in (best, descended):  # the form may promise more than there is, and less so after fewer moves
        order = state.order[positions]
        error = search.error(network, order, search.yardstick)
        if accept(search, order, error):
            return True
    return False


def search_window(
    window: Window, perturbations: int, rng: np.random.Generator
) -> Generator[bool, None, tuple[Indices, Indices]]:
    """The best order of positions (N,) int64 after a descent and so many perturbations, and that of the descent alone.

    A perturbation moves a segment of one to three blocks by up to eight places; the descent after it has to better the
    best. Gains below a millionth of the window's error, or of float32's rounding, do not count. Yields False between
    perturbations, often.
    """
    count = len(window.index)
    lengths = rng.integers(1, min(LONGEST, count) + 1, perturbations)
    starts = rng.integers(0, count - lengths + 1)
    shifts = rng.integers(1, FARTHEST + 1, perturbations) * rng.choice([-1, 1], perturbations)
    moves = np.column_stack([lengths, starts, shifts])
    form = window.matrix, _shared_block_gram(window), window.index, window.reach, _pretended(window)
    order, slopes, inverted = np.arange(count), window.slopes.copy(), np.zeros(len(window.slopes), np.bool_)
    least = 1e-6 * window.error
    descend_near((order, slopes, inverted), form, least)
    yield False
    descended = order.copy()
    best = order.copy(), slopes.copy(), inverted.copy()
    for start in range(0, perturbations, AT_ONCE):
        perturb_all((order, slopes, inverted), best, form, moves[start : start + AT_ONCE], least)
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


def _shared_block_gram(window: Window) -> Array32:
    """(N, 2·reach + 1, 2·reach + 1) float32: mean D_ab·D_ac of each block a and its neighbours b, c; D_ba = −D_ab."""
    count, reach = len(window.index), window.reach
    gram = np.zeros((count, 2 * reach + 1, 2 * reach + 1), np.float32)
    for block in range(count if len(window.slopes) else 0):
        low, high = max(0, block - reach), min(count, block + reach + 1)
        mine = window.index[block, low:high]
        signs = np.sign(np.arange(low, high) - block).astype(np.float32)
        inside = slice(low - block + reach, high - block + reach)
        gram[block, inside, inside] = window.matrix[np.ix_(mine, mine)] * np.outer(signs, signs)
    return gram
