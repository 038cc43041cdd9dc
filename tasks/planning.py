"""The first stage of a run: the activation, where nobody says it, and what the pool holds already."""

from __future__ import annotations

import time
from typing import Any

from pairing.activation_choice import with_activation
from pairing.network import Network, pairs_of
from pairing.puzzle import Puzzle
from tasks.address import PoolAddress, open_run_pool
from tasks.errors import PoolError
from tasks.pool import Pool, PoolRow
from tasks.request import Request
from tasks.stages import load
from tasks.store import Store


def plan(store: Store, address: PoolAddress, run: str) -> Request:
    """Reads the pool best, recomputes its error and keeps it with the run, so that no other stage needs the database.

    An activation that is ``auto`` is chosen here, once for all workers, in at most half of the time that the run has.
    Gives the run's request. A pool that cannot be read costs the run its comparison with it, and nothing else. A run
    that was planned before keeps its plan: by now its own winners may stand in the pool.

    Raises:
        PairingError: the store has lost the request or the puzzle.
    """
    request, puzzle = load(store, run)
    if store.record(run, "plan") is not None:
        return request
    puzzle = with_activation(puzzle, (request.deadline_at - time.time()) / 2)
    record: dict[str, Any] = {
        "pool_best": None,
        "pool_error": None,
        "puzzle": puzzle.digest,
        "activation": puzzle.activation,
    }
    try:
        with open_run_pool(address, puzzle) as pool:
            record["pool_best"] = pool_best(pool, puzzle)
    except PoolError as error:
        record["pool_error"] = str(error)
    store.put_record(run, "plan", record)
    return request


def pool_best(pool: Pool, puzzle: Puzzle) -> dict[str, Any] | None:
    """The row of least recomputed error among the 32 of least stored error; ``None`` for an empty pool.

    A record with ``id``, ``inp_sigma``, ``out_sigma`` and ``full_mse`` (recomputed on all rows).

    Raises:
        PoolError: the pool cannot be read.
    """
    rows: dict[tuple[tuple[int, ...], tuple[int, ...]], PoolRow] = {}
    for row in pool.candidates(puzzle.blocks, puzzle.digest):
        rows.setdefault((row.inp_sigma, row.out_sigma), row)
    errors = {key: Network(puzzle, pairs_of(*key)).full_mse(key[0]) for key in rows}
    finite = [key for key, error in errors.items() if error < float("inf")]
    if not finite:
        return None
    best = min(finite, key=lambda key: errors[key])
    return {"id": rows[best].id, "inp_sigma": best[0], "out_sigma": best[1], "full_mse": errors[best]}
