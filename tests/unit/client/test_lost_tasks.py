"""Runs whose tasks are gone are found; those whose tasks are somewhere are left alone."""

from __future__ import annotations

import pytest

from tasks.client.lost_tasks import runs_without_tasks
from tasks.contracts.run_request import Request, request_of
from tasks.runs.lifecycle import finish, register
from tasks.store.memory import Memory
from tasks.store.run_store import Store

RUN = "a-run"
REFINEMENTS = {f"{RUN}.trace.s0.refinement", f"{RUN}.cosine.s0.refinement"}


@pytest.fixture
def store() -> Store:
    """A store that knows of one run of two methods, which nobody has planned."""
    store = Store(Memory())
    register(store, request())
    return store


def request() -> Request:
    return request_of({"run": RUN, "puzzle": 64 * "0", "methods": ["trace", "cosine"], "enqueued_at": 100.0})


def missing(store: Store, *task_ids: str, now: float = 101.0) -> bool:
    return runs_without_tasks(store, set(task_ids), now) == {RUN}


def planned(store: Store) -> Store:
    store.put_record(RUN, "request", request().model_dump())
    return store


def test_planning(store: Store) -> None:
    assert missing(store)
    assert missing(store, "another-run")
    assert not missing(store, RUN)


def test_a_part_has_a_task_of_any_of_its_stages(store: Store) -> None:
    planned(store)
    assert missing(store)
    for stage in ("similarity", "assignment", "refinement"):
        assert not missing(store, f"{RUN}.trace.s0.{stage}", f"{RUN}.cosine.s0.refinement")
        assert missing(store, f"{RUN}.trace.s0.{stage}")
    assert missing(store, f"{RUN}.comparison")
    assert not missing(store, RUN)  # which publishes it


def test_what_is_done_needs_no_task(store: Store) -> None:
    planned(store).put_part(RUN, "failure", "trace.s0", {"stage": "refinement", "error": "", "traceback": ""})
    assert not missing(store, f"{RUN}.cosine.s0.refinement")
    store.put_part(RUN, "failure", "cosine", {"stage": "similarity", "error": "", "traceback": ""})
    assert missing(store)
    assert not missing(store, f"{RUN}.cosine.s0.refinement")  # the chord counts it yet
    for comparison in ("comparison", "comparison-of-the-rest", "comparison-at-the-deadline"):
        assert not missing(store, f"{RUN}.{comparison}")


def test_of_a_run_that_is_tried_again_only_these_parts_are_to_do(store: Store) -> None:
    tried = {"number": 1, "parts": [["cosine", 0]]}
    store.put_record(RUN, "request", request().model_dump() | {"retry": tried})
    assert not missing(store, f"{RUN}.cosine.s0.similarity")
    assert missing(store, f"{RUN}.trace.s0.similarity")


def test_a_run_that_has_ended_or_is_past_its_deadline_needs_none(store: Store) -> None:
    assert not missing(planned(store), now=1e9)
    finish(store, RUN, "succeeded")
    assert not missing(store)
