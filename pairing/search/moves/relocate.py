"""Blocks that stand far from their places, found though the others have settled around them.

A descent moves a block past its neighbors as long as each linearization says that this lowers the MSE. One that is
thirty places away from its own stays there: on the way the error is higher, and at the end of it too, until the blocks
that had made up for it have gone back. So every block is tried at a few places all over the order, and of each
exact residual that is compared which small changes of the order could not explain (:mod:`pairing.search.whitening`).
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from pairing.arrays import Indices
from pairing.model import costs
from pairing.model.costs import Cost
from pairing.model.network import Network
from pairing.model.puzzle import Puzzle
from pairing.search.acceptance import accept
from pairing.search.batch_error import candidate_residuals
from pairing.search.local_search import Descent, descent_rows
from pairing.search.state import Search
from pairing.search.surrogate import Surrogate
from pairing.search.whitening import Whitening

PLACES = 8
"""At which each block is tried: the order's length apart by so many."""
NEAR = 12
"""A block's neighborhood, which a descent searches: N over so many places to either side, but two at least."""
CANDIDATES = 400
"""About the most that are tried: in large networks those of a random part of the blocks."""


def relocate(search: Search) -> Generator[bool, None, bool]:
    """Descends from the most promising relocations of a block, and accepts the best; whether there was any."""
    state, network = search.state, search.present
    puzzle = search.network.puzzle
    rows = search.fresh_sample(max(1, search.schedule.relocation_values // puzzle.outputs), _relocation_cost)
    if not search.affords(_relocation_cost(puzzle, len(rows))):
        return False
    model = search.linearize(network, state.order, rows)
    orders = relocations(network, state.order, model, rows, state.rng)[: search.schedule.relocation_trials]
    yield False
    best, best_error = None, np.inf
    for order in orders:
        descent = Descent(search, network, order, search.fresh_sample(descent_rows(len(order), state.rng)))
        for _ in descent.steps():
            yield False
        if (error := descent.judged()) < best_error:
            best, best_error = descent, error
        if best_error < state.error:
            break
    if best is not None:
        accept(search, best.order, best_error)
    return best is not None


def _relocation_cost(puzzle: Puzzle, rows: int) -> Cost:
    return costs.linearization(puzzle, rows) + costs.relocations(puzzle, rows, CANDIDATES)


def relocations(network: Network, order: Indices, model: Surrogate, rows: Indices, rng: np.random.Generator) -> Indices:
    """(C, N) int64: ``order`` with one block put elsewhere, the most promising first; a few hundred of these.

    ``model`` is the surrogate at ``order`` from the data rows ``rows`` (S,). No line where it is not finite.
    """
    candidates = _candidates(order, rng)
    if not len(candidates) or not np.isfinite(model.changes).all() or not model.error > 0:
        return candidates[:0]
    residuals = candidate_residuals(network.puzzle, candidates, network.pairs[candidates], rows)
    finite = np.isfinite(residuals).all(axis=1)
    left = Whitening(model.changes, model.error).squares(residuals[finite].T)
    return candidates[finite][np.argsort(left, kind="stable")]


def _candidates(order: Indices, rng: np.random.Generator) -> Indices:
    """Each block, or a random part of them, at places a step apart from a random one, none near its own."""
    count = len(order)
    step, near = max(1, count // PLACES), max(2, count // NEAR)
    places = np.arange(rng.integers(step), count, step)
    blocks = rng.permutation(count)[: max(1, CANDIDATES // len(places))]
    lines = [
        np.insert(np.delete(order, taken), put, order[taken])
        for taken in np.sort(blocks)
        for put in places[abs(places - taken) >= near]
    ]
    return np.array(lines, np.int64).reshape(-1, count)
