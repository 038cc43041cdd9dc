"""The policy of the search: which move is made when, and what follows on a phase that has stalled.

``ANNEALERS[name](search)`` yields often (every fraction of a second): True where the state is whole and may be saved,
False in the middle of a step. It returns when it has converged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from pairing.search.classic import classic
from pairing.search.local_search import LARGE
from pairing.search.moves.perturb import perturb
from pairing.search.moves.relocate import relocate
from pairing.search.moves.repair import repair
from pairing.search.moves.window import perturb_linearized
from pairing.search.state import Search

Annealer = Callable[[Search], Iterator[bool]]


def surrogate(search: Search) -> Iterator[bool]:
    """Iterated local search on the commutator surrogate.

    - Phase ``order``: perturbations of the present order, every second one (in large networks every one) without
      re-linearizing; where nothing is found for a while, a block is relocated.
    - Phase ``repair``, where pairs are in doubt and the first has stalled: begins at the first order, which is not yet
      bent to make up for wrong pairs, and exchanges pieces; perturbs where that changes nothing.
    - Phase ``best``: as the first, with the pairs of the best order. Then it begins anew, from the first pairs and a
      random order. Pairs that the weights are sure of are repaired after every third restart only.

    Converged when the last restart of doubtful pairs has stalled; never where the evaluations are limited, so that all
    methods get the same number. The numbers are those of ``search.schedule``.
    """
    state, schedule = search.state, search.schedule
    restarts = max(schedule.least_restarts, schedule.restarts_times_blocks // len(state.order))
    while search.limited or search.sure or state.restarts <= restarts:
        yield from _step(search)
        state.step += 1
        state.stalled += 1
        if state.stalled >= _patience(search):
            _next_phase(search)
        yield True


def _step(search: Search) -> Iterator[bool]:
    """The first move of its turn that finds something to try."""
    state = search.state
    if state.phase == "repair" and not np.isnan(state.error) and (yield from repair(search)):
        return
    if _is_settled(search) and (yield from relocate(search)):
        return
    yield from (perturb_linearized if _is_near(search) else perturb)(search)


def _is_settled(search: Search) -> bool:
    """Whether nothing has found a new best for a while, and wrong pairs have been looked for or are not likely."""
    state, interval = search.state, search.schedule.relocation_interval
    trusted = search.sure or not search.repair or state.phase != "order"
    return trusted and state.stalled % interval == interval - 1


def _is_near(search: Search) -> bool:
    """Whether the next step looks near the present order: every second one, and in large networks every one."""
    state, blocks = search.state, len(search.state.order)
    measured = blocks > 1 and not np.isnan(state.error) and state.phase != "repair"
    return measured and (blocks > LARGE or state.step % 2 == 1)


def _patience(search: Search) -> float:
    """Steps without a new best after which the present phase has stalled."""
    schedule, phase = search.schedule, search.state.phase
    steps = {"order": schedule.order_patience, "repair": schedule.repair_patience, "best": schedule.best_patience}[
        phase
    ]
    if phase == "order" and search.repair and not search.sure:
        steps = schedule.doubtful_patience
    return steps * max(1.0, len(search.state.order) / schedule.usual_blocks)


def _next_phase(search: Search) -> None:
    """What follows on a phase that has stalled."""
    state, trusted = search.state, search.schedule.trusted_restarts
    doubtful = search.repair and (not search.sure or state.restarts % (trusted + 1) == trusted)
    if state.phase == "order" and doubtful:  # not from here: this order is bent to make up for wrong pairs
        state.phase, state.pairs, state.order = "repair", search.network.pairs.copy(), search.begin.copy()
    elif state.phase == "repair":
        state.phase, state.pairs, state.order = "best", state.best_pairs.copy(), state.best.copy()
    else:
        state.phase, state.pairs = "order", search.network.pairs.copy()
        state.order = state.rng.permutation(len(state.order))
        state.restarts += 1
    state.error, state.stalled = float("nan"), 0


ANNEALERS: dict[str, Annealer] = {"surrogate": surrogate, "classic": classic}
"""Name → annealer."""
