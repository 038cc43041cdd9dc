"""The two annealers: generators that improve a ``State`` step by step.

``anneal(search)`` yields often (every fraction of a second): True where the state is whole and may be saved, False in
the middle of a step. It returns when it has converged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from pairing.descent import descend
from pairing.puzzle import Indices
from pairing.state import Search

Annealer = Callable[[Search], Iterator[bool]]

CLASSIC_STEPS = 20_000
CLASSIC_ROWS = 2_000
CLASSIC_TEMPERATURE = 2.0
CLASSIC_COOLING = 0.99985

LINEARISATIONS_PER_KICK = 16
KICK_REACH = 12
KICK_TEMPERATURE = 0.05
PATIENCE = 40
LEAST_RESTARTS = 2
RESTARTS_TIMES_BLOCKS = 100
ROUNDING = 1e-12
"""Errors below this part of the target's variance are rounding of float32: no order is told from another there."""


def classic(search: Search) -> Iterator[bool]:
    """The old fleet's annealer, kept as the reference: random exchanges of two blocks, priced by the exact error.

    20,000 steps on 2,000 rows at the temperature 2.0 × 0.99985^step (in units of the error); converged after them.
    """
    state = search.state
    rows = search.fixed_sample(CLASSIC_ROWS)
    if np.isnan(state.error):
        state.error = search.error(state.order, rows)
    while state.step < CLASSIC_STEPS:
        first, second = state.rng.integers(0, len(state.order), 2)
        chance = state.rng.random()
        candidate = state.order.copy()
        candidate[[first, second]] = candidate[[second, first]]
        error = search.error(candidate, rows)
        temperature = CLASSIC_TEMPERATURE * CLASSIC_COOLING**state.step
        state.step += 1
        state.stalled += 1
        if error <= state.error or chance < np.exp((state.error - error) / temperature):
            state.order, state.error = candidate, error
            search.note(candidate, error)
        yield True


def surrogate(search: Search) -> Iterator[bool]:
    """Iterated local search on the commutator surrogate.

    Every step kicks the order (a fresh one it does not), descends on fresh rows, and accepts by the logarithm of the
    error (temperature 0.05), both orders measured on the same rows. After 40 kicks without a new best it begins anew
    from a random order. Converged when the last restart has stalled too; never where the evaluations are limited, so
    that all methods get the same number of them.
    """
    state = search.state
    puzzle = search.network.puzzle
    rounding = ROUNDING * max(puzzle.target_variance, float(np.finfo(np.float32).tiny))
    restarts = max(LEAST_RESTARTS, RESTARTS_TIMES_BLOCKS // puzzle.blocks)  # they are cheap where blocks are few
    while search.limited or state.restarts <= restarts:
        fresh = bool(np.isnan(state.error))
        way = _Descent(
            search,
            state.order if fresh else _kicked(state.order, state.rng),
            search.fresh_sample(descent_rows(puzzle.blocks)),
        )
        for _ in way.steps(rounding):
            yield False
        state.step += 1
        state.stalled += 1
        before = np.inf if fresh else search.error(state.order, way.rows)
        if (
            np.log(max(way.error, rounding))
            < np.log(max(before, rounding)) + KICK_TEMPERATURE * state.rng.exponential()
        ):
            state.order, state.error = way.order, way.error
            if way.error <= rounding:  # no sample tells more; all rows will
                search.note(way.order, way.error)
            elif way.error <= 2 * state.best_error:
                search.note(way.order, search.error(way.order, search.yardstick))
        if state.stalled >= PATIENCE:
            state.order, state.error = state.rng.permutation(len(state.order)), float("nan")
            state.restarts, state.stalled = state.restarts + 1, 0
        yield True


def descent_rows(blocks: int) -> int:
    """Rows for a linearisation: a third of the N(N−1)/2 bits, since far fewer of them are ever turned."""
    return int(np.clip(blocks * (blocks - 1) // 6, 256, 2048))


class _Descent:
    """A descent from one order on one sample of rows, over several linearisations."""

    def __init__(self, search: Search, order: Indices, rows: Indices) -> None:
        self.search, self.order, self.rows = search, order, rows
        self.error = np.inf

    def steps(self, rounding: float) -> Iterator[None]:
        """One linearisation after the other until the exact error falls no more."""
        for _ in range(LINEARISATIONS_PER_KICK):
            model = self.search.linearise(self.order, self.rows)
            self.error = model.error
            if not np.isfinite(model.crossings).all():
                return
            path = descend(model, moves=2 * len(self.order), least_gain=1e-6 * model.error)
            yield
            if not self._follow(path) or self.error <= rounding:
                return

    def _follow(self, path: Indices) -> bool:
        """Goes as far along the path as makes the exact error fall: all of it, else half, else a quarter …"""
        moves = len(path) - 1
        while moves >= 1:
            candidate = self.order[path[moves]]
            error = self.search.error(candidate, self.rows)
            if error < self.error:
                self.order, self.error = candidate, error
                return True
            moves //= 2
        return False


def _kicked(order: Indices, rng: np.random.Generator) -> Indices:
    """The order with one to four segments of one to five blocks moved by up to 12 places."""
    blocks = order.tolist()
    for _ in range(int(rng.integers(1, 5))):
        length = int(rng.integers(1, min(5, len(blocks)) + 1))
        start = int(rng.integers(0, len(blocks) - length + 1))
        segment = blocks[start : start + length]
        del blocks[start : start + length]
        place = min(max(start + int(rng.integers(-KICK_REACH, KICK_REACH + 1)), 0), len(blocks))
        blocks[place:place] = segment
    return np.array(blocks, np.int64)


ANNEALERS: dict[str, Annealer] = {"surrogate": surrogate, "classic": classic}
"""Name → annealer."""
