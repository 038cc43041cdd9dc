"""Which solutions are winners, and how they get into the pool or the spool."""

from __future__ import annotations

import logging
import platform
from dataclasses import dataclass, field
from typing import Any

from pairing.model.puzzle import Puzzle
from pairing.solution import Solution
from pairing.version import __version__
from tasks.contracts.errors import PoolError
from tasks.contracts.run_request import Request
from tasks.pool.best import Recomputed
from tasks.pool.improvement import is_winner
from tasks.pool.location import PoolAddress, opened
from tasks.pool.repository import PoolRow, Provenance, Winner
from tasks.pool.spool import Check, Flushed, flush_spool, spool_winner

logger = logging.getLogger(__name__)


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
    """Whether a winner is in the pool without a record of its origin, for lack of rights to Pairing's own tables."""
    best: float | None = None
    """The smallest MSE of the solutions that the pool was seen to hold."""


def store_winners(
    address: PoolAddress, puzzle: Puzzle, request: Request, before: float | None, candidates: list[Candidate]
) -> Stored:
    """Inserts what beats the pool, whatever waits in the spool first; spools what the pool cannot take.

    Best first, and each only where it beats the pool best at that moment; with ``insert="each"`` where it beats the
    best ``before`` the run. Each pair of sigmas is stored once.

    Raises:
        SpoolError: a winner could neither be stored nor spooled.
    """
    url, result, known = address.url_for(puzzle), Stored(), Recomputed(puzzle)
    each, variance = request.insert == "each", puzzle.target_variance
    ordered = sorted(candidates, key=lambda candidate: candidate.solution.full_mse)
    ordered = [c for c in ordered if is_winner(c.solution.full_mse, before, variance)]
    waiting = list({(c.solution.inp_sigma, c.solution.out_sigma): c for c in reversed(ordered)}.values())[::-1]
    if not each:
        waiting = waiting[:1]  # which the others do not beat
    try:
        with opened(address, address.url_for(puzzle)) as pool:
            result.flushed = flush_spool(address.spool, pool, url)
            while waiting:
                found = waiting[0]

                def as_good(rows: list[PoolRow], error: float = found.solution.full_mse) -> int | None:
                    best = known.best(rows)
                    if best is not None:
                        result.best = best["full_mse"]
                    return None if best is None or each or is_winner(error, result.best, variance) else int(best["id"])

                known.best(pool.candidates(puzzle.blocks, puzzle.digest))  # it takes a while: not under the lock
                inserted = pool.insert(*_row(found, puzzle, request), as_good)
                if not inserted.beaten and (result.best is None or found.solution.full_mse < result.best):
                    result.best = found.solution.full_mse
                if inserted.new:
                    logger.info("stored in the pool: row %d", inserted.id, extra=_part(found, request.run))
                    entry = {"id": inserted.id, "method": found.method, "full_mse": found.solution.full_mse}
                    result.inserted.append(entry)
                    result.unrecorded |= not pool.keeps_provenance
                waiting.pop(0)
    except PoolError as error:
        result.error = str(error)
        for found in waiting:
            spool_winner(address.spool, url, *_row(found, puzzle, request), Check(each=each, variance=variance))
            logger.warning("waits in the spool: %s", error, extra=_part(found, request.run))
            result.stored_later.append({"method": found.method, "full_mse": found.solution.full_mse})
    return result


def _part(found: Candidate, run: str) -> dict[str, str | int]:
    return {"run": run, "method": found.method, "seed": found.seed}


def _row(found: Candidate, puzzle: Puzzle, request: Request) -> tuple[Winner, Provenance]:
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
        run=request.run,
        puzzle=puzzle.digest,
        method=found.method,
        seed=found.seed,
        rows=puzzle.rows,
        error=solution.full_mse,
        seconds=found.seconds,
        versions={"pairing": __version__, "python": platform.python_version()},
        host=found.host,
        note=request.note,
    )
    return winner, provenance
