"""The fleet's numbers for Prometheus, at a port of a worker's first process. `docs/monitoring.md` lists them.

What is counted stands in the store, so that it survives workers and every worker gives the same; only the spool is each
host's own. It is all read when it is asked for.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pairing.errors import PairingError
from tasks.runs.lifecycle import End, run_entries_of, with_states
from tasks.store.run_store import Store

logger = logging.getLogger(__name__)

SHOWN_SECONDS = 3600.0
"""How long after its end a run's best error is given."""
MOST_RUNS = 50
"""Of how many that go on, and how many of the newest, it is given at most."""
BUSY_SECONDS = 10.0
"""Between two tries to get a port that another worker of this host has."""

STAGES = ("similarity", "assignment", "refinement")

COUNTERS = (
    ("steps", "refinement_steps", "Steps of refinements.", "host"),
    ("evaluations", "refinement_evaluations", "Errors of orders that refinements computed.", "host"),
    ("stages", "stages", "Stages of runs' parts that came to an end, whatever it was.", "stage"),
    ("ended", "runs_ended", "Runs that came to an end.", "end"),
)
"""Of every counter how the store names it, its name, what it counts, and its label."""


class FleetCollector(Collector):
    """What a worker says of its fleet and host."""

    def __init__(self, store: Store, waiting: Callable[[], dict[str, int]], spool: Path) -> None:
        """``waiting`` gives how many messages wait in each queue."""
        self._store, self._waiting, self._spool = store, waiting, spool
        self._host = socket.gethostname()

    def collect(self) -> Iterator[Metric]:
        """All numbers; those of the host alone where the store cannot be read."""
        spool = GaugeMetricFamily("pairing_spool_winners", "Winners that wait in a host's spool.", labels=["host"])
        spool.add_metric([self._host], len(list(self._spool.glob("*.json"))))
        yield spool
        found: list[Metric] = []
        try:
            found += self._counted()
            found += self._runs()
            found += self._pool()
            found.append(_gauge("pairing_queue_messages", "Messages that wait in a queue.", "queue", self._waiting()))
        except PairingError as error:
            logger.warning("the fleet's numbers cannot be read: %s", error)
            found = []
        yield GaugeMetricFamily("pairing_store_up", "Whether this worker reads the store.", value=bool(found))
        yield from found

    def _counted(self) -> Iterator[Metric]:
        counts = self._store.counts()
        for kind, name, of, label in COUNTERS:
            known = {"host": [self._host], "stage": STAGES, "end": get_args(End)}[label]
            given = {field.removeprefix(f"{kind}."): n for field, n in counts.items() if field.startswith(f"{kind}.")}
            counter = CounterMetricFamily(f"pairing_{name}", of, labels=[label])
            for value, number in (dict.fromkeys(known, 0) | given).items():
                counter.add_metric([value], number)
            yield counter

    def _runs(self) -> Iterator[Metric]:
        states = {"queued": 0, "running": 0}
        entries = with_states(self._store, self._store.open_entries())
        going_on = [entry for entry in entries if entry["state"] in states]
        for entry in going_on:
            states[entry["state"]] += 1
        yield _gauge("pairing_runs", "Runs that have no end yet.", "state", states)
        errors = self._best_errors([entry["run"] for entry in going_on][:MOST_RUNS])
        yield _gauge("pairing_run_best_error", "Least mean squared error of a run.", "run", errors)

    def _best_errors(self, going_on: list[str]) -> dict[str, float]:
        """The least error of each run, of the newest, that goes on or has ended lately."""
        errors: dict[str, float] = {}
        for run, parts in zip(going_on, self._store.parts_of_all(going_on, "progress"), strict=True):
            found = [part["best_error"] for part in parts.values() if part["best_error"] is not None]
            if found:
                errors[run] = min(found)
        newest = run_entries_of(self._store, MOST_RUNS)
        lately = time.time() - SHOWN_SECONDS
        ended = [entry["run"] for entry in newest if (entry["ended_at"] or 0.0) >= lately]
        for run, summary in zip(ended, self._store.records_of_all(ended, "summary"), strict=True):
            if isinstance(summary, dict) and summary.get("best") is not None:
                errors[run] = float(summary["best"]["full_mse"])
        return errors

    def _pool(self) -> Iterator[Metric]:
        newest = self._store.newest_row()
        if newest is not None:
            age = math.inf if newest["at"] is None else max(0.0, time.time() - newest["at"])
            yield GaugeMetricFamily("pairing_pool_age_seconds", "Since the pool got its newest row.", value=age)


def _gauge(name: str, text: str, label: str, numbers: dict[str, Any]) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(name, text, labels=[label])
    for value, number in numbers.items():
        gauge.add_metric([value], number)
    return gauge


def serve(collector: Collector, address: str, port: int, ended: threading.Event) -> None:
    """Gives a collector's numbers at a port, from threads of their own, until ``ended`` is set.

    Where another worker of this host has the port, this one takes it over when that has ended.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    threading.Thread(target=_serve, args=(registry, address, port, ended), daemon=True).start()


def _serve(registry: CollectorRegistry, address: str, port: int, ended: threading.Event) -> None:
    said = ""
    while not ended.is_set():
        try:
            server, thread = start_http_server(port, address, registry)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and not said:
                logger.info("port %d is taken, by another worker of this host: its numbers are the same", port)
            elif said != str(error):
                logger.warning("the fleet's numbers are not given at %s:%d yet: %s", address, port, error)
            said = str(error)
            ended.wait(BUSY_SECONDS)
            continue
        os.register_at_fork(after_in_child=server.socket.close)  # a child that outlives the worker would keep the port
        logger.info("the fleet's numbers are at http://%s:%d/metrics", address, port)
        ended.wait()
        server.shutdown()
        server.server_close()
        thread.join()
