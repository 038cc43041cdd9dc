"""A throw-away Celery app for tests of the embedded fleet."""

from __future__ import annotations

import itertools
import os
from collections import deque

import redis
from celery import Celery

URL = os.environ.get("PAIRING_BROKER_URL", "")

app = Celery("busy", broker=URL, backend=URL, set_as_current=False)
# Late acknowledgement: a busy worker takes no second task.
app.conf.update(broker_connection_retry_on_startup=True, worker_prefetch_multiplier=1, task_acks_late=True)


@app.task(name="busy.environment")
def environment(*names: str) -> dict[str, str | None]:
    """Some of the worker's environment."""
    return {name: os.environ.get(name) for name in names}


@app.task(name="busy.spin")
def spin() -> None:
    """Announce it, then stay inside one C call for hours, holding the interpreter's lock all the while."""
    with redis.Redis.from_url(URL) as connection:
        connection.rpush("spinning", os.getpid())
    deque(itertools.repeat(None, 10**13), maxlen=0)
