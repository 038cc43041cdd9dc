"""What rows of the pool are worth on a puzzle: their errors, taken again over all rows, each once."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from typing import Any

from pairing.model.network import Network, pairs_of
from pairing.model.puzzle import Puzzle
from tasks.pool.repository import PoolRow

logger = logging.getLogger(__name__)


class Recomputed:
    """The errors of a puzzle's solutions, whoever stored them and whatever they say of themselves."""

    def __init__(self, puzzle: Puzzle) -> None:
        """Nothing is taken before it is asked for."""
        self._puzzle = puzzle
        self._errors: dict[tuple[tuple[int, ...], tuple[int, ...]], float] = {}

    def best(self, rows: Iterable[PoolRow], seconds: float = float("inf")) -> dict[str, Any] | None:
        """The row with the smallest MSE; ``None`` where none has a finite one.

        A record with ``id``, ``inp_sigma``, ``out_sigma`` and ``full_mse`` (recomputed on all rows). What does not come
        within so many ``seconds`` is passed over, but for the first.
        """
        looked_at = ((self._error(row), row.id, row) for row in _in_time(rows, seconds))
        found = min(looked_at, key=lambda each: each[:2], default=None)
        if found is None or not found[0] < float("inf"):
            return None
        error, _, row = found
        return {"id": row.id, "inp_sigma": row.inp_sigma, "out_sigma": row.out_sigma, "full_mse": error}

    def _error(self, row: PoolRow) -> float:
        key = row.inp_sigma, row.out_sigma
        if key not in self._errors:
            self._errors[key] = Network(self._puzzle, pairs_of(*key)).full_mse(key[0])
        return self._errors[key]


def _in_time(rows: Iterable[PoolRow], seconds: float) -> Iterator[PoolRow]:
    """The rows, as long as another may be expected to take no longer than is left."""
    began, longest = time.monotonic(), 0.0
    for row in rows:
        if longest and time.monotonic() - began + longest > seconds:
            logger.warning("the pool has rows that there is no time to look at: %d and perhaps further ones", row.id)
            return
        begins = time.monotonic()
        yield row
        longest = max(longest, time.monotonic() - begins)
