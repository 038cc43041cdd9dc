"""Perturbation: a few segments of the order moved a little, and a descent from there.

The classic move of iterated local search for orders (Lourenço, Martin and Stützle 2003).
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from pairing.arrays import Indices
from pairing.search.acceptance import accept
from pairing.search.local_search import Descent, descent_rows
from pairing.search.state import Search

REACH = 12
"""Places by which a segment is moved, at most."""


def perturb(search: Search) -> Generator[bool, None, bool]:
    """Perturbs the present order (a fresh one it does not) and descends from there; whether it goes on from the end."""
    state = search.state
    rows = search.fresh_sample(descent_rows(len(state.order), state.rng))
    begin = state.order if np.isnan(state.error) else perturbed(state.order, state.rng, search.schedule.usual_blocks)
    descent = Descent(search, search.present, begin, rows)
    for _ in descent.steps():
        yield False
    return accept(search, descent.order, descent.judged())


def perturbed(order: Indices, rng: np.random.Generator, usual_blocks: int) -> Indices:
    """The order with segments of one to five blocks moved by up to 12 places: one to four, more where N is large."""
    blocks = order.tolist()
    times = max(1.0, len(blocks) / usual_blocks) ** rng.random()
    for _ in range(int(rng.integers(1, 5) * times)):
        length = int(rng.integers(1, min(5, len(blocks)) + 1))
        start = int(rng.integers(0, len(blocks) - length + 1))
        segment = blocks[start : start + length]
        del blocks[start : start + length]
        place = min(max(start + int(rng.integers(-REACH, REACH + 1)), 0), len(blocks))
        blocks[place:place] = segment
    return np.array(blocks, np.int64)
