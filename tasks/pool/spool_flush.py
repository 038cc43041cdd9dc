"""All of a host's spool at once: what a timer in its workers does, and ``pairing pool flush``."""

from __future__ import annotations

from pathlib import Path

from pairing.errors import InputError, PairingError
from tasks.contracts.errors import PoolError
from tasks.pool.engine import checked_url, place
from tasks.pool.location import PoolAddress, opened
from tasks.pool.repository import RowError
from tasks.pool.spool import Flushed, flush_spool, kept_for


def flush_all(address: PoolAddress) -> list[Flushed]:
    """Stores every winner in the host's spool that is for a pool which the address knows.

    Those are its own pool and the puzzles' SQLite files. A winner for another pool is reported and stays; a damaged
    file and a winner that the database refuses are reported and put out of the way; none of them stops another. Where a
    pool cannot be reached, all its winners are reported with that error, and the pool is asked once. A winner that
    another process is storing is passed over.

    Returns:
        What became of each winner, in the order of the files' names.
    """
    results: dict[Path, Flushed] = {}
    waiting: dict[str, list[Path]] = {}
    for path in sorted(address.spool.glob("*.json")):
        try:
            waiting.setdefault(kept_for(path), []).append(path)
        except FileNotFoundError:  # stored by another process since the folder was listed
            continue
        except PairingError as error:
            results[path] = Flushed(path=path, error=error)
    for url, paths in waiting.items():
        results |= _flush(address, url, paths)
    return [results[path] for path in sorted(results)]


def _flush(address: PoolAddress, url: str, paths: list[Path]) -> dict[Path, Flushed]:
    """What became of the winners for one pool."""
    away: PairingError | None = None
    results: dict[Path, Flushed] = {}
    try:
        if not address.knows(url):
            raise PoolError(
                f"It is for another pool, {place(checked_url(url))}, than the settings name. "
                f"`pairing pool flush --pool {url}` stores it there."
            )
        with opened(address, url) as pool:
            results = {result.path: result for result in flush_spool(address.spool, pool, url)}
    except (InputError, PoolError) as error:
        away = error
    for result in results.values():
        if isinstance(result.error, PoolError) and not isinstance(result.error, RowError):
            away = result.error
    if away is not None:
        results |= {path: Flushed(path=path, error=away) for path in paths if path not in results and path.exists()}
    return {path: result for path, result in results.items() if path in paths}
