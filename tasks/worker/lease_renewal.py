"""A worker renews the leases of all that it holds, running and reserved.

A thread renews, since the worker's loop stands still while it waits for its last tasks to end. It does so only as long
as the loop shows that it is alive, or the worker is ending: a worker that hangs loses its work to others.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import Any

from celery import bootsteps
from celery.worker import state

from config.settings import settings
from tasks.contracts.errors import BrokerError, RecordError
from tasks.runs.attempts import take_back_attempt
from tasks.runs.leases import LEASE_SECONDS, Leases, held
from tasks.store.redis import Redis
from tasks.store.run_store import Store
from tasks.worker.canvas import part_of

logger = logging.getLogger(__name__)

RENEWAL_SECONDS = 8.0
"""Between two renewals."""


class LeaseRenewal(bootsteps.StartStopStep):  # type: ignore[misc]
    """Renews the leases of what this worker holds, and puts back what it held when its connection was lost."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        """Nothing is held yet."""
        super().__init__(consumer, **options)
        self._seen = time.monotonic()
        self._timer: Any = None
        self._leases: Leases | None = None

    def start(self, consumer: Any) -> None:
        """Called whenever a connection has been made. What was held before it, nobody is at work on any more."""
        channel = consumer.task_consumer.channel
        former = sorted(held)
        for tag in former:
            _uncount(channel.qos.task_id(tag))
            channel.qos.restore_by_tag(tag)
        if former:
            logger.info("put back %d tasks that were held when the connection was lost", len(former))
        begun, self._leases = self._leases is not None, channel.leases()
        self._look()
        self._timer = consumer.timer.call_repeatedly(1.0, self._look)
        if not begun:
            threading.Thread(target=self._renew, name="lease-renewal", daemon=True).start()

    def stop(self, consumer: Any) -> None:  # noqa: ARG002 - Celery's signature
        """The loop shows no more that it is alive."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._seen = time.monotonic()

    def _renew(self) -> None:
        from redis.exceptions import RedisError

        while True:
            time.sleep(RENEWAL_SECONDS)
            alive = time.monotonic() - self._seen < LEASE_SECONDS or state.should_stop is not None
            tags = set(held)
            if self._leases is None or not tags or not alive:
                continue
            try:
                self._leases.renew(tags)
            except (RedisError, OSError) as error:  # told by the loop; what is held is put back when there is a broker
                logger.debug("leases were not renewed: %s", error)


def _uncount(task_id: str) -> None:
    """Takes the attempt at a part back that ended with the connection, and not by the part's doing."""
    found = part_of(task_id)
    if found is not None:
        run, part, stage = found
        at = settings()
        store = Store(Redis(at.broker_address, at.key_prefix, at.store_lifetime))
        with suppress(BrokerError, RecordError):  # then it counts
            take_back_attempt(store, run, f"{stage}.{part}")
