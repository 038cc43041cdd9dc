"""What a worker says of messages that it refuses: one line each, with nothing in it but what they call themselves.

Celery logs such a message whole (``Consumer.on_decode_error``), whatever secrets are in it.
"""

from __future__ import annotations

import logging
from typing import Any

from celery import signals
from celery.worker import consumer

from pairing.errors import shown

logger = logging.getLogger(__name__)


class Consumer(consumer.Consumer):  # type: ignore[misc]
    """Celery's consumer, but for what it logs of messages that cannot be read or are not accepted."""

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
