"""The pool's solutions by their puzzle: how many, the best, and who found it. Rows without a record have no puzzle."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from tasks.pool.repository import Pool
from tasks.pool.tables import RESULT


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A solution and where it came from."""

    id: int
    puzzle: str
    mse: float
    run: str
    method: str
    seed: int
    host: str
    seconds: float
    note: str
    at: float | None
    """Unix time."""


@dataclass(frozen=True, kw_only=True)
class PuzzleInPool:
    """A puzzle of which the pool has solutions."""

    puzzle: str
    """Its digest."""
    count: int
    best: Stored
    newest_at: float | None
    """When its newest solution came, as a Unix time."""


def puzzles_in(pool: Pool, most: int) -> list[PuzzleInPool]:
    """The puzzles of which the pool has solutions, the one that got one last first.

    Raises:
        PoolError: the pool cannot be read.
    """
    if not pool.reads_provenance:
        return []
    newest = sa.func.max(RESULT.c.pool_id).label("newest")
    numbers = sa.select(
        RESULT.c.puzzle, sa.func.count().label("count"), sa.func.min(RESULT.c.error).label("least"), newest
    )
    numbers = numbers.group_by(RESULT.c.puzzle).order_by(newest.desc()).limit(most)
    with pool.transaction("Reading the pool") as connection:
        found = []
        for row in connection.execute(numbers).all():
            mine = sa.select(RESULT).where(RESULT.c.puzzle == row.puzzle)
            best = connection.execute(mine.where(RESULT.c.error == row.least).order_by(RESULT.c.pool_id).limit(1))
            last = connection.execute(mine.where(RESULT.c.pool_id == row.newest)).one()
            about = {"puzzle": row.puzzle, "count": row.count, "newest_at": _unix(last.created_at)}
            found.append(PuzzleInPool(best=_stored(best.one()), **about))
    return found


def solutions_of(pool: Pool, puzzle: str, most: int) -> list[Stored]:
    """The newest solutions of a puzzle, in the order in which they came.

    Raises:
        PoolError: the pool cannot be read.
    """
    if not pool.reads_provenance:
        return []
    query = sa.select(RESULT).where(RESULT.c.puzzle == puzzle).order_by(RESULT.c.pool_id.desc()).limit(most)
    with pool.transaction("Reading the pool") as connection:
        return [_stored(row) for row in connection.execute(query)][::-1]


def _stored(row: sa.Row[Any]) -> Stored:
    names = ("puzzle", "run", "method", "seed", "host", "seconds", "note")
    values = {name: getattr(row, name) for name in names}
    return Stored(id=row.pool_id, mse=row.error, at=_unix(row.created_at), **values)


def _unix(at: datetime | None) -> float | None:
    return None if at is None else (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()  # SQLite's times are UTC
