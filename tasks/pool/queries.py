"""What people look at in the pool: its rows as they are, and whether what they say of a puzzle is true.

Numerics are imported only where a puzzle is looked at: looking at rows needs none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pairing.errors import InputError
from tasks.pool.index import unlisted
from tasks.pool.models import is_permutation
from tasks.pool.repository import Pool, PoolRow
from tasks.pool.tables import POOL, RESULT, SOLUTION

if TYPE_CHECKING:
    from pairing.model.puzzle import Puzzle

RELATIVE = 1e-6
OF_VARIANCE = 1e-12
"""Two errors are the same when they differ by at most this part of them, or of the target's variance."""


def rows(pool: Pool, limit: int, after: int | None = None) -> list[dict[str, Any]]:
    """The rows of least stored error, of whatever puzzle, as they are; those without an error come last.

    With ``after`` those that follow that row.

    Raises:
        InputError: there is no such row.
        PoolError: the pool cannot be read.
    """
    found: dict[int, dict[str, Any]] = {}
    with pool.transaction("Reading the pool") as connection:
        conditions = _conditions(connection, after)
        for source in _sources(pool, connection):
            for condition in conditions:
                page = source.rows.where(condition(source)).order_by(source.error, source.id).limit(limit)
                found |= {row.id: _shown(row) for row in connection.execute(page)}
    return sorted(found.values(), key=_place)[:limit]


def pages(pool: Pool, size: int) -> Iterator[list[dict[str, Any]]]:
    """All rows as ``rows`` gives them, so many at a time, each page read when it is asked for.

    Raises:
        PoolError: the pool cannot be read.
    """
    page = rows(pool, size)
    while page:
        yield page
        page = rows(pool, size, page[-1]["id"])


def these(pool: Pool, only: Sequence[int]) -> list[dict[str, Any]]:
    """The rows with these ids, as they are, those of least stored error first.

    Raises:
        PoolError: the pool cannot be read.
    """
    with pool.transaction("Reading the pool") as connection:
        found = connection.execute(sa.select(POOL).where(POOL.c.id.in_(only)))
        return sorted((_shown(row) for row in found), key=_place)


@dataclass(frozen=True)
class _Source:
    """What gives rows, and the columns by which they can be given in order."""

    rows: sa.Select[Any]
    error: sa.ColumnElement[float]
    id: sa.ColumnElement[int]


def _sources(pool: Pool, connection: Connection) -> list[_Source]:
    """What gives all rows together."""
    if not pool.reads_index:
        return [_Source(sa.select(POOL), POOL.c.full_mse, POOL.c.id)]
    listed = sa.select(POOL).join(SOLUTION, SOLUTION.c.pool_id == POOL.c.id)
    rest = unlisted(connection)
    return [_Source(listed, SOLUTION.c.full_mse, SOLUTION.c.pool_id), _Source(rest, POOL.c.full_mse, POOL.c.id)]


_Condition = Callable[[_Source], sa.ColumnElement[bool]]


def _conditions(connection: Connection, after: int | None) -> list[_Condition]:
    """Those of the rows behind row ``after``, each of them a stretch of an index; rows without an error come last."""
    without: _Condition = lambda source: source.error.is_(None)  # noqa: E731
    if after is None:
        return [lambda source: source.error.is_not(None), without]
    found = connection.execute(sa.select(POOL.c.full_mse).where(POOL.c.id == after)).one_or_none()
    if found is None:
        raise InputError(f"The pool has no row {after}; `pairing pool list` shows its rows.")
    if found.full_mse is None:
        return [lambda source: sa.and_(source.error.is_(None), source.id > after)]
    further: _Condition = lambda s: sa.and_(  # noqa: E731
        s.error >= found.full_mse, sa.or_(s.error > found.full_mse, s.id > after)
    )
    return [further, without]


def _place(found: dict[str, Any]) -> tuple[bool, float, int]:
    error = found["full_mse"]
    known = isinstance(error, float) and not math.isnan(error)
    return not known, error if known else 0.0, found["id"]


def row(pool: Pool, number: int) -> dict[str, Any]:
    """One row as it is, and in ``records`` where it came from: a record per puzzle, none where that is not known.

    Raises:
        InputError: there is no such row.
        PoolError: the pool cannot be read.
    """
    with pool.transaction("Reading the pool") as connection:
        found = connection.execute(sa.select(POOL).where(POOL.c.id == number)).one_or_none()
    if found is None:
        raise InputError(f"The pool has no row {number}; `pairing pool list` shows its rows.")
    return {**_shown(found), "records": records(pool, [number]).get(number, [])}


