"""What a worker's process may take: memory, and time without a sign of life."""

from __future__ import annotations

import faulthandler
import resource


def limit_memory(most: int) -> None:
    """Has this process get no more than so many bytes of memory from now on; 0 is no limit.

    What goes beyond is a ``MemoryError``, and so one method's failure. Linux counts what a process has allocated; macOS
    heeds no such limit.
    """
    if most:
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def begin_watch(seconds: float) -> None:
    """Ends this process, its stack in the log, unless it says within so many seconds that it lives: by another call.

    It may be held up in C code by then, with the interpreter's lock: the watch is a thread that does not need it.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=2)  # Celery has a stderr of its own


def end_watch() -> None:
    """Watches no more."""
    faulthandler.cancel_dump_traceback_later()
