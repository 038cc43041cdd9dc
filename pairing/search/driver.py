"""What drives an annealer: the clock, the hooks to whoever asked, checkpoints, and the full check at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from pairing.arrays import Array64, Indices
from pairing.errors import MethodError
from pairing.model import costs
from pairing.model.network import Network
from pairing.model.pace import OutOfTimeError, Pace
from pairing.search.acceptance import indistinct_mse
from pairing.search.enumeration import matching_answer
from pairing.search.history import History
from pairing.search.identifiability import NOISE_BOUND
from pairing.search.initial_orders import GREEDY_ROWS, start_order
from pairing.search.local_search import Descent
from pairing.search.noise import noise_of
from pairing.search.policy import ANNEALERS
from pairing.search.state import EvaluationsSpent, RowsCost, Search, State
from pairing.solution import solution_of

End = Literal["solved_elsewhere", "cancelled", "budget"]
"""Why somebody else ends a refinement."""

Pause = Literal["interrupted", "turn_over"]
"""Why a refinement goes on later from its checkpoint: at once, or when the present step is whole."""

Stopped = Literal[End, "solved", "converged", "failed"]

AUTO_STARTS = ("greedy", "norm")
"""The starts that ``auto`` compares after the pool's order; the one of least error is refined."""

POLISH_ROWS = 4096
START_ROWS = 256
"""Rows on which ``auto`` compares the starts."""
START_PART = 0.25
"""Of the time until the deadline; a greedy start that takes more is left out."""
STEP_PART = 0.05
"""Of the time of all: so long a step may take, …"""
STEP_SECONDS = (2.0, 5.0)
"""… but at least and at most so many seconds."""
LAST_TURN = 8.0
"""With less time to the deadline than so many errors on all rows take, a refinement keeps its turn to the end."""
SETTLED_STEPS = 10
"""Steps without a new best after which what the best leaves unexplained is compared with noise."""
LATE_SECONDS = 3.0
"""How long after the deadline an error on all rows may end."""
MORE = "give more time (--deadline), or fewer rows"
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
    deadline: float = float("inf")
    """Seconds after which all has to be over, errors on all rows included; the search ends so much earlier."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a refinement is."""

    stage: str
    """Always ``refinement``."""
    best_error: float
    """The best MSE so far, over at most 1,024 samples."""
    evaluations: int
    """How many MSEs were computed; a linearization counts as one."""
    steps: int
    """Steps of the annealer."""
    seconds_left: float
    """Of the refinement's budget."""


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
        self.pace = self._pace()
        most = min(max(STEP_PART * min(limits.seconds, limits.deadline), STEP_SECONDS[0]), STEP_SECONDS[1])
        # Samples that depend on the clock would make the result of an allowance of evaluations depend on it.
        self._step_seconds = float("inf") if limits.evaluations is not None else most
        self._known: dict[tuple[bytes, bytes], float] = {}
        self._unsolved: bytes | None = None  # the best order whose hash is known to be another
        self._looked_at: bytes | None = None  # the best order whose error has been compared with noise
        self.noisy: bytes | None = None  # the pairs and the order whose error is consistent with noise
        self._shown = began
        self._polled = self._saved = float("-inf")

    def start(self, name: str, pool_order: Indices | None) -> tuple[str, Indices]:
        """The name of the start and its order; of several the one of least error on a sample of rows."""
        rng, puzzle = self.starts, self.network.puzzle
        rows = self._affordable(GREEDY_ROWS, costs.greedy)
        seconds, left = self.pace.seconds(costs.greedy(puzzle, rows)), self._left()
        if name == "greedy" and seconds > left + LATE_SECONDS:
            raise MethodError(
                f"the start greedy takes about {seconds:,.0f} s, and {max(0, left):.0f} s are left: {MORE}"
            )
        if name != "auto":
            return name, start_order(self.network, name, rng, pool_order, rows)
        names = [*(["pool"] if pool_order is not None else []), *AUTO_STARTS]
        if seconds > START_PART * left:
            names.remove("greedy")
        orders = {n: start_order(self.network, n, rng, pool_order, rows) for n in names}
        if len(orders) == 1:
            return names[0], orders[names[0]]
        some = rng.permutation(puzzle.rows)[: self._affordable(START_ROWS, costs.forward)]
        targets = {puzzle.target: puzzle.target_values[some]}
        trial = Network(replace(puzzle, rows_in=puzzle.rows_in[some], targets=targets), self.network.pairs)
        best = min(names, key=lambda n: trial.full_mse(orders[n]))
        return best, orders[best]

    def _affordable(self, rows: int, cost: RowsCost) -> int:
        if self._step_seconds == float("inf"):
            return rows
        return self.pace.affordable(rows, lambda some: cost(self.network.puzzle, some), self._step_seconds)

    def _pace(self) -> Pace:
        """The time for the search: the errors of the start and of the best on all rows are kept time for."""
        puzzle, ends, deadline = self.network.puzzle, self.limits.seconds, self.limits.deadline
        return Pace(puzzle, self.began + ends, self.began + deadline, 2 * costs.forward(puzzle, puzzle.rows))

    def _left(self) -> float:
        """Seconds until all has to be over."""
        return self.began + self.limits.deadline - time.monotonic()

    def _verification(self) -> float:
        """Seconds that an exact error on all rows takes."""
        return self.pace.seconds(costs.forward(self.network.puzzle, self.network.puzzle.rows))

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
        self.pace = self._pace()
        search = Search(
            self.network,
            begin,
            self.state,
            self.samples,
            self.limits.evaluations,
            pace=self.pace,
            step_seconds=self._step_seconds,
            repair=repair,
            evidence=evidence,
        )
        if checkpoint is None:
            with suppress(OutOfTimeError):
                self.history.begin(self.seconds(), search.start_error())
        return search

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
        except (EvaluationsSpent, OutOfTimeError):
            self._note()
            return "budget"
        return "converged"

    def _note(self) -> None:
        self.history.note(self.seconds(), self.state)

    def _polish(self, search: Search) -> None:
        """A last descent on many rows where the target is rounded: an order near the right one passes there as well."""
        puzzle, state = self.network.puzzle, self.state
        if puzzle.noise_floor <= indistinct_mse(puzzle) or self.pace.left < self._verification():
            return
        network = self._best()
        descent = Descent(search, network, state.best, search.fresh_sample(POLISH_ROWS))
        with suppress(EvaluationsSpent, OutOfTimeError):
            for _ in descent.steps():
                pass
        if self._full_mse(network, descent.order) < self._full_mse(network, state.best):
            state.best = descent.order

    def verified(self, begin: Indices) -> tuple[Network, Indices, float, float]:
        """The better of the best order and the start on all rows: (its network, it, its error, the start's error).

        Where there is time for one error alone, that is the best order's, and the start's is NaN.

        Raises:
            MethodError: there is no time even for that.
        """
        best, order = self._best(), self.state.best
        seconds, left = self._verification(), self._left()
        known = (best.pairs.tobytes(), order.tobytes()) in self._known
        if not known and seconds > left + LATE_SECONDS:
            raise MethodError(
                f"an error over all {self.network.puzzle.rows:,} rows takes about {seconds:,.0f} s, and"
                f" {max(0.0, left):.0f} s are left: {MORE}"
            )
        best_mse = self._full_mse(best, order)
        same = np.array_equal(order, begin) and np.array_equal(best.pairs, self.network.pairs)
        if not same and seconds > self._left() + LATE_SECONDS:
            return best, order, best_mse, float("nan")
        start_mse = self._full_mse(self.network, begin)
        if best_mse <= start_mse or solution_of(self.network.puzzle, *best.sigmas(order), best_mse).hash_match:
            return best, order, best_mse, start_mse
        return self.network, begin, start_mse, start_mse

    def _best(self) -> Network:
        return Network(self.network.puzzle, self.state.best_pairs)

    def _reason_to_stop(self, whole: bool) -> Stopped | Pause | None:
        now = time.monotonic()
        if now - self._polled >= POLL_SECONDS:
            self._polled = now
            reason = self.hooks.should_stop()
            if reason == "turn_over" and self._left() < LAST_TURN * self._verification():
                reason = None  # when its turn comes again, there may be no time for its error on all rows
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
        return "budget" if self.pace.left <= 0 else None

    def _final(self) -> Literal["solved", "converged"] | None:
        """Whether the best order solves the puzzle, or leaves nothing but rounding or noise, which tell no more."""
        puzzle, best = self.network.puzzle, self.state.best
        rounding = indistinct_mse(puzzle)
        far = self.state.best_error > max(2 * puzzle.solved_mse, rounding)
        if puzzle.target_hash is None and far:
            return "converged" if self._is_noise() else None
        network = self._best()
        tried = network.pairs.tobytes() + best.tobytes()
        if tried != self._unsolved:
            self._unsolved = tried
            error = self.state.best_error if puzzle.target_hash else self._full_mse(network, best)
            if solution_of(puzzle, *network.sigmas(best), error).solved:
                if puzzle.target_hash is None and error > max(rounding, puzzle.rounded_mse) and not self._has_settled():
                    self._unsolved = None  # a better order may be near: it is looked at again
                    return None
                return "solved"
            if puzzle.target_hash and not far and self._is_matched(rounding):
                return "solved"
        if far:
            noisy = puzzle.target_hash is not None and self._is_noise()
            noise = NOISE_BOUND * self.state.best_error / puzzle.target_values.size
            return "solved" if noisy and self._is_matched(max(noise, rounding)) else None
        return "converged" if self._full_mse(network, best) <= rounding else None

    def _has_settled(self) -> bool:
        return self.state.stalled >= SETTLED_STEPS

    def _is_noise(self) -> bool:
        """Whether the search has settled on an order whose error is consistent with noise; each is looked at once."""
        state = self.state
        tried = state.best_pairs.tobytes() + state.best.tobytes()
        if not self._has_settled() or tried == self._looked_at:
            return False
        self._looked_at = tried
        noise = noise_of(self._best(), state.best, state.best_error, self.pace.left)
        self.noisy = None if noise is None else tried
        return noise is not None

    def _is_matched(self, most: float) -> bool:
        """Whether the data cannot tell the best answer from one that has the target hash, which then is the best."""
        found = matching_answer(self._best(), self.state.best, most, self.pace)
        if found is not None:
            self.state.best_pairs, self.state.best = found[0].pairs, found[1]
        return found is not None

    def _full_mse(self, network: Network, order: Indices) -> float:
        key = network.pairs.tobytes(), order.tobytes()
        if key not in self._known:
            began = time.monotonic()
            self._known[key] = network.full_mse(order)
            seconds = time.monotonic() - began
            self.verification_seconds += seconds
            self.pace.learn(costs.forward(network.puzzle, network.puzzle.rows), seconds)
        return self._known[key]
