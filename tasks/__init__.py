"""The fleet: Celery tasks, the store, the pool and the command line.

>>> from tasks import enqueue, wait
>>> run = enqueue("track2_permutation", methods=["trace", "cosine"], seeds=3)
>>> summary, matrices = wait(run)

Importing this package imports nothing heavy; ``tasks.celery`` (what ``celery -A tasks`` looks for) is made when it is
first asked for.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.client.runs_api import wait
    from tasks.client.submit import enqueue

__all__ = ["enqueue", "wait"]

logging.getLogger(__name__).addHandler(logging.NullHandler())  # only workers show what is logged


def __getattr__(name: str) -> Any:
    if name == "celery":
        from tasks.worker.bootstrap import app

        return app
    if name == "enqueue":
        from tasks.client.submit import enqueue

        return enqueue
    if name == "wait":
        from tasks.client.runs_api import wait

        return wait
    raise AttributeError(f"module 'tasks' has no attribute '{name}'")
