"""Every run ends as it should: comparisons that wait or are lost, and what kills whoever plans or compares."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tasks.client.submit import rescue, send
from tasks.contracts.errors import BrokerError
from tasks.contracts.run_request import request_of
from tasks.runs.attempts import MOST_ATTEMPTS, counted
from tasks.runs.lifecycle import COMPARISON, PLANNING, is_deserted, register, state_of, sweep
from tests.support.fleet import DEMO, wait_for
from tests.support.host import Host, open_host


@pytest.fixture
def host(redis_url: str, tmp_path: Path) -> Iterator[Host]:
    with open_host(redis_url, tmp_path) as host:
        yield host


@pytest.fixture
def late(host: Host) -> str:
    """A run that was planned, and is past its deadline (at the time 1010) without an end."""
    asked = {"run": "late", "puzzle": f"sha256:{'0' * 64}", "deadline": 10.0, "enqueued_at": 1000.0}
    register(host.store, request_of(asked))
    host.store.put_record("late", "plan", {"pool_best": None})
    return "late"


def swept(host: Host, rescue: Callable[[str], None], now: float) -> None:
    """Sweeps when whoever claimed the comparison last has had its time."""
    host.store.backend.remove("pairing.run.late.claim.rescue")
    sweep(host.store, rescue, 86_400.0, now=now)


def test_a_comparison_that_waits_is_sent_again_and_its_run_not_given_up(host: Host, late: str) -> None:
    times = list[float]()
    for now in range(1010, 1010 + 3600, 10):  # an hour in a busy queue
        swept(host, lambda _, now=now: times.append(float(now)), float(now))
        assert not is_deserted(host.store, late, float(now))
    assert [later - sooner for sooner, later in pairwise(times)] == [60, 120, 240, 480, 960]
    assert state_of(host.store, late) == "running"
    with counted(host.store, late, COMPARISON):  # begun
        swept(host, lambda _: pytest.fail("sent although it has begun"), 1010 + 7200)
        assert not is_deserted(host.store, late, 1010 + 7200)
    assert is_deserted(host.store, late, 1010 + 7200 + 10 * 3600)  # nobody sweeps any more


def test_a_comparison_that_could_not_be_sent_is_sent_when_the_broker_is_back(host: Host, late: str) -> None:
    sent = list[str]()

    def away(_: str) -> None:
        raise BrokerError("as asked")

    with pytest.raises(BrokerError):
        sweep(host.store, away, 1000.0, now=1020.0)
    sweep(host.store, sent.append, 1000.0, now=1021.0)
    assert sent == []  # somebody is at it, for all that is known
    swept(host, sent.append, 1022.0)
    assert sent == [late]


def test_of_many_who_sweep_one_sends_the_comparison(host: Host, late: str) -> None:
    sent, together = list[str](), threading.Barrier(8)

    def work() -> None:
        together.wait(30)
        sweep(host.store, sent.append, 1000.0, now=1020.0)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sent == [late]


def test_a_claim_ends_by_itself(host: Host) -> None:
    assert host.store.claim_for("run1", "rescue", 0.5)
    assert not host.store.claim_for("run1", "rescue", 0.5)
    wait_for("the end of the claim", lambda: host.store.claim_for("run1", "rescue", 0.5))


def published(host: Host, run: str) -> bool:
    return any(host.store.backend.get(f"pairing.run.{run}.{name}") for name in ("published", "claim.published"))


def test_a_comparison_behind_a_busy_queue_still_stores_its_winners(host: Host) -> None:
    """Nobody reads its queue until long after its deadline; sweepers look all the while."""
    with host.worker("--role", "plan"):
        host.enqueue("busy")
        wait_for("its plan", lambda: published(host, "busy"))
    with host.worker("--role", "numbers"), host.worker("--role", "refine"):
        wait_for("its refinement", lambda: host.store.part("busy", "refinement", "trace.s0"))
    entry = host.store.run_entry("busy")
    assert entry is not None
    sent = list[str]()

    def rescued(run: str) -> None:
        rescue(*host.broker, run)
        sent.append(run)

    for late in range(0, 600, 10):
        host.store.backend.remove("pairing.run.busy.claim.rescue")
        sweep(host.store, rescued, 86_400.0, now=entry["deadline_at"] + late)
    assert len(sent) > 2
    with host.worker("--role", "plan"):
        assert host.wait_for_end("busy") == "succeeded"
    summary = host.store.record("busy", "summary")
    assert summary is not None
    assert [row["method"] for row in summary["pool"]["inserted"]] == ["trace"]


# --- what kills whoever plans or compares

_POISON = """\
import os, signal
import tasks.runs.comparison, tasks.runs.planning, tasks.runs.stages
from tasks.worker.resources import store

plan, compare = tasks.runs.planning.plan, tasks.runs.comparison.compare

def killing(stage, work):
    def work_or_die(store, *arguments):
        run = getattr(arguments[1], "run", arguments[-1])
        if os.path.exists(f"{run}.{stage}"):
            os.kill(os.getpid(), signal.SIGKILL)
        return work(store, *arguments)
    return work_or_die

similarity_of = tasks.runs.stages.similarity_of

def failing(puzzle, method, *limits):
    if os.path.exists(f"failing.{method}"):
        raise RuntimeError("as asked")
    return similarity_of(puzzle, method, *limits)

