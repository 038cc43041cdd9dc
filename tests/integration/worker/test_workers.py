"""Workers as services: their roles, the stop file, urgent runs before ordinary ones, runs that nobody ends."""

from __future__ import annotations

import os
import secrets
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from kombu import Connection, Queue

from tasks.contracts.queues import ROLES
from tasks.contracts.run_request import request_of
from tasks.runs.lifecycle import GIVE_UP_SECONDS, PLANNING, RESCUE_SECONDS, finish, register, state_of, sweep
from tasks.runs.protocol_version import PROTOCOL
from tasks.worker.bootstrap import app
from tasks.worker.maintenance import Chore, do_chores
from tests.support.fleet import wait_for
from tests.support.host import Host, open_host
from tests.support.pools import PostgresPoolDatabase
from tests.support.servers import made_postgres

TASKS = ("run", "similarity", "assignment", "refinement", "comparison")


@pytest.fixture
def host(redis_url: str, tmp_path: Path) -> Iterator[Host]:
    with open_host(redis_url, tmp_path) as host:
        yield host


def test_roles_share_a_run_and_a_tasks_module_of_the_working_directory_hides_nothing(host: Host) -> None:
    (host.command.folder / "tasks.py").write_text("raise SystemExit('the wrong module')\n")
    of_celery = ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "BROKER_URL", "RESULT_BACKEND")
    wrong = dict.fromkeys(of_celery, "redis://127.0.0.1:1/0")
    with (
        host.worker("--role", "plan", **wrong) as plan,
        host.worker("--role", "numbers", "--concurrency", "1", **wrong) as numbers,
        host.worker("--role", "refine", "--name", "second", "--concurrency", "1", **wrong) as refine,
    ):
        host.enqueue("shared")
        assert host.wait_for_end("shared") == "succeeded"
    logs = {"plan": plan.read_text(), "numbers": numbers.read_text(), "refine": refine.read_text()}
    for role, log in logs.items():
        assert "DuplicateNodename" not in log
        tasks = {name for name in TASKS if f"Task pairing.{name}[" in log}
        expected = {"plan": {"run", "comparison"}, "numbers": {"similarity", "assignment"}, "refine": {"refinement"}}
        assert tasks == expected[role]
    assert "second@" in logs["refine"]


def test_each_queue_gets_only_what_is_sent_to_it(redis_url: str) -> None:
    from config.celeryconfig import task_queues

    prefix = f"test-{secrets.token_hex(6)}:"
    with Connection(redis_url, transport_options={"global_keyprefix": prefix}) as connection:
        queues = [queue(connection.default_channel) for queue in task_queues]
        app = Celery(set_as_current=False)
        app.conf.update(task_queues=task_queues, task_default_queue="pairing.pool")
        declared = [queue(connection.default_channel) for queue in app.amqp.queues.values()]
        for queue in declared:
            queue.declare()
        with connection.Producer() as producer:
            producer.publish("hello", exchange="pairing.pool", routing_key="pairing.pool")
        assert [queue.name for queue in declared if queue.get() is not None] == ["pairing.pool"]
        for queue in queues:
            queue.delete()


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("role", ["plan", "refine"])
def test_only_readers_of_the_pools_queue_have_chores_and_the_database(host: Host, role: str, stopped: bool) -> None:
    stop_file = host.command.folder / "stop"
    if stopped:
        stop_file.touch()
    told = host.command.folder / "told.py"
    told.write_text(_TELLS)
    with host.worker(
        "--role", role, "--concurrency", "1", "--include", "told", PAIRING_STOP_FILES=str(stop_file)
    ) as log:
        wait_for("its word", lambda: b"told: " in log.read_bytes())
    assert f"told: {role == 'plan'} {role == 'plan'}." in log.read_text()


_TELLS = """\
import sys, threading
from celery.signals import worker_init, worker_ready

@worker_init.connect(weak=False)
def listen(**_):
    worker_ready.connect(tell)  # after the app has

def tell(**_):
    chores = any(thread.name == 'chores' for thread in threading.enumerate())
    print(f"told: {chores} {'sqlalchemy' in sys.modules}.")
"""
"""A module of a worker: says whether it has chores, and whether it has the database's library."""


def test_every_queue_has_a_reader() -> None:
    assert set(ROLES["all"]) == {queue for queues in ROLES.values() for queue in queues}


