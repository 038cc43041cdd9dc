"""The old fleet's annealer, kept as the reference."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pairing.search.state import Search

STEPS = 20_000
ROWS = 2_000
TEMPERATURE = 2.0
COOLING = 0.99985


def classic(search: Search) -> Iterator[bool]:
    """Simulated annealing (Kirkpatrick, Gelatt and Vecchi 1983): random exchanges of two blocks, by their exact error.

    20,000 steps on 2,000 rows at the temperature 2.0 × 0.99985^step (in units of the error); converged after them. Each
    new least error there is measured again on the yardstick's rows.
    """
    state = search.state
    rows = search.fixed_sample(ROWS)
    if np.isnan(state.error):
        state.error = search.error(search.network, state.order, rows)
    while state.step < STEPS:
        first, second = state.rng.integers(0, len(state.order), 2)
        chance = state.rng.random()
        candidate = state.order.copy()
        candidate[[first, second]] = candidate[[second, first]]
        error = search.error(search.network, candidate, rows)
        temperature = TEMPERATURE * COOLING**state.step
        state.step += 1
        state.stalled += 1
        if error <= state.error or chance < np.exp((state.error - error) / temperature):
            state.order, state.error = candidate, error
            if not error >= state.least:
                state.least = error
                all_rows = len(rows) == len(search.yardstick)
                search.note(error if all_rows else search.error(search.network, candidate, search.yardstick))
        yield True
