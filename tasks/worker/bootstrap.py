"""What happens in a worker when it starts and ends: what it imports, what its processes may take, its threads."""

from __future__ import annotations

import os
import threading
import traceback
from typing import Any

from celery.signals import worker_init, worker_process_init, worker_ready, worker_shutdown

from config.settings import settings
from tasks.contracts.queues import queue_lengths, task_ids
from tasks.worker import celery_tasks  # noqa: F401 - registers them
from tasks.worker.app import app
from tasks.worker.process_limits import limit_memory
from tasks.worker.resources import pool_address, store
from tasks.worker.upstream import log_format  # noqa: F401 - tells Celery how to log
from tasks.worker.upstream.hooks import check_hooks
from tasks.worker.upstream.soft_shutdown import interrupt_softly

__all__ = ["app"]

_ended = threading.Event()


@worker_init.connect  # type: ignore[untyped-decorator]
def prepare_worker(sender: Any, **_: Any) -> None:
    """Imports what its tasks need before the worker forks; a worker that cannot do that ends.

    Celery would log the error of a signal's handler, and then take tasks of which every one would fail.
    """
    try:
        _import_what_tasks_need(sender)
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None


def _import_what_tasks_need(sender: Any) -> None:
    """With one thread a process: more are slower at these sizes.

    Only a worker that reads ``pairing.pool`` imports what the database needs, and has chores.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    import tasks.runs.stages
    import tasks.worker.remote_control  # what it answers to `pairing doctor`

    check_hooks()
    interrupt_softly(sender)
    # Asked here and not when it is ready: by then a stop file may have taken it off its queues.
    if "pairing.pool" in sender.app.amqp.queues.consume_from:
        import tasks.pool.repository
        import tasks.runs.comparison
        import tasks.runs.planning  # noqa: F401

        worker_ready.connect(begin_chores)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def prepare_process(**_: Any) -> None:
    """Limits the memory of a child of the worker."""
    limit_memory(settings().worker_memory_bytes)


@worker_ready.connect  # type: ignore[untyped-decorator]
def begin_metrics(**_: Any) -> None:
    """Gives Prometheus the fleet's numbers, where a port is set."""
    found = settings()
    if found.metrics_port:
        from tasks.client.submit import caller_store
        from tasks.worker.metrics import FleetCollector, serve

        queues = [queue.name for queue in app.conf.task_queues]
        collector = FleetCollector(caller_store(found), lambda: queue_lengths(app, queues), pool_address().spool)
        serve(collector, found.metrics_address, found.metrics_port, _ended)


def begin_chores(**_: Any) -> None:
    """Sees to runs that nobody else brings to an end, to winners that wait in the spool, and to the pool's age."""
    from tasks.worker.maintenance import do_chores, pool_chores

    chores = pool_chores(store(), pool_address(), settings(), lambda: task_ids(app))
    threading.Thread(target=do_chores, args=(chores, _ended), name="chores", daemon=True).start()


@worker_shutdown.connect  # type: ignore[untyped-decorator]
def end_chores(**_: Any) -> None:
    """Ends the threads of chores and of the numbers."""
    _ended.set()
