"""The fleet's numbers: each counted once, read of whatever stands in the store, and given at one port of a host."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tasks.contracts.errors import BrokerError
from tasks.contracts.run_request import request_of
from tasks.runs.lifecycle import finish, register
from tasks.runs.work_counters import Work
from tasks.store.memory import Memory
from tasks.store.run_store import COUNTS, Store
from tasks.worker import metrics
from tasks.worker.metrics import MOST_RUNS, SHOWN_SECONDS, FleetCollector, serve
from tests.support.fleet import wait_for
from tests.support.monitoring import get
from tests.support.servers import free_port

HOST = socket.gethostname()
PROGRESS = {"stage": "refinement", "evaluations": 1, "steps": 1, "seconds_left": None}


@pytest.fixture
def store() -> Store:
    return Store(Memory())


def numbers(store: Store, spool: Path = Path("nowhere")) -> dict[tuple[str, ...], float]:
    """Every sample: (name, value of its label) → number."""
    registry = CollectorRegistry()
    registry.register(FleetCollector(store, lambda: {"pairing.refine": 3}, spool))
    return {
        (sample.name, *sample.labels.values()): sample.value
        for metric in registry.collect()
        for sample in metric.samples
    }


def known_run(store: Store, run: str, **about: Any) -> None:
    register(store, request_of({"run": run, "puzzle": "sha256:0", **about}))


# --- counting


@given(before=st.integers(0, 50), told=st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=8))
def test_what_a_refinement_does_is_counted_once(before: int, told: list[tuple[int, int]]) -> None:
    store = Store(Memory())
    work = Work(store, {"step": before, "evaluations": before})
    for steps, evaluations in told:
        work.count(steps=steps, evaluations=evaluations)
    counts = store.counts()
    for name, values in (("steps", [s for s, _ in told]), ("evaluations", [e for _, e in told])):
        assert counts.get(f"{name}.{HOST}", 0) == max([before, *values]) - before


def test_a_runs_end_is_counted_once(store: Store) -> None:
    finish(store, "one", "failed")
    finish(store, "one", "succeeded")
    finish(store, "two", "cancelled")
    found = numbers(store)
    ends = {key[1]: value for key, value in found.items() if key[0] == "pairing_runs_ended_total"}
    assert ends == {"succeeded": 0, "failed": 1, "cancelled": 1, "timed_out": 0}


# --- reading


def test_a_new_fleet_has_all_its_counters_at_zero(store: Store) -> None:
    found = numbers(store)
    assert found["pairing_refinement_steps_total", HOST] == 0
    assert found["pairing_refinement_evaluations_total", HOST] == 0
    assert found["pairing_stages_total", "similarity"] == 0
    assert found["pairing_runs", "running"] == found["pairing_runs", "queued"] == 0
    assert found["pairing_queue_messages", "pairing.refine"] == 3
    assert found[("pairing_store_up",)] == 1


def test_other_hosts_steps_are_given_too(store: Store) -> None:
    store.count({"steps.elsewhere": 5, f"steps.{HOST}": 2})
    found = numbers(store)
    assert found["pairing_refinement_steps_total", "elsewhere"] == 5
    assert found["pairing_refinement_steps_total", HOST] == 2


def test_the_best_error_of_a_run_that_goes_on_is_its_parts_least(store: Store) -> None:
    known_run(store, "on")
    store.put_record("on", "plan", {})
    for part, error in {"trace.s0": 0.5, "trace.s1": 0.25, "svd.s0": None}.items():
        store.put_part("on", "progress", part, {**PROGRESS, "best_error": error})
    found = numbers(store)
    assert found["pairing_run_best_error", "on"] == 0.25
    assert found["pairing_runs", "running"] == 1


@pytest.mark.parametrize(("ago", "shown"), [(0.0, True), (SHOWN_SECONDS / 2, True), (2 * SHOWN_SECONDS, False)])
def test_a_run_that_ended_long_ago_is_not_shown(
    store: Store, monkeypatch: pytest.MonkeyPatch, ago: float, shown: bool
) -> None:
    known_run(store, "over")
    store.put_part("over", "progress", "trace.s0", {**PROGRESS, "best_error": 0.5})
    store.put_new_record("over", "end", {"end": "succeeded", "error": None, "exit_status": 0, "at": time.time() - ago})
    monkeypatch.setattr(
        Store,
        "records_of_all",
        lambda self, runs, name, real=Store.records_of_all: (
            [{"best": {"full_mse": 0.125}} for _ in runs] if name == "summary" else real(self, runs, name)
        ),
    )
    found = numbers(store)
    assert found.get(("pairing_run_best_error", "over")) == (0.125 if shown else None)
    assert found["pairing_runs", "running"] == found["pairing_runs", "queued"] == 0


def test_only_the_newest_runs_have_series(store: Store) -> None:
    for number in range(MOST_RUNS + 3):
        known_run(store, f"run-{number}", enqueued_at=1000.0 + number)
        store.put_part(f"run-{number}", "progress", "trace.s0", {**PROGRESS, "best_error": 0.5})
    found = numbers(store)
    shown = {key[1] for key in found if key[0] == "pairing_run_best_error"}
    assert shown == {f"run-{number}" for number in range(3, MOST_RUNS + 3)}
    assert found["pairing_runs", "queued"] == MOST_RUNS + 3


def test_a_spoilt_run_hides_no_other(store: Store) -> None:
    for run in ("sound", "spoilt"):
        known_run(store, run)
        store.put_part(run, "progress", "trace.s0", {**PROGRESS, "best_error": 0.5})
    store.backend.put("pairing.run.spoilt.end", b"no record")
    found = numbers(store)
    assert ("pairing_run_best_error", "sound") in found
    assert ("pairing_run_best_error", "spoilt") not in found


@pytest.mark.parametrize(("newest", "age"), [({"at": None}, math.inf), ({"at": 4e9}, 0.0), (None, None)])
def test_the_pools_age(store: Store, newest: dict[str, Any] | None, age: float | None) -> None:
    if newest is not None:
        store.put_newest_row(newest["at"])
    assert numbers(store).get(("pairing_pool_age_seconds",)) == age


def test_winners_in_the_spool_are_seen_without_the_store(tmp_path: Path) -> None:
    for name in ("one.json", "two.json", ".three.tmp"):
        (tmp_path / name).touch()

    class Away(Memory):
        def fields(self, key: str) -> dict[str, bytes]:
            if key == COUNTS:
                raise BrokerError("away")
            return super().fields(key)

    assert numbers(Store(Away()), tmp_path) == {("pairing_spool_winners", HOST): 2, ("pairing_store_up",): 0}


# --- giving


@dataclass(eq=False)
class Named(Collector):
    name: str

    def collect(self) -> Iterable[Metric]:
        return [Metric(self.name, "", "gauge")]


def test_a_port_that_another_worker_has_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "BUSY_SECONDS", 0.01)
    port, ended = free_port(), {"first": threading.Event(), "second": threading.Event()}

    def given() -> str:
        try:
            return get(f"http://127.0.0.1:{port}/metrics")[1]
        except OSError:
            return "nobody"

    try:
        serve(Named("first"), "127.0.0.1", port, ended["first"])
        wait_for("the first", lambda: "first" in given())
        serve(Named("second"), "127.0.0.1", port, ended["second"])
        assert "second" not in given()
        ended["first"].set()
        wait_for("the second", lambda: "second" in given())
    finally:
        for event in ended.values():
            event.set()
    wait_for("the end", lambda: given() == "nobody")
