"""A part of a run that is begun again: counted, resumed where it stood, and never twice at once for long."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from pairing.errors import MethodError
from pairing.search import driver
from tasks.commands.terminal import Display
from tasks.contracts.errors import BrokerError
from tasks.contracts.queues import queue_lengths
from tasks.contracts.run_request import request_of
from tasks.embedded.runner import run_inline
from tasks.pool.winner_selection import PoolAddress
from tasks.puzzles.resolver import Puzzles, remember
from tasks.runs import stages, time_slicing
from tasks.runs.attempts import (
    MOST_ATTEMPTS,
    InterruptedTaskError,
    SupersededError,
    begin_attempt,
    owns,
    take_back_attempt,
)
from tasks.runs.lifecycle import finish
from tasks.runs.planning import keep, plan
from tasks.runs.protocol_version import OtherProtocolError, check_protocol
from tasks.runs.stage_execution import run_stage
from tasks.runs.time_slicing import TurnOverError
from tasks.store.memory import Memory
from tasks.store.run_store import Store
from tests.support.puzzles import plant
from tests.support.servers import free_port

PUZZLES = Puzzles(cache_dir=Path(), cache_bytes=0)
PART = "refinement.cosine.s0"


def test_three_attempts_without_progress_are_too_many() -> None:
    store = Store(Memory())
    for _ in range(MOST_ATTEMPTS):
        begin_attempt(store, "run1", PART, 0)
    with pytest.raises(MethodError, match="3 attempts were lost without progress"):
        begin_attempt(store, "run1", PART, 0)
    begin_attempt(store, "run1", "refinement.cosine.s1", 0)  # another's attempts are its own
    begin_attempt(store, "run2", PART, 0)


def test_progress_begins_the_count_again() -> None:
    store = Store(Memory())
    for progress in range(20):
        for _ in range(MOST_ATTEMPTS):
            begin_attempt(store, "run1", PART, progress)
    with pytest.raises(MethodError):
        begin_attempt(store, "run1", PART, 19)


def test_an_interruption_on_purpose_does_not_count() -> None:
    store = Store(Memory())
    for _ in range(5 * MOST_ATTEMPTS):
        begin_attempt(store, "run1", PART, 0)
        take_back_attempt(store, "run1", PART)


def test_only_its_own_attempt_is_taken_back() -> None:
    store = Store(Memory())
    first = begin_attempt(store, "run1", PART, 0)
    second = begin_attempt(store, "run1", PART, 0)
    take_back_attempt(store, "run1", PART, first)
    record = store.part("run1", "attempt", PART)
    assert record == {"count": 2, "progress": 0, "owner": second}


def test_the_newest_attempt_owns_the_part() -> None:
    store = Store(Memory())
    first = begin_attempt(store, "run1", PART, 0)
    assert owns(store, "run1", PART, first)
    second = begin_attempt(store, "run1", PART, 0)
    assert not owns(store, "run1", PART, first)
    assert owns(store, "run1", PART, second)


def test_records_of_another_protocol_are_not_read() -> None:
    store = Store(Memory())
    check_protocol(store, "unknown")
    store.put_record("run1", "request", {"protocol": 0})
    with pytest.raises(OtherProtocolError, match="protocol 0"):
        check_protocol(store, "run1")


# --- memory

BIG = 2**62


@pytest.mark.parametrize("times", [MOST_ATTEMPTS - 1, MOST_ATTEMPTS])
def test_what_takes_too_much_memory_has_three_attempts(times: int) -> None:
    store, left, worked = Store(Memory()), times, list[str]()

    def work(_: str) -> None:
        nonlocal left
        if left:
            left -= 1
            bytearray(BIG)
        worked.append("cosine")

    for _ in range(MOST_ATTEMPTS - 1):
        with suppress(MemoryError):
            run_stage(store, "run1", "assignment", "cosine", work)
    assert store.part("run1", "failure", "cosine") is None
    run_stage(store, "run1", "assignment", "cosine", work)
    failure = store.part("run1", "failure", "cosine")
    if times < MOST_ATTEMPTS:
        assert (failure, worked) == (None, ["cosine"])
    else:
        assert failure
        assert not worked
        assert "PAIRING_WORKER_MEMORY_BYTES" in failure["error"]


def test_in_one_process_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = 0

    def similarity_of(*_: Any) -> None:
        nonlocal attempts
        attempts += 1
        bytearray(BIG)

    monkeypatch.setattr(stages, "similarity_of", similarity_of)
    puzzle = plant(3, blocks=4, rows=50, known=False).puzzle
    request = request_of({"run": "run1", "puzzle": puzzle.digest, "methods": ["cosine"], "deadline": 1000.0})
    store = run_inline(puzzle, request, PoolAddress(data_dir=tmp_path), Display(request))
    failure = store.part("run1", "failure", "cosine")
    assert failure
    assert failure["error"].startswith("MemoryError; ")
    assert attempts == MOST_ATTEMPTS


# --- refinements


@pytest.fixture
def begun(tmp_path: Path) -> Store:
    """A store with a planned run, ``run1``, whose one refinement takes 400 evaluations."""
    store, puzzle = Store(Memory()), plant(3, blocks=10, rows=200, known=False).puzzle
    remember(puzzle.digest, puzzle)
    asked = {"run": "run1", "puzzle": puzzle.digest, "methods": ["cosine"], "compare": True, "evaluations": 400}
    request = keep(store, request_of({**asked, "deadline": 1000.0}), puzzle.digest)
    plan(store, PoolAddress(data_dir=tmp_path), request, puzzle)
    stages.similarity(store, PUZZLES, "run1", "cosine", 0)
    stages.assignment(store, PUZZLES, "run1", "cosine", 0)
    return store


def refine(store: Store, interrupted: Callable[[], bool] = lambda: False, *, has_backlog: bool = False) -> None:
    stages.refinement(store, PUZZLES, "run1", "cosine", 0, interrupted, lambda: has_backlog)


def found(store: Store) -> dict[str, Any]:
    record = store.part("run1", "refinement", "cosine.s0")
    assert record
    return {key: record[key] for key in ("solution", "evaluations", "stopped", "start_mse")}


def test_an_interrupted_refinement_goes_on_to_the_same_result(begun: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    refine(begun)
    undisturbed = found(begun)
    begun.backend.remove("pairing.run.run1.refinement", "pairing.run.run1.attempt", "pairing.run.run1.checkpoint")

    monkeypatch.setattr(driver, "POLL_SECONDS", 0.0)
    interruptions, asked = 0, 0

    def interrupted() -> bool:
        nonlocal asked
        asked += 1
        return asked % 40 == 0

    while begun.part("run1", "refinement", "cosine.s0") is None:
        try:
            refine(begun, interrupted)
        except InterruptedTaskError:
            interruptions += 1
            assert begun.checkpoint("run1", "cosine.s0")
    assert interruptions > MOST_ATTEMPTS
    assert found(begun) == undisturbed


def test_a_broker_that_does_not_say_what_waits_is_nobodys_failure(
    begun: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(time_slicing, "LEADING_TURN_SECONDS", 0.001)
    with Celery(broker=f"redis://127.0.0.1:{free_port()}/0", set_as_current=False) as app:
        app.conf.broker_connection_timeout = 0.1

        def has_backlog() -> bool:
            return any(queue_lengths(app, ["celery"]).values())

        with pytest.raises(BrokerError, match="the queues cannot be read"):
            stages.refinement(begun, PUZZLES, "run1", "cosine", 0, lambda: False, has_backlog)
    assert begun.part("run1", "failure", "cosine.s0") is None
    refine(begun)
    assert found(begun)["solution"]


@pytest.mark.slow
def test_a_refinement_takes_turns_with_others_and_ends_the_same(begun: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(time_slicing, "LEADING_TURN_SECONDS", 0.001)
    refine(begun)
    undisturbed = found(begun)
    begun.backend.remove("pairing.run.run1.refinement", "pairing.run.run1.attempt", "pairing.run.run1.checkpoint")

    turns_over = 0
    while begun.part("run1", "refinement", "cosine.s0") is None:
        try:
            refine(begun, has_backlog=True)
        except TurnOverError:
            turns_over += 1
    assert turns_over > MOST_ATTEMPTS
    assert found(begun) == undisturbed
    record, times = begun.part("run1", "refinement", "cosine.s0"), begun.part("run1", "times", "refinement.cosine.s0")
    assert record is not None
    assert times is not None
    assert times["seconds"] >= record["seconds"]  # of all turns


def test_whoever_lost_its_part_stops_and_stores_nothing(begun: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "POLL_SECONDS", 0.0)
    taken = False

    def take_over() -> bool:
        nonlocal taken
        if not taken:
            taken = True
            begin_attempt(begun, "run1", PART, 0)
            begun.put_checkpoint("run1", "cosine.s0", {"evaluations": 10**6})
        return False

    with pytest.raises(SupersededError):
        refine(begun, take_over)
    assert begun.part("run1", "refinement", "cosine.s0") is None
    assert begun.part("run1", "failure", "cosine.s0") is None
    assert begun.checkpoint("run1", "cosine.s0") == {"evaluations": 10**6}  # the other's, further than its own


def test_a_clock_that_jumps_beyond_the_deadline_ends_it_with_what_there_is(
    begun: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "POLL_SECONDS", 0.0)
    now = time.time
    asked = iter(range(400))

    def jump() -> bool:
        if next(asked) == 20:
            monkeypatch.setattr(time, "time", lambda: now() + 3600.0)
        return False

    refine(begun, jump)
    record = begun.part("run1", "refinement", "cosine.s0")
    assert record
    assert record["stopped"] == "budget"
    assert record["cut_by_deadline"]
    assert record["evaluations"] < 400


def test_what_compiled_code_makes_of_the_end_of_its_process_is_no_failure(
    begun: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: Any, **__: Any) -> None:
        try:
            raise SystemExit(-241)
        except SystemExit as end:
            raise SystemError("returned a result with an exception set") from end

    monkeypatch.setattr(stages, "refine", ended)
    with pytest.raises(SystemExit):
        refine(begun)
    assert begun.parts("run1", "failure") == {}


def test_what_is_done_is_not_done_again(begun: Store) -> None:
    refine(begun)
    attempts = begun.parts("run1", "attempt")
    refine(begun)
    stages.assignment(begun, PUZZLES, "run1", "cosine", 0)
    assert begun.parts("run1", "attempt") == attempts


@pytest.mark.parametrize("way", ["cancelled", "ended"])
def test_a_run_that_needs_nothing_more_is_not_worked_on(begun: Store, way: str) -> None:
    if way == "cancelled":
        begun.announce("run1", "cancelled")
    else:
        finish(begun, "run1", "timed_out", "as asked")
    refine(begun)
    assert begun.part("run1", "refinement", "cosine.s0") is None
    assert begun.part("run1", "attempt", PART) is None
