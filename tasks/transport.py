"""Celery's Redis transport, with a new delivery tag for every delivery.

A message that was handed out again keeps its tag there. When the worker that had it first finds itself superseded and
acknowledges it, the note of who has it now goes, and if that worker is lost then, the task is lost with it.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis


class Channel(redis.Channel):
    """A channel that gives a message another tag when it puts it back into its queue."""

    def _do_restore_message(self, payload: dict[str, Any], *arguments: Any, **options: Any) -> None:
        payload["properties"]["delivery_tag"] = self._next_delivery_tag()  # type: ignore[no-untyped-call]
        super()._do_restore_message(payload, *arguments, **options)  # type: ignore[no-untyped-call]


class Transport(redis.Transport):
    """For ``redis://`` and ``rediss://``."""

    Channel = Channel
