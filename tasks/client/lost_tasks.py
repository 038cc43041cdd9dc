"""Runs whose tasks are gone: they have no end, and the broker has no message that would bring them there.

Redis may have given a message to a host in the moment in which that lost its power or its network, before the host
could note that it had it; or Redis itself has lost its last second. Such a run is published again, as a whole: what is
done is not done again, and Celery counts each part once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Set

from config.settings import Settings
from tasks.client.retrying import parts_of
from tasks.client.submit import send
from tasks.contracts.errors import RecordError
from tasks.contracts.message_signing import serializer_of
from tasks.contracts.run_request import request_of
from tasks.store.run_store import Store, part_name

logger = logging.getLogger(__name__)

CLAIM_SECONDS = 60.0
"""So long one of those that look has published a run again."""


class LostTasks:
    """Looks for such runs now and then: what is missing twice is gone, and not on its way from one place to another."""

    def __init__(self, store: Store, found: Settings, task_ids: Callable[[], Set[str] | None]) -> None:
        """``task_ids`` gives the ids of all tasks that wait or are held; ``None`` where these are too many to tell."""
        self._store, self._settings, self._task_ids = store, found, task_ids
        self._missing: set[str] = set()

    def look(self) -> list[str]:
        """Publishes the runs again whose tasks are missing and were at the last look; those runs.

        Raises:
            BrokerError: the broker cannot be reached.
        """
        task_ids = self._task_ids()
        missing = set() if task_ids is None else runs_without_tasks(self._store, task_ids, time.time())
        lost = sorted(missing & self._missing)
        self._missing = missing.difference(lost)
        return [run for run in lost if self._publish(run)]

    def _publish(self, run: str) -> bool:
        asked = self._store.record(run, "asked")
        if asked is None or not self._store.claim_for(run, "publication", CLAIM_SECONDS):
            return False
        logger.warning("tasks of the run are gone from the broker; it is published again", extra={"run": run})
        self._store.remove_records(run, "published", "claim.published")
        found = self._settings
        send(found.broker_address, found.key_prefix, request_of({**asked, "run": run}), serializer_of(found))
        return True


def runs_without_tasks(store: Store, task_ids: Set[str], now: float) -> set[str]:
    """The runs before their deadline in which something is to be done that none of these tasks does.

    It takes four round trips, however many runs there are.
    """
    runs = [entry["run"] for entry in store.open_entries() if entry["deadline_at"] > now]
    requests = store.records_of_all(runs, "request")
    parts_done = zip(store.parts_of_all(runs, "refinement"), store.parts_of_all(runs, "failure"), strict=True)
    at_work = {*task_ids, *(task_id.rpartition(".")[0] for task_id in task_ids)}
    missing = set()
    for run, request, (refined, failed) in zip(runs, requests, parts_done, strict=True):
        if run in task_ids or isinstance(request, RecordError):
            continue
        parts = [] if request is None else parts_of(request) or request_of(request).parts
        done = {*refined, *failed}
        to_do = [f"{run}.{part_name(*part)}" for part in parts if not done & {part[0], part_name(*part)}]
        if not to_do:  # but its planning, or its comparison
            to_do = [] if any(task_id.startswith(f"{run}.") for task_id in task_ids) else [run]
        if not at_work.issuperset(to_do):
            missing.add(run)
    return missing
