"""What runs that are queued wait for."""

from __future__ import annotations

from tasks.contracts.errors import BrokerError
from tasks.contracts.queues import ROLES, queue_lengths

PING_SECONDS = 1.0
"""How long workers are given to say that they are there."""


def queue_state() -> str:
    """What a run that is queued waits for, in words: ``queued behind 12 tasks``, ``queued; no worker reachable``."""
    from tasks.worker.app import app

    try:
        behind = sum(queue_lengths(app, ROLES["plan"]).values()) - 1
        reachable = app.control.ping(timeout=PING_SECONDS, limit=1)
    except (BrokerError, OSError):  # what is asked next says so
        return "queued"
    if not reachable:
        return "queued; no worker reachable"
    return f"queued behind {behind:,} task{'s' if behind > 1 else ''}" if behind > 0 else "queued"
