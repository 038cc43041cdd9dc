"""What Redis answers while it cannot work: trouble of the connection for every client of this process, and of no call.

redis-py takes these answers for errors of whoever asked, and Celery with it (celery#7946, celery#10119, redis-py#3443):
tasks would fail, and workers end, because a replica was promoted, memory or a disk was full, or a server was loading.
As errors of the connection they are waited for.
"""

from __future__ import annotations

from redis._parsers.base import BaseParser
from redis.exceptions import ConnectionError


class UnreadyError(ConnectionError):
    """The server is there, and cannot work at the moment. The text begins with its own word for that."""


class FullError(UnreadyError):
    """The server has all the memory that it may have, and takes nothing more (``maxmemory``)."""


WORDS = ("READONLY", "NOREPLICAS", "MISCONF", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN")
"""A replica by now, too few replicas, a disk that takes nothing, a primary that is away, clusters in the making."""


def recognize() -> None:
    """Has redis-py raise these errors, whoever uses it in this process. ``LOADING`` it knows itself."""
    known = BaseParser.EXCEPTION_CLASSES
    known |= {**dict.fromkeys(WORDS, UnreadyError), "OOM": FullError}
