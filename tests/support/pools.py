"""Pools to test with, seen from our side and from another writer's, and processes that use them."""

from __future__ import annotations

import json
import multiprocessing
import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import closing
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from psycopg2 import sql

from tasks.contracts.errors import PoolError
from tasks.pool.connection_limit import Allowance
from tasks.pool.repository import Inserted, Pool, Provenance, Winner, open_pool
from tasks.pool.spool import flush_spool
from tests.support.servers import Postgres

# As it stands in the database that the fleets share.
SHARED_TABLE = """
CREATE TABLE js_puzzle_pool(
  id serial primary key, worker text, full_mse double precision,
  inp_sigma integer[], out_sigma integer[], permutation integer[],
  hash text, hash_match boolean not null, created_at timestamptz default now())
"""

PUZZLE, OTHER_PUZZLE = "a" * 64, "b" * 64


def winner(**changes: Any) -> Winner:
    """A winner of a puzzle with three blocks."""
    values: dict[str, Any] = {
        "worker": "weight_pair_trace@host",
        "full_mse": 0.1 + 0.2,
        "inp_sigma": [0, 1, 2],
        "out_sigma": [2, 0, 1],
        "permutation": [3, 5, 0, 4, 1, 2, 6],
        "hash": "c0ffee",
        "hash_match": False,
    }
    return Winner(**{**values, **changes})


def provenance(**changes: Any) -> Provenance:
    """Where it came from."""
    values: dict[str, Any] = {
        "run": "run1",
        "puzzle": PUZZLE,
        "method": "trace",
        "seed": 1,
        "rows": 10_000,
        "error": 0.1 + 0.2,
        "seconds": 1.5,
        "versions": {"numpy": "2.0"},
        "host": "host",
        "note": "",
    }
    return Provenance(**{**values, **changes})


class PoolDatabase(ABC):
    """A pool's database: as the fleet sees it, and as another writer does, who knows nothing of the fleet."""

    password: str | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """The address, without the password."""

    @abstractmethod
    def execute(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement as another program would; ``%s`` stands for a value, a list for a list column."""

    def open(self) -> Pool:
        """Open it the way the fleet does."""
        return open_pool(self.url, self.password)

    def write(self, **changes: Any) -> int:
        """Insert a row that is sound but for the changes: its id."""
        row = {**winner().model_dump(), **changes}
        row = {name: list(value) if isinstance(value, tuple) else value for name, value in row.items()}
        marks = ", ".join(["%s"] * len(row))
        statement = f"INSERT INTO js_puzzle_pool ({', '.join(row)}) VALUES ({marks}) RETURNING id"
        return int(self.execute(statement, list(row.values()))[0][0])


class SqlitePoolDatabase(PoolDatabase):
    """An SQLite file, which is made when it is opened first."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def execute(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            plain = [json.dumps(value) if isinstance(value, list) else value for value in values]
            return connection.execute(statement.replace("%s", "?"), plain).fetchall()


class PostgresPoolDatabase(PoolDatabase):
    """A PostgreSQL database with the shared table."""

    def __init__(self, server: Postgres, name: str) -> None:
        self.server = server
        self.name = name
        self.user = server.user
        self.password = server.password
        self.execute(SHARED_TABLE)
        self.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")  # the default from PostgreSQL 15 on

    @property
    def url(self) -> str:
        return f"postgresql://{self.user}@127.0.0.1:{self.server.port}/{self.name}"

    def execute(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with closing(self.server.connect(self.name)) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def become_guest(self) -> str:
        """From now on open it as a new role, which has the least rights that the pool needs: its name."""
        role, password = f"guest_{os.urandom(4).hex()}", os.urandom(8).hex()
        names = {"role": sql.Identifier(role), "password": sql.Literal(password)}
        create = sql.SQL("CREATE ROLE {role} LOGIN PASSWORD {password}").format(**names)
        with closing(self.server.connect(self.name)) as connection, connection.cursor() as cursor:
            cursor.execute(create)
        self.execute(f"GRANT SELECT, INSERT ON js_puzzle_pool TO {role}")
        self.execute(f"GRANT USAGE ON SEQUENCE js_puzzle_pool_id_seq TO {role}")
        self.user, self.password = role, password
        return role


def take_at_once(allowance: Allowance, start: Any) -> bool:
    """Ask for a connection at the same time as everybody else: whether it was allowed."""
    start.wait(60)
    try:
        allowance.acquire("server")
    except PoolError:
        return False
    return True


def in_processes(work: Callable[..., Any], count: int, *arguments: object) -> list[Any]:
    """Run ``work(*arguments, start)`` in processes of their own: what each of them gives, in any order.

    ``start`` is a barrier for all of them.
    """
    context = multiprocessing.get_context("forkserver")  # imports once, and forks without threads
    context.set_forkserver_preload([__name__])
    results, start = context.SimpleQueue(), context.Barrier(count)
    processes: list[BaseProcess] = [
        context.Process(target=_report, args=(results, work, *arguments, start)) for _ in range(count)
    ]
    for process in processes:
        process.start()
    got = [results.get() for _ in processes]
    for process in processes:
        process.join()
    errors = [result for result in got if isinstance(result, BaseException)]
    if errors:
        raise errors[0]
    return got


def _report(results: Any, work: Callable[..., Any], *arguments: Any) -> None:
    try:
        results.put(work(*arguments))
    except BaseException as error:
        results.put(RuntimeError(repr(error)))


def insert_at_once(url: str, password: str | None, start: Any) -> Inserted:
    """Insert the same winner at the same time as everybody else."""
    with open_pool(url, password) as pool:
        start.wait(60)
        return pool.insert(winner(), provenance())


def insert_after_fork(url: str, password: str | None, _start: Any) -> list[bool]:
    """Use one pool on both sides of a fork: whether the child went well, and the parent's insertions."""
    with open_pool(url, password) as pool:
        first = pool.insert(winner(), provenance()).new
        child = os.fork()
        if child == 0:
            done = pool.insert(winner(out_sigma=[0, 1, 2]), provenance()).new
            os._exit(0 if done else 1)
        clean = os.waitpid(child, 0)[1] == 0
        return [first, clean, pool.insert(winner(out_sigma=[1, 0, 2]), provenance()).new]


def flush_at_once(url: str, password: str | None, folder: Path, start: Any) -> list[bool]:
    """Flush a spool at the same time as everybody else: of each winner stored, whether its row is new."""
    with open_pool(url, password) as pool:
        start.wait(60)
        flushed = flush_spool(folder, pool, url)
    return [result.inserted is not None and result.inserted.new for result in flushed]
