"""The solution pool, open: this module, and through it ``migrations``, ``index`` and ``queries``, talk to its database.

The shared table ``js_puzzle_pool`` is read and appended to, never altered. It does not say which puzzle
a row solves; two tables of our own do, and keep where each row of ours came from: ``pairing_run`` and
``pairing_result``. A third, ``pairing_solution``, holds each solution once, and finds rows among millions. The
statements are the same for PostgreSQL (13 or later) and SQLite. A role needs SELECT and INSERT on ``js_puzzle_pool``
and USAGE on its sequence; without rights to tables of our own everything works, but no provenance is kept.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from tasks.contracts.errors import PoolError
from tasks.pool.engine import NO_FILE, RowError, checked_url, explained, place, postgres_engine, sqlite_engine, sqlstate
from tasks.pool.index import enter, solution_row, take_up, unlisted
from tasks.pool.migrations import migrate, pending
from tasks.pool.models import Inserted, PoolRow, Provenance, Winner, is_permutation
from tasks.pool.tables import HISTORY, OWN_TABLES, POOL, RESULT, RUN, SOLUTION

__all__ = ["Inserted", "Pool", "PoolRow", "Provenance", "RowError", "Winner", "checked_url", "open_pool"]

# Key of the PostgreSQL advisory lock that every insertion and creation of tables holds until it is
# committed: the bytes "pairing". The shared table has no unique constraint that could decide a race.
LOCK_KEY = 0x70616972696E67

TAKE_UP_SECONDS = 10.0
"""So long an insertion takes up what others have inserted: a run waits for it."""


def open_pool(
    url: str,
    password: str | None = None,
    before_connecting: Callable[[], None] = lambda: None,
    tls: Mapping[str, str] | None = None,
    read_only: bool = False,
) -> Pool:
    """Connect to a pool, and create those tables of ours that are missing (in SQLite all tables).

    Args:
        url: ``postgresql://user@host:port/name`` or ``sqlite:///file``, without a password.
        password: the database's password, None where it wants none.
        before_connecting: called before each new connection to a server; what it raises prevents the connection.
        tls: libpq's options ``sslmode`` and ``sslrootcert`` for a server.
        read_only: create nothing, and change nothing; an SQLite file that is missing is an empty pool.

    Raises:
        InputError: the address is wrong or holds a password.
        PoolError: the database cannot be reached or refuses the password.
    """
    return Pool(url, password, before_connecting, tls or {}, read_only)


class Pool:
    """An open pool; see ``open_pool``. One a process: it keeps one connection, and makes one after a fork.

    Attributes:
        keeps_provenance: whether ``insert`` records where a row came from. False where the database gives
            us no right to tables of our own.
        reads_provenance: whether such records, made by whomever, can be read.
        keeps_index: whether rows are entered in the table that makes looking for them fast.
        reads_index: whether that table can be read.
        keeps_history: whether ended runs are recorded.
        reads_history: whether those that were can be read.
    """

    keeps_provenance: bool
    reads_provenance: bool
    keeps_index: bool
    reads_index: bool
    keeps_history: bool
    reads_history: bool

    def __init__(
        self,
        url: str,
        password: str | None,
        before_connecting: Callable[[], None],
        tls: Mapping[str, str],
        read_only: bool,
    ) -> None:
        """Connect, as ``open_pool`` says."""
        self._url, self._read_only = checked_url(url), read_only
        self._sqlite = self._url.get_backend_name() == "sqlite"
        if self._sqlite:
            self._engine = sqlite_engine(self._url, read_only)
        else:
            self._engine = postgres_engine(self._url, password, before_connecting, tls, read_only)
        self._pid = os.getpid()
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Pool:
        """Give the pool itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """Give the address, which holds no password."""
        return f"Pool({self.place})"

    @property
    def place(self) -> str:
        """Where the database is, as people say it."""
        return place(self._url)

    def close(self) -> None:
        """End the connection. A later use connects anew."""
        self._engine.dispose(close=os.getpid() == self._pid)

    def create_tables(self, shared: bool = True) -> None:
        """Create whatever is missing of our tables, and of a database of one's own the shared one too.

        Raises:
            PoolError: the database cannot be reached or does not allow it.
        """
        with self.transaction("Creating the pool's tables", write=True) as connection:
            if shared:
                POOL.create(connection, checkfirst=True)
            migrate(connection)
        self._look_up_rights()

    def candidates(self, blocks: int, puzzle: str, limit: int = 32, but_run: str | None = None) -> list[PoolRow]:
        """The rows of least stored error, the least first; an empty pool gives an empty list.

        Rows whose sigmas are not permutations of 0 … blocks-1, whose stored error is no finite number, or
        that are on record for other puzzles only, are passed over and do not count.

        Args:
            blocks: how many blocks the puzzle has.
            puzzle: the puzzle's digest.
            limit: how many rows to give at most.
            but_run: a run whose rows are passed over too.

        Raises:
            PoolError: the database cannot be reached or refuses.
        """
        self._look_again()
        with self.transaction("Reading the pool") as connection:
            return self._candidates(connection, blocks, puzzle, limit, but_run)

    def _candidates(
        self, connection: Connection, blocks: int, puzzle: str, limit: int = 32, but_run: str | None = None
    ) -> list[PoolRow]:
        found: list[PoolRow] = []
        for query in self._by_error(connection, blocks, puzzle, limit):
            some = 0
            # Streamed: there may be any number of unsound rows before the last one that is wanted.
            streamed = self._with_run(query, puzzle, but_run).execution_options(yield_per=100)
            with connection.execute(streamed) as rows:
                for row in rows:
                    if some >= limit:
                        break
                    if is_permutation(row.inp_sigma, blocks) and is_permutation(row.out_sigma, blocks):
                        some += 1
                        found.append(_pool_row(row))
        return sorted(found, key=lambda row: (row.full_mse, row.id))[:limit]

    def _with_run(self, query: sa.Select[Any], puzzle: str, but_run: str | None) -> sa.Select[Any]:
        """The rows of a query with the run that is on record for them, but for those of ``but_run``."""
        if not self.reads_provenance:
            return query
        here = sa.and_(RESULT.c.pool_id == POOL.c.id, RESULT.c.puzzle == puzzle)
        with_run = query.outerjoin(RESULT, here).add_columns(RESULT.c.run)
        return with_run if but_run is None else with_run.where(RESULT.c.run.is_distinct_from(but_run))

    def _by_error(self, connection: Connection, blocks: int, puzzle: str, limit: int) -> Iterator[sa.Select[Any]]:
        """What gives the sound rows of a puzzle, those of least stored error first, and perhaps unsound ones."""
        finite = sa.and_(POOL.c.full_mse > -float("inf"), POOL.c.full_mse < float("inf"))
        rest = unlisted(connection) if self.reads_index else sa.select(POOL)
        yield rest.where(finite, self._may_be(puzzle)).order_by(POOL.c.full_mse, POOL.c.id)
        if self.reads_index:
            for known in (puzzle, ""):
                listed = sa.select(POOL).join(SOLUTION, SOLUTION.c.pool_id == POOL.c.id)
                listed = listed.where(SOLUTION.c.puzzle == known, SOLUTION.c.blocks == blocks)
                yield listed.order_by(SOLUTION.c.full_mse, SOLUTION.c.pool_id).limit(limit)

    def insert(
        self,
        winner: Winner,
        provenance: Provenance | None,
        as_good: Callable[[list[PoolRow]], int | None] = lambda _: None,
    ) -> Inserted:
        """Store a winner and where it came from, unless its pair of sigmas is there already or a row is as good.

        A row that is on record for other puzzles only does not count as being there; for a winner of unknown
        provenance (None) every row counts. The row has been
        read back in a transaction of its own when this returns. Calling again is harmless.

        Args:
            winner: the solution.
            provenance: where it came from.
            as_good: of the ``candidates`` for its puzzle, asked for under the lock, the id of one that is as good.

        Raises:
            RowError: the database refuses this row.
            PoolError: the database cannot be reached or refuses, or the row is not there afterwards.
        """
        self._look_again()
        self.take_up()
        values, sigmas = winner.model_dump(), (winner.inp_sigma, winner.out_sigma)
        doing = "Storing a winner"
        puzzle = None if provenance is None else provenance.puzzle
        with self.transaction(doing, write=True) as connection:
            there = self._there(connection, sigmas, puzzle)
            if there is not None:
                return Inserted(id=there, new=False)
            if puzzle is not None:
                better = as_good(self._candidates(connection, len(winner.inp_sigma), puzzle))
                if better is not None:
                    return Inserted(id=better, new=False, beaten=True)
            new = connection.execute(sa.insert(POOL).values(values).returning(POOL.c.id)).scalar_one()
            if self.keeps_index and not enter(connection, new, puzzle or "", winner.full_mse, sigmas):
                raise PoolError(f"{doing} failed: another writer has just stored it, without the lock. Try again.")
            if self.keeps_provenance and provenance is not None:
                _record(connection, new, provenance)
        with self.transaction(f"{doing} (reading it back)") as connection:
            row = connection.execute(sa.select(POOL).where(POOL.c.id == new)).one_or_none()
        if row is None or any(_plain(row, name) != value for name, value in values.items()):
            raise PoolError(
                f"Row {new} is not in the pool {place(self._url)} as it was written. "
                "Look for a trigger, a rule or another writer that changes js_puzzle_pool."
            )
        return Inserted(id=new, new=True)

    def take_up(self, whole: bool = False) -> None:
        """Takes what others have inserted since into the table that makes looking for rows fast.

        ``whole`` looks for what is missing among all rows and takes its time; else what is left after
        ``TAKE_UP_SECONDS`` is left to the next time.

        Raises:
            PoolError: the database cannot be reached or refuses.
        """
        since, began = 0 if whole else None, time.monotonic()
        while self.keeps_index and (whole or time.monotonic() - began < TAKE_UP_SECONDS):
            with self.transaction("Taking up the pool's rows", write=True) as connection:
                last = take_up(connection, since)
            if last is None:
                return
            since = last if whole else None

    def _there(self, connection: Connection, sigmas: Sequence[Sequence[int]], puzzle: str | None) -> int | None:
        """The row that holds a pair of sigmas for a puzzle."""
        there = solution_row(connection, sigmas, puzzle) if self.keeps_index else None
        if there is not None:
            return there
        rest = unlisted(connection) if self.keeps_index else sa.select(POOL)
        same = sa.and_(POOL.c.inp_sigma == sigmas[0], POOL.c.out_sigma == sigmas[1])
        ours = sa.true() if puzzle is None else self._may_be(puzzle)
        return connection.scalar(rest.with_only_columns(POOL.c.id).where(same, ours).order_by(POOL.c.id).limit(1))

    def _may_be(self, puzzle: str) -> sa.ColumnElement[bool]:
        """A row of the pool that is on record for ``puzzle``, or not on record at all."""
        if not self.reads_provenance:
            return sa.true()
        record = sa.select(RESULT.c.pool_id).where(RESULT.c.pool_id == POOL.c.id).correlate(POOL)
        return sa.or_(~record.exists(), record.where(RESULT.c.puzzle == puzzle).exists())

    def _prepare(self) -> None:
        """Create the tables that are ours to create, and find out what we may do with our own."""
        try:
            if self._read_only and self._engine.url.database != NO_FILE:
                return self._look_up_rights()
            with self.transaction("Opening the pool") as connection:
                there = not self._sqlite or sa.inspect(connection).has_table(POOL.name)
                complete = there and not pending(connection)
            if not complete:
                self.create_tables(shared=self._sqlite)
        except PoolError as error:
            if sqlstate(error.__cause__) != "42501":  # without the right, we go on without provenance
                raise
        self._look_up_rights()

    def _look_again(self) -> None:
        """Somebody may have made our tables since this pool was opened: a worker keeps it for weeks."""
        if not (self._read_only or (self.keeps_index and self.keeps_history)):
            self._look_up_rights()

    def _look_up_rights(self) -> None:
        with self.transaction("Opening the pool") as connection:
            if self._sqlite:
                tables = set(sa.inspect(connection).get_table_names())
                rights = {(t.name, r): t.name in tables for t, needed in OWN_TABLES.items() for r in needed}
            else:
                rights = {
                    (table.name, right): bool(connection.scalar(_right(table, right)))
                    for table, needed in OWN_TABLES.items()
                    for right in needed
                }
        may_write = not self._read_only
        self.reads_provenance = rights[RESULT.name, "SELECT"]
        has = {table: all(may for (name, _), may in rights.items() if name == table.name) for table in OWN_TABLES}
        self.keeps_provenance = may_write and has[RUN] and has[RESULT]
        self.reads_index = self.reads_provenance and rights[SOLUTION.name, "SELECT"]
        self.keeps_index = self.keeps_provenance and has[SOLUTION]
        self.reads_history = rights[HISTORY.name, "SELECT"]
        self.keeps_history = may_write and has[HISTORY]

    @contextmanager
    def transaction(self, doing: str, write: bool = False) -> Iterator[Connection]:
        """A transaction, committed at the end of the block; only one that writes runs at a time.

        Raises:
            RowError: the database refuses a value.
            PoolError: the database cannot be reached or refuses; ``doing`` begins the text.
        """
        if os.getpid() != self._pid:  # a forked child must not talk through its parent's connection
            self._engine.dispose(close=False)
            self._pid = os.getpid()
        try:
            with self._engine.connect() as connection:
                connection.execution_options(write=write)
                with connection.begin():
                    if write and not self._sqlite:
                        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK_KEY)))
                    yield connection
        except SQLAlchemyError as error:
            raise explained(doing, self._url, error) from error


def _right(table: sa.Table, right: str) -> sa.Select[tuple[bool]]:
    """Whether the table is there and this role has the right."""
    name = sa.func.to_regclass(table.name)
    return sa.select(sa.func.coalesce(sa.func.has_table_privilege(name, right), sa.false()))


def _record(connection: Connection, pool_id: int, provenance: Provenance) -> None:
    run = {"run": provenance.run, "puzzle": provenance.puzzle}
    there = sa.select(RUN.c.run).where(RUN.c.run == provenance.run, RUN.c.puzzle == provenance.puzzle)
    if connection.execute(there).first() is None:
        connection.execute(sa.insert(RUN).values(run))
    versions = json.dumps(provenance.versions, sort_keys=True)
    values = {**provenance.model_dump(), "versions": versions, "pool_id": pool_id}
    connection.execute(sa.insert(RESULT).values(values))


def _plain(row: sa.Row[Any], name: str) -> Any:
    value = row._mapping[name]
    return tuple(value) if isinstance(value, list) else value


def _pool_row(row: sa.Row[Any]) -> PoolRow:
    """The record of a row whose sigmas are sound."""
    return PoolRow(**{f.name: _plain(row, f.name) for f in fields(PoolRow) if f.name in row._mapping})
