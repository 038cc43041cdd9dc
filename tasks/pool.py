"""The pool of solutions: only this module, and through it ``migrations`` and ``pool_reading``, talk to its database.

The shared table ``js_puzzle_pool`` is read and appended to, never altered. It does not say which puzzle
a row solves; two tables of our own do, and keep where each row of ours came from: ``pairing_run`` and
``pairing_result``. The statements are the same for PostgreSQL (13 or later) and SQLite. A role needs
SELECT and INSERT on ``js_puzzle_pool`` and USAGE on its sequence; without rights to tables of our own
everything works, but no provenance is kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from tasks.database import NO_FILE, RowError, checked_url, explained, place, postgres_engine, sqlite_engine, sqlstate
from tasks.errors import PoolError
from tasks.migrations import migrate, pending
from tasks.schema import OWN_TABLES, POOL, RESULT, RUN, Inserted, PoolRow, Provenance, Winner, is_permutation

__all__ = [
    "Inserted",
    "Pool",
    "PoolRow",
    "Provenance",
    "RowError",
    "Winner",
    "checked_url",
    "open_pool",
]

# Key of the PostgreSQL advisory lock that every insertion and creation of tables holds until it is
# committed: the bytes "pairing". The shared table has no unique constraint that could decide a race.
LOCK_KEY = 0x70616972696E67


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
    """

    keeps_provenance: bool
    reads_provenance: bool

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

    def candidates(self, blocks: int, puzzle: str, limit: int = 32) -> list[PoolRow]:
        """The rows of least stored error, the least first; an empty pool gives an empty list.

        Rows whose sigmas are not permutations of 0 … blocks-1, whose stored error is no finite number, or
        that are on record for other puzzles only, are passed over and do not count.

        Args:
            blocks: how many blocks the puzzle has.
            puzzle: the puzzle's digest.
            limit: how many rows to give at most.

        Raises:
            PoolError: the database cannot be reached or refuses.
        """
        self._look_again()
        finite = sa.and_(POOL.c.full_mse > -float("inf"), POOL.c.full_mse < float("inf"))
        query = sa.select(POOL).where(finite, self._may_be(puzzle)).order_by(POOL.c.full_mse, POOL.c.id)
        found: list[PoolRow] = []
        # Streamed: there may be any number of unsound rows before the last one that is wanted.
        streamed = query.execution_options(yield_per=100)
        with self.transaction("Reading the pool") as connection, connection.execute(streamed) as rows:
            for row in rows:
                if len(found) >= limit:
                    break
                if is_permutation(row.inp_sigma, blocks) and is_permutation(row.out_sigma, blocks):
                    found.append(_pool_row(row))
        return found

    def insert(self, winner: Winner, provenance: Provenance | None) -> Inserted:
        """Store a winner and where it came from, unless its pair of sigmas is there already.

        A row that is on record for other puzzles only does not count as being there; for a winner of unknown
        provenance (None) every row counts. The row has been
        read back in a transaction of its own when this returns. Calling again is harmless.

        Raises:
            RowError: the database refuses this row.
            PoolError: the database cannot be reached or refuses, or the row is not there afterwards.
        """
        self._look_again()
        values = asdict(winner)
        doing = "Storing a winner"
        with self.transaction(doing, write=True) as connection:
            same = sa.and_(POOL.c.inp_sigma == winner.inp_sigma, POOL.c.out_sigma == winner.out_sigma)
            ours = sa.true() if provenance is None else self._may_be(provenance.puzzle)
            query = sa.select(POOL.c.id).where(same, ours).order_by(POOL.c.id)
            there = connection.execute(query.limit(1)).scalar()
            if there is not None:
                return Inserted(id=there, new=False)
            new = connection.execute(sa.insert(POOL).values(values).returning(POOL.c.id)).scalar_one()
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

    def _may_be(self, puzzle: str) -> sa.ColumnElement[bool]:
        """A row of the pool that is on record for ``puzzle``, or not on record at all."""
        if not self.reads_provenance:
            return sa.true()
        record = sa.select(RESULT.c.pool_id).where(RESULT.c.pool_id == POOL.c.id)
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
        if not self.keeps_provenance:
            self._look_up_rights()

    def _look_up_rights(self) -> None:
        self.reads_provenance = self.keeps_provenance = True
        with self.transaction("Opening the pool") as connection:
            if self._sqlite:
                self.reads_provenance = sa.inspect(connection).has_table(RESULT.name)
                return
            rights = {
                (table.name, right): bool(connection.scalar(_right(table, right)))
                for table in OWN_TABLES
                for right in ("SELECT", "INSERT")
            }
        self.reads_provenance = rights[RESULT.name, "SELECT"]
        self.keeps_provenance = all(rights.values())

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
    values = {**asdict(provenance), "versions": versions, "pool_id": pool_id}
    connection.execute(sa.insert(RESULT).values(values))


def _plain(row: sa.Row[Any], name: str) -> Any:
    value = row._mapping[name]
    return tuple(value) if isinstance(value, list) else value


def _pool_row(row: sa.Row[Any]) -> PoolRow:
    """The record of a row whose sigmas are sound."""
    return PoolRow(**{field.name: _plain(row, field.name) for field in fields(PoolRow)})
