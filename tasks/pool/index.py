"""The table ``pairing_solution``: what the shared table has no index for, kept up with whatever others insert there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tasks.pool.models import is_permutation, solution_digest
from tasks.pool.tables import POOL, RESULT, SOLUTION

BATCH = 5000
"""Rows that are taken up in one transaction."""

LATE = 1000
"""So many ids below the newest are looked at again: who took an id first may commit last."""


def unlisted(connection: Connection, since: int | None = None) -> sa.Select[Any]:
    """The rows that the table has not got; ``since`` an id, or since those that may have come late."""
    if since is None:
        since = (connection.scalar(sa.select(sa.func.max(SOLUTION.c.pool_id))) or 0) - LATE
    listed = sa.select(SOLUTION.c.pool_id).where(SOLUTION.c.pool_id == POOL.c.id).correlate(POOL)
    return sa.select(POOL).where(POOL.c.id > since, ~listed.exists())


def take_up(connection: Connection, since: int | None = None) -> int | None:
    """Takes up to ``BATCH`` rows into the table, in the order of their ids: the last id, None where there was no more.

    Only under the pool's lock.
    """
    rows = connection.execute(unlisted(connection, since).order_by(POOL.c.id).limit(BATCH)).all()
    if not rows:
        return None
    entries = list(_entries(rows, _puzzles(connection, rows)))
    digests = {entry["digest"] for entry in entries}
    query = sa.select(SOLUTION.c.digest, SOLUTION.c.puzzle).where(SOLUTION.c.digest.in_(digests))
    taken = {(bytes(digest), puzzle) for digest, puzzle in connection.execute(query)}
    for entry in entries:  # the others' table holds some solutions several times
        key = entry["digest"], entry["puzzle"]
        if key in taken:
            entry["digest"] = None
        taken.add(key)
    # With RETURNING, SQLAlchemy makes few long statements of it; without, one for each row.
    connection.execute(_insert(connection).on_conflict_do_nothing().returning(SOLUTION.c.pool_id), entries).all()
    return int(rows[-1].id)


def enter(connection: Connection, pool_id: int, puzzle: str, full_mse: float, sigmas: Sequence[Sequence[int]]) -> bool:
    """Enters a new row: whether nobody else has entered its solution, of a row that is still there."""
    statement = _insert(connection)
    # As text: SQLAlchemy takes the table that is inserted into for another one in the subquery.
    gone = sa.text("NOT EXISTS (SELECT 1 FROM js_puzzle_pool WHERE js_puzzle_pool.id = pairing_solution.pool_id)")
    replaced = {"pool_id": statement.excluded.pool_id, "full_mse": statement.excluded.full_mse}
    keys = [SOLUTION.c.digest, SOLUTION.c.puzzle]
    entry = {
        "pool_id": pool_id,
        "puzzle": puzzle,
        "blocks": len(sigmas[0]),
        "full_mse": full_mse,
        "digest": solution_digest(*sigmas),
    }
    only_once = statement.on_conflict_do_update(index_elements=keys, set_=replaced, where=gone)
    return connection.execute(only_once.values(entry).returning(SOLUTION.c.pool_id)).first() is not None


def solution_row(connection: Connection, sigmas: Sequence[Sequence[int]], puzzle: str | None) -> int | None:
    """The row in the table that holds a solution, on record for ``puzzle`` or for none; ``None`` asks for any."""
    query = sa.select(POOL.c.id).join(SOLUTION, SOLUTION.c.pool_id == POOL.c.id)
    query = query.where(SOLUTION.c.digest == solution_digest(*sigmas)).order_by(POOL.c.id)
    if puzzle is not None:
        query = query.where(SOLUTION.c.puzzle.in_((puzzle, "")))
    return connection.scalar(query.limit(1))


def _insert(connection: Connection) -> Any:
    dialect = import_module(f"sqlalchemy.dialects.{connection.dialect.name}")  # PostgreSQL's takes long to import
    return dialect.insert(SOLUTION)


def _puzzles(connection: Connection, rows: Sequence[sa.Row[Any]]) -> dict[int, list[str]]:
    query = sa.select(RESULT.c.pool_id, RESULT.c.puzzle).where(RESULT.c.pool_id.between(rows[0].id, rows[-1].id))
    found: dict[int, list[str]] = {}
    for number, puzzle in connection.execute(query):
        found.setdefault(number, []).append(puzzle)
    return found


def _entries(rows: Iterable[sa.Row[Any]], puzzles: dict[int, list[str]]) -> Iterable[dict[str, Any]]:
    for row in rows:
        inp, out, error = row.inp_sigma, row.out_sigma, row.full_mse
        blocks = len(inp) if isinstance(inp, list) else 0
        solution = blocks > 0 and is_permutation(inp, blocks) and is_permutation(out, blocks)
        error = error if isinstance(error, float) else None
        entry = {
            "pool_id": row.id,
            "blocks": blocks if solution and error is not None and math.isfinite(error) else 0,
            "full_mse": error,
            "digest": solution_digest(inp, out) if solution else None,
        }
        for puzzle in puzzles.get(row.id, [""]):
            yield {**entry, "puzzle": puzzle}