def test_no_new_task_is_taken_while_a_stop_file_exists(host: Host) -> None:
    files = [host.command.folder / name for name in ("stop-here", "stop-everywhere")]
    files[1].touch()
    with host.worker("--concurrency", "1", PAIRING_STOP_FILES=os.pathsep.join(map(str, files))) as log:
        wait_for("the stop", lambda: b"taking no new tasks" in log.read_bytes())
        host.enqueue("waiting")
        files[0].touch()
        files[1].unlink()  # one is enough
        again = log.read_bytes().count(b"taking tasks again")
        assert host.store.record("waiting", "plan") is None
        assert again == 0
        files[0].unlink()
        assert host.wait_for_end("waiting") == "succeeded"
        files[0].touch()
        wait_for("the second stop", lambda: log.read_bytes().count(b"taking no new tasks") == 2)
        host.enqueue("waiting-again")
        files[0].unlink()
        assert host.wait_for_end("waiting-again") == "succeeded"
    text = log.read_text()
    assert text.index("taking tasks again") < text.index("Task pairing.run[waiting]")


def test_an_urgent_run_overtakes_ordinary_ones(host: Host) -> None:
    for run in ("ordinary-1", "ordinary-2", "ordinary-3"):
        host.enqueue(run)
    host.enqueue("urgent", "--priority", "urgent")
    with host.worker("--concurrency", "1") as log:
        ends = {run: host.wait_for_end(run) for run in ("ordinary-1", "ordinary-2", "ordinary-3", "urgent")}
    assert set(ends.values()) == {"succeeded"}
    text = log.read_text()
    last = text.index("Task pairing.comparison[urgent.comparison] received")
    for run in ("ordinary-1", "ordinary-2", "ordinary-3"):
        assert last < text.index(f"Task pairing.comparison[{run}.comparison] received")


def test_a_wrong_setting_is_one_clear_line(host: Host) -> None:
    said = host.command("worker", environment={"PAIRING_STORE_LIFETIME": "soon"})
    assert said.status == 2
    assert "PAIRING_STORE_LIFETIME" in said.errors
    assert "Traceback" not in said.errors


# --- tasks that go to another worker


def test_a_refinement_goes_on_elsewhere_when_its_worker_is_stopped(host: Host) -> None:
    with host.worker("--concurrency", "1", ending=signal.SIGQUIT):
        host.enqueue("moved", "--compare", "--evaluations", "3000", "--deadline", "1000")
        wait_for("the refinement", lambda: host.store.part("moved", "progress", "trace.s0"), 120)
    stood = host.store.checkpoint("moved", "trace.s0")
    assert stood
    assert 0 < stood["evaluations"] < 3000
    assert host.store.part("moved", "refinement", "trace.s0") is None
    with host.worker("--concurrency", "1") as log:
        assert host.wait_for_end("moved") == "succeeded"
        assert "Task pairing.similarity[" not in log.read_text()
    refined = host.store.part("moved", "refinement", "trace.s0")
    assert refined
    assert refined["evaluations"] == 3000
    assert host.store.parts("moved", "attempt")["refinement.trace.s0"]["count"] == 1


def test_who_had_a_message_before_takes_nothing_from_who_has_it_now(redis_url: str) -> None:
    prefix = f"test-{secrets.token_hex(6)}:"
    options = {"global_keyprefix": prefix, "visibility_timeout": 0}
    with app.connection_for_read(redis_url, transport_options=options) as connection:
        first, second, third = (Queue("pairing.pool")(connection.channel()) for _ in range(3))
        first.declare()
        with connection.Producer() as producer:
            producer.publish("hello", routing_key="pairing.pool")
        lost = first.get()
        second.channel.qos.restore_visible(interval=1)  # its time is over: it is handed out again
        taken = second.get()
        lost.ack()
        second.channel.qos.restore_visible(interval=1)  # the second is lost too
        again = third.get()
        assert [message.payload for message in (lost, taken, again)] == ["hello"] * 3
        again.ack()
        third.channel.qos.restore_visible(interval=1)
        assert third.get() is None
        first.delete()


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_a_broker_behind_tls_stays_so(scheme: str) -> None:
    with app.connection_for_read(f"{scheme}://broker.example/0") as connection:
        assert bool(connection.ssl) == (scheme == "rediss")
        assert connection.transport.Channel.__module__ == "tasks.worker.upstream.transport"


