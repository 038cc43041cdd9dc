"""What drives an annealer: the clock, the hooks to whoever asked, checkpoints, and the full check at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from pairing.annealing import ANNEALERS
from pairing.climbing import ROUNDING, Descent
from pairing.history import History
from pairing.network import Network
from pairing.ordering import start_order
from pairing.puzzle import Array64, Indices
from pairing.solution import solution_of
from pairing.state import EvaluationsSpent, Search, State

End = Literal["solved_elsewhere", "cancelled", "budget"]
"""Why somebody else ends a refinement."""

Pause = Literal["interrupted", "turn_over"]
"""Why a refinement goes on later from its checkpoint: at once, or when the present step is whole."""

Stopped = Literal[End, "solved", "converged", "failed"]

AUTO_STARTS = ("greedy", "norm")
"""The starts that ``auto`` compares after the pool's order; the one of least error is refined."""

POLISH_ROWS = 4096
PROGRESS_SECONDS = 1.0
CHECKPOINT_SECONDS = 1.0
"""Between checkpoints; the first is taken after the first step, so that an attempt that does anything gets further."""
POLL_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a refinement may take."""

    seconds: float = 60.0
    """Wall-clock budget of all its attempts together; infinite for a search that only evaluations end."""
    evaluations: int | None = None
    """Allowance of evaluations; with one the result does not depend on the clock."""
    until_solved: bool = True
    """Whether a solved refinement ends; without, the whole allowance is used."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a refinement says of itself about once a second."""

    stage: str
    best_error: float
    """On the yardstick rows (a sample where the data has more than 1,024)."""
    evaluations: int
    steps: int
    seconds_left: float


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """How a refinement talks to the fleet; by default to nobody."""

    should_stop: Callable[[], End | Pause | None] = lambda: None
    """Asked a few times a second."""
    progress: Callable[[Progress], None] = lambda _: None
    checkpoint: Callable[[dict[str, Any]], None] = lambda _: None
    """Given the state as plain JSON about once a second and when the refinement is stopped."""


class RefinementPaused(Exception):  # noqa: N818 - not an error: it was asked to
    """The refinement was asked to pause, and has given its checkpoint to the hooks."""


