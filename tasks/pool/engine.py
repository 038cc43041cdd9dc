"""The pool's database: its address, its connection, and its errors in words. Used by this room alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import ArgumentError, DataError, IntegrityError, SQLAlchemyError

from pairing.errors import InputError
from tasks.contracts.errors import PoolError
from tasks.pool.connection_limit import CONNECT_SECONDS

# What to do about an SQLSTATE of PostgreSQL.
_ADVICE = {
    "42P01": "Check the database's name; in a new one, `pairing pool init --shared-table` makes the tables.",
    "42501": "Grant SELECT and INSERT on js_puzzle_pool and USAGE on its sequence to this user.",
    "55P03": "Another session holds the pool's lock: look at pg_stat_activity, then try again.",
}

# What libpq says where it gives no code, because it would not go on or was not let in.
_NO_TRUST = (
    "certificate verify failed",
    "server certificate for",
    "does not support SSL",
    "no encryption",
    "root certificate",
)


class RowError(PoolError):
    """The database can be reached but refuses this very row; other rows are not affected."""


def checked_url(url: str) -> URL:
    """The pool's address in one spelling.

    Raises:
        InputError: it is neither a PostgreSQL nor an SQLite address, or it holds a password.
    """
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        raise InputError(
            "The pool's address cannot be read. Write postgresql://user@host:5432/name or sqlite:///file."
        ) from None  # the text may hold a password
    if parsed.password is not None or any("password" in option for option in parsed.query):
        raise InputError("The pool's address holds a password. Put it into PAIRING_POOL_PASSWORD instead.")
    kind = parsed.drivername.partition("+")[0]
    if kind in {"postgresql", "postgres"}:
        return parsed.set(drivername="postgresql+psycopg2")
    if kind == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed.set(drivername="sqlite+pysqlite")
    raise InputError(
        "The pool must be PostgreSQL (postgresql://user@host:5432/name) or an SQLite file (sqlite:///file)."
    )


# One connection a process: where the database is shared, new ones are rationed.
_ONE_CONNECTION: dict[str, Any] = {
    "poolclass": sa.QueuePool,
    "pool_size": 1,
    "max_overflow": 0,
    "pool_pre_ping": True,
    "hide_parameters": True,
}


def postgres_engine(
    url: URL,
    password: str | None,
    before_connecting: Callable[[], None],
    tls: Mapping[str, str],
    read_only: bool = False,
) -> Engine:
    """An engine for a server. It gives up on a dead peer, an endless lock and an endless statement.

    ``before_connecting`` is called before each new connection, and may raise to prevent it. ``tls`` holds libpq's
    options (``sslmode``, ``sslrootcert``), which go before those of the URL. With ``read_only`` the server refuses
    every change.
    """
    arguments = {
        **tls,
        "connect_timeout": CONNECT_SECONDS,
        "fallback_application_name": "pairing",
        # A peer that vanished (asleep, unplugged) must not hold a worker for a quarter of an hour.
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
    }
    # READ COMMITTED: after waiting for the lock, a statement must see what its last holder committed.
    engine = sa.create_engine(
        url.set(password=password), isolation_level="READ COMMITTED", connect_args=arguments, **_ONE_CONNECTION
    )

    @sa.event.listens_for(engine, "do_connect")
    def _ask(*_: Any) -> None:
        before_connecting()

    @sa.event.listens_for(engine, "begin")
    def _limit(connection: Connection) -> None:
        connection.exec_driver_sql(_READ_ONLY + _LIMITS if read_only else _LIMITS)

    return engine


# Of each transaction and not of the session: behind PgBouncer a session is everybody's.
_LIMITS = (
    "SET LOCAL lock_timeout = '30s'; SET LOCAL statement_timeout = '60s';"
    " SET LOCAL idle_in_transaction_session_timeout = '60s'"
)
_READ_ONLY = "SET TRANSACTION READ ONLY; "

NO_FILE = ":memory:"


def sqlite_engine(url: URL, read_only: bool = False) -> Engine:
    """An engine for a file. Transactions with the execution option ``write`` lock it from their start.

    With ``read_only`` the file stays as it is; where there is none, or an empty one, ``NO_FILE`` stands in for it.

    Raises:
        PoolError: the file's folder cannot be made.
    """
    file = Path(url.database or "")
    missing = read_only and (not file.exists() or (file.is_file() and file.stat().st_size == 0))
    if not read_only:
        _make_folder(file)
    engine = sa.create_engine(
        url.set(database=NO_FILE) if missing else url, connect_args={"timeout": 30}, **_ONE_CONNECTION
    )

    @sa.event.listens_for(engine, "connect")
    def _leave_begin_to_us(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        if read_only and not missing:
            connection.execute("PRAGMA query_only = ON")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _make_folder(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PoolError(f"The pool's folder {file.parent} cannot be made: {error.strerror}. Choose another.") from error


def sqlstate(error: BaseException | None) -> str | None:
    """PostgreSQL's five-letter code of an error, None where it gave none."""
    state = getattr(getattr(error, "orig", None), "pgcode", None)
    return state if isinstance(state, str) else None


def place(url: URL) -> str:
    """Where the database is, as people say it."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return f"{url.database} at {server(url)}"


def server(url: URL) -> str:
    """The host and port of a database server."""
    return f"{url.host or url.query.get('host', 'this host')}:{url.port or 5432}"


def explained(doing: str, url: URL, error: SQLAlchemyError) -> PoolError:
    """The error that people see: what failed, where, and what to do. It holds no secret."""
    reason = " ".join(str(getattr(error, "orig", None) or error).split())[:500]
    if isinstance(error, DataError | IntegrityError):
        return RowError(f"{doing} failed in {place(url)}: {reason} This row cannot be stored; others can.")
    state = sqlstate(error)
    # psycopg2 gives no code for an error while connecting.
    if state == "28P01" or "password authentication failed" in reason or "no password supplied" in reason:
        return PoolError(
            f"{doing} failed: {place(url)} wants another password for {url.username}. If it was changed, "
            "set PAIRING_POOL_PASSWORD (or CHEROKEE_DB_PASS) to the new one and start again."
        )
    if state is None and any(sign in reason for sign in _NO_TRUST):
        return PoolError(
            f"{doing} failed in {place(url)}: {reason} Its certificate or its TLS is not what this host expects: check "
            "PAIRING_POOL_CA_FILE, PAIRING_POOL_SSLMODE and the host's name in the certificate, then start again."
        )
    advice = _ADVICE.get(state or "", "Check that it is up, reachable and writable from here, then try again.")
    return PoolError(f"{doing} failed in {place(url)}: {reason} {advice}")
