"""The whole canvas: real prefork workers on a real broker, with methods that fail in every way."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from pairing.solution import solution_of
from tasks.contracts.run_request import Request, new_run_id
from tasks.pool.location import PoolAddress, opened
from tasks.pool.repository import Winner
from tasks.runs.attempts import MOST_ATTEMPTS
from tasks.runs.outcome import exit_status
from tasks.worker.canvas import publish
from tests.support.fleet import Fleet, running_fleet, variant, wait_for
from tests.support.pools import provenance
from tests.support.puzzles import Planted, plant


@pytest.fixture(scope="module")
def fleet(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One fleet for all tests of this file; each run has a puzzle, and so a pool, of its own."""
    with running_fleet(redis_url, tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


def by_method(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {record["method"]: record for record in summary["methods"]}


def status_of(fleet: Fleet, run: str) -> int:
    summary, outcome = fleet.store.record(run, "summary"), fleet.store.record(run, "outcome")
    assert summary
    assert outcome
    return exit_status(summary, outcome)


def remember_answer(fleet: Fleet, planted: Planted) -> None:
    """Puts the answer into the pool that the fleet has for this puzzle."""
    puzzle = planted.puzzle
    address = PoolAddress(data_dir=fleet.data_dir)
    found = solution_of(puzzle, planted.inp_sigma, planted.out_sigma, 1e-14)
    winner = Winner(
        worker="somebody@elsewhere",
        full_mse=found.full_mse,
        inp_sigma=found.inp_sigma,
        out_sigma=found.out_sigma,
        permutation=found.permutation,
        hash=found.hash,
        hash_match=True,
    )
    with opened(address, address.url_for(puzzle)) as pool:
        assert pool.insert(winner, provenance(puzzle=puzzle.digest)).new


STAGES = ("similarity", "assignment", "refinement")


def test_three_methods_with_two_seeds_each(fleet: Fleet) -> None:
    request = fleet.enqueue(variant(1499), ["trace", "norm_balance", "cosine"], seeds=2, first_seed=5, note="a note")
    run = request.run
    summary = fleet.summary(run)
    fleet.wait_until_succeeded(f"{run}.comparison")

    assert summary["solved"]
    assert summary["best"]["hash_match"]
    assert {(m["method"], m["seed"]) for m in summary["methods"]} == set(request.parts)
    assert {seed for _, seed in request.parts} == {5, 6}
    assert all(m["ok"] and m["error"] is None for m in summary["methods"])
    assert status_of(fleet, run) == 0
    assert fleet.store.matrices(run)

    parts = [f"{run}.{method}.s{seed}.{stage}" for method, seed in request.parts for stage in STAGES]
    received = fleet.received(run)
    assert sorted(received) == sorted([run, *parts, f"{run}.comparison"])
    assert {event["root_id"] for event in received.values()} == {run}
    assert {event["uuid"]: event["name"] for event in received.values()} == {
        run: "pairing.run",
        f"{run}.comparison": "pairing.comparison",
        **{part: f"pairing.{part.rpartition('.')[2]}" for part in parts},
    }
    # Each task ran once, and says so under its id.
    assert all(len(fleet.happened("task-started", task)) == 1 for task in received)
    states = {task: fleet.app.backend.get_task_meta(task)["status"] for task in parts}
    assert set(states.values()) == {"SUCCESS"}


def test_messages_carry_no_data(fleet: Fleet) -> None:
    request = fleet.enqueue(variant(1498), ["trace"])
    fleet.summary(request.run)
    fleet.wait_until_succeeded(f"{request.run}.comparison")
    run = request.run
    arguments = {e["name"]: list(ast.literal_eval(e["args"])) for e in fleet.received(run).values()}
    assert arguments == {
        "pairing.run": [],
        "pairing.similarity": [run, "trace", 0],
        "pairing.assignment": [run, "trace", 0],
        "pairing.refinement": [run, "trace", 0],
        "pairing.comparison": [run],
    }


def test_a_method_that_raises_fails_and_the_others_are_compared(fleet: Fleet) -> None:
    request = fleet.enqueue(variant(1497), ["raises", "wrong_shape", "trace", "norm_balance"])
    summary = fleet.summary(request.run)
    methods = by_method(summary)
    assert summary["solved"]
    assert methods["trace"]["ok"]
    assert methods["norm_balance"]["ok"]
    assert "method 'raises' failed: RuntimeError: as asked" in methods["raises"]["error"]
    assert "shape (11, 12)" in methods["wrong_shape"]["error"]
    for name in ("raises", "wrong_shape"):
        assert not methods[name]["ok"]
        assert methods[name]["stopped"] == "failed"
        assert methods[name]["full_mse"] is None
    assert [m["method"] for m in summary["methods"]][2:] == ["raises", "wrong_shape"]
    assert status_of(fleet, request.run) == 0


def test_a_run_whose_methods_all_fail_ends_at_once(fleet: Fleet) -> None:
    request = fleet.enqueue(variant(1496), ["raises", "wrong_shape"], seeds=2)
    summary = fleet.summary(request.run, 30)
    assert summary["best"] is None
    assert not summary["solved"]
    assert summary["pool"] == {"best_before": None, "best_after": None, "inserted": [], "stored_later": []}
    assert status_of(fleet, request.run) == 5


def test_a_method_that_kills_its_worker_costs_the_others_nothing(fleet: Fleet) -> None:
    request = fleet.enqueue(variant(1495), ["trace", "kills_worker", "norm_balance"], deadline=60)
    summary = fleet.summary(request.run, 45)
    methods = by_method(summary)
    assert summary["solved"]
    assert methods["trace"]["ok"]
    assert methods["norm_balance"]["ok"]
    assert not methods["kills_worker"]["ok"]
    assert "3 attempts were lost without progress" in methods["kills_worker"]["error"]
    assert summary["best"]["full_mse"] in [row["full_mse"] for row in summary["pool"]["inserted"]]
    assert time.time() < request.deadline_at
    fleet.wait_until_succeeded(f"{request.run}.comparison")
    # Tried three times, since a lost worker may be nobody's fault; then the method has failed and the chain goes on.
    tries = fleet.happened("task-started", f"{request.run}.kills_worker.s0.similarity")
    assert len(tries) == MOST_ATTEMPTS + 1


def test_a_run_that_is_enqueued_twice_is_published_once(fleet: Fleet) -> None:
    request = fleet.enqueue(variant(1493), ["trace", "norm_balance"])
    fleet.send(request)
    summary = fleet.summary(request.run)
    fleet.send(request)  # and once more when it has ended
    wait_for("three times pairing.run", lambda: len(fleet.happened("task-succeeded", request.run)) == 3)
    fleet.wait_until_succeeded(f"{request.run}.comparison")

    # Whatever the later two had published would be in a queue or started by now: a run after them sees to that.
    after = fleet.enqueue(variant(1492), ["trace"])
    fleet.wait_until_succeeded(f"{after.run}.comparison")
    parts = [f"{request.run}.{method}.s0.{stage}" for method in request.methods for stage in STAGES]
    for task in [*parts, f"{request.run}.comparison"]:
        assert len(fleet.happened("task-received", task)) == 1, task
    assert fleet.store.record(request.run, "summary") == summary
    plan = fleet.store.record(request.run, "plan")
    assert plan
    assert plan["pool_best"] is None  # what was there before the run, also when it is planned again


def test_what_is_published_twice_is_counted_in_one_chord(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each publication would count for itself, and none would come to an end where both have done parts."""
    app = Celery("canvas", broker="memory://", backend="cache+memory://")
    sizes = list[tuple[str, int]]()
    monkeypatch.setattr(app.backend, "set_chord_size", lambda group, size: sizes.append((group, size)))
    request = Request(run=new_run_id(), puzzle="puzzle", methods=["trace", "svd"])
    for tries in (0, 0, 1):
        publish(app, request, tries=tries)
    assert sizes == [(f"{request.run}.parts", 2)] * 2 + [(f"{request.run}.parts.1", 2)]


def test_a_solved_run_stops_the_rest_within_two_seconds(fleet: Fleet) -> None:
    planted = plant(1, blocks=48, width=24, hidden=32, rows=2000, scale=0.3)
    remember_answer(fleet, planted)
    request = fleet.enqueue(planted.puzzle, ["at_the_gate", "cosine"], budget=600, deadline=900)
    run, store = request.run, fleet.store

    def show(part: str) -> dict[str, Any] | None:
        return store.parts(run, "refinement").get(part)

    # `cosine` is in the middle of what takes half a minute or more when the other one comes to the answer.
    wait_for("cosine's progress", lambda: store.parts(run, "progress").get("cosine.s0"))
    fleet.open_gate(planted.pairs)
    wait_for("the announcement", lambda: store.announced(run))
    announced = time.monotonic()
    stopped = wait_for("the end of cosine", lambda: show("cosine.s0"))
    assert time.monotonic() - announced < 2
    assert stopped["stopped"] == "solved_elsewhere"

    summary = fleet.summary(run)
    methods = by_method(summary)
    assert methods["at_the_gate"]["stopped"] == "solved"
    assert methods["at_the_gate"]["start"] == "pool"
    assert methods["cosine"]["ok"]
    assert methods["cosine"]["full_mse"] <= methods["cosine"]["start_mse"]
    assert [m["method"] for m in summary["methods"]] == ["at_the_gate", "cosine"]
    assert summary["pool"]["inserted"] == []  # it was there before
    assert summary["solved"]
    assert status_of(fleet, run) == 0


def test_nobody_is_stopped_where_that_is_asked_for(fleet: Fleet) -> None:
    request = fleet.enqueue(variant(1490), ["trace", "cosine"], budget=3, stop_when_solved=False, repair=False)
    methods = by_method(fleet.summary(request.run))
    assert methods["trace"]["stopped"] == "solved"
    assert methods["cosine"]["stopped"] in ("budget", "converged")
    assert fleet.store.announced(request.run) is None


def test_nothing_is_left_in_the_queues(fleet: Fleet) -> None:
    import redis

    with redis.Redis.from_url(fleet.url) as client:

        def waiting() -> dict[str, int]:
            keys = [f"{fleet.prefix}{name}" for name in ("pairing.pool", "pairing.numbers", "pairing.refine")]
            return {key: client.llen(key) for key in keys} | {"unacked": client.hlen(f"{fleet.prefix}unacked")}

        wait_for("empty queues", lambda: not any(waiting().values()))
        # Nobody wrote outside of the fleet's prefix.
        assert not list(client.scan_iter("pairing.*"))
        assert not list(client.scan_iter("_kombu.*"))
        assert not list(client.scan_iter("celery*"))


def test_the_data_is_where_the_setting_says(fleet: Fleet) -> None:
    pools: list[Path] = list((fleet.data_dir / "pools").glob("*.sqlite"))
    assert pools
