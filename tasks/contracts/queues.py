"""The queues: which of them each role of worker reads, and how many messages wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

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
    from kombu.exceptions import OperationalError
    from redis.exceptions import RedisError

    try:
        with app.connection_or_acquire() as connection:
            channel = connection.default_channel
            return {name: int(channel.queue_declare(queue=name).message_count) for name in queues}
    except (OperationalError, RedisError, OSError) as error:
        raise BrokerError(f"the queues cannot be counted: {error}") from error