def records(pool: Pool, numbers: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """Where rows came from: of each that is on record, a record per puzzle.

    Raises:
        PoolError: the pool cannot be read.
    """
    if not pool.reads_provenance:
        return {}
    query = sa.select(RESULT).where(RESULT.c.pool_id.in_(numbers)).order_by(RESULT.c.puzzle)
    found: dict[int, list[dict[str, Any]]] = {}
    with pool.transaction("Reading the pool's records") as connection:
        for record in connection.execute(query):
            found.setdefault(record.pool_id, []).append(_shown(record))
    return found


def newest_row(pool: Pool) -> float | None:
    """When the newest row came, whoever inserted it, as a Unix time; None where no row says when it did.

    Raises:
        PoolError: the pool cannot be read.
    """
    query = sa.select(POOL.c.created_at).where(POOL.c.created_at.is_not(None)).order_by(POOL.c.id.desc()).limit(1)
    with pool.transaction("Reading the pool") as connection:
        found = connection.scalar(query)
    if found is None:
        return None
    return float(_zoned(found).timestamp())


def is_sound(found: dict[str, Any]) -> bool:
    """Whether a row's error is finite and its sigmas are permutations of the same length."""
    inp, out, error = found["inp_sigma"], found["out_sigma"], found["full_mse"]
    permutations = isinstance(inp, list) and inp and is_permutation(inp, len(inp)) and is_permutation(out, len(inp))
    return bool(permutations) and isinstance(error, float) and math.isfinite(error)


def unsound(pool: Pool) -> list[int]:
    """The ids of rows that are of no use for any puzzle, ascending.

    Raises:
        PoolError: the pool cannot be read.
    """
    with pool.transaction("Reading the pool") as connection:
        queries = [sa.select(POOL)]
        if pool.reads_index:
            known = sa.select(SOLUTION.c.pool_id).where(SOLUTION.c.puzzle == "", SOLUTION.c.blocks == 0)
            queries = [sa.select(POOL).where(POOL.c.id.in_(known)), unlisted(connection)]
        found = [row.id for query in queries for row in connection.execute(query) if not is_sound(_shown(row))]
    return sorted(found)


def least(pool: Pool) -> dict[str, Any] | None:
    """The sound row of least stored error, of whatever puzzle; None in an empty pool.

    Raises:
        PoolError: the pool cannot be read.
    """
    return next((row for page in pages(pool, 100) for row in page if is_sound(row)), None)


def best_of(pool: Pool, puzzle: Puzzle) -> dict[str, Any] | None:
    """The pool best of a puzzle, its error, permutation and hash taken again; None where the pool has no row for it.

    Raises:
        PoolError: the pool cannot be read.
    """
    from pairing.solution import solution_of
    from tasks.pool.best import Recomputed

    found = Recomputed(puzzle).best(pool.candidates(puzzle.blocks, puzzle.digest))
    if found is None:
        return None
    solution = solution_of(puzzle, found["inp_sigma"], found["out_sigma"], found["full_mse"])
    right = {name: getattr(solution, name) for name in ("full_mse", "permutation", "hash", "hash_match")}
    return {**row(pool, found["id"]), **right}


def faults(puzzle: Puzzle, found: PoolRow) -> dict[str, Any]:
    """What of a row is not so: column → ``{"stored", "right"}``; empty where everything is right.

    ``full_mse`` is taken again over all rows. Columns that are NULL say nothing and are not wrong; ``hash_match`` is
    looked at where the right hash is known.
    """
    from pairing.model.network import Network, pairs_of
    from pairing.solution import solution_of

    error = Network(puzzle, pairs_of(found.inp_sigma, found.out_sigma)).full_mse(found.inp_sigma)
    right = asdict(solution_of(puzzle, found.inp_sigma, found.out_sigma, error))
    wrong = []
    if not abs(found.full_mse - error) <= max(RELATIVE * error, OF_VARIANCE * puzzle.target_variance):
        wrong.append("full_mse")
    if found.permutation is not None and tuple(found.permutation) != tuple(right["permutation"]):
        wrong.append("permutation")
    if found.hash is not None and found.hash != right["hash"]:
        wrong.append("hash")
    if right["hash_match"] is not None and found.hash_match != right["hash_match"]:
        wrong.append("hash_match")
    return {name: {"stored": getattr(found, name), "right": right[name]} for name in wrong}


def _shown(found: sa.Row[Any]) -> dict[str, Any]:
    values = dict(found._mapping)
    created = values.get("created_at")
    return {**values, "created_at": None if created is None else _zoned(created).isoformat()}


def _zoned(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)  # SQLite's times are UTC
