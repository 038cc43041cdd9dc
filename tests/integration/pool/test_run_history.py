"""Ended runs on record: in PostgreSQL and SQLite, whatever people write in notes, and no run's trouble."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tasks.contracts.errors import PoolError
from tasks.contracts.run_request import request_of
from tasks.pool.history import RecordedRun, forget_runs, record, recorded_run, recorded_runs
from tasks.pool.location import PoolAddress, opened
from tasks.runs.lifecycle import end_record, finish, register
from tasks.runs.recording import forget_old, read_facts, record_compared, record_ended
from tasks.store.memory import Memory
from tasks.store.run_store import Store
from tests.support.pools import PoolDatabase, PostgresPoolDatabase

RUN = RecordedRun(
    run="one", puzzle="", state="failed", note="", best_mse=None, enqueued_at=1.0, ended_at=2.0, facts="{}"
)


def changed(**values: object) -> RecordedRun:
    return RecordedRun(**{**vars(RUN), **values})  # type: ignore[arg-type]


@pytest.fixture
def address(tmp_path: Path) -> PoolAddress:
    return PoolAddress(data_dir=tmp_path)


def on_record(address: PoolAddress) -> list[RecordedRun]:
    with opened(address, address.history_url, read_only=True) as pool:
        return recorded_runs(pool, 10)


def test_a_run_is_recorded_once_as_it_ended_last(any_pool: PoolDatabase) -> None:
    with any_pool.open() as pool:
        record(pool, RUN)
        record(pool, changed(state="succeeded", best_mse=0.5, note="it\0's ü"))
        assert recorded_run(pool, "one") == changed(state="succeeded", best_mse=0.5, note="it?'s ü")
        assert recorded_run(pool, "two") is None


def test_runs_are_found_by_what_they_say_and_when_they_ended(any_pool: PoolDatabase) -> None:
    with any_pool.open() as pool:
        for number in range(5):
            record(pool, changed(run=f"run{number}", ended_at=float(number), note=f"100% of {number}_"))
        assert [run.run for run in recorded_runs(pool, 2)] == ["run4", "run3"]
        assert [run.run for run in recorded_runs(pool, 9, before=2.0)] == ["run1", "run0"]
        assert [run.run for run in recorded_runs(pool, 9, "% OF 3_")] == ["run3"]
        assert recorded_runs(pool, 9, "_%") == []
        assert forget_runs(pool, 3.0) == 3
        assert [run.run for run in recorded_runs(pool, 9)] == ["run4", "run3"]


def test_a_role_without_the_right_records_nothing_and_stores_solutions(postgres_pool: PostgresPoolDatabase) -> None:
    with postgres_pool.open() as pool:
        record(pool, RUN)
    postgres_pool.become_guest()
    with postgres_pool.open() as pool:
        assert not pool.keeps_history
        record(pool, changed(run="two"))
        assert forget_runs(pool, 9.0) == 0
        assert recorded_runs(pool, 9) == []


# --- when runs end


def known_run(**asked: object) -> Store:
    store = Store(Memory())
    register(store, request_of({"run": "one", "puzzle": f"sha256:{'0' * 64}", "note": "as noted", **asked}))
    return store


def test_however_a_run_ends_it_is_put_on_record(address: PoolAddress) -> None:
    store = known_run()
    record_ended(store, address)
    assert on_record(address) == []
    finish(store, "one", "cancelled", "before it was planned", 4)
    record_ended(store, address)
    (found,) = on_record(address)
    facts = read_facts(found)
    assert facts is not None
    assert (facts.run, facts.state, facts.error, facts.note) == (
        "one",
        "cancelled",
        "before it was planned",
        "as noted",
    )
    assert store.unrecorded() == []


def test_a_compared_run_is_on_record_before_it_ends(address: PoolAddress) -> None:
    store, found = known_run(), {"best_mse": 0.5, "best_method": "a", "solved": True, "parts": 1, "parts_ended": 1}
    assert record_compared(store, address, "one", end_record("succeeded", None, 0, found))
    assert [(run.state, run.best_mse) for run in on_record(address)] == [("succeeded", 0.5)]
    finish(store, "one", "succeeded", None, 0, found, recorded=True)
    assert store.unrecorded() == []


def test_a_database_that_is_away_costs_no_run_its_end(tmp_path: Path) -> None:
    away = PoolAddress(url=f"sqlite:///{tmp_path}", data_dir=tmp_path)
    store = known_run()
    assert not record_compared(store, away, "one", end_record("succeeded", None, 0, None))
    finish(store, "one", "succeeded", exit_status=0)
    with pytest.raises(PoolError):
        record_ended(store, away)
    assert store.unrecorded() == ["one"]
    back = PoolAddress(data_dir=tmp_path)
    record_ended(store, back)
    assert [run.run for run in on_record(back)] == ["one"]


def test_nothing_is_recorded_where_that_is_switched_off_and_what_is_old_is_forgotten(tmp_path: Path) -> None:
    store, off = known_run(), PoolAddress(data_dir=tmp_path, history_days=0)
    finish(store, "one", "failed")
    record_ended(store, off)
    assert store.unrecorded() == on_record(off) == []
    keeping = PoolAddress(data_dir=tmp_path, history_days=2)
    with opened(keeping, keeping.history_url) as pool:
        record(pool, changed(run="old", ended_at=time.time() - 3 * 86_400))
        record(pool, changed(run="new", ended_at=time.time() - 86_400))
    forget_old(off)
    assert len(on_record(off)) == 2
    forget_old(keeping)
    assert [run.run for run in on_record(keeping)] == ["new"]


@pytest.mark.parametrize("facts", ["", "{", "[]", '{"run": "two", "state": "failed", "enqueued_at": 1.0}'])
def test_a_damaged_record_is_passed_over(facts: str) -> None:
    assert read_facts(changed(facts=facts)) is None
