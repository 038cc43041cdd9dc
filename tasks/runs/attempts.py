"""Attempts at one part of a run: counted, from zero again when its checkpoint has advanced, and one at a time.

Celery counts lost children only, progress or not, and hands a task out again whose worker is cut off and still at work.
So the store counts, and it knows whose attempt is the newest: older ones stop.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pairing.errors import MethodError
from tasks.contracts.errors import BrokerError, RecordError
from tasks.store.run_store import Store

logger = logging.getLogger(__name__)

MOST_ATTEMPTS = 3


class GivenUpError(MethodError):
    """Nobody tries this part of the run again: too many attempts were lost."""


class SupersededError(Exception):
    """Another worker has taken this part of the run over; what was done here is nobody's any more."""


class InterruptedTaskError(Exception):
    """The worker is about to end; the task is to be handed back."""


def begin_attempt(store: Store, run: str, part: str, progress: int) -> str:
    """Counts an attempt at ``part`` (``<stage>.<part>``) whose checkpoint stands at ``progress``; its owner's name.

    Raises:
        GivenUpError: three attempts have ended without progress.
    """
    owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"

    def begin(before: dict[str, Any] | None) -> dict[str, Any] | None:
        if before is None or progress > before["progress"]:
            return {"count": 1, "progress": progress, "owner": owner}
        if before["owner"] == owner:  # it was heard, and its answer was not
            return None
        count = before["count"] + 1
        if count > MOST_ATTEMPTS:
            raise GivenUpError(
                f"{MOST_ATTEMPTS} attempts were lost without progress, the last one on {before['owner']}: the process"
                " was killed, crashed or ran out of memory; look at that worker's log"
            )
        if count > 1:
            logger.warning("attempt %d of %d; the one before was lost: %s", count, MOST_ATTEMPTS, before["owner"])
        return {"count": count, "progress": progress, "owner": owner}

    store.change_part(run, "attempt", part, begin)
    return owner


def take_back_attempt(store: Store, run: str, part: str, owner: str | None = None) -> None:
    """Uncounts an attempt that was interrupted on purpose: that owner's, or the newest."""

    def take_back(record: dict[str, Any] | None) -> dict[str, Any] | None:
        if record is None or owner not in (None, record["owner"]):
            return None
        return {**record, "count": record["count"] - 1}

    store.change_part(run, "attempt", part, take_back)


@contextmanager
def counted(store: Store, run: str, part: str) -> Iterator[None]:
    """Counts an attempt for as long as the block takes: one that loses its process or takes too much memory stays so.

    Raises:
        GivenUpError: three have been lost.
    """
    owner = begin_attempt(store, run, part, 0)
    try:
        yield
    except (MemoryError, SystemError):  # SystemError: what compiled code makes of the end of its process
        raise
    except Exception:
        with suppress(BrokerError, RecordError):  # it counts, then
            take_back_attempt(store, run, part, owner)
        raise
    take_back_attempt(store, run, part, owner)


def is_last_attempt(store: Store, run: str, part: str) -> bool:
    """Whether no attempt may follow the newest one, unless it gets further."""
    record = store.part(run, "attempt", part)
    return record is not None and record["count"] >= MOST_ATTEMPTS


def owns(store: Store, run: str, part: str, owner: str) -> bool:
    """Whether nobody else has begun an attempt since."""
    record = store.part(run, "attempt", part)
    return record is not None and record["owner"] == owner
