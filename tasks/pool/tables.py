"""The tables of the pool's database: the shared one, and those of our own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine


class _Integers(sa.types.TypeDecorator[Sequence[int]]):
    """``integer[]`` in PostgreSQL, JSON text in SQLite. Text that is no JSON is read as NULL."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.ARRAY(sa.Integer))
        return dialect.type_descriptor(sa.Text())

    def process_bind_param(self, value: Sequence[int] | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        return list(value) if dialect.name == "postgresql" else json.dumps(list(value))

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        if dialect.name == "postgresql" or value is None:
            return value
        try:
            return json.loads(value)
        except (TypeError, ValueError):
            return None


METADATA = sa.MetaData()

POOL = sa.Table(
    "js_puzzle_pool",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("worker", sa.Text),
    sa.Column("full_mse", sa.Double),
    sa.Column("inp_sigma", _Integers),
    sa.Column("out_sigma", _Integers),
    sa.Column("permutation", _Integers),
    sa.Column("hash", sa.Text),
    sa.Column("hash_match", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now()),
    sqlite_autoincrement=True,  # never hands the id of a deleted row out again; a serial doesn't either
)

RUN = sa.Table(
    "pairing_run",
    METADATA,
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("puzzle", sa.Text, primary_key=True),
    sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now()),
)

# No foreign key to the shared table: that would need rights on it and take locks there.
RESULT = sa.Table(
    "pairing_result",
    METADATA,
    sa.Column("pool_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("puzzle", sa.Text, primary_key=True),
    sa.Column("run", sa.Text, nullable=False),
    sa.Column("method", sa.Text, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("error", sa.Double, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("versions", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now()),
)

# What the shared table has no index for: its rows by error, and its solutions by a digest, which is unique. A row of
# which no puzzle is on record has the puzzle "", and one that is of no use 0 blocks. Further rows of a solution, and
# those whose sigmas are none, have no digest.
SOLUTION = sa.Table(
    "pairing_solution",
    METADATA,
    sa.Column("pool_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("puzzle", sa.Text, primary_key=True),
    sa.Column("blocks", sa.Integer, nullable=False),
    sa.Column("full_mse", sa.Double),
    sa.Column("digest", sa.LargeBinary),
)

# Every run that has ended, for people: the store forgets it after a day. ``facts`` is JSON; times are Unix times.
HISTORY = sa.Table(
    "pairing_history",
    METADATA,
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("puzzle", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("best_mse", sa.Double),
    sa.Column("enqueued_at", sa.Double, nullable=False),
    sa.Column("ended_at", sa.Double, nullable=False),
    sa.Column("facts", sa.Text, nullable=False),
)

# Which steps of ``tasks.pool.migrations`` this database has.
MIGRATION = sa.Table(
    "pairing_migration",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("makes", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now()),
)

OWN_TABLES = {
    RUN: ("SELECT", "INSERT"),
    RESULT: ("SELECT", "INSERT"),
    SOLUTION: ("SELECT", "INSERT", "UPDATE"),
    HISTORY: ("SELECT", "INSERT", "UPDATE", "DELETE"),
}
"""Those that are written to, and the rights that this takes."""
