"""kombu's Redis transport, but for one thing: what stands in a queue and is no message ends no worker."""

from __future__ import annotations

import logging
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis

logger = logging.getLogger(__name__)


class Channel(redis.Channel):
    """A channel that leaves out what it cannot read; it has been taken off the queue by then."""

    def _brpop_read(self, **options: Any) -> bool:
        try:
            return bool(super()._brpop_read(**options))  # type: ignore[no-untyped-call]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            logger.error("something in a queue is no message, and was removed: %s", type(error).__name__)
            raise Empty from None


class Transport(redis.Transport):
    """The transport of such channels."""

    Channel = Channel


def use() -> None:
    """Has this process use it wherever kombu is given a Redis URL."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
