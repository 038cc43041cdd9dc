"""What a worker that reads ``pairing.pool`` does now and then beside its tasks: one thread in its first process."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

from config.settings import Settings
from tasks.client.lost_tasks import LostTasks
from tasks.client.retrying import tries
from tasks.client.submit import rescue
from tasks.contracts.message_signing import serializer_of
from tasks.pool.location import PoolAddress, opened
from tasks.pool.queries import newest_row
from tasks.pool.spool_flush import flush_all
from tasks.runs.lifecycle import sweep
from tasks.runs.recording import forget_old, record_ended
from tasks.runs.spooled_winners import note_stored
from tasks.store.run_store import Store

logger = logging.getLogger(__name__)

LONGEST_SECONDS = 600.0
"""Between two tries of a chore that fails."""

SWEEP_SECONDS = 10.0
LOST_TASKS_SECONDS = 20.0
FLUSH_SECONDS = 30.0
NEWEST_ROW_SECONDS = 15.0
RECORD_SECONDS = 10.0
FORGET_SECONDS = 900.0


@dataclass(frozen=True)
class Chore:
    """Something to be done every so many seconds."""

    name: str
    seconds: float
    work: Callable[[], object]


def do_chores(chores: Sequence[Chore], ended: threading.Event) -> None:
    """Does every chore when it is due, one after the other, until ``ended`` is set.

    One that fails is logged in a line and tried again, after twice the time each time it fails.
    """
    due = {chore.name: time.monotonic() + chore.seconds for chore in chores}
    failures = dict.fromkeys(due, 0)
    while not ended.wait(max(0.0, min(due.values()) - time.monotonic())):
        for chore in chores:
            if due[chore.name] > time.monotonic():
                continue
            try:
                chore.work()
                failures[chore.name] = 0
            except Exception as error:  # the next try may do better; the worker goes on meanwhile
                failures[chore.name] += 1
                logger.warning("%s failed: %s", chore.name, error)
            wait = min(chore.seconds * 2.0 ** failures[chore.name], max(LONGEST_SECONDS, chore.seconds))
            due[chore.name] = time.monotonic() + wait


def pool_chores(
    store: Store, address: PoolAddress, found: Settings, task_ids: Callable[[], Set[str] | None]
) -> list[Chore]:
    """Sweeping the runs, looking for lost tasks, flushing the spool, the record of runs, the newest row for metrics.

    ``task_ids`` as for :class:`tasks.client.lost_tasks.LostTasks`.
    """
    chores = [
        Chore("sweeping", SWEEP_SECONDS, lambda: sweep_runs(store, found)),
        Chore("looking for lost tasks", LOST_TASKS_SECONDS, LostTasks(store, found, task_ids).look),
        Chore("flushing the spool", FLUSH_SECONDS, lambda: _flush(store, address)),
        Chore("recording runs", RECORD_SECONDS, lambda: record_ended(store, address)),
        Chore("forgetting old runs", FORGET_SECONDS, lambda: forget_old(address)),
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
        with opened(address, url) as pool:
            found.append(newest_row(pool))
    store.put_newest_row(max((at for at in found if at is not None), default=None))


def sweep_runs(store: Store, found: Settings) -> list[str]:
    """Brings every run that is past its deadline to an end, or a step nearer; those runs.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    url, prefix, serializer = found.broker_address, found.key_prefix, serializer_of(found)

    def send(run: str) -> None:
        rescue(url, prefix, run, serializer, tries(store.record(run, "request") or {}))

    return sweep(store, send, found.store_lifetime)
