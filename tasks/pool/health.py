"""The pool's database as it is: where, which rights, which clock. Nothing is made or changed, and no row is read."""

from __future__ import annotations

import os
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import SQLAlchemyError

from tasks.contracts.errors import PoolError
from tasks.pool.engine import checked_url, explained, place, postgres_engine
from tasks.pool.location import PoolAddress
from tasks.pool.tables import MIGRATION, OWN_TABLES, POOL, RESULT, RUN, SOLUTION

NEEDED = ("SELECT", "INSERT")
"""Rights on the shared table that the pool needs, beside USAGE on its sequence."""

NEEDLESS = ("UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
"""Rights on it that nobody of ours uses."""

_RECORDS = {**{table: OWN_TABLES[table] for table in (RUN, RESULT)}, MIGRATION: ("SELECT",)}

_SERVER = """
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
       current_user AS role, current_setting('is_superuser') = 'on' AS superuser,
       current_setting('transaction_read_only') = 'on' AS read_only,
       extract(epoch FROM clock_timestamp())::double precision AS now
"""
_TABLE_RIGHT = "SELECT coalesce(has_table_privilege(to_regclass(:table), :right), false)"
_SEQUENCE = "SELECT pg_get_serial_sequence(:table, 'id')"
_SEQUENCE_RIGHT = "SELECT has_sequence_privilege(:sequence, 'USAGE')"


@dataclass(frozen=True, kw_only=True)
class PoolState:
    """What was found. An SQLite file has no roles: it ``lacks`` what this process may not do with it."""

    where: str
    kind: str
    """``PostgreSQL 15.4``, ``SQLite``"""
    supported: bool = True
    role: str = ""
    superuser: bool = False
    read_only: bool = False
    there: bool = True
    """whether the shared table is"""
    lacks: tuple[str, ...] = ()
    """rights that the pool needs: ``SELECT on js_puzzle_pool``, …"""
    needless: tuple[str, ...] = ()
    """rights on the shared table beyond those"""
    records: bool = True
    """whether the pool can keep where rows come from"""
    indexed: bool = True
    """whether it can keep what finds rows among millions"""
    clock_offset: float | None = None
    """seconds that the server's clock is ahead of this host's"""


def pool_state(address: PoolAddress, seconds: float) -> PoolState | None:
    """The state of the pool at an address; ``None`` where every puzzle has a file of its own.

    One connection is made, and not counted against the host's allowance: that would be a change. Each statement may
    take so many ``seconds``.

    Raises:
        InputError: the address is wrong.
        PoolError: the database cannot be reached or refuses; the text says what to do, and holds no secret.
    """
    if not address.url:
        return None
    url = checked_url(address.url)
    return _sqlite(url) if url.get_backend_name() == "sqlite" else _postgres(url, address, seconds)


def _sqlite(url: URL) -> PoolState:
    path = Path(url.database or "")
    there = next(place for place in (path, *path.absolute().parents) if os.path.exists(place))
    if not os.access(there, os.R_OK | os.W_OK):
        raise PoolError(f"{there} cannot be written by this user; correct its owner and mode")
    return PoolState(where=str(path), kind="SQLite")


def _postgres(url: URL, address: PoolAddress, seconds: float) -> PoolState:
    engine = postgres_engine(url, address.password, lambda: None, address.tls)
    try:
        with engine.connect() as connection, closing(connection.begin()):
            connection.execute(sa.text(f"SET LOCAL statement_timeout = {int(seconds * 1000)}"))
            return _state(connection, place(url))
    except SQLAlchemyError as error:
        raise explained("Looking at the pool", url, error) from error
    finally:
        engine.dispose()


def _state(connection: Connection, where: str) -> PoolState:
    asked = time.time()
    server = connection.execute(sa.text(_SERVER)).one()
    offset = server.now - (asked + time.time()) / 2
    found = {
        "where": where,
        "kind": f"PostgreSQL {server.version.partition(' ')[0]}",
        "supported": server.number >= 130_000,
        "role": server.role,
        "superuser": server.superuser,
        "read_only": server.read_only,
        "clock_offset": offset,
    }
    if connection.scalar(sa.text("SELECT to_regclass(:table)"), {"table": POOL.name}) is None:
        return PoolState(**found, there=False)
    return PoolState(**found, **_rights(connection))


def _rights(connection: Connection) -> dict[str, Any]:
    def may(table: str, right: str) -> bool:
        return bool(connection.scalar(sa.text(_TABLE_RIGHT), {"table": table, "right": right}))

    lacks = [f"{right} on {POOL.name}" for right in NEEDED if not may(POOL.name, right)]
    sequence = connection.scalar(sa.text(_SEQUENCE), {"table": POOL.name})
    if sequence and not connection.scalar(sa.text(_SEQUENCE_RIGHT), {"sequence": sequence}):
        lacks.append(f"USAGE on the sequence {sequence}")
    return {
        "lacks": tuple(lacks),
        "needless": tuple(right for right in NEEDLESS if may(POOL.name, right)),
        "records": all(may(table.name, right) for table, rights in _RECORDS.items() for right in rights),
        "indexed": all(may(SOLUTION.name, right) for right in OWN_TABLES[SOLUTION]),
    }
