"""A store that somebody else has written to: a clear error of that method or run, and nothing is unpickled."""

from __future__ import annotations

import io
import json
import pickle
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from celery.exceptions import Ignore, Reject, Retry
from kombu.exceptions import OperationalError

from pairing.errors import InputError, PairingError
from pairing.io.packed import pack_puzzle
from pairing.model.puzzle import Puzzle
from pairing.search import driver
from pairing.search.refine import refine
from tasks.contracts.errors import BrokerError, RecordError
from tasks.pool.location import PoolAddress
from tasks.puzzles.bundles import PACKED, ship
from tasks.puzzles.resolver import Puzzles
from tasks.runs.lifecycle import run_entries_of, sweep
from tasks.store.memory import Memory
from tasks.store.redis import Redis
from tasks.store.run_store import RUNS, Store
from tasks.worker import canvas, celery_tasks
from tests.hostile.damages import CASES, SEED, generator
from tests.hostile.traps import Trap
from tests.support.puzzles import plant

METHOD = "cosine"
PART = f"{METHOD}.s0"
DIGEST = f"sha256:{'0' * 64}"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    backend = Memory()
    store = Store(backend)
    puzzle = plant(3, blocks=4, rows=50, known=False).puzzle
    bundle = ship(backend, {PACKED: pack_puzzle(puzzle)}, "test")
    puzzles = Puzzles(cache_dir=tmp_path / "cache", cache_bytes=2**30)
    monkeypatch.setattr(celery_tasks, "store", lambda: store)
    monkeypatch.setattr(celery_tasks, "puzzles", lambda: puzzles)
    monkeypatch.setattr(celery_tasks, "pool_address", lambda: PoolAddress(data_dir=tmp_path / "data"))
    monkeypatch.setattr(celery_tasks, "HAND_BACK_SECONDS", 0.0)
    monkeypatch.setattr(canvas, "publish", lambda *_: None)
    monkeypatch.setattr(celery_tasks, "has_backlog", lambda: False)  # it asks the broker, which there is none of
    for name in ("CHECKPOINT_SECONDS", "PROGRESS_SECONDS", "POLL_SECONDS"):
        monkeypatch.setattr(driver, name, 0.0)
    yield Run(store, backend, bundle, puzzle)
    assert not (tmp_path / "sprung").exists()


class Run:
    """A run of one method, task by task as a worker would do them."""

    def __init__(self, store: Store, backend: Memory, bundle: str, puzzle: Puzzle) -> None:
        self.store, self.backend, self.bundle, self.puzzle = store, backend, bundle, puzzle

    def tasks(self) -> list[Callable[..., object]]:
        asked = {"puzzle": self.bundle, "methods": [METHOD, "trace"], "evaluations": 10, "compare": True}
        stages = (celery_tasks.similarity, celery_tasks.assignment, celery_tasks.refinement)
        parts = [partial(stage.apply, args=["run1", method, 0]) for method in (METHOD, "trace") for stage in stages]
        first = partial(celery_tasks.run.apply, kwargs=asked, task_id="run1")
        return [first, *parts, partial(celery_tasks.comparison.apply, args=["run1"])]

    def go(self, harm: Callable[[], object] = lambda: None, before: int = -1) -> None:
        """Does all tasks; ``harm`` comes before one of them. An error has to be one for people."""
        for number, task in enumerate(self.tasks()):
            if number == before:
                harm()
            with suppress(PairingError, Ignore, Reject, Retry):
                task(throw=True)

    def ended(self) -> dict[str, Any]:
        found = self.store.record("run1", "end")
        assert found is not None, "the run has no end"
        return found

    def methods(self) -> dict[str, dict[str, Any]]:
        return {found["method"]: found for found in (self.store.record("run1", "summary") or {})["methods"]}


def test_an_undisturbed_run_succeeds(run: Run) -> None:
    run.go()
    assert run.ended()["end"] == "succeeded"
    assert all(found["ok"] for found in run.methods().values())


def garbage(tmp_path: Path) -> list[bytes]:
    """Bytes that are no record."""
    npz, objects = io.BytesIO(), io.BytesIO()
    trap = np.array([Trap(tmp_path / "sprung")], dtype=object)
    np.savez(npz, a=trap, allow_pickle=True)
    np.save(objects, trap, allow_pickle=True)
    texts = ["", "garbage", "null", "[]", "3", '"text"', "{}", "{", '{"a": NaN}', "[" * 100_000, '{"a":' * 100_000]
    pickled = [pickle.dumps(Trap(tmp_path / "sprung"), protocol) for protocol in (0, 2, 5)]
    return [*(text.encode() for text in texts), b"\xff\xfe", bytes(100), npz.getvalue(), objects.getvalue(), *pickled]


