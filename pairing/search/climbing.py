"""From one order down to where the surrogate finds no better one, by steps that the exact error confirms."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pairing.arrays import Indices
from pairing.model.network import Network
from pairing.model.puzzle import Puzzle
from pairing.search.local_search import descend
from pairing.search.state import Search

LINEARISATIONS = 16
LEAST_ROWS = 256
MANY_ROWS = 512
LEAST_FALL = 0.02
"""The part of the error by which it has to fall for a descent of a large network to go on: its steps are dear."""
LARGE = 64
"""Blocks of a large network."""
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


def descent_rows(blocks: int, rng: np.random.Generator) -> int:
    """Rows for a linearisation: a third of the N(N−1)/2 bits, since far fewer of them are ever turned.

    256 at least. Large networks get 512 to 1,024, now more and now fewer: few rows make quick steps from afar, many
    sure ones near the end.
    """
    return int(min(max(blocks * (blocks - 1) // 6, LEAST_ROWS), MANY_ROWS * 2 ** rng.random()))


class Descent:
    """A descent from one order on one sample of rows, over several linearisations."""

    def __init__(self, search: Search, network: Network, order: Indices, rows: Indices) -> None:
        """Stands at ``order``, (N,) int64, whose error on ``rows`` is not known yet."""
        self._search, self.network, self.order, self.rows = search, network, order, rows
        self.error = np.inf
        """The order's exact error on the rows."""

    def steps(self, linearisations: int = LINEARISATIONS) -> Iterator[None]:
        """One linearisation after the other until the exact error falls no more (of a large network: hardly)."""
        rounding = rounding_of(self._search)
        least_fall = LEAST_FALL if len(self.order) > LARGE else 0.0
        for _ in range(linearisations):
            model = self._search.linearise(self.network, self.order, self.rows)
            self.error = model.error
            if not np.isfinite(model.crossings).all():
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
