"""What a worker that reads ``pairing.pool`` does now and then beside its tasks: one thread in its first process."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

logger = logging.getLogger(__name__)

LONGEST_SECONDS = 600.0
"""Between two tries of a chore that fails."""


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
