"""Logit search as a move: a few of its steps, and the network that it has found."""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np

from pairing.search.logit_search import begun
from pairing.search.schedule import Schedule
from pairing.search.state import Search


def begin_drawing(search: Search) -> bool:
    """Begins a logit search, unless it goes on with the present one; whether it does.

    It begins from what the weights say, and the first of three near the best order where that explains a good part of
    the data with the given pairs: those may be right for the most part.
    """
    state, schedule, blocks = search.state, search.schedule, len(search.state.order)
    if state.logits is not None and not search.logit_search.is_over(state.logits):
        return False
    number = 1 if state.logits is None else state.logits.number + 1
    steps = schedule.logit_steps * min(1.0, blocks / schedule.logit_blocks)
    foothold = None
    given = number % schedule.long_logits == 1 and np.array_equal(state.best_pairs, search.network.pairs)
    if given and state.best_error <= schedule.foothold_mse * search.network.puzzle.target_variance:
        foothold, steps = (state.best_pairs, state.best), steps * schedule.foothold_steps
    else:
        steps *= times_as_long(number, schedule)
    state.logits = begun(state.rng, math.ceil(steps), blocks, search.evidence, number, foothold)
    return True


def times_as_long(number: int, schedule: Schedule) -> int:
    """How many times as long a refinement's logit search of that number, from 1, is as its first."""
    return int(1 if number % schedule.long_logits else 2 ** (number // schedule.long_logits))


def draw(search: Search) -> Generator[bool, None, bool]:
    """So many steps of the logit search as the schedule says; whether it goes on.

    In the middle of the mean-field mode, where it has what it can have soon, and at its end it does not: its pairs and
    order are those that the search goes on from.
    """
    state, at, logit_search = search.state, search.state.logits, search.logit_search
    assert at is not None  # noqa: S101 - it was begun # nosec B101
    steps = search.schedule.logit_steps_at_once
    with search.step(steps * logit_search.cost):
        for _ in range(steps):
            before = logit_search.part(at)
            logit_search.step(at, state.rng)
            pauses = at.mean_field and (before < 0.5 <= logit_search.part(at) or logit_search.is_over(at))
            if pauses:
                break
    if pauses:
        state.pairs, state.order = at.solution()
        state.error = search.error(search.present, state.order, search.yardstick)
        search.note(state.error)
        return False
    yield False
    return True