def test_a_task_of_another_protocol_waits_for_a_worker_of_that(host: Host) -> None:
    host.enqueue("newer")
    with host.worker("--role", "plan"):
        wait_for("the plan", lambda: host.store.record("newer", "plan"))
    request = host.store.record("newer", "request")
    assert request
    host.store.put_record("newer", "request", {**request, "protocol": PROTOCOL + 1})
    with host.worker("--concurrency", "1") as log:
        wait_for("two returns", lambda: log.read_text().count("was planned by a worker of protocol") > 1)
        assert set(host.store.parts("newer", "attempt")) == {PLANNING}
        assert host.store.parts("newer", "failure") == {}
        host.store.put_record("newer", "request", request)
        assert host.wait_for_end("newer") == "succeeded"


# --- runs that nobody ends


def test_the_sweeper_brings_every_run_to_an_end(host: Host) -> None:
    store, rescued = host.store, list[str]()
    runs = {
        run: request_of({"run": run, "puzzle": f"sha256:{'0' * 64}", "deadline": 10.0, "enqueued_at": 1000.0})
        for run in ("planned", "queued", "ended")
    }
    for request in runs.values():
        register(store, request)
    for run in ("planned", "ended"):
        store.put_record(run, "plan", {"pool_best": None})
    finish(store, "ended", "succeeded")

    assert sweep(store, rescued.append, 1000.0, now=1010.0) == []  # its comparison may just be running
    assert sorted(sweep(store, rescued.append, 1000.0, now=1010.0 + RESCUE_SECONDS)) == ["planned", "queued"]
    sweep(store, rescued.append, 1000.0, now=1011.0 + RESCUE_SECONDS)
    assert rescued == ["planned"]  # one that was never planned has nothing to be compared
    sweep(store, rescued.append, 1000.0, now=1010.0 + GIVE_UP_SECONDS)
    assert {run: state_of(store, run) for run in runs} == {
        "planned": "running",
        "queued": "timed_out",
        "ended": "succeeded",
    }
    # Records expire, the list of runs is written again and again: what has lost its end is not given another.
    store.backend.remove("pairing.run.queued.end")
    sweep(store, rescued.append, 1000.0, now=2010.0)
    assert {run: state_of(store, run) for run in runs} == {"planned": "timed_out", "queued": None, "ended": "succeeded"}


def test_a_chore_that_fails_stops_no_other() -> None:
    done, ended = list[str](), threading.Event()

    def fail() -> None:
        done.append("failed")
        raise ValueError("as asked")

    def work() -> None:
        done.append("worked")
        if done.count("worked") == 5:
            ended.set()

    do_chores([Chore("failing", 0.001, fail), Chore("working", 0.002, work)], ended)
    assert done.count("worked") == 5
    assert "failed" in done


def test_workers_of_one_role_have_names_of_their_own(host: Host) -> None:
    with host.worker("--role", "plan") as first, host.worker("--role", "plan") as second:
        taken = host.command("worker", "--role", "plan", "--name", "pairing-plan-2")
        assert taken.status == 2
        assert "pairing-plan-2" in taken.errors
    assert "pairing-plan@" in first.read_text()
    assert "pairing-plan-2@" in second.read_text()
    with host.worker("--role", "plan") as third:
        pass
    assert "pairing-plan@" in third.read_text()  # a name is free again when its worker has ended


@pytest.mark.usefixtures("postgres")  # skipped, or failed, without one
@pytest.mark.parametrize("way", [("pool", "flush"), ("sweep",)], ids=" ".join)
def test_a_run_says_stored_later_until_its_winners_are_read_back(host: Host, way: tuple[str, ...]) -> None:
    with made_postgres() as made:
        pool = {"PAIRING_POOL_URL": made.server.url, "PAIRING_POOL_PASSWORD": made.server.password}
        with host.worker(**pool):
            host.enqueue("kept")
            assert host.wait_for_end("kept") == "succeeded"
            before = host.command("results", "kept", "--json").json["pool"]
            assert (before["inserted"], [entry["method"] for entry in before["stored_later"]]) == ([], ["trace"])
            assert host.command("status", "kept", "--json").json["stored_later"] == before["stored_later"]
            lines = host.command("status", "kept").output.splitlines()
            assert (lines[0], "stored later: 1 winner" in lines[1]) == ("kept: succeeded", True)
            assert "`pairing pool flush`" in host.command("results", "kept").output
            with made.running() as server:
                PostgresPoolDatabase(server, "postgres")  # the shared table
                assert host.command(*way, environment=pool).status == 0
                after = host.command("results", "kept", "--json").json["pool"]
                assert after["stored_later"] == []
                assert after["inserted"] == [{"id": 1, **before["stored_later"][0]}]
                assert host.command("status", "kept", "--json").json["stored_later"] == []
                assert "No winner of this run waits" in host.command("results", "kept").output
