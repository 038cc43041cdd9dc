"""The two annealers: generators that improve a ``State`` step by step.

``anneal(search)`` yields often (every fraction of a second): True where the state is whole and may be saved, False in
the middle of a step. It returns when it has converged.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

import numpy as np

from pairing.arrays import Indices
from pairing.model import costs
from pairing.model.costs import Cost
from pairing.model.puzzle import Puzzle
from pairing.search.climbing import LARGE, Descent, descent_rows, rounding_of
from pairing.search.moves.relocate import CANDIDATES, relocations
from pairing.search.moves.repair import repair_step
from pairing.search.moves.window import search as search_window
from pairing.search.state import Phase, Search, window_cost

Annealer = Callable[[Search], Iterator[bool]]

CLASSIC_STEPS = 20_000
CLASSIC_ROWS = 2_000
CLASSIC_TEMPERATURE = 2.0
CLASSIC_COOLING = 0.99985

KICK_REACH = 12
KICK_TEMPERATURE = 0.03
WINDOW_ROWS = 13
"""Rows per block for a search near an order (about as many as pairs that it may turn) …"""
MOST_WINDOW_ROWS = 2048
"""… but in large networks not more than so many."""
WINDOW_KICKS = 10
"""Kicks per block inside one surrogate."""
SETTLED = 4
"""Every so many steps without a new best a block is relocated …"""
RELOCATION_VALUES = 128
"""… by its price on so many rows, times outputs …"""
RELOCATIONS = 5
"""… and of the most promising ones so many are tried, until one is better."""
PATIENCE: dict[Phase, int] = {"order": 40, "repair": 20, "best": 30}
"""Steps without a new best after which a phase has stalled …"""
DOUBT = 12
"""… but in the first, where the pairs are in doubt."""
TRUST = 2
"""Times that the search begins anew from a random order before a step may change pairs that the weights are sure of."""
USUAL_BLOCKS = 48
"""Networks of more blocks get more patience in proportion, and up to so many times the segments in a kick."""
LEAST_RESTARTS = 2
RESTARTS_TIMES_BLOCKS = 100


def classic(search: Search) -> Iterator[bool]:
    """The old fleet's annealer, kept as the reference: random exchanges of two blocks, priced by the exact error.

    20,000 steps on 2,000 rows at the temperature 2.0 × 0.99985^step (in units of the error); converged after them. Each
    new least error there is measured again on the yardstick's rows.
    """
    state = search.state
    rows = search.fixed_sample(CLASSIC_ROWS)
    if np.isnan(state.error):
        state.error = search.error(search.network, state.order, rows)
    while state.step < CLASSIC_STEPS:
        first, second = state.rng.integers(0, len(state.order), 2)
        chance = state.rng.random()
        candidate = state.order.copy()
        candidate[[first, second]] = candidate[[second, first]]
        error = search.error(search.network, candidate, rows)
        temperature = CLASSIC_TEMPERATURE * CLASSIC_COOLING**state.step
        state.step += 1
        state.stalled += 1
        if error <= state.error or chance < np.exp((state.error - error) / temperature):
            state.order, state.error = candidate, error
            if not error >= state.least:
                state.least = error
                all_rows = len(rows) == len(search.yardstick)
                search.note(error if all_rows else search.error(search.network, candidate, search.yardstick))
        yield True


def surrogate(search: Search) -> Iterator[bool]:
    """Iterated local search on the commutator surrogate, with the repair of wrong pairs where that leads nowhere.

    A step kicks the order (a fresh one it does not) and descends on fresh rows; every second one, and in large networks
    every one, kicks it hundreds of times inside one surrogate instead (:mod:`pairing.search.moves.window`). Its end is
    accepted by the logarithm of the error (temperature 0.03), both orders measured on the yardstick. Where that has
    found no new best for a while, a block is put elsewhere (:mod:`pairing.search.moves.relocate`) unless wrong pairs
    come first.

    Where the pairs are in doubt, and 12 steps have found no new best, the search begins again from its first order,
    which is not yet bent to make up for wrong pairs: now a step is one of :mod:`pairing.search.moves.repair`, and one
    of the others only where that changes nothing. When that stalls too, the best order is kicked with its pairs, and
    then the search begins anew, from the first pairs and a random order. Where the weights are sure of the pairs, it
    begins anew after 40 steps without a new best, and repairs every third time. Converged when the last restart of
    doubtful pairs has stalled; never where the evaluations are limited, so that all methods get the same number.
    """
    state = search.state
    blocks = search.network.puzzle.blocks
    restarts = max(LEAST_RESTARTS, RESTARTS_TIMES_BLOCKS // blocks)  # they are cheap where blocks are few
    while search.limited or search.sure or state.restarts <= restarts:
        repaired = state.phase == "repair" and not np.isnan(state.error) and (yield from repair_step(search))
        if not (repaired or (_is_settled(search) and (yield from _relocation_step(search)))):
            yield from (_window_step if _is_near(search) else _kick_step)(search)
        state.step += 1
        state.stalled += 1
        patience = DOUBT if state.phase == "order" and search.repair and not search.sure else PATIENCE[state.phase]
        if state.stalled >= patience * max(1.0, blocks / USUAL_BLOCKS):
            _turn(search)
        yield True


def _turn(search: Search) -> None:
    """What follows on a phase that has stalled."""
    state = search.state
    doubtful = search.repair and (not search.sure or state.restarts % (TRUST + 1) == TRUST)
    if state.phase == "order" and doubtful:  # not from here: this order is bent to make up for wrong pairs
        state.phase, state.pairs, state.order = "repair", search.network.pairs.copy(), search.begin.copy()
    elif state.phase == "repair":
        state.phase, state.pairs, state.order = "best", state.best_pairs.copy(), state.best.copy()
    else:
        state.phase, state.pairs = "order", search.network.pairs.copy()
        state.order = state.rng.permutation(len(state.order))
        state.restarts += 1
    state.error, state.stalled = float("nan"), 0


def _is_settled(search: Search) -> bool:
    """Whether nothing has found a new best for a while, and wrong pairs have been looked for or are not likely."""
    state = search.state
    trusted = search.sure or not search.repair or state.phase != "order"
    return trusted and state.stalled % SETTLED == SETTLED - 1


def _is_near(search: Search) -> bool:
    """Whether the next step looks near the present order: every second one, and in large networks every one."""
    state, blocks = search.state, search.network.puzzle.blocks
    known = blocks > 1 and not np.isnan(state.error) and state.phase != "repair"
    return known and (blocks > LARGE or state.step % 2 == 1)


def _window_step(search: Search) -> Iterator[bool]:
    """Goes on from the best order that is found inside the surrogate near the present one."""
    state, network = search.state, search.present
    blocks = len(state.order)
    rows = search.fresh_sample(min(WINDOW_ROWS * blocks, MOST_WINDOW_ROWS), window_cost)
    window = search.window(network, state.order, rows)
    yield False
    if not window.finite:
        yield from _kick_step(search)
        return
    best, descended = yield from search_window(window, WINDOW_KICKS * blocks, state.rng)
    for positions in (best, descended):  # the form may promise more than there is, and less so after fewer moves
        order = state.order[positions]
        error = search.error(network, order, search.yardstick)
        if _accept(search, order, error):
            return


def _relocation_step(search: Search) -> Generator[bool, None, bool]:
    """Descends from the most promising relocations of a block, and accepts the better; whether there was any."""
    state, network = search.state, search.present
    puzzle = search.network.puzzle
    rows = search.fresh_sample(max(1, RELOCATION_VALUES // puzzle.outputs), _relocation_cost)
    if not search.affords(_relocation_cost(puzzle, len(rows))):
        return False
    model = search.linearise(network, state.order, rows)
    orders = relocations(network, state.order, model, rows, state.rng)[:RELOCATIONS]
    yield False
    best, best_error = None, np.inf
    for order in orders:
        way = Descent(search, network, order, search.fresh_sample(descent_rows(len(order), state.rng)))
        for _ in way.steps():
            yield False
        if (error := _judged(search, way)) < best_error:
            best, best_error = way, error
        if best_error < state.error:
            break
    if best is not None:
        _accept(search, best.order, best_error)
    return best is not None


def _relocation_cost(puzzle: Puzzle, rows: int) -> Cost:
    return costs.linearization(puzzle, rows) + costs.relocations(puzzle, rows, CANDIDATES)


def _kick_step(search: Search) -> Iterator[bool]:
    state = search.state
    rows = search.fresh_sample(descent_rows(len(state.order), state.rng))
    begin = state.order if np.isnan(state.error) else kicked(state.order, state.rng)
    way = Descent(search, search.present, begin, rows)
    for _ in way.steps():
        yield False
    _accept(search, way.order, _judged(search, way))


def _judged(search: Search, way: Descent) -> float:
    """The error of a descent's end on rows that it was not fitted to; at rounding no other rows tell more."""
    rounding = rounding_of(search)
    return way.error if way.error <= rounding else search.error(way.network, way.order, search.yardstick)


