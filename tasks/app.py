"""The Celery app and its five tasks. Each loads, calls its stage and stores; the stages import what they need."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from celery import Celery, Task
from celery.signals import worker_init

from config.settings import settings

if TYPE_CHECKING:
    from tasks.address import PoolAddress
    from tasks.store import Store

app = Celery("pairing")
app.config_from_object("config.celeryconfig")


@worker_init.connect  # type: ignore[untyped-decorator]
def prepare_worker(**_: Any) -> None:
    """Imports what tasks need before the worker forks, with one thread a process: more are slower at these sizes."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    import tasks.comparison
    import tasks.planning  # noqa: F401


@cache
def store() -> Store:
    """This process's store."""
    from tasks.store import Redis, Store

    found = settings()
    return Store(Redis(found.broker_url.get_secret_value(), found.key_prefix, found.store_lifetime))


def pool_address() -> PoolAddress:
    """Where the settings say that the pool is."""
    from tasks.address import address_of

    return address_of(settings())


@app.task(name="pairing.run", bind=True)  # type: ignore[untyped-decorator]
def run(self: Task, run: str) -> str:
    """Plans a run and publishes its canvas, once. The request is in the store."""
    from tasks.flow import publish
    from tasks.planning import plan

    try:
        request = plan(store(), pool_address(), run)
    except Exception as error:  # whoever waits for the run is told, whatever it was
        store().put_record(run, "failed", {"error": str(error) or type(error).__name__})
        raise
    if store().claim(run, "published"):  # a redelivered task must not publish twice
        publish(self.app, request)
    return run


@app.task(name="pairing.similarity")  # type: ignore[untyped-decorator]
def similarity(run: str, method: str) -> None:
    """Computes and stores a method's similarity matrix."""
    from tasks import stages

    stages.similarity(store(), run, method)


@app.task(name="pairing.assignment")  # type: ignore[untyped-decorator]
def assignment(run: str, method: str) -> None:
    """Pairs the pieces by a method's similarities."""
    from tasks import stages

    stages.assignment(store(), run, method)


@app.task(name="pairing.refinement")  # type: ignore[untyped-decorator]
def refinement(run: str, method: str, seed: int) -> None:
    """Orders the blocks of a method's pairing."""
    from tasks import stages

    stages.refinement(store(), run, method, seed)


@app.task(name="pairing.comparison")  # type: ignore[untyped-decorator]
def comparison(run: str) -> str:
    """Compares what the run's parts have left and stores the winners, also where a part died hard."""
    from tasks.comparison import compare

    if store().record(run, "summary") is None:
        compare(store(), pool_address(), run)
    return run
