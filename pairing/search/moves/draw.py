"""Logit search as a move: a few of its steps, and at its end the network that it has found."""

from __future__ import annotations

from collections.abc import Generator

from pairing.search.logit_search import begun
from pairing.search.state import Search


def begin_drawing(search: Search) -> None:
    """Begins a logit search, from what the weights say: twice as long as the last one."""
    state, schedule = search.state, search.schedule
    length = schedule.logit_steps if state.logits is None else 2 * state.logits.length
    state.logits = begun(state.rng, length, len(state.order), search.evidence)


def draw(search: Search) -> Generator[bool, None, bool]:
    """So many steps of the logit search as the schedule says; whether it goes on, and has not come to its end.

    At its end, its pairs and order are those that the search goes on from.
    """
    state = search.state
    assert state.logits is not None  # noqa: S101 - it was begun # nosec B101
    for _ in range(search.schedule.logit_steps_at_once):
        with search.step(search.logit_search.cost):
            goes_on = search.logit_search.step(state.logits, state.rng)
        if not goes_on:
            state.pairs, state.order = state.logits.solution()
            state.error = search.error(search.present, state.order, search.yardstick)
            search.note(state.error)
            return False
    yield False
    return True
