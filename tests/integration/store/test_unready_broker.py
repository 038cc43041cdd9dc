"""A Redis that is there and cannot work: its trouble, which is waited for, and no error of a run's."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from celery import Celery

from tasks.contracts.errors import BrokerError, RecordError
from tasks.store.redis import Redis
from tests.conftest import start
from tests.faults.proxy import forwarding
from tests.support.broker_troubles import TROUBLES, Trouble
from tests.support.fleet import clean_environment, wait_for
from tests.support.paths import ROOT
from tests.support.servers import RedisMade, free_port, made_redis, run_redis

PATIENCE = 30.0


@pytest.fixture(scope="module")
def made() -> Iterator[RedisMade]:
    with ExitStack() as stack:
        yield start(stack, made_redis())


@pytest.fixture(scope="module")
def url(made: RedisMade) -> Iterator[str]:
    with made.running() as url:
        yield url


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_of_the_broker_is_said_at_once_where_nobody_waits(made: RedisMade, url: str, trouble: Trouble) -> None:
    backend = Redis(url)
    with redis.Redis.from_url(url) as client, trouble(client, made.folder):
        for write in (
            lambda: backend.put("pairing.key", b"1"),
            lambda: backend.put_field("pairing.hash", "a", b"1"),
            lambda: backend.add_to_fields("pairing.counts", {"a": 1}),
        ):
            with pytest.raises(BrokerError, match="cannot work at the moment"):
                write()
    backend.put("pairing.key", b"2")  # the same connection goes on


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_of_the_broker_is_waited_for(made: RedisMade, url: str, trouble: Trouble) -> None:
    backend = Redis(url, patience=PATIENCE)
    asked = threading.Event()
    work = backend._tried
    backend._tried = work.copy(before_sleep=lambda _: asked.set())
    with redis.Redis.from_url(url) as client:
        with trouble(client, made.folder):
            writer = threading.Thread(
                target=lambda: backend.put_field("pairing.hash", trouble.__name__, b"1"), daemon=True
            )
            writer.start()
            assert asked.wait(PATIENCE)
        writer.join(PATIENCE)
        assert backend.field("pairing.hash", trouble.__name__) == b"1"


def test_a_server_that_loads_its_data_is_waited_for() -> None:
    with ExitStack() as stack:
        made = start(stack, made_redis())
        with made.running() as url, redis.Redis.from_url(url) as client:
            client.mset({f"key-{number}": "x" * 50 for number in range(4000)})
            client.bgrewriteaof()  # a snapshot: while that is loaded, it answers after every kilobyte
            wait_for("the snapshot", lambda: not client.info("persistence")["aof_rewrite_in_progress"])
        slow = ("key-load-delay 500", "loading-process-events-interval-bytes 1024")  # two seconds
        loading: list[BrokerError] = []

        def ask() -> None:
            while not loading:
                try:
                    Redis(url).get("key-3999")
                except BrokerError as error:
                    if "cannot work" in str(error):
                        loading.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        with made.running(*slow):
            thread.join(PATIENCE)
            assert "loading" in str(loading[0])
            assert Redis(url, patience=PATIENCE).get("key-3999") == b"x" * 50


def test_a_right_that_this_user_lacks_is_said_at_once(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">word", "~*", "+@read", "+@connection")
        at = url.rpartition("@")[2]
        with pytest.raises(BrokerError, match=r"does not let this user do that .* docs/security\.md"):
            Redis(f"redis://reader:word@{at}", patience=3600.0).put("pairing.key", b"1")


def test_what_somebody_else_has_changed_is_no_trouble_of_the_brokers(url: str) -> None:
    Redis(url).put("pairing.other", b"1")
    with pytest.raises(RecordError, match="somebody else may have changed"):
        Redis(url, patience=3600.0).put_field("pairing.other", "a", b"1")


def test_a_black_hole_takes_as_long_as_one_is_patient() -> None:
    """Nobody accepts, and packets are dropped: every try takes its whole time."""
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        port = hole.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        began = time.monotonic()
        with pytest.raises(BrokerError, match="cannot be reached"):
            Redis(f"redis://127.0.0.1:{port}/0", patience=1.0).get("pairing.key")
        assert time.monotonic() - began < 5
        for filler in fillers:
            filler.close()


def test_a_network_that_swallows_what_is_sent_takes_one_reply_s_time(made: RedisMade, url: str) -> None:
    with forwarding(made.port) as proxy:
        backend = Redis(url.replace(f":{made.port}/", f":{proxy.port}/"), patience=1.0)
        backend.put("pairing.key", b"1")
        proxy.open.clear()
        began = time.monotonic()
        with pytest.raises(BrokerError, match="cannot be reached"):
            backend.get("pairing.key")
        assert time.monotonic() - began < 15
        proxy.open.set()


def test_a_cluster_that_is_down_is_trouble_of_the_broker() -> None:
    with ExitStack() as stack:
        url = start(stack, run_redis(settings=["cluster-enabled yes", f"cluster-port {free_port()}"]))
        with pytest.raises(BrokerError, match="cannot work at the moment"):
            Redis(url).put("pairing.key", b"1")


def test_what_follows_a_task_is_published_when_a_full_server_takes_it(
    made: RedisMade, url: str, tmp_path: Path
) -> None:
    """Celery gives up after four tries within a second, and the rest of the chain with it."""
    environment = clean_environment(PAIRING_BROKER_URL=url, PAIRING_DATA_DIR=str(tmp_path))
    worker = [sys.executable, "-m", "celery", "-A", "tests.support.filling_app", "worker", "--concurrency=1"]
    with redis.Redis.from_url(url) as client, (tmp_path / "log").open("wb") as log:
        client.config_resetstat()
        running = subprocess.Popen(worker, env=environment, cwd=ROOT, stdout=log, stderr=log)
        try:
            with Celery(broker=url, set_as_current=False) as app:
                follow = app.signature("tests.follow", queue="pairing.pool", immutable=True)
                app.send_task("tests.fill", queue="pairing.pool", chain=[follow])

            def tries() -> int:  # each is a transaction, which is refused
                return int(client.info("errorstats").get("errorstat_EXECABORT", {}).get("count", 0))

            wait_for("more tries than Celery's", lambda: tries() > 6)
            client.config_set("maxmemory", 0)
            wait_for("the task that follows", lambda: client.llen("followed"))
        finally:
            client.config_set("maxmemory", 0)
            running.kill()
            running.wait()
