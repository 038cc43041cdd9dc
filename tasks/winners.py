"""Which solutions are winners, and how they get into the pool or the spool."""

from __future__ import annotations

import logging
import platform
from dataclasses import dataclass, field
from typing import Any

from pairing.puzzle import Puzzle
from pairing.solution import Solution
from pairing.version import __version__
from tasks.address import PoolAddress, open_run_pool
from tasks.errors import PoolError
from tasks.pool import Provenance, Winner
from tasks.spool import Flushed, flush_spool, spool_winner

logger = logging.getLogger(__name__)

RELATIVE_GAIN = 1e-6
VARIANCE_GAIN = 1e-12


def is_winner(full_mse: float | None, best_before: float | None, variance: float) -> bool:
    """Whether an error beats the pool best before the run: by more than 1e-6 of it and 1e-12 of the target's variance.

    Against an empty pool (``None``) every finite error does.
    """
    if full_mse is None:
        return False
    if best_before is None:
        return True
    return best_before - full_mse > max(RELATIVE_GAIN * best_before, VARIANCE_GAIN * variance)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One method's solution and where it came from."""

    method: str
    seed: int
    host: str
    seconds: float
    solution: Solution


@dataclass(kw_only=True)
class Stored:
    """What became of a run's winners."""

    inserted: list[dict[str, Any]] = field(default_factory=list)
    """``{"id", "method", "full_mse"}`` of every new row, read back from the pool."""
    stored_later: list[dict[str, Any]] = field(default_factory=list)
    """``{"method", "full_mse"}`` of every winner that waits in the spool."""
    flushed: list[Flushed] = field(default_factory=list)
    """What became of winners of earlier runs that waited in the spool."""
    error: str | None = None
    """Why the pool took no more."""
    unrecorded: bool = False
    """Whether a winner is in the pool without a record of where it came from: we have no right to tables of ours."""
    best: float | None = None
    """The least error of the winners that are in the pool now, whoever stored them."""


def store_winners(address: PoolAddress, puzzle: Puzzle, run: str, note: str, candidates: list[Candidate]) -> Stored:
    """Inserts each pair of sigmas once, whatever waits in the spool first; spools what the pool cannot take.

    Raises:
        SpoolError: a winner could neither be stored nor spooled.
    """
    url, result = address.url_for(puzzle), Stored()
    waiting = list({(c.solution.inp_sigma, c.solution.out_sigma): c for c in reversed(candidates)}.values())[::-1]
    try:
        with open_run_pool(address, puzzle) as pool:
            result.flushed = flush_spool(address.spool, pool, url)
            while waiting:
                found = waiting[0]
                inserted = pool.insert(*_row(found, puzzle, run, note))
                if result.best is None or found.solution.full_mse < result.best:
                    result.best = found.solution.full_mse
                if inserted.new:
                    logger.info("stored in the pool: row %d", inserted.id, extra=_part(found, run))
                    entry = {"id": inserted.id, "method": found.method, "full_mse": found.solution.full_mse}
                    result.inserted.append(entry)
                    result.unrecorded |= not pool.keeps_provenance
                waiting.pop(0)
    except PoolError as error:
        result.error = str(error)
        for found in waiting:
            spool_winner(address.spool, url, *_row(found, puzzle, run, note))
            logger.warning("waits in the spool: %s", error, extra=_part(found, run))
            result.stored_later.append({"method": found.method, "full_mse": found.solution.full_mse})
    return result


def _part(found: Candidate, run: str) -> dict[str, str | int]:
    return {"run": run, "method": found.method, "seed": found.seed}


def _row(found: Candidate, puzzle: Puzzle, run: str, note: str) -> tuple[Winner, Provenance]:
    solution = found.solution
    winner = Winner(
        worker=f"weight_pair_{found.method}@{found.host}",
        full_mse=solution.full_mse,
        inp_sigma=solution.inp_sigma,
        out_sigma=solution.out_sigma,
        permutation=solution.permutation,
        hash=solution.hash,
        hash_match=bool(solution.hash_match),
    )
    provenance = Provenance(
        run=run,
        puzzle=puzzle.digest,
        method=found.method,
        seed=found.seed,
        rows=puzzle.rows,
        error=solution.full_mse,
        seconds=found.seconds,
        versions={"pairing": __version__, "python": platform.python_version()},
        host=found.host,
        note=note,
    )
    return winner, provenance
