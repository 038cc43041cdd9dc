"""What a worker says of messages that it refuses, and how it waits for a broker that cannot work.

- Celery logs a message that it refuses whole (``Consumer.on_decode_error``), whatever secrets are in it. Here it is one
  line, with nothing in it but what they call themselves.
- Celery takes a server that answers for one that works, and connects to it six times a second while it takes nothing.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from celery import signals
from celery.worker import consumer
from celery.worker.state import maybe_shutdown

from pairing.errors import shown
from tasks.store.redis_unready import UnreadyError

AGAIN_SECONDS = 1.0
"""Until a server that takes nothing is looked at again."""

logger = logging.getLogger(__name__)


class Consumer(consumer.Consumer):  # type: ignore[misc]
    """Celery's consumer, but for messages that cannot be read or are not accepted, and brokers that cannot work."""

    def ensure_connected(self, conn: Any) -> Any:
        """The connection, when its server is there and takes what is written."""
        connection = super().ensure_connected(conn)
        while True:
            try:
                with connection.channel() as channel:
                    channel.try_to_write()
            except UnreadyError as error:
                logger.error("consumer: Cannot connect to %s: %s", conn.as_uri(), error)
                maybe_shutdown()
                time.sleep(AGAIN_SECONDS)
            else:
                return connection

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Removes a message that cannot be read: damaged, or not signed by a key that is accepted."""
        _say(message, exc)
        message.ack()

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:  # noqa: ARG002 - Celery's signature
        """Removes a message of a type that is not accepted, or that is no task."""
        _say(message, exc)
        message.reject_log_error(logger, self.connection_errors)
        signals.task_rejected.send(sender=self, message=message, exc=exc)


def _say(message: Any, error: Exception) -> None:
    headers = message.headers if isinstance(message.headers, dict) else {}
    task, run = shown(headers.get("task")), shown(headers.get("id"))
    logger.error("a message was refused and removed: %s %s: %s", task, run, shown(error))
