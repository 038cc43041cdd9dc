"""Where a refinement stands, and its counted access to the network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from pairing.arrays import Array64, Indices
from pairing.errors import MethodError
from pairing.model import costs
from pairing.model.costs import Cost
from pairing.model.network import Network
from pairing.model.pace import OutOfTimeError, Pace
from pairing.model.puzzle import Puzzle
from pairing.search.logit_search import Logits, LogitSearch
from pairing.search.moves.exchange import KEPT, SCREENING, Prices, price_exchanges
from pairing.search.schedule import Schedule
from pairing.search.surrogate import Surrogate, Window, linearize, pairs_within, window_at
from pairing.signals.posterior import marginals

YARDSTICK_ROWS = 1024
"""Rows of the fixed sample by which a refinement tells which of its orders is best (all rows where there are fewer)."""

MOST_BLOCKS = 800
"""Networks of more blocks are not linearized: N³ inner products would take more than two gigabytes."""

DEAR = 4.0
"""How many times longer than other steps one may take that has as few rows as may be."""

RowsCost = Callable[[Puzzle, int], Cost]

Phase = Literal["preferences", "logits", "order", "repair", "best"]
ARRAYS = ("pairs", "order", "best_pairs", "best")

SURE = 0.5
"""The weights are sure of pairs of which they expect fewer to be wrong."""


class EvaluationsSpent(Exception):  # noqa: N818 - not an error: it ends a search that has had its allowance
    """The allowance of evaluations is used up."""


@dataclass(kw_only=True, eq=False)
class State:
    """All that a refinement needs to go on exactly where it stopped."""

    pairs: Indices
    """(N,) int64: the present pairs."""
    order: Indices
    """(N,) int64: the present order."""
    error: float
    """The present order's error as the annealer measured it; NaN before it has."""
    best_pairs: Indices
    """(N,) int64: the pairs that the best order belongs to."""
    best: Indices
    """(N,) int64: the best order found."""
    best_error: float
    """The best order's error on the yardstick rows."""
    rng: np.random.Generator
    evaluations: int = 0
    """Errors of orders computed so far (a linearization counts as one)."""
    step: int = 0
    """Steps of the annealer done: proposals of ``classic``, moves of ``surrogate``."""
    stalled: int = 0
    """Steps since the best order was found or the search was restarted."""
    restarts: int = 0
    """Times that the search was begun anew from a random order."""
    seconds: float = 0.0
    """Wall-clock time of earlier attempts, in the state that an attempt begins with."""
    least: float = float("nan")
    """Of ``classic``: the least error on its own rows so far; NaN before there is any."""
    landmark: float = float("nan")
    """The error at the phase's last clear improvement; NaN before there is any."""
    since_landmark: int = 0
    """Steps since then."""
    plateau: bool = False
    """Whether the order for the first pairs has stalled at an MSE that says that many of them are wrong."""
    phase: Phase = "order"
    """What is searched: a first order, all by logits, the first pairs' order, pairs and order, or the best's order."""
    logits: Logits | None = None
    """Of the last logit search, if there was one."""

    def to_json(self) -> dict[str, Any]:
        """A record that ``from_json`` makes the same state of: plain numbers, lists and texts."""
        record = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {name: record[name].tolist() for name in ARRAYS}
        numbers = {name: None if np.isnan(record[name]) else record[name] for name in ("error", "least", "landmark")}
        logits = None if self.logits is None else self.logits.to_json()
        return record | arrays | numbers | {"rng": self.rng.bit_generator.state, "logits": logits}

    @classmethod
    def from_json(cls, record: dict[str, Any], blocks: int) -> State:
        """The state of a refinement of so many blocks that ``to_json`` recorded.

        Raises:
            MethodError: the record is none of that, whoever wrote it.
        """
        try:
            # checkpoints of older versions lack them
            whole = {"least": None, "landmark": None, "since_landmark": 0, "plateau": False, "logits": None} | record
            return cls(
                pairs=_order(whole["pairs"], blocks),
                order=_order(whole["order"], blocks),
                error=_amount(whole["error"]),
                best_pairs=_order(whole["best_pairs"], blocks),
                best=_order(whole["best"], blocks),
                best_error=_amount(whole["best_error"]),
                evaluations=_count(whole["evaluations"]),
                step=_count(whole["step"]),
                stalled=_count(whole["stalled"]),
                restarts=_count(whole["restarts"]),
                seconds=_amount(whole["seconds"]),
                least=_amount(whole["least"]),
                landmark=_amount(whole["landmark"]),
                since_landmark=_count(whole["since_landmark"]),
                plateau=whole["plateau"] is True,
                phase=_phase(whole["phase"]),
                rng=_generator(whole["rng"]),
                logits=None if whole["logits"] is None else Logits.from_json(whole["logits"], blocks),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise MethodError(
                "the checkpoint is none of this refinement: somebody else has changed it; enqueue the run again"
            ) from error


def _order(value: Any, blocks: int) -> Indices:
    if not all(type(number) is int for number in value) or sorted(value) != list(range(blocks)):
        raise ValueError("no permutation")
    return np.array(value, np.int64)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**62:
        raise ValueError("no count")
    return value


def _amount(value: Any) -> float:
    """An error or a time; NaN for an error that nobody has measured."""
    if value is None:
        return float("nan")
    if not float(value) >= 0:
        raise ValueError("neither an error nor a time")
    return float(value)


def _phase(value: Any) -> Phase:
    if value not in get_args(Phase):
        raise ValueError("no phase")
    return value  # type: ignore[no-any-return]


def _generator(value: Any) -> np.random.Generator:
    rng = np.random.default_rng()
    rng.bit_generator.state = value
    return rng


class Search:
    """What an annealer may ask of the network; every answer counts as an evaluation."""

    def __init__(
        self,
        network: Network,
        begin: Indices,
        state: State,
        samples: np.random.Generator,
        limit: int | None,
        *,
        pace: Pace | None = None,
        step_seconds: float = float("inf"),
        repair: bool = False,
        evidence: Array64 | None = None,
        schedule: Schedule = Schedule(),
    ) -> None:
        """A search that begins with the pairs of ``network`` in the order ``begin``.

        ``limit`` is the allowance of evaluations; ``samples`` draws the fixed samples of rows. With ``repair`` the
        pairs may be changed; ``evidence`` (N, N) float64 are what the weights say of every pair, log-odds in nats.
        ``pace`` knows the time that is left; samples are no larger than lets a step end in ``step_seconds``.
        ``schedule`` holds the policy's numbers.
        """
        self.network = network
        self.begin = begin
        self.repair = repair and len(begin) > 1
        wrong = float("nan") if evidence is None else _wrong(network.pairs, evidence)
        self.sure = wrong < SURE
        self.expects_many_wrong = self.repair and wrong > schedule.doubtful_part * len(begin)
        self.evidence = evidence
        self.schedule = schedule
        self.state = state
        self._limit = limit
        self.limited = limit is not None
        self._samples = samples
        self.pace = pace or Pace(network.puzzle, float("inf"))
        self._step_seconds = step_seconds
        self.yardstick = self.fixed_sample(YARDSTICK_ROWS)

    def fixed_sample(self, count: int) -> Indices:
        """``min(count, R)`` different rows, the same ones when the refinement is resumed."""
        return self._sample(self._samples, count, costs.forward)

    def fresh_sample(self, count: int, cost: RowsCost = costs.linearization) -> Indices:
        """``min(count, R)`` different rows, drawn with the state's generator; fewer where the step is too dear."""
        return self._sample(self.state.rng, count, cost)

    def _sample(self, rng: np.random.Generator, count: int, cost: RowsCost) -> Indices:
        rows = self.network.puzzle.rows
        if self._step_seconds < float("inf"):
            count = self.pace.affordable(
                min(count, rows), lambda some: cost(self.network.puzzle, some), self._step_seconds
            )
        if count >= rows:
            return np.arange(rows)
        return rng.choice(rows, count, replace=False).astype(np.int64)

    def affords(self, cost: Cost) -> bool:
        """Whether a step of that cost is not out of all proportion to the others, however few its rows are."""
        return self._step_seconds == float("inf") or self.pace.seconds(cost) <= DEAR * self._step_seconds

    @property
    def present(self) -> Network:
        """The network of the state's pairs."""
        return Network(self.network.puzzle, self.state.pairs)

    def error(self, network: Network, order: Indices, rows: Indices) -> float:
        """The exact error of ``network`` in ``order`` on ``rows``; infinite where it overflows.

        Raises:
            EvaluationsSpent: the allowance is used up; nothing was computed.
            OutOfTimeError: it would not end in time; nothing was computed.
        """
        with self.step(costs.forward(network.puzzle, len(rows))):
            return _error(network, order, rows)

    def start_error(self) -> float:
        """The start's error on the yardstick rows, for the history: counts as no evaluation.

        Raises:
            OutOfTimeError: it would not end in time; nothing was computed.
        """
        self.pace.check(costs.forward(self.network.puzzle, len(self.yardstick)))
        return _error(self.network, self.begin, self.yardstick)

    def linearize(self, network: Network, order: Indices, rows: Indices) -> Surrogate:
        """The surrogate of ``network`` at ``order`` from ``rows``.

        Raises:
            EvaluationsSpent: the allowance is used up; nothing was computed.
            OutOfTimeError: it would not end in time, or takes too much memory; nothing was computed.
        """
        if len(order) > MOST_BLOCKS:
            raise OutOfTimeError
        with self.step(costs.linearization(network.puzzle, len(rows))):
            return linearize(network, order, rows)

    def window(self, network: Network, order: Indices, rows: Indices) -> Window:
        """The surrogate's form near ``order``, from ``rows``; counts as one evaluation.

        Raises:
            EvaluationsSpent: the allowance is used up; nothing was computed.
            OutOfTimeError: it would not end in time; nothing was computed.
        """
        with self.step(window_cost(network.puzzle, len(rows))):
            return window_at(network, order, rows)

    def price_exchanges(self, rows: Indices) -> Prices | None:
        """What exchanges of pieces would gain at the present pairs and order; counts as one evaluation.

        Raises:
            EvaluationsSpent: the allowance is used up; nothing was computed.
            OutOfTimeError: it would not end in time; nothing was computed.
        """
        with self.step(exchanges_cost(self.network.puzzle, len(rows))):
            return price_exchanges(self.present, self.state.order, rows, self.evidence)

    @property
    def in_doubt(self) -> bool:
        """Whether many pairs are likely to be wrong, by the evidence or by what the order has come to."""
        tried = self.state.restarts >= self.schedule.plateau_restarts
        return self.expects_many_wrong or (self.state.plateau and not tried)

    @cached_property
    def logit_search(self) -> LogitSearch:
        """The steps of a logit search."""
        return LogitSearch(self.network.puzzle)

    def note(self, error: float) -> None:
        """Keeps the present order as the best if ``error``, on the yardstick rows, is less than the best one's."""
        state = self.state
        if error < state.best_error:
            state.best_pairs, state.best = state.pairs.copy(), state.order.copy()
            state.best_error, state.stalled = error, 0

    @contextmanager
    def step(self, cost: Cost) -> Iterator[None]:
        """Counts an evaluation of that cost, which is not begun where it would not end in time."""
        if self._limit is not None and self.state.evaluations >= self._limit:
            raise EvaluationsSpent
        self.pace.check(cost)
        self.state.evaluations += 1
        began = time.monotonic()
        yield
        self.pace.learn(cost, time.monotonic() - began)


def _error(network: Network, order: Indices, rows: Indices) -> float:
    residual = network.puzzle.target_values[rows] - network.predict(order, network.puzzle.rows_in[rows])
    error = float(np.mean(np.square(residual)))
    return error if np.isfinite(error) else float("inf")


def _wrong(pairs: Indices, evidence: Array64) -> float:
    """How many of the pairs are wrong, as far as evidence alone tells: the expected number."""
    probabilities, _ = marginals(evidence)
    return float((1 - probabilities[np.arange(len(pairs)), pairs]).sum())


def window_cost(puzzle: Puzzle, rows: int) -> Cost:
    """What a window costs from so many rows."""
    return costs.window(puzzle, rows, pairs_within(puzzle.blocks))


def exchanges_cost(puzzle: Puzzle, rows: int) -> Cost:
    """What the prices of exchanges cost on so many rows."""
    return costs.exchanges(puzzle, rows, -(-rows // SCREENING), KEPT)
