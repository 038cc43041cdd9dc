"""kombu's Redis transport, but for two things that cost it tasks or workers.

A message that was handed out again keeps its delivery tag there. When the worker that had it first finds itself
superseded and acknowledges it, the note of who has it now goes, and if that worker is lost then, the task is lost with
it. And what stands in a queue and is no message ends the worker that takes it.
"""

from __future__ import annotations

import logging
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis

from tasks import unready

logger = logging.getLogger(__name__)


class QoS(redis.QoS):
    """What a channel has taken and not acknowledged."""

    def restore_unacked(self, client: Any = None) -> None:
        """Puts back all that is held, or leaves it noted, where the connection is being closed: that ends no worker."""
        try:
            super().restore_unacked(client)  # type: ignore[no-untyped-call]
        except Exception as error:
            logger.debug("messages could not be put back: %s", type(error).__name__)


class Channel(redis.Channel):
    """A channel with a new tag for every delivery, which leaves out what it cannot read."""

    QoS = QoS

    def _do_restore_message(self, payload: dict[str, Any], *arguments: Any, **options: Any) -> None:
        payload["properties"]["delivery_tag"] = self._next_delivery_tag()  # type: ignore[no-untyped-call]
        super()._do_restore_message(payload, *arguments, **options)  # type: ignore[no-untyped-call]

    def _brpop_read(self, **options: Any) -> bool:
        try:
            return bool(super()._brpop_read(**options))  # type: ignore[no-untyped-call]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            # It has been taken off the queue by now.
            logger.error("something in a queue is no message, and was removed: %s", type(error).__name__)
            raise Empty from None


class Transport(redis.Transport):
    """The transport of such channels."""

    Channel = Channel


class SentinelChannel(Channel, redis.SentinelChannel):
    """One to whichever server the sentinels name."""


class SentinelTransport(redis.SentinelTransport):
    """The transport of such channels."""

    Channel = SentinelChannel


def use() -> None:
    """Has this process use it wherever kombu is given a Redis URL, and wait for a server that cannot work."""
    unready.recognize()
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
    TRANSPORT_ALIASES["sentinel"] = f"{__name__}:SentinelTransport"
