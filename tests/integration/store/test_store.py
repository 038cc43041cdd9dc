"""The store: one contract for both of its backends, and what only the one in Redis has to keep."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from config.settings import LONGEST_DEADLINE
from pairing.errors import InputError
from tasks.client.retrying import given_up
from tasks.contracts.errors import BrokerError, RecordError
from tasks.contracts.run_request import request_of
from tasks.puzzles.bundles import PACKED, ship
from tasks.runs.lifecycle import finish, run_entries_of, sweep
from tasks.store.backend import Backend
from tasks.store.memory import Memory
from tasks.store.redis import Redis
from tasks.store.run_store import COUNTS, KEYS, Store, part_name
from tasks.worker.metrics import FleetCollector

LIFETIME = 1000  # seconds


@pytest.fixture
def prefix(redis_url: str) -> Iterator[str]:
    """A key prefix that is this test's alone; its keys are removed afterwards."""
    own = f"test-{secrets.token_hex(6)}:"
    yield own
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(f"{own}*"):
            client.delete(key)


@pytest.fixture
def in_redis(redis_url: str, prefix: str) -> Redis:
    return Redis(redis_url, prefix, LIFETIME)


@pytest.fixture(params=["memory", "redis"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """An empty backend; the test runs once for each kind."""
    if request.param == "memory":
        return Memory()
    found: Redis = request.getfixturevalue("in_redis")
    return found


@pytest.fixture
def store(backend: Backend) -> Store:
    return Store(backend)


# --- the backends


def test_a_key_that_was_never_put_is_none(backend: Backend) -> None:
    assert backend.get("pairing.nothing") is None
    assert backend.fields("pairing.nothing") == {}


@pytest.mark.parametrize("value", [b"", b"value", bytes(range(256)), b"x" * 3_000_000])
def test_what_was_put_is_what_one_gets(backend: Backend, value: bytes) -> None:
    backend.put("pairing.key", value)
    assert backend.get("pairing.key") == value
    assert backend.get("pairing.ke") is None


def test_many_are_read_at_once(backend: Backend) -> None:
    backend.put("pairing.a", b"1")
    backend.put_field("pairing.hash", "x", b"2")
    assert backend.get_all(["pairing.none", "pairing.a"]) == [None, b"1"]
    assert backend.some_fields("pairing.hash", ["y", "x"]) == [None, b"2"]
    assert backend.fields_of_all(["pairing.none", "pairing.hash"]) == [{}, {"x": b"2"}]
    assert backend.get_all([]) == backend.some_fields("pairing.hash", []) == backend.fields_of_all([]) == []


def test_members_are_sorted_by_their_times(backend: Backend) -> None:
    backend.put_times("pairing.times", {"late": 30.0, "early": 10.5})
    backend.put_times("pairing.times", {"middle": 20.0, "moved": 99.0})
    backend.put_times("pairing.times", {"moved": 15.0})
    assert backend.until("pairing.times", 20.0) == ["early", "moved", "middle"]
    assert backend.latest("pairing.times", 2) == ["late", "middle"]
    backend.remove_time("pairing.times", "moved")
    backend.remove_time("pairing.times", "never there")
    assert backend.until("pairing.times", 1e12) == ["early", "middle", "late"]
    assert backend.until("pairing.none", 1e12) == backend.latest("pairing.none", 5) == []


def test_the_last_value_counts(backend: Backend) -> None:
    backend.put("pairing.key", b"first")
    backend.put("pairing.key", b"second")
    assert backend.get("pairing.key") == b"second"


def test_put_new_keeps_what_is_there(backend: Backend) -> None:
    assert backend.put_new("pairing.key", b"first")
    assert not backend.put_new("pairing.key", b"second")
    assert not backend.put_new("pairing.key", b"first")
    assert backend.get("pairing.key") == b"first"
    backend.put("pairing.other", b"put")
    assert not backend.put_new("pairing.other", b"new")
    assert backend.get("pairing.other") == b"put"


def test_a_field_is_swapped_only_where_it_is_what_it_was(backend: Backend) -> None:
    assert not backend.swap_field("pairing.hash", "a", b"1", b"2")
    assert backend.fields("pairing.hash") == {}
    assert backend.swap_field("pairing.hash", "a", None, b"1")
    assert not backend.swap_field("pairing.hash", "a", None, b"2")
    assert not backend.swap_field("pairing.hash", "a", b"2", b"3")
    assert not backend.swap_field("pairing.hash", "b", b"1", b"3")
    assert backend.swap_field("pairing.hash", "a", b"1", b"")
    assert backend.swap_field("pairing.hash", "a", b"", b"2")
    assert backend.fields("pairing.hash") == {"a": b"2"}


def test_of_many_who_change_a_part_at_once_nobody_is_overwritten(store: Store) -> None:
    def change(_: int) -> None:
        def count(record: dict[str, Any] | None) -> dict[str, Any]:
            return {"count": 1 + (record or {"count": 0})["count"], "progress": 0, "owner": "me"}

        store.change_part("run1", "attempt", "part", count)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(change, range(40)))
    assert store.part("run1", "attempt", "part") == {"count": 40, "progress": 0, "owner": "me"}


def test_of_many_who_put_new_at_once_one_wins(backend: Backend) -> None:
    start, won = threading.Barrier(8), []

    def put(number: int) -> None:
        start.wait(30)
        if backend.put_new("pairing.key", f"value {number}".encode()):
            won.append(number)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert backend.get("pairing.key") == f"value {won[0]}".encode()


def test_fields_are_kept_apart(backend: Backend) -> None:
    backend.put_field("pairing.hash", "a.s0", b"1")
    backend.put_field("pairing.hash", "b.s0", b"2")
    backend.put_field("pairing.hash", "a.s0", b"3")
    backend.put_field("pairing.other", "a.s0", b"4")
    assert backend.fields("pairing.hash") == {"a.s0": b"3", "b.s0": b"2"}
    assert backend.fields("pairing.other") == {"a.s0": b"4"}


def test_fields_that_one_gets_are_a_copy(backend: Backend) -> None:
    backend.put_field("pairing.hash", "a", b"1")
    backend.fields("pairing.hash")["b"] = b"2"
    assert backend.fields("pairing.hash") == {"a": b"1"}


def test_one_field_alone(backend: Backend) -> None:
    assert backend.field("pairing.hash", "a") is None
    backend.put_field("pairing.hash", "a", b"1")
    backend.put_field("pairing.hash", "b", b"2")
    assert backend.field("pairing.hash", "a") == b"1"
    backend.remove_field("pairing.hash", "a")
    backend.remove_field("pairing.hash", "a")
    backend.remove_field("pairing.other", "a")
    assert backend.fields("pairing.hash") == {"b": b"2"}


def test_fields_are_added_to(backend: Backend) -> None:
    backend.add_to_fields("pairing.hash", {"a": 2})
    backend.add_to_fields("pairing.hash", {"a": 3, "b": 2**40})
    assert backend.fields("pairing.hash") == {"a": b"5", "b": str(2**40).encode()}


def test_a_spoilt_count_hinders_nobody(backend: Backend, store: Store) -> None:
    for name, value in {"a": b"1" * 30, "b": b"x", "c": b"-1", "d": b"", "e": b"7"}.items():
        backend.put_field(COUNTS, name, value)
    assert store.counts() == {"e": 7}


def test_counting_what_somebody_has_spoilt_fails_no_work(in_redis: Redis) -> None:
    in_redis.put(COUNTS, b"no hash")
    Store(in_redis).count({"a": 1})


def test_what_was_removed_is_gone(backend: Backend) -> None:
    backend.put("pairing.key", b"1")
    backend.put("pairing.kept", b"1")
    backend.put_field("pairing.hash", "a", b"1")
    backend.remove("pairing.key", "pairing.hash", "pairing.nothing")
    assert backend.get("pairing.key") is None
    assert backend.fields("pairing.hash") == {}
    assert backend.get("pairing.kept") == b"1"


def test_renewing_says_whether_all_is_there(backend: Backend) -> None:
    backend.put("pairing.key", b"1")
    backend.put_field("pairing.hash", "a", b"1")
    assert backend.renew("pairing.key", "pairing.hash")
    assert not backend.renew("pairing.key", "pairing.nothing")


# --- what only Redis has


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    gone = Redis("redis://:a-secret@127.0.0.1:1/3")
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1, database 3 cannot be reached") as raised:
        gone.get("pairing.key")
    assert "a-secret" not in str(raised.value)


def test_a_wrong_password_is_said(redis_url: str) -> None:
    host = redis_url.rpartition("@")[2]
    with pytest.raises(BrokerError, match="refuses the password") as raised:
        Redis(f"redis://:not-this-one@{host}").get("pairing.key")
    assert "not-this-one" not in str(raised.value)


def test_forgetting_a_run_leaves_nothing_of_it(redis_url: str, in_redis: Redis, prefix: str) -> None:
    store = Store(in_redis)
    fill(store)
    store.put_new_record("run1", "end", {"end": "succeeded"})
    store.put_part("run1", "attempt", "trace.s0", {"count": 1})
    store.forget("run1")
    with redis.Redis.from_url(redis_url) as client:
        assert not list(client.scan_iter(f"{prefix}pairing.run.run1*"))
    assert store.run_entries() == []
    assert "matrices" in KEYS


def fill(store: Store) -> None:
    """Writes something of every kind."""
    bundle = ship(store.backend, {PACKED: b"a puzzle"}, "name", most_bytes=100, quota=100)
    store.put_similarity(bundle, "trace", np.eye(2), "run1")
    store.put_record("run1", "request", {"a": 1})
    store.put_published("run1")
    store.put_part("run1", "assignment", "trace", {"a": 1})
    store.put_checkpoint("run1", "trace.s0", {"a": 1})
    store.announce("run1", "cancelled")
    store.put_matrices("run1", b"npz")
    if store.run_entry("run1") is None:
        store.put_run_entry("run1", {"run": "run1", "deadline_at": 0.0, "enqueued_at": 0.0})


def known_run(store: Store, number: int, *, ended: bool) -> str:
    run = f"run{number}"
    entry = {"enqueued_at": float(number), "deadline_at": 1000.0 + number, "puzzle": "sha256:", "priority": "ordinary"}
    store.put_run_entry(run, {"run": run, "methods": ["trace"], "seeds": 1, "note": "", **entry})
    if ended:
        finish(store, run, "succeeded", exit_status=0)
    return run


def test_runs_are_found_by_what_they_need(store: Store) -> None:
    for number in range(6):
        known_run(store, number, ended=number % 2 == 0)
    assert [entry["run"] for entry in store.newest_entries(4)] == ["run5", "run4", "run3", "run2"]
    assert [entry["run"] for entry in store.open_entries()] == ["run5", "run3", "run1"]
    assert store.due(1002.0) == ["run0", "run1", "run2"]
    assert [entry["state"] for entry in run_entries_of(store, 3)] == ["queued", "succeeded", "queued"]
    store.forget("run5")
    assert [entry["run"] for entry in store.open_entries()] == ["run3", "run1"]
    assert [entry["run"] for entry in store.newest_entries(1)] == ["run4"]


def test_runs_of_the_version_before_are_found_too(backend: Backend) -> None:
    store = Store(backend)
    known_run(store, 1, ended=True)
    known_run(store, 2, ended=False)
    for run in ("run1", "run2"):
        for key in ("pairing.due", "pairing.enqueued", "pairing.open"):
            backend.remove_time(key, run)
    later = Store(backend)
    assert [entry["run"] for entry in later.open_entries()] == ["run2"]
    assert later.due(1e12) == ["run1", "run2"]


@pytest.mark.parametrize("look", ["sweep", "runs", "failed runs", "numbers"])
def test_what_is_done_all_the_time_costs_the_same_however_many_runs_are_known(
    in_redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    store, trips, costs = Store(in_redis), list[None](), list[int]()
    do = in_redis._do

    def counted(work: Callable[[Any], Any]) -> Any:
        trips.append(None)
        return do(work)

    monkeypatch.setattr(in_redis, "_do", counted)
    works: dict[str, Callable[[], object]] = {
        "sweep": lambda: sweep(store, lambda _: None, 1000.0, now=0.0),
        "runs": lambda: run_entries_of(store, 100),
        "failed runs": lambda: given_up(store, [entry["run"] for entry in run_entries_of(store, 100)]),
        "numbers": lambda: list(FleetCollector(store, dict, tmp_path).collect()),
    }
    for count in (5, 60):
        for number in range(count):
            known_run(store, number, ended=number % 2 == 0)
        store.due(0.0)
        trips.clear()
        works[look]()
        costs.append(len(trips))
    assert costs[0] == costs[1] <= 12


def test_every_key_has_the_prefix_and_then_our_name(redis_url: str, in_redis: Redis, prefix: str) -> None:
    fill(Store(in_redis))
    with redis.Redis.from_url(redis_url) as client:
        keys = [key.decode() for key in client.scan_iter(f"{prefix}*")]
        assert len(keys) == 14
        assert all(key.startswith(f"{prefix}pairing.") for key in keys)
        assert not client.keys("pairing.run.run1*")  # nothing without it


def test_every_key_has_a_lifetime(redis_url: str, in_redis: Redis, prefix: str) -> None:
    fill(Store(in_redis))
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(f"{prefix}*"):
            assert LIFETIME - 60 <= client.ttl(key) <= LIFETIME, key


def test_writing_again_renews_the_lifetime(redis_url: str, in_redis: Redis, prefix: str) -> None:
    in_redis.put("pairing.key", b"1")
    in_redis.put_field("pairing.hash", "a", b"1")
    with redis.Redis.from_url(redis_url) as client:
        for key in ("pairing.key", "pairing.hash"):
            client.expire(prefix + key, 10)
        in_redis.put("pairing.key", b"2")
        in_redis.put_field("pairing.hash", "b", b"2")
        for key in ("pairing.key", "pairing.hash"):
            assert client.ttl(prefix + key) > LIFETIME - 60


def test_all_of_a_run_is_kept_beyond_its_deadline(redis_url: str, in_redis: Redis, prefix: str) -> None:
    store, deadline = Store(in_redis), 10.0 * LIFETIME
    store.put_run_entry("run1", {"run": "run1", "deadline_at": time.time() + deadline, "enqueued_at": time.time()})
    for process in (store, Store(in_redis)):  # another one finds the deadline in the store
        fill(process)
        bundle = ship(in_redis, {PACKED: b"a puzzle"}, "name", lifetime=process.lifetime("run1"))
    shared = {f"{prefix}{key}" for key in (f"pairing.similarity.{bundle}.trace", "pairing.runs", "pairing.bundles")}
    with redis.Redis.from_url(redis_url) as client:
        shared |= {key.decode() for key in client.scan_iter(f"{prefix}pairing.bundle.*")}
        keys = {key.decode() for key in client.scan_iter(f"{prefix}*")}
        assert shared < keys
        for _ in range(2):
            for key in keys:
                assert client.ttl(key) > deadline + LIFETIME - 60, key
            # A run of the same puzzle that takes a minute costs the other nothing.
            ship(in_redis, {PACKED: b"a puzzle"}, "name")
            store.put_run_entry("run2", {"run": "run2"})
            store.put_similarity(bundle, "trace", np.eye(2), "run2")
            keys = shared


def test_a_chord_outlives_the_longest_deadline() -> None:
    from config import celeryconfig

    assert celeryconfig.result_chord_expires >= LONGEST_DEADLINE + 86_400
    with pytest.raises(InputError, match="deadline"):
        request_of({"run": "run1", "puzzle": "sha256:0", "deadline": LONGEST_DEADLINE + 1})


def test_prefixes_keep_fleets_apart(redis_url: str, in_redis: Redis, prefix: str) -> None:
    other = Redis(redis_url, f"{prefix}other:", LIFETIME)
    in_redis.put("pairing.key", b"ours")
    in_redis.put_field("pairing.hash", "a", b"ours")
    assert other.get("pairing.key") is None
    assert other.fields("pairing.hash") == {}
    assert other.put_new("pairing.key", b"theirs")
    assert in_redis.get("pairing.key") == b"ours"


def test_another_process_sees_what_was_put(redis_url: str, in_redis: Redis, prefix: str) -> None:
    Store(in_redis).put_record("run1", "plan", {"pool_best": None})
    assert Store(Redis(redis_url, prefix, LIFETIME)).record("run1", "plan") == {"pool_best": None}


# --- the store


def test_a_record_comes_back(store: Store) -> None:
    record = {"text": "ünï", "none": None, "list": [1, 2.5, True], "nested": {"error": 1e-14, "tiny": 5e-324}}
    store.put_record("run1", "plan", record)
    assert store.record("run1", "plan") == record
    assert store.record("run1", "summary") is None
    assert store.record("run2", "plan") is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_record_with_a_number_that_json_has_not_is_refused(store: Store, value: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        store.put_record("run1", "plan", {"error": value})
    with pytest.raises(ValueError, match="JSON compliant"):
        store.put_part("run1", "refinement", "trace.s0", {"error": value})


def test_parts_come_back_by_kind_and_name(store: Store) -> None:
    store.put_part("run1", "failure", part_name("trace", 0), {"error": "no"})
    store.put_part("run1", "failure", part_name("trace", 1), {"error": "neither"})
    store.put_part("run1", "checkpoint", "cosine.s0", {"evaluations": 3})
    assert store.parts("run1", "failure") == {"trace.s0": {"error": "no"}, "trace.s1": {"error": "neither"}}
    assert store.parts("run1", "checkpoint") == {"cosine.s0": {"evaluations": 3}}
    assert store.parts("run1", "assignment") == {}
    assert store.parts("run2", "failure") == {}


def test_a_checkpoint_comes_back_to_the_bit(store: Store) -> None:
    rng = np.random.default_rng(7)
    rng.normal(size=3)
    state = {
        "evaluations": 5,
        "order": [2, 0, 1],
        "error": 0.1 + 0.2,
        "unknown": float("nan"),  # a search that has not priced anything yet
        "infinite": float("inf"),
        "rng": rng.bit_generator.state,
    }
    assert store.checkpoint("run1", "trace.s0") is None
    store.put_checkpoint("run1", "trace.s0", state)
    found = store.checkpoint("run1", "trace.s0")
    assert found is not None
    assert json.dumps(found) == json.dumps(state)
    again = np.random.default_rng()
    again.bit_generator.state = found["rng"]
    assert again.integers(0, 2**62) == rng.integers(0, 2**62)
    assert store.checkpoint("run1", "trace.s1") is None


def test_a_canvas_is_claimed_once_and_published_when_that_has_been_noted(store: Store) -> None:
    assert store.claim_for("run1", "published", 60)
    assert not store.claim_for("run1", "published", 60)
    assert store.claim_for("run2", "published", 60)
    assert not store.is_published("run1")
    store.put_published("run1")
    assert store.is_published("run1")
    assert not store.is_published("run2")


def test_the_first_reason_to_stop_stays(store: Store) -> None:
    assert store.announced("run1") is None
    store.announce("run1", "solved_elsewhere")
    store.announce("run1", "cancelled")
    assert store.announced("run1") == "solved_elsewhere"
    assert store.announced("run2") is None


@pytest.mark.parametrize("blocks", [1, 48])
def test_a_matrix_comes_back_to_the_bit(store: Store, blocks: int) -> None:
    matrix = np.random.default_rng(1).normal(size=(blocks, blocks)) * 1e-300
    bundle = f"sha256:{'1' * 64}"
    assert store.similarity(bundle, "trace") is None
    store.put_similarity(bundle, "trace", matrix, "run1")
    found = store.similarity(bundle, "trace")
    assert found is not None
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, matrix)
    assert store.similarity(bundle, "cosine") is None
    assert store.similarity(f"sha256:{'2' * 64}", "trace") is None


def test_a_matrix_that_is_no_matrix_but_a_pickle_is_refused(backend: Backend, store: Store) -> None:
    bundle = f"sha256:{'1' * 64}"
    backend.put(f"pairing.similarity.{bundle}.trace", b"\x80\x04\x95pickled")
    with pytest.raises(RecordError, match=r"pairing\.similarity.*not a similarity matrix"):
        store.similarity(bundle, "trace")


def test_the_archive_of_matrices_comes_back(store: Store) -> None:
    assert store.matrices("run1") is None
    store.put_matrices("run1", b"PK\x03\x04 npz")
    assert store.matrices("run1") == b"PK\x03\x04 npz"
    assert store.matrices("run2") is None
