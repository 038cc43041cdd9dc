"""The repair of wrong pairs: exchanges of pieces, most promising first, each judged after the order has followed.

An error that stays above rounding, whatever the order, says that some pairs are wrong. Exchanges are priced with small
changes of the order as a nuisance (:mod:`pairing.search.moves.exchange`); the best are made one by one, and all
promising ones together, the order descends after each, and the exact error on rows that had no part in it decides.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np

from pairing.model import costs
from pairing.model.network import Network
from pairing.search.acceptance import rounding_of
from pairing.search.local_search import Descent
from pairing.search.moves.exchange import Exchange, Prices
from pairing.search.state import Search, exchanges_cost

PRICED_VALUES = 1000
"""Rows, times outputs, that exchanges are priced on."""
DESCENT_ROWS = 512
JUDGED_ROWS = 2000
DESCENT_LINEARISATIONS = 6
TRIALS = 3
TOGETHER = 0.4
"""Exchanges are made together with the best one where they gain this part of what it gains …"""
LEAST_GAIN = 5.0
"""… and at least so much, in nats."""
TEMPERATURE = 0.1


def repair(search: Search) -> Generator[bool, None, bool]:
    """Changes the state's pairs and order where an exchange leads to a better error, or one about as good.

    Gives whether it did.
    """
    state, puzzle = search.state, search.network.puzzle
    rounding = rounding_of(search)
    rows = search.fresh_sample(max(1, PRICED_VALUES // puzzle.outputs), exchanges_cost)
    if not search.affords(exchanges_cost(puzzle, len(rows))):
        return False
    prices = search.price_exchanges(rows)
    yield False
    if prices is None or (prices.gains[0] < 0 and state.rng.random() < search.schedule.repair_reluctance):
        return False
    rows, judged = search.fresh_sample(DESCENT_ROWS), search.fresh_sample(JUDGED_ROWS, costs.forward)
    before = search.error(search.present, state.order, judged)
    best, best_error = None, np.inf
    for trial in _trials(prices):
        pairs, order = state.pairs, state.order
        for exchange in trial:
            pairs, order = exchange.applied(pairs, order)
        descent = Descent(search, Network(puzzle, pairs), order, rows)
        for _ in descent.steps(DESCENT_LINEARISATIONS):
            yield False
        error = search.error(descent.network, descent.order, judged)
        if error < best_error:
            best, best_error = descent, error
        if best_error <= max(search.schedule.clear * before, rounding):
            break
    chance = TEMPERATURE * state.rng.exponential()
    if best is None or np.log(max(best_error, rounding)) >= np.log(max(before, rounding)) + chance:
        return False
    state.pairs, state.order = best.network.pairs, best.order
    state.error = search.error(best.network, best.order, search.yardstick)
    search.note(state.error)
    return True


def _trials(prices: Prices) -> Iterator[list[Exchange]]:
    """What to try: all promising exchanges together, then the best ones alone."""
    together = prices.together(max(LEAST_GAIN, TOGETHER * prices.gains[0]))
    if len(together) > 1:
        yield together
    for exchange in prices.exchanges[:TRIALS]:
        yield [exchange]
