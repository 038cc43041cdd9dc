"""Ended runs are put on record in a table of our own, which outlives the store. No run ever fails by it, or waits."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from tasks.contracts.errors import RecordError
from tasks.pool.history import RecordedRun, forget_runs, record
from tasks.pool.location import PoolAddress, opened
from tasks.runs.facts import RunFacts, facts_of
from tasks.store.run_store import Store

logger = logging.getLogger(__name__)

DAY = 86_400.0
MOST_AT_ONCE = 200
"""Runs that are recorded at one time."""


def record_compared(store: Store, address: PoolAddress, run: str, end: dict[str, Any]) -> bool:
    """Records a run that is about to end as ``end`` says; whether that was done. Else a worker does so later."""
    try:
        if address.history_days:
            _record(store, address, [run], end)
    except Exception as error:  # whatever it is: the run ends
        logger.warning("the run is recorded later: %s", error, extra={"run": run})
        return False
    return True


def record_ended(store: Store, address: PoolAddress) -> None:
    """Records all runs that have ended and are not on record, wherever and however that was.

    Raises:
        PairingError: the database or the store cannot be reached; the next call tries again.
    """
    while runs := store.unrecorded()[:MOST_AT_ONCE]:
        if address.history_days:
            _record(store, address, runs)
        for run in runs:
            store.note_recorded(run)


def forget_old(address: PoolAddress) -> None:
    """Removes from the record what is older than the settings say.

    Raises:
        PoolError: the database cannot be reached.
    """
    if address.history_days:
        with opened(address, address.history_url) as pool:
            forget_runs(pool, time.time() - DAY * address.history_days)


def read_facts(recorded: RecordedRun) -> RunFacts | None:
    """A recorded run as it was; ``None`` where that is damaged, or of another version."""
    try:
        facts = RunFacts.model_validate_json(recorded.facts, strict=False)
    except ValidationError:
        return None
    return facts.model_copy(update={"recorded": True}) if facts.run == recorded.run else None


def _record(store: Store, address: PoolAddress, runs: list[str], end: dict[str, Any] | None = None) -> None:
    with opened(address, address.history_url) as pool:
        for run in runs:
            with suppress(RecordError):  # somebody else has spoilt what is kept of it
                facts = facts_of(store, run, end)
                if facts is not None and facts.ended_at is not None:
                    record(pool, _recorded(facts, facts.ended_at))


def _recorded(facts: RunFacts, ended_at: float) -> RecordedRun:
    return RecordedRun(
        run=facts.run,
        puzzle=facts.pool_puzzle,
        state=facts.state,
        note=facts.note,
        best_mse=facts.best_mse,
        enqueued_at=facts.enqueued_at,
        ended_at=ended_at,
        facts=facts.model_dump_json(),
    )
