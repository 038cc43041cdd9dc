"""Ended runs on record: what people look up when the store has long forgotten a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tasks.pool.models import storable
from tasks.pool.repository import Pool
from tasks.pool.tables import HISTORY


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """A run that has ended. Times are Unix times."""

    run: str
    puzzle: str
    """The digest by which the pool knows its puzzle; empty where it was never planned."""
    state: str
    note: str
    best_mse: float | None
    enqueued_at: float
    ended_at: float
    facts: str
    """JSON: :class:`tasks.runs.facts.RunFacts`."""


def record(pool: Pool, run: RecordedRun) -> None:
    """Records a run, in place of what was recorded of it before; does nothing where the database gives no right to.

    Raises:
        PoolError: the database cannot be reached or refuses.
    """
    if not pool.keeps_history:
        return
    values = {name: storable(value) for name, value in asdict(run).items()}
    with pool.transaction("Recording a run", write=True) as connection:
        insert: Any = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(HISTORY)
        connection.execute(insert.values(values).on_conflict_do_update(index_elements=[HISTORY.c.run], set_=values))


def recorded_runs(pool: Pool, most: int, search: str = "", before: float | None = None) -> list[RecordedRun]:
    """The runs that ended last, the newest first: those that hold a text, and that ended before a time, where given.

    Raises:
        PoolError: the database cannot be read.
    """
    query = sa.select(HISTORY).order_by(HISTORY.c.ended_at.desc()).limit(most)
    if search:
        texts = (HISTORY.c.run, HISTORY.c.note, HISTORY.c.state, HISTORY.c.facts)
        query = query.where(sa.or_(*(text.icontains(search, autoescape=True) for text in texts)))
    return _read(pool, query if before is None else query.where(HISTORY.c.ended_at < before))


def recorded_run(pool: Pool, run: str) -> RecordedRun | None:
    """A run on record; ``None`` where it is not.

    Raises:
        PoolError: the database cannot be read.
    """
    return next(iter(_read(pool, sa.select(HISTORY).where(HISTORY.c.run == run))), None)


def forget_runs(pool: Pool, before: float) -> int:
    """Removes the runs that ended before a time; how many.

    Raises:
        PoolError: the database cannot be reached or refuses.
    """
    if not pool.keeps_history:
        return 0
    with pool.transaction("Forgetting old runs", write=True) as connection:
        return connection.execute(sa.delete(HISTORY).where(HISTORY.c.ended_at < before)).rowcount


def _read(pool: Pool, query: sa.Select[Any]) -> list[RecordedRun]:
    if not pool.reads_history:
        return []
    with pool.transaction("Reading the history of runs") as connection:
        return [RecordedRun(**row._mapping) for row in connection.execute(query)]
