"""The stop file: while it exists, a worker finishes what it has and takes nothing new."""

from __future__ import annotations

import logging
import os
from typing import Any

from celery import bootsteps

from config.settings import settings

LOOK_SECONDS = 2.0

logger = logging.getLogger(__name__)


class StopFile(bootsteps.StartStopStep):  # type: ignore[misc]
    """Takes the worker off its queues while one of ``PAIRING_STOP_FILES`` exists, and back when none does any more.

    Runs in the consumer's own loop. What the worker is off stays so when its connection is lost and made again.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        """Not stopped yet."""
        super().__init__(consumer, **options)
        self._paths = [path for path in settings().stop_files.split(os.pathsep) if path]
        self._left: list[str] = []  # queues that the worker is off
        self._timer: Any = None

    def start(self, consumer: Any) -> None:
        """Looks at once, before anything is taken, and then every two seconds."""
        if self._paths:
            self._look(consumer)
            self._timer = consumer.timer.call_repeatedly(LOOK_SECONDS, self._look, (consumer,))

    def stop(self, consumer: Any) -> None:  # noqa: ARG002
        """Looks no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, consumer: Any) -> None:
        found = next((path for path in self._paths if os.path.exists(path)), None)
        if found is not None and not self._left:
            self._left = list(consumer.app.amqp.queues.consume_from)
            for queue in self._left:
                consumer.cancel_task_queue(queue)
            logger.warning("the stop file %s exists: taking no new tasks until it is removed", found)
        elif found is None and self._left:
            for queue in self._left:
                consumer.add_task_queue(queue)
            self._left = []
            logger.warning("no stop file exists any more: taking tasks again")