class Driver:
    """Runs an annealer between the clock, the hooks and the full check."""

    state: State
    history: History

    def __init__(self, network: Network, seed: list[int], limits: Limits, hooks: Hooks, began: float) -> None:
        """``began`` is when the refinement did, by the monotonic clock."""
        self.network, self.limits, self.hooks, self.began = network, limits, hooks, began
        # One generator a purpose: a resumed refinement draws the same starts and samples as an undisturbed one.
        children = np.random.SeedSequence(seed).spawn(3)
        self.starts, self.moves, self.samples = (np.random.default_rng(child) for child in children)
        self.verification_seconds = 0.0
        self._known: dict[tuple[bytes, bytes], float] = {}
        self._unsolved: bytes | None = None  # the best order whose hash is known to be another
        self._shown = began
        self._polled = self._saved = float("-inf")

    def start(self, name: str, pool_order: Indices | None) -> tuple[str, Indices]:
        """The name of the start and its order; of several the one of least error on a sample of rows."""
        rng = self.starts
        if name != "auto":
            return name, start_order(self.network, name, rng, pool_order)
        names = [*(["pool"] if pool_order is not None else []), *AUTO_STARTS]
        orders = {n: start_order(self.network, n, rng, pool_order) for n in names}
        rows = rng.permutation(self.network.puzzle.rows)[:256]
        sample = replace(
            self.network.puzzle,
            rows_in=self.network.puzzle.rows_in[rows],
            targets={self.network.puzzle.target: self.network.puzzle.target_values[rows]},
        )
        trial = Network(sample, self.network.pairs)
        best = min(names, key=lambda n: trial.full_mse(orders[n]))
        return best, orders[best]

    def search(
        self, begin: Indices, checkpoint: dict[str, Any] | None, *, repair: bool, evidence: Array64 | None
    ) -> Search:
        """A search that begins with the order ``begin``, or where the checkpoint says."""
        record = (checkpoint or {}).get("history")  # checkpoints of older versions have none
        self.history = History(orders=[begin.tolist()]) if record is None else History.from_json(record)
        if checkpoint is None:
            nan, inf, pairs = float("nan"), float("inf"), self.network.pairs
            self.state = State(
                pairs=pairs, order=begin, error=nan, best_pairs=pairs, best=begin, best_error=inf, rng=self.moves
            )
        else:
            self.state = State.from_json(checkpoint, len(begin))
            self.began -= self.state.seconds  # as if it had never paused
        limit = self.limits.evaluations
        return Search(self.network, begin, self.state, self.samples, limit, repair=repair, evidence=evidence)

    def seconds(self) -> float:
        """How long it has taken so far, in all attempts."""
        return time.monotonic() - self.began

    def anneal(self, annealer: str, search: Search) -> Stopped:
        """Improves the state until something ends it; says what.

        Raises:
            RefinementPaused: it is to go on later.
        """
        try:
            record = self.state.to_json()
            for whole in ANNEALERS[annealer](search):
                self._note()
                if whole:  # only then: a step may be cut short at any time
                    record = self.state.to_json()
                stopped = self._reason_to_stop(whole)
                if stopped or (whole and time.monotonic() - self._saved >= CHECKPOINT_SECONDS):
                    self._saved = time.monotonic()
                    self.hooks.checkpoint(record | {"seconds": self.seconds(), "history": self.history.to_json()})
                if stopped == "interrupted" or stopped == "turn_over":  # noqa: PLR1714 - narrows the type
                    raise RefinementPaused
                if stopped:
                    if stopped == "solved" and self.network.puzzle.target_hash is None:
                        self._polish(search)
                    return stopped
        except EvaluationsSpent:
            self._note()
            return "budget"
        return "converged"

    def _note(self) -> None:
        self.history.note(self.seconds(), self.state)

    def _polish(self, search: Search) -> None:
        """A last descent on many rows where the target is rounded: an order near the right one passes there as well."""
        puzzle, state = self.network.puzzle, self.state
        if puzzle.noise_floor <= ROUNDING * puzzle.target_variance:
            return
        network = self._best()
        way = Descent(search, network, state.best, search.fresh_sample(POLISH_ROWS))
        for _ in way.steps():
            pass
        if self._full_mse(network, way.order) < self._full_mse(network, state.best):
            state.best = way.order

    def verified(self, begin: Indices) -> tuple[Network, Indices, float, float]:
        """The better of the best order and the start on all rows: (its network, it, its error, the start's error)."""
        best = self._best()
        start_mse, best_mse = self._full_mse(self.network, begin), self._full_mse(best, self.state.best)
        if best_mse <= start_mse:
            return best, self.state.best, best_mse, start_mse
        return self.network, begin, start_mse, start_mse

    def _best(self) -> Network:
        return Network(self.network.puzzle, self.state.best_pairs)

    def _reason_to_stop(self, whole: bool) -> Stopped | Pause | None:
        now = time.monotonic()
        if now - self._polled >= POLL_SECONDS:
            self._polled = now
            reason = self.hooks.should_stop()
            if reason and (whole or reason != "turn_over"):
                return reason
        if now - self._shown >= PROGRESS_SECONDS:
            self._shown = now
            state = self.state
            self.hooks.progress(
                Progress(
                    stage="refinement",
                    best_error=state.best_error,
                    evaluations=state.evaluations,
                    steps=state.step,
                    seconds_left=max(0.0, self.limits.seconds - self.seconds()),
                )
            )
        if whole and self.limits.until_solved and (final := self._final()):
            return final
        return "budget" if self.seconds() >= self.limits.seconds else None

    def _final(self) -> Literal["solved", "converged"] | None:
        """Whether the best order solves the puzzle, or is at float32's rounding, beyond which nothing is told."""
        puzzle, best = self.network.puzzle, self.state.best
        rounding = ROUNDING * puzzle.target_variance
        if puzzle.target_hash is None and self.state.best_error > max(2 * puzzle.solved_mse, rounding):
            return None
        network = self._best()
        tried = network.pairs.tobytes() + best.tobytes()
        if tried != self._unsolved:
            self._unsolved = tried
            error = self.state.best_error if puzzle.target_hash else self._full_mse(network, best)
            if solution_of(puzzle, *network.sigmas(best), error).solved:
                return "solved"
        if self.state.best_error > max(2 * puzzle.solved_mse, rounding):
            return None
        return "converged" if self._full_mse(network, best) <= rounding else None

    def _full_mse(self, network: Network, order: Indices) -> float:
        key = network.pairs.tobytes(), order.tobytes()
        if key not in self._known:
            began = time.monotonic()
            self._known[key] = network.full_mse(order)
            self.verification_seconds += time.monotonic() - began
        return self._known[key]