def _accept(search: Search, order: Indices, error: float) -> bool:
    """Goes on from an order, if its error is less than the present one's, or little more (Metropolis); whether so."""
    state, rounding = search.state, rounding_of(search)
    chance = KICK_TEMPERATURE * state.rng.exponential()
    accepted = np.isnan(state.error) or np.log(max(error, rounding)) < np.log(max(state.error, rounding)) + chance
    if accepted:
        state.order, state.error = order, error
        search.note(error)
    return bool(accepted)


def kicked(order: Indices, rng: np.random.Generator) -> Indices:
    """The order with segments of one to five blocks moved by up to 12 places: one to four, more where N is large."""
    blocks = order.tolist()
    times = max(1.0, len(blocks) / USUAL_BLOCKS) ** rng.random()
    for _ in range(int(rng.integers(1, 5) * times)):
        length = int(rng.integers(1, min(5, len(blocks)) + 1))
        start = int(rng.integers(0, len(blocks) - length + 1))
        segment = blocks[start : start + length]
        del blocks[start : start + length]
        place = min(max(start + int(rng.integers(-KICK_REACH, KICK_REACH + 1)), 0), len(blocks))
        blocks[place:place] = segment
    return np.array(blocks, np.int64)


ANNEALERS: dict[str, Annealer] = {"surrogate": surrogate, "classic": classic}
"""Name → annealer."""
