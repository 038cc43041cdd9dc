"""A first order from pairwise preferences: which of two blocks had better come first, asked of many random orders.

An order by the sizes of branches may be far from the right one, a random one is, and descents from there end early or
take long. A search of scores alone (:mod:`pairing.search.logit_search`, the pairs held) comes near in less time.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from pairing.search.logit_search import of_order
from pairing.search.state import Search


def prefer(search: Search) -> Generator[bool, None, bool]:
    """Goes on from the order that preferences lead to, if it is better than the present one; True."""
    state, schedule, logit_search = search.state, search.schedule, search.logit_search
    blocks = len(state.order)
    steps = schedule.order_steps * blocks * max(1.0, blocks / schedule.order_blocks)
    at = of_order(blocks, int(min(steps, schedule.most_order_steps)))
    while at.steps < at.length:
        with search.step(schedule.logit_steps_at_once * logit_search.order_cost):
            for _ in range(schedule.logit_steps_at_once):
                logit_search.order_step(at, state.pairs, state.rng)
        yield False
    orders = state.order, np.argsort(at.scores)
    errors = [search.error(search.present, order, search.yardstick) for order in orders]
    better = int(np.argmin(errors))
    state.order, state.error, state.phase = orders[better], errors[better], "order"
    search.note(state.error)
    return True
