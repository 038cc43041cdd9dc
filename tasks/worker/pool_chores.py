"""The chores of a worker that reads ``pairing.pool``."""

from __future__ import annotations

from config.settings import Settings
from tasks.pool.location import PoolAddress, open_known_pool
from tasks.pool.queries import newest_row
from tasks.pool.spool_flush import flush_all
from tasks.runs.spooled_winners import note_stored
from tasks.store.run_store import Store
from tasks.worker.chores import Chore
from tasks.worker.sweeping import sweep_runs

SWEEP_SECONDS = 10.0
FLUSH_SECONDS = 30.0
NEWEST_ROW_SECONDS = 15.0


def pool_chores(store: Store, address: PoolAddress, found: Settings) -> list[Chore]:
    """Sweeping the runs, flushing the spool, and, where somebody is given numbers, looking for the newest row."""
    chores = [
        Chore("sweeping", SWEEP_SECONDS, lambda: sweep_runs(store, found)),
        Chore("flushing the spool", FLUSH_SECONDS, lambda: _flush(store, address)),
    ]
    if found.metrics_port:
        chores.append(
            Chore("looking for the pool's newest row", NEWEST_ROW_SECONDS, lambda: _note_newest_row(store, address))
        )
    return chores


def _flush(store: Store, address: PoolAddress) -> None:
    """Stores what waits in this host's spool.

    Raises:
        PairingError: why some of it still waits.
    """
    results = flush_all(address)
    note_stored(store, results)
    for flushed in results:
        if flushed.error is not None:
            raise flushed.error


def _note_newest_row(store: Store, address: PoolAddress) -> None:
    """Keeps in the store when the pool got its newest row, for all workers that give numbers.

    Raises:
        PairingError: the pool cannot be read, or the store.
    """
    found = []
    for url in address.urls():
        with open_known_pool(address, url) as pool:
            found.append(newest_row(pool))
    store.put_newest_row(max((at for at in found if at is not None), default=None))
