"""What rows of the pool are worth on a puzzle: their errors, taken again over all rows, each once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pairing.network import Network, pairs_of
from pairing.puzzle import Puzzle
from tasks.pool import PoolRow


class Recomputed:
    """The errors of a puzzle's solutions, whoever stored them and whatever they say of themselves."""

    def __init__(self, puzzle: Puzzle) -> None:
        """Nothing is taken before it is asked for."""
        self._puzzle = puzzle
        self._errors: dict[tuple[tuple[int, ...], tuple[int, ...]], float] = {}

    def best(self, rows: Iterable[PoolRow]) -> dict[str, Any] | None:
        """The row of least error; ``None`` where none has a finite one.

        A record with ``id``, ``inp_sigma``, ``out_sigma`` and ``full_mse`` (recomputed on all rows).
        """
        found = min(((self._error(row), row.id, row) for row in rows), key=lambda each: each[:2], default=None)
        if found is None or not found[0] < float("inf"):
            return None
        error, _, row = found
        return {"id": row.id, "inp_sigma": row.inp_sigma, "out_sigma": row.out_sigma, "full_mse": error}

    def _error(self, row: PoolRow) -> float:
        key = row.inp_sigma, row.out_sigma
        if key not in self._errors:
            self._errors[key] = Network(self._puzzle, pairs_of(*key)).full_mse(key[0])
        return self._errors[key]
