"""How fast this machine multiplies, so that what a step takes is known before it is begun."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from pairing.model.costs import Cost
from pairing.model.puzzle import Puzzle

MEASURED_SHAPE = (32, 64)
"""The least product that is measured: smaller ones tell what a call costs, and not what a multiplication does."""
MEASURED_ROWS = 64
MEASURED_SECONDS = 0.001
MEASURED_TIMES = 3
CAUTION = 1.5
"""How much longer a step may take than its products alone: activations, additions, memory."""
LEARNT_SECONDS = 0.1
"""Steps of so many seconds and more tell how slow the machine is at present."""
SLOWEST = 30.0
FEWEST_ROWS = 16


class OutOfTimeError(Exception):
    """A step is not begun, since it would not end in time."""


class Pace:
    """The time that is left, and what of it a step would take."""

    def __init__(self, puzzle: Puzzle, ends: float, deadline: float = float("inf"), reserve: Cost = 0.0) -> None:
        """``ends`` and ``deadline`` are by the monotonic clock, infinite where there is none.

        Before the deadline so much time is kept as steps of the cost ``reserve`` take.
        """
        self._ends, self._deadline, self._reserve = ends, deadline, reserve
        self._shape = max(puzzle.width, MEASURED_SHAPE[0]), max(puzzle.hidden, MEASURED_SHAPE[1])
        self._slowness = CAUTION

    @property
    def left(self) -> float:
        """Seconds."""
        if min(self._ends, self._deadline) == float("inf"):
            return float("inf")
        return min(self._ends, self._deadline - self.seconds(self._reserve)) - time.monotonic()

    def seconds(self, cost: Cost) -> float:
        """What products of that cost are expected to take."""
        return cost / _rate(*self._shape) * self._slowness

    def check(self, cost: Cost) -> None:
        """Lets a step of that cost begin.

        Raises:
            OutOfTimeError: it would not end in time.
        """
        left = self.left
        if left < float("inf") and self.seconds(cost) > left:
            raise OutOfTimeError

    def learn(self, cost: Cost, seconds: float) -> None:
        """Takes note that a step of that cost has taken so long."""
        if seconds >= LEARNT_SECONDS and cost > 0:
            seen = seconds / (cost / _rate(*self._shape))
            self._slowness = min(max(CAUTION, seen, self._slowness / 2), SLOWEST)

    def affordable(self, count: int, cost: Callable[[int], Cost], seconds: float) -> int:
        """The most rows, of ``count``, its half, its quarter …, whose step takes no longer than ``seconds``."""
        while count > FEWEST_ROWS and self.seconds(cost(count)) > seconds:
            count = max(count // 2, FEWEST_ROWS)
        return count


@lru_cache(maxsize=64)
def _rate(width: int, hidden: int) -> float:
    """Multiplications a second in products of such a block, measured once a process."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(hidden, width)).astype(np.float32)
    states = rng.normal(size=(width, MEASURED_ROWS)).astype(np.float32)
    out = np.empty((hidden, MEASURED_ROWS), np.float32)
    best = 0.0
    for _ in range(MEASURED_TIMES):  # another process may have had the core for one of them
        times, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < MEASURED_SECONDS or not times:
            np.matmul(weight, states, out=out)
            times += 1
        best = max(best, times * weight.size * MEASURED_ROWS / spent)
    return best
