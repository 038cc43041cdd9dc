"""Enqueue runs from any process: nothing heavy is imported, and the puzzle's files are shipped as they are."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from config.brokers import broker
from config.settings import Settings
from tasks.client.environment import checked_settings
from tasks.contracts.message_signing import serializer_of
from tasks.contracts.run_request import Request, new_run_id, request_of
from tasks.puzzles.bundles import DIGEST, bundle_digest, puzzle_files, ship
from tasks.runs.lifecycle import check_arguments, register
from tasks.store.redis import Redis
from tasks.store.redis_clients import refuse_cluster
from tasks.store.run_store import Store

QUEUE = "pairing.pool"


def enqueue(puzzle: str | Path, *, methods: str | Sequence[str] = "all", run: str | None = None, **options: Any) -> str:
    """Ships a puzzle and enqueues a run on the fleet that the settings name (``PAIRING_BROKER_URL``); the run's id.

    ``puzzle`` is a folder in the published layout, a packed puzzle, or the digest of one that is in the store.
    ``options`` are the fields of :class:`tasks.contracts.run_request.Request`: ``seeds``, ``budget``, ``deadline``,
    ``priority``, ``compare``, ``target``, ``note``, … The puzzle is read, and its errors are found, by the worker that
    plans the run. Enqueuing the same run id twice does one run, if it is the same run.

    Raises:
        InputError: an argument is wrong, the puzzle is too large or not there, or the id is another run's.
        BrokerError: the broker cannot be reached, or takes no more.
    """
    found = checked_settings()
    serializer = serializer_of(found)
    refuse_cluster(found.broker_address)
    store = caller_store(found)
    names = methods.split(",") if isinstance(methods, str) else list(methods)
    given = {"run": run or new_run_id(), "methods": [name.strip() for name in names], **options}
    request = request_of({**given, "puzzle": str(puzzle)})  # before anything is shipped
    if run is not None and store.record(run, "asked") is not None:
        digest = puzzle if DIGEST.fullmatch(str(puzzle)) else bundle_digest(puzzle_files(Path(puzzle)))
        check_arguments(store, request.model_copy(update={"puzzle": str(digest)}))
    if store.run_entry(request.run) is not None:
        return request.run
    if not DIGEST.fullmatch(str(puzzle)):
        digest = put_puzzle(store, found, Path(puzzle), request.deadline + store.backend.lifetime)
        request = request.model_copy(update={"puzzle": digest})
    send(found.broker_address, found.key_prefix, request, serializer)
    register(store, request)  # afterwards: a caller that dies in between has enqueued it, and may do so again
    return request.run


def put_puzzle(store: Store, found: Settings, path: Path, lifetime: float | None = None) -> str:
    """Ships a puzzle's files, to be kept for so many seconds, or as long as others; their digest.

    Raises:
        InputError: there is no puzzle, or it is too large for the store.
        BrokerError: the broker cannot be reached, or takes no more.
    """
    files, name = puzzle_files(path), path.resolve().name
    limits = {"most_bytes": found.puzzle_bytes, "quota": found.puzzles_bytes}
    return ship(store.backend, files, name, **limits, lifetime=lifetime)


def caller_store(found: Settings) -> Store:
    """The fleet's store as a caller sees it: one that cannot be reached is an error soon."""
    return Store(Redis(found.broker_address, found.key_prefix, found.store_lifetime))


def send(url: str, prefix: str, request: Request, serializer: str = "json") -> None:
    """Publishes a run's first task on the broker at ``url``, written with ``serializer``.

    Raises:
        BrokerError: the broker cannot be reached, or takes no more.
    """
    arguments = {"kwargs": request.model_dump(exclude={"run"}), "priority": request.message_priority()}
    send_task(url, prefix, "pairing.run", request.run, serializer=serializer, **arguments)


def send_task(url: str, prefix: str, name: str, task_id: str, **arguments: Any) -> None:
    """Publishes a task for workers that plan and compare; see ``send``."""
    from celery import Celery
    from kombu.exceptions import OperationalError

    from tasks.contracts.errors import BrokerError

    # By a connection of our own: CELERY_BROKER_URL in a user's environment overrules what an app is told.
    with closing(Celery("pairing-caller", set_as_current=False)) as app:
        found = broker(url)
        options = {**found.transport_options, "global_keyprefix": prefix, "socket_connect_timeout": 5}
        with app.connection_for_write(found.celery_url, transport_options=options) as connection:
            try:
                app.send_task(
                    name,
                    task_id=task_id,
                    queue=QUEUE,
                    ignore_result=True,
                    connection=connection,
                    retry=False,
                    **arguments,
                )
            except OperationalError as error:
                raise BrokerError(f"the run cannot be enqueued: {error}") from error


def rescue(url: str, prefix: str, run: str, serializer: str = "json", tries: int = 0) -> None:
    """Enqueues the comparison of whatever there is of a run whose chord did not fire, in its ``tries``-th try."""
    arguments = [run, tries] if tries else [run]
    task_id = f"{run}.comparison-at-the-deadline"
    send_task(url, prefix, "pairing.comparison", task_id, args=arguments, serializer=serializer)
