"""Time slices: a refinement that has worked long enough lets others run, where others wait, and goes on later.

A method that is wrong everywhere looks no worse at its start than one that needs a minute more, so nobody may hold a
worker for a whole budget while others have not begun. Each slice takes as long as all before it, so that the cost of
slices stays small. Methods whose posterior probabilities are near 1 come before the others, with longer slices, and the
methods that expect the most right pairs get time for a whole logit search before it is shared.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

from pairing.search.driver import End, Pause
from pairing.search.state import SURE
from tasks.runs.attempts import InterruptedTaskError, SupersededError

TURN_SECONDS = 5.0
"""The length of the first turn …"""
SURE_TURN_SECONDS = 20.0
"""… where the method is sure of its pairs."""
LEADING_TURN_SECONDS = 60.0
"""… and where it is not, but few methods of the run expect more right pairs."""
LEADING = 2
"""So many methods lead: as many as a small machine has workers."""
SHORT = 1.5
"""Who has less left than so many lengths of a turn takes it all at once."""
CROWD_SECONDS = 1.0
"""How often it is asked whether others wait, once the turn is over."""


class TurnOverError(Exception):
    """Others wait for the worker; the task goes on later."""


def is_sure(confidence: Sequence[float]) -> bool:
    """Whether a method that says so of each of its pairs (N,) expects all of them to be right."""
    return sum(1 - value for value in confidence) < SURE


def first_turn(confidence: Sequence[float], others: Iterable[Sequence[float]]) -> float:
    """Seconds of the first turn of a method with that confidence in its pairs (N,), beside other methods of its run."""
    if is_sure(confidence):
        return SURE_TURN_SECONDS
    ahead = sum(sum(other) > sum(confidence) for other in others)
    return LEADING_TURN_SECONDS if ahead < LEADING else TURN_SECONDS


@dataclass
class Turn:
    """One turn of a refinement that has worked ``used`` seconds before, and what may end it."""

    first: float
    """Seconds of the first turn."""
    used: float
    owned: Callable[[], bool]
    """Whether nobody else has taken the refinement over."""
    announced: Callable[[], str | None]
    """Why the run's refinements end, if they do."""
    interrupted: Callable[[], bool]
    """Whether this process is about to end."""
    has_backlog: Callable[[], bool]
    """Whether other tasks wait for it."""
    budget: float = math.inf
    """Seconds that it may take in all."""
    pause: Exception | None = field(default=None, init=False)
    """Why the refinement was told to pause."""

    def __post_init__(self) -> None:
        """The turn begins."""
        length = max(self.first, self.used)
        nearly_done = self.budget - self.used < SHORT * length  # the rest is not worth another delivery
        self._ends = math.inf if nearly_done else time.monotonic() + length

    def should_stop(self) -> End | Pause | None:
        """For :class:`pairing.search.driver.Hooks`."""
        if not self.owned():
            self.pause = SupersededError()
            return "interrupted"
        if self.interrupted():
            self.pause = InterruptedTaskError()
            return "interrupted"
        if announced := self.announced():
            return cast(End, announced)
        if time.monotonic() < self._ends:
            return None
        if not self.has_backlog():
            self._ends = time.monotonic() + CROWD_SECONDS
            return None
        self.pause = TurnOverError()
        return "turn_over"
