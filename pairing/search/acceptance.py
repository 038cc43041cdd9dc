"""Which order a search goes on from, and which errors tell no order from another."""

from __future__ import annotations

import numpy as np

from pairing.arrays import Indices
from pairing.model.puzzle import Puzzle
from pairing.search.state import Search

ROUNDING = 1e-12
"""Errors below this part of the target's variance are rounding of float32: no order is told from another there."""
SAFELY = 16.0
"""By how much an arithmetic floor is stated too high."""


def rounding_of(search: Search) -> float:
    """The error below which no order of the search's puzzle is told from another."""
    return indistinct_mse(search.network.puzzle)


def indistinct_mse(puzzle: Puzzle) -> float:
    """Errors and changes up to this are float32's rounding: no order is told from another there."""
    least = float(np.finfo(np.float32).tiny)
    return max(ROUNDING * puzzle.target_variance, puzzle.arithmetic_floor / SAFELY, least)


def accept(search: Search, order: Indices, error: float) -> bool:
    """Goes on from an order, if its error is less than the present one's, or little more; whether so.

    Metropolis's rule (Metropolis et al. 1953) on the logarithm of the error.
    """
    state, rounding = search.state, rounding_of(search)
    chance = search.schedule.temperature * state.rng.exponential()
    accepted = np.isnan(state.error) or np.log(max(error, rounding)) < np.log(max(state.error, rounding)) + chance
    if accepted:
        state.order, state.error = order, error
        search.note(error)
    return bool(accepted)
