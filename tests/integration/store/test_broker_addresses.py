"""The broker not at a host and port: behind sentinels, at a socket; for a user with few rights; a cluster."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from config.brokers import broker
from tasks.store.redis import Redis
from tasks.store.run_store import Store
from tests.conftest import start
from tests.support.fleet import DEMO, Command, wait_for
from tests.support.host import Host
from tests.support.paths import ROOT
from tests.support.sentinels import run_sentinels
from tests.support.servers import free_port, made_redis, run_redis

PREFIX = "pairing-prod:"
CLUSTER = ("cluster-enabled yes", f"cluster-port {free_port()}")


def host_at(url: str, folder: Path, **environment: str) -> Host:
    command = Command(folder, {"PAIRING_BROKER_URL": url, "PAIRING_KEY_PREFIX": PREFIX, **environment})
    return Host(command, Store(Redis(url, PREFIX, patience=60.0)))


def findings(host: Host) -> dict[str, dict[str, Any]]:
    return {found["name"]: found for found in host.command("doctor", "--json").json["findings"]}


def test_a_run_survives_the_fail_over_to_a_replica(tmp_path: Path) -> None:
    password = secrets.token_hex(8)
    with ExitStack() as stack:
        watched = start(stack, run_sentinels(password))
        host = host_at(watched.url, tmp_path, PAIRING_VISIBILITY_TIMEOUT="5")
        search = ("--methods", "trace,cosine", "--no-stop-when-solved", "--no-repair", "--budget", "5")
        with host.worker() as log:
            assert host.command("enqueue", DEMO, "--run", "over", *search).status == 0
            wait_for("a refinement", lambda: host.store.part("over", "progress", "cosine.s0"))
            assert findings(host)["broker"]["state"] == "ok"
            killed = watched.kill_primary(password)
            wait_for("another primary", lambda: watched.primary() != killed)
            assert host.wait_for_end("over") == "succeeded"
            assert host.command("enqueue", DEMO, "--methods", "trace", "--run", "after").status == 0
            assert host.wait_for_end("after") == "succeeded"
        summary = host.store.record("over", "summary")
        assert summary is not None
        assert summary["solved"]
        assert all(method["ok"] for method in summary["methods"])
        assert password not in log.read_text()
        assert password not in str(findings(host))


def test_a_run_by_a_socket(tmp_path: Path) -> None:
    with ExitStack() as stack:
        made = start(stack, made_redis())
        path = made.folder / "redis.sock"
        at = stack.enter_context(made.running(f"unixsocket {path}", "unixsocketperm 777"))
        word = (made.folder / "password").read_text()
        host = host_at(f"redis+socket://:{word}@{path}?virtual_host=3", tmp_path)
        with host.worker():
            host.enqueue("by-socket")
            assert host.wait_for_end("by-socket") == "succeeded"
            assert findings(host)["broker"]["state"] == "ok"
        with redis.Redis.from_url(f"{at.removesuffix('/0')}/3") as client:
            assert client.exists(f"{PREFIX}pairing.runs")


# --- a user who may do no more than is needed


def documented_rights() -> list[str]:
    """What docs/security.md gives the user, rule by rule."""
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    (rules,) = re.findall(r"^    ACL SETUSER pairing (.*(?:\n      .*)*)", page, re.M)
    return str(rules).split()


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[tuple[Host, Any]]:
    """A host as that user, and a client of somebody who may look at what was refused."""
    with ExitStack() as stack:
        url = start(stack, run_redis())
        client = stack.enter_context(redis.Redis.from_url(url, decode_responses=True))
        rules = [rule.replace(">password", ">word") for rule in documented_rights()]
        client.execute_command("ACL", "SETUSER", "pairing", *rules)
        at = url.rpartition("@")[2]
        yield host_at(f"redis://pairing:word@{at.removesuffix('/0')}/4", tmp_path), client


def test_a_user_with_the_documented_rights_does_everything(guest: tuple[Host, Any]) -> None:
    host, client = guest
    seen = list[dict[str, Any]]()
    app = Celery(broker=host.broker[0], set_as_current=False)
    app.conf.broker_transport_options = {"global_keyprefix": PREFIX}
    with (
        host.worker("--concurrency", "2"),
        app.connection_for_read() as connection,
        app.events.Receiver(connection, handlers={"*": seen.append}).consumer_context(wakeup=False) as (events, _, _),
    ):
        said = host.command("enqueue", DEMO, "--methods", "trace", "--run", "as-guest", "--wait", "--json")
        assert said.status == 0, said.errors
        for call in (("runs", "--failed"), ("status", "as-guest"), ("puzzle", "list"), ("sweep",)):
            assert host.command(*call).status == 0
        assert findings(host)["threads"]["state"] == "ok"  # workers were asked, and answered
        wait_for("what Flower listens to", lambda: seen or events.drain_events(timeout=30))
        assert host.command("drop", "as-guest").status == 0
        assert host.command("prune", "--older-than", "0").status == 0
    refused = [(entry["object"], entry["context"], entry["reason"]) for entry in client.execute_command("ACL", "LOG")]
    assert refused == []


def test_that_user_reaches_nothing_else(guest: tuple[Host, Any]) -> None:
    host, client = guest
    client.set("theirs", "1")
    with redis.Redis.from_url(host.broker[0]) as as_guest:
        for call in (("GET", "theirs"), ("SET", "theirs", "2"), ("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                as_guest.execute_command(*call)
        with pytest.raises(redis.exceptions.NoPermissionError):
            as_guest.execute_command("PUBLISH", "theirs", "x")


# --- a cluster


def test_a_cluster_is_refused_with_the_reason(tmp_path: Path) -> None:
    with ExitStack() as stack:
        url = start(stack, run_redis(settings=CLUSTER))
        with redis.Redis.from_url(url) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        host = Host(Command(tmp_path, {"PAIRING_BROKER_URL": url}), Store(Redis(url)))
        for call in (("worker",), ("enqueue", DEMO, "--methods", "trace")):
            refused = host.command(*call)
            assert refused.status == 2
            assert "is a Redis Cluster" in refused.errors
            assert "redis+sentinel://" in refused.errors
        found = findings(host)["broker"]
        assert found["state"] == "wrong"
        assert "is a Redis Cluster" in found["found"]


def test_nothing_that_people_read_of_an_address_is_secret() -> None:
    for url in (
        "redis://user:word@host:6380/4",
        "redis+socket://user:word@/run/redis.sock?virtual_host=4",
        "redis+sentinel://user:word@one:1,two:2/master/4?sentinel_password=word",
    ):
        found = broker(url)
        assert "word" not in found.where
        assert "word" not in repr(found)
        assert found.database == 4
