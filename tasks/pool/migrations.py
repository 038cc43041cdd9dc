"""The tables of our own, made by numbered steps; the table ``pairing_migration`` says which are done.

A step is never changed once it was released; what the tables are to be is in ``tasks.pool.tables``. The statements are
the same for PostgreSQL and SQLite.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tasks.pool.tables import MIGRATION

_RUN = """
CREATE TABLE IF NOT EXISTS pairing_run (
  run text NOT NULL, puzzle text NOT NULL, created_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (run, puzzle))
"""

# No foreign key to the shared table: that would need rights on it and take locks there.
_RESULT = """
CREATE TABLE IF NOT EXISTS pairing_result (
  pool_id integer NOT NULL, puzzle text NOT NULL, run text NOT NULL, method text NOT NULL, seed bigint NOT NULL,
  rows bigint NOT NULL, error double precision NOT NULL, seconds double precision NOT NULL, versions text NOT NULL,
  host text NOT NULL, note text NOT NULL, created_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (pool_id, puzzle))
"""

# A name that SQLite does not know is a type of any value to it, bytes too.
_SOLUTION = """
CREATE TABLE IF NOT EXISTS pairing_solution (
  pool_id integer NOT NULL, puzzle text NOT NULL, blocks integer NOT NULL, full_mse double precision, digest bytea,
  PRIMARY KEY (pool_id, puzzle))
"""
_SOLUTION_INDEXES = (
    "CREATE UNIQUE INDEX IF NOT EXISTS pairing_solution_digest ON pairing_solution (digest, puzzle)",
    "CREATE INDEX IF NOT EXISTS pairing_solution_puzzle ON pairing_solution (puzzle, blocks, full_mse, pool_id)",
    "CREATE INDEX IF NOT EXISTS pairing_solution_error ON pairing_solution (full_mse, pool_id)",
)

_HISTORY = """
CREATE TABLE IF NOT EXISTS pairing_history (
  run text NOT NULL PRIMARY KEY, puzzle text NOT NULL, state text NOT NULL, note text NOT NULL,
  best_mse double precision, enqueued_at double precision NOT NULL, ended_at double precision NOT NULL,
  facts text NOT NULL)
"""
_HISTORY_INDEX = "CREATE INDEX IF NOT EXISTS pairing_history_ended ON pairing_history (ended_at)"

# Number, what it makes, statements. Databases from before there were numbers have the first step's tables.
MIGRATIONS: Sequence[tuple[int, str, Sequence[str]]] = (
    (1, "pairing_run and pairing_result", (_RUN, _RESULT)),
    (2, "pairing_solution", (_SOLUTION, *_SOLUTION_INDEXES)),
    (3, "pairing_history", (_HISTORY, _HISTORY_INDEX)),
)


def pending(connection: Connection) -> list[int]:
    """The numbers of the steps that are not done, in order."""
    done = set()
    if sa.inspect(connection).has_table(MIGRATION.name):
        done = set(connection.scalars(sa.select(MIGRATION.c.number)))
    return [number for number, _, _ in MIGRATIONS if number not in done]


def migrate(connection: Connection) -> None:
    """Does the steps that are not done; in a transaction that no other process migrates in."""
    MIGRATION.create(connection, checkfirst=True)
    missing = pending(connection)
    for number, makes, statements in MIGRATIONS:
        if number in missing:
            for statement in statements:
                connection.execute(sa.text(statement))
            connection.execute(sa.insert(MIGRATION).values(number=number, makes=makes))
