"""The queues: which of them each role of worker reads, and what waits there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tasks.contracts.errors import BrokerError

if TYPE_CHECKING:
    from celery import Celery

ROLES: Mapping[str, tuple[str, ...]] = {
    "plan": ("pairing.pool", "celery"),
    "numbers": ("pairing.numbers",),
    "refine": ("pairing.refine",),
    "all": ("pairing.pool", "celery", "pairing.numbers", "pairing.refine"),
}
"""Role → the queues that it reads. ``celery`` is where callers by name send ``pairing.run``."""


def queue_lengths(app: Celery, queues: Iterable[str]) -> dict[str, int]:
    """How many messages wait in each of the queues.

    Raises:
        BrokerError: the broker cannot be asked.
    """
    with _channel(app) as channel:
        return {name: int(channel.queue_declare(queue=name).message_count) for name in queues}


def task_ids(app: Celery) -> set[str] | None:
    """The ids of all tasks of the fleet that wait or are held; ``None`` where very many wait.

    Raises:
        BrokerError: the broker cannot be asked.
    """
    with _channel(app) as channel:
        found: set[str] | None = channel.task_ids([queue.name for queue in app.conf.task_queues])
        return found


@contextmanager
def _channel(app: Celery) -> Iterator[Any]:
    from kombu.exceptions import OperationalError
    from redis.exceptions import RedisError

    try:
        with app.connection_or_acquire() as connection:
            yield connection.default_channel
    except (OperationalError, RedisError, OSError) as error:
        raise BrokerError(f"the queues cannot be read: {error}") from error
