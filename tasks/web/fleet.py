"""What the page of the fleet shows: what ``pairing doctor`` finds, and who holds what. Runs in a thread."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kombu.transport.redis import Channel
from redis.exceptions import RedisError

from pairing.errors import shown
from tasks.contracts.errors import BrokerError
from tasks.contracts.queues import ROLES
from tasks.doctor.examination import Finding, examine
from tasks.doctor.probes import Answer, Broker, ProbeFailure, ask
from tasks.runs.leases import Leases
from tasks.store.redis_clients import redis_client
from tasks.web.site import Site

MOST_LEASES = 200
ORDER = ("wrong", "warning", "not asked", "ok")


@dataclass(frozen=True)
class Held:
    """A task that a worker holds, or held."""

    task: str
    """Its id: ``<run>.<method>.s<seed>.<stage>``."""
    kind: str
    queue: str
    seconds_left: float | None
    """Of its lease; ``None``: it has none yet."""


@dataclass(frozen=True)
class FleetFound:
    """The fleet at one moment."""

    at: float
    findings: list[Finding]
    workers: Mapping[str, Answer]
    no_workers: str
    """Why they could not be asked."""
    waiting: Mapping[str, int]
    """Queue → tasks that wait."""
    readers: Mapping[str, list[str]]
    """Queue → workers that read it."""
    held: list[Held]
    broker: str


def fleet_found(site: Site) -> FleetFound:
    """Asks the broker, the workers and the pool, for at most ten seconds."""
    asked = ask(site.settings, Path())
    broker = asked.broker if isinstance(asked.broker, Broker) else None
    workers = {} if isinstance(asked.workers, ProbeFailure) else asked.workers
    readers: dict[str, list[str]] = {queue: [] for queue in ROLES["all"]}
    for name, answer in sorted(workers.items()):
        for queue in answer.about.queues if answer.about is not None else ():
            readers.setdefault(queue, []).append(name)
    return FleetFound(
        at=time.time(),
        findings=sorted(examine(asked), key=lambda finding: ORDER.index(finding.state)),
        workers=dict(sorted(workers.items())),
        no_workers=asked.workers.why if isinstance(asked.workers, ProbeFailure) else "",
        waiting={} if broker is None else broker.waiting,
        readers=readers,
        held=[] if broker is None else held(site),
        broker="" if broker is None else broker.where,
    )


def held(site: Site) -> list[Held]:
    """What workers hold, the lease that ends first first."""
    found = site.settings
    client: Any = redis_client(found.broker_address, socket_connect_timeout=3.0, socket_timeout=5.0)
    leases = Leases(client, found.key_prefix, Channel.unacked_key, Channel.unacked_index_key)
    try:
        with client:
            entries = leases.listed(MOST_LEASES)
    except RedisError as error:
        raise BrokerError(f"the leases cannot be read: {shown(error)}") from error
    tasks = [_held(entry, left) for _, entry, left in entries]
    infinite = float("inf")
    return sorted(tasks, key=lambda one: infinite if one.seconds_left is None else one.seconds_left)


def _held(entry: bytes, left: float | None) -> Held:
    try:
        message, exchange, key = json.loads(entry)
        headers = message["headers"]
        return Held(str(headers["id"]), str(headers["task"]), str(key or exchange), left)
    except (ValueError, TypeError, KeyError):
        return Held("", "unknown", "", left)
