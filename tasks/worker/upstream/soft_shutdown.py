"""A worker's children are told at the beginning of its soft shutdown.

Celery says that a worker is shutting down (``worker_shutting_down``) when the soft shutdown (celery#9213) is over: too
late for a refinement to save its checkpoint.
"""

from __future__ import annotations

import multiprocessing
from typing import Any

interruption = multiprocessing.get_context("fork").Event()
"""Set in a worker, for its children to see, when it is about to end."""


def interrupt_softly(worker: Any) -> None:
    """Has refinements save their checkpoints and hand themselves back at the beginning of a soft shutdown.

    Celery says that a worker is shutting down only when that is over.
    """
    wait = worker.wait_for_soft_shutdown

    def interrupt_and_wait() -> None:
        interruption.set()
        wait()

    worker.wait_for_soft_shutdown = interrupt_and_wait
