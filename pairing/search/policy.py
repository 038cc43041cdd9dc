"""The policy of the search: which move is made when, and what follows on a phase that has stalled.

``ANNEALERS[name](search)`` yields often (every fraction of a second): True where the state is whole and may be saved,
False in the middle of a step. It returns when it has converged.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

import numpy as np

from pairing.search.classic import classic
from pairing.search.local_search import LARGE
from pairing.search.moves.draw import begin_drawing, draw, times_as_long
from pairing.search.moves.perturb import perturb
from pairing.search.moves.prefer import prefer
from pairing.search.moves.relocate import relocate
from pairing.search.moves.repair import repair
from pairing.search.moves.window import perturb_linearized
from pairing.search.state import Search

Annealer = Callable[[Search], Iterator[bool]]


def surrogate(search: Search) -> Iterator[bool]:
    """Iterated local search on the commutator surrogate, and logit search where pairs are in doubt.

    - Phase ``preferences``, where the given order is far from the data, and after a restart: a better order.
    - Phase ``order``: perturbations of the present order, every second one (in large networks every one) without
      re-linearizing; where nothing is found for a while, a block is relocated.
    - Phase ``logits``, where the first has stalled and pairs may be wrong: a logit search for pairs and order, which
      the first phase goes on from. It begins near the stalled order where that explains a good part of the data.
    - Phase ``repair``, where few pairs are likely to be wrong: exchanges pieces; perturbs where that changes nothing.
      It begins where a logit search has come near the data, or else at the first order, which is not yet bent to make
      up for wrong pairs.
    - Phase ``best``: as the first, with the pairs of the best order.

    Many pairs are in doubt where the weights expect them to be wrong, and at first where the order stalls far from the
    data: then there are only logit searches. Pairs that the weights are sure of get none, and are repaired after every
    third restart only. Others are repaired and begin anew from preferences in turn.
    Converged when the last restart of doubtful pairs, or of pairs that are not to be changed, has stalled; never where
    the evaluations are limited, so that all methods get the same number. The numbers are those of ``search.schedule``.
    """
    state, schedule = search.state, search.schedule
    restarts = max(schedule.least_restarts, schedule.restarts_times_blocks // len(state.order))
    if search.repair:
        restarts = max(restarts, schedule.least_repaired_restarts)
    if search.expects_many_wrong:
        restarts = max(restarts, schedule.least_doubtful_restarts)
    if state.step == 0 and _is_scattered(search):
        state.phase = "preferences"
    while search.limited or search.sure or state.restarts <= restarts:
        if (yield from _step(search)):
            state.stalled += 1
            _mark(search)
        else:
            _next_phase(search)
        state.step += 1
        if _has_stalled(search):
            _next_phase(search)
        yield True


def _step(search: Search) -> Generator[bool, None, bool]:
    """The first move of its turn that finds something to try; whether the phase goes on."""
    state = search.state
    if state.phase == "preferences":
        return (yield from prefer(search))
    if state.phase == "logits":
        return (yield from draw(search))
    if state.phase == "repair" and not np.isnan(state.error) and (yield from repair(search)):
        return True
    if _is_settled(search) and (yield from relocate(search)):
        return True
    yield from (perturb_linearized if _is_near(search) else perturb)(search)
    return True


def _is_scattered(search: Search) -> bool:
    """Whether the given order is far from the data."""
    if len(search.state.order) < 2:
        return False
    error = search.error(search.present, search.state.order, search.yardstick)
    search.note(error)
    return not error <= search.schedule.scattered_mse * search.network.puzzle.target_variance


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


def _mark(search: Search) -> None:
    """Counts the steps since the phase's last clear improvement."""
    state = search.state
    state.since_landmark += 1
    if not state.error >= search.schedule.clear * state.landmark:  # nor where either is NaN
        state.landmark, state.since_landmark = state.error, 0


def _has_stalled(search: Search) -> bool:
    """Whether the present phase has gone on for long without a new best, or without a clear improvement."""
    state, schedule = search.state, search.schedule
    if state.phase in ("preferences", "logits"):
        return False
    many = max(1.0, len(state.order) / schedule.usual_blocks)
    if search.in_doubt and state.logits is None:
        return state.step >= schedule.doubtful_patience * many
    if state.logits is not None and _is_drawn(search):
        longer = float(np.sqrt(times_as_long(state.logits.number, schedule)))  # a rare result deserves some more
        return state.since_landmark >= schedule.drawn_patience * longer * many
    steps = {"order": schedule.order_patience, "repair": schedule.repair_patience, "best": schedule.best_patience}
    patience = steps[state.phase]
    if state.phase == "order" and search.repair and not search.sure:
        patience = schedule.doubtful_patience
    return state.stalled >= patience * many


def _next_phase(search: Search) -> None:
    """What follows on a phase that has stalled, or come to its end."""
    state, trusted = search.state, search.schedule.trusted_restarts
    if state.phase == "order" and search.repair and not search.sure and state.restarts == 0:
        state.plateau = state.best_error > search.schedule.doubtful_mse * search.network.puzzle.target_variance
    doubtful = search.repair and (not search.sure or state.restarts % (trusted + 1) == trusted)
    draws = search.repair and not search.sure and (search.in_doubt or state.restarts % 2 == 0)
    if state.phase == "logits":
        state.phase = "order"  # with what it has found
    elif state.phase == "order" and search.repair and _is_near_the_data(search):
        state.phase, state.pairs, state.order = "repair", state.best_pairs.copy(), state.best.copy()
    elif state.phase == "repair":
        state.phase, state.pairs, state.order = "best", state.best_pairs.copy(), state.best.copy()
    elif draws:
        state.phase = "logits"
        state.restarts += begin_drawing(search)
    elif state.phase == "order" and doubtful:
        # Not from here: this order is bent to make up for wrong pairs.
        state.phase, state.pairs, state.order = "repair", search.network.pairs.copy(), search.begin.copy()
    else:
        state.phase, state.pairs = "preferences", search.network.pairs.copy()
        state.order = state.rng.permutation(len(state.order))
        state.restarts += 1
    state.error, state.stalled = float("nan"), 0
    state.landmark, state.since_landmark = float("nan"), 0


def _is_near_the_data(search: Search) -> bool:
    """Whether the present pairs are others than the given ones, and the best: so good that few of them are wrong."""
    state = search.state
    near = state.best_error <= search.schedule.repairable_mse * search.network.puzzle.target_variance
    return near and _is_drawn(search) and np.array_equal(state.pairs, state.best_pairs)


def _is_drawn(search: Search) -> bool:
    """Whether the present pairs are others than the given ones: a logit search has found them, or a repair."""
    return not np.array_equal(search.state.pairs, search.network.pairs)


ANNEALERS: dict[str, Annealer] = {"surrogate": surrogate, "classic": classic}
"""Name → annealer."""
