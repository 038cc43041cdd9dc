"""A database that goes down and comes up again while processes of one host store winners in it.

``python -m tests.support.pool_outages`` does it at full length: sixteen processes, 5 s up and 5 s down for two minutes,
20 connections a minute.
"""

from __future__ import annotations

import json
import multiprocessing
import re
import sys
import tempfile
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.contracts.errors import PoolError
from tasks.pool.connection_limit import Allowance
from tasks.pool.location import PoolAddress, opened
from tasks.pool.spool import spool_winner
from tasks.pool.spool_flush import flush_all
from tests.support.pools import SHARED_TABLE, provenance, winner
from tests.support.servers import PostgresMade, made_postgres

SETTINGS = {"log_connections": "on", "log_line_prefix": "%n ", "max_connections": 60}


@dataclass(frozen=True, kw_only=True)
class ShortMinute(PoolAddress):
    """An address whose minute may be shorter, to save time."""

    minute: float = 60.0

    @property
    def allowance(self) -> Allowance:
        found = super().allowance
        return Allowance(
            folder=found.folder,
            number=found.number,
            seconds=self.minute,
            late=max(1.5, found.late * self.minute / found.seconds),  # this machine may be busy
            patience=found.patience * self.minute / found.seconds,
        )


@dataclass(frozen=True, kw_only=True)
class Outages:
    """What happened."""

    connections: list[float]
    """When the server saw a new connection of the processes, seconds."""
    busiest: int
    """The most of them in any one minute."""
    stored: int
    """Winners that a process stored itself."""
    spooled: int
    """Winners that it could not store; all are flushed in the end."""
    rows: int
    """Rows in the pool at the end."""


def outages(
    folder: Path, *, processes: int, rounds: int, up: float, down: float, number: int, minute: float
) -> Outages:
    """Lets ``processes`` processes store winner upon winner while the server is ``up`` s up and ``down`` s down."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with made_postgres(SETTINGS) as made:
        address = ShortMinute(
            url=made.server.url,
            password=made.server.password,
            data_dir=folder,
            connections_per_minute=number,
            minute=minute,
        )
        start, stop, counts = context.Barrier(processes + 1), context.Event(), context.SimpleQueue()
        work = [context.Process(target=_store, args=(address, k, start, stop, counts)) for k in range(processes)]
        for process in work:
            process.start()
        for turn in range(rounds):
            with made.running() as server:
                if turn == 0:
                    with closing(server.connect(host=str(made.folder))) as connection:
                        connection.cursor().execute(SHARED_TABLE)
                    start.wait(60)  # they begin
                    start.wait(60)  # each has a connection
                stop.wait(up)
            stop.wait(down)
        stop.set()
        stored, spooled = (sum(count) for count in zip(*(counts.get() for _ in work), strict=True))
        for process in work:
            process.join()
        with made.running() as server:
            while any(address.spool.glob("*.json")):  # until this host may connect again
                flush_all(address)
            with closing(server.connect(host=str(made.folder))) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM js_puzzle_pool")
                rows = cursor.fetchone()[0]
        seen = _connections(made)
        return Outages(
            connections=seen,
            busiest=max(sum(begin <= at < begin + minute for at in seen) for begin in seen),
            stored=stored,
            spooled=spooled,
            rows=rows,
        )


def _store(address: PoolAddress, process: int, start: Any, stop: Any, counts: Any) -> None:
    """Stores winners of puzzles of its own, one after the other; those that the pool cannot take are spooled."""
    stored = spooled = 0
    start.wait(60)
    while not stop.wait(0.2):
        row = winner(), provenance(puzzle=f"{process}-{stored + spooled}")
        try:
            with opened(address, address.url) as pool:
                assert pool.insert(*row).new
            stored += 1
        except PoolError:
            spool_winner(address.spool, address.url, *row)
            spooled += 1
        if stored + spooled == 1:
            start.wait(60)
    counts.put((stored, spooled))


def _connections(made: PostgresMade) -> list[float]:
    """When a connection through the network came in, by the server's log; our own come through its socket."""
    text = made.log.read_text(encoding="utf-8", errors="replace")
    times = re.findall(r"^(\d+\.\d+) LOG:  connection received: host=127", text, re.MULTILINE)
    return sorted(float(at) for at in times)  # each backend writes its own line, sooner or later


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        found = outages(Path(place), processes=16, rounds=12, up=5.0, down=5.0, number=20, minute=60.0)
    print(json.dumps({**asdict(found), "connections": len(found.connections)}))
    sys.exit(found.busiest > 20 or found.rows != found.stored + found.spooled)