MOMENTS = (1, 3, 7)
"""Before which task the store is spoilt: the first similarity, the first refinement, the comparison."""

KEYS = ["request", "plan", "end", "stop", "summary", "outcome", "matrices"]
HASHES = {
    "assignment": METHOD,
    "refinement": PART,
    "progress": PART,
    "failure": METHOD,
    "times": f"similarity.{METHOD}",
    "checkpoint": PART,
    "attempt": f"refinement.{PART}",
}


def spoil(run: Run, kind: str, value: bytes) -> None:
    """Puts bytes where the store has something of that kind."""
    if kind == "entry":
        run.backend.put_field(RUNS, "run1", value)
    elif kind == "registry":
        run.backend.put_field("pairing.bundles", "x", value)
    elif kind in HASHES:
        run.backend.put_field(f"pairing.run.run1.{kind}", HASHES[kind], value)
    elif kind in KEYS:
        run.backend.put(f"pairing.run.run1.{kind}", value)
    else:
        run.backend.put(f"pairing.{kind}.{run.bundle}" + (f".{METHOD}" if kind == "similarity" else ""), value)


@pytest.mark.parametrize("kind", [*KEYS, *HASHES, "entry", "similarity", "bundle", "registry"])
def test_garbage_in_the_store_ends_in_words(kind: str, run: Run, tmp_path: Path) -> None:
    rng = generator(f"garbage {kind}", SEED, 0)
    values = garbage(tmp_path)
    for case, value in enumerate(values[int(k)] for k in rng.permutation(len(values))[: CASES // 2]):
        run.store.forget("run1")
        run.go(partial(spoil, run, kind, value), MOMENTS[case % len(MOMENTS)])
        if kind != "end":
            run.ended()
        if kind in HASHES and kind != "failure":
            assert run.methods()["trace"]["ok"], "one method has cost another its result"
        run_entries_of(run.store, 10)
        sweep(run.store, lambda _: None, 1000.0)
        run.backend.remove(f"pairing.similarity.{run.bundle}.{METHOD}")
        ship(run.backend, {PACKED: pack_puzzle(run.puzzle)}, "test")


WRONG: list[Any] = [None, -1, 1e308, 2**70, "x", [], {}, True, [0], [[0]], [1, 1, 2, 3], "\x1b[2J", {"a": 1}]


def paths_of(record: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(record, dict | list):
        for key in record if isinstance(record, dict) else range(len(record)):
            yield from paths_of(record[key], (*path, key))


def replaced(record: Any, path: tuple[Any, ...], value: Any) -> Any:
    copy = json.loads(json.dumps(record))
    place = copy
    for key in path[:-1]:
        place = place[key]
    if value == "gone" and isinstance(place, dict):
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return copy


@pytest.mark.parametrize("kind", ["request", "plan", *(kind for kind in HASHES if kind != "failure")])
def test_a_record_with_something_wrong_in_it_ends_in_words(kind: str, run: Run) -> None:
    rng = generator(f"wrong {kind}", SEED, 0)
    run.go()
    field = HASHES.get(kind)
    sound = run.store.part("run1", kind, field) if field else run.store.record("run1", kind)
    assert sound is not None
    paths = list(paths_of(sound))

    def change() -> None:
        path = paths[int(rng.integers(len(paths)))]
        value = [*WRONG, "gone"][int(rng.integers(len(WRONG) + 1))]
        spoil(run, kind, json.dumps(replaced(sound, path, value)).encode())

    for case in range(CASES // 2):
        run.store.forget("run1")
        run.go(change, MOMENTS[case % len(MOMENTS)])
        run.ended()
        run_entries_of(run.store, 10)


@pytest.mark.parametrize(
    "matrix",
    [np.eye(3), np.eye(5), np.ones((4, 3)), np.ones(4), np.ones(()), np.eye(4, dtype=np.float32), np.eye(4, dtype=int)]
    + [np.full((4, 4), value) for value in (np.nan, np.inf, -np.inf)]
    + [np.zeros((4, 4), dtype="U3"), np.zeros((4, 4), [("a", "f8")])],
    ids=lambda matrix: f"{matrix.dtype} {matrix.shape} {matrix.flat[0]}",
)
def test_a_matrix_that_is_none_fails_its_method_alone(matrix: np.ndarray, run: Run) -> None:
    content = io.BytesIO()
    np.save(content, matrix)
    run.go(lambda: run.backend.put(f"pairing.similarity.{run.bundle}.{METHOD}", content.getvalue()), before=2)
    methods = run.methods()
    assert not methods[METHOD]["ok"]
    assert "in the store" in methods[METHOD]["error"]
    assert methods["trace"]["ok"]


def test_a_matrix_that_claims_to_be_huge_is_refused(run: Run) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (4000000, 4000000), }"
    content = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n" + bytes(128)
    run.go(lambda: run.backend.put(f"pairing.similarity.{run.bundle}.{METHOD}", content), before=2)
    assert "in the store" in run.methods()[METHOD]["error"]


def test_a_result_that_says_more_than_it_is_worth_is_no_winner(run: Run) -> None:
    def boast() -> None:
        found = run.store.part("run1", "refinement", PART)
        assert found
        found["solution"]["full_mse"] = 0.0
        found["solution"]["inp_sigma"].reverse()
        run.store.put_part("run1", "refinement", PART, found)

    run.go(boast, before=7)
    assert "somebody else has changed it" in run.methods()[METHOD]["error"]
    inserted = (run.store.record("run1", "summary") or {})["pool"]["inserted"]
    assert METHOD not in {row["method"] for row in inserted}


def test_a_checkpoint_of_another_refinement_fails_the_method(run: Run) -> None:
    saved: list[dict[str, Any]] = []
    other = plant(4, blocks=5, rows=50, known=False)
    hooks = driver.Hooks(checkpoint=saved.append)
    limits = driver.Limits(evaluations=40, until_solved=False)
    refine(other.puzzle, other.pairs, start="random", limits=limits, hooks=hooks)
    run.go(lambda: run.store.put_checkpoint("run1", PART, saved[-1]), before=3)
    assert "checkpoint" in run.methods()[METHOD]["error"]
    assert run.methods()["trace"]["ok"]


@pytest.mark.parametrize(
    "arguments",
    [[], ["run1"], [7, METHOD, 0], ["run1", {}, 0], ["run1", METHOD, "0"], ["../x", METHOD, 0], ["run1", METHOD, -1]],
)
def test_a_part_with_wrong_arguments_is_refused(arguments: list[Any], run: Run) -> None:
    with pytest.raises((InputError, TypeError)):
        celery_tasks.refinement.apply(args=arguments, throw=True)
    assert run.backend.fields("pairing.run.run1.failure") == {}


def test_a_forged_protocol_holds_no_task_for_ever(run: Run) -> None:
    def forge() -> None:
        request = run.store.record("run1", "request")
        run.store.put_record("run1", "request", {**(request or {}), "protocol": 10**6})

    run.go(forge, before=1)
    assert run.store.record("run1", "end") is None
    sweep(run.store, lambda _: None, 1e10, now=2e9)  # it is compared first, and given up where that does not help
    assert run.store.record("run1", "end") is None
    sweep(run.store, lambda _: None, 1e5, now=2e9)
    assert run.ended()["end"] == "timed_out"
    assert celery_tasks.similarity.apply(args=["run1", METHOD, 0]).state == "IGNORED"


def test_only_json_is_taken_from_the_wire() -> None:
    assert celery_tasks.app.conf.accept_content == ["json"]
    assert celery_tasks.app.conf.result_accept_content == ["json"]


@pytest.mark.parametrize("kind", [*KEYS, *HASHES, "entry"])
def test_a_key_of_another_type_is_named(kind: str, redis_url: str) -> None:
    prefix = f"test-{secrets.token_hex(6)}:"
    store = Store(Redis(redis_url, prefix))
    key = RUNS if kind == "entry" else f"pairing.run.run1.{kind}"
    with redis.Redis.from_url(redis_url) as client:
        client.rpush(prefix + key, b"a list")
        try:
            with pytest.raises(RecordError, match="somebody else"):
                read(store, kind)
            if kind in HASHES:
                client.delete(prefix + key)
                client.hset(prefix + key, b"\xff\xfe", b"not UTF-8")
                assert store.parts("run1", kind) == {}
        finally:
            client.delete(prefix + key)


def read(store: Store, kind: str) -> object:
    if kind == "entry":
        return store.run_entries()
    if kind in HASHES:
        return store.part("run1", kind, HASHES[kind])
    if kind == "stop":
        return store.announced("run1")
    return store.matrices("run1") if kind == "matrices" else store.record("run1", kind)


def test_a_run_that_is_changed_before_it_is_published_ends_with_that(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def forge(*_: object) -> bool:
        run.backend.put("pairing.run.run1.request", b"forged")
        return True

    monkeypatch.setattr(Store, "claim_for", forge)
    run.go()
    ended = run.store.record("run1", "end")
    assert ended is not None
    assert ended["end"] == "failed"
    assert "somebody else has changed it" in ended["error"]


@pytest.mark.parametrize("error", [BrokerError("away"), OperationalError("away")])
def test_a_run_that_cannot_be_published_now_is_put_back(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(canvas, "publish", refuse)
    ended: Any = run.tasks()[0]()
    assert ended.state == "REJECTED"
    assert run.store.record("run1", "end") is None
