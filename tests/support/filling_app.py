"""The fleet's app with two tasks more: one that fills the broker, and one that follows it."""

from __future__ import annotations

import os

import redis

from tasks.worker.bootstrap import app

URL = os.environ.get("PAIRING_BROKER_URL", "")


@app.task(name="tests.fill")
def fill() -> None:
    """From here on Redis takes nothing more."""
    with redis.Redis.from_url(URL) as client:
        client.config_set("maxmemory", 1)


@app.task(name="tests.follow")
def follow() -> None:
    """Leave a trace."""
    with redis.Redis.from_url(URL) as client:
        client.rpush("followed", 1)
