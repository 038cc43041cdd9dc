"""What a pool of millions of rows costs those who look for the best, insert or list."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from tasks.pool.queries import least, rows
from tasks.pool.repository import open_pool
from tests.benchmarks.case import Case, Sample, Values
from tests.benchmarks.record import Figure
from tests.support.pools import PUZZLE, SHARED_TABLE, provenance, winner
from tests.support.servers import made_postgres

ROWS = 10_000_000
BLOCKS = 12
TIMES = 50

_FILL = f"""
INSERT INTO js_puzzle_pool (worker, full_mse, inp_sigma, out_sigma, hash, hash_match)
SELECT 'other', random(), sigma.inp, sigma.out, 'hash', false FROM generate_series(%s, %s) AS row
CROSS JOIN LATERAL (
  SELECT array_agg(v ORDER BY random()) AS inp, array_agg(v ORDER BY random() + 0 * row) AS out
  FROM generate_series(0, {BLOCKS - 1}) AS v) AS sigma
"""
_AT_ONCE = 250_000


def _pool(sample: Sample) -> Values:
    """Milliseconds of each operation, and the seconds that taking up all rows takes once."""
    rng = np.random.default_rng(sample.seed)
    with made_postgres({"max_wal_size": "4GB"}) as made, made.running() as server:
        with closing(server.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(SHARED_TABLE)
            for begin in range(0, ROWS, _AT_ONCE):
                cursor.execute(_FILL, (begin, begin + _AT_ONCE - 1))
            cursor.execute("VACUUM ANALYZE js_puzzle_pool")
        with open_pool(f"postgresql://pairing@127.0.0.1:{server.port}/postgres", server.password) as pool:
            began = time.monotonic()
            pool.take_up(whole=True)
            took_up = time.monotonic() - began
            with closing(server.connect()) as connection, connection.cursor() as cursor:
                cursor.execute("VACUUM ANALYZE pairing_solution")

            def insert() -> None:
                sigmas = {name: rng.permutation(BLOCKS) for name in ("inp_sigma", "out_sigma")}
                pool.insert(winner(full_mse=float(rng.random()), **sigmas), provenance())

            middle = rows(pool, 1)[0]["id"]
            measured: dict[str, Callable[[], Any]] = {
                "best": lambda: pool.candidates(BLOCKS, PUZZLE),
                "least": lambda: least(pool),
                "insert": insert,
                "list": lambda: rows(pool, 20),
                "page": lambda: rows(pool, 20, middle),
            }
            return {"taken_up": took_up, **{name: _milliseconds(work) for name, work in measured.items()}}


def _milliseconds(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(TIMES):
        began = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - began))
    return float(np.median(times))


def _figures(values: Sequence[Values]) -> list[Figure]:
    names = {
        "best": "its best rows for a puzzle",
        "least": "its best row",
        "insert": "an insertion",
        "list": "its first page",
        "page": "a page further on",
    }
    found = [
        Figure(
            what=f"pool of {ROWS:,} rows: {what}",
            measured=float(np.median([v[name] for v in values])),
            unit="ms",
            required=50,
            samples=len(values),
        )
        for name, what in names.items()
    ]
    taken_up = float(np.median([v["taken_up"] for v in values]))
    return [
        *found,
        Figure(what=f"pool of {ROWS:,} rows: taken up, once", measured=taken_up, unit="s", samples=len(values)),
    ]


CASES = (Case(name="pool of many rows", measure=_pool, figures=_figures, full=1, published=False),)