tasks.runs.stages.similarity_of = failing
tasks.runs.planning.plan = killing("planning", plan)
tasks.runs.comparison.compare = killing("comparison", compare)
"""


def test_what_kills_its_process_every_time_is_given_up(host: Host) -> None:
    (host.command.folder / "poison.py").write_text(_POISON)
    with host.worker("--include", "poison", "--concurrency", "2", PYTHONPATH=str(host.command.folder)):
        for stage in (PLANNING, COMPARISON):
            (host.command.folder / f"deadly-{stage}.{stage}").touch()
            host.enqueue(f"deadly-{stage}")
        for stage in (PLANNING, COMPARISON):
            assert host.wait_for_end(f"deadly-{stage}") == "failed"
            ended = host.store.record(f"deadly-{stage}", "end")
            assert ended is not None
            assert f"its {stage} was given up: {MOST_ATTEMPTS} attempts were lost" in ended["error"]
        listed = {entry["run"]: entry for entry in host.command("runs", "--failed", "--json").json["runs"]}
        assert {run: entry["state"] for run, entry in listed.items()} == {
            "deadly-planning": "failed",
            "deadly-comparison": "failed",
        }
        assert "was given up" in host.command("runs", "--failed").output
        for stage, parts in ((PLANNING, ["trace.s0"]), (COMPARISON, [])):
            (host.command.folder / f"deadly-{stage}.{stage}").unlink()
            assert host.command("retry", f"deadly-{stage}", "--json").json["parts"] == parts
            assert host.wait_for_end(f"deadly-{stage}") == "succeeded"
        assert host.command("runs", "--failed", "--json").json["runs"] == []


def test_a_run_that_is_asked_for_again_and_again_is_not_given_up(host: Host) -> None:
    with host.worker("--role", "plan"):
        for _ in range(MOST_ATTEMPTS + 2):
            request = request_of({**(host.store.record("often", "asked") or {"puzzle": str(DEMO)}), "run": "often"})
            send(*host.broker, request)
        wait_for("its end", lambda: host.store.record("often", "end"))  # nobody may read that folder
    attempts = host.store.part("often", "attempt", PLANNING)
    assert attempts is not None
    assert attempts["count"] == 0


# --- what has ended is tried again, or goes on


def refined(host: Host, run: str, part: str) -> dict[str, Any]:
    record = host.store.part(run, "refinement", part)
    assert record is not None
    return record


def test_only_what_failed_is_done_again(host: Host) -> None:
    (host.command.folder / "poison.py").write_text(_POISON)
    (host.command.folder / "failing.cosine").touch()
    with host.worker("--include", "poison", "--concurrency", "1", PYTHONPATH=str(host.command.folder)):
        said = host.command("enqueue", DEMO, "--methods", "trace,cosine", "--run", "half", "--evaluations", "50")
        assert said.status == 0, said.errors
        assert host.wait_for_end("half") == "succeeded"
        (entry,) = host.command("runs", "--failed", "--json").json["runs"]
        assert list(entry["failed"]) == ["cosine"]
        assert "as asked" in entry["failed"]["cosine"]
        before = refined(host, "half", "trace.s0")

        refused = host.command("retry", "half", "--method", "trace")
        assert (refused.status, "nothing of the run half has failed there" in refused.errors) == (2, True)
        assert host.command("retry", "half", "--method", "svd").status == 2
        (host.command.folder / "failing.cosine").unlink()
        assert host.command("retry", "half").output == "half: retries cosine.s0\n"
        assert host.wait_for_end("half") == "succeeded"
        summary = host.store.record("half", "summary")
        assert summary is not None
        assert {(m["method"], m["ok"]) for m in summary["methods"]} == {("trace", True), ("cosine", True)}
        assert refined(host, "half", "trace.s0") == before
        assert host.command("runs", "--failed", "--json").json["runs"] == []
        assert host.command("drop", "half").status == 0
        assert host.command("status", "half").status == 2
        (entry,) = host.command("runs", "--json").json["runs"]
        assert (entry["run"], entry["recorded"]) == ("half", True)
        assert host.command("drop", "half").status == 2


def test_an_ended_run_goes_on_with_more_budget_from_its_checkpoints(host: Host) -> None:
    search = ("--methods", "cosine", "--no-repair", "--start", "greedy", "--compare")
    with host.worker("--concurrency", "1"):
        for run, evaluations in (("short", "60"), ("straight", "300")):
            assert host.command("enqueue", DEMO, *search, "--run", run, "--evaluations", evaluations).status == 0
        assert host.wait_for_end("short") == "succeeded"
        assert host.wait_for_end("straight") == "succeeded"
    assert refined(host, "short", "cosine.s0")["evaluations"] == 60
    rescue(*host.broker, "short")  # a comparison of the first try, which waits in the queue
    assert host.command("retry", "short", "--evaluations", "300", "--deadline", "100").status == 0
    for command in ("retry", "drop"):  # it is under way
        refused = host.command(command, "short")
        assert (refused.status, "has not ended" in refused.errors) == (2, True)
    entry = host.store.run_entry("short")
    assert entry is not None
    assert 90 < entry["deadline_at"] - time.time() < 101
    with host.worker("--concurrency", "1") as log:
        assert host.wait_for_end("short") == "succeeded"
    assert "goes on from its checkpoint" in log.read_text()
    record, straight = refined(host, "short", "cosine.s0"), refined(host, "straight", "cosine.s0")
    assert record["evaluations"] == 300
    assert record["solution"] == straight["solution"]
    summary = host.store.record("short", "summary")
    assert summary is not None
    assert summary["methods"][0]["evaluations"] == 300
    refused = host.command("enqueue", DEMO, *search, "--run", "short", "--evaluations", "300")
    assert "other arguments (evaluations)" in refused.errors
